#include "enrolled.h"

#include <stdio.h>

#include "../policy/moment.h"
#include "limits.h"
#include "log.h"

enum { DAY_S = 86400 };

static bool is_ending(const struct policy_subject *s, int64_t now_s)
{
    return s->expires_s != INT64_MAX && s->expires_s - now_s <= ENROLMENT_SOON_S;
}

void enrolled_sum(const struct policy *p, int64_t now_s, struct enrolled_sum *out)
{
    const struct policy_subject *s;
    *out = (struct enrolled_sum){0};
    for (size_t i = 0; (s = policy_subject(p, i)); i++) {
        out->subjects++;
        if (s->expires_s <= now_s) {
            out->ended++;
            out->an_ended = s;
            continue;
        }
        out->soon += is_ending(s, now_s);
        if (s->expires_s != INT64_MAX && (!out->next || s->expires_s < out->next->expires_s))
            out->next = s;
    }
}

const struct policy_subject *enrolled_ending(const struct policy *p, int64_t now_s, size_t i)
{
    const struct policy_subject *s;
    for (size_t k = 0; (s = policy_subject(p, k)); k++)
        if (is_ending(s, now_s) && i-- == 0)
            return s;
    return NULL;
}

static const char *when(const struct policy_subject *s, char out[MOMENT_TEXT])
{
    return moment_text(s->expires_s, out) ? out : "-";
}

void enrolled_warn(const struct policy *p, int64_t now_s, struct buf *diag)
{
    const struct policy_subject *s;
    char line[1024], text[MOMENT_TEXT];
    size_t i = 0;
    for (; i < ENROLMENTS_TOLD && (s = enrolled_ending(p, now_s, i)); i++) {
        (void)snprintf(line, sizeof line, "%s:%u: warning: the enrolment of '%s' %s %s\n", s->file,
                       s->line, s->name,
                       s->expires_s <= now_s ? "has ended:" : "ends soon:", when(s, text));
        buf_put_str(diag, line);
    }
    if (i == ENROLMENTS_TOLD && enrolled_ending(p, now_s, i))
        buf_put_str(diag, "and more; see postern enrolled --within 30d\n");
}

void enrolled_warn_of(const char *file, const char *what, int64_t ends_s, int64_t now_s,
                      struct buf *diag)
{
    char line[1024], text[MOMENT_TEXT];
    if (ends_s == INT64_MAX || ends_s - now_s > ENROLMENT_SOON_S || !moment_text(ends_s, text))
        return;
    (void)snprintf(line, sizeof line, "%s: warning: %s %s %s\n", file, what,
                   ends_s <= now_s ? "has ended:" : "ends soon:", text);
    buf_put_str(diag, line);
}

void enrolled_log(const struct policy *p, int64_t now_s)
{
    const struct policy_subject *s;
    struct enrolled_sum sum;
    char text[MOMENT_TEXT];
    size_t told = 0;
    enrolled_sum(p, now_s, &sum);
    for (size_t i = 0; told < ENROLMENTS_TOLD && (s = enrolled_ending(p, now_s, i)); i++) {
        if (s->expires_s <= now_s)
            continue;
        told++;
        log_event(LOG_LEVEL_WARN, "enrolment-ends", "subject", s->name, "at", when(s, text), "days",
                  LOG_U((s->expires_s - now_s) / DAY_S), NULL);
    }
    if (sum.soon > told)
        log_event(LOG_LEVEL_WARN, "enrolments-end", "more", LOG_U(sum.soon - told), NULL);
    if (sum.ended > 0)
        log_event(LOG_LEVEL_WARN, "enrolments-ended", "subjects", LOG_U(sum.ended), "one",
                  sum.an_ended->name, NULL);
}
