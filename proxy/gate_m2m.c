#include "gate_call.h"

#include <stdlib.h>

#include "m2m_aei.h"

/* ---- whom it is for ---- */

bool gate_open_m2m(struct gate *g)
{
    for (size_t i = 0; i < g->config->n_devices; i++)
        if (g->config->devices[i].upstream.cse)
            return (g->m2m = calloc(1, sizeof *g->m2m)) != NULL;
    return true;
}

void gate_close_m2m(struct gate *g)
{
    free(g->m2m);
    g->m2m = NULL;
}

/* What the gateway answers itself is nobody else's (gate_local.c). */
static bool is_local(const struct bytes *path, size_t n)
{
    return (n == 1 && bytes_equal_str(path[0], "authz-info")) ||
           (n == 2 && bytes_equal_str(path[0], ".well-known") && bytes_equal_str(path[1], "core"));
}

static const struct m2m_cse *find_cse(const struct gate *g, const struct msg *m)
{
    struct bytes path[POLICY_PATH_SEGMENTS_MAX], host = BYTES_NONE;
    size_t n = 0, strip;
    for (size_t i = 0; i < m->n_options && m->options[i].number <= OPT_URI_PATH; i++) {
        if (m->options[i].number == OPT_URI_HOST)
            host = m->options[i].value;
        else if (m->options[i].number == OPT_URI_PATH && n < POLICY_PATH_SEGMENTS_MAX)
            path[n++] = m->options[i].value;
    }
    if (is_local(path, n))
        return NULL;
    int device = upstream_route(g->upstreams, host, path, n, &strip);
    return device < 0 ? NULL : upstream_config(g->upstreams, device)->cse;
}

/* ---- the request ---- */

static uint8_t copy(uint8_t *to, size_t cap, struct bytes from)
{
    size_t n = from.n <= cap ? from.n : 0;
    if (n)
        memcpy(to, from.p, n);
    return (uint8_t)n;
}

void gate_m2m_hold(const struct arrival *in)
{
    struct exchange *x = in->x;
    const struct m2m_read *r = in->m2m;
    struct exchange_m2m *k = &x->room->m2m;
    const struct m2m_request *q = &r->request;
    x->m2m = (uint8_t)(1 + r->numbering);
    x->m2m_operation = (uint8_t)q->operation;
    x->m2m_registers = q->operation == M2M_CREATE && q->type == M2M_TYPE_AE;
    k->rqi_n = copy(k->rqi, sizeof k->rqi, q->rqi);
    k->rvi_n = copy(k->rvi, sizeof k->rvi, q->rvi);
    k->name_n = copy(k->name, sizeof k->name,
                     x->m2m_registers             ? q->originator
                     : q->operation == M2M_DELETE ? q->to
                                                  : BYTES_NONE);
    k->ati_n = 0;
}

bool gate_m2m_take(struct gate *g, struct arrival *in)
{
    const struct m2m_cse *cse = g->m2m ? find_cse(g, in->m) : NULL;
    struct m2m_fault why;
    in->m2m = NULL;
    if (!cse)
        return true;
    struct m2m_read *r = &g->m2m->read;
    uint8_t heard = in->assoc ? in->assoc->m2m : 0;
    bool sound = m2m_read(in->m, M2M_CLIENT, heard ? (enum m2m_numbering)(heard - 1) : cse->options,
                          g->now.wall_s, r, &why);
    if (in->assoc && r->certain)
        in->assoc->m2m = (uint8_t)(1 + r->numbering);
    in->m2m = r;
    g->m2m->denial = NULL;
    g->m2m->rsc = 0;
    if (in->x)
        gate_m2m_hold(in);
    if (!sound) {
        g->stats.malformed++;
        g->m2m->rsc = why.rsc;
        gate_reply_code(g, in, why.code, NULL);
        return false;
    }
    in->m = &r->plain;
    return true;
}

