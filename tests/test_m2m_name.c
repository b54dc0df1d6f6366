/* Names of AEs and CSEs in their forms: which say the same where, and that
 * no two readings of one differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/m2m_name.h"
#include "../policy/m2m_words.h"

static const struct row {
    const char *a, *b;
    bool same, same_unknown; /* at /mn of //sp.example; at a CSE that says nothing */
} rows[] = {
    {"Cx", "Cx", true, true},
    {"Cx", "Cy", false, false},
    {"Cx", "cx", false, false},
    {"Cx", "/mn/Cx", true, false},
    {"Cx", "/asn/Cx", false, false},
    {"Cx", "/Mn/Cx", false, false},
    {"Cx", "//sp.example/mn/Cx", true, false},
    {"Cx", "//SP.Example/mn/Cx", true, false},
    {"Cx", "//sp.example.org/mn/Cx", false, false},
    {"Cx", "//sp/mn/Cx", false, false},
    {"Cx", "/Cx", false, false}, /* a CSE of that name */
    {"/mn/Cx", "//sp.example/mn/Cx", true, false},
    {"Sx", "Sx", true, true},
    {"Sx", "/Sx", true, true},
    {"Sx", "//sp.example/Sx", true, false},
    {"Sx", "//other.example/Sx", false, false},
    {"Sx", "/mn/Sx", false, false},
    {"//other.example/Sx", "//OTHER.example/Sx", true, true},
    {"//other.example/mn/Cx", "/mn/Cx", false, false},
    {"/mn2", "/mn2", true, true},
    {"/mn2", "//sp.example/mn2", true, false},
    {"/mn2", "mn2", false, false},
    {"admin", "admin", true, true},
    {"admin", "/admin", false, false},
    {"admin", "Admin", false, false},
    {"//sp.example/mn//Cx", "Cx", false, false},
    {"/mn/Cx/", "Cx", false, false},
    {"//sp.example/mn/Cx/y", "Cx", false, false},
    {"/mn/../mn/Cx", "Cx", false, false},
    {"/./Cx", "Cx", false, false},
    {"/mn/C%78", "Cx", false, false},
    {"///mn/Cx", "Cx", false, false},
    {"//.example/mn/Cx", "//.example/mn/Cx", true, true}, /* a text as any other */
    {"S", "S", true, true},
    {"S", "/S", false, false},
};

static void sameness(void **state)
{
    (void)state;
    const struct m2m_home home = m2m_home_of("/mn", "//sp.example"),
                          unknown = m2m_home_of(NULL, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct bytes a = bytes_str(r->a), b = bytes_str(r->b);
        if (m2m_same(a, b, &home) != r->same || m2m_same(b, a, &home) != r->same)
            fail_msg("%s, %s", r->a, r->b);
        if (m2m_same(a, b, &unknown) != r->same_unknown ||
            m2m_same(b, a, &unknown) != r->same_unknown)
            fail_msg("%s, %s where nothing is known", r->a, r->b);
    }
    assert_false(m2m_same(BYTES_NONE, BYTES_NONE, &home));
    /* too long for an identifier is none */
    static char many[300];
    memset(many, 'C', sizeof many - 1);
    struct m2m_name n;
    m2m_name_read(bytes_str(many), &home, &n);
    assert_int_equal(n.kind, M2M_NAME_OTHER);
    m2m_name_read(bytes_of(many, 255), &home, &n);
    assert_int_equal(n.kind, M2M_NAME_AT_CSE);
}

/* ---- properties ---- */

static uint64_t random_state = 20261122;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1du) >> 33) % below;
}

static struct bytes random_name(char out[64])
{
    static const char *const parts[] = {"/",   "//", "mn", "Cx",        "Sx", "sp.example",
                                        "S",   "C",  ".",  "..",        "~",  "-",
                                        "%2F", "x",  "",   "SP.example"};
    static const char *const sps[] = {"", "", "//sp.example", "//SP.example", "//other.example"};
    static const char *const cses[] = {"", "", "/mn", "/asn"};
    static const char *const stems[] = {"Cx", "/Cx", "Sx", "/Sx", "/mn", "x"};
    out[0] = 0;
    if (rnd(3) > 0) {
        (void)snprintf(out, 64, "%s%s%s", sps[rnd(5)], cses[rnd(4)], stems[rnd(6)]);
        return bytes_str(out);
    }
    for (uint32_t n = rnd(6); n > 0; n--)
        strcat(out, parts[rnd(16)]);
    return bytes_str(out);
}

/* All forms of a name are that name, and are read as the same by each other;
 * of names that differ no form is the same. */
static void forms(void **state)
{
    (void)state;
    const struct m2m_home homes[] = {m2m_home_of("/mn", "//sp.example"), m2m_home_of("/mn", NULL),
                                     m2m_home_of(NULL, NULL)};
    size_t seen = 0, alike = 0;
    for (unsigned i = 0; i < 60000; i++) {
        char x[64], y[64];
        struct bytes a = random_name(x), b = random_name(y);
        const struct m2m_home *home = &homes[rnd(3)];
        struct m2m_name n, m;
        struct m2m_forms f, g;
        m2m_name_read(a, home, &n);
        m2m_name_read(b, home, &m);
        m2m_name_forms(&n, home, &f);
        m2m_name_forms(&m, home, &g);
        assert_true((n.kind == M2M_NAME_OTHER) == (f.n == 0));
        for (size_t k = 0; k < f.n; k++)
            if (!m2m_same(a, f.form[k], home))
                fail_msg("%s is not %.*s", x, (int)f.form[k].n, (const char *)f.form[k].p);
        bool any = false;
        for (size_t k = 0; k < f.n; k++)
            for (size_t l = 0; l < g.n; l++)
                any = any || bytes_equal(f.form[k], g.form[l]);
        bool same = m2m_same(a, b, home);
        assert_int_equal(same, m2m_same(b, a, home));
        if (f.n && g.n && same != any)
            fail_msg("%s and %s: %d, by their forms %d", x, y, same, any);
        seen += f.n > 0;
        alike += same && !bytes_equal(a, b);
    }
    assert_true(seen > 5000 && alike > 20);
}

static void words(void **state)
{
    (void)state;
    uint16_t type;
    for (size_t i = 0; m2m_type_name(i); i++) {
        assert_null(m2m_type_parse(bytes_str(m2m_type_name(i)), &type));
        assert_string_equal(m2m_type_str(type), m2m_type_name(i));
    }
    static const struct {
        const char *text;
        unsigned want; /* 0: refused */
    } types[] = {{"AE", 2},
                 {"container", 3},
                 {"contentInstance", 4},
                 {"CSEBase", 5},
                 {"group", 9},
                 {"remoteCSE", 16},
                 {"subscription", 23},
                 {"flexContainer", 28},
                 {"AEAnnc", 10002},
                 {"28", 28},
                 {"65535", 65535},
                 {"65536", 0},
                 {"0", 0},
                 {"", 0},
                 {"ae", 0},
                 {"-1", 0},
                 {"2 ", 0},
                 {"void", 0},
                 {"99999999999", 0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *wrong = m2m_type_parse(bytes_str(types[i].text), &type);
        if (!wrong != (types[i].want != 0) || (!wrong && type != types[i].want))
            fail_msg("%s", types[i].text);
    }
    assert_string_equal(m2m_operation_str(1), "CREATE");
    assert_string_equal(m2m_operation_str(6), "DISCOVERY");
    assert_null(m2m_operation_str(0));
    assert_null(m2m_operation_str(7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sameness), cmocka_unit_test(forms),
                                       cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
