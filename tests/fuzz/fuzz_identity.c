/* The door of the psk_identity: whatever a stranger writes there. The keys
 * are fixed test keys, so that the corpus can hold tokens that verify. */
#include <stdlib.h>

#include "../../pep/identity.h"
#include "../support_pep.h"

static struct house house;
static struct pep *pep;

static void leave(void)
{
    pep_free(pep);
    house_clear(&house);
}

static void enter(void)
{
    uint8_t raw[TOKEN_MAX];
    struct pep_taken t;
    if (!house_make(&house) || !(pep = house_pep(&house, NULL, 64)))
        abort();
    pep_take_token(pep, NULL, NULL,
                   house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw), -1, HOUSE_NOW,
                   &t);
    if (t.err != PEP_OK || atexit(leave) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes identity = bytes_of(data, size), kid;
    struct pep_proof proof;
    if (!pep)
        enter();
    enum pep_key_state state = pep_find_psk(pep, identity, NULL, HOUSE_NOW, &proof);
    /* A key is found for a known kind only, and never an empty one. */
    if ((state == PEP_KEY_FOUND) != (proof.key_n > 0) ||
        (state == PEP_KEY_FOUND && proof.kind == PEP_IDENTITY_UNKNOWN))
        abort();
    /* The kid form is what it is read as, byte for byte, but for the order. */
    uint8_t again[80];
    if (identity_kid(identity, &kid)) {
        struct bytes want = house_kid_identity(kid.p, kid.n, again);
        if (want.n != size)
            abort();
    }
    struct pep_session *s = state == PEP_KEY_FOUND ? pep_session_open(pep, &proof) : NULL;
    if (s) {
        struct request r = house_request(1, "/lamp/state", LAMP);
        struct pep_decision d;
        pep_authorize(pep, s, &r, HOUSE_NOW, &d);
        pep_session_close(s);
    }
    return 0;
}
