/* JSON as it is sent (RFC 8259): into a buffer, member by member. Texts that
 * are not UTF-8 mark it full: what cannot be said is not sent. */
#ifndef POSTERN_JSON_WRITE_H
#define POSTERN_JSON_WRITE_H

#include "../policy/bytes.h"

/* With the comma, if something stands before it in this object. */
void json_write_name(struct buf *out, const char *name);
void json_write_text(struct buf *out, struct bytes s);
void json_write_int(struct buf *out, int64_t v);

void json_write_text_of(struct buf *out, const char *name, struct bytes s);
void json_write_int_of(struct buf *out, const char *name, int64_t v);
/* Nothing at all for an empty list. */
void json_write_texts_of(struct buf *out, const char *name, const struct bytes *list, size_t n);

#endif
