/* pep and an authorization server: what is asked, when, how often, and what
 * becomes of those who wait. The server is this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../pep/answers.h"
#include "../pep/cbor.h"
#include "../pep/err.h"
#include "../pep/store.h"
#include "support_pep.h"

#define N(a)       (sizeof(a) / sizeof *(a))
#define CODE(c, d) ((uint8_t)((c) << 5 | (d)))
#define NOW        HOUSE_NOW

#define WIRE       "introspect: {url: coaps://as.home/introspect, psk: {identity: gw, key-file: gw.psk}"
#define HOME_KEYS  "keys: home-as.keys\n"
#define REFERENCES HOME_KEYS "    " WIRE "}\n"
#define ALWAYS     HOME_KEYS "    " WIRE ", when: always}\n"
#define NO_CACHE   HOME_KEYS "    " WIRE ", cache: 0}\n"
#define OLD_WORDS  HOME_KEYS "    dialect: ace-07\n    " WIRE "}\n"

static struct house house;
static struct pep *pep;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    if (!house_make(&house))
        return -1;
    store = store_open_memory();
    pep = house_pep(&house, store, 64);
    return pep ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pep_free(pep);
    store_close(store);
    house_clear(&house);
    return 0;
}

static void policy(const char *to)
{
    if (!house_reload(&house, pep, HOME_KEYS, to))
        fail_msg("%s", house.diag_text);
}

/* As after kill -9: memory is gone, the store is not. */
static void restart(const char *to)
{
    pep_free(pep);
    pep = house_pep_empty(store, 64);
    assert_non_null(pep);
    policy(to);
}

/* ---- the server ---- */

struct says {
    bool inactive;
    const char *scope; /* NULL: lights_r; "": none */
    const char *aud;   /* NULL: gateway.home; "": none */
    const char *iss;   /* NULL: none */
    int64_t exp_in;    /* 0: none */
    uint8_t key;       /* fill of the PSK; 0: no cnf */
    bool old;          /* ace-07 */
    const char *client_token;
};

static struct bytes answer(const struct says *w)
{
    static uint8_t text[512];
    static const struct {
        uint8_t active, scope, cnf;
    } numbers[] = {{10, 9, 8}, {29, 12, 25}};
    struct buf b = buf_on(text, sizeof text);
    const char *scope = w->scope ? w->scope : "lights_r";
    const char *aud = w->aud ? w->aud : "gateway.home";
    cbor_put_map(&b, 1u + (*scope != 0) + (*aud != 0) + (w->iss != NULL) + (w->exp_in != 0) +
                         (w->key != 0) + (w->client_token != NULL));
    cbor_put_int(&b, numbers[w->old].active);
    cbor_put_bool(&b, !w->inactive);
    if (w->iss) {
        cbor_put_int(&b, 1);
        cbor_put_text(&b, bytes_str(w->iss));
    }
    if (*aud) {
        cbor_put_int(&b, 3);
        cbor_put_text(&b, bytes_str(aud));
    }
    if (w->exp_in) {
        cbor_put_int(&b, 4);
        cbor_put_int(&b, NOW + w->exp_in);
    }
    if (*scope) {
        cbor_put_int(&b, numbers[w->old].scope);
        cbor_put_text(&b, bytes_str(scope));
    }
    if (w->key) {
        uint8_t k[16];
        memset(k, w->key, sizeof k);
        cbor_put_int(&b, numbers[w->old].cnf);
        cbor_put_map(&b, 1);
        cbor_put_int(&b, 1);
        cbor_put_map(&b, 3);
        cbor_put_int(&b, 1);
        cbor_put_int(&b, 4);
        cbor_put_int(&b, 2);
        cbor_put_bytes(&b, bytes_of(&w->key, 1));
        cbor_put_int(&b, -1);
        cbor_put_bytes(&b, bytes_of(k, sizeof k));
    }
    if (w->client_token) {
        cbor_put_int(&b, 30);
        cbor_put_bytes(&b, bytes_str(w->client_token));
    }
    assert_false(b.full);
    return buf_bytes(&b);
}

/* The next question; there must be one, and no more than one. */
static struct pep_question asked(void)
{
    struct pep_question q, more;
    assert_true(pep_next_question(pep, NOW, &q));
    assert_false(pep_next_question(pep, NOW, &more));
    return q;
}

static void assert_quiet(void)
{
    struct pep_question q;
    assert_false(pep_next_question(pep, NOW, &q));
}

static void reply(uint64_t id, const struct says *w, int64_t now_s)
{
    struct pep_reply r = {.code = CODE(2, 1),
                          .content_format = w->old ? PEP_FORMAT_CBOR : PEP_FORMAT_ACE_CBOR,
                          .body = answer(w)};
    pep_take_reply(pep, id, &r, now_s);
}

static void reply_away(uint64_t id, uint32_t retry_s, int64_t now_s)
{
    struct pep_reply r = {.away = true, .content_format = PEP_FORMAT_NONE, .retry_s = retry_s};
    pep_take_reply(pep, id, &r, now_s);
}

/* ---- the clients ---- */

static const struct policy_peer lan = {4, {192, 0, 2, 7}};

