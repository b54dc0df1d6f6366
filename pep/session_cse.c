/* A session for a CSE that is known otherwise than by a handshake. */
#include <stdio.h>

#include "inside.h"

int pep_subject_of_cse(const struct policy *policy, const struct pep_device *cse)
{
    char absolute[512];
    int i = cse->cse_id ? policy_subject_of_cse(policy, bytes_str(cse->cse_id)) : -1;
    if (i >= 0 || !cse->cse_id || !cse->sp_id)
        return i;
    (void)snprintf(absolute, sizeof absolute, "%s%s", cse->sp_id, cse->cse_id);
    return policy_subject_of_cse(policy, bytes_str(absolute));
}

struct pep_session *pep_session_of_cse(struct pep *p, int device)
{
    static const uint8_t none[PEP_KEY_ID];
    bool known = p->policy && device >= 0 && (size_t)device < p->config.n_devices;
    int i = known ? pep_subject_of_cse(p->policy, &p->config.devices[device]) : -1;
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
