/* How the process gives memory back to the system. */
#ifndef POSTERN_MEMORY_H
#define POSTERN_MEMORY_H

/* Before threads and first sessions. The DTLS library has two buffers of 16 KiB
 * a session and touches the first kilobytes of each. As mappings of their own
 * they are there only as far as they are touched, they leave no holes that small
 * blocks come to lie in, and they go when the session does. */
void memory_prepare(void);

/* What was freed in the midst of the heap goes back. The DTLS library has 37
 * KiB of buffers a session, between blocks that stay: without this, what a
 * busy hour took is never seen again. Some 4 us for each session that is gone
 * since, so not too often. */
void memory_give_back(void);

#endif
