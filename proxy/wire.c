#include "wire.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../pep/base64url.h"
#include "../pep/jose.h"
#include "../pep/key_file.h"
#include "../policy/hex.h"
#include "file.h"

enum {
    COAP_PORT = 5683, /* RFC 7252 12.6, 12.7 */
    COAPS_PORT = 5684,
    HTTP_PORT = 80,
    HTTPS_PORT = 443,
    NOT_FOR_OTHERS = 0037, /* bits that a secret's file must not have: 0640 at most */
    ASSERTION_LIFE_S = 60,
    ASSERTION_PART_MAX = 1024,
};

static bool complain(const struct policy_file *f, const char *what, struct buf *diag)
{
    policy_file_complain(f, what, diag);
    return false;
}

static void file_clear(struct wire_file *f)
{
    if (f->p)
        crypto_wipe(f->p, f->n);
    free(f->p);
    *f = (struct wire_file){0};
}

/* ---- files ---- */

static bool path_of(const struct policy_file *f, const char *dir, char out[PATH_MAX],
                    struct buf *diag)
{
    return key_file_path(dir, f->name, out, PATH_MAX) || complain(f, "the path is too long", diag);
}

static bool read_file(const struct policy_file *f, const char *dir, bool secret, size_t max,
                      struct wire_file *out, struct buf *diag)
{
    char path[PATH_MAX];
    const char *why;
    struct stat st;
    if (!f->name)
        return true;
    if (!path_of(f, dir, path, diag))
        return false;
    if (!file_read(path, false, max, &out->p, &out->n, &why))
        return complain(f, why, diag);
    if (secret && (stat(path, &st) != 0 || (st.st_mode & NOT_FOR_OTHERS)))
        return complain(
            f, "a secret that others may read, or its group write; use mode 0640 or 0600", diag);
    return out->n > 0 || complain(f, "the file is empty", diag);
}

/* One line of printable text, without its line break, and with NUL. */
static bool read_secret(const struct policy_file *f, const char *dir, struct wire_file *out,
                        struct buf *diag)
{
    struct wire_file raw = {0};
    if (!f->name)
        return true;
    bool ok = read_file(f, dir, true, WIRE_SECRET_MAX, &raw, diag);
    size_t n = raw.n;
    while (ok && n > 0 && (raw.p[n - 1] == '\n' || raw.p[n - 1] == '\r'))
        n--;
    for (size_t i = 0; ok && i < n; i++)
        if (raw.p[i] < 0x20 || raw.p[i] > 0x7e)
            ok = complain(f, "holds more than one line of printable text", diag);
    if (ok && n == 0)
        ok = complain(f, "holds no secret", diag);
    if (ok && !(out->p = malloc(n + 1)))
        ok = complain(f, "out of memory", diag);
    if (ok) {
        memcpy(out->p, raw.p, n);
        out->p[n] = '\0';
        out->n = n;
    }
    file_clear(&raw);
    return ok;
}

static bool read_psk(const struct policy_file *f, const char *dir, struct wire_file *out,
                     struct buf *diag)
{
    uint8_t key[TOKEN_KEY_MAX];
    size_t n = 0;
    if (!f->name)
        return true;
    bool ok = key_file_read_psk(dir, f->name, key, &n, diag) || /* has told what is wrong */
              complain(f, "this file cannot be used", diag);
    if (ok && !(out->p = malloc(n)))
        ok = complain(f, "out of memory", diag);
    if (ok) {
        memcpy(out->p, key, n);
        out->n = n;
    }
    crypto_wipe(key, sizeof key);
    return ok;
}

/* What a private key signs with; NULL: nothing. */
static const struct crypto_alg *signing_alg(const struct key *k)
{
    const struct crypto_alg *a;
    for (size_t i = 0; k->kind != KEY_SECRET && (a = crypto_jose_at(i)); i++)
        if (a->class == CRYPTO_SIGN && key_can_make(k, a))
            return a;
    return NULL;
}

