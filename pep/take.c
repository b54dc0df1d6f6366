/* From a token's bytes to a live grant: verified, judged in the order of RFC
 * 9200 5.10.1.1, bound to a proof key, made durable, and only then held. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto.h"
#include "cwt.h"
#include "inside.h"
#include "jose.h"
#include "record.h"

void take_name(const struct policy_authority *a, struct bytes sub, const struct grant_key *key,
               char out[PEP_SUBJECT_MAX])
{
    char text[PEP_SUBJECT_MAX];
    size_t n = 0;
    if (sub.n == 0) {
        struct bytes id = key->kid_n ? bytes_of(key->kid, key->kid_n)
                                     : bytes_of(key->id, 4); /* enough to tell apart */
        int k = snprintf(text, sizeof text, "%s",
                         key->kind == CNF_NONE ? "bearer"
                         : key->kid_n          ? "kid:"
                                               : "key:");
        n = k > 0 ? (size_t)k : 0;
        for (size_t i = 0; key->kind != CNF_NONE && i < id.n && n + 3 < 40; i++, n += 2)
            (void)snprintf(text + n, sizeof text - n, "%02x", id.p[i]);
    }
    for (size_t i = 0; i < sub.n && n < 40; i++, n++)
        text[n] = sub.p[i] > 0x20 && sub.p[i] < 0x7f && sub.p[i] != '@' ? (char)sub.p[i] : '.';
    text[n] = 0;
    (void)snprintf(out, PEP_SUBJECT_MAX, "%.40s@%.20s", text, a->name);
}

struct policy_grant *take_compile(struct policy *policy, int authority, const struct grant *g,
                                  struct policy_grant_report *report)
{
    struct policy_claims c = {
        .authority = authority, .scope = g->scope, .aif = g->aif, .n_aif = g->n_aif};
    return policy_grant_new(policy, &c, report);
}

/* A missing aud is refused: the text allows to take it for ours (RFC 9200
 * 5.10.1.1 "if present"), but a token that anyone would honour grants more. */
static bool covers_any(struct pep *p, const struct claims *c, bool *whole)
{
    bool any = false;
    *whole = false;
    memset(p->cover, 0, p->cover_words * sizeof *p->cover);
    for (size_t i = 0; i < c->n_aud; i++) {
        for (size_t k = 0; k < p->config.n_audience; k++)
            if (bytes_equal_str(c->aud[i], p->config.audience[k]))
                *whole = any = true;
        for (size_t d = 0; d < p->config.n_devices; d++) {
            const char *name = p->config.devices[d].audience;
            if (name && bytes_equal_str(c->aud[i], name)) {
                p->cover[d / 64] |= UINT64_C(1) << (d % 64);
                any = true;
            }
        }
    }
    return any;
}

/* Marks of older numbers come first: what is over by now bears on the rest. */
static void expire_numbers(struct pep *p, int64_t now_s)
{
    if (now_s >= fresh_next(p->fresh) && fresh_expire(p->fresh, p->config.store, now_s))
        take_end_numbered(p, now_s);
}

/* Numbers of a self-contained token: exi (RFC 9200 5.10.3), or those of an
 * authority that counts all its tokens (ace-07 5.7.2). */
static enum pep_err judge_numbers(struct pep *p, const struct policy_authority *a,
                                  const struct claims *c, int64_t now_s, struct judged *j)
{
    const struct policy_freshness *f = &a->fresh;
    enum pep_err err = PEP_OK;
    if (f->sequence_id) {
        if (!fresh_number(c->cti, f->sequence_id, f->sequence_numeral, &j->number))
            return PEP_CLAIMS;
        j->numbered = GRANT_SEQUENCE;
        err = fresh_judge_sequence(p->fresh, a->name, j->number, f->sequence_range);
    }
    if (err != PEP_OK || !c->has_exi)
        return err;
    /* A token that has both numbers in one cti cannot be read two ways. */
    if (f->sequence_id || !f->exi_id)
        return PEP_UNSUPPORTED;
    if (!fresh_number(c->cti, f->exi_id, f->exi_numeral, &j->number))
        return PEP_CLAIMS;
    int64_t ends_s;
    expire_numbers(p, now_s);
    j->numbered = GRANT_EXI;
    err = fresh_judge_exi(p->fresh, a->name, j->number, c->exi_s, now_s, &ends_s);
    if (err == PEP_OK && ends_s < j->ends_s)
        j->ends_s = ends_s;
    return err;
}

