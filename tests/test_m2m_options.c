/* proxy/m2m_options, m2m_read, m2m_cse: both numberings of the oneM2M options,
 * what a request asks by them, and what its address is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "../proxy/m2m_read.h"

enum { NOW_S = 1780315200 }; /* 2026-06-01T12:00:00Z */

/* Numbers as TS-0008 and its older versions have them, apart from the product's
 * own table. */
static const struct known {
    enum m2m_param param;
    const char *name;
    uint16_t current, legacy;
    const char *sound; /* a value of its form */
    const char *longest;
    bool number, in_request;
} known[] = {
    {M2M_FR, "FR", 279, 256, "Cmeter", "text", false, true},
    {M2M_RQI, "RQI", 283, 257, "r1", "text", false, true},
    {M2M_OT, "OT", 259, 259, "20260601T120000", NULL, false, true},
    {M2M_RQET, "RQET", 291, 260, "20260601T120500", NULL, false, true},
    {M2M_RSET, "RSET", 295, 261, "20260601T120500", NULL, false, true},
    {M2M_OET, "OET", 299, 262, "20260601T120500", NULL, false, true},
    {M2M_RTURI, "RTURI", 263, 263, "coap://192.0.2.1/in", "text", false, true},
    {M2M_EC, "EC", 303, 264, "\x02", "1", true, true},
    {M2M_RSC, "RSC", 307, 265, "\x07\xd1", "2", true, false},
    {M2M_GID, "GID", 311, 266, "g1", "text", false, true},
    {M2M_TY, "TY", 267, 267, "\x02", "2", true, true},
    {M2M_CTO, "CTO", 319, 268, "\x01", "2", true, false},
    {M2M_CTS, "CTS", 323, 269, "\x01", "2", true, false},
    {M2M_ATI, "ATI", 327, 270, "l1:t1+l2:t2", "text", false, false},
    {M2M_RVI, "RVI", 271, 271, "2a", NULL, false, true},
    {M2M_VSI, "VSI", 331, 272, "v", "text", false, true},
    {M2M_GTM, "GTM", 335, 273, "/cse/a /cse/b", NULL, false, true},
    {M2M_AUS, "AUS", 339, 274, "s", "text", false, true},
    {M2M_ASRI, "ASRI", 275, 275, "i", "text", false, true},
    {M2M_OMR, "OMR", 343, 0, "o", "text", false, true},
    {M2M_PRPI, "PRPI", 347, 0, "p", "text", false, true},
    {M2M_MSU, "MSU", 351, 0, "u", "text", false, true},
};
enum { KNOWN = sizeof known / sizeof *known };

static uint16_t number_of(const struct known *k, enum m2m_numbering n)
{
    return n == M2M_CURRENT ? k->current : k->legacy;
}

static struct bytes text(const char *s)
{
    return bytes_str(s);
}

static void begin(struct msg *m, uint8_t code)
{
    memset(m, 0, sizeof *m);
    m->code = code;
}

static void add(struct msg *m, uint16_t number, struct bytes value)
{
    assert_true(msg_add(m, number, value));
}

/* A sound answer, or request, with one option. */
static bool splits(const struct known *k, enum m2m_numbering n, struct bytes value, bool request,
                   struct m2m_values *v)
{
    struct msg m, rest;
    begin(&m, request ? MSG_GET : MSG_CODE(2, 5));
    add(&m, number_of(k, n), value);
    add(&m, OPT_CONTENT_FORMAT, BYTES_LIT("\x32"));
    bool ok = m2m_split(&m, n, v, &rest);
    assert_int_equal(rest.n_options, 1);
    return ok;
}

static void each_option(void **state)
{
    (void)state;
    char storage[600];
    memset(storage, 'x', sizeof storage);
    for (size_t i = 0; i < KNOWN; i++)
        for (enum m2m_numbering n = M2M_CURRENT; n <= M2M_LEGACY; n++) {
            const struct known *k = &known[i];
            struct m2m_values v;
            assert_int_equal(m2m_number(n, k->param), number_of(k, n));
            assert_string_equal(m2m_param_name(k->param), k->name);
            if (!number_of(k, n))
                continue;
            assert_true(splits(k, n, text(k->sound), false, &v));
            assert_true(m2m_has(&v, k->param));
            assert_int_equal(splits(k, n, text(k->sound), true, &v), k->in_request);
            /* each of these is one step from sound */
            if (!k->longest) {
                assert_false(splits(k, n, BYTES_NONE, false, &v) && k->param != M2M_GTM);
            } else if (strcmp(k->longest, "text") == 0) {
                assert_true(splits(k, n, bytes_of(storage, 255), false, &v));
                assert_false(splits(k, n, bytes_of(storage, 256), false, &v));
                assert_true(splits(k, n, BYTES_NONE, false, &v));
                assert_false(splits(k, n, BYTES_LIT("a\nb"), false, &v));
                assert_false(splits(k, n, BYTES_LIT("a\0b"), false, &v));
                assert_false(splits(k, n, BYTES_LIT("a\xff"), false, &v));
            } else {
                size_t most = (size_t)atoi(k->longest);
                assert_true(splits(k, n, bytes_of("\0\x01\x02", most), false, &v));
                assert_false(splits(k, n, bytes_of("\0\x01\x02", most + 1), false, &v));
            }
        }
}

