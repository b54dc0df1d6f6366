#include "err.h"

#include "code.h"

static const struct {
    const char *text;
    uint8_t code;
} table[] = {
    [PEP_OK] = {"ok", CODE(2, 1)},
    [PEP_MALFORMED] = {"malformed-token", CODE(4, 0)},
    [PEP_TOO_LARGE] = {"token-too-large", CODE(4, 13)},
    [PEP_TOO_DEEP] = {"token-too-deep", CODE(4, 0)},
    [PEP_UNSUPPORTED] = {"unsupported-token", CODE(4, 1)},
    [PEP_UNKNOWN_KEY] = {"unknown-authority", CODE(4, 1)},
    [PEP_PROTECTION] = {"bad-protection", CODE(4, 1)},
    [PEP_CLAIMS] = {"bad-claims", CODE(4, 0)},
    [PEP_CONFIRMATION] = {"bad-confirmation", CODE(4, 0)},
    [PEP_ISSUER] = {"wrong-issuer", CODE(4, 1)},
    [PEP_EXPIRED] = {"token-expired", CODE(4, 1)},
    [PEP_NOT_YET] = {"token-not-yet-valid", CODE(4, 1)},
    [PEP_NO_EXPIRY] = {"token-without-expiry", CODE(4, 1)},
    [PEP_CLOCK] = {"clock-not-set", CODE(4, 1)},
    [PEP_AUDIENCE] = {"wrong-audience", CODE(4, 3)},
    [PEP_SCOPE] = {"unknown-scope", CODE(4, 0)},
    [PEP_KID_TAKEN] = {"kid-taken", CODE(4, 0)},
    [PEP_FULL] = {"grants-full", CODE(5, 3)},
    [PEP_STORE] = {"store-failed", CODE(5, 0)},
    [PEP_REVOKED] = {"token-revoked", CODE(4, 1)},
    [PEP_FORM] = {"token-form", CODE(4, 0)},
    [PEP_LIST] = {"revocation-list-full", CODE(5, 3)},
    [PEP_CNONCE] = {"cnonce-missing-or-stale", CODE(4, 1)},
    [PEP_HOLDER] = {"wrong-holder", CODE(4, 3)},
    [PEP_TOKEN_ID] = {"unknown-token-id", CODE(4, 3)},
    [PEP_INACTIVE] = {"token-inactive", CODE(4, 1)},
    [PEP_AWAY] = {"authority-away", CODE(5, 3)},
    [PEP_BUSY] = {"too-many-questions", CODE(4, 29)},
    [PEP_PENDING] = {"authority-asked", CODE(5, 3)},
    [PEP_ENROLMENT] = {"enrolment-ended", CODE(4, 1)},
};

const char *pep_err_str(enum pep_err e)
{
    return (size_t)e < sizeof table / sizeof *table ? table[e].text : "unknown-error";
}

uint8_t pep_err_code(enum pep_err e)
{
    return (size_t)e < sizeof table / sizeof *table ? table[e].code : CODE(5, 0);
}
