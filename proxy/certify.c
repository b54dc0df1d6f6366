#include "certify.h"

#include <stdlib.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>

#include "../pep/crypto.h"
#include "../policy/zone.h"
#include "compat_mbedtls.h"

enum {
    DAY_S = 86400,
    SERIAL = 16, /* 126 random bits (RFC 5280 4.1.2.2) */
    SAN_MAX = CERTIFY_NAMES_MAX * 2 * 260 + 8,
    DN_MAX = 1024,
};

struct certify {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    mbedtls_x509_crt ca; /* one certificate */
    mbedtls_pk_context ca_key;
    mbedtls_pk_context key; /* of whom it is for; public alone, where it came by a request */
};

static bool refuse(struct buf *diag, const char *what, int ret)
{
    char why[128];
    buf_put_str(diag, what);
    if (ret < 0) {
        mbedtls_strerror(ret, why, sizeof why);
        buf_put_str(diag, ": ");
        buf_put_str(diag, why);
    }
    return false;
}

struct certify *certify_new(struct buf *diag)
{
    struct certify *c = calloc(1, sizeof *c);
    if (!c) {
        refuse(diag, "out of memory", 0);
        return NULL;
    }
    mbedtls_entropy_init(&c->entropy);
    mbedtls_ctr_drbg_init(&c->drbg);
    mbedtls_x509_crt_init(&c->ca);
    mbedtls_pk_init(&c->ca_key);
    mbedtls_pk_init(&c->key);
    int ret = compat_crypto_init()
                  ? mbedtls_ctr_drbg_seed(&c->drbg, mbedtls_entropy_func, &c->entropy, NULL, 0)
                  : MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
    if (ret == 0)
        return c;
    refuse(diag, "no randomness", ret);
    certify_free(c);
    return NULL;
}

void certify_free(struct certify *c)
{
    if (!c)
        return;
    mbedtls_pk_free(&c->key);
    mbedtls_pk_free(&c->ca_key);
    mbedtls_x509_crt_free(&c->ca);
    mbedtls_ctr_drbg_free(&c->drbg);
    mbedtls_entropy_free(&c->entropy);
    crypto_wipe(c, sizeof *c);
    free(c);
}

/* ---- reading ---- */

/* The library wants PEM with its NUL. To be wiped and freed with its length. */
static uint8_t *with_nul(struct bytes text)
{
    uint8_t *out = malloc(text.n + 1);
    if (!out)
        return NULL;
    if (text.n)
        memcpy(out, text.p, text.n);
    out[text.n] = 0;
    return out;
}

static void drop(uint8_t *text, size_t n)
{
    if (text)
        crypto_wipe(text, n);
    free(text);
}

static int read_certificates(struct bytes text, mbedtls_x509_crt *out)
{
    uint8_t *t = with_nul(text);
    int ret = t ? mbedtls_x509_crt_parse(out, t, text.n + 1) : MBEDTLS_ERR_X509_ALLOC_FAILED;
    free(t);
    return ret;
}

static int64_t seconds(const mbedtls_x509_time *t)
{
    return days_from_civil(t->year, (unsigned)t->mon, (unsigned)t->day) * DAY_S + t->hour * 3600 +
           t->min * 60 + t->sec;
}

static const char *why_no_ca(const mbedtls_x509_crt *crt, int64_t now_s)
{
    return !crt->MBEDTLS_PRIVATE(ca_istrue) ||
                   mbedtls_x509_crt_check_key_usage(crt, MBEDTLS_X509_KU_KEY_CERT_SIGN) != 0
               ? "the certificate of this key is not one of a CA"
           : seconds(&crt->valid_to) <= now_s  ? "the CA has expired"
           : seconds(&crt->valid_from) > now_s ? "the CA is not valid yet"
                                               : NULL;
}

bool certify_use_ca(struct certify *c, struct bytes certificates, struct bytes key, int64_t now_s,
                    struct buf *diag)
{
    mbedtls_x509_crt all;
    const char *why = NULL;
    uint8_t *t = with_nul(key);
    mbedtls_x509_crt_init(&all);
    int ret = t ? compat_parse_key(&c->ca_key, t, key.n + 1, mbedtls_ctr_drbg_random, &c->drbg)
                : MBEDTLS_ERR_PK_ALLOC_FAILED;
    drop(t, key.n + 1);
    if (ret != 0) {
        why = "the key of the CA cannot be read";
    } else if ((ret = read_certificates(certificates, &all)) != 0) {
        why = "the certificates cannot be read"; /* above 0: not all of them */
    } else {
        mbedtls_x509_crt *of = &all;
        while (of && compat_check_pair(&of->pk, &c->ca_key, mbedtls_ctr_drbg_random, &c->drbg) != 0)
            of = of->next;
        why = of ? why_no_ca(of, now_s) : "the key is none of these CAs'";
        if (!why && (ret = mbedtls_x509_crt_parse_der(&c->ca, of->raw.p, of->raw.len)) != 0)
            why = "the certificate of the CA cannot be read";
    }
    mbedtls_x509_crt_free(&all);
    return !why || refuse(diag, why, ret);
}

