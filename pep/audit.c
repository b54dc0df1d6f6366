/* JSON Lines (RFC 8259). Each text has a cut of its own, so that the sum
 * always fits one record; the cuts are at the places where they are used. */
#include "audit.h"

#include <stdio.h>

#include "../policy/hex.h"
#include "../policy/m2m_words.h"
#include "../policy/utf8.h"
#include "../policy/zone.h"

enum cut { CUT_PEER = 64, CUT_NAME = 64, CUT_SHORT = 40, CUT_WORD = 32, CUT_FILE = 80 };

#define ELLIPSIS "\xe2\x80\xa6"

/* One unit of output for the front of b; returns how much of b it stands for. */
typedef size_t escape_fn(struct bytes b, char unit[8], size_t *unit_n);

static size_t unit_text(char unit[8], size_t *unit_n, const char *text)
{
    *unit_n = strlen(text);
    memcpy(unit, text, *unit_n);
    return 1;
}

static size_t escape_json(struct bytes b, char unit[8], size_t *unit_n)
{
    size_t n = utf8_size(b);
    if (n == 0)
        return unit_text(unit, unit_n, "\\ufffd");
    if (n == 1 && (b.p[0] == '"' || b.p[0] == '\\')) {
        unit[0] = '\\';
        unit[1] = (char)b.p[0];
        *unit_n = 2;
        return 1;
    }
    if (n == 1 && (b.p[0] < 0x20 || b.p[0] == 0x7f)) {
        char hex[8];
        (void)snprintf(hex, sizeof hex, "\\u%04x", b.p[0]);
        return unit_text(unit, unit_n, hex);
    }
    memcpy(unit, b.p, n);
    *unit_n = n;
    return n;
}

/* As in a URI (RFC 3986 2.1), for all that could be mistaken: the text of a
 * path tells its segments exactly. What is left needs no JSON escape. */
static size_t escape_segment(struct bytes b, char unit[8], size_t *unit_n)
{
    size_t n = utf8_size(b);
    uint8_t c = b.p[0];
    if (n == 0 || c < 0x21 || c == 0x7f || c == '/' || c == '%' || c == '"' || c == '\\') {
        char hex[8];
        (void)snprintf(hex, sizeof hex, "%%%02X", c);
        return unit_text(unit, unit_n, hex);
    }
    memcpy(unit, b.p, n);
    *unit_n = n;
    return n;
}

#define EACH(c) (UINT64_C(0x0101010101010101) * (c)) /* in each byte of a word */

/* What is left as it is: ASCII from `lowest` on but for five, which stand in
 * each byte of a word so that eight are looked at at once. */
struct escape {
    escape_fn *unit;
    uint64_t lowest, but[5];
};
static const struct escape json = {
    escape_json, EACH(' '), {EACH(0x7f), EACH('"'), EACH('\\'), EACH('\\'), EACH('\\')}};
static const struct escape segment = {
    escape_segment, EACH('!'), {EACH(0x7f), EACH('"'), EACH('\\'), EACH('/'), EACH('%')}};

/* A high bit is set if some byte is zero. */
static inline uint64_t has_zero(uint64_t word)
{
    return (word - EACH(1)) & ~word;
}

/* Not 0: some byte of the word is to be escaped. */
static inline uint64_t not_plain(uint64_t word, const struct escape *e)
{
    const uint64_t *but = e->but;
    return (word | ((word - e->lowest) & ~word) | has_zero(word ^ but[0]) |
            has_zero(word ^ but[1]) | has_zero(word ^ but[2]) | has_zero(word ^ but[3]) |
            has_zero(word ^ but[4])) &
           EACH(0x80);
}

/* All bytes of a text shorter than a word, in a word; some twice. */
static uint64_t short_word(struct bytes s)
{
    uint32_t first, last;
    if (s.n >= sizeof first) {
        memcpy(&first, s.p, sizeof first);
        memcpy(&last, s.p + s.n - sizeof last, sizeof last);
        return (uint64_t)first << 32 | last;
    }
    if (s.n == 0)
        return EACH('a');
    return EACH(s.p[0]) ^ (uint64_t)(s.p[0] ^ s.p[s.n / 2]) << 8 ^
           (uint64_t)(s.p[0] ^ s.p[s.n - 1]) << 16;
}

