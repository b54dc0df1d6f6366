/* What the gate's own files share. gate.c tells the story of a request; of it
 * gate_reply.c is what goes to the client, gate_device.c the way to the device
 * and back, gate_deliver.c the answer's way to the client, gate_local.c the
 * resources that are answered here, gate_record.c the audit record. Beside it
 * gate_life.c is what the gate is made of, gate_turn.c what time does,
 * gate_assoc.c the life of an association, gate_watch.c clients' observations.
 * No one else includes this. */
#ifndef POSTERN_GATE_INTERNAL_H
#define POSTERN_GATE_INTERNAL_H

#include "../pep/audit.h"
#include "audit_sink.h"
#include "conn.h"
#include "crew.h"
#include "gate.h"
#include "budget.h"
#include "echo.h"
#include "kept.h"
#include "listing.h"
#include "m2m_read.h"
#include "log.h"
#include "rate.h"
#include "observe.h"
#include "watch.h"

/* How a record tells of a client (gate_record.c). */
enum { GATE_WHO = 128 };
struct gate_who {
    uint64_t association; /* 0: of nobody */
    struct peer peer;
    size_t n;
    char subject[PEP_SUBJECT_MAX];
    uint8_t text[AUDIT_WHO_MAX];
};

/* Of the request for a CSE that is being told (gate_m2m.c). */
struct gate_m2m {
    struct m2m_read read;
    const struct pep_decision *denial; /* that is being answered, or NULL */
    uint16_t rsc;                      /* of what is answered otherwise; 0: by its code */
    struct log_limit lines;            /* clients cause these */
};

struct gate {
    const struct config *config;
    struct pep *pep;
    struct audit_sink *audit;
    unsigned worker; /* whose gate it is */
    struct crew *crew;
    atomic_size_t *associations;
    struct gate_mail *mail;
    struct udp *const *listeners;
    struct loop *loop;
    struct assocs *assocs;
    struct conns *conns; /* NULL: no listener for TCP */
    struct tls *tls;     /* NULL: none of them has TLS */
    struct exchanges *exchanges;
    struct upstreams *upstreams;
    struct observes *observes; /* the device's side of observations, */
    struct watches *watches;   /* and the clients' */
    uint64_t watch_con_ms;
    struct discovery *discovery;
    struct device_cache *cache;
    struct blocks *blocks;
    struct gate_waits *waits;
    struct gate_m2m *m2m;            /* NULL: no device is a CSE */
    struct gate_http *http;          /* NULL: none notifies by HTTP */
    struct calls *calls;             /* NULL: none notifies */
    uint64_t leads;                  /* counted; gate_cache.c */
    struct rates *rates, *own_rates; /* the latter to be freed */
    struct forward_config forward;
    struct deadlines ends; /* associations whose last grant will end */
    struct instant now;    /* of the entry point that runs */
    int64_t pep_expire_s;
    uint64_t enrolled_ms; /* when enrolments that end are told next; by worker 0 */
    uint32_t policies;    /* that came into force; the same at all workers */
    bool draining, forgotten;
    bool shut; /* it could not follow the others: nobody is let in, nothing goes out */
    void (*others)(void *user, void (*visit)(void *what, struct gate *other), void *what);
    void *others_user;
    struct {
        uint64_t away_ms; /* between the two processes */
        bool same_ca, sound;
    } recall; /* while it recalls what was kept */
    bool (*ask)(void *user, const struct pep_question *q, struct instant now);
    void *ask_user;
    void (*hear)(void *user, struct instant now);
    void *hear_user;
    void (*check)(void *user, struct pep_check *c);
    void *check_user;
    struct budget budget; /* of handshakes */
    bool conns_first;     /* of them have the next turn */
    uint64_t replied;     /* the question whose waiters are being called */
    uint16_t plain_mid;
    struct echo echo; /* for plain coap */
    struct gate_stats stats;
    struct log_limit failed_lines, identity_lines, store_lines; /* strangers cause these */
    /* scratch of the request that is being judged: too large for the stack */
    struct request request;
    struct pep_decision decision;
    struct audit_memo memo;
    struct gate_who who[GATE_WHO];
    struct cache_answer found;
    struct request again; /* of an observation that is judged again, maybe meanwhile */
    struct pep_decision again_decision;
    uint8_t plain[DATAGRAM_MAX]; /* what is too large is read, to be told so */
    uint8_t document[LISTING_TEXT_MAX];
    /* randomness in stock, so that a token does not cost a generator's run */
    uint8_t random[512];
    size_t random_left;
};

