#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/log.h"
#include "../proxy/upstream.h"
#include "fake_loop.h"
#include "fake_udp.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define OK       MSG_CODE(2, 5)

enum { REQUESTS = 64, NOT_ENDED = 99, ANY_MID = 0xfffe };

static const struct bytes lamp_path[] = {BYTES_LIT("lamp")};
static const struct bytes cse_path[] = {BYTES_LIT("cse")};

static struct device_url lamp_url = {.text = "lamp"},
                         cse_url[] = {{.text = "cse"}, {.text = "cse2"}, {.text = "cse3"}};

static struct device_config configs[] = {
    {.name = "lamp",
     .prefix = lamp_path,
     .n_prefix = 1,
     .window = 1,
     .queue = 3,
     .urls = &lamp_url,
     .n_urls = 1},
    {.name = "cse",
     .prefix = cse_path,
     .n_prefix = 1,
     .window = 3,
     .queue = 8,
     .urls = cse_url,
     .n_urls = 1},
};

static struct world {
    struct upstreams *u;
    struct loop loop;
    struct udp *wire;
    uint64_t now_us;
    uint32_t jitter; /* what every four bytes of randomness say */
    struct exchange x[REQUESTS];
    struct exchange_room rooms[REQUESTS];
    int ended[REQUESTS]; /* enum exchange_up_end, or NOT_ENDED */
    size_t n_ended;
    uint8_t code[REQUESTS];
    uint16_t ping_mid;
    struct exchange *resubmit; /* from within the next answered() */
} w;

static bool at_random;
static bool several;    /* URLs of the second device */
static size_t last_url; /* where sent_to() took its message */

static struct instant now(void)
{
    return (struct instant){.mono_us = w.now_us};
}

static void at(uint64_t ms)
{
    w.now_us = 1000000 + ms * 1000;
}

static uint64_t due_ms(void)
{
    uint64_t d = upstreams_deadline_ms(w.u);
    return d == UINT64_MAX ? d : d - 1000;
}

static struct udp *wire_of(const struct device_config *c)
{
    return fake_udp_connected(&c->urls[0].to);
}

/* Every 4 bytes are `jitter`, so that waits are known; or truly random. */
static void random_bytes(void *user, void *to, size_t n)
{
    (void)user;
    uint8_t *p = to;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((at_random ? (uint32_t)rand() : w.jitter >> (8 * (i % 4))) & 0xff);
}

static bool submit(size_t i, int device, uint8_t type)
{
    struct exchange *x = &w.x[i];
    if (x->up == UP_NONE)
        memset(x, 0, sizeof *x);
    x->room = &w.rooms[i];
    x->state = EXCHANGE_OPEN;
    x->ends_s = INT64_MAX;
    x->type = type;
    w.ended[i] = NOT_ENDED;
    struct msg m = {.code = MSG_GET};
    uint8_t number = (uint8_t)i;
    assert_true(msg_add(&m, OPT_URI_PATH, bytes_of(&number, 1)));
    return upstream_submit(w.u, x, device, &m, now());
}

static void on_answered(void *user, struct exchange *x, const struct msg *m, struct instant t)
{
    (void)user;
    (void)t;
    size_t i = (size_t)(x - w.x);
    assert_int_equal(x->up, UP_NONE);
    assert_null(x->device);
    assert_int_equal(w.ended[i], NOT_ENDED); /* once */
    assert_true((m != NULL) == (x->up_end == UP_ANSWERED));
    w.ended[i] = (int)x->up_end;
    w.code[i] = m ? m->code : 0;
    w.n_ended++;
    if (w.resubmit) {
        size_t other = (size_t)(w.resubmit - w.x);
        w.resubmit = NULL;
        (void)submit(other, 0, TYPE_CON);
    }
}

static const struct upstream_ops ops = {.answered = on_answered};

static void begin_with(const struct device_config *c, size_t n)
{
    memset(&w, 0, sizeof w);
    for (size_t i = 0; i < REQUESTS; i++) {
        w.ended[i] = NOT_ENDED;
        w.x[i].room = &w.rooms[i];
    }
    at(0);
    /* Its low half is 500 more than some 1001: waits of 2500, 5000, ... */
    w.jitter = 0x0601ec90;
    char text[256];
    struct buf diag = buf_on(text, sizeof text);
    /* The table keeps none of what the array itself lies in. */
    struct device_config *copy = calloc(n + 1, sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, c, n * sizeof *copy);
    w.u = upstreams_new(copy, n, &w.loop, &ops, NULL, random_bytes, &diag);
    free(copy);
    if (!w.u)
        fail_msg("%.*s", (int)diag.n, text);
    w.wire = n ? wire_of(&c[0]) : NULL;
}

static void begin(void)
{
    at_random = false;
    lamp_url.to = fake_peer("192.0.2.10", 5683);
    for (uint16_t i = 0; i < COUNT(cse_url); i++)
        cse_url[i].to = fake_peer("2001:db8::11", (uint16_t)(5683 + i));
    configs[1].n_urls = several ? COUNT(cse_url) : 1;
    begin_with(configs, COUNT(configs));
}

static void begin_at_random(unsigned seed)
{
    begin();
    srand(seed);
    at_random = true;
    upstreams_free(w.u);
    w.u =
        upstreams_new(configs, COUNT(configs), &w.loop, &ops, NULL, random_bytes, &(struct buf){0});
    assert_non_null(w.u);
    w.wire = wire_of(&configs[0]);
}

static void end(void)
{
    upstreams_free(w.u);
    assert_true(fake_udp_reset());
}

