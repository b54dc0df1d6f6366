#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../proxy/audit_sink.h"

static char dir[] = "/tmp/postern-audit-XXXXXX";
static char file[64], moved[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(file, sizeof file, "%s/audit.jsonl", dir);
    (void)snprintf(moved, sizeof moved, "%s/audit.jsonl.1", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

static int remove_files(void **state)
{
    (void)state;
    (void)unlink(file);
    (void)unlink(moved);
    return 0;
}

static struct audit_sink *open_sink(void)
{
    char text[256] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    struct audit_sink *s = audit_sink_open(file, NULL, 1, &diag);
    if (!s)
        fail_msg("%s", text);
    return s;
}

/* As in a turn of the worker's. */
static bool put_bytes(struct audit_sink *s, unsigned worker, struct bytes line)
{
    bool kept = audit_sink_write(s, worker, line);
    audit_sink_tell(s, worker);
    return kept;
}

static bool put(struct audit_sink *s, const char *line)
{
    return put_bytes(s, 0, bytes_str(line));
}

static void expect_file(const char *name, const char *want)
{
    char got[4096];
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    got[fread(got, 1, sizeof got - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(got, want);
}

static void workers_have_rings_of_their_own(void **state)
{
    (void)state;
    char text[256] = "", line[1024];
    struct buf diag = buf_on(text, sizeof text - 1);
    struct audit_sink *s = audit_sink_open(file, NULL, 3, &diag);
    assert_non_null(s);
    for (unsigned i = 0; i < 300; i++) {
        int n = snprintf(line, sizeof line, "{\"w\":%u,\"i\":%u}\n", i % 3, i / 3);
        assert_true(put_bytes(s, i % 3, bytes_of(line, (size_t)n)));
    }
    audit_sink_close(s);
    /* One row of numbers over all, and each worker's in its order. */
    unsigned next[3] = {0}, seq = 0, at, w, k;
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    while (fscanf(f, "{\"seq\":%u,\"w\":%u,\"i\":%u}\n", &at, &w, &k) == 3) {
        assert_int_equal(at, ++seq);
        assert_true(w < 3);
        assert_int_equal(k, next[w]++);
    }
    fclose(f);
    assert_int_equal(seq, 300);
}

static void close_writes_what_is_queued(void **state)
{
    (void)state;
    struct audit_sink *s = open_sink();
    assert_true(audit_sink_has_room(s, 0));
    assert_true(put(s, "{\"a\":1}\n"));
    assert_true(put(s, "{\"a\":2}\n"));
    audit_sink_close(s);
    expect_file(file, "{\"seq\":1,\"a\":1}\n{\"seq\":2,\"a\":2}\n");
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* nobody else reads who did what */
}

static void appends_and_mends_a_cut_line(void **state)
{
    (void)state;
    FILE *f = fopen(file, "w");
    fputs("{\"cut\":", f);
    fclose(f);
    struct audit_sink *s = open_sink();
    assert_true(put(s, "{\"a\":1}\n"));
    audit_sink_close(s);
    expect_file(file, "{\"cut\":\n{\"seq\":1,\"a\":1}\n");
}

/* A crash may have cut the last line: numbers go on behind the last whole one. */
static void numbers_go_on_where_the_file_ended(void **state)
{
    (void)state;
    FILE *f = fopen(file, "w");
    for (int i = 1; i <= 1000; i++)
        fprintf(f, "{\"seq\":%d,\"a\":1}\n", i);
    fputs("{\"seq\":1001,\"a\"", f);
    fclose(f);
    struct audit_sink *s = open_sink();
    assert_true(put(s, "{\"a\":1}\n"));
    audit_sink_close(s);
    char got[64] = "", *line = got;
    f = fopen(file, "r");
    while (fgets(line, sizeof got, f))
        continue;
    fclose(f);
    assert_string_equal(got, "{\"seq\":1001,\"a\":1}\n");
}

static void half_a_line_is_refused(void **state)
{
    (void)state;
    struct audit_sink *s = open_sink();
    assert_false(put(s, "{\"a\":1}"));
    assert_false(put(s, ""));
    assert_false(put(s, "\"a\":1}\n"));
    char line[4096];
    memset(line, ' ', sizeof line);
    line[0] = '{';
    memcpy(line + sizeof line - 2, "}\n", 2);
    assert_false(put_bytes(s, 0, bytes_of(line, sizeof line)));
    assert_int_equal(audit_sink_lost(s), 4);
    audit_sink_close(s);
}

static void reopen_follows_a_rotation(void **state)
{
    (void)state;
    struct audit_sink *s = open_sink();
    assert_int_equal(rename(file, moved), 0);
    audit_sink_reopen(s);
    audit_sink_close(s); /* the writer has seen it by now */
    s = open_sink();
    assert_true(put(s, "{\"a\":2}\n"));
    audit_sink_close(s);
    expect_file(moved, "");
    expect_file(file, "{\"seq\":1,\"a\":2}\n");
}

static void no_directory_is_told(void **state)
{
    (void)state;
    char text[256] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    assert_null(audit_sink_open("/nonexistent/audit.jsonl", NULL, 1, &diag));
    assert_string_equal(
        text, "cannot open the audit file /nonexistent/audit.jsonl: No such file or directory");
}

/* Lines that lie across the ring's end, at every offset but few. */
static void lines_stay_whole_around_the_ring(void **state)
{
    (void)state;
    struct audit_sink *s = open_sink();
    char line[1009], got[2048];
    memset(line, 'x', sizeof line);
    line[0] = '{';
    memcpy(line + sizeof line - 2, "}\n", 2);
    for (int i = 0; i < 5000; i++) {
        while (!audit_sink_has_room(s, 0))
            continue;
        line[1] = (char)('a' + i % 26);
        assert_true(put_bytes(s, 0, bytes_of(line, sizeof line)));
    }
    audit_sink_close(s);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    for (int i = 0; i < 5000; i++) {
        char number[32];
        int n = snprintf(number, sizeof number, "{\"seq\":%d,", i + 1);
        line[1] = (char)('a' + i % 26);
        assert_non_null(fgets(got, sizeof got, f));
        assert_int_equal(strlen(got), (size_t)n + sizeof line - 1);
        assert_memory_equal(got, number, (size_t)n);
        assert_memory_equal(got + n, line + 1, sizeof line - 1);
    }
    assert_null(fgets(got, sizeof got, f));
    fclose(f);
}

/* A reader that does not read is the slow disk: the ring fills, losses are
 * counted, and when it reads again everything kept and the count arrive. */
static void losses_are_counted_and_told(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(file, 0600), 0);
    int fd = open(file, O_RDONLY | O_NONBLOCK);
    struct audit_sink *s = open_sink();
    char line[256];
    memset(line, 'x', sizeof line);
    line[0] = '{';
    memcpy(line + sizeof line - 2, "}\n", 2);
    uint64_t kept = 0;
    while (audit_sink_lost(s) < 7)
        kept += put_bytes(s, 0, bytes_of(line, sizeof line));
    assert_false(audit_sink_has_room(s, 0));
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* read() now waits for the writer */

    FILE *f = fdopen(fd, "r");
    uint64_t seen = 0, lost = 0, seq = 0;
    char got[512];
    while (lost < 7 && fgets(got, sizeof got, f)) {
        unsigned long long n;
        char number[32];
        (void)snprintf(number, sizeof number, "{\"seq\":%llu,", (unsigned long long)++seq);
        assert_int_equal(strncmp(got, number, strlen(number)), 0);
        const char *told = strstr(got, "\"event\":\"lost\",\"where\":\"queue\",\"records\":");
        if (told && sscanf(strrchr(told, ':'), ":%llu", &n) == 1) {
            lost += n;
        } else {
            assert_int_equal(strlen(got), sizeof line + strlen(number) - 1);
            seen++;
        }
    }
    assert_int_equal(lost, 7);
    assert_int_equal(seen, kept);
    assert_true(put(s, "{\"after\":1}\n"));
    assert_non_null(fgets(got, sizeof got, f));
    char want[64];
    (void)snprintf(want, sizeof want, "{\"seq\":%llu,\"after\":1}\n", (unsigned long long)seq + 1);
    assert_string_equal(got, want);
    assert_true(audit_sink_has_room(s, 0));
    audit_sink_close(s);
    fclose(f);
}

static void a_full_disk_is_no_room(void **state)
{
    (void)state;
    char text[256] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    struct audit_sink *s = audit_sink_open("/dev/full", NULL, 1, &diag);
    if (!s)
        skip();
    while (audit_sink_has_room(s, 0)) /* until the writer has met ENOSPC */
        (void)put(s, "{\"a\":1}\n");
    audit_sink_close(s); /* must not hang */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(workers_have_rings_of_their_own, remove_files),
        cmocka_unit_test_teardown(close_writes_what_is_queued, remove_files),
        cmocka_unit_test_teardown(appends_and_mends_a_cut_line, remove_files),
        cmocka_unit_test_teardown(numbers_go_on_where_the_file_ended, remove_files),
        cmocka_unit_test_teardown(half_a_line_is_refused, remove_files),
        cmocka_unit_test_teardown(reopen_follows_a_rotation, remove_files),
        cmocka_unit_test_teardown(no_directory_is_told, remove_files),
        cmocka_unit_test_teardown(lines_stay_whole_around_the_ring, remove_files),
        cmocka_unit_test_teardown(losses_are_counted_and_told, remove_files),
        cmocka_unit_test_teardown(a_full_disk_is_no_room, remove_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