enum pep_err take_judge(struct pep *p, struct cached *said, bool reference, int64_t now_s,
                        struct judged *out)
{
    const struct token *t = &said->token;
    const struct claims *c = &t->claims;
    const struct policy_authority *a =
        t->authority < 0 ? NULL : policy_authority(p->policy, (size_t)t->authority);
    if (!a)
        return PEP_UNKNOWN_KEY;
    *out = (struct judged){.ends_s = c->has_exp ? c->exp_s : CWT_TIME_MAX,
                           .clockless = !c->has_exp && !c->has_nbf};
    enum pep_err err = revoke_judge(p, said);
    if (err != PEP_OK)
        return err;
    err = token_check_times(c, a->issuer, now_s, p->config.build_s);
    /* exp is optional in a CWT; a right without an end grants more. Numbers
     * are an end. */
    if (err == PEP_NO_EXPIRY && a->fresh.sequence_id && !reference)
        err = PEP_OK;
    if (err == PEP_OK && !reference)
        err = judge_numbers(p, a, c, now_s, out);
    if (err != PEP_OK)
        return err;
    if (!covers_any(p, c, &out->whole))
        return PEP_AUDIENCE;
    return c->has_scope ? PEP_OK : PEP_SCOPE;
}

enum pep_err take_note(struct pep *p, const struct token *t, const struct judged *j, int64_t now_s)
{
    const struct policy_authority *a = policy_authority(p->policy, (size_t)t->authority);
    bool raised = false;
    enum pep_err err = PEP_OK;
    if (j->numbered == GRANT_EXI)
        err = fresh_note_exi(p->fresh, p->config.store, a->name, j->number, t->claims.exi_s, now_s);
    else if (j->numbered == GRANT_SEQUENCE)
        err = fresh_note_sequence(p->fresh, p->config.store, a->name, j->number, &raised);
    p->stats.store_errors += err == PEP_STORE;
    if (raised)
        take_end_numbered(p, now_s);
    return err;
}

enum pep_err take_judge_cnonce(const struct pep *p, const struct token *t, int64_t now_s)
{
    const struct policy_authority *a = policy_authority(p->policy, (size_t)t->authority);
    return !a->fresh.cnonce || fresh_cnonce_is(p->fresh, t->claims.cnonce, now_s) ? PEP_OK
                                                                                  : PEP_CNONCE;
}

/* Grants whose number is over count no longer; the next sweep takes them out
 * of the store, and at a start they are judged again. */
void take_end_numbered(struct pep *p, int64_t now_s)
{
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        struct grant *g = grants_at(p->grants, i);
        const struct policy_authority *a = policy_authority(p->policy, (size_t)g->authority);
        int64_t ends_s;
        bool over = false;
        if (g->numbered == GRANT_SEQUENCE)
            over = a->fresh.sequence_id &&
                   fresh_judge_sequence(p->fresh, a->name, g->number, a->fresh.sequence_range) ==
                       PEP_EXPIRED;
        else if (g->numbered == GRANT_EXI)
            over = fresh_judge_exi(p->fresh, a->name, g->number, 1, now_s, &ends_s) == PEP_EXPIRED;
        if (over && now_s < g->exp_s) {
            g->exp_s = now_s;
            p->changes++;
        }
    }
}

static void apply(struct pep *p, const struct judged *j, struct grant *g)
{
    g->whole = j->whole;
    g->exp_s = j->ends_s;
    g->clockless = j->clockless;
    g->numbered = j->numbered;
    g->number = j->number;
    memcpy(g->devices, p->cover, p->cover_words * sizeof *p->cover);
}

static void apply_answer(const struct answer *a, struct grant *g)
{
    if (!a)
        return;
    g->asked = true;
    g->reference = a->reference;
    g->dormant = false;
    g->fresh_from_s = a->from_s;
    g->fresh_until_s = a->until_s;
}

struct grant *take_find_kid(struct pep *p, struct bytes kid, int authority, int64_t now_s)
{
    struct grant *g = grants_of_kid(p->grants, kid);
    while (g && (g->authority != authority || !grant_is_live(g, now_s, p->config.build_s)))
        g = grants_next_of_kid(g);
    return g;
}

