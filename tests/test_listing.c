#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../proxy/links.h"
#include "../proxy/listing.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define OWN  "</authz-info>;rt=\"ace.ai\""

#define B(s)                                                                                       \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }
static const struct bytes lamp[] = {B("lamp")}, deep[] = {B("up"), B("a b")}, v1[] = {B("v1")};
static const struct discovery_device devices[] = {
    {"lamp", NULL, {lamp, 1, NULL, 0}, false, false},
    {"deep", NULL, {deep, 2, v1, 1}, false, false},
    {"meter", "meter.home", {NULL, 0, NULL, 0}, false, false},
};
enum { LAMP = 0, DEEP = 1, METER = 2, DEVICES = 3 };

/* Knows what is asked by its joined form, which is unambiguous here. */
struct rights {
    const char *refused; /* a line for each, or NULL */
    size_t asked;
};

static bool may(void *user, struct request *r)
{
    struct rights *rights = user;
    char line[512];
    size_t at = (size_t)snprintf(line, sizeof line, "%d:", r->device);
    for (size_t i = 0; i < r->n_path; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "/%.*s", (int)r->path[i].n,
                               (const char *)r->path[i].p);
    for (size_t i = 0; i < r->n_query; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "?%.*s", (int)r->query[i].n,
                               (const char *)r->query[i].p);
    snprintf(line + at, sizeof line - at, "\n");
    rights->asked++;
    return !rights->refused || !strstr(rights->refused, line);
}

static struct discovery *knowing(int device, const char *text)
{
    struct discovery *d = discovery_new(devices, DEVICES);
    assert_non_null(d);
    for (int i = 0; i < DEVICES; i++) {
        struct msg m = {.code = MSG_CODE(2, 5), .payload = bytes_str(i == device ? text : "")};
        struct bytes known;
        assert_int_equal(discovery_next(d, 0), i);
        assert_false(discovery_take_answer(d, i, text ? &m : NULL, 0));
        assert_int_equal(discovery_known(d, i, &known), text != NULL);
    }
    return d;
}

