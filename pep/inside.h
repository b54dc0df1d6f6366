/* What pep's own files share. Not for other rooms. */
#ifndef POSTERN_PEP_INSIDE_H
#define POSTERN_PEP_INSIDE_H

#include "../policy/slab.h"
#include "answers.h"
#include "cache.h"
#include "checks.h"
#include "created.h"
#include "fresh.h"
#include "grants.h"
#include "keys.h"
#include "m2m_locals.h"
#include "pep.h"
#include "published.h"
#include "registered.h"
#include "revocation.h"
#include "store.h"
#include "subjects.h"

enum {
    PEP_USED_MAX = 16,
    PEP_TQF_MAX = 1024, /* it goes back in one message, beside its options */
};

struct pep {
    struct pep_config config;
    struct policy *policy;
    struct keys *keys;
    struct subjects *subjects;
    int *device_authority; /* by device; -1: none */
    struct grants *grants;
    struct cache *cache;
    struct checks *checks; /* NULL: signatures are checked in place */
    struct created *created;
    struct m2m_locals *locals;
    uint8_t ati[PEP_ATI_MAX]; /* of the last decision */
    struct revocations *revocations;
    struct answers *answers;
    struct fresh *fresh;
    struct published *published;
    struct policy_grant *nothing; /* that grants nothing, of this policy; made when needed */
    /* What was used of `answers` to judge the request that is being judged. */
    struct answer *used[PEP_USED_MAX];
    size_t n_used;
    uint8_t tqf[PEP_TQF_MAX]; /* of the last denial that tells where to ask */
    struct registered *registered;
    int64_t reply_s; /* when the last reply came */
    int64_t look_s;  /* when an enrolment ends next */
    struct pep_taken by_identity;
    uint64_t *cover; /* scratch: one bit a device */
    size_t cover_words;
    struct pep_authority_stats *of; /* by authority */
    size_t n_of;
    uint64_t loads;    /* of policies; 0: none yet */
    uint64_t changes;  /* of grants, loads included: what sessions cached is stale */
    uint64_t revokes;  /* of revocations: what was judged before is judged again */
    uint64_t next_id;  /* of grants */
    struct slab small; /* sessions */
    struct pep_stats stats;
};

enum { SESSION_IDS = 3 };

/* What a session holds, found again whenever grants change. */
struct session_held {
    size_t n;
    struct grant *of[GRANTS_PER_KEY_MAX + GRANTS_PER_SESSION_MAX];
};

/* There may be a hundred thousand of them, nearly all at rest: what is not
 * always there is in blocks of its own, and `tail` as long as it must be. */
struct pep_session {
    struct pep *pep;
    /* Good while `loads` and `changes` are pep's. */
    uint64_t changes;
    const struct subject *enrolled; /* by its credential, revoked or not */
    struct session_held *held;      /* NULL: nothing, or at rest */
    struct grant **bearer;          /* GRANTS_PER_SESSION_MAX of them; NULL: none yet */
    uint32_t last_exp_s;            /* of what it ever held, 2106 at the latest; 0: nothing */
    uint32_t loads;
    uint8_t strength; /* enum policy_strength */
    uint8_t n_bearer;
    uint8_t owner; /* of its keys, where its grants were found */
    uint8_t n_keys;
    uint8_t name_room; /* in the tail */
    uint8_t named_n;   /* behind that: what its certificate names (pep_proof) */
    bool has_subject_id;
    bool revoked;                    /* as an enrolled subject; or its enrolment has ended */
    bool unenrolled;                 /* its certificate was */
    bool own_name;                   /* it was renamed: the tail has a pointer instead */
    bool trusted;                    /* its certificate chains to the client CA */
    bool wants_created, wants_query; /* some held grant has AIF that asks for it */
    /* The credential of an enrolled subject, if any; then what the handshake
     * proved, under each name that a token may give it (the key, the
     * certificate, the key's thumbprint); then the name's text, and the text
     * of what its certificate names. */
    uint8_t tail[];
};

/* NULL: it is none, or revoked, or its time is over. */
static inline const struct subject *session_subject(const struct pep_session *s)
{
    return s->revoked ? NULL : s->enrolled;
}

/* ---- revoke.c ---- */

/* Names an authority across policies. */
uint64_t revoke_authority_id(const struct pep *p, int authority);
/* PEP_OK, PEP_REVOKED, PEP_FORM or PEP_LIST. */
MUST_USE enum pep_err revoke_judge(struct pep *p, struct cached *c);

/* ---- pep.c ---- */

/* What the clock ends of the enrolments; before they are judged by. */
void pep_look_at_enrolments(struct pep *p, int64_t now_s);

static inline void pep_look(struct pep *p, int64_t now_s)
{
    if (now_s >= p->look_s)
        pep_look_at_enrolments(p, now_s);
}

/* Ids are counted up, past every other that is known; of several workers each
 * has its own. So of two grants the one made in knowledge of the other has the
 * higher id, and no two have the same. */
static inline uint64_t pep_id_after(const struct pep *p, uint64_t id)
{
    unsigned n = p->config.workers > 1 ? p->config.workers : 1;
    uint64_t rest = (id + 1) % n, mine = p->config.worker % n;
    return id + 1 + (mine >= rest ? mine - rest : mine + n - rest);
}

/* Ends up to `max` grants for which `over` holds, in the store and here.
 * What the store does not forget is judged again at the next start. Returns
 * how many it ended. */
size_t pep_end_some(struct pep *p, bool (*over)(struct pep *p, struct grant *g, int64_t now_s),
                    int64_t now_s, size_t max);

/* ---- session.c ---- */

/* Of `ids` the first is the subject's credential; zero ones are left out. */
MUST_USE struct pep_session *session_new(struct pep *p,
                                         const uint8_t ids[1 + SESSION_IDS][PEP_KEY_ID],
                                         const char *name, struct bytes named);
struct bytes session_named(const struct pep_session *s);
const char *session_name(const struct pep_session *s); /* may be empty */
/* Makes what the session caches good again. */
void session_refresh(struct pep_session *s);
/* Whether a grant of this key is the session's to use. */
bool session_proves(const struct pep_session *s, const uint8_t key_id[PEP_KEY_ID]);
/* By what its creations are remembered: its enrolment, or its proof key under
 * the name by which it holds grants. Refreshed before. */
const uint8_t *session_owner(const struct pep_session *s);
void session_forget_bearer(struct pep_session *s, const struct grant *g);
/* Room for one more bearer grant. */
MUST_USE bool session_may_bear(struct pep_session *s);

#endif
