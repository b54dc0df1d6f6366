#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <coap3/coap.h>

#include "../proxy/limits.h"
#include "../proxy/msg.h"

#define N(a) (sizeof(a) / sizeof *(a))

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex; hex++) {
        unsigned v;
        if (*hex == ' ')
            continue;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = (uint8_t)v;
        hex++;
    }
    return n;
}

/* An exact heap copy, so that the sanitizer sees a read past the end. */
static uint8_t *exact(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    return copy;
}

static enum msg_parse parse_exact(const uint8_t *p, size_t n)
{
    static struct msg m;
    uint8_t *copy = exact(p, n);
    enum msg_parse got = msg_parse(bytes_of(n ? copy : NULL, n), &m);
    free(copy);
    return got;
}

static uint64_t seed = 0x243f6a8885a308d3;

static uint32_t rnd(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

static const struct {
    const char *name, *hex;
    enum msg_parse want;
} rows[] = {
    /* RFC 7252 appendix A, figures 16 and 17 */
    {"GET temperature", "40 01 7d34 bb 74656d7065726174757265", MSG_OK},
    {"  its answer", "60 45 7d34 ff 32322e33 2043", MSG_OK},
    {"  version 0", "00 01 7d34 bb 74656d7065726174757265", MSG_IGNORE},
    {"  version 2", "80 01 7d34 bb 74656d7065726174757265", MSG_IGNORE},
    {"  version 3", "c0 01 7d34 bb 74656d7065726174757265", MSG_IGNORE},
    {"  option cut", "40 01 7d34 bb 74656d70657261747572", MSG_BAD},
    {"  reserved delta", "40 01 7d34 fb 74656d7065726174757265", MSG_BAD},
    {"  reserved length", "40 01 7d34 bf 74656d7065726174757265", MSG_BAD},
    {"  answer of marker only", "60 45 7d34 ff", MSG_BAD},
    {"nothing", "", MSG_IGNORE},
    {"three bytes", "40 01 7d", MSG_IGNORE},
    {"token of 8", "48 01 0001 0102030405060708", MSG_OK},
    {"  cut", "48 01 0001 01020304050607", MSG_BAD},
    {"  length 9", "49 01 0001 010203040506070809", MSG_BAD},
    {"  length 12", "4c 01 0001 0102030405060708090a0b0c", MSG_BAD},
    {"  length 15", "4f 01 0001 0102030405060708090a0b0c0d0e0f", MSG_BAD},
    {"ping", "40 00 0001", MSG_OK},
    {"  with a token", "41 00 0001 aa", MSG_BAD},
    {"  with token length only", "41 00 0001", MSG_BAD},
    {"  with an option", "40 00 0001 b0", MSG_BAD},
    {"  with a marker", "40 00 0001 ff", MSG_BAD},
    {"  non-confirmable", "50 00 0001", MSG_BAD},
    {"  acknowledgement", "60 00 0001", MSG_OK},
    {"  reset", "70 00 0001", MSG_OK},
    {"  reset with a token", "71 00 0001 aa", MSG_BAD},
    {"  reset with a code", "70 45 0001", MSG_BAD},
    {"2.05 acknowledged", "60 45 0001", MSG_OK},
    {"  request in an acknowledgement", "60 01 0001", MSG_BAD},
    {"  class 1", "60 21 0001", MSG_BAD},
    {"  class 6", "60 c1 0001", MSG_BAD},
    {"  class 7", "60 e1 0001", MSG_BAD},
    {"  class 3", "60 61 0001", MSG_OK},
    {"class 1 in a request", "40 3f 0001", MSG_BAD},
    {"  unknown method", "40 1f 0001", MSG_OK},
    {"  separate answer", "40 45 0001", MSG_OK},
    {"option without value at the end", "40 01 0001 b0", MSG_OK},
    {"  extended delta of one byte", "40 01 0001 d0 00", MSG_OK},
    {"    missing", "40 01 0001 d0", MSG_BAD},
    {"  extended delta of two bytes", "40 01 0001 e0 00 00", MSG_OK},
    {"    one missing", "40 01 0001 e0 00", MSG_BAD},
    {"    both missing", "40 01 0001 e0", MSG_BAD},
    {"extended length of one byte", "40 01 0001 0d 00 0102030405060708090a0b0c0d", MSG_OK},
    {"  cut", "40 01 0001 0d 00 0102030405060708090a0b0c", MSG_BAD},
    {"  missing", "40 01 0001 0d", MSG_BAD},
    {"  of two bytes, cut", "40 01 0001 0e 00 00 0102", MSG_BAD},
    {"  of two bytes, one missing", "40 01 0001 0e 00", MSG_BAD},
    {"number 65535", "40 01 0001 e0 fef2", MSG_OK},
    {"  65536 in one step", "40 01 0001 e0 fef3", MSG_BAD},
    {"  65548 in one step", "40 01 0001 e0 feff", MSG_BAD},
    {"  65549 in one step", "40 01 0001 e0 ff00", MSG_BAD},
    {"  65804 in one step", "40 01 0001 e0 ffff", MSG_BAD},
    {"  65536 in two steps", "40 01 0001 e0 fef2 10", MSG_BAD},
    {"  65535 twice", "40 01 0001 e0 fef2 00", MSG_OK},
    {"payload", "40 02 0001 b1 61 ff 00", MSG_OK},
    {"  empty", "40 02 0001 b1 61 ff", MSG_BAD},
    {"  of a marker", "40 02 0001 b1 61 ff ff", MSG_OK},
    {"  marker as a value", "40 02 0001 b1 ff", MSG_OK},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        uint8_t in[64];
        size_t n = unhex(rows[i].hex, in);
        enum msg_parse got = parse_exact(in, n);
        if (got != rows[i].want)
            fail_msg("%s: got %d, wanted %d", rows[i].name, (int)got, (int)rows[i].want);
    }
}

