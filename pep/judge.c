#include "judge.h"

#include "cwt.h"
#include "m2m_names.h"

/* oneM2M: the CSEs that it is for, by patterns; empty: any (TS-0003 7.3.2.3). */
static bool cover_cses(struct pep *p, const struct claims *c)
{
    struct m2m_names names;
    bool any = false;
    for (size_t d = 0; d < p->config.n_devices; d++) {
        bool covers = p->config.devices[d].onem2m && c->n_aud == 0;
        m2m_names_of_cse(&p->config.devices[d], &names);
        for (size_t i = 0; i < c->n_aud; i++)
            for (size_t k = 0; k < names.n; k++)
                covers = covers || m2m_id_matches(c->aud[i], names.of[k]);
        if (covers)
            p->cover[d / 64] |= UINT64_C(1) << (d % 64);
        any = any || covers;
    }
    return any;
}

/* A missing aud is refused: the text allows to take it for ours (RFC 9200
 * 5.10.1.1 "if present"), but a token that anyone would honour grants more. */
bool judge_covers(struct pep *p, const struct claims *c, bool *whole)
{
    bool any = false;
    *whole = false;
    memset(p->cover, 0, p->cover_words * sizeof *p->cover);
    if (c->permissions.n > 0)
        return cover_cses(p, c);
    for (size_t i = 0; i < c->n_aud; i++) {
        for (size_t k = 0; k < p->config.n_audience; k++)
            if (bytes_equal_str(c->aud[i], p->config.audience[k]))
                *whole = any = true;
        for (size_t d = 0; d < p->config.n_devices; d++) {
            const char *name = p->config.devices[d].audience;
            if (name && bytes_equal_str(c->aud[i], name)) {
                p->cover[d / 64] |= UINT64_C(1) << (d % 64);
                any = true;
            }
        }
    }
    return any;
}

/* Marks of older numbers come first: what is over by now bears on the rest. */
static void expire_numbers(struct pep *p, int64_t now_s)
{
    if (now_s >= fresh_next(p->fresh) && fresh_expire(p->fresh, p->config.store, now_s))
        judge_end_numbered(p, now_s);
}

/* Numbers of a self-contained token: exi (RFC 9200 5.10.3), or those of an
 * authority that counts all its tokens (ace-07 5.7.2). */
static enum pep_err judge_by_numbers(struct pep *p, const struct policy_authority *a,
                                     const struct claims *c, int64_t now_s, struct judged *j)
{
    const struct policy_freshness *f = &a->fresh;
    enum pep_err err = PEP_OK;
    if (f->sequence_id) {
        if (!fresh_number(c->cti, f->sequence_id, f->sequence_numeral, &j->number))
            return PEP_CLAIMS;
        j->numbered = GRANT_SEQUENCE;
        err = fresh_judge_sequence(p->fresh, a->name, j->number, f->sequence_range);
    }
    if (err != PEP_OK || !c->has_exi)
        return err;
    /* A token that has both numbers in one cti cannot be read two ways. */
    if (f->sequence_id || !f->exi_id)
        return PEP_UNSUPPORTED;
    if (!fresh_number(c->cti, f->exi_id, f->exi_numeral, &j->number))
        return PEP_CLAIMS;
    int64_t ends_s;
    expire_numbers(p, now_s);
    j->numbered = GRANT_EXI;
    err = fresh_judge_exi(p->fresh, a->name, j->number, c->exi_s, now_s, &ends_s);
    if (err == PEP_OK && ends_s < j->ends_s)
        j->ends_s = ends_s;
    return err;
}

enum pep_err judge_token(struct pep *p, struct cached *said, bool reference, int64_t now_s,
                         struct judged *out)
{
    const struct token *t = &said->token;
    const struct claims *c = &t->claims;
    const struct policy_authority *a =
        t->authority < 0 ? NULL : policy_authority(p->policy, (size_t)t->authority);
    if (!a)
        return PEP_UNKNOWN_KEY;
    *out = (struct judged){.ends_s = c->has_exp ? c->exp_s : CWT_TIME_MAX,
                           .clockless = !c->has_exp && !c->has_nbf};
    enum pep_err err = revoke_judge(p, said);
    if (err != PEP_OK)
        return err;
    err = token_check_times(c, a->issuer, now_s, p->config.build_s);
    /* exp is optional in a CWT; a right without an end grants more. Numbers
     * are an end. */
    if (err == PEP_NO_EXPIRY && a->fresh.sequence_id && !reference)
        err = PEP_OK;
    if (err == PEP_OK && !reference)
        err = judge_by_numbers(p, a, c, now_s, out);
    if (err != PEP_OK)
        return err;
    if (!judge_covers(p, c, &out->whole))
        return PEP_AUDIENCE;
    return c->has_scope ? PEP_OK : PEP_SCOPE;
}

enum pep_err judge_note(struct pep *p, const struct token *t, const struct judged *j, int64_t now_s)
{
    const struct policy_authority *a = policy_authority(p->policy, (size_t)t->authority);
    bool raised = false;
    enum pep_err err = PEP_OK;
    if (j->numbered == GRANT_EXI)
        err = fresh_note_exi(p->fresh, p->config.store, a->name, j->number, t->claims.exi_s, now_s);
    else if (j->numbered == GRANT_SEQUENCE)
        err = fresh_note_sequence(p->fresh, p->config.store, a->name, j->number, &raised);
    p->stats.store_errors += err == PEP_STORE;
    if (raised)
        judge_end_numbered(p, now_s);
    return err;
}

enum pep_err judge_cnonce(const struct pep *p, const struct token *t, int64_t now_s)
{
    const struct policy_authority *a = policy_authority(p->policy, (size_t)t->authority);
    return !a->fresh.cnonce || fresh_cnonce_is(p->fresh, t->claims.cnonce, now_s) ? PEP_OK
                                                                                  : PEP_CNONCE;
}

/* Grants whose number is over count no longer; the next sweep takes them out
 * of the store, and at a start they are judged again. */
void judge_end_numbered(struct pep *p, int64_t now_s)
{
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        struct grant *g = grants_at(p->grants, i);
        const struct policy_authority *a = policy_authority(p->policy, (size_t)g->authority);
        int64_t ends_s;
        bool over = false;
        if (g->numbered == GRANT_SEQUENCE)
            over = a->fresh.sequence_id &&
                   fresh_judge_sequence(p->fresh, a->name, g->number, a->fresh.sequence_range) ==
                       PEP_EXPIRED;
        else if (g->numbered == GRANT_EXI)
            over = fresh_judge_exi(p->fresh, a->name, g->number, 1, now_s, &ends_s) == PEP_EXPIRED;
        if (over && now_s < g->exp_s) {
            g->exp_s = now_s;
            p->changes++;
        }
    }
}

void judge_apply(struct pep *p, const struct judged *j, struct grant *g)
{
    g->whole = j->whole;
    g->exp_s = j->ends_s;
    g->clockless = j->clockless;
    g->numbered = j->numbered;
    g->number = j->number;
    memcpy(g->devices, p->cover, p->cover_words * sizeof *p->cover);
}