static bool read_signing_key(const struct policy_file *f, const char *dir, struct key *out,
                             struct buf *diag)
{
    char path[PATH_MAX];
    size_t n = 0;
    if (!f->name)
        return true;
    if (!path_of(f, dir, path, diag))
        return false;
    if (!key_file_read(path, KEY_FILE_MINT, out, 1, &n, diag))
        return complain(f, "this file cannot be used", diag);
    return signing_alg(out) || complain(f, "a private key that can sign is needed", diag);
}

/* ---- forms ---- */

/* application/x-www-form-urlencoded */
static void put_form(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '*';
        if (plain) {
            buf_put_u8(out, c);
        } else if (c == ' ') {
            buf_put_u8(out, '+');
        } else {
            hex_put_percent(out, c);
        }
    }
}

/* RFC 6749 2.3.1: both are encoded as in a form before they are put
 * together; 2.3.1 also has them as parameters of the body. */
static bool prepare_secret(struct wire_endpoint *e, struct wire_file *secret)
{
    const struct policy_endpoint *said = e->said;
    struct bytes id = bytes_str(said->client_id), s = bytes_of(secret->p, secret->n);
    size_t room = 3 * (id.n + s.n) + 64;
    if (said->auth == POLICY_AUTH_BEARER) {
        e->secret = *secret;
        *secret = (struct wire_file){0};
        return true;
    }
    struct wire_file *first = said->auth == POLICY_AUTH_POST ? &e->form : &e->user;
    first->p = malloc(room);
    e->secret.p = malloc(room);
    if (!first->p || !e->secret.p)
        return false;
    struct buf b = buf_on(first->p, room), b2 = buf_on(e->secret.p, room);
    if (said->auth == POLICY_AUTH_POST)
        buf_put_str(&b, "&client_id=");
    put_form(&b, id);
    if (said->auth == POLICY_AUTH_POST) {
        buf_put_str(&b, "&client_secret=");
        put_form(&b, s);
    }
    put_form(&b2, s);
    first->n = b.n;
    e->secret.n = b2.n;
    buf_put_u8(&b, 0);
    buf_put_u8(&b2, 0);
    return !b.full && !b2.full;
}

/* RFC 8705 2: who shows a certificate says all the same which client he is. */
static bool prepare_id(struct wire_endpoint *e)
{
    static const char name[] = "&client_id=";
    struct bytes id = bytes_str(e->said->client_id);
    size_t room = 3 * id.n + sizeof name;
    if (e->said->auth != POLICY_AUTH_MUTUAL_TLS || id.n == 0)
        return true;
    if (!(e->form.p = malloc(room)))
        return false;
    struct buf b = buf_on(e->form.p, room);
    buf_put_str(&b, name);
    put_form(&b, id);
    e->form.n = b.n;
    return !b.full;
}

bool wire_assertion(const struct wire_endpoint *e, const char *audience, int64_t now_s,
                    struct buf *out)
{
    const struct crypto_alg *a = signing_alg(&e->signing);
    const char *id = e->said->client_id;
    uint8_t nonce[16], text[ASSERTION_PART_MAX];
    char number[64];
    struct buf t = buf_on(text, sizeof text);
    if (!a || !crypto_random(nonce, sizeof nonce))
        return false;
    /* RFC 7523 3. Neither id nor audience has a quote: see is_plain(). */
    buf_put_str(&t, "{\"iss\":\"");
    buf_put_str(&t, id);
    buf_put_str(&t, "\",\"sub\":\"");
    buf_put_str(&t, id);
    buf_put_str(&t, "\",\"aud\":\"");
    buf_put_str(&t, audience);
    buf_put_str(&t, "\",\"jti\":\"");
    base64url_put(&t, bytes_of(nonce, sizeof nonce));
    snprintf(number, sizeof number, "\",\"iat\":%lld,\"exp\":%lld}", (long long)now_s,
             (long long)now_s + ASSERTION_LIFE_S);
    buf_put_str(&t, number);
    buf_put_str(out, "&client_assertion_type="
                     "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
                     "&client_assertion=");
    bool ok = !t.full && jose_sign(a, &e->signing, "JWT", buf_bytes(&t), out) == PEP_OK;
    buf_put_str(out, "&client_id=");
    put_form(out, bytes_str(id));
    return ok && !out->full;
}

