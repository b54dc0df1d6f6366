#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../proxy/links.h"

#define N(a) (sizeof(a) / sizeof *(a))

/* The targets of a document with their number of parameters, and how it ends:
 * '.' well-formed, '!' not. Read from an exact heap copy. */
static void describe(const char *text, char *out, size_t cap)
{
    size_t n = strlen(text), at = 0;
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    struct bytes rest = {copy, n};
    struct link l;
    enum link_result r;
    out[0] = 0;
    while ((r = link_next(&rest, &l)) == LINK_FOUND) {
        struct link_param p;
        struct bytes params = l.params;
        unsigned count = 0;
        while (link_param_next(&params, &p))
            count++;
        assert_int_equal(params.n, 0); /* all of them were read */
        at += (size_t)snprintf(out + at, cap - at, "%.*s:%u ", (int)l.target.n,
                               (const char *)l.target.p, count);
    }
    snprintf(out + at, cap - at, r == LINK_END ? "." : "!");
    free(copy);
}

static const struct {
    const char *name, *text, *want;
} documents[] = {
    /* RFC 6690 5 */
    {"two links", "</sensors/temp>;if=\"sensor\",</sensors/light>;if=\"sensor\"",
     "/sensors/temp:1 /sensors/light:1 ."},
    {"many parameters",
     "</sensors>;ct=40;title=\"Sensor Index\",</t>;anchor=\"/sensors/temp\";rel=\"alternate\"",
     "/sensors:2 /t:2 ."},
    {"absolute", "<http://www.example.com/sensors/t123>;rel=\"describedby\"",
     "http://www.example.com/sensors/t123:1 ."},
    {"nothing", "", "."},
    {"blanks", " \r\n", "."},
    {"bare link", "</a>", "/a:0 ."},
    {"  not closed", "</a", "!"},
    {"  not opened", "/a>", "!"},
    {"  quote in the target", "</\"a>", "!"},
    {"  blank in the target", "</a b>", "!"},
    {"  opened twice", "<</a>", "!"},
    {"empty target", "<>", ":0 ."},
    {"two", "</a>,</b>", "/a:0 /b:0 ."},
    {"  with blanks", " </a> ,\n </b> ", "/a:0 /b:0 ."},
    {"  without a comma", "</a></b>", "!"},
    {"  with a comma too many", "</a>,,</b>", "/a:0 !"},
    {"  with a comma at the end", "</a>,</b>,", "/a:0 !"},
    {"flag", "</a>;obs", "/a:1 ."},
    {"  of no name", "</a>;", "!"},
    {"  with blanks", "</a> ; obs ; ct=0", "/a:2 ."},
    {"token", "</a>;ct=40", "/a:1 ."},
    {"  empty", "</a>;ct=", "!"},
    {"  with a semicolon in it", "</a>;ct=4;0", "/a:2 ."},
    {"quoted", "</a>;title=\"x,y;<z>\"", "/a:1 ."},
    {"  empty", "</a>;title=\"\"", "/a:1 ."},
    {"  not closed", "</a>;title=\"x", "!"},
    {"  escaped quote", "</a>;title=\"x\\\"y\",</b>", "/a:1 /b:0 ."},
    {"  closed by an escaped quote", "</a>;title=\"x\\\"", "!"},
    {"  escape at the end", "</a>;title=\"x\\", "!"},
    {"  with a control character", "</a>;title=\"x\ny\"", "!"},
    {"  with an escaped one", "</a>;title=\"x\\\ny\"", "!"},
    {"  in UTF-8", "</a>;title=\"\xc3\xa9\"", "/a:1 ."},
    {"  and something behind", "</a>;title=\"x\"y", "!"},
    {"  in the middle of a token", "</a>;title=x\"y\"", "!"},
    {"extended value", "</a>;title*=utf-8'en'x%20y", "/a:1 ."},
    {"UTF-8 in the target", "</\xc3\xa9>", "/\xc3\xa9:0 ."},
};

static void test_documents(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(documents); i++) {
        char got[512];
        describe(documents[i].text, got, sizeof got);
        if (strcmp(got, documents[i].want))
            fail_msg("%s: got %s, wanted %s", documents[i].name, got, documents[i].want);
        for (size_t cut = 0; cut < strlen(documents[i].text); cut++) {
            char part[256];
            snprintf(part, sizeof part, "%.*s", (int)cut, documents[i].text);
            describe(part, got, sizeof got);
        }
    }
}

