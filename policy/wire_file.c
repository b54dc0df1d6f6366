#include "policy_file.h"

#include <stdio.h>

#include "url.h"

/* An authority's `introspect`, `revocation-list` and `jwks`; and the lines to
 * those that consult_file.c is about. */

enum {
    FROM_MAX = 255,
    CACHE_MAX_S = 86400,
    POLL_MIN_S = 10,
    REFRESH_MIN_S = 60,
    EVERY_MAX_S = 7 * 86400
};

enum purpose { INTROSPECT, REVOCATION_LIST, JWKS, CONSULT };

/* "0s", "30s", "5m", "24h", "7d". */
void read_duration(struct reader *r, const struct yaml_node *n, uint64_t min_s, uint64_t max_s,
                   uint32_t *out)
{
    static const char units[] = "smhd";
    static const uint32_t seconds[] = {1, 60, 3600, 86400};
    if (!n)
        return;
    struct bytes s = yaml_raw(n);
    uint64_t v = 0;
    size_t i = 0;
    while (i < s.n && i < 9 && s.p[i] >= '0' && s.p[i] <= '9')
        v = v * 10 + (uint64_t)(s.p[i++] - '0');
    const char *unit = i > 0 && i + 1 == s.n && s.p[i] ? strchr(units, s.p[i]) : NULL;
    if (unit)
        v *= seconds[unit - units];
    else if (!(i > 0 && i == s.n && v == 0)) /* nothing is nothing in any unit */
        yaml_error(r->y, n, "expected a duration such as 30s, 5m, 24h or 7d");
    if ((unit || v == 0) && (v < min_s || v > max_s))
        yaml_error(r->y, n, "out of range; expected %llus to %llus", (unsigned long long)min_s,
                   (unsigned long long)max_s);
    else
        *out = (uint32_t)v;
}

static bool read_file(struct reader *r, const struct yaml_node *n, struct policy_file *out)
{
    if (!n || !yaml_text(r->y, n, &r->p->arena, &out->name))
        return false;
    yaml_place(r->y, n, &r->p->arena, &out->where, &out->excerpt);
    return true;
}

static bool is_loopback(const struct url *u)
{
    /* A name other than this one is whatever a resolver says it is. */
    if (strcmp(u->host, "localhost") == 0 || (u->is_v6_literal && strcmp(u->host, "::1") == 0))
        return true;
    unsigned a, b, c, d;
    char rest;
    return !u->is_v6_literal && sscanf(u->host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &rest) == 4 &&
           a == 127 && b < 256 && c < 256 && d < 256;
}

static void read_url(struct reader *r, const struct yaml_node *n, enum purpose purpose,
                     struct policy_endpoint *e)
{
    struct url u;
    const char *why;
    if (!n || !yaml_text(r->y, n, &r->p->arena, &e->url))
        return;
    yaml_place(r->y, n, &r->p->arena, &e->self.where, &e->self.excerpt);
    e->self.name = e->url;
    if (!url_parse(bytes_str(e->url), &u, &why)) {
        yaml_error(r->y, n, "%s", why);
        return;
    }
    bool coap = bytes_equal_str(u.scheme, "coap"), http = bytes_equal_str(u.scheme, "http");
    e->http = http || bytes_equal_str(u.scheme, "https");
    e->secure = !coap && !http;
    if (!e->http && !coap && !bytes_equal_str(u.scheme, "coaps"))
        yaml_error(r->y, n, "the scheme '%.*s' is not supported; expected coaps or https",
                   u.scheme.n > 32 ? 32 : (int)u.scheme.n, (const char *)u.scheme.p);
    else if (purpose == REVOCATION_LIST && e->http)
        yaml_error(r->y, n, "a revocation list is fetched over coaps (RFC 9770)");
    else if (purpose == JWKS && !e->http)
        yaml_error(r->y, n, "a JWK set is fetched over https");
    else if (!e->secure && !is_loopback(&u))
        yaml_error(r->y, n, "%.*s leaves this machine in clear; use %.*ss", (int)u.scheme.n,
                   (const char *)u.scheme.p, (int)u.scheme.n, (const char *)u.scheme.p);
    if (e->http) /* the path goes out as it stands here */
        return;
    uint8_t segment[URL_SEGMENT_MAX];
    size_t len;
    struct bytes path = u.path;
    if (bytes_equal_str(path, "/"))
        return;
    while (url_next_segment(&path, segment, &len, &why))
        ;
    if (why)
        yaml_error(r->y, n, "%s", why);
}

