/* Who may say to a CSE that it is whom: each denial is a request beside it
 * with one thing changed. Then names that are learned, and who keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../pep/pep.h"
#include "../pep/store.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum { NOW = 1795312800, CSE = 0, BARE = 1, OTHER = 2 }; /* devices; BARE says nothing of itself */

static const struct pep_device devices[] = {
    {.name = "cse", .cse_id = "/mn", .sp_id = "//sp.example"},
    {.name = "bare"},
    {.name = "other", .cse_id = "/asn", .sp_id = "//sp.example"},
};

static const char policy_text[] =
    "version: 1\n"
    "authorities: [{name: as, keys: as.keys, may-grant: {}}]\n"
    "roles:\n"
    "  all: {role-id: all@sp.example, permit: [{path: /**, operations: [CREATE, RETRIEVE, UPDATE, "
    "DELETE, NOTIFY, DISCOVERY]}]}\n"
    "  reader: {role-id: reader@sp.example, permit: [{path: /**, operations: RETRIEVE}]}\n"
    "  both: {includes: [all, reader]}\n"
    "subjects:\n"
    "- {name: ae, psk-identity: ae, key-file: k1, roles: [both], originators: [Cae, "
    "//sp.example/mn/Cfar, Sae, admin]}\n"
    "- {name: new, psk-identity: new, key-file: k2, roles: [all], may-register: [C, Cnew, "
    "\"Chome-*\"]}\n"
    "- {name: sp, psk-identity: sp, key-file: k3, roles: [all], may-register: [S]}\n"
    "- {name: gw, psk-identity: gw, key-file: k4, roles: [all], cse: /gw}\n"
    "- {name: peer, psk-identity: peer, key-file: k5, roles: [all], cse: //sp.example/peer}\n"
    "- {name: named, psk-identity: Cnamed@sp.example, key-file: k6, roles: [all]}\n"
    "- {name: person, psk-identity: person@sp.example, key-file: k7, roles: [all]}\n"
    "- {name: twice, psk-identity: Ctwice@a.example, key-file: k1, roles: [all]}\n"
    "- {name: again, psk-identity: Ctwice@b.example, key-file: k2, roles: [all]}\n"
    "- {name: late, psk-identity: Cae@sp.example, key-file: k3, roles: [all]}\n"
    "- {name: cert, certificate: //sp.example/mn/Ccert, roles: [all]}\n"
    "- {name: mn2, certificate: mn2.in.sp.example, roles: [all]}\n"
    "mca-without-association:\n"
    "- {originators: [Copen, Sopen], operations: [RETRIEVE, NOTIFY], roles: [all]}\n";

static char dir[64], text[4096];
static struct store *store;

static void write_key(unsigned i)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/k%u", dir, i);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int k = 0; k < 16; k++)
        fprintf(f, "%02x", 0x10 * i + 1);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
}

static int make(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/postern-originator-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    for (unsigned i = 1; i <= 8; i++)
        write_key(i);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/as.keys", dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "%032d", 7);
    fclose(f);
    return chmod(path, 0600);
}

