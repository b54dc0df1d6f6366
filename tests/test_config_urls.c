/* Where a device is reached and what it is known by: what is accepted, and of
 * each what is not, by one change. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../proxy/config.h"

static char dir[] = "/tmp/postern-urls-XXXXXX";

static const char *const files[][2] = {
    {"ca.crt", "keys/ca.crt"},    {"gw.crt", "keys/gateway.crt"},   {"gw.key", "keys/gateway.key"},
    {"ot.key", "keys/plain.key"}, {"open.key", "keys/gateway.key"},
};

static void put_file(const char *name, const char *text, unsigned mode)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char text[8192];
        (void)snprintf(text, sizeof text, TESTS_DIR "/%s", files[i][1]);
        FILE *f = fopen(text, "r");
        if (!f)
            return -1;
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        (void)fclose(f);
        put_file(files[i][0], text, strcmp(files[i][0], "open.key") == 0 ? 0644 : 0640);
    }
    put_file("policy.yaml", "version: 1\n", 0644);
    put_file("psk", "000102030405060708090a0b0c0d0e0f\n", 0640);
    put_file("open.psk", "000102030405060708090a0b0c0d0e0f\n", 0644);
    put_file("odd.psk", "00010\n", 0640);
    put_file("no.crt", "no certificate\n", 0644);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", dir);
    return system(command);
}

#define PSK "psk: {identity: gw, key-file: psk}"
#define LONG                                                                                       \
    "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii"                            \
    "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii"

static const struct row {
    const char *name, *text; /* of the device, but for its name and path */
    const char *want;        /* of the complaint; NULL: accepted */
} rows[] = {
    {"address", "url: coap://192.0.2.1", NULL},
    {"address that is none", "url: coap://192.0.2.300", "'192.0.2.300' is no address"},
    {"group", "url: coap://224.0.1.187", "'224.0.1.187' is not the address of one"},
    {"any address", "url: coap://0.0.0.0", "'0.0.0.0' is not the address of one"},
    {"broadcast", "url: coap://255.255.255.255", "'255.255.255.255' is not the address of one"},
    {"IPv6", "url: \"coap://[2001:db8::1]:7\"", NULL},
    {"IPv6 group", "url: \"coap://[ff02::fd]:7\"", "'ff02::fd' is not the address of one"},
    {"IPv6 any address", "url: \"coap://[::]:7\"", "'::' is not the address of one"},
    {"IPv4 in IPv6", "url: \"coap://[::ffff:192.0.2.1]:7\"", NULL},
    {"IPv4 group in IPv6", "url: \"coap://[::ffff:224.0.1.187]:7\"", "is not the address of one"},
    {"IPv6 that is none", "url: \"coap://[2001:db8::g]:7\"", "'2001:db8::g' is no address"},
    {"name", "url: coap://meter.test", NULL},
    {"another scheme", "url: ftp://meter.test", "'ftp' to a device is not supported"},

    {"list", "url: [coap://192.0.2.1, coap://192.0.2.2]", NULL},
    {"list of none", "url: []", "expected one URL, or a list of at most 4"},
    {"list of four", "url: [coap://a, coap://b, coap://c, coap://d]", NULL},
    {"list of five", "url: [coap://a, coap://b, coap://c, coap://d, coap://e]",
     "expected one URL, or a list of at most 4"},
    {"list of the same", "url: [coap://192.0.2.1, coap://192.0.2.1:5683]",
     "the same as coap://192.0.2.1"},
    {"list with ports", "url: [coap://192.0.2.1, coap://192.0.2.1:5684]", NULL},
    {"list with paths", "url: [coap://a/x, coap://b/x]", NULL},
    {"list with two paths", "url: [coap://a/x, coap://b/y]",
     "the URLs of one device have the same path"},
    {"list with a root", "url: [coap://a/, coap://b]", NULL},
    {"list of secure ones", "url: [coaps://a, coaps://b], " PSK, NULL},
    {"list with a way around", "url: [coaps://a, coap://b], " PSK,
     "the URLs of one device are all secure, or none is"},

    {"PSK", "url: coaps://a, " PSK, NULL},
    {"PSK not told", "url: coaps://a", "a secure device needs psk, or ca to know it by"},
    {"PSK to a plain one", "url: coap://a, " PSK, "there is no TLS to this device"},
    {"PSK without identity", "url: coaps://a, psk: {key-file: psk}", "missing key 'identity'"},
    {"PSK without key", "url: coaps://a, psk: {identity: gw}", "missing key 'key-file'"},
    {"PSK with more", "url: coaps://a, psk: {identity: gw, key-file: psk, hint: x}",
     "unknown key 'hint'"},
    {"PSK open to all", "url: coaps://a, psk: {identity: gw, key-file: open.psk}",
     "lets others at a secret"},
    {"PSK of odd length", "url: coaps://a, psk: {identity: gw, key-file: odd.psk}", "odd.psk"},
    {"PSK that is not there", "url: coaps://a, psk: {identity: gw, key-file: none}",
     "No such file"},
    {"PSK with a long identity", "url: coaps://a, psk: {identity: " LONG ", key-file: psk}",
     "an identity longer than 128 bytes"},

    {"CA", "url: coaps://a, ca: ca.crt", NULL},
    {"CA and PSK", "url: coaps://a, ca: ca.crt, " PSK,
     "say psk, or ca, certificate and key; not both"},
    {"CA to a plain one", "url: coap://a, ca: ca.crt", "there is no TLS to this device"},
    {"CA that is none", "url: coaps://a, ca: no.crt", "the CA cannot be read"},
    {"certificate", "url: coaps://a, ca: ca.crt, certificate: gw.crt, key: gw.key", NULL},
    {"certificate without CA", "url: coaps://a, certificate: gw.crt, key: gw.key",
     "'ca' is missing"},
    {"certificate without key", "url: coaps://a, ca: ca.crt, certificate: gw.crt",
     "'key' is missing"},
    {"key without certificate", "url: coaps://a, ca: ca.crt, key: gw.key",
     "'certificate' is missing"},
    {"key of another", "url: coaps://a, ca: ca.crt, certificate: gw.crt, key: ot.key",
     "the key is not the certificate's"},
    {"key open to all", "url: coaps://a, ca: ca.crt, certificate: gw.crt, key: open.key",
     "lets others at a secret"},

    {"HTTP", "url: http://a:8080/api", NULL},
    {"HTTP with a query", "url: \"http://a/api?x\"", "a query or a fragment has no place"},
    {"HTTP with a name and a password", "url: \"http://me:my@a\"", "user information"},
    {"HTTP list", "url: [http://a/x, http://b/x]", NULL},
    {"HTTP and CoAP", "url: [http://a, coap://b]", "are all of HTTP, or none is"},
    {"HTTP and CoAP, both secure", "url: [https://a, coaps://b], ca: ca.crt",
     "are all of HTTP, or none is"},
    {"HTTP with a way around", "url: [https://a, http://b]", "are all secure, or none is"},
    {"HTTP with a CA", "url: http://a, ca: ca.crt", "there is no TLS to this device"},
    {"HTTP window", "url: http://a, window: 64", NULL},
    {"HTTP window too large", "url: http://a, window: 65", "out of range"},
    {"window too large for HTTP", "url: coap://a, window: 65", NULL},
    {"HTTPS", "url: https://a", NULL},
    {"HTTPS with a CA", "url: https://a, ca: ca.crt", NULL},
    {"HTTPS with a CA that is none", "url: https://a, ca: no.crt", "the CA cannot be read"},
    {"HTTPS with PSK", "url: https://a, " PSK, "not reached by HTTP with a psk"},
    {"HTTPS with a certificate", "url: https://a, certificate: gw.crt, key: gw.key", NULL},
    {"HTTPS with a CA, too", "url: https://a, ca: ca.crt, certificate: gw.crt, key: gw.key", NULL},
    {"HTTPS with a certificate and another's key",
     "url: https://a, certificate: gw.crt, key: ot.key", "the key is not the certificate's"},
    {"HTTPS with half of one", "url: https://a, certificate: gw.crt", "'key' is missing"},
    {"HTTPS with another's key", "url: https://a, ca: ca.crt, certificate: gw.crt, key: ot.key",
     "the key is not the certificate's"},

    {"pause", "url: coap://a, pause: 200ms", NULL},
    {"pause of seconds", "url: coap://a, pause: 60s", NULL},
    {"pause too long", "url: coap://a, pause: 61s", "out of range; expected at most 60s"},
    {"pause without a unit", "url: coap://a, pause: 200", "expected a pause such as 200ms or 2s"},
    {"pause of minutes", "url: coap://a, pause: 2m", "expected a pause such as 200ms or 2s"},
    {"pause of too many digits", "url: coap://a, pause: 4294967296ms",
     "expected a pause such as 200ms or 2s"},
    {"pause of nothing", "url: coap://a, pause: ms", "expected a pause such as 200ms or 2s"},
};

