/* Enrolments: their file, their end, certificates by fingerprint, and the
 * lines that the command writes. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../pep/crypto.h"
#include "../pep/pep.h"
#include "../policy/hex.h"
#include "../policy/moment.h"
#include "../proxy/enrol_entry.h"
#include "../proxy/enrol_file.h"
#include "../proxy/enrolled.h"
#include "support_pep.h"

enum { END_S = HOUSE_NOW + 1000 };

/* ---- moments ---- */

static void moments(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s; /* -1: refused */
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-22T08:09:10Z", 1795334950},
        {"2026-11-22", 1795305600},
        {"2024-02-29T23:59:59Z", 1709251199},
        {"9999-12-31T23:59:59Z", INT64_C(253402300799)},
        {"2023-02-29T00:00:00Z", -1}, /* no such day */
        {"2026-11-31", -1},
        {"2026-00-22", -1},
        {"2026-13-22", -1},
        {"2026-11-22T24:00:00Z", -1},
        {"2026-11-22T08:60:10Z", -1},
        {"2026-11-22T08:09:60Z", -1}, /* a leap second */
        {"2026-11-22T08:09:10", -1},  /* of which zone? */
        {"2026-11-22T08:09:10+01:00", -1},
        {"2026-11-22T08:09:10.5Z", -1},
        {"2026-11-22 08:09:10Z", -1},
        {"2026-11-22T", -1},
        {"26-11-22", -1},
        {"1969-12-31", -1},
        {"2026-11-2x", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t s = -1;
        bool ok = moment_read(bytes_str(rows[i].text), &s);
        if (ok != (rows[i].s >= 0) || (ok && s != rows[i].s))
            fail_msg("%s: %lld, wanted %lld", rows[i].text, ok ? (long long)s : -1LL,
                     (long long)rows[i].s);
        char text[MOMENT_TEXT];
        if (ok && strlen(rows[i].text) > 10 &&
            (!moment_text(s, text) || strcmp(text, rows[i].text) != 0))
            fail_msg("%s does not come back", rows[i].text);
    }
    char text[MOMENT_TEXT];
    assert_false(moment_text(-1, text));
    assert_false(moment_text(INT64_C(253402300800), text));
}

/* ---- the file ---- */

#define POLICY                                                                                     \
    "version: 1\nenrolments: more.yaml\nroles:\n  r: {permit: [{path: /a, methods: [GET]}]}\n"     \
    "subjects:\n  - {name: own, psk-identity: own, key-file: k, roles: [r]}\n"
#define HEAD   "version: 1\nenrolments:\n"
#define FINGER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEYED  "  - {name: a, psk-identity: a, key-file: k, roles: [r]}\n"
#define PINNED "  - {name: c, certificate: c.home, fingerprint: \"" FINGER "\", roles: [r]}\n"
#define OUT                                                                                        \
    "  - {unenrolled: 2026-01-01, name: o, fingerprint: \"" FINGER "\", expires: 2027-01-01}\n"

static bool read_more(void *user, const char *file, struct policy_more *out, const char **why)
{
    if (strcmp(file, "more.yaml") != 0 || !user) {
        *why = "gone";
        return false;
    }
    *out = (struct policy_more){"more.yaml", bytes_str(user), "both000000000000"};
    return true;
}

static struct policy *load(const char *more, char diag[1024])
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", more ? more : "");
    struct buf b = buf_on(diag, 1023);
    const struct policy_files files = {read_more, more ? copy : NULL};
    struct policy *p =
        policy_load_with("p.yaml", bytes_str(POLICY), "own0000000000000", &files, &b);
    diag[b.n] = 0;
    return p;
}

