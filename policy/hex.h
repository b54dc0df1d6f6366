/* Hexadecimal digits, for every layer. Keys and tokens pass here: reading has
 * no branch and no table that depends on the digit. What may stand between
 * digits is the caller's business. */
#ifndef POSTERN_HEX_H
#define POSTERN_HEX_H

#include "bytes.h"

/* The value of a digit of either case; -1: no digit. */
int hex_digit(uint8_t c);
/* Two small letters a byte. */
void hex_put(struct buf *out, struct bytes b);
/* "%2F", in capitals (RFC 3986 2.1). */
void hex_put_percent(struct buf *out, uint8_t c);

#endif