static void test_view(void **state)
{
    (void)state;
    uint8_t in[64];
    struct msg m;
    size_t n = unhex("52 03 1234 abcd 35 6c6f77 6c72 82 6c73 c1 3c ff 0102", in);
    assert_int_equal(msg_parse(bytes_of(in, n), &m), MSG_OK);
    assert_int_equal(m.type, TYPE_NON);
    assert_int_equal(m.code, MSG_PUT);
    assert_int_equal(m.mid, 0x1234);
    assert_int_equal(m.token_n, 2);
    assert_memory_equal(m.token, "\xab\xcd", 2);
    assert_int_equal(m.n_options, 3);
    assert_true(bytes_equal_str(msg_find(&m, OPT_URI_HOST)->value, "lowlr"));
    assert_true(bytes_equal_str(msg_find(&m, OPT_URI_PATH)->value, "ls"));
    assert_ptr_equal(m.options[1].value.p, in + 13); /* nothing is copied */
    assert_int_equal(msg_uint(&m, OPT_BLOCK2), 0x3c);
    assert_null(msg_find(&m, OPT_URI_QUERY));
    assert_int_equal(msg_uint(&m, OPT_URI_QUERY), -1);
    assert_int_equal(msg_uint(&m, OPT_URI_HOST), -1); /* five bytes */
    assert_int_equal(m.payload.n, 2);
}

/* What is not OK leaves nothing behind to be acted on. */
static void test_refused_leaves_no_view(void **state)
{
    (void)state;
    static struct msg m;
    uint8_t in[64];
    memset(&m, 0xff, sizeof m);
    size_t n = unhex("42 01 1234 abcd b1 61 b1", in);
    assert_int_equal(msg_parse(bytes_of(in, n), &m), MSG_BAD);
    assert_int_equal(m.type, TYPE_CON);
    assert_int_equal(m.code, MSG_GET);
    assert_int_equal(m.mid, 0x1234);
    assert_int_equal(m.token_n, 0);
    assert_int_equal(m.n_options, 0);
    assert_int_equal(m.payload.n, 0);
}