static void files(void **state)
{
    (void)state;
    static const struct {
        const char *row, *text, *wanted; /* NULL: good */
    } rows[] = {
        {"nobody", HEAD, NULL},
        {"nobody, as a list", "version: 1\nenrolments: []\n", NULL},
        {"no list at all", "version: 1\n", NULL},
        {"by key", HEAD KEYED, NULL},
        {"by certificate", HEAD PINNED, NULL},
        {"one is out", HEAD OUT, NULL},
        {"out and in", HEAD KEYED OUT PINNED, NULL},
        {"with an end",
         HEAD "  - {name: a, psk-identity: a, key-file: k, roles: [r], expires: 2030-01-01}\n",
         NULL},
        {"not there", NULL, "p.yaml:2:13: error: more.yaml: gone"},
        {"no version", "enrolments:\n", "missing"},
        {"another version", "version: 2\nenrolments:\n", "more.yaml:1:10: error: version 2"},
        {"another key", HEAD KEYED "roles: {}\n", "more.yaml:4:1: error: unknown key 'roles'"},
        {"no YAML", "version: [", "more.yaml:"},
        {"no mapping", "- a\n", "more.yaml:1:1"},
        {"no sequence", "version: 1\nenrolments: {a: b}\n", "more.yaml:2:13"},
        {"entry of nothing", HEAD "  - {}\n", "more.yaml:3:5"},
        {"entry of text", HEAD "  - a\n", "more.yaml:3:5"},
        {"unknown role", HEAD "  - {name: a, psk-identity: a, key-file: k, roles: [x]}\n",
         "more.yaml:3:53: error: there is no role 'x'"},
        {"without a key", HEAD "  - {name: a, psk-identity: a, roles: [r]}\n", "key-file"},
        {"twice", HEAD KEYED KEYED, "more.yaml:4:12: error: the name of a subject 'a' is taken"},
        {"the policy's own", HEAD "  - {name: own, psk-identity: b, key-file: k, roles: [r]}\n",
         "more.yaml:3:12"},
        {"its identity", HEAD "  - {name: b, psk-identity: own, key-file: k, roles: [r]}\n",
         "psk-identity 'own' is taken"},
        {"one certificate for two",
         HEAD PINNED "  - {name: d, certificate: d.home, fingerprint: \"" FINGER
                     "\", roles: [r]}\n",
         "more.yaml:4:50: error: this certificate"},
        {"a fingerprint of a key",
         HEAD "  - {name: a, psk-identity: a, key-file: k, fingerprint: \"" FINGER
              "\", roles: [r]}\n",
         "a fingerprint is of a certificate"},
        {"a short fingerprint",
         HEAD "  - {name: c, certificate: c, fingerprint: \"00\", roles: [r]}\n", "64 small"},
        {"in capitals",
         HEAD "  - {name: c, certificate: c, fingerprint: "
              "\"000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f\", roles: [r]}\n",
         "64 small"},
        {"no hexadecimal",
         HEAD "  - {name: c, certificate: c, fingerprint: "
              "\"x00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\", roles: [r]}\n",
         "64 small"},
        {"an end of no time",
         HEAD "  - {name: a, psk-identity: a, key-file: k, roles: [r], expires: soon}\n",
         "expected a time in UTC"},
        {"out without an end",
         HEAD "  - {unenrolled: 2026-01-01, name: o, fingerprint: \"" FINGER "\"}\n", "expires"},
        {"out without a fingerprint",
         HEAD "  - {unenrolled: 2026-01-01, name: o, expires: 2027-01-01}\n", "fingerprint"},
        {"out with roles",
         HEAD "  - {unenrolled: 2026-01-01, name: o, fingerprint: \"" FINGER
              "\", expires: 2027-01-01, roles: [r]}\n",
         "unknown key 'roles'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char diag[1024];
        struct policy *p = load(rows[i].text, diag);
        if (!p != !!rows[i].wanted || (!p && !strstr(diag, rows[i].wanted)))
            fail_msg("%s: %s%s, wanted %s", rows[i].row, p ? "good" : "", diag,
                     rows[i].wanted ? rows[i].wanted : "good");
        policy_unref(p);
    }
}

static void what_it_says(void **state)
{
    (void)state;
    char diag[1024];
    struct policy *p = load(HEAD PINNED KEYED, diag);
    assert_non_null(p);
    assert_string_equal(policy_hash(p), "both000000000000");
    assert_string_equal(policy_enrolments(p), "more.yaml");
    const struct policy_subject *own = policy_subject(p, 0), *c = policy_subject(p, 1);
    assert_string_equal(own->file, "p.yaml");
    assert_false(own->managed || own->pinned);
    assert_true(own->expires_s == INT64_MAX);
    assert_string_equal(c->file, "more.yaml");
    assert_true(c->managed && c->pinned && c->line == 3 && c->fingerprint[31] == 0x1f);
    assert_string_equal(policy_subject(p, 2)->name, "a");
    assert_null(policy_subject(p, 3));
    policy_unref(p);
    /* Nobody reads it: refused, not ignored. */
    struct buf b = buf_on(diag, sizeof diag - 1);
    assert_null(policy_load("p.yaml", bytes_str(POLICY), "0", &b));
}

/* ---- lines ---- */

struct edit {
    const char *row, *before;
    unsigned cut; /* 0: none */
    const char *add, *after;
};

static void lines(void **state)
{
    (void)state;
    static const struct edit rows[] = {
        {"first", "e:\n", 0, "{a}", "e:\n  - {a}\n"},
        {"after others", "e:\n - {b}\n", 0, "{a}", "e:\n - {b}\n - {a}\n"},
        {"at the margin", "e:\n- {b}\n", 0, "{a}", "e:\n- {b}\n- {a}\n"},
        {"no newline", "e:\n  - {b}", 0, "{a}", "e:\n  - {b}\n  - {a}\n"},
        {"a comment that begins with a dash", "# - x\ne:\n", 0, "{a}", "# - x\ne:\n  - {a}\n"},
        {"cut the only", "e:\n  - {b}\n", 2, NULL, "e:\n"},
        {"cut one of three", "e:\n  - {b}\n  - {c}\n  - {d}\n", 3, NULL, "e:\n  - {b}\n  - {d}\n"},
        {"cut several lines", "e:\n  - name: b\n    x: y\n\n    z:\n      - u\n  - {c}\n", 2, NULL,
         "e:\n  - {c}\n"},
        {"comments stay", "e:\n  # one\n  - {b}\n  # two\n\n# three\n", 3, NULL,
         "e:\n  # one\n  # two\n\n# three\n"},
        {"the next key stays", "e:\n  - {b}\nf: g\n", 2, NULL, "e:\nf: g\n"},
        {"carriage returns", "e:\r\n  - {b}\r\n  - {c}\r\n", 2, NULL, "e:\r\n  - {c}\r\n"},
        {"without newline at the end", "e:\n  - {b}", 2, NULL, "e:\n"},
        {"no entry there", "e:\n  - {b}\n", 1, NULL, NULL},
        {"behind the end", "e:\n  - {b}\n", 3, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct edit *r = &rows[i];
        struct enrol_file f = {.dir = -1, .text = (uint8_t *)strdup(r->before)};
        f.n = strlen(r->before);
        bool ok = r->cut ? enrol_file_cut(&f, r->cut) : enrol_file_add(&f, bytes_str(r->add));
        if (ok != !!r->after || (ok && !bytes_equal_str(bytes_of(f.text, f.n), r->after)))
            fail_msg("%s: %.*s", r->row, (int)f.n, ok ? (char *)f.text : "");
        enrol_file_close(&f);
    }
}

/* What is put as an entry is read as that subject. */
static void entries(void **state)
{
    (void)state;
    struct enrol_entry e = {.name = "a",
                            .identity = "a@sp \"x\" \\ '#",
                            .key_file = "keys/a: b.psk",
                            .roles = {{"r"}, 1},
                            .originators = {{"Ca", "Cb"}, 2},
                            .enrolled_s = HOUSE_NOW,
                            .expires_s = END_S};
    char text[ENROL_ENTRY_MAX] = HEAD "  - ", diag[1024];
    struct buf b = buf_on(text, sizeof text - 1);
    b.n = strlen(text);
    size_t start = b.n;
    uint8_t entry[2048];
    struct buf one = buf_on(entry, sizeof entry);
    assert_true(enrol_entry_put(&e, &one));
    buf_put(&b, buf_bytes(&one));
    buf_put_u8(&b, '\n');
    text[b.n] = 0;
    struct policy *p = load(text, diag);
    if (!p)
        fail_msg("%s\n%s", text + start, diag);
    const struct policy_subject *s = policy_subject(p, 1);
    assert_string_equal(s->psk_identity, e.identity);
    assert_string_equal(s->key_file, e.key_file);
    assert_true(s->expires_s == END_S && s->n_originators == 2);
    policy_unref(p);

    struct buf d = buf_on(diag, sizeof diag);
    struct yaml *y = yaml_load("more.yaml", bytes_str(text), &d);
    assert_non_null(y);
    struct enrol_entry kept = {.roles = {{"other"}, 1}};
    assert_false(enrol_entry_keep(y, 2, &kept));
    assert_true(enrol_entry_keep(y, 3, &kept));
    assert_string_equal(kept.roles.of[0], "other");
    assert_int_equal(kept.originators.n, 2);
    assert_string_equal(kept.identity, e.identity);
    yaml_free(y);

    e.expires_s = INT64_C(1) << 60;
    one.n = 0;
    assert_false(enrol_entry_put(&e, &one));
    struct buf small = buf_on(entry, 40);
    e.expires_s = END_S;
    assert_false(enrol_entry_put(&e, &small));
}

/* Another hand between the reading and the writing. */
static void changed_meanwhile(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_enrolments.XXXXXX", path[64];
    const char *why;
    struct enrol_file f, g;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/e.yaml", dir);
    assert_true(enrol_file_open(&f, path, dir, &why));
    assert_false(f.exists);
    f.as.st_mode = 0600;
    assert_true(enrol_file_write(&f, &why));
    enrol_file_close(&f);
    assert_true(enrol_file_open(&g, path, dir, &why));
    assert_true(g.exists);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "# mine\n", 7), 7);
    close(fd);
    assert_true(enrol_file_add(&g, BYTES_LIT("{a}")));
    assert_false(enrol_file_write(&g, &why));
    assert_non_null(strstr(why, "meanwhile"));
    enrol_file_close(&g);
    assert_true(enrol_file_open(&g, path, dir, &why));
    assert_non_null(memmem(g.text, g.n, "# mine\n", 7));
    assert_false(enrol_file_create(path, BYTES_LIT("x"), false, &why)); /* it is there */
    enrol_file_close(&g);
    unlink(path);
    rmdir(dir);
}

