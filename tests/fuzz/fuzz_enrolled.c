/* The door of the file of enrolments: any text beside a good policy makes a
 * policy or a complaint that can be shown. */
#include <stdlib.h>

#include "../../policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a kilobyte when a quoted scalar is never closed. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml\n";
}

static bool read_more(void *user, const char *file, struct policy_more *out, const char **why)
{
    (void)file, (void)why;
    *out = (struct policy_more){"fuzz", *(struct bytes *)user, "1"};
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char policy[] = "version: 1\nenrolments: e\n"
                                 "roles: {r: {permit: [{path: /a, methods: [GET]}]}}\n"
                                 "subjects: [{name: s, psk-identity: s, key-file: k, roles: [r]}]\n";
    char diag[2048];
    struct bytes text = bytes_of(data, size);
    struct buf b = buf_on(diag, sizeof diag);
    const struct policy_files files = {read_more, &text};
    struct policy *p = policy_load_with("p", bytes_str(policy), "0", &files, &b);
    if (!p != (b.n > 0))
        abort();
    for (size_t i = 0; p && policy_subject(p, i); i++)
        if (!policy_subject(p, i)->name || policy_subject(p, i)->n_roles == 0)
            abort();
    policy_unref(p);
    return 0;
}
