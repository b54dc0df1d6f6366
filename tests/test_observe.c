/* The device's side of observations, between a device and subscribers that
 * are this file: it stands in the place of upstream.c and exchange.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/limits.h"
#include "../proxy/observe.h"
#include "../proxy/observe_order.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum { EARS = 4, SLOTS = 64, PEOPLE = 1024 };

struct person {
    bool in, busy;
    bool never_ready; /* does not say that it is, after a notice */
    bool leaves;      /* at its next notice */
    bool not_seen;    /* says once that it has not seen it */
    size_t told, lasts;
    int state; /* the payload it was told last, as a number; -1: no answer */
    uint32_t age_s;
};

static struct world {
    struct observes *t;
    uint64_t now_ms;
    struct exchange x[SLOTS];
    struct msg asked[SLOTS]; /* of those under way: code and Observe alone */
    size_t n_asked, refuse;  /* the next so many requests are not taken */
    struct {
        bool used;
        uint32_t owner;
        uint64_t token;
    } ears[EARS];
    uint64_t tokens;
    struct person people[PEOPLE];
    size_t told, most_in_a_turn;
    size_t no_room; /* for the next so many notices */
} w;

static struct instant now(void)
{
    return (struct instant){.mono_us = w.now_ms * 1000};
}

/* ---- in the place of upstream.c and exchange.c ---- */

bool upstream_listen(struct upstreams *u, int device, uint32_t owner, uint64_t *token)
{
    (void)u;
    (void)device;
    for (size_t i = 0; i < EARS; i++) {
        if (w.ears[i].used)
            continue;
        w.ears[i].used = true;
        w.ears[i].owner = owner;
        *token = w.ears[i].token = ++w.tokens;
        return true;
    }
    return false;
}

void upstream_unlisten(struct upstreams *u, int device, uint64_t token)
{
    (void)u;
    (void)device;
    for (size_t i = 0; i < SLOTS; i++)
        assert_false(w.x[i].state == EXCHANGE_OPEN && w.x[i].up_token == token);
    for (size_t i = 0; i < EARS; i++)
        if (w.ears[i].used && w.ears[i].token == token) {
            w.ears[i].used = false;
            return;
        }
    fail_msg("unlisten to what nobody listens to");
}

bool upstream_submit(struct upstreams *u, struct exchange *x, int device, struct msg *m,
                     struct instant t)
{
    (void)u;
    (void)t;
    assert_true(x->up_kept && x->observation > 0 && x->device_index == device);
    assert_int_equal(x->type, msg_uint(m, OPT_OBSERVE) == 0 ? TYPE_CON : TYPE_NON);
    for (size_t i = 0; i < SLOTS; i++)
        assert_false(&w.x[i] != x && w.x[i].state == EXCHANGE_OPEN &&
                     w.x[i].up_token == x->up_token); /* one at a time */
    if (w.refuse > 0) {
        w.refuse--;
        x->up_end = UP_FULL;
        return false;
    }
    x->up = UP_SENT;
    x->method = (uint8_t)msg_uint(m, OPT_OBSERVE); /* borrowed for the test's own use */
    w.n_asked++;
    return true;
}

void upstream_cancel(struct upstreams *u, struct exchange *x, struct instant t)
{
    (void)u;
    (void)t;
    x->up = UP_NONE;
}

struct exchange *exchange_own(struct exchanges *t, struct instant at)
{
    (void)t;
    (void)at;
    for (size_t i = 0; i < SLOTS; i++)
        if (w.x[i].state == EXCHANGE_FREE) {
            memset(&w.x[i], 0, sizeof w.x[i]);
            w.x[i].state = EXCHANGE_OPEN;
            w.x[i].own = true;
            return &w.x[i];
        }
    return NULL;
}

void exchange_drop(struct exchanges *t, struct exchange *x, struct instant at)
{
    (void)t;
    (void)at;
    assert_int_equal(x->up, UP_NONE);
    x->state = EXCHANGE_FREE;
}

/* ---- subscribers ---- */