/* One request on its way through the gate. */
struct arrival {
    struct assoc *assoc; /* NULL: plain coap */
    int listener;
    const struct peer *from;
    const struct msg *m;
    struct bytes datagram; /* its plaintext, that `m` is a view of */
    struct exchange *x;    /* NULL: answered without state */
    /* Of a request for a CSE, which `m` is the rest of then; else NULL. */
    struct m2m_read *m2m;
    /* Who asks without an association, but is known: for the record; or NULL. */
    const char *subject;
};

/* ---- gate.c ---- */

/* What an association received. False: nothing that is authentic and new. */
bool gate_take_plain(struct gate *g, struct assoc *a, int listener, const struct peer *from);
/* A message of a client's, read and well-formed. */
void gate_take(struct gate *g, struct arrival *in);
/* The request of an arrival, from its options on. */
void gate_request(struct gate *g, struct arrival *in);
/* Judges the request of x, or of nobody yet (plain coap). True: it is
 * permitted, recorded and has its exchange; false: it was answered, or waits. */
MUST_USE bool gate_judge(struct gate *g, struct arrival *in, struct request *r,
                         struct pep_session *s);
/* What was permitted goes to its device. */
void gate_forward(struct gate *g, const struct arrival *in, int device);
/* What was permitted but goes no further: the record says both. */
void gate_stop(struct gate *g, const struct arrival *in, uint8_t code);
/* The answer of a denial; false: does not fit. */
MUST_USE bool gate_denial(const struct pep_decision *d, struct msg *m, uint8_t scratch[3][4]);
/* A device found by Uri-Host has its name put in front of the path. */
MUST_USE bool gate_name_path(const struct device_config *d, struct request *r);

/* ---- gate_reply.c ---- */

/* Answers with `m`'s code, options and payload; type, message ID and token
 * are set here. Without an exchange the answer leaves no state. */
void gate_reply(struct gate *g, const struct arrival *in, struct msg *m);
/* A message to a client, by whatever it came: with an association its keys, else
 * in clear; by TCP without what has no meaning there. The one way out. */
void gate_send(struct gate *g, struct assoc *a, int listener, const struct peer *to,
               struct bytes message);
/* A code, and words for people (RFC 7252 5.5.2) or NULL. */
void gate_reply_code(struct gate *g, const struct arrival *in, uint8_t code, const char *why);
void gate_reply_later(struct gate *g, const struct arrival *in, uint8_t code, uint32_t age_s);
/* 5.03, and when to come again. */
void gate_reply_busy(struct gate *g, const struct arrival *in);
/* 4.13 with the size that would do (RFC 7252 5.9.2.9, RFC 7959 2.9.3). */
void gate_reply_too_large(struct gate *g, const struct arrival *in);
/* An empty ACK or RST. */
void gate_send_empty(struct gate *g, const struct arrival *in, enum msg_type type);
extern const struct exchange_ops gate_exchange_ops;

/* gate_plain.c: whether the address of `in` has shown that it is there, and
 * how many bytes may go there. */
bool gate_has_shown(struct gate *g, const struct arrival *in);
uint32_t gate_may_send(struct gate *g, const struct arrival *in);
/* Takes n bytes from what may go to the client of x. False: too many. */
bool gate_spend(struct gate *g, struct exchange *x, size_t n);
/* Makes of a plain answer that would be too long one that asks for an Echo,
 * whose value lives in `echo`. */
