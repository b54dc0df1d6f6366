/* The reader of YAML: what it takes, what it refuses, and the exact words,
 * line and caret of each complaint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/yaml.h"

struct row {
    const char *text;
    const char *want; /* of diag; "": no complaint */
};

/* Gives a text of exact size to `read` and compares what was said. */
static void check(const struct row *rows, size_t n, void (*read)(struct yaml *y, struct arena *a))
{
    for (size_t i = 0; i < n; i++) {
        char diag[8192] = {0};
        struct buf b = buf_on(diag, sizeof diag - 1);
        struct arena a = {0};
        size_t len = strlen(rows[i].text);
        char *text = malloc(len ? len : 1);
        assert_non_null(text);
        memcpy(text, rows[i].text, len);
        struct yaml *y = yaml_load("x.yaml", bytes_of(text, len), &b);
        if (y && read)
            read(y, &a);
        if ((y && yaml_ok(y)) != (rows[i].want[0] == 0) || strcmp(diag, rows[i].want) != 0)
            fail_msg("text:\n%s\ngot:\n%s\nwanted:\n%s", rows[i].text, diag, rows[i].want);
        yaml_free(y);
        free(text);
        arena_clear(&a);
    }
}

#define CHECK(rows, read) check(rows, sizeof(rows) / sizeof *(rows), read)

static void documents(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a: 1\n", ""},
        {"a: 1", ""},
        {"\xef\xbb\xbf"
         "a: 1\n",
         ""},
        {"%YAML 1.2\n---\na: 1\n...\n", ""},
        {"{a: [1, 'x', \"y\"], b: {c: }}\n", ""},
        {"a: 1\r\nb: 2\r\n", ""},
        {"", "x.yaml:1:1: error: there is nothing in this file\n\n^\n"},
        {"# nothing\n", "x.yaml:1:1: error: there is nothing in this file\n# nothing\n^\n"},
        {"a: 1\n---\nb: 2\n", "x.yaml:2:1: error: a second document; only one is read\n---\n^\n"},
        {"a: &x 1\n",
         "x.yaml:1:7: error: anchors are not supported; write the value out\na: &x 1\n      ^\n"},
        {"a: 1\nb: *a\n",
         "x.yaml:2:5: error: aliases are not supported; write the value out\nb: *a\n    ^\n"},
        {"a: !!str 1\n",
         "x.yaml:1:10: error: tags are not supported; write the value out\na: !!str 1\n"
         "         ^\n"},
        {"a: 1\nb: 2\na: 3\n",
         "x.yaml:3:1: error: duplicate key 'a'; it is already on line 1\na: 3\n^\n"},
        {"a: 1\n\"a\": 3\n",
         "x.yaml:2:2: error: duplicate key 'a'; it is already on line 1\n\"a\": 3\n ^\n"},
        {"{a: 1, A: 2}\n", ""},
        {"? [a]\n: b\n", "x.yaml:1:3: error: a key must be text\n? [a]\n  ^\n"},
        {"a: |\n  x\n  y\n", "x.yaml:2:1: error: a line break or other control character within a "
                             "value\n  x\n^\n"},
        {"a: \"x\\0y\"\n", "x.yaml:1:5: error: a line break or other control character within a "
                           "value\na: \"x\\0y\"\n    ^\n"},
        {"\xc3\xa9: \x01\n", "x.yaml:1:4: error: control character 0x01\n\xc3\xa9: ?\n   ^\n"},
        {"a:\t\xff\n", "x.yaml:1:4: error: not UTF-8\na:\t?\n  \t^\n"},
        {"a: \xc0\x80\n", "x.yaml:1:4: error: not UTF-8\na: ??\n   ^\n"},
        {"a: \xed\xa0\x80\n", "x.yaml:1:4: error: not UTF-8\na: ???\n   ^\n"},
        {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\n", ""},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n",
         "x.yaml:1:17: error: nested deeper than 16\n[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n"
         "                ^\n"},
    };
    CHECK(rows, NULL);
}

