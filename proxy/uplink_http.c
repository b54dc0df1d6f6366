/* Uplinks to devices that speak HTTP. What is above sends CoAP requests and
 * gets CoAP answers, as from a device on a stream (RFC 8323); here each is
 * asked by HTTP, over connections that libcurl keeps (http_map.h says what
 * becomes of it, http_body.h what of blocks).
 *
 * "Open" means that a connection could be opened, with its TLS: nothing is
 * asked of the device to find out. That is tried anew, without TLS, when an
 * answer is long in coming; a server that serves one at a time is well. */
#include <stdio.h>
#include <stdlib.h>

#include "../policy/siphash.h"
#include "http_body.h"
#include "http_map.h"
#include "limits.h"
#include "m2m_http.h"
#include "uplink_inside.h"
#include "upstream.h"

enum {
    URL_BYTES = HTTP_TARGET_MAX + 320,
    GRACE_MS = 5000,
    ETAG_BYTES = 8,
    TOLD_MAX = 256, /* answers a turn, and the sockets have theirs */
};

struct http_uplink {
    struct uplink base; /* first */
    struct http_side side;
    const struct device_tls *tls; /* NULL: plain */
    char address[PEER_TEXT];      /* to connect to */
    bool checking;
};

/* What is under way: a request, or a question whether anybody is there. */
struct ask {
    struct ask *next;
    uint64_t id; /* of the question; 0: there is none, or it is over */
    struct http_uplink *l;
    enum { ASK_REQUEST, ASK_OPEN, ASK_CHECK } what;
    bool answered; /* `message` is to be told */
    uint64_t token;
    size_t n;
    uint8_t message[MESSAGE_MAX]; /* the request; then the answer to be told */
};

/* Of one thread. */
struct http_uplinks {
    struct http_client *client;
    struct http_bodies *bodies;
    struct http_etags *etags;
    struct ask *asks, *spare;
    size_t n_spare;
    uint64_t last_id;
    size_t n_answered; /* of the asks */
    /* of the request, or answer, that is being worked on: too large for the stack */
    struct http_request request;
    struct http_reply reply;
    char url[URL_BYTES];
};

static struct http_uplink *mine(struct uplink *l)
{
    return (struct http_uplink *)l;
}

/* ---- what is under way ---- */

static struct ask *ask_new(struct http_uplinks *all, struct http_uplink *l)
{
    struct ask *a = all->spare;
    if (a) {
        all->spare = a->next;
        all->n_spare--;
    } else if (!(a = malloc(sizeof *a))) {
        return NULL;
    }
    a->l = l;
    a->id = 0;
    a->what = ASK_REQUEST;
    a->answered = false;
    a->n = 0;
    a->next = all->asks;
    all->asks = a;
    return a;
}

static void ask_free(struct http_uplinks *all, struct ask *a)
{
    struct ask **p = &all->asks;
    while (*p != a)
        p = &(*p)->next;
    *p = a->next;
    if (a->id)
        http_client_cancel(all->client, a->id);
    all->n_answered -= a->answered;
    if (all->n_spare >= HTTP_WINDOW_MAX) {
        free(a);
        return;
    }
    a->next = all->spare;
    all->spare = a;
    all->n_spare++;
}

static void forget_all(struct http_uplinks *all, const struct http_uplink *l)
{
    for (struct ask *a = all->asks, *next; a; a = next) {
        next = a->next;
        if (a->l == l)
            ask_free(all, a);
    }
}

/* ---- answers ---- */

/* It is told in the turn that follows: never from within uplink_send(). */
static void tell(struct http_uplinks *all, struct ask *a, struct msg *m)
{
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    m->type = TYPE_NON;
    m->mid = 0;
    m->token_n = sizeof a->token;
    for (size_t i = 0; i < sizeof a->token; i++)
        m->token[i] = (uint8_t)(a->token >> (8 * (sizeof a->token - 1 - i)));
    if (!msg_write(m, &b)) { /* a long location, say */
        b = buf_on(text, sizeof text);
        m->code = MSG_CODE(5, 2);
        m->n_options = 0;
        m->payload = BYTES_NONE;
        if (!msg_write(m, &b))
            return;
    }
    memcpy(a->message, b.p, b.n);
    a->n = b.n;
    a->answered = true;
    all->n_answered++;
}

