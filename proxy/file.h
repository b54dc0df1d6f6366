/* Whole small files, read for the configuration and the commands. */
#ifndef POSTERN_FILE_H
#define POSTERN_FILE_H

#include "../policy/bytes.h"

/* The content, to be freed by the caller; "-" is standard input when
 * `stdin_too`. On failure false and *why is static or errno's text. */
MUST_USE bool file_read(const char *file, bool stdin_too, size_t max, uint8_t **out, size_t *n,
                        const char **why);

/* Writes a new file whole, or nothing: beside it first, then renamed. With
 * `fresh` an existing file is left alone and refused. */
MUST_USE bool file_write(const char *file, struct bytes content, unsigned mode, bool fresh,
                         const char **why);

#endif
