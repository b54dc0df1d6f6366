#include "m2m_names.h"

static bool begins(struct bytes s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p, with, n) == 0;
}

static struct bytes join(struct buf *b, struct bytes a, const char *between, struct bytes c)
{
    size_t from = b->n;
    buf_put(b, a);
    buf_put_str(b, between);
    buf_put(b, c);
    return bytes_of(b->p + from, b->full ? 0 : b->n - from);
}

static void add(struct m2m_names *out, const struct buf *b, struct bytes name)
{
    if (!b->full && name.n > 0)
        out->of[out->n++] = name;
}

/* What is known of the name, and what that makes of it. `stem`: of what a
 * relative one is longer by. */
static void widen(const struct pep_device *d, struct bytes relative, struct bytes stem,
                  struct bytes by_provider, struct bytes absolute, struct buf *b,
                  struct m2m_names *out)
{
    add(out, b, relative);
    if (relative.n && stem.n)
        by_provider = join(b, stem, "", relative);
    add(out, b, by_provider);
    if (by_provider.n && d->sp_id)
        absolute = join(b, bytes_str(d->sp_id), "", by_provider);
    add(out, b, absolute);
    if (b->full)
        out->n = 0;
}

/* "/mn-cse/"; empty: not known. */
static struct bytes cse_stem(const struct pep_device *d, struct buf *b)
{
    return d->cse_id ? join(b, bytes_str(d->cse_id), "/", BYTES_NONE) : BYTES_NONE;
}

void m2m_names_of_entity(const struct pep_device *d, struct bytes id, struct m2m_names *out)
{
    struct buf b = buf_on(out->room, sizeof out->room);
    out->n = 0;
    if (begins(id, "//"))
        widen(d, BYTES_NONE, BYTES_NONE, BYTES_NONE, id, &b, out);
    else if (begins(id, "/"))
        widen(d, BYTES_NONE, BYTES_NONE, id, BYTES_NONE, &b, out);
    else if (begins(id, "S"))
        widen(d, id, BYTES_LIT("/"), BYTES_NONE, BYTES_NONE, &b, out);
    else
        widen(d, id, cse_stem(d, &b), BYTES_NONE, BYTES_NONE, &b, out);
}

void m2m_names_of_target(const struct pep_device *d, const struct m2m_request *m,
                         struct m2m_names *out)
{
    struct buf b = buf_on(out->room, sizeof out->room);
    size_t base = d->cse_base ? strlen(d->cse_base) : 0;
    out->n = 0;
    if (m->address == M2M_ABSOLUTE)
        widen(d, BYTES_NONE, BYTES_NONE, BYTES_NONE, join(&b, BYTES_LIT("//"), "", m->to), &b, out);
    else if (m->address == M2M_SP_RELATIVE)
        widen(d, BYTES_NONE, BYTES_NONE, join(&b, BYTES_LIT("/"), "", m->to), BYTES_NONE, &b, out);
    else
        widen(d, m->to, cse_stem(d, &b), BYTES_NONE, BYTES_NONE, &b, out);
    if (m->address == M2M_CSE_RELATIVE && base > 0 && begins(m->to, d->cse_base) &&
        (m->to.n == base || m->to.p[base] == '/')) {
        struct bytes rest = bytes_of(m->to.p + base, m->to.n - base);
        widen(d, join(&b, BYTES_LIT("-"), "", rest), cse_stem(d, &b), BYTES_NONE, BYTES_NONE, &b,
              out);
    }
}

void m2m_names_of_cse(const struct pep_device *d, struct m2m_names *out)
{
    struct buf b = buf_on(out->room, sizeof out->room);
    out->n = 0;
    widen(d, BYTES_NONE, BYTES_NONE, bytes_str(d->cse_id), BYTES_NONE, &b, out);
}

bool m2m_names_have(const struct m2m_names *names, struct bytes text)
{
    bool any = false;
    for (size_t i = 0; i < names->n; i++)
        any = any || bytes_equal(names->of[i], text);
    return any;
}
