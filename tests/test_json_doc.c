/* pep/json_doc: what is refused stands beside what is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../pep/json_doc.h"

static const struct {
    const char *name, *text;
    bool ok;
} rows[] = {
    {"object", "{\"a\":1}", true},
    {"twice", "{\"a\":1,\"a\":1}", false},
    {"twice by escape", "{\"a\":1,\"\\u0061\":2}", false},
    {"twice deeper", "{\"x\":[{\"a\":1,\"a\":2}]}", false},
    {"same name in two objects", "{\"x\":[{\"a\":1},{\"a\":2}]}", true},
    {"white space", " \t\r\n{ \"a\" : 1 } \n", true},
    {"trailing byte", "{\"a\":1}x", false},
    {"trailing document", "{\"a\":1}{}", false},
    {"trailing comma", "{\"a\":1,}", false},
    {"comment", "{\"a\":1}//", false},
    {"single quotes", "{'a':1}", false},
    {"no quotes", "{a:1}", false},
    {"byte order mark", "\xef\xbb\xbf{\"a\":1}", false},
    {"a text alone", "\"a\"", false},
    {"a number alone", "1", false},
    {"UTF-8", "{\"a\":\"\xc3\xa4\"}", true},
    {"half of UTF-8", "{\"a\":\"\xc3\"}", false},
    {"overlong UTF-8", "{\"a\":\"\xc1\xa1\"}", false},
    {"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", false},
    {"surrogate pair", "{\"a\":\"\\ud834\\udd1e\"}", true},
    {"half a pair", "{\"a\":\"\\ud834\"}", false},
    {"U+0000", "{\"a\":\"\\u0000\"}", false},
    {"control character", "{\"a\":\"\n\"}", false},
    {"largest integer", "{\"a\":9223372036854775807}", true},
    {"larger", "{\"a\":9223372036854775808}", false},
    {"largest real", "{\"a\":1e308}", true},
    {"larger real", "{\"a\":1e309}", false},
    {"leading zero", "{\"a\":01}", false},
    {"plus", "{\"a\":+1}", false},
    {"hexadecimal", "{\"a\":0x1}", false},
    {"not a number", "{\"a\":NaN}", false},
    {"infinity", "{\"a\":Infinity}", false},
    {"depth", "[[[[[[[[[[[[1]]]]]]]]]]]]", true},
    {"deeper", "[[[[[[[[[[[[[1]]]]]]]]]]]]]", false},
    {"depth within a text", "[\"[[[[[[[[[[[[[[[[\\\"[[[[\"]", true},
    {"nothing", "", false},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_node *d = json_doc_read(bytes_str(rows[i].text));
        if (!d == rows[i].ok)
            fail_msg("%s: %s", rows[i].name, d ? "read" : "refused");
        json_doc_free(d);
    }
    /* A NUL in the bytes, in a text and behind the document. */
    assert_null(json_doc_read(BYTES_LIT("{\"a\":\"\0\"}")));
    assert_null(json_doc_read(BYTES_LIT("{\"a\":1}\0")));
}

static void test_truncated(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,2.5,\"x\\\"y\",true,null],\"b\":{\"c\":-3}}";
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_null(json_doc_read(bytes_of(text, n)));
    struct json_node *d = json_doc_read(bytes_str(text));
    assert_non_null(d);
    const struct json_node *a = json_node_get(d, "a");
    struct bytes s = BYTES_NONE;
    int64_t v = 0;
    double f = 0;
    bool b = false;
    assert_int_equal(json_node_count(d), 2);
    assert_int_equal(json_node_count(a), 5);
    assert_true(json_node_int(json_node_at(a, 0), &v) && v == 1);
    assert_true(json_node_number(json_node_at(a, 0), &f) && f == 1.0);
    assert_false(json_node_int(json_node_at(a, 1), &v));
    assert_true(json_node_number(json_node_at(a, 1), &f) && f == 2.5);
    assert_true(json_node_text(json_node_at(a, 2), &s) && bytes_equal_str(s, "x\"y"));
    assert_true(json_node_bool(json_node_at(a, 3), &b) && b);
    assert_int_equal(json_node_kind(json_node_at(a, 4)), JSON_NODE_NULL);
    assert_null(json_node_at(a, 5));
    assert_true(json_node_int(json_node_get(json_node_get(d, "b"), "c"), &v) && v == -3);
    assert_int_equal(json_node_kind(json_node_get(d, "z")), JSON_NODE_NONE);
    assert_null(json_node_get(json_node_get(d, "z"), "z"));
    assert_false(json_node_text(NULL, &s));
    json_doc_free(d);
    json_doc_free(NULL);
}

/* The largest that is read, and one more. */
static void test_caps(void **state)
{
    (void)state;
    static char text[JSON_DOC_MAX + 2];
    size_t n = 0;
    text[n++] = '[';
    for (int i = 0; i < JSON_DOC_NODES_MAX - 2; i++) {
        text[n++] = '1';
        text[n++] = ',';
    }
    text[n++] = '1';
    text[n++] = ']';
    struct json_node *d = json_doc_read(bytes_of(text, n));
    assert_non_null(d);
    json_doc_free(d);
    text[n - 1] = ',';
    text[n++] = '1';
    text[n++] = ']';
    assert_null(json_doc_read(bytes_of(text, n)));

    memset(text, ' ', sizeof text);
    text[0] = '[';
    text[JSON_DOC_MAX - 1] = ']';
    d = json_doc_read(bytes_of(text, JSON_DOC_MAX));
    assert_non_null(d);
    json_doc_free(d);
    assert_null(json_doc_read(bytes_of(text, JSON_DOC_MAX + 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_caps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
