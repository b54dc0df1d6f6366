#include "denial.h"

#include "code.h"
#include "hints.h"

uint8_t denial_code(enum policy_reason reason, bool authenticated)
{
    if (!authenticated || reason == POLICY_NO_GRANT)
        return CODE(4, 1);
    return reason == POLICY_NOT_METHOD ? CODE(4, 5)
           : reason == POLICY_PAYLOAD  ? CODE(4, 13)
           : reason == POLICY_FORMAT   ? CODE(4, 15)
                                       : CODE(4, 3);
}

const char *denial_of_nothing(const struct pep *p, const struct pep_session *s, int64_t now_s)
{
    if (s && (s->unenrolled || (s->enrolled && s->enrolled->over)))
        return pep_err_str(PEP_ENROLMENT);
    if (!s || s->last_exp_s == 0)
        return policy_reason_str(POLICY_NO_GRANT);
    if (now_s < p->config.build_s)
        return pep_err_str(PEP_CLOCK);
    return s->last_exp_s <= now_s ? pep_err_str(PEP_EXPIRED) : "grant-ended";
}

void denial_hint(struct pep *p, const struct request *r, const struct policy_question *q,
                 int64_t now_s, struct pep_decision *out)
{
    const struct pep_config *c = &p->config;
    bool known = r->device >= 0 && (size_t)r->device < c->n_devices;
    const char *audience = known ? c->devices[r->device].audience : NULL;
    int authority = known                            ? p->device_authority[r->device]
                    : policy_authority(p->policy, 0) ? 0
                                                     : -1;
    struct hints h = {0};
    uint8_t cnonce[FRESH_CNONCE];
    if (authority >= 0) {
        const struct policy_authority *a = policy_authority(p->policy, (size_t)authority);
        /* RFC 9200 5.3: an absolute URI; an issuer need not be one. */
        if (a->issuer && strstr(a->issuer, "://"))
            h.as = bytes_str(a->issuer);
        if (a->fresh.cnonce && fresh_cnonce(p->fresh, now_s, cnonce))
            h.cnonce = bytes_of(cnonce, sizeof cnonce);
        /* Strangers see it too: it is for those who hold nothing yet. */
        h.scope = policy_scope_for(p->policy, authority, q);
    }
    h.audience = bytes_str(audience ? audience : c->n_audience ? c->audience[0] : NULL);
    struct buf b = buf_on(out->payload, sizeof out->payload);
    hints_write(&h, &b);
    out->content_format = HINTS_FORMAT;
    out->payload_n = b.n;
}

/* Denials in the words of the binding (TS-0008 table 6.2.4-1), which has no
 * 4.01 and tells nobody what would have been possible instead. What is for
 * CoAP to say of size, format and rate keeps its code. */
void denial_in_binding(struct pep_decision *out)
{
    if (out->outcome != PEP_DENY || out->rsc > 0)
        return;
    if (out->code != CODE(4, 1) && out->code != CODE(4, 3) && out->code != CODE(4, 5) &&
        out->code != CODE(4, 0))
        return;
    out->code = CODE(4, 3);
    out->rsc = M2M_NO_PRIVILEGE;
}

void pep_refuse_rate(const struct pep *p, struct pep_decision *d, const char *of, uint32_t retry_s)
{
    d->verdict = POLICY_DENY;
    d->reason = "rate";
    d->missing = of;
    d->code = CODE(4, 29);
    d->retry_s = retry_s;
    d->outcome = policy_mode(p->policy) == POLICY_REPORT ? PEP_FORWARD : PEP_DENY;
}
