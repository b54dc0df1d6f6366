#include "config_read.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../pep/crypto.h"
#include "../pep/key_file.h"
#include "../policy/url.h"
#include "file.h"
#include "crew.h"
#include "limits.h"
#include "msg.h"

enum {
    HINT_MAX = 128, /* RFC 4279 5.3 */
    IDLE_MIN_S = 10,
    IDLE_MAX_S = 366 * 86400,
    SLEEP_MIN_S = 1,
};

/* ---- listen ---- */

static bool is_v6_wildcard(const struct peer *p)
{
    return p->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&p->in6.sin6_addr);
}

static bool read_scheme(struct bytes scheme, struct config_listener *out)
{
    static const struct {
        const char *name;
        bool secure, tcp, http;
    } known[] = {{"coaps", true, false, false},
                 {"coap", false, false, false},
                 {"coaps+tcp", true, true, false},
                 {"coap+tcp", false, true, false},
                 {"http", false, true, true}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes_equal_str(scheme, known[i].name)) {
            out->secure = known[i].secure;
            out->tcp = known[i].tcp;
            out->http = known[i].http;
            return true;
        }
    return false;
}

void config_read_listener(struct config_reader *r, const struct yaml_node *n,
                          struct config_listener *out)
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
    if (!read_scheme(url.scheme, out)) {
        yaml_error(r->y, n,
                   "'%.*s' listeners are not supported; coaps, coap, coaps+tcp and coap+tcp are",
                   (int)url.scheme.n, (const char *)url.scheme.p);
        return;
    }
    if (url.path.n > 0) {
        yaml_error(r->y, n, "a listener has no path");
        return;
    }
    int port = url.port > 0  ? url.port
               : out->http   ? HTTP_PORT
               : out->secure ? COAPS_PORT
                             : COAP_PORT;
    if (config_resolve(url.host, port, true, &out->local)) {
        yaml_error(r->y, n, "'%s' is no address; a listener needs one, such as [::] or 192.0.2.1",
                   url.host);
        return;
    }
    for (size_t i = 0; i < c->n_listeners; i++) {
        struct config_listener *other = &c->listeners[i];
        if (other->tcp == out->tcp && peer_equal(&other->local, &out->local))
            yaml_error(r->y, n, "the same address and port as %s", other->text);
    }
    c->n_listeners++;
}

static void read_listeners(struct config_reader *r, const struct yaml_node *n)
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
        struct config_listener *l = &c->listeners[c->n_listeners];
        config_read_listener(r, at, l);
        if (l->http)
            yaml_error(r->y, at,
                       "a listener for http is said where a CSE notifies by it: `notify` of "
                       "its device");
    }
    /* A [::] socket would take the IPv4 port too, and the second bind fail. */
    for (size_t i = 0; i < c->n_listeners; i++)
        for (size_t k = 0; k < c->n_listeners; k++) {
            const struct peer *a = &c->listeners[i].local, *b = &c->listeners[k].local;
            if (c->listeners[i].tcp == c->listeners[k].tcp && is_v6_wildcard(a) &&
                b->sa.sa_family == AF_INET && a->in6.sin6_port == b->in4.sin_port)
                c->listeners[i].v6only = true;
        }
}

/* ---- the other keys of the top ---- */

static void read_audience(struct config_reader *r, const struct yaml_node *n)
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

static void read_identity(struct config_reader *r, const struct yaml_node *n)
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
    d->certificate = config_read_file(r, certificate, false);
    d->key = config_read_file(r, key, true);
    d->client_ca = config_read_file(r, ca, false);
    if (hint && yaml_text(r->y, hint, &r->l->arena, &d->psk_hint) && strlen(d->psk_hint) > HINT_MAX)
        yaml_error(r->y, hint, "longer than %d bytes", HINT_MAX);
}

/* One for each processor that this process may use, within reason. */
static unsigned workers_for_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > WORKERS_AUTO_MAX ? WORKERS_AUTO_MAX : (unsigned)n;
}

static void read_workers(struct config_reader *r, const struct yaml_node *n)
{
    int64_t v;
    if (n && bytes_equal_str(yaml_raw(n), "auto"))
        r->l->c.workers = workers_for_processors();
    else if (n && yaml_int(r->y, n, 1, CREW_MAX, &v))
        r->l->c.workers = (unsigned)v;
}

static void read_audit(struct config_reader *r, const struct yaml_node *n)
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
    const struct yaml_node *ship = yaml_map_get(&m, "ship");
    yaml_map_close(&m);
    c->audit = config_read_place(r, file);
    if (which && yaml_enum(r->y, which, permits, 2, &word))
        c->audit_permits = (enum audit_permits)word;
    if (required)
        (void)yaml_bool(r->y, required, &c->audit_required);
    config_read_ship(r, ship);
}

static void read_control(struct config_reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    struct stat st;
    c->control = config_read_place(r, n);
    if (c->control && stat(c->control, &st) == 0 && S_ISREG(st.st_mode))
        yaml_error(r->y, n, "%s: a file is there, and no socket", c->control);
    if (c->control && strlen(c->control) >= sizeof((struct sockaddr_un *)0)->sun_path)
        yaml_error(r->y, n, "%s: longer than a socket's path may be (%zu bytes)", c->control,
                   sizeof((struct sockaddr_un *)0)->sun_path - 1);
}

