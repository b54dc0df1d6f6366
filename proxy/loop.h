/* The loop: sockets that can be read or written, one timer, signals. The only user of libevent.
 * It samples `struct instant` once per wake-up; nobody else asks a clock. */
#ifndef POSTERN_LOOP_H
#define POSTERN_LOOP_H

#include <stdbool.h>

#include "../policy/bytes.h"
#include "instant.h"

struct loop;

/* Called after every turn: flush the batches, reap the dead. Returns the
 * next deadline in milliseconds of the monotonic clock, UINT64_MAX: none. */
typedef uint64_t loop_turn_fn(void *user, struct instant now);
/* Readable. True: there may be more, call again next turn. */
typedef bool loop_read_fn(void *user, int tag, struct instant now);

MUST_USE struct loop *loop_new(loop_turn_fn *turn, void *user);
void loop_free(struct loop *l);
struct instant loop_now(struct loop *l);
/* Processor time that the calling thread has used. */
uint64_t loop_cpu_us(void);

enum loop_io { LOOP_READ = 1, LOOP_WRITE = 2 };
/* The socket can be read or written, or has failed: then both are said. */
typedef void loop_io_fn(void *user, int fd, unsigned io, struct instant now);

MUST_USE bool loop_watch(struct loop *l, int fd, loop_read_fn *fn, void *user, int tag);
/* For either; of a socket that is watched already it changes what for. */
MUST_USE bool loop_watch_io(struct loop *l, int fd, unsigned io, loop_io_fn *fn, void *user);
void loop_unwatch(struct loop *l, int fd);
MUST_USE bool loop_signal(struct loop *l, int signo, void (*fn)(void *user, int signo), void *user);

/* Until loop_stop(). False: the loop failed. */
MUST_USE bool loop_run(struct loop *l);
void loop_stop(struct loop *l);

#endif
