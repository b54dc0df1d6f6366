#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proxy/device_cache.h"
#include "../proxy/limits.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { DEVICES = 3, SMALL = 64 << 10 };

static const struct siphash_key seed = {1, 2};

static struct instant at_us(uint64_t us)
{
    return (struct instant){.mono_us = us};
}

static struct device_cache *open_cache(size_t bytes)
{
    struct device_cache *c = device_cache_new(bytes, DEVICES, &seed);
    assert_non_null(c);
    return c;
}

static struct msg message(uint8_t code, const char *payload)
{
    struct msg m = {.code = code, .payload = bytes_str(payload)};
    return m;
}

static void add(struct msg *m, uint16_t number, struct bytes value)
{
    assert_true(msg_add(m, number, value));
}

static struct msg get(const char *path)
{
    struct msg m = message(MSG_GET, NULL);
    add(&m, OPT_URI_PATH, bytes_str(path));
    return m;
}

/* ---- how long ---- */

enum { AGE_NONE = -1 };

static const struct {
    const char *name;
    enum cache_mode mode;
    int64_t max_age; /* AGE_NONE: no option */
    uint64_t later_us;
    bool fresh;
    uint32_t left_s;
} lives[] = {
    {"at once", CACHE_STATED, 10, 0, true, 10},
    {"after a while", CACHE_STATED, 10, 3000000, true, 7},
    {"  less than a second is not one more", CACHE_STATED, 10, 3000001, true, 6},
    {"in its last microsecond", CACHE_STATED, 10, 9999999, true, 0},
    {"  and then", CACHE_STATED, 10, 10000000, false, 0},
    {"nothing stated", CACHE_STATED, AGE_NONE, 0, false, 0},
    {"  but told to", CACHE_YES, AGE_NONE, 0, true, 60},
    {"  in the last microsecond", CACHE_YES, AGE_NONE, 59999999, true, 0},
    {"  and then", CACHE_YES, AGE_NONE, 60000000, false, 0},
    {"zero", CACHE_YES, 0, 0, false, 0},
    {"one", CACHE_YES, 1, 999999, true, 0},
    {"an hour", CACHE_STATED, 3600, 0, true, 3600},
    {"  more is an hour", CACHE_STATED, 3601, 0, true, 3600},
    {"  136 years", CACHE_STATED, UINT32_MAX, 3599999999, true, 0},
    {"  are over", CACHE_STATED, UINT32_MAX, 3600000000, false, 0},
    {"a day later", CACHE_STATED, 10, 86400000000, false, 0},
};

static void test_lives(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(lives); i++) {
        struct device_cache *c = open_cache(SMALL);
        struct msg ask = get("a"), answer = message(MSG_CODE(2, 5), "on");
        struct cache_answer found;
        uint8_t age[4];
        if (lives[i].max_age != AGE_NONE)
            assert_true(msg_add_uint(&answer, OPT_MAX_AGE, (uint32_t)lives[i].max_age, age));
        device_cache_keep(c, lives[i].mode, 1, &ask, &answer, 5000, at_us(6000));
        bool fresh =
            device_cache_find(c, 1, &ask, at_us(6000 + lives[i].later_us), &found) == CACHE_FRESH;
        if (fresh != lives[i].fresh)
            fail_msg("%s: fresh %d", lives[i].name, fresh);
        if (fresh && msg_uint(&found.m, OPT_MAX_AGE) != lives[i].left_s)
            fail_msg("%s: left %d", lives[i].name, (int)msg_uint(&found.m, OPT_MAX_AGE));
        device_cache_free(c);
    }
}

/* A clock that a caller took earlier is no reason to trust an answer. */
static void test_before(void **state)
{
    (void)state;
    struct device_cache *c = open_cache(SMALL);
    struct msg ask = get("a"), answer = message(MSG_CODE(2, 5), "on");
    struct cache_answer found;
    device_cache_keep(c, CACHE_YES, 0, &ask, &answer, 5000, at_us(6000));
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(5999), &found), CACHE_STALE);
    device_cache_free(c);
}

/* ---- what is changed ---- */