bool gate_m2m_name(struct gate *g, const struct arrival *in, struct request *r, size_t strip)
{
    struct m2m_read *read = in->m2m;
    const struct device_config *d = upstream_config(g->upstreams, r->device);
    if (!m2m_read_address(read, d->cse, r->path, &r->n_path, strip)) {
        g->stats.malformed++;
        gate_reply_code(g, in, MSG_CODE(4, 0), NULL);
        return false;
    }
    if (d->n_prefix == 0) /* its name will stand in front */
        read->request.named <<= 1;
    r->m2m = &read->request;
    r->originator = read->request.originator;
    if (in->x)
        gate_m2m_hold(in); /* where it is, too */
    return true;
}

bool gate_m2m_put(const struct arrival *in, const struct device_config *d, struct msg *out)
{
    return m2m_join(&in->m2m->values, d->cse->options, out);
}

void gate_m2m_keep(struct gate *g, const struct arrival *in, const struct pep_decision *d)
{
    struct exchange_m2m *k = &in->x->room->m2m;
    k->ati_n = copy(k->ati, sizeof k->ati, d->ati);
    if (in->assoc)
        gate_call_spoke(g, in->assoc, g->request.device, in->m2m->request.originator);
}

/* ---- the CSE's answer ---- */

/* Where what was created is, as the address that a request would have. */
static struct bytes read_location(const struct device_config *d, const struct msg *m,
                                  struct buf *out)
{
    struct bytes path[POLICY_PATH_SEGMENTS_MAX];
    struct m2m_address a;
    size_t n = 0;
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number == OPT_LOCATION_PATH && n < POLICY_PATH_SEGMENTS_MAX)
            path[n++] = m->options[i].value;
    bool below = n > d->n_base;
    for (size_t i = 0; below && i < d->n_base; i++)
        below = bytes_equal(path[i], d->base[i]);
    if (!below || !m2m_address_read(d->cse, path + d->n_base, n - d->n_base, &a) ||
        a.form != M2M_CSE_RELATIVE || !m2m_address_write(&a, out))
        return BYTES_NONE;
    return buf_bytes(out);
}

/* Where the AE is when the answer has no Location-Path, which many CSEs leave
 * out: it is a child of the CSEBase (TS-0001 9.6.5), by the name it was given. */
static struct bytes read_name(const struct device_config *d, const struct msg *m, struct buf *out)
{
    uint8_t name[M2M_ID_MAX];
    struct m2m_address a;
    if (!d->cse->base)
        return BYTES_NONE;
    struct bytes path[] = {bytes_str(d->cse->base),
                           m2m_rn(msg_uint(m, OPT_CONTENT_FORMAT), m->payload, name)};
    if (path[1].n == 0 || !m2m_address_read(d->cse, path, 2, &a) || !m2m_address_write(&a, out))
        return BYTES_NONE;
    return buf_bytes(out);
}

/* Unbound, the AE is there, and nobody can speak for it. */
static void log_registered(struct gate *g, const struct exchange *x, const struct device_config *d,
                           struct bytes ae_id, bool bound)
{
    uint64_t held;
    if (!log_may(&g->m2m->lines, instant_ms(g->now), &held))
        return;
    log_event(bound ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, bound ? "registered" : "registered-unbound",
              "subject", pep_session_subject(x->assoc->session), "cse", d->name, "ae",
              ae_id.n ? LOG_B(ae_id) : "not told", "held", LOG_U(held), NULL);
}

/* An AE's ID is what the CSE says it is; where it says nothing, the one that
 * the AE asked for, if it asked for a whole one: another would have been told
 * (TS-0001 10.2.2.2). Pep sees to it that it is one that this client may have. */
