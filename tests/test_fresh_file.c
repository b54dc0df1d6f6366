/* What the policy file says of freshness, and how each mistake is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../policy/policy.h"

static struct policy *load(const char *lines, char *diag, size_t cap)
{
    char text[1024];
    snprintf(text, sizeof text,
             "version: 1\nauthorities:\n  - name: home\n    keys: home.keys\n    may-grant: {}\n"
             "%s\n",
             lines);
    struct buf b = buf_on(diag, cap - 1);
    struct policy *p = policy_load("p.yaml", bytes_str(text), "0123456789abcdef", &b);
    diag[b.n] = 0;
    return p;
}

static const struct {
    const char *lines, *error; /* NULL: taken */
} rows[] = {
    {"", NULL},
    {"    cnonce: required", NULL},
    {"    cnonce: \"no\"", NULL},
    {"    cnonce: maybe", "cnonce: maybe"},
    {"    exi: {rs-id: gw}", NULL},
    {"    exi: {rs-id: gw, encoding: binary}", NULL},
    {"    exi: {rs-id: gw, encoding: hex}", "encoding: hex"},
    {"    exi: {encoding: binary}", "rs-id"},
    {"    exi: {rs-id: \"\"}", "rs-id"},
    {"    exi: {rs-id: gw, range: 3}", "unknown key 'range'"},
    {"    exi: {rs-id: gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg}", NULL},
    {"    exi: {rs-id: ggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg}",
     "longer than 64"},
    {"    exi: gw", "exi: gw"},
    {"    sequence: {}", NULL},
    {"    sequence: {rs-id: gw, encoding: decimal, range: 100}", NULL},
    {"    sequence: {range: 0}", "range: 0"},
    {"    sequence: {range: 1048577}", "range: 1048577"},
    {"    default-audience: lamp", NULL},
    {"    default-audience: [lamp]", "default-audience: [lamp]"},
};

static void lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char diag[2048];
        struct policy *p = load(rows[i].lines, diag, sizeof diag);
        bool as_wanted = rows[i].error ? !p && strstr(diag, rows[i].error) : p != NULL;
        policy_unref(p);
        if (!as_wanted)
            fail_msg("%s: %s", rows[i].lines, *diag ? diag : "taken");
    }
}

static void values(void **state)
{
    (void)state;
    char diag[2048];
    struct policy *p = load("    cnonce: required\n"
                            "    exi: {rs-id: gw, encoding: binary}\n"
                            "    sequence: {range: 7}\n"
                            "    default-audience: lamp",
                            diag, sizeof diag);
    const struct policy_freshness *f = &policy_authority(p, 0)->fresh;
    assert_true(f->cnonce);
    assert_string_equal(f->exi_id, "gw");
    assert_int_equal(f->exi_numeral, POLICY_BINARY);
    assert_string_equal(f->sequence_id, "");
    assert_int_equal(f->sequence_numeral, POLICY_DECIMAL);
    assert_int_equal(f->sequence_range, 7);
    assert_string_equal(f->audience, "lamp");
    policy_unref(p);
    p = load("", diag, sizeof diag);
    f = &policy_authority(p, 0)->fresh;
    assert_true(!f->cnonce && !f->exi_id && !f->sequence_id && !f->audience);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
