/* How the process gives memory back to the system. */
#ifndef POSTERN_MEMORY_H
#define POSTERN_MEMORY_H

/* What was freed in the midst of the heap goes back. The DTLS library has 37
 * KiB of buffers a session, between blocks that stay: without this, what a
 * busy hour took is never seen again. Some 4 us for each session that is gone
 * since, so not too often. */
void memory_give_back(void);

#endif
