#include "originator.h"

#include "../policy/m2m_name.h"
#include "code.h"
#include "m2m_rules.h"

enum { TYPE_REMOTE_CSE = 16 };

/* Who speaks, to which CSE, under which name. */
struct speaker {
    const struct pep *p;
    const struct pep_session *s;
    const struct policy_subject *subject; /* NULL: not enrolled */
    const struct pep_device *device;      /* NULL: none */
    struct m2m_home home;
    struct bytes from;
    struct m2m_name name;
    struct m2m_forms forms; /* of the name; none: as it is written */
};

static void take_name(struct speaker *k, struct bytes from)
{
    k->from = from;
    m2m_name_read(from, &k->home, &k->name);
    m2m_name_forms(&k->name, &k->home, &k->forms);
    if (k->forms.n == 0)
        k->forms.form[k->forms.n++] = from;
}

static struct speaker speaker_of(const struct pep *p, const struct pep_session *s, int device)
{
    struct speaker k = {.p = p, .s = s};
    if (s && session_subject(s))
        k.subject = session_subject(s)->said;
    if (device >= 0 && (size_t)device < p->config.n_devices) {
        k.device = &p->config.devices[device];
        k.home = m2m_home_of(k.device->cse_id, k.device->sp_id);
    }
    return k;
}

/* ---- whose a name is ---- */

/* Another subject's, as the policy says. */
static bool is_enrolled_elsewhere(const struct speaker *k)
{
    for (size_t i = 0; i < k->forms.n; i++) {
        int owner = policy_subject_of_originator(k->p->policy, k->forms.form[i]);
        if (owner >= 0 && policy_subject(k->p->policy, (size_t)owner) != k->subject)
            return true;
    }
    return false;
}

/* What was learned of it, if that is still somebody's. */
static const struct registration *learned(const struct speaker *k)
{
    const struct registration *r =
        k->device ? registered_find(k->p->registered, bytes_str(k->device->name), k->forms.form[0])
                  : NULL;
    return r && policy_subject_find(k->p->policy, r->owner) >= 0 ? r : NULL;
}

static bool is_anothers(const struct speaker *k)
{
    const struct registration *r = learned(k);
    return is_enrolled_elsewhere(k) ||
           (r && !(k->subject && bytes_equal_str(r->owner, k->subject->name)));
}

/* One form of it stands in the list. TS-0004 7.3.2.1 wants a stem of an AE;
 * what says the same is for the CSE to refuse. */
static bool is_listed(const struct speaker *k, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes_equal_str(k->from, list[i]) || m2m_same(k->from, bytes_str(list[i]), &k->home))
            return true;
    return false;
}

/* Its certificate names the AE, and nobody wrote or learned another. */
static bool is_named_ae(const struct speaker *k)
{
    struct bytes named = k->s ? session_named(k->s) : BYTES_NONE;
    return named.n > 0 && named.p[0] == '/' && m2m_same(k->from, named, &k->home) &&
           !is_anothers(k);
}

/* What the operator wrote is stronger than what was learned. */
static bool is_own_ae(const struct speaker *k)
{
    if (!(k->subject && (k->subject->n_originators > 0 || k->subject->cse)) && is_named_ae(k))
        return true;
    if (!k->subject)
        return false;
    if (is_listed(k, k->subject->originators, k->subject->n_originators))
        return true;
    const struct registration *r = learned(k);
    return r && bytes_equal_str(r->owner, k->subject->name) && !is_enrolled_elsewhere(k);
}

/* ---- CSEs ---- */

/* Another CSE that is enrolled here, by its ID. */
static bool is_other_cse(const struct speaker *k, const struct m2m_name *cse)
{
    struct m2m_forms forms;
    m2m_name_forms(cse, &k->home, &forms);
    for (size_t i = 0; i < forms.n; i++) {
        int owner = policy_subject_of_cse(k->p->policy, forms.form[i]);
        if (owner >= 0 && policy_subject(k->p->policy, (size_t)owner) != k->subject)
            return true;
    }
    return false;
}

