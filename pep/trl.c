#include "trl.h"

#include <inttypes.h>
#include <stdio.h>

enum param { PARAM_FULL = 0, PARAM_DIFF = 1, PARAM_CURSOR = 2, PARAM_MORE = 3 };
enum { HASH_SHA256 = 1, CODE_BAD_REQUEST = 4 << 5 };

/* ---- answers ---- */

/* One array of hashes; *n are in it. */
static void read_hashes(struct cbor *c, size_t *n, struct trl_answer *out)
{
    *n = cbor_take_array(c);
    for (size_t i = 0; i < *n && !c->bad; i++) {
        struct bytes h = cbor_take_bytes(c);
        if (h.n == 0 || h.n > 64 + 1 || (h.p[0] == HASH_SHA256 && h.n != TRL_HASH))
            c->bad = true;
        else if (h.p[0] != HASH_SHA256)
            out->foreign++;
    }
}

static void read_diff(struct cbor *c, struct trl_answer *out)
{
    out->n_diff = cbor_take_array(c);
    if (out->n_diff > TRL_DIFF_MAX)
        c->bad = true;
    for (size_t i = 0; i < out->n_diff && !c->bad; i++) {
        const uint8_t *from = c->rest.p;
        size_t n;
        if (cbor_take_array(c) != 2)
            c->bad = true;
        for (int k = 0; k < 2; k++)
            read_hashes(c, &n, out);
        out->diff[i] = bytes_of(from, (size_t)(c->rest.p - from));
    }
}

static void read_cursor(struct cbor *c, struct trl_answer *out)
{
    struct cbor_item i;
    if (cbor_peek(c) == CBOR_NULL) {
        (void)cbor_next(c, &i);
        out->cursor = TRL_CURSOR_NULL;
        return;
    }
    out->at = cbor_take_uint(c);
    out->cursor = TRL_CURSOR_AT;
}

static void read_more(struct cbor *c, struct trl_answer *out)
{
    struct cbor_item i;
    if (!cbor_next(c, &i) || i.kind != CBOR_BOOL)
        c->bad = true;
    out->has_more = true;
    out->more = i.n != 0;
}

bool trl_read(struct bytes body, struct trl_answer *out)
{
    bool full = false, diff = false;
    if (cbor_check(body) != CBOR_OK)
        return false;
    struct cbor c = cbor_on(body);
    out->full = out->has_more = out->more = false;
    out->items = BYTES_NONE;
    out->n_full = out->n_diff = out->foreign = 0;
    out->cursor = TRL_NO_CURSOR;
    out->at = 0;
    size_t n = cbor_take_map(&c);
    for (size_t i = 0; i < n && !c.bad; i++) {
        int64_t key = cbor_take_key(&c);
        const uint8_t *from = c.rest.p;
        switch (key) {
        case PARAM_FULL:
            full = true;
            read_hashes(&c, &out->n_full, out);
            out->items = bytes_of(from, (size_t)(c.rest.p - from));
            break;
        case PARAM_DIFF:
            diff = true;
            read_diff(&c, out);
            break;
        case PARAM_CURSOR:
            read_cursor(&c, out);
            break;
        case PARAM_MORE:
            read_more(&c, out);
            break;
        default:
            (void)cbor_skip(&c);
        }
    }
    out->full = full;
    return cbor_done(&c) && full != diff;
}

/* The array was read once; what is left is to walk it. */
static struct trl_hashes hashes_on(struct cbor *c)
{
    struct trl_hashes h = {{BYTES_NONE, false}, cbor_take_array(c)};
    h.c = *c;
    return h;
}

struct trl_hashes trl_full_set(const struct trl_answer *a)
{
    struct cbor c = cbor_on(a->items);
    return hashes_on(&c);
}

void trl_diff(const struct trl_answer *a, size_t i, struct trl_hashes *removed,
              struct trl_hashes *added)
{
    struct cbor c = cbor_on(a->diff[i]);
    (void)cbor_take_array(&c);
    struct cbor at = c;
    *removed = hashes_on(&at);
    (void)cbor_skip(&c);
    *added = hashes_on(&c);
}

bool trl_next_hash(struct trl_hashes *h, struct bytes *out)
{
    if (h->left == 0)
        return false;
    h->left--;
    *out = cbor_take_bytes(&h->c);
    return !h->c.bad;
}

/* The entry's number in the map of problem details is assigned by IANA after
 * the stored text; the entry is told by its form: a map with an integer 0. */
