/* From a token's bytes to what it says: by its protection, by its authority's
 * word, or both. The questions that this takes, and their answers. */
#include "learn.h"

#include <stdlib.h>

#include "../policy/cursor.h"
#include "code.h"
#include "consult.h"
#include "crypto.h"
#include "cwt.h"
#include "inside.h"
#include "introspect.h"
#include "take.h"

enum {
    /* A shorter reference could be guessed (RFC 6749 10.10), and is a name
     * with a typing error more often than a token. */
    REFERENCE_MIN = 8,
};

/* Of an answer that a colleague tells. */
enum { TOLD_REFERENCE = 1, TOLD_UNWRAPPED = 2 };

bool learn_asks(const struct policy_authority *a, bool reference)
{
    return a->wire.introspect.url && (reference || a->wire.when == POLICY_ALWAYS);
}

/* Whom a token can be shown that says nothing here. One authority or none:
 * who is shown a token can use it, if it is a bearer token, so it is not
 * carried around. */
static int reference_authority(const struct pep *p, int device)
{
    const struct policy_authority *a;
    int only = -1;
    if (device >= 0 && (size_t)device < p->config.n_devices &&
        p->config.devices[device].authority) {
        int its = p->device_authority[device];
        a = its < 0 ? NULL : policy_authority(p->policy, (size_t)its);
        return a && learn_asks(a, true) ? its : -1;
    }
    for (size_t i = 0; (a = policy_authority(p->policy, i)); i++) {
        if (!learn_asks(a, true))
            continue;
        if (only >= 0)
            return -1;
        only = (int)i;
    }
    return only;
}

/* ---- asking ---- */

void learn_note_use(struct pep *p, struct answer *a)
{
    if (p->n_used < PEP_USED_MAX)
        p->used[p->n_used++] = a;
}

void learn_hold_used(struct pep *p, uint64_t question)
{
    for (size_t i = 0; i < p->n_used; i++)
        answers_hold(p->used[i], question);
}

static enum pep_err known(struct pep *p, struct answer *a, struct learned *out)
{
    switch (a->state) {
    case ANSWER_ACTIVE:
        out->said = a->said;
        out->answer = a;
        /* The first use is what the question was for. */
        if (a->served) {
            answers_count_hit(p->answers);
            if ((size_t)a->authority < p->n_of)
                p->of[a->authority].hits++;
        }
        a->served = true;
        learn_note_use(p, a);
        return PEP_OK;
    case ANSWER_INACTIVE:
        return PEP_INACTIVE;
    case ANSWER_FAILED:
        out->retry_s = a->retry_s;
        return a->err;
    case ANSWER_NEW:
    case ANSWER_ASKED:
        break;
    }
    out->wait = a->id;
    return PEP_PENDING;
}

static enum pep_err ask(struct pep *p, struct bytes raw, int authority, bool reference, bool held,
                        const struct policy_peer *from, int64_t now_s, struct learned *out)
{
    uint8_t hash[TOKEN_HASH];
    struct answer *a = answers_find(p->answers, raw, authority, now_s);
    if (a)
        return known(p, a, out);
    if (!crypto_sha256(raw, hash))
        return PEP_FULL;
    if (answers_is_inactive(p->answers, hash, authority, now_s))
        return PEP_INACTIVE;
    enum pep_err err = answers_ask(p->answers, raw, authority, reference, held, from, &a);
    if (err == PEP_BUSY)
        out->retry_s = ANSWERS_BUSY_S;
    return err == PEP_OK ? known(p, a, out) : err;
}

/* What would hold up everyone is checked on another thread. */
static enum pep_err verify(struct pep *p, struct bytes raw, bool associated,
                           const struct policy_peer *from, struct learned *out, bool *hit)
{
    if (p->checks && raw.n <= TOKEN_MAX && !cache_get(p->cache, raw) && token_is_costly(raw)) {
        enum pep_err err = checks_ask(p->checks, raw, associated, from, &out->wait);
        if (err == PEP_BUSY)
            out->retry_s = CHECKS_BUSY_S;
        return err;
    }
    return cache_verify(p->cache, p->keys, raw, &out->said, hit);
}