static const struct {
    const char *name;
    int device;
    const char *text; /* NULL: nothing is known of any device */
    const char *refused, *filter[2];
    const char *want; /* "S": what a stranger sees; of the rest, without OWN */
} rows[] = {
    {"nothing known", 0, NULL, NULL, {0}, ",</lamp>,</up/a%20b>,<coaps://meter.home/>"},
    {"  one refused", 0, NULL, "0:/lamp\n", {0}, ",</up/a%20b>,<coaps://meter.home/>"},
    {"  by host refused", 0, NULL, "2:/meter\n", {0}, ",</lamp>,</up/a%20b>"},
    {"nothing published", 0, "", NULL, {0}, ""},
    {"links",
     LAMP,
     "</state>;rt=\"light\";ct=0, </name>;title=\"a,b;c\"",
     NULL,
     {0},
     ",</lamp/state>;rt=\"light\";ct=0,</lamp/name>;title=\"a,b;c\""},
    {"  one refused", LAMP, "</state>,</name>", "0:/lamp/state\n", {0}, ",</lamp/name>"},
    {"  root", LAMP, "</>", NULL, {0}, ",</lamp>"},
    {"  with a slash at the end", LAMP, "</a/>", NULL, {0}, ",</lamp/a/>"},
    {"  relative", LAMP, "<state>", NULL, {0}, ",</lamp/state>"},
    {"  re-encoded", LAMP, "</a%2fb%20c%41>", NULL, {0}, ",</lamp/a%2Fb%20cA>"},
    {"  blanks gone", LAMP, "</a> ; obs ; ct=1 ", NULL, {0}, ",</lamp/a>;obs;ct=1"},
    {"  elsewhere", LAMP, "<http://h/x>,<coap://lamp/x>,<//h/x>,</a>", NULL, {0}, ",</lamp/a>"},
    {"  out of the device", LAMP, "</../door>,</a/..>,</%2e%2e/door>", NULL, {0}, ""},
    {"  no URI", LAMP, "</\xc3\xa9>,</a>", NULL, {0}, ",</lamp/a>"},
    {"query", LAMP, "</a?x=1&y>", NULL, {0}, ",</lamp/a?x=1&y>"},
    {"  refused by it", LAMP, "</a?x=1&y>,</a?x=2>", "0:/lamp/a?x=1?y\n", {0}, ",</lamp/a?x=2>"},
    {"fragment", LAMP, "</a#f>", NULL, {0}, ",</lamp/a#f>"},
    {"  of what is refused", LAMP, "</a#f>", "0:/lamp/a\n", {0}, ""},
    {"base", DEEP, "</v1/x>", NULL, {0}, ",</up/a%20b/x>"},
    {"  itself", DEEP, "</v1>", NULL, {0}, ",</up/a%20b>"},
    {"  with a slash", DEEP, "</v1/>", NULL, {0}, ",</up/a%20b/>"},
    {"  beside it", DEEP, "</v2/x>,</>,</v1x>", NULL, {0}, ""},
    {"by host", METER, "</w>;ct=0", NULL, {0}, ",<coaps://meter.home/w>;ct=0"},
    {"  refused", METER, "</w>;ct=0", "2:/meter/w\n", {0}, ""},
    {"anchor",
     LAMP,
     "</t>;anchor=\"/s\";rel=\"alternate\"",
     NULL,
     {0},
     ",</lamp/t>;anchor=\"/lamp/s\";rel=\"alternate\""},
    {"  by host",
     METER,
     "</t>;anchor=\"/s\"",
     NULL,
     {0},
     ",<coaps://meter.home/t>;anchor=\"coaps://meter.home/s\""},
    {"  refused", LAMP, "</t>;anchor=\"/s\",</u>", "0:/lamp/s\n", {0}, ",</lamp/u>"},
    {"  elsewhere", LAMP, "</t>;anchor=\"coap://h/s\",</u>", NULL, {0}, ",</lamp/u>"},
    {"  without quotes", LAMP, "</t>;anchor=/s", NULL, {0}, ""},
    {"  twice", LAMP, "</t>;anchor=\"/s\";ANCHOR=\"/s\"", NULL, {0}, ""},
    {"  without a value", LAMP, "</t>;anchor", NULL, {0}, ""},
    {"filter by href", LAMP, "</a>,</b>", NULL, {"href=/lamp/a"}, "S,</lamp/a>"},
    {"  by the name it has there", LAMP, "</a>", NULL, {"href=/a"}, "S"},
    {"  by prefix", LAMP, "</a>,</b>", NULL, {"href=/lamp/*"}, "S,</lamp/a>,</lamp/b>"},
    {"  of the host", METER, "</a>", NULL, {"href=coaps://meter*"}, "S,<coaps://meter.home/a>"},
    {"  by rt", LAMP, "</a>;rt=\"x y\",</b>;rt=\"z\"", NULL, {"rt=y"}, "S,</lamp/a>;rt=\"x y\""},
    {"  by rt of our own", LAMP, "</a>;rt=\"x\"", NULL, {"rt=ace.*"}, OWN},
    {"  by two",
     LAMP,
     "</a>;rt=\"x\";ct=0,</b>;rt=\"x\"",
     NULL,
     {"rt=x", "ct=0"},
     "S,</lamp/a>;rt=\"x\";ct=0"},
    {"  that shows what is refused", LAMP, "</a>;rt=\"x\"", "0:/lamp/a\n", {"rt=x"}, "S"},
};

static void test_rows(void **state)
{
    (void)state;
    static char out[LISTING_TEXT_MAX];
    for (size_t i = 0; i < N(rows); i++) {
        struct discovery *d = knowing(rows[i].device, rows[i].text);
        struct rights rights = {rows[i].refused, 0};
        struct bytes filter[2] = {bytes_str(rows[i].filter[0]), bytes_str(rows[i].filter[1])};
        struct listing_ask ask = {.may = may, .user = &rights, .query = filter};
        ask.n_query = rows[i].filter[1] ? 2 : rows[i].filter[0] ? 1 : 0;
        struct buf b = buf_on(out, sizeof out);
        listing_write(d, &ask, &b);
        char want[512];
        const char *rest = rows[i].want;
        if (!ask.n_query)
            snprintf(want, sizeof want, "%s%s", OWN, rest);
        else /* filtered: ours is gone, and the comma with it */
            snprintf(want, sizeof want, "%s", rest[0] == 'S' ? rest + 1 + (rest[1] == ',') : rest);
        if (!bytes_equal_str(buf_bytes(&b), want))
            fail_msg("%s: got %.*s, wanted %s", rows[i].name, (int)b.n, out, want);
        discovery_free(d);
    }
}

