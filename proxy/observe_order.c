#include "observe_order.h"

enum { HALF = 1 << 23, QUIET_US = 128000000 }; /* RFC 7641 3.4 */

bool observe_is_newer(uint32_t v1, uint64_t t1_us, uint32_t v2, uint64_t t2_us)
{
    return (v1 < v2 && v2 - v1 < HALF) || (v1 > v2 && v1 - v2 > HALF) || t2_us > t1_us + QUIET_US;
}

int64_t observe_number(const struct msg *m)
{
    const struct msg_option *o = msg_find(m, OPT_OBSERVE);
    return MSG_CLASS(m->code) == 2 && o && o->value.n <= 3 ? msg_uint(m, OPT_OBSERVE) : -1;
}

static bool is_first_block(const struct msg *m)
{
    enum { NUM_SHIFT = 4 };
    const struct msg_option *o = msg_find(m, OPT_BLOCK2);
    return !o || msg_uint(m, OPT_BLOCK2) >> NUM_SHIFT == 0;
}

/* RFC 7252 5.4.6 */
static bool is_no_cache_key(uint16_t number)
{
    return (number & 0x1e) == 0x1c;
}

bool observe_request(const struct msg *m, struct buf *out)
{
    struct msg r = {.code = m->code, .payload = m->payload};
    if ((m->code != MSG_GET && m->code != MSG_FETCH) || !is_first_block(m) ||
        msg_find(m, OPT_BLOCK1) || msg_find(m, OPT_ECHO))
        return false;
    for (size_t i = 0; i < m->n_options; i++) {
        uint16_t number = m->options[i].number;
        /* Request-Tag is for bodies in blocks (RFC 9175 3.2), which this has
         * none of; some clients put a new one into every request. */
        if (number == OPT_OBSERVE || number == OPT_ETAG || number == OPT_REQUEST_TAG ||
            is_no_cache_key(number))
            continue;
        if (!msg_add(&r, number, m->options[i].value))
            return false;
    }
    return msg_add(&r, OPT_OBSERVE, BYTES_NONE) && msg_write(&r, out);
}