int64_t certify_ca_ends(const struct certify *c)
{
    return seconds(&c->ca.valid_to);
}

bool certify_vouches_for(const struct certify *c, struct bytes certificates)
{
    mbedtls_x509_crt chain, ca;
    uint32_t flags = 0;
    mbedtls_x509_crt_init(&chain);
    mbedtls_x509_crt_init(&ca);
    bool ok = read_certificates(certificates, &chain) == 0 &&
              mbedtls_x509_crt_parse_der(&ca, c->ca.raw.p, c->ca.raw.len) == 0 &&
              mbedtls_x509_crt_verify(&chain, &ca, NULL, NULL, &flags, NULL, NULL) == 0;
    mbedtls_x509_crt_free(&chain);
    mbedtls_x509_crt_free(&ca);
    return ok;
}

/* ---- keys ---- */

static int generate(struct certify *c, mbedtls_pk_context *key)
{
    mbedtls_pk_free(key);
    mbedtls_pk_init(key);
    int ret = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    return ret != 0 ? ret
                    : mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key),
                                          mbedtls_ctr_drbg_random, &c->drbg);
}

bool certify_make_key(struct certify *c, struct buf *diag)
{
    int ret = generate(c, &c->key);
    return ret == 0 || refuse(diag, "no key could be made", ret);
}

static bool put_key(mbedtls_pk_context *key, struct buf *pem)
{
    uint8_t text[CERTIFY_PEM_MAX];
    bool ok = mbedtls_pk_write_key_pem(key, text, sizeof text) == 0;
    if (ok)
        buf_put_str(pem, (const char *)text);
    crypto_wipe(text, sizeof text);
    return ok && !pem->full;
}

bool certify_put_key(struct certify *c, struct buf *pem)
{
    return put_key(&c->key, pem);
}

bool certify_put_ca_key(struct certify *c, struct buf *pem)
{
    return put_key(&c->ca_key, pem);
}

/* ECDHE_ECDSA is all that the gateway speaks (RFC 9202 3.2). */
static bool is_our_kind(const mbedtls_pk_context *key)
{
    mbedtls_ecp_group_id id = mbedtls_pk_get_type(key) == MBEDTLS_PK_ECKEY
                                  ? mbedtls_pk_ec(*key)->MBEDTLS_PRIVATE(grp).id
                                  : MBEDTLS_ECP_DP_NONE;
    return id == MBEDTLS_ECP_DP_SECP256R1 || id == MBEDTLS_ECP_DP_SECP384R1 ||
           id == MBEDTLS_ECP_DP_SECP521R1;
}

/* The library reads a request and does not look at its signature. */
static int verify_request(mbedtls_x509_csr *r)
{
    uint8_t hash[MBEDTLS_MD_MAX_SIZE];
    mbedtls_md_type_t md = r->MBEDTLS_PRIVATE(sig_md);
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(md);
    if (md != MBEDTLS_MD_SHA256 && md != MBEDTLS_MD_SHA384 && md != MBEDTLS_MD_SHA512)
        return MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG;
    int ret = info ? mbedtls_md(info, r->cri.p, r->cri.len, hash) : MBEDTLS_ERR_X509_BAD_INPUT_DATA;
    if (ret != 0)
        return ret;
    return mbedtls_pk_verify_ext(r->MBEDTLS_PRIVATE(sig_pk), r->MBEDTLS_PRIVATE(sig_opts), &r->pk,
                                 md, hash, mbedtls_md_get_size(info), r->MBEDTLS_PRIVATE(sig).p,
                                 r->MBEDTLS_PRIVATE(sig).len);
}

