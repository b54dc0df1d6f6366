#include "consult_inside.h"

#include <assert.h>

#include "code.h"

static_assert((size_t)CONSULT_KEY_MAX <= (size_t)ANSWERS_ABOUT_MAX, "what is asked fits its entry");

/* ---- what is told of a request ---- */

/* A device that is not of oneM2M: what its methods come to. */
static enum m2m_operation operation_of(uint8_t method)
{
    static const enum m2m_operation of[] = {
        M2M_NONE,   M2M_RETRIEVE, M2M_CREATE, M2M_UPDATE,
        M2M_DELETE, M2M_RETRIEVE, M2M_UPDATE, M2M_UPDATE, /* FETCH, PATCH, iPATCH */
    };
    return of[method < sizeof of / sizeof *of ? method : 0];
}

/* Of roles that the request wants to be judged by, none are all. */
static bool is_wanted(const struct asked *a, struct bytes role)
{
    for (size_t i = 0; i < a->q.n_only; i++)
        if (bytes_equal(a->q.only[i], role))
            return true;
    return a->q.n_only == 0;
}

/* Roles of what counts for this device; each once. */
static size_t gather_roles(const struct asked *a, struct bytes *out)
{
    struct bytes some[M2M_ASK_ROLES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < a->q.n_held; i++) {
        if (!a->held[i].covers)
            continue;
        size_t found = policy_grant_roles(a->held[i].grant, some, M2M_ASK_ROLES_MAX);
        for (size_t k = 0; k < found; k++) {
            size_t at = 0;
            while (at < n && !bytes_equal(out[at], some[k]))
                at++;
            if (at == n && n < M2M_ASK_ROLES_MAX && is_wanted(a, some[k]))
                out[n++] = some[k];
        }
    }
    return n;
}

/* The path in the gateway's name space, for who decides about all devices. */
static struct bytes address_of(const struct request *r, uint8_t *room)
{
    struct buf b = buf_on(room, CONSULT_ADDRESS_MAX);
    if (r->n_path == 0)
        buf_put_u8(&b, '/');
    for (size_t i = 0; i < r->n_path; i++) {
        buf_put_u8(&b, '/');
        buf_put(&b, r->path[i]);
    }
    return b.full ? BYTES_NONE : buf_bytes(&b);
}

bool consult_describe(struct pep_session *s, const struct request *r, const struct asked *a,
                      struct telling *t)
{
    const struct m2m_request *m = r->m2m;
    const char *originator = pep_session_originator(s);
    t->ask = (struct m2m_ask){
        .from = m ? m->originator : bytes_str(originator ? originator : pep_session_subject(s)),
        .to = m ? m->to : address_of(r, t->to),
        .operation = m ? m->operation : operation_of(r->method),
        .type = m ? m->type : -1,
        .roles = t->roles,
        .n_roles = gather_roles(a, t->roles),
        .tids = m ? m->tids : NULL,
        .n_tids = m ? m->n_tids : 0,
        .peer = r->peer,
    };
    return t->ask.operation != M2M_NONE && (m || t->ask.to.n > 0);
}

/* ---- asking ---- */

struct bytes consult_key(struct round *r, struct bytes attributes)
{
    static const uint8_t nobody[PEP_KEY_ID];
    struct buf b = buf_on(r->key, sizeof r->key);
    const uint8_t *owner = r->s ? session_owner(r->s) : nobody;
    if (attributes.n == 0 || memcmp(owner, nobody, PEP_KEY_ID) == 0)
        return BYTES_NONE;
    buf_put(&b, bytes_of(owner, PEP_KEY_ID));
    buf_put_be(&b, r->p->loads, 8);
    buf_put_be(&b, r->p->revokes, 8);
    buf_put_be(&b, (uint64_t)(int64_t)r->r->device, 2);
    buf_put(&b, attributes);
    return buf_bytes(&b);
}

enum pep_err consult_ask(struct round *r, enum pep_ask kind, int of, struct bytes about,
                         struct answer **out)
{
    struct pep *p = r->p;
    enum pep_err err = PEP_OK;
    struct answer *a = answers_find_consult(p->answers, kind, about, of, r->now_s);
    if (!a)
        err = answers_consult(p->answers, kind, about, of, &a);
    if (err != PEP_OK) {
        r->out->retry_s = err == PEP_BUSY ? ANSWERS_BUSY_S : 0;
        return err;
    }
    switch (a->state) {
    case ANSWER_ACTIVE:
        if (a->served)
            answers_count_hit(p->answers);
        a->served = true;
        learn_note_use(p, a);
        *out = a;
        return PEP_OK;
    case ANSWER_FAILED:
        r->out->retry_s = a->retry_s;
        return a->err;
    case ANSWER_INACTIVE:
        return PEP_AWAY;
    case ANSWER_NEW:
    case ANSWER_ASKED:
        break;
    }
    r->out->wait = a->id;
    return PEP_PENDING;
}

