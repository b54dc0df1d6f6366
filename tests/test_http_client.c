/* HTTP towards real servers on loopback, which misbehave. */
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../proxy/http_client.h"
#include "support_dtls.h"
#include "support_http.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum { GUARD_MS = 20000, SOON_MS = 500, LATE_MS = 5000, MANY = 40 };

static struct {
    struct loop *loop;
    struct http_client *http;
    uint64_t guard_ms;
    size_t wanted, n, n_fields;
    bool inside; /* of http_client_ask() */
    struct {
        uint64_t id;
        enum http_end end;
        unsigned status;
        char type[64];
        bool sent;
        uint32_t retry_s;
        size_t body_n;
        char body[HTTP_ANSWER_MAX + 1];
    } got[MANY];
} rig;

static uint64_t turn(void *user, struct instant now)
{
    (void)user;
    uint64_t next = http_client_turn(rig.http, now);
    if (rig.n >= rig.wanted || instant_ms(now) >= rig.guard_ms)
        loop_stop(rig.loop);
    return next < rig.guard_ms ? next : rig.guard_ms;
}

static void done(void *user, uint64_t id, const struct http_answer *a, struct instant now)
{
    (void)user, (void)now;
    assert_false(rig.inside);
    assert_true(rig.n < MANY);
    rig.got[rig.n].id = id;
    rig.got[rig.n].end = a->end;
    rig.got[rig.n].status = a->status;
    rig.got[rig.n].sent = a->sent;
    rig.n_fields = a->n_fields;
    rig.got[rig.n].retry_s = a->retry_s;
    snprintf(rig.got[rig.n].type, sizeof rig.got[rig.n].type, "%s",
             a->content_type ? a->content_type : "");
    rig.got[rig.n].body_n = a->body.n;
    if (a->body.n)
        memcpy(rig.got[rig.n].body, a->body.p, a->body.n);
    rig.got[rig.n++].body[a->body.n] = '\0';
}

static bool ask(uint64_t id, const char *server, const char *path, struct http_question q)
{
    char url[128];
    snprintf(url, sizeof url, "%s://127.0.0.1:%d%s", strcmp(server, "http") == 0 ? "http" : "https",
             http_server_port(server), path);
    if (!q.url)
        q.url = url;
    q.accept = "application/json";
    if (!q.wait_ms)
        q.wait_ms = LATE_MS;
    rig.inside = true;
    bool ok = http_client_ask(rig.http, id, &q, loop_now(rig.loop));
    rig.inside = false;
    return ok;
}

static void run(size_t wanted)
{
    rig.wanted = wanted;
    rig.guard_ms = instant_ms(loop_now(rig.loop)) + GUARD_MS;
    assert_true(loop_run(rig.loop));
    assert_int_equal(rig.n, wanted);
}

static int set_up(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig.loop = loop_new(turn, NULL);
    rig.http = http_client_new(rig.loop, done, NULL);
    return rig.loop && rig.http ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    http_client_free(rig.http);
    loop_free(rig.loop);
    return 0;
}

static char *ca, *stranger, *client_crt, *client_key;

static struct bytes pem(const char *text)
{
    return bytes_str(text);
}

struct row {
    const char *name, *server, *path;
    uint64_t wait_ms;
    bool another_ca, certificate;
    const char *host;
    enum http_end end;
    unsigned status;
};

