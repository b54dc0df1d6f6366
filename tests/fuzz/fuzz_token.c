/* The door of tokens. The first byte says how far inside the rest begins, so
 * that the cryptography does not keep the fuzzer out:
 *   0 a whole token, to verify and to peek
 *   1 claims of rfc9200, 2 claims of ace-07, both encrypted
 *   3 a COSE_Key
 *   4 claims, to be MACed and then verified as a token
 *   5 a protected header (up to the first ff) and a payload, likewise */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../pep/cbor.h"
#include "../../pep/cose.h"
#include "../../pep/cwt.h"
#include "../../pep/token.h"
#include "../fake_authorities.h"
#include "../support_hex.h"
#include "../support_token.h"
#include "touch_claims.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keys *keys;

static void set_up(void)
{
    static const struct policy_authority a[] = {
        {.name = "zero", .keys = "0", .dialect = POLICY_RFC9200},
        {.name = "one", .keys = "1", .dialect = POLICY_ACE07}};
    const struct policy p = {a, 2};
    char dir[] = "/tmp/postern-fuzz-XXXXXX", text[512];
    struct buf diag = buf_on(text, sizeof text);
    if (!mkdtemp(dir))
        abort();
    put_authorities(dir, 2);
    keys = keys_load(&p, dir, &diag);
    drop_authorities(dir, 2);
    rmdir(dir);
    if (!keys)
        abort();
}

static void verify(struct bytes raw)
{
    static struct token t;
    static struct token_unverified u;
    if (token_verify(keys, raw, &t) == PEP_OK) {
        touch_claims(&t.claims);
        if (token_peek(raw, &u) != PEP_OK)
            abort();
    }
    if (token_peek(raw, &u) == PEP_OK && u.readable)
        touch_claims(&u.token.claims);
    token_clear(&t);
}

static void claims(struct bytes in, int authority)
{
    uint8_t room[TOKEN_MAX], again[TOKEN_MAX];
    struct buf plain = buf_on(room, sizeof room), out = buf_on(again, sizeof again);
    static struct claims c;
    struct cwt_source from = {.keys = keys,
                              .authority = authority,
                              .dialect = keys_dialect(keys, authority),
                              .encrypted = true,
                              .raw = in.n <= TOKEN_MAX ? in : BYTES_NONE,
                              .plain = &plain};
    if (cwt_read(in, &from, &c) != PEP_OK)
        return;
    touch_claims(&c);
    /* What was read can be written and read again. */
    cwt_write(&c, from.dialect, &out);
    if (!out.full && cwt_read(buf_bytes(&out), &from, &c) != PEP_OK)
        abort();
}

static void guarded(struct bytes in)
{
    const uint8_t *end = in.n ? memchr(in.p, 0xff, in.n) : NULL;
    size_t n = end ? (size_t)(end - in.p) : in.n;
    struct key k = test_key(0, 5);
    struct forgery f = {.tags = BYTES_LIT("\xd1"),
                        .guarded = bytes_of(in.p, n),
                        .unguarded = BYTES_LIT("\xa0"),
                        .content = end ? bytes_of(end + 1, in.n - n - 1) : BYTES_NONE};
    if (in.n < 1500)
        verify(forge(5, &k, &f));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!keys)
        set_up();
    if (size == 0)
        return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    struct key k;
    const char *why;
    switch (data[0]) {
    case 0:
        verify(in);
        break;
    case 1:
    case 2:
        claims(in, data[0] - 1);
        break;
    case 3:
        if (key_from_cose(in, &k, &why))
            key_clear(&k);
        break;
    case 4:
        if (in.n < 1500) {
            uint8_t room[2048];
            struct buf b = buf_on(room, sizeof room);
            buf_put(&b, BYTES_LIT("\xa1\x01\x05\xff"));
            buf_put(&b, in);
            guarded(buf_bytes(&b));
        }
        break;
    case 5:
        guarded(in);
        break;
    default:
        break;
    }
    return 0;
}
