/* A limit that is added to a policy never grants more: on random policies, and
 * on random traffic.
 *
 * Of one request it is said by the verdict: what is permitted with the limit is
 * permitted without it, and what is permitted at any rate was before. Of many
 * it can only be said of their number: who was refused once has more left for
 * later. With several ways to permit a request even that may be one or the
 * other, since the first way with room is taken; then each count must hold.
 *
 * The seed is printed when a case fails; run with it as argument to repeat. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/rate.h"

enum { POLICIES = 400, QUESTIONS = 60, ROLES = 3, RULES = 3, REQUESTS = 400 };

static uint64_t seed = 20260101, random_state;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1du) >> 33) % below;
}

static bool chance(uint32_t percent)
{
    return rnd(100) < percent;
}

/* ---- policies, as text with a place for one more limit ---- */

struct written {
    char s[4096];
    size_t n;
};

static void __attribute__((format(printf, 2, 3))) put(struct written *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < sizeof t->s - t->n);
    t->n += (size_t)n;
}

static const char *const units[] = {"s", "min", "h"};

struct rule_text {
    char plain[96], limit[3][48]; /* rate, size, formats; empty: none */
};

static void random_limit(struct rule_text *r, int which)
{
    char *to = r->limit[which];
    if (which == 0)
        (void)snprintf(to, 48, ", rate: %u/%s", 1 + rnd(5), units[rnd(3)]);
    else if (which == 1)
        (void)snprintf(to, 48, ", max-payload: %u", rnd(40));
    else
        (void)snprintf(to, 48, ", formats: [%s]", rnd(2) ? "50" : "0, 60");
}

struct plain {
    struct rule_text rules[ROLES][RULES];
    char rate[ROLES][32];
    bool includes[ROLES][ROLES];
};

static struct plain random_policy(void)
{
    static const char *const paths[] = {"/a", "/a/**", "/*", "/b"};
    struct plain p = {0};
    for (int r = 0; r < ROLES; r++) {
        for (int k = 0; k < r; k++)
            p.includes[r][k] = chance(40);
        if (chance(30))
            (void)snprintf(p.rate[r], 32, "    rate: %u/min\n", 1 + rnd(9));
        for (int k = 0; k < RULES; k++) {
            (void)snprintf(p.rules[r][k].plain, 96, "path: %s, methods: [%s]", paths[rnd(4)],
                           chance(50) ? "GET, PUT" : "PUT");
            for (int w = 0; w < 3; w++)
                if (chance(25))
                    random_limit(&p.rules[r][k], w);
        }
    }
    return p;
}

/* One limit more, where there is none yet. */
static struct plain with_one_more(struct plain p)
{
    int r = (int)rnd(ROLES), k = (int)rnd(RULES), w = (int)rnd(3);
    if (chance(20) && !p.rate[r][0])
        (void)snprintf(p.rate[r], 32, "    rate: %u/min\n", 1 + rnd(9));
    else if (!p.rules[r][k].limit[w][0])
        random_limit(&p.rules[r][k], w);
    return p;
}

static struct policy *load(const struct plain *p)
{
    static char text[2048];
    struct written t = {.n = 0};
    struct buf diag = buf_on(text, sizeof text);
    put(&t, "version: 1\nroles:\n");
    for (int r = 0; r < ROLES; r++) {
        put(&t, "  r%d:\n%s    includes: [", r, p->rate[r]);
        for (int k = 0, first = 1; k < ROLES; k++)
            if (p->includes[r][k]) {
                put(&t, "%sr%d", first ? "" : ", ", k);
                first = 0;
            }
        put(&t, "]\n    permit:\n");
        for (int k = 0; k < RULES; k++) {
            const struct rule_text *rule = &p->rules[r][k];
            put(&t, "      - {%s%s%s%s}\n", rule->plain, rule->limit[0], rule->limit[1],
                rule->limit[2]);
        }
    }
    struct policy *out = policy_load("p", bytes_of(t.s, t.n), "0", &diag);
    if (!out)
        fail_msg("%s%.*s", t.s, (int)diag.n, text);
    return out;
}

static struct policy_grant *grant(struct policy *p, unsigned roles)
{
    static const char *const names[] = {"r0", "r1", "r2"};
    struct bytes held[ROLES];
    size_t n = 0;
    for (int r = 0; r < ROLES; r++)
        if (roles >> r & 1)
            held[n++] = bytes_str(names[r]);
    struct policy_claims c = {.authority = -1, .roles = held, .n_roles = n};
    struct policy_grant *g = policy_grant_new(p, &c, NULL);
    assert_non_null(g);
    return g;
}

struct asked {
    struct bytes seg[2];
    struct policy_question q;
    unsigned roles;
};

static struct asked random_question(void)
{
    static const int32_t formats[] = {-1, 0, 50, 60, 42};
    struct asked a = {.seg = {bytes_str(chance(70) ? "a" : "b"), bytes_str("x")},
                      .roles = 1 + rnd(7)};
    a.q = (struct policy_question){.method = chance(50) ? 1 : 3,
                                   .n_path = chance(70) ? 1 : 2,
                                   .payload_n = chance(60) ? rnd(50) : 0,
                                   .content_format = formats[rnd(5)]};
    return a;
}