/* ---- endpoints ---- */

static bool is_plain(const char *s)
{
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            return false;
    return true;
}

/* The policy has looked at the URL already. */
static bool take_url(struct wire_endpoint *e, struct buf *diag)
{
    const struct policy_endpoint *said = e->said;
    struct url u;
    const char *why;
    if (!url_parse(bytes_str(said->url), &u, &why))
        return complain(&said->self, why, diag);
    memcpy(e->host, u.host, sizeof e->host);
    e->host_is_name = !u.is_v6_literal && u.host[strspn(u.host, "0123456789.")] != '\0';
    e->port = u.port > 0    ? u.port
              : !said->http ? (said->secure ? COAPS_PORT : COAP_PORT)
                            : (said->secure ? HTTPS_PORT : HTTP_PORT);
    if (said->http || bytes_equal_str(u.path, "/"))
        return true;
    e->segments.p = malloc(u.path.n + URL_SEGMENT_MAX);
    if (!e->segments.p)
        return complain(&said->self, "out of memory", diag);
    size_t n;
    while (url_next_segment(&u.path, e->segments.p + e->segments.n, &n, &why)) {
        if (e->n_path == WIRE_SEGMENTS_MAX)
            return complain(&said->self, "the path has too many segments", diag);
        e->path[e->n_path++] = bytes_of(e->segments.p + e->segments.n, n);
        e->segments.n += n;
    }
    return !why || complain(&said->self, why, diag);
}

static void put_part(struct buf *b, const void *p, size_t n)
{
    uint8_t hash[CRYPTO_SHA256];
    if (crypto_sha256(bytes_of(p, n), hash))
        buf_put(b, bytes_of(hash, sizeof hash));
    else
        b->full = true;
}

static bool digest(struct wire_endpoint *e)
{
    uint8_t text[8 * CRYPTO_SHA256 + 8];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, e->said->http);
    buf_put_u8(&b, e->said->secure);
    buf_put_be(&b, (uint64_t)e->port, 4);
    put_part(&b, e->host, strlen(e->host));
    struct bytes identity = bytes_str(e->said->psk_identity);
    put_part(&b, identity.p, identity.n);
    const struct wire_file *files[] = {&e->psk, &e->certificate, &e->key, &e->ca};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put_part(&b, files[i]->p, files[i]->n);
    return !b.full && crypto_sha256(buf_bytes(&b), e->digest);
}

struct dtls_out *wire_dtls(const struct wire_endpoint *e, const char **why)
{
    const struct dtls_out_config c = {
        .identity = bytes_str(e->said->psk_identity),
        .psk = bytes_of(e->psk.p, e->psk.n),
        .certificate = bytes_of(e->certificate.p, e->certificate.n),
        .key = bytes_of(e->key.p, e->key.n),
        .ca = bytes_of(e->ca.p, e->ca.n),
        .host = e->host,
    };
    return dtls_out_new(&c, why);
}

static bool check_tls(const struct wire_endpoint *e, struct buf *diag)
{
    const struct policy_endpoint *said = e->said;
    const struct policy_file *at = said->certificate.name ? &said->certificate
                                   : said->ca.name        ? &said->ca
                                   : said->psk_key.name   ? &said->psk_key
                                                          : &said->self;
    const char *why = NULL;
    if (said->http) /* another library, the same files */
        why =
            dtls_out_check(bytes_of(e->ca.p, e->ca.n), bytes_of(e->certificate.p, e->certificate.n),
                           bytes_of(e->key.p, e->key.n));
    else if (said->secure)
        dtls_out_free(wire_dtls(e, &why));
    return !why || complain(at, why, diag);
}