static struct pep_taken post_at(struct pep_session *s, struct bytes token, int64_t now_s)
{
    struct pep_taken t;
    memset(&t, 0xee, sizeof t);
    pep_take_token(pep, s, &lan, token, -1, now_s, &t);
    return t;
}

static struct pep_taken post(struct bytes token)
{
    return post_at(NULL, token, NOW);
}

/* Posted, asked about, answered, posted again. */
static struct pep_taken post_answered(struct bytes token, const struct says *w)
{
    struct pep_taken t = post(token);
    assert_int_equal(t.err, PEP_PENDING);
    reply(asked().id, w, NOW);
    t = post(token);
    pep_settle(pep);
    return t;
}

static enum pep_key_state find_kid(uint8_t kid, int64_t now_s, struct pep_proof *proof)
{
    uint8_t id[80];
    return pep_find_psk(pep, house_kid_identity(&kid, 1, id), &lan, now_s, proof);
}

static struct pep_session *open_kid(uint8_t kid)
{
    struct pep_proof proof;
    assert_int_equal(find_kid(kid, NOW, &proof), PEP_KEY_FOUND);
    return pep_session_open(pep, &proof);
}

static struct pep_decision get_at(struct pep_session *s, const char *path, int device,
                                  struct bytes token, int64_t now_s)
{
    struct request r = house_request(1, path, device);
    struct pep_decision d;
    r.peer = lan;
    r.token = token;
    r.has_token = token.n > 0;
    memset(&d, 0xee, sizeof d);
    pep_authorize(pep, s, &r, now_s, &d);
    return d;
}

static struct pep_decision get(struct pep_session *s, int64_t now_s)
{
    return get_at(s, "/lamp/state", LAMP, BYTES_NONE, now_s);
}

#define REF BYTES_LIT("an opaque reference")

/* ---- references ---- */

static void reference_posted(void **state)
{
    (void)state;
    policy(REFERENCES);
    struct pep_taken t = post(REF);
    assert_int_equal(t.err, PEP_PENDING);
    assert_true(t.wait != 0);
    for (int i = 0; i < 1000; i++)
        assert_true(post(REF).wait == t.wait);
    struct pep_question q = asked();
    assert_true(q.id == t.wait && q.authority == HOME && !q.http);
    assert_int_equal(q.content_format, PEP_FORMAT_ACE_CBOR);
    assert_non_null(memmem(q.body.p, q.body.n, REF.p, REF.n));
    assert_true(post(REF).wait == t.wait);
    assert_quiet();

    reply(q.id, &(struct says){.key = 5, .exp_in = 3600}, NOW);
    t = post(REF);
    assert_int_equal(t.err, PEP_OK);
    assert_int_equal(t.code, CODE(2, 1));
    assert_int_equal(t.wait, 0);
    assert_string_equal(t.authority, "home-as");
    uint64_t grant = t.grant;
    pep_settle(pep);

    struct pep_session *s = open_kid(5);
    struct pep_decision d = get(s, NOW);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_true(d.grant == grant && d.ends_s == NOW + 3600);
    assert_int_equal(get(s, NOW + 59).outcome, PEP_FORWARD);
    assert_int_equal(get_at(s, "/door/x", DOOR, BYTES_NONE, NOW).code, CODE(4, 3));
    assert_quiet();

    /* No longer fresh: asked once, however many wait; then it counts on. */
    d = get(s, NOW + 60);
    assert_int_equal(d.outcome, PEP_WAIT);
    assert_true(d.wait != 0);
    assert_true(get(s, NOW + 60).wait == d.wait);
    /* What it would not permit anyway is denied without asking. */
    assert_int_equal(get_at(s, "/door/x", DOOR, BYTES_NONE, NOW + 60).outcome, PEP_DENY);
    q = asked();
    assert_true(q.id == d.wait);
    reply(q.id, &(struct says){.key = 5, .exp_in = 3600}, NOW + 61);
    d = get(s, NOW + 61);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_true(d.grant == grant); /* the same one */
    pep_settle(pep);
    assert_int_equal(get(s, NOW + 120).outcome, PEP_FORWARD);

    /* Its scope changes at the server. */
    assert_int_equal(get(s, NOW + 130).outcome, PEP_WAIT);
    reply(asked().id, &(struct says){.key = 5, .scope = "lights_w"}, NOW + 130);
    d = get(s, NOW + 130);
    assert_int_equal(d.outcome, PEP_DENY);
    assert_int_equal(d.code, CODE(4, 5));
    pep_settle(pep);
    pep_session_close(s);
}

