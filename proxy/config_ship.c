/* audit: {ship: ...}: where the audit goes. */
#include "config_read.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "dtls_out.h"
#include "file.h"
#include "../policy/url.h"

enum {
    SYSLOG_PORT = 601,      /* syslog-conn (RFC 6587 3.3) */
    SYSLOG_TLS_PORT = 6514, /* RFC 5425 4.1 */
    SPOOL_DEFAULT = 64 << 20,
    BATCH_DEFAULT = 500,
    PEM_MAX = 1 << 20, /* a system's whole bundle */
};

#define SPOOL_MOST   (UINT64_C(16) << 30)
#define LOCAL_SOCKET "/dev/log"

static bool is_loopback(const struct url *u)
{
    struct in_addr v4;
    if (u->is_v6_literal)
        return strcmp(u->host, "::1") == 0;
    return strcmp(u->host, "localhost") == 0 ||
           (inet_pton(AF_INET, u->host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

/* What libcurl is told: a stream's URL says whether there is TLS and to whom
 * to connect; no HTTP is spoken on it. */
static const char *curl_url(struct config_reader *r, const struct url *u, bool tls, int port)
{
    char text[URL_HOST_MAX + 64];
    const char *open = u->is_v6_literal ? "[" : "", *close = u->is_v6_literal ? "]" : "";
    (void)snprintf(text, sizeof text, "%s://%s%s%s:%d", tls ? "https" : "http", open, u->host,
                   close, port);
    return arena_text(&r->l->arena, bytes_str(text));
}

/* syslog:local, or the path of such a socket. */
static bool read_local(struct config_reader *r, const struct yaml_node *n, struct ship_config *s)
{
    if (strcmp(s->to, "syslog:local") == 0)
        s->url = LOCAL_SOCKET;
    else if (strncmp(s->to, "syslog:/", 8) == 0 && s->to[8] != '/')
        s->url = s->to + 7;
    else
        return false;
    s->kind = SHIP_SYSLOG_LOCAL;
    if (strlen(s->url) >= sizeof((struct sockaddr_un *)0)->sun_path)
        yaml_error(r->y, n, "longer than a socket's path may be (%zu bytes)",
                   sizeof((struct sockaddr_un *)0)->sun_path - 1);
    return true;
}

/* True: with TLS. */
static bool read_to(struct config_reader *r, const struct yaml_node *n, struct ship_config *s)
{
    struct url u;
    const char *why;
    if (!n || !yaml_text(r->y, n, &r->l->arena, &s->to) || read_local(r, n, s))
        return false;
    struct bytes to = bytes_str(s->to);
    if (!memmem(to.p, to.n, "://", 3)) {
        yaml_error(r->y, n,
                   "expected syslog+tls://HOST, syslog://HOST, syslog:local or "
                   "https://HOST/PATH");
        return false;
    }
    if (!url_parse(to, &u, &why)) {
        yaml_error(r->y, n, "%s", why);
        return false;
    }
    bool https = bytes_equal_str(u.scheme, "https"), http = bytes_equal_str(u.scheme, "http");
    bool tls = bytes_equal_str(u.scheme, "syslog+tls");
    if (!https && !http && !tls && !bytes_equal_str(u.scheme, "syslog")) {
        yaml_error(r->y, n, "'%.*s' is no way to ship; syslog+tls, syslog and https are",
                   (int)u.scheme.n, (const char *)u.scheme.p);
        return false;
    }
    if (!https && !tls && !is_loopback(&u))
        yaml_error(r->y, n, "without TLS only to loopback; elsewhere it is %s",
                   http ? "https" : "syslog+tls");
    if (http || https) {
        s->kind = SHIP_HTTP;
        s->url = s->to;
    } else {
        s->kind = SHIP_SYSLOG_STREAM;
        s->url = curl_url(r, &u, tls, u.port > 0 ? u.port : tls ? SYSLOG_TLS_PORT : SYSLOG_PORT);
        if (u.path.n > 0)
            yaml_error(r->y, n, "a syslog collector has no path");
    }
    return https || tls;
}

static void check_token(struct config_reader *r, const struct yaml_node *n, const char *file)
{
    uint8_t *text = NULL;
    size_t size = 0;
    const char *why;
    if (!file || !yaml_ok(r->y)) /* what is wrong with the file was told */
        return;
    if (!file_read(file, false, SHIP_TOKEN_MAX + 2, &text, &size, &why)) {
        yaml_error(r->y, n, "%s: %s", file, why);
        return;
    }
    struct bytes token = {text, size};
    if (!ship_trim_token(&token))
        yaml_error(r->y, n, "%s: expected one line with a token", file);
    explicit_bzero(text, size);
    free(text);
}

struct pem {
    uint8_t *p;
    size_t n;
};

static bool read_pem(struct config_reader *r, const struct yaml_node *n, const char *file,
                     struct pem *out)
{
    const char *why;
    if (!file || file_read(file, false, PEM_MAX, &out->p, &out->n, &why))
        return true;
    yaml_error(r->y, n, "%s: %s", file, why);
    return false;
}

static void drop_pem(struct pem *f)
{
    if (f->p)
        explicit_bzero(f->p, f->n);
    free(f->p);
}

/* What is in the files, once it is known that they are there. */
static void check_pem(struct config_reader *r, const struct yaml_node *at_ca,
                      const struct yaml_node *at_certificate, const struct ship_config *s)
{
    struct pem ca = {0}, certificate = {0}, key = {0};
    if (yaml_ok(r->y) && read_pem(r, at_ca, s->ca, &ca) &&
        read_pem(r, at_certificate, s->certificate, &certificate) &&
        read_pem(r, at_certificate, s->key, &key)) {
        const char *why =
            s->ca ? dtls_out_check(bytes_of(ca.p, ca.n), BYTES_NONE, BYTES_NONE) : NULL;
        if (why || (s->ca && ca.n == 0))
            yaml_error(r->y, at_ca, "%s: %s", s->ca, why ? why : "it is empty");
        why = s->certificate ? dtls_out_check(BYTES_NONE, bytes_of(certificate.p, certificate.n),
                                              bytes_of(key.p, key.n))
                             : NULL;
        if (why || (s->certificate && certificate.n == 0))
            yaml_error(r->y, at_certificate, "%s: %s", s->certificate, why ? why : "it is empty");
    }
    drop_pem(&ca);
    drop_pem(&certificate);
    drop_pem(&key);
}

void config_read_ship(struct config_reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    struct ship_config *s = &c->ship;
    struct yaml_map m;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *to = yaml_map_need(&m, "to");
    const struct yaml_node *ca = yaml_map_get(&m, "ca");
    const struct yaml_node *certificate = yaml_map_get(&m, "certificate");
    const struct yaml_node *key = yaml_map_get(&m, "key");
    const struct yaml_node *token = yaml_map_get(&m, "token-file");
    const struct yaml_node *spool = yaml_map_get(&m, "spool");
    const struct yaml_node *batch = yaml_map_get(&m, "batch");
    yaml_map_close(&m);

    bool tls = read_to(r, to, s);
    const struct yaml_node *of_tls = ca ? ca : certificate ? certificate : key;
    if (s->kind != SHIP_NONE && of_tls && !tls)
        yaml_error(r->y, of_tls, "there is no TLS to %s, so no certificates", s->to);
    if (!certificate != !key)
        yaml_error(r->y, n, "'certificate' and 'key' go together; '%s' is missing",
                   key ? "certificate" : "key");
    s->ca = config_read_file(r, ca, false);
    s->certificate = config_read_file(r, certificate, false);
    s->key = config_read_file(r, key, true);
    s->token_file = config_read_file(r, token, true);
    if (s->kind != SHIP_NONE && s->kind != SHIP_HTTP && token)
        yaml_error(r->y, token,
                   "a bearer token is for an HTTPS collector; syslog has no place "
                   "for one");
    check_token(r, token, s->token_file);
    check_pem(r, ca, certificate, s);

    s->spool = SPOOL_DEFAULT;
    if (spool)
        (void)config_read_bytes(r, spool, SPOOL_MIN, SPOOL_MOST, &s->spool);
    size_t records = BATCH_DEFAULT;
    config_read_size(r, batch, SHIP_BATCH_MAX, &records);
    s->batch = (unsigned)records;
    if (!c->state)
        yaml_error(r->y, n, "'ship' needs a 'state' directory, for the records that wait");
    else
        s->dir = config_join(&r->l->arena, c->state, "audit");
}
