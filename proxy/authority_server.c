#include <stdlib.h>

#include "authority_inside.h"

static uint32_t random_u32(struct authorities *as)
{
    uint32_t v;
    as->ops.random(as->user, &v, sizeof v);
    return v;
}

void server_note_answer(struct server *v, const struct slot *s, struct instant now)
{
    uint64_t us = now.mono_us - s->asked_us;
    v->latency_us = v->latency_us ? (7 * v->latency_us + us) / 8 : us;
    v->heard_us = now.mono_us;
    v->answered++;
    circuit_succeeded(&v->circuit, now);
}

void server_note_failure(struct server *v, const struct slot *s, bool silence, const char *reason,
                         struct instant now)
{
    v->reason = reason;
    if (silence && v->heard_us > s->asked_us)
        circuit_succeeded(&v->circuit, now);
    else
        circuit_failed(&v->circuit, random_u32(v->as), now);
}

struct server *server_of(const struct authorities *as, int authority,
                         enum authority_purpose purpose)
{
    if (!as->wire || authority < 0 || (size_t)authority >= as->wire->n)
        return NULL;
    return as->map[(size_t)authority * AUTHORITY_PURPOSES + purpose];
}

static void server_free(struct server *v, struct instant now)
{
    coap_line_free(v->coap, now);
    free(v);
}

static void on_random(void *user, void *to, size_t n)
{
    struct server *v = user;
    v->as->ops.random(v->as->user, to, n);
}

static struct server *server_new(struct authorities *as, const struct wire_endpoint *e)
{
    static const struct coap_line_ops ops = {authority_on_coap, on_random};
    struct server *v = calloc(1, sizeof *v);
    const char *why = NULL;
    if (!v)
        return NULL;
    v->as = as;
    memcpy(v->digest, e->digest, sizeof v->digest);
    if (e->said->http)
        return v;
    struct dtls_out *dtls = e->said->secure ? wire_dtls(e, &why) : NULL;
    if (!why)
        v->coap = coap_line_new(as->loop, as->resolver, e->host, e->port, dtls, &ops, v);
    if (!v->coap) {
        free(v);
        return NULL;
    }
    return v;
}

static struct server *find_server(struct authorities *as, const struct wire_endpoint *e)
{
    for (struct server *v = as->servers; v; v = v->next)
        if (memcmp(v->digest, e->digest, sizeof v->digest) == 0)
            return v;
    return NULL;
}

void server_sweep(struct authorities *as, struct instant now)
{
    for (struct server **p = &as->servers; *p;) {
        struct server *v = *p;
        if (v->wanted) {
            p = &v->next;
            continue;
        }
        *p = v->next;
        server_free(v, now);
    }
}

bool server_gather(struct authorities *as, const struct wire *w, struct server **map)
{
    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k < AUTHORITY_PURPOSES; k++) {
            const struct wire_endpoint *e = &w->authorities[i].endpoints[k];
            if (!e->said)
                continue;
            struct server *v = find_server(as, e);
            if (!v && (v = server_new(as, e))) {
                v->next = as->servers;
                as->servers = v;
            }
            if (!v || (e->said->http && !as->http &&
                       !(as->http = http_client_new(as->loop, authority_on_http, as))))
                return false;
            v->wanted = true;
            map[i * AUTHORITY_PURPOSES + k] = v;
        }
    return true;
}
