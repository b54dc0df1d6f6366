/* A CSE's notification by HTTP: out of bytes, and into the CoAP request that it
 * stands for. A part of it is never read as more than the whole. */
#include <stdint.h>
#include <stdlib.h>

#include "../../proxy/limits.h"
#include "../../proxy/m2m_http_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t text[HTTP_READ_HEADER + 2 * MESSAGE_MAX];
    static struct http_reply r;
    const struct m2m_cse cse = {.options = M2M_CURRENT};
    struct http_incoming q;
    size_t used = 0, n = size < sizeof text ? size : sizeof text;
    if (n)
        memcpy(text, data, n);
    enum http_read what = http_read(text, n, MESSAGE_MAX, &q, &used);
    if (what == HTTP_READ_BAD)
        check(q.status >= 400 && q.status < 600);
    if (what != HTTP_READ_WHOLE)
        return 0;
    check(used > 0 && used <= n && q.body.n <= MESSAGE_MAX && q.path.n > 0);
    unsigned status = m2m_http_in_request(&cse, &q, &r);
    struct m2m_values v;
    struct msg rest;
    if (status == 0)
        check(m2m_split(&r.m, cse.options, &v, &rest));
    else
        check(status >= 400 && status < 600);
    return 0;
}
