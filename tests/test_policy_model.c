/* The policy against a slow obvious model of it, on random policies and
 * questions. The model knows no tree, no sets and no zone tables: it looks at
 * every rule of every word, and asks libc for local time.
 *
 * The seed is printed when a case fails; run with it as argument to repeat. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "../policy/explain.h"
#include "../policy/policy.h"

enum {
    POLICIES = 1500,
    QUESTIONS = 40,
    N_ROLES = 5,
    N_SCOPES = 3,
    RULES = 4,
    FORBIDS = 3,
    HELD = 3
};
enum { N_HOLDERS = N_ROLES + N_SCOPES };

static uint64_t seed = 20260101, random_state;

/* xorshift64*; reproducible anywhere. */
static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1du) >> 33) % below;
}

static bool chance(uint32_t percent)
{
    return rnd(100) < percent;
}

/* ---- a policy as plain data ---- */

struct cond {
    bool hours, days, dates, nets, strength;
    int from, to; /* minutes */
    uint8_t day_set;
    int date_from, date_to; /* days of January 2026 */
    int net;
    int at_least;
};

struct plain_rule {
    const char *seg[4];
    int n;
    bool rest;
    uint32_t methods, operations;
    uint32_t types; /* a set of `types`; 0: any */
    struct cond when;
    int unless; /* role, -1: none */
    bool sized;
    uint32_t max_payload, formats; /* a set of content_formats; 0: any */
    unsigned rate;                 /* 0: none */
    unsigned line;
};

struct plain_holder {
    bool includes[N_ROLES];
    struct plain_rule rules[RULES];
    int n;
    unsigned rate;
};

struct plain {
    struct plain_holder holders[N_HOLDERS];
    struct plain_rule forbid[FORBIDS];
    int n_forbid;
    bool may[N_HOLDERS];
    struct plain_rule may_path;
    bool has_may_path;
    const char *zone;
};

static const char *const operation_names[] = {"CREATE", "RETRIEVE", "UPDATE",
                                              "DELETE", "NOTIFY",   "DISCOVERY"};
static const char *const type_names[] = {"AE", "container", "4"};
static const int type_numbers[] = {2, 3, 4};
static const char *const method_names[] = {"GET", "POST", "PUT", "DELETE"};
static const char *const day_names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
static const char *const nets[] = {"192.0.2.0/24", "192.0.2.128/25", "2001:db8::/33", "10.1.2.3"};
static const char *const holders[] = {"r0", "r1", "r2", "r3", "r4", "s0", "s1", "s2"};
static const char *const strengths[] = {"", "bearer", "psk", "certificate"};

static const uint16_t content_formats[] = {0, 50, 60};

static struct plain_rule with_limits(struct plain_rule r)
{
    if (chance(40))
        return r;
    r.sized = chance(60);
    r.max_payload = rnd(4) * 10;
    r.formats = chance(50) ? 1 + rnd(7) : 0;
    r.rate = chance(50) ? 1 + rnd(9) : 0;
    return r;
}

static bool is_limited(const struct plain_rule *r)
{
    return r->sized || r->formats || r->rate || r->types;
}

static uint32_t actions(const struct plain_rule *r)
{
    return r->methods | r->operations << 7;
}

static struct plain_rule random_rule(bool conditions)
{
    static const char *const segs[] = {"a", "a", "b", "*", "a-name-longer-than-most"};
    struct plain_rule r = {.unless = -1};
    do {
        r.methods = chance(70) ? rnd(16) : 0;
        r.operations = chance(50) ? rnd(64) : 0;
    } while (!actions(&r));
    if (r.operations & 1 && chance(50))
        r.types = 1 + rnd(6);
    r.n = (int)rnd(4);
    for (int i = 0; i < r.n; i++)
        r.seg[i] = segs[rnd(5)];
    if (chance(30))
        r.rest = true;
    else if (r.n > 0 && chance(10))
        r.seg[r.n++] = "";
    struct cond *c = &r.when;
    if (!conditions || chance(50))
        return r;
    c->hours = chance(30);
    c->from = (int)rnd(96) * 15;
    do
        c->to = (int)rnd(97) * 15;
    while (c->to == c->from);
    c->days = chance(30);
    c->day_set = (uint8_t)(1 + rnd(127));
    c->dates = chance(30);
    c->date_from = 1 + (int)rnd(31);
    c->date_to = c->date_from + (int)rnd((uint32_t)(32 - c->date_from));
    c->nets = chance(30);
    c->net = (int)rnd(4);
    c->strength = chance(30);
    c->at_least = 1 + (int)rnd(3);
    return r;
}