void gate_fit_plain(struct gate *g, const struct arrival *in, struct msg *m,
                    uint8_t echo[ECHO_VALUE]);
/* The same for what a device answered to a client of plain coap (oneM2M, where
 * the policy says so). What was done is not asked for twice: it is told without
 * what it has become. */
void gate_fit_late(struct gate *g, const struct exchange *x, struct msg *m,
                   uint8_t echo[ECHO_VALUE]);
/* The code for what its device did not take (x->up_end). */
static inline uint8_t gate_code_refused(const struct exchange *x)
{
    return x->up_end == UP_TOO_LARGE   ? MSG_CODE(4, 13)
           : x->up_end == UP_UNTRUSTED ? MSG_CODE(5, 2)
                                       : MSG_CODE(5, 3);
}

/* gate_wait.c: the request waits for the answer to a question, and is told
 * again from its beginning when that is there. */
void gate_ask(struct gate *g);
void gate_park(struct gate *g, struct arrival *in, uint64_t question);
/* An exchange for a request by plain coap. False: it was answered, or comes
 * again. */
MUST_USE bool gate_accept_plain(struct gate *g, struct arrival *in);

/* ---- gate_device.c: the device's side, which knows no association ---- */

struct forward_map gate_device_map(const struct device_config *d);
/* The permitted and filtered request `m` of x goes to the device, or what
 * stands for it. False: not taken, and x->up_end says why. */
MUST_USE bool gate_serve(struct gate *g, struct exchange *x, int device, struct msg *m);
/* The request as it went to the device, until that is answered: a view. */
MUST_USE bool gate_request_of(const struct exchange *x, struct msg *out);
/* x is over before its answer: its client left. Nothing is called. */
void gate_unserve(struct gate *g, struct exchange *x);
/* What came of it (upstream_ops.answered); `user` is the gate. */
void gate_served(void *user, struct exchange *x, const struct msg *m, struct instant now);
extern const struct upstream_ops gate_upstream_ops;

/* Observations: between the client's side, which has a number for each of
 * its own, and the device's side, as observe.h says. */
enum observe_taken gate_subscribe(struct gate *g, const struct watch *w, const struct msg *m,
                                  enum exchange_up_end *why);
/* False: no room on the way to another thread; it must be said again. */
MUST_USE bool gate_unsubscribe(struct gate *g, const struct watch *w);
MUST_USE bool gate_ready(struct gate *g, const struct watch *w, bool seen);

/* gate_watch_mail.c: the same by mail, and back. */
enum observe_taken gate_mail_subscribe(struct gate *g, const struct watch *w, const struct msg *m,
                                       enum exchange_up_end *why);
MUST_USE bool gate_mail_unsubscribe(struct gate *g, const struct watch *w);
MUST_USE bool gate_mail_ready(struct gate *g, const struct watch *w, bool seen);
MUST_USE bool gate_mail_notice(struct gate *g, struct subscriber to,
                               const struct observe_notice *n);
/* True: it was for these. */
bool gate_take_watch_mail(struct gate *g, unsigned from, struct bytes message);

/* ---- gate_mail.c: devices that another worker has. A request for one is
 * mailed there, and served under an exchange of that worker: a guest. ---- */

MUST_USE struct gate_mail *gate_mail_new(unsigned workers, size_t max_exchanges);
void gate_mail_free(struct gate_mail *m);
/* True: it has a connection ID of a colleague's, and was handed on. */
bool gate_mail_datagram(struct gate *g, int listener, const struct peer *from,
                        struct bytes datagram);
bool gate_is_elsewhere(const struct gate *g, int device);
/* As gate_serve(), gate_unserve(). */
MUST_USE bool gate_mail_serve(struct gate *g, struct exchange *x, int device, struct msg *m);
void gate_mail_unserve(struct gate *g, struct exchange *x);
/* A guest's answer, or m NULL, goes back. */
void gate_mail_answer(struct gate *g, struct exchange *x, const struct msg *m);
/* What had no room. The end of the turn; true: some still has none. */
bool gate_mail_turn(struct gate *g);
/* What a device of ours publishes was learned: the others hear it. */
void gate_tell_links(struct gate *g, int device);
/* And want it, from time to time. */
void gate_want_links(struct gate *g);

