/* For commands that are given a token: read it in whatever form it came, and
 * name what pep says of it. */
#ifndef POSTERN_CMD_TOKEN_H
#define POSTERN_CMD_TOKEN_H

#include "../pep/token.h"
#include "cmd.h"

/* From a file or "-": a CWT as it is, in hexadecimal, or in base64url; anything
 * else as it is, and text without the newline at its end. CMD_OK, or the exit
 * status with the reason told. `out` has room for TOKEN_MAX. */
int cmd_token_read(const struct cmd *c, const char *file, struct buf *out);

/* "4.03" */
const char *cmd_code_text(char out[8], uint8_t code);

/* For terminals: printable ASCII as it is, the rest as \xNN; cut to fit. */
const char *cmd_safe_text(char *out, size_t cap, struct bytes s);

#endif
