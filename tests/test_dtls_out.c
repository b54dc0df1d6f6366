/* Our DTLS client against our DTLS server, in memory: whom it trusts, what it
 * makes of loss, and what strangers can do to it. The rig's wire loses every
 * datagram that is for it into the queue below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/dtls_out.h"
#include "../proxy/hello.h"
#include "../proxy/limits.h"
#include "support_dtls.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum { QUEUE = 64 };

static const uint8_t KEY[16] = "postern test key";
static const uint8_t WRONG[16] = "another test key";

static struct side {
    struct rig *rig;
    struct peer peer;
    struct dtls_out *dtls;
    struct dtls_out_session *session;
    struct rig_datagram in[QUEUE];
    size_t n_in, n_lost, lose_every, count;
    bool deaf;                 /* what we send is lost */
    enum dtls_out_event event; /* the last that was one */
    uint8_t plain[DATAGRAM_MAX];
    size_t plain_n;
} side;

static bool lost(void)
{
    return side.lose_every && ++side.count % side.lose_every == 0;
}

static bool to_us(struct rig *r, const struct rig_datagram *d)
{
    (void)r;
    if (d->to_server)
        return lost();
    assert_true(side.n_in < QUEUE);
    if (!lost())
        side.in[side.n_in++] = *d;
    return true;
}

static void on_send(void *user, struct bytes datagram)
{
    (void)user;
    if (!side.deaf)
        rig_inject(side.rig, &side.peer, datagram);
}

static void note(enum dtls_out_event e)
{
    if (e != DTLS_OUT_NOTHING)
        side.event = e;
}

static void take(struct bytes datagram)
{
    /* Of the exact size, so that ASan sees one byte too far. */
    uint8_t *bytes = malloc(datagram.n ? datagram.n : 1);
    memcpy(bytes, datagram.p, datagram.n);
    note(dtls_out_receive(side.session, bytes_of(bytes, datagram.n), side.rig->now));
    for (;;) {
        enum dtls_out_event e;
        struct bytes m =
            dtls_out_read(side.session, side.rig->now, side.plain, sizeof side.plain, &e);
        note(e);
        if (m.n == 0)
            break;
        side.plain_n = m.n;
    }
    free(bytes);
}

static void run(void)
{
    do {
        rig_run(side.rig);
        for (size_t i = 0; i < side.n_in; i++) {
            struct rig_datagram d = side.in[i];
            take(bytes_of(d.bytes, d.n));
        }
        side.n_in = 0;
        rig_run(side.rig);
    } while (side.n_in);
}

static void pass(uint64_t ms)
{
    uint64_t end = instant_ms(side.rig->now) + ms;
    while (dtls_out_deadline_ms(side.session) <= end) {
        uint64_t next = dtls_out_deadline_ms(side.session);
        if (next > instant_ms(side.rig->now))
            rig_pass(side.rig, next - instant_ms(side.rig->now));
        note(dtls_out_expire(side.session, side.rig->now));
        run();
    }
    if (end > instant_ms(side.rig->now))
        rig_pass(side.rig, end - instant_ms(side.rig->now));
    run();
}

/* Read once, freed at the end. */
static struct {
    char path[64], *text;
} files[16];

static struct bytes file(const char *name, const char *ext)
{
    char path[64];
    size_t i = 0;
    if (!name)
        return BYTES_NONE;
    snprintf(path, sizeof path, "keys/%s.%s", name, ext);
    while (files[i].text && strcmp(files[i].path, path) != 0)
        assert_true(++i < sizeof files / sizeof *files);
    if (!files[i].text) {
        memcpy(files[i].path, path, sizeof path);
        files[i].text = rig_file(path);
    }
    return bytes_str(files[i].text);
}

static int forget_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        free(files[i].text);
    return 0;
}

struct row {
    const char *name, *server; /* its certificate; NULL: PSK */
    const char *identity;      /* ours by PSK; or */
    const uint8_t *key;
    const char *ca, *certificate, *host;
    const char *reason; /* NULL: established */
};

