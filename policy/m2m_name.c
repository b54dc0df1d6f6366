#include "m2m_name.h"

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool m2m_is_segment(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && !memchr("-._~", s.p[i], 4))
            return false;
    return s.n > 0 && !bytes_equal_str(s, ".") && !bytes_equal_str(s, "..");
}

bool m2m_is_stem(struct bytes s)
{
    return s.n > 1 && (s.p[0] == 'C' || s.p[0] == 'S') && m2m_is_segment(s);
}

bool m2m_is_domain(struct bytes s)
{
    size_t label = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? label == 0 : !is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
        label = s.p[i] == '.' ? 0 : label + 1;
    }
    return label > 0;
}

/* Domain names have no case (RFC 4343): two readers who differ in that would
 * differ in whose name it is. */
bool m2m_same_domain(struct bytes a, struct bytes b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

static struct bytes past(const char *text, size_t slashes)
{
    struct bytes s = bytes_str(text);
    return s.n > slashes ? bytes_of(s.p + slashes, s.n - slashes) : BYTES_NONE;
}

struct m2m_home m2m_home_of(const char *cse_id, const char *sp_id)
{
    return (struct m2m_home){past(cse_id, 1), past(sp_id, 2)};
}

/* The text up to the next slash; *rest is what is behind that. */
static struct bytes next_segment(struct bytes *rest)
{
    const uint8_t *slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
    struct bytes s = *rest;
    if (slash) {
        s.n = (size_t)(slash - s.p);
        *rest = bytes_of(slash + 1, rest->n - s.n - 1);
    } else {
        *rest = BYTES_NONE;
    }
    return s;
}

void m2m_name_read(struct bytes text, const struct m2m_home *home, struct m2m_name *out)
{
    struct m2m_name n = {.kind = M2M_NAME_OTHER, .name = text};
    *out = n;
    if (text.n == 0 || text.n > M2M_NAME_MAX)
        return;
    if (text.p[0] != '/') {
        if (!m2m_is_stem(text))
            return;
        out->kind = text.p[0] == 'C' ? M2M_NAME_AT_CSE : M2M_NAME_OF_SP;
        if (text.p[0] == 'C')
            out->cse = home->cse;
        return;
    }
    struct bytes rest = bytes_of(text.p + 1, text.n - 1);
    if (rest.n && rest.p[0] == '/') {
        rest = bytes_of(rest.p + 1, rest.n - 1);
        n.sp = next_segment(&rest);
        if (!m2m_is_domain(n.sp))
            return;
        n.has_sp = home->sp.n == 0 || !m2m_same_domain(n.sp, home->sp);
        if (!n.has_sp)
            n.sp = BYTES_NONE;
    }
    bool two = rest.n && memchr(rest.p, '/', rest.n);
    n.name = next_segment(&rest);
    if (two) {
        n.cse = n.name;
        n.name = rest;
    }
    if (!m2m_is_segment(n.name) ||
        (two && !(m2m_is_segment(n.cse) && m2m_is_stem(n.name) && n.name.p[0] == 'C')))
        return;
    n.kind = two ? M2M_NAME_AT_CSE : M2M_NAME_OF_SP;
    *out = n;
}

bool m2m_name_same(const struct m2m_name *a, const struct m2m_name *b)
{
    if (a->kind != b->kind)
        return false;
    /* A name without a CSE is of a home that is not known: as another such. */
    return a->has_sp == b->has_sp && m2m_same_domain(a->sp, b->sp) && bytes_equal(a->cse, b->cse) &&
           bytes_equal(a->name, b->name);
}

bool m2m_same(struct bytes a, struct bytes b, const struct m2m_home *home)
{
    struct m2m_name x, y;
    if (bytes_equal(a, b))
        return a.n > 0;
    m2m_name_read(a, home, &x);
    m2m_name_read(b, home, &y);
    return x.kind != M2M_NAME_OTHER && m2m_name_same(&x, &y);
}

static void put_form(struct m2m_forms *out, struct bytes sp, const char *slash, struct bytes cse,
                     struct bytes name)
{
    struct buf b = buf_on(out->text[out->n], sizeof out->text[out->n]);
    if (sp.n) {
        buf_put_str(&b, "//");
        for (size_t i = 0; i < sp.n; i++)
            buf_put_u8(&b, lower(sp.p[i]));
    }
    buf_put_str(&b, slash);
    if (cse.n) {
        buf_put(&b, cse);
        buf_put_u8(&b, '/');
    }
    buf_put(&b, name);
    if (!b.full)
        out->form[out->n++] = buf_bytes(&b);
}

void m2m_name_forms(const struct m2m_name *n, const struct m2m_home *home, struct m2m_forms *out)
{
    out->n = 0;
    if (n->kind == M2M_NAME_OTHER)
        return;
    bool at_cse = n->kind == M2M_NAME_AT_CSE;
    if (!n->has_sp) {
        if (at_cse ? bytes_equal(n->cse, home->cse) : n->name.p[0] == 'S' && n->name.n > 1)
            put_form(out, BYTES_NONE, "", BYTES_NONE, n->name);
        if (!at_cse || n->cse.n)
            put_form(out, BYTES_NONE, "/", n->cse, n->name);
    }
    struct bytes sp = n->has_sp ? n->sp : home->sp;
    if (sp.n && (!at_cse || n->cse.n))
        put_form(out, sp, "/", n->cse, n->name);
}

bool m2m_at_domain(struct bytes text, struct bytes *name, struct bytes *domain)
{
    const uint8_t *at = text.n ? memchr(text.p, '@', text.n) : NULL;
    if (!at)
        return false;
    *name = bytes_of(text.p, (size_t)(at - text.p));
    *domain = bytes_of(at + 1, text.n - name->n - 1);
    return m2m_is_segment(*name) && !memchr(name->p, '~', name->n) && m2m_is_domain(*domain);
}

/* ---- texts of the policy file ---- */

const char *m2m_role_id_check(struct bytes text)
{
    struct bytes name, domain;
    if (text.n > 128) /* as the name of a role */
        return "a role ID has at most 128 characters";
    return m2m_at_domain(text, &name, &domain) ? NULL
                                               : "expected a role ID such as "
                                                 "reader@sp.example";
}

static bool is_printable(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    return s.n > 0 && s.n <= M2M_NAME_MAX;
}

const char *m2m_originator_check(struct bytes text)
{
    static const struct m2m_home anywhere;
    struct m2m_name n;
    if (!is_printable(text))
        return "an originator has 1 to 255 printable ASCII characters, without spaces";
    if (memchr(text.p, '*', text.n))
        return "an originator is one AE-ID; '*' is for may-register";
    if (bytes_equal_str(text, "S") || bytes_equal_str(text, "C"))
        return "this asks for an AE-ID to be given: say it in may-register";
    if (text.p[0] != '/')
        return NULL; /* older CSEs know AEs by names of no form, too */
    m2m_name_read(text, &anywhere, &n);
    if (n.kind == M2M_NAME_AT_CSE ||
        (n.kind == M2M_NAME_OF_SP && m2m_is_stem(n.name) && n.name.p[0] == 'S'))
        return NULL;
    return n.kind == M2M_NAME_OF_SP
               ? "this is a CSE-ID: say it in cse"
               : "expected an AE-ID such as Cmeter, /mn-cse/Cmeter, //sp.example/mn-cse/Cmeter, "
                 "Smeter or //sp.example/Smeter";
}

const char *m2m_cse_id_check(struct bytes text)
{
    static const struct m2m_home anywhere;
    struct m2m_name n;
    m2m_name_read(text, &anywhere, &n);
    return text.n && text.p[0] == '/' && n.kind == M2M_NAME_OF_SP
               ? NULL
               : "expected a CSE-ID such as /mn-cse or //sp.example/mn-cse";
}

const char *m2m_may_register_check(struct bytes text)
{
    return is_printable(text) && !memchr(text.p, '/', text.n)
               ? NULL
               : "expected S, C, or an AE-ID-Stem such as Cmeter, in which * stands for any "
                 "characters";
}
