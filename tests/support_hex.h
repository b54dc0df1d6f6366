/* Hexadecimal in tests: literals, and tests/vectors/NAME.hex, whose lines are
 * "name hex" or comments. Everything lives to the end of the program. */
#ifndef POSTERN_SUPPORT_HEX_H
#define POSTERN_SUPPORT_HEX_H

#include "../policy/bytes.h"

/* Spaces are skipped; anything else that is no digit ends the test. */
struct bytes unhex(const char *hex);
struct bytes vector(const char *file, const char *name);

#endif