static const struct row rows[] = {
    {"psk", NULL, "gw", KEY, .host = "as.home"},
    {"another key", NULL, "gw", WRONG, .host = "as.home", .reason = "alert-from-peer"},
    {"an identity that it does not know", NULL, "gw2", KEY, .host = "as.home",
     .reason = "alert-from-peer"},
    {"by name", "gateway", .ca = "ca", .certificate = "client", .host = "gateway.home"},
    {"by another name", "gateway", .ca = "ca", .certificate = "client", .host = "gateway2.home",
     .reason = "certificate-refused"},
    {"by a longer name", "gateway", .ca = "ca", .certificate = "client",
     .host = "gateway.home.example", .reason = "certificate-refused"},
    {"by address", "gateway", .ca = "ca", .certificate = "client", .host = "127.0.0.1"},
    {"by another address", "gateway", .ca = "ca", .certificate = "client", .host = "127.0.0.2",
     .reason = "certificate-refused"},
    {"by address, IPv6", "gateway", .ca = "ca", .certificate = "client", .host = "::1"},
    {"by another, IPv6", "gateway", .ca = "ca", .certificate = "client", .host = "::2",
     .reason = "certificate-refused"},
    {"another CA", "gateway", .ca = "stranger", .certificate = "client", .host = "gateway.home",
     .reason = "certificate-refused"},
    {"expired", "expired", .ca = "ca", .certificate = "client", .host = "expired",
     .reason = "certificate-refused"},
    {"nobody's, known by itself", "selfsigned", .ca = "ca", .certificate = "client", .host = "self",
     .reason = "certificate-refused"},
    {"without our certificate", "gateway", .ca = "ca", .host = "gateway.home",
     .reason = "alert-from-peer"},
};

static void open_side(const struct row *r, const char *server_ca)
{
    const char *why;
    const struct dtls_out_config c = {
        .identity = bytes_str(r->identity),
        .psk = r->identity ? bytes_of(r->key, sizeof KEY) : BYTES_NONE,
        .certificate = file(r->certificate, "crt"),
        .key = file(r->certificate, "key"),
        .ca = file(r->ca, "crt"),
        .host = r->host,
    };
    memset(&side, 0, sizeof side);
    side.rig = rig_new(NULL, r->server, server_ca);
    side.rig->identity = BYTES_LIT("gw");
    side.rig->key = bytes_of(KEY, sizeof KEY);
    side.rig->lose = to_us;
    side.peer = rig_peer("192.0.2.9", 4000);
    side.dtls = dtls_out_new(&c, &why);
    if (!side.dtls)
        fail_msg("%s: %s", r->name, why);
    side.session = dtls_out_session_new(side.dtls, on_send, NULL);
    assert_non_null(side.session);
}

static void start(void)
{
    note(dtls_out_start(side.session, side.rig->now));
    run();
}

static void close_side(void)
{
    dtls_out_session_free(side.session);
    dtls_out_free(side.dtls);
    rig_free(side.rig);
}

static bool echo(const char *text)
{
    side.plain_n = 0;
    return dtls_out_write(side.session, bytes_str(text), side.rig->now) &&
           (run(), bytes_equal_str(bytes_of(side.plain, side.plain_n), text));
}

static void trust(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        open_side(r, r->server ? "ca" : NULL);
        start();
        pass(100);
        const char *got =
            dtls_out_is_established(side.session) ? NULL : dtls_out_reason(side.session);
        if (!got != !r->reason || (got && strcmp(got, r->reason) != 0))
            fail_msg("%s: got %s, wanted %s", r->name, got ? got : "a session",
                     r->reason ? r->reason : "a session");
        if (!got && !echo("hello"))
            fail_msg("%s: no echo", r->name);
        if (got && dtls_out_write(side.session, BYTES_LIT("x"), side.rig->now))
            fail_msg("%s: a refused session takes data", r->name);
        close_side();
    }
}

