/* Others asked about a request, at pep: what an authority gives is taken in as
 * any token or as far as it may grant; an answer is one to its question alone;
 * what is under way is bounded; and nothing is asked for whom nobody knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../pep/answers.h"
#include "../pep/revoke.h"
#include "support_m2m.h"

#define N(a) (sizeof(a) / sizeof *(a))

#define LINE    "originator: /gw, psk: {identity: gw, key-file: phone.psk}"
#define DYNAMIC "    bearer: deny\n" ASKED
#define ALLOWED "    bearer: allow\n" ASKED
#define ASKED                                                                                      \
    "    dynamic-authorization:\n"                                                                 \
    "      for: [/cse/**]\n"                                                                       \
    "      ask: {url: coaps://das.example/notify, " LINE "}\n"
#define POINTS                                                                                     \
    "decision-points:\n"                                                                           \
    "  - {name: pdp, url: coaps://pdp.example/d, " LINE ", for: [/cse/lamp/**],\n"                 \
    "     combine: deny-overrides}\n"                                                              \
    "  - {name: town, url: coaps://town.example/d, " LINE                                          \
    ", for: [/cse/**, /other/**, /lamp/**],\n"                                                     \
    "     combine: local-first, cache: 60s}\n"                                                     \
    "forbid:\n"                                                                                    \
    "  - {path: /lamp/safe, methods: [GET]}\n"

static struct m2m_house house;

static int make_dynamic(void **state)
{
    (void)state;
    m2m_house_make(&house, NULL, "    bearer: deny\n", DYNAMIC);
    return 0;
}

static int make_points(void **state)
{
    (void)state;
    m2m_house_make(&house, NULL, "forbid:\n", POINTS);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    m2m_house_clear(&house);
    return 0;
}

static struct pep_decision decide(struct pep *p, struct pep_session *s, const struct m2m_asking *a,
                                  int64_t now_s)
{
    struct pep_decision d;
    memset(&d, 0xee, sizeof d);
    pep_authorize(p, s, &a->r, now_s, &d);
    return d;
}

static struct pep_decision ask(struct pep_session *s, enum m2m_operation op, const char *path,
                               const char *originator)
{
    struct m2m_asking a;
    m2m_ask_for(&a, op, path, originator);
    return decide(house.pep, s, &a, M2M_NOW);
}

static bool next(struct pep *p, struct pep_question *q)
{
    return pep_next_question(p, M2M_NOW, q);
}

static bool is_silent(void)
{
    struct pep_question q;
    return !next(house.pep, &q);
}

static void answer(struct pep *p, uint64_t id, const char *body)
{
    const struct pep_reply r = {
        .code = 0x44, .content_format = PEP_FORMAT_JSON, .body = bytes_str(body)};
    pep_take_reply(p, id, &r, M2M_NOW);
}

/* ---- tokens that an authority gives ---- */

static const struct {
    const char *name;
    struct m2m_minting m;
    const char *instead; /* of the token */
    bool permits;
} given[] = {
    {"good", {0}, NULL, true},
    {"with its own names", {.own_names = true}, NULL, true},
    {"of another holder", {.azp = "\"//house.example/mn-cse/Cpanel\""}, NULL, false},
    {"of another issuer", {.iss = "\"//house.example/in-cse/other\""}, NULL, false},
    {"for another CSE", {.aud = "[\"//house.example/gym-cse\"]"}, NULL, false},
    {"expired", {.exp = "1795312000"}, NULL, false},
    {"not yet", {.nbf = "1795313000"}, NULL, false},
    {"of a role beyond its authority",
     {.tkps = "{\"pm\":[{\"rids\":[\"owner@house.example\"]}]}"},
     NULL,
     false},
    {"that is none", {0}, "not.a.token", false},
    {"that is nothing of the kind", {0}, "0123456789abcdef", false},
};

static const char *gives(struct bytes token)
{
    static char text[4096];
    snprintf(text, sizeof text, "{\"m2m:seci\":{\"sit\":2,\"dres\":{\"tkns\":[\"%.*s\"]}}}",
             (int)token.n, (const char *)token.p);
    return text;
}