static const struct row rows[] = {
    {"in clear", "http", "/echo", .status = 200},
    {"https", "https", "/echo", .status = 200},
    {"https by name", "https", "/echo", .host = "localhost", .status = 200},
    {"by an address that the certificate has not", "elsewhere", "/echo", .host = "127.0.0.2",
     .end = HTTP_UNTRUSTED},
    {"https, another CA", "https", "/echo", .another_ca = true, .end = HTTP_UNTRUSTED},
    {"a stranger's certificate", "stranger", "/echo", .end = HTTP_UNTRUSTED},
    {"an expired certificate", "expired", "/echo", .end = HTTP_UNTRUSTED},
    {"mutual TLS", "mutual", "/echo", .certificate = true, .status = 200},
    {"mutual TLS without ours", "mutual", "/echo", .end = HTTP_UNREACHABLE},
    {"slow", "http", "/slow", .status = 200},
    {"too slow", "http", "/slow", .wait_ms = 50, .end = HTTP_SILENT},
    {"silent", "http", "/silent", .wait_ms = SOON_MS, .end = HTTP_SILENT},
    {"silent over TLS", "https", "/silent", .wait_ms = SOON_MS, .end = HTTP_SILENT},
    {"half an answer", "http", "/half", .end = HTTP_UNREACHABLE},
    {"no answer", "http", "/nothing", .end = HTTP_UNREACHABLE},
    {"garbage", "http", "/garbage", .end = HTTP_UNREACHABLE},
    {"half a header", "http", "/half-header", .end = HTTP_UNREACHABLE},
    {"the same length twice", "http", "/same-lengths", .status = 200},
    {"two lengths", "http", "/two-lengths", .end = HTTP_UNREACHABLE},
    {"a length that is none", "http", "/no-length", .end = HTTP_UNREACHABLE},
    {"another length before it", "http", "/interim-length", .status = 200},
    {"a header too long", "http", "/long-header", .end = HTTP_TOO_LARGE},
    {"as large as may be", "http", "/most", .status = 200},
    {"a byte too large", "http", "/large", .end = HTTP_TOO_LARGE},
    {"without an end", "http", "/endless", .end = HTTP_TOO_LARGE},
    {"a redirect", "http", "/redirect", .status = 302},
    {"an error", "http", "/denied", .status = 401},
    {"busy", "http", "/busy", .status = 503},
};

static void servers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        char url[128];
        struct http_question q = {.wait_ms = r->wait_ms, .ca = pem(r->another_ca ? stranger : ca)};
        if (r->certificate) {
            q.certificate = pem(client_crt);
            q.key = pem(client_key);
        }
        if (r->host) {
            snprintf(url, sizeof url, "https://%s:%d%s", r->host, http_server_port(r->server),
                     r->path);
            q.url = url;
        }
        rig.n = 0;
        assert_true(ask(i, r->server, r->path, q));
        run(1);
        if (rig.got[0].end != r->end || rig.got[0].status != r->status || rig.got[0].id != i)
            fail_msg("%s: got end %d, status %u; wanted %d, %u", r->name, rig.got[0].end,
                     rig.got[0].status, r->end, r->status);
        if (r->end != HTTP_ANSWERED && rig.got[0].body_n)
            fail_msg("%s: something of what failed is handed on", r->name);
    }
    assert_int_equal(rig.got[0].retry_s, 7); /* the last row's */
}

static void nobody_there(void **state)
{
    (void)state;
    assert_true(ask(1, "http", "", (struct http_question){.url = "http://127.0.0.1:9/x"}));
    run(1);
    assert_int_equal(rig.got[0].end, HTTP_UNREACHABLE);
    assert_false(ask(2, "http", "", (struct http_question){.url = "file:///etc/passwd"}) &&
                 (run(2), rig.got[1].end == HTTP_ANSWERED));
}

static bool has(const char *what)
{
    return strstr(rig.got[rig.n - 1].body, what);
}

static void questions(void **state)
{
    (void)state;
    assert_true(ask(1, "http", "/echo",
                    (struct http_question){.content_type = "application/x-www-form-urlencoded",
                                           .body = BYTES_LIT("token=abc"),
                                           .auth = HTTP_AUTH_BASIC,
                                           .user = "g%3Aw",
                                           .secret = "geheim"}));
    run(1);
    assert_string_equal(rig.got[0].type, "application/json; charset=utf-8");
    assert_true(has("\"body\": \"token=abc\"") && has("\"method\": \"POST\""));
    assert_true(has("\"accept\": \"application/json\""));
    assert_true(has("\"content-type\": \"application/x-www-form-urlencoded\""));
    assert_true(has("\"authorization\": \"Basic ZyUzQXc6Z2VoZWlt\"")); /* g%3Aw:geheim */
    assert_false(has("\"expect\""));
    assert_true(ask(2, "http", "/echo",
                    (struct http_question){.auth = HTTP_AUTH_BEARER, .secret = "to.ken"}));
    run(2);
    assert_true(has("\"authorization\": \"Bearer to.ken\"") && has("\"method\": \"GET\""));
    /* Credentials do not linger on the connection that was kept. */
    assert_true(ask(3, "http", "/echo", (struct http_question){0}));
    run(3);
    assert_false(has("authorization"));
}

