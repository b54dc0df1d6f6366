/* `devices` of postern.yaml: each by itself, then each against the others. */
#include "config_read.h"

#include <stdio.h>

#include "../policy/url.h"
#include "limits.h"

enum { NAME_MAX_BYTES = 63, WINDOW_MAX = 1024, QUEUE_MAX = 65535 };

static const char *const cache_modes[] = {
    [CACHE_NO] = "no", [CACHE_STATED] = "stated", [CACHE_YES] = "yes"};

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

const struct bytes *config_read_segments(struct config_reader *r, const struct yaml_node *n,
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

static void read_prefix(struct config_reader *r, const struct yaml_node *n, struct config_device *d)
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
    u->prefix = config_read_segments(r, n, bytes_str(text), &u->n_prefix);
    if (u->n_prefix > 0 && (bytes_equal_str(u->prefix[0], "authz-info") ||
                            bytes_equal_str(u->prefix[0], ".well-known")))
        yaml_error(r->y, n, "%s is the gateway's own", text);
}

static void read_host(struct config_reader *r, const struct yaml_node *n, struct config_device *d)
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

static void read_rate(struct config_reader *r, const struct yaml_node *n, struct config_device *d)
{
    const char *wrong = policy_rate_parse(yaml_raw(n), &d->rate);
    if (wrong) {
        yaml_error(r->y, n, "%s", wrong);
        return;
    }
    d->rate.whole = true;
    d->rate.name = d->upstream.name;
    d->rate.line = yaml_line(r->y, n);
    policy_rate_name(&d->rate, "device", bytes_str(d->upstream.name), BYTES_NONE);
}

static void read_device(struct config_reader *r, const struct yaml_node *n, struct config_device *d)
{
    struct yaml_map m;
    int64_t v;
    d->line = yaml_line(r->y, n);
    d->upstream.window = 1; /* NSTART, RFC 7252 4.7 */
    d->upstream.queue = DEVICE_QUEUE;
    d->upstream.cache = CACHE_STATED;
    if (!yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *name = yaml_map_need(&m, "name");
    const struct yaml_node *path = yaml_map_get(&m, "path");
    const struct yaml_node *host = yaml_map_get(&m, "host");
    config_read_where(r, n, &m, d);
    const struct yaml_node *window = yaml_map_get(&m, "window");
    const struct yaml_node *queue = yaml_map_get(&m, "queue");
    const struct yaml_node *cache = yaml_map_get(&m, "cache");
    const struct yaml_node *rate = yaml_map_get(&m, "rate");
    const struct yaml_node *audience = yaml_map_get(&m, "audience");
    const struct yaml_node *authority = yaml_map_get(&m, "authority");
    config_read_m2m(r, &m, cache, d);
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
    bool http = d->upstream.n_urls > 0 && device_url_is_http(&d->upstream.urls[0]);
    if (http) /* NSTART is for who has a datagram's worth of memory */
        d->upstream.window = HTTP_WINDOW;
    if (window && yaml_int(r->y, window, 1, http ? HTTP_WINDOW_MAX : WINDOW_MAX, &v))
        d->upstream.window = (unsigned)v;
    if (queue && yaml_int(r->y, queue, 0, QUEUE_MAX, &v))
        d->upstream.queue = (unsigned)v;
    int mode;
    if (cache && !d->upstream.cse &&
        yaml_enum(r->y, cache, cache_modes, sizeof cache_modes / sizeof *cache_modes, &mode))
        d->upstream.cache = (enum cache_mode)mode;
    if (rate)
        read_rate(r, rate, d);
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

static void check_pair(struct config_reader *r, const struct yaml_node *n,
                       const struct config_device *d, const struct config_device *before)
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

void config_read_devices(struct config_reader *r, const struct yaml_node *n)
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