static void reference_ends(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct says says;
        bool away;
        enum pep_outcome outcome;
        uint8_t code;
        uint64_t left;
    } rows[] = {
        {"active", {.key = 5}, false, PEP_FORWARD, 0, 1},
        {"away", {.key = 5}, true, PEP_DENY, CODE(5, 3), 1},
        {"inactive", {.inactive = true}, false, PEP_DENY, CODE(4, 1), 0},
        {"another key", {.key = 6}, false, PEP_DENY, CODE(4, 1), 0},
        {"no key", {.key = 0}, false, PEP_DENY, CODE(4, 1), 0},
        {"expired", {.key = 5, .exp_in = 60}, false, PEP_DENY, CODE(4, 1), 0},
        {"another issuer", {.key = 5, .iss = "coaps://visitors"}, false, PEP_DENY, CODE(4, 1), 0},
        {"for another", {.key = 5, .aud = "other"}, false, PEP_DENY, CODE(4, 1), 0},
        {"for nobody", {.key = 5, .aud = ""}, false, PEP_DENY, CODE(4, 1), 0},
        {"nothing known", {.key = 5, .scope = "unheard"}, false, PEP_DENY, CODE(4, 1), 0},
        {"beyond the authority", {.key = 5, .scope = "door_r"}, false, PEP_DENY, CODE(4, 1), 0},
        {"for the lamp only", {.key = 5, .aud = "lamp"}, false, PEP_FORWARD, 0, 1},
        {"for the door only", {.key = 5, .aud = "door"}, false, PEP_DENY, CODE(4, 3), 1},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct pep_stats st;
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
        policy(REFERENCES);
        assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
        struct pep_session *s = open_kid(5);
        assert_int_equal(get(s, NOW + 60).outcome, PEP_WAIT);
        if (rows[i].away)
            reply_away(asked().id, 7, NOW + 60);
        else
            reply(asked().id, &rows[i].says, NOW + 60);
        struct pep_decision d = get(s, NOW + 60);
        pep_settle(pep);
        pep_get_stats(pep, &st);
        if (d.outcome != rows[i].outcome || d.code != rows[i].code || st.grants != rows[i].left)
            fail_msg("%s: outcome %d, %u.%02u, %u grants left", rows[i].name, d.outcome,
                     d.code >> 5, d.code & 31u, (unsigned)st.grants);
        if (rows[i].away)
            assert_int_equal(d.retry_s, 7);
        /* What ended is gone for good, what was only away is asked again. */
        if (rows[i].left > 0 && rows[i].away) {
            assert_int_equal(get(s, NOW + 61).outcome, PEP_WAIT);
            (void)asked();
        }
        pep_session_close(s);
        if (rows[i].left == 0) {
            restart(REFERENCES);
            pep_get_stats(pep, &st);
            assert_int_equal(st.grants, 0);
        }
    }
}

static void reference_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct says says;
        enum pep_err want;
    } rows[] = {
        {"good", {.key = 5}, PEP_OK},
        {"inactive", {.inactive = true}, PEP_INACTIVE},
        {"expired: a wrong unit", {.key = 5, .exp_in = -NOW + 1795312}, PEP_EXPIRED},
        {"no key, no bearers", {.key = 0}, PEP_CONFIRMATION},
        {"no scope", {.key = 5, .scope = ""}, PEP_SCOPE},
        {"scope of nothing", {.key = 5, .scope = "unheard"}, PEP_SCOPE},
        {"no audience", {.key = 5, .aud = ""}, PEP_AUDIENCE},
        {"another audience", {.key = 5, .aud = "other"}, PEP_AUDIENCE},
        {"our issuer", {.key = 5, .iss = "coaps://as.home"}, PEP_OK},
        {"another issuer", {.key = 5, .iss = "coaps://visitors"}, PEP_ISSUER},
    };
    policy(REFERENCES);
    for (size_t i = 0; i < N(rows); i++) {
        char ref[32];
        snprintf(ref, sizeof ref, "reference number %zu", i);
        struct pep_taken t = post_answered(bytes_str(ref), &rows[i].says);
        if (t.err != rows[i].want || t.code != pep_err_code(rows[i].want))
            fail_msg("%s: %s", rows[i].name, pep_err_str(t.err));
    }
    /* An answer without aud is for whom the policy says. */
    policy(REFERENCES "    default-audience: lamp\n");
    assert_int_equal(post_answered(REF, &(struct says){.key = 7, .aud = ""}).err, PEP_OK);
    struct pep_session *s = open_kid(7);
    assert_int_equal(get(s, NOW).outcome, PEP_FORWARD);
    assert_int_equal(get_at(s, "/lamp/state", DOOR, BYTES_NONE, NOW).outcome, PEP_DENY);
    pep_session_close(s);
}

/* Nothing that is not an answer opens anything, or is remembered. */
static void nonsense(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct pep_reply r;
    } rows[] = {
        {"away", {.away = true}},
        {"4.00", {.code = CODE(4, 0), .content_format = 19}},
        {"4.01", {.code = CODE(4, 1), .content_format = 19}},
        {"4.03", {.code = CODE(4, 3), .content_format = -1}},
        {"5.00", {.code = CODE(5, 0), .content_format = -1}},
        {"empty", {.code = CODE(2, 1), .content_format = 19}},
        {"garbage", {.code = CODE(2, 1), .content_format = 19, .body = {(const uint8_t *)"x", 1}}},
        {"another format",
         {.code = CODE(2, 1), .content_format = 42, .body = {(const uint8_t *)"\xa1\x0a\xf5", 3}}},
        {"half",
         {.code = CODE(2, 1), .content_format = 19, .body = {(const uint8_t *)"\xa2\x0a\xf5", 3}}},
        {"no active",
         {.code = CODE(2, 1), .content_format = 19, .body = {(const uint8_t *)"\xa0", 1}}},
    };
    policy(REFERENCES);
    for (size_t i = 0; i < N(rows); i++) {
        assert_int_equal(post(REF).err, PEP_PENDING);
        pep_take_reply(pep, asked().id, &rows[i].r, NOW);
        struct pep_taken t = post(REF);
        if (t.err != PEP_AWAY || t.code != CODE(5, 3) || t.retry_s == 0)
            fail_msg("%s: %s", rows[i].name, pep_err_str(t.err));
        pep_settle(pep);
        assert_quiet();
    }
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
}

