#include "config.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../pep/crypto.h"
#include "../policy/yaml.h"
#include "file.h"
#include "url.h"

enum {
    COAP_PORT = 5683, /* RFC 7252 12.6, 12.7 */
    COAPS_PORT = 5684,
    NAME_MAX_BYTES = 63,
    HINT_MAX = 128, /* RFC 4279 5.3 */
    WINDOW_MAX = 1024,
    QUEUE_MAX = 65535,
    IDLE_MIN_S = 10,
    IDLE_MAX_S = 366 * 86400,
    SUBJECT_TO_0640 = 0037, /* bits that a secret's file must not have */
};

/* The configuration with what it points into. */
struct loaded {
    struct config c; /* first: config_free() is given this */
    struct arena arena;
    struct config_device *devices;
    const char *shown;  /* the file as the operator named it, for diagnostics */
    const char *policy; /* the policy's file as the configuration names it */
};

struct reader {
    struct yaml *y;
    struct loaded *l;
};

/* ---- files ---- */

static const char *join(struct arena *a, const char *dir, const char *file)
{
    if (file[0] == '/')
        return file;
    size_t n = strlen(dir), m = strlen(file);
    char *out = arena_alloc(a, n + m + 2);
    if (!out)
        return "";
    memcpy(out, dir, n);
    out[n] = '/';
    memcpy(out + n + 1, file, m);
    return out;
}

static bool read_path(struct reader *r, const struct yaml_node *n, const char **out)
{
    const char *text;
    if (!yaml_text(r->y, n, &r->l->arena, &text))
        return false;
    *out = join(&r->l->arena, r->l->c.dir, text);
    return true;
}

