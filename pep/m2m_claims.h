/* The claims of a oneM2M token (TS-0003 7.3, ESData): the JSON inside of a
 * JWS or JWE, by the names of JWT or by those that some issuers leave as they
 * are in TS-0004 (tkid, tkis, tkhd, tknb, tkna, tkau, vr). A claim that comes
 * by both names is refused: two readers may choose differently.
 *
 * It judges form, not meaning, as jwt.h does. */
#ifndef POSTERN_M2M_CLAIMS_H
#define POSTERN_M2M_CLAIMS_H

#include "json_doc.h"
#include "jwt.h"
#include "m2m_rules.h"

enum { M2M_PERMISSIONS_MAX = 32, M2M_LIST_MAX = 64 };

struct m2m_claims {
    struct bytes holder; /* azp: whose requests it is for; never empty */
    /* tkps's list of {ris, pv, rids}, each of sound form; in the document */
    const struct json_node *permissions;
};

/* cti is the token's ID, exp and iss are never missing. PEP_CLAIMS,
 * PEP_SCOPE (permissions of another form, or too many). `out` as from
 * jwt_read_claims(): its slices lie in from->plain. */
MUST_USE enum pep_err m2m_claims_read(const struct json_node *object, const struct jwt_source *from,
                                      struct claims *out, struct m2m_claims *m2m);

/* ---- what a permission says; `p` is an item of permissions ---- */

/* Whether its ris has the target; one without ris has every target. `to` is
 * the whole name of the resource, in one of its forms. */
bool m2m_permission_covers(const struct json_node *p, struct bytes to);
/* Its privileges' rules, or NULL. */
const struct json_node *m2m_permission_rules(const struct json_node *p);
/* Role ID i of its rids, of so many. False: past the end. */
size_t m2m_permission_roles(const struct json_node *p);
bool m2m_permission_role(const struct json_node *p, size_t i, struct bytes *out);

#endif
