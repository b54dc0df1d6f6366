#include "cwt.h"

#include "cbor.h"
#include "cose.h"
#include "cwt_number.h"

/* ---- the proof key ---- */

bool cwt_derive(const struct key *derivation, struct bytes raw, uint8_t out[KEYS_DERIVED_LEN])
{
    static const char type[] = "ACE-CoAP-DTLS-key-derivation";
    uint8_t info[TOKEN_MAX + 64];
    struct buf b = buf_on(info, sizeof info);
    cbor_put_array(&b, 3);
    cbor_put_text(&b, bytes_str(type));
    cbor_put_uint(&b, KEYS_DERIVED_LEN);
    cbor_put_bytes(&b, raw);
    return !b.full && crypto_hkdf_sha256(BYTES_NONE, key_secret(derivation), buf_bytes(&b), out,
                                         KEYS_DERIVED_LEN);
}

static enum pep_err read_symmetric(const struct cose_key *k, const struct cwt_source *from,
                                   bool sealed, struct cnf *out)
{
    if (k->has_k) {
        /* RFC 9200 6.1, RFC 8747 4: a secret that everybody on the way could
         * read proves nothing. */
        if (!sealed || k->k.n < CWT_PROOF_KEY_MIN || k->k.n > sizeof out->key)
            return PEP_CONFIRMATION;
        out->kind = CNF_SYMMETRIC;
        memcpy(out->key, k->k.p, k->k.n);
        out->key_n = k->k.n;
        return PEP_OK;
    }
    if (k->kid.n == 0)
        return PEP_CONFIRMATION;
    /* Kid and nothing else: derived, if the authority shares a derivation
     * key with us; else a reference, as an update of rights is (RFC 9202
     * 3.4), which leads to a key only if that is known already. */
    const struct key *derivation = from->keys ? keys_derivation(from->keys, from->authority) : NULL;
    if (!derivation) {
        out->kind = CNF_KID;
        return PEP_OK;
    }
    if (!cwt_derive(derivation, from->raw, out->key))
        return PEP_CONFIRMATION;
    out->kind = CNF_DERIVED;
    out->key_n = KEYS_DERIVED_LEN;
    return PEP_OK;
}

static enum pep_err read_cose_key(struct bytes item, const struct cwt_source *from, bool sealed,
                                  struct cnf *out)
{
    struct cose_key k;
    const char *why;
    if (!cose_key_parse(item, &k, &why))
        return PEP_CONFIRMATION;
    out->kid = k.kid;
    if (k.kty == COSE_KTY_SYMMETRIC)
        return read_symmetric(&k, from, sealed, out);
    struct crypto_ec point;
    /* A private half has no business in a token; whoever put it there has
     * shown it to others. */
    if (k.has_d || k.crv < 0 || k.crv > CRYPTO_P521 ||
        !crypto_ec_from_xy((int)k.crv, k.x, k.y, &point))
        return PEP_CONFIRMATION;
    out->kind = CNF_EC;
    out->crv = point.crv;
    out->x = k.x;
    out->y = k.y;
    return PEP_OK;
}

/* RFC 8747 3.3. The COSE_Encrypt form (with recipients) is not for us: the
 * authority shares a key with the gateway. */
static enum pep_err read_encrypted(struct bytes item, const struct cwt_source *from,
                                   struct cnf *out)
{
    struct cose m;
    if (cose_parse(item, &m) != PEP_OK || m.kind != COSE_ENCRYPT0 || m.cwt)
        return PEP_CONFIRMATION;
    if (!from->keys) {
        out->kind = CNF_SYMMETRIC; /* there is one; it stays closed */
        return PEP_OK;
    }
    struct keys_found found;
    struct bytes plain;
    keys_find(from->keys, from->authority, m.alg, m.kid, &found);
    for (size_t i = 0; i < found.n; i++) {
        struct cose_key k;
        const char *why;
        if (cose_open(&m, found.key[i], from->plain, &plain) != PEP_OK)
            continue;
        if (!cose_key_parse(plain, &k, &why) || k.kty != COSE_KTY_SYMMETRIC || !k.has_k)
            return PEP_CONFIRMATION;
        out->kid = k.kid;
        return read_symmetric(&k, from, true, out);
    }
    return PEP_CONFIRMATION;
}

