#include "coap_signal.h"

/* RFC 8323 5.3 to 5.6; each number belongs to its code. All but Bad-CSM-Option
 * are elective, and so is every one that we know. */
enum {
    CSM_MAX_MESSAGE_SIZE = 2,
    CSM_BLOCK_WISE_TRANSFER = 4,
    PING_CUSTODY = 2,
    ABORT_BAD_CSM_OPTION = 2,
};

enum { WHY_MAX = 64 };

void signals_init(struct signals *s)
{
    *s = (struct signals){.peer_max = SIGNAL_SIZE_BASE};
}

/* 0: none. Odd is critical here as everywhere (5.2), and no code knows any. */
static uint16_t unknown_critical(const struct msg *m)
{
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number & 1)
            return m->options[i].number;
    return 0;
}

/* What a later CSM does not mention stays as it was (5.3). An option whose
 * length is not one it may have is as an unknown one (RFC 7252 5.4.3), so
 * these, being elective, are passed over. */
static bool take_csm(struct signals *s, const struct msg *m)
{
    int64_t size = msg_uint(m, CSM_MAX_MESSAGE_SIZE);
    const struct msg_option *blocks = msg_find(m, CSM_BLOCK_WISE_TRANSFER);
    if (size >= 0 && size < SIGNAL_SIZE_LEAST)
        return false;
    if (size >= 0)
        s->peer_max = (uint32_t)size;
    if (blocks && blocks->value.n == 0)
        s->peer_blocks = true;
    s->csm = true;
    return true;
}

static bool has_custody(const struct msg *m)
{
    const struct msg_option *o = msg_find(m, PING_CUSTODY);
    return o && o->value.n == 0;
}

enum signal_verdict signals_take(struct signals *s, const struct frame *f, uint16_t *bad_option,
                                 const char **why)
{
    struct msg m;
    *bad_option = 0;
    *why = NULL;
    if (f->code == MSG_EMPTY)
        return SIGNAL_NOTHING;
    if (!s->csm && f->code != SIGNAL_CSM) {
        *why = "the first message is no CSM";
        return f->code == SIGNAL_ABORT ? SIGNAL_ABORTED : SIGNAL_FAULT;
    }
    if (MSG_CLASS(f->code) != 7)
        return SIGNAL_MESSAGE;
    if (f->code == SIGNAL_ABORT) /* whatever stands in it */
        return SIGNAL_ABORTED;
    if (!msg_parse_rest(f->code, f->token, f->rest, &m)) {
        *why = "a signal that is not well-formed";
        return SIGNAL_FAULT;
    }
    uint16_t bad = unknown_critical(&m);
    if (bad) {
        *bad_option = f->code == SIGNAL_CSM ? bad : 0;
        *why = "a critical option that is not known here";
        return SIGNAL_FAULT;
    }
    bool first = !s->csm;
    switch (f->code) {
    case SIGNAL_CSM:
        if (take_csm(s, &m))
            return first ? SIGNAL_READY : SIGNAL_NOTHING;
        *bad_option = CSM_MAX_MESSAGE_SIZE;
        *why = "a message size that nothing fits";
        return SIGNAL_FAULT;
    case SIGNAL_PING:
        return has_custody(&m) ? SIGNAL_ASKED_ALL : SIGNAL_ASKED;
    case SIGNAL_PONG:
        return SIGNAL_ANSWERED;
    case SIGNAL_RELEASE:
        return SIGNAL_RELEASED;
    default:
        *why = "a signal that is not known here";
        return SIGNAL_FAULT;
    }
}

/* ---- what we say ---- */

static void put(struct msg *m, uint8_t code, struct bytes token, struct buf *out)
{
    uint8_t storage[SIGNAL_FRAME_MAX];
    struct buf datagram = buf_on(storage, sizeof storage);
    m->type = TYPE_CON;
    m->code = code;
    m->mid = 0;
    m->token_n = 0;
    if (token.n && token.n <= sizeof m->token) {
        m->token_n = (uint8_t)token.n;
        memcpy(m->token, token.p, token.n);
    }
    if (!msg_write(m, &datagram) || !frame_write(buf_bytes(&datagram), out))
        out->full = true;
}

static void blank(struct msg *m)
{
    m->n_options = 0;
    m->payload = BYTES_NONE;
}

void signal_write_csm(uint32_t max_message, struct buf *out)
{
    struct msg m;
    uint8_t size[4];
    blank(&m);
    /* Both are elective: a peer need not understand them. */
    bool ok = msg_add_uint(&m, CSM_MAX_MESSAGE_SIZE, max_message, size) &&
              msg_add(&m, CSM_BLOCK_WISE_TRANSFER, BYTES_NONE);
    put(&m, SIGNAL_CSM, BYTES_NONE, out);
    out->full |= !ok;
}

void signal_write_ping(struct bytes token, struct buf *out)
{
    struct msg m;
    blank(&m);
    put(&m, SIGNAL_PING, token, out);
}

void signal_write_pong(struct bytes token, bool custody, struct buf *out)
{
    struct msg m;
    blank(&m);
    bool ok = !custody || msg_add(&m, PING_CUSTODY, BYTES_NONE);
    put(&m, SIGNAL_PONG, token, out);
    out->full |= !ok;
}

void signal_write_release(struct buf *out)
{
    struct msg m;
    blank(&m);
    put(&m, SIGNAL_RELEASE, BYTES_NONE, out);
}

void signal_write_abort(uint16_t bad_option, const char *why, struct buf *out)
{
    struct msg m;
    uint8_t number[4];
    blank(&m);
    bool ok = !bad_option || msg_add_uint(&m, ABORT_BAD_CSM_OPTION, bad_option, number);
    m.payload = bytes_str(why);
    if (m.payload.n > WHY_MAX)
        m.payload.n = WHY_MAX;
    put(&m, SIGNAL_ABORT, BYTES_NONE, out);
    out->full |= !ok;
}