static const struct {
    const char *name;
    uint64_t asked_us, kept_us, changed_us;
    int changed;
    bool fresh;
} changes[] = {
    {"before it was asked for", 2000, 3000, 1000, 0, true},
    {"in the moment that it was asked for", 2000, 3000, 2000, 0, false},
    {"between question and answer", 2000, 3000, 2500, 0, false},
    {"after the answer", 2000, 3000, 3500, 0, false},
    {"  on another device", 2000, 3000, 3500, 1, true},
};

static void test_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(changes); i++)
        for (int order = 0; order < 2; order++) { /* told before or after it is kept */
            struct device_cache *c = open_cache(SMALL);
            struct msg ask = get("a"), answer = message(MSG_CODE(2, 5), "on");
            struct cache_answer found;
            if (order == 0)
                device_cache_changed(c, changes[i].changed, at_us(changes[i].changed_us));
            device_cache_keep(c, CACHE_YES, 0, &ask, &answer, changes[i].asked_us,
                              at_us(changes[i].kept_us));
            if (order == 1)
                device_cache_changed(c, changes[i].changed, at_us(changes[i].changed_us));
            bool fresh = device_cache_find(c, 0, &ask, at_us(4000), &found) == CACHE_FRESH;
            if (fresh != changes[i].fresh)
                fail_msg("%s: fresh %d", changes[i].name, fresh);
            device_cache_free(c);
        }
}

/* ---- keys: one mutation of the request that was answered ---- */

enum change { ADD, REPLACE, REMOVE, METHOD, PAYLOAD, DEVICE };

static const struct {
    const char *name;
    enum change change;
    uint16_t number;
    struct bytes value;
    bool same;
} keys[] = {
    {"the same", REMOVE, 9999, {NULL, 0}, true},
    {"another device", DEVICE, 0, {NULL, 0}, false},
    {"another method", METHOD, MSG_GET, {NULL, 0}, false},
    {"another payload", PAYLOAD, 0, {(const uint8_t *)"r", 1}, false},
    {"a longer payload", PAYLOAD, 0, {(const uint8_t *)"qq", 2}, false},
    {"no payload", PAYLOAD, 0, {NULL, 0}, false},
    {"another path", REPLACE, OPT_URI_PATH, {(const uint8_t *)"b", 1}, false},
    {"one segment more", ADD, OPT_URI_PATH, {(const uint8_t *)"b", 1}, false},
    {"an empty segment more", ADD, OPT_URI_PATH, {NULL, 0}, false},
    {"no path", REMOVE, OPT_URI_PATH, {NULL, 0}, false},
    {"another query", REPLACE, OPT_URI_QUERY, {(const uint8_t *)"y", 1}, false},
    {"no query", REMOVE, OPT_URI_QUERY, {NULL, 0}, false},
    {"one query more", ADD, OPT_URI_QUERY, {(const uint8_t *)"x", 1}, false},
    {"another content-format", REPLACE, OPT_CONTENT_FORMAT, {(const uint8_t *)"\x32", 1}, false},
    {"Accept", ADD, OPT_ACCEPT, {(const uint8_t *)"\x32", 1}, false},
    {"Hop-Limit: in the key by its bits", ADD, OPT_HOP_LIMIT, {(const uint8_t *)"\x10", 1}, false},
    {"Block2", ADD, OPT_BLOCK2, {(const uint8_t *)"\x06", 1}, false},
    {"Request-Tag, of a request in one piece",
     ADD,
     OPT_REQUEST_TAG,
     {(const uint8_t *)"6", 1},
     true},
    {"unknown, elective, safe", ADD, 65000, {(const uint8_t *)"t", 1}, false},
    {"ETag, which is understood", ADD, OPT_ETAG, {(const uint8_t *)"e", 1}, true},
    {"Size1, no cache key", ADD, OPT_SIZE1, {(const uint8_t *)"\x08", 1}, true},
    {"Size2, no cache key", ADD, OPT_SIZE2, {NULL, 0}, true},
    {"unknown, no cache key", ADD, 65052, {(const uint8_t *)"t", 1}, true},
};

