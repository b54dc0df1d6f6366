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
    bool over;                         /* its enrolment has ended, or nobody can tell */
    uint8_t psk_id[PEP_KEY_ID];        /* digest of name and key; zero: no PSK */
    uint8_t cert_id[PEP_KEY_ID];       /* digest of the certificate's name, and of itself where
                                          it is told; zero: none */
    uint8_t key_id[PEP_KEY_ID];        /* as a proof key */
    uint8_t key[TOKEN_KEY_MAX];
    size_t key_n;
};

/* Reads the key files, relative to `dir`. NULL on failure, with a
 * compiler-style diagnostic. */
MUST_USE struct subjects *subjects_load(struct policy *p, const char *dir, struct buf *diag);
void subjects_free(struct subjects *t); /* wipes; NULL is fine */

const struct subject *subjects_at(const struct subjects *t, int i); /* NULL: none */
/* What is held by entry i of policy_unassociated(). */
const struct policy_grant *subjects_unassociated(const struct subjects *t, int i);
/* All return -1 when there is none. */
int subjects_by_identity(const struct subjects *t, struct bytes identity);
/* By its name. A name alone is not enough where the subject tells its
 * certificate: `pinned` is for the caller to look at. */
int subjects_by_certificate(const struct subjects *t, struct bytes name);
int subjects_by_fingerprint(const struct subjects *t, const uint8_t fingerprint[PEP_KEY_ID]);
int subjects_by_id(const struct subjects *t, const uint8_t id[PEP_KEY_ID]);

/* The certificate was enrolled, and is not any more; by its fingerprint, or by
 * that as a proof key. */
bool subjects_unenrolled(const struct subjects *t, const uint8_t fingerprint[PEP_KEY_ID]);
bool subjects_unenrolled_key(const struct subjects *t, const uint8_t key_id[PEP_KEY_ID]);
/* Which enrolments have ended, when the clock shows this; below build_s it is
 * not set, and none that has an end counts. *next_s is when to look again,
 * INT64_MAX: never. True: something changed. */
bool subjects_look(struct subjects *t, int64_t now_s, int64_t build_s, int64_t *next_s);

#endif