/* ---- gate_order.c: requests that wait for another's, on the device's side.
 * What they wait for has a number; when it is over they are served again
 * from gate_serve() on, at the end of the loop's turn: no step calls back up. */

enum gate_wait_ids { GATE_LEADS = 0, GATE_TRANSFERS = 1 };
/* Pep's questions are counted from 1; answers that had no room in the mailbox
 * wait under GATE_UNSENT. */
#define GATE_UNSENT        UINT64_MAX
#define GATE_ID_BASE(kind) (UINT64_C(1) << 63 | (uint64_t)(kind) << 62)
static inline bool gate_is_order(uint64_t id)
{
    return id >> 63 && id != GATE_UNSENT;
}

MUST_USE struct gate_waits *gate_waits_new(size_t max_exchanges);
void gate_waits_free(struct gate_waits *w);
/* x, that has the request `m` for its device, waits. False: it does not fit. */
MUST_USE bool gate_wait_for(struct gate *g, struct exchange *x, struct msg *m, uint64_t id);
/* UP_ANSWERED: they are served again. Else they end by that. */
void gate_wait_over(struct gate *g, uint64_t id, enum exchange_up_end how);
/* The end of the turn. */
void gate_serve_waiting(struct gate *g);

/* ---- gate_cache.c: what was answered before ---- */

bool gate_open_cache(struct gate *g);
/* As gate_serve(), for what the order of blocks let go. */
MUST_USE bool gate_cache_serve(struct gate *g, struct exchange *x, int device, struct msg *m);
/* The device's answer, or m NULL. What is to be delivered for it; *again:
 * nothing, the request went out once more. */
const struct msg *gate_cache_served(struct gate *g, struct exchange *x, const struct msg *m,
                                    bool *again);
/* The device told an observation `m`, as the answer to this request of a
 * moment: nobody is given an older one from now on. */
void gate_cache_note(struct gate *g, int device, struct bytes request, const struct msg *m);
/* Its client left. */
void gate_cache_unserve(struct gate *g, struct exchange *x);

/* gate_deliver.c: the client's side again. m NULL: no answer, and x->up_end
 * says why. */
void gate_deliver(struct gate *g, struct exchange *x, const struct msg *m);

/* ---- gate_watch.c: clients' observations ---- */

/* A request with the token of one takes its place, or ends it. */
void gate_watch_leave(struct gate *g, const struct arrival *in);
/* The permitted request; `out` is what would go to the device. */
MUST_USE enum observe_taken gate_watch(struct gate *g, const struct arrival *in, int device,
                                       const struct msg *out);
/* The answer of a request that opens one: before it is sent, and after. */
void gate_watch_answer(struct gate *g, struct exchange *x, struct msg *out, uint8_t number[4]);
void gate_watch_answered(struct gate *g, struct exchange *x, uint8_t code);
void gate_watch_undelivered(struct gate *g, struct exchange *x, bool reset);
/* observe_ops and exchange_ops; `user` is the gate. */
bool gate_notice(void *user, struct subscriber to, const struct observe_notice *n);
void gate_watch_heard(void *user, uint64_t watch, enum exchange_heard heard, uint64_t rtt_us);
/* A notice for one of ours; and that a subscription that was mailed is none. */
void gate_watch_take(struct gate *g, uint64_t watch, const struct observe_notice *n);
void gate_watch_untaken(struct gate *g, uint64_t watch, enum observe_taken taken,
                        enum exchange_up_end why);
/* RST to a NON. */
void gate_watch_reset(struct gate *g, struct assoc *a, uint16_t mid);
void gate_watch_replied(struct gate *g, uint64_t question);
/* Its request again, in g->again; `m` is a view of it. False: it is none any
 * more. */