static void test_keys(void **state)
{
    (void)state;
    struct device_cache *c = open_cache(SMALL);
    struct msg ask = message(MSG_FETCH, "q"), answer = message(MSG_CODE(2, 5), "on");
    struct cache_answer found;
    add(&ask, OPT_URI_PATH, bytes_str("a"));
    add(&ask, OPT_CONTENT_FORMAT, BYTES_LIT("\x2a"));
    add(&ask, OPT_URI_QUERY, bytes_str("x"));
    device_cache_keep(c, CACHE_YES, 0, &ask, &answer, 1, at_us(1));
    for (size_t i = 0; i < N(keys); i++) {
        struct msg other = message(ask.code, "q");
        for (size_t k = 0; k < ask.n_options; k++) {
            struct msg_option o = ask.options[k];
            if (o.number == keys[i].number && keys[i].change == REPLACE)
                o.value = keys[i].value;
            if (o.number != keys[i].number || keys[i].change != REMOVE)
                add(&other, o.number, o.value);
        }
        if (keys[i].change == ADD)
            add(&other, keys[i].number, keys[i].value);
        if (keys[i].change == METHOD)
            other.code = (uint8_t)keys[i].number;
        if (keys[i].change == PAYLOAD)
            other.payload = keys[i].value;
        int device = keys[i].change == DEVICE ? 1 : 0;
        bool same = device_cache_find(c, device, &other, at_us(2), &found) == CACHE_FRESH;
        if (same != keys[i].same)
            fail_msg("%s: the same %d", keys[i].name, same);
    }
    device_cache_free(c);
}

/* ---- requests ---- */

static const struct {
    const char *name;
    uint8_t method;
    uint16_t number; /* 0: none */
    struct bytes value;
    bool takes;
} requests[] = {
    {"GET", MSG_GET, 0, {NULL, 0}, true},
    {"FETCH", MSG_FETCH, 0, {NULL, 0}, true},
    {"POST", MSG_POST, 0, {NULL, 0}, false},
    {"PUT", MSG_PUT, 0, {NULL, 0}, false},
    {"DELETE", MSG_DELETE, 0, {NULL, 0}, false},
    {"PATCH", MSG_PATCH, 0, {NULL, 0}, false},
    {"iPATCH", MSG_IPATCH, 0, {NULL, 0}, false},
    {"Observe", MSG_GET, OPT_OBSERVE, {NULL, 0}, false},
    {"If-Match", MSG_GET, OPT_IF_MATCH, {NULL, 0}, false},
    {"If-None-Match", MSG_GET, OPT_IF_NONE_MATCH, {NULL, 0}, false},
    {"Echo", MSG_GET, OPT_ECHO, {(const uint8_t *)"e", 1}, false},
    {"Block1", MSG_FETCH, OPT_BLOCK1, {(const uint8_t *)"\x06", 1}, false},
    {"Block2, the first", MSG_GET, OPT_BLOCK2, {(const uint8_t *)"\x06", 1}, true},
    {"  as empty", MSG_GET, OPT_BLOCK2, {NULL, 0}, true},
    {"  a later one", MSG_GET, OPT_BLOCK2, {(const uint8_t *)"\x16", 1}, false},
    {"ETag", MSG_GET, OPT_ETAG, {(const uint8_t *)"e", 1}, true},
    {"unknown, elective, safe", MSG_GET, 65000, {NULL, 0}, true},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(requests); i++) {
        struct msg m = message(requests[i].method, NULL);
        if (requests[i].number)
            add(&m, requests[i].number, requests[i].value);
        if (device_cache_takes(&m) != requests[i].takes)
            fail_msg("%s", requests[i].name);
    }
}

/* ---- answers: each reject is one mutation of the first ---- */

