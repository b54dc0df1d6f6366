/* The workers as a crew: how they tell each other things, and how one of them
 * can speak for all.
 *
 * Worker 0 leads: the control socket, signals, reloads and the authorization
 * servers are its own. What it does to all at once, it does while the others
 * stand still between two turns of their loops (crew_pause): then it may call
 * any worker's gate and pep itself. That is for what an operator or an
 * authority's list causes, never for what clients do.
 *
 * From any worker to any other there are two mailboxes, one for what asks and
 * one for what answers; and there is one that all read, the ledger: what is
 * told there everyone hears in the same order. Nobody waits for room: a
 * message that has none is refused and counted. What asks is read only while
 * there is room for an answer, so that who is asked can at least say no; and
 * answers are always read, so that this cannot stop both.
 *
 * A worker is woken at the end of the turn that wrote to it, and only when it
 * sleeps. With one worker there is no crew at all. */
#ifndef POSTERN_CREW_H
#define POSTERN_CREW_H

#include "mailbox.h"

struct crew;

enum crew_limits {
    CREW_MAX = MAILBOX_READERS_MAX,
    CREW_MAIL = 256 << 10,   /* bytes of a mailbox: some thousand requests */
    CREW_ANSWER = 4096,      /* room for an answer, before a question is read */
    CREW_LEDGER = 1 << 20,   /* bytes that all hear: a key set is the longest record */
    CREW_MARGIN = 128 << 10, /* of the ledger, so that what is on disk can also be told */
};

MUST_USE struct crew *crew_new(unsigned n);
void crew_free(struct crew *c);           /* NULL is fine */
unsigned crew_size(const struct crew *c); /* NULL: 1 */

/* Readable when something came for a sleeping `who`. */
int crew_fd(const struct crew *c, unsigned who);

/* ---- messages ---- */

enum crew_lane { CREW_ASK = 0, CREW_REPLY = 1, CREW_LANES };

/* From the thread of `from`. False: no room; counted. */
MUST_USE bool crew_mail(struct crew *c, unsigned from, unsigned to, enum crew_lane lane,
                        const struct bytes *parts, size_t n_parts);
/* To all, `from` as well. Told before `from` answers a client, it is heard by
 * all before they look at what that client sends then. */
MUST_USE bool crew_tell(struct crew *c, unsigned from, const struct bytes *parts, size_t n_parts);
/* Whether n bytes and some more can be told now. */
bool crew_may_tell(struct crew *c, size_t n);

/* The message lives for the call, which may mail and tell. */
typedef void crew_take_fn(void *user, unsigned from, struct bytes message);
/* What the others told; and what was mailed to `who`, a bounded part of it.
 * In the thread of `who`, or for it by the leader in a pause. */
void crew_hear(struct crew *c, unsigned who, crew_take_fn *take, void *user);
void crew_open(struct crew *c, unsigned who, crew_take_fn *take, void *user);

/* ---- turns ---- */

/* At the begin of a turn: it is awake; and stands still while there is a pause. */
void crew_turn(struct crew *c, unsigned who);
/* At the end: wakes whom it wrote to. False: something came meanwhile, it must
 * not sleep. */
MUST_USE bool crew_sleep(struct crew *c, unsigned who);

/* ---- all at once ---- */

/* The leader's. Returns when all others stand still; may be nested. */
void crew_pause(struct crew *c);
void crew_resume(struct crew *c);
bool crew_is_paused(const struct crew *c);

/* The thread of `who` begins; it ended, and is no longer waited for. */
void crew_enter(struct crew *c, unsigned who);
void crew_leave(struct crew *c, unsigned who);

/* Planned stop: all are asked to, and each goes when all have nothing left. */
void crew_stop(struct crew *c);
bool crew_is_stopping(const struct crew *c);
void crew_set_drained(struct crew *c, unsigned who, bool drained);
bool crew_is_drained(struct crew *c);

/* Messages that had no room. */
uint64_t crew_refused(const struct crew *c);

#endif