MUST_USE bool gate_watch_reread(struct gate *g, struct watch *w, struct msg *m);
/* Each is judged again at once: rights have changed. */
void gate_doubt_watches(struct gate *g);
/* All of an association end; with `code` their clients are told. */
void gate_forget_watches(struct gate *g, struct assoc *a, uint8_t code, const char *reason);
void gate_expire_watches(struct gate *g);

/* A message that is only a code so far. */
static inline void gate_msg(struct msg *m, uint8_t code)
{
    m->code = code;
    m->n_options = 0;
    m->payload = BYTES_NONE;
}

/* gate_life.c */
void gate_random(struct gate *g, void *to, size_t n);

/* gate_rights.c */
void gate_shut(struct gate *g, const char *why);

/* gate_assoc.c */
/* No answer goes to who asked before. */
void gate_doubt_all(struct gate *g);
/* What was permitted and is not at its device yet is judged again; 5.03 to what
 * is no longer permitted, or cannot be judged here. */
void gate_turn_away_waiting(struct gate *g);
extern const struct assoc_ops gate_assoc_ops;
void gate_expire_assocs(struct gate *g);
/* It was kept over a restart and has its session again. False: that is worth
 * nothing any more, and it is closed. */
bool gate_assoc_resume(struct gate *g, struct assoc *a);

/* What it asks pep for a handshake. *wait: the question that it waits for. */
MUST_USE enum pep_key_state gate_find_psk(struct gate *g, const struct peer *from,
                                          struct bytes identity, struct pep_proof *out,
                                          uint64_t *wait);
MUST_USE bool gate_judge_certificate(struct gate *g, const struct peer *from,
                                     const struct pep_certificate *c, struct pep_proof *out);

/* gate_conn.c: clients by TCP */
MUST_USE bool gate_open_conns(struct gate *g, struct buf *diag);
void gate_conn_send(struct gate *g, struct assoc *a, int listener, const struct peer *to,
                    struct bytes datagram);
void gate_wake_conns(struct gate *g);
void gate_release_conns(struct gate *g);

/* gate_local.c: true when the request was for a resource of our own, and is
 * answered. */
bool gate_local(struct gate *g, struct arrival *in, const struct request *r);
/* Asks devices what they publish, as discovery wants it. */
void gate_learn(struct gate *g);
void gate_take_links(struct gate *g, struct exchange *x, const struct msg *m);

/* gate_rate.c: takes one from the rates of what was permitted, for x; without
 * room the decision is refused. It is given back when the request went
 * nowhere, before x is answered. */
void gate_take_rate(struct gate *g, int device, struct pep_decision *d, struct exchange *x);
void gate_give_back_rate(struct gate *g, struct exchange *x);

/* gate_record.c */
void gate_record_decision(struct gate *g, const struct arrival *in, const struct request *r,
                          const struct pep_decision *d, uint8_t code);
void gate_record_token(struct gate *g, struct assoc *a, const struct peer *from, enum pep_via via,
                       const struct pep_taken *t);
void gate_record_event(struct gate *g, struct audit_event *e);

/* ---- gate_enrolled.c ---- */

/* To be freed; NULL: no memory. Of no policy: nobody. */
MUST_USE struct gate_known *gate_known_subjects(const struct policy *p);
/* Who was let in or out, or has another credential, since then. */
void gate_tell_subjects(struct gate *g, const struct gate_known *before);
void gate_tell_enrolments(struct gate *g);
/* The notifications since the last such record; `judged`: the newest just now,
 * by g->again_decision. And the end of one, by that or otherwise. */
void gate_record_notified(struct gate *g, struct watch *w, bool judged);
void gate_record_watch_denied(struct gate *g, struct watch *w, uint8_t code);
void gate_record_watch_end(struct gate *g, struct watch *w, const char *reason, uint8_t code);
/* The exchange is over; writes what gate_record_decision() began. */
void gate_record_end(struct gate *g, struct exchange *x, uint8_t code);

#endif