/* What libfyaml finds wrong is in its words, which change; the form is ours. */
static void not_yaml(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "a: [1, 2\nb: 3\n", "a: \"x\n", "a: b: c\n", "a:\n\t- b\n", "- a\nb\n",
        "{a: 1]\n",         "a: -\n",   "@a\n",      "a: 'x\n",     "   a: 1\n  b: 2\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char diag[1024] = {0};
        struct buf b = buf_on(diag, sizeof diag - 1);
        assert_null(yaml_load("x.yaml", bytes_str(texts[i]), &b));
        char *error = strstr(diag, ": error: "), *caret = strchr(diag, '^');
        if (strncmp(diag, "x.yaml:", 7) != 0 || !error || !caret || caret[1] != '\n' || caret[2])
            fail_msg("%s: got %s", texts[i], diag);
    }
}

static void read_map(struct yaml *y, struct arena *a)
{
    struct yaml_map m;
    const char *text;
    int64_t number;
    bool flag;
    int word;
    static const char *const words[] = {"deny", "allow"};
    yaml_map_open(y, yaml_root(y), &m);
    yaml_text(y, yaml_map_need(&m, "name"), a, &text);
    yaml_int(y, yaml_map_get(&m, "count"), -5, 70000, &number);
    yaml_bool(y, yaml_map_get(&m, "flag"), &flag);
    yaml_enum(y, yaml_map_get(&m, "bearer"), words, 2, &word);
    yaml_map_refuse(&m, "later");
    yaml_map_close(&m);
}

static void mappings(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"name: x\n", ""},
        {"name: 7\n", ""},
        {"name: \"true\"\n", ""},
        {"name: x\ncount: 70000\nflag: yes\nbearer: allow\n", ""},
        {"name: x\ncount: -5\nflag: false\nbearer: deny\n", ""},
        {"name: x\ncount: 0\n", ""},
        {"{}\n", "x.yaml:1:1: error: missing key 'name'\n{}\n^\n"},
        {"- name\n",
         "x.yaml:1:1: error: expected a mapping of keys to values, found a list\n- name\n^\n"},
        {"name\n",
         "x.yaml:1:1: error: expected a mapping of keys to values, found text\nname\n^\n"},
        {"name:\n", "x.yaml:1:1: error: expected text, found nothing\nname:\n^\n"},
        {"name: \"\"\n", "x.yaml:1:8: error: expected text, found an empty one\nname: \"\"\n"
                         "       ^\n"},
        {"name: true\n", "x.yaml:1:7: error: expected text, found true; quote it if text is "
                         "meant\nname: true\n      ^\n"},
        {"name: ~\n",
         "x.yaml:1:7: error: expected text, found ~; quote it if text is meant\nname: ~\n"
         "      ^\n"},
        {"name: [x]\n", "x.yaml:1:7: error: expected text, found a list\nname: [x]\n      ^\n"},
        {"name: {x: y}\n",
         "x.yaml:1:7: error: expected text, found a mapping\nname: {x: y}\n      ^\n"},
        {"name: x\ncount: 70001\n", "x.yaml:2:8: error: 70001 is out of range; expected -5 to "
                                    "70000\ncount: 70001\n       ^\n"},
        {"name: x\ncount: -6\n",
         "x.yaml:2:8: error: -6 is out of range; expected -5 to 70000\ncount: -6\n       ^\n"},
        {"name: x\ncount: 99999999999999999999\n",
         "x.yaml:2:8: error: 99999999999999999999 is out of range; expected -5 to 70000\n"
         "count: 99999999999999999999\n       ^\n"},
        {"name: x\ncount: 0x10\n", "x.yaml:2:8: error: expected a decimal number, found '0x10'\n"
                                   "count: 0x10\n       ^\n"},
        {"name: x\ncount: 010\n", "x.yaml:2:8: error: expected a decimal number, found '010'\n"
                                  "count: 010\n       ^\n"},
        {"name: x\ncount: 1.0\n", "x.yaml:2:8: error: expected a decimal number, found '1.0'\n"
                                  "count: 1.0\n       ^\n"},
        {"name: x\ncount: \"7\"\n", "x.yaml:2:9: error: expected a decimal number, found '7' in "
                                    "quotes\ncount: \"7\"\n        ^\n"},
        {"name: x\nflag: on\n",
         "x.yaml:2:7: error: expected true or false, found 'on'\nflag: on\n      ^\n"},
        {"name: x\nbearer: Allow\n",
         "x.yaml:2:9: error: expected deny or allow, found 'Allow'\nbearer: Allow\n        ^\n"},
        {"name: x\nlater: 1\n",
         "x.yaml:2:1: error: 'later' is not supported by this version\nlater: 1\n^\n"},
        {"name: x\ncuont: 1\n",
         "x.yaml:2:1: error: unknown key 'cuont'; did you mean 'count'?\ncuont: 1\n^\n"},
        {"name: x\nbeverage: 1\n", "x.yaml:2:1: error: unknown key 'beverage'\nbeverage: 1\n^\n"},
        {"nam: x\ncount: z\nflag: [1]\n", /* several at once */
         "x.yaml:1:1: error: missing key 'name'\nnam: x\n^\n"
         "x.yaml:2:8: error: expected a decimal number, found 'z'\ncount: z\n       ^\n"
         "x.yaml:3:7: error: expected true or false, found a list\nflag: [1]\n      ^\n"
         "x.yaml:1:1: error: unknown key 'nam'; did you mean 'name'?\nnam: x\n^\n"},
    };
    CHECK(rows, read_map);
}

