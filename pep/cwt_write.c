#include "cwt.h"

#include "cbor.h"
#include "cose.h"
#include "cwt_number.h"

static bool has_cnf(const struct cnf *k)
{
    return k->kind != CNF_NONE;
}

static void put_ec(const struct cnf *k, struct buf *out)
{
    cbor_put_map(out, k->kid.n ? 5 : 4);
    cbor_put_int(out, 1);
    cbor_put_int(out, COSE_KTY_EC2);
    if (k->kid.n) {
        cbor_put_int(out, 2);
        cbor_put_bytes(out, k->kid);
    }
    cbor_put_int(out, -1);
    cbor_put_int(out, k->crv);
    cbor_put_int(out, -2);
    cbor_put_bytes(out, k->x);
    cbor_put_int(out, -3);
    cbor_put_bytes(out, k->y);
}

static void put_symmetric(const struct cnf *k, struct buf *out)
{
    bool secret = k->kind == CNF_SYMMETRIC;
    cbor_put_map(out, 1u + (k->kid.n != 0) + secret);
    cbor_put_int(out, 1);
    cbor_put_int(out, COSE_KTY_SYMMETRIC);
    if (k->kid.n) {
        cbor_put_int(out, 2);
        cbor_put_bytes(out, k->kid);
    }
    if (secret) {
        cbor_put_int(out, -1);
        cbor_put_bytes(out, bytes_of(k->key, k->key_n));
    }
}

static void put_cnf(const struct cnf *k, struct buf *out)
{
    cbor_put_map(out, 1);
    if (k->kind == CNF_KID) {
        cbor_put_int(out, METHOD_KID);
        cbor_put_bytes(out, k->kid);
        return;
    }
    cbor_put_int(out, METHOD_COSE_KEY);
    if (k->kind == CNF_EC)
        put_ec(k, out);
    else
        put_symmetric(k, out);
}

static void put_aud(const struct claims *c, struct buf *out)
{
    if (c->n_aud != 1)
        cbor_put_array(out, c->n_aud);
    for (size_t i = 0; i < c->n_aud; i++)
        cbor_put_text(out, c->aud[i]);
}

static void put_aif(const struct claims *c, struct buf *out)
{
    cbor_put_array(out, c->n_aif);
    for (size_t i = 0; i < c->n_aif; i++) {
        cbor_put_array(out, 2);
        cbor_put_text(out, c->aif[i].path);
        cbor_put_uint(out, c->aif[i].mask);
    }
}

/* Words as text; else AIF as a byte string, RFC 9237 5.1. */
static void put_scope(const struct claims *c, struct buf *out)
{
    if (c->n_aif == 0) {
        cbor_put_text(out, c->scope_words);
        return;
    }
    uint8_t room[TOKEN_MAX];
    struct buf aif = buf_on(room, sizeof room);
    put_aif(c, &aif);
    out->full = out->full || aif.full;
    cbor_put_bytes(out, buf_bytes(&aif));
}

static void put_time(bool has, int64_t claim, int64_t t, enum policy_dialect d, struct buf *out)
{
    if (!has)
        return;
    cbor_put_int(out, claim);
    if (d == POLICY_ACE07)
        cbor_put_tag(out, 1);
    cbor_put_int(out, t);
}

