/* The control socket, on a loop that the test turns by hand: the four calls
 * that control.c makes are answered here instead of by loop.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../proxy/control.h"
#include "../proxy/json.h"

enum { WATCHES = 16 };

static struct watch {
    int fd, tag;
    loop_read_fn *fn;
    void *user;
} watches[WATCHES];
static uint64_t now_us = 1;

bool loop_watch(struct loop *l, int fd, loop_read_fn *fn, void *user, int tag)
{
    (void)l;
    for (size_t i = 0; i < WATCHES; i++)
        if (!watches[i].fn) {
            watches[i] = (struct watch){fd, tag, fn, user};
            return true;
        }
    return false;
}

void loop_unwatch(struct loop *l, int fd)
{
    (void)l;
    for (size_t i = 0; i < WATCHES; i++)
        if (watches[i].fn && watches[i].fd == fd)
            watches[i].fn = NULL;
}

/* Everything that is readable, until nothing is. */
static void turn(void)
{
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < WATCHES; i++) {
            struct pollfd p = {watches[i].fd, POLLIN, 0};
            if (watches[i].fn && poll(&p, 1, 0) == 1) {
                any = true;
                (void)watches[i].fn(watches[i].user, watches[i].tag,
                                    (struct instant){.mono_us = now_us++});
            }
        }
    }
}

static void answer(void *user, const struct control_request *r, struct instant now, struct buf *out)
{
    (void)user;
    (void)now;
    if (bytes_equal_str(r->command, "huge")) {
        while (!out->full)
            json_member(out, "more", "more");
        return;
    }
    json_member_bool(out, "ok", true);
    json_put_key(out, "command");
    json_put_string(out, r->command);
    json_member_u64(out, "from", r->from);
}

static char dir[] = "/tmp/postern-control-XXXXXX";
static char path[64];
static struct control *control;

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/control.sock", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

static int start(void **state)
{
    (void)state;
    char text[256] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    control = control_new(path, NULL, answer, NULL, &diag);
    if (!control)
        print_error("%s\n", text);
    return control ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    control_free(control);
    control = NULL;
    struct stat st;
    return stat(path, &st) == 0 ? -1 : 0; /* it must be gone */
}

static int client(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
    turn();
}

/* What has come back; "<closed>" for the end. */
static const char *heard(int fd, char out[4096])
{
    ssize_t n = recv(fd, out, 4095, MSG_DONTWAIT);
    (void)snprintf(out + (n > 0 ? n : 0), 4096 - (size_t)(n > 0 ? n : 0), "%s",
                   n == 0 ? "<closed>" : "");
    return out;
}

static const struct {
    const char *name, *said, *heard;
} rows[] = {
    {"status", "{\"command\":\"status\"}\n", "{\"ok\":true,\"command\":\"status\",\"from\":0}\n"},
    {"from", "{\"command\":\"devices\",\"from\":7}\n",
     "{\"ok\":true,\"command\":\"devices\",\"from\":7}\n"},
    {"two at once", "{\"command\":\"a\"}\n{\"command\":\"b\"}\n",
     "{\"ok\":true,\"command\":\"a\",\"from\":0}\n{\"ok\":true,\"command\":\"b\",\"from\":0}\n"},
    {"not JSON", "status\n",
     "{\"ok\":false,\"error\":\"the request is not one flat JSON object\"}\n"},
    {"empty line", "\n", "{\"ok\":false,\"error\":\"the request is not one flat JSON object\"}\n"},
    {"no command", "{\"from\":1}\n", "{\"ok\":false,\"error\":\"the request has no command\"}\n"},
    {"command of a wrong type", "{\"command\":1}\n",
     "{\"ok\":false,\"error\":\"unknown member in the request\"}\n"},
    {"from of a wrong type", "{\"command\":\"a\",\"from\":\"1\"}\n",
     "{\"ok\":false,\"error\":\"unknown member in the request\"}\n"},
    {"unknown member", "{\"command\":\"a\",\"to\":1}\n",
     "{\"ok\":false,\"error\":\"unknown member in the request\"}\n"},
    {"answer that does not fit", "{\"command\":\"huge\"}\n",
     "{\"ok\":false,\"error\":\"the answer is too long\"}\n"},
};

static void requests(void **state)
{
    (void)state;
    char got[4096];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = client();
        say(fd, rows[i].said);
        if (strcmp(heard(fd, got), rows[i].heard) != 0)
            fail_msg("%s: got %s", rows[i].name, got);
        close(fd);
        turn();
    }
}

static void a_line_in_pieces(void **state)
{
    (void)state;
    char got[4096];
    int fd = client();
    say(fd, "{\"comm");
    assert_string_equal(heard(fd, got), "");
    say(fd, "and\":\"x\"}");
    assert_string_equal(heard(fd, got), "");
    say(fd, "\n");
    assert_string_equal(heard(fd, got), "{\"ok\":true,\"command\":\"x\",\"from\":0}\n");
    close(fd);
    turn();
}

