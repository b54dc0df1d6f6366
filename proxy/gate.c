#include "gate_internal.h"
#include "gate_m2m.h"
#include "gate_call.h"
#include "gate_notify_http.h"

#include <stdlib.h>

/* ---- answers ---- */

void gate_reply(struct gate *g, const struct arrival *in, struct msg *m)
{
    uint8_t echo[ECHO_VALUE];
    struct m2m_dress s;
    if (g->m2m)
        gate_m2m_dress(g, in, m, &s);
    if (!in->assoc && !(in->x && in->x->gone))
        gate_fit_plain(g, in, m, echo);
    if (in->x) {
        exchange_answer(g->exchanges, in->x, m, g->now);
        return;
    }
    g->stats.answered++;
    m->type = in->m->type == TYPE_CON ? TYPE_ACK : TYPE_NON;
    m->mid = in->m->type == TYPE_CON ? in->m->mid : g->plain_mid++;
    m->token_n = in->m->token_n;
    memcpy(m->token, in->m->token, sizeof m->token);
    uint8_t storage[MESSAGE_MAX];
    struct buf plain = buf_on(storage, sizeof storage);
    if (msg_write(m, &plain))
        gate_send(g, in->assoc, in->listener, in->from, buf_bytes(&plain));
}

void gate_reply_code(struct gate *g, const struct arrival *in, uint8_t code, const char *why)
{
    struct msg m;
    gate_msg(&m, code);
    m.payload = bytes_str(why);
    gate_reply(g, in, &m);
}

void gate_reply_later(struct gate *g, const struct arrival *in, uint8_t code, uint32_t age_s)
{
    struct msg m;
    uint8_t age[4];
    gate_msg(&m, code);
    if (msg_add_uint(&m, OPT_MAX_AGE, age_s, age))
        gate_reply(g, in, &m);
}

static void reply_busy(struct gate *g, const struct arrival *in)
{
    gate_reply_later(g, in, MSG_CODE(5, 3), DEVICE_MAX_AGE_S);
}

/* With the size that would do (RFC 7252 5.9.2.9, RFC 7959 2.9.3). */
static void reply_too_large(struct gate *g, const struct arrival *in)
{
    struct msg m;
    uint8_t size[4];
    gate_msg(&m, MSG_CODE(4, 13));
    if (msg_add_uint(&m, OPT_SIZE1, BODY_SURE, size))
        gate_reply(g, in, &m);
}

/* An empty ACK or RST to a client. */
static void send_empty(struct gate *g, const struct arrival *in, enum msg_type type)
{
    uint8_t storage[4];
    struct buf empty = buf_on(storage, sizeof storage);
    msg_write_empty(type, in->m->mid, &empty);
    gate_send(g, in->assoc, in->listener, in->from, buf_bytes(&empty));
}

void gate_send(struct gate *g, struct assoc *a, int listener, const struct peer *to,
               struct bytes message)
{
    if (a && !(listener == a->listener && peer_equal(to, &a->peer))) { /* it has moved */
        listener = a->listener;
        to = &a->peer;
    }
    struct udp *udp = g->listeners[listener];
    if (!udp && g->config->listeners[listener].http) {
        gate_http_send(g, listener, message);
        return;
    }
    if (!udp) {
        gate_conn_send(g, a, listener, to, message);
        return;
    }
    if (!a) {
        udp_send(udp, to, message);
        return;
    }
    struct buf slot = udp_slot(udp);
    if (assoc_write(g->assocs, a, message, &slot))
        udp_commit(udp, to, &slot);
}

static void exchange_send(void *user, struct exchange *x, struct bytes message)
{
    struct gate *g = user;
    if (!x->gone && gate_spend(g, x, message.n))
        gate_send(g, x->assoc, x->listener, &x->peer, message);
}

static void exchange_undelivered(void *user, struct exchange *x, bool reset)
{
    /* The client has lost interest or its line: counted by the table. */
    if (x->watch)
        gate_watch_undelivered(user, x, reset);
}

/* ---- a request ---- */

/* The path in the gateway's name space. A device found by Uri-Host has its
 * name put in front, so that /state of one host is never /state of another. */