static void read_psk(struct reader *r, const struct yaml_node *n, struct policy_endpoint *e)
{
    struct yaml_map m;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *identity = yaml_map_need(&m, "identity");
    if (yaml_text(r->y, identity, &r->p->arena, &e->psk_identity) &&
        strlen(e->psk_identity) > IDENTITY_NAME_MAX)
        yaml_error(r->y, identity, "an identity longer than %d bytes", IDENTITY_NAME_MAX);
    (void)read_file(r, yaml_map_need(&m, "key-file"), &e->psk_key);
    yaml_map_close(&m);
}

/* Which of our ways to prove ourselves go together, and with which URL. */
static void judge(struct reader *r, const struct yaml_node *n, const struct yaml_node *auth,
                  const struct policy_endpoint *e)
{
    bool needs_secret = e->auth == POLICY_AUTH_BASIC || e->auth == POLICY_AUTH_POST ||
                        e->auth == POLICY_AUTH_BEARER;
    bool needs_id = e->auth != POLICY_AUTH_NONE && e->auth != POLICY_AUTH_BEARER &&
                    e->auth != POLICY_AUTH_MUTUAL_TLS;
    if (!e->url)
        return;
    if (!e->certificate.name != !e->key.name)
        yaml_error(r->y, n, "certificate and key belong together");
    if (e->http) {
        if (e->psk_identity)
            yaml_error(r->y, n, "psk is for coaps; over https say auth");
        if (e->auth == POLICY_AUTH_MUTUAL_TLS && !e->certificate.name)
            yaml_error(r->y, auth, "mutual-tls needs certificate and key");
        if (e->certificate.name && e->auth != POLICY_AUTH_MUTUAL_TLS)
            yaml_error(r->y, n, "a certificate of ours is for auth: mutual-tls");
    } else {
        if (auth)
            yaml_error(r->y, auth, "auth is for https; over coaps say psk or certificate");
        if (e->psk_identity && (e->certificate.name || e->ca.name))
            yaml_error(r->y, n, "say psk, or certificate, key and ca; not both");
        if (e->secure && !e->psk_identity && !e->ca.name)
            yaml_error(r->y, n, "coaps needs psk, or ca to know the server by");
    }
    if (!e->secure && (e->psk_identity || e->certificate.name || e->ca.name))
        yaml_error(r->y, n, "credentials of TLS are for coaps and https");
    if (needs_secret != (e->secret.name != NULL))
        yaml_error(r->y, auth ? auth : n,
                   needs_secret ? "this needs a secret-file"
                                : "secret-file is for auth: basic, post or bearer");
    if ((e->auth == POLICY_AUTH_PRIVATE_KEY_JWT) != (e->signing_key.name != NULL))
        yaml_error(r->y, auth ? auth : n,
                   e->signing_key.name ? "signing-key is for auth: private-key-jwt"
                                       : "private-key-jwt needs a signing-key");
    if (needs_id && !e->client_id)
        yaml_error(r->y, auth, "this needs a client-id");
}

static const char *read_client_id(struct reader *r, const struct yaml_node *n)
{
    const char *id = NULL;
    if (n && yaml_text(r->y, n, &r->p->arena, &id) && strlen(id) > CLIENT_ID_MAX)
        yaml_error(r->y, n, "a client-id longer than %d bytes", CLIENT_ID_MAX);
    return id;
}

/* Returns where `auth` stands, or NULL. */
static const struct yaml_node *read_credentials(struct reader *r, struct yaml_map *m,
                                                enum purpose purpose, struct policy_endpoint *e)
{
    /* in the order of enum policy_auth, from 1 */
    static const char *const auths[] = {"basic", "post", "bearer", "mutual-tls", "private-key-jwt"};
    const struct yaml_node *auth = NULL;
    int i;
    read_psk(r, yaml_map_get(m, "psk"), e);
    (void)read_file(r, yaml_map_get(m, "certificate"), &e->certificate);
    (void)read_file(r, yaml_map_get(m, "key"), &e->key);
    if (purpose != INTROSPECT && purpose != CONSULT)
        return NULL;
    auth = yaml_map_get(m, "auth");
    if (auth && yaml_enum(r->y, auth, auths, sizeof auths / sizeof *auths, &i))
        e->auth = (enum policy_auth)(i + 1);
    e->client_id = read_client_id(r, yaml_map_get(m, "client-id"));
    (void)read_file(r, yaml_map_get(m, "secret-file"), &e->secret);
    if (purpose == INTROSPECT)
        (void)read_file(r, yaml_map_get(m, "signing-key"), &e->signing_key);
    else if (e->auth == POLICY_AUTH_POST || e->auth == POLICY_AUTH_PRIVATE_KEY_JWT)
        yaml_error(r->y, auth,
                   "this goes in a form, and what is asked here is none; "
                   "say basic, bearer or mutual-tls");
    return auth;
}