static void forms(void **state)
{
    static const struct {
        const char *name;
        enum m2m_param param;
        const char *value;
        bool sound;
    } rows[] = {
        {"a time", M2M_OT, "20260601T120000", true},
        {"a time with a zone", M2M_OT, "20260601T120000Z", false},
        {"a time without its T", M2M_OT, "20260601 120000", false},
        {"a time of letters", M2M_OT, "2026o601T120000", false},
        {"a time with a fraction", M2M_RQET, "20260601T120000,5", false},
        {"a relative time", M2M_RQET, "5000", false},
        {"release 1", M2M_RVI, "1", true},
        {"release 2a", M2M_RVI, "2a", true},
        {"release 10", M2M_RVI, "10", true},
        {"release a", M2M_RVI, "a", false},
        {"release 2A", M2M_RVI, "2A", false},
        {"release 2.0", M2M_RVI, "2.0", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct m2m_values v;
        const struct known *k = &known[rows[i].param];
        if (splits(k, M2M_CURRENT, text(rows[i].value), false, &v) != rows[i].sound)
            fail_msg("%s", rows[i].name);
    }
}

static void repetition_and_mixing(void **state)
{
    struct msg m, rest;
    struct m2m_values v;
    (void)state;
    begin(&m, MSG_GET);
    add(&m, 283, text("r1"));
    add(&m, 279, text("Ca"));
    add(&m, 271, text("3"));
    assert_true(m2m_split(&m, M2M_CURRENT, &v, &rest));
    assert_int_equal(m2m_recognise(&m), M2M_SEEN_CURRENT);
    add(&m, 283, text("r1")); /* the same, but twice */
    assert_false(m2m_split(&m, M2M_CURRENT, &v, &rest));
    assert_true(bytes_equal_str(v.of[M2M_RQI], "r1"));
    m.n_options--;
    m.options[m.n_options - 1].number = 283;

    begin(&m, MSG_GET);
    add(&m, 283, text("r1"));
    add(&m, 271, text("3"));
    assert_true(m2m_split(&m, M2M_CURRENT, &v, &rest));
    add(&m, 256, text("Ca")); /* of the other numbering */
    assert_int_equal(m2m_recognise(&m), M2M_SEEN_BOTH);
    assert_false(m2m_split(&m, M2M_CURRENT, &v, &rest));
    assert_false(m2m_split(&m, M2M_LEGACY, &v, &rest));

    begin(&m, MSG_GET);
    add(&m, 271, text("3"));
    add(&m, 267, text("\x02"));
    assert_int_equal(m2m_recognise(&m), M2M_SEEN_NONE);
    add(&m, 258, BYTES_LIT("\x1a")); /* No-Response: of neither */
    assert_int_equal(m2m_recognise(&m), M2M_SEEN_NONE);
    assert_true(m2m_split(&m, M2M_LEGACY, &v, &rest));
    assert_int_equal(rest.n_options, 1);
}

static uint64_t seed = 20261122;

static uint32_t roll(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

/* What one numbering says goes into the other and back unchanged. */
static void there_and_back(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct msg m, rest, other, rest2, back;
        struct m2m_values v, w;
        enum m2m_numbering from = roll(2) ? M2M_LEGACY : M2M_CURRENT;
        enum m2m_numbering to = from == M2M_LEGACY ? M2M_CURRENT : M2M_LEGACY;
        bool later = false;
        begin(&m, MSG_CODE(2, 5));
        add(&m, OPT_CONTENT_FORMAT, BYTES_LIT("\x32"));
        for (size_t i = 0; i < KNOWN; i++)
            if (number_of(&known[i], from) && roll(3) == 0) {
                add(&m, number_of(&known[i], from), text(known[i].sound));
                later |= !number_of(&known[i], to);
            }
        assert_true(m2m_split(&m, from, &v, &rest));
        other = rest;
        /* what the other has no number for is not left out */
        assert_int_equal(m2m_join(&v, to, &other), !later);
        if (later)
            continue;
        assert_true(m2m_split(&other, to, &w, &rest2));
        back = rest2;
        assert_true(m2m_join(&w, from, &back));
        assert_int_equal(back.n_options, m.n_options);
        for (size_t i = 0; i < m.n_options; i++) {
            assert_int_equal(back.options[i].number, m.options[i].number);
            assert_true(bytes_equal(back.options[i].value, m.options[i].value));
        }
    }
}

/* ---- requests ---- */

struct asks {
    const char *name;
    uint8_t method;
    int ty; /* -1: none */
    const char *query;
    enum m2m_operation op; /* M2M_NONE: refused, with */
    uint8_t code;
    uint16_t rsc;
};

#define REFUSED M2M_NONE, MSG_CODE(4, 0), 4000

static const struct asks asks[] = {
    {"retrieve", MSG_GET, -1, "", M2M_RETRIEVE, 0, 0},
    {"create", MSG_POST, 3, "", M2M_CREATE, 0, 0},
    {"notify", MSG_POST, -1, "", M2M_NOTIFY, 0, 0},
    {"update", MSG_PUT, -1, "", M2M_UPDATE, 0, 0},
    {"delete", MSG_DELETE, -1, "", M2M_DELETE, 0, 0},
    {"fetch", MSG_FETCH, -1, "", M2M_NONE, MSG_CODE(4, 5), 4005},
    {"patch", MSG_PATCH, -1, "", M2M_NONE, MSG_CODE(4, 5), 4005},
    {"discovery", MSG_GET, -1, "fu=1&ty=3", M2M_DISCOVERY, 0, 0},
    {"discovery on demand", MSG_GET, -1, "fu=3", M2M_DISCOVERY, 0, 0},
    {"conditional retrieve", MSG_GET, -1, "fu=2&crb=20260601T120000", M2M_RETRIEVE, 0, 0},
    {"conditional delete", MSG_DELETE, -1, "fu=2", M2M_DELETE, 0, 0},
    {"filter of an unknown use", MSG_GET, -1, "fu=4", REFUSED},
    {"filter of no use", MSG_GET, -1, "fu=", REFUSED},
    {"filter used twice", MSG_GET, -1, "fu=1&fu=2", REFUSED},
    {"discovery by UPDATE", MSG_PUT, -1, "fu=1", REFUSED},
    {"discovery by DELETE", MSG_DELETE, -1, "fu=1", REFUSED},
    {"op create", MSG_POST, 3, "op=1", M2M_CREATE, 0, 0},
    {"op retrieve", MSG_POST, -1, "op=2", M2M_RETRIEVE, 0, 0},
    {"op update", MSG_POST, -1, "op=3", M2M_UPDATE, 0, 0},
    {"op delete", MSG_POST, -1, "op=4", M2M_DELETE, 0, 0},
    {"op notify", MSG_POST, -1, "op=5", M2M_NOTIFY, 0, 0},
    {"op discovery", MSG_POST, -1, "op=2&fu=1", M2M_DISCOVERY, 0, 0},
    {"op and its own method", MSG_GET, -1, "op=2", M2M_RETRIEVE, 0, 0},
    {"op against its method", MSG_GET, -1, "op=4", REFUSED},
    {"op that is none", MSG_POST, -1, "op=6", REFUSED},
    {"op 0", MSG_POST, -1, "op=0", REFUSED},
    {"op with a zero in front", MSG_POST, -1, "op=04", REFUSED},
    {"op without a value", MSG_POST, -1, "op", REFUSED},
    {"op twice", MSG_POST, -1, "op=2&op=2", REFUSED},
    {"op twice, otherwise", MSG_POST, -1, "op=2&op=4", REFUSED},
    {"op in disguise", MSG_GET, -1, "%6fp=4", REFUSED},
    {"create of no type", MSG_POST, -1, "op=1", REFUSED},
    {"notify of a type", MSG_POST, 3, "op=5", REFUSED},
    {"retrieve of a type", MSG_GET, 3, "", REFUSED},
    {"delete of a type", MSG_POST, 2, "op=4", REFUSED},
    {"not blocking", MSG_POST, 3, "op=1&rt=2", M2M_CREATE, 0, 0},
    {"of no response type", MSG_GET, -1, "rt=5", REFUSED},
    {"of a response type in words", MSG_POST, -1, "op=2&rt=3x", REFUSED},
    {"its children, too", MSG_GET, -1, "rcn=4", M2M_RETRIEVE, 0, 0},
    {"result content in octal", MSG_GET, -1, "rcn=04", REFUSED},
    {"result content twice", MSG_GET, -1, "rcn=1&rcn=4", REFUSED},
    {"no result content", MSG_GET, -1, "rcn=", REFUSED},
    {"response type twice", MSG_GET, -1, "rt=1&rt=3", REFUSED},
    {"a type to be found", MSG_GET, -1, "ty=3&ty=4", M2M_RETRIEVE, 0, 0},
    {"a type to be deleted", MSG_DELETE, -1, "fu=2&ty=4", M2M_DELETE, 0, 0},
    {"a type to be created", MSG_POST, 3, "ty=3", REFUSED},
    {"a type to be told", MSG_POST, -1, "ty=2", REFUSED},
    {"a semantic query", MSG_GET, -1, "sqi=1&smf=x", M2M_RETRIEVE, 0, 0},
    {"semantic discovery", MSG_GET, -1, "sqi=0&fu=1", M2M_DISCOVERY, 0, 0},
    {"a semantic query, and discovery", MSG_GET, -1, "sqi=1&fu=1", REFUSED},
    {"semantic perhaps", MSG_GET, -1, "sqi=2", REFUSED},
    {"filter in another case", MSG_GET, -1, "FU=1", REFUSED},
    {"roles in another case", MSG_GET, -1, "Rids=r1@x", REFUSED},
    {"an originator in the query", MSG_GET, -1, "fr=Cother", REFUSED},
    {"an address in the query", MSG_GET, -1, "to=cb/other", REFUSED},
    {"a label", MSG_GET, -1, "lbl=x", M2M_RETRIEVE, 0, 0},
    {"a fragment in a label", MSG_GET, -1, "lbl=x#y", REFUSED},
    {"an unknown parameter", MSG_GET, -1, "lbl=a+b&lbl=c", M2M_RETRIEVE, 0, 0},
    {"roles", MSG_GET, -1, "rids=r1@x+r2@x", M2M_RETRIEVE, 0, 0},
    {"no roles", MSG_GET, -1, "rids=", REFUSED},
    {"roles with a gap", MSG_GET, -1, "rids=r1@x++r2@x", REFUSED},
    {"roles twice", MSG_GET, -1, "rids=r1@x&rids=r2@x", REFUSED},
    {"17 roles", MSG_GET, -1, "rids=1+2+3+4+5+6+7+8+9+a+b+c+d+e+f+g+h", REFUSED},
    {"16 roles", MSG_GET, -1, "rids=1+2+3+4+5+6+7+8+9+a+b+c+d+e+f+g", M2M_RETRIEVE, 0, 0},
    {"token IDs", MSG_GET, -1, "tids=t1&ltids=l1+l2", M2M_RETRIEVE, 0, 0},
    {"local token IDs that end early", MSG_GET, -1, "ltids=l1+", REFUSED},
    {"asks for a token", MSG_GET, -1, "tqi=1", M2M_RETRIEVE, 0, 0},
    {"asks for none", MSG_GET, -1, "tqi=false", M2M_RETRIEVE, 0, 0},
    {"asks perhaps", MSG_GET, -1, "tqi=2", REFUSED},
    {"a token in three parts", MSG_GET, -1, "tkns=aaa.b&tkns=bb&tkns=.ccc", M2M_RETRIEVE, 0, 0},
    {"no token", MSG_GET, -1, "tkns=", REFUSED},
    {"five tokens", MSG_GET, -1, "tkns=a+b&tkns=+c+d+e", REFUSED},
};

static void put_request(struct msg *m, const struct asks *a, uint8_t ty[2], char *query)
{
    begin(m, a->method);
    add(m, OPT_URI_PATH, text("cse"));
    add(m, 283, text("r1"));
    add(m, 271, text("3"));
    add(m, 279, text("Cmeter"));
    ty[0] = (uint8_t)a->ty;
    if (a->ty >= 0)
        add(m, 267, bytes_of(ty, 1));
    strcpy(query, a->query);
    for (char *q = strtok(query, "&"); q; q = strtok(NULL, "&"))
        add(m, OPT_URI_QUERY, text(q));
}

static struct m2m_read r;

static void operations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        const struct asks *a = &asks[i];
        struct msg m;
        struct m2m_fault why = {0, 0, ""};
        uint8_t ty[2];
        char query[200];
        put_request(&m, a, ty, query);
        bool ok = m2m_read(&m, M2M_CLIENT, M2M_LEGACY, NOW_S, &r, &why);
        if (ok != (a->op != M2M_NONE) || (ok && r.request.operation != a->op))
            fail_msg("%s: operation %d, %s", a->name, (int)r.request.operation, why.why);
        if (!ok && (why.code != a->code || why.rsc != a->rsc))
            fail_msg("%s: code %x, RSC %d (%s)", a->name, why.code, why.rsc, why.why);
        assert_true(bytes_equal_str(r.values.of[M2M_RQI], "r1")); /* in any case, for the answer */
    }
}