/* The next datagram to a device, as a message; its type is 255 when none. */
static struct msg sent_to(int device)
{
    static struct fake_datagram d;
    struct msg m = {.type = 255};
    upstreams_turn(w.u, now());
    const struct device_config *c = &configs[device];
    for (last_url = 0; last_url < c->n_urls; last_url++) {
        struct udp *u = fake_udp_connected(&c->urls[last_url].to);
        if (u && fake_udp_take(u, &d)) {
            assert_int_equal(msg_parse(bytes_of(d.bytes, d.n), &m), MSG_OK);
            break;
        }
    }
    return m;
}

static size_t from_url; /* where what a device sends comes from */

static void from_wire(int device, struct bytes datagram)
{
    const struct peer *at = &configs[device].urls[from_url].to;
    struct udp *u = fake_udp_connected(at);
    if (datagram.n)
        fake_udp_inject(u, at, datagram);
    else
        fake_udp_inject_icmp(u);
    w.loop.now = now();
    fake_loop_readable(&w.loop, udp_fd(u));
}

static uint64_t token_of(const struct msg *m)
{
    uint64_t v = 0;
    for (size_t i = 0; i < m->token_n; i++)
        v = v << 8 | m->token[i];
    return v;
}

static void from_device(int device, uint8_t type, uint8_t code, uint16_t mid, uint64_t token)
{
    uint8_t storage[64];
    struct buf b = buf_on(storage, sizeof storage);
    struct msg m = {.type = type, .code = code, .mid = mid};
    if (code != MSG_EMPTY) {
        struct buf t = buf_on(m.token, sizeof m.token);
        buf_put_be(&t, token, 8);
        m.token_n = 8;
        m.payload = BYTES_LIT("on");
    }
    assert_true(msg_write(&m, &b));
    from_wire(device, buf_bytes(&b));
}

static struct device_stats stats(int device)
{
    struct device_stats s;
    upstream_get_stats(w.u, device, &s);
    return s;
}

static void expire(uint64_t ms)
{
    at(ms);
    upstreams_expire(w.u, now());
}

/* ---- stories with one device of window 1 and a queue of 3 ---- */

enum verb {
    END = 0,
    TIME,    /* it is ms */
    ASK,     /* request n of type is submitted and taken */
    REFUSED, /* or not, for the reason in `what` */
    WIRE,    /* the device gets request n, as type; `what` counts the transmissions */
    ACKED,   /* the device gets our empty ACK of mid */
    RESET,   /* or our RST */
    QUIET,   /* or nothing more */
    E_ACK,   /* the device acknowledges n with nothing */
    E_RST,   /* the device rejects n */
    PIGGY,   /* the device answers n on the ACK; mid: off by that much */
    SEP,     /* the device answers n as type with its own mid */
    SENDS,   /* the device sends something else: type, what = code, mid */
    ERROR,   /* an ICMP error is reported */
    CANCEL,
    PING,  /* the device gets an empty CON */
    REPLY, /* and replies to it by an empty message of type */
    ENDS,  /* n ended, for the reason in `what` */
    OPEN,  /* n has not */
    DUE,
    IDLE, /* no deadline */
    IS,   /* what = down; n in flight, mid in the queue */
};

struct step {
    enum verb verb;
    uint32_t ms;
    size_t n;
    uint8_t type;
    uint16_t mid;
    int what;
};

/* clang-format off */
#define T(t) {TIME, (t), 0, 0, 0, 0}
#define ASK(n, ty) {ASK, 0, n, TYPE_##ty, 0, 0}
#define NO(n, ty, why) {REFUSED, 0, n, TYPE_##ty, 0, why}
#define GETS(n, ty, k) {WIRE, 0, n, TYPE_##ty, 0, k}
#define GETS_ACK(m) {ACKED, 0, 0, 0, m, 0}
#define GETS_RST(m) {RESET, 0, 0, 0, m, 0}
#define NONE {QUIET, 0, 0, 0, 0, 0}
#define ACK(n) {E_ACK, 0, n, 0, 0, 0}
#define RST(n) {E_RST, 0, n, 0, 0, 0}
#define ANS(n) {PIGGY, 0, n, 0, 0, 0}
#define ANS_(n, off) {PIGGY, 0, n, 0, off, 0}
#define SEP(n, ty, m) {SEP, 0, n, TYPE_##ty, m, 0}
#define ODD(ty, c, m) {SENDS, 0, 0, TYPE_##ty, m, c}
#define ICMP {ERROR, 0, 0, 0, 0, 0}
#define PINGED {PING, 0, 0, 0, 0, 0}
#define PONG(ty) {REPLY, 0, 0, TYPE_##ty, 0, 0}
#define RESET_IT {RESET, 0, 0, 0, ANY_MID, 0}
#define CANCEL(n) {CANCEL, 0, n, 0, 0, 0}
#define ENDS(n, why) {ENDS, 0, n, 0, 0, why}
#define OPEN(n) {OPEN, 0, n, 0, 0, 0}
#define DUE_AT(t) {DUE, (t), 0, 0, 0, 0}
#define NEVER {IDLE, 0, 0, 0, 0, 0}
#define UP(f, q) {IS, 0, f, 0, q, 0}
#define DOWN(f, q) {IS, 0, f, 0, q, 1}

/* clang-format on */

/* A request that nobody hears, sent at 0 with waits of 2500, 5000, ... */
#define UNHEARD(n)                                                                                 \
    ASK(n, CON), GETS(n, CON, 1), T(2499), NONE, T(2500), GETS(n, CON, 2), T(7500),                \
        GETS(n, CON, 3), T(17500), GETS(n, CON, 4), T(37500), GETS(n, CON, 5), T(77499), NONE,     \
        OPEN(n), T(77500), NONE, ENDS(n, UP_SILENT)