static bool load_endpoint(struct wire_endpoint *e, const struct policy_endpoint *said,
                          const char *issuer, const char *dir, struct buf *diag)
{
    struct wire_file secret = {0};
    if (!said->url)
        return true;
    e->said = said;
    /* All are looked at, so that one run names all that is wrong. */
    bool ok = take_url(e, diag);
    ok &= read_psk(&said->psk_key, dir, &e->psk, diag);
    ok &= read_file(&said->certificate, dir, false, WIRE_PEM_MAX, &e->certificate, diag);
    ok &= read_file(&said->key, dir, true, WIRE_PEM_MAX, &e->key, diag);
    ok &= read_file(&said->ca, dir, false, WIRE_PEM_MAX, &e->ca, diag);
    ok &= read_secret(&said->secret, dir, &secret, diag);
    ok &= read_signing_key(&said->signing_key, dir, &e->signing, diag);
    if (said->signing_key.name &&
        !(is_plain(said->client_id) && is_plain(issuer ? issuer : said->url)))
        ok = complain(&said->signing_key, "client-id and issuer must be free of quotes", diag);
    ok = ok && check_tls(e, diag);
    if (ok && !(digest(e) && (!secret.p || prepare_secret(e, &secret)) && prepare_id(e)))
        ok = complain(&said->self, "out of memory", diag);
    file_clear(&secret);
    return ok;
}

struct wire *wire_load(struct policy *p, const char *dir, struct buf *diag)
{
    struct wire *w = calloc(1, sizeof *w);
    size_t n = 0;
    while (policy_authority(p, n))
        n++;
    size_t n_points = 0;
    while (policy_point(p, n_points))
        n_points++;
    if (w)
        w->authorities = calloc(n + n_points + 1, sizeof *w->authorities);
    if (!w || !w->authorities) {
        free(w);
        buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    w->policy = policy_ref(p);
    w->n = n + n_points;
    w->n_authorities = n;
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        const struct policy_authority *a = policy_authority(p, i);
        struct wire_authority *to = &w->authorities[i];
        const struct policy_endpoint *said[] = {[AUTHORITY_INTROSPECT] = &a->wire.introspect,
                                                [AUTHORITY_REVOCATIONS] = &a->wire.revocation_list,
                                                [AUTHORITY_JWKS] = &a->wire.jwks,
                                                [AUTHORITY_DYNAMIC] = &a->dynamic.ask};
        to->name = a->name;
        to->issuer = a->issuer;
        for (size_t k = 0; k < sizeof said / sizeof *said; k++)
            ok &= load_endpoint(&to->endpoints[k], said[k], a->issuer, dir, diag);
    }
    for (size_t i = 0; i < n_points; i++) {
        const struct policy_point *point = policy_point(p, i);
        struct wire_authority *to = &w->authorities[n + i];
        to->name = point->name;
        ok &= load_endpoint(&to->endpoints[AUTHORITY_DECISION], &point->endpoint, NULL, dir, diag);
    }
    if (!ok) {
        wire_free(w);
        return NULL;
    }
    return w;
}

void wire_free(struct wire *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k < AUTHORITY_PURPOSES; k++) {
            struct wire_endpoint *e = &w->authorities[i].endpoints[k];
            struct wire_file *files[] = {&e->segments, &e->psk,  &e->certificate, &e->key,
                                         &e->ca,       &e->user, &e->secret,      &e->form};
            for (size_t f = 0; f < sizeof files / sizeof *files; f++)
                file_clear(files[f]);
            key_clear(&e->signing);
        }
    free(w->authorities);
    policy_unref(w->policy);
    free(w);
}