/* Which key must stand behind the grant. */
static enum pep_err bind_key(struct pep *p, struct pep_session *s, const struct cached *c,
                             int64_t now_s, struct grant *g)
{
    const struct cnf *k = &c->token.claims.cnf;
    const struct policy_authority *a = policy_authority(p->policy, (size_t)c->token.authority);
    struct grant *known = NULL;
    if (k->kind == CNF_NONE) {
        /* With no key it counts for the association it came over, no other. */
        if (!a->bearer || !s)
            return PEP_CONFIRMATION;
        g->bearer = s;
        return PEP_OK;
    }
    if (k->kid.n > sizeof g->key.kid)
        return PEP_CONFIRMATION;
    /* By kid alone the key is one that this authority gave before (RFC 9202
     * 4). A COSE_Key with a kid and no k is that too when the kid is known:
     * 3.3.1 wants a fresh kid for each derived key. */
    if (k->kind == CNF_KID || k->kind == CNF_DERIVED)
        known = take_find_kid(p, k->kid, c->token.authority, now_s);
    if (known) {
        g->key = known->key;
        g->by_reference = true;
        return PEP_OK;
    }
    if (!c->has_key_id)
        return PEP_CONFIRMATION;
    g->key.kind = k->kind == CNF_DERIVED ? CNF_SYMMETRIC : k->kind;
    memcpy(g->key.id, c->key_id, PEP_KEY_ID);
    if (g->key.kind == CNF_SYMMETRIC) {
        memcpy(g->key.secret, k->key, k->key_n);
        g->key.secret_n = k->key_n;
    }
    g->key.kid_n = k->kid.n;
    if (k->kid.n)
        memcpy(g->key.kid, k->kid.p, k->kid.n);
    return PEP_OK;
}

/* More grants than one token can replace (one of its key, and those of a
 * kid that changed hands, one an authority). */
enum { VICTIMS_MAX = 2 * GRANTS_PER_KEY_MAX };

/* The grants that the new one replaces. */
struct victims {
    struct grant *g[VICTIMS_MAX];
    size_t n;
};

static bool victims_add(struct victims *v, struct grant *g)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->g[i] == g)
            return true;
    if (v->n == sizeof v->g / sizeof *v->g)
        return false;
    v->g[v->n++] = g;
    return true;
}

static enum pep_err make_way(struct pep *p, const struct grant *g, int64_t now_s, struct victims *v)
{
    size_t left = 0;
    v->n = 0;
    if (g->bearer) {
        for (size_t i = 0; i < g->bearer->n_bearer; i++) {
            struct grant *o = g->bearer->bearer[i];
            if (o->authority != g->authority)
                left++;
            else if (!victims_add(v, o))
                return PEP_FULL;
        }
        return left < GRANTS_PER_SESSION_MAX ? PEP_OK : PEP_FULL;
    }
    for (struct grant *o = grants_of_key(p->grants, g->key.id); o; o = grants_next_of_key(o)) {
        if (o->authority != g->authority)
            left++;
        else if (!victims_add(v, o))
            return PEP_FULL;
    }
    if (left >= GRANTS_PER_KEY_MAX)
        return PEP_FULL;
    /* A psk_identity in the kid form names one key, so a kid has one owner
     * here. The same authority may give its kid to a new key: the old key's
     * grant ends, and with its last grant its association (RFC 9202 5). But
     * not by a token issued before the one we hold: whoever saw an older
     * token pass could throw a client out by posting it again. */
    for (struct grant *o = grants_of_kid(p->grants, bytes_of(g->key.kid, g->key.kid_n)); o;
         o = grants_next_of_kid(o)) {
        if (memcmp(o->key.id, g->key.id, PEP_KEY_ID) == 0)
            continue;
        bool live = grant_is_live(o, now_s, p->config.build_s);
        if (live &&
            (o->authority != g->authority || (o->has_iat && g->has_iat && g->iat_s < o->iat_s)))
            return PEP_KID_TAKEN;
        if (!victims_add(v, o))
            return PEP_FULL;
    }
    return PEP_OK;
}

