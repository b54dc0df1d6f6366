/* postern.yaml: one good file, and one mutation of it a row, each with the
 * diagnostic that it must cause. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../proxy/config.h"
#include "../proxy/limits.h"
#include "../proxy/m2m_check.h"

static char dir[] = "/tmp/postern-config-XXXXXX";

static const char good[] =
    "listen:\n"
    "  - coaps://[::1]\n"
    "  - coap://127.0.0.1:7683\n"
    "audience: [gateway.home, gw]\n"
    "identity: {certificate: gw.crt, key: gw.key, client-ca: ca.crt}\n"
    "workers: auto\n"
    "state: state\n"
    "policy: policy.yaml\n"
    "audit: {file: state/audit.jsonl, permits: none, required: yes, ship: {to: "
    "https://home.example/a, ca: as.crt, token-file: token, spool: 1M, "
    "batch: 50}}\n"
    "control: state/control.sock\n"
    "access-token-option: 65032\n"
    "limits: {associations: 7, handshakes: 8, exchanges: 9, grants: 10, "
    "idle: 5m, awake: 6, sleep: 30s, cache: 256K, rates: 12}\n"
    "devices:\n"
    "  - name: lamp\n"
    "    path: /lamp/a\n"
    "    url: coap://127.0.0.1/v1/x%20y\n"
    "    audience: lamp\n"
    "    window: 4\n"
    "    queue: 0\n"
    "  - name: meter\n"
    "    host: Meter.Home\n"
    "    url: coap://[::1]:7777\n"
    "    cache: yes\n"
    "    rate: 5/min\n"
    "restart: no\n";

/* Another device of it. */
static const char cse[] = "    rate: 5/min\n"
                          "  - name: cse\n"
                          "    path: /cse\n"
                          "    url: coap://127.0.0.1:7788\n"
                          "    dialect: onem2m\n"
                          "    onem2m-options: legacy\n"
                          "    cse-id: /mn-cse\n"
                          "    sp-id: //sp.example\n"
                          "    cse-base: cse-in\n"
                          "    notify: coap://127.0.0.1:5690\n";

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

static void copy_file(const char *name, const char *from, unsigned mode)
{
    char text[4096];
    (void)snprintf(text, sizeof text, TESTS_DIR "/keys/%s", from);
    FILE *f = fopen(text, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    put_file(name, text, mode);
}

static int setup(void **state)
{
    (void)state;
    char path[128];
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/state", dir);
    if (mkdir(path, 0700) != 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/open", dir);
    if (mkdir(path, 0700) != 0 || chmod(path, 0777) != 0)
        return -1;
    put_file("policy.yaml", "version: 1\n", 0644);
    put_file("gw.crt", "-", 0644);
    put_file("gw.key", "-", 0640);
    put_file("open.key", "-", 0644);
    put_file("ca.crt", "-", 0644);
    copy_file("as.crt", "ca.crt", 0644);
    copy_file("as.key", "ca.key", 0640);
    put_file("token", "abc.DEF-123\n", 0640);
    put_file("open.token", "abc.DEF-123\n", 0644);
    put_file("two.token", "abc\ndef\n", 0640);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"postern.yaml", "policy.yaml", "gw.crt", "gw.key",
                                        "open.key",     "ca.crt",      "token",  "open.token",
                                        "two.token",    "state",       "open",   ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)remove(path);
    }
    return 0;
}

static struct config *load(const char *text, struct buf *diag)
{
    char path[128];
    put_file("postern.yaml", text, 0644);
    (void)snprintf(path, sizeof path, "%s/postern.yaml", dir);
    return config_load(path, diag);
}

static void expect_path(const char *got, const char *name)
{
    char want[128];
    (void)snprintf(want, sizeof want, "%s/%s", dir, name);
    assert_string_equal(got, want);
}

