/* What an authority's wire is in the policy file, and how each mistake is
 * told; then with its files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../proxy/wire.h"

static struct policy *load(const char *wire, char *diag, size_t cap)
{
    char text[2048];
    snprintf(text, sizeof text,
             "version: 1\nauthorities:\n  - name: home\n    keys: home.keys\n    may-grant: {}\n"
             "%s\n",
             wire);
    struct buf b = buf_on(diag, cap - 1);
    struct policy *p = policy_load("p.yaml", bytes_str(text), "0123456789abcdef", &b);
    diag[b.n] = '\0';
    return p;
}

struct row {
    const char *name, *wire, *error; /* NULL: taken */
};

#define PSK "psk: {identity: gw, key-file: gw.psk}"

static const struct row rows[] = {
    {"coaps by psk", "    introspect: {url: coaps://as.home/introspect, " PSK "}", NULL},
    {"psk without its file", "    introspect: {url: coaps://as.home/i, psk: {identity: gw}}",
     "key-file"},
    {"psk over https", "    introspect: {url: https://as.home/i, " PSK "}", "psk is for coaps"},
    {"coaps with nothing", "    introspect: {url: coaps://as.home/i}", "coaps needs psk, or ca"},
    {"coaps by certificate",
     "    introspect: {url: coaps://as.home/i, certificate: c, key: k, ca: a}", NULL},
    {"certificate without key", "    introspect: {url: coaps://as.home/i, certificate: c, ca: a}",
     "belong together"},
    {"psk and ca", "    introspect: {url: coaps://as.home/i, ca: a, " PSK "}", "not both"},
    {"coap on this machine", "    introspect: {url: coap://127.0.0.1/i}", NULL},
    {"coap elsewhere", "    introspect: {url: coap://127.0.0.1.as.home/i}", "in clear"},
    {"coap to 128.0.0.1", "    introspect: {url: coap://128.0.0.1/i}", "in clear"},
    {"coap to ::1", "    introspect: {url: \"coap://[::1]/i\"}", NULL},
    {"coap to ::2", "    introspect: {url: \"coap://[::2]/i\"}", "in clear"},
    {"coap with credentials", "    introspect: {url: coap://localhost/i, " PSK "}",
     "for coaps and https"},
    {"a path with ..", "    introspect: {url: coap://127.0.0.1/a/../i}", "'.' or '..'"},
    {"https, basic",
     "    introspect: {url: https://as.home/i, auth: basic, client-id: gw, secret-file: s}", NULL},
    {"basic without id", "    introspect: {url: https://as.home/i, auth: basic, secret-file: s}",
     "needs a client-id"},
    {"basic without secret", "    introspect: {url: https://as.home/i, auth: basic, client-id: gw}",
     "needs a secret-file"},
    {"secret without auth", "    introspect: {url: https://as.home/i, secret-file: s}",
     "secret-file is for"},
    {"no such auth", "    introspect: {url: https://as.home/i, auth: digest}", "digest"},
    {"auth over coaps",
     "    introspect: {url: coaps://as.home/i, auth: bearer, secret-file: s, " PSK "}",
     "auth is for https"},
    {"bearer", "    introspect: {url: https://as.home/i, auth: bearer, secret-file: s}", NULL},
    {"mutual tls",
     "    introspect: {url: https://as.home/i, auth: mutual-tls, certificate: c, key: k}", NULL},
    {"mutual tls without certificate", "    introspect: {url: https://as.home/i, auth: mutual-tls}",
     "needs certificate and key"},
    {"certificate without mutual tls",
     "    introspect: {url: https://as.home/i, certificate: c, key: k}", "for auth: mutual-tls"},
    {"private key jwt",
     "    introspect: {url: https://as.home/i, auth: private-key-jwt, client-id: gw, signing-key: "
     "k}",
     NULL},
    {"private key jwt without key",
     "    introspect: {url: https://as.home/i, auth: private-key-jwt, client-id: gw}",
     "needs a signing-key"},
    {"http on this machine", "    introspect: {url: http://localhost:8080/i}", NULL},
    {"http elsewhere", "    introspect: {url: http://as.home/i}", "use https"},
    {"ftp", "    introspect: {url: ftp://as.home/i}", "not supported"},
    {"no url", "    introspect: {when: always}", "url"},
    {"when", "    introspect: {url: http://localhost/i, when: always}", NULL},
    {"when else", "    introspect: {url: http://localhost/i, when: sometimes}", "sometimes"},
    {"cache", "    introspect: {url: http://localhost/i, cache: 0}", NULL},
    {"cache without unit", "    introspect: {url: http://localhost/i, cache: 60}", "duration"},
    {"cache too long", "    introspect: {url: http://localhost/i, cache: 25h}", "out of range"},
    {"unknown key", "    introspect: {url: http://localhost/i, verify: no}", "unknown key"},
    {"list", "    revocation-list: {url: coaps://as.home/trl, poll: 5m, " PSK "}", NULL},
    {"list over https", "    revocation-list: {url: https://as.home/trl, " PSK "}", "over coaps"},
    {"list too often", "    revocation-list: {url: coaps://as.home/trl, poll: 1s, " PSK "}",
     "out of range"},
    {"list as the other",
     "    introspect: {url: coaps://as.home/i, " PSK "}\n"
     "    revocation-list: {url: coaps://as.home/trl}",
     NULL},
    {"jwks", "    jwks: {url: https://as.home/jwks, refresh: 1h, ca: a}", NULL},
    {"jwks over coaps", "    jwks: {url: coaps://as.home/jwks, ca: a}", "over https"},
    {"jwks with auth", "    jwks: {url: https://as.home/jwks, auth: basic}", "unknown key"},
};

