/* The embedded store: one LMDB environment with one table; the kind is the
 * first byte of the key. LMDB commits with fsync, so what was committed
 * survives kill -9 and loss of power. */
#include <errno.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"

struct lmdb {
    MDB_env *env;
    MDB_dbi dbi;
    size_t map;
};

static void say(struct buf *diag, const char *dir, const char *what, const char *why)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s: %s%s%s", dir, what, why ? ": " : "", why ? why : "");
    if (diag && n > 0)
        buf_put(diag, bytes_of(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
}

/* LMDB's parameters are not const, but it only reads them. */
static MDB_val val_of(struct bytes b)
{
    union {
        const uint8_t *c;
        void *m;
    } u = {.c = b.p};
    return (MDB_val){b.n, u.m};
}

struct key {
    size_t n;
    uint8_t b[1 + STORE_KEY_MAX];
};

static struct key key_of(enum store_kind kind, struct bytes key)
{
    struct key k = {1 + key.n, {(uint8_t)kind}};
    memcpy(k.b + 1, key.p, key.n);
    return k;
}

static int change_once(struct lmdb *l, const struct store_op *ops, size_t n)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct key k = key_of(ops[i].kind, ops[i].key);
        MDB_val key = {k.n, k.b}, value = val_of(ops[i].value);
        if (ops[i].value.p) {
            rc = mdb_put(txn, l->dbi, &key, &value, 0);
        } else {
            rc = mdb_del(txn, l->dbi, &key, NULL);
            if (rc == MDB_NOTFOUND)
                rc = 0;
        }
    }
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* frees the transaction whatever comes of it */
}

static bool lmdb_change(void *self, const struct store_op *ops, size_t n)
{
    struct lmdb *l = self;
    int rc = change_once(l, ops, n);
    if (rc != MDB_MAP_FULL)
        return rc == 0;
    /* LMDB copies pages even to delete, so a full map could never be
     * emptied again. What only deletes may grow it a little. */
    for (size_t i = 0; i < n; i++)
        if (ops[i].value.p)
            return false;
    size_t more = l->map + l->map / 8 / 4096 * 4096 + 65536;
    if (mdb_env_set_mapsize(l->env, more) != 0)
        return false;
    l->map = more;
    return change_once(l, ops, n) == 0;
}

static bool lmdb_each(void *self, enum store_kind kind, store_visit_fn *visit, void *user)
{
    struct lmdb *l = self;
    MDB_txn *txn;
    MDB_cursor *cursor;
    if (mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn) != 0)
        return false;
    if (mdb_cursor_open(txn, l->dbi, &cursor) != 0) {
        mdb_txn_abort(txn);
        return false;
    }
    uint8_t first = (uint8_t)kind;
    MDB_val key = {1, &first}, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0) {
        struct bytes k = bytes_of(key.mv_data, key.mv_size);
        if (k.n < 1 || k.p[0] != (uint8_t)kind)
            break;
        (void)visit(user, bytes_of(k.p + 1, k.n - 1), bytes_of(value.mv_data, value.mv_size));
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return rc == 0 || rc == MDB_NOTFOUND;
}

static void lmdb_close(void *self)
{
    struct lmdb *l = self;
    mdb_env_close(l->env);
    free(l);
}

static const struct store_backend lmdb_backend = {lmdb_change, lmdb_each, lmdb_close};

/* Ours, and closed to others as far as `shut` says. What is too open is
 * refused rather than tightened: it may be shared by mistake, and is then not
 * ours to change. */
static bool own_directory(const char *dir, mode_t shut, const char *why, struct buf *diag)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        say(diag, dir, "cannot make the directory", strerror(errno));
        return false;
    }
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        say(diag, dir, "the state must be a directory", NULL);
        return false;
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        say(diag, dir, "belongs to another user", NULL);
        return false;
    }
    if (st.st_mode & shut) {
        say(diag, dir, why, NULL);
        return false;
    }
    return true;
}

/* LMDB would share, but two gateways that number grants each by itself would
 * write over each other's. The lock ends with the process, however it ends. */
static bool is_ours_alone(MDB_env *env)
{
    int fd;
    return mdb_env_get_fd(env, &fd) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

struct store *store_open(const char *state, size_t map, struct buf *diag)
{
    char dir[PATH_MAX];
    int n = snprintf(dir, sizeof dir, "%s/grants", state);
    if (n < 0 || (size_t)n >= sizeof dir) {
        say(diag, state, "the path is too long", NULL);
        return NULL;
    }
    /* Service managers make the state directory, often readable by all; the
     * keys stand one below. */
    if (!own_directory(state, 022, "others may write there: chmod go-w it", diag) ||
        !own_directory(dir, 077, "holds keys and must be private: chmod 700 it", diag))
        return NULL;
    struct store *s = malloc(sizeof *s);
    struct lmdb *l = calloc(1, sizeof *l);
    MDB_txn *txn;
    int rc = s && l ? 0 : ENOMEM;
    if (rc == 0) {
        l->map = map ? map : STORE_MAP_DEFAULT;
        rc = mdb_env_create(&l->env);
    }
    if (rc == 0)
        rc = mdb_env_set_mapsize(l->env, l->map);
    /* No thread-local reader slots: calls come from one thread at a time,
     * but not always from the same. */
    if (rc == 0)
        rc = mdb_env_open(l->env, dir, MDB_NOTLS, 0600);
    bool alone = rc != 0 || is_ours_alone(l->env);
    if (!alone)
        rc = EBUSY;
    if (rc == 0)
        rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
        if (rc)
            mdb_txn_abort(txn);
        else
            rc = mdb_txn_commit(txn);
    }
    if (rc) {
        say(diag, dir, alone ? "cannot open the store" : "another posternd keeps its state here",
            alone ? mdb_strerror(rc) : NULL);
        if (l && l->env)
            mdb_env_close(l->env);
        free(l);
        free(s);
        return NULL;
    }
    /* A map that an earlier run grew is larger than what we asked for. */
    MDB_envinfo info;
    if (mdb_env_info(l->env, &info) == 0)
        l->map = info.me_mapsize;
    *s = (struct store){&lmdb_backend, l};
    return s;
}