static const struct {
    const char *name;
    uint8_t code;
    bool aged; /* has Max-Age 9 */
    uint16_t number;
    struct bytes value;
    unsigned times;
    bool kept;
} answers[] = {
    {"2.05", MSG_CODE(2, 5), true, 0, {NULL, 0}, 0, true},
    {"2.04", MSG_CODE(2, 4), true, 0, {NULL, 0}, 0, false},
    {"2.01", MSG_CODE(2, 1), true, 0, {NULL, 0}, 0, false},
    {"2.31", MSG_CODE(2, 31), true, 0, {NULL, 0}, 0, false},
    {"4.04", MSG_CODE(4, 4), true, 0, {NULL, 0}, 0, true},
    {"  for an unsaid time", MSG_CODE(4, 4), false, 0, {NULL, 0}, 0, false},
    {"5.03", MSG_CODE(5, 3), true, 0, {NULL, 0}, 0, true},
    {"4.01", MSG_CODE(4, 1), true, 0, {NULL, 0}, 0, false},
    {"4.00", MSG_CODE(4, 0), true, 0, {NULL, 0}, 0, false},
    {"4.08", MSG_CODE(4, 8), true, 0, {NULL, 0}, 0, false},
    {"5.00", MSG_CODE(5, 0), true, 0, {NULL, 0}, 0, false},
    {"a second Max-Age", MSG_CODE(2, 5), true, OPT_MAX_AGE, {(const uint8_t *)"\x09", 1}, 1, false},
    {"a Max-Age too long",
     MSG_CODE(2, 5),
     false,
     OPT_MAX_AGE,
     {(const uint8_t *)"12345", 5},
     1,
     false},
    {"Content-Format", MSG_CODE(2, 5), true, OPT_CONTENT_FORMAT, {NULL, 0}, 1, true},
    {"ETag", MSG_CODE(2, 5), true, OPT_ETAG, {(const uint8_t *)"12345678", 8}, 1, true},
    {"  twice", MSG_CODE(2, 5), true, OPT_ETAG, {(const uint8_t *)"12345678", 8}, 2, false},
    {"  empty", MSG_CODE(2, 5), true, OPT_ETAG, {NULL, 0}, 1, false},
    {"  too long", MSG_CODE(2, 5), true, OPT_ETAG, {(const uint8_t *)"123456789", 9}, 1, false},
    {"the only block", MSG_CODE(2, 5), true, OPT_BLOCK2, {(const uint8_t *)"\x06", 1}, 1, true},
    {"  twice", MSG_CODE(2, 5), true, OPT_BLOCK2, {(const uint8_t *)"\x06", 1}, 2, false},
    {"the first of more", MSG_CODE(2, 5), true, OPT_BLOCK2, {(const uint8_t *)"\x0e", 1}, 1, false},
    {"the second", MSG_CODE(2, 5), true, OPT_BLOCK2, {(const uint8_t *)"\x16", 1}, 1, false},
    {"Size2", MSG_CODE(2, 5), true, OPT_SIZE2, {(const uint8_t *)"\x06", 1}, 1, true},
    {"Observe", MSG_CODE(2, 5), true, OPT_OBSERVE, {(const uint8_t *)"\x06", 1}, 1, false},
    {"Echo", MSG_CODE(2, 5), true, OPT_ECHO, {(const uint8_t *)"e", 1}, 1, false},
    {"unknown, elective, safe", MSG_CODE(2, 5), true, 65000, {NULL, 0}, 1, true},
    {"unknown, critical", MSG_CODE(2, 5), true, 65001, {NULL, 0}, 1, false},
    {"unknown, unsafe", MSG_CODE(2, 5), true, 65002, {NULL, 0}, 1, false},
    {"as many options as fit", MSG_CODE(2, 5), true, 65000, {NULL, 0}, MSG_OPTIONS_MAX - 1, true},
    {"  and one more", MSG_CODE(2, 5), false, 65000, {NULL, 0}, MSG_OPTIONS_MAX, false},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(answers); i++) {
        struct device_cache *c = open_cache(SMALL);
        struct msg ask = get("a"), answer = message(answers[i].code, "x");
        struct cache_answer found;
        if (answers[i].aged)
            add(&answer, OPT_MAX_AGE, BYTES_LIT("\x09"));
        for (unsigned k = 0; k < answers[i].times; k++)
            add(&answer, answers[i].number, answers[i].value);
        device_cache_keep(c, CACHE_YES, 0, &ask, &answer, 1, at_us(1));
        bool kept = device_cache_find(c, 0, &ask, at_us(2), &found) == CACHE_FRESH;
        if (kept != answers[i].kept)
            fail_msg("%s: kept %d", answers[i].name, kept);
        /* what is given is what was kept, but for its age */
        if (kept) {
            assert_int_equal(found.m.code, answer.code);
            assert_true(bytes_equal(found.m.payload, answer.payload));
            size_t others = 0, wanted = 0;
            for (size_t k = 0; k < found.m.n_options; k++)
                others += found.m.options[k].number != OPT_MAX_AGE;
            for (size_t k = 0; k < answer.n_options; k++)
                wanted += answer.options[k].number != OPT_MAX_AGE;
            assert_int_equal(others, wanted);
        }
        /* in its place nothing older is left */
        struct msg good = message(MSG_CODE(2, 5), "old");
        struct msg b = get("b");
        device_cache_keep(c, CACHE_YES, 0, &b, &good, 1, at_us(1));
        device_cache_keep(c, CACHE_YES, 0, &b, &answer, 3, at_us(3));
        enum cache_state state_b = device_cache_find(c, 0, &b, at_us(4), &found);
        assert_int_equal(state_b, answers[i].kept ? CACHE_FRESH : CACHE_ABSENT);
        device_cache_free(c);
    }
}