static struct plain random_policy(void)
{
    static const char *const zones[] = {"UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata"};
    struct plain p = {.zone = zones[rnd(4)]};
    for (int h = 0; h < N_HOLDERS; h++) {
        for (int i = 0; h < N_ROLES && i < h; i++)
            p.holders[h].includes[i] = chance(25);
        p.holders[h].n = (int)rnd(RULES + 1);
        for (int i = 0; i < p.holders[h].n; i++)
            p.holders[h].rules[i] = with_limits(random_rule(true));
        if (h > 0 && chance(20)) /* not all five roles: that would be too deep */
            p.holders[h].rate = 1 + rnd(9);
        p.may[h] = chance(60);
    }
    p.n_forbid = (int)rnd(FORBIDS + 1);
    for (int i = 0; i < p.n_forbid; i++) {
        p.forbid[i] = random_rule(true);
        if (chance(50))
            p.forbid[i].unless = (int)rnd(N_ROLES);
    }
    p.has_may_path = chance(70);
    p.may_path = with_limits(random_rule(false));
    return p;
}

/* ---- as text ---- */

struct text {
    char s[16384];
    size_t n;
    unsigned line;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < sizeof t->s - t->n);
    for (int i = 0; i < n; i++)
        t->line += t->s[t->n + (size_t)i] == '\n';
    t->n += (size_t)n;
}

static void put_set(struct text *t, const char *key, uint32_t set, const char *const *words)
{
    const char *sep = "";
    if (!set)
        return;
    put(t, ", %s: [", key);
    for (; set; set >>= 1, words++)
        if (set & 1) {
            put(t, "%s%s", sep, *words);
            sep = ", ";
        }
    put(t, "]");
}

static void put_rule(struct text *t, struct plain_rule *r)
{
    const struct cond *c = &r->when;
    r->line = t->line + 1;
    put(t, "      - {path: \"");
    for (int i = 0; i < r->n; i++)
        put(t, "/%s", r->seg[i]);
    put(t, "%s\"", r->rest ? "/**" : r->n ? "" : "/");
    put_set(t, "methods", r->methods, method_names);
    put_set(t, "operations", r->operations, operation_names);
    put_set(t, "types", r->types, type_names);
    if (r->sized)
        put(t, ", max-payload: %u", r->max_payload);
    for (unsigned i = 0, first = 1; i < 3; i++)
        if (r->formats >> i & 1) {
            put(t, "%s%u%s", first ? ", formats: [" : ", ", content_formats[i],
                r->formats >> i == 1 ? "]" : "");
            first = 0;
        }
    if (r->rate)
        put(t, ", rate: %u/h", r->rate);
    if (c->hours || c->days || c->dates || c->nets || c->strength) {
        const char *sep = "";
        put(t, ", when: {");
        if (c->hours) {
            put(t, "hours: \"%02d:%02d-%02d:%02d\"", c->from / 60, c->from % 60, c->to / 60,
                c->to % 60);
            sep = ", ";
        }
        if (c->days) {
            put(t, "%sdays: [", sep);
            for (int i = 0, first = 1; i < 7; i++)
                if (c->day_set >> i & 1) {
                    put(t, "%s%s", first ? "" : ", ", day_names[i]);
                    first = 0;
                }
            put(t, "]");
            sep = ", ";
        }
        if (c->dates) {
            put(t, "%sdates: 2026-01-%02d..2026-01-%02d", sep, c->date_from, c->date_to);
            sep = ", ";
        }
        if (c->nets) {
            put(t, "%snetworks: [\"%s\"]", sep, nets[c->net]);
            sep = ", ";
        }
        if (c->strength)
            put(t, "%sassociation: %s", sep, strengths[c->at_least]);
        put(t, "}");
    }
    if (r->unless >= 0)
        put(t, ", unless-role: %s", holders[r->unless]);
    put(t, "}\n");
}

