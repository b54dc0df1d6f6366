#include "consult.h"

#include <assert.h>

#include "code.h"
#include "json_write.h"
#include "m2m_rules.h"
#include "take.h"

enum {
    /* In front of what is asked: whose request it is, the policies and
     * revocations of before, the device; then the attributes. */
    KEY_HEAD = PEP_KEY_ID + 8 + 8 + 2,
    KEY_MAX = KEY_HEAD + M2M_ASK_MAX,
    ADDRESS_MAX = 2048,
};

static_assert((size_t)KEY_MAX <= (size_t)ANSWERS_ABOUT_MAX, "what is asked fits its entry");

/* ---- what is told of a request ---- */

struct telling {
    struct m2m_ask ask;
    struct bytes roles[M2M_ASK_ROLES_MAX];
    uint8_t to[ADDRESS_MAX];
};

/* A device that is not of oneM2M: what its methods come to. */
static enum m2m_operation operation_of(uint8_t method)
{
    static const enum m2m_operation of[] = {
        M2M_NONE,   M2M_RETRIEVE, M2M_CREATE, M2M_UPDATE,
        M2M_DELETE, M2M_RETRIEVE, M2M_UPDATE, M2M_UPDATE, /* FETCH, PATCH, iPATCH */
    };
    return of[method < sizeof of / sizeof *of ? method : 0];
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
            if (at == n && n < M2M_ASK_ROLES_MAX)
                out[n++] = some[k];
        }
    }
    return n;
}

/* The path in the gateway's name space, for who decides about all devices. */
static struct bytes address_of(const struct request *r, uint8_t *room)
{
    struct buf b = buf_on(room, ADDRESS_MAX);
    if (r->n_path == 0)
        buf_put_u8(&b, '/');
    for (size_t i = 0; i < r->n_path; i++) {
        buf_put_u8(&b, '/');
        buf_put(&b, r->path[i]);
    }
    return b.full ? BYTES_NONE : buf_bytes(&b);
}

