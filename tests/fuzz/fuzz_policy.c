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

/* Operations of a CSE; that roles are named never widens. */
static void ask_cse(struct policy *p, const struct policy_question *plain, struct bytes role)
{
    struct policy_question q = *plain;
    struct policy_decision d, narrowed;
    for (uint8_t op = 1; op <= 6; op++) {
        q.operation = op;
        q.type = op == 1 ? 3 : -1;
        q.n_only = 0;
        policy_decide(p, &q, &d);
        q.only = &role;
        q.n_only = 1;
        policy_decide(p, &q, &narrowed);
        if (narrowed.verdict == POLICY_PERMIT && d.verdict != POLICY_PERMIT)
            abort();
    }
}

static void no_permit(void *user, const struct policy_permit *permit)
{
    (void)user;
    if (!permit->actions || !permit->holder || permit->n_path > POLICY_PATH_SEGMENTS_MAX)
        abort();
}

/* By each name that it speaks for, it is found. */
static void find_owners(const struct policy *p)
{
    const struct policy_subject *s;
    for (size_t i = 0; (s = policy_subject(p, i)); i++) {
        if (policy_subject_find(p, bytes_str(s->name)) != (int)i)
            abort();
        for (size_t k = 0; k < s->n_originators; k++)
            if (policy_subject_of_originator(p, bytes_str(s->originators[k])) != (int)i)
                abort();
        if (s->cse && policy_subject_of_cse(p, bytes_str(s->cse)) != (int)i)
            abort();
    }
    if (!policy_each_permit(p, no_permit, NULL))
        abort();
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
        ask_cse(p, &q, words);
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
    find_owners(p);
    for (int authority = -1; authority <= 1; authority++)
        ask(p, bytes_of(data + size - tail, tail), authority);
    policy_unref(p);
    return 0;
}
