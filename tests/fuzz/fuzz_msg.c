/* A datagram through the parser and the table of options. What is accepted
 * must come back as it was when it is written, and what is let through must
 * be a message again, without the token. */
#include <stdlib.h>

#include "../../proxy/forward.h"
#include "../../proxy/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TOKEN = 65000, ROOM = 1 << 17 };

static void check(bool ok)
{
    if (!ok)
        abort();
}

static bool same(const struct msg *a, const struct msg *b)
{
    if (a->type != b->type || a->code != b->code || a->mid != b->mid ||
        a->n_options != b->n_options || !bytes_equal(a->payload, b->payload) ||
        !bytes_equal(bytes_of(a->token, a->token_n), bytes_of(b->token, b->token_n)))
        return false;
    for (size_t i = 0; i < a->n_options; i++)
        if (a->options[i].number != b->options[i].number ||
            !bytes_equal(a->options[i].value, b->options[i].value))
            return false;
    return true;
}

static void round_trip(const struct msg *m)
{
    static uint8_t out[ROOM];
    static struct msg back;
    struct buf b = buf_on(out, sizeof out);
    check(msg_write(m, &b));
    check(msg_parse(buf_bytes(&b), &back) == MSG_OK);
    check(same(m, &back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct forward_config config = {.access_token = TOKEN};
    static const struct bytes prefix[] = {{(const uint8_t *)"lamp", 4}};
    static const struct forward_map map = {prefix, 1, NULL, 0};
    static struct msg m, out;
    if (size > ROOM / 2 || msg_parse(bytes_of(data, size), &m) != MSG_OK)
        return 0;
    round_trip(&m);

    struct request r;
    struct bytes host;
    const char *why;
    struct forward_scratch scratch;
    uint8_t code = forward_read(&config, &m, &r, &host, &why);
    bool done = forward_request(&config, &m, &map, &out, &scratch);
    if (code == 0) {
        check(done == (r.n_path >= 1));
        if (done) {
            check(!msg_find(&out, TOKEN) && !msg_find(&out, OPT_URI_HOST));
            out.mid = 1;
            round_trip(&out);
        }
    }
    if (forward_response(&config, &m, &map, &out) == 0) {
        check(msg_is_response(&m) && !msg_find(&out, TOKEN));
        round_trip(&out);
    }
    return 0;
}