static void sequences(void **state)
{
    (void)state;
    char diag[512] = {0};
    struct buf b = buf_on(diag, sizeof diag - 1);
    struct yaml *y = yaml_load("x.yaml", BYTES_LIT("a: [x, [y], {z: 1}]\nb: w\nc: {d: 1}\n"), &b);
    assert_non_null(y);
    struct yaml_map m;
    struct yaml_seq s;
    assert_true(yaml_map_open(y, yaml_root(y), &m));
    assert_true(yaml_seq_open(y, yaml_map_get(&m, "a"), &s));
    assert_int_equal(s.left, 3);
    assert_true(bytes_equal_str(yaml_raw(yaml_seq_next(&s)), "x"));
    assert_true(yaml_is_seq(yaml_seq_next(&s)));
    assert_true(yaml_is_map(yaml_seq_next(&s)));
    assert_null(yaml_seq_next(&s));
    assert_null(yaml_seq_next(&s));
    assert_true(yaml_seq_open_or_one(y, yaml_map_get(&m, "b"), &s));
    assert_true(bytes_equal_str(yaml_raw(yaml_seq_next(&s)), "w"));
    assert_null(yaml_seq_next(&s)); /* not what follows it in the mapping */
    assert_true(yaml_seq_open_or_one(y, yaml_map_get(&m, "c"), &s));
    assert_true(yaml_is_map(yaml_seq_next(&s)));
    assert_null(yaml_seq_next(&s));
    assert_true(yaml_ok(y));
    assert_int_equal(yaml_line(y, yaml_map_get(&m, "c")), 3);
    assert_false(yaml_seq_open(y, yaml_map_get(&m, "b"), &s));
    assert_null(yaml_seq_next(&s));
    assert_false(yaml_ok(y));
    assert_false(yaml_map_open(y, NULL, &m)); /* missing was reported elsewhere */
    assert_null(yaml_map_need(&m, "x"));
    yaml_map_close(&m);
    yaml_free(y);
    assert_string_equal(diag, "x.yaml:2:4: error: expected a list, found text\nb: w\n   ^\n");
}

/* Text outlives its document; names are found among thousands. */
static void large(void **state)
{
    (void)state;
    enum { N = 5000 };
    char *text = malloc(N * 32), diag[512] = {0};
    size_t n = 0;
    assert_non_null(text);
    for (unsigned i = 0; i < N; i++)
        n += (size_t)sprintf(text + n, "key%u: value%u\n", i, i);
    struct buf b = buf_on(diag, sizeof diag - 1);
    struct arena a = {0};
    struct yaml *y = yaml_load("x.yaml", bytes_of(text, n), &b);
    assert_non_null(y);
    assert_true(yaml_ok(y));
    struct yaml_map m;
    const struct yaml_node *key, *value;
    const char *last = NULL;
    unsigned count = 0;
    assert_true(yaml_map_open(y, yaml_root(y), &m));
    for (; yaml_map_next(&m, &key, &value); count++) {
        assert_true(yaml_text(y, value, &a, &last));
        assert_int_equal(yaml_line(y, key), count + 1);
    }
    yaml_free(y);
    assert_int_equal(count, N);
    assert_string_equal(last, "value4999");
    arena_clear(&a);

    n += (size_t)sprintf(text + n, "key77: again\n");
    y = yaml_load("x.yaml", bytes_of(text, n), &b);
    assert_non_null(y);
    assert_false(yaml_ok(y));
    yaml_free(y);
    assert_string_equal(diag, "x.yaml:5001:1: error: duplicate key 'key77'; it is already on line "
                              "78\nkey77: again\n^\n");
    free(text);
}