/* What the CSE gets of a request that says its operation by `op`. */
static void by_its_own_method(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t method;
        int ty;
        const char *query, *payload;
        uint8_t sent; /* 0: refused */
        size_t queries;
    } rows[] = {
        {"create", MSG_POST, 3, "op=1&rcn=0", "{}", MSG_POST, 1},
        {"retrieve", MSG_POST, -1, "rcn=1&op=2", "", MSG_GET, 1},
        {"retrieve with content", MSG_POST, -1, "rcn=1&op=2", "{}", 0, 0},
        {"discovery", MSG_POST, -1, "fu=1&op=2&lbl=x", "", MSG_GET, 2},
        {"update", MSG_POST, -1, "op=3", "{}", MSG_PUT, 0},
        {"delete", MSG_POST, -1, "op=4", "", MSG_DELETE, 0},
        {"delete with content", MSG_POST, -1, "op=4", "{}", 0, 0},
        {"notify", MSG_POST, -1, "op=5", "{}", MSG_POST, 0},
        {"its own already", MSG_PUT, -1, "op=3", "{}", MSG_PUT, 0},
        {"blocking", MSG_POST, -1, "op=4&rt=3", "", MSG_DELETE, 1},
        {"not blocking", MSG_POST, -1, "op=4&rt=1", "", MSG_POST, 2},
        {"not blocking, discovery", MSG_POST, -1, "op=2&fu=1&rt=2", "", MSG_POST, 3},
        {"not blocking, with content", MSG_POST, -1, "op=4&rt=1", "{}", 0, 0},
        {"not blocking update", MSG_POST, -1, "op=3&rt=2", "{}", MSG_POST, 2},
        {"not blocking notify", MSG_POST, -1, "op=5&rt=2", "{}", MSG_POST, 2},
        {"no op", MSG_POST, -1, "rt=3", "{}", MSG_POST, 1},
        {"get", MSG_GET, -1, "", "", MSG_GET, 0},
        {"get with content", MSG_GET, -1, "", "{}", 0, 0},
        {"delete by its method, with content", MSG_DELETE, -1, "", "{}", 0, 0},
        {"another that begins so", MSG_POST, -1, "opt=1", "{}", MSG_POST, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct asks a = {rows[i].name, rows[i].method, rows[i].ty, rows[i].query, M2M_NONE, 0, 0};
        struct msg m;
        struct m2m_fault why = {0, 0, ""};
        uint8_t ty[2];
        char query[200];
        put_request(&m, &a, ty, query);
        m.payload = text(rows[i].payload);
        bool ok = m2m_read(&m, M2M_CLIENT, M2M_LEGACY, NOW_S, &r, &why);
        if (ok != (rows[i].sent != 0) || (ok && r.plain.code != rows[i].sent))
            fail_msg("%s: method %d, %s", rows[i].name, r.plain.code, why.why);
        size_t queries = 0;
        for (size_t k = 0; ok && k < r.plain.n_options; k++)
            queries += r.plain.options[k].number == OPT_URI_QUERY;
        if (ok && queries != rows[i].queries)
            fail_msg("%s: %zu queries", rows[i].name, queries);
    }
}

