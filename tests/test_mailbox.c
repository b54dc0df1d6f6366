#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "../proxy/crew.h"

static bool put(struct mailbox *m, uint64_t number, size_t n)
{
    uint8_t body[300];
    memset(body, (int)(number & 0xff), sizeof body);
    const struct bytes parts[] = {bytes_of(&number, sizeof number), BYTES_NONE, bytes_of(body, n)};
    return mailbox_put(m, parts, 3);
}

static bool take(struct mailbox *m, unsigned reader, uint64_t want)
{
    struct bytes got;
    uint64_t number;
    if (!mailbox_peek(m, reader, &got))
        return false;
    assert_int_equal((uintptr_t)got.p % 16, 0);
    assert_true(got.n >= sizeof number);
    memcpy(&number, got.p, sizeof number);
    assert_int_equal(number, want);
    for (size_t i = sizeof number; i < got.n; i++)
        assert_int_equal(got.p[i], want & 0xff);
    mailbox_next(m, reader);
    return true;
}

static void messages_come_in_order_whatever_their_length(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new(2048, 1);
    uint64_t in = 0, out = 0;
    for (unsigned round = 0; round < 5000; round++) {
        while (put(m, in, in * 7 % 300))
            in++;
        for (unsigned k = 0; k < 1 + round % 5 && out < in; k++)
            assert_true(take(m, 0, out++));
    }
    while (out < in)
        assert_true(take(m, 0, out++));
    assert_true(mailbox_is_empty(m, 0));
    assert_true(in > 5000);
    mailbox_free(m);
}

static void what_has_no_room_is_refused(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new(1024, 2);
    uint64_t in = 0;
    assert_false(put(m, 0, 256 - 7)); /* more than a quarter */
    assert_true(mailbox_has_room(m, 256));
    while (put(m, in, 56))
        in++;
    assert_int_equal(in, 12); /* 80 bytes each */
    assert_true(take(m, 0, 0));
    assert_false(mailbox_has_room(m, 64)); /* the other reader has it still */
    assert_false(put(m, in, 56));
    assert_true(take(m, 1, 0));
    assert_true(put(m, in, 56));
    for (uint64_t i = 1; i <= in; i++) {
        assert_true(take(m, 0, i));
        assert_true(take(m, 1, i));
    }
    assert_true(mailbox_is_empty(m, 0) && mailbox_is_empty(m, 1));
    mailbox_free(m);
}

/* ---- a crew ---- */

enum { MEMBERS = 3, ROUNDS = 20000 };

struct hand {
    struct crew *crew;
    unsigned who;
    pthread_t thread;
    uint64_t told[MEMBERS], mailed[MEMBERS]; /* next number wanted of each */
    uint64_t next;                           /* of our own */
};

static void hear(void *user, unsigned from, struct bytes m)
{
    struct hand *h = user;
    uint64_t number;
    assert_int_equal(m.n, sizeof number);
    memcpy(&number, m.p, sizeof number);
    assert_int_equal(number, h->told[from]++);
}

static void open_mail(void *user, unsigned from, struct bytes m)
{
    struct hand *h = user;
    uint64_t number;
    memcpy(&number, m.p, sizeof number);
    assert_int_equal(number, h->mailed[from]++);
}

static bool is_done(const struct hand *h)
{
    bool done = h->next == ROUNDS;
    for (unsigned i = 0; i < MEMBERS; i++)
        done = done && (i == h->who || (h->mailed[i] == ROUNDS && h->told[i] == ROUNDS));
    return done;
}

static void *work(void *user)
{
    struct hand *h = user;
    while (!is_done(h)) {
        crew_turn(h->crew, h->who);
        crew_hear(h->crew, h->who, hear, h);
        crew_open(h->crew, h->who, open_mail, h);
        const struct bytes m = bytes_of(&h->next, sizeof h->next);
        if (h->next < ROUNDS && crew_may_tell(h->crew, sizeof h->next) &&
            crew_tell(h->crew, h->who, &m, 1)) {
            for (unsigned to = 0; to < MEMBERS; to++)
                while (to != h->who && !crew_mail(h->crew, h->who, to, CREW_REPLY, &m, 1)) {
                    crew_hear(h->crew, h->who, hear, h);
                    crew_open(h->crew, h->who, open_mail, h);
                    (void)!crew_sleep(h->crew, h->who); /* the other may sleep */
                }
            h->next++;
        }
        (void)!crew_sleep(h->crew, h->who);
    }
    crew_leave(h->crew, h->who);
    return NULL;
}