static enum pep_err keep(struct pep *p, const struct grant *g, const struct victims *v)
{
    struct store_op ops[VICTIMS_MAX + 1];
    uint8_t keys[VICTIMS_MAX + 1][RECORD_KEY], value[RECORD_MAX];
    struct buf b = buf_on(value, sizeof value);
    size_t n = 0;
    if (!p->config.store)
        return PEP_OK;
    for (size_t i = 0; i < v->n; i++) {
        if (v->g[i]->bearer)
            continue;
        record_key(v->g[i]->id, keys[n]);
        ops[n] = (struct store_op){STORE_GRANT, bytes_of(keys[n], RECORD_KEY), BYTES_NONE};
        n++;
    }
    bool ok = true;
    if (!g->bearer) {
        ok = record_write(g, policy_authority(p->policy, (size_t)g->authority)->name, keys[n], &b);
        ops[n] = (struct store_op){STORE_GRANT, bytes_of(keys[n], RECORD_KEY), buf_bytes(&b)};
        n++;
    }
    ok = ok && (n == 0 || store_change(p->config.store, ops, n));
    crypto_wipe(value, sizeof value);
    p->stats.store_errors += !ok;
    return ok ? PEP_OK : PEP_STORE;
}

void take_end(struct pep *p, struct grant *g)
{
    uint8_t id[PEP_KEY_ID];
    bool keyed = g->key.kind != CNF_NONE;
    memcpy(id, g->key.id, sizeof id);
    if (g->bearer)
        session_forget_bearer(g->bearer, g);
    grants_drop(p->grants, g);
    p->changes++;
    if (keyed && !grants_of_key(p->grants, id))
        created_drop(p->created, id);
}

/* Expired grants that nobody swept yet must not keep a new one out. */
static bool make_room(struct pep *p, size_t freed, int64_t now_s)
{
    if (grants_count(p->grants) - freed < grants_max(p->grants))
        return true;
    (void)pep_expire(p, now_s);
    return false;
}

/* The same token again, already held: nothing to write, nothing to compile. */
static struct grant *find_same(struct pep *p, const struct pep_session *s, const struct cached *c,
                               int64_t now_s)
{
    const struct cnf *k = &c->token.claims.cnf;
    int authority = c->token.authority;
    if (k->kind == CNF_NONE) {
        for (size_t i = 0; s && i < s->n_bearer; i++)
            if (memcmp(s->bearer[i]->hash, c->token.hash, TOKEN_HASH) == 0)
                return s->bearer[i];
        return NULL;
    }
    struct grant *g = NULL;
    if (k->kind == CNF_KID || k->kind == CNF_DERIVED)
        g = take_find_kid(p, k->kid, authority, now_s);
    else
        g = grants_of_key(p->grants, c->key_id);
    const uint8_t *key_id = g ? g->key.id : NULL;
    for (g = key_id ? grants_of_key(p->grants, key_id) : NULL; g; g = grants_next_of_key(g))
        if (g->authority == authority && memcmp(g->hash, c->token.hash, TOKEN_HASH) == 0)
            return g;
    return NULL;
}

/* Text of a token as a record may show it. */
static void show(struct bytes s, char out[PEP_SUBJECT_MAX])
{
    size_t n = 0;
    for (; n < s.n && n < PEP_SUBJECT_MAX - 1; n++)
        out[n] = s.p[n] > 0x20 && s.p[n] < 0x7f ? (char)s.p[n] : '.';
    out[n] = 0;
}

static enum pep_err build(struct pep *p, struct pep_session *s, const struct learned *l,
                          enum pep_via via, int64_t now_s, const struct judged *j,
                          struct pep_taken *out, struct grant **made)
{
    const struct cached *c = l->said;
    const struct token *t = &c->token;
    struct grant *g = grant_new(t, bytes_of(c->raw, c->raw_n), p->config.n_devices);
    if (!g)
        return PEP_FULL;
    struct policy_grant_report report = {0};
    enum pep_err err = PEP_OK;
    g->via = via;
    g->taken_s = now_s;
    apply(p, j, g);
    apply_answer(l->answer, g);
    g->compiled = take_compile(p->policy, g->authority, g, &report);
    if (!g->compiled)
        err = PEP_FULL;
    else if (report.n_known == 0)
        err = PEP_SCOPE;
    out->n_unknown = report.n_unknown;
    out->n_beyond = report.n_beyond;
    show(report.first_beyond, out->beyond);
    if (err == PEP_OK)
        err = bind_key(p, s, c, now_s, g);
    /* A psk_identity must yield a PSK. */
    if (err == PEP_OK && via == PEP_VIA_IDENTITY && g->key.kind != CNF_SYMMETRIC)
        err = PEP_CONFIRMATION;
    if (err != PEP_OK) {
        grant_free(g);
        return err;
    }
    take_name(policy_authority(p->policy, (size_t)g->authority), g->sub, &g->key, g->subject);
    g->used = s && (g->bearer || session_proves(s, g->key.id));
    *made = g;
    return PEP_OK;
}