static void as_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        char diag[2048];
        struct policy *p = load(r->wire, diag, sizeof diag);
        bool ok = r->error ? !p && strstr(diag, r->error) && strstr(diag, "p.yaml:") &&
                                 strstr(diag, "^\n")
                           : p != NULL;
        if (!ok)
            fail_msg("%s: got %s, wanted %s", r->name, p ? "a policy" : diag,
                     r->error ? r->error : "a policy");
        policy_unref(p);
    }
}

static void defaults(void **state)
{
    (void)state;
    char diag[2048];
    struct policy *p = load("    introspect: {url: coaps://as.home/i, " PSK "}\n"
                            "    revocation-list: {url: coaps://as.home/trl}",
                            diag, sizeof diag);
    assert_non_null(p);
    const struct policy_wire *w = &policy_authority(p, 0)->wire;
    assert_int_equal(w->when, POLICY_REFERENCE_ONLY);
    assert_int_equal(w->cache_s, POLICY_CACHE_S);
    assert_int_equal(w->poll_s, POLICY_POLL_S);
    assert_true(w->introspect.secure && !w->introspect.http);
    assert_string_equal(w->revocation_list.psk_identity, "gw");
    assert_string_equal(w->revocation_list.psk_key.name, "gw.psk");
    assert_null(w->jwks.url);
    policy_unref(p);
}

/* ---- with files ---- */

static char dir[] = "/tmp/wire_file.XXXXXX";

