/* The door of revocation lists. The first byte says what the rest is:
 *   0 an answer's body, 1 problem details
 *   2 a course: commands of one byte, an answer's body where one needs it */
#include <stdlib.h>

#include "../../pep/trl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct trl_answer answer;

static size_t walk(struct trl_hashes h)
{
    size_t n = 0;
    for (struct bytes b; trl_next_hash(&h, &b); n++)
        if (b.n == 0 || b.n > 65 || (b.p[0] == 1 && b.n != TRL_HASH))
            abort();
    return n;
}

/* What was read can be walked to its end, and holds what was promised. */
static bool read_answer(struct bytes body)
{
    if (!trl_read(body, &answer))
        return false;
    if (answer.full ? answer.n_diff != 0 : answer.n_full != 0)
        abort();
    if (answer.full && walk(trl_full_set(&answer)) != answer.n_full)
        abort();
    for (size_t i = 0; i < answer.n_diff; i++) {
        struct trl_hashes removed, added;
        trl_diff(&answer, i, &removed, &added);
        size_t n = removed.left, m = added.left;
        if (walk(removed) != n || walk(added) != m)
            abort();
    }
    return true;
}

static void course(struct bytes in)
{
    struct trl t;
    int64_t now_s = 1000;
    trl_init(&t, 300, now_s);
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        struct trl_question q;
        switch (c & 7) {
        case 0:
            now_s += c >> 3;
            break;
        case 1:
            now_s += (int64_t)(c >> 3) * 60;
            break;
        case 2:
            if (trl_ask(&t, now_s, &q) && q.full != (q.n_query == 0))
                abort();
            break;
        case 3:
            trl_take_error(&t, c >> 3 ? 0x80 : 0, now_s);
            break;
        case 4:
            trl_take_silence(&t, now_s);
            break;
        default: {
            size_t n = in.n - i - 1 < c >> 3 ? in.n - i - 1 : c >> 3;
            if (read_answer(bytes_of(in.p + i + 1, n)) &&
                trl_take_answer(&t, &answer, (c & 7) == 5, (c & 7) == 6, now_s) && !t.has_full)
                abort();
            i += n;
        }
        }
        /* It never stops asking. */
        if (!t.asking && t.next_s > now_s + 300)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    if (data[0] == 0)
        (void)read_answer(in);
    else if (data[0] == 1)
        (void)trl_error(in);
    else if (data[0] == 2)
        course(in);
    return 0;
}