/* A file that must be there and readable; with `secret`, by few. */
static const char *read_file(struct reader *r, const struct yaml_node *n, bool secret)
{
    const char *path;
    struct stat st;
    if (!n || !read_path(r, n, &path))
        return NULL;
    if (stat(path, &st) != 0)
        yaml_error(r->y, n, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        yaml_error(r->y, n, "%s: not a file", path);
    else if (access(path, R_OK) != 0)
        yaml_error(r->y, n, "%s: %s", path, strerror(errno));
    else if (secret && (st.st_mode & SUBJECT_TO_0640))
        yaml_error(r->y, n, "%s: mode %04o lets others at a secret; allow 0640 at most", path,
                   (unsigned)(st.st_mode & 07777));
    return path;
}

static bool check_dir(struct reader *r, const struct yaml_node *n, const char *dir)
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

/* A file that is to be made or written in a directory that is there. */
static const char *read_place(struct reader *r, const struct yaml_node *n)
{
    const char *path;
    struct stat st;
    if (!n || !read_path(r, n, &path))
        return NULL;
    const char *slash = strrchr(path, '/');
    const char *dir =
        slash == path ? "/" : arena_text(&r->l->arena, bytes_of(path, (size_t)(slash - path)));
    if (slash[1] == '\0')
        yaml_error(r->y, n, "%s: a file's name is missing", path);
    else if (stat(path, &st) != 0)
        (void)(dir && check_dir(r, n, dir));
    else if (S_ISDIR(st.st_mode))
        yaml_error(r->y, n, "%s: it is a directory", path);
    else if (access(path, W_OK) != 0)
        yaml_error(r->y, n, "%s: %s", path, strerror(errno));
    return path;
}

/* ---- small values ---- */

/* "30s", "5m", "24h", "7d". */
static bool read_duration(struct reader *r, const struct yaml_node *n, uint64_t min_s,
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

static void read_size(struct reader *r, const struct yaml_node *n, int64_t max, size_t *out)
{
    int64_t v;
    if (n && yaml_int(r->y, n, 1, max, &v))
        *out = (size_t)v;
}

static bool is_name(const char *s)
{
    if (strlen(s) > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; s[i]; i++) {
        bool word = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                    (s[i] >= '0' && s[i] <= '9');
        if (!word && (i == 0 || !strchr("._-", s[i])))
            return false;
    }
    return true;
}

/* ---- listen ---- */

static bool is_v6_wildcard(const struct peer *p)
{
    return p->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&p->in6.sin6_addr);
}

/* Resolves into a zeroed peer: it is compared byte for byte. */
static const char *resolve(const char *host, int port, bool numeric, struct peer *out)
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

static void read_listener(struct reader *r, const struct yaml_node *n, struct config_listener *out)
{
    struct config *c = &r->l->c;
    struct url url;
    const char *why;
    if (!yaml_text(r->y, n, &r->l->arena, &out->text))
        return;
    if (!url_parse(bytes_str(out->text), &url, &why)) {
        yaml_error(r->y, n, "%s", why);
        return;
    }
    out->secure = bytes_equal_str(url.scheme, "coaps");
    if (!out->secure && !bytes_equal_str(url.scheme, "coap")) {
        yaml_error(r->y, n,
                   "'%.*s' listeners are not supported by this version; coaps and coap are",
                   (int)url.scheme.n, (const char *)url.scheme.p);
        return;
    }
    if (url.path.n > 0) {
        yaml_error(r->y, n, "a listener has no path");
        return;
    }
    int port = url.port > 0 ? url.port : out->secure ? COAPS_PORT : COAP_PORT;
    if (resolve(url.host, port, true, &out->local)) {
        yaml_error(r->y, n, "'%s' is no address; a listener needs one, such as [::] or 192.0.2.1",
                   url.host);
        return;
    }
    for (size_t i = 0; i < c->n_listeners; i++) {
        struct config_listener *other = &c->listeners[i];
        if (peer_equal(&other->local, &out->local))
            yaml_error(r->y, n, "the same address and port as %s", other->text);
    }
    c->n_listeners++;
}

static void read_listeners(struct reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    struct yaml_seq seq;
    if (!yaml_seq_open_or_one(r->y, n, &seq))
        return;
    if (seq.left == 0)
        yaml_error(r->y, n, "at least one address to listen on is needed");
    for (const struct yaml_node *at; (at = yaml_seq_next(&seq));) {
        if (c->n_listeners == CONFIG_LISTENERS_MAX) {
            yaml_error(r->y, at, "more than %d listeners", CONFIG_LISTENERS_MAX);
            return;
        }
        read_listener(r, at, &c->listeners[c->n_listeners]);
    }
    /* A [::] socket would take the IPv4 port too, and the second bind fail. */
    for (size_t i = 0; i < c->n_listeners; i++)
        for (size_t k = 0; k < c->n_listeners; k++) {
            const struct peer *a = &c->listeners[i].local, *b = &c->listeners[k].local;
            if (is_v6_wildcard(a) && b->sa.sa_family == AF_INET &&
                a->in6.sin6_port == b->in4.sin_port)
                c->listeners[i].v6only = true;
        }
}

/* ---- the other keys of the top ---- */

static void read_audience(struct reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    struct yaml_seq seq;
    if (!n || !yaml_seq_open_or_one(r->y, n, &seq))
        return;
    if (seq.left > CONFIG_AUDIENCE_MAX) {
        yaml_error(r->y, n, "more than %d audiences", CONFIG_AUDIENCE_MAX);
        return;
    }
    const char **names = arena_array(&r->l->arena, seq.left + 1, sizeof *names);
    for (const struct yaml_node *at; names && (at = yaml_seq_next(&seq));) {
        if (!yaml_text(r->y, at, &r->l->arena, &names[c->n_audience]))
            continue;
        for (size_t i = 0; i < c->n_audience; i++)
            if (strcmp(names[i], names[c->n_audience]) == 0)
                yaml_error(r->y, at, "'%s' is in the list already", names[i]);
        c->n_audience++;
    }
    c->audience = names;
}

static void read_identity(struct reader *r, const struct yaml_node *n)
{
    struct dtls_config *d = &r->l->c.dtls;
    struct yaml_map m;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *certificate = yaml_map_get(&m, "certificate");
    const struct yaml_node *key = yaml_map_get(&m, "key");
    const struct yaml_node *ca = yaml_map_get(&m, "client-ca");
    const struct yaml_node *hint = yaml_map_get(&m, "psk-hint");
    yaml_map_close(&m);
    if (!certificate != !key)
        yaml_error(r->y, n, "'certificate' and 'key' go together; '%s' is missing",
                   key ? "certificate" : "key");
    if (ca && !certificate)
        yaml_error(r->y, ca, "'client-ca' needs a certificate of the gateway's own");
    d->certificate = read_file(r, certificate, false);
    d->key = read_file(r, key, true);
    d->client_ca = read_file(r, ca, false);
    if (hint && yaml_text(r->y, hint, &r->l->arena, &d->psk_hint) && strlen(d->psk_hint) > HINT_MAX)
        yaml_error(r->y, hint, "longer than %d bytes", HINT_MAX);
}

static void read_workers(struct reader *r, const struct yaml_node *n)
{
    int64_t v;
    if (!n || bytes_equal_str(yaml_raw(n), "auto"))
        return;
    if (yaml_int(r->y, n, 1, 1024, &v) && v > 1)
        yaml_error(r->y, n, "more than one worker is not supported by this version");
}

static void read_audit(struct reader *r, const struct yaml_node *n)
{
    static const char *const permits[] = {"all", "none"};
    struct config *c = &r->l->c;
    struct yaml_map m;
    int word;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *file = yaml_map_need(&m, "file");
    const struct yaml_node *which = yaml_map_get(&m, "permits");
    const struct yaml_node *required = yaml_map_get(&m, "required");
    yaml_map_close(&m);
    c->audit = read_place(r, file);
    if (which && yaml_enum(r->y, which, permits, 2, &word))
        c->audit_permits = (enum audit_permits)word;
    if (required)
        (void)yaml_bool(r->y, required, &c->audit_required);
}

static void read_control(struct reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    c->control = read_place(r, n);
    if (c->control && strlen(c->control) >= sizeof((struct sockaddr_un *)0)->sun_path)
        yaml_error(r->y, n, "%s: longer than a socket's path may be (%zu bytes)", c->control,
                   sizeof((struct sockaddr_un *)0)->sun_path - 1);
}

/* The number of the Access-Token option was never assigned. One of ours must
 * be elective and safe to forward (ace-oauth-authz-07 8.9), and no other's. */
static void read_access_token_option(struct reader *r, const struct yaml_node *n)
{
    static const uint16_t known[] = {
        OPT_ETAG,
        OPT_LOCATION_PATH,
        OPT_CONTENT_FORMAT,
        OPT_MAX_AGE,
        OPT_HOP_LIMIT,
        OPT_LOCATION_QUERY,
        OPT_SIZE2,
        OPT_SIZE1,
        OPT_ECHO,
        OPT_NO_RESPONSE,
        OPT_REQUEST_TAG,
        128,
        132,
        136,
        140, /* reserved by RFC 7252 12.2 */
    };
    int64_t v;
    if (!n || !yaml_int(r->y, n, 1, 65535, &v))
        return;
    if (v & 1)
        yaml_error(r->y, n, "an odd number is critical; the Access-Token option must be elective");
    else if (v & 2)
        yaml_error(r->y, n, "%d is unsafe to forward; the Access-Token option must be safe",
                   (int)v);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (v == known[i])
            yaml_error(r->y, n, "%d is another CoAP option's number", (int)v);
    r->l->c.access_token_option = (uint16_t)v;
}

static void read_limits(struct reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    struct yaml_map m;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    read_size(r, yaml_map_get(&m, "associations"), 1000000, &c->max_assocs);
    read_size(r, yaml_map_get(&m, "handshakes"), 65536, &c->max_handshakes);
    read_size(r, yaml_map_get(&m, "exchanges"), 1000000, &c->max_exchanges);
    read_size(r, yaml_map_get(&m, "grants"), 1000000, &c->max_grants);
    (void)read_duration(r, yaml_map_get(&m, "idle"), IDLE_MIN_S, IDLE_MAX_S, &c->idle_s);
    yaml_map_close(&m);
}

/* ---- devices ---- */

/* Segments of a raw path; NULL with n 0 when there are none or on error. */
static const struct bytes *read_segments(struct reader *r, const struct yaml_node *n,
                                         struct bytes path, size_t *count)
{
    uint8_t text[URL_SEGMENT_MAX];
    size_t len, used = 0;
    const char *why;
    struct bytes *out = arena_array(&r->l->arena, POLICY_PATH_SEGMENTS_MAX, sizeof *out);
    while (out && url_next_segment(&path, text, &len, &why)) {
        if (used == POLICY_PATH_SEGMENTS_MAX) {
            why = "more than 32 segments";
            break;
        }
        out[used++] = bytes_str(arena_text(&r->l->arena, bytes_of(text, len)));
    }
    if (!out || why) {
        if (out)
            yaml_error(r->y, n, "%s", why);
        return NULL;
    }
    *count = used;
    return out;
}

static void read_prefix(struct reader *r, const struct yaml_node *n, struct config_device *d)
{
    struct device_config *u = &d->upstream;
    const char *text;
    if (!yaml_text(r->y, n, &r->l->arena, &text))
        return;
    if (text[0] != '/' || text[1] == '\0') {
        yaml_error(r->y, n, "expected a path below /, such as /lamp");
        return;
    }
    /* As in policy patterns: segments stand as themselves, nothing is
     * decoded, and what would be a pattern there is no name here. */
    if (strpbrk(text, "*%?#")) {
        yaml_error(r->y, n, "a device's path holds none of * %% ? #");
        return;
    }
    u->prefix = read_segments(r, n, bytes_str(text), &u->n_prefix);
    if (u->n_prefix > 0 && (bytes_equal_str(u->prefix[0], "authz-info") ||
                            bytes_equal_str(u->prefix[0], ".well-known")))
        yaml_error(r->y, n, "%s is the gateway's own", text);
}

static void read_host(struct reader *r, const struct yaml_node *n, struct config_device *d)
{
    const char *text, *why;
    char probe[URL_HOST_MAX + 16];
    struct url url;
    if (!yaml_text(r->y, n, &r->l->arena, &text))
        return;
    /* Uri-Host is normalised to lower case (RFC 7252 6.4). */
    int len = snprintf(probe, sizeof probe, "coap://%s", text);
    if (len < 0 || (size_t)len >= sizeof probe || !url_parse(bytes_str(probe), &url, &why) ||
        url.port > 0 || url.path.n > 0) {
        yaml_error(r->y, n, "expected a host name such as meter.home");
        return;
    }
    d->upstream.host = arena_text(&r->l->arena, bytes_str(url.host));
}

static void read_url(struct reader *r, const struct yaml_node *n, struct config_device *d)
{
    struct device_config *u = &d->upstream;
    struct url url;
    const char *why;
    if (!n || !yaml_text(r->y, n, &r->l->arena, &d->url))
        return;
    if (!url_parse(bytes_str(d->url), &url, &why)) {
        yaml_error(r->y, n, "%s", why);
        return;
    }
    if (!bytes_equal_str(url.scheme, "coap")) {
        yaml_error(r->y, n, "'%.*s' to a device is not supported by this version; coap is",
                   (int)url.scheme.n, (const char *)url.scheme.p);
        return;
    }
    why = resolve(url.host, url.port > 0 ? url.port : COAP_PORT, url.is_v6_literal, &u->to);
    if (why) {
        yaml_error(r->y, n, "cannot resolve '%s': %s", url.host, why);
        return;
    }
    const uint8_t *any = u->to.sa.sa_family == AF_INET6 ? u->to.in6.sin6_addr.s6_addr
                                                        : (const uint8_t *)&u->to.in4.sin_addr;
    bool multicast = u->to.sa.sa_family == AF_INET6 ? any[0] == 0xff : (any[0] & 0xf0) == 0xe0;
    if (multicast) {
        /* One request would have many answers (RFC 7252 8.2). */
        yaml_error(r->y, n, "'%s' is a multicast address", url.host);
        return;
    }
    if (url.path.n > 1)
        u->base = read_segments(r, n, url.path, &u->n_base);
}

static void read_device(struct reader *r, const struct yaml_node *n, struct config_device *d)
{
    struct yaml_map m;
    int64_t v;
    d->line = yaml_line(r->y, n);
    d->upstream.window = 1; /* NSTART, RFC 7252 4.7 */
    d->upstream.queue = DEVICE_QUEUE;
    if (!yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *name = yaml_map_need(&m, "name");
    const struct yaml_node *path = yaml_map_get(&m, "path");
    const struct yaml_node *host = yaml_map_get(&m, "host");
    const struct yaml_node *url = yaml_map_need(&m, "url");
    const struct yaml_node *window = yaml_map_get(&m, "window");
    const struct yaml_node *queue = yaml_map_get(&m, "queue");
    const struct yaml_node *audience = yaml_map_get(&m, "audience");
    const struct yaml_node *authority = yaml_map_get(&m, "authority");
    yaml_map_refuse(&m, "psk");
    yaml_map_refuse(&m, "dialect");
    yaml_map_refuse(&m, "onem2m-options");
    yaml_map_close(&m);

    if (name && yaml_text(r->y, name, &r->l->arena, &d->upstream.name) &&
        !is_name(d->upstream.name))
        yaml_error(r->y, name,
                   "a device's name is at most %d letters, digits, '.', '_' and '-', and begins "
                   "with a letter or digit",
                   NAME_MAX_BYTES);
    if (!path == !host)
        yaml_error(r->y, n,
                   path ? "'path' and 'host' exclude each other"
                        : "one of 'path' and 'host' is needed");
    else if (path)
        read_prefix(r, path, d);
    else
        read_host(r, host, d);
    read_url(r, url, d);
    if (window && yaml_int(r->y, window, 1, WINDOW_MAX, &v))
        d->upstream.window = (unsigned)v;
    if (queue && yaml_int(r->y, queue, 0, QUEUE_MAX, &v))
        d->upstream.queue = (unsigned)v;
    if (audience && yaml_text(r->y, audience, &r->l->arena, &d->audience))
        for (size_t i = 0; i < r->l->c.n_audience; i++)
            if (strcmp(r->l->c.audience[i], d->audience) == 0)
                yaml_error(r->y, audience,
                           "'%s' names the gateway as a whole: a token for this device would "
                           "count for all of them",
                           d->audience);
    if (authority)
        (void)yaml_text(r->y, authority, &r->l->arena, &d->authority);
    d->authority_line = yaml_line(r->y, authority);
}

static bool overlaps(const struct device_config *a, const struct device_config *b)
{
    size_t n = a->n_prefix < b->n_prefix ? a->n_prefix : b->n_prefix;
    for (size_t i = 0; i < n; i++)
        if (!bytes_equal(a->prefix[i], b->prefix[i]))
            return false;
    return n > 0;
}

/* A device found by host has its name before its paths when they are judged
 * (request.h); a path-routed device below the same word would be judged by
 * the same rules. */
static bool shadows(const struct device_config *by_host, const struct device_config *by_path)
{
    return by_host->host && by_path->n_prefix > 0 &&
           bytes_equal_str(by_path->prefix[0], by_host->name);
}

static void check_pair(struct reader *r, const struct yaml_node *n, const struct config_device *d,
                       const struct config_device *before)
{
    const struct device_config *a = &d->upstream, *b = &before->upstream;
    if (!a->name || !b->name)
        return;
    if (strcmp(a->name, b->name) == 0)
        yaml_error(r->y, n, "a device of the name '%s' is on line %u already", a->name,
                   before->line);
    else if (a->host && b->host && strcmp(a->host, b->host) == 0)
        yaml_error(r->y, n, "device '%s' has the same host as '%s' on line %u", a->name, b->name,
                   before->line);
    else if (overlaps(a, b))
        yaml_error(r->y, n, "the path of device '%s' overlaps that of '%s' on line %u", a->name,
                   b->name, before->line);
    else if (shadows(a, b) || shadows(b, a))
        yaml_error(r->y, n,
                   "'%s' is found by host, so rules see its paths below /%s, which is the path of "
                   "'%s'; rename one (line %u)",
                   shadows(a, b) ? a->name : b->name, shadows(a, b) ? a->name : b->name,
                   shadows(a, b) ? b->name : a->name, before->line);
}

static void read_devices(struct reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    struct yaml_seq seq;
    if (!n || !yaml_seq_open(r->y, n, &seq))
        return;
    if (seq.left == 0)
        yaml_error(r->y, n, "at least one device is needed");
    if (seq.left > CONFIG_DEVICES_MAX) {
        yaml_error(r->y, n, "more than %d devices", CONFIG_DEVICES_MAX);
        return;
    }
    r->l->devices = arena_array(&r->l->arena, seq.left, sizeof *r->l->devices);
    for (const struct yaml_node *at; r->l->devices && (at = yaml_seq_next(&seq));) {
        struct config_device *d = &r->l->devices[c->n_devices];
        read_device(r, at, d);
        if (d->upstream.host && d->upstream.name && strcmp(d->upstream.name, "authz-info") == 0)
            yaml_error(r->y, at, "/authz-info is the gateway's own");
        for (size_t i = 0; i < c->n_devices; i++)
            check_pair(r, at, d, &r->l->devices[i]);
        c->n_devices++;
    }
    c->devices = r->l->devices;
}

/* ---- the whole ---- */

static void read_top(struct reader *r)
{
    struct config *c = &r->l->c;
    struct yaml_map m;
    if (!yaml_map_open(r->y, yaml_root(r->y), &m))
        return;
    read_listeners(r, yaml_map_need(&m, "listen"));
    read_audience(r, yaml_map_get(&m, "audience"));
    read_identity(r, yaml_map_get(&m, "identity"));
    read_workers(r, yaml_map_get(&m, "workers"));
    const struct yaml_node *state = yaml_map_get(&m, "state");
    if (state && read_path(r, state, &c->state))
        (void)check_dir(r, state, c->state);
    const struct yaml_node *policy = yaml_map_need(&m, "policy");
    c->policy = read_file(r, policy, false);
    r->l->policy = arena_text(&r->l->arena, yaml_raw(policy));
    if (c->policy) {
        size_t n = (size_t)(strrchr(c->policy, '/') - c->policy);
        c->policy_dir = arena_text(&r->l->arena, bytes_of(c->policy, n ? n : 1));
    }
    read_audit(r, yaml_map_get(&m, "audit"));
    read_control(r, yaml_map_get(&m, "control"));
    read_access_token_option(r, yaml_map_get(&m, "access-token-option"));
    read_limits(r, yaml_map_get(&m, "limits"));
    read_devices(r, yaml_map_need(&m, "devices"));
    yaml_map_refuse(&m, "http");
    yaml_map_close(&m);
}

static bool place(struct loaded *l, const char *file)
{
    char cwd[4096];
    struct config *c = &l->c;
    l->shown = arena_text(&l->arena, bytes_str(file));
    if (file[0] != '/' && !getcwd(cwd, sizeof cwd))
        return false;
    c->file = file[0] == '/' ? arena_text(&l->arena, bytes_str(file)) : join(&l->arena, cwd, file);
    if (l->arena.failed)
        return false;
    size_t n = (size_t)(strrchr(c->file, '/') - c->file);
    c->dir = arena_text(&l->arena, bytes_of(c->file, n ? n : 1));
    return c->dir != NULL;
}

static void put_reason(struct buf *diag, const char *file, const char *why)
{
    buf_put_str(diag, file);
    buf_put_str(diag, ": error: ");
    buf_put_str(diag, why);
    buf_put_u8(diag, '\n');
}

struct config *config_load(const char *file, struct buf *diag)
{
    struct loaded *l = calloc(1, sizeof *l);
    uint8_t *text = NULL;
    size_t n = 0;
    const char *why = "out of memory";
    if (!l || !place(l, file) || !file_read(file, false, CONFIG_FILE_MAX, &text, &n, &why)) {
        put_reason(diag, file, why);
        config_free(l ? &l->c : NULL);
        return NULL;
    }
    l->c.workers = 1;
    l->c.access_token_option = 65000; /* experimental, elective, safe */
    l->c.max_assocs = ASSOCS;
    l->c.max_handshakes = HANDSHAKES;
    l->c.max_exchanges = EXCHANGES;
    l->c.max_grants = GRANTS;
    l->c.idle_s = ASSOC_IDLE_S;

    struct reader r = {yaml_load(file, bytes_of(text, n), diag), l};
    if (r.y)
        read_top(&r);
    bool ok = r.y && yaml_ok(r.y);
    if (ok && l->arena.failed) {
        put_reason(diag, file, "out of memory");
        ok = false;
    }
    yaml_free(r.y);
    free(text);
    if (ok)
        return &l->c;
    config_free(&l->c);
    return NULL;
}

bool config_find_control(const char *file, char **out, struct buf *diag)
{
    struct loaded l = {0};
    uint8_t *text = NULL;
    size_t n = 0;
    const char *why = "out of memory";
    struct yaml *y = NULL;
    struct yaml_map m;
    bool ok = false;
    *out = NULL;
    if (!place(&l, file) || !file_read(file, false, CONFIG_FILE_MAX, &text, &n, &why)) {
        put_reason(diag, file, why);
    } else if ((y = yaml_load(file, bytes_of(text, n), diag)) &&
               yaml_map_open(y, yaml_root(y), &m)) {
        struct reader r = {y, &l};
        const struct yaml_node *control = yaml_map_get(&m, "control");
        const char *path = NULL;
        ok = !control || (read_path(&r, control, &path) && (*out = strdup(path)));
    }
    yaml_free(y);
    free(text);
    arena_clear(&l.arena);
    return ok;
}

/* How diagnostics and records call the policy: beside the configuration as
 * the operator named it, so that an editor finds it. */
static const char *policy_title(const struct loaded *l, char *out, size_t cap)
{
    const char *slash = strrchr(l->shown, '/');
    int dir = slash && l->policy[0] != '/' ? (int)(slash - l->shown) + 1 : 0;
    (void)snprintf(out, cap, "%.*s%s", dir, l->shown, l->policy);
    return out;
}

static bool hash_hex(struct bytes text, char out[POLICY_HASH_HEX + 1])
{
    uint8_t hash[CRYPTO_SHA256];
    if (!crypto_sha256(text, hash))
        return false;
    for (size_t i = 0; i < POLICY_HASH_HEX / 2; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
    return true;
}

static bool check_authorities(const struct loaded *l, const struct policy *p, const char *title,
                              struct buf *diag)
{
    bool ok = true;
    for (size_t i = 0; i < l->c.n_devices; i++) {
        const struct config_device *d = &l->c.devices[i];
        if (!d->authority || policy_authority_find(p, bytes_str(d->authority)) >= 0)
            continue;
        char text[512];
        (void)snprintf(text, sizeof text,
                       "%s:%u: error: authority '%s' of device '%s' is not among those of %s\n",
                       l->shown, d->authority_line, d->authority, d->upstream.name, title);
        buf_put_str(diag, text);
        ok = false;
    }
    return ok;
}

struct policy *config_load_policy(const struct config *c, struct buf *diag)
{
    const struct loaded *l = (const struct loaded *)c;
    char title[1024], hash[POLICY_HASH_HEX + 1];
    uint8_t *text;
    size_t n;
    const char *why;
    (void)policy_title(l, title, sizeof title);
    if (!file_read(c->policy, false, YAML_TEXT_MAX, &text, &n, &why)) {
        put_reason(diag, title, why);
        return NULL;
    }
    struct policy *p = NULL;
    if (hash_hex(bytes_of(text, n), hash))
        p = policy_load(title, bytes_of(text, n), hash, diag);
    else
        put_reason(diag, title, "cannot be hashed");
    free(text);
    if (p && !check_authorities(l, p, title, diag)) {
        policy_unref(p);
        p = NULL;
    }
    return p;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    struct loaded *l = (struct loaded *)c;
    arena_clear(&l->arena);
    free(l);
}
