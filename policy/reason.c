#include "policy.h"

static const char *const words[] = {
    [POLICY_NO_GRANT] = "no-grant",         [POLICY_NOT_AUDIENCE] = "not-audience",
    [POLICY_NOT_RESOURCE] = "not-resource", [POLICY_BEYOND_AUTHORITY] = "beyond-authority",
    [POLICY_NOT_METHOD] = "not-method",     [POLICY_CONDITION] = "condition",
    [POLICY_FORMAT] = "content-format",     [POLICY_PAYLOAD] = "payload-size",
    [POLICY_NOT_TYPE] = "not-type",         [POLICY_FORBIDDEN] = "forbidden",
    [POLICY_PERMITTED] = "permitted",
};

const char *policy_reason_str(enum policy_reason r)
{
    return (size_t)r < sizeof words / sizeof *words ? words[r] : "unknown";
}