bool gate_name_path(const struct device_config *d, struct request *r)
{
    if (!d || d->n_prefix > 0)
        return true;
    if (r->n_path >= POLICY_PATH_SEGMENTS_MAX)
        return false;
    memmove(&r->path[1], &r->path[0], r->n_path * sizeof r->path[0]);
    r->path[0] = bytes_str(d->name);
    r->n_path++;
    return true;
}

bool gate_denial(const struct pep_decision *d, struct msg *m, uint8_t scratch[3][4])
{
    gate_msg(m, d->code);
    if (d->retry_s && !msg_add_uint(m, OPT_MAX_AGE, d->retry_s, scratch[0]))
        return false;
    if (d->payload_n > 0 && !msg_add_uint(m, OPT_CONTENT_FORMAT, d->content_format, scratch[1]))
        return false;
    m->payload = bytes_of(d->payload, d->payload_n);
    return d->code != MSG_CODE(4, 13) || msg_add_uint(m, OPT_SIZE1, d->size1, scratch[2]);
}

static void deny(struct gate *g, const struct arrival *in, const struct pep_decision *d)
{
    struct msg m;
    uint8_t scratch[3][4];
    if (!gate_denial(d, &m, scratch))
        return;
    g->stats.denied++;
    if (!in->assoc)
        g->stats.plain_refused++;
    gate_record_decision(g, in, &g->request, d, d->code);
    gate_m2m_deny(g, in, d);
    gate_reply(g, in, &m);
}

void gate_stop(struct gate *g, const struct arrival *in, uint8_t code)
{
    gate_record_end(g, in->x, code);
    if (code == MSG_CODE(5, 3))
        reply_busy(g, in);
    else if (code == MSG_CODE(4, 13))
        reply_too_large(g, in);
    else
        gate_reply_code(g, in, code, NULL);
}

void gate_forward(struct gate *g, const struct arrival *in, int device)
{
    if (device < 0) {
        gate_stop(g, in, MSG_CODE(4, 4));
        return;
    }
    struct msg out;
    struct forward_scratch scratch;
    struct forward_map map = gate_device_map(upstream_config(g->upstreams, device));
    if (!forward_request(&g->forward, in->m, &map, &out, &scratch) ||
        (in->m2m && !gate_m2m_put(in, upstream_config(g->upstreams, device), &out))) {
        gate_give_back_rate(g, in->x);
        gate_stop(g, in, MSG_CODE(4, 2));
        return;
    }
    out.type = in->m->type;
    in->x->device_index = device;
    enum observe_taken watched = gate_watch(g, in, device, &out);
    if (watched == OBSERVE_TAKEN ||
        (watched == OBSERVE_PLAIN && gate_serve(g, in->x, device, &out)))
        return;
    gate_give_back_rate(g, in->x);
    gate_stop(g, in, gate_code_refused(in->x));
}

bool gate_judge(struct gate *g, struct arrival *in, struct request *r, struct pep_session *s)
{
    struct pep_decision *d = &g->decision;
    pep_authorize(g->pep, s, r, g->now.wall_s, d);
    if (d->outcome == PEP_WAIT && in->x) {
        gate_park(g, in, d->wait);
        return false;
    }
    /* What the policy lets pass without an association (Mca): pep knows of no
     * other that it would forward for nobody. */
    if (d->outcome == PEP_FORWARD && !in->x && in->m2m && d->verdict == POLICY_PERMIT) {
        if (!gate_accept_plain(g, in))
            return false;
        gate_m2m_hold(in);
    }
    if (d->outcome != PEP_FORWARD || !in->x) {
        /* A plain listener forwards nothing else, whatever pep says. */
        if (d->outcome != PEP_DENY)
            *d = (struct pep_decision){.code =
                                           d->outcome == PEP_WAIT ? MSG_CODE(5, 3) : MSG_CODE(4, 1),
                                       .retry_s = d->outcome == PEP_WAIT ? PLAIN_MAX_AGE_S : 0,
                                       .reason = "no-association",
                                       .policy_hash = d->policy_hash};
        deny(g, in, d);
        return false;
    }
    if (g->config->audit_required && g->audit && !audit_sink_has_room(g->audit, g->worker)) {
        g->stats.denied++;
        reply_busy(g, in);
        return false;
    }
    gate_take_rate(g, r->device, d, in->x);
    if (d->outcome != PEP_FORWARD) {
        deny(g, in, d);
        return false;
    }
    if (d->verdict == POLICY_PERMIT)
        g->stats.permitted++;
    else
        g->stats.reported++;
    in->x->ends_s = d->ends_s;
    in->x->basis = d->basis;
    if (in->m2m)
        gate_m2m_keep(g, in, d);
    gate_record_decision(g, in, r, d, 0);
    return true;
}