static enum pep_err read_cnf(struct cbor *c, const struct cwt_source *from, struct cnf *out)
{
    /* RFC 8747 3.1: one key. Several methods in one cnf can only agree or
     * contradict each other; neither needs an answer. */
    if (cbor_take_map(c) != 1 || c->bad)
        return PEP_CONFIRMATION;
    int64_t method = cbor_take_key(c);
    struct bytes value = cbor_skip(c);
    struct cbor inner = cbor_on(value);
    if (c->bad)
        return PEP_CONFIRMATION;
    switch (method) {
    case METHOD_COSE_KEY:
        return read_cose_key(value, from, from->encrypted, out);
    case METHOD_ENCRYPTED:
        return read_encrypted(value, from, out);
    case METHOD_KID:
        out->kid = cbor_take_bytes(&inner);
        out->kind = CNF_KID;
        return cbor_done(&inner) && out->kid.n && out->kid.n <= TOKEN_KID_MAX ? PEP_OK
                                                                              : PEP_CONFIRMATION;
    default:
        /* METHOD_OSC among them: the token is good, its key is of no use on
         * a DTLS association. */
        return PEP_CONFIRMATION;
    }
}

/* ---- the other claims ---- */

static bool read_time(struct cbor *c, bool tag_ok, bool up, int64_t *out)
{
    struct cbor_item i;
    if (!cbor_next(c, &i))
        return false;
    /* RFC 8392 2: the tag is left out; ace-07 (figure 17) has it. */
    if (i.kind == CBOR_TAG && (!tag_ok || i.n != 1 || !cbor_next(c, &i)))
        return false;
    if (i.kind == CBOR_UINT && i.n <= (uint64_t)CWT_TIME_MAX) {
        *out = (int64_t)i.n;
        return true;
    }
    /* The comparison also keeps out NaN. Before 1970 nobody issued tokens;
     * after 9999 stands who counts in milliseconds. */
    if (i.kind != CBOR_FLOAT || !(i.f >= 0 && i.f <= (double)CWT_TIME_MAX))
        return false;
    *out = (int64_t)i.f;
    if (up && (double)*out < i.f)
        ++*out;
    return true;
}

/* RFC 9200 5.10.3: seconds, an unsigned integer. */
static bool read_lifetime(struct cbor *c, int64_t *out)
{
    uint64_t v = cbor_take_uint(c);
    *out = (int64_t)v;
    return !c->bad && v <= (uint64_t)CWT_TIME_MAX;
}