/* ---- ETag ---- */

static void test_validation(void **state)
{
    (void)state;
    struct device_cache *c = open_cache(SMALL);
    struct msg ask = get("a"), answer = message(MSG_CODE(2, 5), "on");
    struct cache_answer found;
    add(&answer, OPT_ETAG, BYTES_LIT("e1"));
    add(&answer, OPT_MAX_AGE, BYTES_LIT("\x01"));
    add(&answer, 65000, BYTES_LIT("old"));
    add(&answer, 65000, BYTES_LIT("old too"));
    device_cache_keep(c, CACHE_STATED, 0, &ask, &answer, 1, at_us(1));
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(2000000), &found), CACHE_STALE);
    assert_true(bytes_equal(found.etag, BYTES_LIT("e1")));
    assert_true(found.lasts);

    struct msg valid = message(MSG_CODE(2, 3), NULL), other = valid, none = valid, twice = valid;
    add(&other, OPT_ETAG, BYTES_LIT("e2"));
    add(&twice, OPT_ETAG, BYTES_LIT("e1"));
    add(&twice, OPT_ETAG, BYTES_LIT("e1"));
    struct msg critical = twice;
    critical.n_options = 0;
    add(&critical, OPT_ETAG, BYTES_LIT("e1"));
    add(&critical, 65001, BYTES_NONE);
    struct instant now = at_us(3000000);
    assert_false(device_cache_validate(c, CACHE_STATED, 0, &ask, &other, 2, now, &found));
    assert_false(device_cache_validate(c, CACHE_STATED, 0, &ask, &none, 2, now, &found));
    assert_false(device_cache_validate(c, CACHE_STATED, 0, &ask, &twice, 2, now, &found));
    assert_false(device_cache_validate(c, CACHE_STATED, 0, &ask, &critical, 2, now, &found));
    assert_false(device_cache_validate(c, CACHE_STATED, 1, &ask, &valid, 2, now, &found));

    add(&valid, OPT_ETAG, BYTES_LIT("e1"));
    add(&valid, OPT_MAX_AGE, BYTES_LIT("\x0a"));
    add(&valid, 65000, BYTES_LIT("new"));
    add(&valid, OPT_CONTENT_FORMAT, BYTES_LIT("\x32"));
    assert_true(device_cache_validate(c, CACHE_STATED, 0, &ask, &valid, 2500000, now, &found));
    for (int again = 0; again < 2; again++) {
        assert_int_equal(found.m.code, MSG_CODE(2, 5));
        assert_true(bytes_equal_str(found.m.payload, "on"));
        assert_int_equal(found.m.n_options, 4);
        assert_true(bytes_equal(msg_find(&found.m, 65000)->value, BYTES_LIT("new")));
        assert_int_equal(msg_uint(&found.m, OPT_CONTENT_FORMAT), 0x32);
        assert_int_equal(msg_uint(&found.m, OPT_MAX_AGE), again ? 9 : 10);
        assert_int_equal(device_cache_find(c, 0, &ask, at_us(4000000), &found), CACHE_FRESH);
    }

    /* without a Max-Age of its own it serves this once */
    struct msg bare = message(MSG_CODE(2, 3), NULL);
    add(&bare, OPT_ETAG, BYTES_LIT("e1"));
    assert_true(
        device_cache_validate(c, CACHE_STATED, 0, &ask, &bare, 4500000, at_us(5000000), &found));
    assert_int_equal(msg_uint(&found.m, OPT_MAX_AGE), 0);
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(5000000), &found), CACHE_STALE);
    assert_false(found.lasts);
    assert_true(
        device_cache_validate(c, CACHE_YES, 0, &ask, &bare, 4500000, at_us(5000000), &found));
    assert_int_equal(msg_uint(&found.m, OPT_MAX_AGE), 60);

    /* a client's own */
    struct msg mine = get("a"), both = mine;
    add(&mine, OPT_ETAG, BYTES_LIT("e2"));
    assert_int_equal(device_cache_find(c, 0, &mine, at_us(5000000), &found), CACHE_FRESH);
    assert_int_equal(found.m.code, MSG_CODE(2, 5));
    add(&both, OPT_ETAG, BYTES_LIT("e2"));
    add(&both, OPT_ETAG, BYTES_LIT("e1"));
    assert_int_equal(device_cache_find(c, 0, &both, at_us(5000000), &found), CACHE_FRESH);
    assert_int_equal(found.m.code, MSG_CODE(2, 3));
    assert_int_equal(found.m.payload.n, 0);
    assert_int_equal(found.m.n_options, 2);
    device_cache_free(c);
}