static void put_policy(struct text *t, struct plain *p)
{
    put(t, "version: 1\nzone: %s\nauthorities:\n  - name: as\n    keys: k\n    may-grant:\n",
        p->zone);
    for (int kind = 0; kind < 2; kind++) {
        put(t, "      %s: [", kind ? "scopes" : "roles");
        for (int h = kind ? N_ROLES : 0, first = 1; h < (kind ? N_HOLDERS : N_ROLES); h++)
            if (p->may[h]) {
                put(t, "%s%s", first ? "" : ", ", holders[h]);
                first = 0;
            }
        put(t, "]\n");
    }
    if (p->has_may_path) {
        put(t, "      resources:\n");
        put_rule(t, &p->may_path);
    }
    for (int h = 0; h < N_HOLDERS; h++) {
        put(t, "%s  %s:\n", h == 0 ? "roles:\n" : h == N_ROLES ? "scopes:\n" : "", holders[h]);
        bool any = false;
        for (int i = 0; i < N_ROLES; i++)
            if (p->holders[h].includes[i]) {
                put(t, "%s%s", any ? ", " : "    includes: [", holders[i]);
                any = true;
            }
        put(t, "%s", any ? "]\n" : "");
        if (p->holders[h].rate)
            put(t, "    rate: %u/day\n", p->holders[h].rate);
        put(t, "    permit:%s\n", p->holders[h].n ? "" : " []");
        for (int i = 0; i < p->holders[h].n; i++)
            put_rule(t, &p->holders[h].rules[i]);
    }
    put(t, "forbid:%s\n", p->n_forbid ? "" : " []");
    for (int i = 0; i < p->n_forbid; i++)
        put_rule(t, &p->forbid[i]);
}

/* ---- a question ---- */

struct held {
    bool words[N_HOLDERS];
    bool has_aif, covers, enrolled, direct;
    char aif[160];
    uint64_t mask;
    enum policy_strength strength;
};

struct asked {
    struct bytes seg[6];
    size_t n;
    bool sound;
    struct policy_question q;
    struct held held[HELD];
    struct bytes only[3];
    int only_role[3]; /* -1: no role */
};

static struct asked random_question(void)
{
    static const char *const segs[] = {"a", "a", "a", "b", "*", "c", "a-name-longer-than-most"};
    static const struct policy_peer peers[] = {{0, {0}},
                                               {4, {192, 0, 2, 1}},
                                               {4, {192, 0, 2, 129}},
                                               {4, {10, 1, 2, 3}},
                                               {6, {0x20, 1, 0xd, 0xb8, 0x7f}},
                                               {6, {0x20, 1, 0xd, 0xb8, 0x80}},
                                               {6, {[10] = 0xff, 0xff, 192, 0, 2, 7}}};
    struct asked a = {.n = rnd(5), .sound = true};
    for (size_t i = 0; i < a.n; i++)
        a.seg[i] = bytes_str(segs[rnd(7)]);
    if (a.n && chance(10))
        a.seg[a.n++] = bytes_str("");
    if (a.n && chance(5)) {
        static const char *const bad[] = {".", "..", "", "a/b"};
        size_t i = rnd((uint32_t)a.n), b = rnd(4);
        a.seg[i] = bytes_str(bad[b]);
        a.sound = b == 2 && i > 0 && i + 1 == a.n;
        for (size_t k = 0; k + 1 < a.n; k++)
            a.sound = a.sound && a.seg[k].n > 0;
    }
    a.q = (struct policy_question){.method = (uint8_t)(1 + rnd(5)),
                                   .now_s = 1767225600 - 86400 + rnd(33 * 86400),
                                   .peer = peers[rnd(7)],
                                   .created = chance(50),
                                   .operation = (uint8_t)(chance(50) ? 0 : 1 + rnd(6)),
                                   .type = chance(20) ? -1 : type_numbers[rnd(3)],
                                   .payload_n = chance(70) ? rnd(60) : 0,
                                   .content_format = chance(50) ? content_formats[rnd(3)] : -1};
    if (chance(30))
        a.q.now_s -= a.q.now_s % 900; /* where hours begin and end */
    if (chance(20))
        a.q.query = bytes_str("q=1");
    a.q.n_held = rnd(HELD + 1);
    for (size_t i = 0; i < a.q.n_held; i++) {
        struct held *h = &a.held[i];
        for (int k = 0; k < N_HOLDERS; k++)
            h->words[k] = chance(30);
        h->covers = chance(80);
        h->enrolled = chance(30);
        h->direct = chance(20);
        h->strength = (enum policy_strength)rnd(4);
        h->has_aif = chance(30);
        h->mask = (uint64_t)rnd(16) << 32 | rnd(16);
        size_t n = 0;
        for (size_t k = 0; k < a.n; k++)
            n += (size_t)snprintf(h->aif + n, sizeof h->aif - n, "/%s",
                                  chance(80) ? (const char *)a.seg[k].p : "a");
        snprintf(h->aif + n, sizeof h->aif - n, "%s%s", a.n ? "" : "/", chance(20) ? "?q=1" : "");
    }
    a.q.n_only = chance(80) ? 0 : 1 + rnd(3);
    for (size_t i = 0; i < a.q.n_only; i++) {
        int k = (int)rnd(N_HOLDERS + 1);
        a.only[i] = bytes_str(k < N_HOLDERS ? holders[k] : "nobody");
        a.only_role[i] = k < N_ROLES ? k : -1;
    }
    return a;
}