/* The public domain name of a CSE (TS-0001 6.5.1.1) begins with its CSE-ID and
 * ends in its service provider's, with an IN-CSE's between them perhaps. So a
 * certificate may name a CSE by itself; but a name of this form may be anybody's,
 * so it may only be itself: to speak for others takes `cse`. */
static struct bytes cse_of_domain(const struct speaker *k)
{
    struct bytes domain = k->s ? session_named(k->s) : BYTES_NONE;
    struct bytes id = BYTES_NONE, rest = domain;
    for (int i = 0; i < 2 && k->home.sp.n; i++) {
        const uint8_t *dot = rest.n ? memchr(rest.p, '.', rest.n) : NULL;
        if (!dot || dot == rest.p)
            break;
        if (i == 0)
            id = bytes_of(rest.p, (size_t)(dot - rest.p));
        rest = bytes_of(dot + 1, rest.n - (size_t)(dot - rest.p) - 1);
        if (m2m_same_domain(rest, k->home.sp))
            return id;
    }
    return BYTES_NONE;
}

static bool is_own_cse(const struct speaker *k)
{
    if (k->subject && k->subject->cse)
        return m2m_same(k->from, bytes_str(k->subject->cse), &k->home);
    struct bytes named =
        k->subject && k->subject->n_originators > 0 ? BYTES_NONE : cse_of_domain(k);
    return named.n && k->name.kind == M2M_NAME_OF_SP && !k->name.has_sp && k->from.p[0] == '/' &&
           bytes_equal(k->name.name, named) && !bytes_equal(named, k->home.cse) &&
           !is_other_cse(k, &k->name);
}

/* Not a CSE's: an AE's, in some form, or of none. */
static bool is_ae(const struct speaker *k)
{
    return k->name.kind == M2M_NAME_AT_CSE ||
           (k->name.kind == M2M_NAME_OF_SP && k->name.name.n > 1 && k->name.name.p[0] == 'S' &&
            !is_other_cse(k, &k->name)) ||
           (k->name.kind == M2M_NAME_OTHER && k->from.n > 1 && k->from.p[0] != '/');
}

/* Originators that a CSE forwards requests of are its own affair, but not the
 * CSE's that is asked, nor those registered there, nor other CSEs of ours and
 * those registered at them, nor AEs of ours. Where the ID of the CSE that is
 * asked is not known, those cannot be told apart. A stem that begins with 'C'
 * is registered where it is sent; one with 'S' is not (TS-0001 table 7.2-1), and
 * may come as it is. */
static bool may_forward(const struct speaker *k)
{
    const struct m2m_name *n = &k->name;
    bool relative = k->from.p[0] != '/';
    if (n->kind == M2M_NAME_OTHER || k->home.cse.n == 0 || is_anothers(k))
        return false;
    if (n->kind == M2M_NAME_OF_SP)
        return (n->has_sp || relative || !bytes_equal(n->name, k->home.cse)) && !is_other_cse(k, n);
    const struct m2m_name cse = {M2M_NAME_OF_SP, n->has_sp, n->sp, BYTES_NONE, n->cse};
    return !relative && (n->has_sp || !bytes_equal(n->cse, k->home.cse)) && !is_other_cse(k, &cse);
}

/* ---- registration ---- */

/* What `*` stands for makes a name as those of AEs are (TS-0001 table 7.2-1): a
 * CSE could read another as one of these, without the space at its end, say. */
static bool is_pattern_of(struct bytes pattern, struct bytes name)
{
    if (!memchr(pattern.p, '*', pattern.n))
        return name.n > 1 && bytes_equal(pattern, name);
    return name.n > 1 && m2m_is_segment(name) && m2m_id_matches(pattern, name);
}

