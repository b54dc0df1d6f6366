/* The door of the policy file: any text makes a policy or a complaint that
 * can be shown, and a policy can then be asked anything. */
#include <stdio.h>
#include <stdlib.h>

#include "../../policy/explain.h"
#include "../../policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a kilobyte when a quoted scalar is never closed. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml\n";
}

static void ask(struct policy *p, struct bytes words, int authority)
{
    static const struct bytes seg[] = {BYTES_LIT("lamp"), BYTES_LIT("state"), BYTES_LIT("x"),
                                       BYTES_LIT("")};
    struct policy_aif aif = {words, 0x700000007};
    struct policy_claims c = {.authority = authority, .scope = words, .aif = &aif, .n_aif = 1};
    struct policy_grant *g = policy_grant_new(p, &c, NULL);
    if (!g)
        return;
    struct policy_holding held = {.grant = g, .covers = true, .strength = POLICY_STRENGTH_PSK};
    for (size_t n = 0; n <= 4; n++) {
        char words_out[512];
        struct policy_decision d;
        struct buf b = buf_on(words_out, sizeof words_out);
        struct policy_question q = {.method = 1,
                                    .path = seg,
                                    .n_path = n,
                                    .held = &held,
                                    .n_held = 1,
                                    .now_s = 1767225600 + (int64_t)n * 40000,
                                    .peer = {4, {192, 0, 2, 1}}};
        policy_decide(p, &q, &d);
        if (policy_methods(p, &q) & 1 ? d.verdict != POLICY_PERMIT : d.verdict == POLICY_PERMIT)
            abort();
        if ((d.verdict == POLICY_PERMIT) != (d.reason == POLICY_PERMITTED))
            abort();
        policy_explain(p, &q, &d, &b);
        (void)policy_scope_for(p, authority, &q);
    }
    policy_grant_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char diag[2048];
    struct buf b = buf_on(diag, sizeof diag);
    struct policy *p = policy_load("fuzz", bytes_of(data, size), "0", &b);
    if (!p) {
        if (b.n == 0 || b.full)
            abort();
        return 0;
    }
    if (b.n)
        abort();
    size_t tail = size < 64 ? size : 64; /* the end of the text as words of a token */
    for (int authority = -1; authority <= 1; authority++)
        ask(p, bytes_of(data + size - tail, tail), authority);
    policy_unref(p);
    return 0;
}
