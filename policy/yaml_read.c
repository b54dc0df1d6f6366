#include "yaml_inside.h"

#include <limits.h>
#include <stdio.h>

static const char *nearest(struct bytes word, const char *const *words, size_t n)
{
    const char *best = NULL;
    unsigned best_d = UINT_MAX;
    for (size_t i = 0; i < n; i++) {
        unsigned d = yaml_distance(word, bytes_str(words[i]));
        if (d < best_d) {
            best = words[i];
            best_d = d;
        }
    }
    return best;
}

/* ---- mappings and sequences ---- */

bool yaml_is_map(const struct yaml_node *n)
{
    return n && n->kind == MAPPING;
}

bool yaml_is_seq(const struct yaml_node *n)
{
    return n && n->kind == SEQUENCE;
}

bool yaml_is_scalar(const struct yaml_node *n)
{
    return n && n->kind == SCALAR;
}

static const char *kind_str(const struct yaml_node *n)
{
    return n->kind == MAPPING    ? "a mapping"
           : n->kind == SEQUENCE ? "a list"
           : n->n || n->quoted   ? "text"
                                 : "nothing";
}

bool yaml_map_open(struct yaml *y, const struct yaml_node *n, struct yaml_map *out)
{
    *out = (struct yaml_map){.y = y};
    if (!n)
        return false;
    if (n->kind != MAPPING) {
        yaml_error(y, n, "expected a mapping of keys to values, found %s", kind_str(n));
        return false;
    }
    out->node = n;
    out->at = n->first;
    out->left = n->n / 2;
    return true;
}

static const struct yaml_node *find(struct yaml_map *m, const char *key, bool want_key)
{
    if (!m->node)
        return NULL;
    if (m->n_known < YAML_KEYS_MAX)
        m->known[m->n_known++] = key;
    for (const struct yaml_node *k = m->node->first; k; k = k->next->next)
        if (bytes_equal_str(yaml_raw(k), key))
            return want_key ? k : k->next;
    return NULL;
}

const struct yaml_node *yaml_map_get(struct yaml_map *m, const char *key)
{
    return find(m, key, false);
}

const struct yaml_node *yaml_map_need(struct yaml_map *m, const char *key)
{
    const struct yaml_node *n = find(m, key, false);
    if (!n && m->node)
        yaml_error(m->y, m->node, "missing key '%s'", key);
    return n;
}

void yaml_map_refuse(struct yaml_map *m, const char *key)
{
    const struct yaml_node *n = find(m, key, true);
    if (n)
        yaml_error(m->y, n, "'%s' is not supported by this version", key);
}

void yaml_map_close(struct yaml_map *m)
{
    if (!m->node)
        return;
    for (const struct yaml_node *k = m->node->first; k; k = k->next->next) {
        struct bytes key = yaml_raw(k);
        bool known = false;
        for (size_t i = 0; i < m->n_known && !known; i++)
            known = bytes_equal_str(key, m->known[i]);
        if (known)
            continue;
        const char *near = nearest(key, m->known, m->n_known);
        if (near)
            yaml_error(m->y, k, "unknown key '%.*s'; did you mean '%s'?", TEXT(key), near);
        else
            yaml_error(m->y, k, "unknown key '%.*s'", TEXT(key));
    }
}

bool yaml_map_next(struct yaml_map *m, const struct yaml_node **key, const struct yaml_node **value)
{
    if (!m->left)
        return false;
    *key = m->at;
    *value = m->at->next;
    m->at = m->at->next->next;
    m->left--;
    return true;
}

bool yaml_seq_open(struct yaml *y, const struct yaml_node *n, struct yaml_seq *out)
{
    *out = (struct yaml_seq){0};
    if (!n)
        return false;
    if (n->kind != SEQUENCE) {
        yaml_error(y, n, "expected a list, found %s", kind_str(n));
        return false;
    }
    *out = (struct yaml_seq){n->first, n->n};
    return true;
}

bool yaml_seq_open_or_one(struct yaml *y, const struct yaml_node *n, struct yaml_seq *out)
{
    if (!n || n->kind == SEQUENCE)
        return yaml_seq_open(y, n, out);
    *out = (struct yaml_seq){n, 1};
    return true;
}

