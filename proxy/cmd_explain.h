/* One question of `postern explain`, between the files that ask, judge and
 * tell it: cmd_explain.c, cmd_explain_cse.c, cmd_explain_say.c. */
#ifndef POSTERN_CMD_EXPLAIN_H
#define POSTERN_CMD_EXPLAIN_H

#include "../policy/policy.h"
#include "../policy/url.h"
#include "cmd.h"
#include "m2m_cse.h"
#include "explain_token.h"
#include "setup.h"

enum explain_option {
    O_CONFIG,
    O_SUBJECT,
    O_TOKEN,
    O_SCOPE,
    O_AUTHORITY,
    O_AUD,
    O_HOST,
    O_AT,
    O_FROM,
    O_STRENGTH,
    O_CREATED,
    O_PAYLOAD,
    O_FORMAT,
    O_OPERATION,
    O_TYPE,
    O_ORIGINATOR,
    O_RIDS,
    O_JSON,
};

struct asking {
    const struct cmd *c;
    const struct cmd_values *o;
    struct setup setup;
    struct policy *policy; /* borrowed from pep */
    /* who */
    uint8_t raw[TOKEN_MAX];
    struct token token;
    bool by_token;
    struct explain_token m2m_token; /* of oneM2M: what it gives */
    enum pep_err refused;           /* the token, or the enrolment */
    struct policy_claims claims;
    struct bytes roles[CMD_VALUES_MAX * 8];
    struct policy_grant_report report;
    const struct policy_subject *subject; /* NULL: not enrolled */
    struct policy_grant *grant;
    enum policy_strength strength;
    bool covers;
    /* what */
    uint8_t segments[POLICY_PATH_SEGMENTS_MAX][URL_SEGMENT_MAX];
    struct bytes path[POLICY_PATH_SEGMENTS_MAX + 1];
    int device;
    bool local; /* a resource of the gateway's own */
    struct policy_holding held;
    struct policy_question q;
    struct policy_decision d;
    /* of a CSE */
    const struct m2m_cse *cse; /* NULL: another device */
    bool has_method;
    struct m2m_address address;
    struct m2m_request m2m;
    uint8_t to[MESSAGE_MAX];
    struct bytes only[CMD_VALUES_MAX];
    const char *not_from; /* why it may not be from this originator */
    uint16_t rsc;
};

/* ---- cmd_explain_cse.c ---- */

int explain_read_operation(struct asking *a);
/* What only a CSE is asked, and what the address means there. `strip`: segments
 * of the device's prefix. */
int explain_ask_cse(struct asking *a, size_t strip);
/* Whether it may be from whom it says, where that was asked; without an
 * association, what is held then. */
void explain_originator(struct asking *a);

/* ---- cmd_explain_say.c ---- */

void explain_print(const struct asking *a);
void explain_print_json(const struct asking *a);

#endif