/* ---- the model ---- */

static bool is_of_type(const struct plain_rule *r, const struct asked *a)
{
    bool listed = !r->types || a->q.operation != 1;
    for (int i = 0; i < 3; i++)
        listed = listed || (r->types >> i & 1 && type_numbers[i] == a->q.type);
    return listed;
}

static uint32_t bit_of(const struct asked *a)
{
    return a->q.operation ? POLICY_OPERATION_BIT(a->q.operation) : POLICY_METHOD_BIT(a->q.method);
}

static bool matches(const struct plain_rule *r, const struct asked *a, int i)
{
    if (!a->sound)
        return false;
    if (i == r->n)
        return r->rest || a->n == (size_t)r->n;
    if (a->n <= (size_t)i)
        return false;
    if (strcmp(r->seg[i], "*") == 0 ? a->seg[i].n == 0 : !bytes_equal_str(a->seg[i], r->seg[i]))
        return false;
    return matches(r, a, i + 1);
}

/* As a forbid does: a slash at the end does not get around it. */
static bool matches_bare(const struct plain_rule *r, const struct asked *a)
{
    struct asked bare = *a;
    bool slash = a->n > 1 && a->seg[a->n - 1].n == 0;
    bare.n -= slash;
    return matches(r, a, 0) || (slash && matches(r, &bare, 0));
}

/* 1 yes, 0 no, -1 cannot tell; `missing` as policy.h. */
static int holds(const struct cond *c, const struct asked *a, enum policy_strength strength,
                 const char **missing)
{
    time_t now = a->q.now_s;
    struct tm tm;
    localtime_r(&now, &tm);
    int minute = tm.tm_hour * 60 + tm.tm_min;
    bool hours =
        c->from < c->to ? minute >= c->from && minute < c->to : minute >= c->from || minute < c->to;
    bool days = c->day_set >> ((tm.tm_wday + 6) % 7) & 1;
    bool dates = tm.tm_year == 126 && tm.tm_mon == 0 && tm.tm_mday >= c->date_from &&
                 tm.tm_mday <= c->date_to;
    const struct policy_peer *p = &a->q.peer;
    const uint8_t *v4 = p->family == 4 ? p->addr : p->addr[10] == 0xff ? p->addr + 12 : NULL;
    bool net = c->net == 0   ? v4 && v4[0] == 192
               : c->net == 1 ? v4 && v4[0] == 192 && v4[3] >= 128
               : c->net == 2 ? p->addr[0] == 0x20 && p->addr[4] < 0x80
                             : v4 && v4[0] == 10;
    int all = 1;
    *missing = NULL;
    const struct {
        bool asked, holds, unknown;
        const char *name;
    } each[] = {{c->hours, hours, false, "hours"},
                {c->days, days, false, "days"},
                {c->dates, dates, false, "dates"},
                {c->nets, net, p->family == 0, "network"},
                {c->strength, (int)strength >= c->at_least, false, "association"}};
    for (size_t i = 0; i < 5; i++) {
        if (!each[i].asked || (each[i].holds && !each[i].unknown))
            continue;
        if (!*missing)
            *missing = each[i].name;
        if (!each[i].unknown)
            all = 0;
        else if (all)
            all = -1;
    }
    return all;
}

