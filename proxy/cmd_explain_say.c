/* postern explain: the verdict, in words and as JSON. */
#include <stdio.h>

#include "../policy/explain.h"
#include "cmd_consult.h"
#include "cmd_explain.h"
#include "cmd_token.h"
#include "json.h"
#include "msg.h"

static uint8_t code_of(const struct asking *a)
{
    if (a->refused != PEP_OK)
        return pep_err_code(a->refused);
    if (a->not_from)
        return a->rsc == M2M_BAD_REQUEST ? MSG_CODE(4, 0) : MSG_CODE(4, 3);
    if (a->d.verdict == POLICY_PERMIT || policy_mode(a->policy) == POLICY_REPORT)
        return a->device < 0 ? MSG_CODE(4, 4) : 0;
    if (a->d.reason == POLICY_NO_GRANT)
        return a->cse ? MSG_CODE(4, 3) : MSG_CODE(4, 1);
    if (a->cse && a->d.reason == POLICY_NOT_METHOD)
        return MSG_CODE(4, 3);
    return a->d.reason == POLICY_NOT_METHOD ? MSG_CODE(4, 5)
           : a->d.reason == POLICY_PAYLOAD  ? MSG_CODE(4, 13)
           : a->d.reason == POLICY_FORMAT   ? MSG_CODE(4, 15)
                                            : MSG_CODE(4, 3);
}

/* The rates that are neither a rule's nor a role's. */
static void explain_rate(const struct policy_rate *r, struct buf *out)
{
    if (!r || r->count == 0)
        return;
    buf_put_str(out, "\nat most: ");
    policy_rate_put(r, out);
    buf_put_str(out, " in all (");
    buf_put_str(out, r->of);
    buf_put_u8(out, ' ');
    buf_put_str(out, r->name);
    buf_put_u8(out, ')');
}

/* The response status code with the code; 0: none, or it is the device's. */
static unsigned rsc_of(const struct asking *a)
{
    if (!a->cse || code_of(a) == 0 || a->refused != PEP_OK)
        return 0;
    return a->not_from ? a->rsc : code_of(a) == MSG_CODE(4, 3) ? M2M_NO_PRIVILEGE : 0u;
}

static void explain(const struct asking *a, struct buf *out)
{
    if (a->not_from) {
        buf_put_str(out, "denied (");
        buf_put_str(out, a->not_from);
        buf_put_str(out, a->subject ? "): the association does not speak for this originator"
                                    : "): this originator needs an association for this");
        return;
    }
    if (a->refused == PEP_OK) {
        policy_explain(a->policy, &a->q, &a->d, out);
        if (a->d.verdict != POLICY_PERMIT)
            return;
        explain_rate(a->subject ? &a->subject->rate : NULL, out);
        explain_rate(a->device >= 0 ? &a->setup.config->devices[a->device].rate : NULL, out);
        return;
    }
    char when[32];
    bool over = a->refused == PEP_ENROLMENT;
    buf_put_str(out, over ? "denied: the enrolment is over (" : "denied: the token is refused (");
    buf_put_str(out, over ? cmd_time_text(when, a->subject->expires_s) : pep_err_str(a->refused));
    buf_put_str(out, ")");
}

static void print_report(const struct asking *a)
{
    char text[128];
    const struct policy_grant_report *r = &a->report;
    if (r->n_unknown)
        printf("not known to the policy: %zu of its words, the first '%s'\n", r->n_unknown,
               cmd_safe_text(text, sizeof text, r->first_unknown));
    if (r->n_beyond)
        printf("beyond what the authority may grant: %zu of its words, the first '%s'\n",
               r->n_beyond, cmd_safe_text(text, sizeof text, r->first_beyond));
}

void explain_print(const struct asking *a)
{
    char text[4096], code[8];
    struct buf out = buf_on(text, sizeof text);
    const struct config *c = a->setup.config;
    explain(a, &out);
    printf("%.*s\n", (int)out.n, text);
    print_report(a);
    if (a->refused == PEP_OK && !a->not_from)
        cmd_consult_print(a->policy, &a->q, &a->d);
    if (a->device >= 0)
        printf("device: %s (%s)\n", c->devices[a->device].upstream.name,
               c->devices[a->device].upstream.urls[0].text);
    else
        printf("device: none has this path\n");
    uint8_t answer = code_of(a);
    if (rsc_of(a))
        printf("status: %u\n", rsc_of(a));
    if (a->refused == PEP_ENROLMENT)
        printf("answer: none, its handshake is refused\n");
    else if (a->refused != PEP_OK)
        printf("answer: %s when the token is posted\n", cmd_code_text(code, answer));
    else if (answer == 0)
        printf("answer: the device's\n");
    else
        printf("answer: %s\n", cmd_code_text(code, answer));
    printf("policy: %s %s\n", policy_name(a->policy), policy_hash(a->policy));
}

void explain_print_json(const struct asking *a)
{
    char text[16 << 10], words[4096], code[8];
    struct buf out = buf_on(text, sizeof text), why = buf_on(words, sizeof words);
    bool judged = a->refused == PEP_OK && !a->not_from;
    const struct config *c = a->setup.config;
    explain(a, &why);
    buf_put_u8(&out, '{');
    json_member(&out, "verdict", judged && a->d.verdict == POLICY_PERMIT ? "permit" : "deny");
    json_member(&out, "reason",
                judged        ? policy_reason_str(a->d.reason)
                : a->not_from ? a->not_from
                              : pep_err_str(a->refused));
    if (judged && a->d.rule.file) {
        char rule[1024];
        (void)snprintf(rule, sizeof rule, "%s:%u", a->d.rule.file, a->d.rule.line);
        json_member(&out, "rule", rule);
    }
    if (judged)
        cmd_consult_json(a->policy, &a->q, &a->d, &out);
    json_member(&out, "holder", judged ? a->d.holder : NULL);
    json_member(&out, "missing", judged ? a->d.missing : NULL);
    json_member(&out, "device", a->device >= 0 ? c->devices[a->device].upstream.name : NULL);
    json_member(&out, "code", code_of(a) ? cmd_code_text(code, code_of(a)) : NULL);
    if (rsc_of(a))
        json_member_u64(&out, "rsc", rsc_of(a));
    json_member(&out, "policy", policy_hash(a->policy));
    json_member_u64(&out, "unknown_words", a->report.n_unknown);
    json_member_u64(&out, "words_beyond_authority", a->report.n_beyond);
    json_put_key(&out, "text");
    json_put_string(&out, buf_bytes(&why));
    buf_put_u8(&out, '}');
    printf("%.*s\n", (int)out.n, text);
}
