#include "msg.h"

#include <coap3/coap.h>

enum {
    HEADER = 4,
    PAYLOAD_MARKER = 0xff,
    EXTENDED_ONE = 13,
    EXTENDED_TWO = 14,
    EXTENDED_TWO_MIN = 269
};

/* The combinations of type and code that mean something (RFC 7252 4.2, 4.3,
 * table 1). A reserved class, an Acknowledgement with a request, a Reset
 * with anything, and an empty Non-confirmable message are all to be rejected
 * as a format error is. */
static bool makes_sense(uint8_t type, uint8_t code)
{
    unsigned class = MSG_CLASS(code);
    if (class == 1 || class > 5)
        return false;
    switch (type) {
    case TYPE_NON:
        return code != MSG_EMPTY;
    case TYPE_ACK:
        return class != 0 || code == MSG_EMPTY;
    case TYPE_RST:
        return code == MSG_EMPTY;
    default:
        return true;
    }
}

/* Options up to the end or the payload marker (RFC 7252 3.1). */
static bool parse_options(struct bytes rest, struct msg *out)
{
    uint32_t number = 0;
    size_t n = 0;
    while (rest.n && *rest.p != PAYLOAD_MARKER) {
        coap_option_t o;
        size_t used = 1u + (*rest.p & 15);
        /* Nearly all have a short number and a short value, in one byte. */
        if (*rest.p >> 4 < EXTENDED_ONE && used <= EXTENDED_ONE) {
            o = (coap_option_t){*rest.p >> 4, used - 1, rest.p + 1};
        } else {
            used = coap_opt_parse(rest.p, rest.n, &o);
        }
        if (used == 0 || used > rest.n)
            return false;
        /* libcoap keeps the delta in 16 bits, where the largest ones (from
         * 0xfef3 in the two extended bytes) wrap to small numbers. */
        if (*rest.p >> 4 == EXTENDED_TWO && o.delta < EXTENDED_TWO_MIN)
            return false;
        number += o.delta;
        if (number > UINT16_MAX)
            return false;
        /* The RFC knows no bound. Ours makes the message one that we "lack
         * the context to process", which is rejected like a format error
         * (4.2): answering 4.02 would mean trusting half a message. */
        if (n == MSG_OPTIONS_MAX)
            return false;
        out->options[n++] = (struct msg_option){(uint16_t)number, {o.value, o.length}};
        rest.p += used;
        rest.n -= used;
    }
    if (rest.n == 1) /* a marker, and nothing behind it */
        return false;
    out->n_options = n;
    if (rest.n)
        out->payload = (struct bytes){rest.p + 1, rest.n - 1};
    return true;
}

enum msg_parse msg_parse(struct bytes datagram, struct msg *out)
{
    const uint8_t *p = datagram.p;
    /* Not all of `out`: it is large, and most of it is never used. */
    out->type = out->code = out->token_n = 0;
    out->mid = 0;
    out->n_options = 0;
    out->payload = BYTES_NONE;
    if (datagram.n < HEADER || p[0] >> 6 != 1)
        return MSG_IGNORE;
    out->type = p[0] >> 4 & 3;
    out->code = p[1];
    out->mid = (uint16_t)(p[2] << 8 | p[3]);

    uint8_t token_n = p[0] & 0x0f;
    struct bytes rest = {p + HEADER, datagram.n - HEADER};
    if (!makes_sense(out->type, out->code))
        return MSG_BAD;
    if (out->code == MSG_EMPTY) /* neither token nor anything else (4.1) */
        return token_n == 0 && rest.n == 0 ? MSG_OK : MSG_BAD;
    if (token_n > MSG_TOKEN_MAX || token_n > rest.n)
        return MSG_BAD;
    struct bytes token = {rest.p, token_n};
    rest.p += token_n;
    rest.n -= token_n;
    if (!parse_options(rest, out))
        return MSG_BAD;
    memcpy(out->token, token.p, token.n);
    out->token_n = token_n;
    return MSG_OK;
}

bool msg_parse_rest(uint8_t code, struct bytes token, struct bytes rest, struct msg *out)
{
    out->type = TYPE_CON;
    out->code = code;
    out->mid = 0;
    out->n_options = 0;
    out->payload = BYTES_NONE;
    out->token_n = 0;
    if (token.n > MSG_TOKEN_MAX || !parse_options(rest, out))
        return false;
    if (token.n)
        memcpy(out->token, token.p, token.n);
    out->token_n = (uint8_t)token.n;
    return true;
}

bool msg_write(const struct msg *m, struct buf *out)
{
    uint8_t first = (uint8_t)(0x40 | (m->type & 3) << 4 | (m->token_n & 0x0f));
    if (m->token_n > MSG_TOKEN_MAX || m->n_options > MSG_OPTIONS_MAX)
        return false;
    if (m->code == MSG_EMPTY && (m->token_n || m->n_options || m->payload.n))
        return false;
    buf_put_u8(out, first);
    buf_put_u8(out, m->code);
    buf_put_be(out, m->mid, 2);
    buf_put(out, bytes_of(m->token, m->token_n));
    uint16_t before = 0;
    for (size_t i = 0; i < m->n_options && !out->full; i++) {
        const struct msg_option *o = &m->options[i];
        size_t room = out->cap - out->n;
        size_t used = 0, delta = (size_t)o->number - before;
        if (delta < EXTENDED_ONE && o->value.n < EXTENDED_ONE && o->value.n < room) {
            buf_put_u8(out, (uint8_t)(delta << 4 | o->value.n));
            buf_put(out, o->value);
            before = o->number;
            continue;
        }
        if (o->number >= before && room)
            used = coap_opt_encode(out->p + out->n, room, (uint16_t)(o->number - before),
                                   o->value.p, o->value.n);
        if (used == 0 || used > room)
            out->full = true;
        else
            out->n += used;
        before = o->number;
    }
    if (m->payload.n) {
        buf_put_u8(out, PAYLOAD_MARKER);
        buf_put(out, m->payload);
    }
    return !out->full;
}

void msg_write_empty(enum msg_type type, uint16_t mid, struct buf *out)
{
    buf_put_u8(out, (uint8_t)(0x40 | (unsigned)type << 4));
    buf_put_u8(out, MSG_EMPTY);
    buf_put_be(out, mid, 2);
}

bool msg_add(struct msg *m, uint16_t number, struct bytes value)
{
    if (m->n_options >= MSG_OPTIONS_MAX)
        return false;
    size_t i = m->n_options++;
    for (; i > 0 && m->options[i - 1].number > number; i--)
        m->options[i] = m->options[i - 1];
    m->options[i] = (struct msg_option){number, value};
    return true;
}

bool msg_add_uint(struct msg *m, uint16_t number, uint32_t v, uint8_t storage[4])
{
    return msg_add(m, number, bytes_of(storage, coap_encode_var_safe(storage, 4, v)));
}

const struct msg_option *msg_find(const struct msg *m, uint16_t number)
{
    for (size_t i = 0; i < m->n_options && m->options[i].number <= number; i++)
        if (m->options[i].number == number)
            return &m->options[i];
    return NULL;
}

int64_t msg_uint(const struct msg *m, uint16_t number)
{
    const struct msg_option *o = msg_find(m, number);
    if (!o || o->value.n > 4)
        return -1;
    return coap_decode_var_bytes(o->value.p, o->value.n);
}