int trl_error(struct bytes problem)
{
    if (cbor_check(problem) != CBOR_OK)
        return -1;
    struct cbor c = cbor_on(problem);
    size_t n = cbor_take_map(&c);
    for (size_t i = 0; i < n && !c.bad; i++) {
        int64_t key = cbor_take_key(&c);
        struct cbor inner = cbor_on(cbor_skip(&c));
        if (key < 0 || cbor_peek(&inner) != CBOR_MAP)
            continue;
        size_t m = cbor_take_map(&inner);
        for (size_t k = 0; k < m && !inner.bad; k++) {
            if (cbor_take_key(&inner) == 0) {
                int64_t id = cbor_take_int(&inner);
                return !inner.bad && id >= 0 && id <= INT16_MAX ? (int)id : -1;
            }
            (void)cbor_skip(&inner);
        }
    }
    return -1;
}

/* ---- the course ---- */

void trl_init(struct trl *t, uint32_t poll_s, int64_t now_s)
{
    *t = (struct trl){.poll_s = poll_s ? poll_s : 1, .want_full = true, .next_s = now_s};
}

/* With a cursor; there is none before the first change, so differences then
 * are all that there were. */
static bool can_diff(const struct trl *t)
{
    return t->has_full && t->cursor == TRL_CURSOR_AT;
}

bool trl_ask(struct trl *t, int64_t now_s, struct trl_question *out)
{
    if (t->asking || now_s < t->next_s)
        return false;
    bool due = now_s >= t->full_s + (int64_t)t->poll_s;
    *out = (struct trl_question){.full = t->want_full || due || !can_diff(t)};
    /* Each full query renews the observation: a server that forgot it is
     * reminded. */
    out->observe = out->full;
    if (!out->full) {
        (void)snprintf(out->text[0], TRL_QUERY, "diff=0");
        (void)snprintf(out->text[1], TRL_QUERY, "cursor=%" PRIu64, t->at);
        out->n_query = 2;
    }
    for (size_t i = 0; i < out->n_query; i++)
        out->query[i] = bytes_str(out->text[i]);
    t->asking = true;
    return true;
}

static void plan(struct trl *t, int64_t now_s)
{
    int64_t step = t->poll_s;
    if (can_diff(t)) {
        step = t->poll_s / TRL_DIFF_EVERY;
        if (step < TRL_DIFF_MIN_S)
            step = TRL_DIFF_MIN_S;
    }
    int64_t full = t->full_s + (int64_t)t->poll_s;
    t->next_s = now_s + step < full ? now_s + step : full > now_s ? full : now_s + 1;
    t->retry_s = 0;
}

static void fail(struct trl *t, enum trl_health health, int64_t now_s)
{
    t->asking = false;
    t->failures++;
    t->health = health;
    t->retry_s = t->retry_s ? 2 * t->retry_s : TRL_RETRY_MIN_S;
    if (t->retry_s > t->poll_s)
        t->retry_s = t->poll_s;
    t->next_s = now_s + t->retry_s;
}

bool trl_take_answer(struct trl *t, const struct trl_answer *a, bool notification, bool observed,
                     int64_t now_s)
{
    /* Differences from nothing say nothing. */
    if (!a->full && !t->has_full) {
        fail(t, TRL_BAD_ANSWER, now_s);
        t->want_full = true;
        return false;
    }
    if (notification)
        t->notifications++;
    else
        t->asking = false;
    t->answers++;
    t->health = TRL_GOOD;
    t->observing = observed || (t->observing && !a->full);
    if (!a->full && a->cursor == TRL_CURSOR_NULL && a->more) {
        /* What was between is no longer known there (9.2.3, case A). */
        t->want_full = true;
        t->next_s = now_s;
        return false;
    }
    if (a->full) {
        t->has_full = true;
        t->want_full = false;
        t->full_s = now_s;
    }
    t->cursor = a->cursor;
    t->at = a->at;
    if (!a->full && a->more && a->cursor == TRL_CURSOR_AT) {
        t->next_s = now_s; /* the rest, at once */
        t->retry_s = 0;
        return true;
    }
    t->fresh_s = now_s;
    plan(t, now_s);
    return true;
}

void trl_take_error(struct trl *t, uint8_t code, int64_t now_s)
{
    /* Whichever of our parameters it was: the full query has none. */
    bool cursor = code == CODE_BAD_REQUEST && can_diff(t);
    fail(t, code == 0 ? TRL_BAD_ANSWER : TRL_REFUSED, now_s);
    t->code = code;
    t->want_full = true;
    t->cursor = TRL_NO_CURSOR;
    if (cursor)
        t->next_s = now_s;
}

void trl_take_silence(struct trl *t, int64_t now_s)
{
    t->observing = false;
    t->want_full = true;
    fail(t, TRL_SILENT, now_s);
}
