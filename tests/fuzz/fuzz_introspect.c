/* The door of answers: whatever an authorization server, or who is taken for
 * it, sends back. The first byte tells the form:
 *   bit 0: over HTTP; bit 1: ace-07; bit 2: the other content-format, or a JWT
 * The next is the code. The rest is the body. An answer that reads as active
 * must say so in so many words, and all that it says lie within its storage. */
#include <stdlib.h>

#include "../../pep/introspect.h"
#include "../fake_authorities.h"
#include "../support_oauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keys *keys;

static void set_up(void)
{
    static const struct policy_authority a[] = {
        {.name = "zero", .keys = "0", .dialect = POLICY_OAUTH}};
    const struct policy p = {a, 1};
    keys = oauth_load(&p);
    if (!keys)
        abort();
}

static bool lies_in(struct bytes b, const struct buf *storage)
{
    return b.n == 0 || (b.p >= storage->p && b.p + b.n <= storage->p + storage->cap);
}

static void check(const struct introspection *in, const struct buf *storage)
{
    const struct claims *c = &in->claims;
    bool ok = lies_in(c->iss, storage) && lies_in(c->sub, storage) && lies_in(c->cti, storage) &&
              lies_in(c->scope_words, storage) && lies_in(c->cnonce, storage) &&
              lies_in(c->cnf.kid, storage) && lies_in(c->cnf.x, storage) &&
              lies_in(c->cnf.y, storage) && lies_in(in->client_token, storage);
    for (size_t i = 0; i < c->n_aud; i++)
        ok = ok && lies_in(c->aud[i], storage);
    for (size_t i = 0; i < c->n_aif; i++)
        ok = ok && lies_in(c->aif[i].path, storage);
    if (!ok || in->client_token.n > INTROSPECT_CLIENT_TOKEN_MAX || c->cnf.key_n > TOKEN_KEY_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!keys)
        set_up();
    if (size < 2 || size > INTROSPECT_ANSWER_MAX)
        return 0;
    bool http = data[0] & 1, other = data[0] & 4;
    struct introspect_about a = {.keys = keys,
                                 .dialect = http          ? POLICY_OAUTH
                                            : data[0] & 2 ? POLICY_ACE07
                                                          : POLICY_RFC9200,
                                 .http = http,
                                 .issuer = "https://as.home",
                                 .client_id = "rs-1",
                                 .token = BYTES_LIT("reference")};
    struct pep_reply r = {.code = data[1],
                          .content_format =
                              http    ? (other ? PEP_FORMAT_INTROSPECTION_JWT : PEP_FORMAT_JSON)
                              : other ? PEP_FORMAT_CBOR
                                      : PEP_FORMAT_ACE_CBOR,
                          .body = bytes_of(data + 2, size - 2)};
    struct introspection in;
    size_t n = 2 * r.body.n + 64;
    uint8_t *room = malloc(n);
    if (!room)
        abort();
    struct buf storage = buf_on(room, n);
    introspect_read(&a, &r, &storage, &in);
    if (in.said == INTROSPECT_ACTIVE) {
        check(&in, &storage);
        /* Merged with nothing it is what it was, or refused. */
        struct claims own = {0};
        uint8_t words[64];
        struct buf more = buf_on(words, sizeof words);
        (void)!introspect_merge(&own, &in.claims, &more);
    }
    free(room);
    return 0;
}
