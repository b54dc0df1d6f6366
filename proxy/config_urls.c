/* Where a device is reached, and what it is known by: `url`, `psk`, `ca`,
 * `certificate` and `key`, `pause` of an entry of `devices`. */
#include "config_read.h"

#include <stdio.h>
#include <stdlib.h>

#include "../pep/crypto.h"
#include "../pep/key_file.h"
#include "../policy/url.h"
#include "dtls_out.h"
#include "file.h"
#include "limits.h"
#include "resolve.h"

enum {
    IDENTITY_BYTES = 128, /* RFC 4279 5.3 */
    PEM_BYTES = 65536,
    DIAG_BYTES = 512,
};

/* ---- URLs ---- */

/* Names are resolved when the daemon runs: a device that is not there yet, or
 * whose name is not, is no mistake of the configuration. */
static void read_host(struct config_reader *r, const struct yaml_node *n, const struct url *url,
                      struct device_url *u)
{
    u->host = arena_text(&r->l->arena, bytes_str(url->host));
    if (resolve_literal(url->host, u->port, &u->to)) {
        if (!peer_is_one_host(&u->to))
            yaml_error(r->y, n, "'%s' is not the address of one device", url->host);
        return;
    }
    memset(&u->to, 0, sizeof u->to);
    if (url->is_v6_literal || url->host[strspn(url->host, "0123456789.")] == '\0')
        yaml_error(r->y, n, "'%s' is no address", url->host);
}

static bool read_scheme(const struct url *url, struct device_url *u)
{
    static const struct {
        const char *name;
        enum device_scheme scheme;
        int port;
    } schemes[] = {
        {"coap", DEVICE_COAP, COAP_PORT},         {"coaps", DEVICE_COAPS, COAPS_PORT},
        {"coap+tcp", DEVICE_COAP_TCP, COAP_PORT}, {"coaps+tcp", DEVICE_COAPS_TCP, COAPS_PORT},
        {"http", DEVICE_HTTP, HTTP_PORT},         {"https", DEVICE_HTTPS, HTTPS_PORT}};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (bytes_equal_str(url->scheme, schemes[i].name)) {
            u->scheme = schemes[i].scheme;
            u->port = url->port > 0 ? url->port : schemes[i].port;
            return true;
        }
    return false;
}

static void read_url(struct config_reader *r, const struct yaml_node *n, struct device_url *u,
                     struct bytes *path)
{
    struct url url;
    const char *why;
    if (!yaml_text(r->y, n, &r->l->arena, &u->text))
        return;
    if (!url_parse(bytes_str(u->text), &url, &why)) {
        yaml_error(r->y, n, "%s", why);
        return;
    }
    if (!read_scheme(&url, u)) {
        yaml_error(r->y, n,
                   "'%.*s' to a device is not supported; coap, coaps, coap+tcp, coaps+tcp, http "
                   "and https are",
                   url.scheme.n > 32 ? 32 : (int)url.scheme.n, (const char *)url.scheme.p);
        return;
    }
    read_host(r, n, &url, u);
    const struct config_listener *own = config_find_loop(&r->l->c, u);
    if (own)
        yaml_error(r->y, n, "this is the gateway itself, which listens on %s", own->text);
    *path = bytes_equal_str(url.path, "/") ? BYTES_NONE : url.path;
}

/* What holds between the URLs of one device: the requests for one must do for
 * the other, and nobody may drive us from a protected one to a plain one by
 * keeping it silent. */
static void check_among(struct config_reader *r, const struct yaml_node *n,
                        const struct device_url *u, struct bytes path,
                        const struct device_url *first, struct bytes first_path)
{
    if (!u->host || !first->host)
        return;
    if (!bytes_equal(path, first_path))
        yaml_error(r->y, n, "the URLs of one device have the same path");
    if (device_url_is_secure(u) != device_url_is_secure(first))
        yaml_error(r->y, n, "the URLs of one device are all secure, or none is");
    /* What is kept of a body, or of an ETag, is good for one of the two. */
    if (device_url_is_http(u) != device_url_is_http(first))
        yaml_error(r->y, n, "the URLs of one device are all of HTTP, or none is");
}

static void read_urls(struct config_reader *r, const struct yaml_node *n, struct config_device *d)
{
    struct device_config *c = &d->upstream;
    struct yaml_seq seq;
    struct bytes first_path = BYTES_NONE;
    if (!n || !yaml_seq_open_or_one(r->y, n, &seq))
        return;
    if (seq.left == 0 || seq.left > DEVICE_URLS_MAX) {
        yaml_error(r->y, n, "expected one URL, or a list of at most %d", DEVICE_URLS_MAX);
        return;
    }
    struct device_url *urls = arena_array(&r->l->arena, seq.left, sizeof *urls);
    for (const struct yaml_node *at; urls && (at = yaml_seq_next(&seq));) {
        struct device_url *u = &urls[c->n_urls];
        struct bytes path = BYTES_NONE;
        read_url(r, at, u, &path);
        for (size_t i = 0; i < c->n_urls; i++)
            if (u->host && urls[i].host && u->scheme == urls[i].scheme && u->port == urls[i].port &&
                strcmp(u->host, urls[i].host) == 0)
                yaml_error(r->y, at, "the same as %s", urls[i].text);
        if (c->n_urls == 0 && path.n > 0)
            c->base = config_read_segments(r, at, path, &c->n_base);
        if (c->n_urls == 0)
            first_path = path;
        else
            check_among(r, at, u, path, &urls[0], first_path);
        c->n_urls++;
    }
    c->urls = urls;
}