static struct config *load_with(const char *listen, const char *device, struct buf *diag)
{
    char path[128], text[1024];
    (void)snprintf(text, sizeof text,
                   "listen: %s\npolicy: policy.yaml\n"
                   "devices:\n  - {name: meter, path: /meter, %s}\n",
                   listen, device);
    put_file("postern.yaml", text, 0644);
    (void)snprintf(path, sizeof path, "%s/postern.yaml", dir);
    return config_load(path, diag);
}

static struct config *load(const char *device, struct buf *diag)
{
    return load_with("coaps://127.0.0.1", device, diag);
}

static void test_rows(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[2048] = "";
        struct buf diag = buf_on(got, sizeof got - 1);
        struct config *c = load(rows[i].text, &diag);
        if ((c != NULL) != (rows[i].want == NULL) || (rows[i].want && !strstr(got, rows[i].want))) {
            print_error("%s:\n  got    %s\n  wanted %s\n", rows[i].name, c ? "accepted" : got,
                        rows[i].want ? rows[i].want : "accepted");
            failed++;
        }
        /* Each complaint says where. */
        if (!c && !strstr(got, "postern.yaml:4:"))
            fail_msg("%s: no place in %s", rows[i].name, got);
        config_free(c);
    }
    assert_int_equal(failed, 0);
}