static void read_endpoint(struct reader *r, const struct yaml_node *n, enum purpose purpose,
                          struct policy_wire *w, struct policy_endpoint *e)
{
    static const char *const whens[] = {"reference-only", "always"};
    struct yaml_map m;
    int i;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    read_url(r, yaml_map_need(&m, "url"), purpose, e);
    (void)read_file(r, yaml_map_get(&m, "ca"), &e->ca);
    switch (purpose) {
    case INTROSPECT: {
        const struct yaml_node *when = yaml_map_get(&m, "when");
        if (when && yaml_enum(r->y, when, whens, 2, &i))
            w->when = i == 1 ? POLICY_ALWAYS : POLICY_REFERENCE_ONLY;
        read_duration(r, yaml_map_get(&m, "cache"), 0, CACHE_MAX_S, &w->cache_s);
        break;
    }
    case REVOCATION_LIST:
        read_duration(r, yaml_map_get(&m, "poll"), POLL_MIN_S, EVERY_MAX_S, &w->poll_s);
        break;
    case JWKS: /* public: nobody is asked who he is */
        read_duration(r, yaml_map_get(&m, "refresh"), REFRESH_MIN_S, EVERY_MAX_S, &w->refresh_s);
        yaml_map_close(&m);
        return;
    case CONSULT: /* read_consulted() */
        break;
    }
    const struct yaml_node *auth = read_credentials(r, &m, purpose, e);
    /* "the same credentials unless told" */
    const struct policy_endpoint *in = &w->introspect;
    if (purpose == REVOCATION_LIST && in->url && !in->http && in->secure && e->secure &&
        !e->psk_identity && !e->certificate.name && !e->ca.name) {
        e->psk_identity = in->psk_identity;
        e->psk_key = in->psk_key;
        e->certificate = in->certificate;
        e->key = in->key;
        e->ca = in->ca;
    }
    if (yaml_ok(r->y))
        judge(r, n, auth, e);
    yaml_map_close(&m);
}

void read_consulted(struct reader *r, struct yaml_map *m, const struct yaml_node *n,
                    struct policy_endpoint *e)
{
    static const char *const options[] = {"current", "legacy"};
    int i;
    read_url(r, yaml_map_need(m, "url"), CONSULT, e);
    (void)read_file(r, yaml_map_get(m, "ca"), &e->ca);
    const struct yaml_node *auth = read_credentials(r, m, CONSULT, e);
    const struct yaml_node *from = yaml_map_need(m, "originator");
    if (yaml_text(r->y, from, &r->p->arena, &e->m2m_from) && strlen(e->m2m_from) > FROM_MAX)
        yaml_error(r->y, from, "an originator longer than %d bytes", FROM_MAX);
    const struct yaml_node *numbers = yaml_map_get(m, "onem2m-options");
    if (numbers && yaml_enum(r->y, numbers, options, 2, &i))
        e->m2m_legacy = i == 1;
    if (numbers && e->http)
        yaml_error(r->y, numbers, "options have numbers over coap, and names over http");
    e->timeout_s = POLICY_ASK_TIMEOUT_S;
    read_duration(r, yaml_map_get(m, "timeout"), 1, POLICY_ASK_TIMEOUT_MAX, &e->timeout_s);
    if (yaml_ok(r->y))
        judge(r, n, auth, e);
}

void read_wire(struct reader *r, struct yaml_map *authority, struct policy_wire *out)
{
    *out = (struct policy_wire){
        .cache_s = POLICY_CACHE_S, .poll_s = POLICY_POLL_S, .refresh_s = POLICY_REFRESH_S};
    const struct yaml_node *introspect = yaml_map_get(authority, "introspect");
    const struct yaml_node *list = yaml_map_get(authority, "revocation-list");
    const struct yaml_node *jwks = yaml_map_get(authority, "jwks");
    read_endpoint(r, introspect, INTROSPECT, out, &out->introspect);
    read_endpoint(r, list, REVOCATION_LIST, out, &out->revocation_list);
    read_endpoint(r, jwks, JWKS, out, &out->jwks);
}

void policy_file_complain(const struct policy_file *f, const char *what, struct buf *diag)
{
    buf_put_str(diag, f->where);
    buf_put_str(diag, ": error: ");
    buf_put_str(diag, f->name);
    buf_put_str(diag, ": ");
    buf_put_str(diag, what);
    buf_put_str(diag, "\n");
    buf_put_str(diag, f->excerpt);
}
