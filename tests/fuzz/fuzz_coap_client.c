/* What an authorization server may answer: datagrams, each behind its length
 * in two bytes; length 0 lets a second pass. A question in one message, one in
 * blocks and an observation are under way; whatever comes, each ends once, and
 * nothing larger than the bound is put together. */
#include <stdlib.h>

#include "../../proxy/coap_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUESTIONS = 3 };

static void on_send(void *user, struct bytes datagram, struct instant now)
{
    (void)user, (void)now;
    struct msg m;
    if (msg_parse(datagram, &m) != MSG_OK) /* what we write we can read */
        abort();
}

static void on_answered(void *user, uint64_t id, const struct coap_answer *a, struct instant now)
{
    (void)now;
    bool *ended = user;
    volatile uint8_t sum = 0;
    if (id >= QUESTIONS || ended[id] || a->body.n > COAP_ANSWER_MAX)
        abort();
    for (size_t i = 0; i < a->body.n; i++)
        sum = (uint8_t)(sum + a->body.p[i]);
    ended[id] = a->last;
}

static void on_suspect(void *user, struct instant now)
{
    (void)user, (void)now;
}

/* Tokens that a corpus can name: all bytes the same, another each time. */
static uint8_t next_random;

static void on_random(void *user, void *to, size_t n)
{
    (void)user;
    memset(to, n == 8 ? ++next_random : 0, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct coap_client_ops ops = {on_send, on_answered, on_suspect, on_random};
    static const struct bytes path[] = {BYTES_LIT("i")};
    static const uint8_t large[2500];
    bool ended[QUESTIONS] = {false};
    struct instant now = {.mono_us = 1000000000};
    next_random = 0;
    struct coap_client *c = coap_client_new(&ops, ended, QUESTIONS, QUESTIONS);
    if (!c)
        abort();
    coap_client_restart(c, now);
    for (uint64_t i = 0; i < QUESTIONS; i++) {
        const struct coap_question q = {.code = i == 2 ? MSG_GET : MSG_POST,
                                        .path = path,
                                        .n_path = 1,
                                        .content_format = CF_NONE,
                                        .accept = CF_NONE,
                                        .body = {large, i == 0   ? 5
                                                        : i == 1 ? sizeof large
                                                                 : 0},
                                        .observe = i == 2,
                                        .wait_ms = 60000};
        if (!coap_client_ask(c, i, &q, now))
            abort();
    }
    while (size >= 2) {
        size_t n = (size_t)data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        if (n > size)
            n = size;
        if (n == 0) {
            now.mono_us += 1000000;
            coap_client_expire(c, now);
            continue;
        }
        /* Of the exact size, so that ASan sees one byte too far. */
        uint8_t *copy = malloc(n);
        if (!copy)
            abort();
        memcpy(copy, data, n);
        coap_client_receive(c, bytes_of(copy, n), now);
        free(copy);
        data += n;
        size -= n;
    }
    size_t left = coap_client_busy(c);
    for (size_t i = 0; i < QUESTIONS; i++)
        left -= !ended[i];
    if (left != 0)
        abort();
    coap_client_end(c, COAP_LOST, now);
    if (coap_client_busy(c) || !ended[0] || !ended[1] || !ended[2])
        abort();
    coap_client_free(c);
    return 0;
}
