/* Bodies that are larger than a message: put together from the blocks that a
 * client sends (Block1), and kept to be handed out in blocks (Block2), since
 * HTTP knows the whole only (RFC 7959; RFC 8075 8.3 for the other way).
 *
 * Whose blocks may follow whose was settled before (block.h): a body belongs
 * to the request that asked for it, all of its options but those of blocks.
 *
 * Bounded: bytes of one body and of all, and how long one is kept. The oldest
 * give way. Pure but for memory. */
#ifndef POSTERN_HTTP_BODY_H
#define POSTERN_HTTP_BODY_H

#include "instant.h"
#include "msg.h"

struct http_bodies;

enum http_body_verdict {
    BODY_WHOLE = 0,  /* all of it is here */
    BODY_CONTINUE,   /* 2.31: the next block, please */
    BODY_INCOMPLETE, /* 4.08: what came before it is not there */
    BODY_TOO_LARGE,  /* 4.13 */
    BODY_BAD,        /* 4.00: a block that is none */
    BODY_FULL,       /* 5.03: no memory */
};

/* A Block1 or Block2 option (RFC 7959 2.2). */
struct http_block {
    bool there, more;
    uint32_t number;
    uint8_t szx;
};

/* `bytes`: of all bodies, at least HTTP_BODY_MAX. NULL: no memory. */
MUST_USE struct http_bodies *http_bodies_new(size_t bytes);
void http_bodies_free(struct http_bodies *b); /* NULL is fine */
/* All of one owner, a device: it may have forgotten. */
void http_bodies_forget(struct http_bodies *b, const void *owner);

/* False: SZX 7. Without the option `there` is false. */
MUST_USE bool http_block_read(const struct msg *m, uint16_t option, struct http_block *out);
uint32_t http_block_value(const struct http_block *block);

/* The request's payload; with BODY_WHOLE *body is all of it, borrowed until
 * http_bodies_done() or the next take. */
MUST_USE enum http_body_verdict http_bodies_take(struct http_bodies *b, const void *owner,
                                                 const struct msg *m, struct instant now,
                                                 struct bytes *body);
void http_bodies_done(struct http_bodies *b);

/* Keeps an answer: its code and options, and the payload as a whole. False: it
 * is too large, and only its first block can be told. */
MUST_USE bool http_bodies_keep(struct http_bodies *b, const void *owner, const struct msg *asked,
                               const struct msg *answer, struct instant now);
/* What the request, for a further block, is about: a view, with the payload as
 * a whole; good until the next call. */
MUST_USE bool http_bodies_find(struct http_bodies *b, const void *owner, const struct msg *asked,
                               struct instant now, struct msg *answer);

/* Makes of an answer its block: payload, Block2 and, with the first, Size2;
 * `scratch` lives as long. One that needs no blocks, and was asked for none,
 * stays whole. False: there is no such block. */
struct http_block_scratch {
    uint8_t block[4], size[4];
};
MUST_USE bool http_block_cut(struct msg *answer, const struct http_block *asked,
                             struct http_block_scratch *scratch);

#endif