static void test_options_max(void **state)
{
    (void)state;
    uint8_t in[4 + MSG_OPTIONS_MAX + 1] = {0x40, 1, 0, 1, 0xb0};
    assert_int_equal(parse_exact(in, 4 + MSG_OPTIONS_MAX), MSG_OK);
    assert_int_equal(parse_exact(in, 4 + MSG_OPTIONS_MAX + 1), MSG_BAD);
}

static void test_build(void **state)
{
    (void)state;
    uint8_t storage[2][4], out[64], want[64];
    struct msg m = {.type = TYPE_ACK, .code = MSG_CODE(2, 5), .mid = 0x7d34};
    struct buf b = buf_on(out, sizeof out);
    assert_true(msg_add_uint(&m, OPT_MAX_AGE, 0x100, storage[0]));
    assert_true(msg_add(&m, OPT_ETAG, BYTES_LIT("a")));
    assert_true(msg_add(&m, OPT_ETAG, BYTES_LIT("b"))); /* behind its like */
    assert_true(msg_add_uint(&m, OPT_CONTENT_FORMAT, 0, storage[1]));
    m.payload = BYTES_LIT("x");
    assert_true(msg_write(&m, &b));
    size_t n = unhex("60 45 7d34 41 61 01 62 80 22 0100 ff 78", want);
    assert_int_equal(b.n, n);
    assert_memory_equal(out, want, n);
    assert_int_equal(msg_uint(&m, OPT_MAX_AGE), 256);
    assert_int_equal(msg_uint(&m, OPT_CONTENT_FORMAT), 0);

    for (size_t cap = 0; cap < n; cap++) {
        uint8_t *small = exact(out, cap);
        struct buf s = buf_on(small, cap);
        assert_false(msg_write(&m, &s));
        assert_int_equal(buf_bytes(&s).n, 0);
        free(small);
    }

    struct msg_option swap = m.options[0]; /* not in order */
    m.options[0] = m.options[2];
    m.options[2] = swap;
    b = buf_on(out, sizeof out);
    assert_false(msg_write(&m, &b));

    struct msg full = {.code = MSG_GET};
    for (size_t i = 0; i < MSG_OPTIONS_MAX; i++)
        assert_true(msg_add(&full, OPT_URI_PATH, BYTES_LIT("a")));
    assert_false(msg_add(&full, OPT_URI_PATH, BYTES_LIT("a")));

    b = buf_on(out, sizeof out);
    msg_write_empty(TYPE_RST, 0x1234, &b);
    assert_int_equal(b.n, 4);
    assert_memory_equal(out, "\x70\x00\x12\x34", 4);
    struct msg ping = {.mid = 1};
    b = buf_on(out, sizeof out);
    assert_true(msg_write(&ping, &b));
    assert_int_equal(b.n, 4);
    ping.payload = BYTES_LIT("x");
    assert_false(msg_write(&ping, &b));
}

static void random_msg(struct msg *m, uint8_t *pool, size_t pool_n)
{
    static const uint8_t codes[] = {1, 2, 3, 4, 5, 6, 7, 0x41, 0x45, 0x84, 0xa4};
    static const uint16_t numbers[] = {1, 3, 4, 6, 11, 12, 14, 15, 17, 23, 28, 60, 252, 258, 292};
    *m = (struct msg){.type = (uint8_t)rnd(2), .code = codes[rnd(N(codes))]};
    m->mid = (uint16_t)rnd(65536);
    m->token_n = (uint8_t)rnd(9);
    for (size_t i = 0; i < pool_n; i++)
        pool[i] = (uint8_t)rnd(256);
    memcpy(m->token, pool, m->token_n);
    for (size_t i = rnd(rnd(4) ? 8 : MSG_OPTIONS_MAX + 1); i > 0; i--) {
        uint16_t number = (uint16_t)(rnd(4) ? numbers[rnd(N(numbers))] : rnd(65536));
        size_t len = rnd(8) ? rnd(16) : rnd(300);
        assert_true(msg_add(m, number, bytes_of(pool + rnd((uint32_t)(pool_n - len)), len)));
    }
    size_t len = rnd(2) ? rnd(100) : 0;
    m->payload = bytes_of(pool, len);
}