/* URLs that lead back here, each beside one that does not. */
static const struct {
    const char *name, *listen, *url;
    bool back;
} loops[] = {
    {"another port", "coap://127.0.0.1", "coap://127.0.0.1:5685", false},
    {"ours", "coap://127.0.0.1", "coap://127.0.0.1", true},
    {"another transport", "coap://127.0.0.1", "coap+tcp://127.0.0.1", false},
    {"HTTP to UDP", "coap://127.0.0.1", "http://127.0.0.1:5683", false},
    {"HTTP to TCP", "coap+tcp://127.0.0.1", "http://127.0.0.1:5683", true},
    {"by TCP", "coap+tcp://127.0.0.1", "coap+tcp://127.0.0.1", true},
    {"plain to a secure one", "coaps://127.0.0.1", "coap://127.0.0.1:5684", true},
    {"another address", "coap://127.0.0.1", "coap://127.0.0.2", false},
    {"any, and loopback", "coap://0.0.0.0", "coap://127.0.0.2", true},
    {"any, and another host", "coap://0.0.0.0", "coap://192.0.2.1", false},
    {"any of IPv4, and IPv6", "coap://0.0.0.0", "coap://[::1]", false},
    {"any of both, and IPv6", "coap://[::]", "coap://[::1]", true},
    {"any of both, and IPv4", "coap://[::]", "coap://127.0.0.1", true},
    {"any of IPv6 alone, and IPv4", "[\"coap://[::]\", \"coap://192.0.2.7\"]", "coap://127.0.0.1",
     false},
    {"mapped", "coap://127.0.0.1", "coap://[::ffff:127.0.0.1]", true},
    {"the second of two", "[coaps://127.0.0.1, coap://127.0.0.1]", "coap://127.0.0.1", true},
    {"the name of loopback", "coap://127.0.0.1", "coap://localhost", true},
    {"below it", "coap://[::1]", "coap://lamp.localhost", true},
    {"not below it", "coap://127.0.0.1", "coap://lamplocalhost", false},
    {"another name", "coap://0.0.0.0", "coap://lamp.test", false},
};

static void test_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        char got[2048] = "", device[128], listen[128];
        struct buf diag = buf_on(got, sizeof got - 1);
        bool list = loops[i].listen[0] == '[';
        (void)snprintf(device, sizeof device, "url: \"%s\"", loops[i].url);
        (void)snprintf(listen, sizeof listen, list ? "%s" : "\"%s\"", loops[i].listen);
        struct config *c = load_with(listen, device, &diag);
        bool back = !c && strstr(got, "postern.yaml:4:") && strstr(got, "is the gateway itself");
        if (back != loops[i].back || (!c && !back))
            fail_msg("%s: got %s", loops[i].name, c ? "accepted" : got);
        config_free(c);
    }
}

/* What this machine has besides loopback. */
static void test_loop_by_interface(void **state)
{
    (void)state;
    struct ifaddrs *all = NULL;
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        char got[2048] = "", device[128], at[INET_ADDRSTRLEN];
        struct buf diag = buf_on(got, sizeof got - 1);
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
            continue;
        struct sockaddr_in in;
        memcpy(&in, i->ifa_addr, sizeof in);
        assert_non_null(inet_ntop(AF_INET, &in.sin_addr, at, sizeof at));
        (void)snprintf(device, sizeof device, "url: coap://%s", at);
        struct config *c = load_with("\"coap://[::]\"", device, &diag);
        assert_null(c);
        assert_non_null(strstr(got, "is the gateway itself, which listens on coap://[::]"));
    }
    freeifaddrs(all);
}

static void test_values(void **state)
{
    (void)state;
    char got[512] = "";
    struct buf diag = buf_on(got, sizeof got - 1);
    struct config *c =
        load("url: [coaps://192.0.2.1/a/b, \"coaps://meter.test:77/a/b\"], pause: 2s, " PSK, &diag);
    assert_non_null(c);
    const struct device_config *d = &c->devices[0].upstream;
    assert_int_equal(d->n_urls, 2);
    assert_int_equal(d->urls[0].scheme, DEVICE_COAPS);
    assert_int_equal(ntohs(d->urls[0].to.in4.sin_port), 5684);
    assert_string_equal(d->urls[1].host, "meter.test");
    assert_int_equal(d->urls[1].port, 77);
    assert_int_equal(d->urls[1].to.len, 0);
    assert_int_equal(d->n_base, 2);
    assert_int_equal(d->pause_ms, 2000);
    assert_true(bytes_equal_str(d->tls->identity, "gw"));
    assert_int_equal(d->tls->psk.n, 16);
    assert_int_equal(d->tls->psk.p[15], 15);
    config_free(c);
    c = load("url: coap://a", &diag);
    assert_non_null(c);
    assert_null(c->devices[0].upstream.tls);
    assert_int_equal(c->devices[0].upstream.pause_ms, 0);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_loop_by_interface),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
