/* A file that is read once: whole, in order, and never again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../proxy/sealed.h"

static const uint8_t KEY[SEALED_KEY] = "a test key of thirty-two bytes.";
static const uint8_t OTHER[SEALED_KEY] = "a test key of thirty-two bytes!";
static const char NAME[] = "kept";

struct scene {
    char dir[64], path[96];
    size_t shown;
    uint32_t sum;
    bool in_order;
    size_t stop_at;
};

static void open_scene(struct scene *s)
{
    memset(s, 0, sizeof *s);
    strcpy(s->dir, "/tmp/test_sealed.XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof s->path, "%s/%s", s->dir, NAME);
}

static void close_scene(struct scene *s)
{
    unlink(s->path);
    assert_int_equal(rmdir(s->dir), 0); /* nothing else was left */
}

/* The i-th entry: its number, and so many bytes behind it. */
static struct bytes entry(size_t i, size_t n, uint8_t storage[SEALED_ENTRY_MAX])
{
    struct buf b = buf_on(storage, SEALED_ENTRY_MAX);
    buf_put_be(&b, i, 4);
    for (size_t k = 4; k < n; k++)
        buf_put_u8(&b, (uint8_t)(i + k));
    return buf_bytes(&b);
}

static size_t size_of(size_t i)
{
    return i % 7 == 0 ? SEALED_ENTRY_MAX : 4 + i * 37 % 900;
}

static void write_entries(struct scene *s, size_t n)
{
    uint8_t storage[SEALED_ENTRY_MAX];
    const char *why = "";
    struct sealed_writer *w = sealed_create(s->dir, NAME, KEY, BYTES_LIT("the head"), &why);
    assert_non_null(w);
    for (size_t i = 0; i < n; i++)
        sealed_put(w, (uint8_t)(i % 5), entry(i, size_of(i), storage));
    assert_true(sealed_finish(w, &why));
}

static bool show(void *user, uint8_t kind, struct bytes e)
{
    struct scene *s = user;
    uint8_t storage[SEALED_ENTRY_MAX];
    if (kind != s->shown % 5 || !bytes_equal(e, entry(s->shown, size_of(s->shown), storage)))
        fail_msg("entry %zu is another", s->shown);
    s->shown++;
    return s->shown != s->stop_at;
}

static enum sealed_err take(struct scene *s, const uint8_t key[SEALED_KEY])
{
    struct sealed_reader *r = NULL;
    s->shown = 0;
    enum sealed_err err = sealed_take(s->dir, NAME, key, &r);
    assert_int_equal(access(s->path, F_OK), -1); /* gone, whatever it was */
    if (err == SEALED_OK) {
        assert_true(bytes_equal_str(sealed_head(r), "the head"));
        assert_true(sealed_each(r, show, s));
        sealed_close(r);
    }
    return err;
}

static void test_round(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 30, 200};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct scene s;
        struct stat st;
        open_scene(&s);
        write_entries(&s, counts[i]);
        assert_int_equal(stat(s.path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(take(&s, KEY), SEALED_OK);
        assert_int_equal(s.shown, counts[i]);
        assert_int_equal(take(&s, KEY), SEALED_NONE); /* once */
        close_scene(&s);
    }
}

static void test_stops(void **state)
{
    (void)state;
    struct scene s;
    struct sealed_reader *r;
    open_scene(&s);
    write_entries(&s, 20);
    s.stop_at = 3;
    assert_int_equal(sealed_take(s.dir, NAME, KEY, &r), SEALED_OK);
    assert_false(sealed_each(r, show, &s));
    assert_int_equal(s.shown, 3);
    sealed_close(r);
    close_scene(&s);
}

static uint8_t *slurp(const char *path, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *n = (size_t)st.st_size;
    uint8_t *p = malloc(*n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *n, f), *n);
    fclose(f);
    return p;
}