/* ---- judgement ---- */

static const uint8_t der_a[] = {1, 2, 3}, der_b[] = {4, 5, 6};

/* The house with a subject of certificate a until END_S, and b let out. */
static struct pep *house_with(struct house *h, bool with_entry)
{
    char more[1024], a[65] = "", b[65] = "", moment[MOMENT_TEXT];
    uint8_t digest[32];
    struct buf hex = buf_on(a, 64);
    assert_true(crypto_sha256(bytes_of(der_a, sizeof der_a), digest));
    hex_put(&hex, bytes_of(digest, 32));
    hex = buf_on(b, 64);
    assert_true(crypto_sha256(bytes_of(der_b, sizeof der_b), digest));
    hex_put(&hex, bytes_of(digest, 32));
    assert_true(moment_text(END_S, moment));
    snprintf(more, sizeof more,
             "version: 1\nenrolments:\n%s%s%s%s%s"
             "  - {unenrolled: 2020-01-01, name: gone, fingerprint: \"%s\", expires: 2090-01-01}\n",
             with_entry ? "  - {name: tab, certificate: tab.home, fingerprint: \"" : "",
             with_entry ? a : "", with_entry ? "\", roles: [sensor], expires: " : "",
             with_entry ? moment : "", with_entry ? "}\n" : "", b);
    char text[8192];
    snprintf(text, sizeof text, "%senrolments: more.yaml\n", house_policy_text);
    const struct policy_files files = {read_more, more};
    h->diag = buf_on(h->diag_text, sizeof h->diag_text - 1);
    struct policy *policy =
        policy_load_with("policy.yaml", bytes_str(text), "0123456789abcdef", &files, &h->diag);
    h->diag_text[h->diag.n] = 0;
    if (!policy)
        fail_msg("%s", h->diag_text);
    struct pep *p = house_pep_empty(NULL, 100);
    assert_non_null(p);
    assert_true(pep_load(p, policy, h->dir, HOUSE_NOW, &h->diag));
    policy_unref(policy);
    return p;
}