static void methods(void **state)
{
    (void)state;
    static const char *const lines[] = {"X-M2M-RI: r1", "X-Empty;"};
    static const struct {
        const char *method, *type, *body;
    } all[] = {{"GET", NULL, NULL},
               {"DELETE", NULL, NULL},
               {"PUT", "text/plain", "abc"},
               {"POST", NULL, "abc"},
               {"POST", "application/json;ty=3", ""},
               {"PATCH", "text/plain", "abc"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char want[64];
        rig.n = 0;
        assert_true(ask(i, "http", "/echo",
                        (struct http_question){.method = all[i].method,
                                               .content_type = all[i].type,
                                               .body = bytes_str(all[i].body),
                                               .lines = lines,
                                               .n_lines = 2,
                                               .fields = true}));
        run(1);
        assert_int_equal(rig.got[0].status, 200);
        snprintf(want, sizeof want, "\"method\": \"%s\"", all[i].method);
        assert_true(has(want));
        snprintf(want, sizeof want, "\"body\": \"%s\"", all[i].body ? all[i].body : "");
        assert_true(has(want));
        assert_true(has("\"x-m2m-ri\": \"r1\"") && has("\"x-empty\": \"\""));
        assert_true(all[i].type ? has(all[i].type) : !has("content-type"));
        assert_true(rig.n_fields >= 3); /* Server, Date, Content-Type, ... */
    }
}

/* On a kept connection that ends without a word what does no harm twice is
 * asked again, and nothing else. */
static void once(void **state)
{
    (void)state;
    for (int post = 0; post < 2; post++) {
        const struct http_question q = {.method = post ? "POST" : "PUT", .once = post};
        rig.n = 0;
        assert_true(ask(1, "http", "/once", q));
        run(1);
        assert_int_equal(rig.got[0].status, 200);
        assert_true(ask(2, "http", "/once", q));
        run(2);
        assert_int_equal(rig.got[1].end, post ? HTTP_UNREACHABLE : HTTP_ANSWERED);
        assert_true(rig.got[1].sent);
        http_client_free(rig.http); /* and what it kept */
        rig.http = http_client_new(rig.loop, done, NULL);
    }
}

static void probes(void **state)
{
    (void)state;
    static const struct {
        const char *url, *connect_to;
        bool tls;
        enum http_end end;
    } rows_of[] = {{"http://nowhere.invalid/", "http", false, HTTP_ANSWERED},
                   {"https://localhost/", "https", true, HTTP_ANSWERED},
                   {"https://nowhere.invalid/", "https", true, HTTP_UNTRUSTED},
                   {"http://127.0.0.1/", NULL, false, HTTP_UNREACHABLE}};
    for (size_t i = 0; i < sizeof rows_of / sizeof *rows_of; i++) {
        char to[32] = "127.0.0.1:9";
        if (rows_of[i].connect_to)
            snprintf(to, sizeof to, "127.0.0.1:%d", http_server_port(rows_of[i].connect_to));
        rig.n = 0;
        assert_true(ask(i, "http", "/",
                        (struct http_question){.url = rows_of[i].url,
                                               .connect_to = to,
                                               .probe = true,
                                               .ca = rows_of[i].tls ? pem(ca) : BYTES_NONE}));
        run(1);
        if (rig.got[0].end != rows_of[i].end || rig.got[0].status != 0)
            fail_msg("%s: %d, %u", rows_of[i].url, rig.got[0].end, rig.got[0].status);
    }
}

static int port_of(size_t i)
{
    const char *p = strstr(rig.got[i].body, "\"port\": ");
    return p ? atoi(p + 8) : -1;
}

static void connections(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 2; i++) {
        assert_true(ask(i, "https", "/echo", (struct http_question){.ca = pem(ca)}));
        run(i + 1);
    }
    assert_int_equal(port_of(0), port_of(1)); /* kept */
    assert_true(ask(2, "https", "/echo", (struct http_question){.ca = pem(stranger)}));
    run(3);
    assert_int_equal(rig.got[2].end, HTTP_UNTRUSTED); /* and not lent to who trusts others */
    for (uint64_t i = 3; i < MANY; i++)
        assert_true(ask(i, "http", "/echo", (struct http_question){0}));
    run(MANY);
    size_t ports = 0;
    for (size_t i = 3; i < MANY; i++) {
        bool seen = false;
        for (size_t k = 3; k < i; k++)
            seen |= port_of(k) == port_of(i);
        ports += !seen;
    }
    assert_true(ports <= HTTP_CONNECTIONS_PER_HOST);
}