static bool is_plain(struct bytes s, const struct escape *e)
{
    uint64_t word, found = 0;
    if (s.n < sizeof word)
        return not_plain(short_word(s), e) == 0;
    for (size_t i = 0; i + sizeof word < s.n; i += sizeof word) {
        memcpy(&word, s.p + i, sizeof word);
        found |= not_plain(word, e);
    }
    memcpy(&word, s.p + s.n - sizeof word, sizeof word);
    return (found | not_plain(word, e)) == 0;
}

/* At most `cut` bytes of escaped text, with an ellipsis when that was less
 * than all. False: it was cut. */
static bool put_escaped(struct buf *out, struct bytes s, size_t cut, const struct escape *escape)
{
    const size_t tail = sizeof ELLIPSIS - 1;
    size_t begin = out->n, safe = out->n; /* up to `safe` an ellipsis still fits */
    /* Nearly all text is short and plain. */
    if (s.n <= cut && is_plain(s, escape)) {
        buf_put(out, s);
        return true;
    }
    while (s.n > 0) {
        char unit[8];
        size_t unit_n, used = escape->unit(s, unit, &unit_n);
        if (unit_n > cut - (out->n - begin) || out->full) {
            out->n = safe;
            buf_put_str(out, ELLIPSIS);
            return false;
        }
        buf_put(out, bytes_of(unit, unit_n));
        if (out->n - begin + tail <= cut)
            safe = out->n;
        s.p += used;
        s.n -= used;
    }
    return true;
}

/* A member's name as it stands in the record, its length known here. */
#define NAME(name) BYTES_LIT(",\"" name "\":")
#define TEXT(name) BYTES_LIT(",\"" name "\":\"") /* with the quote that begins its value */

static inline void put_text(struct buf *out, struct bytes name, struct bytes s, size_t cut)
{
    buf_put(out, name);
    (void)put_escaped(out, s, cut, &json);
    buf_put_u8(out, '"');
}

/* A word of ours: nothing in it to escape or to cut. */
static inline void put_word(struct buf *out, struct bytes name, const char *word)
{
    buf_put(out, name);
    buf_put_str(out, word);
    buf_put_u8(out, '"');
}

static inline void put_number(struct buf *out, struct bytes name, uint64_t v)
{
    buf_put(out, name);
    buf_put_decimal(out, v, 1);
}

static void set_two(char *to, unsigned v)
{
    memcpy(to, bytes_two_digits + v % 100 * 2, 2);
}

enum { TIME = 37, TIME_US = 29 }; /* its length, and where the microseconds stand */

/* RFC 3339 5.6, in UTC. What it cannot name is shown as the epoch. */
static void tell_second(int64_t wall_s, uint8_t text[TIME])
{
    enum { DAY_S = 86400 };
    char *at = (char *)text + 9;
    int64_t year, days = wall_s / DAY_S - (wall_s % DAY_S < 0);
    unsigned month, day;
    civil_from_days(days, &year, &month, &day);
    if (year < 0 || year > 9999) {
        wall_s = days = 0;
        civil_from_days(days, &year, &month, &day);
    }
    unsigned second = (unsigned)(wall_s - days * DAY_S);
    memcpy(text, "{\"time\":\"0000-00-00T00:00:00.000000Z\"", TIME);
    set_two(at, (unsigned)year / 100);
    set_two(at + 2, (unsigned)year);
    set_two(at + 5, month);
    set_two(at + 8, day);
    set_two(at + 11, second / 3600);
    set_two(at + 14, second / 60 % 60);
    set_two(at + 17, second % 60);
}

static void put_time(struct buf *out, struct audit_memo *memo, int64_t wall_s, uint32_t wall_us)
{
    uint8_t *to = buf_reserve(out, TIME);
    if (!to)
        return;
    if (!memo) {
        tell_second(wall_s, to);
    } else {
        if (memo->second != wall_s || memo->time[0] == 0) {
            tell_second(wall_s, memo->time);
            memo->second = wall_s;
        }
        memcpy(to, memo->time, TIME);
    }
    set_two((char *)to + TIME_US, wall_us / 10000);
    set_two((char *)to + TIME_US + 2, wall_us / 100);
    set_two((char *)to + TIME_US + 4, wall_us);
}

/* "/a/b"; a segment that is empty shows as "%" alone, which nothing else
 * does; no segment at all is "/". */
