/* base64url as JOSE has it (RFC 7515 2, RFC 4648 5 and 3.5): no padding, no
 * white space, no other alphabet, and no bits behind the last byte that are
 * not zero: each value has exactly one text. */
#ifndef POSTERN_BASE64URL_H
#define POSTERN_BASE64URL_H

#include "../policy/bytes.h"

bool base64url_is_digit(uint8_t c);

/* The bytes that a text of n digits stands for. */
static inline size_t base64url_size(size_t n)
{
    return n / 4 * 3 + n % 4 * 3 / 4;
}

/* Strict, whatever it stands for. */
bool base64url_is(struct bytes text);
/* Appends the bytes; false, and nothing appended, when it is not strict or
 * does not fit. Text and room may be the same storage if they begin together. */
MUST_USE bool base64url_read(struct bytes text, struct buf *out);
void base64url_put(struct buf *out, struct bytes b);

#endif
