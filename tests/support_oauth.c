#include "support_oauth.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *kid, *file, *name, *jwk; /* a vector, or the key itself */
    const char *more;
} all[] = {
    {"es", "rfc7515", "a3.jwk", 0, ",\"use\":\"sig\""},
    {"rs", "rfc7515", "a2.jwk", 0, ",\"alg\":\"RS256\""},
    {"ps", "rfc7515", "a2.jwk", 0, ",\"alg\":\"PS256\""},
    {"ed", "rfc7638", "ed25519.jwk", 0, ""},
    {"hs", 0, 0, "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}",
     ",\"alg\":\"HS256\""},
    {"dir", 0, 0, "{\"kty\":\"oct\",\"k\":\"IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}",
     ",\"alg\":\"A256GCM\""},
    {"kw", 0, 0, "{\"kty\":\"oct\",\"k\":\"QAECAwQFBgcICQoLDA0ODw\"}", ",\"alg\":\"A128KW\""},
    {"ec-enc", 0, 0,
     "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\","
     "\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck\","
     "\"d\":\"VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw\"}",
     ",\"use\":\"enc\""},
    {"rsa-enc", "rfc7520", "4.1.jwk", 0, ",\"alg\":\"RSA-OAEP-256\""},
};

enum { N = sizeof all / sizeof *all };

/* The vector's own kid and use go: ours take their place. */
static struct bytes text_of(size_t i)
{
    static uint8_t room[JWK_MAX];
    struct bytes jwk = all[i].jwk ? bytes_str(all[i].jwk) : jose_vector(all[i].file, all[i].name);
    struct key k = jwk_key(jwk);
    struct buf b = buf_on(room, sizeof room);
    k.kid_n = 0;
    k.alg = 0;
    jwk_put(&k, true, &b);
    b.n--; /* the brace */
    buf_put_str(&b, ",\"kid\":\"");
    buf_put_str(&b, all[i].kid);
    buf_put_str(&b, "\"");
    buf_put_str(&b, all[i].more);
    buf_put_str(&b, "}");
    return buf_bytes(&b);
}

struct key oauth_key(const char *kid)
{
    for (size_t i = 0; i < N; i++)
        if (strcmp(kid, all[i].kid) == 0)
            return jwk_key(text_of(i));
    fprintf(stderr, "no test key %s\n", kid);
    abort();
}

void oauth_put_keys(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        abort();
    fputs("{\"keys\":[", f);
    for (size_t i = 0; i < N; i++) {
        struct bytes t = text_of(i);
        fprintf(f, "%s%.*s", i ? "," : "", (int)t.n, (const char *)t.p);
    }
    fputs("]}\n", f);
    if (fclose(f) != 0 || chmod(path, 0600) != 0)
        abort();
}

struct keys *oauth_load(const struct policy *p)
{
    char dir[] = "/tmp/postern-oauth-XXXXXX", path[64], text[512];
    struct buf diag = buf_on(text, sizeof text);
    if (!mkdtemp(dir))
        return NULL;
    (void)snprintf(path, sizeof path, "%s/0", dir);
    oauth_put_keys(path);
    struct keys *keys = keys_load(p, dir, &diag);
    (void)unlink(path);
    (void)rmdir(dir);
    return keys;
}
