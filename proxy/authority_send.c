#include <stdio.h>
#include <stdlib.h>

#include "authority_inside.h"

enum { FORM_ROOM = 8192 }; /* for credentials in a form */

/* ---- oneM2M: whose request it is, and which (TS-0004 7.1.1.1) ---- */

/* TS-0008 table 6.2.2.4-1, in the numbering before V3.7 and after it. */
enum { FR, RQI, RVI, RSC };
static const uint16_t numbers[2][4] = {{279, 283, 271, 307}, {256, 257, 271, 265}};
static const char release[] = "3";

enum { RQI_MAX = 24 };

static void request_id(struct authorities *as, char out[RQI_MAX])
{
    uint64_t v;
    as->ops.random(as->user, &v, sizeof v);
    (void)snprintf(out, RQI_MAX, "gw%016llx", (unsigned long long)v);
}

/* UPDATE is PUT, NOTIFY is POST (TS-0008 6.2.1, TS-0009 6.2.1). */
static bool is_put(const struct slot *s)
{
    return s->purpose == AUTHORITY_DECISION;
}

void send_read_answer(const struct authorities *as, const struct slot *s,
                      const struct coap_answer *a, struct pep_reply *out)
{
    const struct wire_endpoint *e = &as->wire->authorities[s->authority].endpoints[s->purpose];
    if (!e->said || !e->said->m2m_from || !a->message)
        return;
    uint16_t number = numbers[e->said->m2m_legacy][RSC];
    size_t n = 0;
    for (size_t i = 0; i < a->message->n_options; i++)
        n += a->message->options[i].number == number;
    int64_t rsc = msg_uint(a->message, number);
    if (n > 0)
        out->rsc = n == 1 && rsc > 0 && rsc < UINT16_MAX ? (uint16_t)rsc : UINT16_MAX;
    out->has_max_age = msg_find(a->message, OPT_MAX_AGE) != NULL;
    out->max_age_s = a->max_age_s;
}

/* ---- sending ---- */

static uint64_t wait_ms(const struct policy_endpoint *said)
{
    return said->timeout_s > 0 ? (uint64_t)said->timeout_s * 1000 : AUTHORITY_WAIT_MS;
}

bool send_by_coap(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                  struct bytes body, int format, struct instant now)
{
    struct bytes query[UINT8_MAX];
    size_t n_query = 0;
    for (size_t i = 0; i < s->query_n; i += 1u + s->query[i])
        query[n_query++] = bytes_of(s->query + i + 1, s->query[i]);
    struct msg_option options[3];
    char rqi[RQI_MAX];
    struct coap_question q = {
        .code = s->is_get   ? MSG_GET
                : is_put(s) ? MSG_PUT
                            : MSG_POST,
        .host = e->host_is_name ? bytes_str(e->host) : BYTES_NONE,
        .path = e->path,
        .n_path = e->n_path,
        .query = query,
        .n_query = n_query,
        .content_format = s->is_get ? CF_NONE : format,
        .accept = CF_NONE, /* critical, and what it would say is the only format there is */
        .options = options,
        .body = body,
        .observe = s->observe,
        .wait_ms = wait_ms(e->said),
    };
    if (e->said->m2m_from) {
        const uint16_t *number = numbers[e->said->m2m_legacy];
        request_id(as, rqi);
        options[q.n_options++] = (struct msg_option){number[FR], bytes_str(e->said->m2m_from)};
        options[q.n_options++] = (struct msg_option){number[RQI], bytes_str(rqi)};
        options[q.n_options++] = (struct msg_option){number[RVI], bytes_str(release)};
    }
    return coap_line_ask(s->server->coap, s->serial, &q, now);
}

static bool send_m2m_by_http(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                             struct http_question *q, struct bytes body, struct instant now)
{
    char rqi[RQI_MAX];
    request_id(as, rqi);
    q->content_type = q->accept = "application/json";
    q->put = is_put(s);
    q->body = body;
    q->headers[q->n_headers].name = "X-M2M-Origin";
    q->headers[q->n_headers++].value = e->said->m2m_from;
    q->headers[q->n_headers].name = "X-M2M-RI";
    q->headers[q->n_headers++].value = rqi;
    q->headers[q->n_headers].name = "X-M2M-RVI";
    q->headers[q->n_headers++].value = release;
    return http_client_ask(as->http, s->serial, q, now);
}

bool send_by_http(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                  struct bytes body, struct instant now)
{
    const struct policy_endpoint *said = e->said;
    const char *issuer = as->wire->authorities[s->authority].issuer;
    struct http_question q = {
        .url = said->url,
        .auth = said->auth == POLICY_AUTH_BASIC    ? HTTP_AUTH_BASIC
                : said->auth == POLICY_AUTH_BEARER ? HTTP_AUTH_BEARER
                                                   : HTTP_AUTH_NONE,
        .user = (const char *)e->user.p,
        .secret = (const char *)e->secret.p,
        .ca = bytes_of(e->ca.p, e->ca.n),
        .certificate = bytes_of(e->certificate.p, e->certificate.n),
        .key = bytes_of(e->key.p, e->key.n),
        .wait_ms = wait_ms(said),
    };
    if (said->m2m_from)
        return send_m2m_by_http(as, s, e, &q, body, now);
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
    q.content_type = s->is_get ? NULL : "application/x-www-form-urlencoded";
    q.accept = s->is_get ? "application/jwk-set+json, application/json"
                         : "application/json, application/token-introspection+jwt;q=0.5";
    q.body = buf_bytes(&b);
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