enum pep_err learn_token(struct pep *p, struct bytes raw, int device, bool associated,
                         const struct policy_peer *from, int64_t now_s, struct learned *out)
{
    bool hit = false;
    *out = (struct learned){0};
    enum pep_err err = verify(p, raw, associated, from, out, &hit);
    if (err == PEP_OK) {
        if (hit)
            p->stats.cache_hits++;
        else
            p->stats.verified++;
        int whose = out->said->token.authority;
        const struct policy_authority *a = policy_authority(p->policy, (size_t)whose);
        /* Verified first: nobody is asked about a forgery. */
        if (a && learn_asks(a, false))
            err = ask(p, raw, whose, false, false, from, now_s, out);
        return err;
    }
    p->stats.unknown_keys += err == PEP_UNKNOWN_KEY;
    /* What cannot be read here may still be known where it is from. What is
     * read and does not verify is a forgery, and stays one. */
    bool opaque = err == PEP_MALFORMED || err == PEP_UNSUPPORTED || err == PEP_UNKNOWN_KEY;
    int whom = opaque && raw.n >= REFERENCE_MIN ? reference_authority(p, device) : -1;
    return whom < 0 ? err : ask(p, raw, whom, true, false, from, now_s, out);
}

bool learn_find(struct pep *p, const uint8_t hash[TOKEN_HASH], int64_t now_s, struct learned *out)
{
    bool hit;
    *out = (struct learned){.answer = answers_by_hash(p->answers, hash, now_s)};
    if (out->answer) {
        out->said = out->answer->said;
        return true;
    }
    const struct cached *c = cache_find(p->cache, hash);
    if (!c ||
        cache_verify(p->cache, p->keys, bytes_of(c->raw, c->raw_n), &out->said, &hit) != PEP_OK)
        return false;
    const struct policy_authority *a =
        policy_authority(p->policy, (size_t)out->said->token.authority);
    return a && !learn_asks(a, false);
}

bool learn_is_fresh(struct pep *p, const struct grant *g, int64_t now_s)
{
    if (grant_is_fresh(g, now_s))
        return true;
    /* An answer that must not be kept holds for those who waited for it. */
    struct answer *a = answers_find(p->answers, g->raw, g->authority, now_s);
    if (!a || a->state != ANSWER_ACTIVE || g->dormant)
        return false;
    learn_note_use(p, a);
    return true;
}

enum pep_err learn_again(struct pep *p, const struct grant *g, const struct policy_peer *from,
                         int64_t now_s, struct learned *out)
{
    *out = (struct learned){0};
    return ask(p, g->raw, g->authority, g->reference, true, from, now_s, out);
}

/* ---- questions and replies ---- */

static struct introspect_about about(const struct pep *p, const struct answer *a)
{
    const struct policy_authority *whom = policy_authority(p->policy, (size_t)a->authority);
    return (struct introspect_about){.keys = p->keys,
                                     .authority = a->authority,
                                     .dialect = whom->dialect,
                                     .http = whom->wire.introspect.http,
                                     .issuer = whom->issuer,
                                     .client_id = whom->wire.introspect.client_id,
                                     .audience = p->config.audience,
                                     .n_audience = p->config.n_audience,
                                     .token = a->about,
                                     .unwrapped = a->unwrapped};
}

void learn_fail(struct pep *p, struct answer *a, enum pep_err err, uint32_t retry_s)
{
    a->state = ANSWER_FAILED;
    a->err = err;
    a->retry_s = err != PEP_AWAY                 ? 0
                 : retry_s > ANSWERS_RETRY_MAX_S ? ANSWERS_RETRY_MAX_S
                 : retry_s                       ? retry_s
                                                 : ANSWERS_RETRY_S;
    p->stats.away += err == PEP_AWAY;
}