/* No memory for it: it goes out empty, and is refused there. */
void consult_write(const struct pep *p, const struct answer *a, int64_t now_s, struct buf *body,
                   struct pep_question *out)
{
    size_t of = (size_t)a->authority;
    struct bytes told = bytes_of(a->about.p + CONSULT_HEAD, a->about.n - CONSULT_HEAD);
    if (a->ask == PEP_ASK_DECISION) {
        out->http = policy_point(p->policy, of)->endpoint.http;
        point_question(told, now_s, body);
    } else {
        const struct policy_dynamic *is = &policy_authority(p->policy, of)->dynamic;
        out->http = is->ask.http;
        dynamic_question(told, now_s, is->lifetime_s, body);
    }
    out->content_format = PEP_FORMAT_JSON;
    out->body = buf_bytes(body);
}

/* ---- what came of it ---- */

static int64_t keep_until(const struct pep_reply *r, uint32_t most_s, int64_t now_s)
{
    uint32_t for_s = r->has_max_age && r->max_age_s < most_s ? r->max_age_s : most_s;
    return now_s + for_s;
}

static bool take_decision(struct pep *p, struct answer *a, const struct pep_reply *r, int64_t now_s)
{
    struct bytes told = bytes_of(a->about.p + CONSULT_HEAD, a->about.n - CONSULT_HEAD);
    const char *why;
    a->consulted.says = point_read(r, told, &why);
    a->until_s = keep_until(r, policy_point(p->policy, (size_t)a->authority)->cache_s, now_s);
    return a->consulted.says != POINT_UNHEARD;
}

/* What gives nothing that lasts is remembered for a moment, so that who is
 * denied does not make us ask each time. */
static bool take_dynamic(struct pep *p, struct answer *a, const struct pep_reply *r, int64_t now_s)
{
    struct dynamic_answer *d = &a->consulted.dynamic;
    const struct policy_dynamic *is = &policy_authority(p->policy, (size_t)a->authority)->dynamic;
    const char *why;
    if (!dynamic_read(r, now_s, d, &why))
        return false;
    a->until_s = keep_until(r, is->lifetime_s, now_s);
    if (d->until_s != 0 && d->until_s <= now_s) /* over before it began */
        d->acr = NULL;
    if (d->acr && d->until_s < a->until_s)
        a->until_s = d->until_s;
    if (!d->acr && now_s + ANSWERS_INACTIVE_S < a->until_s)
        a->until_s = now_s + ANSWERS_INACTIVE_S;
    return true;
}

void consult_take_reply(struct pep *p, struct answer *a, const struct pep_reply *r, int64_t now_s)
{
    bool said =
        a->ask == PEP_ASK_DECISION ? take_decision(p, a, r, now_s) : take_dynamic(p, a, r, now_s);
    if (said) {
        a->state = ANSWER_ACTIVE;
        a->from_s = now_s;
        a->kept = a->until_s > now_s;
    } else {
        learn_fail(p, a, PEP_AWAY, r->retry_s);
    }
    answers_replied(p->answers, a);
}

/* ---- all of them ---- */

/* All that is below is asked for, or goes with the target (TS-0001 10.1.5). */
static bool is_beyond_points(const struct m2m_request *m, const struct policy_consult *whom)
{
    return m->below ? whom->denies_here || whom->denies_below
                    : m->operation == M2M_DELETE && whom->denies_below;
}

/* Apart, for its storage: nearly no request comes here. */
__attribute__((noinline)) static void ask_others(struct pep *p, struct pep_session *s,
                                                 const struct request *r, struct asked *a,
                                                 struct policy_decision *d, int64_t now_s,
                                                 const struct policy_consult *whom,
                                                 struct consulting *out)
{
    struct round round;
    enum pep_err away = PEP_OK;
    round.p = p;
    round.s = s && consult_describe(s, r, a, &round.told) ? s : NULL;
    round.r = r;
    round.a = a;
    round.now_s = now_s;
    round.out = out;
    if (whom->dynamic && d->verdict == POLICY_DENY && round.s)
        away = consult_dynamic(&round, whom, d);
    out->err = away;
    if (away == PEP_PENDING || out->again)
        return;
    enum local_says word = consult_own_word(&round, d);
    out->err = PEP_OK;
    /* Else who may read a list, but not all in it, asks for what is around it. */
    if (word == LOCAL_PERMITS && r->m2m && is_beyond_points(r->m2m, whom)) {
        consult_refuse_below(&round);
        word = LOCAL_DENIES;
    }
    word = consult_points(&round, whom->points, POLICY_LOCAL_FIRST, word);
    if (out->err == PEP_OK)
        word = consult_points(&round, whom->points, POLICY_DENY_OVERRIDES, word);
    out->verdict = word == LOCAL_PERMITS ? POLICY_PERMIT : POLICY_DENY;
    if (word != LOCAL_PERMITS && out->err == PEP_OK && !out->reason)
        out->err = away; /* who could have given it could not be asked */
}

void consult(struct pep *p, struct pep_session *s, const struct request *r, struct asked *a,
             struct policy_decision *d, int64_t now_s, struct consulting *out)
{
    struct policy_consult whom;
    out->err = PEP_OK;
    out->wait = 0;
    out->retry_s = 0;
    out->again = false;
    out->by = out->reason = NULL;
    out->verdict = d->verdict;
    out->ends_s = INT64_MAX;
    policy_consult(p->policy, r->path, r->n_path, &whom);
    if (whom.points || whom.dynamic || whom.denies_below)
        ask_others(p, s, r, a, d, now_s, &whom, out);
}