/* False: it cannot be told. */
static bool tell(struct pep_session *s, const struct request *r, const struct asked *a,
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

static bool put_head(const struct pep *p, const struct pep_session *s, const struct request *r,
                     struct buf *out)
{
    static const uint8_t nobody[PEP_KEY_ID];
    const uint8_t *owner = session_owner(s);
    buf_put(out, bytes_of(owner, PEP_KEY_ID));
    buf_put_be(out, p->loads, 8);
    buf_put_be(out, p->revokes, 8);
    buf_put_be(out, (uint64_t)(int64_t)r->device, 2);
    return memcmp(owner, nobody, PEP_KEY_ID) != 0;
}

/* PEP_OK: *out has the answer. */
static enum pep_err ask(struct pep *p, enum pep_ask kind, int of, struct bytes about, int64_t now_s,
                        struct answer **out, struct consulting *c)
{
    enum pep_err err = PEP_OK;
    struct answer *a = answers_find_consult(p->answers, kind, about, of, now_s);
    if (!a)
        err = answers_consult(p->answers, kind, about, of, &a);
    if (err != PEP_OK) {
        c->retry_s = err == PEP_BUSY ? ANSWERS_BUSY_S : 0;
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
        c->retry_s = a->retry_s;
        return a->err;
    case ANSWER_INACTIVE:
        return PEP_AWAY;
    case ANSWER_NEW:
    case ANSWER_ASKED:
        break;
    }
    c->wait = a->id;
    return PEP_PENDING;
}

/* No memory for it: it goes out empty, and is refused there. */
void consult_write(const struct pep *p, const struct answer *a, int64_t now_s, struct buf *body,
                   struct pep_question *out)
{
    size_t of = (size_t)a->authority;
    struct bytes told = bytes_of(a->about.p + KEY_HEAD, a->about.n - KEY_HEAD);
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
    struct bytes told = bytes_of(a->about.p + KEY_HEAD, a->about.n - KEY_HEAD);
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

/* ---- the policy's own word ---- */

/* Nothing is held, and the association stands all the same: the client CA
 * knows it. Of who had a token once, a token is asked for again. */
static bool is_known_alone(const struct pep_session *s)
{
    return s->trusted && s->last_exp_s == 0;
}

/* Something that grants nothing, so that the policy looks at the path. */
static bool hold_nothing(struct pep *p, const struct pep_session *s, struct asked *a)
{
    const struct policy_claims none = {.authority = -1};
    struct policy_grant_report report;
    if (p->nothing && policy_grant_policy(p->nothing) != p->policy) {
        policy_grant_free(p->nothing);
        p->nothing = NULL;
    }
    if (!p->nothing)
        p->nothing = policy_grant_new(p->policy, &none, &report);
    if (!p->nothing)
        return false;
    asked_hold(a,
               &(struct policy_holding){.grant = p->nothing,
                                        .covers = true,
                                        .strength = (enum policy_strength)s->strength},
               (struct asked_source){.grant = NULL});
    return true;
}

static enum local_says own_word(struct pep *p, struct pep_session *s, const struct request *r,
                                struct asked *a, const struct policy_decision *d)
{
    struct policy_decision anew;
    if (d->verdict == POLICY_PERMIT)
        return LOCAL_PERMITS;
    /* What only a rule's own words may name is not asked about (m2m_cse.h). */
    if (r->m2m && r->m2m->named)
        return LOCAL_DENIES;
    if (d->reason == POLICY_NOT_RESOURCE)
        return LOCAL_SILENT;
    /* RFC 9200 5.10.2 asks who holds nothing for a token; TS-0003 7.5 knows
     * none. The CA's word counts as holding something; nobody else's does. */
    if (d->reason != POLICY_NO_GRANT || !is_known_alone(s) || !hold_nothing(p, s, a))
        return LOCAL_DENIES;
    policy_decide(p->policy, &a->q, &anew);
    a->q.n_held--;
    return anew.reason == POLICY_NOT_RESOURCE ? LOCAL_SILENT : LOCAL_DENIES;
}

/* ---- decision points ---- */

struct round {
    struct pep *p;
    struct pep_session *s;
    const struct request *r;
    struct asked *a;
    int64_t now_s;
    struct telling *told;
    struct consulting *out;
    uint8_t key[KEY_MAX];
};

static void note(const struct round *r, const struct policy_point *point, const char *reason)
{
    r->out->by = point->name;
    r->out->reason = reason;
    r->out->rule = (struct policy_rule_ref){policy_name(r->p->policy), point->line};
}

/* Each of these in turn, as long as the word so far is one that it is asked
 * about. */
static enum local_says ask_points(struct round *r, uint32_t points, enum policy_combine combine,
                                  enum local_says word)
{
    const struct policy_point *point;
    struct buf b = buf_on(r->key, sizeof r->key);
    bool told = r->s && put_head(r->p, r->s, r->r, &b);
    size_t head = b.n;
    uint8_t text[M2M_ASK_MAX];
    struct buf attributes = buf_on(text, sizeof text);
    if (told)
        point_write(&r->told->ask, &attributes);
    buf_put(&b, buf_bytes(&attributes));
    told = told && !b.full && !attributes.full && b.n > head;
    for (int i = 0; (point = policy_point(r->p->policy, (size_t)i)); i++) {
        struct answer *said;
        if (!(points >> i & 1) || point->combine != combine || !point_is_asked(combine, word))
            continue;
        if (!told) {
            note(r, point, "decision-point-not-asked");
            return LOCAL_DENIES;
        }
        enum pep_err err = ask(r->p, PEP_ASK_DECISION, i, buf_bytes(&b), r->now_s, &said, r->out);
        if (err != PEP_OK) {
            note(r, point, "decision-point-away");
            r->out->err = err;
            return LOCAL_DENIES;
        }
        word = point_combine(combine, word, said->consulted.says);
        if (word == LOCAL_DENIES)
            note(r, point, "decision-point-denied");
        else if (said->consulted.says == POINT_PERMITS && combine == POLICY_LOCAL_FIRST)
            note(r, point, policy_reason_str(POLICY_PERMITTED));
        else if (said->consulted.says == POINT_PERMITS && !r->out->reason)
            r->out->by = point->name; /* the policy's own rule permits, and it agrees */
    }
    return word;
}

/* ---- all of them ---- */

/* Apart, for its storage: nearly no request comes here. */
__attribute__((noinline)) static void ask_others(struct pep *p, struct pep_session *s,
                                                 const struct request *r, struct asked *a,
                                                 const struct policy_decision *d, int64_t now_s,
                                                 const struct policy_consult *whom,
                                                 struct consulting *out)
{
    struct telling told;
    struct round round = {
        .p = p, .s = s, .r = r, .a = a, .now_s = now_s, .told = &told, .out = out};
    enum local_says word = s                             ? own_word(p, s, r, a, d)
                           : d->verdict == POLICY_PERMIT ? LOCAL_PERMITS
                                                         : LOCAL_DENIES;
    if (s && !tell(s, r, a, &told))
        round.s = NULL; /* nobody can be told of it */
    word = ask_points(&round, whom->points, POLICY_LOCAL_FIRST, word);
    if (out->err == PEP_OK)
        word = ask_points(&round, whom->points, POLICY_DENY_OVERRIDES, word);
    out->verdict = word == LOCAL_PERMITS ? POLICY_PERMIT : POLICY_DENY;
}

void consult(struct pep *p, struct pep_session *s, const struct request *r, struct asked *a,
             const struct policy_decision *d, int64_t now_s, struct consulting *out)
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
    if (whom.points || whom.dynamic)
        ask_others(p, s, r, a, d, now_s, &whom, out);
}