static void a_good_file(void **state)
{
    (void)state;
    char text[4096] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    struct config *c = load(good, &diag);
    if (!c)
        fail_msg("%s", text);
    assert_int_equal(c->n_listeners, 2);
    assert_true(c->listeners[0].secure);
    assert_int_equal(ntohs(c->listeners[0].local.in6.sin6_port), 5684);
    assert_false(c->listeners[1].secure);
    assert_int_equal(ntohs(c->listeners[1].local.in4.sin_port), 7683);
    assert_string_equal(c->audience[1], "gw");
    expect_path(c->dtls.certificate, "gw.crt");
    expect_path(c->dtls.key, "gw.key");
    expect_path(c->dtls.client_ca, "ca.crt");
    assert_null(c->dtls.psk_hint);
    assert_true(c->workers >= 1 && c->workers <= WORKERS_AUTO_MAX);
    expect_path(c->state, "state");
    assert_int_equal(c->restart, RESTART_NO);
    expect_path(c->policy, "policy.yaml");
    expect_path(c->audit, "state/audit.jsonl");
    assert_int_equal(c->audit_permits, AUDIT_PERMITS_NONE);
    assert_true(c->audit_required);
    assert_int_equal(c->ship.kind, SHIP_HTTP);
    assert_string_equal(c->ship.url, "https://home.example/a");
    expect_path(c->ship.ca, "as.crt");
    expect_path(c->ship.token_file, "token");
    expect_path(c->ship.dir, "state/audit");
    assert_null(c->ship.key);
    assert_int_equal(c->ship.spool, 1 << 20);
    assert_int_equal(c->ship.batch, 50);
    expect_path(c->control, "state/control.sock");
    assert_int_equal(c->access_token_option, 65032);
    assert_int_equal(c->max_assocs, 7);
    assert_int_equal(c->max_handshakes, 8);
    assert_int_equal(c->max_exchanges, 9);
    assert_int_equal(c->max_grants, 10);
    assert_int_equal(c->idle_s, 300);
    assert_int_equal(c->max_awake, 6);
    assert_int_equal(c->sleep_s, 30);

    assert_int_equal(c->n_devices, 2);
    const struct config_device *lamp = &c->devices[0], *meter = &c->devices[1];
    assert_string_equal(lamp->upstream.name, "lamp");
    assert_string_equal(lamp->audience, "lamp");
    assert_null(lamp->authority);
    assert_null(lamp->upstream.host);
    assert_int_equal(lamp->upstream.n_prefix, 2);
    assert_true(bytes_equal_str(lamp->upstream.prefix[1], "a"));
    assert_int_equal(lamp->upstream.n_base, 2);
    assert_true(bytes_equal_str(lamp->upstream.base[1], "x y"));
    assert_int_equal(lamp->upstream.window, 4);
    assert_int_equal(lamp->upstream.queue, 0);
    assert_int_equal(ntohs(lamp->upstream.urls[0].to.in4.sin_port), 5683);
    assert_int_equal(lamp->upstream.cache, CACHE_STATED);
    assert_int_equal(meter->upstream.cache, CACHE_YES);
    assert_int_equal(c->cache_bytes, 256 << 10);
    assert_int_equal(c->max_rates, 12);
    assert_int_equal(lamp->rate.count, 0);
    assert_int_equal(meter->rate.count, 5);
    assert_int_equal(meter->rate.per_s, 60);
    assert_true(meter->rate.whole);
    assert_string_equal(meter->upstream.host, "meter.home");
    assert_int_equal(meter->upstream.n_prefix, 0);
    assert_int_equal(meter->upstream.window, 1);
    assert_int_equal(meter->upstream.queue, DEVICE_QUEUE);
    assert_int_equal(ntohs(meter->upstream.urls[0].to.in6.sin6_port), 7777);
    config_free(c);
}

static void defaults(void **state)
{
    (void)state;
    char text[4096] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    struct config *c =
        load("listen: coap://[::]\n"
             "policy: policy.yaml\n"
             "devices: [{name: lamp, path: /lamp, url: \"coap://127.0.0.1:5685\"}]\n",
             &diag);
    if (!c)
        fail_msg("%s", text);
    assert_false(c->listeners[0].v6only);
    assert_null(c->state);
    assert_int_equal(c->restart, RESTART_MANAGER);
    assert_null(c->audit);
    assert_null(c->control);
    assert_null(c->dtls.certificate);
    assert_false(c->audit_required);
    assert_int_equal(c->ship.kind, SHIP_NONE);
    assert_int_equal(c->audit_permits, AUDIT_PERMITS_ALL);
    assert_int_equal(c->access_token_option, 65000);
    assert_int_equal(c->max_assocs, ASSOCS);
    assert_int_equal(c->max_conns, CONNS);
    assert_int_equal(c->max_grants, GRANTS);
    assert_int_equal(c->idle_s, ASSOC_IDLE_S);
    assert_int_equal(c->max_awake, ASSOCS_AWAKE);
    assert_int_equal(c->sleep_s, SLEEP_AFTER_S);
    config_free(c);
}