static bool on_notice(void *user, struct subscriber to, const struct observe_notice *n)
{
    (void)user;
    assert_true(to.id < PEOPLE);
    struct person *p = &w.people[to.id];
    struct msg m;
    assert_true(p->in && !p->busy);
    if (w.no_room > 0) {
        w.no_room--;
        return false;
    }
    int before = p->state;
    p->state = msg_parse(n->message, &m) == MSG_OK ? atoi((const char *)m.payload.p) : -1;
    if (!n->last && !p->not_seen)
        assert_true(p->state >= before); /* it only goes on */
    assert_int_equal(n->message.n == 0, p->state == -1);
    p->told++;
    p->age_s = n->age_s;
    w.told++;
    if (n->last) {
        p->lasts++;
        p->in = false;
        return true;
    }
    p->busy = true;
    if (p->leaves) {
        p->in = p->busy = false;
        observe_unsubscribe(w.t, to, now());
    } else if (!p->never_ready) {
        p->busy = false;
        bool seen = !p->not_seen;
        p->not_seen = false;
        observe_ready(w.t, to, seen, now());
    }
    return true;
}

static const struct observe_ops ops = {on_notice};

static uint32_t random_word(void *user)
{
    (void)user;
    return 5;
}

static void begin(size_t max, size_t max_subscribers)
{
    memset(&w, 0, sizeof w);
    w.now_ms = 1000000;
    struct observes_config c = {
        .ops = &ops, .random = random_word, .max = max, .max_subscribers = max_subscribers};
    w.t = observes_new(&c);
    assert_non_null(w.t);
}

static struct observes_stats stats(void)
{
    struct observes_stats s;
    observes_get_stats(w.t, &s);
    return s;
}

static enum observe_taken subscribe(size_t who, const char *path)
{
    struct msg m = {.code = MSG_GET};
    enum exchange_up_end why = UP_SILENT;
    assert_true(msg_add(&m, OPT_URI_PATH, bytes_str(path)));
    struct subscriber s = {.worker = who % 3 == 0 ? 7 : 1, .id = who};
    enum observe_taken taken = observe_subscribe(w.t, 0, &m, s, now(), &why);
    if (taken == OBSERVE_TAKEN)
        w.people[who] = (struct person){.in = true};
    if (taken == OBSERVE_REFUSED)
        assert_int_equal(why, UP_FULL);
    return taken;
}

static void leave(size_t who)
{
    w.people[who].in = w.people[who].busy = false;
    observe_unsubscribe(w.t, (struct subscriber){who % 3 == 0 ? 7 : 1, who}, now());
}

static void ready(size_t who, bool seen)
{
    w.people[who].busy = false;
    observe_ready(w.t, (struct subscriber){who % 3 == 0 ? 7 : 1, who}, seen, now());
}

/* Turns for so long, each deadline on the way kept. */
static void pass(uint64_t ms)
{
    uint64_t end_ms = w.now_ms + ms;
    for (;;) {
        size_t before = w.told;
        observes_turn(w.t, now());
        if (w.told - before > w.most_in_a_turn)
            w.most_in_a_turn = w.told - before;
        uint64_t next = observes_deadline_ms(w.t);
        if (next > end_ms)
            break;
        w.now_ms = next > w.now_ms ? next : w.now_ms;
    }
    w.now_ms = end_ms;
}

/* ---- the device ---- */

static struct msg answer(int state, int64_t observe, uint32_t max_age_s, uint8_t code)
{
    static uint8_t number[4], age[4];
    static char text[16];
    struct msg m = {.type = TYPE_NON, .code = code};
    if (observe >= 0)
        assert_true(msg_add_uint(&m, OPT_OBSERVE, (uint32_t)observe, number));
    if (max_age_s != 60)
        assert_true(msg_add_uint(&m, OPT_MAX_AGE, max_age_s, age));
    snprintf(text, sizeof text, "%d", state);
    m.payload = bytes_of(text, strlen(text) + 1);
    return m;
}

/* The request under way, to register or to end; NULL: there is none. */
static struct exchange *under_way(uint8_t observe)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (w.x[i].state == EXCHANGE_OPEN && w.x[i].up != UP_NONE && w.x[i].method == observe)
            return &w.x[i];
    return NULL;
}

static void answers(struct exchange *x, const struct msg *m, enum exchange_up_end end)
{
    assert_non_null(x);
    x->up = UP_NONE;
    x->up_end = end;
    observe_answered(w.t, x, m, now());
}

static void registers(int state, uint32_t observe, uint32_t max_age_s)
{
    struct msg m = answer(state, observe, max_age_s, MSG_CODE(2, 5));
    answers(under_way(OBSERVE_REGISTER), &m, UP_ANSWERED);
}

