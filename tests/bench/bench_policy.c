/* What a decision costs, and how that grows with the number of rules: one
 * process, the sizes in turn, ratios to the smallest. Not a test: numbers for
 * people, and an exit code by the goal (100,000 rules at most 1.2 times
 * what 10 cost, a decision under 1 us).
 *
 *   bench_policy [RULES]
 *
 * Shapes: rules on paths of their own (children of one node), all on one path
 * for different roles, and nested under `*`. The questions are the same five
 * paths in every size, as a client's are: what grows is what lies around. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../policy/policy.h"

enum { ROUNDS = 9, TURNS = 20000 };

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

enum shape { CHILDREN, SAME_PATH, STARS, N_SHAPES };
static const char *const shapes[] = {"children of one node", "roles on one path", "under stars"};

static struct policy *make(enum shape shape, size_t rules, double *load_ms)
{
    size_t cap = rules * 160 + 1024, n = 0;
    char *text = malloc(cap);
    static char diag[4096];
    struct buf b = buf_on(diag, sizeof diag);
    if (!text)
        abort();
    n += (size_t)snprintf(text, cap, "version: 1\nroles:\n");
    for (size_t i = 0; i < rules; i++) {
        n += (size_t)snprintf(text + n, cap - n, "  r%zu: {permit: [{path: ", i);
        if (shape == CHILDREN)
            n += (size_t)snprintf(text + n, cap - n, "/dev/d%zu/state", i);
        else if (shape == SAME_PATH)
            n += (size_t)snprintf(text + n, cap - n, "/dev/d7/state");
        else
            n += (size_t)snprintf(text + n, cap - n, "/dev/*/state/%zu/**", i);
        n += (size_t)snprintf(text + n, cap - n, ", methods: [GET, PUT]}]}\n");
    }
    double start = now_ns();
    struct policy *p = policy_load("bench.yaml", bytes_of(text, n), "0", &b);
    *load_ms = (now_ns() - start) / 1e6;
    if (!p)
        fprintf(stderr, "%.*s", (int)b.n, diag);
    free(text);
    return p;
}

static double measure(enum shape shape, size_t rules, double *load_ms)
{
    struct policy *p = make(shape, rules, load_ms);
    if (!p)
        exit(2);
    struct bytes roles[] = {BYTES_LIT("r1"), BYTES_LIT("r3"), BYTES_LIT("r7")};
    struct policy_claims c = {.authority = -1, .roles = roles, .n_roles = 3};
    struct policy_grant *g = policy_grant_new(p, &c, NULL);
    if (!g)
        exit(2);
    static const char *const names[] = {"d1", "d3", "d7", "d5", "nothing"};
    struct policy_holding held = {.grant = g, .covers = true, .strength = POLICY_STRENGTH_PSK};
    double best = 1e18;
    unsigned permits = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (unsigned i = 0; i < TURNS; i++) {
            struct bytes seg[] = {BYTES_LIT("dev"), bytes_str(names[i % 5]), BYTES_LIT("state"),
                                  BYTES_LIT("7"), BYTES_LIT("x")};
            struct policy_question q = {.method = 1,
                                        .path = seg,
                                        .n_path = shape == STARS ? 5 : 3,
                                        .held = &held,
                                        .n_held = 1,
                                        .now_s = 1767265200};
            struct policy_decision d;
            policy_decide(p, &q, &d);
            permits += d.verdict == POLICY_PERMIT;
        }
        double each = (now_ns() - start) / TURNS;
        best = each < best ? each : best;
    }
    if (permits == 0)
        exit(2);
    policy_grant_free(g);
    policy_unref(p);
    return best;
}

int main(int argc, char **argv)
{
    size_t most = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    bool good = true;
    printf("%-22s %8s %12s %8s %10s\n", "shape", "rules", "ns/decision", "ratio", "load ms");
    for (int s = 0; s < N_SHAPES; s++) {
        double first = 0, load_ms;
        for (size_t rules = 10; rules <= most; rules *= 10) {
            double ns = measure((enum shape)s, rules, &load_ms);
            first = first > 0 ? first : ns;
            printf("%-22s %8zu %12.1f %8.2f %10.1f\n", shapes[s], rules, ns, ns / first, load_ms);
            good = good && ns < 1000 && ns < 1.2 * first;
        }
    }
    printf("%s\n", good ? "within the goals" : "beyond the goals");
    return good ? 0 : 1;
}
