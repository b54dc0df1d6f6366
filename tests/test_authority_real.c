/* The wire over real sockets: towards helper_as, whose CoAP and DTLS are
 * libcoap's and not ours, and towards http_server.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../proxy/authority.h"
#include "../proxy/udp.h"
#include "support_http.h"

enum { GUARD_MS = 40000 };

#define KEY       "000102030405060708090a0b0c0d0e0f"
#define OTHER_KEY "ff0102030405060708090a0b0c0d0e0f"

static char dir[] = "/tmp/authority_real.XXXXXX", program[512];

static struct {
    struct loop *loop;
    struct authorities *as;
    uint64_t guard_ms;
    size_t n, wanted, n_got;
    struct {
        uint64_t id;
        bool away, observed, last;
        uint8_t code;
        int format;
        size_t body_n;
        uint8_t body[65536];
    } last;
    pid_t pid;
    int in, port;
    FILE *out;
} rig;

/* ---- the server ---- */

static void await(const char *word)
{
    char line[4096];
    do {
        assert_non_null(fgets(line, sizeof line, rig.out));
        if (strncmp(line, "error", 5) == 0)
            fail_msg("helper_as: %s", line);
    } while (strncmp(line, word, strlen(word)) != 0);
}

static void tell(const char *text)
{
    assert_true(write(rig.in, text, strlen(text)) == (ssize_t)strlen(text));
    await("ok");
}

