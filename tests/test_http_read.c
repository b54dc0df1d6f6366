/* Requests out of bytes: what is whole, what is not yet, what never will be;
 * each that is refused beside one that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/http_read.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define END      "\r\n\r\n"
#define POST     "POST /a HTTP/1.1\r\n"
#define CHUNKED  POST "Transfer-Encoding: chunked" END

enum { BODY_MAX = 64 };

static const struct {
    const char *name, *text;
    unsigned status; /* 0: whole */
    const char *body;
    size_t left; /* bytes behind it */
    bool closes;
} rows[] = {
    {"no body", POST "Host: x" END, 0, "", 0, false},
    {"no fields", POST "\r\n", 0, "", 0, false},
    {"a body", POST "Content-Length: 3" END "abc", 0, "abc", 0, false},
    {"a body and more", POST "Content-Length: 3" END "abcPOST", 0, "abc", 4, false},
    {"empty lines in front", "\r\n\r\n" POST "\r\n", 0, "", 0, false},
    {"too many empty lines", "\r\n\r\n\r\n\r\n" POST "\r\n", 400, "", 0, false},
    {"1.0", "POST /a HTTP/1.0\r\n\r\n", 0, "", 0, true},
    {"1.2", "POST /a HTTP/1.2\r\n\r\n", 505, "", 0, false},
    {"0.9", "POST /a\r\n\r\n", 505, "", 0, false},
    {"in small letters", "POST /a http/1.1\r\n\r\n", 505, "", 0, false},
    {"a word more", "POST /a b HTTP/1.1\r\n\r\n", 505, "", 0, false},
    {"a space more", "POST  /a HTTP/1.1\r\n\r\n", 400, "", 0, false},
    {"no target", "POST HTTP/1.1\r\n\r\n", 400, "", 0, false},
    {"a whole target", "POST http://x/a HTTP/1.1\r\n\r\n", 400, "", 0, false},
    {"a fragment", "POST /a#b HTTP/1.1\r\n\r\n", 400, "", 0, false},
    {"a target beyond ASCII", "POST /\xc3\xa4 HTTP/1.1\r\n\r\n", 400, "", 0, false},
    {"a method that is none", "PO(ST /a HTTP/1.1\r\n\r\n", 400, "", 0, false},
    {"a line feed alone", "POST /a HTTP/1.1\n\r\n", 400, "", 0, false},
    {"a carriage return alone", "POST /a HTTP/1.1\rX: y\r\n\r\n", 400, "", 0, false},

    {"a field", POST "X: y z" END, 0, "", 0, false},
    {"an empty field", POST "X:" END, 0, "", 0, false},
    {"no name", POST ": y" END, 400, "", 0, false},
    {"no colon", POST "X" END, 400, "", 0, false},
    {"space before the colon", POST "X : y" END, 400, "", 0, false},
    {"space in front", POST " X: y" END, 400, "", 0, false},
    {"folded", POST "X: y\r\n z" END, 400, "", 0, false},
    {"a control character", POST "X: \x01" END, 400, "", 0, false},
    {"a tab", POST "X: a\tb" END, 0, "", 0, false},
    {"a line feed in it", POST "X: a\nY: b" END, 400, "", 0, false},

    {"a length of nothing", POST "Content-Length:" END, 400, "", 0, false},
    {"a length with a sign", POST "Content-Length: +3" END "abc", 400, "", 0, false},
    {"a length in hex", POST "Content-Length: 0x3" END "abc", 400, "", 0, false},
    {"two lengths in one", POST "Content-Length: 3, 3" END "abc", 400, "", 0, false},
    {"two lengths", POST "Content-Length: 3\r\ncontent-length: 3" END "abc", 400, "", 0, false},
    {"the longest",
     POST "Content-Length: 64" END
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     0, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, false},
    {"one longer", POST "Content-Length: 65" END, 413, "", 0, false},
    {"beyond all", POST "Content-Length: 99999999999999999999999" END, 413, "", 0, false},

    {"chunks", CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 0, "abcde", 0, false},
    {"no chunk", CHUNKED "0\r\n\r\n", 0, "", 0, false},
    {"chunks and more", CHUNKED "1\r\na\r\n0\r\n\r\nX", 0, "a", 1, false},
    {"chunks in hex", CHUNKED "A\r\n0123456789\r\n00\r\n\r\n", 0, "0123456789", 0, false},
    {"chunks with extensions", CHUNKED "1;a=b\r\na\r\n0;x\r\n\r\n", 0, "a", 0, false},
    {"chunks with trailers", CHUNKED "1\r\na\r\n0\r\nX: y\r\nZ: w\r\n\r\n", 0, "a", 0, false},
    {"a chunk that is none", CHUNKED "g\r\n", 400, "", 0, false},
    {"a chunk without a length", CHUNKED "\r\n", 400, "", 0, false},
    {"a chunk below zero", CHUNKED "-1\r\n", 400, "", 0, false},
    {"a chunk that is longer", CHUNKED "1\r\nab\r\n0\r\n\r\n", 400, "", 0, false},
    {"a chunk with a line feed", CHUNKED "1\na\r\n0\r\n\r\n", 400, "", 0, false},
    {"chunks beyond the longest", CHUNKED "41\r\n", 413, "", 0, false},
    {"chunks beyond all", CHUNKED "ffffffffffffffff\r\n", 413, "", 0, false},
    {"a chunk's line without end",
     CHUNKED "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 400,
     "", 0, false},
    {"chunks and a length", POST "Content-Length: 1\r\nTransfer-Encoding: chunked" END, 400, "", 0,
     false},
    {"chunked twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" END, 400, "",
     0, false},
    {"another coding", POST "Transfer-Encoding: gzip, chunked" END, 501, "", 0, false},
    {"chunks in 1.0", "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked" END "0\r\n\r\n", 400, "", 0,
     false},

    {"close", POST "Connection: close" END, 0, "", 0, true},
    {"keep-alive", POST "Connection: Keep-Alive" END, 0, "", 0, false},
    {"upgrade", POST "Connection: upgrade" END, 0, "", 0, true},
};

