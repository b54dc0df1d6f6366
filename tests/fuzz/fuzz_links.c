/* A device's link document, in blocks as the first byte says, through
 * learning and listing. What comes out must be a document again, whose every
 * link has a name of the gateway's. The second byte's bits choose who may
 * touch what; a first line that begins with '?' is a filter. */
#include <stdlib.h>

#include "../../proxy/links.h"
#include "../../proxy/listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static const struct bytes lamp[] = {{(const uint8_t *)"lamp", 4}};
static const struct discovery_device devices[] = {
    {"lamp", NULL, {lamp, 1, NULL, 0}, false, false},
    {"meter", "meter.home", {NULL, 0, NULL, 0}, false, false},
};

static void learn(struct discovery *d, int device, struct bytes text, unsigned szx)
{
    check(discovery_next(d, 0) == device);
    for (bool again = true; again;) {
        struct msg ask, m = {.type = TYPE_ACK, .code = MSG_CODE(2, 5), .payload = text};
        struct discovery_scratch scratch;
        uint8_t storage[4];
        check(discovery_request(d, device, &ask, &scratch));
        if (szx < 7) {
            int64_t block = msg_uint(&ask, OPT_BLOCK2);
            size_t n = (size_t)16 << szx, from = block < 0 ? 0 : (size_t)(block >> 4) * n;
            check(from <= text.n);
            bool more = text.n - from > n;
            m.payload = bytes_of(text.p + from, more ? n : text.n - from);
            check(msg_add_uint(&m, OPT_BLOCK2, (uint32_t)(from / n << 4) | (more ? 8u : 0u) | szx,
                               storage));
        }
        again = discovery_take_answer(d, device, &m, 0);
    }
}

static bool may(void *user, struct request *r)
{
    const uint8_t *bits = user;
    check(r->n_path >= 1 && r->n_path <= POLICY_PATH_SEGMENTS_MAX);
    check(bytes_equal_str(r->path[0], r->device == 0 ? "lamp" : "meter"));
    return *bits >> (r->n_path & 7) & 1;
}

static bool begins(struct bytes b, const char *with)
{
    size_t n = strlen(with);
    return b.n >= n && memcmp(b.p, with, n) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[LISTING_TEXT_MAX];
    if (size < 2)
        return 0;
    uint8_t bits = data[1];
    struct bytes text = {data + 2, size - 2}, filter = BYTES_NONE;
    if (begins(text, "?")) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        filter = bytes_of(text.p + 1, n - 1);
        text = bytes_of(text.p + n, text.n - n);
    }
    struct discovery *d = discovery_new(devices, 2);
    check(d != NULL);
    learn(d, 0, text, data[0] & 7);
    learn(d, 1, text, data[0] >> 3 & 7);

    struct listing_ask ask = {.may = may, .user = &bits, .query = &filter, .n_query = 1};
    struct buf b = buf_on(out, sizeof out);
    listing_write(d, &ask, &b);
    check(!b.full);
    struct bytes rest = buf_bytes(&b);
    struct link l;
    enum link_result r;
    while ((r = link_next(&rest, &l)) == LINK_FOUND)
        check(bytes_equal_str(l.target, "/authz-info") || begins(l.target, "/lamp") ||
              begins(l.target, "coaps://meter.home/"));
    check(r == LINK_END);
    discovery_free(d);
    return 0;
}