const struct yaml_node *yaml_seq_next(struct yaml_seq *s)
{
    if (!s->left)
        return NULL;
    const struct yaml_node *n = s->at;
    s->at = n->next;
    s->left--;
    return n;
}

/* ---- scalars ---- */

struct bytes yaml_raw(const struct yaml_node *n)
{
    return yaml_is_scalar(n) ? bytes_of(n->text, n->n) : BYTES_NONE;
}

static bool is_scalar(struct yaml *y, const struct yaml_node *n, const char *wanted)
{
    if (!n)
        return false;
    if (n->kind == SCALAR && (n->n || n->quoted))
        return true;
    yaml_error(y, n, "expected %s, found %s", wanted, kind_str(n));
    return false;
}

bool yaml_text(struct yaml *y, const struct yaml_node *n, struct arena *a, const char **out)
{
    static const char *const reserved[] = {"null", "Null", "NULL",  "~",     "true",
                                           "True", "TRUE", "false", "False", "FALSE"};
    if (!is_scalar(y, n, "text"))
        return false;
    if (n->n == 0) {
        yaml_error(y, n, "expected text, found an empty one");
        return false;
    }
    for (size_t i = 0; !n->quoted && i < sizeof reserved / sizeof *reserved; i++)
        if (bytes_equal_str(yaml_raw(n), reserved[i])) {
            yaml_error(y, n, "expected text, found %s; quote it if text is meant", reserved[i]);
            return false;
        }
    const char *s = arena_text(a, yaml_raw(n));
    if (!s) {
        yaml_error(y, n, "out of memory");
        return false;
    }
    *out = s;
    return true;
}

bool yaml_int(struct yaml *y, const struct yaml_node *n, int64_t min, int64_t max, int64_t *out)
{
    if (!is_scalar(y, n, "a number"))
        return false;
    struct bytes s = yaml_raw(n);
    size_t i = s.n && s.p[0] == '-';
    bool digits = !n->quoted && i < s.n && (s.p[i] != '0' || s.n == i + 1);
    int64_t v = 0;
    bool fits = true;
    for (; digits && i < s.n; i++) {
        digits = s.p[i] >= '0' && s.p[i] <= '9';
        int d = s.p[0] == '-' ? '0' - s.p[i] : s.p[i] - '0';
        fits = fits && !__builtin_mul_overflow(v, 10, &v) && !__builtin_add_overflow(v, d, &v);
    }
    if (!digits) {
        yaml_error(y, n, "expected a decimal number, found '%.*s'%s", TEXT(s),
                   n->quoted ? " in quotes" : "");
        return false;
    }
    if (!fits || v < min || v > max) {
        yaml_error(y, n, "%.*s is out of range; expected %lld to %lld", TEXT(s), (long long)min,
                   (long long)max);
        return false;
    }
    *out = v;
    return true;
}

bool yaml_enum(struct yaml *y, const struct yaml_node *n, const char *const *words, size_t n_words,
               int *out)
{
    char list[256];
    size_t used = 0;
    list[0] = 0;
    for (size_t i = 0; i < n_words && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                 i == 0             ? ""
                                 : i + 1 == n_words ? " or "
                                                    : ", ",
                                 words[i]);
    if (!is_scalar(y, n, list))
        return false;
    for (size_t i = 0; i < n_words; i++)
        if (bytes_equal_str(yaml_raw(n), words[i])) {
            *out = (int)i;
            return true;
        }
    yaml_error(y, n, "expected %s, found '%.*s'", list, TEXT(yaml_raw(n)));
    return false;
}

bool yaml_bool(struct yaml *y, const struct yaml_node *n, bool *out)
{
    static const char *const words[] = {"true", "yes", "false", "no"};
    int i;
    if (!is_scalar(y, n, "true or false"))
        return false;
    for (i = 0; i < 4; i++)
        if (!n->quoted && bytes_equal_str(yaml_raw(n), words[i])) {
            *out = i < 2;
            return true;
        }
    yaml_error(y, n, "expected true or false, found '%.*s'%s", TEXT(yaml_raw(n)),
               n->quoted ? " in quotes" : "");
    return false;
}