static void a_line_without_end(void **state)
{
    (void)state;
    char got[4096], line[CONTROL_REQUEST_MAX + 1];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    int fd = client();
    say(fd, line);
    assert_string_equal(heard(fd, got), "<closed>");
    close(fd);
}

static void one_who_does_not_read_is_dropped(void **state)
{
    (void)state;
    int fd = client();
    for (size_t i = 0; i < 100000; i++)
        if (send(fd, "{\"command\":\"status\"}\n", 21, MSG_NOSIGNAL | MSG_DONTWAIT) != 21)
            break; /* EPIPE: hung up */
        else
            turn();
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    close(fd);
}

static void the_longest_idle_gives_way(void **state)
{
    (void)state;
    char got[4096];
    int fds[CONTROL_PEERS_MAX + 1];
    for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
        fds[i] = client();
        turn();
    }
    say(fds[0], "{\"command\":\"x\"}\n"); /* now fds[1] is the longest idle */
    fds[CONTROL_PEERS_MAX] = client();
    turn();
    assert_string_equal(heard(fds[1], got), "<closed>");
    say(fds[CONTROL_PEERS_MAX], "{\"command\":\"y\"}\n");
    assert_string_equal(heard(fds[CONTROL_PEERS_MAX], got),
                        "{\"ok\":true,\"command\":\"y\",\"from\":0}\n");
    for (size_t i = 0; i <= CONTROL_PEERS_MAX; i++)
        close(fds[i]);
    turn();
}

static void the_mode_is_for_few(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
}

static void a_second_daemon_is_refused(void **state)
{
    (void)state;
    char text[256] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    assert_null(control_new(path, NULL, answer, NULL, &diag));
    assert_non_null(strstr(text, "another posternd answers on it"));
    struct stat st;
    assert_int_equal(stat(path, &st), 0); /* and takes nothing from the first */
}

static void a_dead_socket_is_replaced(void **state)
{
    (void)state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    assert_int_equal(start(state), 0);
    assert_int_equal(stop(state), 0);
}

static void a_file_is_not_replaced(void **state)
{
    (void)state;
    char text[256] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    FILE *f = fopen(path, "w");
    fclose(f);
    assert_null(control_new(path, NULL, answer, NULL, &diag));
    assert_non_null(strstr(text, "something else is there"));
    assert_int_equal(unlink(path), 0);
}

/* ---- the other end ---- */

static void *ask(void *arg)
{
    struct buf *answer_to = arg;
    char text[256];
    struct buf diag = buf_on(text, sizeof text);
    return control_ask(path, "{\"command\":\"x\"}", answer_to, &diag) ? answer_to : NULL;
}

static void asks(void **state)
{
    (void)state;
    char got[256] = "";
    struct buf b = buf_on(got, sizeof got - 1);
    pthread_t thread;
    void *ok;
    assert_int_equal(pthread_create(&thread, NULL, ask, &b), 0);
    struct pollfd p = {watches[0].fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 10000), 1);
    turn(); /* accepted; the request may still be on its way */
    for (size_t i = 1; i < WATCHES; i++)
        if (watches[i].fn) {
            p.fd = watches[i].fd;
            (void)poll(&p, 1, 10000);
        }
    turn();
    assert_int_equal(pthread_join(thread, &ok), 0);
    assert_non_null(ok);
    got[b.n] = '\0';
    assert_string_equal(got, "{\"ok\":true,\"command\":\"x\",\"from\":0}");
    turn();
}

static void asks_nobody(void **state)
{
    (void)state;
    char got[256], text[256] = "";
    struct buf b = buf_on(got, sizeof got), diag = buf_on(text, sizeof text - 1);
    assert_false(control_ask(path, "{}", &b, &diag));
    assert_non_null(strstr(text, "posternd is not running"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests, start, stop),
        cmocka_unit_test_setup_teardown(a_line_in_pieces, start, stop),
        cmocka_unit_test_setup_teardown(a_line_without_end, start, stop),
        cmocka_unit_test_setup_teardown(one_who_does_not_read_is_dropped, start, stop),
        cmocka_unit_test_setup_teardown(the_longest_idle_gives_way, start, stop),
        cmocka_unit_test_setup_teardown(the_mode_is_for_few, start, stop),
        cmocka_unit_test_setup_teardown(a_second_daemon_is_refused, start, stop),
        cmocka_unit_test(a_dead_socket_is_replaced),
        cmocka_unit_test(a_file_is_not_replaced),
        cmocka_unit_test_setup_teardown(asks, start, stop),
        cmocka_unit_test(asks_nobody),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