bool certify_take_request(struct certify *c, struct bytes request, struct buf *diag)
{
    mbedtls_x509_csr r;
    const char *why = NULL;
    uint8_t der[512]; /* a SubjectPublicKeyInfo of P-521 has 158 bytes */
    uint8_t *t = with_nul(request);
    mbedtls_x509_csr_init(&r);
    /* PEM with its NUL, DER without. */
    bool pem = t && strstr((char *)t, "-----BEGIN");
    int ret = t ? mbedtls_x509_csr_parse(&r, t, request.n + pem) : MBEDTLS_ERR_X509_ALLOC_FAILED;
    if (ret != 0)
        why = "the request cannot be read";
    else if (!is_our_kind(&r.pk))
        why = "the request's key is not on P-256, P-384 or P-521";
    else if ((ret = verify_request(&r)) != 0)
        why = "the request's signature is not by its key";
    else if ((ret = mbedtls_pk_write_pubkey_der(&r.pk, der, sizeof der)) <= 0 ||
             (ret = mbedtls_pk_parse_public_key(&c->key, der + sizeof der - ret, (size_t)ret)) != 0)
        why = "the request's key cannot be used";
    mbedtls_x509_csr_free(&r);
    free(t);
    return !why || refuse(diag, why, ret);
}

/* ---- writing ---- */

static void put_der(struct buf *b, uint8_t tag, struct bytes content)
{
    buf_put_u8(b, tag);
    if (content.n >= 0x100) {
        buf_put_u8(b, 0x82);
        buf_put_be(b, content.n, 2);
    } else {
        if (content.n >= 0x80)
            buf_put_u8(b, 0x81);
        buf_put_u8(b, (uint8_t)content.n);
    }
    buf_put(b, content);
}

/* GeneralNames (RFC 5280 4.2.1.6): 2.28 has no function for them. */
static bool put_alt_names(const struct certify_names *n, struct buf *out)
{
    enum { SEQUENCE = 0x30, DNS = 0x82, URI = 0x86 };
    uint8_t storage[SAN_MAX];
    struct buf names = buf_on(storage, sizeof storage);
    for (size_t i = 0; i < n->n_uris; i++)
        put_der(&names, URI, bytes_str(n->uris[i]));
    for (size_t i = 0; i < n->n_dns; i++)
        put_der(&names, DNS, bytes_str(n->dns[i]));
    if (names.full)
        return false;
    put_der(out, SEQUENCE, buf_bytes(&names));
    return !out->full;
}

static bool put_time(int64_t s, char out[16])
{
    int64_t year;
    unsigned month, day, of_day = (unsigned)(s % DAY_S);
    civil_from_days(s / DAY_S, &year, &month, &day);
    if (s < 0 || year > 9999)
        return false;
    const unsigned parts[] = {(unsigned)year / 100, (unsigned)year % 100, month,      day,
                              of_day / 3600,        of_day / 60 % 60,     of_day % 60};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *out++ = (char)('0' + parts[i] / 10);
        *out++ = (char)('0' + parts[i] % 10);
    }
    *out = '\0';
    return true;
}

struct making {
    mbedtls_x509write_cert crt;
    mbedtls_pk_context *subject_key;
    const char *subject, *issuer; /* as the library reads names: "CN=..." */
    int64_t from_s, until_s;
    bool ca;
    struct bytes alt_names;
};

