/* A session over a restart. */
#include "../policy/cursor.h"
#include "inside.h"
#include "take.h"

enum { TRUSTED = 1, SUBJECT = 2 };

bool pep_session_save(const struct pep_session *s, struct buf *out)
{
    size_t ids = (size_t)s->n_keys + s->has_subject_id;
    buf_put_u8(out, s->strength);
    buf_put_u8(out, (uint8_t)((s->trusted ? TRUSTED : 0) | (s->has_subject_id ? SUBJECT : 0)));
    buf_put_be(out, s->last_exp_s, 4);
    buf_put_u8(out, (uint8_t)ids);
    buf_put(out, bytes_of(s->tail, ids * PEP_KEY_ID));
    buf_put_be(out, strlen(session_name(s)), 1);
    buf_put_str(out, session_name(s));
    buf_put_u8(out, s->named_n);
    buf_put(out, session_named(s));
    buf_put_u8(out, s->n_bearer);
    for (uint8_t i = 0; i < s->n_bearer; i++) {
        buf_put_u8(out, (uint8_t)s->bearer[i]->via);
        buf_put_be(out, s->bearer[i]->raw.n, 2);
        buf_put(out, s->bearer[i]->raw);
    }
    return !out->full;
}

bool pep_session_trusts(const struct pep_session *s)
{
    return s->trusted;
}

/* Verified and judged as on the day it came. One that has to be asked about
 * is lost: its client posts it again. */
static void take_bearer(struct pep_session *s, uint8_t via, struct bytes raw,
                        const struct policy_peer *from, int64_t now_s)
{
    struct pep_taken taken;
    struct grant *g;
    if (via <= PEP_VIA_LAST)
        take_token(s->pep, s, from, raw, (enum pep_via)via, now_s, &taken, &g);
}

struct pep_session *pep_session_restore(struct pep *p, struct bytes in,
                                        const struct policy_peer *from, int64_t now_s)
{
    uint8_t ids[1 + SESSION_IDS][PEP_KEY_ID] = {{0}};
    char name[PEP_SUBJECT_MAX] = "";
    struct cursor c = cursor_on(in);
    uint8_t strength = cursor_u8(&c), flags = cursor_u8(&c);
    uint32_t last_exp_s = (uint32_t)cursor_be(&c, 4);
    size_t n = cursor_u8(&c), first = flags & SUBJECT ? 0 : 1;
    if (strength > POLICY_STRENGTH_CERTIFICATE || n > 1 + SESSION_IDS - first)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        struct bytes id = cursor_take(&c, PEP_KEY_ID);
        if (id.n)
            memcpy(ids[first + i], id.p, PEP_KEY_ID);
    }
    struct bytes text = cursor_vector(&c, 1), named = cursor_vector(&c, 1);
    if (!cursor_ok(&c) || text.n >= sizeof name)
        return NULL;
    if (text.n)
        memcpy(name, text.p, text.n);
    struct pep_session *s = session_new(p, ids, name, named);
    if (!s)
        return NULL;
    s->strength = strength;
    s->trusted = (flags & TRUSTED) != 0;
    s->last_exp_s = last_exp_s;
    for (uint8_t more = cursor_u8(&c); more > 0 && cursor_ok(&c); more--) {
        uint8_t via = cursor_u8(&c);
        struct bytes raw = cursor_vector(&c, 2);
        if (cursor_ok(&c))
            take_bearer(s, via, raw, from, now_s);
    }
    if (!cursor_done(&c)) {
        pep_session_close(s);
        return NULL;
    }
    session_refresh(s);
    return s;
}