static bool read_aud(struct cbor *c, struct claims *out)
{
    size_t n = 1;
    if (cbor_peek(c) == CBOR_ARRAY)
        n = cbor_take_array(c);
    if (n > TOKEN_AUD_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        out->aud[i] = cbor_take_text(c);
    out->n_aud = n;
    return !c->bad;
}

/* RFC 9237 2 and 3. */
static enum pep_err read_aif(struct cbor *c, struct claims *out)
{
    size_t n = cbor_take_array(c);
    if (c->bad || n > TOKEN_AIF_MAX)
        return PEP_SCOPE;
    for (size_t i = 0; i < n; i++) {
        struct policy_aif *a = &out->aif[i];
        if (cbor_take_array(c) != 2)
            return PEP_SCOPE;
        a->path = cbor_take_text(c);
        a->mask = cbor_take_uint(c);
        if (c->bad || a->path.n == 0 || a->path.p[0] != '/')
            return PEP_SCOPE;
    }
    out->n_aif = n;
    return PEP_OK;
}

static enum pep_err read_scope(struct cbor *c, struct claims *out)
{
    struct cbor inner;
    enum pep_err e = PEP_SCOPE;
    struct bytes b;
    switch (cbor_peek(c)) {
    case CBOR_TEXT:
        out->scope_words = cbor_take_text(c);
        e = token_is_words(out->scope_words) ? PEP_OK : PEP_SCOPE;
        break;
    case CBOR_BYTES: /* RFC 9200 5.8.1: then its form is between AS and RS */
        b = cbor_take_bytes(c);
        inner = cbor_on(b);
        if (cbor_check(b) == CBOR_OK)
            e = read_aif(&inner, out);
        break;
    case CBOR_ARRAY:
        e = read_aif(c, out);
        break;
    default:
        break;
    }
    out->has_scope = e == PEP_OK;
    return e;
}

/* The claim that a number stands for with this authority; 0: none of ours.
 * The spaces of the dialects collide: in ace-07, 8 is client_id and 9
 * client_secret. But a cnf that is overlooked would make a bound token a
 * bearer token, so the registered numbers count there as well where their
 * type leaves no doubt. Both numbers in one token are refused as a double. */
static int64_t meaning(int64_t label, enum policy_dialect d, enum cbor_kind kind)
{
    if (label >= CLAIM_ISS && label <= CLAIM_CTI)
        return label;
    if (d == POLICY_RFC9200)
        return label == CLAIM_CNF || label == CLAIM_SCOPE || label == CLAIM_CNONCE ||
                       label == CLAIM_EXI
                   ? label
                   : 0;
    if (label == CLAIM_ACE07_CNF || (label == CLAIM_CNF && kind == CBOR_MAP))
        return CLAIM_CNF;
    if (label == CLAIM_ACE07_SCOPE || (label == CLAIM_SCOPE && kind == CBOR_TEXT))
        return CLAIM_SCOPE;
    return 0;
}

static enum pep_err read_claim(struct cbor *c, int64_t claim, const struct cwt_source *from,
                               struct claims *out)
{
    bool tag_ok = from->dialect == POLICY_ACE07;
    bool ok = true;
    switch (claim) {
    case CLAIM_ISS:
        out->iss = cbor_take_text(c);
        out->has_iss = true;
        break;
    case CLAIM_SUB:
        out->sub = cbor_take_text(c);
        break;
    case CLAIM_AUD:
        ok = read_aud(c, out);
        break;
    case CLAIM_EXP:
        ok = out->has_exp = read_time(c, tag_ok, false, &out->exp_s);
        break;
    case CLAIM_NBF:
        ok = out->has_nbf = read_time(c, tag_ok, true, &out->nbf_s);
        break;
    case CLAIM_IAT:
        ok = out->has_iat = read_time(c, tag_ok, false, &out->iat_s);
        break;
    case CLAIM_CTI:
        out->cti = cbor_take_bytes(c);
        break;
    case CLAIM_CNF:
        return read_cnf(c, from, &out->cnf);
    case CLAIM_SCOPE:
        return read_scope(c, out);
    case CLAIM_CNONCE:
        out->cnonce = cbor_take_bytes(c);
        ok = out->cnonce.n > 0 && out->cnonce.n <= CWT_CNONCE_MAX;
        break;
    case CLAIM_EXI:
        ok = out->has_exi = read_lifetime(c, &out->exi_s);
        break;
    default:
        (void)cbor_skip(c);
    }
    return ok && !c->bad ? PEP_OK : PEP_CLAIMS;
}

enum pep_err cwt_read(struct bytes claims, const struct cwt_source *from, struct claims *out)
{
    struct claims got = {0};
    bool has_cnf = false, has_scope = false;
    if (cbor_check(claims) != CBOR_OK)
        return PEP_CLAIMS;
    struct cbor c = cbor_on(claims);
    size_t n = cbor_take_map(&c);
    enum pep_err e = c.bad ? PEP_CLAIMS : PEP_OK;
    for (size_t i = 0; e == PEP_OK && i < n; i++) {
        int64_t label = cbor_take_key(&c);
        int64_t claim = meaning(label, from->dialect, cbor_peek(&c));
        if ((claim == CLAIM_CNF && has_cnf) || (claim == CLAIM_SCOPE && has_scope)) {
            e = PEP_CLAIMS;
            break;
        }
        has_cnf = has_cnf || claim == CLAIM_CNF;
        has_scope = has_scope || claim == CLAIM_SCOPE;
        e = read_claim(&c, claim, from, &got);
    }
    if (e == PEP_OK && !cbor_done(&c))
        e = PEP_CLAIMS;
    if (e == PEP_OK)
        *out = got;
    crypto_wipe(got.cnf.key, sizeof got.cnf.key);
    return e;
}