static struct policy_decision judge(struct policy *p, const struct asked *a)
{
    struct policy_decision d;
    struct policy_grant *g = grant(p, a->roles);
    struct policy_holding h = {.grant = g, .covers = true, .strength = POLICY_STRENGTH_PSK};
    struct policy_question q = a->q;
    q.path = a->seg;
    q.held = &h;
    q.n_held = 1;
    policy_decide(p, &q, &d);
    policy_grant_free(g);
    return d;
}

static void the_verdict(void **state)
{
    (void)state;
    size_t narrowed = 0, refused = 0;
    random_state = seed;
    for (int i = 0; i < POLICIES; i++) {
        struct plain wide = random_policy(), narrow = with_one_more(wide);
        struct policy *a = load(&wide), *b = load(&narrow);
        for (int k = 0; k < QUESTIONS; k++) {
            struct asked asked = random_question();
            struct policy_decision x = judge(a, &asked), y = judge(b, &asked);
            bool more = y.verdict == POLICY_PERMIT &&
                        (x.verdict != POLICY_PERMIT || (y.n_offers == 0 && x.n_offers > 0));
            if (more)
                fail_msg("seed %llu, policy %d, question %d", (unsigned long long)seed, i, k);
            refused += y.verdict != x.verdict;
            narrowed += y.verdict == x.verdict && y.n_offers > 0 && x.n_offers == 0;
        }
        policy_unref(a);
        policy_unref(b);
    }
    assert_true(refused > 50 && narrowed > 50); /* the random is worth something */
}

/* ---- traffic ---- */

static struct policy_rate random_rate(const char *name)
{
    static const uint32_t per[] = {1, 60, 3600};
    struct policy_rate r = {.count = 1 + rnd(6), .per_s = per[rnd(3)]};
    policy_rate_name(&r, "rule", bytes_str(name), BYTES_NONE);
    return r;
}

/* One way: never more have passed, at any time, with one rate more. */
static void the_number(void **state)
{
    (void)state;
    random_state = seed;
    for (int i = 0; i < 300; i++) {
        struct policy_rate first = random_rate("a"), more = random_rate("b");
        struct pep_offer wide = {
            .n_rates = 1, .rates = {&first}, .who = {BYTES_LIT("as"), BYTES_LIT("ann")}};
        struct pep_offer narrow = wide;
        narrow.rates[narrow.n_rates++] = &more;
        struct rates *a = rates_new(64, (struct siphash_key){1, 2});
        struct rates *b = rates_new(64, (struct siphash_key){1, 2});
        size_t with = 0, without = 0;
        uint64_t now = 0;
        for (int k = 0; k < REQUESTS; k++) {
            struct rate_answer answer;
            struct rate_taken taken;
            now += chance(70) ? rnd(1000000) : rnd(100) * UINT64_C(1000000);
            rates_take(a, &wide, 1, NULL, now, &answer, &taken);
            without += answer.verdict == RATE_TAKEN;
            rates_take(b, &narrow, 1, NULL, now, &answer, &taken);
            with += answer.verdict == RATE_TAKEN;
            if (with > without)
                fail_msg("seed %llu, case %d, request %d", (unsigned long long)seed, i, k);
        }
        rates_free(a);
        rates_free(b);
    }
}

/* Several ways: whatever was taken, each count holds by itself. */
static void each_count(void **state)
{
    (void)state;
    enum { N = 4 };
    static const char *const names[N] = {"a", "b", "c", "d"};
    random_state = seed;
    for (int i = 0; i < 200; i++) {
        struct policy_rate rates[N];
        size_t taken_of[N] = {0};
        for (int k = 0; k < N; k++)
            rates[k] = random_rate(names[k]);
        struct rates *t = rates_new(256, (struct siphash_key){3, 4});
        uint64_t now = 0;
        for (int k = 0; k < REQUESTS; k++) {
            struct pep_offer ways[3];
            int of[3][2];
            for (int w = 0; w < 3; w++) {
                of[w][0] = (int)rnd(N);
                of[w][1] = (of[w][0] + 1 + (int)rnd(N - 1)) % N;
                ways[w] = (struct pep_offer){.n_rates = 2,
                                             .rates = {&rates[of[w][0]], &rates[of[w][1]]},
                                             .who = {BYTES_LIT("as"), BYTES_LIT("ann")}};
            }
            struct rate_answer answer;
            struct rate_taken taken;
            now += rnd(3000000);
            rates_take(t, ways, 3, NULL, now, &answer, &taken);
            for (int w = 0; answer.verdict == RATE_TAKEN && w < 2; w++)
                taken_of[of[answer.offer][w]]++;
            for (int w = 0; w < N; w++)
                if (taken_of[w] >
                    rates[w].count + now * rates[w].count / (rates[w].per_s * UINT64_C(1000000)))
                    fail_msg("seed %llu, case %d, request %d, rate %d", (unsigned long long)seed, i,
                             k, w);
        }
        rates_free(t);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_verdict), cmocka_unit_test(the_number),
                                       cmocka_unit_test(each_count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
