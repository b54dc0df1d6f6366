/* What a decision point and an authority are told of a request (TS-0003
 * tables 7.5.2-1 and 7.3.2.2-1), apart from when it came. It is all that their
 * answer can depend on, so it is also what an answer is found by again. */
#ifndef POSTERN_M2M_ASK_H
#define POSTERN_M2M_ASK_H

#include "../policy/policy.h"
#include "onem2m.h"

enum m2m_ask_limits {
    M2M_ASK_ROLES_MAX = 16,
    M2M_ASK_MAX = 3072, /* bytes of its JSON: a path, an originator, and their lists */
};

struct m2m_ask {
    struct bytes from; /* the originator that the association has proved; else its subject */
    struct bytes to;   /* the address as it was asked for */
    enum m2m_operation operation;
    int32_t type;              /* of what a CREATE is to make, -1: not told */
    const struct bytes *roles; /* that it has proved */
    size_t n_roles;
    const struct bytes *tids; /* that came with it */
    size_t n_tids;
    struct policy_peer peer;
};

/* {"ip4": ...} as `name`; nothing when the address is not known. */
void m2m_ask_put_address(struct buf *out, const char *name, const struct policy_peer *peer);
/* The operation as TS-0004 numbers them: a DISCOVERY is a RETRIEVE. */
int m2m_ask_operation(enum m2m_operation o);
/* Peers name it by several numbers, or by none (TS-0008 table 6.2.2.2-1). */
bool m2m_ask_is_json(int content_format);
/* A success by its code and, where it has one, its RSC. */
bool m2m_ask_succeeded(uint8_t code, uint16_t rsc);

#endif