/* The number of the Access-Token option was never assigned. One of ours must
 * be elective and safe to forward (ace-oauth-authz-07 8.9), and no other's. */
static void read_access_token_option(struct config_reader *r, const struct yaml_node *n)
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
        256,
        260,
        264,
        268,
        272, /* oneM2M's, in their legacy numbering */
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

static void read_limits(struct config_reader *r, const struct yaml_node *n)
{
    struct config *c = &r->l->c;
    struct yaml_map m;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    config_read_size(r, yaml_map_get(&m, "associations"), 1000000, &c->max_assocs);
    config_read_size(r, yaml_map_get(&m, "handshakes"), 65536, &c->max_handshakes);
    config_read_size(r, yaml_map_get(&m, "connections"), 65536, &c->max_conns);
    config_read_size(r, yaml_map_get(&m, "exchanges"), 1000000, &c->max_exchanges);
    config_read_size(r, yaml_map_get(&m, "grants"), 1000000, &c->max_grants);
    config_read_size(r, yaml_map_get(&m, "awake"), 1000000, &c->max_awake);
    (void)config_read_duration(r, yaml_map_get(&m, "sleep"), SLEEP_MIN_S, IDLE_MAX_S, &c->sleep_s);
    config_read_size(r, yaml_map_get(&m, "rates"), 10000000, &c->max_rates);
    (void)config_read_duration(r, yaml_map_get(&m, "idle"), IDLE_MIN_S, IDLE_MAX_S, &c->idle_s);
    const struct yaml_node *cache = yaml_map_get(&m, "cache");
    if (cache)
        (void)config_read_bytes(r, cache, CACHE_BYTES_MIN, CACHE_BYTES_MAX, &c->cache_bytes);
    yaml_map_close(&m);
}

/* ---- the whole ---- */

/* Keys are kept there: whoever may write could put another store in place. */
static void read_state(struct config_reader *r, const struct yaml_node *n)
{
    struct stat st;
    const char **dir = &r->l->c.state;
    if (!config_read_path(r, n, dir) || !config_check_dir(r, n, *dir))
        return;
    if (stat(*dir, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)))
        yaml_error(r->y, n, "directory %s: mode %04o lets others write there; chmod go-w it", *dir,
                   (unsigned)(st.st_mode & 07777));
}

static void read_restart(struct config_reader *r, const struct yaml_node *n)
{
    static const char *const ways[] = {"manager", "state", "no"};
    int way;
    if (!n || !yaml_enum(r->y, n, ways, 3, &way))
        return;
    r->l->c.restart = (enum restart_way)way;
    if (way != RESTART_NO && !r->l->c.state)
        yaml_error(r->y, n, "nothing is kept without 'state'");
}

static void read_top(struct config_reader *r)
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
    if (state)
        read_state(r, state);
    read_restart(r, yaml_map_get(&m, "restart"));
    const struct yaml_node *policy = yaml_map_need(&m, "policy");
    c->policy = config_read_file(r, policy, false);
    r->l->policy = arena_text(&r->l->arena, yaml_raw(policy));
    if (c->policy) {
        size_t n = (size_t)(strrchr(c->policy, '/') - c->policy);
        c->policy_dir = arena_text(&r->l->arena, bytes_of(c->policy, n ? n : 1));
    }
    read_audit(r, yaml_map_get(&m, "audit"));
    read_control(r, yaml_map_get(&m, "control"));
    read_access_token_option(r, yaml_map_get(&m, "access-token-option"));
    read_limits(r, yaml_map_get(&m, "limits"));
    config_read_devices(r, yaml_map_need(&m, "devices"));
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
    c->file =
        file[0] == '/' ? arena_text(&l->arena, bytes_str(file)) : config_join(&l->arena, cwd, file);
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
    l->c.max_conns = CONNS;
    l->c.max_handshakes = HANDSHAKES;
    l->c.max_exchanges = EXCHANGES;
    l->c.max_grants = GRANTS;
    l->c.max_awake = ASSOCS_AWAKE;
    l->c.max_rates = RATES;
    l->c.idle_s = ASSOC_IDLE_S;
    l->c.sleep_s = SLEEP_AFTER_S;
    l->c.cache_bytes = CACHE_BYTES;

    struct config_reader r = {yaml_load(file, bytes_of(text, n), diag), l};
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

/* One path of a file of which nothing else is looked at: of the mapping
 * `within`, or of the top. */
static bool find_path(const char *file, const char *within, const char *key, char **out,
                      struct buf *diag)
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
        struct config_reader r = {y, &l};
        const struct yaml_node *in = within ? yaml_map_get(&m, within) : NULL;
        ok = !in || yaml_map_open(y, in, &m);
        const struct yaml_node *at = ok && (in || !within) ? yaml_map_get(&m, key) : NULL;
        const char *path = NULL;
        ok = ok && (!at || (config_read_path(&r, at, &path) && (*out = strdup(path))));
    }
    yaml_free(y);
    free(text);
    arena_clear(&l.arena);
    return ok;
}