static bool notifies(uint32_t owner, int state, int64_t observe)
{
    struct msg m = answer(state, observe, 60, MSG_CODE(2, 5));
    return observe_notified(w.t, owner, &m, false, now());
}

static void end(void)
{
    struct observes_stats s = stats();
    assert_int_equal(s.observations, 0);
    assert_int_equal(s.subscribers, 0);
    for (size_t i = 0; i < EARS; i++)
        assert_false(w.ears[i].used);
    for (size_t i = 0; i < SLOTS; i++)
        assert_int_equal(w.x[i].state, EXCHANGE_FREE);
    assert_true(observes_deadline_ms(w.t) == UINT64_MAX);
    observes_free(w.t);
}

static void goodbye(void)
{
    struct msg m = answer(0, -1, 60, MSG_CODE(2, 5));
    answers(under_way(OBSERVE_DEREGISTER), &m, UP_ANSWERED);
}

/* ---- tests ---- */

static void test_many_in_turns(void **state)
{
    (void)state;
    begin(4, PEOPLE);
    for (size_t i = 0; i < PEOPLE; i++)
        assert_int_equal(subscribe(i, "a"), OBSERVE_TAKEN);
    assert_int_equal(w.n_asked, 1);
    registers(1, 1, 60);
    w.no_room = 3;
    for (size_t i = 0; i < 3; i++) {
        pass(OBSERVE_ROOM_MS - 1);
        assert_int_equal(w.told, 0);
        w.now_ms++;
    }
    observes_turn(w.t, now());
    assert_int_equal(w.told, OBSERVE_NOTICES);
    /* What is newer meanwhile is told instead. */
    assert_true(notifies(0, 2, 2));
    pass(1000);
    assert_int_equal(w.told, PEOPLE + OBSERVE_NOTICES);
    assert_int_equal(w.most_in_a_turn, OBSERVE_NOTICES);
    for (size_t i = 0; i < PEOPLE; i++)
        assert_int_equal(w.people[i].state, 2);
    for (size_t i = 0; i < PEOPLE; i++)
        leave(i);
    pass(0);
    goodbye();
    end();
}

static void test_pace(void **state)
{
    (void)state;
    begin(4, 4);
    assert_int_equal(subscribe(0, "a"), OBSERVE_TAKEN);
    registers(0, 0, 60);
    pass(0);
    enum { SECONDS = 10, RATE = 1000 };
    for (int i = 1; i <= SECONDS * RATE; i++) {
        assert_true(notifies(0, i, i));
        pass(1);
    }
    assert_true(w.people[0].told <= SECONDS * 1000 / OBSERVE_PACE_MS + OBSERVE_BURST + 2);
    assert_true(w.people[0].told >= SECONDS * 1000 / OBSERVE_PACE_MS);
    pass(1000);
    assert_int_equal(w.people[0].state, SECONDS * RATE);
    leave(0);
    pass(0);
    goodbye();
    end();
}

/* Who is busy, leaves, or has not seen it, in the middle of telling. */
static void test_people(void **state)
{
    (void)state;
    begin(4, 16);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(subscribe(i, "a"), OBSERVE_TAKEN);
    w.people[1].never_ready = true;
    w.people[2].leaves = true;
    w.people[3].not_seen = true;
    registers(1, 1, 60);
    pass(10);
    assert_int_equal(w.people[0].told, 1);
    assert_int_equal(w.people[3].told, 2);
    assert_false(w.people[2].in);
    assert_true(notifies(0, 2, 2));
    assert_true(notifies(0, 3, 3));
    pass(10);
    assert_int_equal(w.people[0].told, 2);
    assert_int_equal(w.people[0].state, 3);
    assert_int_equal(w.people[1].told, 1);
    ready(1, true);
    pass(10);
    assert_int_equal(w.people[1].state, 3);
    /* Once more without news: what it asks for is what there is, and older. */
    pass(5000);
    ready(0, false);
    pass(10);
    assert_int_equal(w.people[0].told, 3);
    assert_int_equal(w.people[0].age_s, 5);
    ready(0, true); /* and nothing more */
    leave(2);       /* it has gone before */
    pass(10);
    assert_int_equal(w.people[0].told, 3);
    /* The end by the device reaches the busy when they are ready. */
    w.people[1].busy = true;
    struct msg gone = answer(9, -1, 60, MSG_CODE(4, 4));
    assert_true(observe_notified(w.t, 0, &gone, false, now()));
    assert_false(notifies(0, 10, 10));
    pass(10);
    assert_int_equal(w.people[0].lasts, 1);
    assert_int_equal(w.people[1].lasts, 0);
    assert_int_equal(stats().subscribers, 1);
    /* Who comes now begins anew. */
    assert_int_equal(subscribe(9, "a"), OBSERVE_TAKEN);
    assert_int_equal(stats().observations, 2);
    ready(1, true);
    pass(10);
    assert_int_equal(w.people[1].lasts, 1);
    leave(9);
    pass(0);
    goodbye();
    end();
}

