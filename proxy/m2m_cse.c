#include "m2m_cse.h"

#include "../policy/utf8.h"

/* s is `name` without the slashes in front of it. */
static bool is_id(struct bytes s, const char *name, size_t slashes)
{
    return name && bytes_equal_str(s, name + slashes);
}

/* No name or ID is empty or has any of these (TS-0001 7.2, RFC 3986 2.3). A CSE
 * that puts segments into a URL, and takes that apart again, would see another
 * address, or a query. */
static bool is_sound(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("/\\?#%&;", s.p[i]))
            return false;
    return s.n > 0 && utf8_is(s);
}

/* Nor does one begin with a mark (TS-0004 6.2.3). Some CSEs look for marks at any
 * place of an address, or at its first character alone. `whose`: how many
 * segments say whose it is. */
static bool has_stray_mark(const struct bytes *path, size_t n, size_t whose)
{
    for (size_t i = whose; i < n; i++)
        if (bytes_equal_str(path[i], "~") || bytes_equal_str(path[i], "_") ||
            (i > whose && bytes_equal_str(path[i], "-")))
            return true;
    return n > whose && (path[whose].p[0] == '~' || path[whose].p[0] == '_');
}

/* Behind it are the members of a group (TS-0004 table 6.8-1). */
static bool fans_out(struct bytes s)
{
    return bytes_equal_str(s, "fopt") || bytes_equal_str(s, "sfop");
}

/* How many segments say whose it is. */
static size_t read_form(const struct m2m_cse *cse, const struct bytes *path, size_t n,
                        struct m2m_address *out)
{
    out->form = M2M_CSE_RELATIVE;
    if (n == 0)
        return 0;
    if (bytes_equal_str(path[0], "~")) {
        if (n > 1 && is_id(path[1], cse->id, 1))
            return 2;
        out->form = M2M_SP_RELATIVE;
        return n < 2 ? n : 2;
    }
    if (bytes_equal_str(path[0], "_")) {
        if (n > 2 && is_id(path[1], cse->sp, 2) && is_id(path[2], cse->id, 1))
            return 3;
        out->form = M2M_ABSOLUTE;
        return n < 3 ? n : 3;
    }
    return 0;
}

static bool add(struct m2m_address *a, struct bytes segment, bool named)
{
    if (a->n == POLICY_PATH_SEGMENTS_MAX)
        return false;
    if (named)
        a->named |= UINT32_C(1) << a->n;
    a->path[a->n++] = segment;
    return true;
}

bool m2m_address_read(const struct m2m_cse *cse, const struct bytes *path, size_t n,
                      struct m2m_address *out)
{
    size_t whose = read_form(cse, path, n, out);
    bool ours = out->form == M2M_CSE_RELATIVE, ok = true;
    out->n = 0;
    out->named = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_sound(path[i]))
            return false;
    if (has_stray_mark(path, n, whose))
        return false;
    for (size_t i = 0; !ours && i < whose; i++)
        ok = ok && add(out, path[i], true);
    if (whose == n && ours && cse->base) /* the CSE itself */
        return add(out, bytes_str(cse->base), false);
    for (size_t i = whose; i < n; i++) {
        struct bytes s = path[i];
        bool first = i == whose, dash = first && bytes_equal_str(s, "-");
        if (dash && ours && cse->base)
            s = bytes_str(cse->base);
        bool unstructured = first && (!ours || dash || cse->base) &&
                            !(ours && cse->base && bytes_equal_str(s, cse->base));
        ok = ok && add(out, s, unstructured || fans_out(s));
    }
    return ok;
}

bool m2m_address_write(const struct m2m_address *a, struct buf *out)
{
    for (size_t i = a->form == M2M_CSE_RELATIVE ? 0 : 1; i < a->n; i++) {
        if (i > (a->form == M2M_CSE_RELATIVE ? 0 : 1))
            buf_put_u8(out, '/');
        buf_put(out, a->path[i]);
    }
    return !out->full;
}