static void test_lead(void **state)
{
    (void)state;
    struct device_cache *c = open_cache(SMALL);
    struct msg ask = get("a"), answer = message(MSG_CODE(2, 5), "on");
    struct cache_answer found;
    device_cache_keep(c, CACHE_YES, 0, &ask, &answer, 1, at_us(1));
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(61000000), &found), CACHE_STALE);
    assert_int_equal(found.lead, 0);
    device_cache_lead(c, &found, 7);
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(61000000), &found), CACHE_STALE);
    assert_int_equal(found.lead, 7);
    device_cache_unlead(c, 0, &ask, 6);
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(61000000), &found), CACHE_STALE);
    assert_int_equal(found.lead, 7);
    device_cache_unlead(c, 0, &ask, 7);
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(61000000), &found), CACHE_STALE);
    assert_int_equal(found.lead, 0);
    device_cache_lead(c, &found, 8);
    device_cache_keep(c, CACHE_YES, 0, &ask, &answer, 61000000, at_us(61000000));
    assert_int_equal(device_cache_find(c, 0, &ask, at_us(122000000), &found), CACHE_STALE);
    assert_int_equal(found.lead, 0);
    device_cache_free(c);
}

/* ---- memory ---- */

static void test_too_small(void **state)
{
    (void)state;
    assert_null(device_cache_new(0, 1, &seed));
    assert_null(device_cache_new(4096, 1, &seed));
}

static void test_full(void **state)
{
    (void)state;
    static uint8_t body[MESSAGE_MAX - 64];
    struct device_cache *c = open_cache(SMALL);
    struct cache_answer found;
    struct cache_stats s;
    char path[16];
    struct msg hot = get("hot"), answer = message(MSG_CODE(2, 5), "x");
    device_cache_keep(c, CACHE_YES, 0, &hot, &answer, 1, at_us(1));
    memset(body, 'x', sizeof body);
    for (size_t i = 0; i < 2000; i++) {
        (void)snprintf(path, sizeof path, "p%zu", i);
        struct msg ask = get(path);
        answer.payload = bytes_of(body, i * 7 % sizeof body);
        device_cache_keep(c, CACHE_YES, 0, &ask, &answer, 1, at_us(1));
        device_cache_get_stats(c, &s);
        assert_true(s.bytes <= SMALL);
        /* what is used stays, and the last is there whole */
        assert_int_equal(device_cache_find(c, 0, &hot, at_us(2), &found), CACHE_FRESH);
        assert_int_equal(device_cache_find(c, 0, &ask, at_us(2), &found), CACHE_FRESH);
        assert_true(bytes_equal(found.m.payload, answer.payload));
    }
    assert_true(s.evicted > 1000);
    assert_true(s.answers < 2001 - s.evicted + 1);
    struct msg first = get("p0");
    assert_int_equal(device_cache_find(c, 0, &first, at_us(2), &found), CACHE_ABSENT);
    /* one that would not be a message again */
    static uint8_t huge[MESSAGE_MAX];
    answer.payload = bytes_of(huge, sizeof huge);
    device_cache_keep(c, CACHE_YES, 0, &hot, &answer, 1, at_us(1));
    assert_int_equal(device_cache_find(c, 0, &hot, at_us(2), &found), CACHE_ABSENT);
    device_cache_free(c);
}