static enum pep_err take(struct pep *p, struct pep_session *s, const struct policy_peer *from,
                         struct bytes raw, enum pep_via via, int64_t now_s, struct pep_taken *out,
                         struct grant **grant)
{
    struct learned l;
    struct judged j;
    struct victims victims;
    enum pep_err err = learn_token(p, raw, LEARN_NO_DEVICE, from, now_s, &l);
    out->wait = l.wait;
    out->retry_s = l.retry_s;
    if (err != PEP_OK)
        return err;
    const struct cached *c = l.said;
    const struct policy_authority *a = policy_authority(p->policy, (size_t)c->token.authority);
    out->authority = a ? a->name : NULL;
    err = take_judge(p, l.said, l.answer && l.answer->reference, now_s, &j);
    if (err != PEP_OK)
        return err;
    if (l.answer && l.answer->client_token.n) {
        out->client_token = l.answer->client_token;
        out->client_token_format = PEP_FORMAT_CBOR;
    }
    struct grant *g = find_same(p, s, c, now_s);
    if (g && !(via == PEP_VIA_IDENTITY && g->key.kind != CNF_SYMMETRIC)) {
        if (s && !g->bearer && session_proves(s, g->key.id))
            g->used = true;
        /* Of the time before its authority's word was asked for. */
        if (l.answer && !learn_is_fresh(p, g, now_s))
            take_refresh(p, g, l.answer, now_s);
        *grant = find_same(p, s, c, now_s);
        return *grant ? PEP_OK : PEP_INACTIVE;
    }
    err = take_judge_cnonce(p, &c->token, now_s);
    if (err == PEP_OK)
        err = take_note(p, &c->token, &j, now_s);
    if (err == PEP_OK)
        err = build(p, s, &l, via, now_s, &j, out, &g);
    if (err != PEP_OK)
        return err;
    err = make_way(p, g, now_s, &victims);
    /* The sweep may have ended some of the victims: look again. */
    if (err == PEP_OK && !make_room(p, victims.n, now_s)) {
        err = make_way(p, g, now_s, &victims);
        if (err == PEP_OK && grants_count(p->grants) - victims.n >= grants_max(p->grants))
            err = PEP_FULL;
    }
    if (err == PEP_OK) {
        g->id = p->next_id;
        err = keep(p, g, &victims);
    }
    if (err != PEP_OK) {
        grant_free(g);
        return err;
    }
    p->next_id++;
    g->used_kept = g->used;
    /* The replaced one leaves first: it makes the room. What its key created
     * stays when the new grant is of the same key. */
    for (size_t i = 0; i < victims.n; i++) {
        if (!g->bearer && memcmp(victims.g[i]->key.id, g->key.id, PEP_KEY_ID) == 0)
            grants_drop(p->grants, victims.g[i]);
        else
            take_end(p, victims.g[i]);
        p->stats.replaced++;
    }
    grants_take(p->grants, g);
    if (g->bearer)
        s->bearer[s->n_bearer++] = g;
    p->changes++;
    out->replaced = victims.n > 0;
    *grant = g;
    return PEP_OK;
}

void take_token(struct pep *p, struct pep_session *s, const struct policy_peer *from,
                struct bytes raw, enum pep_via via, int64_t now_s, struct pep_taken *out,
                struct grant **grant)
{
    *out = (struct pep_taken){0};
    *grant = NULL;
    out->err = p->policy ? take(p, s, from, raw, via, now_s, out, grant) : PEP_UNKNOWN_KEY;
    out->code = pep_err_code(out->err);
    if (out->err != PEP_OK) {
        out->client_token = BYTES_NONE;
        p->stats.refused += out->err != PEP_PENDING;
        return;
    }
    out->grant = (*grant)->id;
    memcpy(out->subject, (*grant)->subject, sizeof out->subject);
}