static bool judge(struct pep *p, const char *name, struct bytes der, bool trusted, int64_t now_s,
                  struct pep_proof *out)
{
    uint8_t spki[128];
    const struct pep_certificate c = {.trusted = trusted,
                                      .der = der,
                                      .spki = house_spki(7, spki),
                                      .names = {bytes_str(name)},
                                      .n_names = 1};
    return pep_judge_certificate(p, &c, now_s, out);
}

static void certificates(void **state)
{
    struct house *h = *state;
    struct pep *p = house_with(h, true);
    const struct bytes a = bytes_of(der_a, sizeof der_a), b = bytes_of(der_b, sizeof der_b);
    static const uint8_t der_c[] = {7};
    const struct bytes c = bytes_of(der_c, sizeof der_c);
    const struct {
        const char *row, *name;
        struct bytes der;
        bool trusted;
        int64_t now_s;
        bool wanted, enrolled;
    } rows[] = {
        {"enrolled", "tab.home", a, true, HOUSE_NOW, true, true},
        {"whatever it says besides", "x.home", a, true, HOUSE_NOW, true, true},
        {"not vouched for", "tab.home", a, false, HOUSE_NOW, false, false},
        {"another of its name", "tab.home", c, true, HOUSE_NOW, false, false},
        {"nobody's name", "x.home", c, true, HOUSE_NOW, true, false},
        {"enrolled by name alone", "panel.home", c, true, HOUSE_NOW, true, true},
        {"let out", "gone.home", b, true, HOUSE_NOW, false, false},
        {"let out, with another's name", "panel.home", b, true, HOUSE_NOW, false, false},
        {"the last second", "tab.home", a, true, END_S - 1, true, true},
        {"over", "tab.home", a, true, END_S, false, false},
        {"by name alone it has no end", "panel.home", c, true, END_S, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pep_proof proof;
        bool ok = judge(p, rows[i].name, rows[i].der, rows[i].trusted, rows[i].now_s, &proof);
        if (ok != rows[i].wanted || (ok && (proof.subject >= 0) != rows[i].enrolled))
            fail_msg("%s: %d %d", rows[i].row, ok, proof.subject);
    }
    pep_free(p);
}

static bool may_read_meter(struct pep *p, struct pep_session *s, int64_t now_s, int64_t *ends_s)
{
    struct pep_decision d;
    struct request r = house_request(1, "/meter/x", 2);
    pep_authorize(p, s, &r, now_s, &d);
    *ends_s = d.ends_s;
    return d.outcome == PEP_FORWARD;
}

static void sessions(void **state)
{
    struct house *h = *state;
    struct pep *p = house_with(h, true);
    struct pep_proof proof;
    int64_t ends_s;
    assert_true(judge(p, "tab.home", bytes_of(der_a, sizeof der_a), true, HOUSE_NOW, &proof));
    struct pep_session *s = pep_session_open(p, &proof);
    assert_non_null(s);
    assert_true(pep_session_ends(s, HOUSE_NOW) == END_S);
    assert_true(may_read_meter(p, s, HOUSE_NOW, &ends_s));
    assert_true(ends_s == END_S); /* an answer that comes later does not pass */
    assert_true(may_read_meter(p, s, END_S - 1, &ends_s));
    /* To the second, whether anybody swept or not. */
    assert_false(may_read_meter(p, s, END_S, &ends_s));
    assert_true(pep_session_ends(s, END_S) <= END_S);
    pep_session_close(s);
    pep_free(p);

    /* Kept over a restart, and taken out of the file meanwhile. */
    static uint8_t kept[PEP_SESSION_KEPT_MAX];
    struct buf b = buf_on(kept, sizeof kept);
    p = house_with(h, true);
    assert_true(judge(p, "tab.home", bytes_of(der_a, sizeof der_a), true, HOUSE_NOW, &proof));
    s = pep_session_open(p, &proof);
    assert_true(pep_session_save(s, &b));
    pep_session_close(s);
    pep_free(p);
    static const struct policy_peer from = {4, {192, 0, 2, 1}};
    for (int with = 0; with < 2; with++) {
        p = house_with(h, with);
        s = pep_session_restore(p, buf_bytes(&b), &from, HOUSE_NOW);
        assert_non_null(s);
        assert_true(pep_session_ends(s, HOUSE_NOW) == (with ? END_S : HOUSE_NOW));
        assert_int_equal(may_read_meter(p, s, HOUSE_NOW, &ends_s), with);
        pep_session_close(s);
        pep_free(p);
    }
}

/* One that came as nobody before its certificate was let out. */
static void let_out_while_there(void **state)
{
    struct house *h = *state;
    struct pep_proof proof;
    struct pep *p = house_pep(h, NULL, 100);
    assert_true(judge(p, "gone.home", bytes_of(der_b, sizeof der_b), true, HOUSE_NOW, &proof));
    struct pep_session *s = pep_session_open(p, &proof);
    assert_true(pep_session_ends(s, HOUSE_NOW) == INT64_MAX);
    static uint8_t kept[PEP_SESSION_KEPT_MAX];
    struct buf b = buf_on(kept, sizeof kept);
    assert_true(pep_session_save(s, &b));
    pep_session_close(s);
    pep_free(p);
    static const struct policy_peer from = {4, {192, 0, 2, 1}};
    p = house_with(h, false);
    s = pep_session_restore(p, buf_bytes(&b), &from, HOUSE_NOW);
    assert_true(pep_session_ends(s, HOUSE_NOW) <= HOUSE_NOW);
    pep_session_close(s);
    pep_free(p);
}

/* ---- telling ---- */

static void told(void **state)
{
    (void)state;
    char diag[1024], out[1024];
    struct policy *p =
        load(HEAD "  - {name: a, psk-identity: a, key-file: k, roles: [r], expires: 2026-01-01}\n"
                  "  - {name: b, psk-identity: b, key-file: k, roles: [r], expires: 2026-01-20}\n"
                  "  - {name: c, psk-identity: c, key-file: k, roles: [r], expires: 2026-09-01}\n",
             diag);
    struct enrolled_sum s;
    int64_t now_s;
    struct buf b = buf_on(out, sizeof out - 1);
    assert_non_null(p);
    assert_true(moment_read(BYTES_LIT("2026-01-10"), &now_s));
    enrolled_sum(p, now_s, &s);
    assert_true(s.subjects == 4 && s.ended == 1 && s.soon == 1);
    assert_string_equal(s.next->name, "b");
    assert_string_equal(s.an_ended->name, "a");
    enrolled_warn(p, now_s, &b);
    out[b.n] = 0;
    assert_string_equal(
        out, "more.yaml:3: warning: the enrolment of 'a' has ended: 2026-01-01T00:00:00Z\n"
             "more.yaml:4: warning: the enrolment of 'b' ends soon: 2026-01-20T00:00:00Z\n");
    policy_unref(p);
}

static int set_up(void **state)
{
    static struct house h;
    *state = &h;
    return house_make(&h) ? 0 : -1;
}

static int tear_down(void **state)
{
    house_clear(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments),
        cmocka_unit_test(files),
        cmocka_unit_test(what_it_says),
        cmocka_unit_test(lines),
        cmocka_unit_test(entries),
        cmocka_unit_test(changed_meanwhile),
        cmocka_unit_test_setup_teardown(certificates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sessions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(let_out_while_there, set_up, tear_down),
        cmocka_unit_test(told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