static void put_path(struct buf *out, const struct bytes *path, size_t n)
{
    buf_put(out, TEXT("path"));
    size_t begin = out->n;
    if (n == 0)
        buf_put_u8(out, '/');
    for (size_t i = 0; i < n; i++) {
        size_t left = AUDIT_PATH_MAX - (out->n - begin);
        if (left < 1 + 3 + sizeof ELLIPSIS - 1) {
            buf_put_str(out, ELLIPSIS);
            break;
        }
        buf_put_u8(out, '/');
        if (path[i].n == 0)
            buf_put_u8(out, '%');
        /* room stays for the ellipsis of a next segment */
        else if (!put_escaped(out, path[i], left - 1 - (sizeof ELLIPSIS - 1), &segment))
            break;
    }
    buf_put_u8(out, '"');
}

/* file:line; of a long file name the end is what tells. */
static void put_rule(struct buf *out, struct policy_rule_ref rule)
{
    if (!rule.file)
        return;
    struct bytes file = bytes_str(rule.file);
    buf_put(out, TEXT("rule"));
    if (file.n > CUT_FILE / 2) {
        buf_put_str(out, ELLIPSIS);
        file = bytes_of(file.p + file.n - CUT_FILE / 2, CUT_FILE / 2);
        while (file.n && (file.p[0] & 0xc0) == 0x80)
            file = bytes_of(file.p + 1, file.n - 1);
    }
    (void)put_escaped(out, file, CUT_FILE, &json);
    buf_put_u8(out, ':');
    buf_put_decimal(out, rule.line, 1);
    buf_put_u8(out, '"');
}

void audit_put_who(uint64_t association, const char *peer, const char *subject, struct buf *out)
{
    if (association)
        put_number(out, NAME("association"), association);
    if (peer)
        put_text(out, TEXT("peer"), bytes_str(peer), CUT_PEER);
    if (subject && *subject)
        put_text(out, TEXT("subject"), bytes_str(subject), CUT_NAME);
}

static void put_start(struct buf *out, const struct audit_start *s, const char *subject)
{
    put_time(out, s->memo, s->wall_s, s->wall_us);
    if (s->who.n)
        buf_put(out, s->who);
    else
        audit_put_who(s->association, s->peer, subject, out);
}

static const char *method_name(uint8_t code)
{
    static const char *const names[] = {"?",      "GET",   "POST",  "PUT",
                                        "DELETE", "FETCH", "PATCH", "iPATCH"};
    return names[code < sizeof names / sizeof *names ? code : 0];
}

static void put_verdict(struct buf *out, const struct pep_decision *d)
{
    bool permit = d->verdict == POLICY_PERMIT;
    put_word(out, TEXT("verdict"), permit ? "permit" : "deny");
    if (!permit && d->outcome == PEP_FORWARD)
        buf_put_str(out, ",\"reported\":true"); /* let pass by mode: report */
    put_text(out, TEXT("reason"), bytes_str(d->reason), CUT_WORD);
    if (!permit && d->rsc > 0)
        put_number(out, NAME("rsc"), d->rsc);
    if (d->missing)
        put_text(out, TEXT("missing"), bytes_str(d->missing), CUT_WORD);
    put_rule(out, d->rule);
}

static void put_basis(struct buf *out, const struct pep_decision *d, const char *device)
{
    if (d->authority)
        put_text(out, TEXT("authority"), bytes_str(d->authority), CUT_SHORT);
    if (d->policy_hash)
        put_text(out, TEXT("policy"), bytes_str(d->policy_hash), CUT_WORD);
    if (device)
        put_text(out, TEXT("device"), bytes_str(device), CUT_SHORT);
}

static void put_grant(struct buf *out, const struct pep_decision *d)
{
    if (d->grant)
        put_number(out, NAME("grant"), d->grant);
    if (d->decided_by)
        put_text(out, TEXT("decided_by"), bytes_str(d->decided_by), CUT_SHORT);
    if (d->token_id.n) {
        put_text(out, TEXT("token"), d->token_id, CUT_NAME);
        put_text(out, TEXT("holder"), d->holder, CUT_NAME);
        if (d->permission >= 0)
            put_number(out, NAME("permission"), (uint64_t)d->permission);
    }
    if (d->role)
        put_text(out, TEXT("role"), bytes_str(d->role), CUT_SHORT);
}

/* Of a request to a CSE the originator is as it was told, proved or not: the
 * verdict's reason says which. */