static void start_server(void)
{
    int in[2], out[2];
    char port[8];
    assert_true(pipe(in) == 0 && pipe(out) == 0);
    snprintf(port, sizeof port, "%d", rig.port);
    rig.pid = fork();
    assert_true(rig.pid >= 0);
    if (rig.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl(program, program, "rfc9200", port, "psk", "gateway", KEY, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    rig.in = in[1];
    rig.out = fdopen(out[0], "r");
    await("ready");
    tell("token 616263\n"); /* "abc" */
}

static void stop_server(void)
{
    close(rig.in);
    fclose(rig.out);
    waitpid(rig.pid, NULL, 0);
}

/* ---- us ---- */

static uint64_t turn(void *user, struct instant now)
{
    (void)user;
    uint64_t next = authorities_turn(rig.as, now);
    if (rig.n >= rig.wanted || instant_ms(now) >= rig.guard_ms)
        loop_stop(rig.loop);
    return next < rig.guard_ms ? next : rig.guard_ms;
}

static void note(uint64_t id, const struct pep_reply *r)
{
    rig.n++;
    rig.last.id = id;
    rig.last.away = r->away;
    rig.last.code = r->code;
    rig.last.format = r->content_format;
    rig.last.body_n = r->body.n;
    if (r->body.n)
        memcpy(rig.last.body, r->body.p, r->body.n);
}

static void replied(void *user, uint64_t id, const struct pep_reply *r, struct instant now)
{
    (void)user, (void)now;
    note(id, r);
}

static void got(void *user, uint64_t handle, const struct authority_got *g, struct instant now)
{
    (void)user, (void)now;
    note(handle, &g->reply);
    rig.last.observed = g->observed;
    rig.last.last = g->last;
}

static void random_bytes(void *user, void *to, size_t n)
{
    (void)user;
    assert_true(crypto_random(to, n));
}

/* Until one more answer is there. */
static void run(void)
{
    rig.wanted = rig.n + 1;
    rig.guard_ms = instant_ms(loop_now(rig.loop)) + GUARD_MS;
    assert_true(loop_run(rig.loop));
    assert_int_equal(rig.n, rig.wanted);
}

static void use(const char *key_file, const char *more)
{
    char text[2048], diag[2048] = "";
    struct buf b = buf_on(diag, sizeof diag - 1);
    snprintf(text, sizeof text,
             "version: 1\nauthorities:\n  - name: home\n    keys: k\n    may-grant: {}\n"
             "    introspect: {url: \"coaps://127.0.0.1:%d/introspect\", psk: {identity: gateway, "
             "key-file: %s}}\n"
             "    revocation-list: {url: \"coaps://127.0.0.1:%d/revoke/trl\"}\n%s",
             rig.port, key_file, rig.port, more);
    struct policy *p = policy_load("p", bytes_str(text), "0123456789abcdef", &b);
    struct wire *w = p ? wire_load(p, dir, &b) : NULL;
    policy_unref(p);
    if (!w)
        fail_msg("%s", diag);
    assert_true(authorities_use(rig.as, w, loop_now(rig.loop)));
}

static void ask(uint64_t id)
{
    static const uint8_t body[] = {0xa1, 0x0b, 0x43, 'a', 'b', 'c'}; /* {token: 'abc'} */
    const struct pep_question q = {
        .id = id, .body = {body, sizeof body}, .content_format = PEP_FORMAT_ACE_CBOR};
    assert_true(authority_ask(rig.as, &q, loop_now(rig.loop)));
}

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
}

static int set_up(void **state)
{
    (void)state;
    static const struct authority_ops ops = {replied, got, random_bytes};
    struct peer any = {.in4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                       .len = sizeof any.in4},
                bound;
    char diag[256];
    struct buf b = buf_on(diag, sizeof diag);
    memset(&rig, 0, sizeof rig);
    struct udp *u = udp_bind(&any, false, &b); /* a port that is free */
    assert_non_null(u);
    udp_local(u, &bound);
    rig.port = ntohs(bound.in4.sin_port);
    udp_free(u);
    rig.loop = loop_new(turn, NULL);
    rig.as = authorities_new(rig.loop, &ops, NULL);
    assert_true(rig.loop && rig.as);
    start_server();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    authorities_free(rig.as);
    loop_free(rig.loop);
    stop_server();
    return 0;
}

/* ---- the tests ---- */

static void introspection(void **state)
{
    (void)state;
    use("psk", "");
    ask(5);
    run();
    assert_true(rig.last.id == 5 && !rig.last.away);
    assert_int_equal(rig.last.code, 0x41);
    assert_int_equal(rig.last.format, PEP_FORMAT_ACE_CBOR);
    assert_true(rig.last.body_n > 0);
    tell("slow introspect 300\n"); /* a separate answer */
    ask(6);
    run();
    assert_true(rig.last.id == 6 && rig.last.code == 0x41);
    tell("behave introspect refuse 4.01\n");
    ask(7);
    run();
    assert_int_equal(rig.last.code, 0x81);
    struct authority_stats s;
    authority_get_stats(rig.as, 0, AUTHORITY_INTROSPECT, loop_now(rig.loop), &s);
    assert_true(s.answered == 3 && s.latency_us > 0 && s.circuit == CIRCUIT_CLOSED);
}

static void another_key(void **state)
{
    (void)state;
    use("other.psk", "");
    ask(5);
    run();
    assert_true(rig.last.away);
}

static void revocations(void **state)
{
    (void)state;
    use("psk", "");
    assert_true(
        authority_get(rig.as, 0, AUTHORITY_REVOCATIONS, NULL, 0, true, loop_now(rig.loop)) != 0);
    run();
    assert_int_equal(rig.last.code, 0x45);
    assert_true(rig.last.observed && !rig.last.last);
    assert_int_equal(rig.last.format, PEP_FORMAT_TRL);
    size_t before = rig.last.body_n;
    char line[16384] = "revoke";
    size_t n = strlen(line);
    for (int i = 0; i < 60; i++) /* too many for one datagram */
        n += (size_t)snprintf(line + n, sizeof line - n, " 01%064d", i);
    snprintf(line + n, sizeof line - n, "\n");
    tell(line);
    run();
    assert_true(rig.last.observed && rig.last.body_n > before + 60 * 33);
}

/* The server comes back on the same port and knows nothing of us. */
static void forgotten(void **state)
{
    (void)state;
    use("psk", "");
    ask(1);
    run();
    assert_int_equal(rig.last.code, 0x41);
    assert_true(write(rig.in, "crash\n", 6) == 6);
    stop_server();
    start_server();
    ask(2);
    run();
    assert_false(rig.last.away);
    assert_int_equal(rig.last.code, 0x41);
}

static void https(void **state)
{
    (void)state;
    char more[2048];
    snprintf(more, sizeof more,
             "    jwks: {url: \"https://localhost:%d/echo\", ca: \"%s/keys/ca.crt\"}\n"
             "  - name: web\n    issuer: https://as.home\n    keys: k\n    may-grant: {}\n"
             "    introspect: {url: \"https://127.0.0.1:%d/echo\", ca: \"%s/keys/ca.crt\", "
             "auth: post, client-id: \"g w\", secret-file: secret}\n"
             "  - name: jwt\n    issuer: https://jwt.home\n    keys: k\n    may-grant: {}\n"
             "    introspect: {url: \"http://127.0.0.1:%d/echo\", auth: private-key-jwt, "
             "client-id: gw, signing-key: signing.pem}\n",
             http_server_port("https"), TESTS_DIR, http_server_port("https"), TESTS_DIR,
             http_server_port("http"));
    use("psk", more);
    assert_true(authority_get(rig.as, 0, AUTHORITY_JWKS, NULL, 0, false, loop_now(rig.loop)) != 0);
    run();
    assert_int_equal(rig.last.code, 0x40);
    assert_true(rig.last.last);
    rig.last.body[rig.last.body_n] = '\0';
    assert_non_null(strstr((char *)rig.last.body, "\"method\": \"GET\""));

    struct pep_question q = {.id = 9,
                             .authority = 1,
                             .body = BYTES_LIT("token=abc"),
                             .content_format = PEP_FORMAT_FORM,
                             .http = true};
    assert_true(authority_ask(rig.as, &q, loop_now(rig.loop)));
    run();
    rig.last.body[rig.last.body_n] = '\0';
    assert_true(rig.last.id == 9 && rig.last.code == 0x40);
    assert_int_equal(rig.last.format, PEP_FORMAT_JSON);
    assert_non_null(
        strstr((char *)rig.last.body, "token=abc&client_id=g+w&client_secret=ge%26heim"));
    q.id = 10;
    q.authority = 2;
    assert_true(authority_ask(rig.as, &q, loop_now(rig.loop)));
    run();
    rig.last.body[rig.last.body_n] = '\0';
    assert_non_null(strstr((char *)rig.last.body, "token=abc&client_assertion_type="));
    assert_non_null(strstr((char *)rig.last.body, "&client_assertion=eyJ"));
    assert_non_null(strstr((char *)rig.last.body, "&client_id=gw"));
}

static int start(void **state)
{
    (void)state;
    char text[4096], path[512];
    if (!mkdtemp(dir) || !http_server_start())
        return -1;
    put("psk", KEY "\n");
    put("other.psk", OTHER_KEY "\n");
    put("secret", "ge&heim\n");
    snprintf(path, sizeof path, "%s/keys/client.key", TESTS_DIR);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    put("signing.pem", text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    static const char *const names[] = {"psk", "other.psk", "secret", "signing.pem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    http_server_stop();
    return rmdir(dir);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(introspection), TEST(another_key), TEST(revocations), TEST(forgotten), TEST(https),
    };
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    snprintf(program, sizeof program, "%.*shelper_as", slash ? (int)(slash - argv[0]) + 1 : 0,
             argv[0]);
    return cmocka_run_group_tests(tests, start, stop);
}
