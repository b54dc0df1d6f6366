#include "coap_line.h"

#include <stdlib.h>

#include "limits.h"
#include "udp.h"

/* One connection, on a socket of its own: a server may take a new handshake
 * from the old port amiss. */
struct link {
    struct link *next;
    struct coap_line *line;
    struct udp *udp;
    struct dtls_out_session *session; /* NULL: plain */
    uint64_t since_ms;
    bool dead; /* freed at the end of the turn */
};

struct coap_line {
    struct loop *loop;
    struct resolver *resolver;
    struct coap_line_ops ops;
    void *user;
    char *host;
    int port;
    struct dtls_out *dtls;
    struct coap_client *client;
    struct link *links;         /* all */
    struct link *open, *coming; /* the one in use; the one that shakes hands */
    uint64_t resolving;         /* id of the question for the name; 0: none */
    uint64_t connect_by_ms;     /* with `resolving` or `coming` */
    const char *reason;
    struct instant now; /* of the call that runs */
};

/* ---- what is below asks for ---- */

static void on_datagram_out(void *user, struct bytes datagram)
{
    struct link *k = user;
    udp_send(k->udp, NULL, datagram);
}

static void on_client_send(void *user, struct bytes message, struct instant now)
{
    struct coap_line *c = user;
    struct link *k = c->open;
    if (!k) /* a stray's RST: nothing else is sent on no connection */
        return;
    if (!k->session)
        udp_send(k->udp, NULL, message);
    else if (!dtls_out_write(k->session, message, now))
        return; /* lost, as on a wire: it is sent again */
}

static void on_client_answered(void *user, uint64_t id, const struct coap_answer *a,
                               struct instant now)
{
    struct coap_line *c = user;
    c->ops.answered(c->user, id, a, now);
}

static void on_client_random(void *user, void *to, size_t n)
{
    struct coap_line *c = user;
    c->ops.random(c->user, to, n);
}

static void connect_line(struct coap_line *c, struct instant now);

/* Perhaps the server has forgotten us. */
static void on_client_suspect(void *user, struct instant now)
{
    struct coap_line *c = user;
    if (c->dtls)
        connect_line(c, now);
}

/* ---- links ---- */

static void drop(struct coap_line *c, struct link *k, struct instant now)
{
    if (!k || k->dead)
        return;
    if (k->session)
        dtls_out_close(k->session, now);
    k->dead = true;
    if (c->open == k)
        c->open = NULL;
    if (c->coming == k)
        c->coming = NULL;
}

static void reap(struct coap_line *c, bool all)
{
    for (struct link **p = &c->links; *p;) {
        struct link *k = *p;
        if (!k->dead && !all) {
            p = &k->next;
            continue;
        }
        *p = k->next;
        if (k->udp) {
            udp_flush(k->udp); /* its close_notify */
            loop_unwatch(c->loop, udp_fd(k->udp));
        }
        dtls_out_session_free(k->session);
        udp_free(k->udp);
        free(k);
    }
}

/* There is no line: whoever waits is told. */
static void give_up(struct coap_line *c, const char *reason, struct instant now)
{
    c->reason = reason;
    c->resolving = 0;
    c->connect_by_ms = UINT64_MAX;
    drop(c, c->coming, now);
    drop(c, c->open, now);
    coap_client_hold(c->client);
    coap_client_end(c->client, COAP_LOST, now);
}

static void opened(struct coap_line *c, struct link *k, struct instant now)
{
    drop(c, c->open, now);
    c->open = k;
    c->coming = NULL;
    c->connect_by_ms = UINT64_MAX;
    k->since_ms = instant_ms(now);
    coap_client_restart(c->client, now);
}

static void closed(struct coap_line *c, struct link *k, const char *reason, struct instant now)
{
    bool was_open = c->open == k;
    bool was_short = instant_ms(now) - k->since_ms < COAP_LINE_SHORT_MS;
    if (!was_open || was_short) {
        give_up(c, reason, now);
        return;
    }
    c->reason = reason;
    drop(c, k, now);
    coap_client_hold(c->client);
    if (coap_client_busy(c->client))
        connect_line(c, now);
}

static void take_event(struct link *k, enum dtls_out_event e, struct instant now)
{
    switch (e) {
    case DTLS_OUT_NOTHING:
        return;
    case DTLS_OUT_ESTABLISHED:
        opened(k->line, k, now);
        return;
    case DTLS_OUT_CLOSED:
        closed(k->line, k, dtls_out_reason(k->session), now);
        return;
    }
}

static void take_datagram(void *user, const struct peer *from, struct bytes datagram)
{
    (void)from;
    struct link *k = user;
    struct coap_line *c = k->line;
    struct instant now = c->now;
    if (k->dead)
        return;
    if (datagram.n == 0) {
        /* ICMP. It may be forged, so a connection that stands is not given up
         * for it; one that comes is, for nobody is there to hear it. */
        if (c->open != k || !k->session)
            give_up(c, "unreachable", now);
        return;
    }
    if (!k->session) {
        coap_client_receive(c->client, datagram, now);
        return;
    }
    take_event(k, dtls_out_receive(k->session, datagram, now), now);
    uint8_t plain[DATAGRAM_MAX];
    while (!k->dead) {
        enum dtls_out_event e;
        struct bytes message = dtls_out_read(k->session, now, plain, sizeof plain, &e);
        take_event(k, e, now);
        if (message.n == 0)
            break;
        if (c->open == k)
            coap_client_receive(c->client, message, now);
    }
}