/* 0, or the library's error. */
static int describe(struct certify *c, struct making *m)
{
    /* clientAuth (RFC 5280 4.2.1.12) */
    static const uint8_t client[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                     0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
    char from[16], until[16];
    uint8_t serial[SERIAL];
    mbedtls_x509write_cert *w = &m->crt;
    int ret = mbedtls_ctr_drbg_random(&c->drbg, serial, sizeof serial);
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and never shorter */
    if (ret != 0)
        return ret;
    if (!put_time(m->from_s, from) || !put_time(m->until_s, until))
        return MBEDTLS_ERR_X509_INVALID_DATE;
    mbedtls_x509write_crt_set_version(w, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(w, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(w, m->subject_key);
    mbedtls_x509write_crt_set_issuer_key(w, &c->ca_key);
    if ((ret = compat_set_serial(w, serial, sizeof serial)) != 0 ||
        (ret = mbedtls_x509write_crt_set_validity(w, from, until)) != 0 ||
        (ret = mbedtls_x509write_crt_set_subject_name(w, m->subject)) != 0 ||
        (ret = mbedtls_x509write_crt_set_issuer_name(w, m->issuer)) != 0 ||
        (ret = mbedtls_x509write_crt_set_basic_constraints(w, m->ca, m->ca ? 0 : -1)) != 0 ||
        (ret = mbedtls_x509write_crt_set_subject_key_identifier(w)) != 0 ||
        (ret = mbedtls_x509write_crt_set_authority_key_identifier(w)) != 0 ||
        (ret = mbedtls_x509write_crt_set_key_usage(
             w, m->ca ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN
                      : MBEDTLS_X509_KU_DIGITAL_SIGNATURE)) != 0)
        return ret;
    if (m->ca)
        return 0;
    ret = mbedtls_x509write_crt_set_extension(w, MBEDTLS_OID_EXTENDED_KEY_USAGE,
                                              MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0,
                                              client, sizeof client);
    if (ret != 0 || m->alt_names.n == 0)
        return ret;
    return mbedtls_x509write_crt_set_extension(w, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0,
                                               m->alt_names.p, m->alt_names.n);
}

/* Into `out`, as DER that was read again. */
static int make(struct certify *c, struct making *m, mbedtls_x509_crt *out)
{
    uint8_t der[CERTIFY_PEM_MAX];
    mbedtls_x509write_crt_init(&m->crt);
    int ret = describe(c, m);
    if (ret == 0)
        ret =
            mbedtls_x509write_crt_der(&m->crt, der, sizeof der, mbedtls_ctr_drbg_random, &c->drbg);
    if (ret > 0) /* written at the end */
        ret = mbedtls_x509_crt_parse_der(out, der + sizeof der - ret, (size_t)ret);
    mbedtls_x509write_crt_free(&m->crt);
    return ret;
}

static bool put_pem(const mbedtls_x509_crt *crt, struct buf *pem)
{
    uint8_t text[CERTIFY_PEM_MAX];
    size_t n;
    if (mbedtls_pem_write_buffer("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n",
                                 crt->raw.p, crt->raw.len, text, sizeof text, &n) != 0)
        return false;
    buf_put_str(pem, (const char *)text);
    return !pem->full;
}

bool certify_put_ca(const struct certify *c, struct buf *pem)
{
    return put_pem(&c->ca, pem);
}

static bool put_common_name(const char *common, char out[DN_MAX])
{
    struct buf b = buf_on(out, DN_MAX);
    buf_put_str(&b, "CN=");
    buf_put_str(&b, common);
    buf_put_u8(&b, 0);
    return !b.full && strlen(common) <= CERTIFY_COMMON_MAX && !strpbrk(common, ",+=\"\\<>;#");
}

bool certify_make_ca(struct certify *c, const char *common_name, int64_t from_s, int64_t until_s,
                     struct buf *diag)
{
    char name[DN_MAX];
    if (!put_common_name(common_name, name))
        return refuse(diag, "a name for a CA has up to 64 characters, without any of ,+=\"\\<>;#",
                      0);
    struct making m = {.subject_key = &c->ca_key,
                       .subject = name,
                       .issuer = name,
                       .from_s = from_s,
                       .until_s = until_s,
                       .ca = true};
    int ret = generate(c, &c->ca_key);
    if (ret == 0)
        ret = make(c, &m, &c->ca);
    return ret == 0 || refuse(diag, "the CA could not be made", ret);
}

bool certify_sign(struct certify *c, const struct certify_names *names, int64_t from_s,
                  int64_t until_s, struct buf *pem, uint8_t fingerprint[CERTIFY_FINGERPRINT],
                  struct buf *diag)
{
    uint8_t storage[SAN_MAX + 8];
    struct buf alt = buf_on(storage, sizeof storage);
    char subject[DN_MAX], issuer[DN_MAX];
    mbedtls_x509_crt crt, ca;
    uint32_t flags = 0;
    if (!put_common_name(names->common, subject) || !put_alt_names(names, &alt) ||
        mbedtls_x509_dn_gets(issuer, sizeof issuer, &c->ca.subject) <= 0)
        return refuse(diag, "the names do not fit into a certificate", 0);
    struct making m = {.subject_key = &c->key,
                       .subject = subject,
                       .issuer = issuer,
                       .from_s = from_s,
                       .until_s = until_s,
                       .alt_names = buf_bytes(&alt)};
    mbedtls_x509_crt_init(&crt);
    mbedtls_x509_crt_init(&ca);
    int ret = make(c, &m, &crt);
    if (ret == 0)
        ret = mbedtls_x509_crt_parse_der(&ca, c->ca.raw.p, c->ca.raw.len);
    /* A CA's name that the library writes otherwise than it reads it would
     * show here, and not first at a device. */
    if (ret == 0)
        ret = mbedtls_x509_crt_verify(&crt, &ca, NULL, NULL, &flags, NULL, NULL);
    bool ok = ret == 0 && crypto_sha256(bytes_of(crt.raw.p, crt.raw.len), fingerprint) &&
              put_pem(&crt, pem);
    mbedtls_x509_crt_free(&crt);
    mbedtls_x509_crt_free(&ca);
    return ok || refuse(diag, "the certificate could not be made", ret);
}
