/* Enrolled subjects: who is known without a token, by the policy's
 * `subjects`. One table belongs to one policy; sessions outlive it and find
 * their subject in the next one by the digest of its credential, so that a
 * changed key or a reordered file never gives one subject's roles to another.
 */
#ifndef POSTERN_SUBJECTS_H
#define POSTERN_SUBJECTS_H

#include "pep.h"

struct subjects;

struct subject {
    const struct policy_subject *said; /* borrowed from the policy */
    struct policy_grant *compiled;     /* of its roles */
    uint8_t psk_id[PEP_KEY_ID];        /* digest of name and key; zero: no PSK */
    uint8_t cert_id[PEP_KEY_ID];       /* digest of the certificate's name; zero: none */
    uint8_t key_id[PEP_KEY_ID];        /* as a proof key */
    uint8_t key[TOKEN_KEY_MAX];
    size_t key_n;
};

/* Reads the key files, relative to `dir`. NULL on failure, with a
 * compiler-style diagnostic. */
MUST_USE struct subjects *subjects_load(struct policy *p, const char *dir, struct buf *diag);
void subjects_free(struct subjects *t); /* wipes; NULL is fine */

const struct subject *subjects_at(const struct subjects *t, int i); /* NULL: none */
/* All return -1 when there is none. */
int subjects_by_identity(const struct subjects *t, struct bytes identity);
int subjects_by_certificate(const struct subjects *t, struct bytes name);
int subjects_by_id(const struct subjects *t, const uint8_t id[PEP_KEY_ID]);

#endif