static void note_registered(struct gate *g, struct exchange *x, const struct device_config *d,
                            const struct m2m_values *v, const struct msg *m)
{
    const struct exchange_m2m *k = &x->room->m2m;
    int64_t rsc = m2m_uint(v, M2M_RSC);
    struct bytes name = bytes_of(k->name, k->name_n);
    uint8_t id[M2M_ID_MAX], location[M2M_ID_MAX];
    struct buf at = buf_on(location, sizeof location);
    if (x->m2m_registers && m->code == MSG_CODE(2, 1) && rsc == M2M_CREATED && x->assoc) {
        struct bytes ae_id = m2m_aei(msg_uint(m, OPT_CONTENT_FORMAT), m->payload, id);
        if (ae_id.n == 0 && name.n > 1)
            ae_id = name;
        struct bytes where = read_location(d, m, &at);
        if (where.n == 0) {
            at = buf_on(location, sizeof location);
            where = read_name(d, m, &at);
        }
        bool bound = ae_id.n &&
                     pep_note_registered(g->pep, x->assoc->session, x->device_index, ae_id, where);
        if (bound)
            gate_call_spoke(g, x->assoc, x->device_index, ae_id);
        log_registered(g, x, d, ae_id, bound);
    } else if (x->m2m_operation == M2M_DELETE && MSG_CLASS(m->code) == 2 && rsc == M2M_DELETED) {
        pep_note_deregistered(g->pep, x->device_index, name);
    }
}

uint8_t gate_m2m_response(struct gate *g, struct exchange *x, const struct msg *m, struct msg *out)
{
    const struct device_config *d = upstream_config(g->upstreams, x->device_index);
    struct forward_map map = gate_device_map(d);
    struct exchange_m2m *k = &x->room->m2m;
    struct m2m_values v;
    struct msg rest;
    if (!m2m_split(m, d->cse->options, &v, &rest))
        return MSG_CODE(5, 2);
    uint8_t refused = forward_response(&g->forward, &rest, &map, out);
    if (refused)
        return refused;
    note_registered(g, x, d, &v, &rest);
    /* Answers have it (TS-0004 table 7.2.1.2-1), and clients look for it. */
    if (k->rqi_n && !m2m_has(&v, M2M_RQI))
        m2m_set(&v, M2M_RQI, bytes_of(k->rqi, k->rqi_n));
    if (k->ati_n && !m2m_has(&v, M2M_ATI))
        m2m_set(&v, M2M_ATI, bytes_of(k->ati, k->ati_n));
    return m2m_join(&v, (enum m2m_numbering)(x->m2m - 1), out) ? 0 : MSG_CODE(5, 2);
}

/* ---- answers made here ---- */

/* Whose answer it is, and what it says. */
struct voice {
    enum m2m_numbering numbering;
    struct bytes rqi, rvi, ati, tqf;
    uint16_t rsc; /* 0: by the code */
    bool associated;
};

/* The nearest status where nothing better is known (TS-0004 6.6.3). Codes that
 * the binding has no status for (table 6.2.4-1) are CoAP's own: when to come
 * again, how much is too much. They keep their code, for who knows it. */
static uint16_t status_of(uint8_t code)
{
    switch (code) {
    case MSG_CODE(4, 3):
    case MSG_CODE(4, 29):
        return M2M_NO_PRIVILEGE;
    case MSG_CODE(4, 4):
        return M2M_NOT_FOUND;
    case MSG_CODE(4, 5):
        return M2M_NOT_ALLOWED;
    case MSG_CODE(4, 13):
        return M2M_CONTENTS_UNACCEPTABLE;
    case MSG_CODE(4, 15):
        return M2M_MEDIA_TYPE;
    case MSG_CODE(5, 3):
        return M2M_TARGET_NOT_REACHABLE;
    case MSG_CODE(5, 4):
        return M2M_REQUEST_TIMEOUT;
    default:
        return MSG_CLASS(code) == 4 ? M2M_BAD_REQUEST : M2M_INTERNAL_ERROR;
    }
}

static void drop_content(struct msg *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number != OPT_CONTENT_FORMAT)
            m->options[kept++] = m->options[i];
    m->n_options = kept;
    m->payload = BYTES_NONE;
}

