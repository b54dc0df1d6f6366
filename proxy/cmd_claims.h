/* Claims as commands show them. A symmetric key is shown only with `reveal`. */
#ifndef POSTERN_CMD_CLAIMS_H
#define POSTERN_CMD_CLAIMS_H

#include "../pep/token.h"
#include "cmd.h"

void cmd_print_claims(const struct claims *k, bool reveal);
/* Of a oneM2M token; `permissions` as struct claims has it. */
void cmd_print_permissions(struct bytes permissions);
/* The member "claims" of an open object. */
void cmd_json_claims(const struct claims *k, bool reveal, struct buf *out);
/* A member in hexadecimal, left out when empty. */
void cmd_json_hex(struct buf *out, const char *name, struct bytes s);

#endif