static void test_places(void **state)
{
    (void)state;
    static const struct {
        const char *name, *target, *want; /* segments, '?' queries, '#' tail; NULL: none */
    } rows[] = {
        {"root", "/", "#"},
        {"empty: the root", "", "#"},
        {"path", "/a/b", "[a][b]#"},
        {"  relative to the root", "a/b", "[a][b]#"},
        {"  with a slash at the end", "/a/", "[a][]#"},
        {"  with an empty segment", "/a//b", "[a][][b]#"},
        {"  with an authority", "//a/b", NULL},
        {"  with a scheme", "coap://h/a/b", NULL},
        {"  scheme only", "mailto:x", NULL},
        {"  colon behind a slash", "/a:b", "[a:b]#"},
        {"  dot", "/a/./b", NULL},
        {"  dots", "/a/../b", NULL},
        {"  dots at the end", "/a/..", NULL},
        {"  dots, encoded", "/a/%2e%2E/b", NULL},
        {"  three dots", "/a/.../b", "[a][...][b]#"},
        {"encoded slash", "/a%2fb", "[a/b]#"},
        {"  blank", "/a%20b", "[a b]#"},
        {"  cut", "/a%2", NULL},
        {"  cut more", "/a%", NULL},
        {"  no digits", "/a%2g", NULL},
        {"  at the end", "/a%2F", "[a/]#"},
        {"not a URI character", "/a\\b", NULL},
        {"  UTF-8", "/\xc3\xa9", NULL},
        {"  bracket", "/a[0]", NULL},
        {"query", "/a?x=1&y", "[a]?x=1?y#?x=1&y"},
        {"  empty", "/a?", "[a]?#?"},
        {"  of the root", "?x", "?x#?x"},
        {"  encoded ampersand", "/a?x%26y", "[a]?x&y#?x%26y"},
        {"  with a slash", "/a?b/c?d", "[a]?b/c?d#?b/c?d"},
        {"  not a URI character", "/a?b|c", NULL},
        {"fragment", "/a#b", "[a]##b"},
        {"  behind a query", "/a?b#c", "[a]?b#?b#c"},
        {"  not a URI character", "/a#b|c", NULL},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct link_place p;
        char got[256] = "";
        size_t at = 0;
        bool ok = link_place_read(bytes_str(rows[i].target), &p);
        for (size_t k = 0; ok && k < p.n_path; k++)
            at += (size_t)snprintf(got + at, sizeof got - at, "[%.*s]", (int)p.path[k].n,
                                   (const char *)p.path[k].p);
        for (size_t k = 0; ok && k < p.n_query; k++)
            at += (size_t)snprintf(got + at, sizeof got - at, "?%.*s", (int)p.query[k].n,
                                   (const char *)p.query[k].p);
        if (ok)
            snprintf(got + at, sizeof got - at, "#%.*s", (int)p.tail.n, (const char *)p.tail.p);
        if (ok != (rows[i].want != NULL) || (ok && strcmp(got, rows[i].want)))
            fail_msg("%s: got %s, wanted %s", rows[i].name, ok ? got : "none",
                     rows[i].want ? rows[i].want : "none");
    }
}

static void test_place_bounds(void **state)
{
    (void)state;
    struct link_place p;
    char text[1024];
    struct {
        const char *unit;
        size_t times;
        bool want;
    } rows[] = {
        {"/a", 32, true},  {"/a", 33, false},  {"a", 255, true},
        {"a", 256, false}, {"%20", 255, true}, {"%20", 256, false},
    };
    for (size_t i = 0; i < N(rows); i++) {
        text[0] = 0;
        for (size_t k = 0; k < rows[i].times; k++)
            strcat(text, rows[i].unit);
        assert_int_equal(link_place_read(bytes_str(text), &p), rows[i].want);
    }
    strcpy(text, "/a?");
    for (size_t k = 0; k < REQUEST_QUERIES_MAX - 1; k++)
        strcat(text, "&");
    assert_true(link_place_read(bytes_str(text), &p));
    strcat(text, "&");
    assert_false(link_place_read(bytes_str(text), &p));
    memset(text, 'a', sizeof text); /* more than the storage, in good segments */
    for (size_t k = 0; k < sizeof text; k += 200)
        text[k] = '/';
    assert_false(link_place_read(bytes_of(text, LINK_TEXT_MAX + 100), &p));
}

static void test_filters(void **state)
{
    (void)state;
    static const struct {
        const char *name, *filter;
        bool want;
    } rows[] = {
        {"href", "href=/lamp/temp", true},
        {"  other", "href=/lamp/tem", false},
        {"  prefix", "href=/lamp/*", true},
        {"  prefix of another", "href=/door/*", false},
        {"  any", "href=*", true},
        {"  none", "href=", false},
        {"rt, first word", "rt=light", true},
        {"rt, second word", "rt=core.s", true},
        {"  part of a word", "rt=core", false},
        {"  prefix of a word", "rt=core*", true},
        {"  both words", "rt=light core.s", false},
        {"  any", "rt=*", true},
        {"title is no list of words", "title=two words", true},
        {"  one word", "title=two", false},
        {"  prefix", "title=two*", true},
        {"escape", "x=a\"b", true},
        {"token", "ct=40", true},
        {"  other", "ct=4", false},
        {"name in other letters", "CT=40", true},
        {"second of its name", "ct=41", true},
        {"flag", "obs=", true},
        {"  with a value", "obs=1", false},
        {"absent", "if=sensor", false},
        {"  any", "if=*", false},
        {"no filter", "rt", true},
        {"nothing", "", true},
    };
    struct bytes text = BYTES_LIT("</temp>;rt=\"light core.s\";title=\"two words\";ct=40;"
                                  "x=\"a\\\"b\";obs;ct=41");
    struct link l;
    assert_int_equal(link_next(&text, &l), LINK_FOUND);
    for (size_t i = 0; i < N(rows); i++) {
        bool got = link_matches(&l, BYTES_LIT("/lamp/temp"), bytes_str(rows[i].filter));
        if (got != rows[i].want)
            fail_msg("%s: got %d, wanted %d", rows[i].name, got, rows[i].want);
    }
}

/* What is written reads back as the same segment, whatever it holds. */
static void test_segment_round_trip(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t segment[3] = {'a', (uint8_t)c, 'z'}, out[16];
        struct buf b = buf_on(out, sizeof out);
        struct link_place p;
        link_put_segment(&b, bytes_of(segment, 3));
        assert_true(link_place_read(buf_bytes(&b), &p));
        assert_int_equal(p.n_path, 1);
        assert_true(bytes_equal(p.path[0], bytes_of(segment, 3)));
        assert_int_equal(p.tail.n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents),          cmocka_unit_test(test_places),
        cmocka_unit_test(test_place_bounds),       cmocka_unit_test(test_filters),
        cmocka_unit_test(test_segment_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
