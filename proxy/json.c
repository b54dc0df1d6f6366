#include "json.h"

#include "../policy/cursor.h"
#include "../policy/hex.h"
#include "../policy/utf8.h"

void json_put_string(struct buf *out, struct bytes s)
{
    buf_put_u8(out, '"');
    while (s.n > 0) {
        size_t n = utf8_size(s);
        uint8_t c = s.p[0];
        if (n == 0) {
            buf_put_str(out, "\xef\xbf\xbd");
            n = 1;
        } else if (c == '"' || c == '\\') {
            buf_put_u8(out, '\\');
            buf_put_u8(out, c);
        } else if (c == '\n') {
            buf_put_str(out, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            buf_put_str(out, "\\u00");
            hex_put(out, bytes_of(&c, 1));
        } else {
            buf_put(out, bytes_of(s.p, n));
        }
        s.p += n;
        s.n -= n;
    }
    buf_put_u8(out, '"');
}

void json_put_u64(struct buf *out, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    buf_put(out, bytes_of(digits + at, sizeof digits - at));
}

void json_put_key(struct buf *out, const char *key)
{
    uint8_t last = out->n ? out->p[out->n - 1] : '{';
    if (last != '{' && last != '[')
        buf_put_u8(out, ',');
    json_put_string(out, bytes_str(key));
    buf_put_u8(out, ':');
}

void json_member(struct buf *out, const char *key, const char *value)
{
    json_put_key(out, key);
    if (value)
        json_put_string(out, bytes_str(value));
    else
        buf_put_str(out, "null");
}

void json_member_u64(struct buf *out, const char *key, uint64_t value)
{
    json_put_key(out, key);
    json_put_u64(out, value);
}

void json_member_bool(struct buf *out, const char *key, bool value)
{
    json_put_key(out, key);
    buf_put_str(out, value ? "true" : "false");
}

/* ---- reading ---- */

static void skip_space(struct cursor *c)
{
    while (c->n > 0 && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
        (void)cursor_u8(c);
}

static bool take(struct cursor *c, char want)
{
    skip_space(c);
    if (c->n == 0 || *c->p != (uint8_t)want)
        return false;
    (void)cursor_u8(c);
    return true;
}

static struct bytes read_string(struct cursor *c)
{
    if (!take(c, '"')) {
        c->bad = true;
        return BYTES_NONE;
    }
    size_t n = 0;
    while (n < c->n && c->p[n] != '"') {
        if (c->p[n] < 0x20 || c->p[n] == '\\') {
            c->bad = true;
            return BYTES_NONE;
        }
        n++;
    }
    struct bytes out = cursor_take(c, n);
    (void)cursor_u8(c); /* sticks when the closing quote is missing */
    return out;
}

static void read_value(struct cursor *c, struct json_field *f)
{
    skip_space(c);
    f->is_number = c->n > 0 && *c->p >= '0' && *c->p <= '9';
    f->number = 0;
    if (!f->is_number) {
        f->text = read_string(c);
        return;
    }
    size_t n = 0;
    for (; n < c->n && n < 18 && c->p[n] >= '0' && c->p[n] <= '9'; n++)
        f->number = f->number * 10 + (uint64_t)(c->p[n] - '0');
    if (n > 1 && c->p[0] == '0')
        c->bad = true;
    f->text = cursor_take(c, n);
}

bool json_read_flat(struct bytes text, struct json_field *out, size_t max, size_t *n)
{
    struct cursor c = cursor_on(text);
    size_t count = 0;
    if (!take(&c, '{'))
        return false;
    if (!take(&c, '}')) {
        do {
            if (count == max)
                return false;
            out[count].key = read_string(&c);
            if (!take(&c, ':'))
                return false;
            read_value(&c, &out[count]);
            for (size_t i = 0; i < count; i++)
                if (bytes_equal(out[i].key, out[count].key))
                    return false;
            count++;
        } while (take(&c, ','));
        if (!take(&c, '}'))
            return false;
    }
    skip_space(&c);
    if (!cursor_done(&c))
        return false;
    *n = count;
    return true;
}
