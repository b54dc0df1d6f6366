#include <stdlib.h>

#include "authority_inside.h"

enum { FORM_ROOM = 8192 }; /* for credentials in a form */

bool send_by_coap(struct slot *s, const struct wire_endpoint *e, struct bytes body, int format,
                  struct instant now)
{
    struct bytes query[UINT8_MAX];
    size_t n_query = 0;
    for (size_t i = 0; i < s->query_n; i += 1u + s->query[i])
        query[n_query++] = bytes_of(s->query + i + 1, s->query[i]);
    const struct coap_question q = {
        .code = s->is_get ? MSG_GET : MSG_POST,
        .host = e->host_is_name ? bytes_str(e->host) : BYTES_NONE,
        .path = e->path,
        .n_path = e->n_path,
        .query = query,
        .n_query = n_query,
        .content_format = s->is_get ? CF_NONE : format,
        .accept = CF_NONE, /* critical, and what it would say is the only format there is */
        .body = body,
        .observe = s->observe,
        .wait_ms = AUTHORITY_WAIT_MS,
    };
    return coap_line_ask(s->server->coap, s->serial, &q, now);
}

bool send_by_http(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                  struct bytes body, struct instant now)
{
    const struct policy_endpoint *said = e->said;
    const char *issuer = as->wire->authorities[s->authority].issuer;
    size_t room = s->is_get ? 0 : body.n + e->form.n + FORM_ROOM;
    uint8_t *form = malloc(room + 1);
    if (!form)
        return false;
    struct buf b = buf_on(form, room);
    bool ok = true;
    if (!s->is_get) {
        buf_put(&b, body);
        buf_put(&b, bytes_of(e->form.p, e->form.n));
        if (said->auth == POLICY_AUTH_PRIVATE_KEY_JWT)
            ok = wire_assertion(e, issuer ? issuer : said->url, now.wall_s, &b);
    }
    const struct http_question q = {
        .url = said->url,
        .content_type = s->is_get ? NULL : "application/x-www-form-urlencoded",
        .accept = s->is_get ? "application/jwk-set+json, application/json"
                            : "application/json, application/token-introspection+jwt;q=0.5",
        .body = buf_bytes(&b),
        .auth = said->auth == POLICY_AUTH_BASIC    ? HTTP_AUTH_BASIC
                : said->auth == POLICY_AUTH_BEARER ? HTTP_AUTH_BEARER
                                                   : HTTP_AUTH_NONE,
        .user = (const char *)e->user.p,
        .secret = (const char *)e->secret.p,
        .ca = bytes_of(e->ca.p, e->ca.n),
        .certificate = bytes_of(e->certificate.p, e->certificate.n),
        .key = bytes_of(e->key.p, e->key.n),
        .wait_ms = AUTHORITY_WAIT_MS,
    };
    ok = ok && !b.full && http_client_ask(as->http, s->serial, &q, now);
    crypto_wipe(form, b.n);
    free(form);
    return ok;
}

void send_withdraw(struct authorities *as, struct slot *s, struct instant now)
{
    struct server *v = s->server;
    if (s->state != SLOT_ASKED || !v)
        return;
    if (v->coap)
        coap_line_cancel(v->coap, s->serial, now);
    else
        http_client_cancel(as->http, s->serial);
    circuit_unprobed(&v->circuit);
}