static void tell_error(struct http_uplinks *all, struct ask *a, const struct msg *asked,
                       uint8_t code, const char *why)
{
    struct http_reply *r = &all->reply;
    if (a->l->side.cse) {
        m2m_http_error(&a->l->side, asked, code, r);
    } else {
        http_reply_init(r, code);
        r->m.payload = bytes_str(why);
    }
    if (code == MSG_CODE(4, 13) && !http_reply_uint(r, OPT_SIZE1, HTTP_BODY_MAX))
        http_reply_init(r, code);
    tell(all, a, &r->m);
}

/* Blocks of one body are known by an ETag (RFC 7959 2.4). */
static bool mark(struct http_reply *r)
{
    static const struct siphash_key key = {0, 0};
    uint64_t h = siphash(&key, r->m.payload);
    return msg_find(&r->m, OPT_ETAG) || MSG_CLASS(r->m.code) != 2 ||
           http_reply_option(r, OPT_ETAG, bytes_of(&h, ETAG_BYTES));
}

/* The reply, with the whole body for its payload, becomes an answer. */
static void tell_reply(struct http_uplinks *all, struct ask *a, const struct msg *asked,
                       struct instant now)
{
    struct http_reply *r = &all->reply;
    struct http_block wanted, sent;
    struct http_block_scratch scratch;
    uint8_t block1[4];
    bool sound =
        http_block_read(asked, OPT_BLOCK2, &wanted) && http_block_read(asked, OPT_BLOCK1, &sent);
    size_t room = (size_t)16 << wanted.szx;
    if (sound && r->m.payload.n > room)
        sound = mark(r) && http_bodies_keep(all->bodies, a->l, asked, &r->m, now);
    if (!sound)
        tell_error(all, a, asked, MSG_CODE(5, 0), NULL); /* no room */
    else if (!http_block_cut(&r->m, &wanted, &scratch) ||
             (sent.there && !msg_add_uint(&r->m, OPT_BLOCK1, http_block_value(&sent), block1)))
        tell_error(all, a, asked, MSG_CODE(4, 0), "no such block");
    else
        tell(all, a, &r->m);
}

static enum uplink_end end_of(enum http_end end)
{
    return end == HTTP_UNTRUSTED ? UPLINK_UNTRUSTED
           : end == HTTP_SILENT  ? UPLINK_SILENT
                                 : UPLINK_REFUSED;
}

static const char *reason_of(enum http_end end)
{
    return end == HTTP_UNTRUSTED ? "untrusted" : end == HTTP_SILENT ? "silent" : "unreachable";
}

static void take_answer(struct http_uplinks *all, struct ask *a, const struct http_answer *answer,
                        struct instant now)
{
    struct msg asked;
    if (answer->end == HTTP_SILENT || msg_parse(bytes_of(a->message, a->n), &asked) != MSG_OK)
        return; /* whoever waits has given up */
    if (answer->end != HTTP_ANSWERED) {
        tell_error(all, a, &asked, MSG_CODE(5, 2),
                   answer->end == HTTP_TOO_LARGE ? "too large an answer" : "no whole answer");
        return;
    }
    http_map_answer(&a->l->side, &asked, answer, &all->reply);
    tell_reply(all, a, &asked, now);
}

