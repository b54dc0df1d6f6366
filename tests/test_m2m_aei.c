/* proxy/m2m_aei: the AE-ID out of a CSE's answer, by each serialization. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../proxy/m2m_aei.h"

struct row {
    const char *name;
    int format;
    struct bytes payload;
    const char *wanted; /* NULL: none */
};

#define ROW(name, format, payload, wanted)                                                         \
    {                                                                                              \
        name, format, {(const uint8_t *)(payload), sizeof(payload) - 1}, wanted                    \
    }

static const struct row rows[] = {
    ROW("JSON", 50, "{\"m2m:ae\":{\"rn\":\"x\",\"aei\":\"Cx1\",\"ri\":\"Cy\"}}", "Cx1"),
    ROW("no format", -1, "{\"m2m:ae\":{\"aei\":\"Cx1\"}}", "Cx1"),
    ROW("oneM2M's JSON", 10001, "{\"m2m:ae\":{\"aei\":\"Sx1\"}}", "Sx1"),
    ROW("with its address", 50, "{\"m2m:rce\":{\"uri\":\"cb/x\",\"m2m:ae\":{\"aei\":\"Cx1\"}}}",
        "Cx1"),
    ROW("address alone", 50, "{\"m2m:uri\":\"cb/Cevil\"}", NULL),
    ROW("name alone", 50, "{\"m2m:ae\":{\"rn\":\"Cevil\",\"ri\":\"Cevil\"}}", NULL),
    ROW("of another resource", 50, "{\"m2m:cnt\":{\"aei\":\"Cevil\"}}", NULL),
    ROW("deeper down", 50, "{\"m2m:ae\":{\"m2m:ae\":{\"aei\":\"Cevil\"}}}", NULL),
    ROW("not a text", 50, "{\"m2m:ae\":{\"aei\":[\"Cx1\"]}}", NULL),
    ROW("twice", 50, "{\"m2m:ae\":{\"aei\":\"Cx1\",\"aei\":\"Cx2\"}}", NULL),
    ROW("empty", 50, "{\"m2m:ae\":{\"aei\":\"\"}}", NULL),
    ROW("cut", 50, "{\"m2m:ae\":{\"aei\":\"Cx1\"}", NULL),
    ROW("nothing", 50, "", NULL),
    ROW("another format", 0, "{\"m2m:ae\":{\"aei\":\"Cx1\"}}", NULL),
    ROW("CBOR", 60,
        "\xa1\x66m2m:ae\xa2\x62rn\x61x\x63"
        "aei\x63"
        "Cx1",
        "Cx1"),
    ROW("oneM2M's CBOR", 10010,
        "\xa1\x66m2m:ae\xa1\x63"
        "aei\x63"
        "Cx1",
        "Cx1"),
    ROW("CBOR with its address", 60,
        "\xa1\x67m2m:rce\xa2\x63uri\x61x\x66m2m:ae\xa1\x63"
        "aei\x63"
        "Cx1",
        "Cx1"),
    ROW("CBOR, bytes", 60,
        "\xa1\x66m2m:ae\xa1\x63"
        "aei\x43"
        "Cx1",
        NULL),
    ROW("CBOR twice", 60,
        "\xa1\x66m2m:ae\xa2\x63"
        "aei\x63"
        "Cx1\x63"
        "aei\x63"
        "Cx2",
        NULL),
    ROW("CBOR, and a byte", 60,
        "\xa1\x66m2m:ae\xa1\x63"
        "aei\x63"
        "Cx1\x00",
        NULL),
    ROW("CBOR, an array", 60, "\x81\x66m2m:ae", NULL),
    ROW("XML", 41,
        "<m2m:ae xmlns:m2m=\"http://www.onem2m.org/xml/protocols\"><aei>Cx1</aei></m2m:ae>", "Cx1"),
    ROW("oneM2M's XML", 10014, "<m2m:ae><rn>x</rn><aei>Cx1</aei></m2m:ae>", "Cx1"),
    ROW("XML twice", 41, "<m2m:ae><!-- <aei>Cevil</aei> --><aei>Cx1</aei></m2m:ae>", NULL),
    ROW("XML not closed", 41, "<m2m:ae><aei>Cx1</m2m:ae>", NULL),
    ROW("XML with an entity", 41, "<m2m:ae><aei>C&#120;1</aei></m2m:ae>", NULL),
    ROW("XML with a child", 41, "<m2m:ae><aei><b/>Cx1</aei></m2m:ae>", NULL),
    ROW("XML empty", 41, "<m2m:ae><aei></aei></m2m:ae>", NULL),
};

static void each(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t storage[M2M_ID_MAX];
        struct bytes id = m2m_aei(rows[i].format, rows[i].payload, storage);
        if (rows[i].wanted ? !bytes_equal_str(id, rows[i].wanted) : id.n != 0)
            fail_msg("%s: %.*s", rows[i].name, (int)id.n, (const char *)id.p);
    }
}

static void name(void **state)
{
    static const struct row names[] = {
        ROW("JSON", 50, "{\"m2m:ae\":{\"aei\":\"Cx1\",\"rn\":\"home\"}}", "home"),
        ROW("of nothing", 50, "{\"m2m:cnt\":{\"rn\":\"home\"}}", NULL),
        ROW("no text", 50, "{\"m2m:ae\":{\"rn\":7}}", NULL),
        ROW("CBOR", 60, "\xa1\x66m2m:ae\xa1\x62rn\x64home", "home"),
        ROW("XML", 41, "<m2m:ae rn=\"home\"><aei>Cx1</aei></m2m:ae>", NULL),
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint8_t storage[M2M_ID_MAX];
        struct bytes rn = m2m_rn(names[i].format, names[i].payload, storage);
        if (names[i].wanted ? !bytes_equal_str(rn, names[i].wanted) : rn.n != 0)
            fail_msg("%s: %.*s", names[i].name, (int)rn.n, (const char *)rn.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each), cmocka_unit_test(name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