static void tokens(void **state)
{
    for (size_t i = 0; i < N(given); i++) {
        struct pep_question q;
        make_dynamic(state);
        struct pep_session *s = m2m_house_open(&house, "phone");
        struct bytes token = given[i].instead ? bytes_str(given[i].instead) : m2m_mint(&given[i].m);
        struct pep_decision d = ask(s, M2M_RETRIEVE, "/cse/lamp/x", "Cphone");
        assert_int_equal(d.outcome, PEP_WAIT);
        assert_true(next(house.pep, &q));
        assert_int_equal(q.ask, PEP_ASK_DYNAMIC);
        assert_int_equal(q.id, d.wait);
        answer(house.pep, q.id, gives(token));
        d = ask(s, M2M_RETRIEVE, "/cse/lamp/x", "Cphone");
        pep_settle(house.pep);
        if ((d.outcome == PEP_FORWARD) != given[i].permits)
            fail_msg("%s: %s (%s)", given[i].name, given[i].permits ? "denied" : "permitted",
                     d.reason);
        if (given[i].permits) {
            assert_string_equal(d.decided_by, "das");
            assert_string_equal(d.authority, "das");
            assert_true(d.grant > 0);
        }
        /* It is held from then on; or it is not asked for again at once. */
        d = ask(s, M2M_RETRIEVE, "/cse/lamp/x", "Cphone");
        assert_int_equal(d.outcome == PEP_FORWARD, given[i].permits);
        assert_true(is_silent());
        /* For nobody else. */
        struct pep_session *other = m2m_house_open(&house, "panel");
        d = ask(other, M2M_RETRIEVE, "/cse/lamp/safe", "Cpanel");
        assert_int_equal(d.outcome, PEP_DENY);
        pep_session_close(other);
        pep_session_close(s);
        drop(state);
    }
}

/* Signatures are checked elsewhere: one more wait, and no second question. */
static void tokens_checked(void **state)
{
    struct pep_question q;
    struct m2m_asking a;
    (void)state;
    struct pep *own = house.pep;
    house.pep = m2m_house_pep(&house, &(struct pep_config){.checks_elsewhere = true});
    assert_true(m2m_house_reload(&house, "    bearer: deny\n", DYNAMIC));
    struct pep_session *s = m2m_house_open(&house, "phone");
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/lamp/x", "Cphone");
    struct pep_decision d = decide(house.pep, s, &a, M2M_NOW);
    assert_true(next(house.pep, &q));
    answer(house.pep, q.id, gives(m2m_mint(&(struct m2m_minting){0})));
    d = decide(house.pep, s, &a, M2M_NOW);
    assert_int_equal(d.outcome, PEP_WAIT);
    pep_settle(house.pep);
    struct pep_check *c = pep_next_check(house.pep);
    assert_non_null(c);
    assert_int_equal(pep_check_id(c), d.wait);
    pep_check_run(c);
    pep_take_check(house.pep, c);
    d = decide(house.pep, s, &a, M2M_NOW);
    pep_settle(house.pep);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_true(is_silent());
    pep_session_close(s);
    pep_free(house.pep);
    house.pep = own;
}

/* ---- permissions ---- */

#define RULES(acr, pl)                                                                             \
    "{\"m2m:seci\":{\"sit\":2,\"dres\":{\"dai\":{\"gp\":{\"acr\":[" acr "]},\"pl\":\"" pl "\"}}}}"

static const struct {
    const char *name, *body;
    enum m2m_operation op;
    const char *path;
    bool permits;
} permissions[] = {
    {"good", RULES("{\"acor\":[\"Cphone\"],\"acop\":2}", "60000"), M2M_RETRIEVE, "/cse/room/door",
     true},
    {"by its whole name",
     RULES("{\"acor\":[\"//house.example/mn-cse/Cphone\"],\"acop\":2}", "60000"), M2M_RETRIEVE,
     "/cse/room/door", true},
    {"for somebody else", RULES("{\"acor\":[\"Cpanel\"],\"acop\":2}", "60000"), M2M_RETRIEVE,
     "/cse/room/door", false},
    {"of another operation", RULES("{\"acor\":[\"Cphone\"],\"acop\":4}", "60000"), M2M_RETRIEVE,
     "/cse/room/door", false},
    {"an operation beyond its authority", RULES("{\"acor\":[\"Cphone\"],\"acop\":63}", "60000"),
     M2M_DELETE, "/cse/room/door", false},
    {"a resource beyond its authority", RULES("{\"acor\":[\"Cphone\"],\"acop\":63}", "60000"),
     M2M_RETRIEVE, "/cse/lamp/x", false},
    {"from elsewhere",
     RULES("{\"acor\":[\"Cphone\"],\"acop\":2,\"acco\":{\"acip\":{\"ipv4\":[\"192.0.2.1\"]}}}",
           "60000"),
     M2M_RETRIEVE, "/cse/room/door", false},
    {"at another time",
     RULES("{\"acor\":[\"Cphone\"],\"acop\":2,\"acco\":{\"actw\":[\"* * 12 * * * *\"]}}", "60000"),
     M2M_RETRIEVE, "/cse/room/door", false},
    {"with a part that nobody knows",
     RULES("{\"acor\":[\"Cphone\"],\"acop\":2,\"acxx\":1}", "60000"), M2M_RETRIEVE,
     "/cse/room/door", false},
    {"that has ended", RULES("{\"acor\":[\"Cphone\"],\"acop\":2}", "20261122T010000"), M2M_RETRIEVE,
     "/cse/room/door", false},
};