static const struct story {
    const char *name;
    struct step steps[48];
} stories[] = {
    {"piggybacked",
     {ASK(0, CON), GETS(0, CON, 1), DUE_AT(2500), T(30), ANS(0), ENDS(0, UP_ANSWERED), NONE, NEVER,
      UP(0, 0)}},
    {"piggybacked twice",
     {ASK(0, CON), GETS(0, CON, 1), ANS(0), ENDS(0, UP_ANSWERED), ANS(0), NONE}},
    {"request lost",
     {ASK(0, CON), GETS(0, CON, 1), T(2500), GETS(0, CON, 2), DUE_AT(7500), T(2530), ANS(0),
      ENDS(0, UP_ANSWERED), T(99000), NONE, UP(0, 0)}},
    {"answer on another ID's ACK",
     {ASK(0, CON), GETS(0, CON, 1), ANS_(0, 1), OPEN(0), NONE, ANS_(0, 0), ENDS(0, UP_ANSWERED)}},
    {"separate CON",
     {ASK(0, CON), GETS(0, CON, 1), ACK(0), OPEN(0), NONE, DUE_AT(120000), T(9000), NONE,
      SEP(0, CON, 77), GETS_ACK(77), ENDS(0, UP_ANSWERED), NEVER, NONE}},
    {"separate CON, our ACK lost",
     {ASK(0, CON), GETS(0, CON, 1), ACK(0), SEP(0, CON, 77), GETS_ACK(77), ENDS(0, UP_ANSWERED),
      T(2000), SEP(0, CON, 77), GETS_ACK(77), T(246999), SEP(0, CON, 77), GETS_ACK(77), T(247000),
      SEP(0, CON, 77), GETS_RST(77), NONE}},
    {"another answer as the same CON",
     {ASK(0, CON), GETS(0, CON, 1), SEP(0, CON, 77), GETS_ACK(77), ODD(CON, OK, 77), GETS_RST(77)}},
    {"the same answer as another CON",
     {ASK(0, CON), GETS(0, CON, 1), ACK(0), SEP(0, CON, 77), GETS_ACK(77), SEP(0, CON, 78),
      GETS_RST(78)}},
    {"separate CON, its ACK lost",
     {ASK(0, CON), GETS(0, CON, 1), T(100), SEP(0, CON, 77), GETS_ACK(77), ENDS(0, UP_ANSWERED),
      T(2500), NONE}},
    {"separate CON, then its ACK",
     {ASK(0, CON), GETS(0, CON, 1), SEP(0, CON, 77), GETS_ACK(77), ACK(0), NONE, UP(0, 0)}},
    {"separate NON",
     {ASK(0, CON), GETS(0, CON, 1), ACK(0), SEP(0, NON, 77), NONE, ENDS(0, UP_ANSWERED),
      SEP(0, NON, 77), NONE}},
    {"separate never comes",
     {ASK(0, CON), GETS(0, CON, 1), T(50), ACK(0), T(120049), OPEN(0), T(120050),
      ENDS(0, UP_SILENT), NONE, UP(0, 0)}},
    {"ACK, then the ACK again with the answer",
     {ASK(0, CON), GETS(0, CON, 1), ACK(0), ANS(0), ENDS(0, UP_ANSWERED), UP(0, 0)}},
    {"ACK twice",
     {ASK(0, CON), GETS(0, CON, 1), ACK(0), ACK(0), OPEN(0), UP(1, 0), SEP(0, NON, 1), UP(0, 0)}},
    {"reset", {ASK(0, CON), GETS(0, CON, 1), RST(0), ENDS(0, UP_RESET), NONE, NEVER, UP(0, 0)}},
    {"reset after the ACK", {ASK(0, CON), GETS(0, CON, 1), ACK(0), RST(0), OPEN(0), UP(1, 0)}},
    {"NON",
     {ASK(0, NON), GETS(0, NON, 1), DUE_AT(30000), SEP(0, NON, 5), ENDS(0, UP_ANSWERED), NEVER,
      UP(0, 0)}},
    {"NON answered by CON",
     {ASK(0, NON), GETS(0, NON, 1), SEP(0, CON, 5), GETS_ACK(5), ENDS(0, UP_ANSWERED)}},
    {"NON cannot be acknowledged",
     {ASK(0, NON), GETS(0, NON, 1), ACK(0), ANS(0), OPEN(0), NONE, UP(1, 0), DUE_AT(30000)}},
    {"NON rejected", {ASK(0, NON), GETS(0, NON, 1), RST(0), ENDS(0, UP_RESET)}},
    {"NON lost is not sent again",
     {ASK(0, NON), GETS(0, NON, 1), T(29999), NONE, OPEN(0), T(30000), NONE, ENDS(0, UP_SILENT),
      UP(0, 0)}},
    {"two NON lost are silence",
     {ASK(0, NON), GETS(0, NON, 1), ASK(1, NON), ASK(2, NON), T(30000), GETS(1, NON, 1), UP(1, 1),
      T(60000), ENDS(1, UP_SILENT), ENDS(2, UP_DRAINED), NONE, DOWN(0, 0)}},
    {"NON lost, heard, lost",
     {ASK(0, NON), GETS(0, NON, 1), T(30000), ASK(1, NON), GETS(1, NON, 1), SEP(1, NON, 4),
      ASK(2, NON), GETS(2, NON, 1), T(60000), ENDS(2, UP_SILENT), UP(0, 0)}},

    {"window",
     {ASK(0, CON), ASK(1, CON), GETS(0, CON, 1), NONE, UP(1, 1), ANS(0), GETS(1, CON, 1), UP(1, 0),
      ANS(1), ENDS(1, UP_ANSWERED), UP(0, 0)}},
    {"window of NON and CON",
     {ASK(0, NON), ASK(1, CON), GETS(0, NON, 1), NONE, SEP(0, NON, 9), GETS(1, CON, 1), NONE}},
    {"an ACK gives the window on",
     {ASK(0, CON), ASK(1, CON), GETS(0, CON, 1), ACK(0), GETS(1, CON, 1), UP(2, 0), ANS(1),
      ENDS(1, UP_ANSWERED), OPEN(0), SEP(0, NON, 3), ENDS(0, UP_ANSWERED), UP(0, 0)}},
    {"a reset gives the window on",
     {ASK(0, CON), ASK(1, CON), GETS(0, CON, 1), RST(0), GETS(1, CON, 1)}},
    {"a leaving client gives the window on",
     {ASK(0, CON), ASK(1, CON), GETS(0, CON, 1), CANCEL(0), GETS(1, CON, 1), UP(1, 0), ANS(0),
      OPEN(0), NONE}},
    {"leaving the queue",
     {ASK(0, CON), ASK(1, CON), ASK(2, CON), GETS(0, CON, 1), CANCEL(1), UP(1, 1), ANS(0),
      GETS(2, CON, 1), UP(1, 0), CANCEL(2), CANCEL(2), NONE, NEVER, UP(0, 0)}},
    {"leaving after the ACK",
     {ASK(0, CON), GETS(0, CON, 1), ACK(0), CANCEL(0), NEVER, UP(0, 0), SEP(0, CON, 8),
      GETS_RST(8)}},
    {"queue in order, and full",
     {ASK(0, CON),     ASK(1, CON), ASK(2, CON),     ASK(3, CON), NO(4, CON, UP_FULL), UP(1, 3),
      GETS(0, CON, 1), ANS(0),      GETS(1, CON, 1), ASK(4, CON), NO(5, CON, UP_FULL), ANS(1),
      GETS(2, CON, 1), ANS(2),      GETS(3, CON, 1), ANS(3),      GETS(4, CON, 1),     ANS(4),
      UP(0, 0),        NONE}},

    {"silence", {UNHEARD(0), DOWN(0, 0), DUE_AT(78358)}},
    /* 1 s and 2 s of back-off, less jitter; a ping waits 3 s. */
    {"down: probed with back-off",
     {UNHEARD(0), T(78357), NONE, T(78358), PINGED, NONE, DUE_AT(81358), T(81358), NONE, DOWN(0, 0),
      DUE_AT(82966), T(82966), PINGED, PONG(RST), UP(0, 0), NEVER}},
    {"down: a pong by ACK", {UNHEARD(0), T(78358), PINGED, PONG(ACK), UP(0, 0), NEVER}},
    {"down: a pong by CON is none",
     {UNHEARD(0), T(78358), PINGED, PONG(CON), RESET_IT, DOWN(0, 0)}},
    {"down: a pong too late", {UNHEARD(0), T(78358), PINGED, T(81358), PONG(RST), DOWN(0, 0)}},
    {"down: an answer while pinged",
     {UNHEARD(0), ASK(1, CON), GETS(1, CON, 1), T(78358), PINGED, ANS(1), UP(0, 0), PONG(RST),
      UP(0, 0), NEVER}},
    {"silence drains the queue", {ASK(1, CON), CANCEL(1), GETS(1, CON, 1), UNHEARD(0), DOWN(0, 0)}},
    {"down: as many try as the window holds",
     {UNHEARD(0), ASK(1, CON), NO(2, CON, UP_FULL), GETS(1, CON, 1), DOWN(1, 0), ANS(1),
      ENDS(1, UP_ANSWERED), UP(0, 0), ASK(2, CON), ASK(3, CON), UP(1, 1)}},
    {"down: an ACK is a sign of life",
     {UNHEARD(0), ASK(1, CON), GETS(1, CON, 1), ACK(1), UP(1, 0)}},
    {"down: a reset is a sign of life",
     {UNHEARD(0), ASK(1, CON), GETS(1, CON, 1), RST(1), UP(0, 0)}},
    {"down: strays are none",
     {UNHEARD(0), ODD(CON, MSG_EMPTY, 3), GETS_RST(3), ODD(NON, OK, 4), SEP(0, CON, 5), GETS_RST(5),
      ODD(ACK, MSG_EMPTY, 6), NONE, DOWN(0, 0)}},
    {"ICMP while up",
     {ASK(0, CON), GETS(0, CON, 1), T(1), ICMP, OPEN(0), T(2500), GETS(0, CON, 2), ANS(0),
      ENDS(0, UP_ANSWERED)}},
    {"ICMP while down",
     {UNHEARD(0), ASK(1, CON), GETS(1, CON, 1), T(77501), ICMP, ENDS(1, UP_REFUSED), DOWN(0, 0)}},
    {"ICMP of an earlier request",
     {UNHEARD(0), ASK(1, CON), GETS(1, CON, 1), ICMP, OPEN(1), DOWN(1, 0)}},

    {"ping", {ODD(CON, MSG_EMPTY, 9), GETS_RST(9), NONE}},
    {"request from a device", {ODD(CON, MSG_GET, 9), GETS_RST(9), ODD(NON, MSG_GET, 10), NONE}},
    {"answer to nothing", {ODD(CON, OK, 9), GETS_RST(9), ODD(NON, OK, 10), ODD(ACK, OK, 11), NONE}},
    {"reset of nothing", {ASK(0, CON), GETS(0, CON, 1), ODD(RST, MSG_EMPTY, 9), OPEN(0), NONE}},
};