static void put_originator(struct buf *out, const struct request *r)
{
    if (r->originator.n)
        put_text(out, TEXT("originator"), r->originator, CUT_SHORT);
    const char *operation = r->m2m ? m2m_operation_str(r->m2m->operation) : NULL;
    if (!operation)
        return;
    put_word(out, TEXT("operation"), operation);
    if (r->m2m->type < 0)
        return;
    const char *type = m2m_type_str((unsigned)r->m2m->type);
    if (type)
        put_word(out, TEXT("type"), type);
    else
        put_number(out, NAME("type"), (unsigned)r->m2m->type);
}

static void put_method(struct buf *out, const struct request *r)
{
    put_word(out, TEXT("method"), method_name(r->method));
}

static bool is_path_of(const struct audit_parts *p, const struct request *r)
{
    const uint8_t *at = p->segments;
    for (size_t i = 0; i < p->n_path; at += p->segment_n[i++])
        if (!bytes_equal(r->path[i], bytes_of(at, p->segment_n[i])))
            return false;
    return true;
}

static bool is_of(const struct audit_parts *p, const struct request *r,
                  const struct pep_decision *d, const char *device)
{
    return p->load == d->load && p->rule.line == d->rule.line && p->rule.file == d->rule.file &&
           p->reason == d->reason && p->authority == d->authority &&
           p->policy_hash == d->policy_hash && p->device == device && p->method == r->method &&
           p->n_path == r->n_path && p->rule_n > 0 && is_path_of(p, r);
}

static bool keep_path(struct audit_parts *p, const struct request *r)
{
    struct buf b = buf_on(p->segments, sizeof p->segments);
    if (r->n_path > sizeof p->segment_n)
        return false;
    for (size_t i = 0; i < r->n_path; i++) {
        p->segment_n[i] = (uint8_t)r->path[i].n;
        buf_put(&b, r->path[i]);
    }
    p->n_path = (uint8_t)r->n_path;
    return !b.full;
}

static bool take_down(struct audit_parts *p, const struct request *r, const struct pep_decision *d,
                      const char *device)
{
    struct buf to_rule = buf_on(p->to_rule, sizeof p->to_rule);
    struct buf to_end = buf_on(p->to_end, sizeof p->to_end);
    put_method(&to_rule, r);
    put_path(&to_rule, r->path, r->n_path);
    put_verdict(&to_rule, d);
    put_basis(&to_end, d, device);
    bool fits = keep_path(p, r) && !to_rule.full && !to_end.full;
    p->rule_n = (uint16_t)(fits ? to_rule.n : 0);
    p->end_n = (uint16_t)to_end.n;
    p->method = r->method;
    p->load = d->load;
    p->rule = d->rule;
    p->reason = d->reason;
    p->authority = d->authority;
    p->policy_hash = d->policy_hash;
    p->device = device;
    return fits;
}

static struct audit_parts *parts_of(struct audit_memo *memo, const struct request *r,
                                    const struct pep_decision *d)
{
    size_t h = d->rule.line;
    for (size_t i = 0; i < r->n_path; i++)
        h = h * 31 + r->path[i].n + (r->path[i].n ? r->path[i].p[r->path[i].n - 1] : 0u);
    return &memo->parts[h % (sizeof memo->parts / sizeof *memo->parts)];
}

/* The query stays out: it may carry secrets. */
static void put_request(struct buf *out, const struct audit_start *s, const struct request *r)
{
    put_originator(out, r);
    put_method(out, r);
    put_path(out, r->path, r->n_path);
    if (s->observation) {
        put_word(out, TEXT("observation"), s->observation);
        put_number(out, NAME("notified"), s->notified);
    }
}

bool audit_begin_watch(const struct audit_start *s, const struct request *r, const char *reason,
                       const char *policy_hash, struct buf *out)
{
    put_start(out, s, s->subject);
    put_request(out, s, r);
    put_text(out, TEXT("reason"), bytes_str(reason), CUT_WORD);
    if (policy_hash)
        put_text(out, TEXT("policy"), bytes_str(policy_hash), CUT_WORD);
    if (s->device)
        put_text(out, TEXT("device"), bytes_str(s->device), CUT_SHORT);
    return !out->full;
}

