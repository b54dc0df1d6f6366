#include "key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policy/hex.h"
#include "cbor.h"
#include "jwk.h"

__attribute__((format(printf, 3, 4))) static bool complain(struct buf *diag, const char *path,
                                                           const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_put_str(diag, path);
    buf_put_str(diag, ": error: ");
    buf_put_str(diag, text);
    buf_put_u8(diag, '\n');
    return false;
}

bool key_file_path(const char *dir, const char *name, char *out, size_t cap)
{
    int n = !dir || name[0] == '/' ? snprintf(out, cap, "%s", name)
                                   : snprintf(out, cap, "%s/%s", dir, name);
    return n > 0 && (size_t)n < cap;
}

/* ---- the file ---- */

struct file {
    const char *path;
    mode_t mode;
    uint8_t *p;
    size_t n;
};

static void file_free(struct file *f)
{
    if (f->p)
        crypto_wipe(f->p, f->n);
    free(f->p);
    f->p = NULL;
}

/* All questions go to the open file, not to its name. O_NONBLOCK: a FIFO
 * must not hold us up. */
static bool file_open(const char *path, struct file *out, struct buf *diag)
{
    struct file f = {.path = path};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return complain(diag, path, "cannot open: %s", strerror(errno));
    bool ok = false;
    if (fstat(fd, &st) != 0)
        complain(diag, path, "cannot look at it: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        complain(diag, path, "is not a regular file");
    else if (st.st_size == 0)
        complain(diag, path, "is empty");
    else if (st.st_size > KEY_FILE_MAX)
        complain(diag, path, "is larger than %d bytes", KEY_FILE_MAX);
    else if (!(f.p = malloc((size_t)st.st_size)))
        complain(diag, path, "out of memory");
    else
        ok = true;
    f.mode = st.st_mode & 07777;
    while (ok && f.n < (size_t)st.st_size) {
        ssize_t got = read(fd, f.p + f.n, (size_t)st.st_size - f.n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            ok = complain(diag, path, "cannot read: %s", got ? strerror(errno) : "it shrank");
        else
            f.n += (size_t)got;
    }
    close(fd);
    if (ok && (f.mode & S_IWOTH))
        ok = complain(diag, path, "mode %04o lets everybody change it; chmod o-w %s",
                      (unsigned)f.mode, path);
    if (!ok)
        file_free(&f);
    else
        *out = f;
    return ok;
}

static bool is_private(const struct file *f, struct buf *diag)
{
    if ((f->mode & (S_IRWXO | S_IWGRP | S_IXGRP)) == 0)
        return true;
    return complain(diag, f->path, "holds a secret and has mode %04o; chmod 0640 %s",
                    (unsigned)f->mode, f->path);
}

/* ---- hexadecimal text ---- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* One key on one line; comments and empty lines around it. */
static bool read_hex(const struct file *f, uint8_t *out, size_t cap, size_t *n, struct buf *diag)
{
    size_t digits = 0, i = 0;
    bool over = false;
    while (i < f->n) {
        uint8_t c = f->p[i];
        if (c == '#') {
            while (i < f->n && f->p[i] != '\n')
                i++;
            over = digits != 0;
        } else if (is_space(c)) {
            over = digits != 0;
            i++;
        } else {
            int v = hex_digit(c);
            if (v < 0)
                return complain(diag, f->path, "byte %zu is no hexadecimal digit", i + 1);
            if (over)
                return complain(diag, f->path, "holds more than one key");
            if (digits / 2 >= cap)
                return complain(diag, f->path, "the key is longer than %zu bytes", cap);
            uint8_t *to = &out[digits / 2];
            *to = (uint8_t)(digits % 2 ? *to << 4 | v : v);
            digits++;
            i++;
        }
    }
    if (digits % 2)
        return complain(diag, f->path, "has an odd number of hexadecimal digits");
    if (digits == 0)
        return complain(diag, f->path, "holds no key");
    *n = digits / 2;
    return true;
}

bool key_file_read_psk(const char *dir, const char *name, uint8_t out[TOKEN_KEY_MAX], size_t *n,
                       struct buf *diag)
{
    char path[PATH_MAX];
    struct file f;
    uint8_t key[TOKEN_KEY_MAX];
    size_t key_n = 0;
    if (!key_file_path(dir, name, path, sizeof path))
        return complain(diag, name, "the path is too long");
    if (!file_open(path, &f, diag))
        return false;
    bool ok = is_private(&f, diag) && read_hex(&f, key, sizeof key, &key_n, diag);
    if (ok && key_n < KEY_PSK_MIN)
        ok = complain(diag, path,
                      "the key has %zu bytes; at least %d are needed (openssl rand "
                      "-hex 16)",
                      key_n, KEY_PSK_MIN);
    if (ok) {
        memcpy(out, key, key_n);
        *n = key_n;
    }
    crypto_wipe(key, sizeof key);
    file_free(&f);
    return ok;
}

/* ---- keys ---- */

struct reading {
    const struct file *f;
    enum key_file_use use;
    struct key *out;
    size_t max, n;
    struct buf *diag;
};

static struct key *room(struct reading *r)
{
    if (r->n < r->max) {
        r->out[r->n] = (struct key){.authority = -1};
        return &r->out[r->n++];
    }
    complain(r->diag, r->f->path, "holds more than %zu keys", r->max);
    return NULL;
}

static bool read_cose(struct reading *r)
{
    struct bytes all = bytes_of(r->f->p, r->f->n);
    enum cbor_err form = cbor_check(all);
    struct cbor c = cbor_on(all);
    size_t n = 1;
    if (form != CBOR_OK)
        return complain(r->diag, r->f->path,
                        form == CBOR_LIMIT
                            ? "is nested too deep or holds too many items"
                            : "is neither PEM, hexadecimal text, nor well-formed CBOR");
    if (cbor_peek(&c) == CBOR_ARRAY)
        n = cbor_take_array(&c);
    else if (cbor_peek(&c) != CBOR_MAP)
        return complain(r->diag, r->f->path, "is CBOR, but no COSE_Key and no COSE_KeySet");
    if (n == 0)
        return complain(r->diag, r->f->path, "holds no key");
    for (size_t i = 0; i < n; i++) {
        const char *why = NULL;
        struct key *k = room(r);
        if (!k)
            return false;
        if (!key_from_cose(cbor_skip(&c), k, &why))
            return complain(r->diag, r->f->path, "key %zu: %s", i + 1, why);
    }
    return true;
}

static const uint8_t *find(struct bytes in, const char *what)
{
    return in.n ? memmem(in.p, in.n, what, strlen(what)) : NULL;
}

/* From "-----BEGIN " to behind the END line of the same name. */
static bool pem_block(struct bytes *rest, struct bytes *block, struct bytes *name)
{
    static const char begin[] = "-----BEGIN ", end[] = "-----END ", dashes[] = "-----";
    const uint8_t *limit = rest->p + rest->n;
    const uint8_t *from = find(*rest, begin);
    if (!from)
        return false;
    const uint8_t *label = from + sizeof begin - 1;
    const uint8_t *label_end = find(bytes_of(label, (size_t)(limit - label)), dashes);
    if (!label_end)
        return false;
    const uint8_t *last = find(bytes_of(label_end, (size_t)(limit - label_end)), end);
    if (!last)
        return false;
    last += sizeof end - 1;
    const uint8_t *stop = find(bytes_of(last, (size_t)(limit - last)), dashes);
    if (!stop)
        return false;
    stop += sizeof dashes - 1;
    *name = bytes_of(label, (size_t)(label_end - label));
    *block = bytes_of(from, (size_t)(stop - from));
    *rest = bytes_of(stop, (size_t)(limit - stop));
    return true;
}

static bool read_pem_private(struct reading *r, struct bytes block)
{
    if (r->use == KEY_FILE_CHECK)
        return complain(r->diag, r->f->path,
                        "holds a private key; checking tokens takes the public one only: "
                        "openssl pkey -in %s -pubout",
                        r->f->path);
    struct key *k = room(r);
    if (!k)
        return false;
    k->has_secret = true;
    k->kind = KEY_RSA;
    if (crypto_rsa_from_private(block, &k->rsa))
        return true;
    if (!crypto_ec_from_private(block, &k->ec, k->secret))
        return complain(r->diag, r->f->path,
                        "is no unencrypted private key on P-256, P-384 or P-521, or of RSA with "
                        "2048 to 4096 bits");
    k->kind = KEY_EC;
    k->secret_n = k->ec.n;
    return true;
}

static bool read_pem(struct reading *r)
{
    struct bytes rest = bytes_of(r->f->p, r->f->n), block, name;
    while (pem_block(&rest, &block, &name)) {
        if (bytes_equal_str(name, "EC PARAMETERS"))
            continue; /* what `openssl ecparam -genkey` writes before the key */
        if (bytes_equal_str(name, "PRIVATE KEY") || bytes_equal_str(name, "EC PRIVATE KEY") ||
            bytes_equal_str(name, "RSA PRIVATE KEY")) {
            if (!read_pem_private(r, block))
                return false;
            continue;
        }
        if (!bytes_equal_str(name, "PUBLIC KEY"))
            return complain(r->diag, r->f->path,
                            "a PEM block \"%.*s\" is of no use here; PUBLIC KEY is wanted",
                            (int)(name.n < 40 ? name.n : 40), (const char *)name.p);
        struct key *k = room(r);
        if (!k)
            return false;
        k->kind = KEY_EC;
        if (!crypto_ec_from_pem(block, &k->ec)) {
            k->kind = KEY_RSA;
            if (!crypto_rsa_from_pem(block, &k->rsa))
                return complain(r->diag, r->f->path,
                                "key %zu is no public key on P-256, P-384 or P-521, nor of RSA "
                                "with 2048 to 4096 bits (others are read as a JWK)",
                                r->n);
        }
    }
    if (find(rest, "-----"))
        return complain(r->diag, r->f->path, "a PEM block does not end");
    return r->n > 0 || complain(r->diag, r->f->path, "holds no PEM block");
}

static bool read_jwk(struct reading *r)
{
    const char *why = NULL;
    size_t which;
    if (jwk_read_set(bytes_of(r->f->p, r->f->n), JWK_SET_FILE, r->out, r->max, &r->n, &why, &which))
        return true;
    return which ? complain(r->diag, r->f->path, "key %zu: %s", which, why)
                 : complain(r->diag, r->f->path, "%s", why);
}

static bool read_text(struct reading *r)
{
    struct key *k = room(r);
    if (!k || !read_hex(r->f, k->secret, sizeof k->secret, &k->secret_n, r->diag))
        return false;
    if (k->secret_n < KEY_SECRET_MIN)
        return complain(r->diag, r->f->path, "the key has %zu bytes; at least %d are needed",
                        k->secret_n, KEY_SECRET_MIN);
    k->kind = KEY_SECRET;
    k->has_secret = true;
    return true;
}

static bool read_all(struct reading *r)
{
    uint8_t first = r->f->p[0];
    if (find(bytes_of(r->f->p, r->f->n), "-----BEGIN ") && first < 0x80)
        return read_pem(r);
    if (first == '{')
        return read_jwk(r);
    /* CBOR arrays and maps begin at 0x80, text is below it. */
    return first >= 0x80 ? read_cose(r) : read_text(r);
}

bool key_file_read(const char *path, enum key_file_use use, struct key *out, size_t max, size_t *n,
                   struct buf *diag)
{
    struct file f;
    if (!file_open(path, &f, diag))
        return false;
    struct reading r = {.f = &f, .use = use, .out = out, .max = max, .diag = diag};
    bool ok = read_all(&r);
    bool secret = false;
    for (size_t i = 0; i < r.n; i++)
        secret = secret || out[i].has_secret;
    if (ok && secret)
        ok = is_private(&f, diag);
    for (size_t i = 0; !ok && i < r.n; i++)
        key_clear(&out[i]);
    if (ok)
        *n = r.n;
    file_free(&f);
    return ok;
}

bool key_file_create(const char *path, const struct key *keys, size_t n, bool secret,
                     struct buf *diag)
{
    size_t cap = 16 + n * KEY_COSE_MAX;
    uint8_t *text = malloc(cap);
    if (!text)
        return complain(diag, path, "out of memory");
    struct buf b = buf_on(text, cap);
    cbor_put_array(&b, n);
    for (size_t i = 0; i < n; i++)
        key_put_cose(&keys[i], secret, &b);
    bool ok = !b.full || complain(diag, path, "a key is too large");
    int fd = -1;
    if (ok) {
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0640 : 0644);
        ok = fd >= 0 || complain(diag, path, "cannot create: %s", strerror(errno));
    }
    for (size_t at = 0; ok && at < b.n;) {
        ssize_t got = write(fd, b.p + at, b.n - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            ok = complain(diag, path, "cannot write: %s", strerror(errno));
        else
            at += (size_t)got;
    }
    if (ok && fsync(fd) != 0)
        ok = complain(diag, path, "cannot write: %s", strerror(errno));
    if (fd >= 0) {
        close(fd);
        if (!ok)
            unlink(path); /* half a key file is none */
    }
    crypto_wipe(text, cap);
    free(text);
    return ok;
}