static bool has(const struct plain *p, int top, int wanted)
{
    if (top == wanted)
        return true;
    for (int i = 0; i < N_ROLES; i++)
        if (p->holders[top].includes[i] && has(p, i, wanted))
            return true;
    return false;
}

/* Does the holding have this role or scope, within or beyond its authority? */
static bool holds_it(const struct plain *p, const struct held *h, int wanted, bool beyond)
{
    for (int k = 0; k < N_HOLDERS; k++)
        if (h->words[k] && (h->enrolled || p->may[k]) != beyond && has(p, k, wanted))
            return true;
    return false;
}

/* Named by who asks, or nobody is. */
static bool counts(const struct plain *p, const struct asked *a, const struct held *h, int k)
{
    bool any = a->q.n_only == 0;
    for (size_t i = 0; i < a->q.n_only; i++)
        any = any || (a->only_role[i] >= 0 && holds_it(p, h, a->only_role[i], false) &&
                      has(p, a->only_role[i], k));
    return any;
}

/* The rates on the way from one to another with the fewest, UINT_MAX: none. */
static unsigned fewest(const struct plain *p, int top, int wanted)
{
    unsigned least = UINT_MAX, own = p->holders[top].rate > 0;
    if (top == wanted)
        return own;
    for (int i = 0; i < N_ROLES; i++) {
        unsigned n = p->holders[top].includes[i] ? fewest(p, i, wanted) : UINT_MAX;
        if (n < UINT_MAX && n + own < least)
            least = n + own;
    }
    return least;
}

static unsigned rates_of(const struct plain *p, const struct held *h, int wanted)
{
    unsigned least = UINT_MAX;
    for (int k = 0; k < N_HOLDERS; k++)
        if (h->words[k] && (h->enrolled || p->may[k]) && fewest(p, k, wanted) < least)
            least = fewest(p, k, wanted);
    return least;
}

static bool aif_is(const struct asked *a, const char *aif)
{
    char path[160];
    size_t n = 0;
    for (size_t k = 0; k < a->n; k++)
        n += (size_t)snprintf(path + n, sizeof path - n, "/%s", (const char *)a->seg[k].p);
    snprintf(path + n, sizeof path - n, "%s%s", a->n ? "" : "/", a->q.query.n ? "?q=1" : "");
    return a->sound && strcmp(path, aif) == 0;
}

/* What the decision may be. Each call notes one thing that some rule came to;
 * the last word is the highest, and any of those that came so high. */
struct wanted {
    enum policy_reason reason;
    struct {
        int held;
        unsigned line;
        const char *missing;
    } any[256];
    size_t n;
    bool open; /* permitted at any rate */
    unsigned ways, rates;
    uint32_t max_payload;
};

static void came_to(struct wanted *w, enum policy_reason reason, int held, unsigned line,
                    const char *missing)
{
    if (reason < w->reason)
        return;
    if (reason > w->reason)
        w->n = 0;
    w->reason = reason;
    assert_true(w->n < 256);
    w->any[w->n].held = held;
    w->any[w->n].line = line;
    w->any[w->n++].missing = missing;
}

static void permitted(struct wanted *w, const struct plain_rule *r, const struct asked *a, int held,
                      unsigned line, unsigned role_rates)
{
    bool listed = !r || !r->formats || (!a->q.payload_n && a->q.content_format < 0);
    for (int i = 0; i < 3; i++)
        listed = listed || (r->formats >> i & 1 && content_formats[i] == a->q.content_format);
    if (!listed) {
        came_to(w, POLICY_FORMAT, held, line, NULL);
    } else if (r && r->sized && a->q.payload_n > r->max_payload) {
        came_to(w, POLICY_PAYLOAD, held, line, NULL);
        w->max_payload = r->max_payload > w->max_payload ? r->max_payload : w->max_payload;
    } else {
        unsigned n = role_rates + (r && r->rate);
        came_to(w, POLICY_PERMITTED, held, line, NULL);
        w->open = w->open || n == 0;
        w->ways++;
        w->rates += n;
    }
}

