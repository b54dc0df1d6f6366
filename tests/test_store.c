#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../pep/record.h"
#include "../pep/store.h"

static char home[64];

static void wipe_dir(const char *dir)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char path[128];
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/grants/%s", dir, files[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/grants", dir);
    (void)rmdir(path);
    (void)rmdir(dir);
}

static int enter(void **state)
{
    (void)state;
    strcpy(home, "/tmp/test_store.XXXXXX");
    if (!mkdtemp(home))
        return -1;
    return 0;
}

static int leave(void **state)
{
    (void)state;
    char dir[96];
    (void)snprintf(dir, sizeof dir, "%s/s", home);
    wipe_dir(dir);
    return rmdir(home);
}

static struct store *open_at(size_t map)
{
    char dir[96], text[256];
    struct buf diag = buf_on(text, sizeof text);
    (void)snprintf(dir, sizeof dir, "%s/s", home);
    struct store *s = store_open(dir, map, &diag);
    if (!s)
        fail_msg("%.*s", (int)diag.n, text);
    return s;
}

struct seen {
    size_t n, bytes;
    enum store_keep answer;
    char text[256];
};

static enum store_keep look(void *user, struct bytes key, struct bytes value)
{
    struct seen *s = user;
    size_t at = strlen(s->text);
    (void)snprintf(s->text + at, sizeof s->text - at, "%.*s=%.*s ", (int)key.n, (const char *)key.p,
                   value.n < 32 ? (int)value.n : 0, (const char *)value.p);
    s->n++;
    s->bytes += value.n;
    return s->answer;
}

static struct store_op put(const char *key, const char *value)
{
    return (struct store_op){STORE_GRANT, bytes_str(key), bytes_str(value)};
}

static void behaves(struct store *s)
{
    struct store_op ops[] = {
        put("a", "1"), put("b", "2"), {STORE_CREATED, BYTES_LIT("a"), BYTES_LIT("3")}};
    assert_true(store_change(s, ops, 3));
    struct seen seen = {.answer = STORE_KEEP};
    assert_true(store_each(s, STORE_GRANT, look, &seen));
    assert_int_equal(seen.n, 2);
    /* replace and delete in one change; deleting what is not there is fine */
    struct store_op more[] = {put("a", "9"),
                              {STORE_GRANT, BYTES_LIT("b"), BYTES_NONE},
                              {STORE_GRANT, BYTES_LIT("zz"), BYTES_NONE}};
    assert_true(store_change(s, more, 3));
    seen = (struct seen){.answer = STORE_REMOVE};
    assert_true(store_each(s, STORE_GRANT, look, &seen));
    assert_string_equal(seen.text, "a=9 ");
    seen = (struct seen){.answer = STORE_KEEP};
    assert_true(store_each(s, STORE_GRANT, look, &seen)); /* the visitor gave it up */
    assert_int_equal(seen.n, 0);
    assert_true(store_each(s, STORE_CREATED, look, &seen));
    assert_string_equal(seen.text, "a=3 ");
    /* an empty value is a value */
    struct store_op empty = put("e", "");
    assert_true(store_change(s, &empty, 1));
    assert_true(store_change(s, NULL, 0));
    /* the door */
    static uint8_t big[STORE_VALUE_MAX + 1];
    struct store_op bad[] = {
        {STORE_GRANT, BYTES_NONE, BYTES_LIT("x")},
        {STORE_GRANT, {big, STORE_KEY_MAX + 1}, BYTES_LIT("x")},
        {STORE_GRANT, BYTES_LIT("k"), {big, sizeof big}},
    };
    for (size_t i = 0; i < 3; i++)
        assert_false(store_change(s, &bad[i], 1));
    assert_false(store_change(s, bad, STORE_OPS_MAX + 1));
}

static void memory_backend(void **state)
{
    (void)state;
    struct store *s = store_open_memory();
    behaves(s);
    store_close(s);
    store_close(NULL);
}

/* One gateway at a time: two would write over each other's grants. */
static void one_at_a_time(void **state)
{
    (void)state;
    char dir[96], text[256] = {0};
    struct buf diag = buf_on(text, sizeof text - 1);
    (void)snprintf(dir, sizeof dir, "%s/s", home);
    struct store *s = open_at(0);
    assert_null(store_open(dir, 0, &diag));
    assert_non_null(strstr(text, "another posternd"));
    store_close(s);
    store_close(open_at(0));
}

static void lmdb_backend(void **state)
{
    (void)state;
    struct store *s = open_at(0);
    behaves(s);
    store_close(s);
}

static void survives_closing(void **state)
{
    (void)state;
    struct store *s = open_at(0);
    struct store_op op = put("kept", "yes");
    assert_true(store_change(s, &op, 1));
    store_close(s);
    s = open_at(0);
    struct seen seen = {.answer = STORE_KEEP};
    assert_true(store_each(s, STORE_GRANT, look, &seen));
    assert_string_equal(seen.text, "kept=yes ");
    store_close(s);
}

static void survives_kill(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *s = open_at(0);
        struct store_op op = put("killed", "kept");
        char c = store_change(s, &op, 1) ? 'y' : 'n';
        if (write(ready[1], &c, 1) == 1)
            pause();
        _exit(0);
    }
    char c = 0;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    struct store *s = open_at(0);
    struct seen seen = {.answer = STORE_KEEP};
    assert_true(store_each(s, STORE_GRANT, look, &seen));
    assert_string_equal(seen.text, "killed=kept ");
    store_close(s);
}

