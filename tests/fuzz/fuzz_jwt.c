/* The door of JWTs. The first byte says how far inside the rest begins, so
 * that the cryptography does not keep the fuzzer out:
 *   0 a whole token, to verify and to peek
 *   1 claims, encrypted; 2 claims in the open
 *   3 a JWK or JWK Set
 *   4 a header, in a token with an empty payload
 *   5 claims, to be MACed and then verified as a token */
#include <stdio.h>
#include <stdlib.h>

#include "../../pep/cwt.h"
#include "../../pep/jwt.h"
#include "../fake_authorities.h"
#include "../support_oauth.h"
#include "touch_claims.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keys *keys;
static struct key hs;

static void set_up(void)
{
    static const struct policy_authority a[] = {
        {.name = "zero", .keys = "0", .dialect = POLICY_OAUTH}};
    const struct policy p = {a, 1};
    keys = oauth_load(&p);
    hs = oauth_key("hs");
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

static void claims(struct bytes in, bool encrypted)
{
    uint8_t room[4 * TOKEN_MAX], again[4 * TOKEN_MAX];
    struct buf plain = buf_on(room, sizeof room), out = buf_on(again, sizeof again);
    static struct claims c;
    struct jwt_source from = {.keys = keys, .encrypted = encrypted, .plain = &plain};
    if (jwt_read(in, &from, &c) != PEP_OK)
        return;
    touch_claims(&c);
    /* What was read can be written and read again. */
    plain.full = false;
    if (jwt_write(&c, &out) == PEP_OK) {
        uint8_t more[4 * TOKEN_MAX];
        struct buf b = buf_on(more, sizeof more);
        from.plain = &b;
        if (jwt_read(buf_bytes(&out), &from, &c) != PEP_OK)
            abort();
    }
}

static void set(struct bytes in)
{
    struct key k[4];
    size_t n = 0, which;
    const char *why;
    for (int kind = JWK_SET_FILE; kind <= JWK_SET_FETCHED; kind++) {
        n = 0;
        if (!jwk_read_set(in, (enum jwk_set_kind)kind, k, 4, &n, &why, &which) && n != 0)
            abort();
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t text[JWK_MAX];
        struct buf b = buf_on(text, sizeof text);
        jwk_put(&k[i], true, &b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!keys)
        set_up();
    if (size == 0)
        return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    char header[512];
    switch (data[0]) {
    case 0:
    case '0':
        verify(in);
        break;
    case 1:
    case '1':
        claims(in, true);
        break;
    case 2:
    case '2':
        claims(in, false);
        break;
    case 3:
    case '3':
        set(in);
        break;
    case 4:
    case '4':
        snprintf(header, sizeof header, "%.*s", (int)(in.n < 511 ? in.n : 511), (const char *)in.p);
        verify(jws_of(header, BYTES_LIT("{}"), &hs, "HS256"));
        break;
    case 5:
    case '5':
        if (in.n < 1400)
            verify(jws_of("{\"alg\":\"HS256\"}", in, &hs, "HS256"));
        break;
    default:
        break;
    }
    return 0;
}