static void who_is_asked(void **state)
{
    (void)state;
    struct policy *p;
    /* Nobody can be asked: what it says is what it was. */
    assert_int_equal(post(REF).err, PEP_MALFORMED);
    policy(REFERENCES);
    assert_int_equal(post(BYTES_LIT("short")).err, PEP_MALFORMED);
    /* A token of a key that nobody has may be the server's own. */
    uint8_t raw[TOKEN_MAX], changed[TOKEN_MAX];
    struct bytes stray = house_mint(&house, &(struct minting){.key = 1, .stray = true}, raw);
    assert_int_equal(post(stray).err, PEP_PENDING);
    (void)asked();
    /* A forgery is one, and a good token needs nobody. */
    struct bytes good = house_mint(&house, &(struct minting){.cnf = KEY_PUBLIC, .key = 1}, raw);
    memcpy(changed, good.p, good.n);
    changed[good.n - 1] ^= 1;
    assert_int_equal(post(bytes_of(changed, good.n)).err, PEP_PROTECTION);
    assert_int_equal(post(good).err, PEP_OK);
    assert_quiet();
    /* Two that could be asked: neither is, unless the request is for a device
     * of one of them. */
    char text[8192];
    struct buf diag = buf_on(text, sizeof text - 1);
    snprintf(text, sizeof text, "%s", house_policy_text);
    char *whole = malloc(16384), *at = strstr(text, HOME_KEYS);
    char *second = strstr(text, "keys: visitor-as.keys\n");
    snprintf(whole, 16384, "%.*s%s%.*s%s%s%s", (int)(at - text), text, REFERENCES,
             (int)(second - at - (int)strlen(HOME_KEYS)), at + strlen(HOME_KEYS),
             "keys: visitor-as.keys\n", "    introspect: {url: coap://127.0.0.1/i}\n",
             second + strlen("keys: visitor-as.keys\n"));
    diag.n = 0;
    p = policy_load("policy.yaml", bytes_str(whole), "0123456789abcdef", &diag);
    assert_non_null(p);
    assert_true(pep_load(pep, p, house.dir, NOW, &diag));
    policy_unref(p);
    free(whole);
    assert_int_equal(post(REF).err, PEP_MALFORMED);
    assert_quiet();
    struct pep_proof proof;
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), &lan, NOW, &proof), PEP_KEY_FOUND);
    struct pep_session *s = pep_session_open(pep, &proof);
    assert_int_equal(get_at(s, "/door/x", DOOR, REF, NOW).outcome, PEP_WAIT);
    assert_int_equal(asked().authority, VISITOR);
    assert_int_equal(get_at(s, "/lamp/x", LAMP, REF, NOW).outcome, PEP_WAIT);
    assert_int_equal(asked().authority, HOME);
    assert_int_equal(get_at(s, "/meter/x", METER, BYTES_LIT("of nobody's device"), NOW).outcome,
                     PEP_DENY);
    assert_quiet();
    pep_session_close(s);
}

static void wrapped_reference(void **state)
{
    (void)state;
    static const uint8_t good[] = "\x49reference";
    struct bytes wrapped = bytes_of(good, 10);
    policy(REFERENCES);
    struct pep_taken t = post(wrapped);
    assert_int_equal(t.err, PEP_PENDING);
    struct pep_question q = asked();
    assert_int_equal(q.body.p[2], 0x4a); /* ten bytes */
    reply(q.id, &(struct says){.inactive = true}, NOW);
    /* Not known so: asked once more, by what is inside; they wait on. */
    struct pep_taken again = post(wrapped);
    assert_int_equal(again.err, PEP_PENDING);
    assert_true(again.wait != t.wait);
    pep_settle(pep);
    q = asked();
    assert_true(q.id == again.wait);
    assert_int_equal(q.body.p[2], 0x49); /* nine */
    assert_memory_equal(q.body.p + 3, "reference", 9);
    reply(q.id, &(struct says){.key = 5}, NOW);
    assert_int_equal(post(wrapped).err, PEP_OK);
    pep_settle(pep);
    assert_quiet();
}

static void client_token(void **state)
{
    (void)state;
    policy(OLD_WORDS);
    struct pep_taken t =
        post_answered(REF, &(struct says){.key = 5, .old = true, .client_token = "for the client"});
    assert_int_equal(t.err, PEP_OK);
    assert_true(bytes_equal_str(t.client_token, "for the client"));
    assert_int_equal(t.client_token_format, PEP_FORMAT_CBOR);
}