static void test_full_tables(void **state)
{
    (void)state;
    begin(2, 3);
    assert_int_equal(subscribe(0, "a"), OBSERVE_TAKEN);
    assert_int_equal(subscribe(1, "b"), OBSERVE_TAKEN);
    assert_int_equal(subscribe(2, "c"), OBSERVE_PLAIN);
    assert_int_equal(subscribe(2, "b"), OBSERVE_TAKEN);
    assert_int_equal(subscribe(2, "b"), OBSERVE_PLAIN); /* the same one twice */
    assert_int_equal(subscribe(3, "a"), OBSERVE_PLAIN);
    assert_int_equal(stats().full, 2);
    leave(2);
    w.refuse = 1;
    registers(1, 1, 0); /* "a", which is old at once */
    pass(1);
    assert_int_equal(subscribe(3, "a"), OBSERVE_REFUSED);
    assert_int_equal(subscribe(3, "a"), OBSERVE_TAKEN);
    leave(0);
    leave(1);
    leave(3);
    pass(0);
    goodbye();
    goodbye();
    /* A new one that the device does not take leaves nothing behind. */
    w.refuse = 1;
    assert_int_equal(subscribe(4, "d"), OBSERVE_REFUSED);
    pass(0);
    end();
}

static void test_failures(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum exchange_up_end how;
    } rows[] = {{"silent", UP_SILENT},
                {"reset", UP_RESET},
                {"refused", UP_REFUSED},
                {"drained", UP_DRAINED}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin(2, 8);
        assert_int_equal(subscribe(0, "a"), OBSERVE_TAKEN);
        assert_int_equal(subscribe(1, "a"), OBSERVE_TAKEN);
        answers(under_way(OBSERVE_REGISTER), NULL, rows[i].how);
        w.no_room = i; /* they hear it a little later */
        pass(100);
        if (w.people[0].state != -1 || w.people[1].lasts != 1)
            fail_msg("%s", rows[i].name);
        pass(100000);
        end(); /* nothing was there yet: nothing is kept */
    }
    /* What stands is asked for again, each time later. */
    begin(2, 8);
    assert_int_equal(subscribe(0, "a"), OBSERVE_TAKEN);
    registers(1, 1, 60);
    pass(0);
    uint64_t last_ms = w.now_ms;
    for (unsigned i = 0; i < 10; i++) {
        uint64_t before_ms = w.now_ms;
        while (!under_way(OBSERVE_REGISTER))
            pass(1000);
        uint64_t waited_ms = w.now_ms - before_ms;
        if (i == 0)
            assert_in_range(waited_ms, 65000, 76000); /* RFC 7641 3.3.1 */
        else
            assert_true(waited_ms + 1000 >= last_ms || i == 1);
        assert_true(waited_ms <= OBSERVE_RETRY_MAX_S * 1250 + 1000);
        last_ms = waited_ms;
        /* One that asks meanwhile shares that, and is told that it failed. */
        assert_int_equal(subscribe(1, "a"), OBSERVE_TAKEN);
        answers(under_way(OBSERVE_REGISTER), NULL, UP_SILENT);
        pass(0);
        assert_int_equal(w.people[1].lasts, 1);
        assert_int_equal(w.people[0].lasts, 0);
    }
    /* It is back: at once, and its number counts anew. */
    observe_returned(w.t, 0, now());
    pass(OBSERVE_RETURN_MS);
    registers(2, 0, 60);
    pass(10);
    assert_int_equal(w.people[0].state, 2);
    leave(0);
    pass(0);
    goodbye();
    end();
}