static void restart_without_a_state(void **state)
{
    (void)state;
    static const struct {
        const char *way, *error;
    } rows[] = {{"no", NULL}, {"manager", "without 'state'"}, {"state", "without 'state'"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char file[256], text[4096] = "";
        struct buf diag = buf_on(text, sizeof text - 1);
        (void)snprintf(file, sizeof file,
                       "listen: coap://[::]\npolicy: policy.yaml\nrestart: %s\n"
                       "devices: [{name: lamp, path: /lamp, url: \"coap://127.0.0.1:5685\"}]\n",
                       rows[i].way);
        struct config *c = load(file, &diag);
        if (rows[i].error ? c || !strstr(text, rows[i].error) : !c)
            fail_msg("%s: %s", rows[i].way, text);
        config_free(c);
    }
}

static void ways_to_ship(void **state)
{
    (void)state;
    static const struct {
        const char *to, *url;
        enum ship_kind kind;
    } ways[] = {
        {"syslog:local", "/dev/log", SHIP_SYSLOG_LOCAL},
        {"syslog:/run/log", "/run/log", SHIP_SYSLOG_LOCAL},
        {"syslog://127.0.0.1", "http://127.0.0.1:601", SHIP_SYSLOG_STREAM},
        {"syslog://localhost:5140", "http://localhost:5140", SHIP_SYSLOG_STREAM},
        {"syslog://[::1]", "http://[::1]:601", SHIP_SYSLOG_STREAM},
        {"syslog+tls://home.example", "https://home.example:6514", SHIP_SYSLOG_STREAM},
        {"https://home.example:8443/x/y", "https://home.example:8443/x/y", SHIP_HTTP},
        {"http://127.1.2.3:80/x", "http://127.1.2.3:80/x", SHIP_HTTP},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char text[4096] = "", yaml[1024];
        struct buf diag = buf_on(text, sizeof text - 1);
        (void)snprintf(yaml, sizeof yaml,
                       "listen: coap://[::]\npolicy: policy.yaml\nstate: state\n"
                       "audit: {file: state/a, ship: {to: \"%s\"}}\n"
                       "devices: [{name: lamp, path: /lamp, url: \"coap://127.0.0.1:5685\"}]\n",
                       ways[i].to);
        struct config *c = load(yaml, &diag);
        if (!c)
            fail_msg("%s: %s", ways[i].to, text);
        assert_int_equal(c->ship.kind, ways[i].kind);
        assert_string_equal(c->ship.url, ways[i].url);
        assert_int_equal(c->ship.spool, 64 << 20);
        assert_int_equal(c->ship.batch, 500);
        config_free(c);
    }
}

static void both_wildcards(void **state)
{
    (void)state;
    char text[4096] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    struct config *c =
        load("listen: [\"coaps://[::]\", coaps://0.0.0.0, \"coap://[::]\"]\n"
             "policy: policy.yaml\n"
             "devices: [{name: lamp, path: /lamp, url: \"coap://127.0.0.1:5685\"}]\n",
             &diag);
    if (!c)
        fail_msg("%s", text);
    assert_true(c->listeners[0].v6only);
    assert_false(c->listeners[2].v6only); /* nothing else is on its port */
    config_free(c);
}

/* The same address and port once for datagrams and once for TCP. */
static void by_tcp(void **state)
{
    (void)state;
    char text[4096] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    struct config *c =
        load("listen: [\"coaps://[::]\", \"coaps+tcp://[::]\", \"coap+tcp://[::]\","
             " coaps+tcp://0.0.0.0]\n"
             "policy: policy.yaml\n"
             "limits: {connections: 17}\n"
             "devices: [{name: lamp, path: /lamp, url: \"coap://127.0.0.1:5685\"}]\n",
             &diag);
    if (!c)
        fail_msg("%s", text);
    static const struct {
        bool tcp, secure, v6only;
        uint16_t port;
    } want[] = {{false, true, false, 5684},
                {true, true, true, 5684},
                {true, false, false, 5683},
                {true, true, false, 5684}};
    assert_int_equal(c->n_listeners, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct config_listener *l = &c->listeners[i];
        assert_int_equal(l->tcp, want[i].tcp);
        assert_int_equal(l->secure, want[i].secure);
        assert_int_equal(l->v6only, want[i].v6only);
        assert_int_equal(ntohs(l->local.in6.sin6_port), want[i].port);
    }
    assert_int_equal(c->max_conns, 17);
    config_free(c);
}

struct row {
    const char *name, *from, *to, *want; /* DIR stands for the directory */
};

static const struct row rows[] = {
    {"unknown key",
     "control:", "contrl:", "10:1: error: unknown key 'contrl'; did you mean 'control'?"},
    {"duplicate key", "workers: auto", "state: state",
     "7:1: error: duplicate key 'state'; it is already on line 6"},
    {"no policy", "policy: policy.yaml\n", "", "1:1: error: missing key 'policy'"},
    {"policy that is not there", "policy: policy.yaml", "policy: other.yaml",
     "8:9: error: DIR/other.yaml: No such file or directory"},

    {"listen on a name", "coaps://[::1]", "coaps://localhost",
     "2:5: error: 'localhost' is no address; a listener needs one, such as [::] or 192.0.2.1"},
    {"listen twice", "coap://127.0.0.1:7683", "coap://[::1]:5684",
     "3:5: error: the same address and port as coaps://[::1]"},
    {"listen on a web socket", "coaps://[::1]", "coap+ws://[::1]",
     "2:5: error: 'coap+ws' listeners are not supported; coaps, coap, coaps+tcp and coap+tcp are"},
    {"listen by http", "coaps://[::1]", "http://[::1]",
     "2:5: error: a listener for http is said where a CSE notifies by it: `notify` of its device"},
    {"listen twice by tcp", "coap://127.0.0.1:7683", "coaps+tcp://[::1]\n  - coap+tcp://[::1]:5684",
     "4:5: error: the same address and port as coaps+tcp://[::1]"},
    {"listen with a path", "coap://127.0.0.1:7683", "coap://127.0.0.1:7683/",
     "3:5: error: a listener has no path"},
    {"listen on port 0", "127.0.0.1:7683", "127.0.0.1:0",
     "3:5: error: the port is not a number from 1 to 65535"},
    {"listen on half an address", "[::1]", "[::1", "2:5: error: a bracket is not closed"},
    {"listen on no URI", "coap://127.0.0.1:7683", "127.0.0.1:7683",
     "3:5: error: expected a URI such as coap://192.0.2.10"},

    {"audience twice", "gw]", "gateway.home]",
     "4:26: error: 'gateway.home' is in the list already"},

    {"key without certificate", "certificate: gw.crt, ", "",
     "5:11: error: 'certificate' and 'key' go together; 'certificate' is missing"},
    {"CA without certificate", "certificate: gw.crt, key: gw.key, ", "",
     "5:23: error: 'client-ca' needs a certificate of the gateway's own"},
    {"key that others can read", "key: gw.key", "key: open.key",
     "5:38: error: DIR/open.key: mode 0644 lets others at a secret; allow 0640 at most"},
    {"key that is a directory", "key: gw.key", "key: state", "5:38: error: DIR/state: not a file"},

    {"no worker", "workers: auto", "workers: 0",
     "6:10: error: 0 is out of range; expected 1 to 16"},
    {"too many workers", "workers: auto", "workers: 17",
     "6:10: error: 17 is out of range; expected 1 to 16"},
    {"workers by another word", "workers: auto", "workers: many",
     "6:10: error: expected a decimal number, found 'many'"},
    {"restart by nobody", "restart: no", "restart: tpm",
     "25:10: error: expected manager, state or no, found 'tpm'"},
    {"restart with a list", "restart: no", "restart: [no]",
     "25:10: error: expected manager, state or no, found a list"},
    {"state that is not there", "state: state", "state: other",
     "7:8: error: directory DIR/other: No such file or directory"},
    {"state that is a file", "state: state", "state: gw.crt",
     "7:8: error: directory DIR/gw.crt: not a directory"},
    {"state that others may write", "state: state", "state: open",
     "7:8: error: directory DIR/open: mode 0777 lets others write there; chmod go-w it"},
    {"audit nowhere", "file: state/audit.jsonl", "file: other/audit.jsonl",
     "9:15: error: directory DIR/other: No such file or directory"},
    {"audit over the policy", "file: state/audit.jsonl", "file: state/../policy.yaml",
     "9:15: error: DIR/state/../policy.yaml: it is what the gateway reads, and would be written "
     "over"},
    {"control over a file", "control: state/control.sock", "control: gw.crt",
     "10:10: error: DIR/gw.crt: a file is there, and no socket"},
    {"audit without a file", "file: state/audit.jsonl, ", "", "9:8: error: missing key 'file'"},
    {"audit of some permits", "permits: none", "permits: some",
     "9:43: error: expected all or none, found 'some'"},
    {"audit maybe required", "required: yes", "required: maybe",
     "9:59: error: expected true or false, found 'maybe'"},

    {"ship to nowhere", "to: https://home.example/a, ", "", "9:70: error: missing key 'to'"},
    {"ship to no URL", "https://home.example/a", "home.example",
     "9:75: error: expected syslog+tls://HOST, syslog://HOST, syslog:local or https://HOST/PATH"},
    {"ship by ftp", "https://home.example/a", "ftp://home.example/a",
     "9:75: error: 'ftp' is no way to ship; syslog+tls, syslog and https are"},
    {"ship by http", "https://home.example/a", "http://home.example/a",
     "9:75: error: without TLS only to loopback; elsewhere it is https"},
    {"ship by TCP", "https://home.example/a", "syslog://127.0.0.1.example",
     "9:75: error: without TLS only to loopback; elsewhere it is syslog+tls"},
    {"ship to an address like loopback", "https://home.example/a", "\"http://[::2]/a\"",
     "9:76: error: without TLS only to loopback; elsewhere it is https"},
    {"ship with a user", "https://home.example/a", "https://me@home.example/a",
     "9:75: error: user information has no place here"},
    {"syslog with a path", "https://home.example/a", "syslog+tls://home.example/a",
     "9:75: error: a syslog collector has no path"},
    {"syslog with a token", "https://home.example/a", "syslog+tls://home.example",
     "9:126: error: a bearer token is for an HTTPS collector; syslog has no place for one"},
    {"certificates without TLS", "https://home.example/a", "http://127.0.0.1/a",
     "9:99: error: there is no TLS to http://127.0.0.1/a, so no certificates"},
    {"certificate to ship without its key", "spool: 1M", "certificate: gw.crt",
     "9:70: error: 'certificate' and 'key' go together; 'key' is missing"},
    {"key to ship that others can read", "spool: 1M", "certificate: gw.crt, key: open.key",
     "9:156: error: DIR/open.key: mode 0644 lets others at a secret; allow 0640 at most"},
    {"CA to ship by that is none", "ca: as.crt", "ca: gw.crt",
     "9:103: error: DIR/gw.crt: the CA cannot be read"},
    {"certificate to ship that is none", "spool: 1M", "certificate: gw.crt, key: as.key",
     "9:143: error: DIR/gw.crt: the certificate cannot be read"},
    {"key to ship that is none", "spool: 1M", "certificate: as.crt, key: gw.key",
     "9:143: error: DIR/as.crt: the key cannot be read"},
    {"token that others can read", "token-file: token", "token-file: open.token",
     "9:123: error: DIR/open.token: mode 0644 lets others at a secret; allow 0640 at most"},
    {"token of two lines", "token-file: token", "token-file: two.token",
     "9:123: error: DIR/two.token: expected one line with a token"},
    {"spool too small", "spool: 1M", "spool: 255K",
     "9:137: error: out of range; expected 256K to 16G"},
    {"spool too large", "spool: 1M", "spool: 17G",
     "9:137: error: out of range; expected 256K to 16G"},
    {"spool in words", "spool: 1M", "spool: 1MB",
     "9:137: error: expected a size such as 256K, 64M or 1G"},
    {"spool of so many", "spool: 1M", "spool: 999999999999G",
     "9:137: error: out of range; expected 256K to 16G"},
    {"batch of none", "batch: 50", "batch: 0",
     "9:148: error: 0 is out of range; expected 1 to 10000"},
    {"ship with a surprise", "batch: 50", "batsh: 50",
     "9:141: error: unknown key 'batsh'; did you mean 'batch'?"},
    {"ship without a state", "state: state\n", "",
     "8:70: error: 'ship' needs a 'state' directory, for the records that wait"},

    {"control in no directory", "control: state/", "control: other/",
     "10:10: error: directory DIR/other: No such file or directory"},
    {"http", "workers: auto", "http: 127.0.0.1:9684",
     "6:1: error: 'http' is not supported by this version"},

    {"critical option", "65032", "65033",
     "11:22: error: an odd number is critical; the Access-Token option must be elective"},
    {"unsafe option", "65032", "65034",
     "11:22: error: 65034 is unsafe to forward; the Access-Token option must be safe"},
    {"another's option", "65032", "60", "11:22: error: 60 is another CoAP option's number"},
    {"no option number", "65032", "65536",
     "11:22: error: 65536 is out of range; expected 1 to 65535"},

    {"no associations", "associations: 7", "associations: 0",
     "12:24: error: 0 is out of range; expected 1 to 1000000"},
    {"idle without a unit", "idle: 5m", "idle: 300",
     "12:74: error: expected a duration such as 30s, 5m, 24h or 7d"},
    {"idle of months", "idle: 5m", "idle: 5M",
     "12:74: error: expected a duration such as 30s, 5m, 24h or 7d"},
    {"idle too short", "idle: 5m", "idle: 9s", "12:74: error: out of range; expected 10s to 366d"},

    {"none awake", "awake: 6", "awake: 0",
     "12:85: error: 0 is out of range; expected 1 to 1000000"},
    {"no sleep", "sleep: 30s", "sleep: 0s", "12:95: error: out of range; expected 1s to 366d"},
    {"sleep without a unit", "sleep: 30s", "sleep: 30",
     "12:95: error: expected a duration such as 30s, 5m, 24h or 7d"},

    {"device without a name", "  - name: lamp\n    path", "  - path",
     "14:5: error: missing key 'name'"},
    {"device name with a slash", "name: lamp", "name: lamp/a",
     "14:11: error: a device's name is at most 63 letters, digits, '.', '_' and '-', and begins "
     "with a letter or digit"},
    {"device name twice", "name: meter", "name: lamp",
     "20:5: error: a device of the name 'lamp' is on line 14 already"},
    {"device by path and host", "    host: Meter.Home", "    host: Meter.Home\n    path: /m",
     "20:5: error: 'path' and 'host' exclude each other"},
    {"device by nothing", "    host: Meter.Home\n", "",
     "20:5: error: one of 'path' and 'host' is needed"},
    {"path of no segments", "path: /lamp/a", "path: /",
     "15:11: error: expected a path below /, such as /lamp"},
    {"path without a slash", "path: /lamp/a", "path: lamp",
     "15:11: error: expected a path below /, such as /lamp"},
    {"path with an empty segment", "path: /lamp/a", "path: /lamp//a",
     "15:11: error: a segment is empty"},
    {"path that ends with a slash", "path: /lamp/a", "path: /lamp/",
     "15:11: error: a segment is empty"},
    {"path that climbs", "path: /lamp/a", "path: /lamp/..",
     "15:11: error: a segment is '.' or '..'"},
    {"path with a pattern", "path: /lamp/a", "path: /lamp/*",
     "15:11: error: a device's path holds none of * % ? #"},
    {"path of authz-info", "path: /lamp/a", "path: /authz-info",
     "15:11: error: /authz-info is the gateway's own"},
    {"path of discovery", "path: /lamp/a", "path: /.well-known/x",
     "15:11: error: /.well-known/x is the gateway's own"},
    {"path twice", "host: Meter.Home", "path: /lamp/a",
     "20:5: error: the path of device 'meter' overlaps that of 'lamp' on line 14"},
    {"path below another", "host: Meter.Home", "path: /lamp/a/b",
     "20:5: error: the path of device 'meter' overlaps that of 'lamp' on line 14"},
    {"path above another", "host: Meter.Home", "path: /lamp",
     "20:5: error: the path of device 'meter' overlaps that of 'lamp' on line 14"},
    {"host's name on another's path", "path: /lamp/a", "path: /meter",
     "20:5: error: 'meter' is found by host, so rules see its paths below /meter, which is the "
     "path of 'lamp'; rename one (line 14)"},
    {"host named as the token door", "name: meter", "name: authz-info",
     "20:5: error: /authz-info is the gateway's own"},
    {"host twice", "path: /lamp/a", "host: meter.home",
     "20:5: error: device 'meter' has the same host as 'lamp' on line 14"},
    {"host with a port", "host: Meter.Home", "host: meter.home:5683",
     "21:11: error: expected a host name such as meter.home"},
    {"secure device", "url: coap://[::1]:7777", "url: coaps://[::1]:7777",
     "20:5: error: a secure device needs psk, or ca to know it by"},
    {"device by multicast", "url: coap://[::1]:7777", "url: coap://[ff02::fd]",
     "22:10: error: 'ff02::fd' is not the address of one device"},
    {"device with a query", "url: coap://[::1]:7777", "url: coap://[::1]/?a",
     "22:10: error: a query or a fragment has no place here"},
    {"device with a user", "url: coap://[::1]:7777", "url: coap://me@[::1]",
     "22:10: error: user information has no place here"},
    {"base with a hidden slash", "x%20y", "x%2fy", "16:10: error: a segment holds '/' or NUL"},
    {"device's PSK", "    window: 4", "    psk: {identity: gw, key-file: k}",
     "18:35: error: DIR/k: No such file or directory"},
    {"another dialect", "    window: 4", "    dialect: zigbee",
     "18:14: error: expected coap or onem2m, found 'zigbee'"},
    {"CSE-ID of what is none", "    window: 4", "    cse-id: /mn-cse",
     "18:13: error: this is said of devices with `dialect: onem2m`"},
    {"CSE-ID without its slash", "    window: 4", "    dialect: onem2m\n    cse-id: mn-cse",
     "19:13: error: expected an identifier such as /mn-cse"},
    {"CSE-ID that is an address", "    window: 4", "    dialect: onem2m\n    cse-id: /mn/cse",
     "19:13: error: expected an identifier such as /mn-cse"},
    {"SP-ID alone", "    window: 4", "    dialect: onem2m\n    sp-id: //sp.example",
     "19:12: error: 'sp-id' needs 'cse-id'"},
    {"CSEBase of a dash", "    window: 4", "    dialect: onem2m\n    cse-base: '-'",
     "19:16: error: expected an identifier such as cse-in"},
    {"a third numbering", "    window: 4", "    dialect: onem2m\n    onem2m-options: new",
     "19:21: error: expected current or legacy, found 'new'"},
    {"a CSE's answers kept", "    window: 4", "    dialect: onem2m\n    cache: yes",
     "19:12: error: what a CSE answers is not kept: say no, or nothing"},
    {"notifications of nobody", "    window: 4",
     "    dialect: onem2m\n    notify: coap://127.0.0.1:5690",
     "19:13: error: 'notify' needs 'cse-id', by which the policy knows the CSE"},
    {"another's option", "access-token-option: 65032", "access-token-option: 256",
     "11:22: error: 256 is another CoAP option's number"},
    {"notifications by TLS", "    window: 4",
     "    dialect: onem2m\n    cse-id: /c\n    notify: coaps://127.0.0.1:5690",
     "20:13: error: notifications come by coap or http, such as coap://127.0.0.1:5690 or "
     "http://127.0.0.1:5690"},
    {"notifications by HTTPS", "    window: 4",
     "    dialect: onem2m\n    cse-id: /c\n    notify: https://127.0.0.1:5690",
     "20:13: error: 'https' listeners are not supported; coaps, coap, coaps+tcp and coap+tcp are"},
    {"notifications by HTTP, by a name", "    window: 4",
     "    dialect: onem2m\n    cse-id: /c\n    notify: http://cse.home:5690",
     "20:13: error: 'cse.home' is no address; a listener needs one, such as [::] or 192.0.2.1"},
    {"notifications where others ask", "    window: 4",
     "    dialect: onem2m\n    cse-id: /c\n    notify: coap://127.0.0.1:7683",
     "20:13: error: the same address and port as coap://127.0.0.1:7683"},
    {"notifications of a name", "url: coap://127.0.0.1/v1/x%20y",
     "url: coap://cse.home\n    dialect: onem2m\n    cse-id: /c\n    notify: "
     "coap://127.0.0.1:5690",
     "19:13: error: notifications are known by the CSE's address, so its url must have one "
     "instead of 'cse.home'"},
    {"device's audience is the gateway's", "audience: lamp", "audience: gw",
     "17:15: error: 'gw' names the gateway as a whole: a token for this device would count for "
     "all of them"},
    {"no window", "window: 4", "window: 0", "18:13: error: 0 is out of range; expected 1 to 1024"},
    {"rate of no unit", "rate: 5/min", "rate: 5",
     "24:11: error: expected a rate such as 10/min; the units are s, min, h and day"},
    {"rate of nothing", "rate: 5/min", "rate: 0/s",
     "24:11: error: a rate of nothing; leave the permit away to permit nothing"},
    {"no counts", "rates: 12", "rates: 0",
     "12:120: error: 0 is out of range; expected 1 to 10000000"},
    {"cache of neither kind", "cache: yes", "cache: maybe",
     "23:12: error: expected no, stated or yes, found 'maybe'"},
    {"cache of a number", "cache: yes", "cache: 60",
     "23:12: error: expected no, stated or yes, found '60'"},
    {"cache too small", "cache: 256K", "cache: 63K",
     "12:107: error: out of range; expected 64K to 1G"},
    {"cache too large", "cache: 256K", "cache: 1025M",
     "12:107: error: out of range; expected 64K to 1G"},
    {"cache without a size", "cache: 256K", "cache: no",
     "12:107: error: expected a size such as 256K, 64M or 1G"},
};

/* text with the first `from` replaced */
static void mutate(char *out, size_t cap, const struct row *r)
{
    const char *at = strstr(good, r->from);
    if (!at)
        fail_msg("%s: '%s' is not in the good file", r->name, r->from);
    (void)snprintf(out, cap, "%.*s%s%s", (int)(at - good), good, r->to, at + strlen(r->from));
}

static void expand(char *out, size_t cap, const char *want)
{
    const char *at = strstr(want, "DIR");
    int n = at ? (int)(at - want) : (int)strlen(want);
    (void)snprintf(out, cap, "%s/postern.yaml:%.*s%s%s", dir, n, want, at ? dir : "",
                   at ? at + 3 : "");
}

static void a_cse(void **state)
{
    (void)state;
    char text[4096] = "", yaml[4096];
    struct buf diag = buf_on(text, sizeof text - 1);
    mutate(yaml, sizeof yaml, &(struct row){"a CSE", "    rate: 5/min\n", cse, NULL});
    struct config *c = load(yaml, &diag);
    if (!c)
        fail_msg("%s", text);
    assert_int_equal(c->n_devices, 3);
    assert_int_equal(c->n_listeners, 3);
    assert_int_equal(c->listeners[2].notifies, 3);
    assert_false(c->listeners[2].secure);
    const struct device_config *d = &c->devices[2].upstream;
    assert_null(c->devices[0].upstream.cse);
    assert_non_null(d->cse);
    assert_int_equal(d->cse->options, M2M_LEGACY);
    assert_string_equal(d->cse->id, "/mn-cse");
    assert_string_equal(d->cse->sp, "//sp.example");
    assert_string_equal(d->cse->base, "cse-in");
    assert_int_equal(d->cse->notify, 2);
    assert_int_equal(d->cache, CACHE_NO);
    config_free(c);
}

static void a_cse_by_http(void **state)
{
    (void)state;
    char text[4096] = "", yaml[4096], by_http[1024];
    struct buf diag = buf_on(text, sizeof text - 1);
    const char *at = strstr(cse, "notify: coap:");
    (void)snprintf(by_http, sizeof by_http, "%.*snotify: http:%s", (int)(at - cse), cse,
                   at + strlen("notify: coap:"));
    mutate(yaml, sizeof yaml, &(struct row){"a CSE", "    rate: 5/min\n", by_http, NULL});
    struct config *c = load(yaml, &diag);
    if (!c)
        fail_msg("%s", text);
    assert_true(c->listeners[2].http && c->listeners[2].tcp && !c->listeners[2].secure);
    assert_int_equal(c->listeners[2].notifies, 3);
    config_free(c);
}

static void bad_files(void **state)
{
    (void)state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[4096], got[8192] = "", want[512];
        struct buf diag = buf_on(got, sizeof got - 1);
        mutate(text, sizeof text, &rows[i]);
        struct config *c = load(text, &diag);
        if (c) {
            config_free(c);
            fail_msg("%s: accepted", rows[i].name);
        }
        expand(want, sizeof want, rows[i].want);
        got[strcspn(got, "\n")] = '\0';
        if (strcmp(got, want) != 0) {
            print_error("%s:\n  got    %s\n  wanted %s\n", rows[i].name, got, want);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void a_name_that_does_not_resolve(void **state)
{
    (void)state;
    static const struct row r = {"", "url: coap://[::1]:7777", "url: coap://no-such.invalid", ""};
    char text[4096], got[4096] = "";
    struct buf diag = buf_on(got, sizeof got - 1);
    mutate(text, sizeof text, &r);
    /* That is the running daemon's to find out. */
    struct config *c = load(text, &diag);
    assert_non_null(c);
    assert_int_equal(c->devices[1].upstream.urls[0].to.len, 0);
    assert_string_equal(c->devices[1].upstream.urls[0].host, "no-such.invalid");
    config_free(c);
}

static void not_there(void **state)
{
    (void)state;
    char got[256] = "";
    struct buf diag = buf_on(got, sizeof got - 1);
    assert_null(config_load("/nonexistent/postern.yaml", &diag));
    assert_string_equal(got, "/nonexistent/postern.yaml: error: No such file or directory\n");
}

static void the_policy_must_know_the_authority(void **state)
{
    (void)state;
    static const struct row r = {"", "audience: lamp\n", "authority: home-as\n", ""};
    char text[4096], got[4096] = "", want[256];
    struct buf diag = buf_on(got, sizeof got - 1);
    mutate(text, sizeof text, &r);
    struct config *c = load(text, &diag);
    assert_non_null(c);
    assert_null(config_load_policy(c, &diag));
    (void)snprintf(want, sizeof want,
                   "%s/postern.yaml:17: error: authority 'home-as' of device 'lamp' is not among "
                   "those of %s/policy.yaml\n",
                   dir, dir);
    assert_string_equal(got, want);
    put_file("policy.yaml", "version: 1\nauthoritys: []\n", 0644);
    diag = buf_on(memset(got, 0, sizeof got), sizeof got - 1);
    assert_null(config_load_policy(c, &diag));
    (void)snprintf(want, sizeof want, "%s/policy.yaml:2:1: error: unknown key 'authoritys'", dir);
    assert_int_equal(strncmp(got, want, strlen(want)), 0);
    config_free(c);
    put_file("policy.yaml", "version: 1\n", 0644);
}

static void the_policy_must_know_who_notifies(void **state)
{
    (void)state;
    static const struct row r = {"", "    rate: 5/min\n", cse, ""};
    char text[4096], got[4096] = "", want[512];
    struct buf diag = buf_on(got, sizeof got - 1);
    mutate(text, sizeof text, &r);
    struct config *c = load(text, &diag);
    assert_non_null(c);
    assert_null(config_load_policy(c, &diag));
    (void)snprintf(want, sizeof want,
                   "%s/postern.yaml:33: error: no subject of %s/policy.yaml is the CSE '/mn-cse' "
                   "(`cse: /mn-cse`), so what it notifies would be denied\n",
                   dir, dir);
    assert_string_equal(got, want);
    static const char *const ids[] = {"/mn-cse", "//sp.example/mn-cse"};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(text, sizeof text,
                       "version: 1\nroles: {r: {permit: []}}\nsubjects: [{name: mn, certificate: "
                       "mn.home, roles: [r], cse: \"%s\"}]\n",
                       ids[i]);
        put_file("policy.yaml", text, 0644);
        diag = buf_on(memset(got, 0, sizeof got), sizeof got - 1);
        struct policy *p = config_load_policy(c, &diag);
        if (!p)
            fail_msg("%s", got);
        policy_unref(p);
    }
    config_free(c);
    put_file("policy.yaml", "version: 1\n", 0644);
}

/* A forbid that an ID gets around. */
static void a_cse_of_an_unknown_base(void **state)
{
    static const struct {
        const char *base, *forbid;
        bool warned;
    } bases[] = {
        {"", "/cse/cb/x", true},       {"    cse-base: cb\n", "/cse/cb/x", false},
        {"", "/cse/**", false},        {"", "/**", false},
        {"", "/*/cb/secret/**", true}, {"", "/lamp/a/x", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        char text[4096], yaml[4096], device[512], got[4096] = "";
        struct buf diag = buf_on(got, sizeof got - 1);
        (void)snprintf(device, sizeof device,
                       "    rate: 5/min\n  - name: cse\n    path: /cse\n    url: "
                       "coap://127.0.0.1:7788\n    dialect: onem2m\n%s",
                       bases[i].base);
        mutate(yaml, sizeof yaml, &(struct row){"a CSE", "    rate: 5/min\n", device, NULL});
        (void)snprintf(text, sizeof text,
                       "version: 1\nforbid:\n  - {path: %s, operations: [RETRIEVE]}\n",
                       bases[i].forbid);
        put_file("policy.yaml", text, 0644);
        struct config *c = load(yaml, &diag);
        struct policy *p = c ? config_load_policy(c, &diag) : NULL;
        if (!p)
            fail_msg("%s", got);
        m2m_warn(c, p, &diag);
        if ((strstr(got, ":3: warning: 'cse' has no cse-base") != NULL) != bases[i].warned)
            fail_msg("%s %s: %s", bases[i].base, bases[i].forbid, got);
        policy_unref(p);
        config_free(c);
    }
    put_file("policy.yaml", "version: 1\n", 0644);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file),
        cmocka_unit_test(defaults),
        cmocka_unit_test(restart_without_a_state),
        cmocka_unit_test(ways_to_ship),
        cmocka_unit_test(both_wildcards),
        cmocka_unit_test(by_tcp),
        cmocka_unit_test(a_cse),
        cmocka_unit_test(a_cse_by_http),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(a_name_that_does_not_resolve),
        cmocka_unit_test(not_there),
        cmocka_unit_test(the_policy_must_know_the_authority),
        cmocka_unit_test(the_policy_must_know_who_notifies),
        cmocka_unit_test(a_cse_of_an_unknown_base),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