static void test_stranger(void **state)
{
    (void)state;
    char out[256];
    struct discovery *d = knowing(LAMP, "</a>;rt=\"x\"");
    static const struct {
        const char *filter, *want;
    } asks[] = {{NULL, OWN}, {"rt=ace.ai", OWN}, {"rt=x", ""}, {"href=/*", OWN}, {"obs", OWN}};
    for (size_t i = 0; i < N(asks); i++) {
        struct bytes filter = bytes_str(asks[i].filter);
        struct listing_ask ask = {.query = &filter, .n_query = asks[i].filter != NULL};
        struct buf b = buf_on(out, sizeof out);
        listing_write(d, &ask, &b);
        assert_true(bytes_equal_str(buf_bytes(&b), asks[i].want));
    }
    discovery_free(d);
}

static void test_port(void **state)
{
    (void)state;
    char out[256];
    struct rights rights = {0};
    struct discovery *d = knowing(METER, "</a>");
    static const struct {
        uint16_t port;
        const char *want;
    } ports[] = {{0, OWN ",<coaps://meter.home/a>"},
                 {5684, OWN ",<coaps://meter.home/a>"},
                 {10, OWN ",<coaps://meter.home:10/a>"},
                 {65535, OWN ",<coaps://meter.home:65535/a>"}};
    for (size_t i = 0; i < N(ports); i++) {
        struct listing_ask ask = {.may = may, .user = &rights, .port = ports[i].port};
        struct buf b = buf_on(out, sizeof out);
        listing_write(d, &ask, &b);
        assert_true(bytes_equal_str(buf_bytes(&b), ports[i].want));
    }
    discovery_free(d);
}

/* Whatever the room, what was written is a document, of whole links. */
static void test_room(void **state)
{
    (void)state;
    const char *text = "</a>;rt=\"x\",</b>;anchor=\"/c\",</d>";
    const char *all = OWN ",</lamp/a>;rt=\"x\",</lamp/b>;anchor=\"/lamp/c\",</lamp/d>";
    size_t links = 0;
    for (size_t cap = strlen(OWN); cap <= strlen(all); cap++) {
        struct discovery *d = knowing(LAMP, text);
        struct rights rights = {0};
        struct listing_ask ask = {.may = may, .user = &rights};
        uint8_t *out = malloc(cap);
        struct buf b = buf_on(out, cap);
        listing_write(d, &ask, &b);
        assert_false(b.full);
        assert_memory_equal(out, all, b.n);
        assert_true(all[b.n] == ',' || all[b.n] == '\0');
        struct bytes rest = buf_bytes(&b);
        struct link l;
        size_t n = 0;
        while (link_next(&rest, &l) == LINK_FOUND)
            n++;
        assert_true(n >= links);
        links = n;
        free(out);
        discovery_free(d);
    }
    assert_int_equal(links, 4);
    struct discovery *d = knowing(LAMP, text);
    struct rights rights = {0};
    struct listing_ask ask = {.may = may, .user = &rights};
    char small[sizeof OWN - 2]; /* not even for our own */
    struct buf b = buf_on(small, sizeof small);
    listing_write(d, &ask, &b);
    assert_true(b.full);
    assert_int_equal(buf_bytes(&b).n, 0);
    discovery_free(d);
}

static bool may_not(void *user, struct request *r)
{
    (void)r;
    (*(size_t *)user)++;
    return false;
}

