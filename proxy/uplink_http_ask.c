/* Questions of uplinks by HTTP: each is a request that is asked, or has its
 * answer from what is kept here; or a probe. */
#include "uplink_http_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "../policy/siphash.h"
#include "m2m_http.h"

enum {
    GRACE_MS = 5000,
    ETAG_BYTES = 8,
};

struct ask *http_ask_new(struct http_uplinks *all, struct http_uplink *l)
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

void http_ask_free(struct http_uplinks *all, struct ask *a)
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

void http_asks_forget(struct http_uplinks *all, const struct http_uplink *l)
{
    for (struct ask *a = all->asks, *next; a; a = next) {
        next = a->next;
        if (a->l == l)
            http_ask_free(all, a);
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

void http_ask_done(void *user, uint64_t id, const struct http_answer *answer, struct instant now)
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
            http_ask_free(all, a);
        return;
    }
    bool opens = a->what == ASK_OPEN;
    l->checking = l->checking && a->what != ASK_CHECK;
    http_ask_free(all, a);
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

void http_ask_probe(struct http_uplink *l, bool tls, int what, struct instant now)
{
    struct http_uplinks *all = l->base.all->http;
    struct http_question q = question(all, l, tls, "/");
    struct ask *a = http_ask_new(all, l);
    q.probe = true;
    q.wait_ms = HTTP_CONNECT_MS;
    if (!a)
        return; /* as if nobody had answered */
    a->what = what;
    a->id = ++all->last_id;
    if (!http_client_ask(all->client, a->id, &q, now)) {
        a->id = 0;
        http_ask_free(all, a);
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

void http_ask_serve(struct http_uplinks *all, struct ask *a, const struct msg *m,
                    struct instant now)
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
