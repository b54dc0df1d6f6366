/* A token that a request names by its ID alone: its authority is asked for it
 * (TS-0003 7.3.2.3, step 6), by the same message as for a permission, which
 * tells the IDs (TS-0004 7.5.1.2.10). */
#include "consult_inside.h"
#include "jose.h"

/* The token of this ID among those that the answer brings. */
static enum pep_err pick(struct round *r, const struct answer *said, struct bytes id,
                         struct bytes *raw)
{
    const struct dynamic_answer *d = &said->consulted.dynamic;
    for (size_t i = 0; i < d->n_tokens; i++) {
        struct learned *l = &r->a->learned;
        if (!jose_is_compact(d->tokens[i]))
            continue;
        enum pep_err err =
            learn_token(r->p, d->tokens[i], LEARN_NO_DEVICE, true, &r->r->peer, r->now_s, l);
        if (err == PEP_PENDING || err == PEP_BUSY)
            return err;
        /* another's word for it is worth nothing */
        if (err == PEP_OK && l->said->token.authority == said->authority &&
            bytes_equal(l->said->token.claims.cti, id)) {
            *raw = d->tokens[i];
            return PEP_OK;
        }
    }
    return PEP_TOKEN_ID;
}

static enum pep_err ask_one(struct round *r, int authority, struct bytes id, struct bytes *raw)
{
    uint8_t text[M2M_ASK_MAX];
    struct buf b = buf_on(text, sizeof text);
    struct answer *said;
    dynamic_write(&r->told.ask, BYTES_NONE, &b);
    struct bytes about = consult_key(r, buf_bytes(&b));
    if (about.n == 0)
        return PEP_TOKEN_ID;
    enum pep_err err = consult_ask(r, PEP_ASK_DYNAMIC, authority, about, &said);
    r->a->learned.wait = r->out->wait;
    r->a->learned.retry_s = r->out->retry_s;
    return err == PEP_OK ? pick(r, said, id, raw) : err;
}

enum pep_err consult_token(struct pep *p, struct pep_session *s, const struct request *r,
                           struct asked *a, struct bytes id, int64_t now_s, struct bytes *raw)
{
    struct policy_consult whom;
    struct consulting out = {.wait = 0};
    struct round round;
    enum pep_err err = PEP_TOKEN_ID;
    policy_consult(p->policy, r->path, r->n_path, &whom);
    if (!whom.dynamic || !consult_describe(s, r, a, &round.told))
        return err;
    round.p = p;
    round.s = s;
    round.r = r;
    round.a = a;
    round.now_s = now_s;
    round.out = &out;
    for (int i = 0; i < POLICY_DYNAMIC_MAX; i++) {
        int authority = whom.dynamic >> i & 1 ? whom.authority[i] : -1;
        if (authority < 0 || !policy_authority(p->policy, (size_t)authority)->dynamic.ask.url)
            continue;
        enum pep_err one = ask_one(&round, authority, id, raw);
        if (one == PEP_OK || one == PEP_PENDING)
            return one;
        if (one != PEP_TOKEN_ID) /* who could know it was not heard */
            err = one;
    }
    return err;
}