/* When the device has no room for a goodbye, it is said again, or by RST. */
static void test_goodbyes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t refuse;
        bool notifies; /* before there was room */
        size_t asked;  /* goodbyes that went out */
    } rows[] = {{"room at once", 0, false, 1},
                {"room at the third time", 2, false, 1},
                {"never", 100, false, 0},
                {"RST before", 2, true, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin(2, 2);
        assert_int_equal(subscribe(0, "a"), OBSERVE_TAKEN);
        registers(1, 1, 60);
        pass(0);
        w.n_asked = 0;
        w.refuse = rows[i].refuse;
        leave(0);
        pass(0);
        if (rows[i].notifies)
            assert_false(notifies(0, 2, 2));
        pass(10000);
        if (w.n_asked != rows[i].asked)
            fail_msg("%s: %zu", rows[i].name, w.n_asked);
        if (rows[i].asked)
            goodbye();
        w.refuse = 0;
        end();
    }
    /* Who comes back before the turn is over finds it as it was. */
    begin(2, 2);
    assert_int_equal(subscribe(0, "a"), OBSERVE_TAKEN);
    registers(1, 1, 60);
    pass(0);
    leave(0);
    assert_int_equal(subscribe(1, "a"), OBSERVE_TAKEN);
    pass(10);
    assert_int_equal(w.n_asked, 1);
    assert_int_equal(w.people[1].state, 1);
    leave(1);
    pass(0);
    goodbye();
    end();
}

/* Whatever comes in whatever order: nobody is told an older state than
 * before, nobody twice at a time, and when it is quiet all know the newest. */
static void test_at_random(void **state)
{
    (void)state;
    static const char *const paths[] = {"a", "b", "c", "d", "e"};
    for (unsigned seed = 1; seed <= 20; seed++) {
        srand(seed);
        begin(3, 12);
        int newest = 0;
        for (size_t step = 0; step < 2000; step++) {
            size_t who = (size_t)rand() % 16;
            struct person *p = &w.people[who];
            struct exchange *x = under_way(rand() % 4 ? OBSERVE_REGISTER : OBSERVE_DEREGISTER);
            size_t ear = (size_t)rand() % EARS;
            w.refuse = rand() % 10 == 0;
            w.no_room = rand() % 20 == 0 ? (size_t)rand() % 5 : 0;
            switch (rand() % 8) {
            case 0:
            case 1:
                if (p->in || subscribe(who, paths[who % COUNT(paths)]) != OBSERVE_TAKEN)
                    break;
                p->never_ready = rand() % 3 == 0;
                p->leaves = rand() % 10 == 0;
                break;
            case 2:
                if (rand() % 3 == 0)
                    leave(who);
                break;
            case 3:
                if (p->in && p->busy)
                    ready(who, rand() % 2);
                break;
            case 4:
                if (x && rand() % 6 == 0)
                    answers(x, NULL, UP_SILENT);
                else if (x && x->method == OBSERVE_REGISTER)
                    newest++, registers(newest, (uint32_t)newest, rand() % 2 ? 60 : 0);
                else if (x)
                    goodbye();
                break;
            case 5:
                if (w.ears[ear].used && !under_way(OBSERVE_REGISTER) &&
                    !under_way(OBSERVE_DEREGISTER))
                    newest++, (void)notifies(w.ears[ear].owner, newest, rand() % 20 ? newest : -1);
                break;
            case 6:
                if (w.ears[ear].used && rand() % 10 == 0)
                    observe_returned(w.t, w.ears[ear].owner, now());
                break;
            default:
                pass((uint64_t)(rand() % 3 ? rand() % 50 : rand() % 40000));
                break;
            }
            size_t in = 0;
            for (size_t i = 0; i < 16; i++)
                in += w.people[i].in;
            assert_int_equal(stats().subscribers, in);
        }
        w.refuse = w.no_room = 0;
        for (size_t i = 0; i < 16; i++)
            leave(i);
        pass(10000);
        while (under_way(OBSERVE_DEREGISTER))
            goodbye();
        pass(10000);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_in_turns), cmocka_unit_test(test_pace),
        cmocka_unit_test(test_people),        cmocka_unit_test(test_full_tables),
        cmocka_unit_test(test_failures),      cmocka_unit_test(test_goodbyes),
        cmocka_unit_test(test_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
