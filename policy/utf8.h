/* UTF-8 (RFC 3629 4), for every layer: overlong forms, surrogates and what is
 * beyond U+10FFFF are not UTF-8. */
#ifndef POSTERN_UTF8_H
#define POSTERN_UTF8_H

#include "bytes.h"

/* The bytes of the character that s begins with; 0: none, or s is empty. */
size_t utf8_size(struct bytes s);
/* Nothing else in s. */
bool utf8_is(struct bytes s);

#endif
