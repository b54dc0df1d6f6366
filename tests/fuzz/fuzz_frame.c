/* A stream of CoAP over TCP (RFC 8323) through framing and signalling, taken
 * twice: at once, and in the pieces that the first byte says. Both must end
 * at the same place with the same word; what is a message becomes a datagram
 * and comes back as the same frame. */
#include <stdlib.h>

#include "../../proxy/coap_signal.h"
#include "../../proxy/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

struct end {
    size_t taken, frames, messages;
    enum signal_verdict verdict;
    enum frame_state state;
    struct signals signals;
};

static void message(struct bytes frame, struct end *e)
{
    static uint8_t room[FRAME_HEADROOM + MESSAGE_MAX], again[MESSAGE_MAX];
    memcpy(room + FRAME_HEADROOM, frame.p, frame.n);
    struct bytes datagram = frame_as_datagram(room + FRAME_HEADROOM, frame.n, TYPE_CON, 0);
    struct buf out = buf_on(again, sizeof again);
    check(datagram.n <= MESSAGE_MAX + FRAME_HEADROOM && datagram.p >= room);
    check(frame_write(datagram, &out) && bytes_equal(buf_bytes(&out), frame));
    static struct msg m;
    (void)!msg_parse(datagram, &m);
    e->messages++;
}

/* In pieces of `step` bytes, each of the exact size for ASan. */
static struct end run(const uint8_t *data, size_t size, size_t step)
{
    struct end e = {.verdict = SIGNAL_NOTHING};
    signals_init(&e.signals);
    for (size_t have = 0; have <= size;
         have = have < size && size - have < step ? size : have + step) {
        size_t n = have - e.taken;
        uint8_t *copy = malloc(n ? n : 1);
        check(copy != NULL);
        memcpy(copy, data + e.taken, n);
        struct bytes in = bytes_of(copy, n);
        size_t frame_n;
        while ((e.state = frame_look(in, MESSAGE_MAX, &frame_n)) == FRAME_WHOLE) {
            check(frame_n >= 2 && frame_n <= in.n && frame_n <= MESSAGE_MAX);
            struct frame f = frame_open(bytes_of(in.p, frame_n));
            uint16_t bad;
            const char *why;
            e.verdict = signals_take(&e.signals, &f, &bad, &why);
            check((e.verdict == SIGNAL_FAULT) <= (why != NULL));
            e.taken += frame_n;
            e.frames++;
            if (e.verdict == SIGNAL_MESSAGE)
                message(bytes_of(in.p, frame_n), &e);
            in.p += frame_n;
            in.n -= frame_n;
            if (e.verdict == SIGNAL_FAULT || e.verdict == SIGNAL_ABORTED)
                break;
        }
        check(e.state != FRAME_PART || frame_n == 0 || frame_n > in.n);
        free(copy);
        if (e.state != FRAME_PART)
            break;
    }
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 16)
        return 0;
    struct end a = run(data + 1, size - 1, size), b = run(data + 1, size - 1, (size_t)data[0] + 1);
    check(a.taken == b.taken && a.frames == b.frames && a.messages == b.messages &&
          a.verdict == b.verdict && a.state == b.state);
    check(a.signals.csm == b.signals.csm && a.signals.peer_max == b.signals.peer_max);
    check(!a.messages || a.signals.csm);
    return 0;
}