void pep_take_token(struct pep *p, struct pep_session *s, const struct policy_peer *from,
                    struct bytes raw, int content_format, int64_t now_s, struct pep_taken *out)
{
    /* RFC 9200 5.10.1: the format of the token, or octets; the three COSE
     * types and plain CBOR are what it may also be called. */
    static const int formats[] = {-1, 42, 16, 17, 18, 60, 61};
    struct grant *g;
    bool known = false;
    /* A JWT has no format of its own; it is certainly no COSE. */
    size_t n = jose_is_compact(raw) ? 2 : sizeof formats / sizeof *formats;
    for (size_t i = 0; i < n; i++)
        known = known || formats[i] == content_format;
    if (!known) {
        *out = (struct pep_taken){.err = PEP_UNSUPPORTED, .code = 4 << 5 | 15};
        p->stats.refused++;
        return;
    }
    take_token(p, s, from, raw, PEP_VIA_AUTHZ_INFO, now_s, out, &g);
}

/* ---- what an authority says now ---- */

void take_revoke(struct pep *p, struct grant *g)
{
    uint8_t key[RECORD_KEY];
    if (!g->bearer && p->config.store) {
        record_key(g->id, key);
        struct store_op op = {STORE_GRANT, bytes_of(key, RECORD_KEY), BYTES_NONE};
        /* What is not forgotten there is asked about again after a start. */
        if (!store_change(p->config.store, &op, 1))
            p->stats.store_errors++;
    }
    take_end(p, g);
    p->stats.ended++;
}

/* The answer is about the key that the grant is bound to. */
static bool proves_same(const struct grant *g, const struct cached *c)
{
    const struct cnf *k = &c->token.claims.cnf;
    if (k->kind == CNF_NONE)
        return g->bearer != NULL;
    if (k->kind == CNF_KID || (k->kind == CNF_DERIVED && g->by_reference))
        return bytes_equal(k->kid, bytes_of(g->key.kid, g->key.kid_n));
    return c->has_key_id && memcmp(c->key_id, g->key.id, PEP_KEY_ID) == 0;
}

void take_refresh(struct pep *p, struct grant *g, struct answer *a, int64_t now_s)
{
    const struct cached *c = &a->said;
    struct policy_grant_report report = {0};
    struct judged j;
    struct grant *n = NULL;
    if (take_judge(p, &a->said, a->reference, now_s, &j) == PEP_OK && proves_same(g, c))
        n = grant_new(&c->token, g->raw, p->config.n_devices);
    if (n) {
        apply(p, &j, n);
        apply_answer(a, n);
        n->compiled = take_compile(p->policy, n->authority, n, &report);
    }
    if (!n || !n->compiled || report.n_known == 0) {
        grant_free(n);
        take_revoke(p, g);
        return;
    }
    n->id = g->id;
    n->key = g->key;
    n->by_reference = g->by_reference;
    n->via = g->via;
    n->bearer = g->bearer;
    n->taken_s = g->taken_s;
    n->used = g->used;
    n->used_kept = g->used_kept;
    memcpy(n->subject, g->subject, sizeof n->subject);
    for (size_t i = 0; g->bearer && i < g->bearer->n_bearer; i++)
        if (g->bearer->bearer[i] == g)
            g->bearer->bearer[i] = n;
    grants_drop(p->grants, g);
    grants_take(p->grants, n);
    p->changes++;
}

/* ---- what the store kept ---- */

struct stored {
    struct pep *p;
    int64_t now_s;
};

/* A reference says nothing by itself: its grant sleeps, known by its key,
 * until its authority is asked. */
static enum store_keep take_opaque(struct stored *l, struct record *r)
{
    struct pep *p = l->p;
    int authority = policy_authority_find(p->policy, r->authority);
    const struct policy_authority *a =
        authority < 0 ? NULL : policy_authority(p->policy, (size_t)authority);
    struct token *t = calloc(1, sizeof *t);
    struct policy_grant_report report;
    struct victims v;
    struct grant *g = NULL;
    bool over =
        !a || !learn_asks(a, true) || (l->now_s >= p->config.build_s && l->now_s >= r->exp_s);
    if (t && !over) {
        t->authority = authority;
        t->claims.has_exp = true;
        t->claims.exp_s = r->exp_s;
        if (crypto_sha256(r->raw, t->hash))
            g = grant_new(t, r->raw, p->config.n_devices);
    }
    free(t);
    if (g) {
        g->id = r->id;
        g->via = r->via;
        g->taken_s = r->taken_s;
        g->used = g->used_kept = r->used;
        g->key = r->key;
        g->by_reference = r->by_reference;
        g->asked = g->reference = g->dormant = true;
        if (r->subject.n < sizeof g->subject)
            memcpy(g->subject, r->subject.p, r->subject.n);
        over = make_way(p, g, l->now_s, &v) != PEP_OK || v.n > 0;
        if (!over && grants_count(p->grants) < grants_max(p->grants))
            g->compiled = take_compile(p->policy, authority, g, &report);
    }
    crypto_wipe(r, sizeof *r);
    if (g && g->compiled) {
        grants_take(p->grants, g);
        return STORE_KEEP;
    }
    grant_free(g);
    p->stats.expired += over;
    return over ? STORE_REMOVE : STORE_KEEP;
}

