/* Access control rules as oneM2M tokens carry them: `acr`, a list of {acor,
 * acop, acco, acaf, acod} (TS-0001 9.6.2, TS-0003 7.1.3). One rule that
 * permits is enough. What cannot be read, or cannot be judged here, does not
 * permit. */
#ifndef POSTERN_M2M_RULES_H
#define POSTERN_M2M_RULES_H

#include "../policy/policy.h"
#include "json_doc.h"
#include "onem2m.h"

struct m2m_asked {
    enum m2m_operation operation;
    int type;                  /* TY of a CREATE, -1: none */
    struct bytes originator;   /* that the association has proved; empty: none */
    const struct bytes *roles; /* role IDs that it has proved */
    size_t n_roles;
    struct policy_peer peer;
    int64_t now_s;
};

MUST_USE bool m2m_rules_permit(const struct json_node *acr, const struct m2m_asked *asked);

/* Whether a list of identifiers has `id`; `*` in a listed one stands for any
 * characters but '/'. For acor, ris and audiences. */
bool m2m_id_matches(struct bytes pattern, struct bytes id);

#endif
