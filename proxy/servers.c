#include "servers.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "log.h"

/* One authority's published keys. */
struct jwks {
    bool wanted; /* the authority has a jwks URL */
    uint64_t handle;
    uint64_t due_ms, fetched_ms;
    int64_t taken_s;
    uint64_t refresh_ms;
};

struct servers {
    struct authorities *wire;
    struct pep *pep;
    struct gate *gate;
    void (*relay)(void *user, uint64_t id, const struct pep_reply *r, struct instant now);
    void *relay_user;
    struct trl_watch *lists;
    struct jwks *jwks; /* by the policy's order of authorities */
    size_t n;
    uint64_t unknown_keys; /* pep's count when we looked last */
    bool unknown_key;      /* one came elsewhere since */
    bool busy;             /* something was answered in this turn */
    /* The wire is another policy's: its numbers of authorities mean others
     * now, and a token must not be shown to a stranger. */
    bool adrift;
};

static const char *authority_name(const struct servers *s, int authority)
{
    const struct policy_authority *a = policy_authority(pep_policy(s->pep), (size_t)authority);
    return a ? a->name : "?";
}

static void replied(void *user, uint64_t id, const struct pep_reply *r, struct instant now)
{
    struct servers *s = user;
    s->busy = true;
    if (s->relay)
        s->relay(s->relay_user, id, r, now);
    else
        gate_reply_came(s->gate, id, r, now);
}

static void take_keys(struct servers *s, int authority, const struct pep_reply *r,
                      struct instant now)
{
    struct jwks *j = &s->jwks[authority];
    char text[512];
    struct buf diag = buf_on(text, sizeof text - 1);
    j->handle = 0;
    j->fetched_ms = instant_ms(now);
    bool good =
        !r->away && r->code >> 5 == 2 && gate_take_keys(s->gate, authority, r->body, now, &diag);
    j->due_ms = j->fetched_ms + (good ? j->refresh_ms : SERVERS_JWKS_RETRY_S * 1000);
    if (good) {
        j->taken_s = now.wall_s;
        return;
    }
    text[diag.n] = 0;
    log_event(LOG_LEVEL_WARN, "keys-not-fetched", "authority", authority_name(s, authority),
              "reason",
              r->away  ? "the server is away"
              : diag.n ? text
                       : "refused",
              "kept", j->taken_s ? "the last good set" : "none", NULL);
}

static void got(void *user, uint64_t handle, const struct authority_got *g, struct instant now)
{
    struct servers *s = user;
    s->busy = true;
    if (g->purpose == AUTHORITY_JWKS && g->authority >= 0 && (size_t)g->authority < s->n &&
        s->jwks[g->authority].handle == handle)
        take_keys(s, g->authority, &g->reply, now);
    else
        (void)trl_watch_got(s->lists, handle, g, now);
}

static void random_bytes(void *user, void *to, size_t n)
{
    (void)user;
    if (!crypto_random(to, n))
        abort(); /* no randomness: nothing that follows could be trusted */
}

struct servers *servers_new(struct loop *l, struct pep *pep)
{
    static const struct authority_ops ops = {replied, got, random_bytes};
    struct servers *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->pep = pep;
    s->wire = authorities_new(l, &ops, s);
    s->lists = s->wire ? trl_watch_new(s->wire) : NULL;
    if (s->lists)
        return s;
    if (s->wire)
        authorities_free(s->wire);
    free(s);
    return NULL;
}

void servers_free(struct servers *s)
{
    if (!s)
        return;
    authorities_free(s->wire);
    trl_watch_free(s->lists);
    free(s->jwks);
    free(s);
}

void servers_attach(struct servers *s, struct gate *g)
{
    s->gate = g;
    trl_watch_attach(s->lists, g);
}

void servers_relay(struct servers *s,
                   void (*replied_to)(void *user, uint64_t id, const struct pep_reply *r,
                                      struct instant now),
                   void *user)
{
    s->relay = replied_to;
    s->relay_user = user;
}

void servers_note_unknown_key(struct servers *s)
{
    s->unknown_key = true;
}

bool servers_use(struct servers *s, struct wire *w, struct instant now)
{
    struct jwks *jwks = calloc(w->n + 1, sizeof *jwks);
    s->adrift = true;
    s->n = 0;
    if (!jwks)
        return false;
    for (size_t i = 0; i < w->n_authorities; i++) {
        const struct policy_authority *a = policy_authority(w->policy, i);
        jwks[i].wanted = w->authorities[i].endpoints[AUTHORITY_JWKS].said != NULL;
        jwks[i].refresh_ms = (uint64_t)a->wire.refresh_s * 1000;
        jwks[i].due_ms = instant_ms(now);
    }
    size_t n = w->n_authorities;
    if (!authorities_use(s->wire, w, now)) {
        free(jwks);
        return false;
    }
    free(s->jwks);
    s->jwks = jwks;
    s->n = n;
    /* Without memory the lists before stay, by their authorities' names. */
    bool lists = trl_watch_use(s->lists, pep_policy(s->pep), now);
    s->adrift = !lists;
    if (!lists)
        log_event(LOG_LEVEL_ERROR, "out-of-memory", "servers", "none is asked until a reload",
                  NULL);
    return true;
}

bool servers_ask(void *user, const struct pep_question *q, struct instant now)
{
    struct servers *s = user;
    return !s->adrift && authority_ask(s->wire, q, now);
}

/* Fetches what is due; returns when to look again. */
static uint64_t fetch_keys(struct servers *s, struct instant now)
{
    uint64_t next = UINT64_MAX, now_ms = instant_ms(now);
    uint64_t unknown_keys = pep_unknown_keys(s->pep);
    bool unknown = s->unknown_key || unknown_keys != s->unknown_keys;
    s->unknown_key = false;
    s->unknown_keys = unknown_keys;
    for (size_t i = 0; i < s->n; i++) {
        struct jwks *j = &s->jwks[i];
        if (!j->wanted || j->handle)
            continue;
        uint64_t soonest = j->fetched_ms + SERVERS_JWKS_AGAIN_S * 1000;
        if (unknown && soonest < j->due_ms)
            j->due_ms = soonest;
        if (j->due_ms <= now_ms) {
            j->handle = authority_get(s->wire, (int)i, AUTHORITY_JWKS, NULL, 0, false, now);
            if (j->handle == 0)
                j->due_ms = now_ms + SERVERS_JWKS_RETRY_S * 1000;
        }
        if (j->handle == 0 && j->due_ms < next)
            next = j->due_ms;
    }
    return next;
}

uint64_t servers_turn(struct servers *s, struct instant now)
{
    s->busy = false;
    /* Lists first: what was revoked is known before what else is asked. */
    uint64_t lists = s->adrift ? UINT64_MAX : trl_watch_turn(s->lists, now);
    uint64_t keys = fetch_keys(s, now);
    uint64_t wire = authorities_turn(s->wire, now);
    if (lists < wire)
        wire = lists;
    /* What was answered goes out by the gate: another turn, at once. */
    if (s->busy)
        return instant_ms(now);
    return keys < wire ? keys : wire;
}

void servers_get_stats(const struct servers *s, int authority, struct instant now,
                       struct servers_stats *out)
{
    *out = (struct servers_stats){0};
    for (int p = 0; p < AUTHORITY_PURPOSES; p++)
        authority_get_stats(s->wire, authority, (enum authority_purpose)p, now, &out->purpose[p]);
    trl_watch_get_stats(s->lists, authority_name(s, authority), now, &out->list);
    if (authority >= 0 && (size_t)authority < s->n)
        out->keys_s = s->jwks[authority].taken_s;
}