static void bearer_by_answer(void **state)
{
    (void)state;
    policy(REFERENCES);
    struct pep_taken t = post_answered(BYTES_LIT("bearer denied"), &(struct says){.key = 0});
    assert_int_equal(t.err, PEP_CONFIRMATION);
    assert_true(house_reload(&house, pep, HOME_KEYS "    bearer: deny\n",
                             HOME_KEYS "    " WIRE "}\n    bearer: allow\n"));
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
    struct pep_session *s = open_kid(5);
    struct bytes ref = BYTES_LIT("another reference");
    assert_int_equal(post_at(s, ref, NOW).err, PEP_PENDING);
    reply(asked().id, &(struct says){.scope = "lights_w"}, NOW);
    assert_int_equal(post_at(s, ref, NOW).err, PEP_OK);
    pep_settle(pep);
    /* It counts on this association, while the answer holds; and is then asked
     * about for what only it permits. */
    struct request r = house_request(3, "/lamp/state", LAMP);
    struct pep_decision d;
    pep_authorize(pep, s, &r, NOW, &d);
    assert_int_equal(d.outcome, PEP_FORWARD);
    pep_authorize(pep, s, &r, NOW + 60, &d);
    assert_int_equal(d.outcome, PEP_WAIT);
    reply(asked().id, &(struct says){.scope = "lights_w"}, NOW + 60);
    pep_authorize(pep, s, &r, NOW + 60, &d);
    assert_int_equal(d.outcome, PEP_FORWARD);
    pep_settle(pep);
    pep_session_close(s);
}

/* ---- both: verified and asked ---- */

static void always(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    policy(ALWAYS);
    struct bytes token =
        house_mint(&house, &(struct minting){.key = 5, .scope = "lights_r lights_w"}, raw);
    static const struct {
        const char *name;
        struct says says;
        enum pep_err want;
    } rows[] = {
        {"inactive", {.inactive = true}, PEP_INACTIVE},
        {"another key", {.key = 6}, PEP_CONFIRMATION},
        {"nothing in common", {.scope = "night"}, PEP_SCOPE},
        {"for another", {.aud = "lamp"}, PEP_AUDIENCE},
        {"of another", {.iss = "coaps://visitors"}, PEP_ISSUER},
        {"expired", {.exp_in = -1}, PEP_EXPIRED},
        {"less", {.key = 5, .scope = "lights_r"}, PEP_OK},
    };
    for (size_t i = 0; i < N(rows); i++) {
        int64_t now_s = NOW + (int64_t)i * 10;
        assert_int_equal(post_at(NULL, token, now_s).err, PEP_PENDING);
        reply(asked().id, &rows[i].says, now_s);
        struct pep_taken t = post_at(NULL, token, now_s);
        pep_settle(pep);
        if (t.err != rows[i].want)
            fail_msg("%s: %s", rows[i].name, pep_err_str(t.err));
        struct pep_stats st;
        /* a good answer that the judgement refuses is kept; start afresh */
        pep_get_stats(pep, &st);
        policy(HOME_KEYS);
        policy(ALWAYS);
        if (rows[i].want == PEP_OK)
            assert_int_equal(st.grants, 1);
    }
    struct pep_proof proof;
    assert_int_equal(find_kid(5, NOW + 60, &proof), PEP_KEY_WAIT);
    reply(asked().id, &(struct says){.key = 5, .scope = "lights_r"}, NOW + 60);
    assert_int_equal(find_kid(5, NOW + 60, &proof), PEP_KEY_FOUND);
    pep_settle(pep);
    struct pep_session *s = pep_session_open(pep, &proof);
    assert_int_equal(get(s, NOW + 60).outcome, PEP_FORWARD);
    struct request r = house_request(3, "/lamp/state", LAMP);
    struct pep_decision d;
    pep_authorize(pep, s, &r, NOW + 60, &d);
    assert_int_equal(d.outcome, PEP_DENY); /* the token says so, its server no more */
    /* At a start the token is verified here, and counts when it was asked about. */
    pep_session_close(s);
    restart(ALWAYS);
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_WAIT);
    assert_true(proof.wait != 0);
    reply(asked().id, &(struct says){.key = 5, .scope = "lights_r"}, NOW);
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_FOUND);
    pep_settle(pep);
    /* With the server out of the policy the token stands for itself. */
    policy(HOME_KEYS);
    assert_int_equal(find_kid(5, NOW + 1000, &proof), PEP_KEY_FOUND);
    assert_quiet();
}

/* ---- the cache ---- */

static void no_cache(void **state)
{
    (void)state;
    policy(NO_CACHE);
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
    struct pep_proof proof;
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_WAIT);
    reply(asked().id, &(struct says){.key = 5}, NOW);
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_FOUND);
    pep_settle(pep);
    struct pep_session *s = pep_session_open(pep, &proof);
    for (int i = 0; i < 3; i++) {
        struct pep_decision d = get(s, NOW);
        assert_int_equal(d.outcome, PEP_WAIT);
        assert_true(get(s, NOW).wait == d.wait);
        reply(asked().id, &(struct says){.key = 5}, NOW);
        /* all that waited, also those a second later */
        assert_int_equal(get(s, NOW).outcome, PEP_FORWARD);
        assert_int_equal(get(s, NOW + 1).outcome, PEP_FORWARD);
        pep_settle(pep);
    }
    /* And inactive ones are not remembered either. */
    assert_int_equal(post(BYTES_LIT("inactive one")).err, PEP_PENDING);
    reply(asked().id, &(struct says){.inactive = true}, NOW);
    assert_int_equal(post(BYTES_LIT("inactive one")).err, PEP_INACTIVE);
    pep_settle(pep);
    assert_int_equal(post(BYTES_LIT("inactive one")).err, PEP_PENDING);
    pep_session_close(s);
}