static void model_aif(const struct plain *p, const struct asked *a, int i, struct wanted *w)
{
    const struct held *h = &a->held[i];
    uint32_t bit = bit_of(a);
    if (!h->has_aif || !aif_is(a, h->aif))
        return;
    uint32_t may = h->enrolled                                      ? 0x7f
                   : p->has_may_path && matches(&p->may_path, a, 0) ? p->may_path.methods
                                                                    : 0;
    uint32_t fixed = (uint32_t)h->mask, dynamic = (uint32_t)(h->mask >> 32);
    bool made = a->q.created;
    if (may & bit & (fixed | (made ? dynamic : 0)))
        permitted(w, h->enrolled || !is_limited(&p->may_path) ? NULL : &p->may_path, a, i,
                  h->enrolled || !is_limited(&p->may_path) ? 0 : p->may_path.line, 0);
    else if (may & bit & dynamic)
        came_to(w, POLICY_CONDITION, i, 0, "created");
    else if (may & (fixed | dynamic))
        came_to(w, POLICY_NOT_METHOD, i, 0, NULL);
    if (~may & bit & (fixed | (made ? dynamic : 0)))
        came_to(w, POLICY_BEYOND_AUTHORITY, i, 0, NULL);
}

/* Its own privileges permit it; its authority may not. */
static void model_direct(const struct plain *p, const struct asked *a, int i, struct wanted *w)
{
    const struct plain_rule *may = &p->may_path;
    if (!a->held[i].direct || !a->sound)
        return;
    if (!a->held[i].enrolled && p->has_may_path && matches(may, a, 0) && actions(may) & bit_of(a) &&
        is_of_type(may, a))
        permitted(w, may, a, i, may->line, 0);
    else
        came_to(w, POLICY_BEYOND_AUTHORITY, i, 0, NULL);
}

static bool has_cond(const struct cond *c)
{
    return c->hours || c->days || c->dates || c->nets || c->strength;
}

static bool same_pattern(const struct plain_rule *r, const struct plain_rule *s)
{
    bool same = r->n == s->n && r->rest == s->rest;
    for (int i = 0; same && i < r->n; i++)
        same = strcmp(r->seg[i], s->seg[i]) == 0;
    return same;
}

/* Beside a rule of the same holder and path that has neither conditions nor
 * limits, no other is a way of its own. */
static bool is_redundant(const struct plain_holder *h, int m, uint32_t bit)
{
    const struct plain_rule *r = &h->rules[m];
    bool open = !is_limited(r) && !has_cond(&r->when);
    for (int i = 0; i < h->n; i++) {
        const struct plain_rule *s = &h->rules[i];
        if (i != m && (!open || i < m) && actions(s) & bit && !is_limited(s) &&
            !has_cond(&s->when) && same_pattern(r, s))
            return true;
    }
    return false;
}