static int clean(void **state)
{
    (void)state;
    char path[96];
    for (unsigned i = 1; i <= 8; i++) {
        (void)snprintf(path, sizeof path, "%s/k%u", dir, i);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/as.keys", dir);
    (void)unlink(path);
    return rmdir(dir);
}

static struct policy *policy_of(const char *from)
{
    static char diag[4096];
    struct buf b = buf_on(diag, sizeof diag);
    struct policy *p = policy_load("p.yaml", bytes_str(from), "0", &b);
    if (!p)
        fail_msg("%.*s", (int)b.n, diag);
    return p;
}

static void load(struct pep *p, const char *from)
{
    struct buf b = buf_on(text, sizeof text);
    struct policy *policy = policy_of(from);
    if (!pep_load(p, policy, dir, NOW, &b))
        fail_msg("%.*s", (int)b.n, text);
    policy_unref(policy);
}

static struct pep *pep_of(const char *from)
{
    const struct pep_config c = {
        .devices = devices, .n_devices = 3, .max_grants = 10, .store = store};
    struct pep *p = pep_new(&c);
    assert_non_null(p);
    load(p, from);
    return p;
}

/* By psk_identity, or by certificate when it has a dot. */
static struct pep_session *open_session(struct pep *p, const char *identity)
{
    static const uint8_t spki[] = {0x30, 1, 2, 3};
    struct pep_proof proof;
    if (!identity)
        return NULL;
    if (strstr(identity, "//") || strncmp(identity, "mn", 2) == 0) {
        struct pep_certificate c = {.trusted = true,
                                    .der = bytes_of(spki, sizeof spki),
                                    .spki = bytes_of(spki, sizeof spki)};
        for (const char *at = identity; *at; at += strspn(at, " ")) {
            c.names[c.n_names++] = bytes_of(at, strcspn(at, " "));
            at += strcspn(at, " ");
        }
        assert_true(pep_judge_certificate(p, &c, NOW, &proof));
    } else {
        const struct policy_peer from = {4, {192, 0, 2, 1}};
        assert_int_equal(pep_find_psk(p, bytes_str(identity), &from, NOW, &proof), PEP_KEY_FOUND);
    }
    struct pep_session *s = pep_session_open(p, &proof);
    assert_non_null(s);
    return s;
}

static const struct pep_decision *ask(struct pep *p, struct pep_session *s, int device,
                                      enum m2m_operation op, int type, const char *from,
                                      const char *rids)
{
    static struct pep_decision d;
    static const uint8_t methods[] = {0, 2, 1, 3, 4, 2, 1};
    struct m2m_request m = {.operation = op,
                            .type = type,
                            .has_originator = from != NULL,
                            .originator = bytes_str(from),
                            .expires_s = INT64_MAX};
    for (const char *at = rids; at && *at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL)
        m.rids[m.n_rids++] = bytes_of(at, strcspn(at, " "));
    struct request r = {.method = methods[op],
                        .path = {BYTES_LIT("cse"), BYTES_LIT("x")},
                        .n_path = 2,
                        .content_format = -1,
                        .device = device,
                        .m2m = &m};
    pep_authorize(p, s, &r, NOW, &d);
    return &d;
}

struct row {
    const char *name;
    const char *who; /* NULL: no association */
    const char *from;
    unsigned rsc; /* 0: forwarded */
    enum m2m_operation op;
    int type, device;
    const char *rids;
};

#define R M2M_RETRIEVE
#define C M2M_CREATE

static const struct row rows[] = {
    {"its own", "ae", "Cae", 0, R},
    {"nothing", "ae", NULL, 4000, R},
    {"empty", "ae", "", 4000, R},
    {"another's", "ae", "Cnamed", 4106, R},
    {"nobody's", "ae", "Cnobody", 4106, R},
    {"in another case", "ae", "cae", 4106, R},
    {"more of it", "ae", "Cae2", 4106, R},
    {"less of it", "ae", "Ca", 4106, R},
    {"within the domain", "ae", "/mn/Cae", 0, R},
    {"of another CSE", "ae", "/mn2/Cae", 4106, R},
    {"within another domain", "ae", "//sp.example.org/mn/Cae", 4106, R},
    {"absolute", "ae", "//sp.example/mn/Cae", 0, R},
    {"absolute, in another case", "ae", "//SP.example/mn/Cae", 0, R},
    {"at a CSE that does not say who it is", "ae", "Cae", 0, R, .device = BARE},
    {"there within the domain", "ae", "/mn/Cae", 4106, R, .device = BARE},
    {"at another CSE", "ae", "/asn/Cae", 0, R, .device = OTHER},
    {"there as of the first", "ae", "/mn/Cae", 4106, R, .device = OTHER},
    {"written absolute", "ae", "Cfar", 0, R},
    {"which is of one CSE alone", "ae", "Cfar", 4106, R, .device = OTHER},
    {"of the provider", "ae", "Sae", 0, R},
    {"of the provider in its domain", "ae", "/Sae", 0, R},
    {"of the provider absolute", "ae", "//sp.example/Sae", 0, R},
    {"of the provider, at a CSE", "ae", "/mn/Sae", 4106, R},
    {"of no form", "ae", "admin", 0, R},
    {"of no form, with a slash", "ae", "/admin", 4106, R},
    {"one slash too many", "ae", "/mn//Cae", 4106, R},
    {"a dot segment", "ae", "/./Cae", 4106, R},
    {"the CSE's ID", "ae", "/mn", 4106, R},
    {"of no device", "ae", "Cae", 0, R, .device = -1},

    {"by its psk_identity", "Cnamed@sp.example", "Cnamed", 0, R},
    {"with the domain", "Cnamed@sp.example", "Cnamed@sp.example", 4106, R},
    {"a person's identity names no AE", "person@sp.example", "person", 4106, R},
    {"two identities name the same", "Ctwice@a.example", "Ctwice", 4106, R},
    {"and neither is it", "Ctwice@b.example", "Ctwice", 4106, R},
    {"one that is written for another", "Cae@sp.example", "Cae", 4106, R},
    {"by its certificate", "//sp.example/mn/Ccert", "Ccert", 0, R},
    {"at another CSE, by its certificate", "//sp.example/mn/Ccert", "Ccert", 4106, R,
     .device = OTHER},
    {"a CSE by its certificate", "mn2.in.sp.example", "/mn2", 0, R},
    {"at a CSE of no known domain", "mn2.in.sp.example", "/mn2", 4106, R, .device = BARE},
    {"which speaks for nobody else", "mn2.in.sp.example", "/mn2/Cx", 4106, R},
    {"nor the rest of the name", "mn2.in.sp.example", "/in", 4106, R},
    {"nor for an AE of that name", "mn2.in.sp.example", "Smn2", 4106, R},

    {"by a URI beside the enrolled name", "mn2.in.sp.example //sp.example/mn/Cmn2", "Cmn2", 0, R},
    {"which is then what it names", "mn2.in.sp.example //sp.example/mn/Cmn2", "/mn2", 4106, R},
    {"by a certificate of nobody enrolled, who may nothing", "//sp.example/mn/Cloose", "Cloose",
     4103, R},
    {"and is nobody else", "//sp.example/mn/Cloose", "Ccert", 4106, R},
    {"and registers that", "//sp.example/mn/Cloose", "Cloose", 4103, C, 2},
    {"and nothing else", "//sp.example/mn/Cloose", "C", 4126, C, 2},
    {"one that names somebody enrolled", "//sp.example/mn/Cae", "Cae", 4106, R},
    {"one that names the CSE", "mn.sp.example", "/mn", 4106, R},
    {"one that names a CSE that is enrolled", "mn2.sp.example //sp.example/peer", "/peer", 4106, R},

    {"a CSE", "gw", "/gw", 0, R},
    {"a CSE, absolute", "gw", "//sp.example/gw", 0, R},
    {"a CSE, written absolute", "peer", "/peer", 0, R},
    {"a CSE that says nothing", "gw", "", 4000, R},
    {"an AE behind it", "gw", "/gw/Cx", 0, R},
    {"an AE behind one behind it", "gw", "/unknown/Cx", 0, R},
    {"another CSE", "gw", "/peer", 4106, R},
    {"another CSE, absolute", "gw", "//sp.example/peer", 4106, R},
    {"an AE of another CSE", "gw", "/peer/Cx", 4106, R},
    {"the CSE that is asked", "gw", "/mn", 4106, R},
    {"that, absolute", "gw", "//sp.example/mn", 4106, R},
    {"an AE of the CSE that is asked", "gw", "/mn/Cx", 4106, R},
    {"such in another domain", "gw", "//other.example/mn/Cx", 0, R},
    {"a stem of C", "gw", "Cx", 4106, R},
    {"a stem of S", "gw", "Sx", 0, R},
    {"a stem of S that is another's", "gw", "Sae", 4106, R},
    {"the same within the domain", "gw", "/Sae", 4106, R},
    {"the same, absolute", "gw", "//sp.example/Sae", 4106, R},
    {"of no form, by a CSE", "gw", "admin", 4106, R},
    {"another's of no form", "gw", "nobody", 4106, R},
    {"an AE behind it, of no known CSE", "gw", "/gw/Cx", 4106, R, .device = BARE},
    {"itself, there", "gw", "/gw", 0, R, .device = BARE},
    {"it registers itself", "gw", "/gw", 0, C, 16},
    {"but no other", "gw", "/unknown", 4106, C, 16},
    {"what others create", "gw", "/unknown", 0, C, 3},
    {"and no AE", "gw", "/gw/Cx", 4126, C, 2},
    {"nor for itself", "gw", "/gw", 4126, C, 2},

    {"to be given one by the CSE", "new", "C", 0, C, 2},
    {"by the provider", "new", "S", 4126, C, 2},
    {"by the provider, who may", "sp", "S", 0, C, 2},
    {"by either", "new", NULL, 0, C, 2},
    {"by either, empty", "new", "", 0, C, 2},
    {"by either, who may not", "ae", NULL, 4126, C, 2},
    {"by the CSE, who may not", "ae", "C", 4126, C, 2},
    {"one's own", "ae", "Cae", 0, C, 2},
    {"one's own of the provider", "ae", "Sae", 0, C, 2},
    {"a stem", "new", "Cnew", 0, C, 2},
    {"another stem", "new", "Cnew2", 4126, C, 2},
    {"of a pattern", "new", "Chome-1", 0, C, 2},
    {"of a pattern, with a space behind", "new", "Chome-1 ", 4126, C, 2},
    {"of a pattern, with another letter", "new", "Chome-\xc3\xa4", 4126, C, 2},
    {"of a pattern, with a comma", "new", "Chome-1,Cae", 4126, C, 2},
    {"of a pattern, nothing more", "new", "Chome-", 0, C, 2},
    {"of a pattern, with a slash", "new", "/mn/Chome-1", 4126, C, 2},
    {"another's stem", "new", "Cae", 4126, C, 2},
    {"asking is no name", "new", "C", 4106, C, 3},
    {"and what is not registered is none", "new", "Cnew", 4106, R},
    {"nothing but for an AE", "new", NULL, 4000, C, 3},
    {"nothing but to create", "new", NULL, 4000, M2M_DELETE, 2},

    {"without an association", NULL, "Copen", 0, R},
    {"of the provider, too", NULL, "/Sopen", 0, M2M_NOTIFY},
    {"another operation", NULL, "Copen", 4107, M2M_DELETE},
    {"somebody else", NULL, "Cae", 4107, R},
    {"nobody", NULL, NULL, 4107, R},
    {"a CSE without one", NULL, "/gw", 4107, R},
    {"registering", NULL, "C", 4107, C, 2},
    {"by an association, it is not that one's", "ae", "Copen", 4106, R},

    {"all roles", "ae", "Cae", 0, M2M_DELETE, .rids = ""},
    {"one role that permits it", "ae", "Cae", 0, M2M_DELETE, .rids = "all@sp.example"},
    {"one role that does not", "ae", "Cae", 4103, M2M_DELETE, .rids = "reader@sp.example"},
    {"a role that includes it", "ae", "Cae", 0, M2M_DELETE, .rids = "both"},
    {"either", "ae", "Cae", 0, M2M_DELETE, .rids = "reader@sp.example all@sp.example"},
    {"a role that is not held", "Cnamed@sp.example", "Cnamed", 4103, R, .rids = "both"},
    {"a role that nobody knows", "ae", "Cae", 4103, R, .rids = "none@sp.example"},
};

static void originators(void **state)
{
    (void)state;
    struct pep *p = pep_of(policy_text);
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct pep_session *s = open_session(p, r->who);
        const struct pep_decision *d = ask(p, s, r->device, r->op, r->type, r->from, r->rids);
        bool forwarded = d->outcome == PEP_FORWARD;
        unsigned code = r->rsc == 4000 ? 0x80 : 0x83;
        if (forwarded != (r->rsc == 0) || (!forwarded && (d->rsc != r->rsc || d->code != code))) {
            print_error("%s: got %u (%02x, %s), wanted %u\n", r->name, forwarded ? 0u : d->rsc,
                        d->code, d->reason, r->rsc);
            failed++;
        }
        pep_session_close(s);
    }
    pep_free(p);
    assert_int_equal(failed, 0);
}