/* Whatever is wrong with a record now would be wrong at each later start:
 * it goes. Only what another day may heal stays: a clock that is not set, a
 * table that is full, memory. */
static enum store_keep take_record(void *user, struct bytes key, struct bytes value)
{
    struct stored *l = user;
    struct pep *p = l->p;
    struct record r;
    struct cached *c;
    struct victims v;
    struct judged j = {0};
    bool hit;
    if (!record_read(key, value, &r)) {
        p->stats.corrupt++;
        return STORE_REMOVE;
    }
    if (r.id >= p->next_id)
        p->next_id = r.id + 1;
    if (r.opaque)
        return take_opaque(l, &r);
    enum pep_err err = cache_verify(p->cache, p->keys, r.raw, &c, &hit);
    if (err == PEP_OK)
        err = take_judge(p, c, false, l->now_s, &j);
    /* The token counts again once the clock is set. */
    if (err == PEP_CLOCK && c->token.claims.has_exp && covers_any(p, &c->token.claims, &j.whole))
        err = PEP_OK;
    struct grant *g = NULL;
    if (err == PEP_OK)
        g = grant_new(&c->token, r.raw, p->config.n_devices);
    if (!g) {
        crypto_wipe(&r, sizeof r);
        if (err == PEP_OK)
            return STORE_KEEP;
        p->stats.expired++;
        return STORE_REMOVE;
    }
    g->id = r.id;
    g->via = r.via;
    g->taken_s = r.taken_s;
    g->used = g->used_kept = r.used;
    apply(p, &j, g);
    g->asked = learn_asks(policy_authority(p->policy, (size_t)g->authority), false);
    /* The key by reference is the record's; the token must still name it. */
    const struct cnf *k = &c->token.claims.cnf;
    if (r.by_reference && (k->kind == CNF_KID || k->kind == CNF_DERIVED) &&
        bytes_equal(k->kid, bytes_of(r.key.kid, r.key.kid_n))) {
        g->key = r.key;
        g->by_reference = true;
    } else if (r.by_reference || k->kind == CNF_NONE || k->kind == CNF_KID) {
        err = PEP_CONFIRMATION;
    } else {
        err = bind_key(p, NULL, c, l->now_s, g);
    }
    crypto_wipe(&r, sizeof r);
    if (err == PEP_OK)
        err = make_way(p, g, l->now_s, &v);
    if (err == PEP_OK && v.n > 0) /* two of one key: never written so */
        err = PEP_KID_TAKEN;
    struct policy_grant_report report;
    if (err == PEP_OK && grants_count(p->grants) < grants_max(p->grants))
        g->compiled = take_compile(p->policy, g->authority, g, &report);
    if (!g->compiled) {
        grant_free(g);
        return err == PEP_OK ? STORE_KEEP : STORE_REMOVE;
    }
    take_name(policy_authority(p->policy, (size_t)g->authority), g->sub, &g->key, g->subject);
    grants_take(p->grants, g);
    return STORE_KEEP;
}

static bool is_owner(void *user, const uint8_t owner[PEP_KEY_ID])
{
    struct pep *p = user;
    return grants_of_key(p->grants, owner) || subjects_by_id(p->subjects, owner) >= 0;
}

void take_stored(struct pep *p, int64_t now_s)
{
    struct stored l = {p, now_s};
    if (!p->config.store)
        return;
    /* Numbers first: grants are judged by them. */
    if (!fresh_load(p->fresh, p->config.store, p->config.build_s))
        p->stats.store_errors++;
    (void)fresh_expire(p->fresh, p->config.store, l.now_s);
    if (!store_each(p->config.store, STORE_GRANT, take_record, &l))
        p->stats.store_errors++;
    if (!created_load(p->created, p->config.store, is_owner, p))
        p->stats.store_errors++;
}