static void rules(void **state)
{
    for (size_t i = 0; i < N(permissions); i++) {
        struct pep_question q;
        make_dynamic(state);
        struct pep_session *s = m2m_house_open(&house, "phone");
        struct pep_decision d = ask(s, permissions[i].op, permissions[i].path, "Cphone");
        assert_int_equal(d.outcome, PEP_WAIT);
        assert_true(next(house.pep, &q));
        answer(house.pep, q.id, permissions[i].body);
        d = ask(s, permissions[i].op, permissions[i].path, "Cphone");
        pep_settle(house.pep);
        if ((d.outcome == PEP_FORWARD) != permissions[i].permits)
            fail_msg("%s: %s (%s)", permissions[i].name,
                     permissions[i].permits ? "denied" : "permitted", d.reason);
        if (d.outcome == PEP_DENY)
            assert_int_equal(d.rsc, M2M_NO_PRIVILEGE);
        pep_session_close(s);
        drop(state);
    }
}

/* A permission is for the target: who wants what is below, too, gets it no more
 * than by a token with a list of resources. */
static void rules_below(void **state)
{
    (void)state;
    for (int below = 0; below < 2; below++) {
        struct pep_question q;
        struct m2m_asking a;
        make_dynamic(state);
        struct pep_session *s = m2m_house_open(&house, "phone");
        m2m_ask_for(&a, M2M_RETRIEVE, "/cse/room/door", "Cphone");
        a.m.below = below;
        assert_int_equal(decide(house.pep, s, &a, M2M_NOW).outcome, PEP_WAIT);
        assert_true(next(house.pep, &q));
        answer(house.pep, q.id, permissions[0].body);
        struct pep_decision d = decide(house.pep, s, &a, M2M_NOW);
        pep_settle(house.pep);
        assert_int_equal(d.outcome, below ? PEP_DENY : PEP_FORWARD);
        pep_session_close(s);
        drop(state);
    }
}

/* It rests on what it was given under: that nothing was revoked or loaded. */
static void basis(void **state)
{
    struct pep_question q;
    struct pep_revoked done;
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    (void)ask(s, M2M_RETRIEVE, "/cse/room/door", "Cphone");
    assert_true(next(house.pep, &q));
    answer(house.pep, q.id, permissions[0].body);
    struct pep_decision d = ask(s, M2M_RETRIEVE, "/cse/room/door", "Cphone");
    pep_settle(house.pep);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_int_equal(d.ends_s, M2M_NOW + 60);
    assert_true(pep_basis_holds(house.pep, s, &d.basis, M2M_NOW));
    const struct pep_revoking r = {.kind = REVOKED_KID,
                                   .until_s = M2M_NOW + 60,
                                   .value = BYTES_LIT("x"),
                                   .authority = BYTES_LIT("das")};
    assert_int_equal(pep_revoke(house.pep, &r, M2M_NOW, &done), REVOCATION_OK);
    assert_false(pep_basis_holds(house.pep, s, &d.basis, M2M_NOW));
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/room/door", "Cphone").outcome, PEP_WAIT);
    assert_true(next(house.pep, &q));
    answer(house.pep, q.id, permissions[0].body);
    d = ask(s, M2M_RETRIEVE, "/cse/room/door", "Cphone");
    pep_settle(house.pep);
    assert_true(pep_basis_holds(house.pep, s, &d.basis, M2M_NOW));
    assert_true(m2m_house_reload(&house, "    bearer: deny\n", DYNAMIC));
    assert_false(pep_basis_holds(house.pep, s, &d.basis, M2M_NOW));
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/room/door", "Cphone").outcome, PEP_WAIT);
    pep_session_close(s);
}