/* A spoofed originator goes nowhere while a policy is tried out; one without
 * a right does. */
static void in_report_mode(void **state)
{
    (void)state;
    char reporting[sizeof policy_text + 16];
    (void)snprintf(reporting, sizeof reporting, "mode: report\n%s", policy_text);
    struct pep *p = pep_of(reporting);
    struct pep_session *s = open_session(p, "ae");
    assert_int_equal(ask(p, s, CSE, R, -1, "Cae", "none@sp")->outcome, PEP_FORWARD);
    assert_int_equal(ask(p, s, CSE, R, -1, "Cnamed", NULL)->outcome, PEP_DENY);
    assert_int_equal(ask(p, NULL, CSE, R, -1, "Cae", NULL)->outcome, PEP_DENY);
    pep_session_close(s);
    pep_free(p);
}

/* ---- what is learned ---- */

#define TO BYTES_LIT("cb/home")

static bool may(struct pep *p, struct pep_session *s, const char *from)
{
    return ask(p, s, CSE, R, -1, from, NULL)->outcome == PEP_FORWARD;
}

static void learned(void **state)
{
    (void)state;
    store = store_open_memory();
    struct pep *p = pep_of(policy_text);
    struct pep_session *s = open_session(p, "new"), *other = open_session(p, "sp");
    struct pep_session *ae = open_session(p, "ae"), *gw = open_session(p, "gw");

    assert_false(may(p, s, "C77"));
    assert_true(pep_note_registered(p, s, CSE, BYTES_LIT("C77"), TO));
    assert_true(may(p, s, "C77"));
    assert_true(may(p, s, "//sp.example/mn/C77"));
    assert_true(pep_session_speaks_for(s, CSE, BYTES_LIT("/mn/C77")));
    assert_false(pep_session_speaks_for(other, CSE, BYTES_LIT("C77")));
    assert_false(pep_session_speaks_for(NULL, CSE, BYTES_LIT("C77")));
    /* where it registered, and nowhere else */
    assert_int_equal(ask(p, s, OTHER, R, -1, "C77", NULL)->rsc, 4106);
    assert_false(pep_session_speaks_for(s, OTHER, BYTES_LIT("C77")));
    assert_false(may(p, other, "C77"));
    /* nobody takes it over */
    assert_false(pep_note_registered(p, other, CSE, BYTES_LIT("C77"), TO));
    assert_false(pep_note_registered(p, ae, CSE, BYTES_LIT("/mn/C77"), TO));
    assert_false(pep_note_registered(p, gw, CSE, BYTES_LIT("C78"), TO));
    assert_false(pep_note_registered(p, NULL, CSE, BYTES_LIT("C78"), TO));
    assert_true(may(p, s, "C77"));
    /* nor one that is written */
    assert_false(pep_note_registered(p, s, CSE, BYTES_LIT("Cae"), TO));
    assert_false(may(p, s, "Cae"));
    /* only what it may be called */
    assert_false(pep_note_registered(p, s, CSE, BYTES_LIT("S77"), TO));
    assert_false(pep_note_registered(p, s, CSE, BYTES_LIT("/asn/C77"), TO));
    assert_false(pep_note_registered(p, s, CSE, BYTES_NONE, TO));
    assert_false(pep_note_registered(p, s, CSE, BYTES_LIT("C"), TO));
    assert_false(pep_note_registered(p, s, CSE, BYTES_LIT("C78 "), TO));
    assert_false(pep_note_registered(p, s, CSE, BYTES_LIT("Chome-*"), TO));
    assert_false(pep_note_registered(p, other, CSE, BYTES_LIT("C79"), TO));
    assert_true(pep_note_registered(p, other, CSE, BYTES_LIT("/S79"), BYTES_NONE));
    assert_true(may(p, other, "S79"));
    assert_false(may(p, gw, "S79"));
    assert_int_equal(ask(p, NULL, CSE, R, -1, "S79", NULL)->rsc, 4107);
    /* what is created where another was takes its place */
    assert_true(pep_note_registered(p, s, CSE, BYTES_LIT("C70"), BYTES_LIT("cb/same")));
    assert_true(pep_note_registered(p, s, CSE, BYTES_LIT("C71"), BYTES_LIT("cb/same")));
    assert_false(may(p, s, "C70"));
    assert_true(may(p, s, "C71"));
    /* again, with what it had before */
    assert_int_equal(ask(p, s, CSE, C, 2, "C77", NULL)->outcome, PEP_FORWARD);
    assert_int_equal(ask(p, other, CSE, C, 2, "C77", NULL)->rsc, 4126);

    /* It is its, and not its key's; and it outlives the process. */
    char again[sizeof policy_text + 16];
    (void)snprintf(again, sizeof again, "%s", policy_text);
    memcpy(strstr(again, "key-file: k2"), "key-file: k8", 12);
    load(p, again);
    struct pep_session *fresh = open_session(p, "new");
    assert_true(may(p, fresh, "C77"));
    assert_false(may(p, s, "C77"));
    pep_session_close(fresh);
    struct pep *next = pep_of(policy_text);
    struct pep_session *after = open_session(next, "new"), *sp = open_session(next, "sp");
    assert_true(may(next, after, "C77"));
    assert_true(may(next, sp, "S79"));

    /* Until the AE is deleted, by its address or by its name. */
    pep_note_deregistered(next, CSE, BYTES_LIT("cb/other"));
    pep_note_deregistered(next, OTHER, TO);
    assert_true(may(next, after, "C77"));
    pep_note_deregistered(next, CSE, TO);
    assert_false(may(next, after, "C77"));
    pep_note_deregistered(next, CSE, BYTES_LIT("S79"));
    assert_false(may(next, sp, "S79"));
    pep_session_close(after);
    pep_session_close(sp);
    pep_free(next);
    next = pep_of(policy_text);
    sp = open_session(next, "sp");
    assert_false(may(next, sp, "S79"));
    pep_session_close(sp);
    pep_free(next);

    pep_session_close(s);
    pep_session_close(other);
    pep_session_close(ae);
    pep_session_close(gw);
    pep_free(p);
    store_close(store);
    store = NULL;
}

