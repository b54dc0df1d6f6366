#include "coap_ask.h"

#include <stdlib.h>

#include "../pep/crypto.h"

enum {
    OPTION_NUMBER = 2, /* bytes, before the length */
    OPTION_HEAD = OPTION_NUMBER + 1,
    CODE_TOO_LARGE = 0x8d, /* 4.13 */
    SZX_MAX = 6,           /* 1024 bytes; 7 is reserved for UDP (RFC 7959 2.2) */
    BLOCK_NUMBER_MAX = (1 << 20) - 1,
    MAX_AGE_DEFAULT_S = 60, /* RFC 7252 5.10.5 */
    MAX_AGE_MOST_S = 86400,
    ORDER_SPAN_US = 128000000, /* RFC 7641 3.4 */
};

/* ---- the question ---- */

static bool put_option(struct buf *b, uint16_t number, struct bytes value)
{
    if (value.n > UINT8_MAX)
        return false;
    buf_put_be(b, number, OPTION_NUMBER);
    buf_put_u8(b, (uint8_t)value.n);
    buf_put(b, value);
    return !b->full;
}

static bool put_options(struct buf *b, const struct coap_question *q)
{
    bool ok = q->n_path + q->n_query + q->n_options <= MSG_OPTIONS_MAX - 8;
    if (q->host.n)
        ok = ok && put_option(b, OPT_URI_HOST, q->host);
    for (size_t i = 0; ok && i < q->n_path; i++)
        ok = put_option(b, OPT_URI_PATH, q->path[i]);
    for (size_t i = 0; ok && i < q->n_query; i++)
        ok = put_option(b, OPT_URI_QUERY, q->query[i]);
    for (size_t i = 0; ok && i < q->n_options; i++)
        ok = put_option(b, q->options[i].number, q->options[i].value);
    return ok;
}

bool coap_ask_init(struct coap_ask *a, const struct coap_question *q)
{
    uint8_t options[COAP_CLIENT_PATH_MAX];
    struct buf b = buf_on(options, sizeof options);
    if (q->body.n > COAP_QUESTION_MAX || !put_options(&b, q))
        return false;
    uint8_t *text = malloc(b.n + q->body.n + 1);
    if (!text)
        return false;
    memcpy(text, options, b.n);
    if (q->body.n)
        memcpy(text + b.n, q->body.p, q->body.n);
    *a = (struct coap_ask){
        .code = q->code,
        .observe = q->observe,
        .content_format = q->content_format,
        .accept = q->accept,
        .wait_ms = q->wait_ms,
        .text = text,
        .options_n = b.n,
        .body_n = q->body.n,
        .szx = SZX_MAX,
        .max_age_s = MAX_AGE_DEFAULT_S,
    };
    return true;
}

void coap_ask_clear(struct coap_ask *a)
{
    coap_ask_drop_answer(a);
    crypto_wipe(a->text, a->options_n + a->body_n);
    free(a->text);
    *a = (struct coap_ask){0};
}

uint64_t coap_ask_due(const struct coap_ask *a)
{
    switch (a->state) {
    case ASK_FREE:
        return UINT64_MAX;
    case ASK_SENT:
        return a->due_ms < a->until_ms ? a->due_ms : a->until_ms;
    case ASK_OBSERVING:
        return a->due_ms;
    case ASK_WAITING:
    case ASK_ACKED:
        break;
    }
    return a->until_ms;
}

static size_t block_size(uint8_t szx)
{
    return (size_t)1 << (szx + 4);
}

/* The part of the body that this message carries; *more: others follow. */
static struct bytes part_of(const struct coap_ask *a, bool *more)
{
    const uint8_t *body = a->text + a->options_n;
    size_t left = a->body_n - a->sent, size = block_size(a->szx);
    *more = a->body_n > COAP_BLOCK && left > size;
    return bytes_of(body + a->sent, *more ? size : left);
}

void coap_ask_write(const struct coap_ask *a, struct buf *out)
{
    uint8_t store[5][4];
    struct msg m;
    m.type = TYPE_CON;
    m.code = a->code;
    m.mid = a->mid;
    m.token_n = COAP_ASK_TOKEN;
    memcpy(m.token, &a->token, COAP_ASK_TOKEN);
    m.n_options = 0;
    m.payload = BYTES_NONE;
    bool ok = true, first = !a->fetching, more;
    for (size_t i = 0; i < a->options_n; i += OPTION_HEAD + a->text[i + OPTION_NUMBER]) {
        const uint8_t *o = a->text + i;
        ok = ok &&
             msg_add(&m, (uint16_t)(o[0] << 8 | o[1]), bytes_of(o + OPTION_HEAD, o[OPTION_NUMBER]));
    }
    if (a->accept >= 0)
        ok = ok && msg_add_uint(&m, OPT_ACCEPT, (uint32_t)a->accept, store[0]);
    if (a->observe && first)
        ok = ok && msg_add_uint(&m, OPT_OBSERVE, 0, store[1]);
    if (first && a->body_n) {
        m.payload = part_of(a, &more);
        if (a->content_format >= 0)
            ok = ok && msg_add_uint(&m, OPT_CONTENT_FORMAT, (uint32_t)a->content_format, store[2]);
        if (a->body_n > COAP_BLOCK)
            ok = ok &&
                 msg_add_uint(&m, OPT_BLOCK1,
                              (uint32_t)(a->sent >> (a->szx + 4)) << 4 | (more ? 8u : 0) | a->szx,
                              store[3]);
    }
    if (a->fetching) /* what follows the first block is asked for with nothing else (2.7) */
        ok = ok && msg_add_uint(&m, OPT_BLOCK2,
                                (uint32_t)(a->answer_n >> (a->answer_szx + 4)) << 4 | a->answer_szx,
                                store[4]);
    if (!ok || !msg_write(&m, out))
        out->full = true;
}

