#include "m2m_id.h"

#include "onem2m.h"

enum { FQDN_MAX = 253, LABEL_MAX = 63 };

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_word(struct bytes s, const char *also)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && (s.p[i] == 0 || !strchr(also, s.p[i])))
            return false;
    return s.n > 0;
}

static bool is_unreserved(struct bytes s)
{
    return is_word(s, "-._~");
}

bool m2m_is_kpsa_name(struct bytes s)
{
    return is_word(s, "._-");
}

bool m2m_is_fqdn(struct bytes s)
{
    size_t labels = 0, start = 0;
    if (s.n == 0 || s.n > FQDN_MAX)
        return false;
    for (size_t i = 0; i <= s.n; i++) {
        if (i < s.n && s.p[i] != '.')
            continue;
        struct bytes label = bytes_of(s.p + start, i - start);
        if (!is_word(label, "-") || label.n > LABEL_MAX || label.p[0] == '-' ||
            label.p[label.n - 1] == '-')
            return false;
        labels++;
        start = i + 1;
    }
    return labels >= 2;
}

/* Cuts the segment before the next '/', or all of it. */
static struct bytes cut(struct bytes *s)
{
    const uint8_t *slash = s->n ? memchr(s->p, '/', s->n) : NULL;
    struct bytes first = bytes_of(s->p, slash ? (size_t)(slash - s->p) : s->n);
    size_t gone = first.n + (slash != NULL);
    *s = bytes_of(s->p + gone, s->n - gone);
    return first;
}

/* Leaves what follows "/" or "//FQDN/". */
static bool skip_prefix(struct bytes *s)
{
    if (s->n > M2M_ID_MAX || s->n < 2 || s->p[0] != '/')
        return false;
    bool absolute = s->p[1] == '/';
    *s = bytes_of(s->p + 1 + absolute, s->n - 1 - absolute);
    return !absolute || m2m_is_fqdn(cut(s));
}

static bool is_stem(struct bytes s, bool or_c)
{
    return s.n > 1 && (s.p[0] == 'S' || (or_c && s.p[0] == 'C')) && is_unreserved(s);
}

bool m2m_is_cse_id(struct bytes s)
{
    return skip_prefix(&s) && is_unreserved(s);
}

bool m2m_is_ae_id(struct bytes s)
{
    if (s.n > 0 && s.n <= M2M_ID_MAX && s.p[0] != '/')
        return is_stem(s, true);
    if (!skip_prefix(&s))
        return false;
    if (s.n == 0 || !memchr(s.p, '/', s.n))
        return is_stem(s, false); /* unique in the domain: assigned by its provider */
    struct bytes cse = cut(&s);
    return is_unreserved(cse) && s.n > 1 && s.p[0] == 'C' && is_unreserved(s);
}
