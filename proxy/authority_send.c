#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "authority_inside.h"
#include "http_message.h"

enum { FORM_ROOM = 8192 }; /* for credentials in a form */

/* ---- oneM2M: whose request it is, and which (TS-0004 7.1.1.1) ---- */

/* TS-0008 table 6.2.2.4-1, in the numbering before V3.7 and after it. */
enum { FR, RQI, RVI, RSC };
static const uint16_t numbers[2][4] = {{279, 283, 271, 307}, {256, 257, 271, 265}};
static const char release[] = "3";

enum { RQI_MAX = 24, FROM_LINE_MAX = 300 };

static void write_id(const struct slot *s, char out[RQI_MAX])
{
    (void)snprintf(out, RQI_MAX, "gw%016llx", (unsigned long long)s->rqi);
}

static void request_id(struct authorities *as, struct slot *s, char out[RQI_MAX])
{
    as->ops.random(as->user, &s->rqi, sizeof s->rqi);
    write_id(s, out);
}

/* An answer may leave the identifier out; one that has another's is another's. */
static bool is_ours(const struct slot *s, struct bytes rqi)
{
    char own[RQI_MAX];
    write_id(s, own);
    return bytes_equal_str(rqi, own);
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
    uint16_t rqi = numbers[e->said->m2m_legacy][RQI];
    bool ours = true;
    size_t n = 0;
    for (size_t i = 0; i < a->message->n_options; i++) {
        const struct msg_option *o = &a->message->options[i];
        n += o->number == number;
        ours = ours && (o->number != rqi || is_ours(s, o->value));
    }
    int64_t rsc = msg_uint(a->message, number);
    if (n > 0)
        out->rsc = n == 1 && rsc > 0 && rsc < UINT16_MAX ? (uint16_t)rsc : UINT16_MAX;
    if (!ours)
        out->rsc = UINT16_MAX;
    out->has_max_age = msg_find(a->message, OPT_MAX_AGE) != NULL;
    out->max_age_s = a->max_age_s;
}

static uint16_t read_rsc(const struct http_answer *a)
{
    struct bytes value;
    uint16_t rsc = 0;
    enum http_found found = http_answer_find(a, "X-M2M-RSC", &value);
    if (found == HTTP_FOUND_NONE)
        return 0;
    for (size_t i = 0; i < value.n; i++) {
        if (found != HTTP_FOUND_ONE || value.n != 4 || value.p[i] < '0' || value.p[i] > '9')
            return UINT16_MAX;
        rsc = (uint16_t)(rsc * 10 + (value.p[i] - '0'));
    }
    return rsc ? rsc : UINT16_MAX;
}

/* RFC 9111 5.2.2, of which only what bounds it: one that cannot be read says
 * that it holds no longer. */
static bool read_max_age(const struct http_answer *a, uint32_t *out)
{
    struct bytes value;
    bool told = false;
    enum http_found found = http_answer_find(a, "Cache-Control", &value);
    *out = 0;
    if (found != HTTP_FOUND_ONE)
        return found == HTTP_FOUND_MANY;
    uint32_t least = UINT32_MAX;
    for (const char *at = (const char *)value.p, *end = at + value.n; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t n = (size_t)((comma ? comma : end) - at), skip = 0;
        while (skip < n && (at[skip] == ' ' || at[skip] == '\t'))
            skip++;
        if (n - skip > 8 && strncasecmp(at + skip, "max-age=", 8) == 0) {
            uint64_t v = 0;
            size_t i = skip + 8;
            for (; i < n && at[i] >= '0' && at[i] <= '9' && v < UINT32_MAX; i++)
                v = v * 10 + (uint64_t)(at[i] - '0');
            v = i == n ? v : 0;
            least = v < least ? (uint32_t)v : least;
            told = true;
        } else if (n - skip >= 8 && strncasecmp(at + skip, "no-", 3) == 0) { /* store, cache */
            least = 0;
            told = true;
        }
        at += n + 1;
    }
    *out = told ? least : 0;
    return told;
}

void send_read_http_answer(const struct authorities *as, const struct slot *s,
                           const struct http_answer *a, struct pep_reply *out)
{
    const struct wire_endpoint *e = &as->wire->authorities[s->authority].endpoints[s->purpose];
    if (!e->said || !e->said->m2m_from)
        return;
    struct bytes rqi;
    enum http_found found = http_answer_find(a, "X-M2M-RI", &rqi);
    bool ours = found == HTTP_FOUND_NONE || (found == HTTP_FOUND_ONE && is_ours(s, rqi));
    out->rsc = ours ? read_rsc(a) : UINT16_MAX;
    out->has_max_age = read_max_age(a, &out->max_age_s);
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
        request_id(as, s, rqi);
        options[q.n_options++] = (struct msg_option){number[FR], bytes_str(e->said->m2m_from)};
        options[q.n_options++] = (struct msg_option){number[RQI], bytes_str(rqi)};
        options[q.n_options++] = (struct msg_option){number[RVI], bytes_str(release)};
    }
    return coap_line_ask(s->server->coap, s->serial, &q, now);
}

static bool send_m2m_by_http(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                             struct http_question *q, struct bytes body, struct instant now)
{
    char rqi[RQI_MAX], from[FROM_LINE_MAX], id[RQI_MAX + 16], rvi[32];
    request_id(as, s, rqi);
    int n = snprintf(from, sizeof from, "X-M2M-Origin: %s", e->said->m2m_from);
    (void)snprintf(id, sizeof id, "X-M2M-RI: %s", rqi);
    (void)snprintf(rvi, sizeof rvi, "X-M2M-RVI: %s", release);
    const char *const lines[] = {from, id, rvi};
    q->content_type = q->accept = "application/json";
    q->method = is_put(s) ? "PUT" : "POST";
    q->body = body;
    q->lines = lines;
    q->n_lines = sizeof lines / sizeof *lines;
    q->fields = true;
    return n > 0 && (size_t)n < sizeof from && http_client_ask(as->http, s->serial, q, now);
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
