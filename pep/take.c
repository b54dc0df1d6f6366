#include "take.h"

#include <stdio.h>
#include <stdlib.h>

#include "bind.h"
#include "code.h"
#include "crypto.h"
#include "jose.h"
#include "judge.h"
#include "learn.h"
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
    if (grants_count(p->grants) - freed < p->config.max_grants)
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
    uint8_t holder[PEP_KEY_ID];
    for (uint8_t i = 0; k->kind == CNF_NONE && s && i < s->n_bearer; i++)
        if (memcmp(s->bearer[i]->hash, c->token.hash, TOKEN_HASH) == 0)
            return s->bearer[i];
    struct grant *g = NULL;
    if (k->kind == CNF_NONE && c->token.claims.permissions.n > 0 &&
        grant_key_id_holder(c->token.claims.sub, holder))
        g = grants_of_key(p->grants, holder);
    else if (k->kind == CNF_NONE)
        return NULL;
    else if (k->kind == CNF_KID || k->kind == CNF_DERIVED)
        g = bind_find_kid(p, k->kid, authority, now_s);
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
    judge_apply(p, j, g);
    apply_answer(l->answer, g);
    g->compiled = take_compile(p->policy, g->authority, g, &report);
    if (g->permissions_text.n > 0)
        g->permissions = m2m_permissions_new(p->policy, g->authority, g->permissions_text, &report);
    if (!g->compiled || (g->permissions_text.n > 0 && !g->permissions))
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
    enum pep_err err = learn_token(p, raw, LEARN_NO_DEVICE, s != NULL, from, now_s, &l);
    out->wait = l.wait;
    out->retry_s = l.retry_s;
    if (err != PEP_OK)
        return err;
    const struct cached *c = l.said;
    const struct policy_authority *a = policy_authority(p->policy, (size_t)c->token.authority);
    out->authority = a ? a->name : NULL;
    if (c->token.claims.permissions.n > 0)
        out->token_id = c->token.claims.cti;
    err = judge_token(p, l.said, l.answer && l.answer->reference, now_s, &j);
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
    err = judge_cnonce(p, &c->token, now_s);
    if (err == PEP_OK)
        err = judge_note(p, &c->token, &j, now_s);
    if (err == PEP_OK)
        err = build(p, s, &l, via, now_s, &j, out, &g);
    if (err != PEP_OK)
        return err;
    err = bind_make_way(p, g, now_s, &victims);
    /* The sweep may have ended some of the victims: look again. */
    if (err == PEP_OK && !make_room(p, victims.n, now_s)) {
        err = bind_make_way(p, g, now_s, &victims);
        if (err == PEP_OK && grants_count(p->grants) - victims.n >= p->config.max_grants)
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
    p->next_id = pep_id_after(p, p->next_id);
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
        *out = (struct pep_taken){.err = PEP_UNSUPPORTED, .code = CODE(4, 15)};
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
    const struct cached *c = a->said;
    struct policy_grant_report report = {0};
    struct judged j;
    struct grant *n = NULL;
    if (judge_token(p, a->said, a->reference, now_s, &j) == PEP_OK && proves_same(g, c))
        n = grant_new(&c->token, g->raw, p->config.n_devices);
    if (n) {
        judge_apply(p, &j, n);
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
