#include "gate_notify.h"

#include "gate_call.h"
#include "mail.h"

struct notified_mail {
    struct mail_head head;
    int listener;
    struct peer from;
};

static int device_of(const struct gate *g, int listener)
{
    return g->config->listeners[listener].notifies - 1;
}

/* ---- who sends it ---- */

bool gate_is_cse(const struct device_config *d, const struct peer *from)
{
    struct policy_peer a = peer_policy(from);
    for (size_t i = 0; i < d->n_urls; i++) {
        struct policy_peer b = peer_policy(&d->urls[i].to);
        if (a.family != 0 && a.family == b.family && memcmp(a.addr, b.addr, sizeof a.addr) == 0)
            return true;
    }
    return false;
}

bool gate_notify_accept(struct gate *g, struct arrival *in)
{
    const struct device_config *d = upstream_config(g->upstreams, device_of(g, in->listener));
    if (!gate_is_cse(d, in->from)) {
        g->stats.requests--;
        g->stats.malformed++;
        return false;
    }
    if (!gate_accept_plain(g, in))
        return false;
    in->x->may_send = UINT32_MAX; /* the operator says that it is there */
    return true;
}

bool gate_mail_notified(struct gate *g, int listener, const struct peer *from,
                        struct bytes datagram)
{
    int device = device_of(g, listener);
    if (device < 0 || !gate_is_elsewhere(g, device))
        return false;
    const struct notified_mail m = {.head = {MAIL_NOTIFIED}, .listener = listener, .from = *from};
    const struct bytes parts[] = {bytes_of(&m, sizeof m), datagram};
    (void)!crew_mail(g->crew, g->worker, gate_owner((size_t)device, crew_size(g->crew)), CREW_ASK,
                     parts, 2); /* else it is lost, and sent again */
    return true;
}

bool gate_take_notify_mail(struct gate *g, struct bytes message)
{
    struct notified_mail m;
    if (mail_kind(message) != MAIL_NOTIFIED || message.n < sizeof m)
        return false;
    memcpy(&m, message.p, sizeof m);
    if (!gate_is_elsewhere(g, device_of(g, m.listener))) /* never handed on twice */
        gate_client_datagram(g, m.listener, &m.from,
                             bytes_of(message.p + sizeof m, message.n - sizeof m), g->now);
    return true;
}

/* ---- whom it is for ---- */

static void refuse(struct gate *g, const struct arrival *in, uint8_t code, uint16_t rsc)
{
    g->stats.malformed++;
    g->m2m->rsc = rsc;
    gate_reply_code(g, in, code, NULL);
}

/* The AE-ID, by whichever form of address (TS-0008 6.2.2.3); rules see it below
 * the CSE's own path, where `**` stands for it, too. */
static bool name_ae(struct gate *g, struct arrival *in, struct request *r,
                    const struct device_config *cse, struct bytes *ae_id)
{
    struct bytes path[POLICY_PATH_SEGMENTS_MAX];
    size_t n = r->n_path, n_prefix = cse->n_prefix ? cse->n_prefix : 1;
    memcpy(path, r->path, n * sizeof *path);
    if (n > 1 && path[n - 1].n == 0) /* a pointOfAccess may end in a slash */
        n--;
    if (!m2m_read_address(in->m2m, cse->cse, path, &n, 0) ||
        in->m2m->request.address != M2M_CSE_RELATIVE || n == 0 ||
        n_prefix + n > POLICY_PATH_SEGMENTS_MAX)
        return false;
    (void)g;
    *ae_id = path[0];
    memcpy(r->path + n_prefix, path, n * sizeof *path);
    r->path[0] = bytes_str(cse->name);
    if (cse->n_prefix)
        memcpy(r->path, cse->prefix, cse->n_prefix * sizeof *path);
    r->n_path = n_prefix + n;
    in->m2m->request.named = 0;
    return true;
}

/* To the client, in the terms that every client's numbering has words for. */
static void call(struct gate *g, struct arrival *in, int cse, struct bytes ae_id)
{
    static const struct forward_map as_it_is = {NULL, 0, NULL, 0};
    struct msg out;
    struct forward_scratch scratch;
    if (forward_request(&g->forward, in->m, &as_it_is, &out, &scratch) &&
        m2m_join(&in->m2m->values, M2M_CURRENT, &out)) {
        if (gate_call(g, in->x, cse, ae_id, &out))
            return;
    } else {
        in->x->up_end = UP_TOO_LARGE;
    }
    gate_give_back_rate(g, in->x);
    gate_stop(g, in, gate_code_refused(in->x));
}

void gate_notify_request(struct gate *g, struct arrival *in)
{
    int cse = device_of(g, in->listener);
    const struct device_config *d = upstream_config(g->upstreams, cse);
    struct m2m_fault why = {MSG_CODE(4, 5), M2M_NOT_ALLOWED, NULL};
    struct request *r = &g->request;
    struct bytes host, ae_id = BYTES_NONE;
    const char *text;
    size_t strip;
    bool sound = m2m_read(in->m, M2M_CSE, d->cse->options, g->now.wall_s, &g->m2m->read, &why);
    in->m2m = &g->m2m->read;
    g->m2m->denial = NULL;
    g->m2m->rsc = 0;
    gate_m2m_hold(in);
    if (!sound || in->m2m->request.operation != M2M_NOTIFY) {
        refuse(g, in, sound ? MSG_CODE(4, 5) : why.code, sound ? M2M_NOT_ALLOWED : why.rsc);
        return;
    }
    in->m = &in->m2m->plain;
    uint8_t refused = forward_read(&g->forward, in->m, r, &host, &text);
    if (refused) {
        refuse(g, in, refused, 0);
        return;
    }
    if (g->draining || g->shut) {
        gate_stop(g, in, MSG_CODE(5, 3));
        return;
    }
    peer_put_policy(in->from, &r->peer);
    int target = upstream_route(g->upstreams, BYTES_NONE, r->path, r->n_path, &strip);
    bool is_device = target >= 0 && target != cse && upstream_config(g->upstreams, target)->cse;
    r->device = is_device ? target : cse;
    if (is_device && !gate_m2m_name(g, in, r, strip))
        return;
    if (!is_device && !name_ae(g, in, r, d, &ae_id)) {
        refuse(g, in, MSG_CODE(4, 4), M2M_TARGET_NOT_REACHABLE);
        return;
    }
    r->m2m = &in->m2m->request;
    r->originator = in->m2m->request.originator;
    struct pep_session *s = pep_session_of_cse(g->pep, cse);
    in->subject = s ? pep_session_subject(s) : NULL;
    bool permitted = gate_judge(g, in, r, s);
    in->subject = NULL;
    pep_session_close(s);
    if (permitted) /* no association is asked later whether it still is */
        in->x->basis.kind = PEP_ON_NOTHING;
    if (permitted && is_device)
        gate_forward(g, in, target);
    else if (permitted)
        call(g, in, cse, ae_id);
}