bool config_find_control(const char *file, char **out, struct buf *diag)
{
    return find_path(file, NULL, "control", out, diag);
}

bool config_find_client_ca(const char *file, char **out, struct buf *diag)
{
    return find_path(file, "identity", "client-ca", out, diag);
}

/* How diagnostics and records call the policy: beside the configuration as
 * the operator named it, so that an editor finds it. */
static const char *beside(const char *shown, const char *file, char *out, size_t cap)
{
    const char *slash = strrchr(shown, '/');
    int dir = slash && file[0] != '/' ? (int)(slash - shown) + 1 : 0;
    (void)snprintf(out, cap, "%.*s%s", dir, shown, file);
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

/* Whose right it is to notify. */
static bool check_notifiers(const struct loaded *l, const struct policy *p, const char *title,
                            struct buf *diag)
{
    bool ok = true;
    for (size_t i = 0; i < l->c.n_devices; i++) {
        const struct config_device *d = &l->c.devices[i];
        if (!d->upstream.cse || d->upstream.cse->notify < 0)
            continue;
        const struct pep_device as = config_pep_device(d);
        if (pep_subject_of_cse(p, &as) >= 0)
            continue;
        char text[512];
        (void)snprintf(text, sizeof text,
                       "%s:%u: error: no subject of %s is the CSE '%s' (`cse: %s`), so what it "
                       "notifies would be denied\n",
                       l->shown, d->cse_line, title, as.cse_id, as.cse_id);
        buf_put_str(diag, text);
        ok = false;
    }
    return ok;
}

/* One load of a policy: its text, and that of the file of enrolments. */
struct policy_load {
    const struct loaded *l;
    const struct bytes *instead; /* of the latter's content */
    char title[1024], more_title[1024], hash[POLICY_HASH_HEX + 1];
    uint8_t *text, *more;
    size_t n, more_n;
};

/* Relative to the policy, as its key files are. */
static bool read_more(void *user, const char *file, struct policy_more *out, const char **why)
{
    struct policy_load *o = user;
    char path[4096];
    struct bytes text = o->instead ? *o->instead : BYTES_NONE;
    if (!key_file_path(o->l->c.policy_dir, file, path, sizeof path)) {
        *why = "the path is too long";
        return false;
    }
    if (!o->instead) {
        if (!file_read(path, false, YAML_TEXT_MAX, &o->more, &o->more_n, why))
            return false;
        text = bytes_of(o->more, o->more_n);
    }
    uint8_t both[2 * CRYPTO_SHA256];
    if (!crypto_sha256(bytes_of(o->text, o->n), both) ||
        !crypto_sha256(text, both + CRYPTO_SHA256) ||
        !hash_hex(bytes_of(both, sizeof both), o->hash)) {
        *why = "cannot be hashed";
        return false;
    }
    *out = (struct policy_more){beside(o->title, file, o->more_title, sizeof o->more_title), text,
                                o->hash};
    return true;
}

static struct policy *load_policy(const struct config *c, const struct bytes *instead,
                                  struct buf *diag)
{
    struct policy_load o = {.l = (const struct loaded *)c, .instead = instead};
    const struct policy_files files = {read_more, &o};
    const char *why;
    (void)beside(o.l->shown, o.l->policy, o.title, sizeof o.title);
    if (!file_read(c->policy, false, YAML_TEXT_MAX, &o.text, &o.n, &why)) {
        put_reason(diag, o.title, why);
        return NULL;
    }
    struct policy *p = NULL;
    char hash[POLICY_HASH_HEX + 1];
    if (hash_hex(bytes_of(o.text, o.n), hash))
        p = policy_load_with(o.title, bytes_of(o.text, o.n), hash, &files, diag);
    else
        put_reason(diag, o.title, "cannot be hashed");
    free(o.text);
    free(o.more);
    if (p &&
        !(check_authorities(o.l, p, o.title, diag) && check_notifiers(o.l, p, o.title, diag))) {
        policy_unref(p);
        p = NULL;
    }
    return p;
}

struct policy *config_load_policy(const struct config *c, struct buf *diag)
{
    return load_policy(c, NULL, diag);
}

struct policy *config_try_enrolments(const struct config *c, struct bytes enrolments,
                                     struct buf *diag)
{
    return load_policy(c, &enrolments, diag);
}

struct pep_device config_pep_device(const struct config_device *d)
{
    const struct m2m_cse *cse = d->upstream.cse;
    return (struct pep_device){.name = d->upstream.name,
                               .audience = d->audience,
                               .authority = d->authority,
                               .onem2m = cse != NULL,
                               .cse_id = cse ? cse->id : NULL,
                               .cse_base = cse ? cse->base : NULL,
                               .sp_id = cse ? cse->sp : NULL};
}

void config_free(struct config *c)
{
    if (!c)
        return;
    struct loaded *l = (struct loaded *)c;
    for (size_t i = 0; l->devices && i < l->c.n_devices; i++)
        config_forget_secrets(&l->devices[i]);
    arena_clear(&l->arena);
    free(l);
}
