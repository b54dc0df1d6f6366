#include "support_jose.h"

#include <stdio.h>
#include <stdlib.h>

#include "../pep/base64url.h"
#include "../pep/crypto_jose.h"

enum { ROOM = 1 << 22, LINE = 16384 };
static uint8_t room[ROOM];
static size_t used;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s\n", what, which);
    abort();
}

static struct buf fresh(size_t n)
{
    if (n > ROOM - used)
        used = 0; /* a long test: what is that old is not looked at any more */
    struct buf b = buf_on(room + used, n);
    return b;
}

static struct bytes finish(const struct buf *b)
{
    if (b->full)
        die("too long", "a text");
    used += b->n;
    return buf_bytes(b);
}

struct bytes jose_vector(const char *file, const char *name)
{
    char path[512], line[LINE];
    snprintf(path, sizeof path, "%s/vectors/%s.jose", TESTS_DIR, file);
    FILE *f = fopen(path, "r");
    if (!f)
        die("cannot open", path);
    struct bytes out = BYTES_NONE;
    size_t n = strlen(name);
    while (!out.p && fgets(line, sizeof line, f)) {
        if (line[0] == '#' || strncmp(line, name, n) != 0 || line[n] != ' ')
            continue;
        line[strcspn(line, "\n")] = 0;
        struct buf b = fresh(strlen(line));
        buf_put_str(&b, line + n + 1);
        out = finish(&b);
    }
    fclose(f);
    if (!out.p)
        die("no such vector", name);
    return out;
}

struct bytes base64url_text(struct bytes in)
{
    struct buf b = fresh(in.n * 4 / 3 + 4);
    base64url_put(&b, in);
    return finish(&b);
}

struct bytes base64url_bytes(const char *text)
{
    struct buf b = fresh(strlen(text));
    if (!base64url_read(bytes_str(text), &b))
        die("no base64url", text);
    return finish(&b);
}

struct key jwk_key(struct bytes text)
{
    struct key k = {.kind = KEY_NONE};
    const char *why = "no JSON";
    struct json_node *doc = json_doc_read(text);
    if (!doc || !jwk_read(doc, 1, &k, &why))
        die("no JWK", why);
    json_doc_free(doc);
    return k;
}

struct bytes jws_of(const char *header, struct bytes payload, const struct key *key,
                    const char *alg)
{
    uint8_t proof[CRYPTO_RSA_MAX];
    struct buf p = buf_on(proof, sizeof proof);
    struct buf b = fresh((strlen(header) + payload.n + sizeof proof) * 2);
    base64url_put(&b, bytes_str(header));
    buf_put_u8(&b, '.');
    base64url_put(&b, payload);
    struct bytes guarded = buf_bytes(&b);
    const struct crypto_alg *a = crypto_jose_named(bytes_str(alg));
    if (!a || !key_sign(key, a, &guarded, 1, &p))
        die("cannot sign", alg);
    buf_put_u8(&b, '.');
    base64url_put(&b, buf_bytes(&p));
    return finish(&b);
}