static void a_crew_hears_all_in_order(void **state)
{
    (void)state;
    struct crew *c = crew_new(MEMBERS);
    struct hand hands[MEMBERS] = {0};
    for (unsigned i = 0; i < MEMBERS; i++) {
        hands[i].crew = c;
        hands[i].who = i;
        crew_enter(c, i);
    }
    for (unsigned i = 1; i < MEMBERS; i++)
        assert_int_equal(pthread_create(&hands[i].thread, NULL, work, &hands[i]), 0);
    (void)work(&hands[0]);
    for (unsigned i = 1; i < MEMBERS; i++)
        assert_int_equal(pthread_join(hands[i].thread, NULL), 0);
    crew_free(c);
}

struct idler {
    struct crew *crew;
    unsigned who;
    pthread_t thread;
    uint64_t turns; /* plain: only a pause makes it safe to read */
    atomic_bool stop;
};

static void *idle(void *user)
{
    struct idler *i = user;
    while (!atomic_load(&i->stop)) {
        crew_turn(i->crew, i->who);
        i->turns++;
    }
    crew_leave(i->crew, i->who);
    return NULL;
}

static void in_a_pause_the_others_stand_still(void **state)
{
    (void)state;
    struct crew *c = crew_new(MEMBERS);
    struct idler others[MEMBERS - 1] = {0};
    for (unsigned i = 0; i < MEMBERS - 1; i++) {
        others[i].crew = c;
        others[i].who = i + 1;
        crew_enter(c, i + 1);
        assert_int_equal(pthread_create(&others[i].thread, NULL, idle, &others[i]), 0);
    }
    for (unsigned round = 0; round < 2000; round++) {
        crew_pause(c);
        crew_pause(c); /* nested */
        crew_resume(c);
        assert_true(crew_is_paused(c));
        for (unsigned i = 0; i < MEMBERS - 1; i++)
            others[i].turns = 0;
        crew_resume(c);
    }
    /* One that ends while it is waited for. */
    for (unsigned i = 0; i < MEMBERS - 1; i++)
        atomic_store(&others[i].stop, true);
    crew_pause(c);
    crew_resume(c);
    for (unsigned i = 0; i < MEMBERS - 1; i++)
        assert_int_equal(pthread_join(others[i].thread, NULL), 0);
    crew_pause(c); /* of nobody */
    crew_resume(c);
    crew_free(c);
}

static void who_sleeps_is_woken_once(void **state)
{
    (void)state;
    struct crew *c = crew_new(2);
    struct hand h = {.crew = c, .who = 1};
    uint64_t number = 0;
    const struct bytes m = bytes_of(&number, sizeof number);
    uint8_t count[8];
    assert_true(crew_sleep(c, 1));
    assert_true(crew_tell(c, 0, &m, 1));
    assert_int_equal(read(crew_fd(c, 1), count, 8), -1); /* not before the turn's end */
    assert_false(crew_sleep(c, 0)); /* its own words too are still to be passed over */
    assert_int_equal(read(crew_fd(c, 1), count, 8), 8);
    crew_hear(c, 0, hear, &h);
    assert_true(crew_mail(c, 0, 1, CREW_ASK, &m, 1));
    assert_true(crew_sleep(c, 0));
    assert_int_equal(read(crew_fd(c, 1), count, 8), -1); /* it is awake already */
    assert_false(crew_sleep(c, 1));                      /* there is something for it */
    crew_turn(c, 1);
    crew_hear(c, 1, hear, &h);
    crew_open(c, 1, open_mail, &h);
    assert_true(crew_sleep(c, 1));
    assert_int_equal(h.mailed[0], 1);
    crew_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_in_order_whatever_their_length),
        cmocka_unit_test(what_has_no_room_is_refused),
        cmocka_unit_test(a_crew_hears_all_in_order),
        cmocka_unit_test(in_a_pause_the_others_stand_still),
        cmocka_unit_test(who_sleeps_is_woken_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
