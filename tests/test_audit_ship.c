/* What goes home with the audit, without a network: the syslog message, the
 * spool in order, at its bound, and after every kind of crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../proxy/spool.h"
#include "../proxy/syslog_line.h"

#define STAMP_TEXT "2026-01-02T03:04:05.000006Z"

/* ---- syslog messages ---- */

#define ORIGIN "gw.home", "0011223344556677", 42

struct message_row {
    const char *name;
    struct syslog_origin origin;
    const char *record, *want;
};

#define SD(more) "[postern@32473 stream=\"0011223344556677\" " more "] "

static const struct message_row messages[] = {
    {"permit",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05.000006Z\",\"subject\":\"panel\","
     "\"verdict\":\"permit\"}",
     "<86>1 2026-01-02T03:04:05.000006Z gw.home posternd 42 decision " SD(
         "seq=\"7\" verdict=\"permit\" subject=\"panel\"")},
    {"deny",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05.000006Z\",\"subject\":\"panel\","
     "\"verdict\":\"deny\"}",
     "<85>1 2026-01-02T03:04:05.000006Z gw.home posternd 42 decision " SD(
         "seq=\"7\" verdict=\"deny\" subject=\"panel\"")},
    {"token refused",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05Z\",\"token\":\"option\",\"verdict\":\"refused\"}",
     "<85>1 2026-01-02T03:04:05Z gw.home posternd 42 token " SD("seq=\"7\" verdict=\"refused\"")},
    {"losses",
     {ORIGIN},
     "{\"seq\":9,\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"lost\",\"records\":3}",
     "<84>1 2026-01-02T03:04:05Z gw.home posternd 42 lost " SD("seq=\"9\"")},
    {"subject with what must be escaped",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05Z\",\"subject\":\"a]b\\\"c\\\\d\\u000ae\","
     "\"verdict\":\"deny\"}",
     "<85>1 2026-01-02T03:04:05Z gw.home posternd 42 decision " SD(
         "seq=\"7\" verdict=\"deny\" subject=\"a\\]b\\\"c\\\\d\xef\xbf\xbd"
         "e\"")},
    {"a subject that looks like a member",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05Z\",\"subject\":\"x\\\",\\\"verdict\\\":"
     "\\\"permit\",\"verdict\":\"deny\"}",
     "<85>1 2026-01-02T03:04:05Z gw.home posternd 42 decision " SD(
         "seq=\"7\" verdict=\"deny\" subject=\"x\\\",\\\"verdict\\\":\\\"permit\"")},
    {"no host name",
     {"", "0011223344556677", 42},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05Z\",\"verdict\":\"permit\"}",
     "<86>1 2026-01-02T03:04:05Z - posternd 42 decision " SD("seq=\"7\" verdict=\"permit\"")},
    {"a host name with a space",
     {"gw home", "0011223344556677", 42},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05Z\",\"verdict\":\"permit\"}",
     "<86>1 2026-01-02T03:04:05Z - posternd 42 decision " SD("seq=\"7\" verdict=\"permit\"")},
    {"an event that is no word",
     {ORIGIN},
     "{\"seq\":9,\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"two words\"}",
     "<86>1 2026-01-02T03:04:05Z gw.home posternd 42 - " SD("seq=\"9\"")},
    {"time without its end",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05\",\"verdict\":\"permit\"}",
     "<86>1 - gw.home posternd 42 decision " SD("seq=\"7\" verdict=\"permit\"")},
    {"time with a point and nothing behind it",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05.Z\",\"verdict\":\"permit\"}",
     "<86>1 - gw.home posternd 42 decision " SD("seq=\"7\" verdict=\"permit\"")},
    {"time in nanoseconds",
     {ORIGIN},
     "{\"seq\":7,\"time\":\"2026-01-02T03:04:05.123456789Z\",\"verdict\":\"permit\"}",
     "<86>1 - gw.home posternd 42 decision " SD("seq=\"7\" verdict=\"permit\"")},
    {"no time",
     {ORIGIN},
     "{\"seq\":7,\"verdict\":\"permit\"}",
     "<86>1 - gw.home posternd 42 decision " SD("seq=\"7\" verdict=\"permit\"")},
};

