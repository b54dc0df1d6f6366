#include "credit.h"

#include "consult.h"
#include "learn.h"

static void credit(const struct pep *p, const struct asked *a, int held, const char *role,
                   struct pep_credit *out)
{
    *out = (struct pep_credit){.ends_s = INT64_MAX, .basis.kind = PEP_ON_NOTHING, .permission = -1};
    if (held < 0 || (size_t)held >= a->q.n_held || a->of[held].unassociated)
        return;
    const struct grant *g = a->of[held].grant;
    const struct token *t = a->of[held].token;
    int authority = -1;
    if (g) {
        authority = g->authority;
        out->grant = g->id;
        out->ends_s = g->exp_s;
        out->basis.kind = PEP_ON_GRANT;
        out->basis.grant = g->id;
    } else if (t) {
        authority = t->authority;
        out->ends_s = a->of[held].ends_s;
        out->basis.kind = PEP_ON_TOKEN;
        out->basis.authority = revoke_authority_id(p, authority);
        out->basis.revoked = p->revokes;
        memcpy(out->basis.token, t->hash, sizeof out->basis.token);
    } else if (a->of[held].answer) {
        authority = a->of[held].answer->authority;
        out->ends_s = a->of[held].ends_s;
        out->basis = consult_basis(p);
    } else {
        out->basis.kind = PEP_ON_ENROLMENT;
        out->ends_s = a->of[held].ends_s;
    }
    if ((g ? g->permissions_text.n : t ? t->claims.permissions.n : 0) > 0) {
        out->token_id = g ? g->cti : t->claims.cti;
        out->holder = g ? g->sub : t->claims.sub;
        out->permission = a->of[held].permission;
    }
    out->role = a->q.operation ? role : NULL;
    if (authority >= 0)
        out->authority = policy_authority(p->policy, (size_t)authority)->name;
}

static void take_credit(struct pep_decision *d, const struct pep_credit *c)
{
    d->authority = c->authority;
    d->grant = c->grant;
    d->token_id = c->token_id;
    d->holder = c->holder;
    d->role = c->role;
    d->permission = c->permission;
    d->basis = c->basis;
    d->ends_s = c->ends_s;
}

void credit_decision(const struct pep *p, const struct asked *a, int held, const char *role,
                     struct pep_decision *out)
{
    struct pep_credit by;
    credit(p, a, held, role, &by);
    take_credit(out, &by);
}

/* Whose requests are counted. Where a token names its subject, its authority's
 * word for it: a client does not start anew with a token of another key. Else
 * the key that is proved; of a bearer token, the token. */
static void count_for(const struct pep *p, const struct pep_session *s, const struct asked *a,
                      int held, struct bytes who[2])
{
    const struct grant *g = a->of[held].grant;
    const struct token *t = a->of[held].token;
    struct bytes sub = g ? g->sub : t ? t->claims.sub : BYTES_NONE;
    int authority = g ? g->authority : t ? t->authority : -1;
    const uint8_t *key = g ? (g->key.kind == CNF_NONE ? NULL : g->key.id) : a->of[held].key;
    if (a->of[held].unassociated) {
        who[0] = BYTES_LIT("\0unassociated");
        who[1] = bytes_str(a->of[held].unassociated);
    } else if (a->of[held].answer) {
        who[0] = BYTES_LIT("\0key");
        who[1] = bytes_of(session_owner(s), PEP_KEY_ID);
    } else if (authority < 0) {
        who[0] = BYTES_LIT("\0subject");
        who[1] = bytes_str(session_subject(s)->said->name);
    } else if (sub.n > 0) {
        who[0] = bytes_str(policy_authority(p->policy, (size_t)authority)->name);
        who[1] = sub;
    } else {
        who[0] = key ? BYTES_LIT("\0key") : BYTES_LIT("\0token");
        who[1] = key ? bytes_of(key, PEP_KEY_ID) : bytes_of(g ? g->hash : t->hash, TOKEN_HASH);
    }
}

void credit_offers(const struct pep *p, const struct pep_session *s, const struct asked *a,
                   const struct policy_decision *d, struct pep_decision *out)
{
    const struct policy_rate *own =
        s && session_subject(s) && session_subject(s)->said->rate.count > 0
            ? &session_subject(s)->said->rate
            : NULL;
    for (uint8_t i = 0; i < d->n_offers; i++) {
        const struct policy_offer *from = &d->offers[i];
        struct pep_offer *to = &out->offers[out->n_offers++];
        to->rule = from->rule;
        credit(p, a, from->held, from->holder, &to->credit);
        to->n_rates = from->n_rates;
        memcpy(to->rates, from->rates, from->n_rates * sizeof *to->rates);
        if (own)
            to->rates[to->n_rates++] = own;
        count_for(p, s, a, from->held, to->who);
    }
    if (d->n_offers > 0 || !own)
        return;
    struct pep_offer *only = &out->offers[out->n_offers++];
    *only = (struct pep_offer){.rule = d->rule, .n_rates = 1, .rates = {own}};
    credit(p, a, d->held, d->holder, &only->credit);
}

void pep_accept(struct pep_decision *d, size_t offer)
{
    d->rule = d->offers[offer].rule;
    take_credit(d, &d->offers[offer].credit);
}