/* ---- credentials ---- */

static void read_pem(struct config_reader *r, const struct yaml_node *n, bool secret,
                     struct config_blob *out)
{
    const char *why = NULL;
    const char *path = config_read_file(r, n, secret);
    if (path && yaml_ok(r->y) && !file_read(path, false, PEM_BYTES, &out->p, &out->n, &why))
        yaml_error(r->y, n, "%s: %s", path, why);
}

static void read_psk(struct config_reader *r, const struct yaml_node *n, struct config_device *d)
{
    struct yaml_map m;
    const char *identity = NULL;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *id = yaml_map_need(&m, "identity");
    const struct yaml_node *file = yaml_map_need(&m, "key-file");
    yaml_map_close(&m);
    if (id && yaml_text(r->y, id, &r->l->arena, &identity) && strlen(identity) > IDENTITY_BYTES)
        yaml_error(r->y, id, "an identity longer than %d bytes", IDENTITY_BYTES);
    d->tls.identity = bytes_str(identity);
    const char *path = config_read_file(r, file, true);
    if (!path || !yaml_ok(r->y))
        return;
    uint8_t key[TOKEN_KEY_MAX];
    char text[DIAG_BYTES];
    struct buf diag = buf_on(text, sizeof text);
    size_t key_n = 0;
    if (!key_file_read_psk(NULL, path, key, &key_n, &diag))
        yaml_error(r->y, file, "%.*s",
                   (int)(diag.n && text[diag.n - 1] == '\n' ? diag.n - 1 : diag.n), text);
    else if ((d->psk.p = malloc(key_n)) != NULL)
        memcpy(d->psk.p, key, d->psk.n = key_n);
    crypto_wipe(key, sizeof key);
}

static struct bytes blob(const struct config_blob *b)
{
    return bytes_of(b->p, b->n);
}

/* The engine takes them, or not: that shows before the daemon starts. */
static void check_tls(struct config_reader *r, const struct yaml_node *n,
                      const struct config_device *d)
{
    const char *why = NULL;
    const struct dtls_out_config c = {.identity = d->tls.identity,
                                      .psk = d->tls.psk,
                                      /* the system's by HTTP: any will do here */
                                      .ca = d->tls.ca.n ? d->tls.ca : d->tls.certificate,
                                      .certificate = d->tls.certificate,
                                      .key = d->tls.key,
                                      .host = "device"};
    dtls_out_free(dtls_out_new(&c, &why));
    if (why)
        yaml_error(r->y, n, "%s", why);
}

static void read_tls(struct config_reader *r, const struct yaml_node *n, struct yaml_map *m,
                     struct config_device *d)
{
    const struct yaml_node *psk = yaml_map_get(m, "psk"), *ca = yaml_map_get(m, "ca");
    const struct yaml_node *certificate = yaml_map_get(m, "certificate");
    const struct yaml_node *key = yaml_map_get(m, "key");
    const struct yaml_node *any = psk ? psk : ca ? ca : certificate ? certificate : key;
    bool secure = d->upstream.n_urls > 0 && device_url_is_secure(&d->upstream.urls[0]);
    bool http = d->upstream.n_urls > 0 && device_url_is_http(&d->upstream.urls[0]);
    read_psk(r, psk, d);
    read_pem(r, ca, false, &d->ca);
    read_pem(r, certificate, false, &d->certificate);
    read_pem(r, key, true, &d->key);
    if (psk && (ca || certificate || key))
        yaml_error(r->y, n, "say psk, or ca, certificate and key; not both");
    else if (!certificate != !key)
        yaml_error(r->y, n, "'certificate' and 'key' go together; '%s' is missing",
                   key ? "certificate" : "key");
    else if (psk && http)
        yaml_error(r->y, psk, "a device is not reached by HTTP with a psk");
    else if (certificate && !ca && !http)
        yaml_error(r->y, n, "'ca' is missing: what the device is known by");
    else if (secure && !any && !http) /* of the web's, the system's certificates vouch */
        yaml_error(r->y, n, "a secure device needs psk, or ca to know it by");
    else if (any && !secure && d->upstream.n_urls > 0 && d->upstream.urls[0].host)
        yaml_error(r->y, any, "there is no TLS to this device: its URL is plain");
    d->tls.psk = blob(&d->psk);
    d->tls.ca = blob(&d->ca);
    d->tls.certificate = blob(&d->certificate);
    d->tls.key = blob(&d->key);
    if (secure && any && yaml_ok(r->y))
        check_tls(r, any, d);
    d->upstream.tls = secure ? &d->tls : NULL;
}

void config_read_where(struct config_reader *r, const struct yaml_node *n, struct yaml_map *m,
                       struct config_device *d)
{
    read_urls(r, yaml_map_need(m, "url"), d);
    read_tls(r, n, m, d);
    config_read_pause(r, yaml_map_get(m, "pause"), &d->upstream.pause_ms);
}

void config_forget_secrets(struct config_device *d)
{
    struct config_blob *blobs[] = {&d->psk, &d->ca, &d->certificate, &d->key};
    for (size_t i = 0; i < sizeof blobs / sizeof *blobs; i++) {
        if (blobs[i]->p)
            crypto_wipe(blobs[i]->p, blobs[i]->n);
        free(blobs[i]->p);
        *blobs[i] = (struct config_blob){0};
    }
}
