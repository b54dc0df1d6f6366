#include "enrol_entry.h"

#include "../policy/hex.h"
#include "../policy/moment.h"
#include "json.h"

/* A JSON string is one of YAML, too. */
static void put_text(struct buf *out, const char *key, const char *text)
{
    if (!text)
        return;
    buf_put_str(out, out->p[out->n - 1] == '{' ? "" : ", ");
    buf_put_str(out, key);
    buf_put_str(out, ": ");
    json_put_string(out, bytes_str(text));
}

static void put_list(struct buf *out, const char *key, const struct enrol_list *l)
{
    if (l->n == 0)
        return;
    buf_put_str(out, ", ");
    buf_put_str(out, key);
    buf_put_str(out, ": [");
    for (size_t i = 0; i < l->n; i++) {
        buf_put_str(out, i ? ", " : "");
        json_put_string(out, bytes_str(l->of[i]));
    }
    buf_put_u8(out, ']');
}

static bool put_time(struct buf *out, const char *key, int64_t s)
{
    char text[MOMENT_TEXT];
    if (!moment_text(s, text))
        return false;
    put_text(out, key, text);
    return true;
}

static void put_hex_text(struct buf *out, const char *key, struct bytes bytes)
{
    char text[2 * POLICY_FINGERPRINT + 1];
    struct buf b = buf_on(text, sizeof text);
    hex_put(&b, bytes);
    buf_put_u8(&b, 0);
    if (!b.full)
        put_text(out, key, text);
    out->full = out->full || b.full;
}

static struct bytes fingerprint_of(const struct enrol_entry *e)
{
    return bytes_of(e->fingerprint, sizeof e->fingerprint);
}

bool enrol_entry_put(const struct enrol_entry *e, struct buf *out)
{
    buf_put_u8(out, '{');
    put_text(out, "name", e->name);
    put_text(out, "psk-identity", e->identity);
    put_text(out, "key-file", e->key_file);
    put_text(out, "certificate", e->certificate);
    if (e->certificate)
        put_hex_text(out, "fingerprint", fingerprint_of(e));
    if (e->roles.n == 0) /* said, not forgotten */
        buf_put_str(out, ", roles: []");
    put_list(out, "roles", &e->roles);
    if (e->originators.n == 1)
        put_text(out, "originator", e->originators.of[0]);
    else
        put_list(out, "originators", &e->originators);
    put_text(out, "cse", e->cse);
    put_list(out, "may-register", &e->may_register);
    put_text(out, "rate", e->rate);
    bool ok = put_time(out, "enrolled", e->enrolled_s) &&
              (e->expires_s == INT64_MAX || put_time(out, "expires", e->expires_s));
    buf_put_u8(out, '}');
    return ok && !out->full;
}

bool enrol_entry_put_out(const struct policy_subject *s, int64_t now_s, struct buf *out)
{
    buf_put_u8(out, '{');
    bool ok = put_time(out, "unenrolled", now_s);
    put_text(out, "name", s->name);
    put_hex_text(out, "fingerprint", bytes_of(s->fingerprint, sizeof s->fingerprint));
    /* Written by hand, without an end: who knows when the certificate has its. */
    if (s->expires_s == INT64_MAX)
        put_text(out, "expires", "9999-12-31T23:59:59Z");
    else
        ok = ok && put_time(out, "expires", s->expires_s);
    buf_put_u8(out, '}');
    return ok && !out->full;
}

/* ---- what a renewal keeps ---- */

static bool keep_list(struct yaml *y, const struct yaml_node *n, struct enrol_list *l)
{
    struct yaml_seq s;
    if (!n || l->n > 0)
        return true;
    if (!yaml_seq_open_or_one(y, n, &s) || s.left > ENROL_LIST_MAX)
        return false;
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));)
        l->of[l->n++] = (const char *)yaml_raw(e).p; /* ends with a NUL (yaml.h) */
    return true;
}

static void keep_text(const struct yaml_node *n, const char **out)
{
    if (n && !*out)
        *out = (const char *)yaml_raw(n).p;
}