/* Judgements are bounded, whatever the devices publish; a filter spares them. */
static void test_cost(void **state)
{
    (void)state;
    enum { MANY = 20 };
    static struct discovery_device many[MANY];
    static char text[DISCOVERY_TEXT_MAX], out[LISTING_TEXT_MAX];
    for (size_t k = 0; k < DISCOVERY_LINKS_MAX; k++)
        strcat(text, k ? ",</a>" : "</a>");
    for (size_t i = 0; i < MANY; i++)
        many[i] = devices[LAMP];
    struct discovery *d = discovery_new(many, MANY);
    for (int i = 0; i < MANY; i++) {
        struct msg m = {.code = MSG_CODE(2, 5), .payload = bytes_str(text)};
        assert_int_equal(discovery_next(d, 0), i);
        assert_false(discovery_take_answer(d, i, &m, 0));
    }
    size_t asked = 0;
    struct listing_ask ask = {.may = may_not, .user = &asked};
    struct buf b = buf_on(out, sizeof out);
    listing_write(d, &ask, &b);
    assert_int_equal(asked, LISTING_JUDGED_MAX);
    assert_true(bytes_equal_str(buf_bytes(&b), OWN));
    struct bytes filter = BYTES_LIT("href=/door/*");
    asked = 0;
    ask.query = &filter;
    ask.n_query = 1;
    b = buf_on(out, sizeof out);
    listing_write(d, &ask, &b);
    assert_int_equal(asked, 0);
    discovery_free(d);
}

static struct msg get(int64_t block, int64_t accept, struct bytes etag, uint8_t storage[2][4])
{
    struct msg m = {.type = TYPE_CON, .code = MSG_GET};
    if (block >= 0)
        assert_true(msg_add_uint(&m, OPT_BLOCK2, (uint32_t)block, storage[0]));
    if (accept >= 0)
        assert_true(msg_add_uint(&m, OPT_ACCEPT, (uint32_t)accept, storage[1]));
    if (etag.n)
        assert_true(msg_add(&m, OPT_ETAG, etag));
    return m;
}
#define BLOCK(num, more, szx) ((num) << 4 | (more) << 3 | (szx))

static void test_answer(void **state)
{
    (void)state;
    static uint8_t text[3000];
    static const struct {
        const char *name;
        size_t text_n;
        int64_t block, accept;
        uint8_t code;
        int64_t got; /* the answer's Block2, -1: none */
        size_t payload_n;
    } asks[] = {
        {"small", 100, -1, -1, MSG_CODE(2, 5), -1, 100},
        {"empty", 0, -1, -1, MSG_CODE(2, 5), -1, 0},
        {"  first block of it", 0, BLOCK(0, 0, 6), -1, MSG_CODE(2, 5), BLOCK(0, 0, 6), 0},
        {"  second block of it", 0, BLOCK(1, 0, 6), -1, MSG_CODE(4, 0), -1, 0},
        {"one block exactly", 1024, -1, -1, MSG_CODE(2, 5), -1, 1024},
        {"  and one byte", 1025, -1, -1, MSG_CODE(2, 5), BLOCK(0, 1, 6), 1024},
        {"large", 3000, -1, -1, MSG_CODE(2, 5), BLOCK(0, 1, 6), 1024},
        {"  second", 3000, BLOCK(1, 0, 6), -1, MSG_CODE(2, 5), BLOCK(1, 1, 6), 1024},
        {"  last", 3000, BLOCK(2, 0, 6), -1, MSG_CODE(2, 5), BLOCK(2, 0, 6), 952},
        {"  behind the last", 3000, BLOCK(3, 0, 6), -1, MSG_CODE(4, 0), -1, 0},
        {"  largest number", 3000, BLOCK(0xfffff, 0, 6), -1, MSG_CODE(4, 0), -1, 0},
        {"  M means nothing in a request", 3000, BLOCK(2, 1, 6), -1, MSG_CODE(2, 5), BLOCK(2, 0, 6),
         952},
        {"  smallest blocks", 3000, BLOCK(0, 0, 0), -1, MSG_CODE(2, 5), BLOCK(0, 1, 0), 16},
        {"  last of them", 3000, BLOCK(187, 0, 0), -1, MSG_CODE(2, 5), BLOCK(187, 0, 0), 8},
        {"  behind them", 3000, BLOCK(188, 0, 0), -1, MSG_CODE(4, 0), -1, 0},
        {"  reserved size", 3000, BLOCK(0, 0, 7), -1, MSG_CODE(4, 0), -1, 0},
        {"accepts link-format", 100, -1, 40, MSG_CODE(2, 5), -1, 100},
        {"  other", 100, -1, 50, MSG_CODE(4, 6), -1, 0},
        {"  text", 100, -1, 0, MSG_CODE(4, 6), -1, 0},
    };
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < N(asks); i++) {
        uint8_t storage[2][4];
        struct listing_scratch scratch;
        struct msg out, m = get(asks[i].block, asks[i].accept, BYTES_NONE, storage);
        listing_answer(bytes_of(text, asks[i].text_n), &m, &out, &scratch);
        if (out.code != asks[i].code || msg_uint(&out, OPT_BLOCK2) != asks[i].got ||
            out.payload.n != asks[i].payload_n)
            fail_msg("%s: code %02x, Block2 %d, %zu bytes", asks[i].name, out.code,
                     (int)msg_uint(&out, OPT_BLOCK2), out.payload.n);
        if (out.code == MSG_CODE(2, 5)) {
            assert_int_equal(msg_uint(&out, OPT_CONTENT_FORMAT), 40);
            assert_int_equal(msg_find(&out, OPT_ETAG)->value.n, 8);
        }
    }
    uint8_t storage[2][4];
    struct listing_scratch scratch;
    struct msg out, m = get(-1, -1, BYTES_NONE, storage);
    m.code = MSG_POST;
    listing_answer(bytes_of(text, 100), &m, &out, &scratch);
    assert_int_equal(out.code, MSG_CODE(4, 5));
    assert_int_equal(out.payload.n, 0);
}