/* While the gate takes up who waited for one answer, another one that is over
 * is over, and one that came with it is not (the time does not pass). */
static void over_while_another_comes(void **state)
{
    (void)state;
    policy(REFERENCES);
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
    struct pep_session *s = open_kid(5);
    assert_int_equal(post_at(NULL, BYTES_LIT("another one"), NOW + 60).err, PEP_PENDING);
    reply(asked().id, &(struct says){.key = 6}, NOW + 60);
    assert_int_equal(post_at(NULL, BYTES_LIT("another one"), NOW + 60).err, PEP_OK);
    assert_int_equal(get(s, NOW + 60).outcome, PEP_WAIT);
    assert_int_equal(post_at(NULL, BYTES_LIT("another one"), NOW + 121).err, PEP_OK);
    pep_settle(pep);
    assert_int_equal(post_at(NULL, BYTES_LIT("another one"), NOW + 121).err, PEP_PENDING);
    pep_session_close(s);
}

/* Another server is asked anew, whatever the one before said last. */
static void another_server(void **state)
{
    (void)state;
    policy(REFERENCES);
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
    struct pep_session *s = open_kid(5);
    policy(REFERENCES);
    assert_int_equal(get(s, NOW).outcome, PEP_FORWARD);
    policy(HOME_KEYS "    introspect: {url: coaps://as2.home/introspect, "
                     "psk: {identity: gw, key-file: gw.psk}}\n");
    assert_int_equal(get(s, NOW).outcome, PEP_WAIT);
    reply(asked().id, &(struct says){.inactive = true}, NOW);
    assert_int_equal(get(s, NOW).outcome, PEP_DENY);
    pep_settle(pep);
    pep_session_close(s);
}

/* The table of grants is swept in the middle of a post. The answer that the
 * post rests on is there until it is settled, also when nothing is kept. */
static void swept_meanwhile(void **state)
{
    (void)state;
    policy(HOME_KEYS "    dialect: ace-07\n    " WIRE ", cache: 0}\n");
    for (uint8_t i = 10; i < 74; i++) {
        uint8_t token[TOKEN_MAX];
        struct minting m = {.as = VISITOR, .key = i, .exp_in = 60};
        m.cnf = KEY_PUBLIC;
        assert_int_equal(post(house_mint(&house, &m, token)).err, PEP_OK);
    }
    const struct says says = {.key = 5, .old = true, .client_token = "for the poster"};
    assert_int_equal(post_at(NULL, REF, NOW + 60).err, PEP_PENDING);
    reply(asked().id, &says, NOW + 60);
    struct pep_taken t = post_at(NULL, REF, NOW + 60);
    assert_int_equal(t.err, PEP_OK);
    assert_true(bytes_equal_str(t.client_token, "for the poster"));
    /* Who else waited finds it too. */
    assert_int_equal(post_at(NULL, REF, NOW + 60).err, PEP_OK);
    (void)pep_expire(pep, NOW + 61);
    assert_int_equal(post_at(NULL, REF, NOW + 61).err, PEP_OK);
    pep_settle(pep);
    assert_int_equal(post_at(NULL, REF, NOW + 61).err, PEP_PENDING);
}

static void inactive_shortly(void **state)
{
    (void)state;
    policy(REFERENCES);
    assert_int_equal(post_answered(REF, &(struct says){.inactive = true}).err, PEP_INACTIVE);
    assert_int_equal(post_at(NULL, REF, NOW + 4).err, PEP_INACTIVE);
    assert_quiet();
    assert_int_equal(post_at(NULL, REF, NOW + ANSWERS_INACTIVE_S).err, PEP_PENDING);
    reply_away(asked().id, 0, NOW + 5);
    pep_settle(pep);
    /* Strangers' garbage takes nothing from the good: more of it than there is
     * room for, and the good answer still holds. */
    assert_int_equal(post_answered(BYTES_LIT("a good one"), &(struct says){.key = 5}).err, PEP_OK);
    for (int i = 0; i < ANSWERS_KEPT_MAX + ANSWERS_INACTIVE_MAX + 10; i++) {
        char ref[32];
        snprintf(ref, sizeof ref, "garbage number %d", i);
        (void)post_answered(bytes_str(ref), &(struct says){.inactive = true});
    }
    assert_int_equal(post(BYTES_LIT("a good one")).err, PEP_OK);
    assert_quiet();
}

static void away_but_fresh(void **state)
{
    (void)state;
    policy(REFERENCES);
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
    struct pep_session *s = open_kid(5);
    assert_int_equal(post(BYTES_LIT("another one")).err, PEP_PENDING);
    reply_away(asked().id, 30, NOW);
    struct pep_taken t = post(BYTES_LIT("another one"));
    assert_int_equal(t.err, PEP_AWAY);
    assert_int_equal(t.retry_s, 30);
    pep_settle(pep);
    assert_int_equal(post(BYTES_LIT("another one")).err, PEP_PENDING);
    reply_away(asked().id, UINT32_MAX, NOW);
    t = post(BYTES_LIT("another one"));
    assert_int_equal(t.retry_s, ANSWERS_RETRY_MAX_S);
    pep_settle(pep);
    assert_int_equal(get(s, NOW + 59).outcome, PEP_FORWARD);
    /* A clock that goes back makes nothing last longer. */
    assert_int_equal(get(s, NOW - 1).outcome, PEP_WAIT);
    pep_session_close(s);
}

