#include "m2m_check.h"

#include <stdarg.h>
#include <stdio.h>

#include "../policy/m2m_name.h"

struct checking {
    const struct config *c;
    const struct policy *p;
    struct buf *diag;
};

static void __attribute__((format(printf, 4, 5)))
warn(struct checking *k, const char *file, unsigned line, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_put_str(k->diag, file);
    buf_put_u8(k->diag, ':');
    buf_put_decimal(k->diag, line, 1);
    buf_put_str(k->diag, ": warning: ");
    buf_put_str(k->diag, text);
    buf_put_u8(k->diag, '\n');
}

static const struct m2m_cse *cse_of(const struct config *c, size_t i)
{
    return c->devices[i].upstream.cse;
}

/* ---- rules ---- */

static bool may_match(struct bytes pattern, struct bytes segment)
{
    return !pattern.p || bytes_equal(pattern, segment);
}

/* Whether some path of the device can match. Rules see the name of one that is
 * found by host before its paths. */
static bool concerns(const struct policy_permit *r, const struct device_config *d)
{
    size_t n = d->n_prefix > 0 ? d->n_prefix : 1;
    for (size_t i = 0; i < n; i++) {
        struct bytes segment = d->n_prefix > 0 ? d->prefix[i] : bytes_str(d->name);
        if (i == r->n_path)
            return r->rest;
        if (!may_match(r->path[i], segment))
            return false;
    }
    return true;
}

static void check_rule(void *user, const struct policy_permit *r)
{
    struct checking *k = user;
    const char *plain = NULL, *cse = NULL;
    for (size_t i = 0; i < k->c->n_devices; i++)
        if (concerns(r, &k->c->devices[i].upstream))
            *(cse_of(k->c, i) ? &cse : &plain) = k->c->devices[i].upstream.name;
    bool operations = r->actions & (uint16_t)~POLICY_METHODS_ALL;
    bool methods = r->actions & POLICY_METHODS_ALL;
    if (plain && !cse && operations && !methods)
        warn(k, policy_name(k->p), r->line,
             "'%s' is no CSE, so this rule of '%s' with operations permits nothing there", plain,
             r->holder);
    if (cse && !plain && methods && !operations)
        warn(k, policy_name(k->p), r->line,
             "'%s' is a CSE, so this rule of '%s' with methods permits nothing there", cse,
             r->holder);
}

/* A resource has an ID beside its name, and `**` permits both where nobody can
 * tell which is which (m2m_cse.h). */
static void check_forbid(void *user, const struct policy_permit *r)
{
    struct checking *k = user;
    for (size_t i = 0; i < k->c->n_devices; i++) {
        const struct device_config *d = &k->c->devices[i].upstream;
        if (d->cse && !d->cse->base && concerns(r, d) &&
            r->n_path > (d->n_prefix > 0 ? d->n_prefix : 1))
            warn(k, policy_name(k->p), r->line,
                 "'%s' has no cse-base, so this does not hold for what is asked for by its ID",
                 d->name);
    }
}

/* ---- names ---- */

/* Another's, in another form, at this CSE. */
static int other_owner(const struct checking *k, size_t subject, const char *id,
                       const struct m2m_home *home)
{
    struct m2m_name name;
    struct m2m_forms forms;
    m2m_name_read(bytes_str(id), home, &name);
    m2m_name_forms(&name, home, &forms);
    for (size_t i = 0; i < forms.n; i++) {
        int owner = policy_subject_of_originator(k->p, forms.form[i]);
        if (owner >= 0 && (size_t)owner < subject)
            return owner;
    }
    return -1;
}

static void check_names(struct checking *k, size_t i, const struct policy_subject *s)
{
    for (size_t d = 0; d < k->c->n_devices; d++) {
        const struct m2m_cse *cse = cse_of(k->c, d);
        const char *device = k->c->devices[d].upstream.name;
        if (!cse)
            continue;
        struct m2m_home home = m2m_home_of(cse->id, cse->sp);
        for (size_t n = 0; n < s->n_originators; n++) {
            int owner = other_owner(k, i, s->originators[n], &home);
            if (owner >= 0)
                warn(k, s->file, s->line, "at '%s', '%s' is an AE of subject '%s', too", device,
                     s->originators[n], policy_subject(k->p, (size_t)owner)->name);
        }
        if (s->cse && !cse->id)
            warn(k, s->file, s->line,
                 "'%s' has no cse-id, so the CSE '%s' can ask it as itself alone", device, s->name);
    }
}

static void check_unassociated(struct checking *k, const struct policy_unassociated *u)
{
    bool plain = false;
    for (size_t i = 0; i < k->c->n_listeners; i++)
        plain = plain || (!k->c->listeners[i].secure && !k->c->listeners[i].notifies);
    if (!plain)
        warn(k, policy_name(k->p), u->line,
             "nobody can come without an association: no listener is coap");
    for (size_t d = 0; d < k->c->n_devices; d++) {
        const struct m2m_cse *cse = cse_of(k->c, d);
        struct m2m_home home = cse ? m2m_home_of(cse->id, cse->sp) : m2m_home_of(NULL, NULL);
        for (size_t n = 0; cse && n < u->n_originators; n++) {
            int owner = other_owner(k, SIZE_MAX, u->originators[n], &home);
            if (owner >= 0)
                warn(k, policy_name(k->p), u->line,
                     "at '%s', '%s' is subject '%s', and so needs an association",
                     k->c->devices[d].upstream.name, u->originators[n],
                     policy_subject(k->p, (size_t)owner)->name);
        }
    }
}

void m2m_warn(const struct config *c, const struct policy *p, struct buf *diag)
{
    struct checking k = {c, p, diag};
    const struct policy_subject *s;
    const struct policy_unassociated *u;
    bool any = false;
    for (size_t i = 0; (s = policy_subject(p, i)); i++)
        check_names(&k, i, s);
    for (size_t i = 0; i < c->n_devices; i++)
        any = any || cse_of(c, i);
    for (size_t i = 0; (u = policy_unassociated(p, i)); i++) {
        if (any)
            check_unassociated(&k, u);
        else
            warn(&k, policy_name(p), u->line,
                 "no device is a CSE, so this lets nobody do anything");
    }
    (void)!policy_each_permit(p, check_rule, &k);
    (void)!policy_each_forbid(p, check_forbid, &k);
}