bool audit_begin(const struct audit_start *s, const struct request *r, const struct pep_decision *d,
                 struct buf *out)
{
    bool memorable = d->verdict == POLICY_PERMIT && !d->missing && s->memo && !s->observation;
    struct audit_parts *p = memorable ? parts_of(s->memo, r, d) : NULL;
    put_start(out, s, s->subject);
    if (p && (is_of(p, r, d, s->device) || take_down(p, r, d, s->device))) {
        put_originator(out, r);
        buf_put(out, bytes_of(p->to_rule, p->rule_n));
        put_grant(out, d);
        buf_put(out, bytes_of(p->to_end, p->end_n));
        return !out->full;
    }
    put_request(out, s, r);
    put_verdict(out, d);
    put_grant(out, d);
    put_basis(out, d, s->device);
    return !out->full;
}

bool audit_begin_token(const struct audit_start *s, enum pep_via via, const struct pep_taken *t,
                       const char *policy_hash, struct buf *out)
{
    static const char *const ways[] = {[PEP_VIA_AUTHZ_INFO] = "authz-info",
                                       [PEP_VIA_IDENTITY] = "identity",
                                       [PEP_VIA_OPTION] = "option",
                                       [PEP_VIA_ASKED] = "asked"};
    put_start(out, s, t->subject[0] ? t->subject : s->subject);
    put_text(out, TEXT("token"),
             bytes_str((size_t)via < sizeof ways / sizeof *ways ? ways[via] : "unknown"), CUT_WORD);
    put_word(out, TEXT("verdict"), t->err == PEP_OK ? "taken" : "refused");
    put_text(out, TEXT("reason"), bytes_str(pep_err_str(t->err)), CUT_WORD);
    if (t->grant)
        put_number(out, NAME("grant"), t->grant);
    if (t->token_id.n)
        put_text(out, TEXT("id"), t->token_id, CUT_NAME);
    if (t->authority)
        put_text(out, TEXT("authority"), bytes_str(t->authority), CUT_SHORT);
    if (t->replaced)
        buf_put_str(out, ",\"replaced\":true");
    if (t->n_unknown)
        put_number(out, NAME("unknown"), t->n_unknown);
    if (t->n_beyond)
        put_number(out, NAME("beyond"), t->n_beyond);
    if (t->beyond[0])
        put_text(out, TEXT("first-beyond"), bytes_str(t->beyond), CUT_SHORT);
    if (policy_hash)
        put_text(out, TEXT("policy"), bytes_str(policy_hash), CUT_WORD);
    return !out->full;
}

static void put_hex(struct buf *out, struct bytes name, struct bytes s, size_t cut)
{
    buf_put(out, name);
    hex_put(out, bytes_of(s.p, s.n < cut ? s.n : cut));
    if (s.n > cut)
        buf_put_str(out, ELLIPSIS);
    buf_put_u8(out, '"');
}

bool audit_event(const struct audit_event *e, const char *policy_hash, struct buf *out)
{
    put_time(out, NULL, e->wall_s, e->wall_us);
    put_text(out, TEXT("event"), bytes_str(e->event), CUT_WORD);
    put_text(out, TEXT("by"), bytes_str(e->by), CUT_WORD);
    if (e->kind)
        put_text(out, TEXT("kind"), bytes_str(e->kind), CUT_WORD);
    if (e->value.n && e->is_text)
        put_text(out, TEXT("value"), e->value, CUT_NAME);
    else if (e->value.n)
        put_hex(out, TEXT("value"), e->value, CUT_NAME);
    if (e->authority.n)
        put_text(out, TEXT("authority"), e->authority, CUT_SHORT);
    put_number(out, NAME("ended"), e->ended);
    if (e->not_kept)
        buf_put_str(out, ",\"kept\":false");
    if (policy_hash)
        put_text(out, TEXT("policy"), bytes_str(policy_hash), CUT_WORD);
    buf_put_str(out, "}\n");
    return !out->full;
}

void audit_put_source(const char *word, struct buf *out)
{
    put_word(out, TEXT("source"), word);
}

bool audit_end(uint8_t code, uint64_t us, struct buf *out)
{
    if (code) {
        enum { CLASS_AT = 9, DETAIL_AT = 11 };
        char text[] = ",\"code\":\"0.00\",\"us\":";
        text[CLASS_AT] = (char)('0' + (code >> 5));
        set_two(text + DETAIL_AT, code & 31);
        buf_put(out, BYTES_LIT(text));
    } else {
        buf_put(out, BYTES_LIT(",\"code\":null,\"us\":")); /* nobody was answered */
    }
    buf_put_decimal(out, us, 1);
    buf_put(out, BYTES_LIT("}\n"));
    return !out->full;
}
