/* How far the spool is settled, on disk: two slots that are written in turn,
 * each with a count and a checksum, in sectors of their own. The valid one
 * with the higher count is true; a write that a crash tears leaves the other,
 * which is older: then lines are delivered twice. */
#ifndef POSTERN_SPOOL_POSITION_H
#define POSTERN_SPOOL_POSITION_H

#include "../policy/bytes.h"

struct position {
    int fd; /* -1: none */
    uint64_t count;
    uint64_t settled; /* every number up to it */
    uint64_t lost;    /* of those, ever */
};

/* The file `position` in the directory, made if it is not there. *known is
 * false when neither slot is valid. False: errno. */
MUST_USE bool position_open(struct position *p, int dir, bool *known);
void position_close(struct position *p);
MUST_USE bool position_write(struct position *p); /* into the older slot */
MUST_USE bool position_sync(struct position *p);

#endif
