/* From what a client shows in its handshake to what that proves. */
#include <stdio.h>

#include "../policy/m2m_name.h"
#include "crypto.h"
#include "identity.h"
#include "inside.h"
#include "jwk.h"
#include "learn.h"
#include "take.h"

/* False: its enrolment has ended, or the operator revoked this subject. */
static bool prove_subject(const struct pep *p, int i, struct pep_proof *out)
{
    const struct subject *s = subjects_at(p->subjects, i);
    (void)snprintf(out->name, sizeof out->name, "%s", s->said->name);
    if (s->over) {
        out->err = PEP_ENROLMENT;
        return false;
    }
    if (revocations_match_enrolled(p->revocations, bytes_str(s->said->name))) {
        out->err = PEP_REVOKED;
        return false;
    }
    out->subject = i;
    return true;
}

static enum pep_key_state prove_grant(const struct grant *g, struct pep_proof *out)
{
    if (!g || g->key.kind != CNF_SYMMETRIC)
        return PEP_KEY_NONE;
    out->strength = POLICY_STRENGTH_PSK;
    memcpy(out->key_id, g->key.id, sizeof out->key_id);
    memcpy(out->key, g->key.secret, g->key.secret_n);
    out->key_n = g->key.secret_n;
    if (!jwk_thumbprint_secret(bytes_of(out->key, out->key_n), out->jkt))
        return PEP_KEY_NONE;
    memcpy(out->name, g->subject, sizeof out->name);
    return PEP_KEY_FOUND;
}

/* The two forms of RFC 9202 3.3.2. `kind` stays UNKNOWN for what is neither. */
/* A grant of the kid that counts; else one that may, when its authority was
 * asked. */
static enum pep_key_state find_kid(struct pep *p, struct bytes kid, const struct policy_peer *from,
                                   int64_t now_s, struct pep_proof *out)
{
    struct grant *stale = NULL;
    for (struct grant *g = grants_of_kid(p->grants, kid); g; g = grants_next_of_kid(g)) {
        if (g->key.kind != CNF_SYMMETRIC || !grant_is_live(g, now_s, p->config.build_s))
            continue;
        if (learn_is_fresh(p, g, now_s))
            return prove_grant(g, out);
        stale = stale ? stale : g;
    }
    struct learned l;
    if (!stale)
        return PEP_KEY_NONE;
    out->err = learn_again(p, stale, from, now_s, &l);
    out->wait = l.wait;
    return out->err == PEP_PENDING ? PEP_KEY_WAIT : PEP_KEY_NONE;
}

static enum pep_key_state find_ace(struct pep *p, struct bytes identity,
                                   const struct policy_peer *from, int64_t now_s,
                                   struct pep_proof *out)
{
    struct bytes kid;
    if (identity_kid(identity, &kid)) {
        out->kind = PEP_IDENTITY_KID;
        return find_kid(p, kid, from, now_s, out);
    }
    struct pep_taken *taken = &p->by_identity;
    struct grant *g;
    take_token(p, NULL, from, identity, PEP_VIA_IDENTITY, now_s, taken, &g);
    out->err = taken->err;
    out->wait = taken->wait;
    if (taken->err != PEP_MALFORMED && taken->err != PEP_TOO_LARGE && taken->err != PEP_TOO_DEEP)
        out->kind = PEP_IDENTITY_TOKEN;
    return taken->wait ? PEP_KEY_WAIT : prove_grant(g, out);
}

const struct pep_taken *pep_taken_by_identity(const struct pep *p)
{
    return &p->by_identity;
}

enum pep_key_state pep_find_psk(struct pep *p, struct bytes identity,
                                const struct policy_peer *from, int64_t now_s,
                                struct pep_proof *out)
{
    *out = (struct pep_proof){.subject = -1};
    if (!p->policy || identity.n == 0)
        return PEP_KEY_NONE;
    pep_look(p, now_s);
    int i = subjects_by_identity(p->subjects, identity);
    if (i >= 0) {
        const struct subject *s = subjects_at(p->subjects, i);
        out->kind = PEP_IDENTITY_SUBJECT;
        out->strength = POLICY_STRENGTH_PSK;
        if (!prove_subject(p, i, out))
            return PEP_KEY_NONE;
        memcpy(out->subject_id, s->psk_id, sizeof out->subject_id);
        memcpy(out->key_id, s->key_id, sizeof out->key_id);
        memcpy(out->key, s->key, s->key_n);
        out->key_n = s->key_n;
        return jwk_thumbprint_secret(bytes_of(s->key, s->key_n), out->jkt) ? PEP_KEY_FOUND
                                                                           : PEP_KEY_NONE;
    }
    /* Some stacks write the identity as text (PROTOCOL 4). Only for the ACE
     * forms: a plain name is exact bytes. No message of ours is such a text,
     * so it is read first: as it stands it could only be a reference. */
    uint8_t storage[TOKEN_MAX];
    struct buf b = buf_on(storage, sizeof storage);
    struct bytes bytes;
    if (identity_unwrap(identity, &b, &bytes)) {
        enum pep_key_state state = find_ace(p, bytes, from, now_s, out);
        out->utf8_wrapped = out->kind != PEP_IDENTITY_UNKNOWN;
        if (out->utf8_wrapped)
            return state;
    }
    return find_ace(p, identity, from, now_s, out);
}