/* ---- bounds ---- */

static void caps(void **state)
{
    (void)state;
    struct pep_question q;
    struct pep_taken t;
    size_t taken = 0;
    policy(REFERENCES);
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
    struct pep_session *s = open_kid(5);
    for (unsigned net = 0; net < 20; net++) {
        for (unsigned i = 0; i < ANSWERS_PER_NET_MAX + 1; i++) {
            struct policy_peer from = {4, {10, 0, (uint8_t)net, (uint8_t)i}};
            char ref[40];
            snprintf(ref, sizeof ref, "reference %u of %u", i, net);
            pep_take_token(pep, NULL, &from, bytes_str(ref), -1, NOW, &t);
            bool fits = i < ANSWERS_PER_NET_MAX && taken < ANSWERS_STRANGERS_MAX;
            assert_int_equal(t.err, fits ? PEP_PENDING : PEP_BUSY);
            taken += fits;
        }
        assert_int_equal(t.code, CODE(4, 29));
        assert_true(t.retry_s > 0);
    }
    assert_int_equal(taken, ANSWERS_STRANGERS_MAX);
    /* What a client holds is still asked about. */
    assert_int_equal(get(s, NOW + 60).outcome, PEP_WAIT);
    size_t n = 0;
    while (pep_next_question(pep, NOW, &q))
        n++;
    assert_int_equal(n, ANSWERS_STRANGERS_MAX + 1);
    /* In IPv6 a /56 is one network. */
    for (unsigned i = 0; i < 2; i++) {
        struct policy_peer a = {6, {0x20, 1, 0xd, 0xb8, 0, 0, 1, (uint8_t)i}};
        pep_take_token(pep, NULL, &a, BYTES_LIT("one more of these"), -1, NOW, &t);
        assert_int_equal(t.err, PEP_BUSY);
    }
    struct pep_stats st;
    pep_get_stats(pep, &st);
    assert_int_equal(st.under_way, ANSWERS_STRANGERS_MAX + 1);
    pep_session_close(s);
}

/* ---- handshakes ---- */

static void handshakes(void **state)
{
    (void)state;
    struct pep_proof proof;
    policy(REFERENCES);
    assert_int_equal(pep_find_psk(pep, REF, &lan, NOW, &proof), PEP_KEY_WAIT);
    uint64_t wait = proof.wait;
    assert_true(wait != 0);
    assert_int_equal(pep_find_psk(pep, REF, &lan, NOW, &proof), PEP_KEY_WAIT);
    assert_true(proof.wait == wait);
    reply(asked().id, &(struct says){.key = 5}, NOW);
    assert_int_equal(pep_find_psk(pep, REF, &lan, NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(proof.kind, PEP_IDENTITY_TOKEN);
    assert_int_equal(proof.key_n, 16);
    pep_settle(pep);
    /* The kid waits when the answer no longer holds. */
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(find_kid(5, NOW + 60, &proof), PEP_KEY_WAIT);
    reply_away(asked().id, 0, NOW + 60);
    assert_int_equal(find_kid(5, NOW + 60, &proof), PEP_KEY_NONE);
    assert_int_equal(proof.err, PEP_AWAY);
    assert_int_equal(proof.wait, 0);
    pep_settle(pep);
    assert_int_equal(find_kid(5, NOW + 60, &proof), PEP_KEY_WAIT);
    reply(asked().id, &(struct says){.inactive = true}, NOW + 60);
    assert_int_equal(find_kid(5, NOW + 60, &proof), PEP_KEY_NONE);
    pep_settle(pep);
    /* Nobody is asked about names, and unknown kids. */
    assert_int_equal(find_kid(9, NOW, &proof), PEP_KEY_NONE);
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t8"), &lan, NOW, &proof), PEP_KEY_NONE);
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), &lan, NOW, &proof), PEP_KEY_FOUND);
    assert_quiet();
}

/* ---- the Access-Token option ---- */