static void put(const char *name, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

struct file_row {
    const char *name, *file, *text;
    mode_t mode;
    const char *error;
};

static const struct file_row file_rows[] = {
    {"a secret", "s", "geheim\n", 0640, NULL},
    {"others may read it", "s", "geheim\n", 0644, "0640"},
    {"the group may write it", "s", "geheim\n", 0660, "0640"},
    {"empty", "s", "", 0600, "empty"},
    {"only a line break", "s", "\n", 0600, "no secret"},
    {"two lines", "s", "ge\nheim\n", 0600, "one line"},
    {"not there", "t", "geheim\n", 0600, "No such file"},
};

static void secrets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof file_rows / sizeof *file_rows; i++) {
        const struct file_row *r = &file_rows[i];
        char diag[2048], path[256];
        struct policy *p = load("    introspect: {url: https://as.home/i, auth: basic, "
                                "client-id: \"g w\", secret-file: s}",
                                diag, sizeof diag);
        assert_non_null(p);
        put(r->file, r->text, r->mode);
        struct buf b = buf_on(diag, sizeof diag - 1);
        struct wire *w = wire_load(p, dir, &b);
        diag[b.n] = '\0';
        bool ok = r->error ? !w && strstr(diag, r->error) && strstr(diag, "p.yaml:6:") &&
                                 strstr(diag, "^\n")
                           : w != NULL;
        if (!ok)
            fail_msg("%s: got %s, wanted %s", r->name, w ? "a wire" : diag,
                     r->error ? r->error : "a wire");
        if (w) {
            const struct wire_endpoint *e = &w->authorities[0].endpoints[AUTHORITY_INTROSPECT];
            assert_string_equal((const char *)e->user.p, "g+w");
            assert_string_equal((const char *)e->secret.p, "geheim");
            assert_int_equal(e->port, 443);
        }
        wire_free(w);
        policy_unref(p);
        snprintf(path, sizeof path, "%s/%s", dir, r->file);
        unlink(path);
    }
}

static void certificates(void **state)
{
    (void)state;
    static const struct {
        const char *name, *wire, *error;
    } table[] = {
        {"all there",
         "    introspect: {url: coaps://as.home/i, certificate: client.crt, "
         "key: client.key, ca: ca.crt}",
         NULL},
        {"another's key",
         "    introspect: {url: coaps://as.home/i, certificate: client.crt, "
         "key: gateway.key, ca: ca.crt}",
         "not the certificate's"},
        {"no CA",
         "    introspect: {url: coaps://as.home/i, certificate: client.crt, "
         "key: client.key, ca: README}",
         "CA cannot be read"},
        {"https, another's key",
         "    introspect: {url: https://as.home/i, auth: mutual-tls, "
         "certificate: client.crt, key: gateway.key}",
         "not the certificate's"},
        {"jwks", "    jwks: {url: https://as.home/i, ca: ca.crt}", NULL},
        {"jwks, no CA", "    jwks: {url: https://as.home/i, ca: README}", "CA cannot be read"},
        {"dynamic authorization",
         "    dynamic-authorization: {for: [/x], ask: {url: https://das/n, originator: /g, "
         "ca: ca.crt}}",
         NULL},
        {"dynamic authorization, no CA",
         "    dynamic-authorization: {for: [/x], ask: {url: https://das/n, originator: /g, "
         "ca: README}}",
         "CA cannot be read"},
        {"a point",
         "decision-points:\n  - {name: p, url: coaps://pdp/d, originator: /g, for: [/x], "
         "combine: local-first, certificate: client.crt, key: client.key, ca: ca.crt}",
         NULL},
        {"a point, another's key",
         "decision-points:\n  - {name: p, url: coaps://pdp/d, originator: /g, for: [/x], "
         "combine: local-first, certificate: client.crt, key: gateway.key, ca: ca.crt}",
         "not the certificate's"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char diag[2048];
        struct policy *p = load(table[i].wire, diag, sizeof diag);
        assert_non_null(p);
        struct buf b = buf_on(diag, sizeof diag - 1);
        struct wire *w = wire_load(p, dir, &b);
        diag[b.n] = '\0';
        if (table[i].error ? w || !strstr(diag, table[i].error) : !w)
            fail_msg("%s: got %s", table[i].name, w ? "a wire" : diag);
        wire_free(w);
        policy_unref(p);
    }
}

static int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {"ca.crt", "client.crt", "client.key", "gateway.key",
                                        "README"};
    if (!mkdtemp(dir))
        return -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[512], text[8192];
        snprintf(from, sizeof from, "%s/keys/%s", TESTS_DIR, names[i]);
        FILE *f = fopen(from, "r");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof text - 1, f);
        text[n] = '\0';
        fclose(f);
        put(names[i], text, 0640);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"ca.crt", "client.crt", "client.key", "gateway.key",
                                        "README"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_written),
        cmocka_unit_test(defaults),
        cmocka_unit_test(secrets),
        cmocka_unit_test(certificates),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
