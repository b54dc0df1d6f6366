#include "cmd_consult.h"

#include <stdio.h>

#include "../pep/decision_point.h"
#include "json.h"

/* Of what is not to be had by a permission, no authority is asked. */
static bool may_be_given(const struct policy_decision *d)
{
    return d->verdict == POLICY_DENY && d->reason != POLICY_NO_GRANT &&
           d->reason != POLICY_FORBIDDEN && d->reason != POLICY_FORMAT &&
           d->reason != POLICY_PAYLOAD;
}

static const char *authority_asked(const struct policy *p, const struct policy_consult *whom,
                                   const struct policy_decision *d, int i)
{
    if (!(whom->dynamic >> i & 1) || !may_be_given(d))
        return NULL;
    const struct policy_authority *a = policy_authority(p, whom->authority[i]);
    return a->dynamic.ask.url ? a->name : NULL;
}

/* Points after one that was asked depend on what that says: all that may be. */
static const struct policy_point *point_asked(const struct policy *p,
                                              const struct policy_consult *whom,
                                              const struct policy_decision *d, int i)
{
    const struct policy_point *point = policy_point(p, (size_t)i);
    enum local_says word = point_own_word(d);
    bool silent_first = false;
    const struct policy_point *other;
    for (int k = 0; (other = policy_point(p, (size_t)k)); k++)
        silent_first = silent_first || ((whom->points >> k & 1) && word == LOCAL_SILENT &&
                                        other->combine == POLICY_LOCAL_FIRST);
    if (!point || !(whom->points >> i & 1))
        return NULL;
    return point_is_asked(point->combine, word) || silent_first ? point : NULL;
}

void cmd_consult_print(const struct policy *p, const struct policy_question *q,
                       const struct policy_decision *d)
{
    struct policy_consult whom;
    policy_consult(p, q->path, q->n_path, &whom);
    for (int i = 0; i < POLICY_DYNAMIC_MAX; i++) {
        const char *name = authority_asked(p, &whom, d, i);
        if (name)
            printf("may be given by: %s, which is asked\n", name);
    }
    for (int i = 0; i < POLICY_POINTS_MAX; i++) {
        const struct policy_point *point = point_asked(p, &whom, d, i);
        if (point)
            printf("decided with: %s (%s:%u), %s\n", point->name, policy_name(p), point->line,
                   point->combine == POLICY_LOCAL_FIRST ? "which may permit it"
                                                        : "which may deny it");
    }
}

void cmd_consult_json(const struct policy *p, const struct policy_question *q,
                      const struct policy_decision *d, struct buf *out)
{
    struct policy_consult whom;
    size_t n = 0;
    policy_consult(p, q->path, q->n_path, &whom);
    for (int i = 0; i < POLICY_DYNAMIC_MAX + POLICY_POINTS_MAX; i++) {
        int k = i - POLICY_DYNAMIC_MAX;
        const struct policy_point *point = k < 0 ? NULL : point_asked(p, &whom, d, k);
        const char *name = k < 0 ? authority_asked(p, &whom, d, i) : point ? point->name : NULL;
        if (!name)
            continue;
        if (n++ == 0) {
            json_put_key(out, "asks");
            buf_put_u8(out, '[');
        } else {
            buf_put_u8(out, ',');
        }
        json_put_string(out, bytes_str(name));
    }
    if (n > 0)
        buf_put_u8(out, ']');
}
