#include "http_etag.h"

#include <stdlib.h>

#include "../policy/siphash.h"

/* By the low bits of the hash: a newer one takes an older one's place. */
struct http_etags {
    char text[HTTP_ETAGS][HTTP_ETAG_MAX + 1];
};

struct http_etags *http_etags_new(void)
{
    return calloc(1, sizeof(struct http_etags));
}

void http_etags_free(struct http_etags *t)
{
    free(t);
}

static bool is_etag(struct bytes text)
{
    size_t from = text.n > 2 && text.p[0] == 'W' && text.p[1] == '/' ? 2 : 0;
    if (text.n < from + 2 || text.n > HTTP_ETAG_MAX || text.p[from] != '"' ||
        text.p[text.n - 1] != '"')
        return false;
    for (size_t i = from + 1; i + 1 < text.n; i++)
        if (text.p[i] <= 0x20 || text.p[i] == '"' || text.p[i] >= 0x7f)
            return false;
    return true;
}

/* Unkeyed: an ETag is the same before and after a restart. A server whose two
 * collide misleads the clients of its own resource, and nobody else. */
static uint64_t hash(struct bytes text)
{
    static const struct siphash_key key = {0, 0};
    return siphash(&key, text);
}

bool http_etags_put(struct http_etags *t, struct bytes text, uint8_t id[HTTP_ETAG_ID])
{
    if (!is_etag(text))
        return false;
    uint64_t h = hash(text);
    char *to = t->text[h % HTTP_ETAGS];
    memcpy(to, text.p, text.n);
    to[text.n] = '\0';
    for (size_t i = 0; i < HTTP_ETAG_ID; i++)
        id[i] = (uint8_t)(h >> (8 * i));
    return true;
}

const char *http_etags_find(const struct http_etags *t, struct bytes id)
{
    uint64_t h = 0;
    if (id.n != HTTP_ETAG_ID)
        return NULL;
    for (size_t i = 0; i < HTTP_ETAG_ID; i++)
        h |= (uint64_t)id.p[i] << (8 * i);
    const char *text = t->text[h % HTTP_ETAGS];
    return text[0] != '\0' && hash(bytes_str(text)) == h ? text : NULL;
}