static void model(const struct plain *p, const struct asked *a, struct wanted *w)
{
    const char *missing;
    uint32_t bit = bit_of(a);
    *w = (struct wanted){0};
    came_to(w, POLICY_NO_GRANT, -1, 0, NULL);
    enum policy_strength strongest = POLICY_STRENGTH_NONE;
    for (int i = 0; i < (int)a->q.n_held; i++) {
        const struct held *h = &a->held[i];
        if (h->strength > strongest)
            strongest = h->strength;
        came_to(w, h->covers ? POLICY_NOT_RESOURCE : POLICY_NOT_AUDIENCE, i, 0, NULL);
        if (!h->covers)
            continue;
        model_aif(p, a, i, w);
        model_direct(p, a, i, w);
        for (int k = 0; k < N_HOLDERS; k++)
            for (int m = 0; m < p->holders[k].n; m++) {
                const struct plain_rule *r = &p->holders[k].rules[m];
                if (!matches(r, a, 0))
                    continue;
                if (holds_it(p, h, k, true) && actions(r) & bit)
                    came_to(w, POLICY_BEYOND_AUTHORITY, i, r->line, NULL);
                if (!holds_it(p, h, k, false) || !counts(p, a, h, k))
                    continue;
                if (!(actions(r) & bit))
                    came_to(w, POLICY_NOT_METHOD, i, r->line, NULL);
                else if (!is_of_type(r, a))
                    came_to(w, POLICY_NOT_TYPE, i, r->line, NULL);
                else if (holds(&r->when, a, h->strength, &missing) == 1 &&
                         is_redundant(&p->holders[k], m, bit))
                    continue;
                else if (holds(&r->when, a, h->strength, &missing) == 1)
                    permitted(w, r, a, i, r->line, rates_of(p, h, k));
                else
                    came_to(w, POLICY_CONDITION, i, r->line, missing);
            }
    }
    for (int m = 0; a->q.n_held && m < p->n_forbid; m++) {
        const struct plain_rule *r = &p->forbid[m];
        bool excepted = false;
        for (size_t i = 0; r->unless >= 0 && i < a->q.n_held; i++)
            excepted =
                excepted || (a->held[i].covers && holds_it(p, &a->held[i], r->unless, false) &&
                             counts(p, a, &a->held[i], r->unless));
        static const unsigned own_methods[] = {0, 2, 1, 3, 4, 2, 1}; /* of operations */
        bool about =
            actions(r) & POLICY_METHOD_BIT(a->q.method) ||
            (a->q.operation && actions(r) & POLICY_METHOD_BIT(own_methods[a->q.operation])) ||
            (a->q.operation && actions(r) & bit && (a->q.type < 0 || is_of_type(r, a)));
        if (excepted || !matches_bare(r, a) || !about ||
            holds(&r->when, a, strongest, &missing) == 0)
            continue;
        if (w->reason != POLICY_FORBIDDEN)
            w->n = 0;
        w->max_payload = 0;
        w->reason = POLICY_FORBIDDEN; /* above a permit too */
        w->any[w->n].held = -1;
        w->any[w->n].line = r->line;
        w->any[w->n++].missing = NULL;
    }
    /* An operation that deletes what stands above something not to be deleted. */
    for (int m = 0; a->q.operation == 4 && w->reason >= POLICY_NOT_RESOURCE &&
                    w->reason != POLICY_FORBIDDEN && m < p->n_forbid;
         m++) {
        struct plain_rule above = p->forbid[m];
        if ((size_t)above.n <= a->n || !(actions(&above) & POLICY_DELETES))
            continue;
        above.n = (int)a->n;
        above.rest = false;
        if (!matches(&above, a, 0))
            continue;
        w->reason = POLICY_FORBIDDEN;
        w->max_payload = 0;
        w->n = 1;
        w->any[0].held = -1;
        w->any[0].line = 0;
        w->any[0].missing = NULL;
    }
}

/* ---- both ---- */

/* Every way is offered, with all its rates, unless one has none. */
static bool offers_agree(const struct wanted *w, const struct policy_decision *d)
{
    unsigned rates = 0;
    for (uint8_t i = 0; i < d->n_offers; i++)
        rates += d->offers[i].n_rates;
    if (d->verdict == POLICY_DENY || w->open)
        return d->n_offers == 0;
    if (w->ways > POLICY_OFFERS_MAX)
        return d->n_offers == POLICY_OFFERS_MAX;
    return d->n_offers == w->ways && rates == w->rates;
}

static bool agrees(const struct wanted *w, const struct policy_decision *d)
{
    if (!offers_agree(w, d) || (d->reason == POLICY_PAYLOAD && d->max_payload != w->max_payload))
        return false;
    if (d->reason != w->reason || (d->verdict == POLICY_PERMIT) != (w->reason == POLICY_PERMITTED))
        return false;
    for (size_t i = 0; i < w->n; i++)
        if (w->any[i].held == d->held && w->any[i].line == d->rule.line &&
            (w->any[i].missing == d->missing ||
             (w->any[i].missing && d->missing && strcmp(w->any[i].missing, d->missing) == 0)))
            return true;
    return false;
}