void gate_request(struct gate *g, struct arrival *in)
{
    struct request *r = &g->request;
    struct bytes host;
    const char *why = NULL;
    if (gate_is_notified(g, in)) {
        gate_notify_request(g, in);
        return;
    }
    if (g->m2m && !gate_m2m_take(g, in))
        return;
    const struct msg *m = in->m;

    /* Refused by its form alone: the answer is a function of the message,
     * so it needs no memory for duplicates. */
    uint8_t refused = forward_read(&g->forward, m, r, &host, &why);
    /* The last hop may be the one to us (RFC 8768 3): it ends what would go on. */
    bool last_hop = refused == MSG_CODE(5, 8);
    if (refused && !last_hop) {
        g->stats.malformed++;
        gate_reply_code(g, in, refused, why);
        return;
    }
    if (g->draining || g->shut) {
        reply_busy(g, in);
        return;
    }
    peer_put_policy(in->from, &r->peer);
    gate_watch_leave(g, in);
    if (gate_local(g, in, r))
        return;
    if (last_hop) {
        gate_reply_code(g, in, refused, why);
        return;
    }
    size_t strip;
    r->device = upstream_route(g->upstreams, host, r->path, r->n_path, &strip);
    if (in->m2m && !gate_m2m_name(g, in, r, strip))
        return;
    if (r->device >= 0 && !gate_name_path(upstream_config(g->upstreams, r->device), r)) {
        gate_reply_code(g, in, MSG_CODE(4, 2), "path too long");
        return;
    }
    if (in->assoc && !in->m2m)
        r->originator = bytes_str(pep_session_originator(in->assoc->session));
    if (gate_judge(g, in, r, in->assoc ? in->assoc->session : NULL))
        gate_forward(g, in, r->device);
}

/* ---- entry points ---- */

void gate_take(struct gate *g, struct arrival *in)
{
    const struct msg *m = in->m;
    if (m->type == TYPE_ACK || m->type == TYPE_RST) { /* over plain coap too: what was parked */
        bool reset = m->type == TYPE_RST;
        if (!exchange_acknowledged(g->exchanges, in->assoc, in->from, in->listener, m->mid, reset,
                                   g->now) &&
            in->assoc && reset)
            gate_watch_reset(g, in->assoc, m->mid);
        (void)!gate_call_answered(g, in); /* with its ACK */
        return;
    }
    if (!msg_is_request(m)) {
        /* A ping (RFC 7252 4.3), or an answer: to something that we asked? */
        bool asked = gate_call_answered(g, in);
        if (m->type == TYPE_CON)
            send_empty(g, in, asked ? TYPE_ACK : TYPE_RST);
        return;
    }
    g->stats.requests++; /* each is answered once, or its client goes first */
    if (gate_is_notified(g, in) && !gate_notify_accept(g, in))
        return;
    if (in->assoc && in->datagram.n > MESSAGE_MAX) {
        g->stats.malformed++;
        reply_too_large(g, in); /* a function of the message: no memory */
        return;
    }
    if (in->assoc) {
        struct bytes again = BYTES_NONE;
        switch (exchange_accept(g->exchanges, in->assoc, in->listener, in->from, m, in->datagram,
                                g->now, &in->x, &again)) {
        case EXCHANGE_NEW:
            break;
        case EXCHANGE_REPEAT:
            g->stats.requests--;
            if (again.n > 0)
                gate_send(g, in->assoc, in->listener, in->from, again);
            return;
        case EXCHANGE_MANY:
            in->x = NULL;
            if (gate_m2m_take(g, in))
                gate_reply_later(g, in, MSG_CODE(4, 29), CLIENT_MAX_AGE_S);
            return;
        case EXCHANGE_FULL:
        default:
            in->x = NULL;
            if (gate_m2m_take(g, in))
                reply_busy(g, in);
            return;
        }
    }
    gate_request(g, in);
}

