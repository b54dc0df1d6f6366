/* A house with a CSE, for tests of pep: an authority of the dialect onem2m with
 * the keys of support_oauth.h, a phone and a panel that are enrolled as AEs, and
 * a press for tokens. Test keys only. */
#ifndef POSTERN_SUPPORT_M2M_H
#define POSTERN_SUPPORT_M2M_H

#include "../pep/pep.h"
#include "support_oauth.h"

#define M2M_NOW    INT64_C(1795312800) /* 2026-11-22T02:00:00Z */
#define M2M_ISSUER "//house.example/in-cse/das"
#define M2M_HOLDER "//house.example/mn-cse/Cphone"

enum m2m_device { M2M_CSE = 0, M2M_OTHER_CSE = 1, M2M_LAMP = 2 };

extern const char *const m2m_policy_text;
extern const struct pep_device m2m_devices[3];

struct m2m_house {
    char dir[64];
    struct pep *pep;
    char diag_text[2048];
    struct buf diag;
};

/* The policy with `from` replaced by `to` (NULL: as it is). What cannot be made
 * ends the test. */
void m2m_house_make(struct m2m_house *h, struct store *store, const char *from, const char *to);
bool m2m_house_reload(struct m2m_house *h, const char *from, const char *to);
/* Another pep of the same house, as of another worker. */
struct pep *m2m_house_pep(struct m2m_house *h, const struct pep_config *with);
/* Its files go; it cannot be reloaded any more. */
void m2m_house_leave(const struct m2m_house *h);
void m2m_house_clear(struct m2m_house *h);
/* Other keys of its authority: the text of a JWK Set. */
void m2m_house_put_keys(struct m2m_house *h, struct bytes jwks);
struct pep_session *m2m_house_open(struct m2m_house *h, const char *psk_identity);

/* What a token says, as JSON values; NULL: as a good one has it, "": not at
 * all. A good one is a JWS by "es" of the role guest@house.example. */
struct m2m_minting {
    const char *jti, *iss, *azp, *nbf, *exp, *aud, *tkps, *more; /* more: members, with a comma */
    const char *key; /* kid of support_oauth.h; NULL: "es" */
    const char *alg; /* NULL: ES256 */
    const char *header;
    const char *sealed; /* kid to encrypt with, and how: "ec-enc", "dir", "kw" */
    bool unsigned_inside;
    bool own_names;
};
/* Lives to the end of the program, or 64 further ones. */
struct bytes m2m_mint(const struct m2m_minting *m);

/* A request of the originator for a path such as "/cse/room/door" (device
 * M2M_CSE). */
struct m2m_asking {
    struct request r;
    struct m2m_request m;
    char path[256];
};
void m2m_ask_for(struct m2m_asking *a, enum m2m_operation op, const char *path,
                 const char *originator);

#endif