/* ---- decision points ---- */

#define PERMIT "{\"m2m:auds\":{\"dec\":1,\"sus\":1}}"

/* Each differs from the first in one thing, and so is another question. */
static const struct {
    const char *name, *who, *path;
    enum m2m_operation op;
    int type;
    uint8_t peer;
    const char *tid, *rid;
} others[] = {
    {"the first", "phone", "/cse/hall/1", M2M_CREATE, 3, 1, NULL, NULL},
    {"another subject", "panel", "/cse/hall/1", M2M_CREATE, 3, 1, NULL, NULL},
    {"another resource", "phone", "/cse/hall/2", M2M_CREATE, 3, 1, NULL, NULL},
    {"another CSE", "phone", "/other/hall/1", M2M_CREATE, 3, 1, NULL, NULL},
    {"another operation", "phone", "/cse/hall/1", M2M_NOTIFY, -1, 1, NULL, NULL},
    {"another type", "phone", "/cse/hall/1", M2M_CREATE, 4, 1, NULL, NULL},
    {"another address", "phone", "/cse/hall/1", M2M_CREATE, 3, 2, NULL, NULL},
};

static void one_answer_each(void **state)
{
    struct pep_session *phone = m2m_house_open(&house, "phone");
    struct pep_session *panel = m2m_house_open(&house, "panel");
    (void)state;
    for (size_t i = 0; i < N(others); i++) {
        struct m2m_asking a;
        struct pep_question q;
        bool is_phone = strcmp(others[i].who, "phone") == 0;
        m2m_ask_for(&a, others[i].op, others[i].path, is_phone ? "Cphone" : "Cpanel");
        /* The panel may do more: what no rule of its role names is /other. */
        if (!is_phone)
            m2m_ask_for(&a, others[i].op, "/other/hall/1", "Cpanel");
        a.m.type = others[i].type;
        a.r.peer = (struct policy_peer){.family = 4, .addr = {192, 0, 2, others[i].peer}};
        struct pep_session *s = is_phone ? phone : panel;
        for (int again = 0; again < 2; again++) {
            struct pep_decision d = decide(house.pep, s, &a, M2M_NOW);
            if (d.outcome != (again ? PEP_FORWARD : PEP_WAIT))
                fail_msg("%s, %d: %d (%s)", others[i].name, again, d.outcome, d.reason);
            if (next(house.pep, &q))
                answer(house.pep, q.id, PERMIT);
            pep_settle(house.pep);
        }
    }
    pep_session_close(phone);
    pep_session_close(panel);
}

/* A clock that went back, or on: the answer is not of now. */
static void in_its_time(void **state)
{
    struct pep_question q;
    struct m2m_asking a;
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/hall/1", "Cphone");
    assert_int_equal(decide(house.pep, s, &a, M2M_NOW).outcome, PEP_WAIT);
    assert_true(next(house.pep, &q));
    answer(house.pep, q.id, PERMIT);
    pep_settle(house.pep);
    assert_int_equal(decide(house.pep, s, &a, M2M_NOW + 59).outcome, PEP_FORWARD);
    assert_int_equal(decide(house.pep, s, &a, M2M_NOW - 1).outcome, PEP_WAIT);
    pep_session_close(s);
}

/* Too many at a time of one subject; another's go on. */
static void bounded(void **state)
{
    struct pep_session *phone = m2m_house_open(&house, "phone");
    struct pep_session *panel = m2m_house_open(&house, "panel");
    char path[32];
    (void)state;
    for (int i = 0; i <= ANSWERS_PER_OWNER_MAX; i++) {
        snprintf(path, sizeof path, "/cse/hall/%d", i);
        struct pep_decision d = ask(phone, M2M_RETRIEVE, path, "Cphone");
        assert_int_equal(d.outcome, i < ANSWERS_PER_OWNER_MAX ? PEP_WAIT : PEP_DENY);
        if (i == ANSWERS_PER_OWNER_MAX) {
            assert_int_equal(d.code, 0x9d); /* 4.29 */
            assert_true(d.retry_s > 0);
            assert_string_equal(d.reason, "decision-point-busy");
        }
    }
    assert_int_equal(ask(phone, M2M_RETRIEVE, "/cse/hall/0", "Cphone").outcome, PEP_WAIT);
    assert_int_equal(ask(panel, M2M_RETRIEVE, "/other/hall", "Cpanel").outcome, PEP_WAIT);
    pep_session_close(phone);
    pep_session_close(panel);
}