/* Too many for the reader or for the room: the rest is counted, and what is
 * there is whole. */
static void many_errors(void **state)
{
    (void)state;
    char text[2000], diag[4096];
    size_t n = 0;
    for (unsigned i = 0; i < 50; i++)
        n += (size_t)sprintf(text + n, "k%u: 1\n", i);
    for (size_t cap = 0; cap < sizeof diag - 1; cap++) {
        memset(diag, 0, sizeof diag);
        struct buf b = buf_on(diag, cap);
        struct yaml *y = yaml_load("x.yaml", bytes_of(text, n), &b);
        assert_non_null(y);
        struct yaml_map m;
        yaml_map_open(y, yaml_root(y), &m);
        yaml_map_close(&m);
        assert_false(yaml_ok(y));
        yaml_free(y);
        assert_false(b.full);
        assert_true(b.n <= cap);
        diag[b.n] = 0;
        unsigned errors = 0, more = 0;
        for (char *at = diag; (at = strstr(at, ": error: ")); at++)
            errors++;
        char *tail = strstr(diag, " more error");
        if (tail) {
            while (tail > diag && tail[-1] != '\n')
                tail--;
            more = (unsigned)strtoul(tail, NULL, 10);
            assert_int_equal(errors + more, 50);
        }
        assert_true(errors <= YAML_ERRORS_MAX);
        if (b.n)
            assert_int_equal(diag[b.n - 1], '\n');
        if (cap > 200)
            assert_non_null(tail);
    }
    assert_non_null(strstr(diag, "\n30 more errors\n"));
}

/* A long line is shown in part, the caret stays under its column. */
static void long_line(void **state)
{
    (void)state;
    char text[600], diag[2048] = {0};
    memset(text, ' ', sizeof text);
    memcpy(text, "{a: 1,", 6);
    memcpy(text + 500, "zz: 2}", 6);
    text[sizeof text - 1] = '\n';
    struct buf b = buf_on(diag, sizeof diag - 1);
    struct yaml *y = yaml_load("x.yaml", bytes_of(text, sizeof text), &b);
    assert_non_null(y);
    struct yaml_map m;
    yaml_map_open(y, yaml_root(y), &m);
    yaml_map_get(&m, "a");
    yaml_map_close(&m);
    yaml_free(y);
    char *line = strchr(diag, '\n') + 1, *pad = strchr(line, '\n') + 1;
    assert_memory_equal(diag, "x.yaml:1:501: error: unknown key 'zz'", 37);
    assert_int_equal(strstr(line, "zz") - line, strchr(pad, '^') - pad);
    assert_true(pad - line <= 121);
}

static void distances(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned want; /* 99: too far */
    } rows[] = {
        {"permit", "permit", 0},
        {"permits", "permit", 1},
        {"pemrit", "permit", 1},
        {"prmt", "permit", 2},
        {"x", "permit", 99},
        {"", "permit", 99},
        {"role", "roles", 1},
        {"guets", "guest", 1},
        {"ab", "ba", 1},
        {"a", "b", 99},
        {"", "", 99},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned got = yaml_distance(bytes_str(rows[i].a), bytes_str(rows[i].b));
        got = got == UINT32_MAX ? 99 : got;
        if (got != rows[i].want)
            fail_msg("%s %s: got %u, wanted %u", rows[i].a, rows[i].b, got, rows[i].want);
    }
}

static void arenas(void **state)
{
    (void)state;
    struct arena a = {0};
    char *small = arena_text(&a, BYTES_LIT("small"));
    uint8_t *large = arena_alloc(&a, 1 << 20);
    char *next = arena_text(&a, BYTES_LIT("next"));
    assert_true(small && large && next);
    assert_int_equal(large[0] | large[(1 << 20) - 1], 0);
    assert_int_equal(next - small, 16); /* the large one did not end the block */
    assert_string_equal(small, "small");
    assert_false(a.failed);
    assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    assert_true(a.failed);
    arena_clear(&a);
    assert_null(arena_alloc(&a, SIZE_MAX));
    arena_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents), cmocka_unit_test(not_yaml),  cmocka_unit_test(mappings),
        cmocka_unit_test(sequences), cmocka_unit_test(large),     cmocka_unit_test(many_errors),
        cmocka_unit_test(long_line), cmocka_unit_test(distances), cmocka_unit_test(arenas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