/* A full map refuses whole changes, keeps what it has, and can be emptied. */
static void full_map(void **state)
{
    (void)state;
    struct store *s = open_at(64 << 10);
    static uint8_t value[2000];
    size_t held = 0;
    char key[16];
    for (; held < 1000; held++) {
        (void)snprintf(key, sizeof key, "%04zu", held);
        struct store_op op = {STORE_GRANT, bytes_str(key), {value, sizeof value}};
        if (!store_change(s, &op, 1))
            break;
    }
    assert_in_range(held, 1, 100);
    struct store_op half[] = {{STORE_GRANT, BYTES_LIT("0000"), BYTES_NONE},
                              {STORE_GRANT, BYTES_LIT("x"), {value, sizeof value}},
                              {STORE_GRANT, BYTES_LIT("y"), {value, sizeof value}},
                              {STORE_GRANT, BYTES_LIT("z"), {value, sizeof value}}};
    assert_false(store_change(s, half, 4));
    struct seen seen = {.answer = STORE_REMOVE};
    assert_true(store_each(s, STORE_GRANT, look, &seen));
    assert_int_equal(seen.n, held);
    seen = (struct seen){.answer = STORE_KEEP};
    assert_true(store_each(s, STORE_GRANT, look, &seen));
    assert_int_equal(seen.n, 0);
    struct store_op op = {STORE_GRANT, BYTES_LIT("again"), {value, sizeof value}};
    assert_true(store_change(s, &op, 1));
    store_close(s);
}

static void refuses(const char *state, const char *why)
{
    char text[256];
    struct buf diag = buf_on(text, sizeof text - 1);
    assert_null(store_open(state, 0, &diag));
    text[diag.n] = 0;
    if (!strstr(text, why))
        fail_msg("%s: got '%s', wanted '%s'", state, text, why);
}

static void private_directory(void **state)
{
    (void)state;
    char dir[96], grants[112], file[128];
    struct stat st;
    store_close(open_at(0));
    (void)snprintf(dir, sizeof dir, "%s/s", home);
    (void)snprintf(grants, sizeof grants, "%s/grants", dir);
    (void)snprintf(file, sizeof file, "%s/data.mdb", grants);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(grants, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    /* as a service manager makes it */
    assert_int_equal(chmod(dir, 0755), 0);
    store_close(open_at(0));
    assert_int_equal(chmod(dir, 0775), 0);
    refuses(dir, "chmod go-w");
    assert_int_equal(chmod(dir, 0700), 0);
    assert_int_equal(chmod(grants, 0750), 0);
    refuses(dir, "chmod 700");
    assert_int_equal(chmod(grants, 0700), 0);
    (void)snprintf(grants, sizeof grants, "%s/no/such", home);
    refuses(grants, "cannot make");
    refuses(file, "must be a directory");
}

static void damaged_file(void **state)
{
    (void)state;
    char path[128], text[256];
    store_close(open_at(0));
    (void)snprintf(path, sizeof path, "%s/s/grants/data.mdb", home);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    for (int i = 0; i < 8192; i++)
        fputc(0x5a, f);
    fclose(f);
    (void)snprintf(path, sizeof path, "%s/s", home);
    struct buf diag = buf_on(text, sizeof text);
    assert_null(store_open(path, 0, &diag));
    assert_true(diag.n > 0);
}

/* ---- records ---- */

static void records(void **state)
{
    (void)state;
    struct grant g = {.id = 0x0102030405060708,
                      .taken_s = 1700000000,
                      .used = true,
                      .via = PEP_VIA_IDENTITY,
                      .by_reference = true,
                      .raw = BYTES_LIT("not a token, but bytes")};
    g.key.kind = CNF_SYMMETRIC;
    g.key.kid_n = 3;
    g.key.secret_n = 16;
    memset(g.key.id, 7, sizeof g.key.id);
    memset(g.key.kid, 8, 3);
    memset(g.key.secret, 9, 16);
    for (int reference = 0; reference < 2; reference++) {
        uint8_t key[RECORD_KEY], value[RECORD_MAX];
        struct buf b = buf_on(value, sizeof value);
        struct record r;
        g.by_reference = reference;
        assert_true(record_write(&g, "home-as", key, &b));
        assert_true(record_read(bytes_of(key, sizeof key), buf_bytes(&b), &r));
        assert_true(r.id == g.id && r.taken_s == g.taken_s && r.used && r.via == g.via);
        assert_true(bytes_equal(r.raw, g.raw) && r.by_reference == g.by_reference);
        if (reference)
            assert_memory_equal(&r.key, &g.key, sizeof g.key);
        else /* a key that the token carries is not written in the clear */
            assert_null(memmem(value, b.n, g.key.secret, 16));
        /* no byte may change, none be missing, none come behind */
        for (size_t i = 0; i < b.n; i++) {
            value[i] ^= 1;
            assert_false(record_read(bytes_of(key, sizeof key), buf_bytes(&b), &r));
            value[i] ^= 1;
            assert_false(record_read(bytes_of(key, sizeof key), bytes_of(value, i), &r));
        }
        assert_false(record_read(bytes_of(key, sizeof key), bytes_of(value, b.n + 1), &r));
        key[0] ^= 1;
        assert_false(record_read(bytes_of(key, sizeof key), buf_bytes(&b), &r));
        assert_false(record_read(bytes_of(key, 7), buf_bytes(&b), &r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_backend),
        cmocka_unit_test_setup_teardown(lmdb_backend, enter, leave),
        cmocka_unit_test_setup_teardown(one_at_a_time, enter, leave),
        cmocka_unit_test_setup_teardown(survives_closing, enter, leave),
        cmocka_unit_test_setup_teardown(survives_kill, enter, leave),
        cmocka_unit_test_setup_teardown(full_map, enter, leave),
        cmocka_unit_test_setup_teardown(private_directory, enter, leave),
        cmocka_unit_test_setup_teardown(damaged_file, enter, leave),
        cmocka_unit_test(records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