static void client_message(struct gate *g, struct assoc *a, int listener, const struct peer *from,
                           struct bytes plain)
{
    struct msg m;
    struct arrival in = {
        .assoc = a, .listener = listener, .from = from, .m = &m, .datagram = plain};
    switch (msg_parse(plain, &m)) {
    case MSG_OK:
        break;
    case MSG_BAD:
        g->stats.malformed++;
        if (m.type == TYPE_CON)
            send_empty(g, &in, TYPE_RST);
        return;
    case MSG_IGNORE:
    default:
        g->stats.malformed++;
        return;
    }
    gate_take(g, &in);
}

/* What an association received. False: nothing that is authentic and new. */
static bool take_plain(struct gate *g, struct assoc *a, int listener, const struct peer *from)
{
    bool any = false;
    while (!a->dead) {
        struct bytes plain = assoc_read(g->assocs, a, g->now, g->plain, sizeof g->plain);
        if (plain.n == 0)
            break;
        /* An older record that comes from elsewhere is one of where it is now. */
        bool there = a->listener == listener && peer_equal(from, &a->peer);
        client_message(g, a, a->listener, there ? from : &a->peer, plain);
        any = true;
    }
    return any;
}

void gate_client_datagram(struct gate *g, int listener, const struct peer *from,
                          struct bytes datagram, struct instant now)
{
    g->now = now;
    if (!g->config->listeners[listener].secure) {
        if (gate_mail_notified(g, listener, from, datagram))
            return;
        client_message(g, NULL, listener, from, datagram);
        return;
    }
    if (gate_mail_datagram(g, listener, from, datagram))
        return;
    struct assoc *a = assocs_receive(g->assocs, listener, from, datagram, now);
    if (a && !take_plain(g, a, listener, from) && !a->dead)
        g->stats.unread++;
}

/* Handshakes, when all else of the turn is done and sent. */
static bool take_handshakes(struct gate *g)
{
    struct assoc *a;
    bool any = false;
    for (bool more = true; more; any |= more) {
        /* By turns: neither kind of strangers keeps the other out. */
        more = g->conns_first && g->conns && conns_serve(g->conns, g->now);
        if (assocs_serve(g->assocs, g->now, &a)) {
            more = true;
            if (a)
                (void)take_plain(g, a, a->listener, &a->peer);
        }
        more |= !g->conns_first && g->conns && conns_serve(g->conns, g->now);
        g->conns_first ^= more;
    }
    return any;
}

/* What is due, then what it said leaves. */
static bool turn(struct gate *g, uint64_t *conns)
{
    struct instant now = g->now;
    *conns = g->conns ? conns_turn(g->conns, now) : UINT64_MAX;
    exchanges_expire(g->exchanges, now);
    upstreams_expire(g->upstreams, now);
    gate_expire_watches(g);
    gate_expire_calls(g);
    observes_turn(g->observes, now);
    assocs_expire(g->assocs, now);
    if (now.wall_s >= g->pep_expire_s)
        g->pep_expire_s = pep_expire(g->pep, now.wall_s);
    gate_expire_assocs(g);
    gate_learn(g);
    gate_ask(g);
    gate_serve_waiting(g);
    bool unsent = g->crew && gate_mail_turn(g);
    assocs_reap(g->assocs);
    upstreams_turn(g->upstreams, now);
    for (size_t i = 0; i < g->config->n_listeners; i++)
        if (g->listeners[i])
            udp_flush(g->listeners[i]);
    if (g->audit)
        audit_sink_tell(g->audit, g->worker);
    return unsent;
}