/* What a session speaks for outlives a planned restart. */
static void kept(void **state)
{
    (void)state;
    static const char *const who[] = {"ae", "//sp.example/mn/Cloose", "mn2.in.sp.example", "gw"};
    static const char *const from[] = {"Cae", "Cloose", "/mn2", "/gw/Cx"};
    static const struct policy_peer peer = {4, {192, 0, 2, 1}};
    struct pep *a = pep_of(policy_text), *b = pep_of(policy_text);
    for (size_t i = 0; i < 4; i++) {
        static uint8_t bytes[PEP_SESSION_KEPT_MAX];
        struct buf out = buf_on(bytes, sizeof bytes);
        struct pep_session *s = open_session(a, who[i]);
        assert_true(pep_session_save(s, &out));
        pep_session_close(s);
        s = pep_session_restore(b, buf_bytes(&out), &peer, NOW);
        assert_non_null(s);
        assert_int_not_equal(ask(b, s, CSE, R, -1, from[i], NULL)->rsc, 4106);
        assert_int_equal(ask(b, s, CSE, R, -1, "Cnamed", NULL)->rsc, 4106);
        pep_session_close(s);
        /* and what is cut off is none */
        assert_null(pep_session_restore(b, bytes_of(bytes, out.n - 1), &peer, NOW));
    }
    pep_free(a);
    pep_free(b);
}