static enum http_read read_text(const char *text, size_t n, struct http_incoming *q, size_t *used,
                                uint8_t *copy)
{
    memcpy(copy, text, n);
    *used = 0;
    return http_read(copy, n, BODY_MAX, q, used);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_incoming q;
        uint8_t copy[1024];
        size_t n = strlen(rows[i].text), used;
        enum http_read r = read_text(rows[i].text, n, &q, &used, copy);
        bool whole = rows[i].status == 0;
        if (r != (whole ? HTTP_READ_WHOLE : HTTP_READ_BAD) ||
            (!whole && q.status != rows[i].status) ||
            (whole && (!bytes_equal_str(q.body, rows[i].body) || used != n - rows[i].left ||
                       q.closes != rows[i].closes)))
            fail_msg("%s: %d, status %u, body %zu, used %zu of %zu", rows[i].name, r, q.status,
                     q.body.n, used, n);
        /* A part of it is no more than that, until it is known to be bad. */
        bool was_bad = false;
        for (size_t k = 0; k < n - (whole ? rows[i].left : 0); k++) {
            r = read_text(rows[i].text, k, &q, &used, copy);
            was_bad = was_bad || r == HTTP_READ_BAD;
            if (r == HTTP_READ_WHOLE || (whole && r == HTTP_READ_BAD) ||
                (was_bad && r != HTTP_READ_BAD))
                fail_msg("%s, %zu bytes of it: %d", rows[i].name, k, r);
        }
    }
}

static void test_views(void **state)
{
    (void)state;
    struct http_incoming q;
    uint8_t copy[256];
    size_t used;
    struct bytes v = BYTES_NONE;
    const char *text = "POST /a/b?c=d&e HTTP/1.1\r\nX-A: \t v w \r\nx-b:1\r\nX-B: 2" END;
    assert_int_equal(read_text(text, strlen(text), &q, &used, copy), HTTP_READ_WHOLE);
    assert_true(bytes_equal_str(q.method, "POST"));
    assert_true(bytes_equal_str(q.path, "/a/b"));
    assert_true(bytes_equal_str(q.query, "c=d&e"));
    assert_int_equal(http_incoming_find(&q, "x-a", &v), 1);
    assert_true(bytes_equal_str(v, "v w"));
    assert_int_equal(http_incoming_find(&q, "X-B", &v), 2);
    assert_int_equal(http_incoming_find(&q, "X-C", &v), 0);
}

static void test_bounds(void **state)
{
    (void)state;
    static uint8_t text[2 * HTTP_READ_HEADER];
    struct http_incoming q;
    size_t used = 0;
    memset(text, 'a', sizeof text);
    memcpy(text, "POST /", 6);
    assert_int_equal(http_read(text, HTTP_READ_HEADER, BODY_MAX, &q, &used), HTTP_READ_MORE);
    assert_int_equal(http_read(text, HTTP_READ_HEADER + 1, BODY_MAX, &q, &used), HTTP_READ_BAD);
    assert_int_equal(q.status, 431);
    struct buf b = buf_on(text, sizeof text);
    buf_put_str(&b, POST);
    for (int i = 0; i < HTTP_READ_FIELDS; i++)
        buf_put_str(&b, "X: y\r\n");
    size_t n = b.n;
    buf_put_str(&b, "\r\n");
    assert_int_equal(http_read(text, b.n, BODY_MAX, &q, &used), HTTP_READ_WHOLE);
    b.n = n;
    buf_put_str(&b, "X: y\r\n\r\n");
    assert_int_equal(http_read(text, b.n, BODY_MAX, &q, &used), HTTP_READ_BAD);
    assert_int_equal(q.status, 431);
}

static void test_expects(void **state)
{
    (void)state;
    struct http_incoming q;
    uint8_t copy[256];
    size_t used;
    const char *text = POST "Content-Length: 1\r\nExpect: 100-Continue" END "a";
    assert_int_equal(read_text(text, strlen(text) - 1, &q, &used, copy), HTTP_READ_MORE);
    assert_true(q.expects);
    assert_int_equal(read_text(text, strlen(text), &q, &used, copy), HTTP_READ_WHOLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_expects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