static void test_round_trip(void **state)
{
    (void)state;
    static uint8_t pool[600], out[65536];
    static struct msg m, back;
    for (int round = 0; round < 20000; round++) {
        random_msg(&m, pool, sizeof pool);
        struct buf b = buf_on(out, sizeof out);
        assert_true(msg_write(&m, &b));
        if (msg_parse(buf_bytes(&b), &back) != MSG_OK)
            fail_msg("round %d: does not parse", round);
        assert_int_equal(m.type, back.type);
        assert_int_equal(m.code, back.code);
        assert_int_equal(m.mid, back.mid);
        assert_int_equal(m.token_n, back.token_n);
        assert_memory_equal(m.token, back.token, m.token_n);
        assert_int_equal(m.n_options, back.n_options);
        for (size_t i = 0; i < m.n_options; i++) {
            assert_int_equal(m.options[i].number, back.options[i].number);
            assert_true(bytes_equal(m.options[i].value, back.options[i].value));
        }
        assert_true(bytes_equal(m.payload, back.payload));
    }
}

/* Cut anywhere, a message is refused, unless the cut falls between options
 * or within the payload. */
static void test_truncation(void **state)
{
    (void)state;
    uint8_t in[64];
    size_t n = unhex("42 03 1234 abcd 35 6c6f776c72 82 6c73 dd0a00 0102030405060708090a0b0c0d "
                     "e1 0001 07 ff 0102",
                     in);
    static const size_t whole[] = {6, 12, 15, 31, 35, 37, 38};
    for (size_t cut = 0; cut <= n; cut++) {
        enum msg_parse want = cut < 4 ? MSG_IGNORE : MSG_BAD;
        for (size_t k = 0; k < N(whole); k++)
            if (cut == whole[k])
                want = MSG_OK;
        enum msg_parse got = parse_exact(in, cut);
        if (got != want)
            fail_msg("cut at %zu: got %d, wanted %d", cut, (int)got, (int)want);
    }
}

/* libcoap's own parser on the same bytes. Where it is more lenient: it leaves
 * version, types and classes to its sessions, bounds no count, lets a delta
 * wrap around, and (later releases) reads the longer tokens of RFC 8974.
 * Where it is stricter: it drops a message in which an option that it knows
 * has a wrong length, which RFC 7252 5.4.3 does not call a format error. */