static void what_is_below(void **state)
{
    static const struct {
        const char *query;
        bool below;
    } rows[] = {
        {"", false},           {"rcn=0", false},
        {"rcn=1", false},      {"rcn=2", false},
        {"rcn=3", false},      {"rcn=4", true},
        {"rcn=5", true},       {"rcn=6", true},
        {"rcn=7", false},      {"rcn=8", true},
        {"rcn=9", false},      {"rcn=10", false},
        {"rcn=11", true},      {"rcn=99", true},
        {"fu=1", false},       {"fu=1&rcn=6", false},
        {"fu=1&rcn=5", false}, {"fu=1&rcn=4", true},
        {"fu=1&rcn=8", true},  {"fu=2&rcn=8", true},
        {"sqi=1", true},       {"sqi=true&rcn=1", true},
        {"sqi=0", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct asks a = {"below", MSG_GET, -1, rows[i].query, M2M_RETRIEVE, 0, 0};
        struct msg m;
        struct m2m_fault why;
        uint8_t ty[2];
        char query[200];
        put_request(&m, &a, ty, query);
        assert_true(m2m_read(&m, M2M_CLIENT, M2M_LEGACY, NOW_S, &r, &why));
        if (r.request.below != rows[i].below)
            fail_msg("%s", rows[i].query);
    }
}

static const struct msg_option *nth_query(const struct msg *m, size_t n)
{
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number == OPT_URI_QUERY && n-- == 0)
            return &m->options[i];
    return NULL;
}

