#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../policy/url.h"

static const struct {
    const char *name, *text;
    const char *host; /* NULL: refused */
    int port;
    const char *path;
} urls[] = {
    {"accept", "coap://lamp.home:61616/a/b", "lamp.home", 61616, "/a/b"},
    {"no port, no path", "coap://lamp.home", "lamp.home", -1, ""},
    {"upper case is folded", "coap://Lamp.HOME", "lamp.home", -1, ""},
    {"IPv4", "coap://192.0.2.1/", "192.0.2.1", -1, "/"},
    {"IPv6", "coap://[2001:db8::1]:5683", "2001:db8::1", 5683, ""},
    {"IPv6 with a zone", "coap://[fe80::1%25eth0]", "fe80::1%eth0", -1, ""},
    {"no scheme", "lamp.home:61616/a/b", NULL, 0, NULL},
    {"empty scheme", "://lamp.home", NULL, 0, NULL},
    {"one slash", "coap:/lamp.home", NULL, 0, NULL},
    {"no host", "coap://:61616/a/b", NULL, 0, NULL},
    {"user", "coap://me@lamp.home:61616/a/b", NULL, 0, NULL},
    {"query", "coap://lamp.home:61616/a/b?c", NULL, 0, NULL},
    {"fragment", "coap://lamp.home:61616/a/b#c", NULL, 0, NULL},
    {"space in the host", "coap://lamp home", NULL, 0, NULL},
    {"encoded host", "coap://lamp%2ehome", NULL, 0, NULL},
    {"port 0", "coap://lamp.home:0/a/b", NULL, 0, NULL},
    {"port too large", "coap://lamp.home:65536/a/b", NULL, 0, NULL},
    {"port much too large", "coap://lamp.home:4294972979/a/b", NULL, 0, NULL},
    {"port of letters", "coap://lamp.home:coap/a/b", NULL, 0, NULL},
    {"port with a sign", "coap://lamp.home:+61616/a/b", NULL, 0, NULL},
    {"empty port", "coap://lamp.home:/a/b", NULL, 0, NULL},
    {"IPv6 not closed", "coap://[2001:db8::1", NULL, 0, NULL},
    {"IPv6 and more", "coap://[2001:db8::1]x:5683", NULL, 0, NULL},
    {"IPv6 without brackets", "coap://2001:db8::1", NULL, 0, NULL},
};

static void parses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct url u;
        const char *why = NULL;
        bool ok = url_parse(bytes_str(urls[i].text), &u, &why);
        if (ok != (urls[i].host != NULL) || ok != (why == NULL))
            fail_msg("%s: got %d (%s)", urls[i].name, ok, why ? why : "-");
        if (!ok)
            continue;
        assert_true(bytes_equal_str(u.scheme, "coap"));
        assert_string_equal(u.host, urls[i].host);
        assert_int_equal(u.port, urls[i].port);
        assert_true(bytes_equal_str(u.path, urls[i].path));
    }
}

static void long_hosts(void **state)
{
    (void)state;
    char text[sizeof "coap://" + URL_HOST_MAX + 1] = "coap://";
    struct url u;
    const char *why;
    memset(text + 7, 'a', URL_HOST_MAX);
    assert_true(url_parse(bytes_str(text), &u, &why));
    text[7 + URL_HOST_MAX] = 'a';
    assert_false(url_parse(bytes_str(text), &u, &why));
}

static const struct {
    const char *name, *path, *want; /* segments joined by '|'; NULL: refused */
} paths[] = {
    {"accept", "/a/b%20c", "a|b c"},
    {"none", "", ""},
    {"dots within", "/a.b/...", "a.b|..."},
    {"empty segment", "/a//b", NULL},
    {"slash at the end", "/a/", NULL},
    {"here", "/a/.", NULL},
    {"up", "/a/..", NULL},
    {"up, encoded", "/a/%2e%2E", NULL},
    {"slash, encoded", "/a/b%2fc", NULL},
    {"NUL, encoded", "/a/b%00c", NULL},
    {"half an escape", "/a/b%2", NULL},
    {"no escape", "/a/b%zz", NULL},
};

static void splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char got[64] = "";
        struct buf out = buf_on(got, sizeof got - 1);
        struct bytes rest = bytes_str(paths[i].path);
        uint8_t segment[URL_SEGMENT_MAX];
        size_t n;
        const char *why;
        while (url_next_segment(&rest, segment, &n, &why)) {
            buf_put_str(&out, out.n ? "|" : "");
            buf_put(&out, bytes_of(segment, n));
        }
        if ((why == NULL) != (paths[i].want != NULL) || (!why && strcmp(got, paths[i].want) != 0))
            fail_msg("%s: got '%s' (%s)", paths[i].name, got, why ? why : "-");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(long_hosts),
        cmocka_unit_test(splits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
