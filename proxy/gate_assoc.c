/* The life of an association as the gate sees it: asked for a key, complete,
 * its last grant ended, gone. */
#include "gate_internal.h"
#include "gate_call.h"

#include <stddef.h>

/* A grant's end is told in wall time, which may be set; so it is looked at
 * again after this long at the most. */
enum { LOOK_AGAIN_MS = 60000 };

static void watch_end(struct gate *g, struct assoc *a)
{
    int64_t ends_s = pep_session_ends(a->session, g->now.wall_s);
    if (ends_s == INT64_MAX) {
        deadline_cancel(&g->ends, &a->ends);
        return;
    }
    int64_t left_s = ends_s - g->now.wall_s;
    uint64_t wait_ms = left_s <= 0                      ? 0
                       : left_s >= LOOK_AGAIN_MS / 1000 ? LOOK_AGAIN_MS
                                                        : (uint64_t)left_s * 1000;
    /* It cannot be full: it has room for every association. */
    (void)deadline_set(&g->ends, &a->ends, instant_ms(g->now) + wait_ms);
}

/* Some stacks end an identity at its first NUL, or wrap it in UTF-8: said,
 * since the client only sees that it is refused. */
static void note_identity(struct gate *g, const struct peer *from, struct bytes identity,
                          const struct pep_proof *p)
{
    static const uint8_t kid_form[] = {0xa1, 0x08, 0xa1};
    bool cut = p->kind == PEP_IDENTITY_UNKNOWN && identity.n >= sizeof kid_form &&
               memcmp(identity.p, kid_form, sizeof kid_form) == 0;
    uint64_t held;
    if ((!cut && !p->utf8_wrapped) || !log_may(&g->identity_lines, instant_ms(g->now), &held))
        return;
    char peer[PEER_TEXT];
    peer_text(from, peer);
    log_event(LOG_LEVEL_WARN, "odd-identity", "peer", peer, "form",
              p->utf8_wrapped ? "wrapped in UTF-8" : "begins as a kid, perhaps cut at a NUL",
              "held", LOG_U(held), NULL);
}

/* The client sees an alert like any other; who enrolled it looks here. */
static void note_enrolment(struct gate *g, const struct peer *from, const struct pep_proof *p)
{
    uint64_t held;
    if (p->err != PEP_ENROLMENT || !log_may(&g->identity_lines, instant_ms(g->now), &held))
        return;
    char peer[PEER_TEXT];
    peer_text(from, peer);
    log_event(LOG_LEVEL_WARN, "enrolment-refused", "peer", peer, "subject", LOG_OR(p->name),
              "reason", "it has ended, or the certificate is not the one", "held", LOG_U(held),
              NULL);
}

bool gate_judge_certificate(struct gate *g, const struct peer *from,
                            const struct pep_certificate *c, struct pep_proof *out)
{
    if (g->shut)
        return false;
    bool ok = pep_judge_certificate(g->pep, c, g->now.wall_s, out);
    note_enrolment(g, from, out);
    return ok;
}

enum pep_key_state gate_find_psk(struct gate *g, const struct peer *from, struct bytes identity,
                                 struct pep_proof *out, uint64_t *wait)
{
    if (g->shut)
        return PEP_KEY_NONE;
    struct policy_peer peer = peer_policy(from);
    enum pep_key_state state = pep_find_psk(g->pep, identity, &peer, g->now.wall_s, out);
    *wait = state == PEP_KEY_WAIT ? out->wait : 0;
    if (*wait)
        return state;
    if (out->kind == PEP_IDENTITY_TOKEN)
        gate_record_token(g, NULL, from, PEP_VIA_IDENTITY, pep_taken_by_identity(g->pep));
    note_identity(g, from, identity, out);
    note_enrolment(g, from, out);
    return state;
}

static enum pep_key_state find_psk(void *user, struct assoc *a, struct bytes identity,
                                   struct pep_proof *out)
{
    return gate_find_psk(user, &a->peer, identity, out, &a->pending->wait);
}

static bool judge_certificate(void *user, struct assoc *a, const struct pep_certificate *c,
                              struct pep_proof *out)
{
    return gate_judge_certificate(user, &a->peer, c, out);
}

static void send_datagram(void *user, int listener, const struct peer *to, struct bytes datagram)
{
    struct gate *g = user;
    udp_send(g->listeners[listener], to, datagram);
}

/* What the client of this association still waits for is given up: its keys
 * are gone, so no answer can reach it. Devices get their place back. */