static struct policy_grant *compile(struct policy *p, const struct held *h)
{
    char words[64];
    size_t n = 0;
    words[0] = 0;
    for (int k = 0; k < N_HOLDERS; k++)
        if (h->words[k])
            n += (size_t)snprintf(words + n, sizeof words - n, "%s%s", n ? " " : "", holders[k]);
    struct policy_aif aif = {bytes_str(h->aif), h->mask};
    struct policy_claims c = {.authority = h->enrolled ? -1 : 0,
                              .scope = bytes_of(words, n),
                              .aif = &aif,
                              .n_aif = h->has_aif};
    struct policy_grant *g = policy_grant_new(p, &c, NULL);
    assert_non_null(g);
    return g;
}

static void ask(struct policy *p, const struct plain *plain, struct asked *a, const char *text,
                unsigned number, unsigned *seen)
{
    struct policy_holding holding[HELD];
    for (size_t i = 0; i < a->q.n_held; i++)
        holding[i] = (struct policy_holding){compile(p, &a->held[i]), a->held[i].covers,
                                             a->held[i].strength, a->held[i].direct};
    a->q.only = a->only;
    a->q.path = a->seg;
    a->q.n_path = a->n;
    a->q.held = holding;
    struct policy_decision d;
    struct wanted w;
    policy_decide(p, &a->q, &d);
    model(plain, a, &w);
    seen[w.reason]++;
    if (!agrees(&w, &d)) {
        char words[2048];
        struct buf b = buf_on(words, sizeof words);
        policy_explain(p, &a->q, &d, &b);
        print_error(
            "%s\nseed %llu, policy %u: got held %d line %u %s:\n%.*s\nwanted %s, held %d line %u"
            " %s\n",
            text, (unsigned long long)seed, number, d.held, d.rule.line,
            d.missing ? d.missing : "-", (int)b.n, words, policy_reason_str(w.reason),
            w.any[0].held, w.any[0].line, w.any[0].missing ? w.any[0].missing : "-");
        fail();
    }
    /* The methods of discovery are the same judgement, seven times. */
    bool would =
        d.verdict == POLICY_PERMIT || d.reason == POLICY_FORMAT || d.reason == POLICY_PAYLOAD;
    if (a->q.operation)
        assert_int_equal((policy_operations(p, &a->q) & bit_of(a)) != 0, would);
    else
        assert_int_equal((policy_methods(p, &a->q) & bit_of(a)) != 0, would);
    /* Naming roles never widens. */
    struct policy_question all = a->q;
    struct policy_decision without;
    all.n_only = 0;
    policy_decide(p, &all, &without);
    assert_true(d.verdict == POLICY_DENY || without.verdict == POLICY_PERMIT);
    for (size_t i = 0; i < a->q.n_held; i++) {
        const struct policy_grant *g = holding[i].grant;
        policy_grant_free((struct policy_grant *)(uintptr_t)g);
    }
}

static void same_as_model(void **state)
{
    (void)state;
    unsigned seen[POLICY_PERMITTED + 1] = {0};
    random_state = seed;
    for (unsigned i = 0; i < POLICIES; i++) {
        static struct text t;
        static char diag[8192];
        struct plain plain = random_policy();
        t.n = t.line = 0;
        put_policy(&t, &plain);
        struct buf b = buf_on(diag, sizeof diag);
        struct policy *p = policy_load("m.yaml", bytes_of(t.s, t.n), "0", &b);
        if (!p)
            fail_msg("%s\nseed %llu, policy %u: %.*s", t.s, (unsigned long long)seed, i, (int)b.n,
                     diag);
        setenv("TZ", plain.zone, 1);
        tzset();
        for (unsigned k = 0; k < QUESTIONS; k++) {
            struct asked a = random_question();
            ask(p, &plain, &a, t.s, i, seen);
        }
        policy_unref(p);
    }
    for (int r = POLICY_NO_GRANT; r <= POLICY_PERMITTED; r++) /* the random is worth something */
        assert_true(seen[r] > POLICIES * QUESTIONS / 500);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
