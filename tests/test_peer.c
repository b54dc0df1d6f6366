#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "support_dtls.h"

struct row {
    const char *name, *address;
    uint16_t port;
    const char *text;
    uint8_t family; /* for conditions */
};

static const struct row rows[] = {
    {"IPv4", "192.0.2.1", 5683, "192.0.2.1:5683", 4},
    {"IPv6", "2001:db8::1", 5684, "[2001:db8::1]:5684", 6},
    {"longest IPv6", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 65535,
     "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535", 6},
    {"IPv4 mapped", "::ffff:192.0.2.1", 1, "192.0.2.1:1", 4},
};

static void test_text_and_policy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer p = rig_peer(rows[i].address, rows[i].port);
        char text[PEER_TEXT];
        peer_text(&p, text);
        if (strcmp(text, rows[i].text) != 0)
            fail_msg("%s: got %s, wanted %s", rows[i].name, text, rows[i].text);
        struct policy_peer q = peer_policy(&p);
        assert_int_equal(q.family, rows[i].family);
        if (q.family == 4)
            assert_memory_equal(q.addr, ((uint8_t[]){192, 0, 2, 1}), 4);
        else
            assert_memory_equal(q.addr, &p.in6.sin6_addr, 16);
    }
    struct peer none = {0};
    char text[PEER_TEXT];
    peer_text(&none, text);
    assert_string_equal(text, "?");
    assert_int_equal(peer_policy(&none).family, 0);
}

struct pair {
    const char *name, *a, *b;
    uint16_t port_a, port_b;
    bool equal, same_net;
};

static const struct pair pairs[] = {
    {"the same", "192.0.2.1", "192.0.2.1", 1, 1, true, true},
    {"another port", "192.0.2.1", "192.0.2.1", 1, 2, false, true},
    {"the /24", "192.0.2.1", "192.0.2.254", 1, 1, false, true},
    {"another /24", "192.0.2.1", "192.0.3.1", 1, 1, false, false},
    {"mapped is not the same peer", "192.0.2.1", "::ffff:192.0.2.1", 1, 1, false, true},
    {"the /56", "2001:db8:0:1::1", "2001:db8:0:ff::2", 1, 1, false, true},
    {"another /56", "2001:db8:0:1::1", "2001:db8:0:100::1", 1, 1, false, false},
    {"no IPv6 net is an IPv4 net", "192.0.2.1", "::c000:200:0:0:1", 1, 1, false, false},
};

static void test_equal_hash_net(void **state)
{
    (void)state;
    static const uint8_t seed[16] = {1, 2, 3}, other[16] = {3, 2, 1};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const struct pair *row = &pairs[i];
        struct peer a = rig_peer(row->a, row->port_a), b = rig_peer(row->b, row->port_b);
        /* By which of our addresses it came is no part of who it is. */
        b.local.s6_addr[15] = 9;
        b.local_if = 7;
        bool same_hash = peer_hash(&a, seed) == peer_hash(&b, seed);
        if (peer_equal(&a, &b) != row->equal || same_hash != row->equal ||
            (peer_net(&a) == peer_net(&b)) != row->same_net)
            fail_msg("%s: equal %d, same hash %d, same net %d", row->name, peer_equal(&a, &b),
                     same_hash, peer_net(&a) == peer_net(&b));
        assert_int_not_equal(peer_hash(&a, seed), peer_hash(&a, other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_policy),
        cmocka_unit_test(test_equal_hash_net),
    };
    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
