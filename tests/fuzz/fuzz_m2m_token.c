/* The door of oneM2M's tokens. The first byte says how far inside the rest
 * begins:
 *   0 a whole token, carried by a request and posted
 *   1 the content of one, to be read, written and read again
 *   2 a tkps, signed: whatever it says, no more than its authority may grant
 *   3 IDs that a request names, and an originator */
#include <stdlib.h>

#include "../../pep/base64url.h"
#include "../../pep/m2m_token.h"
#include "../support_m2m.h"
#include "touch_claims.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct m2m_house house;
static struct pep_session *session;

static void set_up(void)
{
    m2m_house_make(&house, NULL, NULL, NULL);
    session = m2m_house_open(&house, "phone");
    m2m_house_leave(&house);
}

static const char *const paths[] = {"/cse/lamp/state", "/cse/room/door", "/cse/room/safe",
                                    "/cse/x"};

/* By the policy of support_m2m.c. */
static bool may_ever(size_t path, int op)
{
    switch (path) {
    case 0:
        return op == M2M_RETRIEVE || op == M2M_UPDATE;
    case 1:
        return op == M2M_RETRIEVE || op == M2M_NOTIFY || op == M2M_CREATE;
    case 2:
        return op == M2M_NOTIFY || op == M2M_CREATE;
    default:
        return false;
    }
}

static void ask(struct bytes token)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int op = M2M_CREATE; op <= M2M_DISCOVERY; op++) {
            struct m2m_asking a;
            struct pep_decision d;
            m2m_ask_for(&a, (enum m2m_operation)op, paths[i], "Cphone");
            a.m.tkns[a.m.n_tkns++] = token;
            pep_authorize(house.pep, session, &a.r, M2M_NOW, &d);
            if (d.verdict == POLICY_PERMIT && !may_ever(i, op))
                abort();
        }
}

static void post(struct bytes token)
{
    struct pep_taken t;
    pep_take_token(house.pep, NULL, NULL, token, 42, M2M_NOW, &t);
}

static void content(struct bytes in)
{
    uint8_t room[2 * TOKEN_MAX], again[4 * TOKEN_MAX], more[4 * TOKEN_MAX];
    struct buf plain = buf_on(room, sizeof room), out = buf_on(again, sizeof again),
               b = buf_on(more, sizeof more);
    struct claims c, d;
    struct jwt_source from = {.authority = -1, .encrypted = true, .plain = &plain};
    if (m2m_token_read(in, &from, &c) != PEP_OK)
        return;
    touch_claims(&c);
    if (touch(c.permissions) == 0 || c.sub.n == 0 || c.cti.n == 0 || !c.has_exp || !c.has_iss)
        abort();
    enum m2m_naming naming = in.n % 2 ? M2M_OWN_NAMES : M2M_JWT_NAMES;
    if (m2m_token_write(&c, naming, &out) != PEP_OK)
        return;
    from.plain = &b;
    if (m2m_token_read(buf_bytes(&out), &from, &d) != PEP_OK || !bytes_equal(c.sub, d.sub) ||
        !bytes_equal(c.permissions, d.permissions) || c.exp_s != d.exp_s || c.n_aud != d.n_aud)
        abort();
}

static void tkps(struct bytes in)
{
    static char text[1201];
    if (in.n >= sizeof text || memchr(in.p, 0, in.n))
        return;
    memcpy(text, in.p, in.n);
    text[in.n] = 0;
    const struct m2m_minting m = {.key = "hs", .alg = "HS256", .tkps = text};
    if (*text)
        ask(m2m_mint(&m));
}

static void ids(struct bytes in)
{
    struct m2m_asking a;
    struct pep_decision d;
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/lamp/state", "Cphone");
    size_t third = in.n / 3;
    a.m.tids[a.m.n_tids++] = bytes_of(in.p, third);
    a.m.ltids[a.m.n_ltids++] = bytes_of(in.p + third, third);
    a.m.originator = bytes_of(in.p + 2 * third, in.n - 2 * third);
    pep_authorize(house.pep, session, &a.r, M2M_NOW, &d);
    if (d.verdict == POLICY_PERMIT)
        abort(); /* nobody ever had a token here by an ID */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!session)
        set_up();
    if (size == 0)
        return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    switch (data[0]) {
    case 0:
    case '0':
        ask(in);
        post(in);
        break;
    case 1:
    case '1':
        content(in);
        break;
    case 2:
    case '2':
        tkps(in);
        break;
    case 3:
    case '3':
        ids(in);
        break;
    default:
        break;
    }
    return 0;
}