/* Who is enrolled no more owns nothing: another may have the name then. */
static void left_behind(void **state)
{
    (void)state;
    struct pep *p = pep_of(policy_text);
    struct pep_session *s = open_session(p, "new");
    assert_true(pep_note_registered(p, s, CSE, BYTES_LIT("C77"), TO));
    char without[sizeof policy_text + 64];
    (void)snprintf(without, sizeof without, "%s", policy_text);
    memcpy(strstr(without, "name: new"), "name: old", 9);
    load(p, without);
    struct pep_session *old = open_session(p, "new");
    assert_false(may(p, old, "C77"));
    assert_true(pep_note_registered(p, old, CSE, BYTES_LIT("C77"), TO));
    assert_true(may(p, old, "C77"));
    pep_session_close(old);
    pep_session_close(s);
    pep_free(p);
}

static void not_too_many(void **state)
{
    (void)state;
    struct pep *p = pep_of(policy_text);
    struct pep_session *s = open_session(p, "new");
    size_t n = 0;
    char id[16];
    for (bool more = true; more; n += more) {
        (void)snprintf(id, sizeof id, "C%zu", n);
        more = pep_note_registered(p, s, CSE, bytes_str(id), BYTES_NONE);
    }
    assert_int_equal(n, 64);
    const struct pep_decision *d = ask(p, s, CSE, C, 2, "C", NULL);
    assert_int_equal(d->rsc, 4126);
    assert_string_equal(d->reason, "too-many-registrations");
    assert_int_equal(ask(p, s, CSE, C, 2, "C5", NULL)->outcome, PEP_FORWARD);
    pep_note_deregistered(p, CSE, BYTES_LIT("C5"));
    assert_int_equal(ask(p, s, CSE, C, 2, "C", NULL)->outcome, PEP_FORWARD);
    pep_session_close(s);
    pep_free(p);
}

