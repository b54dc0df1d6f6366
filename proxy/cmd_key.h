/* Names of algorithms and kids, as the commands take and print them. */
#ifndef POSTERN_CMD_KEY_H
#define POSTERN_CMD_KEY_H

#include "../pep/key.h"
#include "cmd.h"

/* "ES256", "A128GCM", ... or "derivation", or a COSE number; 0: unknown and
 * told, with what is known. */
int cmd_alg(const struct cmd *c, const char *name);

/* "0x..." is hexadecimal, else the text's bytes. Told when it is not. */
MUST_USE bool cmd_kid(const struct cmd *c, const char *text, struct buf *out);
/* The kid as text if it is printable, else "0x...". */
const char *cmd_kid_text(char out[2 * TOKEN_KID_MAX + 3], struct bytes kid);

/* N random letters and digits, to be copied by people and shells. */
MUST_USE bool cmd_random_text(char *out, size_t n);

#endif