/* What is kept gives way to what is newer, and tokens' answers to nothing. */
static void evicted(void **state)
{
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct pep_question q;
    char path[32];
    (void)state;
    for (int i = 0; i <= ANSWERS_DECISIONS_MAX; i++) {
        snprintf(path, sizeof path, "/cse/hall/%d", i);
        assert_int_equal(ask(s, M2M_RETRIEVE, path, "Cphone").outcome, PEP_WAIT);
        assert_true(next(house.pep, &q));
        answer(house.pep, q.id, PERMIT);
        pep_settle(house.pep);
    }
    assert_int_equal(ask(s, M2M_RETRIEVE, path, "Cphone").outcome, PEP_FORWARD);
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/hall/0", "Cphone").outcome, PEP_WAIT);
    pep_session_close(s);
}

/* What cannot be told is denied, and nobody is asked. */
static void not_asked(void **state)
{
    struct m2m_asking a;
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/hall/1", "Cphone");
    a.m.to = BYTES_LIT("hall/\xff");
    struct pep_decision d = decide(house.pep, s, &a, M2M_NOW);
    assert_int_equal(d.outcome, PEP_DENY);
    assert_string_equal(d.reason, "decision-point-not-asked");
    /* an address that only a rule's own words may name */
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/hall/1", "Cphone");
    a.m.named = 2;
    assert_int_equal(decide(house.pep, s, &a, M2M_NOW).outcome, PEP_DENY);
    /* without an association */
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/hall/1", "Cphone");
    assert_int_equal(decide(house.pep, NULL, &a, M2M_NOW).outcome, PEP_DENY);
    assert_true(is_silent());
    pep_session_close(s);
}

/* What we were given for a holder is no bearer token of the association that we
 * asked for: it makes it nobody else, and is its holder's in any of them. */
static void not_borne(void **state)
{
    struct pep_question q;
    (void)state;
    m2m_house_make(&house, NULL, "    bearer: deny\n", ALLOWED);
    struct pep_session *s = m2m_house_open(&house, "phone");
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/x", "Cphone").outcome, PEP_WAIT);
    assert_true(next(house.pep, &q));
    answer(house.pep, q.id, gives(m2m_mint(&(struct m2m_minting){0})));
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/x", "Cphone").outcome, PEP_FORWARD);
    pep_settle(house.pep);
    pep_session_close(s);
    s = m2m_house_open(&house, "phone");
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/x", "Cphone").outcome, PEP_FORWARD);
    pep_session_close(s);
    m2m_house_clear(&house);
}

/* Nor is anybody asked for tokens in the name of an originator that nothing
 * proves. */
static void ids_of_another(void **state)
{
    (void)state;
    static const char *const originators[] = {"Cphone", "Cx", "Cpanel"};
    for (size_t i = 0; i < N(originators); i++) {
        struct m2m_asking a;
        struct pep_session *s = m2m_house_open(&house, "phone");
        m2m_ask_for(&a, M2M_RETRIEVE, "/cse/lamp/x", originators[i]);
        a.m.tids[a.m.n_tids++] = BYTES_LIT("t1@house.example");
        struct pep_decision d = decide(house.pep, s, &a, M2M_NOW);
        if ((d.outcome == PEP_WAIT) != (i == 0) || is_silent() != (i > 0))
            fail_msg("%s: %d, %s", originators[i], (int)d.outcome, d.reason);
        pep_session_close(s);
    }
}