static void forget_exchanges(struct gate *g, struct assoc *a)
{
    gate_forget_watches(g, a, 0, "association-closed");
    gate_forget_calls(g, a);
    for (struct exchange *x = a->exchanges, *next; x; x = next) {
        next = x->assoc_next;
        if (x->state != EXCHANGE_OPEN)
            continue;
        if (x->up != UP_NONE || x->mailed)
            gate_unserve(g, x);
        gate_record_end(g, x, 0);
        exchange_drop(g->exchanges, x, g->now);
    }
    exchange_forget(g->exchanges, a);
}

static bool established(void *user, struct assoc *a, struct instant now)
{
    struct gate *g = user;
    g->now = now;
    if (a->session) {
        forget_exchanges(g, a);
        pep_session_close(a->session);
    }
    a->session =
        pep_session_open(g->pep, a->conn ? conn_proof(a->conn) : dtls_proof(a->live->dtls));
    if (a->conn)
        conn_forget_key(a->conn);
    else
        dtls_forget_key(a->live->dtls);
    if (!a->session)
        return false;
    watch_end(g, a);
    char peer[PEER_TEXT];
    peer_text(&a->peer, peer);
    log_event(LOG_LEVEL_DEBUG, "association-open", "id", LOG_U(a->id), "peer", peer, "subject",
              pep_session_subject(a->session), "suite",
              a->conn ? conn_suite(a->conn) : dtls_suite(a->live->dtls), NULL);
    return true;
}

static void log_closed(struct gate *g, struct assoc *a, const char *reason)
{
    char peer[PEER_TEXT];
    uint64_t held;
    peer_text(&a->peer, peer);
    if (a->session)
        log_event(LOG_LEVEL_INFO, "association-closed", "id", LOG_U(a->id), "peer", peer, "subject",
                  pep_session_subject(a->session), "reason", reason, NULL);
    else if (log_may(&g->failed_lines, instant_ms(g->now), &held))
        log_event(LOG_LEVEL_INFO, "handshake-failed", "peer", peer, "reason", reason, "held",
                  LOG_U(held), NULL);
}

static void closed(void *user, struct assoc *a, const char *reason)
{
    struct gate *g = user;
    log_closed(g, a, LOG_OR(reason));
    forget_exchanges(g, a);
    deadline_cancel(&g->ends, &a->ends);
    pep_session_close(a->session);
    a->session = NULL;
}

static void slept(void *user, struct assoc *a)
{
    (void)user;
    pep_session_rest(a->session);
}

const struct assoc_ops gate_assoc_ops = {
    find_psk, judge_certificate, send_datagram, established, closed, slept};

/* 4.01 to what runs, then the association ends (RFC 9202 5). */
static void end_assoc(struct gate *g, struct assoc *a, const char *reason)
{
    gate_forget_watches(g, a, MSG_CODE(4, 1), reason);
    for (struct exchange *x = a->exchanges, *next; x; x = next) {
        next = x->assoc_next;
        if (x->state != EXCHANGE_OPEN)
            continue;
        if (x->up != UP_NONE || x->mailed)
            gate_unserve(g, x);
        gate_record_end(g, x, MSG_CODE(4, 1));
        struct msg m;
        struct m2m_dress dress;
        gate_msg(&m, MSG_CODE(4, 1));
        if (x->m2m)
            gate_m2m_dress_late(g, x, &m, false, &dress);
        exchange_answer(g->exchanges, x, &m, g->now);
    }
    assoc_close(g->assocs, a, reason);
}

static void end_if_over(void *user, struct assoc *a)
{
    struct gate *g = user;
    if (!a->session)
        return;
    if (pep_session_ends(a->session, g->now.wall_s) <= g->now.wall_s) {
        end_assoc(g, a, "grants-ended");
        return;
    }
    watch_end(g, a);
    if (a->asleep)
        pep_session_rest(a->session);
}

void gate_expire_assocs(struct gate *g)
{
    struct deadline *d;
    while ((d = deadlines_pop(&g->ends, instant_ms(g->now))) != NULL) {
        struct assoc *a = (struct assoc *)(void *)((char *)d - offsetof(struct assoc, ends));
        if (!a->dead)
            end_if_over(g, a);
    }
}

bool gate_assoc_resume(struct gate *g, struct assoc *a)
{
    if (pep_session_ends(a->session, g->now.wall_s) <= g->now.wall_s) {
        assoc_close(g->assocs, a, "grants-ended");
        return false;
    }
    watch_end(g, a);
    pep_session_rest(a->session);
    return true;
}