static bool tell_step(const struct step *p)
{
    struct exchange *x = &w.x[p->n];
    struct msg m;
    struct device_stats s;
    switch (p->verb) {
    case TIME:
        expire(p->ms);
        return true;
    case ASK:
        return submit(p->n, 0, p->type);
    case REFUSED:
        return !submit(p->n, 0, p->type) && (int)x->up_end == p->what && x->up == UP_NONE;
    case WIRE:
        m = sent_to(0);
        return m.type == p->type && m.code == MSG_GET && m.mid == x->up_mid && m.token_n == 8 &&
               token_of(&m) == x->up_token && m.options[0].value.p[0] == p->n &&
               x->up_tries == p->what;
    case ACKED:
    case RESET:
        m = sent_to(0);
        return m.type == (p->verb == ACKED ? TYPE_ACK : TYPE_RST) && m.code == MSG_EMPTY &&
               (m.mid == p->mid || p->mid == ANY_MID);
    case PING:
        m = sent_to(0);
        w.ping_mid = m.mid;
        return m.type == TYPE_CON && m.code == MSG_EMPTY;
    case REPLY:
        from_device(0, p->type, MSG_EMPTY, w.ping_mid, 0);
        return true;
    case QUIET:
        return sent_to(0).type == 255;
    case E_ACK:
        from_device(0, TYPE_ACK, MSG_EMPTY, x->up_mid, 0);
        return true;
    case E_RST:
        from_device(0, TYPE_RST, MSG_EMPTY, x->up_mid, 0);
        return true;
    case PIGGY:
        from_device(0, TYPE_ACK, OK, (uint16_t)(x->up_mid + p->mid), x->up_token);
        return true;
    case SEP:
        from_device(0, p->type, OK, p->mid, x->up_token);
        return true;
    case SENDS:
        from_device(0, p->type, (uint8_t)p->what, p->mid, 0x0102030405060000);
        return true;
    case ERROR:
        from_wire(0, BYTES_NONE);
        return true;
    case CANCEL:
        upstream_cancel(w.u, x, now());
        return x->up == UP_NONE;
    case ENDS:
        return w.ended[p->n] == p->what && (p->what != UP_ANSWERED || w.code[p->n] == OK);
    case OPEN:
        return w.ended[p->n] == NOT_ENDED;
    case DUE:
        return due_ms() == p->ms;
    case IDLE:
        return due_ms() == UINT64_MAX;
    case IS:
        s = stats(0);
        return s.down == p->what && s.in_flight == p->n && s.queued == p->mid;
    case END:
        break;
    }
    return true;
}