/* Points are asked about a target alone. */
static void points_below(void **state)
{
    static const struct {
        const char *name, *who, *path;
        bool below;
        enum pep_outcome want;
        enum m2m_operation op;
    } rows[] = {
        {"the target", "panel", "/cse/lamp/x", false, PEP_WAIT, M2M_RETRIEVE},
        {"all that is below it", "panel", "/cse/lamp/x", true, PEP_DENY, M2M_RETRIEVE},
        {"what is beside those of a point", "panel", "/cse/hall", true, PEP_FORWARD, M2M_RETRIEVE},
        {"what has some below it", "panel", "/cse/gym", true, PEP_DENY, M2M_RETRIEVE},
        {"that alone", "panel", "/cse/gym", false, PEP_FORWARD, M2M_RETRIEVE},
        {"that, to be deleted", "panel", "/cse/gym", false, PEP_DENY, M2M_DELETE},
        {"the target, to be deleted", "panel", "/cse/lamp/x", false, PEP_WAIT, M2M_DELETE},
        {"what is beside, to be deleted", "panel", "/cse/hall", false, PEP_FORWARD, M2M_DELETE},
        {"where no rule says anything", "phone", "/cse/hall", false, PEP_WAIT, M2M_RETRIEVE},
        {"and all that is below", "phone", "/cse/hall", true, PEP_DENY, M2M_RETRIEVE},
    };
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        struct m2m_asking a;
        m2m_house_make(&house, NULL, "forbid:\n",
                       "decision-points:\n"
                       "  - {name: pdp, url: coaps://pdp.example/d, " LINE
                       ", for: [/cse/lamp/**, /cse/gym/*/door], combine: deny-overrides}\n"
                       "  - {name: town, url: coaps://town.example/d, " LINE
                       ", for: [/cse/hall/**], combine: local-first}\n"
                       "forbid:\n");
        struct pep_session *s = m2m_house_open(&house, rows[i].who);
        m2m_ask_for(&a, rows[i].op, rows[i].path,
                    strcmp(rows[i].who, "panel") == 0 ? "Cpanel" : "Cphone");
        a.m.below = rows[i].below;
        struct pep_decision d = decide(house.pep, s, &a, M2M_NOW);
        if (d.outcome != rows[i].want)
            fail_msg("%s: %d, %s", rows[i].name, (int)d.outcome, d.reason);
        if (strcmp(rows[i].who, "panel") == 0 && d.outcome == PEP_DENY)
            assert_string_equal(d.reason, "decision-point-not-asked");
        pep_session_close(s);
        m2m_house_clear(&house);
    }
}

/* A certificate of the client CA that nobody enrolled holds nothing: the point
 * may decide. A key that the CA does not know is told to get a token. */
static void known_alone(void **state)
{
    struct pep_question q;
    (void)state;
    for (int trusted = 0; trusted < 2; trusted++) {
        struct pep_proof proof = {.strength = POLICY_STRENGTH_CERTIFICATE,
                                  .subject = -1,
                                  .trusted = trusted,
                                  .key_id = {1, 2, 3},
                                  .name = "stranger"};
        struct pep_session *s = pep_session_open(house.pep, &proof);
        struct m2m_asking a;
        assert_non_null(s);
        m2m_ask_for(&a, M2M_RETRIEVE, "/lamp/1", NULL);
        a.r.m2m = NULL; /* of the dialect there are more checks: test_originator.c */
        a.r.device = M2M_LAMP;
        struct pep_decision d = decide(house.pep, s, &a, M2M_NOW);
        assert_int_equal(d.outcome, trusted ? PEP_WAIT : PEP_DENY);
        assert_int_equal(next(house.pep, &q), trusted);
        if (trusted)
            assert_non_null(memmem(q.body.p, q.body.n, "\"fr\":\"stranger\"", 15));
        m2m_ask_for(&a, M2M_RETRIEVE, "/lamp/safe", NULL);
        a.r.m2m = NULL;
        a.r.device = M2M_LAMP;
        assert_int_equal(decide(house.pep, s, &a, M2M_NOW).outcome, PEP_DENY);
        assert_true(is_silent());
        pep_session_close(s);
    }
}

#define DYN(f) cmocka_unit_test_setup_teardown(f, make_dynamic, drop)
#define PTS(f) cmocka_unit_test_setup_teardown(f, make_points, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens),
        DYN(tokens_checked),
        cmocka_unit_test(rules),
        DYN(ids_of_another),
        cmocka_unit_test(not_borne),
        cmocka_unit_test(rules_below),
        cmocka_unit_test(points_below),
        DYN(basis),
        PTS(one_answer_each),
        PTS(in_its_time),
        PTS(bounded),
        PTS(evicted),
        PTS(not_asked),
        PTS(known_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