void cwt_write(const struct claims *c, enum policy_dialect d, struct buf *out)
{
    bool old = d == POLICY_ACE07;
    bool cnf = has_cnf(&c->cnf);
    size_t n = 0u + c->has_iss + (c->sub.n != 0) + (c->n_aud != 0) + c->has_exp + c->has_nbf +
               c->has_iat + (c->cti.n != 0) + cnf + c->has_scope + (!old && c->cnonce.n != 0) +
               (!old && c->has_exi);
    cbor_put_map(out, n);
    if (c->has_iss) {
        cbor_put_int(out, CLAIM_ISS);
        cbor_put_text(out, c->iss);
    }
    if (c->sub.n) {
        cbor_put_int(out, CLAIM_SUB);
        cbor_put_text(out, c->sub);
    }
    if (c->n_aud) {
        cbor_put_int(out, CLAIM_AUD);
        put_aud(c, out);
    }
    put_time(c->has_exp, CLAIM_EXP, c->exp_s, d, out);
    put_time(c->has_nbf, CLAIM_NBF, c->nbf_s, d, out);
    put_time(c->has_iat, CLAIM_IAT, c->iat_s, d, out);
    if (c->cti.n) {
        cbor_put_int(out, CLAIM_CTI);
        cbor_put_bytes(out, c->cti);
    }
    /* In rising order in both dialects: cnf 8, scope 9; scope 12, cnf 25. */
    if (cnf && !old) {
        cbor_put_int(out, CLAIM_CNF);
        put_cnf(&c->cnf, out);
    }
    if (c->has_scope) {
        cbor_put_int(out, old ? CLAIM_ACE07_SCOPE : CLAIM_SCOPE);
        put_scope(c, out);
    }
    if (cnf && old) {
        cbor_put_int(out, CLAIM_ACE07_CNF);
        put_cnf(&c->cnf, out);
    }
    if (c->cnonce.n && !old) {
        cbor_put_int(out, CLAIM_CNONCE);
        cbor_put_bytes(out, c->cnonce);
    }
    if (c->has_exi && !old) {
        cbor_put_int(out, CLAIM_EXI);
        cbor_put_int(out, c->exi_s);
    }
}

/* The named algorithm, or the key's own, or the first of the class (MAC:
 * without truncation; AES: the longest tag) that the key fits. */
static const struct crypto_alg *choose(const struct key *k, int alg, bool seal)
{
    if (alg == 0)
        alg = k->alg;
    const struct crypto_alg *best = NULL, *a;
    for (size_t i = 0; (a = crypto_alg_at(i)); i++) {
        if ((a->class == CRYPTO_AEAD) != seal || (alg && a->alg != alg) || !key_can_make(k, a))
            continue;
        if (!best || a->proof_n > best->proof_n)
            best = a;
    }
    return best;
}

enum pep_err cwt_mint(const struct claims *c, enum policy_dialect d, const struct cwt_maker *with,
                      struct buf *out)
{
    uint8_t one[TOKEN_MAX], two[TOKEN_MAX];
    struct buf claims = buf_on(one, sizeof one), inner = buf_on(two, sizeof two);
    struct bytes content;
    const struct crypto_alg *proof = NULL, *seal = NULL;
    if (with->proof)
        proof = choose(with->proof, with->proof_alg, false);
    if (with->seal)
        seal = choose(with->seal, with->seal_alg, true);
    if (!proof != !with->proof || !seal != !with->seal || (!proof && !seal))
        return PEP_UNSUPPORTED;
    /* A CWT has no method for the last two (RFC 8747 7.2.2). */
    if ((c->cnf.kind == CNF_SYMMETRIC && !seal) || c->cnf.kind == CNF_X5T || c->cnf.kind == CNF_JKT)
        return PEP_CONFIRMATION;

    enum pep_err e = PEP_OK;
    size_t from = out->n;
    cwt_write(c, d, &claims);
    content = buf_bytes(&claims);
    cbor_put_tag(out, COSE_TAG_CWT);
    if (claims.full) {
        e = PEP_TOO_LARGE;
    } else if (proof && seal) {
        e = cose_write(proof, with->proof, content, &inner);
        content = buf_bytes(&inner);
    } else if (proof) {
        e = cose_write(proof, with->proof, content, out);
    }
    if (e == PEP_OK && seal)
        e = cose_write(seal, with->seal, content, out);
    if (e == PEP_OK && (out->full || out->n - from > TOKEN_MAX))
        e = PEP_TOO_LARGE;
    crypto_wipe(one, sizeof one);
    crypto_wipe(two, sizeof two);
    return e;
}