static void test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(stories); i++) {
        begin();
        for (size_t k = 0; stories[i].steps[k].verb != END; k++)
            if (!tell_step(&stories[i].steps[k]))
                fail_msg("%s: step %zu, verb %d", stories[i].name, k, stories[i].steps[k].verb);
        end();
    }
}

/* ---- single traits ---- */

static void test_queue_is_drained(void **state)
{
    (void)state;
    begin();
    assert_true(submit(0, 0, TYPE_CON));
    assert_true(submit(1, 0, TYPE_CON));
    assert_true(submit(2, 0, TYPE_NON));
    w.resubmit = &w.x[9]; /* the gate may ask again at once: it becomes the trial */
    for (uint64_t ms = 0; ms <= 77500; ms += 100)
        expire(ms);
    assert_int_equal(w.ended[0], UP_SILENT);
    assert_int_equal(w.ended[1], UP_DRAINED);
    assert_int_equal(w.ended[2], UP_DRAINED);
    struct device_stats s = stats(0);
    assert_true(s.down);
    assert_int_equal(s.drained, 2);
    assert_int_equal(s.silent, 1);
    assert_int_equal(s.in_flight, s.queued + 0); /* queue not empty when it asked: refused */
    assert_int_equal(w.x[9].up_end, UP_FULL);
    end();
}

/* What is lost while others are answered does not make the device down. */
static void test_loss_is_not_silence(void **state)
{
    (void)state;
    begin();
    assert_true(submit(0, 1, TYPE_CON));
    at(40000);
    assert_true(submit(1, 1, TYPE_CON));
    from_device(1, TYPE_ACK, OK, w.x[1].up_mid, w.x[1].up_token);
    for (uint64_t ms = 40000; ms <= 200000 && w.ended[0] == NOT_ENDED; ms += 100)
        expire(ms);
    assert_int_equal(w.ended[0], UP_SILENT);
    assert_false(stats(1).down);
    end();
}

static void test_retransmission_is_identical(void **state)
{
    (void)state;
    begin();
    struct fake_datagram first, d;
    assert_true(submit(0, 0, TYPE_CON));
    upstreams_turn(w.u, now());
    assert_true(fake_udp_take(w.wire, &first));
    for (uint64_t ms = 0; ms <= 77500; ms++)
        expire(ms);
    upstreams_turn(w.u, now());
    for (int i = 0; i < MAX_RETRANSMIT; i++) {
        assert_true(fake_udp_take(w.wire, &d));
        assert_int_equal(d.n, first.n);
        assert_memory_equal(d.bytes, first.bytes, d.n);
    }
    assert_false(fake_udp_take(w.wire, &d));
    end();
}

static void test_jitter_bounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t random;
        uint64_t want_ms;
    } rows[] = {{0, 2000}, {1000, 3000}, {1001, 2000}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin();
        upstreams_free(w.u);
        w.jitter = rows[i].random;
        w.u = upstreams_new(configs, 2, &w.loop, &ops, NULL, random_bytes, &(struct buf){0});
        assert_true(submit(0, 0, TYPE_CON));
        assert_int_equal(due_ms(), rows[i].want_ms);
        end();
    }
}

static void test_acked_are_bounded(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < 1 + DEVICE_ACKED; i++) {
        assert_true(submit(i, 0, TYPE_CON));
        assert_int_equal(sent_to(0).mid, w.x[i].up_mid);
        from_device(0, TYPE_ACK, MSG_EMPTY, w.x[i].up_mid, 0);
        assert_int_equal(w.x[i].up, UP_ACKED);
    }
    assert_true(submit(40, 0, TYPE_CON));
    assert_int_equal(w.x[40].up, UP_QUEUED);
    from_device(0, TYPE_NON, OK, 1, w.x[5].up_token);
    assert_int_equal(w.ended[5], UP_ANSWERED);
    assert_int_equal(w.x[40].up, UP_SENT);
    end();
}

