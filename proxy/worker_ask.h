/* Questions to authorization servers when there are several workers: the
 * first of them alone has the lines. The others mail it what their peps ask,
 * and it mails back what was said; several that ask the same at the same time
 * are answered by one question.
 *
 * An authority goes by its name: between two policies a number may mean
 * another. */
#ifndef POSTERN_WORKER_ASK_H
#define POSTERN_WORKER_ASK_H

#include "crew.h"
#include "servers.h"

struct asker;

/* Of worker `who`; `servers` NULL unless that is 0. `other_gate` gives the
 * gate of another worker, for the leader in a pause. */
MUST_USE struct asker *asker_new(struct crew *c, unsigned who, struct servers *servers,
                                 struct gate *(*gate_of)(void *user, unsigned who), void *user);
void asker_free(struct asker *a); /* NULL is fine */
void asker_attach(struct asker *a, struct pep *pep);

/* gate_config.ask; `user` is a struct asker. */
MUST_USE bool asker_ask(void *user, const struct pep_question *q, struct instant now);
/* A message of the kinds MAIL_QUESTION, MAIL_REPLY, MAIL_UNKNOWN_KEY. */
void asker_take(struct asker *a, unsigned from, struct bytes message, struct instant now);
/* Of every turn: says that tokens came whose key nobody knows. */
void asker_turn(struct asker *a);

#endif