static void put(const char *path, const uint8_t *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Each a mutation of a file that is taken. */
static void test_broken(void **state)
{
    (void)state;
    struct scene s;
    size_t n;
    open_scene(&s);
    write_entries(&s, 30);
    assert_int_equal(take(&s, OTHER), SEALED_BROKEN);
    write_entries(&s, 30);
    uint8_t *whole = slurp(s.path, &n);
    /* Cut anywhere: at each of the first bytes, then here and there. */
    for (size_t i = 0; i < n; i += i < 64 ? 1 : 997) {
        put(s.path, whole, i);
        if (take(&s, KEY) != SEALED_BROKEN)
            fail_msg("cut at %zu", i);
    }
    for (size_t i = 0; i < n; i += i < 64 ? 1 : 997) {
        whole[i] ^= 1;
        put(s.path, whole, n);
        if (take(&s, KEY) != SEALED_BROKEN)
            fail_msg("changed at %zu", i);
        whole[i] ^= 1;
    }
    whole[n] = 0;
    put(s.path, whole, n + 1);
    assert_int_equal(take(&s, KEY), SEALED_BROKEN);
    put(s.path, whole, n);
    assert_int_equal(take(&s, KEY), SEALED_OK); /* as it was */
    free(whole);
    close_scene(&s);
}

/* Whole chunks left out, doubled, or in another order. */
static void test_chunks(void **state)
{
    (void)state;
    enum { CHUNKS = 4 };
    struct scene s;
    size_t n, at[CHUNKS + 1] = {0}, chunks = 0, front = 8 + 2 + 8;
    open_scene(&s);
    write_entries(&s, 30);
    uint8_t *whole = slurp(s.path, &n), *changed = malloc(2 * n);
    assert_non_null(changed);
    for (size_t i = front; i < n && chunks < CHUNKS; chunks++) {
        at[chunks] = i;
        i += 4 + ((size_t)(whole[i] & 0x7f) << 24 | (size_t)whole[i + 1] << 16 |
                  (size_t)whole[i + 2] << 8 | whole[i + 3]);
        at[chunks + 1] = i;
    }
    assert_true(chunks >= 3);
    size_t first = at[1] - at[0], second = at[2] - at[1];
    /* without the second */
    memcpy(changed, whole, at[1]);
    memcpy(changed + at[1], whole + at[2], n - at[2]);
    put(s.path, changed, n - second);
    assert_int_equal(take(&s, KEY), SEALED_BROKEN);
    /* the first twice */
    memcpy(changed, whole, at[1]);
    memcpy(changed + at[1], whole + at[0], n - at[0]);
    put(s.path, changed, n + first);
    assert_int_equal(take(&s, KEY), SEALED_BROKEN);
    /* the first two changed about */
    memcpy(changed, whole, n);
    memcpy(changed + at[0], whole + at[1], second);
    memcpy(changed + at[0] + second, whole + at[0], first);
    put(s.path, changed, n);
    assert_int_equal(take(&s, KEY), SEALED_BROKEN);
    /* the end cut off, and the chunk before told to be the last */
    memcpy(changed, whole, at[1]);
    changed[at[0]] |= 0x80;
    put(s.path, changed, at[1]);
    assert_int_equal(take(&s, KEY), SEALED_BROKEN);
    free(changed);
    free(whole);
    close_scene(&s);
}

static void test_no_file(void **state)
{
    (void)state;
    struct scene s;
    struct sealed_reader *r;
    open_scene(&s);
    assert_int_equal(take(&s, KEY), SEALED_NONE);
    assert_false(sealed_remove(s.dir, NAME));
    assert_int_equal(sealed_take("/nowhere/at/all", NAME, KEY, &r), SEALED_IO);
    /* What a link leads to is not ours, and stays. */
    char other[96];
    snprintf(other, sizeof other, "%s/other", s.dir);
    put(other, KEY, 4);
    assert_int_equal(symlink(other, s.path), 0);
    assert_int_equal(sealed_take(s.dir, NAME, KEY, &r), SEALED_IO);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(access(s.path, F_OK), -1);
    unlink(other);
    /* A file with a second name could be taken twice. */
    write_entries(&s, 3);
    assert_int_equal(link(s.path, other), 0);
    assert_int_equal(sealed_take(s.dir, NAME, KEY, &r), SEALED_BROKEN);
    unlink(other);
    write_entries(&s, 3);
    assert_true(sealed_remove(s.dir, NAME));
    close_scene(&s);
}

static void test_not_written(void **state)
{
    (void)state;
    struct scene s;
    const char *why = NULL;
    static uint8_t large[SEALED_ENTRY_MAX + 1];
    open_scene(&s);
    assert_null(sealed_create("/nowhere/at/all", NAME, KEY, BYTES_NONE, &why));
    assert_string_equal(why, "No such file or directory");
    assert_null(sealed_create(s.dir, NAME, KEY, bytes_of(large, SEALED_HEAD_MAX + 1), &why));
    struct sealed_writer *w = sealed_create(s.dir, NAME, KEY, BYTES_NONE, &why);
    assert_non_null(w);
    sealed_put(w, 1, bytes_of(large, sizeof large));
    assert_false(sealed_finish(w, &why));
    assert_string_equal(why, "Message too long");
    assert_int_equal(access(s.path, F_OK), -1);
    w = sealed_create(s.dir, NAME, KEY, BYTES_NONE, &why);
    assert_non_null(w);
    sealed_abandon(w);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),   cmocka_unit_test(test_stops),
        cmocka_unit_test(test_broken),  cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_no_file), cmocka_unit_test(test_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