static void syslog_messages(void **state)
{
    (void)state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        const struct message_row *r = &messages[i];
        char got[SYSLOG_LINE_MAX + 1] = "", want[SYSLOG_LINE_MAX + 1],
                                   counted[SYSLOG_LINE_MAX + 16];
        /* the record is the message, as it is */
        (void)snprintf(want, sizeof want, "%s%s", r->want, r->record);
        struct buf out = buf_on(got, sizeof got - 1);
        assert_true(syslog_put(&r->origin, bytes_str(r->record), false, &out));
        got[out.n] = '\0';
        if (strcmp(got, want) != 0) {
            print_error("%s:\n  got    %s\n  wanted %s\n", r->name, got, want);
            failed++;
        }
        char want_counted[SYSLOG_LINE_MAX + 16];
        (void)snprintf(want_counted, sizeof want_counted, "%zu %s", strlen(want), want);
        out = buf_on(memset(counted, 0, sizeof counted), sizeof counted - 1);
        assert_true(syslog_put(&r->origin, bytes_str(r->record), true, &out));
        assert_string_equal(counted, want_counted);
    }
    assert_int_equal(failed, 0);
}

static void the_longest_record_fits_and_no_half_message(void **state)
{
    (void)state;
    static char record[SPOOL_LINE_MAX + 1];
    char host[256];
    memset(host, 'h', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    int n = snprintf(record, sizeof record,
                     "{\"seq\":18446744073709551615,\"time\":\"" STAMP_TEXT "\",\"subject\":\"");
    memset(record + n, ']', sizeof record - 1 - (size_t)n - 2);
    memcpy(record + sizeof record - 3, "\"}", 3);
    struct syslog_origin o = {host, "0011223344556677", 4194304};
    uint8_t storage[2 * SYSLOG_LINE_MAX];
    struct buf out = buf_on(storage, sizeof storage);
    assert_true(syslog_put(&o, bytes_str(record), true, &out));
    size_t one = out.n;
    out = buf_on(storage, one + 5);
    assert_true(syslog_put(&o, bytes_str(record), true, &out));
    assert_false(syslog_put(&o, bytes_str(record), true, &out));
    assert_int_equal(out.n, one); /* as it was, and usable */
    assert_false(out.full);
}

/* ---- the spool ---- */

static char dir[] = "/tmp/postern-spool-XXXXXX";
static char spool_dir[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(spool_dir, sizeof spool_dir, "%s/audit", dir);
    return 0;
}

static void path_of(char out[128], const char *name)
{
    (void)snprintf(out, 128, "%s/%s", spool_dir, name);
}

static int empty(void **state)
{
    (void)state;
    DIR *d = opendir(spool_dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", spool_dir, e->d_name);
        if (e->d_name[0] != '.')
            (void)unlink(path);
    }
    if (d)
        closedir(d);
    (void)rmdir(spool_dir);
    return 0;
}

static int teardown(void **state)
{
    (void)empty(state);
    return rmdir(dir);
}

static struct spool *open_spool(uint64_t after)
{
    char text[512] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    struct spool *s = spool_open(spool_dir, SPOOL_MIN, after, &diag);
    if (!s)
        fail_msg("%s", text);
    return s;
}

/* Lines of `size` bytes, numbered. */
static void put(struct spool *s, uint64_t from, uint64_t to, int size)
{
    for (uint64_t i = from; i <= to; i++) {
        char line[SPOOL_LINE_MAX];
        int n = snprintf(line, sizeof line, "{\"seq\":%llu,\"a\":1", (unsigned long long)i);
        while (n < size - 2)
            line[n++] = ' ';
        memcpy(line + n, "}\n", 3);
        assert_true(spool_append(s, bytes_str(line), i, i));
    }
}

/* Reads all there is; checks that numbers ascend and gaps are told. Returns
 * what was told as lost. */
static uint64_t take_all(struct spool *s, uint64_t from, uint64_t to)
{
    static uint8_t storage[64 << 10];
    struct spool_taken t;
    uint64_t next = from, lost = 0;
    for (;;) {
        struct buf out = buf_on(storage, sizeof storage);
        if (!spool_read(s, STAMP_TEXT, 100, &out, &t))
            break;
        assert_in_range(t.records, 1, 100);
        struct bytes left = buf_bytes(&out);
        unsigned records = 0;
        uint64_t told = 0, seq = 0;
        for (const uint8_t *nl; left.n > 0 && (nl = memchr(left.p, '\n', left.n));) {
            struct bytes line = {left.p, (size_t)(nl - left.p)};
            unsigned long long first, n;
            assert_true(spool_line_seq(line, &seq));
            const char *at = memmem(line.p, line.n, "\"where\":\"spool\",\"from\":", 23);
            if (at && sscanf(at + 23, "%llu,\"records\":%llu", &first, &n) == 2) {
                assert_int_equal(first, next);
                assert_int_equal(seq, first + n - 1);
                told += n;
            } else {
                assert_int_equal(seq, next);
            }
            next = seq + 1;
            records++;
            left = bytes_of(nl + 1, left.n - line.n - 1);
        }
        assert_int_equal(left.n, 0);
        assert_int_equal(records, t.records);
        assert_int_equal(told, t.lost);
        assert_int_equal(seq, t.last);
        lost += told;
    }
    assert_int_equal(next, to + 1);
    return lost;
}

static struct spool_stats stats_of(const struct spool *s)
{
    struct spool_stats st;
    spool_get_stats(s, &st);
    return st;
}

static void in_order_and_again_until_settled(void **state)
{
    (void)state;
    struct spool *s = open_spool(0);
    assert_int_equal(take_all(s, 1, 0), 0);
    put(s, 1, 300, 200); /* several segments */
    assert_int_equal(take_all(s, 1, 300), 0);
    assert_int_equal(take_all(s, 301, 300), 0);
    spool_rewind(s);
    assert_int_equal(take_all(s, 1, 300), 0);
    spool_settle(s, 170, 0);
    spool_rewind(s);
    put(s, 301, 310, 200);
    assert_int_equal(stats_of(s).waiting, 140);
    assert_int_equal(take_all(s, 171, 310), 0);
    spool_settle(s, 310, 0);
    assert_int_equal(stats_of(s).waiting, 0);
    put(s, 311, 311, 200);
    assert_int_equal(take_all(s, 311, 311), 0);
    assert_int_equal(stats_of(s).lost, 0);
    spool_close(s);
}

static void goes_on_after_a_restart(void **state)
{
    (void)state;
    struct spool *s = open_spool(0);
    char stream[SPOOL_STREAM + 1];
    (void)snprintf(stream, sizeof stream, "%s", spool_stream(s));
    put(s, 1, 100, 200);
    assert_int_equal(take_all(s, 1, 100), 0);
    spool_settle(s, 40, 0);
    spool_close(s);
    s = open_spool(0);
    assert_string_equal(spool_stream(s), stream);
    assert_int_equal(spool_last(s), 100);
    put(s, 101, 120, 200);
    assert_int_equal(take_all(s, 41, 120), 0);
    spool_settle(s, 120, 0);
    spool_close(s);
    s = open_spool(0);
    assert_int_equal(spool_last(s), 120); /* though nothing waits */
    assert_int_equal(take_all(s, 121, 120), 0);
    spool_close(s);
}

static void a_new_spool_begins_behind_the_file(void **state)
{
    (void)state;
    struct spool *s = open_spool(5000);
    assert_int_equal(spool_last(s), 5000);
    assert_int_equal(take_all(s, 5001, 5000), 0);
    put(s, 5001, 5003, 200);
    assert_int_equal(take_all(s, 5001, 5003), 0);
    assert_int_equal(stats_of(s).lost, 0);
    spool_close(s);
}

static uint64_t size_on_disk(void)
{
    uint64_t sum = 0;
    DIR *d = opendir(spool_dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (strstr(e->d_name, ".jsonl") && fstatat(dirfd(d), e->d_name, &st, 0) == 0)
            sum += (uint64_t)st.st_size;
    }
    closedir(d);
    return sum;
}

static void the_oldest_give_way_and_are_told(void **state)
{
    (void)state;
    struct spool *s = open_spool(0);
    for (uint64_t i = 1; i <= 3000; i += 100) {
        put(s, i, i + 99, 200);
        assert_in_range(size_on_disk(), 1, SPOOL_MIN);
    }
    uint64_t known = stats_of(s).lost;
    assert_in_range(known, 3000 - SPOOL_MIN / 200, 3000 - SPOOL_MIN / 200 * 8 / 10);
    assert_int_equal(stats_of(s).waiting, 3000 - known);
    assert_int_equal(take_all(s, 1, 3000), known);
    assert_int_equal(stats_of(s).lost, known);
    spool_rewind(s); /* the collector did not take it: it is told again */
    assert_int_equal(take_all(s, 1, 3000), known);
    spool_settle(s, 3000, known);
    assert_int_equal(stats_of(s).lost, known);
    spool_close(s);
    s = open_spool(0);
    assert_int_equal(stats_of(s).lost, known);
    spool_close(s);
}

/* What was read into memory counts as kept until a crash shows otherwise. */
static void losses_across_a_crash_are_counted_once(void **state)
{
    (void)state;
    static uint8_t storage[64 << 10];
    struct buf out = buf_on(storage, sizeof storage);
    struct spool_taken t;
    struct spool *s = open_spool(0);
    put(s, 1, 100, 200);
    assert_true(spool_read(s, STAMP_TEXT, 50, &out, &t)); /* 1 to 50 are under way */
    put(s, 101, 3000, 200);
    uint64_t gone = stats_of(s).lost;
    spool_close(s); /* never acknowledged */
    s = open_spool(0);
    assert_int_equal(take_all(s, 1, 3000), gone + 50);
    spool_settle(s, 3000, gone + 50);
    spool_close(s);
    s = open_spool(0);
    assert_int_equal(stats_of(s).lost, gone + 50);
    spool_close(s);
}

/* Segments that give way under the reader. */
static void the_reader_is_overtaken(void **state)
{
    (void)state;
    static uint8_t storage[64 << 10];
    struct buf out = buf_on(storage, sizeof storage);
    struct spool_taken t;
    struct spool *s = open_spool(0);
    put(s, 1, 200, 200);
    assert_true(spool_read(s, STAMP_TEXT, 10, &out, &t));
    spool_settle(s, 10, 0);
    put(s, 201, 5000, 200);
    uint64_t gone = stats_of(s).lost;
    uint64_t told = take_all(s, 11, 5000);
    assert_in_range(told, gone - 100, gone); /* some were read ahead */
    assert_int_equal(stats_of(s).lost, told);
    spool_close(s);
}

static void append_raw(const char *name, const void *p, size_t n)
{
    char path[128];
    path_of(path, name);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

#define FIRST_SEGMENT "00000000000000000001.jsonl"

static void a_cut_line_is_mended(void **state)
{
    (void)state;
    static const char *const tails[] = {"{", "{\"seq\":11,\"a\":", "{\"seq\":11,\"a\":1}"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        struct spool *s = open_spool(0);
        put(s, 1, 10, 200);
        spool_close(s);
        append_raw(FIRST_SEGMENT, tails[i], strlen(tails[i]));
        s = open_spool(0);
        assert_int_equal(spool_last(s), 10);
        put(s, 11, 12, 200);
        assert_int_equal(take_all(s, 1, 12), 0);
        spool_close(s);
        (void)empty(state);
    }
}

/* As a power failure leaves it: blocks of zeros, whole lines that are none. */
static void damage_is_a_loss_and_no_more(void **state)
{
    (void)state;
    static const uint8_t zeros[20000];
    static const char lines[] = "\n{\"seq\":12,\"a\":1}\n{\"seq\":x}\n{\"seq\":14,\"a\"\n"
                                "{\"seq\":15,\"a\":1}\n{\"seq\":3,\"a\":1}\n";
    struct spool *s = open_spool(0);
    put(s, 1, 10, 200);
    spool_close(s);
    append_raw(FIRST_SEGMENT, zeros, sizeof zeros);
    append_raw(FIRST_SEGMENT, lines, sizeof lines - 1);
    s = open_spool(0);
    assert_int_equal(spool_last(s), 15);
    put(s, 16, 16, 200);
    assert_int_equal(take_all(s, 1, 16), 3); /* 11, 13 and 14 */
    spool_close(s);
}

/* Numbers that the file has and the spool never got. */
static void what_the_spool_never_got_is_lost(void **state)
{
    (void)state;
    struct spool *s = open_spool(0);
    put(s, 1, 10, 200);
    spool_close(s);
    s = open_spool(15);
    assert_int_equal(spool_last(s), 15);
    put(s, 16, 17, 200);
    assert_int_equal(take_all(s, 1, 17), 5);
    spool_close(s);
}

static void write_position(off_t at, const char *bytes, size_t n)
{
    char path[128];
    path_of(path, "position");
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    close(fd);
}

/* Settled to 10 and then to 20; whichever slot is torn, the other counts. */
static void a_torn_position_repeats_and_skips_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool first, second;
        uint64_t from;
    } rows[] = {
        {"whole", false, false, 21},
        {"the newer one torn", true, false, 0},
        {"the older one torn", false, true, 0},
        {"both torn", true, true, 1},
    };
    uint64_t seen = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct spool *s = open_spool(0);
        put(s, 1, 30, 200);
        assert_int_equal(take_all(s, 1, 30), 0);
        spool_settle(s, 10, 0);
        spool_settle(s, 20, 0);
        spool_close(s);
        if (rows[i].first)
            write_position(20, "zzz", 3);
        if (rows[i].second)
            write_position(512 + 20, "zzz", 3);
        s = open_spool(0);
        uint64_t from = stats_of(s).settled + 1;
        if (rows[i].from)
            assert_int_equal(from, rows[i].from);
        else
            seen += from; /* 11 for one of the two, 21 for the other */
        assert_int_equal(take_all(s, from, 30), 0);
        assert_int_equal(stats_of(s).lost, 0);
        spool_close(s);
        (void)empty(state);
    }
    assert_int_equal(seen, 11 + 21);
}