static void test_message_ids_wrap(void **state)
{
    (void)state;
    begin();
    assert_true(submit(0, 1, TYPE_CON));
    uint16_t held = w.x[0].up_mid, before = held;
    for (unsigned i = 0; i < 3 * 65536; i++) {
        assert_true(submit(1, 1, TYPE_CON));
        uint16_t mid = w.x[1].up_mid;
        assert_int_not_equal(mid, held);
        uint16_t step = (uint16_t)(mid - before);
        assert_true(step == 1 || (step == 2 && (uint16_t)(mid - 1) == held) || step <= 3);
        before = mid;
        from_device(1, TYPE_ACK, OK, mid, w.x[1].up_token);
        assert_int_equal(w.ended[1], UP_ANSWERED);
        upstreams_turn(w.u, now());
        (void)fake_udp_reset();
    }
    end();
}

static void test_tokens_differ(void **state)
{
    (void)state;
    begin_at_random(3);
    uint64_t seen[512];
    for (size_t i = 0; i < COUNT(seen); i++) {
        assert_true(submit(0, 0, TYPE_NON));
        seen[i] = w.x[0].up_token >> 16;
        for (size_t k = 0; k < i; k++)
            assert_true(seen[k] != seen[i]);
        upstream_cancel(w.u, &w.x[0], now());
    }
    end();
}

/* Each is the right answer but for one thing. */
static void test_answers_that_do_not_match(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t at;
        uint8_t flip;
        size_t cut; /* bytes off the end */
        int want;
        uint8_t reply; /* type of what the device gets back; 255: none */
    } rows[] = {
        {"as it should be", 0, 0, 0, UP_ANSWERED, TYPE_ACK},
        {"token, first byte", 4, 1, 0, NOT_ENDED, TYPE_RST},
        {"token, random end", 9, 1, 0, NOT_ENDED, TYPE_RST},
        {"token, place", 11, 1, 0, NOT_ENDED, TYPE_RST},
        {"token, place far off", 10, 0xff, 0, NOT_ENDED, TYPE_RST},
        {"token shorter", 0, 0x08 ^ 0x07, 0, NOT_ENDED, TYPE_RST},
        {"no token", 0, 0x08, 0, NOT_ENDED, TYPE_RST},
        {"token length reserved", 0, 0x08 ^ 0x09, 0, NOT_ENDED, TYPE_RST},
        {"a request", 1, OK ^ MSG_GET, 0, NOT_ENDED, TYPE_RST},
        {"reserved class", 1, OK ^ 0xe5, 0, NOT_ENDED, TYPE_RST},
        {"marker and no payload", 0, 0, 2, NOT_ENDED, TYPE_RST},
        {"cut in the token", 0, 0, 5, NOT_ENDED, TYPE_RST},
        {"cut in the header", 0, 0, 12, NOT_ENDED, 255},
        {"version 2", 0, 0xc0, 0, NOT_ENDED, 255},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin_at_random(4);
        assert_true(submit(0, 0, TYPE_CON));
        (void)sent_to(0);
        uint8_t d[15] = {0x48, OK, 0x12, 0x34};
        struct buf t = buf_on(d + 4, 8);
        buf_put_be(&t, w.x[0].up_token, 8);
        memcpy(d + 12, "\xffon", 3);
        d[rows[i].at] ^= rows[i].flip;
        from_wire(0, bytes_of(d, sizeof d - rows[i].cut));
        struct msg m = sent_to(0);
        if (w.ended[0] != rows[i].want || m.type != rows[i].reply)
            fail_msg("%s: ended %d, reply %d", rows[i].name, w.ended[0], m.type);
        if (m.type != 255)
            assert_int_equal(m.mid, 0x1234);
        assert_int_equal(stats(0).in_flight, rows[i].want == NOT_ENDED);
        assert_int_equal(stats(0).stray, rows[i].want == NOT_ENDED);
        end();
    }
}

/* An answer counts from the device that was asked only. */
static void test_devices_are_apart(void **state)
{
    (void)state;
    begin();
    assert_true(submit(0, 0, TYPE_CON));
    from_device(1, TYPE_ACK, OK, w.x[0].up_mid, w.x[0].up_token);
    assert_int_equal(w.ended[0], NOT_ENDED);
    from_device(0, TYPE_ACK, OK, w.x[0].up_mid, w.x[0].up_token);
    assert_int_equal(w.ended[0], UP_ANSWERED);
    end();
}

static void test_too_large(void **state)
{
    (void)state;
    begin();
    static const uint8_t large[MESSAGE_MAX];
    /* header 4, token 8, marker 1 */
    static const struct {
        const char *name;
        size_t n;
        bool want;
    } rows[] = {{"just fits", MESSAGE_MAX - 13, true}, {"one more", MESSAGE_MAX - 12, false}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct exchange *x = &w.x[i];
        x->type = TYPE_CON;
        struct msg m = {.code = MSG_PUT, .payload = bytes_of(large, rows[i].n)};
        if (upstream_submit(w.u, x, 1, &m, now()) != rows[i].want)
            fail_msg("%s", rows[i].name);
        if (!rows[i].want)
            assert_int_equal(x->up_end, UP_TOO_LARGE);
    }
    assert_int_equal(stats(1).in_flight, 1);
    end();
}

/* An answer that fills the datagram may have been cut: it is none, but the
 * device has spoken, and the next request goes on at once. */