uint64_t gate_turn(struct gate *g, struct instant now)
{
    uint64_t conns;
    g->now = now;
    gate_http_turn(g);
    bool unsent = turn(g, &conns);
    if (take_handshakes(g)) /* what came of them leaves in this turn, too */
        unsent = turn(g, &conns);

    gate_tell_enrolments(g);
    uint64_t next = exchanges_deadline_ms(g->exchanges);
    uint64_t others[] = {upstreams_deadline_ms(g->upstreams),
                         assocs_deadline_ms(g->assocs),
                         deadlines_next(&g->ends),
                         discovery_deadline_ms(g->discovery),
                         blocks_deadline_ms(g->blocks),
                         observes_deadline_ms(g->observes),
                         watches_deadline_ms(g->watches),
                         g->enrolled_ms,
                         gate_calls_deadline_ms(g),
                         gate_http_deadline_ms(g),
                         conns};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] < next)
            next = others[i];
    /* What is over by then is over though nothing happens. */
    int64_t over_s = g->pep_expire_s - now.wall_s;
    if (over_s > 0 && (uint64_t)over_s * 1000 + instant_ms(now) < next)
        next = (uint64_t)over_s * 1000 + instant_ms(now);
    /* A colleague that has read its mail does not say so. */
    return unsent && instant_ms(now) + 1 < next ? instant_ms(now) + 1 : next;
}

bool gate_drain(struct gate *g, struct instant now)
{
    g->now = now;
    if (!g->draining)
        gate_release_conns(g);
    g->draining = true;
    struct exchanges_stats s;
    exchanges_get_stats(g->exchanges, &s);
    return s.open == 0;
}

/* ---- life ---- */

void gate_random(struct gate *g, void *to, size_t n)
{
    uint8_t *p = to;
    for (size_t part; n > 0; p += part, n -= part) {
        if (g->random_left == 0) {
            dtls_random(assocs_dtls(g->assocs), g->random, sizeof g->random);
            g->random_left = sizeof g->random;
        }
        part = n < g->random_left ? n : g->random_left;
        g->random_left -= part;
        memcpy(p, g->random + g->random_left, part);
        memset(g->random + g->random_left, 0, part);
    }
}

static void on_random(void *user, void *to, size_t n)
{
    gate_random(user, to, n);
}

static uint32_t random32(void *user)
{
    uint32_t v;
    gate_random(user, &v, sizeof v);
    return v;
}

static const struct exchange_ops exchange_ops = {
    .send = exchange_send, .undelivered = exchange_undelivered, .notified = gate_watch_heard};
static const struct observe_ops observe_ops = {gate_notice};

static bool open_discovery(struct gate *g)
{
    const struct config *c = g->config;
    struct discovery_device *devices = calloc(c->n_devices + 1, sizeof *devices);
    if (!devices)
        return false;
    for (size_t i = 0; i < c->n_devices; i++) {
        const struct device_config *d = &c->devices[i].upstream;
        devices[i] = (struct discovery_device){d->name, d->host, gate_device_map(d),
                                               gate_is_elsewhere(g, (int)i),
                                               d->cse || device_url_is_http(&d->urls[0])};
    }
    g->discovery = discovery_new(devices, c->n_devices);
    free(devices);
    return g->discovery != NULL;
}

static bool open_observations(struct gate *g)
{
    struct observes_config c = {.upstreams = g->upstreams,
                                .exchanges = g->exchanges,
                                .ops = &observe_ops,
                                .user = g,
                                .random = random32,
                                .max = OBSERVATIONS,
                                .max_subscribers = WATCHES * crew_size(g->crew)};
    uint64_t half_idle_ms = g->config->idle_s * 1000 / 2;
    g->watch_con_ms = half_idle_ms < WATCH_CON_MS ? half_idle_ms : WATCH_CON_MS;
    g->watches = watches_new(WATCHES);
    g->observes = observes_new(&c);
    return g->watches && g->observes;
}