bool enrol_entry_keep(struct yaml *y, unsigned line, struct enrol_entry *e)
{
    struct yaml_map top, m;
    struct yaml_seq s;
    if (!yaml_map_open(y, yaml_root(y), &top) ||
        !yaml_seq_open(y, yaml_map_get(&top, "enrolments"), &s))
        return false;
    for (const struct yaml_node *n; (n = yaml_seq_next(&s));) {
        if (yaml_line(y, n) != line)
            continue;
        if (!yaml_map_open(y, n, &m))
            return false;
        bool named = e->originators.n > 0 || e->cse;
        keep_text(yaml_map_get(&m, "rate"), &e->rate);
        keep_text(yaml_map_get(&m, "psk-identity"), &e->identity);
        if (!named)
            keep_text(yaml_map_get(&m, "cse"), &e->cse);
        return keep_list(y, yaml_map_get(&m, "roles"), &e->roles) &&
               (named || (keep_list(y, yaml_map_get(&m, "originator"), &e->originators) &&
                          keep_list(y, yaml_map_get(&m, "originators"), &e->originators))) &&
               keep_list(y, yaml_map_get(&m, "may-register"), &e->may_register);
    }
    return false;
}

/* ---- what the device gets ---- */

static bool is_printable(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    return s.n > 0;
}

struct line {
    const char *key, *json_key;
    struct bytes value;
};

enum { LINES_MAX = 16 };

struct lines {
    char expires[MOMENT_TEXT], hex[2 * POLICY_FINGERPRINT + 1];
    struct line of[LINES_MAX];
    size_t n;
};

static void add(struct lines *l, const char *key, const char *json_key, struct bytes value)
{
    if (value.n > 0)
        l->of[l->n++] = (struct line){key, json_key, value};
}

/* False: a time that cannot be written. */
static bool gather(const struct enrol_bundle *b, struct lines *l)
{
    const struct enrol_entry *e = b->entry;
    struct bytes secret = b->psk.n ? b->psk : fingerprint_of(e);
    struct buf hex = buf_on(l->hex, sizeof l->hex);
    hex_put(&hex, secret);
    if (hex.full || (e->expires_s != INT64_MAX && !moment_text(e->expires_s, l->expires)))
        return false;
    add(l, "name", "name", bytes_str(e->name));
    add(l, "server", "server", bytes_str(b->server));
    add(l, "psk-identity", "psk_identity", b->psk.n ? bytes_str(e->identity) : BYTES_NONE);
    add(l, b->psk.n ? "psk-hex" : "fingerprint", b->psk.n ? "psk_hex" : "fingerprint",
        buf_bytes(&hex));
    add(l, "psk-text", "psk_text", is_printable(b->psk) ? b->psk : BYTES_NONE);
    add(l, "cse", "cse", bytes_str(e->cse));
    add(l, "expires", "expires", bytes_str(l->expires));
    return true;
}

bool enrol_bundle_put(const struct enrol_bundle *b, struct buf *out)
{
    struct lines l = {.n = 0};
    const struct enrol_list *o = &b->entry->originators;
    if (!gather(b, &l))
        return false;
    for (size_t i = 0; i < l.n; i++) {
        buf_put_str(out, l.of[i].key);
        buf_put_str(out, ": ");
        json_put_string(out, l.of[i].value);
        buf_put_u8(out, '\n');
    }
    for (size_t i = 0; i < o->n; i++) {
        buf_put_str(out, i ? ", " : "originators: [");
        json_put_string(out, bytes_str(o->of[i]));
        buf_put_str(out, i + 1 == o->n ? "]\n" : "");
    }
    explicit_bzero(&l, sizeof l);
    buf_put(out, b->key);
    buf_put(out, b->crt);
    buf_put(out, b->ca);
    return !out->full;
}

bool enrol_bundle_put_json(const struct enrol_bundle *b, struct buf *out)
{
    struct lines l = {.n = 0};
    const struct enrol_list *o = &b->entry->originators;
    if (!gather(b, &l))
        return false;
    add(&l, "key", "key", b->key);
    add(&l, "certificate", "certificate", b->crt);
    add(&l, "ca", "ca", b->ca);
    buf_put_u8(out, '{');
    for (size_t i = 0; i < l.n; i++) {
        json_put_key(out, l.of[i].json_key);
        json_put_string(out, l.of[i].value);
    }
    json_put_key(out, "originators");
    buf_put_u8(out, '[');
    for (size_t i = 0; i < o->n; i++) {
        buf_put_str(out, i ? "," : "");
        json_put_string(out, bytes_str(o->of[i]));
    }
    buf_put_str(out, "]}\n");
    explicit_bzero(&l, sizeof l);
    return !out->full;
}