static bool explained(const uint8_t *p, size_t n, bool ours)
{
    struct msg m;
    size_t count = 0;
    bool wraps = false;
    if (n < 4)
        return false;
    if (ours) { /* accepted here, dropped there */
        if (msg_parse(bytes_of(p, n), &m) != MSG_OK)
            return false;
        for (size_t i = 0; i < m.n_options; i++) {
            size_t len = m.options[i].value.n;
            switch (m.options[i].number) {
            case 1:
                count += len > 8;
                break;
            case 3:
                count += len < 1 || len > 255;
                break;
            case 4:
                count += len < 1 || len > 8;
                break;
            case 5:
                count += len > 0;
                break;
            case 6:
            case 23:
            case 27:
                count += len > 3;
                break;
            case 7:
            case 12:
            case 17:
                count += len > 2;
                break;
            case 15: /* RFC 7252 5.10 allows none */
                count += len < 1 || len > 255;
                break;
            case 65535: /* one more than it knows */
                count++;
                break;
            case 8:
            case 9:
            case 11:
            case 20:
                count += len > 255;
                break;
            case 14:
            case 28:
            case 60:
                count += len > 4;
                break;
            case 16:
                count += len != 1;
                break;
            case 35:
                count += len < 1 || len > 1034;
                break;
            case 39:
                count += len < 1 || len > 255;
                break;
            case 252:
                count += len < 1 || len > 40;
                break;
            case 258:
                count += len > 1;
                break;
            case 292:
                count += len > 8;
                break;
            default:
                break;
            }
        }
        return count > 0;
    }
    unsigned type = p[0] >> 4 & 3, class = p[1] >> 5;
    if (p[0] >> 6 != 1 || (p[0] & 15) > MSG_TOKEN_MAX || class == 1 || class > 5 ||
        (type == TYPE_NON && p[1] == 0) || (type == TYPE_RST && p[1] != 0) ||
        (type == TYPE_ACK && class == 0 && p[1] != 0))
        return true;
    /* a slow reading of the options */
    uint64_t number = 0;
    for (size_t i = 4 + (p[0] & 15u); i < n && p[i] != 0xff; count++) {
        uint64_t part[2] = {p[i] >> 4, p[i] & 15};
        i++;
        for (int k = 0; k < 2; k++) {
            if (part[k] == 13 && i < n)
                part[k] += p[i++];
            else if (part[k] == 14 && i + 1 < n) {
                part[k] = 269u + (unsigned)(p[i] << 8 | p[i + 1]);
                i += 2;
            }
        }
        number += part[0];
        wraps = wraps || number > 65535;
        i += part[1];
    }
    return count > MSG_OPTIONS_MAX || wraps;
}

static void test_against_libcoap(void **state)
{
    (void)state;
    static uint8_t pool[600], out[65536];
    static struct msg m;
    size_t both = 0, neither = 0, differ = 0;
    coap_set_log_level((coap_log_t)0);
    coap_pdu_t *pdu = coap_pdu_init(COAP_MESSAGE_CON, COAP_EMPTY_CODE, 0, sizeof out);
    assert_non_null(pdu);
    for (int round = 0; round < 40000; round++) {
        struct buf b = buf_on(out, sizeof out);
        if (rnd(4)) {
            random_msg(&m, pool, sizeof pool);
            assert_true(msg_write(&m, &b));
            for (uint32_t k = rnd(4); k > 0; k--)
                out[rnd((uint32_t)(rnd(2) && b.n > 16 ? 16 : b.n))] = (uint8_t)rnd(256);
            if (!rnd(4))
                b.n = rnd((uint32_t)b.n + 1);
        } else {
            b.n = rnd(40);
            for (size_t i = 0; i < b.n; i++)
                out[i] = (uint8_t)rnd(256);
            if (b.n)
                out[0] = (uint8_t)(0x40 | (out[0] & 0x37));
        }
        bool ours = parse_exact(out, b.n) == MSG_OK;
        bool theirs = coap_pdu_parse(COAP_PROTO_UDP, out, b.n, pdu) > 0;
        if (ours == theirs)
            ours ? both++ : neither++;
        else if (explained(out, b.n, ours))
            differ++;
        else {
            for (size_t i = 0; i < b.n && i < 64; i++)
                fprintf(stderr, "%02x", out[i]);
            if (msg_parse(bytes_of(out, b.n), &m) == MSG_OK)
                for (size_t i = 0; i < m.n_options; i++)
                    fprintf(stderr, " %u/%zu", m.options[i].number, m.options[i].value.n);
            coap_delete_pdu(pdu);
            fail_msg("round %d: ours %d, theirs %d", round, ours, theirs);
        }
    }
    coap_delete_pdu(pdu);
    assert_true(both > 1000 && neither > 1000 && differ > 10); /* each was tried */
}

static void test_noise(void **state)
{
    (void)state;
    uint8_t in[80];
    for (int round = 0; round < 50000; round++) {
        size_t n = rnd(sizeof in);
        for (size_t i = 0; i < n; i++)
            in[i] = (uint8_t)rnd(256);
        (void)parse_exact(in, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_refused_leaves_no_view),
        cmocka_unit_test(test_options_max),
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_against_libcoap),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
