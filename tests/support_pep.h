/* A small house for tests of pep: three authorities with fixed test keys, two
 * enrolled subjects, three devices, and a press for tokens. */
#ifndef SUPPORT_PEP_H
#define SUPPORT_PEP_H

#include "../pep/cwt.h"
#include "../pep/pep.h"

enum house_as {
    HOME = 0,    /* home-as: ES256, AES-CCM; vouches for lights, guests, AIF on /lamp */
    VISITOR = 1, /* visitor-as: HMAC; vouches for door_r; bearer allowed */
    DERIVE = 2,  /* derive-as: HMAC; shares a derivation key */
    HOUSE_AS = 3,
};

enum house_device { LAMP = 0, DOOR = 1, METER = 2 };

#define HOUSE_NOW   INT64_C(1795312800) /* 2026-11-22T02:00:00Z */
#define HOUSE_BUILD INT64_C(1790000000)

extern const char *const house_policy_text;
extern const struct pep_device house_devices[3];

struct house {
    char dir[64];
    struct key proof[HOUSE_AS], seal[HOUSE_AS], derivation;
    char diag_text[2048];
    struct buf diag;
};

/* Writes keys into a new directory. False: could not. */
bool house_make(struct house *h);
void house_clear(struct house *h);
/* Writes (again) the key file of an authority; for tests that change keys. */
bool house_write_keys(const struct house *h, enum house_as as);
/* The policy, with each `from` replaced by `to` (NULL: none). */
struct policy *house_policy(struct house *h, const char *from, const char *to);
/* A pep with this store (or NULL), and no policy yet. */
struct pep *house_pep_empty(struct store *store, size_t max_grants);
/* With the store, the room and the colleagues of `with`. */
struct pep *house_pep_of(const struct pep_config *with);
/* The same, loaded at HOUSE_NOW; NULL: see diag. */
struct pep *house_pep(struct house *h, struct store *store, size_t max_grants);
bool house_reload(struct house *h, struct pep *p, const char *from, const char *to);

/* What a token shall say. Zero is a good token of home-as for the gateway,
 * scope lights_r, a key and a kid of their own. */
struct minting {
    enum house_as as;
    const char *iss;   /* NULL: the right one; "": none */
    const char *sub;   /* NULL: none */
    const char *cti;   /* NULL: none */
    const char *aud;   /* NULL: gateway.home; "": none */
    const char *aud2;  /* NULL: none */
    const char *scope; /* NULL: lights_r (door_r of visitor-as); "": none */
    const char *aif_path;
    uint64_t aif_mask;
    int64_t exp_in; /* 0: 3600; HOUSE_NEVER: no exp */
    int64_t nbf_in; /* 0: none */
    int64_t iat_in; /* 0: none */
    int64_t exi;    /* 0: none */
    struct bytes cnonce;
    enum {
        KEY_PSK = 0,
        KEY_PUBLIC,  /* P-256 */
        KEY_BY_KID,  /* cnf kid */
        KEY_BARE,    /* COSE_Key with a kid and no k */
        KEY_NOBODYS, /* no cnf */
    } cnf;
    uint8_t key;     /* fill of the PSK, seed of the public key */
    const char *kid; /* NULL: one byte, `key` */
    bool stray;      /* protected by a key that nobody has */
};
#define HOUSE_NEVER INT64_MAX

/* The token, in `out`; n 0 when it could not be minted. */
struct bytes house_mint(const struct house *h, const struct minting *m, uint8_t out[TOKEN_MAX]);
/* The public key of KEY_PUBLIC as a certificate has it. */
struct bytes house_spki(uint8_t key, uint8_t out[128]);
/* The identity in the kid form. */
struct bytes house_kid_identity(const void *kid, size_t n, uint8_t out[80]);

/* A request for a path of at most eight segments, "/lamp/state". */
struct request house_request(uint8_t method, const char *path, int device);

#endif