/* Whatever is lost, the handshake comes to its end in time. */
static void loss(void **state)
{
    (void)state;
    for (size_t every = 3; every < 13; every++) {
        open_side(&rows[every % 2 ? 0 : 3], every % 2 ? NULL : "ca");
        side.lose_every = every;
        start();
        for (int i = 0; i < 60 && !dtls_out_is_established(side.session); i++)
            pass(500);
        side.lose_every = 0;
        if (!dtls_out_is_established(side.session))
            fail_msg("every %zu lost: %s", every, dtls_out_reason(side.session));
        pass(20000); /* the server may still miss our last flight */
        if (!echo("hello"))
            fail_msg("every %zu lost: no echo", every);
        close_side();
    }
}

static void nobody_there(void **state)
{
    (void)state;
    open_side(&rows[0], NULL);
    side.deaf = true;
    start();
    pass(14999); /* 1 + 2 + 4 + 8 */
    assert_int_equal(side.event, DTLS_OUT_NOTHING);
    pass(50000);
    assert_int_equal(side.event, DTLS_OUT_CLOSED);
    assert_string_equal(dtls_out_reason(side.session), "handshake-timeout");
    assert_true(dtls_out_deadline_ms(side.session) == UINT64_MAX);
    close_side();
}

static void strangers(void **state)
{
    (void)state;
    static const uint8_t alert[] = {21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40};
    static const uint8_t notify[] = {21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0};
    static const uint8_t request[] = {22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 12,
                                      0,  0,   0,   0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t data[] = {23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 3, 1, 2, 3};
    static const struct bytes bad[] = {{alert, sizeof alert},
                                       {notify, sizeof notify},
                                       {request, sizeof request},
                                       {data, sizeof data},
                                       {data, 5},
                                       {data, 0}};
    open_side(&rows[0], NULL);
    start();
    assert_int_equal(side.event, DTLS_OUT_ESTABLISHED);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        take(bad[i]);
        if (side.event == DTLS_OUT_CLOSED || !echo("still here"))
            fail_msg("datagram %zu ended the session: %s", i, dtls_out_reason(side.session));
    }
    close_side();
}

static void server_closes(void **state)
{
    (void)state;
    open_side(&rows[0], NULL);
    start();
    assert_true(echo("hello"));
    assert_non_null(side.rig->last);
    assoc_close(side.rig->assocs, side.rig->last, "test");
    assocs_reap(side.rig->assocs);
    run();
    assert_int_equal(side.event, DTLS_OUT_CLOSED);
    assert_string_equal(dtls_out_reason(side.session), "closed-by-peer");
    close_side();
}

static void we_close(void **state)
{
    (void)state;
    open_side(&rows[0], NULL);
    start();
    assert_true(echo("hello"));
    dtls_out_close(side.session, side.rig->now);
    run();
    rig_pass(side.rig, 100);
    assert_int_equal(side.rig->n_closed, 1);
    close_side();
}

static void credentials(void **state)
{
    (void)state;
    const char *why;
    static const uint8_t psk[16];
    const struct {
        const char *name;
        struct dtls_out_config c;
        const char *why;
    } table[] = {
        {"ca", {.ca = file("ca", "crt"), .host = "h"}, NULL},
        {"nothing", {.host = "h"}, "needed to know"},
        {"no ca", {.ca = BYTES_LIT("x"), .host = "h"}, "CA cannot be read"},
        {"pair",
         {.ca = file("ca", "crt"),
          .certificate = file("client", "crt"),
          .key = file("client", "key"),
          .host = "h"},
         NULL},
        {"no pair",
         {.ca = file("ca", "crt"),
          .certificate = file("client", "crt"),
          .key = file("gateway", "key"),
          .host = "h"},
         "not the certificate's"},
        {"psk", {.identity = BYTES_LIT("gw"), .psk = {psk, 16}, .host = "h"}, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct dtls_out *d = dtls_out_new(&table[i].c, &why);
        if (table[i].why ? d || !strstr(why, table[i].why) : !d)
            fail_msg("%s: got %s", table[i].name, d ? "credentials" : why);
        dtls_out_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trust),         cmocka_unit_test(loss),
        cmocka_unit_test(nobody_there),  cmocka_unit_test(strangers),
        cmocka_unit_test(server_closes), cmocka_unit_test(we_close),
        cmocka_unit_test(credentials),
    };
    return cmocka_run_group_tests(tests, NULL, forget_files);
}