/* ---- a slow obvious model, on random input ---- */

enum { PATHS = 40, STEPS = 40000 };

struct model {
    bool there;
    uint64_t kept_us, asked_us, life_us;
    unsigned value;
};

static uint32_t next(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* Whatever is given as fresh is the last that was kept for just this, not
 * older than it may be, nor asked for before the device's last change. What
 * is not there may always be missing: memory is short on purpose. */
static void test_model(void **state)
{
    (void)state;
    static struct model models[DEVICES][PATHS];
    uint64_t changed[DEVICES] = {0}, now_us = 1000000;
    uint32_t x = 2463534242;
    size_t hits = 0;
    struct device_cache *c = open_cache(SMALL / 2);
    for (size_t step = 0; step < STEPS; step++) {
        now_us += next(&x) % 200000;
        int device = (int)(next(&x) % DEVICES);
        unsigned p = next(&x) % PATHS;
        struct model *m = &models[device][p];
        char path[16], payload[600];
        (void)snprintf(path, sizeof path, "%u", p);
        struct msg ask = get(path);
        struct cache_answer found;
        switch (next(&x) % 8) {
        case 0:
            if (next(&x) % 4 == 0) {
                device_cache_changed(c, device, at_us(now_us));
                changed[device] = now_us;
            }
            break;
        case 1:
        case 2: {
            unsigned value = next(&x), life_s = next(&x) % 20;
            int n = snprintf(payload, sizeof payload, "%u:%d:%u:", value, device, p);
            memset(payload + n, 'x', sizeof payload - (size_t)n);
            struct msg answer = message(MSG_CODE(2, 5), NULL);
            uint8_t age[4];
            answer.payload = bytes_of(payload, (size_t)n + next(&x) % (sizeof payload - 100));
            assert_true(msg_add_uint(&answer, OPT_MAX_AGE, life_s, age));
            uint64_t asked_us = now_us - next(&x) % 300000;
            device_cache_keep(c, CACHE_STATED, device, &ask, &answer, asked_us, at_us(now_us));
            *m = (struct model){true, now_us, asked_us, life_s * UINT64_C(1000000), value};
            break;
        }
        default: {
            enum cache_state s = device_cache_find(c, device, &ask, at_us(now_us), &found);
            bool may =
                m->there && now_us - m->kept_us < m->life_us && m->asked_us > changed[device];
            if (s == CACHE_FRESH) {
                hits++;
                assert_true(may);
                int n = snprintf(payload, sizeof payload, "%u:%d:%u:", m->value, device, p);
                assert_true(found.m.payload.n >= (size_t)n);
                assert_memory_equal(found.m.payload.p, payload, (size_t)n);
                assert_int_equal(msg_uint(&found.m, OPT_MAX_AGE),
                                 (m->life_us - (now_us - m->kept_us)) / 1000000);
            }
            if (s == CACHE_STALE)
                assert_false(may);
        }
        }
    }
    assert_true(hits > 1000);
    device_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),      cmocka_unit_test(test_before),
        cmocka_unit_test(test_changes),    cmocka_unit_test(test_keys),
        cmocka_unit_test(test_requests),   cmocka_unit_test(test_answers),
        cmocka_unit_test(test_validation), cmocka_unit_test(test_lead),
        cmocka_unit_test(test_too_small),  cmocka_unit_test(test_full),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