/* Permitted, and not at the device yet: behind its window, or another's
 * request. What waits for a question is judged when that is answered. */
static bool is_waiting_its_turn(const struct exchange *x)
{
    return !x->own && (x->up == UP_QUEUED || gate_is_order(x->wait));
}

static void end_waiting(struct gate *g, struct exchange *x)
{
    gate_unserve(g, x);
    x->up_end = UP_FULL;
    gate_deliver(g, x, NULL);
}

static void doubt(void *user, struct exchange *x)
{
    struct gate *g = user;
    if (x->own ||
        pep_basis_holds(g->pep, x->assoc ? x->assoc->session : NULL, &x->basis, g->now.wall_s))
        return;
    x->ends_s = INT64_MIN; /* the answer will find it so */
    x->basis.kind = PEP_ON_NOTHING;
    if (x->mailed || is_waiting_its_turn(x))
        end_waiting(g, x);
}

/* The request in a device's queue, in the gateway's names again. */
static bool read_queued(struct gate *g, const struct exchange *x, struct msg *m, struct request *r)
{
    const struct device_config *d = upstream_config(g->upstreams, x->device_index);
    struct bytes host, path[POLICY_PATH_SEGMENTS_MAX];
    const char *why;
    if (msg_parse(bytes_of(x->room->stored, x->stored_n), m) != MSG_OK ||
        forward_read(&g->forward, m, r, &host, &why) != 0 || r->n_path < d->n_base)
        return false;
    size_t rest = r->n_path - d->n_base, n = d->n_prefix ? d->n_prefix : 1;
    if (n + rest > POLICY_PATH_SEGMENTS_MAX)
        return false;
    memcpy(path, r->path + d->n_base, rest * sizeof *path);
    memcpy(r->path + n, path, rest * sizeof *path);
    r->path[0] = bytes_str(d->name); /* found by its host */
    if (d->n_prefix)
        memcpy(r->path, d->prefix, d->n_prefix * sizeof *path);
    r->n_path = n + rest;
    r->continued = true;
    r->device = x->device_index;
    r->peer = peer_policy(&x->peer);
    r->originator = bytes_str(pep_session_originator(x->assoc->session));
    return true;
}

/* By the policy that is in force now. What its own token permitted, or another
 * worker has, or waits behind another's body, cannot be judged here. */
static bool is_still_permitted(struct gate *g, struct exchange *x)
{
    struct msg m;
    struct pep_decision *d = &g->decision;
    if (!x->assoc || x->mailed || x->up != UP_QUEUED || x->basis.kind == PEP_ON_TOKEN ||
        !read_queued(g, x, &m, &g->request))
        return false;
    pep_authorize(g->pep, x->assoc->session, &g->request, g->now.wall_s, d);
    if (d->outcome != PEP_FORWARD)
        return false;
    x->ends_s = d->ends_s;
    x->basis = d->basis;
    return true;
}

/* Permitted by a policy that is no more: judged again, and else 5.03, for the
 * client to ask again. */
static void turn_away(void *user, struct exchange *x)
{
    struct gate *g = user;
    if (is_waiting_its_turn(x) && !is_still_permitted(g, x))
        end_waiting(g, x);
}

void gate_turn_away_waiting(struct gate *g)
{
    exchanges_each_open(g->exchanges, turn_away, g);
}

static void give_up(void *user, struct exchange *x)
{
    (void)user;
    x->ends_s = INT64_MIN;
}

void gate_doubt_all(struct gate *g)
{
    exchanges_each_open(g->exchanges, give_up, g);
}

void gate_reloaded(struct gate *g, struct instant now)
{
    g->now = now;
    g->pep_expire_s = 0;
    exchanges_each_open(g->exchanges, doubt, g);
    gate_doubt_watches(g);
    assocs_each(g->assocs, end_if_over, g);
}

static void close_one(void *user, struct assoc *a)
{
    struct gate *g = user;
    assoc_close(g->assocs, a, "stopping");
}

void gate_close_all(struct gate *g, struct instant now)
{
    g->now = now;
    assocs_each(g->assocs, close_one, g);
    assocs_reap(g->assocs);
    for (size_t i = 0; i < g->config->n_listeners; i++)
        if (g->listeners[i])
            udp_flush(g->listeners[i]);
}