static void test_cut_answer(void **state)
{
    (void)state;
    static const uint8_t large[DATAGRAM_MAX];
    /* header 4, token 8, marker 1 */
    static const struct {
        const char *name;
        size_t n;
        int want;
    } rows[] = {{"may be cut", DATAGRAM_MAX - 13, UP_TOO_LARGE},
                {"one less", DATAGRAM_MAX - 14, UP_ANSWERED}};
    begin();
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(submit(i, 0, TYPE_CON));
        uint8_t storage[DATAGRAM_MAX];
        struct buf b = buf_on(storage, sizeof storage);
        struct msg m = {.type = TYPE_ACK,
                        .code = OK,
                        .mid = w.x[i].up_mid,
                        .token_n = 8,
                        .payload = bytes_of(large, rows[i].n)};
        struct buf t = buf_on(m.token, sizeof m.token);
        buf_put_be(&t, w.x[i].up_token, 8);
        assert_true(msg_write(&m, &b));
        from_wire(0, buf_bytes(&b));
        if (w.ended[i] != rows[i].want)
            fail_msg("%s: %d", rows[i].name, w.ended[i]);
        assert_int_equal(stats(0).in_flight, 0);
    }
    end();
}

static void test_rtt(void **state)
{
    (void)state;
    begin();
    assert_true(submit(0, 0, TYPE_CON));
    w.now_us += 8000;
    from_device(0, TYPE_ACK, OK, w.x[0].up_mid, w.x[0].up_token);
    assert_int_equal(stats(0).rtt_us, 8000);
    assert_true(submit(0, 0, TYPE_CON));
    w.now_us += 16000;
    from_device(0, TYPE_ACK, OK, w.x[0].up_mid, w.x[0].up_token);
    assert_int_equal(stats(0).rtt_us, 9000);
    /* Of one sent twice it is not known which was answered. */
    at(1000);
    assert_true(submit(0, 0, TYPE_CON));
    expire(5000);
    from_device(0, TYPE_ACK, OK, w.x[0].up_mid, w.x[0].up_token);
    assert_int_equal(stats(0).rtt_us, 9000);
    end();
}

/* ---- routes ---- */

static const struct bytes path_a[] = {BYTES_LIT("a")};
static const struct bytes path_ab[] = {BYTES_LIT("a"), BYTES_LIT("b")};
static const struct bytes path_abcd[] = {BYTES_LIT("a"), BYTES_LIT("b"), BYTES_LIT("c"),
                                         BYTES_LIT("d")};
static const struct bytes path_empty[] = {BYTES_LIT("")};