static bool open_tables(struct gate *g, struct buf *diag)
{
    const struct config *c = g->config;
    unsigned n = crew_size(g->crew);
    struct assocs_config ac = {.max = c->max_assocs,
                               .total = g->associations,
                               .first_id = g->worker,
                               .workers = n,
                               .max_half = gate_share(c->max_handshakes, n),
                               .max_half_per_net = gate_share(HANDSHAKES_PER_NET, n),
                               .idle_ms = c->idle_s * 1000,
                               .max_awake = gate_share(c->max_awake, n),
                               .sleep_ms = c->sleep_s * 1000,
                               .max_waiting = HANDSHAKES_WAITING,
                               .max_waiting_per_net = HANDSHAKES_WAITING_PER_NET,
                               .max_waiting_per_host = HANDSHAKES_WAITING_PER_HOST,
                               .budget = &g->budget};
    g->assocs = assocs_new(&ac, &c->dtls, &gate_assoc_ops, g, diag);
    if (!g->assocs)
        return false;
    struct device_config *devices = calloc(c->n_devices + 1, sizeof *devices);
    if (!devices)
        return false;
    for (size_t i = 0; i < c->n_devices; i++) {
        devices[i] = c->devices[i].upstream;
        devices[i].elsewhere = gate_is_elsewhere(g, (int)i);
    }
    g->upstreams =
        upstreams_new(devices, c->n_devices, g->loop, &gate_upstream_ops, g, on_random, diag);
    free(devices);
    if (!g->upstreams)
        return false;
    g->exchanges = exchanges_new(c->max_exchanges, &exchange_ops, g, random32);
    if (g->crew)
        g->mail = gate_mail_new(crew_size(g->crew), c->max_exchanges);
    if (!g->exchanges || (g->crew && !g->mail) || !gate_open_m2m(g) || !gate_open_calls(g) ||
        !open_observations(g) || !open_discovery(g) ||
        !deadlines_init(&g->ends, c->max_assocs + 1)) {
        buf_put_str(diag, "out of memory: lower `limits:` in the configuration\n");
        return false;
    }
    if (!gate_open_conns(g, diag) || !gate_open_http(g, diag))
        return false;
    if (!gate_open_cache(g)) {
        buf_put_str(diag, "out of memory: lower `limits: {cache: }` in the configuration\n");
        return false;
    }
    on_random(g, &g->plain_mid, sizeof g->plain_mid);
    if (!g->rates) {
        struct siphash_key seed;
        on_random(g, &seed, sizeof seed);
        g->rates = g->own_rates = rates_new(c->max_rates, seed);
    }
    if (!g->rates) {
        buf_put_str(diag, "out of memory: lower `limits:` in the configuration\n");
        return false;
    }
    return true;
}

struct gate *gate_new(const struct gate_config *c, struct buf *diag)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g) {
        buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    g->config = c->config;
    g->pep = c->pep;
    g->audit = c->audit;
    g->worker = c->worker;
    g->crew = c->crew;
    g->associations = c->associations;
    g->listeners = c->listeners;
    g->loop = c->loop;
    g->ask = c->ask;
    g->ask_user = c->ask_user;
    g->hear = c->hear;
    g->hear_user = c->hear_user;
    g->others = c->others;
    g->others_user = c->others_user;
    g->check = c->check;
    g->check_user = c->check_user;
    budget_init(&g->budget, c->cpu_us);
    g->forward.access_token = c->config->access_token_option;
    g->rates = c->rates;
    if (!open_tables(g, diag)) {
        gate_free(g);
        return NULL;
    }
    return g;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    /* Associations go first: their ends still name exchanges and devices. */
    if (g->assocs && g->exchanges && g->upstreams && g->observes && g->watches && !g->forgotten)
        gate_close_all(g, g->now);
    observes_free(g->observes);
    watches_free(g->watches);
    if (g->upstreams)
        upstreams_free(g->upstreams);
    if (g->exchanges)
        exchanges_free(g->exchanges);
    if (g->assocs)
        assocs_free(g->assocs);
    conns_free(g->conns);
    gate_close_http(g);
    tls_free(g->tls);
    discovery_free(g->discovery);
    secrets_wipe(&g->echo.secrets);
    gate_mail_free(g->mail);
    device_cache_free(g->cache);
    blocks_free(g->blocks);
    gate_waits_free(g->waits);
    gate_close_m2m(g);
    gate_close_calls(g);
    rates_free(g->own_rates);
    deadlines_clear(&g->ends);
    free(g);
}

struct upstreams *gate_upstreams(struct gate *g)
{
    return g->upstreams;
}

void gate_get_stats(const struct gate *g, struct gate_stats *out)
{
    *out = g->stats;
    assocs_get_stats(g->assocs, &out->assocs);
    exchanges_get_stats(g->exchanges, &out->exchanges);
    device_cache_get_stats(g->cache, &out->cache);
    blocks_get_stats(g->blocks, &out->blocks);
    observes_get_stats(g->observes, &out->observes);
    out->watches = *watches_stats(g->watches);
    if (g->conns)
        conns_get_stats(g->conns, &out->conns);
    out->handshake_us = g->budget.spent_us;
}
