#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../proxy/notify.h"

static int listen_at(const char *name, char as[108])
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    memcpy(at.sun_path, name, n);
    memcpy(as, name, n + 1);
    if (name[0] == '@')
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    return fd;
}

static void expect(int fd)
{
    char got[64];
    notify("READY=1\nSTATUS=serving");
    ssize_t n = recv(fd, got, sizeof got, 0);
    assert_int_equal(n, 22);
    assert_memory_equal(got, "READY=1\nSTATUS=serving", 22);
    close(fd);
}

static void by_path(void **state)
{
    (void)state;
    char dir[] = "/tmp/postern-notify-XXXXXX", name[108], path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/notify", dir);
    int fd = listen_at(path, name);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    expect(fd);
    notify("STOPPING=1"); /* nobody listens any more: no harm */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void by_abstract_name(void **state)
{
    (void)state;
    char name[108], own[64];
    (void)snprintf(own, sizeof own, "@postern-notify-%ld", (long)getpid());
    int fd = listen_at(own, name);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    expect(fd);
}

static void without_a_manager(void **state)
{
    (void)state;
    char name[300];
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    notify("READY=1");
    assert_int_equal(setenv("NOTIFY_SOCKET", "relative", 1), 0);
    notify("READY=1");
    memset(name, 'x', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    notify("READY=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_path),
        cmocka_unit_test(by_abstract_name),
        cmocka_unit_test(without_a_manager),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