static void on_done(void *user, uint64_t id, const struct http_answer *answer, struct instant now)
{
    struct http_uplinks *all = user;
    struct ask *a = all->asks;
    while (a && a->id != id)
        a = a->next;
    if (!a)
        return;
    struct http_uplink *l = a->l;
    a->id = 0;
    /* Who does not let us in fails as a whole; who breaks one answer does not. */
    if (a->what == ASK_REQUEST && (answer->end == HTTP_ANSWERED || answer->sent)) {
        take_answer(all, a, answer, now);
        if (!a->answered)
            ask_free(all, a);
        return;
    }
    bool opens = a->what == ASK_OPEN;
    l->checking = l->checking && a->what != ASK_CHECK;
    ask_free(all, a);
    if (answer->end != HTTP_ANSWERED)
        uplink_ended(&l->base, end_of(answer->end), reason_of(answer->end), now);
    else if (opens)
        uplink_opened(&l->base, now);
}

/* ---- asking ---- */

static struct http_question question(struct http_uplinks *all, const struct http_uplink *l,
                                     bool tls, const char *target)
{
    const char *host = l->side.origin.host;
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(all->url, sizeof all->url, "%s://%s%s%s:%d%s", tls ? "https" : "http",
                   v6 ? "[" : "", host, v6 ? "]" : "", l->side.origin.port, target);
    struct http_question q = {.url = all->url, .connect_to = l->address};
    if (l->tls) {
        q.ca = l->tls->ca;
        q.certificate = l->tls->certificate;
        q.key = l->tls->key;
    }
    return q;
}

static void probe(struct http_uplink *l, bool tls, int what, struct instant now)
{
    struct http_uplinks *all = l->base.all->http;
    struct http_question q = question(all, l, tls, "/");
    struct ask *a = ask_new(all, l);
    q.probe = true;
    q.wait_ms = HTTP_CONNECT_MS;
    if (!a)
        return; /* as if nobody had answered */
    a->what = what;
    a->id = ++all->last_id;
    if (!http_client_ask(all->client, a->id, &q, now)) {
        a->id = 0;
        ask_free(all, a);
    }
}

static bool ask_server(struct http_uplinks *all, struct ask *a, const struct msg *m,
                       struct instant now)
{
    const struct http_request *r = &all->request;
    struct http_question q = question(all, a->l, a->l->side.origin.tls, r->target);
    q.method = r->method;
    q.content_type = r->content_type;
    q.accept = r->accept;
    q.lines = r->lines;
    q.n_lines = r->n_lines;
    q.body = r->body;
    q.answer_max = HTTP_BODY_MAX;
    q.fields = true;
    q.wait_ms = HTTP_ANSWER_MS + GRACE_MS; /* the device's own patience ends first */
    q.once = m->code == MSG_POST || m->code == MSG_PATCH;
    a->id = ++all->last_id;
    if (http_client_ask(all->client, a->id, &q, now))
        return true;
    a->id = 0;
    return false;
}

/* 2.31 (RFC 7959 2.3). */
static void tell_continue(struct http_uplinks *all, struct ask *a, const struct msg *m)
{
    struct http_block block;
    struct msg out = {.code = MSG_CODE(2, 31)};
    uint8_t value[4];
    if (http_block_read(m, OPT_BLOCK1, &block) &&
        msg_add_uint(&out, OPT_BLOCK1, http_block_value(&block), value))
        tell(all, a, &out);
}

static void tell_body(struct http_uplinks *all, struct ask *a, const struct msg *m,
                      enum http_body_verdict verdict)
{
    switch (verdict) {
    case BODY_CONTINUE:
        tell_continue(all, a, m);
        return;
    case BODY_INCOMPLETE:
        tell_error(all, a, m, MSG_CODE(4, 8), NULL);
        return;
    case BODY_TOO_LARGE:
        tell_error(all, a, m, MSG_CODE(4, 13), NULL);
        return;
    case BODY_FULL:
        tell_error(all, a, m, MSG_CODE(5, 3), NULL);
        return;
    case BODY_WHOLE:
    case BODY_BAD:
    default:
        tell_error(all, a, m, MSG_CODE(4, 0), "no such block");
        return;
    }
}