bool pep_next_question(struct pep *p, int64_t now_s, struct pep_question *out)
{
    struct answer *a;
    while ((a = answers_take(p->answers)) != NULL) {
        if (a->ask != PEP_ASK_INTROSPECT) {
            uint8_t *to = answers_body(a, CONSULT_BODY_MAX);
            struct buf text = buf_on(to, to ? CONSULT_BODY_MAX : 0);
            *out = (struct pep_question){.id = a->id, .ask = a->ask, .authority = a->authority};
            consult_write(p, a, now_s, &text, out);
            return true;
        }
        struct introspect_about q = about(p, a);
        if ((size_t)a->authority < p->n_of)
            p->of[a->authority].asked++;
        uint8_t *room = answers_body(a, INTROSPECT_ASK_MAX);
        struct buf body = buf_on(room, room ? INTROSPECT_ASK_MAX : 0);
        *out = (struct pep_question){.id = a->id, .authority = a->authority, .http = q.http};
        if (introspect_ask(&q, &body, &out->content_format)) {
            out->body = buf_bytes(&body);
            return true;
        }
        /* No memory for it: those who wait must hear that. The question goes
         * out empty, and is refused there. */
        out->content_format = PEP_FORMAT_NONE;
        return true;
    }
    return false;
}

/* The answer's claims are what the token says; or what both say. */
static enum pep_err take_in(struct pep *p, struct answer *a, struct introspection *in,
                            struct buf *storage, int64_t now_s)
{
    const struct policy_authority *whom = policy_authority(p->policy, (size_t)a->authority);
    struct bytes raw = a->about;
    struct token *t = &a->said->token;
    struct claims *told = &in->claims;
    /* The rest of its life, by the server's clock. A reference has no number
     * to remember it by, and needs none: the server knows when it is over. */
    if (told->has_exi) {
        int64_t ends_s = told->exi_s > CWT_TIME_MAX - now_s ? CWT_TIME_MAX : now_s + told->exi_s;
        if (!told->has_exp || ends_s < told->exp_s)
            told->exp_s = ends_s;
        told->has_exp = true;
        told->has_exi = false;
    }
    enum pep_err err = PEP_OK;
    if (a->reference) {
        t->authority = a->authority;
        t->claims = *told;
        if (!crypto_sha256(raw, t->hash))
            err = PEP_FULL;
        if (t->claims.n_aud == 0 && whom->fresh.audience)
            t->claims.aud[t->claims.n_aud++] = bytes_str(whom->fresh.audience);
    } else {
        err = token_verify(p->keys, raw, t);
        if (err == PEP_OK && t->authority != a->authority)
            err = PEP_PROTECTION;
        if (err == PEP_OK)
            err = introspect_merge(&t->claims, told, storage);
    }
    /* RFC 7662 2.2: exp is optional. Then it ends when the server says so,
     * which is asked before each use that the last answer does not cover. */
    if (err == PEP_OK && !t->claims.has_exp && !t->claims.has_exi) {
        t->claims.has_exp = true;
        t->claims.exp_s = CWT_TIME_MAX;
    }
    if (err == PEP_OK && !cached_name_key(a->said))
        err = PEP_CONFIRMATION;
    if (err != PEP_OK)
        return err;
    a->state = ANSWER_ACTIVE;
    a->kept = whom->wire.cache_s > 0;
    a->from_s = now_s;
    a->until_s = now_s + whom->wire.cache_s;
    if (t->claims.has_exp && t->claims.exp_s < a->until_s)
        a->until_s = t->claims.exp_s;
    a->client_token = in->client_token;
    return PEP_OK;
}

/* Grants that rest on the token: in no order, and the last one takes the
 * place of one that goes, so from the end. */
static void tell_grants(struct pep *p, struct answer *a, const uint8_t hash[TOKEN_HASH],
                        int64_t now_s)
{
    for (size_t i = grants_count(p->grants); i-- > 0;) {
        struct grant *g = grants_at(p->grants, i);
        if (!g->asked || g->authority != a->authority || memcmp(g->hash, hash, TOKEN_HASH) != 0)
            continue;
        if (a->state == ANSWER_ACTIVE)
            take_refresh(p, g, a, now_s);
        else
            take_revoke(p, g);
    }
}

/* The words themselves: each reads them by its own keys and clock. What is
 * larger than an answer may be, none could read. */