/* A certificate's name as a record may show it. */
static void name_certificate(const struct pep_certificate *c, struct pep_proof *out)
{
    struct bytes n = c->n_names ? c->names[0] : BYTES_LIT("unnamed");
    char text[PEP_SUBJECT_MAX];
    size_t i = 0;
    for (; i < n.n && i < sizeof text - 6; i++)
        text[i] = n.p[i] > 0x20 && n.p[i] < 0x7f ? (char)n.p[i] : '.';
    text[i] = 0;
    (void)snprintf(out->name, sizeof out->name, "cert:%.58s", text);
}

/* An AE-ID as the URI in it, else the first domain name, which may be a CSE's
 * (TS-0003 10.1.1.7, 10.1.1.8; originator.h has what that is worth). */
static void name_entity(const struct pep_certificate *c, struct pep_proof *out)
{
    struct bytes found = BYTES_NONE;
    for (size_t i = 0; i < c->n_names; i++) {
        bool is_ae = c->names[i].n > 1 && c->names[i].p[0] == '/' && c->names[i].p[1] == '/' &&
                     !m2m_originator_check(c->names[i]);
        bool is_domain = found.n == 0 && m2m_is_domain(c->names[i]);
        if (is_ae || is_domain)
            found = c->names[i];
        if (is_ae)
            break;
    }
    if (found.n > 0 && found.n < sizeof out->named)
        memcpy(out->named, found.p, found.n);
}

static bool holds_grant(const struct pep *p, const uint8_t id[PEP_KEY_ID], int64_t now_s,
                        struct pep_proof *out)
{
    for (struct grant *g = grants_of_key(p->grants, id); g; g = grants_next_of_key(g)) {
        if (g->key.kind == CNF_SYMMETRIC || !grant_is_live(g, now_s, p->config.build_s))
            continue;
        out->kind = PEP_IDENTITY_KID;
        memcpy(out->name, g->subject, sizeof out->name);
        return true;
    }
    return false;
}

/* As which subject a certificate that the client CA vouches for is enrolled:
 * itself, or by the first of its names that one has. -1: as none. */
static int find_enrolled(const struct pep *p, const struct pep_certificate *c,
                         const uint8_t fingerprint[PEP_KEY_ID])
{
    int k = c->der.n ? subjects_by_fingerprint(p->subjects, fingerprint) : -1;
    for (size_t i = 0; i < c->n_names && k < 0; i++)
        k = subjects_by_certificate(p->subjects, c->names[i]);
    return k;
}

bool pep_judge_certificate(struct pep *p, const struct pep_certificate *c, int64_t now_s,
                           struct pep_proof *out)
{
    *out = (struct pep_proof){.subject = -1, .strength = POLICY_STRENGTH_CERTIFICATE};
    if (!p->policy || c->spki.n == 0)
        return false;
    /* A key that no token can name (not of our curves) still names itself,
     * by what is no proof key's digest. */
    struct crypto_ec ec;
    bool is_ec = crypto_ec_from_spki(c->spki, &ec);
    if (is_ec ? !grant_key_id_ec(ec.crv, crypto_ec_x(&ec), crypto_ec_y(&ec), out->key_id)
              : !crypto_sha256(c->spki, out->key_id))
        return false;
    if ((is_ec && !jwk_thumbprint_ec(&ec, out->jkt)) ||
        (c->der.n && !crypto_sha256(c->der, out->cert_id)))
        return false;
    name_certificate(c, out);
    pep_look(p, now_s);
    if (c->der.n && subjects_unenrolled(p->subjects, out->cert_id)) {
        out->err = PEP_ENROLMENT;
        return false;
    }
    if (c->trusted) {
        out->trusted = true;
        name_entity(c, out);
        int k = find_enrolled(p, c, out->cert_id);
        if (k < 0)
            return true;
        out->kind = PEP_IDENTITY_SUBJECT;
        const struct subject *s = subjects_at(p->subjects, k);
        /* A name of somebody whose certificate is another. */
        if (s->said->pinned && memcmp(s->said->fingerprint, out->cert_id, PEP_KEY_ID) != 0) {
            out->err = PEP_ENROLMENT;
            return false;
        }
        if (!prove_subject(p, k, out))
            return false;
        memcpy(out->subject_id, s->cert_id, sizeof out->subject_id);
        return true;
    }
    /* Nobody vouches for its name, so it proves its key and nothing else
     * (RFC 9202 3.2), or that it is the very certificate that a token names
     * (RFC 8705 3, self-signed ones included). */
    uint8_t id[PEP_KEY_ID];
    if (is_ec && holds_grant(p, out->key_id, now_s, out))
        return true;
    if (is_ec && grant_key_id_digest(CNF_JKT, out->jkt, id) && holds_grant(p, id, now_s, out))
        return true;
    return c->der.n && grant_key_id_digest(CNF_X5T, out->cert_id, id) &&
           holds_grant(p, id, now_s, out);
}
