#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../pep/crypto.h"
#include "../pep/store.h"
#include "../policy/cursor.h"
#include "dtls.h"
#include "keeper.h"
#include "kept.h"
#include "limits.h"
#include "log.h"

/* In the state directory. */
static const char FILE_NAME[] = "associations";
static const char KEY_NAME[] = "associations.key";
/* In the manager's hands. */
static const char FD_NAME[] = "postern-restart";

enum {
    VERSION = 1, /* of the head; sections have their own */
    BOOT = 36,   /* a UUID as text */
    HEAD = 2 + 4 + 8 + BOOT,
};

/* When and by whom it was saved. */
struct head {
    uint8_t how;
    uint32_t library; /* the DTLS library that reads what it saved */
    uint64_t boot_us; /* of the monotonic clock of that boot */
    uint8_t boot[BOOT];
};

/* False: which boot this is cannot be told. */
static bool this_moment(struct instant now, struct head *h)
{
    memset(h->boot, 0, sizeof h->boot);
    h->boot_us = now.mono_us;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, h->boot, BOOT) : -1;
    if (fd >= 0)
        close(fd);
    return n == BOOT;
}

static void put_head(const struct head *h, struct buf *out)
{
    buf_put_u8(out, VERSION);
    buf_put_u8(out, h->how);
    buf_put_be(out, h->library, 4);
    buf_put_be(out, h->boot_us, 8);
    buf_put(out, bytes_of(h->boot, BOOT));
}

static bool read_head(struct bytes in, struct head *h)
{
    struct cursor c = cursor_on(in);
    bool ok = cursor_u8(&c) == VERSION;
    h->how = cursor_u8(&c);
    h->library = (uint32_t)cursor_be(&c, 4);
    h->boot_us = cursor_be(&c, 8);
    struct bytes boot = cursor_take(&c, BOOT);
    if (boot.n == BOOT)
        memcpy(h->boot, boot.p, BOOT);
    return ok && cursor_done(&c);
}

/* ---- the key ---- */

static bool give_manager(const uint8_t key[SEALED_KEY])
{
    int fd = memfd_create(FD_NAME, MFD_CLOEXEC);
    if (fd < 0)
        return false;
    bool given = write(fd, key, SEALED_KEY) == SEALED_KEY && keeper_give(FD_NAME, fd);
    if (!given) { /* whoever has it has nothing */
        static const uint8_t none[SEALED_KEY];
        ssize_t wiped = pwrite(fd, none, SEALED_KEY, 0);
        (void)wiped;
    }
    close(fd);
    return given;
}

/* The manager's descriptor and ours are of one memory: once it is wiped here
 * nobody has it. */
static bool take_manager(uint8_t key[SEALED_KEY])
{
    static const uint8_t none[SEALED_KEY];
    int fd = keeper_take(FD_NAME);
    if (fd < 0)
        return false;
    bool ok = pread(fd, key, SEALED_KEY, 0) == SEALED_KEY &&
              pwrite(fd, none, SEALED_KEY, 0) == SEALED_KEY && ftruncate(fd, 0) == 0 &&
              !crypto_equal(bytes_of(key, SEALED_KEY), bytes_of(none, SEALED_KEY));
    close(fd);
    return ok;
}

static bool give_file(const char *dir, const uint8_t key[SEALED_KEY])
{
    int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d < 0)
        return false;
    (void)unlinkat(d, KEY_NAME, 0);
    int fd = openat(d, KEY_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok =
        fd >= 0 && write(fd, key, SEALED_KEY) == SEALED_KEY && fsync(fd) == 0 && fsync(d) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok)
        (void)unlinkat(d, KEY_NAME, 0);
    close(d);
    return ok;
}

static bool take_file(const char *dir, uint8_t key[SEALED_KEY])
{
    int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d < 0)
        return false;
    int fd = openat(d, KEY_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    bool ok = fd >= 0 && read(fd, key, SEALED_KEY) == SEALED_KEY;
    /* Away with it whatever it is; and only who removed it has it. */
    bool mine = unlinkat(d, KEY_NAME, 0) == 0 && fsync(d) == 0;
    if (fd >= 0)
        close(fd);
    close(d);
    return ok && mine;
}

struct used {
    const struct head *now;
    uint64_t last_us;
};

static enum store_keep see_used(void *user, struct bytes key, struct bytes value)
{
    struct used *u = user;
    (void)key;
    struct cursor c = cursor_on(value);
    struct bytes boot = cursor_take(&c, BOOT);
    uint64_t at_us = cursor_be(&c, 8);
    if (cursor_done(&c) && bytes_equal(boot, bytes_of(u->now->boot, BOOT)))
        u->last_us = at_us;
    return STORE_KEEP;
}

/* Of what lies beside its key, a copy may be put back: so it must be of this
 * boot, not old, and younger than the last that was used, which is written
 * down first. */
static const char *judge_beside(struct store *store, const struct head *h, struct instant at)
{
    struct head now;
    if (!store || !this_moment(at, &now) || memcmp(now.boot, h->boot, BOOT) != 0 ||
        h->boot_us > now.boot_us || now.boot_us - h->boot_us > RESTART_MAX_S * UINT64_C(1000000))
        return "too old";
    struct used u = {&now, 0};
    if (!store_each(store, STORE_RESTART, see_used, &u))
        return "the store cannot tell whether it was used";
    if (h->boot_us <= u.last_us)
        return "used before";
    uint8_t value[BOOT + 8];
    struct buf b = buf_on(value, sizeof value);
    buf_put(&b, bytes_of(h->boot, BOOT));
    buf_put_be(&b, h->boot_us, 8);
    const struct store_op op = {STORE_RESTART, BYTES_LIT("used"), buf_bytes(&b)};
    return store_change(store, &op, 1) ? NULL : "the store does not take that it is used";
}