static void option(void **state)
{
    (void)state;
    struct pep_proof proof;
    policy(REFERENCES);
    assert_int_equal(post_answered(REF, &(struct says){.key = 5, .aud = "door"}).err, PEP_OK);
    struct pep_session *s = open_kid(5);
    struct bytes ref = BYTES_LIT("of this request");
    struct pep_decision d = get_at(s, "/lamp/state", LAMP, ref, NOW);
    assert_int_equal(d.outcome, PEP_WAIT);
    assert_true(get_at(s, "/lamp/state", LAMP, ref, NOW).wait == d.wait);
    reply(asked().id, &(struct says){.key = 5}, NOW);
    d = get_at(s, "/lamp/state", LAMP, ref, NOW);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_true(pep_basis_holds(pep, s, &d.basis, NOW));
    pep_settle(pep);
    assert_int_equal(get_at(s, "/lamp/state", LAMP, ref, NOW + 59).outcome, PEP_FORWARD);
    assert_int_equal(get_at(s, "/lamp/state", LAMP, BYTES_NONE, NOW).outcome, PEP_DENY);
    /* Another's key. */
    struct bytes theirs = BYTES_LIT("of someone else");
    assert_int_equal(get_at(s, "/lamp/state", LAMP, theirs, NOW).outcome, PEP_WAIT);
    reply(asked().id, &(struct says){.key = 6}, NOW);
    assert_int_equal(get_at(s, "/lamp/state", LAMP, theirs, NOW).outcome, PEP_DENY);
    pep_settle(pep);
    /* The door sends its clients to another authority, who is not asked. */
    d = get_at(s, "/door/x", DOOR, BYTES_LIT("for the door now"), NOW);
    assert_int_equal(d.outcome, PEP_DENY);
    assert_quiet();
    /* Away, and too many. */
    assert_int_equal(get_at(s, "/lamp/state", LAMP, BYTES_LIT("unheard of"), NOW).outcome,
                     PEP_WAIT);
    reply_away(asked().id, 9, NOW);
    d = get_at(s, "/lamp/state", LAMP, BYTES_LIT("unheard of"), NOW);
    assert_true(d.outcome == PEP_DENY && d.code == CODE(5, 3) && d.retry_s == 9);
    pep_settle(pep);
    /* A stranger's token is nobody's. */
    assert_int_equal(get_at(NULL, "/lamp/state", LAMP, BYTES_LIT("no association"), NOW).outcome,
                     PEP_DENY);
    assert_quiet();
    (void)proof;
    pep_session_close(s);
}

/* ---- start and reload ---- */

static void sleeps(void **state)
{
    (void)state;
    struct pep_proof proof;
    struct pep_stats st;
    policy(REFERENCES);
    struct pep_taken t = post_answered(REF, &(struct says){.key = 5, .exp_in = 3600});
    assert_int_equal(t.err, PEP_OK);
    restart(REFERENCES);
    pep_get_stats(pep, &st);
    assert_int_equal(st.grants, 1);
    assert_quiet(); /* not before someone comes for it */
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_WAIT);
    reply_away(asked().id, 0, NOW);
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_NONE);
    pep_settle(pep);
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_WAIT);
    reply(asked().id, &(struct says){.key = 5, .exp_in = 3600}, NOW);
    assert_int_equal(find_kid(5, NOW, &proof), PEP_KEY_FOUND);
    pep_settle(pep);
    struct pep_session *s = pep_session_open(pep, &proof);
    struct pep_decision d = get(s, NOW);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_true(d.grant == t.grant);
    pep_session_close(s);
    /* An authority that can no longer be asked has no more references. */
    restart(HOME_KEYS);
    pep_get_stats(pep, &st);
    assert_int_equal(st.grants, 0);
}

static void reload(void **state)
{
    (void)state;
    struct pep_stats st;
    policy(REFERENCES);
    assert_int_equal(post_answered(REF, &(struct says){.key = 5}).err, PEP_OK);
    struct pep_session *s = open_kid(5);
    /* The same again: answers hold, and those who wait wait on. */
    struct pep_taken t = post(BYTES_LIT("under way now"));
    struct pep_question q = asked();
    policy(REFERENCES);
    assert_int_equal(get(s, NOW + 59).outcome, PEP_FORWARD);
    assert_true(post(BYTES_LIT("under way now")).wait == t.wait);
    /* A shorter cache counts at once. */
    policy(HOME_KEYS "    " WIRE ", cache: 10s}\n");
    assert_int_equal(get(s, NOW + 9).outcome, PEP_FORWARD);
    assert_int_equal(get(s, NOW + 10).outcome, PEP_WAIT);
    reply_away(asked().id, 0, NOW + 10);
    pep_settle(pep);
    /* Another server: what was asked of the old one is nobody's. */
    policy(HOME_KEYS "    introspect: {url: coap://127.0.0.1/introspect}\n");
    reply(q.id, &(struct says){.key = 6}, NOW);
    t = post(BYTES_LIT("under way now"));
    assert_int_equal(t.err, PEP_PENDING);
    assert_true(t.wait != q.id);
    pep_settle(pep);
    reply(asked().id, &(struct says){.key = 6}, NOW);
    assert_int_equal(post(BYTES_LIT("under way now")).err, PEP_OK);
    pep_settle(pep);
    /* Nobody to ask: its grants end, and so do its answers. */
    policy(HOME_KEYS);
    pep_get_stats(pep, &st);
    assert_int_equal(st.grants, 0);
    assert_int_equal(post(REF).err, PEP_MALFORMED);
    assert_int_equal(get(s, NOW).outcome, PEP_DENY);
    pep_session_close(s);
}

static void beyond(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    struct pep_taken t = post(
        house_mint(&house, &(struct minting){.key = 5, .scope = "lights_r door_r all_w"}, raw));
    assert_int_equal(t.err, PEP_OK);
    assert_int_equal(t.n_beyond, 2);
    assert_string_equal(t.beyond, "door_r");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(reference_posted),
        T(reference_ends),
        T(reference_refused),
        T(nonsense),
        T(who_is_asked),
        T(wrapped_reference),
        T(client_token),
        T(bearer_by_answer),
        T(always),
        T(no_cache),
        T(over_while_another_comes),
        T(another_server),
        T(swept_meanwhile),
        T(inactive_shortly),
        T(away_but_fresh),
        T(caps),
        T(handshakes),
        T(option),
        T(sleeps),
        T(reload),
        T(beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
