#include "trl_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "msg.h"

enum { CODE_CONTENT = MSG_CODE(2, 5) };

struct list {
    char name[REVOCATION_NAME_MAX + 1];
    int authority; /* by the policy in force */
    struct trl trl;
    uint64_t standing, poll; /* handles; 0: none */
    bool awaiting;           /* the standing one has not been answered since it was asked */
    bool told;               /* that it does not answer: once is enough */
    int64_t fresh_wall_s;
};

struct trl_watch {
    struct authorities *wire;
    struct gate *gate;
    struct list *lists;
    size_t n;
    struct trl_answer answer; /* of the call that runs: large */
};

/* The course is kept in monotonic time: a wall clock that is set back would
 * put off the next question. */
static int64_t seconds(struct instant now)
{
    return (int64_t)(now.mono_us / 1000000);
}

struct trl_watch *trl_watch_new(struct authorities *wire)
{
    struct trl_watch *t = calloc(1, sizeof *t);
    if (t)
        t->wire = wire;
    return t;
}

void trl_watch_free(struct trl_watch *t)
{
    if (t)
        free(t->lists);
    free(t);
}

void trl_watch_attach(struct trl_watch *t, struct gate *g)
{
    t->gate = g;
}

static struct list *list_named(const struct trl_watch *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->lists[i].name, name) == 0)
            return &t->lists[i];
    return NULL;
}

static void let_go(struct trl_watch *t, struct list *l, struct instant now)
{
    if (l->standing)
        authority_unget(t->wire, l->standing, now);
    if (l->poll)
        authority_unget(t->wire, l->poll, now);
    l->standing = l->poll = 0;
}

bool trl_watch_use(struct trl_watch *t, const struct policy *p, struct instant now)
{
    size_t n = 0;
    while (policy_authority(p, n))
        n++;
    struct list *lists = calloc(n + 1, sizeof *lists);
    if (!lists)
        return false;
    n = 0;
    const struct policy_authority *a;
    for (int i = 0; (a = policy_authority(p, (size_t)i)) != NULL; i++) {
        size_t len = strlen(a->name);
        if (!a->wire.revocation_list.url || len > REVOCATION_NAME_MAX)
            continue;
        struct list *l = &lists[n++], *before = list_named(t, a->name);
        if (before) {
            *l = *before;
            l->trl.poll_s = a->wire.poll_s;
            before->standing = before->poll = 0;
        } else {
            memcpy(l->name, a->name, len);
            trl_init(&l->trl, a->wire.poll_s, seconds(now));
        }
        l->authority = i;
    }
    for (size_t i = 0; i < t->n; i++)
        let_go(t, &t->lists[i], now);
    free(t->lists);
    t->lists = lists;
    t->n = n;
    return true;
}

/* ---- questions ---- */

static void ask(struct trl_watch *t, struct list *l, struct instant now)
{
    struct trl_question q;
    if (l->poll || !trl_ask(&l->trl, seconds(now), &q))
        return;
    uint64_t *handle = q.observe ? &l->standing : &l->poll;
    if (*handle)
        authority_unget(t->wire, *handle, now);
    *handle = authority_get(t->wire, l->authority, AUTHORITY_REVOCATIONS, q.query, q.n_query,
                            q.observe, now);
    l->awaiting = q.observe;
    if (!*handle)
        trl_take_silence(&l->trl, seconds(now));
}

uint64_t trl_watch_turn(struct trl_watch *t, struct instant now)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < t->n; i++) {
        struct list *l = &t->lists[i];
        ask(t, l, now);
        if (l->trl.asking || l->poll)
            continue;
        uint64_t at = (uint64_t)l->trl.next_s * 1000;
        if (at < next)
            next = at;
    }
    return next;
}

/* ---- answers ---- */

static void tell_trouble(struct list *l, const char *reason)
{
    if (!l->told)
        log_event(LOG_LEVEL_WARN, "list-unknown", "authority", l->name, "reason", reason, "kept",
                  l->trl.has_full ? "what is known" : "what was on disk", NULL);
    l->told = true;
}

static void take_refusal(struct list *l, const struct pep_reply *r, struct instant now)
{
    static const char *const errors[] = {"invalid parameter value", "invalid set of parameters",
                                         "out of bound cursor"};
    int error = r->content_format == PEP_FORMAT_PROBLEM ? trl_error(r->body) : -1;
    trl_take_error(&l->trl, r->code, seconds(now));
    char text[64];
    (void)snprintf(text, sizeof text, "%u.%02u %s", r->code >> 5, r->code & 31u,
                   error >= 0 && error < 3 ? errors[error] : "");
    tell_trouble(l, text);
}

static void take_list(struct trl_watch *t, struct list *l, const struct authority_got *g,
                      bool notification, struct instant now)
{
    const struct pep_reply *r = &g->reply;
    if (r->content_format != PEP_FORMAT_TRL || !trl_read(r->body, &t->answer)) {
        trl_take_error(&l->trl, 0, seconds(now));
        tell_trouble(l, "no revocation list in the answer");
        return;
    }
    if (trl_take_answer(&l->trl, &t->answer, notification, g->observed, seconds(now)))
        (void)gate_take_list(t->gate, l->name, &t->answer, now); /* it tells */
    if (l->trl.health != TRL_GOOD) {
        tell_trouble(l, "differences from nothing");
        return;
    }
    if (l->trl.fresh_s == seconds(now))
        l->fresh_wall_s = now.wall_s;
    if (t->answer.foreign > 0 && !l->told)
        log_event(LOG_LEVEL_WARN, "list-foreign-hashes", "authority", l->name, "hashes",
                  LOG_U(t->answer.foreign), NULL);
    if (l->told)
        log_event(LOG_LEVEL_INFO, "list-known", "authority", l->name, NULL);
    l->told = t->answer.foreign > 0;
}

bool trl_watch_got(struct trl_watch *t, uint64_t handle, const struct authority_got *g,
                   struct instant now)
{
    struct list *l = NULL;
    for (size_t i = 0; i < t->n && !l; i++)
        if (t->lists[i].standing == handle || t->lists[i].poll == handle)
            l = &t->lists[i];
    if (!l || handle == 0)
        return false;
    bool standing = handle == l->standing;
    bool notification = standing && !l->awaiting;
    if (standing)
        l->awaiting = false;
    if (g->last)
        *(standing ? &l->standing : &l->poll) = 0;
    if (g->reply.away) {
        trl_take_silence(&l->trl, seconds(now));
        tell_trouble(l, "the server is away");
    } else if (g->reply.code == CODE_CONTENT) {
        take_list(t, l, g, notification, now);
    } else {
        take_refusal(l, &g->reply, now);
    }
    /* Lost, but the wire asks for it again by itself. */
    if (standing && !g->last && g->reply.away)
        l->trl.asking = l->awaiting = true;
    return true;
}

void trl_watch_get_stats(const struct trl_watch *t, const char *authority, struct instant now,
                         struct trl_watch_stats *out)
{
    const struct list *l = list_named(t, authority);
    *out = (struct trl_watch_stats){.configured = l != NULL};
    if (!l)
        return;
    out->observing = l->trl.observing;
    out->known = l->trl.has_full;
    out->health = l->trl.health;
    out->code = l->trl.code;
    out->fresh_s = l->fresh_wall_s;
    out->age_s = l->trl.has_full ? seconds(now) - l->trl.fresh_s : 0;
    out->cursor = l->trl.cursor;
    out->at = l->trl.at;
    out->answers = l->trl.answers;
    out->failures = l->trl.failures;
    out->notifications = l->trl.notifications;
}