static void tell_colleagues(struct pep *p, const struct answer *a, const struct pep_reply *r)
{
    uint8_t text[TOKEN_MAX + INTROSPECT_ANSWER_MAX + 512], key[CRYPTO_SHA256];
    struct buf b = buf_on(text, sizeof text);
    struct bytes name = bytes_str(policy_authority(p->policy, (size_t)a->authority)->name);
    struct bytes token = a->about;
    if (!p->config.colleagues || name.n > UINT8_MAX || !crypto_sha256(token, key))
        return;
    buf_put_u8(&b, (uint8_t)name.n);
    buf_put(&b, name);
    buf_put_be(&b, token.n, 2);
    buf_put(&b, token);
    buf_put_u8(
        &b, (uint8_t)((a->reference ? TOLD_REFERENCE : 0) | (a->unwrapped ? TOLD_UNWRAPPED : 0)));
    buf_put_u8(&b, r->code);
    buf_put_be(&b, (uint32_t)r->content_format, 4);
    buf_put(&b, r->body);
    const struct store_op op = {STORE_ANSWER, bytes_of(key, sizeof key), buf_bytes(&b)};
    if (!b.full)
        (void)!store_change(p->config.colleagues, &op, 1);
    crypto_wipe(text, sizeof text);
}

/* What r says of the token of `a`. */
static void take_reply(struct pep *p, struct answer *a, const struct pep_reply *r, bool told,
                       int64_t now_s)
{
    struct introspection in;
    uint8_t hash[TOKEN_HASH];
    struct introspect_about q = about(p, a);
    size_t room = 2 * (r->body.n < INTROSPECT_ANSWER_MAX ? r->body.n : INTROSPECT_ANSWER_MAX) +
                  a->about.n + 64;
    uint8_t *to = answers_storage(a, room);
    struct buf storage = buf_on(to, to ? room : 0);
    introspect_read(&q, r, &storage, &in);
    struct bytes inner;
    bool unknown = in.said == INTROSPECT_INACTIVE ||
                   (in.said == INTROSPECT_NOTHING && !r->away && r->code == CODE(4, 0));
    /* The server wrapped its reference and does not know it so. */
    if (unknown && a->reference && !a->unwrapped && introspect_is_wrapped(q.token, &inner)) {
        a->unwrapped = true;
        answers_ask_again(p->answers, a);
        return;
    }
    enum pep_err err;
    switch (in.said) {
    case INTROSPECT_ACTIVE:
        err = take_in(p, a, &in, &storage, now_s);
        if (err != PEP_OK)
            learn_fail(p, a, err, 0);
        break;
    case INTROSPECT_INACTIVE:
        a->state = ANSWER_INACTIVE;
        a->kept = policy_authority(p->policy, (size_t)a->authority)->wire.cache_s > 0;
        break;
    case INTROSPECT_UNUSABLE:
        learn_fail(p, a, in.err, 0);
        break;
    case INTROSPECT_REFUSED:
    case INTROSPECT_NOTHING:
        learn_fail(p, a, PEP_AWAY, r->retry_s);
        break;
    }
    crypto_wipe(&in.claims, sizeof in.claims);
    bool said = a->state != ANSWER_FAILED || a->err != PEP_AWAY;
    answers_replied(p->answers, a);
    if (said && crypto_sha256(q.token, hash))
        tell_grants(p, a, hash, now_s);
    if (said && a->state != ANSWER_FAILED && !told)
        tell_colleagues(p, a, r);
}

void pep_take_reply(struct pep *p, uint64_t id, const struct pep_reply *r, int64_t now_s)
{
    struct answer *a = answers_by_id(p->answers, id);
    p->reply_s = now_s;
    if (!a || a->state != ANSWER_ASKED)
        return;
    if (a->ask == PEP_ASK_INTROSPECT)
        take_reply(p, a, r, false, now_s);
    else
        consult_take_reply(p, a, r, now_s);
}

