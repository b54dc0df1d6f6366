/* A client whose cookie is good, and what it sends next. Input: one byte that
 * picks the suite it offers, then datagrams, each behind its length of two
 * bytes. An association of somebody else must come through unharmed. */
#include <stdlib.h>

#include "../../policy/cursor.h"
#include "../support_dtls.h"

static const uint16_t suites[] = {0xc0a8, 0xccac, 0xc0ae, 0xc02b};

static size_t client_hello(uint8_t *to, size_t cap, uint16_t suite, struct bytes cookie)
{
    struct buf b = buf_on(to, cap);
    size_t body = 2 + 32 + 1 + 1 + cookie.n + 2 + 2 + 2 + 2 + 8 + 6 + 8;
    buf_put(&b, BYTES_LIT("\x16\xfe\xfd\0\0\0\0\0\0\0\1"));
    buf_put_be(&b, 12 + body, 2);
    buf_put_u8(&b, 1);
    buf_put_be(&b, body, 3);
    buf_put_be(&b, 1, 2);
    buf_put_be(&b, 0, 3);
    buf_put_be(&b, body, 3);
    buf_put(&b, BYTES_LIT("\xfe\xfd"
                          "0123456789abcdef0123456789abcdef"
                          "\0"));
    buf_put_u8(&b, (uint8_t)cookie.n);
    buf_put(&b, cookie);
    buf_put_be(&b, 2, 2);
    buf_put_be(&b, suite, 2);
    buf_put(&b, BYTES_LIT("\1\0"));
    buf_put_be(&b, 8 + 6 + 8, 2);
    buf_put(&b, BYTES_LIT("\0\x0a\0\4\0\2\0\x17")); /* P-256 */
    buf_put(&b, BYTES_LIT("\0\x0b\0\2\1\0"));       /* uncompressed */
    buf_put(&b, BYTES_LIT("\0\x0d\0\4\0\2\4\3"));   /* ecdsa_secp256r1_sha256 */
    return b.full ? 0 : b.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig *rig;
    static struct rig_client *other;
    if (!rig) {
        rig = rig_new(NULL, "gateway", "ca");
        rig->identity = BYTES_LIT("fuzz");
        rig->prefix = true;
        rig->key = BYTES_LIT("0123456789abcdef");
        struct dtls_client_config c = {.identity = rig->identity, .key = rig->key};
        other = rig_client(rig, &c, "198.51.100.1", 5000);
        rig_connect(other);
    }
    if (size < 1)
        return 0;
    struct peer from = rig_peer("192.0.2.1", 5000);
    uint16_t suite = suites[data[0] % 4];
    uint8_t hello[256], storage[256];
    struct buf out = buf_on(storage, sizeof storage);
    size_t n = client_hello(hello, sizeof hello, suite, BYTES_NONE);
    if (dtls_greet(assocs_dtls(rig->assocs), &from, bytes_of(hello, n), rig->now, &out) !=
        DTLS_GREET_ANSWER)
        abort();
    n = client_hello(hello, sizeof hello, suite, bytes_of(storage + 28, out.n - 28));
    rig_inject(rig, &from, bytes_of(hello, n));
    rig_run(rig);
    if (rig_stats(rig).half_open != 1)
        abort();
    struct cursor c = cursor_on(bytes_of(data + 1, size - 1));
    while (c.n && cursor_ok(&c)) {
        size_t want = cursor_u16(&c);
        struct bytes d = cursor_take(&c, want < c.n ? want : c.n);
        if (d.n <= DATAGRAM_MAX)
            rig_inject(rig, &from, d);
        rig_run(rig);
    }
    rig_pass(rig, HANDSHAKE_MS + 1000);
    if (rig_stats(rig).half_open != 0 || rig_stats(rig).established != 1)
        abort();
    if (!rig_echo(other, "unharmed"))
        abort();
    return 0;
}
