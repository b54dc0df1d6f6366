#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "../proxy/key_exchange.h"

enum { SEQ = 2, PARTS = 6 };

/* A fragment of a message whose body is 0 5 'a' 'b' 'c' 'd' 'e' and then
 * `rest` bytes 'z'. */
struct part {
    uint8_t type, seq;
    uint32_t length, offset, n; /* n 0: no more parts */
};

struct row {
    const char *name;
    struct part parts[PARTS];
    size_t whole_after; /* parts until the identity is there, 0: never */
    bool bad;
};

#define P(length, offset, n)                                                                       \
    {                                                                                              \
        HANDSHAKE_CLIENT_KEY_EXCHANGE, SEQ, length, offset, n                                      \
    }

static const struct row rows[] = {
    {"in one", {P(7, 0, 7)}, 1, false},
    {"in one, more behind it", {P(40, 0, 40)}, 1, false},
    {"two parts", {P(7, 0, 3), P(7, 3, 4)}, 2, false},
    {"the last first", {P(7, 3, 4), P(7, 0, 3)}, 2, false},
    {"byte by byte", {P(7, 0, 2), P(7, 2, 1), P(7, 3, 1), P(7, 4, 1), P(7, 5, 2)}, 5, false},
    {"twice", {P(7, 0, 3), P(7, 0, 3), P(7, 3, 4)}, 3, false},
    {"overlap", {P(7, 0, 5), P(7, 2, 5)}, 2, false},
    {"a hole", {P(7, 0, 3), P(7, 4, 3)}, 0, false},
    {"length in halves", {P(7, 0, 1), P(7, 1, 6)}, 2, false},
    {"what is behind is not waited for", {P(5000, 0, 7)}, 1, false},
    {"far behind", {P(5000, 4000, 7), P(5000, 0, 7)}, 2, false},
    {"another message", {{20, SEQ, 7, 0, 7}}, 0, false},
    {"another sequence", {{HANDSHAKE_CLIENT_KEY_EXCHANGE, SEQ + 1, 7, 0, 7}}, 0, false},
    {"another length", {P(7, 0, 3), P(8, 3, 4)}, 0, false},
    {"part larger than the message", {P(6, 0, 7)}, 0, false},
    {"part past the end", {P(7, 1, 7)}, 0, false},
    {"identity longer than the message", {P(6, 0, 6)}, 0, true},
    {"no room for a length", {P(1, 0, 1)}, 0, true},
};

static size_t write_part(const struct part *p, uint8_t *out, size_t cap)
{
    struct buf b = buf_on(out, cap);
    buf_put_u8(&b, DTLS_HANDSHAKE);
    buf_put_be(&b, 0xfefd, 2);
    buf_put_be(&b, 0, 8);
    buf_put_be(&b, HANDSHAKE_HEADER + p->n, 2);
    buf_put_u8(&b, p->type);
    buf_put_be(&b, p->length, 3);
    buf_put_be(&b, p->seq, 2);
    buf_put_be(&b, p->offset, 3);
    buf_put_be(&b, p->n, 3);
    static const uint8_t head[] = {0, 5, 'a', 'b', 'c', 'd', 'e'};
    for (size_t i = p->offset; i < p->offset + p->n; i++)
        buf_put_u8(&b, i < sizeof head ? head[i] : 'z');
    assert_false(b.full);
    return b.n;
}

static void test_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct key_exchange k;
        key_exchange_init(&k, SEQ);
        size_t whole = 0;
        bool bad = false;
        for (size_t n = 0; n < PARTS && rows[i].parts[n].n && !whole; n++) {
            uint8_t record[256];
            size_t len = write_part(&rows[i].parts[n], record, sizeof record);
            switch (key_exchange_take(&k, bytes_of(record, len))) {
            case KEY_EXCHANGE_WHOLE:
                whole = n + 1;
                break;
            case KEY_EXCHANGE_BAD:
                bad = true;
                break;
            case KEY_EXCHANGE_PART:
                break;
            }
        }
        if (whole != rows[i].whole_after || bad != rows[i].bad)
            fail_msg("%s: whole after %zu, wanted %zu; bad %d", rows[i].name, whole,
                     rows[i].whole_after, bad);
        if (whole && !bytes_equal_str(key_exchange_identity(&k), "abcde"))
            fail_msg("%s: another identity", rows[i].name);
    }
}

/* Two messages in one record; then every cut of it. */
static void test_cuts(void **state)
{
    (void)state;
    static const struct part other = {11, 1, 3, 0, 3}, ours = P(7, 0, 7);
    uint8_t first[64], second[64];
    size_t a = write_part(&other, first, sizeof first),
           b = write_part(&ours, second, sizeof second) - DTLS_RECORD_HEADER;
    memcpy(first + a, second + DTLS_RECORD_HEADER, b);
    for (size_t cut = 0; cut <= a + b; cut++) {
        struct key_exchange k;
        key_exchange_init(&k, SEQ);
        enum key_exchange_state got = key_exchange_take(&k, bytes_of(first, cut));
        assert_int_equal(got, cut == a + b ? KEY_EXCHANGE_WHOLE : KEY_EXCHANGE_PART);
    }
    first[4] = 1; /* another epoch is not in clear */
    struct key_exchange k;
    key_exchange_init(&k, SEQ);
    assert_int_equal(key_exchange_take(&k, bytes_of(first, a + b)), KEY_EXCHANGE_PART);
}

static void test_longest(void **state)
{
    (void)state;
    for (size_t n = IDENTITY_MAX; n <= IDENTITY_MAX + 1; n++) {
        uint8_t record[DTLS_RECORD_HEADER + HANDSHAKE_HEADER + 2 + IDENTITY_MAX + 1];
        struct buf b = buf_on(record, sizeof record);
        buf_put(&b, bytes_of((const uint8_t[]){22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0}, 11));
        buf_put_be(&b, HANDSHAKE_HEADER + 2 + n, 2);
        buf_put_u8(&b, HANDSHAKE_CLIENT_KEY_EXCHANGE);
        buf_put_be(&b, 2 + n, 3);
        buf_put_be(&b, SEQ, 2);
        buf_put_be(&b, 0, 3);
        buf_put_be(&b, 2 + n, 3);
        buf_put_be(&b, n, 2);
        memset(buf_reserve(&b, n), 'x', n);
        struct key_exchange k;
        key_exchange_init(&k, SEQ);
        assert_int_equal(key_exchange_take(&k, buf_bytes(&b)),
                         n <= IDENTITY_MAX ? KEY_EXCHANGE_WHOLE : KEY_EXCHANGE_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests_name("key_exchange", tests, NULL, NULL);
}