static void cancelled(void **state)
{
    (void)state;
    assert_true(ask(1, "http", "/silent", (struct http_question){0}));
    assert_true(ask(2, "http", "/slow", (struct http_question){0}));
    http_client_cancel(rig.http, 1);
    run(1);
    assert_int_equal(rig.got[0].id, 2);
    assert_true(ask(3, "http", "/silent", (struct http_question){0})); /* freed under way */
}

/* What the environment says of proxies does not count. */
static void environment(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    setenv("all_proxy", "http://127.0.0.1:9", 1);
    assert_true(ask(1, "http", "/echo", (struct http_question){0}));
    run(1);
    assert_int_equal(rig.got[0].status, 200);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}

/* ---- names ---- */

/* In place of libc's: one name hangs until it is let go, as all do where there
 * is no line. */
static int held[2] = {-1, -1};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t over = PTHREAD_COND_INITIALIZER;
static int asking, asked;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!host || strcmp(host, "hangs.test") != 0) {
        if (!real)
            *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(host, service, hints, out);
    }
    pthread_mutex_lock(&lock);
    asking++;
    asked++;
    pthread_mutex_unlock(&lock);
    struct pollfd p = {.fd = held[0], .events = POLLIN};
    (void)poll(&p, 1, GUARD_MS);
    pthread_mutex_lock(&lock);
    asking--;
    pthread_cond_broadcast(&over);
    pthread_mutex_unlock(&lock);
    return EAI_AGAIN;
}

/* Nobody waits for a name but the question that needs it, and that not
 * longer than it was told to. */
static void no_name(void **state)
{
    (void)state;
    assert_int_equal(pipe(held), 0);
    uint64_t began_ms = instant_ms(loop_now(rig.loop));
    const struct http_question q = {.url = "http://hangs.test/", .wait_ms = SOON_MS};
    assert_true(ask(1, "http", "", q));
    assert_true(ask(2, "http", "", q));
    http_client_cancel(rig.http, 2);
    assert_true(ask(3, "http", "/echo", (struct http_question){0}));
    run(2);
    assert_int_equal(rig.got[0].id, 3);
    assert_int_equal(rig.got[1].id, 1);
    assert_int_not_equal(rig.got[1].end, HTTP_ANSWERED);
    assert_true(instant_ms(loop_now(rig.loop)) - began_ms < LATE_MS);
    assert_true(ask(4, "http", "", q)); /* freed under way */
    http_client_free(rig.http);
    rig.http = NULL;
    assert_true(instant_ms(loop_now(rig.loop)) - began_ms < LATE_MS);
    pthread_mutex_lock(&lock);
    assert_true(asked > 0);
    assert_int_equal(write(held[1], "", 1), 1);
    while (asking)
        pthread_cond_wait(&over, &lock);
    pthread_mutex_unlock(&lock);
    close(held[0]);
    close(held[1]);
}

static int start(void **state)
{
    (void)state;
    ca = rig_file("keys/ca.crt");
    stranger = rig_file("keys/stranger.crt");
    client_crt = rig_file("keys/client.crt");
    client_key = rig_file("keys/client.key");
    return http_server_start() ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    free(ca);
    free(stranger);
    free(client_crt);
    free(client_key);
    http_server_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(servers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(questions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(methods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(probes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(environment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_name, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