/* All blocks of every size, put together, are the content. */
static void test_answer_whole(void **state)
{
    (void)state;
    static uint8_t text[3000], got[3000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    for (uint32_t szx = 0; szx <= 6; szx++) {
        size_t n = 0;
        for (uint32_t num = 0, more = 1; more; num++) {
            uint8_t storage[2][4];
            struct listing_scratch scratch;
            struct msg out, m = get(BLOCK(num, 0, szx), -1, BYTES_NONE, storage);
            assert_true(msg_add(&m, OPT_SIZE2, BYTES_NONE));
            listing_answer(bytes_of(text, sizeof text), &m, &out, &scratch);
            assert_int_equal(out.code, MSG_CODE(2, 5));
            assert_int_equal(msg_uint(&out, OPT_SIZE2), sizeof text);
            assert_true(n + out.payload.n <= sizeof got);
            memcpy(got + n, out.payload.p, out.payload.n);
            n += out.payload.n;
            more = msg_uint(&out, OPT_BLOCK2) & 8;
        }
        assert_int_equal(n, sizeof text);
        assert_memory_equal(got, text, n);
    }
}

static void test_etag(void **state)
{
    (void)state;
    uint8_t storage[2][4], text[] = "</lamp>", tag[8];
    struct listing_scratch scratch;
    struct bytes content = {text, sizeof text - 1};
    struct msg out, m = get(-1, -1, BYTES_NONE, storage);
    listing_answer(content, &m, &out, &scratch);
    memcpy(tag, msg_find(&out, OPT_ETAG)->value.p, sizeof tag);

    m = get(-1, -1, bytes_of(tag, sizeof tag), storage);
    listing_answer(content, &m, &out, &scratch);
    assert_int_equal(out.code, MSG_CODE(2, 3));
    assert_true(bytes_equal(msg_find(&out, OPT_ETAG)->value, bytes_of(tag, sizeof tag)));
    assert_int_equal(out.payload.n, 0);
    m = get(BLOCK(0, 0, 2), -1, bytes_of(tag, sizeof tag), storage);
    listing_answer(content, &m, &out, &scratch);
    assert_int_equal(out.code, MSG_CODE(2, 3));

    text[2] ^= 1; /* another content, another tag */
    m = get(-1, -1, bytes_of(tag, sizeof tag), storage);
    listing_answer(content, &m, &out, &scratch);
    assert_int_equal(out.code, MSG_CODE(2, 5));
    assert_false(bytes_equal(msg_find(&out, OPT_ETAG)->value, bytes_of(tag, sizeof tag)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows), cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_port), cmocka_unit_test(test_room),
        cmocka_unit_test(test_cost), cmocka_unit_test(test_answer),
        cmocka_unit_test(test_etag), cmocka_unit_test(test_answer_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