static void what_ends_here(void **state)
{
    static const struct asks a = {
        "all of them",
        MSG_GET,
        -1,
        "rcn=1&rids=r@x&tids=t1&ltids=l1&tkns=aa.&tkns=bb+cc&tqi=1&lbl=x&rt=3",
        M2M_RETRIEVE,
        0,
        0};
    struct msg m;
    struct m2m_fault why;
    uint8_t ty[2];
    char query[200];
    (void)state;
    put_request(&m, &a, ty, query);
    add(&m, OPT_OBSERVE, BYTES_NONE);
    assert_true(m2m_read(&m, M2M_CLIENT, M2M_LEGACY, NOW_S, &r, &why));
    assert_true(bytes_equal_str(nth_query(&r.plain, 0)->value, "rcn=1"));
    assert_true(bytes_equal_str(nth_query(&r.plain, 1)->value, "lbl=x"));
    assert_true(bytes_equal_str(nth_query(&r.plain, 2)->value, "rt=3"));
    assert_null(nth_query(&r.plain, 3));
    assert_null(msg_find(&r.plain, OPT_OBSERVE));
    assert_null(msg_find(&r.plain, 283));
    const struct m2m_request *q = &r.request;
    assert_int_equal(q->n_tkns, 2);
    assert_true(bytes_equal_str(q->tkns[0], "aa.bb"));
    assert_true(bytes_equal_str(q->tkns[1], "cc"));
    assert_int_equal(q->n_rids, 1);
    assert_true(bytes_equal_str(q->tids[0], "t1"));
    assert_true(bytes_equal_str(q->ltids[0], "l1"));
    assert_true(q->wants_dynamic);
    assert_true(q->has_originator && bytes_equal_str(q->originator, "Cmeter"));
}