/* A further block of an answer. False: the device is to be asked. */
static bool tell_kept(struct http_uplinks *all, struct ask *a, const struct msg *m,
                      struct instant now)
{
    struct http_block block;
    struct http_block_scratch scratch;
    struct msg out;
    if (!http_block_read(m, OPT_BLOCK2, &block)) {
        tell_error(all, a, m, MSG_CODE(4, 0), "no such block");
        return true;
    }
    if (block.number == 0)
        return false;
    if (!http_bodies_find(all->bodies, a->l, m, now, &out)) {
        /* Only what changes nothing can be asked again. */
        if (m->code != MSG_GET)
            tell_error(all, a, m, MSG_CODE(4, 8), NULL);
        return m->code != MSG_GET;
    }
    if (http_block_cut(&out, &block, &scratch))
        tell(all, a, &out);
    else
        tell_error(all, a, m, MSG_CODE(4, 0), "no such block");
    return true;
}

static void serve(struct http_uplinks *all, struct ask *a, const struct msg *m, struct instant now)
{
    struct bytes body;
    const char *why;
    if (tell_kept(all, a, m, now))
        return;
    enum http_body_verdict verdict = http_bodies_take(all->bodies, a->l, m, now, &body);
    if (verdict != BODY_WHOLE) {
        tell_body(all, a, m, verdict);
        return;
    }
    uint8_t code = http_map_request(&a->l->side, m, body, &all->request, &why);
    if (code)
        tell_error(all, a, m, code, why);
    else if (!ask_server(all, a, m, now))
        tell_error(all, a, m, MSG_CODE(5, 0), NULL);
    http_bodies_done(all->bodies);
}

/* ---- the kind ---- */

static void start(struct uplink *l, struct instant now)
{
    probe(mine(l), mine(l)->side.origin.tls, ASK_OPEN, now);
}

static void send_message(struct uplink *l, struct bytes message, struct instant now)
{
    struct http_uplinks *all = l->all->http;
    struct msg m;
    if (message.n > MESSAGE_MAX || msg_parse(message, &m) != MSG_OK)
        return;
    struct ask *a = ask_new(all, mine(l));
    if (!a)
        return; /* lost, as on a wire */
    a->token = 0;
    for (size_t i = 0; i < m.token_n; i++)
        a->token = a->token << 8 | m.token[i];
    memcpy(a->message, message.p, message.n);
    a->n = message.n;
    serve(all, a, &m, now);
    if (!a->id && !a->answered)
        ask_free(all, a);
}

static void forget(struct uplink *l, uint64_t token)
{
    struct http_uplinks *all = l->all->http;
    for (struct ask *a = all->asks; a; a = a->next)
        if (a->l == mine(l) && a->what == ASK_REQUEST && a->token == token) {
            ask_free(all, a);
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
        probe(h, false, ASK_CHECK, now);
    }
    return true;
}

static void say_goodbye(struct uplink *l, struct instant now)
{
    (void)now;
    forget_all(l->all->http, mine(l));
    http_bodies_forget(l->all->http->bodies, mine(l));
}

static void flush(struct uplink *l)
{
    (void)l; /* http_uplinks_turn() */
}

static void free_uplink(struct uplink *l)
{
    free(mine(l));
}

static bool has_way(const struct uplink *l)
{
    (void)l;
    return true;
}

static uint64_t deadline_ms(const struct uplink *l)
{
    (void)l;
    return UINT64_MAX; /* that of all */
}

static void expire(struct uplink *l, struct instant now)
{
    (void)l, (void)now;
}

static void give_up(struct uplink *l, struct instant now)
{
    uplink_ended(l, UPLINK_SILENT, "handshake-timeout", now);
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
    .flush = flush,
    .free = free_uplink,
    .has_way = has_way,
    .deadline_ms = deadline_ms,
    .expire = expire,
    .give_up = give_up,
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
    all->client = http_client_new(loop, on_done, all);
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
        ask_free(all, all->asks);
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
        ask_free(all, a);
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
