#include "config_read.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limits.h"

enum { LOOSER_THAN_0640 = 0037 }; /* bits that a secret's file must not have */

/* ---- files ---- */

const char *config_join(struct arena *a, const char *dir, const char *file)
{
    if (file[0] == '/')
        return file;
    size_t n = strlen(dir), m = strlen(file);
    char *out = arena_alloc(a, n + m + 2);
    if (!out)
        return "/"; /* a path all the same; the arena says the rest */
    memcpy(out, dir, n);
    out[n] = '/';
    memcpy(out + n + 1, file, m);
    return out;
}

bool config_read_path(struct config_reader *r, const struct yaml_node *n, const char **out)
{
    const char *text;
    if (!yaml_text(r->y, n, &r->l->arena, &text))
        return false;
    *out = config_join(&r->l->arena, r->l->c.dir, text);
    return true;
}

const char *config_read_file(struct config_reader *r, const struct yaml_node *n, bool secret)
{
    const char *path;
    struct stat st;
    if (!n || !config_read_path(r, n, &path))
        return NULL;
    if (stat(path, &st) != 0)
        yaml_error(r->y, n, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        yaml_error(r->y, n, "%s: not a file", path);
    else if (access(path, R_OK) != 0)
        yaml_error(r->y, n, "%s: %s", path, strerror(errno));
    else if (secret && (st.st_mode & LOOSER_THAN_0640))
        yaml_error(r->y, n, "%s: mode %04o lets others at a secret; allow 0640 at most", path,
                   (unsigned)(st.st_mode & 07777));
    return path;
}

bool config_check_dir(struct config_reader *r, const struct yaml_node *n, const char *dir)
{
    struct stat st;
    const char *why = stat(dir, &st) != 0        ? strerror(errno)
                      : !S_ISDIR(st.st_mode)     ? "not a directory"
                      : access(dir, W_OK | X_OK) ? "not writable"
                                                 : NULL;
    if (why)
        yaml_error(r->y, n, "directory %s: %s", dir, why);
    return !why;
}

/* What is written there must not be what the daemon reads. */
static bool is_read_too(const struct config *c, const struct stat *at)
{
    const char *const read[] = {c->file, c->policy};
    struct stat st;
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (read[i] && stat(read[i], &st) == 0 && st.st_dev == at->st_dev &&
            st.st_ino == at->st_ino)
            return true;
    return false;
}

const char *config_read_place(struct config_reader *r, const struct yaml_node *n)
{
    const char *path;
    struct stat st;
    if (!n || !config_read_path(r, n, &path))
        return NULL;
    const char *slash = strrchr(path, '/');
    const char *dir =
        slash == path ? "/" : arena_text(&r->l->arena, bytes_of(path, (size_t)(slash - path)));
    if (slash[1] == '\0')
        yaml_error(r->y, n, "%s: a file's name is missing", path);
    else if (stat(path, &st) != 0)
        (void)(dir && config_check_dir(r, n, dir));
    else if (S_ISDIR(st.st_mode))
        yaml_error(r->y, n, "%s: it is a directory", path);
    else if (is_read_too(&r->l->c, &st))
        yaml_error(r->y, n, "%s: it is what the gateway reads, and would be written over", path);
    else if (access(path, W_OK) != 0)
        yaml_error(r->y, n, "%s: %s", path, strerror(errno));
    return path;
}

/* ---- small values ---- */

bool config_read_duration(struct config_reader *r, const struct yaml_node *n, uint64_t min_s,
                          uint64_t max_s, uint64_t *out)
{
    if (!n)
        return false;
    struct bytes s = yaml_raw(n);
    uint64_t v = 0, unit = 0;
    size_t i = 0;
    for (; i < s.n && i < 9 && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    if (i > 0 && i + 1 == s.n)
        unit = s.p[i] == 's'   ? 1
               : s.p[i] == 'm' ? 60
               : s.p[i] == 'h' ? 3600
               : s.p[i] == 'd' ? 86400
                               : 0;
    if (unit == 0) {
        yaml_error(r->y, n, "expected a duration such as 30s, 5m, 24h or 7d");
        return false;
    }
    if (v * unit < min_s || v * unit > max_s) {
        yaml_error(r->y, n, "out of range; expected %llus to %llud", (unsigned long long)min_s,
                   (unsigned long long)max_s / 86400);
        return false;
    }
    *out = v * unit;
    return true;
}

void config_read_pause(struct config_reader *r, const struct yaml_node *n, unsigned *out_ms)
{
    struct bytes s = n ? yaml_raw(n) : BYTES_NONE;
    unsigned v = 0;
    size_t i = 0;
    if (!n)
        return;
    for (; i < s.n && i < 6 && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        v = v * 10 + (unsigned)(s.p[i] - '0');
    struct bytes unit = bytes_of(s.p + i, s.n - i);
    unsigned scale = bytes_equal_str(unit, "ms") ? 1 : bytes_equal_str(unit, "s") ? 1000 : 0;
    if (i == 0 || scale == 0)
        yaml_error(r->y, n, "expected a pause such as 200ms or 2s");
    else if (v > DEVICE_PAUSE_MAX_MS / scale)
        yaml_error(r->y, n, "out of range; expected at most %ds", DEVICE_PAUSE_MAX_MS / 1000);
    else
        *out_ms = v * scale;
}

bool config_read_bytes(struct config_reader *r, const struct yaml_node *n, uint64_t min,
                       uint64_t max, uint64_t *out)
{
    struct bytes s = yaml_raw(n);
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s.n && i < 12 && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    unsigned shift = i + 1 != s.n    ? 0
                     : s.p[i] == 'K' ? 10
                     : s.p[i] == 'M' ? 20
                     : s.p[i] == 'G' ? 30
                                     : 0;
    if (i == 0 || (i != s.n && shift == 0)) {
        yaml_error(r->y, n, "expected a size such as 256K, 64M or 1G");
        return false;
    }
    if (v > max >> shift || v << shift < min) {
        yaml_error(r->y, n, "out of range; expected %lluK to %lluG", (unsigned long long)min >> 10,
                   (unsigned long long)max >> 30);
        return false;
    }
    *out = v << shift;
    return true;
}

void config_read_size(struct config_reader *r, const struct yaml_node *n, int64_t max, size_t *out)
{
    int64_t v;
    if (n && yaml_int(r->y, n, 1, max, &v))
        *out = (size_t)v;
}

const char *config_resolve(const char *host, int port, bool numeric, struct peer *out)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_family = AF_UNSPEC}, *found;
    hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0);
    (void)snprintf(service, sizeof service, "%d", port);
    int err = getaddrinfo(host, service, &hints, &found);
    if (err)
        return err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err);
    memset(out, 0, sizeof *out);
    if (found->ai_addrlen <= sizeof out->in6) {
        memcpy(&out->sa, found->ai_addr, found->ai_addrlen);
        out->len = found->ai_addrlen;
    }
    freeaddrinfo(found);
    return out->len ? NULL : "no IPv4 or IPv6 address";
}