/* ---- the answer ---- */

void coap_ask_drop_answer(struct coap_ask *a)
{
    crypto_wipe(a->answer, a->answer_n);
    free(a->answer);
    a->answer = NULL;
    a->answer_n = a->answer_cap = 0;
    a->fetching = false;
}

static bool append(struct coap_ask *a, struct bytes part)
{
    if (part.n > COAP_ANSWER_MAX - a->answer_n)
        return false;
    if (part.n > a->answer_cap - a->answer_n) {
        size_t cap = a->answer_cap ? a->answer_cap * 2 : 4096;
        while (cap < a->answer_n + part.n)
            cap *= 2;
        uint8_t *grown = malloc(cap); /* not realloc(): the old place is wiped */
        if (!grown)
            return false;
        if (a->answer_n)
            memcpy(grown, a->answer, a->answer_n);
        crypto_wipe(a->answer, a->answer_n);
        free(a->answer);
        a->answer = grown;
        a->answer_cap = cap;
    }
    if (part.n)
        memcpy(a->answer + a->answer_n, part.p, part.n);
    a->answer_n += part.n;
    return true;
}

static bool same_etag(const struct coap_ask *a, const struct msg *m)
{
    const struct msg_option *o = msg_find(m, OPT_ETAG);
    return bytes_equal(o ? o->value : BYTES_NONE, bytes_of(a->etag, a->etag_n));
}

enum coap_taken coap_ask_take_block(struct coap_ask *a, const struct msg *m)
{
    if (!msg_find(m, OPT_BLOCK2)) {
        a->answer_n = 0; /* an error in the middle, or a server that thought better */
        return append(a, m->payload) ? TAKEN_WHOLE : TAKEN_BAD;
    }
    int64_t v = msg_uint(m, OPT_BLOCK2);
    if (v < 0 || v >> 4 > BLOCK_NUMBER_MAX || (v & 7) > SZX_MAX)
        return TAKEN_BAD;
    uint8_t szx = (uint8_t)(v & 7);
    bool more = v & 8;
    size_t at = (size_t)(v >> 4) << (szx + 4);
    if (more ? m->payload.n != block_size(szx) : m->payload.n > block_size(szx))
        return TAKEN_BAD;
    if (!a->fetching) {
        const struct msg_option *etag = msg_find(m, OPT_ETAG);
        if (at != 0 || (etag && etag->value.n > sizeof a->etag))
            return TAKEN_BAD;
        a->answer_n = 0;
        a->answer_code = m->code;
        a->etag_n = etag ? (uint8_t)etag->value.n : 0;
        if (etag)
            memcpy(a->etag, etag->value.p, etag->value.n);
    } else if (m->code != a->answer_code || !same_etag(a, m)) {
        return TAKEN_CHANGED;
    }
    if (at != a->answer_n || !append(a, m->payload))
        return TAKEN_BAD;
    /* The next one's number must be whole in this size. */
    if (more && a->answer_n % block_size(szx) != 0)
        return TAKEN_BAD;
    a->answer_szx = szx;
    return more ? TAKEN_PART : TAKEN_WHOLE;
}

bool coap_ask_goes_on(struct coap_ask *a, const struct msg *m)
{
    int64_t v = msg_uint(m, OPT_BLOCK1);
    bool more;
    struct bytes part = part_of(a, &more);
    if (a->body_n <= COAP_BLOCK || v < 0 || (v & 7) > SZX_MAX)
        return false;
    uint8_t szx = (uint8_t)(v & 7);
    if (m->code == CODE_TOO_LARGE && szx < a->szx && a->sent == 0) {
        a->szx = szx;
        return true;
    }
    if (m->code != COAP_ASK_CONTINUE || !more || (size_t)(v >> 4) != a->sent >> (a->szx + 4))
        return false;
    a->sent += part.n;
    if (szx < a->szx)
        a->szx = szx;
    return true;
}

/* ---- what it is about an observation ---- */

bool coap_ask_is_newer(const struct coap_ask *a, uint32_t seq, struct instant now)
{
    uint32_t v1 = a->observed_seq, v2 = seq;
    return !a->registered || (v1 < v2 && v2 - v1 < UINT32_C(1) << 23) ||
           (v1 > v2 && v1 - v2 > UINT32_C(1) << 23) || now.mono_us > a->observed_us + ORDER_SPAN_US;
}

void coap_ask_note_observed(struct coap_ask *a, const struct msg *m, struct instant now)
{
    int64_t seq = msg_uint(m, OPT_OBSERVE);
    bool on = a->observe && MSG_CLASS(m->code) == 2 && seq >= 0;
    if (on) {
        a->observed_seq = (uint32_t)seq & 0xffffff;
        a->observed_us = now.mono_us;
    }
    a->registered = on;
}

void coap_ask_note_max_age(struct coap_ask *a, const struct msg *m)
{
    int64_t v = msg_uint(m, OPT_MAX_AGE);
    a->max_age_s = v < 0 ? MAX_AGE_DEFAULT_S : v > MAX_AGE_MOST_S ? MAX_AGE_MOST_S : (uint32_t)v;
}