static bool may_register(const struct speaker *k, struct bytes what)
{
    for (size_t i = 0; k->subject && i < k->subject->n_may_register; i++) {
        struct bytes pattern = bytes_str(k->subject->may_register[i]);
        bool given = pattern.n == 1 && pattern.p[0] != '*'; /* S or C: to be given one */
        if (given ? bytes_equal(pattern, what) : is_pattern_of(pattern, what))
            return true;
    }
    return false;
}

/* CREATE of an AE (TS-0001 10.2.2.2): it may bring its AE-ID-Stem, or ask for
 * one to be given by the service provider (S), the CSE (C) or either (nothing).
 * A spoofed one is answered as one that is not allowed: whose it is is nobody's
 * affair. */
static bool registers_soundly(const struct speaker *k)
{
    if (!k->subject || k->subject->cse)
        return !k->subject && k->from.n > 0 && is_own_ae(k);
    if (k->from.n == 0) /* what it is given is looked at when that is known */
        return may_register(k, BYTES_LIT("S")) || may_register(k, BYTES_LIT("C"));
    if (bytes_equal_str(k->from, "S") || bytes_equal_str(k->from, "C"))
        return may_register(k, k->from);
    return is_own_ae(k) || (k->from.p[0] != '/' && may_register(k, k->from) && !is_anothers(k));
}

static bool has_room(const struct speaker *k)
{
    return registered_count(k->p->registered, bytes_str(k->subject->name)) < REGISTERED_EACH_MAX;
}

/* ---- the ruling ---- */

static void refuse(struct originator_ruling *out, enum m2m_rsc rsc, const char *reason)
{
    out->rsc = (uint16_t)rsc;
    out->code = rsc == M2M_BAD_REQUEST ? CODE(4, 0) : CODE(4, 3);
    out->reason = reason;
}

/* An association is required on Mcc always, and on Mca unless the policy lets
 * this originator do this without (TS-0003 6.1.2.2.1). Who has registered by an
 * association comes by one. */
static void judge_unassociated(const struct speaker *k, const struct request *r,
                               struct originator_ruling *out)
{
    const struct policy_unassociated *u;
    for (size_t i = 0; k->from.n && (u = policy_unassociated(k->p->policy, i)); i++)
        if (u->operations & POLICY_OPERATION_BIT(r->m2m->operation) &&
            is_listed(k, u->originators, u->n_originators) && !is_anothers(k)) {
            out->unassociated = (int)i;
            return;
        }
    refuse(out, M2M_ASSOCIATION_REQUIRED, "no-association");
}

void originator_judge(struct pep *p, const struct pep_session *s, const struct request *r,
                      struct originator_ruling *out)
{
    const struct m2m_request *m = r->m2m;
    struct speaker k = speaker_of(p, s, r->device);
    bool registration = m->operation == M2M_CREATE && m->type == M2M_TYPE_AE;
    *out = (struct originator_ruling){.unassociated = -1};
    take_name(&k, m->has_originator ? m->originator : BYTES_NONE);
    if (!s) {
        judge_unassociated(&k, r, out);
    } else if (registration) {
        out->speaks = is_own_ae(&k);
        if (!registers_soundly(&k))
            refuse(out, M2M_APP_RULE_FAILED, "registration-not-allowed");
        else if (!out->speaks && !has_room(&k))
            refuse(out, M2M_APP_RULE_FAILED, "too-many-registrations");
    } else if (k.from.n == 0) {
        refuse(out, M2M_BAD_REQUEST, "no-originator");
    } else if (is_own_ae(&k) || is_own_cse(&k) ||
               (k.subject && k.subject->cse && may_forward(&k) &&
                /* A CSE registers itself and nobody else (TS-0004 7.4.4.2.1). */
                !(m->operation == M2M_CREATE && m->type == TYPE_REMOTE_CSE))) {
        out->speaks = true;
    } else {
        refuse(out, M2M_NOT_AUTHENTICATED, "originator-not-authenticated");
        out->vouchable = !(k.subject && k.subject->cse) && is_ae(&k) && !is_anothers(&k);
    }
}

