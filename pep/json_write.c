#include "json_write.h"

#include <stdio.h>

#include "../policy/utf8.h"

void json_write_name(struct buf *out, const char *name)
{
    if (out->n && out->p[out->n - 1] != '{')
        buf_put_u8(out, ',');
    buf_put_u8(out, '"');
    buf_put_str(out, name);
    buf_put_str(out, "\":");
}

void json_write_text(struct buf *out, struct bytes s)
{
    char escape[8];
    if (!utf8_is(s)) {
        out->full = true;
        return;
    }
    buf_put_u8(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x20) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", s.p[i]);
            buf_put_str(out, escape);
            continue;
        }
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_put_u8(out, '\\');
        buf_put_u8(out, s.p[i]);
    }
    buf_put_u8(out, '"');
}

void json_write_int(struct buf *out, int64_t v)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)v);
    buf_put_str(out, text);
}

void json_write_text_of(struct buf *out, const char *name, struct bytes s)
{
    json_write_name(out, name);
    json_write_text(out, s);
}

void json_write_int_of(struct buf *out, const char *name, int64_t v)
{
    json_write_name(out, name);
    json_write_int(out, v);
}

void json_write_texts_of(struct buf *out, const char *name, const struct bytes *list, size_t n)
{
    if (n == 0)
        return;
    json_write_name(out, name);
    for (size_t i = 0; i < n; i++) {
        buf_put_u8(out, i ? ',' : '[');
        json_write_text(out, list[i]);
    }
    buf_put_u8(out, ']');
}
