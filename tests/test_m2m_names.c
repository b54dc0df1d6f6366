/* The names that one thing of oneM2M has, by what is known of its device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../pep/m2m_names.h"

static const struct pep_device whole = {
    .name = "a", .onem2m = true, .cse_id = "/mn", .sp_id = "//sp.example"};
static const struct pep_device no_sp = {.name = "b", .onem2m = true, .cse_id = "/mn"};
static const struct pep_device based = {
    .name = "d", .onem2m = true, .cse_id = "/mn", .sp_id = "//sp", .cse_base = "cb"};
static const struct pep_device nothing = {.name = "c", .onem2m = true};

static void check(const char *row, const struct m2m_names *got, const char *want)
{
    char text[1024] = "";
    for (size_t i = 0; i < got->n; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.*s", i ? " " : "",
                       (int)got->of[i].n, (const char *)got->of[i].p);
    if (strcmp(text, want) != 0)
        fail_msg("%s: '%s', wanted '%s'", row, text, want);
}

static void test_entities(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        const struct pep_device *d;
        const char *want;
    } rows[] = {
        {"Cx", &whole, "Cx /mn/Cx //sp.example/mn/Cx"},
        {"Cx", &no_sp, "Cx /mn/Cx"},
        {"Cx", &nothing, "Cx"},
        {"Sx", &whole, "Sx /Sx //sp.example/Sx"},
        {"Sx", &nothing, "Sx /Sx"},
        {"/mn/Cx", &whole, "/mn/Cx //sp.example/mn/Cx"},
        {"/other/Cx", &whole, "/other/Cx //sp.example/other/Cx"},
        {"/Sx", &no_sp, "/Sx"},
        {"//sp.example/mn/Cx", &whole, "//sp.example/mn/Cx"},
        {"//else.example/mn/Cx", &whole, "//else.example/mn/Cx"},
        {"", &whole, ""},
    };
    struct m2m_names n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        m2m_names_of_entity(rows[i].d, bytes_str(rows[i].id), &n);
        check(rows[i].id, &n, rows[i].want);
    }
    m2m_names_of_entity(&whole, BYTES_LIT("Cx"), &n);
    assert_true(m2m_names_have(&n, BYTES_LIT("/mn/Cx")));
    assert_false(m2m_names_have(&n, BYTES_LIT("/mn/C")));
    assert_false(m2m_names_have(&n, BYTES_NONE));
    /* one that does not fit has no name, rather than half of one */
    static uint8_t large[M2M_NAME_ROOM];
    memset(large, 'C', sizeof large);
    m2m_names_of_entity(&whole, bytes_of(large, sizeof large), &n);
    assert_int_equal(n.n, 0);
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *to;
        int address;
        const struct pep_device *d;
        const char *want;
    } rows[] = {
        {"cb/x", M2M_CSE_RELATIVE, &whole, "cb/x /mn/cb/x //sp.example/mn/cb/x"},
        {"cb/x", M2M_CSE_RELATIVE, &no_sp, "cb/x /mn/cb/x"},
        {"cb/x", M2M_CSE_RELATIVE, &nothing, "cb/x"},
        {"in/cb/x", M2M_SP_RELATIVE, &whole, "/in/cb/x //sp.example/in/cb/x"},
        {"in/cb/x", M2M_SP_RELATIVE, &nothing, "/in/cb/x"},
        {"else.example/in/cb", M2M_ABSOLUTE, &whole, "//else.example/in/cb"},
        {"", M2M_CSE_RELATIVE, &whole, ""},
        {"cb/x", M2M_CSE_RELATIVE, &based, "cb/x /mn/cb/x //sp/mn/cb/x -/x /mn/-/x //sp/mn/-/x"},
        {"cb", M2M_CSE_RELATIVE, &based, "cb /mn/cb //sp/mn/cb - /mn/- //sp/mn/-"},
        {"cbx", M2M_CSE_RELATIVE, &based, "cbx /mn/cbx //sp/mn/cbx"},
        {"in/cb/x", M2M_SP_RELATIVE, &based, "/in/cb/x //sp/in/cb/x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct m2m_request m = {.to = bytes_str(rows[i].to)};
        struct m2m_names n;
        if (rows[i].address == M2M_SP_RELATIVE)
            m.address = M2M_SP_RELATIVE;
        else if (rows[i].address == M2M_ABSOLUTE)
            m.address = M2M_ABSOLUTE;
        m2m_names_of_target(rows[i].d, &m, &n);
        check(rows[i].to, &n, rows[i].want);
    }
    struct m2m_names n;
    m2m_names_of_cse(&whole, &n);
    check("the CSE", &n, "/mn //sp.example/mn");
    m2m_names_of_cse(&no_sp, &n);
    check("the CSE, no provider", &n, "/mn");
    m2m_names_of_cse(&nothing, &n);
    check("the CSE, no ID", &n, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entities),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