static void what_is_needed(void **state)
{
    static const struct {
        const char *name, *rqi, *rvi, *rqet, *format;
        enum m2m_sender from;
        uint8_t code;
        uint16_t rsc;
    } rows[] = {
        {"all there", "r1", "3", NULL, NULL, M2M_CLIENT, 0, 0},
        {"no RQI", NULL, "3", NULL, NULL, M2M_CLIENT, MSG_CODE(4, 0), 4000},
        {"empty RQI", "", "3", NULL, NULL, M2M_CLIENT, MSG_CODE(4, 0), 4000},
        {"no RVI", "r1", NULL, NULL, NULL, M2M_CLIENT, MSG_CODE(4, 0), 4000},
        {"no RVI, of a CSE", "r1", NULL, NULL, NULL, M2M_CSE, 0, 0},
        {"no RQI, of a CSE", NULL, "3", NULL, NULL, M2M_CSE, MSG_CODE(4, 0), 4000},
        {"in time", "r1", "3", "20260601T120001", NULL, M2M_CLIENT, 0, 0},
        {"too late", "r1", "3", "20260601T120000", NULL, M2M_CLIENT, MSG_CODE(5, 4), 4008},
        {"no such month", "r1", "3", "20261301T120001", NULL, M2M_CLIENT, MSG_CODE(4, 0), 4000},
        {"JSON", "r1", "3", NULL, "\x32", M2M_CLIENT, 0, 0},
        {"a primitive", "r1", "3", NULL, "\x27\x17", M2M_CLIENT, MSG_CODE(4, 15), 4015},
        {"a response primitive", "r1", "3", NULL, "\x27\x19", M2M_CLIENT, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct msg m;
        struct m2m_fault why = {0, 0, ""};
        begin(&m, MSG_POST);
        if (rows[i].format)
            add(&m, OPT_CONTENT_FORMAT, text(rows[i].format));
        if (rows[i].rvi)
            add(&m, 271, text(rows[i].rvi));
        if (rows[i].rqi)
            add(&m, 283, text(rows[i].rqi));
        if (rows[i].rqet)
            add(&m, 291, text(rows[i].rqet));
        bool ok = m2m_read(&m, rows[i].from, M2M_CURRENT, NOW_S, &r, &why);
        if (ok != (rows[i].code == 0) || why.code != rows[i].code || why.rsc != rows[i].rsc)
            fail_msg("%s: %x %d %s", rows[i].name, why.code, why.rsc, why.why);
    }
}

static void whose_numbering(void **state)
{
    struct msg m;
    struct m2m_fault why;
    (void)state;
    begin(&m, MSG_GET);
    add(&m, 283, text("r1"));
    add(&m, 271, text("3"));
    assert_true(m2m_read(&m, M2M_CLIENT, M2M_LEGACY, NOW_S, &r, &why));
    assert_true(r.certain && r.numbering == M2M_CURRENT);
    begin(&m, MSG_GET);
    add(&m, 257, text("r1"));
    add(&m, 271, text("3"));
    assert_true(m2m_read(&m, M2M_CLIENT, M2M_CURRENT, NOW_S, &r, &why));
    assert_true(r.certain && r.numbering == M2M_LEGACY);
    begin(&m, MSG_GET);
    add(&m, 271, text("3"));
    assert_false(m2m_read(&m, M2M_CLIENT, M2M_LEGACY, NOW_S, &r, &why));
    assert_true(!r.certain && r.numbering == M2M_LEGACY);
}

/* ---- addresses ---- */

static size_t cut(char *s, struct bytes *path)
{
    size_t n = 0;
    for (char *p = strtok(s, "/"); p; p = strtok(NULL, "/"))
        path[n++] = text(p);
    return n;
}

static void addresses(void **state)
{
    static const struct m2m_cse full = {M2M_CURRENT, "/mn-cse", "//sp.example", "cb", -1};
    static const struct m2m_cse bare = {M2M_CURRENT, NULL, NULL, NULL, -1};
    static const struct {
        const char *name;
        const struct m2m_cse *cse;
        const char *path, *wanted, *to; /* wanted NULL: refused */
        uint32_t named;
    } rows[] = {
        {"structured", &full, "cb/ae/cnt", "cb/ae/cnt", "cb/ae/cnt", 0},
        {"the latest", &full, "cb/ae/cnt/la", "cb/ae/cnt/la", "cb/ae/cnt/la", 0},
        {"SP-relative", &full, "~/mn-cse/cb/ae", "cb/ae", "cb/ae", 0},
        {"absolute", &full, "_/sp.example/mn-cse/cb/ae", "cb/ae", "cb/ae", 0},
        {"a dash for the base", &full, "-/ae", "cb/ae", "cb/ae", 0},
        {"SP-relative with a dash", &full, "~/mn-cse/-/ae", "cb/ae", "cb/ae", 0},
        {"the CSE itself", &full, "~/mn-cse", "cb", "cb", 0},
        {"nothing at all", &full, "", "cb", "cb", 0},
        {"unstructured", &full, "cin0042", "cin0042", "cin0042", 1},
        {"unstructured, SP-relative", &full, "~/mn-cse/cin0042", "cin0042", "cin0042", 1},
        {"below an ID", &full, "cnt7/la", "cnt7/la", "cnt7/la", 1},
        {"semantic fan out", &full, "cb/grp/sfop", "cb/grp/sfop", "cb/grp/sfop", 4},
        {"fan out", &full, "cb/grp/fopt/x", "cb/grp/fopt/x", "cb/grp/fopt/x", 4},
        {"another CSE", &full, "~/in-cse/cb/ae", "~/in-cse/cb/ae", "in-cse/cb/ae", 7},
        {"another CSE itself", &full, "~/in-cse", "~/in-cse", "in-cse", 3},
        {"another provider", &full, "_/sp.other/mn-cse/cb", "_/sp.other/mn-cse/cb",
         "sp.other/mn-cse/cb", 15},
        {"another CSE of the provider", &full, "_/sp.example/in-cse/cb", "_/sp.example/in-cse/cb",
         "sp.example/in-cse/cb", 15},
        {"a mark alone", &full, "~", "~", "", 1},
        {"a mark further on", &full, "cb/~/mn-cse", NULL, NULL, 0},
        {"another mark further on", &full, "cb/_/sp.example", NULL, NULL, 0},
        {"a dash further on", &full, "cb/-", NULL, NULL, 0},
        {"a dash at another CSE", &full, "~/in-cse/-/ae", "~/in-cse/-/ae", "in-cse/-/ae", 7},
        {"a mark behind another CSE", &full, "~/in-cse/~/ae", NULL, NULL, 0},
        {"a mark in front of a name", &full, "~cb/ae", NULL, NULL, 0},
        {"another mark in front of a name", &full, "_cb/ae", NULL, NULL, 0},
        {"a mark in front of a name, here", &full, "~/mn-cse/_cb/ae", NULL, NULL, 0},
        {"marks within a name", &full, "cb/~x/_y/-z", "cb/~x/_y/-z", "cb/~x/_y/-z", 0},
        {"nothing told", &bare, "cb/ae", "cb/ae", "cb/ae", 0},
        {"nothing told, unstructured", &bare, "cin0042", "cin0042", "cin0042", 0},
        {"nothing told, a dash", &bare, "-/ae", "-/ae", "-/ae", 1},
        {"nothing told, SP-relative", &bare, "~/mn-cse/cb", "~/mn-cse/cb", "mn-cse/cb", 7},
        {"a query within", &full, "cb/ae?op=4", NULL, NULL, 0},
        {"a fragment within", &full, "cb/ae#x", NULL, NULL, 0},
        {"an escape within", &full, "cb/%61e", NULL, NULL, 0},
        {"a parameter within", &full, "cb/ae;x", NULL, NULL, 0},
        {"letters beyond ASCII", &full, "cb/\xc3\xa4", "cb/\xc3\xa4", "cb/\xc3\xa4", 0},
        {"letters of no text", &full, "cb/\xe4", NULL, NULL, 0},
        {"a slash, too long", &full, "cb/x\xc0\xafy", NULL, NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes path[POLICY_PATH_SEGMENTS_MAX] = {text("dev")}, wanted[8];
        char given[64], want[64];
        strcpy(given, rows[i].path);
        size_t n = 1 + cut(given, path + 1);
        bool ok = m2m_read_address(&r, rows[i].cse, path, &n, 1);
        if (ok != (rows[i].wanted != NULL))
            fail_msg("%s", rows[i].name);
        if (!ok)
            continue;
        strcpy(want, rows[i].wanted);
        size_t k = cut(want, wanted);
        if (n != k + 1 || r.request.named != rows[i].named << 1 ||
            !bytes_equal_str(r.request.to, rows[i].to))
            fail_msg("%s: %zu segments, named %x, to %.*s", rows[i].name, n, r.request.named,
                     (int)r.request.to.n, (const char *)r.request.to.p);
        for (size_t s = 0; s < k; s++)
            if (!bytes_equal(path[s + 1], wanted[s]))
                fail_msg("%s: segment %zu", rows[i].name, s);
    }
}

/* A CSE may leave out what is empty. */
static void empty_segments(void **state)
{
    static const struct m2m_cse cse = {M2M_CURRENT, "/c", NULL, "cb", -1};
    struct bytes whole[] = {text("dev"), text("cb"), text("ae"), text("x"), text("y")};
    (void)state;
    for (size_t i = 0; i <= 4; i++) {
        struct bytes path[POLICY_PATH_SEGMENTS_MAX];
        size_t n = 5;
        memcpy(path, whole, sizeof whole);
        if (i > 0)
            path[i] = BYTES_LIT("");
        assert_int_equal(m2m_read_address(&r, &cse, path, &n, 1), i == 0);
    }
}

/* Some CSEs read one byte of a number. */
static void shortest_numbers(void **state)
{
    static const uint8_t type[] = {0, 3};
    struct m2m_fault why;
    struct msg m, out;
    (void)state;
    begin(&m, MSG_POST);
    add(&m, 283, text("r1"));
    add(&m, 271, text("3"));
    add(&m, 267, bytes_of(type, 2));
    assert_true(m2m_read(&m, M2M_CLIENT, M2M_CURRENT, NOW_S, &r, &why));
    assert_int_equal(r.request.type, 3);
    begin(&out, MSG_POST);
    assert_true(m2m_join(&r.values, M2M_LEGACY, &out));
    assert_true(bytes_equal(msg_find(&out, 267)->value, bytes_of(type + 1, 1)));
}

/* 32 segments, and none beyond. */
static void long_addresses(void **state)
{
    static const struct m2m_cse cse = {M2M_CURRENT, "/c", NULL, "cb", -1};
    struct bytes path[POLICY_PATH_SEGMENTS_MAX];
    (void)state;
    for (size_t i = 0; i < POLICY_PATH_SEGMENTS_MAX; i++)
        path[i] = text("cb");
    size_t n = POLICY_PATH_SEGMENTS_MAX;
    assert_true(m2m_read_address(&r, &cse, path, &n, 2));
    assert_int_equal(n, POLICY_PATH_SEGMENTS_MAX);
    n = POLICY_PATH_SEGMENTS_MAX;
    assert_true(m2m_read_address(&r, &cse, path, &n, POLICY_PATH_SEGMENTS_MAX - 1));
    n = POLICY_PATH_SEGMENTS_MAX; /* the CSE itself has a segment more */
    assert_false(m2m_read_address(&r, &cse, path, &n, POLICY_PATH_SEGMENTS_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_option),
        cmocka_unit_test(forms),
        cmocka_unit_test(repetition_and_mixing),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(operations),
        cmocka_unit_test(what_ends_here),
        cmocka_unit_test(by_its_own_method),
        cmocka_unit_test(by_its_own_method),
        cmocka_unit_test(what_is_below),
        cmocka_unit_test(what_is_needed),
        cmocka_unit_test(whose_numbering),
        cmocka_unit_test(addresses),
        cmocka_unit_test(empty_segments),
        cmocka_unit_test(shortest_numbers),
        cmocka_unit_test(long_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