bool originator_is_own(const struct pep *p, const struct pep_session *s, int device,
                       struct bytes id)
{
    struct speaker k = speaker_of(p, s, device);
    take_name(&k, id);
    return id.n > 0 && (is_own_ae(&k) || is_own_cse(&k));
}

/* ---- what CSEs answered ---- */

/* The CSE gave it this name. One that the subject was not allowed to have is
 * not its: then it cannot speak for it, whatever the CSE thinks. */
bool pep_note_registered(struct pep *p, struct pep_session *s, int device, struct bytes ae_id,
                         struct bytes at)
{
    bool kept;
    if (!s || !p->policy)
        return false;
    session_refresh(s);
    struct speaker k = speaker_of(p, s, device);
    take_name(&k, ae_id);
    if (ae_id.n < 2 || ae_id.n > M2M_NAME_MAX || !k.device || is_anothers(&k))
        return false;
    if (is_own_ae(&k) && !learned(&k))
        return true; /* it was before, and stays */
    if (!k.subject || k.subject->cse)
        return false;
    struct bytes id = k.forms.form[0];
    bool given = id.n > 1 && m2m_is_segment(id) &&
                 may_register(&k, id.p[0] == 'S' ? BYTES_LIT("S") : BYTES_LIT("C"));
    /* With a slash: one of another CSE, or this one's ID is not known. */
    if (id.p[0] == '/' || (!is_own_ae(&k) && ((!may_register(&k, id) && !given) || !has_room(&k))))
        return false;
    const struct registration r = {bytes_str(k.device->name), id, bytes_str(k.subject->name), at};
    /* What was there before is no more, however it went. */
    const struct registration *was = registered_at(p->registered, r.device, at);
    if (was && !bytes_equal(was->id, id)) {
        registered_drop(p->registered, was, p->config.store, &kept);
        p->stats.store_errors += !kept;
    }
    bool known = registered_put(p->registered, &r, p->config.store, &kept);
    p->stats.store_errors += known && !kept;
    return known;
}

/* `to` as it is sent to the CSE: an address, or the AE-ID itself. */
void pep_note_deregistered(struct pep *p, int device, struct bytes to)
{
    bool kept = true;
    struct speaker k = speaker_of(p, NULL, device);
    if (!k.device || to.n == 0)
        return;
    struct bytes name = bytes_str(k.device->name);
    const struct registration *r = registered_at(p->registered, name, to);
    if (!r) {
        take_name(&k, to);
        r = registered_find(p->registered, name, k.forms.form[0]);
    }
    if (r)
        registered_drop(p->registered, r, p->config.store, &kept);
    p->stats.store_errors += !kept;
}

bool pep_session_speaks_for(struct pep_session *s, int device, struct bytes ae_id)
{
    if (!s || !s->pep->policy)
        return false;
    session_refresh(s);
    return originator_is_own(s->pep, s, device, ae_id);
}

const char *pep_explain_originator(struct pep *p, const char *subject, const struct request *r,
                                   const char *roles[], size_t max, size_t *n_roles, uint16_t *rsc)
{
    struct pep_proof proof = {.subject = -1};
    struct originator_ruling by;
    const struct subject *k =
        subject ? subjects_at(p->subjects, policy_subject_find(p->policy, bytes_str(subject)))
                : NULL;
    *n_roles = 0;
    if (k)
        memcpy(proof.subject_id, k->said->psk_identity ? k->psk_id : k->cert_id,
               sizeof proof.subject_id);
    struct pep_session *s = k ? pep_session_open(p, &proof) : NULL;
    originator_judge(p, s, r, &by);
    pep_session_close(s);
    const struct policy_unassociated *u =
        by.unassociated < 0 ? NULL : policy_unassociated(p->policy, (size_t)by.unassociated);
    for (size_t i = 0; u && i < u->n_roles && i < max; i++)
        roles[(*n_roles)++] = u->roles[i];
    *rsc = by.rsc;
    return by.rsc ? by.reason : NULL;
}