static bool readable(void *user, int tag, struct instant now)
{
    (void)tag;
    struct link *k = user;
    if (k->dead)
        return false;
    k->line->now = now;
    return udp_receive(k->udp, take_datagram, k);
}

/* ---- connecting ---- */

static bool is_loopback(const struct peer *p)
{
    struct policy_peer a = peer_policy(p);
    static const uint8_t one[16] = {[15] = 1};
    return a.family == 4 ? a.addr[0] == 127 : a.family == 6 && memcmp(a.addr, one, 16) == 0;
}

static bool open_link(struct coap_line *c, const struct peer *to, struct instant now)
{
    char text[256];
    struct buf diag = buf_on(text, sizeof text);
    struct link *k = calloc(1, sizeof *k);
    if (!k)
        return false;
    k->line = c;
    k->next = c->links;
    k->since_ms = instant_ms(now);
    c->links = k;
    c->coming = k;
    k->udp = udp_connect(to, &diag);
    if (!k->udp || !loop_watch(c->loop, udp_fd(k->udp), readable, k, 0))
        return false;
    if (!c->dtls) {
        opened(c, k, now);
        return true;
    }
    k->session = dtls_out_session_new(c->dtls, on_datagram_out, k);
    if (!k->session)
        return false;
    take_event(k, dtls_out_start(k->session, now), now);
    return true;
}

static void resolved(struct coap_line *c, const struct peer *to, struct instant now)
{
    if (!to)
        give_up(c, "no-such-name", now);
    else if (!c->dtls && !is_loopback(to))
        give_up(c, "not-loopback", now);
    else if (!open_link(c, to, now))
        give_up(c, "no-socket", now);
}

static void connect_line(struct coap_line *c, struct instant now)
{
    struct peer to;
    if (c->coming || c->resolving)
        return;
    c->connect_by_ms = instant_ms(now) + COAP_LINE_CONNECT_MS;
    if (resolve_literal(c->host, c->port, &to)) {
        resolved(c, &to, now);
        return;
    }
    while (c->resolving == 0)
        c->ops.random(c->user, &c->resolving, sizeof c->resolving);
    /* Refused: the time-out tells, for this may be within coap_line_ask(). */
    if (!resolver_ask(c->resolver, c->resolving, c->host, c->port))
        c->connect_by_ms = instant_ms(now);
}

bool coap_line_resolved(struct coap_line *c, uint64_t id, const struct peer *to, struct instant now)
{
    if (id != c->resolving)
        return false;
    c->now = now;
    c->resolving = 0;
    resolved(c, to, now);
    return true;
}

/* ---- the line ---- */

struct coap_line *coap_line_new(struct loop *l, struct resolver *r, const char *host, int port,
                                struct dtls_out *dtls, const struct coap_line_ops *ops, void *user)
{
    static const struct coap_client_ops client_ops = {on_client_send, on_client_answered,
                                                      on_client_suspect, on_client_random};
    struct coap_line *c = calloc(1, sizeof *c);
    if (!c) {
        dtls_out_free(dtls);
        return NULL;
    }
    c->loop = l;
    c->resolver = r;
    c->port = port;
    c->dtls = dtls;
    c->ops = *ops;
    c->user = user;
    c->connect_by_ms = UINT64_MAX;
    c->host = strdup(host);
    c->client = coap_client_new(&client_ops, c, COAP_LINE_QUESTIONS, COAP_LINE_WINDOW);
    if (!c->host || !c->client) {
        coap_line_free(c, (struct instant){0});
        return NULL;
    }
    return c;
}

void coap_line_free(struct coap_line *c, struct instant now)
{
    if (!c)
        return;
    drop(c, c->coming, now);
    drop(c, c->open, now);
    reap(c, true);
    coap_client_free(c->client);
    dtls_out_free(c->dtls);
    free(c->host);
    free(c);
}

bool coap_line_ask(struct coap_line *c, uint64_t id, const struct coap_question *q,
                   struct instant now)
{
    /* On what stands it leaves at once. Connecting is the turn's, for it may
     * fail, and nobody is told from here. */
    return coap_client_ask(c->client, id, q, now);
}

void coap_line_cancel(struct coap_line *c, uint64_t id, struct instant now)
{
    coap_client_cancel(c->client, id, now);
}

uint64_t coap_line_turn(struct coap_line *c, struct instant now)
{
    uint64_t ms = instant_ms(now);
    c->now = now;
    if (c->coming && dtls_out_deadline_ms(c->coming->session) <= ms)
        take_event(c->coming, dtls_out_expire(c->coming->session, now), now);
    if (c->connect_by_ms <= ms)
        give_up(c, "handshake-timeout", now);
    coap_client_expire(c->client, now);
    if (!c->open && coap_client_busy(c->client))
        connect_line(c, now);
    reap(c, false);
    uint64_t next = coap_client_deadline_ms(c->client);
    for (struct link *k = c->links; k; k = k->next)
        if (udp_pending(k->udp))
            udp_flush(k->udp);
    if (c->connect_by_ms < next)
        next = c->connect_by_ms;
    if (c->coming && dtls_out_deadline_ms(c->coming->session) < next)
        next = dtls_out_deadline_ms(c->coming->session);
    return next;
}

const char *coap_line_reason(const struct coap_line *c)
{
    return c->reason;
}