static void dress(const struct voice *v, struct msg *m, struct m2m_dress *s)
{
    struct m2m_values say = {.has = 0};
    uint16_t rsc = v->rsc;
    /* The binding has no 4.01, but where an address must show itself first. */
    if (m->code == MSG_CODE(4, 1) && msg_find(m, OPT_ECHO))
        return;
    if (m->code == MSG_CODE(4, 1)) {
        m->code = MSG_CODE(4, 3);
        rsc = rsc             ? rsc
              : v->associated ? (uint16_t)M2M_NO_PRIVILEGE
                              : (uint16_t)M2M_ASSOCIATION_REQUIRED;
    }
    if (rsc == 0)
        rsc = status_of(m->code);
    s->rsc[0] = (uint8_t)(rsc >> 8);
    s->rsc[1] = (uint8_t)rsc;
    m2m_set(&say, M2M_RSC, bytes_of(s->rsc, 2));
    if (v->rqi.n)
        m2m_set(&say, M2M_RQI, v->rqi);
    if (v->rvi.n)
        m2m_set(&say, M2M_RVI, v->rvi);
    if (v->ati.n && v->ati.n <= 255)
        m2m_set(&say, M2M_ATI, v->ati);
    drop_content(m);
    if (v->tqf.n && msg_add_uint(m, OPT_CONTENT_FORMAT, 50, s->format))
        m->payload = v->tqf;
    (void)!m2m_join(&say, v->numbering, m); /* there are few others */
}

static struct voice voice_of(const struct exchange *x)
{
    const struct exchange_m2m *k = &x->room->m2m;
    return (struct voice){.numbering = (enum m2m_numbering)(x->m2m - 1),
                          .rqi = bytes_of(k->rqi, k->rqi_n),
                          .rvi = bytes_of(k->rvi, k->rvi_n),
                          .ati = bytes_of(k->ati, k->ati_n),
                          .associated = x->client != 0};
}

void gate_m2m_deny(struct gate *g, const struct arrival *in, const struct pep_decision *d)
{
    if (in->m2m)
        g->m2m->denial = d;
}

void gate_m2m_dress(struct gate *g, const struct arrival *in, struct msg *m, struct m2m_dress *s)
{
    const struct pep_decision *d = in->m2m ? g->m2m->denial : NULL;
    struct voice v;
    if (in->x && in->x->m2m) {
        v = voice_of(in->x);
    } else if (in->m2m) {
        const struct m2m_request *q = &in->m2m->request;
        v = (struct voice){.numbering = in->m2m->numbering,
                           .rqi = q->rqi,
                           .rvi = q->rvi,
                           .associated = in->assoc != NULL};
    } else {
        return;
    }
    if (in->m2m)
        v.rsc = g->m2m->rsc;
    if (d) {
        v.rsc = d->rsc;
        v.tqf = d->tqf;
        v.ati = d->ati;
    }
    dress(&v, m, s);
}

/* What came of the request, in the words of the binding. */
static uint16_t status_of_end(const struct exchange *x, struct msg *m)
{
    switch (x->up_end) {
    case UP_SILENT:
        m->code = MSG_CODE(5, 4);
        return M2M_REQUEST_TIMEOUT;
    case UP_REFUSED:
    case UP_DRAINED:
    case UP_UNTRUSTED:
        m->code = MSG_CODE(4, 4);
        return M2M_TARGET_NOT_REACHABLE;
    case UP_RESET:
    case UP_TOO_LARGE:
        m->code = MSG_CODE(5, 0);
        return M2M_INTERNAL_ERROR;
    default:
        return 0;
    }
}

void gate_m2m_dress_late(struct gate *g, struct exchange *x, struct msg *m, bool by_device,
                         struct m2m_dress *s)
{
    struct voice v = voice_of(x);
    (void)g;
    if (by_device)
        v.rsc = status_of_end(x, m);
    dress(&v, m, s);
}