static void one_daemon_at_a_time(void **state)
{
    (void)state;
    char text[512] = "", want[128];
    struct buf diag = buf_on(text, sizeof text - 1);
    struct spool *s = open_spool(0);
    assert_null(spool_open(spool_dir, SPOOL_MIN, 0, &diag));
    (void)snprintf(want, sizeof want, "the audit's spool %s: another posternd uses it", spool_dir);
    assert_string_equal(text, want);
    spool_close(s);
}

static void a_directory_that_cannot_be(void **state)
{
    (void)state;
    char text[512] = "";
    struct buf diag = buf_on(text, sizeof text - 1);
    assert_null(spool_open("/nonexistent/audit", SPOOL_MIN, 0, &diag));
    assert_string_equal(text, "the audit's spool /nonexistent/audit: No such file or directory");
}

static void sequence_numbers_of_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint64_t seq; /* 0: refused */
    } rows[] = {
        {"{\"seq\":7,\"a\":1}", 7},
        {"{\"seq\":18446744073709551615,\"a\":1}", UINT64_MAX},
        {"{\"seq\":18446744073709551616,\"a\":1}", 0},
        {"{\"seq\":0,\"a\":1}", 0},
        {"{\"seq\":,\"a\":1}", 0},
        {"{\"seq\":-7,\"a\":1}", 0},
        {"{\"seq\":7}", 0},
        {"{\"seq\":7,\"a\":1", 0},
        {"{\"sep\":7,\"a\":1}", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t seq = 0;
        bool ok = spool_line_seq(bytes_str(rows[i].line), &seq);
        if (ok != (rows[i].seq > 0) || (ok && seq != rows[i].seq))
            fail_msg("%s", rows[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syslog_messages),
        cmocka_unit_test(the_longest_record_fits_and_no_half_message),
        cmocka_unit_test(sequence_numbers_of_lines),
        cmocka_unit_test_teardown(in_order_and_again_until_settled, empty),
        cmocka_unit_test_teardown(goes_on_after_a_restart, empty),
        cmocka_unit_test_teardown(a_new_spool_begins_behind_the_file, empty),
        cmocka_unit_test_teardown(the_oldest_give_way_and_are_told, empty),
        cmocka_unit_test_teardown(losses_across_a_crash_are_counted_once, empty),
        cmocka_unit_test_teardown(the_reader_is_overtaken, empty),
        cmocka_unit_test_teardown(a_cut_line_is_mended, empty),
        cmocka_unit_test_teardown(damage_is_a_loss_and_no_more, empty),
        cmocka_unit_test_teardown(what_the_spool_never_got_is_lost, empty),
        cmocka_unit_test_teardown(a_torn_position_repeats_and_skips_nothing, empty),
        cmocka_unit_test_teardown(one_daemon_at_a_time, empty),
        cmocka_unit_test_teardown(a_directory_that_cannot_be, empty),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