/* What one worker learned the others are told, as the store has it. */
static void told(void **state)
{
    (void)state;
    struct pep *a = pep_of(policy_text), *b = pep_of(policy_text);
    store = store_open_memory();
    struct pep *writer = pep_of(policy_text);
    struct pep_session *w = open_session(writer, "new"), *r = open_session(b, "new");
    assert_true(pep_note_registered(writer, w, CSE, BYTES_LIT("C77"), TO));
    pep_session_close(w);
    pep_free(writer);
    /* read back from the store of the one who wrote */
    struct pep *reader = pep_of(policy_text);
    struct pep_session *again = open_session(reader, "new");
    assert_true(may(reader, again, "C77"));
    pep_session_close(again);
    pep_free(reader);
    /* what is no record changes nothing */
    static const uint8_t nonsense[] = {1, 3, 'c', 's', 'e', 1, 'C', 1, 'n', 0, 0};
    const struct store_op op = {STORE_REGISTERED, BYTES_LIT("k"),
                                bytes_of(nonsense, sizeof nonsense)};
    pep_take_change(b, &op, NOW);
    assert_false(may(b, r, "C"));
    pep_session_close(r);
    pep_free(a);
    pep_free(b);
    store_close(store);
    store = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(originators), cmocka_unit_test(in_report_mode),
        cmocka_unit_test(learned),     cmocka_unit_test(kept),
        cmocka_unit_test(left_behind), cmocka_unit_test(not_too_many),
        cmocka_unit_test(told),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