void learn_take_told(struct pep *p, struct bytes told, int64_t now_s)
{
    struct cursor c = cursor_on(told);
    struct bytes name = cursor_vector(&c, 1), token = cursor_vector(&c, 2);
    uint8_t flags = cursor_u8(&c);
    struct pep_reply r = {.code = cursor_u8(&c)};
    r.content_format = (int)(uint32_t)cursor_be(&c, 4);
    r.body = cursor_take(&c, c.n);
    int authority = policy_authority_find(p->policy, name);
    bool reference = flags & TOLD_REFERENCE;
    if (!cursor_done(&c) || authority < 0 ||
        !learn_asks(policy_authority(p->policy, (size_t)authority), reference))
        return;
    struct answer *a = answers_find(p->answers, token, authority, now_s);
    /* What was asked here is answered here; else the newest word counts. */
    if (a && (a->unsettled || a->state == ANSWER_NEW || a->state == ANSWER_ASKED))
        return;
    if (a)
        answers_end(p->answers, a);
    if (answers_ask(p->answers, token, authority, reference, true, NULL, &a) != PEP_OK)
        return; /* it is asked here when it is needed */
    answers_take_told(p->answers, a);
    a->unwrapped = flags & TOLD_UNWRAPPED;
    p->reply_s = now_s;
    take_reply(p, a, &r, true, now_s);
    pep_settle(p);
}

void learn_freshen(struct pep *p, struct grant *g, int64_t now_s)
{
    struct answer *a = g->asked ? answers_find(p->answers, g->raw, g->authority, now_s) : NULL;
    if (a && a->state == ANSWER_ACTIVE)
        take_refresh(p, g, a, now_s);
}

struct pep_check *pep_next_check(struct pep *p)
{
    return p->checks ? checks_take(p->checks, p->keys) : NULL;
}

uint64_t pep_check_id(const struct pep_check *c)
{
    return c->id;
}

void pep_check_run(struct pep_check *c)
{
    c->err = cached_verify(c->entry, c->keys);
}

void pep_check_free(struct pep_check *c)
{
    if (!c)
        return;
    cached_free(c->entry);
    keys_free(c->keys);
    free(c);
}

void pep_take_check(struct pep *p, struct pep_check *c)
{
    checks_done(p->checks, c, p->keys);
    if (c->err == PEP_OK && c->keys == p->keys) {
        cache_adopt(p->cache, c->entry);
        c->entry = NULL;
        p->stats.verified++;
    }
    pep_check_free(c);
}

void pep_settle(struct pep *p)
{
    if (p->checks)
        checks_settle(p->checks);
    answers_settle(p->answers, p->reply_s);
}

/* ---- a new policy ---- */

/* What another server or another key said is not this one's word. */
static bool same_server(const struct policy_authority *a, const struct policy_authority *b)
{
    const char *from = a->wire.introspect.url, *to = b->wire.introspect.url;
    return a->dialect == b->dialect && from && to && strcmp(from, to) == 0;
}

struct renumber {
    struct pep *p;
    const struct policy *old;
    int64_t now_s;
};

static int renumber(void *user, int authority, int64_t *until_s)
{
    struct renumber *r = user;
    const struct policy_authority *was = policy_authority(r->old, (size_t)authority);
    int i = policy_authority_find(r->p->policy, bytes_str(was->name));
    const struct policy_authority *is = i < 0 ? NULL : policy_authority(r->p->policy, (size_t)i);
    if (!is || !same_server(was, is))
        return -1;
    *until_s = r->now_s + is->wire.cache_s;
    return i;
}

void learn_reload(struct pep *p, const struct policy *old, int64_t now_s)
{
    struct renumber r = {p, old, now_s};
    if (old)
        answers_renumber(p->answers, renumber, &r);
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        struct grant *g = grants_at(p->grants, i);
        if (!g->compiled) /* it is about to end */
            continue;
        const struct policy_authority *a = policy_authority(p->policy, (size_t)g->authority);
        bool asked = learn_asks(a, g->reference);
        int64_t until_s = now_s + a->wire.cache_s;
        const struct policy_authority *was =
            old ? policy_authority(old, (size_t)policy_authority_find(old, bytes_str(a->name)))
                : NULL;
        if (!g->asked || !was || !same_server(was, a)) /* not by whom is asked now */
            g->fresh_from_s = g->fresh_until_s = 0;
        if (g->fresh_until_s > until_s)
            g->fresh_until_s = until_s;
        g->asked = asked;
    }
}
