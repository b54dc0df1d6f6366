#include "m2m_options.h"

#include "../policy/utf8.h"

enum form { TEXT, TIMESTAMP, RELEASE, UINT };
enum where { REQUEST = 1, ANSWER = 2, EITHER = 3 };

static const struct row {
    const char *name;
    uint16_t number[2]; /* by enum m2m_numbering; 0: none */
    uint16_t max;       /* bytes */
    enum form form;
    enum where where;
} rows[M2M_PARAMS] = {
    [M2M_FR] = {"FR", {279, 256}, 255, TEXT, EITHER},
    [M2M_RQI] = {"RQI", {283, 257}, 255, TEXT, EITHER},
    [M2M_OT] = {"OT", {259, 259}, 15, TIMESTAMP, EITHER},
    [M2M_RQET] = {"RQET", {291, 260}, 15, TIMESTAMP, EITHER},
    [M2M_RSET] = {"RSET", {295, 261}, 15, TIMESTAMP, EITHER},
    [M2M_OET] = {"OET", {299, 262}, 15, TIMESTAMP, EITHER},
    [M2M_RTURI] = {"RTURI", {263, 263}, 255, TEXT, EITHER},
    [M2M_EC] = {"EC", {303, 264}, 1, UINT, EITHER},
    [M2M_RSC] = {"RSC", {307, 265}, 2, UINT, ANSWER},
    [M2M_GID] = {"GID", {311, 266}, 255, TEXT, EITHER},
    [M2M_TY] = {"TY", {267, 267}, 2, UINT, EITHER},
    [M2M_CTO] = {"CTO", {319, 268}, 2, UINT, ANSWER},
    [M2M_CTS] = {"CTS", {323, 269}, 2, UINT, ANSWER},
    [M2M_ATI] = {"ATI", {327, 270}, 255, TEXT, ANSWER},
    [M2M_RVI] = {"RVI", {271, 271}, 2, RELEASE, EITHER},
    [M2M_VSI] = {"VSI", {331, 272}, 255, TEXT, EITHER},
    [M2M_GTM] = {"GTM", {335, 273}, 512, TEXT, EITHER},
    [M2M_AUS] = {"AUS", {339, 274}, 255, TEXT, EITHER},
    [M2M_ASRI] = {"ASRI", {275, 275}, 255, TEXT, EITHER},
    [M2M_OMR] = {"OMR", {343, 0}, 255, TEXT, EITHER},
    [M2M_PRPI] = {"PRPI", {347, 0}, 255, TEXT, EITHER},
    [M2M_MSU] = {"MSU", {351, 0}, 255, TEXT, EITHER},
};

enum { FIRST = 256, LAST = 351, NONE = 0xff };

/* Few messages have more than a handful of them. */
static uint8_t find(enum m2m_numbering n, uint16_t number)
{
    if (number < FIRST || number > LAST)
        return NONE;
    for (uint8_t p = 0; p < M2M_PARAMS; p++)
        if (rows[p].number[n] == number)
            return p;
    return NONE;
}

static enum m2m_numbering other(enum m2m_numbering n)
{
    return n == M2M_CURRENT ? M2M_LEGACY : M2M_CURRENT;
}

/* Identifiers and the like go into records and into JSON. */
static bool is_text(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return utf8_is(s);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* YYYYMMDDTHHMMSS. What is no such day or hour is told where it matters. */
static bool is_timestamp(struct bytes s)
{
    if (s.n != 15)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (i == 8 ? s.p[i] != 'T' : !is_digit(s.p[i]))
            return false;
    return true;
}

/* "1", "2a", "3" (TS-0004 table 6.3.4.2.57-1) */
static bool is_release(struct bytes s)
{
    return (s.n == 1 || s.n == 2) && is_digit(s.p[0]) &&
           (s.n == 1 || is_digit(s.p[1]) || (s.p[1] >= 'a' && s.p[1] <= 'z'));
}

static bool is_formed(const struct row *r, struct bytes value)
{
    if (value.n > r->max)
        return false;
    switch (r->form) {
    case TEXT:
        return is_text(value);
    case TIMESTAMP:
        return is_timestamp(value);
    case RELEASE:
        return is_release(value);
    case UINT:
    default:
        return true; /* shorter, and with zeros in front, too (RFC 7252 3.2) */
    }
}

/* As it is told to whoever is next: some read the first byte alone. */
static struct bytes shortest(struct bytes n)
{
    while (n.n > 0 && n.p[0] == 0)
        n = bytes_of(n.p + 1, n.n - 1);
    return n;
}

void m2m_set(struct m2m_values *v, enum m2m_param p, struct bytes value)
{
    v->has |= UINT32_C(1) << p;
    v->of[p] = value;
}

int64_t m2m_uint(const struct m2m_values *v, enum m2m_param p)
{
    if (!m2m_has(v, p))
        return -1;
    int64_t n = 0;
    for (size_t i = 0; i < v->of[p].n; i++)
        n = n << 8 | v->of[p].p[i];
    return n;
}

uint16_t m2m_number(enum m2m_numbering n, enum m2m_param p)
{
    return rows[p].number[n];
}

const char *m2m_param_name(enum m2m_param p)
{
    return rows[p].name;
}

enum m2m_seen m2m_recognise(const struct msg *m)
{
    bool current = false, legacy = false;
    for (size_t i = 0; i < m->n_options; i++) {
        uint16_t number = m->options[i].number;
        bool in_current = find(M2M_CURRENT, number) != NONE;
        bool in_legacy = find(M2M_LEGACY, number) != NONE;
        current |= in_current && !in_legacy;
        legacy |= in_legacy && !in_current;
    }
    return current && legacy ? M2M_SEEN_BOTH
           : current         ? M2M_SEEN_CURRENT
           : legacy          ? M2M_SEEN_LEGACY
                             : M2M_SEEN_NONE;
}

bool m2m_split(const struct msg *in, enum m2m_numbering n, struct m2m_values *out, struct msg *rest)
{
    bool sound = true;
    enum where where = msg_is_request(in) ? REQUEST : ANSWER;
    out->has = 0;
    rest->type = in->type;
    rest->code = in->code;
    rest->mid = in->mid;
    rest->token_n = in->token_n;
    memcpy(rest->token, in->token, sizeof rest->token);
    rest->payload = in->payload;
    rest->n_options = 0;
    for (size_t i = 0; i < in->n_options; i++) {
        const struct msg_option *o = &in->options[i];
        uint8_t p = find(n, o->number);
        if (p == NONE && find(other(n), o->number) == NONE) {
            rest->options[rest->n_options++] = *o;
            continue;
        }
        if (p == NONE || !(rows[p].where & where) || m2m_has(out, p) ||
            !is_formed(&rows[p], o->value))
            sound = false;
        else
            m2m_set(out, p, rows[p].form == UINT ? shortest(o->value) : o->value);
    }
    return sound;
}

bool m2m_join(const struct m2m_values *v, enum m2m_numbering n, struct msg *m)
{
    for (enum m2m_param p = 0; p < M2M_PARAMS; p++)
        if (m2m_has(v, p) && (!rows[p].number[n] || !msg_add(m, rows[p].number[n], v->of[p])))
            return false;
    return true;
}