static void test_routes(void **state)
{
    (void)state;
    struct device_config c[] = {
        {.name = "a", .prefix = path_a, .n_prefix = 1, .window = 1},
        {.name = "ab", .prefix = path_ab, .n_prefix = 2, .window = 1},
        {.name = "abcd", .prefix = path_abcd, .n_prefix = 4, .window = 1},
        {.name = "meter", .host = "Meter.home", .window = 1},
        {.name = "empty", .prefix = path_empty, .n_prefix = 1, .window = 1},
    };
    struct device_url url = {.text = "a device", .to = fake_peer("192.0.2.1", 5683)};
    for (size_t i = 0; i < COUNT(c); i++) {
        c[i].urls = &url;
        c[i].n_urls = 1;
    }
    begin_with(c, COUNT(c));
    static const struct {
        const char *name, *host;
        const char *path[5];
        int want;
        size_t strip;
    } rows[] = {
        {"exact", "", {"a"}, 0, 1},
        {"below", "", {"a", "x"}, 0, 1},
        {"longest", "", {"a", "b"}, 1, 2},
        {"not as deep as another", "", {"a", "b", "c"}, 1, 2},
        {"deepest", "", {"a", "b", "c", "d", "e"}, 2, 4},
        {"leaves the deepest", "", {"a", "b", "c", "x"}, 1, 2},
        {"no device", "", {"x"}, -1, 0},
        {"no path", "", {NULL}, -1, 0},
        {"case of a segment", "", {"A"}, -1, 0},
        {"a slash within a segment", "", {"a/b"}, -1, 0},
        {"a dot before", "", {".", "a"}, -1, 0},
        {"empty before", "", {"", "a"}, 4, 1},
        {"longer segment", "", {"ab"}, -1, 0},
        {"host", "meter.home", {"x"}, 3, 0},
        {"host without path", "meter.home", {NULL}, 3, 0},
        {"case of the host", "METER.Home", {"a"}, 3, 0},
        {"host before path", "meter.home", {"a", "b"}, 3, 0},
        {"unknown host", "gateway.home", {"a", "b"}, 1, 2},
        {"longer host", "meter.home.x", {"a"}, 0, 1},
        {"shorter host", "meter.hom", {"a"}, 0, 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bytes path[5];
        size_t n = 0, strip = 99;
        for (; n < 5 && rows[i].path[n]; n++)
            path[n] = bytes_str(rows[i].path[n]);
        int got = upstream_route(w.u, bytes_str(rows[i].host), path, n, &strip);
        if (got != rows[i].want || strip != rows[i].strip)
            fail_msg("%s: got %d, %zu", rows[i].name, got, strip);
    }
    end();
    /* A device at the root takes what no other does. */
    c[4].prefix = NULL;
    c[4].n_prefix = 0;
    begin_with(c, COUNT(c));
    size_t strip;
    struct bytes x = BYTES_LIT("x");
    assert_int_equal(upstream_route(w.u, BYTES_NONE, &x, 1, &strip), 4);
    assert_int_equal(strip, 0);
    assert_int_equal(upstream_route(w.u, BYTES_NONE, path_ab, 2, &strip), 1);
    end();
}

static void test_bad_tables(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct device_config second;
        size_t fail_open;
        bool want;
    } rows[] = {
        {"sound", {.name = "b", .prefix = path_ab, .n_prefix = 2, .window = 1}, 0, true},
        {"same path", {.name = "b", .prefix = path_a, .n_prefix = 1, .window = 1}, 0, false},
        {"same host", {.name = "b", .host = "H", .window = 1}, 0, false},
        {"no window", {.name = "b", .prefix = path_ab, .n_prefix = 2, .window = 0}, 0, false},
        {"window too wide",
         {.name = "b", .prefix = path_ab, .n_prefix = 2, .window = DEVICE_WINDOW_MAX + 1},
         0,
         false},
        {"no socket", {.name = "b", .prefix = path_ab, .n_prefix = 2, .window = 1}, 1, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct device_config c[] = {
            {.name = "a", .host = "h", .prefix = path_a, .n_prefix = 1, .window = 1},
            rows[i].second,
        };
        struct device_url url = {.text = "a device", .to = fake_peer("192.0.2.1", 5683)};
        c[0].urls = c[1].urls = &url;
        c[0].n_urls = c[1].n_urls = 1;
        char text[256];
        struct buf diag = buf_on(text, sizeof text);
        fake_udp_fail_open(rows[i].fail_open);
        struct upstreams *u = upstreams_new(c, 2, &w.loop, &ops, NULL, random_bytes, &diag);
        if ((u != NULL) != rows[i].want || (!u && diag.n == 0))
            fail_msg("%s: %.*s", rows[i].name, (int)diag.n, text);
        upstreams_free(u);
        assert_true(fake_udp_reset());
    }
}

/* ---- at random: no place is lost, no window exceeded, each ends once ---- */

/* What a device knows of a request that it got. */
struct got {
    bool open, acked;
    uint8_t type;
    uint16_t mid;
    uint64_t token;
    size_t url;
};

static void play_at_random(unsigned seed)
{
    begin_at_random(seed);
    static struct got got[2][REQUESTS];
    memset(got, 0, sizeof got);
    size_t taken = 0, cancelled = 0;
    uint64_t ms = 0;
    int device_of[REQUESTS] = {0};
    for (int round = 0; round < 80000; round++) {
        ms += (uint64_t)(rand() % 4 ? rand() % 50 : rand() % 30 ? rand() % 3000 : rand() % 100000);
        at(ms);
        size_t i = (size_t)rand() % REQUESTS;
        int d = rand() % 2;
        struct got *g = &got[d][rand() % REQUESTS];
        int what = rand() % 16;
        if (what < 5 && w.x[i].up == UP_NONE) {
            if (submit(i, d, rand() % 3 ? TYPE_CON : TYPE_NON)) {
                taken++;
                device_of[i] = d;
            } else {
                assert_int_equal(w.x[i].up_end, UP_FULL);
            }
        } else if (what == 5 && w.x[i].up != UP_NONE) {
            upstream_cancel(w.u, &w.x[i], now());
            cancelled++;
        } else if (what < 12 && g->open) {
            from_url = g->url;
            if (what < 8 && g->type == TYPE_CON)
                from_device(d, TYPE_ACK, OK, g->mid, g->token);
            else if (what == 8)
                from_device(d, TYPE_ACK, MSG_EMPTY, g->mid, 0);
            else if (what == 9)
                from_device(d, TYPE_RST, MSG_EMPTY, g->mid, 0);
            else
                from_device(d, rand() % 2 ? TYPE_CON : TYPE_NON, OK, (uint16_t)rand(), g->token);
            if (rand() % 2)
                g->open = false; /* else it may answer it again */
        } else if (what == 12) {
            from_url = (size_t)rand() % configs[d].n_urls;
            from_wire(d, BYTES_NONE);
        } else {
            upstreams_expire(w.u, now());
        }
        for (int k = 0; k < 2; k++) {
            for (struct msg m; (m = sent_to(k)).type != 255;)
                if (m.code == MSG_GET)
                    got[k][m.options[0].value.p[0]] =
                        (struct got){true, false, m.type, m.mid, token_of(&m), last_url};
            size_t window = 0, flight = 0, queue = 0;
            for (size_t n = 0; n < REQUESTS; n++) {
                bool here = device_of[n] == k;
                window += here && w.x[n].up == UP_SENT;
                flight += here && (w.x[n].up == UP_SENT || w.x[n].up == UP_ACKED);
                queue += here && w.x[n].up == UP_QUEUED;
            }
            struct device_stats s = stats(k);
            assert_int_equal(s.in_flight, flight);
            assert_int_equal(s.queued, queue);
            assert_true(window <= configs[k].window && queue <= configs[k].queue);
            assert_true(flight <= configs[k].window + DEVICE_ACKED);
            /* Nothing waits while there is room. */
            assert_true(queue == 0 || window == configs[k].window ||
                        flight == configs[k].window + DEVICE_ACKED);
            assert_true(queue == 0 || !s.down);
        }
    }
    while (stats(0).in_flight + stats(0).queued + stats(1).in_flight + stats(1).queued > 0)
        expire(due_ms());
    for (int k = 0; k < 2; k++) {
        assert_int_equal(stats(k).in_flight, 0);
        assert_int_equal(stats(k).queued, 0);
    }
    assert_int_equal(taken, w.n_ended + cancelled);
    assert_true(taken > 4000 && cancelled > 400);
    /* And all of the window can still be had. */
    for (size_t n = 0; n < configs[1].window; n++)
        assert_true(submit(n, 1, TYPE_CON) && w.x[n].up == UP_SENT);
    from_url = 0;
    end();
}

static void test_random(void **state)
{
    (void)state;
    play_at_random(2);
}

/* As many URLs as there are, and each may be the one that answers. */
static void test_random_with_several(void **state)
{
    (void)state;
    several = true;
    play_at_random(5);
    several = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_queue_is_drained),
        cmocka_unit_test(test_loss_is_not_silence),
        cmocka_unit_test(test_retransmission_is_identical),
        cmocka_unit_test(test_jitter_bounds),
        cmocka_unit_test(test_acked_are_bounded),
        cmocka_unit_test(test_message_ids_wrap),
        cmocka_unit_test(test_tokens_differ),
        cmocka_unit_test(test_answers_that_do_not_match),
        cmocka_unit_test(test_devices_are_apart),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_cut_answer),
        cmocka_unit_test(test_rtt),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_with_several),
    };
    log_open(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