/* ---- the two ends ---- */

static bool write_file(const struct config *c, struct workers *ws, struct instant now,
                       const uint8_t key[SEALED_KEY])
{
    struct head h = {.how = (uint8_t)c->restart, .library = dtls_library()};
    uint8_t storage[HEAD];
    struct buf b = buf_on(storage, sizeof storage);
    const char *why = "which boot this is cannot be told";
    bool known = this_moment(now, &h);
    struct sealed_writer *w = NULL;
    put_head(&h, &b);
    if (known || c->restart != RESTART_STATE)
        w = sealed_create(c->state, FILE_NAME, key, buf_bytes(&b), &why);
    for (unsigned i = 0; w && i < workers_size(ws); i++) {
        const uint8_t who[] = {(uint8_t)i, (uint8_t)workers_size(ws)};
        sealed_put(w, KEPT_WORKER, bytes_of(who, sizeof who));
        gate_keep(worker_gate(workers_at(ws, i)), w, now);
    }
    if (w && sealed_finish(w, &why))
        return true;
    log_event(LOG_LEVEL_ERROR, "associations-not-kept", "reason", why, NULL);
    return false;
}

void restart_save(const struct config *c, struct workers *ws)
{
    uint8_t key[SEALED_KEY];
    struct instant now = loop_now(worker_loop(workers_first(ws)));
    /* Who could not follow the others does not know who may still be let in. */
    if (!c->state || c->restart == RESTART_NO || workers_shut(ws) > 0 ||
        (c->restart == RESTART_MANAGER && !getenv("NOTIFY_SOCKET")) ||
        !crypto_random(key, sizeof key))
        return;
    bool ok = write_file(c, ws, now, key);
    if (ok) {
        ok = c->restart == RESTART_MANAGER ? give_manager(key) : give_file(c->state, key);
        if (!ok) {
            (void)sealed_remove(c->state, FILE_NAME);
            log_event(LOG_LEVEL_ERROR, "associations-not-kept", "reason", "nobody takes their key",
                      NULL);
        }
    }
    for (unsigned i = 0; ok && i < workers_size(ws); i++)
        gate_forget(worker_gate(workers_at(ws, i)));
    crypto_wipe(key, sizeof key);
}

static const char *open_file(const struct config *c, struct store *store,
                             const uint8_t key[SEALED_KEY], struct instant now,
                             struct sealed_reader **out)
{
    static const char *const errors[] = {[SEALED_NONE] = "there is no file",
                                         [SEALED_IO] = "the file cannot be read or removed",
                                         [SEALED_BROKEN] = "the file is not what was saved"};
    struct head h;
    enum sealed_err err = sealed_take(c->state, FILE_NAME, key, out);
    if (err != SEALED_OK)
        return errors[err];
    if (!read_head(sealed_head(*out), &h) || h.how != (uint8_t)c->restart)
        return "it was saved by another version, or otherwise";
    if (h.library != dtls_library())
        return "it was saved with another DTLS library";
    return c->restart == RESTART_STATE ? judge_beside(store, &h, now) : NULL;
}

/* Each worker gets its own back. The kernel gives a client's datagrams to the
 * same one of so many sockets as before, by a hash that it keeps until the
 * machine starts anew; of another number of workers it would be another. */
struct recall {
    struct workers *ws;
    struct gate *gate;
    struct instant now;
    struct kept_counts counts;
};

static bool recall_entry(void *user, uint8_t kind, struct bytes entry)
{
    struct recall *r = user;
    if (kind != KEPT_WORKER)
        return r->gate && gate_recall(r->gate, kind, entry, r->now, &r->counts);
    if (entry.n != 2 || entry.p[1] != workers_size(r->ws) || entry.p[0] >= entry.p[1])
        return false;
    r->gate = worker_gate(workers_at(r->ws, entry.p[0]));
    return true;
}

static const char *recall_all(struct workers *ws, struct sealed_reader *file,
                              struct kept_counts *counts)
{
    struct recall r = {.ws = ws, .now = loop_now(worker_loop(workers_first(ws)))};
    bool ok = sealed_each(file, recall_entry, &r);
    for (unsigned i = 0; !ok && i < workers_size(ws); i++)
        gate_close_all(worker_gate(workers_at(ws, i)), r.now);
    *counts = r.counts;
    return ok ? NULL : "it was saved by another version, or by another number of workers";
}

void restart_load(const struct config *c, struct store *store, struct workers *ws)
{
    uint8_t of_manager[SEALED_KEY], of_file[SEALED_KEY];
    struct sealed_reader *r = NULL;
    const char *why = NULL;
    struct kept_counts counts = {0, 0};
    if (!c->state)
        return;
    /* Both go, also where the other way, or none, is in force now. */
    bool manager = take_manager(of_manager), file = take_file(c->state, of_file);
    const uint8_t *key = c->restart == RESTART_MANAGER && manager ? of_manager
                         : c->restart == RESTART_STATE && file    ? of_file
                                                                  : NULL;
    if (key) {
        why = open_file(c, store, key, loop_now(worker_loop(workers_first(ws))), &r);
        if (!why)
            why = recall_all(ws, r, &counts);
    } else if (sealed_remove(c->state, FILE_NAME)) {
        why = "their key is not there";
    }
    crypto_wipe(of_manager, sizeof of_manager);
    crypto_wipe(of_file, sizeof of_file);
    sealed_close(r);
    if (why)
        log_event(LOG_LEVEL_WARN, "associations-lost", "reason", why, NULL);
    else if (key)
        log_event(LOG_LEVEL_INFO, "associations-restored", "count", LOG_U(counts.taken), "dropped",
                  LOG_U(counts.dropped), NULL);
}
