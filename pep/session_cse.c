/* A session for a CSE that is known otherwise than by a handshake. */
#include <stdio.h>

#include "inside.h"

struct pep_session *pep_session_of_cse(struct pep *p, struct bytes cse_id)
{
    static const uint8_t none[PEP_KEY_ID];
    int i = p->policy && cse_id.n ? policy_subject_of_cse(p->policy, cse_id) : -1;
    const struct subject *s = subjects_at(p->subjects, i);
    if (!s)
        return NULL;
    struct pep_proof proof = {
        .kind = PEP_IDENTITY_SUBJECT, .strength = POLICY_STRENGTH_NONE, .subject = i};
    bool by_key = memcmp(s->psk_id, none, sizeof none) != 0;
    memcpy(proof.subject_id, by_key ? s->psk_id : s->cert_id, sizeof proof.subject_id);
    (void)snprintf(proof.name, sizeof proof.name, "%s", s->said->name);
    return pep_session_open(p, &proof);
}
