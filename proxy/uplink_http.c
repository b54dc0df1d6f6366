/* Uplinks to devices that speak HTTP. What is above sends CoAP requests and
 * gets CoAP answers, as from a device on a stream (RFC 8323); here each is
 * asked by HTTP, over connections that libcurl keeps (http_map.h says what
 * becomes of it, http_body.h what of blocks).
 *
 * "Open" means that a connection could be opened, with its TLS: nothing is
 * asked of the device to find out. That is tried anew, without TLS, when an
 * answer is long in coming; a server that serves one at a time is well. */
#include "uplink_http_inside.h"

#include <stdlib.h>

enum { TOLD_MAX = 256 }; /* answers a turn, and the sockets have theirs */

static struct http_uplink *mine(struct uplink *l)
{
    return (struct http_uplink *)l;
}

/* ---- the kind ---- */

static void start(struct uplink *l, struct instant now)
{
    http_ask_probe(mine(l), mine(l)->side.origin.tls, ASK_OPEN, now);
}

static void send_message(struct uplink *l, struct bytes message, struct instant now)
{
    struct http_uplinks *all = l->all->http;
    struct msg m;
    if (message.n > MESSAGE_MAX || msg_parse(message, &m) != MSG_OK)
        return;
    struct ask *a = http_ask_new(all, mine(l));
    if (!a)
        return; /* lost, as on a wire */
    a->token = 0;
    for (size_t i = 0; i < m.token_n; i++)
        a->token = a->token << 8 | m.token[i];
    memcpy(a->message, message.p, message.n);
    a->n = message.n;
    http_ask_serve(all, a, &m, now);
    if (!a->id && !a->answered)
        http_ask_free(all, a);
}

static void forget(struct uplink *l, uint64_t token)
{
    struct http_uplinks *all = l->all->http;
    for (struct ask *a = all->asks; a; a = a->next)
        if (a->l == mine(l) && a->what == ASK_REQUEST && a->token == token) {
            http_ask_free(all, a);
            return;
        }
}

static bool takes(const struct uplink *l, size_t n)
{
    (void)l;
    return n <= MESSAGE_MAX;
}

static bool check(struct uplink *l, struct instant now)
{
    struct http_uplink *h = mine(l);
    if (!h->checking) {
        h->checking = true;
        http_ask_probe(h, false, ASK_CHECK, now);
    }
    return true;
}

static void say_goodbye(struct uplink *l, struct instant now)
{
    (void)now;
    http_asks_forget(l->all->http, mine(l));
    http_bodies_forget(l->all->http->bodies, mine(l));
}

static void free_uplink(struct uplink *l)
{
    free(mine(l));
}

static const struct uplink_kind kind = {
    .reliable = true,
    .answer_ms = HTTP_ANSWER_MS - RELIABLE_SUSPECT_MS,
    .start = start,
    .send = send_message,
    .forget = forget,
    .takes = takes,
    .check = check,
    .close = say_goodbye,
    .free = free_uplink,
};

struct uplink *uplink_http_new(struct uplinks *all, const struct uplink_config *c, struct buf *diag)
{
    const struct device_config *d = c->device;
    if (!all->http)
        all->http = http_uplinks_new(all->loop);
    struct http_uplink *l = all->http ? calloc(1, sizeof *l) : NULL;
    if (!l) {
        buf_put_str(diag, "out of memory");
        return NULL;
    }
    uplink_init(&l->base, &kind, all, c);
    l->side = (struct http_side){.origin = {.tls = c->url->scheme == DEVICE_HTTPS,
                                            .host = c->url->host,
                                            .port = c->url->port,
                                            .base = d->base,
                                            .n_base = d->n_base},
                                 .etags = all->http->etags,
                                 .cse = d->cse};
    l->tls = d->tls;
    peer_text(&c->to, l->address);
    return &l->base;
}

/* ---- all of them ---- */

struct http_uplinks *http_uplinks_new(struct loop *loop)
{
    struct http_uplinks *all = calloc(1, sizeof *all);
    if (!all)
        return NULL;
    all->client = http_client_new(loop, http_ask_done, all);
    all->bodies = http_bodies_new(HTTP_BODIES_BYTES);
    all->etags = http_etags_new();
    if (all->client && all->bodies && all->etags) {
        http_client_allow(all->client, 0, 0, HTTP_KEPT); /* devices' windows are the bound */
        return all;
    }
    http_uplinks_free(all);
    return NULL;
}

void http_uplinks_free(struct http_uplinks *all)
{
    if (!all)
        return;
    while (all->asks)
        http_ask_free(all, all->asks);
    for (struct ask *a; (a = all->spare);) {
        all->spare = a->next;
        free(a);
    }
    http_client_free(all->client);
    http_bodies_free(all->bodies);
    http_etags_free(all->etags);
    free(all);
}

/* The one that waits longest. */
static struct ask *next_answered(struct http_uplinks *all)
{
    struct ask *found = NULL;
    for (struct ask *a = all->asks; a && all->n_answered > 0; a = a->next)
        if (a->answered)
            found = a;
    return found;
}

void http_uplinks_turn(struct http_uplinks *all, struct instant now)
{
    uint8_t message[MESSAGE_MAX];
    (void)http_client_turn(all->client, now);
    struct ask *a;
    for (size_t i = 0; i < TOLD_MAX && (a = next_answered(all)); i++) {
        struct uplink *l = &a->l->base;
        size_t n = a->n;
        memcpy(message, a->message, n);
        http_ask_free(all, a);
        l->ops->message(l->user, l, bytes_of(message, n), now);
    }
    /* What those have made room for leaves now. */
    if (http_client_deadline_ms(all->client) <= instant_ms(now))
        (void)http_client_turn(all->client, now);
}

uint64_t http_uplinks_deadline_ms(const struct http_uplinks *all)
{
    return all->n_answered > 0 ? 0 : http_client_deadline_ms(all->client);
}
