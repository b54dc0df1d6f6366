#include "enrolled_file.h"

#include "hex.h"
#include "moment.h"

void enrolled_open(struct reader *r, const struct yaml_node *n, const struct policy_files *files,
                   struct enrolled_file *out)
{
    struct policy_more more;
    struct yaml_map m;
    const char *why = "there is nothing here to read it with";
    int64_t version;
    *out = (struct enrolled_file){0};
    if (!n || !yaml_text(r->y, n, &r->p->arena, &r->p->enrolled_file))
        return;
    const char *file = r->p->enrolled_file;
    if (!files || !files->read(files->user, file, &more, &why)) {
        yaml_error(r->y, n, "%s: %s", file, why);
        return;
    }
    strncpy(r->p->hash, more.hash, POLICY_HASH_HEX);
    r->p->enrolled_name = arena_text(&r->p->arena, bytes_str(more.name));
    out->y = yaml_load(more.name, more.text, r->diag);
    r->more_bad = !out->y;
    if (!out->y || !yaml_map_open(out->y, yaml_root(out->y), &m))
        return;
    const struct yaml_node *v = yaml_map_need(&m, "version");
    if (yaml_int(out->y, v, INT64_MIN, INT64_MAX, &version) && version != 1)
        yaml_error(out->y, v, "version %lld is not supported by this version, which reads 1",
                   (long long)version);
    const struct yaml_node *list = yaml_map_get(&m, "enrolments");
    /* A key without a value: the list before its first entry. */
    if (list && !(yaml_is_scalar(list) && yaml_raw(list).n == 0))
        yaml_seq_open(out->y, list, &out->entries);
    yaml_map_close(&m);
    r->p->ended = arena_array(&r->p->arena, out->entries.left, sizeof *r->p->ended);
}

void enrolled_close(struct reader *r, struct enrolled_file *f)
{
    r->more_bad = r->more_bad || (f->y && !yaml_ok(f->y));
    yaml_free(f->y);
    f->y = NULL;
}

static bool read_moment(struct reader *r, const struct yaml_node *n, int64_t *out_s)
{
    const char *text;
    if (!n || !yaml_text(r->y, n, &r->p->arena, &text))
        return false;
    if (moment_read(bytes_str(text), out_s))
        return true;
    yaml_error(r->y, n, "expected a time in UTC, such as 2027-02-20T08:00:00Z or 2027-02-20");
    return false;
}

static bool read_fingerprint(struct reader *r, const struct yaml_node *n,
                             uint8_t out[POLICY_FINGERPRINT])
{
    struct bytes s = n ? yaml_raw(n) : BYTES_NONE;
    bool ok = s.n == 2 * POLICY_FINGERPRINT;
    for (size_t i = 0; ok && i < POLICY_FINGERPRINT; i++) {
        int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
        /* One way to write it, so that a second entry for it is found. */
        ok = high >= 0 && low >= 0 && (s.p[2 * i] & s.p[2 * i + 1] & 0x20);
        if (ok)
            out[i] = (uint8_t)(high << 4 | low);
    }
    if (n && !ok)
        yaml_error(r->y, n, "expected the SHA-256 of a certificate in %d small hexadecimal digits",
                   2 * POLICY_FINGERPRINT);
    return ok;
}

bool enrolled_read_out(struct reader *r, const struct yaml_node *n)
{
    struct yaml_map m;
    int64_t ignored;
    if (!r->p->ended || !yaml_is_map(n) || !yaml_map_open(r->y, n, &m))
        return false;
    const struct yaml_node *since = yaml_map_get(&m, "unenrolled");
    if (!since)
        return false;
    struct policy_ended *e = &r->p->ended[r->p->n_ended];
    e->line = yaml_line(r->y, n);
    (void)read_moment(r, since, &ignored);
    (void)yaml_text(r->y, yaml_map_need(&m, "name"), &r->p->arena, &e->name);
    (void)read_moment(r, yaml_map_need(&m, "expires"), &e->expires_s);
    (void)read_fingerprint(r, yaml_map_need(&m, "fingerprint"), e->fingerprint);
    yaml_map_close(&m);
    r->p->n_ended++;
    return true;
}

const char *read_enrolment(struct reader *r, struct yaml_map *m, struct policy_subject *s)
{
    int64_t ignored;
    const char *text;
    s->expires_s = INT64_MAX;
    (void)read_moment(r, yaml_map_get(m, "expires"), &s->expires_s);
    (void)read_moment(r, yaml_map_get(m, "enrolled"), &ignored); /* for people */
    const struct yaml_node *n = yaml_map_get(m, "fingerprint");
    s->pinned = read_fingerprint(r, n, s->fingerprint);
    if (n && !yaml_map_get(m, "certificate"))
        yaml_error(r->y, n, "a fingerprint is of a certificate");
    return s->pinned && yaml_text(r->y, n, &r->p->arena, &text) ? text : NULL;
}
