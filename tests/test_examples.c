/* The example configuration loads, with keys as make-keys would make them,
 * and says what its comments say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../pep/key_file.h"
#include "../proxy/file.h"
#include "../proxy/setup.h"

enum { NOW = 1800000000 }; /* after any build of this version */

static char dir[] = "/tmp/postern-examples-XXXXXX";

static void path_in(char out[256], const char *name)
{
    (void)snprintf(out, 256, "%s/%s", dir, name);
}

/* Copies an example, with the directories of an installation replaced. */
static void lay_out(const char *name)
{
    char from[512], to[256], text[8192];
    const char *why;
    uint8_t *p;
    size_t n;
    (void)snprintf(from, sizeof from, PACKAGING_DIR "/examples/%s", name);
    path_in(to, name);
    if (!file_read(from, false, sizeof text / 2, &p, &n, &why))
        fail_msg("%s: %s", from, why);
    struct buf out = buf_on(text, sizeof text);
    struct bytes rest = bytes_of(p, n);
    static const char *const prefixes[] = {"/var/lib/postern", "/var/log/postern", "/run/postern"};
    while (rest.n > 0) {
        size_t skip = 0;
        for (size_t i = 0; i < 3 && !skip; i++)
            if (rest.n > strlen(prefixes[i]) &&
                memcmp(rest.p, prefixes[i], strlen(prefixes[i])) == 0)
                skip = strlen(prefixes[i]);
        if (skip)
            buf_put_str(&out, dir);
        else
            buf_put(&out, bytes_of(rest.p, skip = 1));
        rest = bytes_of(rest.p + skip, rest.n - skip);
    }
    free(p);
    assert_true(file_write(to, buf_bytes(&out), 0644, true, &why));
}

static int setup(void **state)
{
    (void)state;
    char path[256], text[256];
    const char *why;
    struct buf diag = buf_on(text, sizeof text);
    struct key key;
    if (!mkdtemp(dir))
        return -1;
    lay_out("postern.yaml");
    lay_out("policy.yaml");
    path_in(path, "keys");
    if (mkdir(path, 0700) != 0 || !key_generate(1, BYTES_LIT("home"), &key))
        return -1;
    path_in(path, "keys/home-as.keys");
    bool ok = key_file_create(path, &key, 1, true, &diag);
    key_clear(&key);
    path_in(path, "keys/panel.psk");
    return ok && file_write(path, BYTES_LIT("30313233343536373839616263646566\n"), 0640, true, &why)
               ? 0
               : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void loads(void **state)
{
    (void)state;
    char path[256], text[SETUP_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    path_in(path, "postern.yaml");
    if (!setup_check(path, NOW, &diag))
        fail_msg("%.*s", (int)diag.n, text);
}

static const struct {
    const char *name, *roles;
    uint8_t method;
    const char *path[3];
    enum policy_verdict want;
} rows[] = {
    {"a guest switches the lamp", "guest", 3, {"lamp", "state"}, POLICY_PERMIT},
    {"a guest does not delete it", "guest", 4, {"lamp", "state"}, POLICY_DENY},
    {"a guest stays outside", "guest", 1, {"door", "lock"}, POLICY_DENY},
    {"a resident opens the door", "resident", 3, {"door", "lock"}, POLICY_PERMIT},
    {"a resident is a guest too", "resident", 3, {"lamp", "state"}, POLICY_PERMIT},
    {"a resident writes no firmware", "resident", 3, {"lamp", "firmware", "a"}, POLICY_DENY},
    {"a maintainer is beyond home-as", "maintainer", 3, {"lamp", "firmware", "a"}, POLICY_DENY},
    {"a reader reads", "lights_r", 1, {"lamp", "state"}, POLICY_PERMIT},
    {"a reader does not switch", "lights_r", 3, {"lamp", "state"}, POLICY_DENY},
};

static void says_what_it_says(void **state)
{
    (void)state;
    char file[256], text[SETUP_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    path_in(file, "postern.yaml");
    struct config *c = config_load(file, &diag);
    struct policy *p = c ? config_load_policy(c, &diag) : NULL;
    if (!p)
        fail_msg("%.*s", (int)diag.n, text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes path[3];
        size_t n = 0;
        for (; n < 3 && rows[i].path[n]; n++)
            path[n] = bytes_str(rows[i].path[n]);
        struct policy_grant_report report;
        struct policy_claims claims = {.authority = policy_authority_find(p, BYTES_LIT("home-as")),
                                       .scope = bytes_str(rows[i].roles)};
        struct policy_grant *g = policy_grant_new(p, &claims, &report);
        assert_non_null(g);
        struct policy_holding held = {.grant = g, .covers = true, .strength = POLICY_STRENGTH_PSK};
        struct policy_question q = {.method = rows[i].method,
                                    .path = path,
                                    .n_path = n,
                                    .held = &held,
                                    .n_held = 1,
                                    .now_s = NOW};
        struct policy_decision d;
        policy_decide(p, &q, &d);
        if (d.verdict != rows[i].want)
            fail_msg("%s: got %d (%s)", rows[i].name, d.verdict, policy_reason_str(d.reason));
        policy_grant_free(g);
    }
    policy_unref(p);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads),
        cmocka_unit_test(says_what_it_says),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
