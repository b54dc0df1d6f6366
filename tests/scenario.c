#include "scenario.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../pep/cwt.h"
#include "../pep/json_write.h"
#include "../pep/m2m_token.h"
#include "../pep/store.h"
#include "../proxy/gate.h"
#include "../proxy/kept.h"
#include "../proxy/m2m_options.h"
#include "../proxy/msg.h"
#include "../proxy/observe_order.h"
#include "audit_fake.h"
#include "dtls_client.h"
#include "fake_loop.h"
#include "fake_resolve.h"
#include "fake_udp.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum {
    CLIENTS = 16,
    TOKENS = 16,
    WORDS = 32,
    INBOX = 64,
    DEVICES = 8,
    START_S = 1780315200, /* 2026-06-01T12:00:00Z, a Monday */
};

struct mail {
    size_t n;
    struct peer at; /* a device's: where it took this */
    uint8_t p[MESSAGE_MAX];
};

/* The last notification of an observation. */
struct seen {
    bool any;
    uint32_t number;
    uint16_t mid;
    uint8_t token_n, token[MSG_TOKEN_MAX];
};

struct client {
    char name[32];
    struct seen seen[64];
    struct peer peer;
    int listener;
    struct dtls_client *dtls; /* NULL: plain coap */
    struct mail inbox[INBOX];
    size_t head, tail;
    struct mail sent;   /* the last message */
    struct bytes token; /* of the last request */
    uint16_t mid;
    bool acks;        /* each CON at once, as a real client does */
    unsigned lose;    /* datagrams to it that the wire drops */
    size_t came, got; /* bytes from and to it, while it is not known to be there */
    bool there;       /* it has sent an Echo or a cookie that it was given */
    struct mail echo; /* the value that it was given last */
};

/* An observation as a device sees it. */
struct observer {
    char name[32];
    uint8_t token_n, token[MSG_TOKEN_MAX];
};

/* A question that went out to an authorization server. */
struct asked {
    uint64_t id;
    enum pep_ask ask;
    int authority;
    struct mail body;
};

struct minted {
    char name[32];
    struct mail raw;
    uint8_t key[32];
    size_t key_n;
};

struct world {
    const char *file;
    unsigned line;
    bool failed;
    char dir[64];
    struct config *config;
    struct store *store;
    struct pep *pep;
    struct pep_device devices[DEVICES];
    struct gate *gate;
    struct udp *listeners[CONFIG_LISTENERS_MAX];
    struct loop loop; /* watches the devices' sockets */
    struct instant now;
    struct client clients[CLIENTS];
    size_t n_clients;
    struct minted tokens[TOKENS];
    size_t n_tokens;
    struct observer observers[CLIENTS];
    size_t n_observers;
    uint16_t notice_mid;
    struct mail device_got; /* the request that a device took last */
    struct mail device_box[DEVICES][INBOX];
    size_t device_head[DEVICES], device_tail[DEVICES];
    struct asked questions[INBOX];
    size_t question_head, question_tail;
    struct asked question; /* the one that an authority took last */
    struct mail echo;      /* the value that any client was given last */
    bool pings_lost;
    bool devices_publish; /* a scenario answers their /.well-known/core itself */
};

__attribute__((format(printf, 2, 3))) static bool fail(struct world *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s:%u: ", w->file, w->line);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    w->failed = true;
    return false;
}

/* ---- words ---- */

static int nibble(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower(c) - 'a' + 10
                                        : -1;
}

static size_t unhex(const char *s, uint8_t *out, size_t cap)
{
    size_t n = 0;
    for (; s[0] && s[1] && n < cap; s += 2)
        out[n++] = (uint8_t)(nibble(s[0]) << 4 | nibble(s[1]));
    return n;
}

/* Splits in place; "..." is one word and keeps its opening quote, so that an
 * empty payload can be told from none. */
static size_t split(char *line, char *words[WORDS])
{
    size_t n = 0;
    for (char *p = line; *p && n < WORDS;) {
        while (isspace((unsigned char)*p))
            p++;
        if (!*p || *p == '#')
            break;
        words[n++] = p;
        bool quoted = false;
        for (; *p && (quoted || !isspace((unsigned char)*p)); p++)
            if (*p == '"')
                quoted = !quoted;
        if (*p)
            *p++ = 0;
    }
    return n;
}

static const char *value_of(char **words, size_t n, const char *key)
{
    size_t k = strlen(key);
    for (size_t i = 0; i < n; i++)
        if (strncmp(words[i], key, k) == 0 && words[i][k] == '=')
            return words[i] + k + 1;
    return NULL;
}

static struct client *client_named(struct world *w, const char *name)
{
    for (size_t i = 0; i < w->n_clients; i++)
        if (strcmp(w->clients[i].name, name) == 0)
            return &w->clients[i];
    return NULL;
}

static struct minted *token_named(struct world *w, const char *name)
{
    for (size_t i = 0; i < w->n_tokens; i++)
        if (strcmp(w->tokens[i].name, name) == 0)
            return &w->tokens[i];
    return NULL;
}

static int device_named(struct world *w, const char *name)
{
    for (size_t i = 0; i < w->config->n_devices; i++)
        if (strcmp(w->config->devices[i].upstream.name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- the wire ---- */

static void deliver(struct world *w, struct client *c, struct bytes datagram)
{
    /* Whatever is sent to whoever: RFC 7252 11.3, RFC 9175 2.4. */
    c->got += datagram.n;
    if (!c->dtls && !c->there && (c->got > 3 * c->came || datagram.n > 3 * c->sent.n))
        (void)fail(w, "%s got %zu bytes (%zu in all) for %zu (%zu), and may not be there", c->name,
                   datagram.n, c->got, c->sent.n, c->came);
    if (c->lose > 0) {
        c->lose--;
        return;
    }
    if (!c->dtls) {
        struct mail *m = &c->inbox[c->tail++ % INBOX];
        memcpy(m->p, datagram.p, datagram.n);
        m->n = datagram.n;
        struct msg answer;
        const struct msg_option *echo =
            msg_parse(datagram, &answer) == MSG_OK ? msg_find(&answer, OPT_ECHO) : NULL;
        if (echo && (c->echo.n = echo->value.n) <= sizeof c->echo.p)
            memcpy(c->echo.p, echo->value.p, echo->value.n);
        if (echo)
            w->echo = c->echo;
        return;
    }
    dtls_client_receive(c->dtls, datagram, w->now);
    for (struct bytes plain; (plain = dtls_client_read(c->dtls)).n > 0;) {
        struct mail *m = &c->inbox[c->tail++ % INBOX];
        m->n = plain.n;
        memcpy(m->p, plain.p, plain.n);
        struct msg got;
        if (!c->acks || msg_parse(plain, &got) != MSG_OK || got.type != TYPE_CON)
            continue;
        uint8_t storage[4];
        struct buf ack = buf_on(storage, sizeof storage);
        msg_write_empty(TYPE_ACK, got.mid, &ack);
        (void)dtls_client_write(c->dtls, buf_bytes(&ack), w->now);
    }
}

/* The gate asks devices what they publish; most scenarios do not care. */
static bool asks_for_links(struct bytes datagram, struct msg *m)
{
    return msg_parse(datagram, m) == MSG_OK && m->code == MSG_GET && msg_find(m, OPT_URI_PATH) &&
           memmem(datagram.p, datagram.n, ".well-known", 11);
}

/* From where a device took a message, or the kernel's word that nobody is
 * there (n 0). */
static void from_device(struct world *w, const struct peer *at, struct bytes datagram)
{
    struct udp *u = fake_udp_connected(at);
    if (!u)
        return;
    if (datagram.n)
        fake_udp_inject(u, at, datagram);
    else
        fake_udp_inject_icmp(u);
    w->loop.now = w->now;
    fake_loop_readable(&w->loop, udp_fd(u));
}

static bool deliver_to_device(struct world *w, size_t device, const struct peer *at,
                              struct bytes datagram)
{
    struct msg m;
    if (!w->devices_publish && asks_for_links(datagram, &m)) {
        struct msg none = {.type = m.type == TYPE_CON ? TYPE_ACK : TYPE_NON,
                           .code = MSG_CODE(4, 4),
                           .mid = m.mid,
                           .token_n = m.token_n};
        memcpy(none.token, m.token, sizeof none.token);
        uint8_t storage[64];
        struct buf out = buf_on(storage, sizeof storage);
        if (msg_write(&none, &out))
            from_device(w, at, buf_bytes(&out));
        return true;
    }
    if (w->pings_lost && msg_parse(datagram, &m) == MSG_OK && m.type == TYPE_CON &&
        m.code == MSG_EMPTY)
        return false;
    struct mail *to = &w->device_box[device][w->device_tail[device]++ % INBOX];
    to->n = datagram.n;
    to->at = *at;
    memcpy(to->p, datagram.p, datagram.n);
    return false;
}

/* What left for one device, by any of its URLs. */
static bool carry_to_device(struct world *w, size_t device)
{
    const struct device_config *c = &w->config->devices[device].upstream;
    bool quiet = true;
    for (size_t i = 0; i < c->n_urls; i++) {
        struct fake_datagram d;
        struct peer at = c->urls[i].to;
        if (at.len == 0 && !fake_resolve_find(c->urls[i].host, c->urls[i].port, &at))
            continue;
        struct udp *u = fake_udp_connected(&at);
        while (u && fake_udp_take(u, &d)) {
            if (deliver_to_device(w, device, &at, bytes_of(d.bytes, d.n)))
                quiet = false;
            u = fake_udp_connected(&at);
        }
    }
    return quiet;
}

/* Carries datagrams both ways until the wire is quiet. */
static void settle(struct world *w)
{
    for (bool quiet = false; !quiet;) {
        quiet = true;
        gate_turn(w->gate, w->now);
        for (size_t i = 0; i < w->n_clients; i++) {
            struct client *c = &w->clients[i];
            struct bytes d;
            while (c->dtls && (d = dtls_client_out(c->dtls)).n > 0) {
                gate_client_datagram(w->gate, c->listener, &c->peer, d, w->now);
                quiet = false;
            }
        }
        gate_turn(w->gate, w->now);
        for (size_t l = 0; l < w->config->n_listeners; l++) {
            struct fake_datagram d;
            while (fake_udp_take(w->listeners[l], &d)) {
                quiet = false;
                for (size_t i = 0; i < w->n_clients; i++)
                    if (w->clients[i].listener == (int)l && peer_equal(&w->clients[i].peer, &d.to))
                        deliver(w, &w->clients[i], bytes_of(d.bytes, d.n));
            }
        }
        for (size_t i = 0; i < w->config->n_devices; i++)
            quiet = carry_to_device(w, i) && quiet;
        quiet = !fake_resolve_answer(w->now) && quiet;
    }
}

/* Invented time passes; every deadline on the way is kept. */
static void pass(struct world *w, uint64_t ms)
{
    uint64_t end_us = w->now.mono_us + ms * 1000;
    int64_t start_s = START_S;
    while (w->now.mono_us < end_us) {
        uint64_t next_ms = gate_turn(w->gate, w->now);
        uint64_t next_us = next_ms > UINT64_MAX / 1000 ? end_us : next_ms * 1000;
        if (next_us <= w->now.mono_us)
            next_us = w->now.mono_us + 1000;
        if (next_us > end_us)
            next_us = end_us;
        w->now.mono_us = next_us;
        w->now.wall_s = start_s + (int64_t)(next_us / 1000000);
        w->now.wall_us = (uint32_t)(next_us % 1000000);
        for (size_t i = 0; i < w->n_clients; i++)
            if (w->clients[i].dtls)
                dtls_client_expire(w->clients[i].dtls, w->now);
        settle(w);
    }
}

/* Questions lie here until the scenario answers. */
static bool take_question(void *user, const struct pep_question *q, struct instant now)
{
    struct world *w = user;
    struct asked *a = &w->questions[w->question_tail % INBOX];
    (void)now;
    if (w->question_tail - w->question_head == INBOX || q->body.n > sizeof a->body.p)
        return false;
    w->question_tail++;
    a->id = q->id;
    a->ask = q->ask;
    a->authority = q->authority;
    a->body.n = q->body.n;
    memcpy(a->body.p, q->body.p, q->body.n);
    return true;
}

/* ---- a house ---- */

static bool copy_tree(struct world *w, const char *from)
{
    char cmd[512];
    snprintf(cmd, sizeof cmd, "cp -r '%s/.' '%s' && chmod -R go-rwx '%s'", from, w->dir, w->dir);
    return system(cmd) == 0 || fail(w, "cannot copy the house %s", from);
}

static bool load_policy(struct world *w)
{
    static char text[4096];
    struct buf diag = buf_on(text, sizeof text - 1);
    struct policy *p = config_load_policy(w->config, &diag);
    bool ok = p && pep_load(w->pep, p, w->dir, w->now.wall_s, &diag);
    policy_unref(p);
    text[diag.n] = 0;
    return ok || fail(w, "policy did not load: %s", text);
}

static bool open_gate(struct world *w)
{
    static char text[4096];
    struct buf diag = buf_on(text, sizeof text - 1);
    struct pep_device *devices = w->devices;
    for (size_t i = 0; i < w->config->n_devices; i++)
        devices[i] = config_pep_device(&w->config->devices[i]);
    w->store = store_open(w->config->state, 0, &diag);
    struct pep_config pc = {.devices = devices,
                            .n_devices = w->config->n_devices,
                            .audience = w->config->audience,
                            .n_audience = w->config->n_audience,
                            .build_s = 1700000000,
                            .max_grants = w->config->max_grants,
                            .store = w->store};
    w->pep = pep_new(&pc);
    if (!w->store || !w->pep || !load_policy(w)) {
        text[diag.n] = 0;
        return fail(w, "no pep: %s", text);
    }
    for (size_t i = 0; i < w->config->n_listeners; i++)
        w->listeners[i] = udp_bind(&w->config->listeners[i].local, false, &diag);
    struct gate_config gc = {.config = w->config,
                             .pep = w->pep,
                             .audit = audit_fake(),
                             .listeners = w->listeners,
                             .loop = &w->loop,
                             .ask = take_question,
                             .ask_user = w};
    w->question_head = w->question_tail = 0; /* with who asked */
    w->gate = gate_new(&gc, &diag);
    text[diag.n] = 0;
    return w->gate || fail(w, "no gate: %s", text);
}

static void close_gate(struct world *w)
{
    gate_free(w->gate);
    w->gate = NULL;
    for (size_t i = 0; w->config && i < w->config->n_listeners; i++) {
        if (w->listeners[i])
            udp_free(w->listeners[i]);
        w->listeners[i] = NULL;
    }
    pep_free(w->pep);
    w->pep = NULL;
    store_close(w->store);
    w->store = NULL;
}

static bool open_house(struct world *w, const char *house)
{
    static char text[4096];
    struct buf diag = buf_on(text, sizeof text - 1);
    char file[128];
    snprintf(w->dir, sizeof w->dir, "/tmp/postern-scenario.XXXXXX");
    if (!mkdtemp(w->dir) || !copy_tree(w, house))
        return fail(w, "no place for the house");
    snprintf(file, sizeof file, "%s/state", w->dir);
    mkdir(file, 0700);
    snprintf(file, sizeof file, "%s/postern.yaml", w->dir);
    w->config = config_load(file, &diag);
    text[diag.n] = 0;
    if (!w->config)
        return fail(w, "%s", text);
    w->now = (struct instant){.mono_us = 1000000, .wall_s = START_S + 1};
    return open_gate(w);
}

static void close_house(struct world *w)
{
    for (size_t i = 0; i < w->n_clients; i++)
        dtls_client_free(w->clients[i].dtls);
    close_gate(w);
    config_free(w->config);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", w->dir);
    if (w->dir[0] && system(cmd) != 0)
        fprintf(stderr, "%s stays behind\n", w->dir);
}

/* ---- messages as text ---- */

static const char *const methods[] = {"0.00",   "GET",   "POST",  "PUT",
                                      "DELETE", "FETCH", "PATCH", "iPATCH"};
static const char *const types[] = {"CON", "NON", "ACK", "RST"};

static int type_named(const char *s)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(s, types[i]) == 0)
            return i;
    return -1;
}

/* GET, 2.05 or empty */
static int code_named(const char *s)
{
    if (strcmp(s, "empty") == 0)
        return 0;
    for (int i = 1; i < 8; i++)
        if (strcmp(s, methods[i]) == 0)
            return i;
    unsigned a, b;
    return sscanf(s, "%1u.%2u", &a, &b) == 2 ? (int)MSG_CODE(a, b) : -1;
}

static void show(struct bytes datagram, char *out, size_t cap)
{
    struct msg m;
    if (msg_parse(datagram, &m) != MSG_OK) {
        snprintf(out, cap, "(%zu bytes that are no message)", datagram.n);
        return;
    }
    int n = snprintf(out, cap, "%s ", types[m.type]);
    if (MSG_CLASS(m.code) == 0 && m.code < 8)
        n += snprintf(out + n, cap - (size_t)n, "%s", m.code ? methods[m.code] : "empty");
    else
        n += snprintf(out + n, cap - (size_t)n, "%u.%02u", MSG_CLASS(m.code), m.code & 31u);
    n += snprintf(out + n, cap - (size_t)n, " mid=%u token=", m.mid);
    for (size_t i = 0; i < m.token_n; i++)
        n += snprintf(out + n, cap - (size_t)n, "%02x", m.token[i]);
    for (size_t i = 0; i < m.n_options && (size_t)n + 100 < cap; i++) {
        n += snprintf(out + n, cap - (size_t)n, " option=%u:", m.options[i].number);
        for (size_t k = 0; k < m.options[i].value.n && k < 32; k++)
            n += snprintf(out + n, cap - (size_t)n, "%02x", m.options[i].value.p[k]);
    }
    if (m.payload.n)
        snprintf(out + n, cap - (size_t)n, " \"%.*s\"", (int)m.payload.n,
                 (const char *)m.payload.p);
}

struct draft {
    struct msg m;
    uint8_t storage[2048];
    struct buf space;
};

static struct bytes kept(struct draft *d, const void *p, size_t n)
{
    struct bytes b = {d->space.p + d->space.n, n};
    buf_put(&d->space, bytes_of(p, n));
    return b;
}

/* An option of oneM2M by its name: current.RQI=r1, legacy.RSC=4103 */
static bool read_m2m(struct world *w, const char *s, struct draft *d)
{
    static const char *const numbers[] = {"EC", "RSC", "TY", "CTO", "CTS"};
    enum m2m_numbering n = s[0] == 'l' ? M2M_LEGACY : M2M_CURRENT;
    const char *name = strchr(s, '.') + 1, *value = strchr(name, '=');
    size_t len = value ? (size_t)(value - name) : strlen(name);
    for (enum m2m_param p = 0; p < M2M_PARAMS; p++) {
        if (strlen(m2m_param_name(p)) != len || strncmp(m2m_param_name(p), name, len) != 0)
            continue;
        value = value ? value + 1 : "";
        for (size_t i = 0; i < COUNT(numbers); i++)
            if (strcmp(m2m_param_name(p), numbers[i]) == 0)
                return msg_add_uint(&d->m, m2m_number(n, p), (uint32_t)atoi(value),
                                    buf_reserve(&d->space, 4));
        return msg_add(&d->m, m2m_number(n, p), kept(d, value, strlen(value)));
    }
    return fail(w, "no option '%s'", s);
}

/* Fills `d` from words: a path, "payload", @token, option=N:hex or
 * option=N:"text", mid=, token=, accesstoken=NAME, observe=N, maxage=N,
 * format=N, echo (the value that was given last), current.NAME=, legacy.NAME=. */
static bool read_words(struct world *w, char **words, size_t n, struct draft *d)
{
    for (size_t i = 0; i < n; i++) {
        const char *s = words[i], *v;
        if (s[0] == '/') {
            char path[512];
            snprintf(path, sizeof path, "%s", s);
            char *query = strchr(path, '?');
            if (query)
                *query++ = 0;
            for (char *p = path + 1, *next; p; p = next) {
                if ((next = strchr(p, '/')) != NULL)
                    *next++ = 0;
                if (!*p && !next && p == path + 1)
                    break;
                if (!msg_add(&d->m, OPT_URI_PATH, kept(d, p, strlen(p))))
                    return false;
            }
            for (char *q = query ? strtok(query, "&") : NULL; q; q = strtok(NULL, "&"))
                if (!msg_add(&d->m, OPT_URI_QUERY, kept(d, q, strlen(q))))
                    return false;
        } else if (s[0] == '"') {
            d->m.payload = kept(d, s + 1, strlen(s) - 2);
        } else if (s[0] == '@') {
            struct minted *t = token_named(w, s + 1);
            if (!t)
                return fail(w, "no token %s", s);
            d->m.payload = bytes_of(t->raw.p, t->raw.n);
        } else if (strncmp(s, "option=", 7) == 0) {
            uint8_t value[512];
            size_t len;
            v = strchr(s, ':');
            if (v && v[1] == '"') {
                len = strlen(v) - 3;
                memcpy(value, v + 2, len);
            } else {
                len = v ? unhex(v + 1, value, sizeof value) : 0;
            }
            if (!msg_add(&d->m, (uint16_t)atoi(s + 7), kept(d, value, len)))
                return false;
        } else if (strncmp(s, "current.", 8) == 0 || strncmp(s, "legacy.", 7) == 0) {
            if (!read_m2m(w, s, d))
                return false;
        } else if (*s == '{') { /* JSON: its quotes are its own */
            d->m.payload = kept(d, (const uint8_t *)s, strlen(s));
        } else if (strcmp(s, "echo") == 0) {
            if (!msg_add(&d->m, OPT_ECHO, bytes_of(w->echo.p, w->echo.n)))
                return false;
        } else if ((v = value_of(&words[i], 1, "accesstoken")) != NULL) {
            struct minted *t = token_named(w, v);
            if (!t)
                return fail(w, "no token %s", v);
            if (!msg_add(&d->m, 65000, bytes_of(t->raw.p, t->raw.n)))
                return false;
        } else if ((v = value_of(&words[i], 1, "tkns")) != NULL) {
            /* over as many options as it takes (m2m_read.h) */
            struct minted *t = token_named(w, v);
            if (!t)
                return fail(w, "no token %s", v);
            for (size_t at = 0; at < t->raw.n; at += 200) {
                char part[256];
                size_t len = t->raw.n - at < 200 ? t->raw.n - at : 200;
                snprintf(part, sizeof part, "tkns=%.*s", (int)len, (const char *)t->raw.p + at);
                if (!msg_add(&d->m, OPT_URI_QUERY, kept(d, part, strlen(part))))
                    return false;
            }
        } else if ((v = value_of(&words[i], 1, "format")) != NULL) {
            if (!msg_add_uint(&d->m, OPT_CONTENT_FORMAT, (uint32_t)atoi(v),
                              buf_reserve(&d->space, 4)))
                return false;
        } else if ((v = value_of(&words[i], 1, "observe")) != NULL) {
            if (!msg_add_uint(&d->m, OPT_OBSERVE, (uint32_t)atoi(v), buf_reserve(&d->space, 4)))
                return false;
        } else if ((v = value_of(&words[i], 1, "maxage")) != NULL) {
            if (!msg_add_uint(&d->m, OPT_MAX_AGE, (uint32_t)atoll(v), buf_reserve(&d->space, 4)))
                return false;
        } else if ((v = value_of(&words[i], 1, "mid")) != NULL) {
            d->m.mid = (uint16_t)atoi(v);
        } else if ((v = value_of(&words[i], 1, "token")) != NULL) {
            d->m.token_n = (uint8_t)unhex(v, d->m.token, sizeof d->m.token);
        } else {
            return fail(w, "what is '%s'?", s);
        }
    }
    return true;
}

/* Compares what came with words: type, code, then whatever the line names;
 * with=N, without=N: has that option, or has it not. */
static bool matches(struct world *w, const char *who, struct bytes got, char **words, size_t n)
{
    char text[2048];
    show(got, text, sizeof text);
    struct msg m;
    if (msg_parse(got, &m) != MSG_OK)
        return fail(w, "%s got %s", who, text);
    if (n < 2 || type_named(words[0]) != (int)m.type || code_named(words[1]) != (int)m.code)
        return fail(w, "%s got %s", who, text);
    struct draft *d = calloc(1, sizeof *d);
    d->space = buf_on(d->storage, sizeof d->storage);
    bool ok = true;
    char *rest[WORDS];
    size_t n_rest = 0;
    for (size_t i = 2; i < n; i++) {
        const char *absent = value_of(&words[i], 1, "without");
        const char *present = value_of(&words[i], 1, "with");
        if (present && !msg_find(&m, (uint16_t)atoi(present)))
            ok = fail(w, "%s got %s, without option %s", who, text, present);
        if (absent && msg_find(&m, (uint16_t)atoi(absent)))
            ok = fail(w, "%s got %s, which has option %s", who, text, absent);
        if (strncmp(words[i], "payload~", 8) == 0) {
            if (!memmem(m.payload.p, m.payload.n, words[i] + 8, strlen(words[i] + 8)))
                ok = fail(w, "%s got %s, wanted %s", who, text, words[i]);
        } else if (strncmp(words[i], "payload!~", 9) == 0) {
            if (memmem(m.payload.p, m.payload.n, words[i] + 9, strlen(words[i] + 9)))
                ok = fail(w, "%s got %s, wanted %s", who, text, words[i]);
        } else if (!absent && !present) {
            rest[n_rest++] = words[i];
        }
    }
    ok = ok && read_words(w, rest, n_rest, d);
    const struct msg *want = &d->m;
    if (ok && value_of(rest, n_rest, "mid") && want->mid != m.mid)
        ok = fail(w, "%s got %s, wanted mid %u", who, text, want->mid);
    if (ok && value_of(rest, n_rest, "token") &&
        !bytes_equal(bytes_of(want->token, want->token_n), bytes_of(m.token, m.token_n)))
        ok = fail(w, "%s got %s, with another token", who, text);
    if (ok && want->payload.p && !bytes_equal(want->payload, m.payload))
        ok = fail(w, "%s got %s, wanted \"%.*s\"", who, text, (int)want->payload.n,
                  (const char *)want->payload.p);
    /* Of the option numbers that the line names, exactly those values. */
    for (size_t i = 0; ok && i < want->n_options; i++) {
        uint16_t number = want->options[i].number;
        size_t have = 0, wanted = 0;
        struct bytes a[32], b[32];
        for (size_t k = 0; k < m.n_options && have < 32; k++)
            if (m.options[k].number == number)
                a[have++] = m.options[k].value;
        for (size_t k = 0; k < want->n_options && wanted < 32; k++)
            if (want->options[k].number == number)
                b[wanted++] = want->options[k].value;
        ok = have == wanted;
        for (size_t k = 0; ok && k < have; k++)
            ok = bytes_equal(a[k], b[k]);
        if (!ok)
            fail(w, "%s got %s: option %u differs", who, text, number);
    }
    free(d);
    return ok;
}

/* ---- verbs: NAME verb words..., or verb words... ---- */

static bool verb_client(struct world *w, char **words, size_t n)
{
    /* client NAME plain | raw | psk IDENTITY KEY | kid KID KEY | token NAME [from=ADDR], or
     * client NAME notifies DEVICE: a CSE, to the listener that is its own */
    if (n < 2 || w->n_clients == CLIENTS)
        return fail(w, "client NAME plain|raw|psk|kid|token|notifies ...");
    struct client *c = &w->clients[w->n_clients];
    snprintf(c->name, sizeof c->name, "%s", words[0]);
    const char *from = value_of(words, n, "from");
    const char *port = value_of(words, n, "port"); /* of another that is gone */
    c->peer = fake_peer(from ? from : "192.0.2.77",
                        (uint16_t)(port ? (size_t)atoi(port) : 40000 + w->n_clients));
    for (size_t i = 0; i < w->n_clients; i++)
        if (peer_equal(&w->clients[i].peer, &c->peer))
            memset(&w->clients[i].peer, 0, sizeof w->clients[i].peer);
    c->mid = (uint16_t)(1000 * (w->n_clients + 1));
    bool plain = strcmp(words[1], "plain") == 0;
    bool raw = strcmp(words[1], "raw") == 0; /* bytes to the port of coaps */
    bool notifies = strcmp(words[1], "notifies") == 0 && n >= 3;
    int of = notifies ? device_named(w, words[2]) + 1 : 0;
    plain |= notifies;
    c->listener = -1;
    for (size_t i = 0; i < w->config->n_listeners; i++)
        if (w->config->listeners[i].secure != plain && w->config->listeners[i].notifies == of)
            c->listener = (int)i;
    if (c->listener < 0)
        return fail(w, "the house has no such listener");
    w->n_clients++;
    if (plain || raw)
        return true;
    uint8_t identity[2048], key[64];
    struct dtls_client_config dc = {0};
    struct buf id = buf_on(identity, sizeof identity);
    if (strcmp(words[1], "psk") == 0 && n >= 4) {
        buf_put_str(&id, words[2]);
        dc.key = bytes_of(key, unhex(words[3], key, sizeof key));
    } else if (strcmp(words[1], "kid") == 0 && n >= 4) {
        uint8_t kid[64];
        size_t k = unhex(words[2], kid, 23);
        buf_put(&id, BYTES_LIT("\xa1\x08\xa1\x01\xa2\x01\x04\x02"));
        buf_put_u8(&id, (uint8_t)(0x40 | k));
        buf_put(&id, bytes_of(kid, k));
        dc.key = bytes_of(key, unhex(words[3], key, sizeof key));
    } else if (strcmp(words[1], "token") == 0 && n >= 3) {
        struct minted *t = token_named(w, words[2]);
        if (!t)
            return fail(w, "no token %s", words[2]);
        buf_put(&id, bytes_of(t->raw.p, t->raw.n));
        dc.key = bytes_of(t->key, t->key_n);
    } else {
        return fail(w, "what client is that?");
    }
    dc.identity = buf_bytes(&id);
    c->dtls = dtls_client_new(&dc);
    return c->dtls != NULL || fail(w, "no DTLS client");
}

static bool verb_wait(struct world *w, char **words, size_t n)
{
    double v = n == 1 ? atof(words[0]) : -1;
    size_t len = n == 1 ? strlen(words[0]) : 0;
    if (v < 0 || len < 2)
        return fail(w, "wait 500ms | 2s");
    pass(w, (uint64_t)(words[0][len - 2] == 'm' ? v : v * 1000));
    return true;
}

/* clock SECONDS: somebody sets the clock, by so much; no time passes. */
static bool verb_clock(struct world *w, char **words, size_t n)
{
    if (n != 1)
        return fail(w, "clock SECONDS");
    w->now.wall_s += atoll(words[0]);
    return true;
}

static bool verb_policy(struct world *w, char **words, size_t n)
{
    /* policy FILE [fails]: the house's other policy takes the place of policy.yaml */
    char from[256], to[128];
    snprintf(from, sizeof from, "%s/%s", w->dir, n ? words[0] : "");
    snprintf(to, sizeof to, "%s/policy.yaml", w->dir);
    unlink(to);
    if (link(from, to) != 0)
        return fail(w, "no policy %s: %s", from, strerror(errno));
    bool fails = n > 1 && strcmp(words[1], "fails") == 0;
    static char text[4096];
    struct buf diag = buf_on(text, sizeof text - 1);
    struct policy *p = config_load_policy(w->config, &diag);
    bool ok = p && gate_load(w->gate, p, w->now, &diag);
    policy_unref(p);
    text[diag.n] = 0;
    if (ok == fails)
        return fail(w, "policy %s: %s", ok ? "loaded, unexpectedly" : "did not load", text);
    settle(w);
    return true;
}

/* The next start has another policy. */
static bool swap_policy(struct world *w, const char *name)
{
    char from[256], to[128];
    snprintf(from, sizeof from, "%s/%s", w->dir, name);
    snprintf(to, sizeof to, "%s/policy.yaml", w->dir);
    unlink(to);
    return link(from, to) == 0 || fail(w, "no policy %s: %s", from, strerror(errno));
}

struct recalling {
    struct world *w;
    struct kept_counts counts;
};

static bool recall(void *user, uint8_t kind, struct bytes entry)
{
    struct recalling *r = user;
    return gate_recall(r->w->gate, kind, entry, r->w->now, &r->counts);
}

/* restart: as after kill -9, or
 * restart planned [policy=FILE] [away=SECONDS] [restored=N] [dropped=N]: what
 * is kept goes through its file. */
static bool verb_restart(struct world *w, char **words, size_t n)
{
    static const uint8_t key[SEALED_KEY] = "a test key";
    const char *policy = value_of(words, n, "policy"), *away = value_of(words, n, "away"),
               *restored = value_of(words, n, "restored"), *dropped = value_of(words, n, "dropped"),
               *why = "";
    bool planned = n > 0 && strcmp(words[0], "planned") == 0;
    if (planned) {
        struct sealed_writer *file = sealed_create(w->config->state, "kept", key, BYTES_NONE, &why);
        if (!file)
            return fail(w, "no file: %s", why);
        gate_keep(w->gate, file, w->now);
        if (!sealed_finish(file, &why))
            return fail(w, "not kept: %s", why);
        gate_forget(w->gate);
    }
    close_gate(w);
    if (policy && !swap_policy(w, policy))
        return false;
    if (away) {
        w->now.mono_us += (uint64_t)atoi(away) * 1000000;
        w->now.wall_s += atoi(away);
    }
    if (!open_gate(w))
        return false;
    if (!planned)
        return true;
    struct sealed_reader *file = NULL;
    struct recalling r = {w, {0, 0}};
    bool ok = sealed_take(w->config->state, "kept", key, &file) == SEALED_OK &&
              sealed_each(file, recall, &r);
    sealed_close(file);
    settle(w);
    if (!ok)
        return fail(w, "what was kept is refused");
    if ((restored && r.counts.taken != (uint64_t)atoi(restored)) ||
        (dropped && r.counts.dropped != (uint64_t)atoi(dropped)))
        return fail(w, "restored %u, dropped %u", (unsigned)r.counts.taken,
                    (unsigned)r.counts.dropped);
    return true;
}

/* sleepers N: so many associations sleep. */
static bool verb_sleepers(struct world *w, char **words, size_t n)
{
    struct gate_stats s;
    gate_get_stats(w->gate, &s);
    return (n == 1 && s.assocs.asleep == (uint64_t)atoi(words[0])) ||
           fail(w, "%u of %u sleep", (unsigned)s.assocs.asleep, (unsigned)s.assocs.established);
}

/* audit WORD...: the last line has each; audit -1 WORD...: the one before. */
static bool verb_audit(struct world *w, char **words, size_t n)
{
    size_t back = 0, first = 0;
    if (n && words[0][0] == '-') {
        back = (size_t)atoi(words[0] + 1);
        first = 1;
    }
    const char *line = audit_fake_line(back);
    for (size_t i = first; i < n; i++) {
        bool no = words[i][0] == '!';
        if ((strstr(line, words[i] + no) != NULL) == no)
            return fail(w, "audit %s '%s': %s", no ? "has" : "lacks", words[i] + no, line);
    }
    return true;
}

/* 90s, -10s, 5m, 24h */
static int64_t seconds(const char *s)
{
    char *unit;
    long v = strtol(s, &unit, 10);
    return *unit == 'm' ? v * 60 : *unit == 'h' ? v * 3600 : v;
}

/* revoke token|hash NAME | cti|kid|subject VALUE | authority NAME, or revoke
 * list [NAME]...: home-as lists these tokens. [of=AUTHORITY] [for=TIME] [ended=N]
 * [undo] */
static bool verb_revoke(struct world *w, char **words, size_t n)
{
    static const struct {
        const char *by;
        enum revocation_kind kind;
    } ways[] = {{"token", REVOKED_HASH},      {"hash", REVOKED_HASH},
                {"cti", REVOKED_ID},          {"kid", REVOKED_KID},
                {"subject", REVOKED_SUBJECT}, {"authority", REVOKED_AUTHORITY}};
    struct pep_revoking r = {.until_s = REVOKED_FOR_GOOD};
    struct pep_revoked done;
    struct token_ids ids;
    uint8_t kid[64];
    const char *of = value_of(words, n, "of"), *ended = value_of(words, n, "ended");
    const char *spell = value_of(words, n, "for");
    if (spell)
        r.until_s = w->now.wall_s + seconds(spell);
    if (n >= 1 && strcmp(words[0], "list") == 0) {
        static uint8_t body[2048];
        static struct trl_answer a;
        struct buf b = buf_on(body, sizeof body);
        buf_put(&b, BYTES_LIT("\xa1\x00"));
        buf_put_u8(&b, (uint8_t)(0x80 + n - 1));
        for (size_t i = 1; i < n; i++) {
            struct minted *t = token_named(w, words[i]);
            if (!t || !token_ids_of(bytes_of(t->raw.p, t->raw.n), &ids))
                return fail(w, "no token %s", words[i]);
            buf_put(&b, BYTES_LIT("\x58\x21"));
            buf_put(&b, token_id(&ids, 0));
        }
        bool ok = trl_read(buf_bytes(&b), &a) && gate_take_list(w->gate, "home-as", &a, w->now);
        settle(w);
        return ok || fail(w, "the list was not taken");
    }
    for (size_t i = 0; n >= 2 && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(words[0], ways[i].by) == 0)
            r.kind = ways[i].kind;
    if (r.kind == REVOKED_NOTHING)
        return fail(w, "revoke token|hash|cti|kid|subject|authority ...");
    r.authority = bytes_str(of);
    r.value = bytes_str(words[1]);
    if (r.kind == REVOKED_AUTHORITY) {
        r.authority = r.value;
        r.value = BYTES_NONE;
    } else if (r.kind == REVOKED_KID || r.kind == REVOKED_ID) {
        r.value = bytes_of(kid, unhex(words[1], kid, sizeof kid));
    } else if (r.kind == REVOKED_HASH) {
        struct minted *t = token_named(w, words[1]);
        if (!t || !token_ids_of(bytes_of(t->raw.p, t->raw.n), &ids))
            return fail(w, "no token %s", words[1]);
        if (strcmp(words[0], "token") == 0)
            r.token = bytes_of(t->raw.p, t->raw.n);
        else
            r.value = token_id(&ids, 0);
    }
    bool undo = strcmp(words[n - 1], "undo") == 0;
    enum revocation_err err = gate_revoke(w->gate, &r, undo, w->now, &done);
    if (err != REVOCATION_OK || (!undo && !done.kept))
        return fail(w, "not revoked: %d", (int)err);
    if (ended && (size_t)atoi(ended) != done.ended)
        return fail(w, "%zu grants ended", done.ended);
    settle(w);
    return true;
}

/* What a token or an answer says, with the storage of its slices. */
struct told {
    struct claims c;
    char scope[256];
    uint8_t kid[64], cti[64];
};

static void read_claims(const struct world *w, char **words, size_t n, struct told *t)
{
    struct claims *c = &t->c;
    const char *v = value_of(words, n, "iss");
    c->iss = bytes_str(v);
    c->has_iss = v != NULL;
    if ((v = value_of(words, n, "aud")) != NULL)
        c->aud[c->n_aud++] = bytes_str(v);
    if ((v = value_of(words, n, "scope")) != NULL) {
        snprintf(t->scope, sizeof t->scope, "%.*s", (int)strlen(v) - 2, v + 1);
        c->scope_words = bytes_str(t->scope);
        c->has_scope = true;
    }
    if ((v = value_of(words, n, "exp")) != NULL) {
        c->has_exp = true;
        c->exp_s = w->now.wall_s + seconds(v);
    }
    if ((v = value_of(words, n, "iat")) != NULL) {
        c->has_iat = true;
        c->iat_s = w->now.wall_s + seconds(v);
    }
    c->sub = bytes_str(value_of(words, n, "sub"));
    if ((v = value_of(words, n, "cti")) != NULL)
        c->cti = bytes_of(t->cti, unhex(v, t->cti, sizeof t->cti));
    if ((v = value_of(words, n, "key")) != NULL) {
        c->cnf.kind = CNF_SYMMETRIC;
        c->cnf.key_n = unhex(v, c->cnf.key, sizeof c->cnf.key);
        if ((v = value_of(words, n, "kid")) != NULL)
            c->cnf.kid = bytes_of(t->kid, unhex(v, t->kid, sizeof t->kid));
    }
}

/* token NAME [as=AUTHORITY] [iss=] [sub=] [cti=HEX] aud= scope="..." exp= [iat=]
 * [kid=HEX] [key=HEX]:
 * sealed when it carries a proof key, MACed otherwise.
 * token NAME reference="..." [key=HEX]: those bytes. */
static bool verb_token(struct world *w, char **words, size_t n)
{
    if (n < 1 || w->n_tokens == TOKENS)
        return fail(w, "token NAME ...");
    struct minted *t = &w->tokens[w->n_tokens++];
    snprintf(t->name, sizeof t->name, "%s", words[0]);
    const char *as = value_of(words, n, "as"), *reference = value_of(words, n, "reference");
    char file[128], diag_text[256];
    struct told told = {0};
    as = as ? as : "home-as";
    read_claims(w, words, n, &told);
    t->key_n = told.c.cnf.key_n;
    memcpy(t->key, told.c.cnf.key, t->key_n);
    if (reference) {
        t->raw.n = strlen(reference) - 2;
        memcpy(t->raw.p, reference + 1, t->raw.n);
        return true;
    }
    if (!told.c.has_iss) {
        told.c.has_iss = true;
        told.c.iss =
            bytes_str(strcmp(as, "home-as") == 0 ? "coaps://as.home" : "coaps://bearer.home");
    }
    bool secret = told.c.cnf.kind == CNF_SYMMETRIC;
    snprintf(file, sizeof file, "%s/keys/%s.hex", w->dir, as);
    struct key key;
    size_t keys;
    struct buf diag = buf_on(diag_text, sizeof diag_text - 1);
    if (!key_file_read(file, KEY_FILE_MINT, &key, 1, &keys, &diag))
        return fail(w, "%.*s", (int)diag.n, diag_text);
    enum { HMAC_256 = 5, A256GCM = 3 };
    struct cwt_maker with = {.proof = secret ? NULL : &key,
                             .proof_alg = HMAC_256,
                             .seal = secret ? &key : NULL,
                             .seal_alg = A256GCM};
    struct buf out = buf_on(t->raw.p, sizeof t->raw.p);
    enum pep_err err = cwt_mint(&told.c, POLICY_RFC9200, &with, &out);
    t->raw.n = out.n;
    return err == PEP_OK || fail(w, "no token: %s", pep_err_str(err));
}

/* m2mtoken NAME id= holder= [as=KEYFILE] [iss=] [aud=] [exp=] [ris=] [role=]
 * [acor= acop=]: a JWS of oneM2M with one permission. */
static bool verb_m2mtoken(struct world *w, char **words, size_t n)
{
    if (n < 1 || w->n_tokens == TOKENS)
        return fail(w, "m2mtoken NAME ...");
    struct minted *t = &w->tokens[w->n_tokens++];
    snprintf(t->name, sizeof t->name, "%s", words[0]);
    char permissions[512], file[128], diag_text[256];
    struct buf b = buf_on(permissions, sizeof permissions),
               diag = buf_on(diag_text, sizeof diag_text - 1);
    const char *as = value_of(words, n, "as"), *iss = value_of(words, n, "iss"),
               *exp = value_of(words, n, "exp"), *aud = value_of(words, n, "aud"),
               *role = value_of(words, n, "role"), *acor = value_of(words, n, "acor");
    buf_put_str(&b, "[{");
    struct bytes ris = bytes_str(value_of(words, n, "ris")), rid = bytes_str(role);
    json_write_texts_of(&b, "ris", &ris, ris.n > 0);
    json_write_texts_of(&b, "rids", &rid, role != NULL);
    if (acor) {
        json_write_name(&b, "pv");
        buf_put_str(&b, "{\"acr\":[{\"acor\":[");
        json_write_text(&b, bytes_str(acor));
        buf_put_str(&b, "],\"acop\":");
        buf_put_str(&b, value_of(words, n, "acop"));
        buf_put_str(&b, "}]}");
    }
    buf_put_str(&b, "}]");
    struct claims c = {.cti = bytes_str(value_of(words, n, "id")),
                       .iss = bytes_str(iss ? iss : "das@sp.example"),
                       .has_iss = true,
                       .sub = bytes_str(value_of(words, n, "holder")),
                       .has_exp = true,
                       .exp_s = w->now.wall_s + seconds(exp ? exp : "1h"),
                       .permissions = buf_bytes(&b)};
    if (aud)
        c.aud[c.n_aud++] = bytes_str(aud);
    snprintf(file, sizeof file, "%s/keys/%s.hex", w->dir, as ? as : "home-as");
    struct key key;
    size_t keys;
    if (!key_file_read(file, KEY_FILE_MINT, &key, 1, &keys, &diag))
        return fail(w, "%.*s", (int)diag.n, diag_text);
    enum { HS256 = 5 };
    struct jwt_maker with = {.proof = &key, .proof_alg = HS256};
    struct buf out = buf_on(t->raw.p, sizeof t->raw.p);
    enum pep_err err = m2m_token_mint(&c, M2M_JWT_NAMES, &with, &out);
    t->raw.n = out.n;
    return err == PEP_OK || fail(w, "no token: %s", pep_err_str(err));
}

/* device NAME keeps OBSERVER: the token of the request that it took last;
 * device NAME notifies OBSERVER TYPE CODE ...: with that token. */
static bool keep_observer(struct world *w, const char *name, const struct msg *request)
{
    struct observer *o = NULL;
    for (size_t i = 0; i < w->n_observers; i++)
        if (strcmp(w->observers[i].name, name) == 0)
            o = &w->observers[i];
    if (!o && w->n_observers == CLIENTS)
        return fail(w, "too many observers");
    o = o ? o : &w->observers[w->n_observers++];
    snprintf(o->name, sizeof o->name, "%s", name);
    o->token_n = request->token_n;
    memcpy(o->token, request->token, sizeof o->token);
    return true;
}

/* device NAME gets ... [at=PORT] | answers CODE ... | acks | sends TYPE CODE
 * ... | resets | drops all (what it got) | is unreachable | gets nothing. It speaks from where it
 * took its last request. */
static bool verb_device(struct world *w, char **words, size_t n)
{
    int device = n >= 2 ? device_named(w, words[0]) : -1;
    if (device < 0)
        return fail(w, "device NAME gets|answers|acks|sends|resets");
    const char *verb = words[1];
    if (strcmp(verb, "gets") == 0) {
        bool any = w->device_head[device] != w->device_tail[device];
        struct mail *d = &w->device_box[device][w->device_head[device] % INBOX];
        struct bytes got = bytes_of(d->p, d->n);
        if (n == 3 && strcmp(words[2], "nothing") == 0) {
            char text[2048];
            if (any)
                show(got, text, sizeof text);
            return !any || fail(w, "device %s got %s", words[0], text);
        }
        if (!any)
            return fail(w, "device %s got nothing", words[0]);
        const char *port = value_of(words, n, "at");
        if (port && atoi(port) != ntohs(d->at.in4.sin_port))
            return fail(w, "device %s got it at port %d", words[0], ntohs(d->at.in4.sin_port));
        n -= port != NULL; /* the last word */
        w->device_head[device]++;
        struct msg m;
        if (msg_parse(got, &m) == MSG_OK && (msg_is_request(&m) || m.type == TYPE_CON))
            w->device_got = *d;
        return matches(w, words[0], got, words + 2, n - 2);
    }
    if (strcmp(verb, "drops") == 0) {
        w->device_head[device] = w->device_tail[device];
        return true;
    }
    if (strcmp(verb, "is") == 0) {
        from_device(w, &w->device_got.at, BYTES_NONE);
        settle(w);
        return true;
    }
    struct msg request;
    if (msg_parse(bytes_of(w->device_got.p, w->device_got.n), &request) != MSG_OK)
        return fail(w, "device %s has taken no request", words[0]);
    struct observer *o = NULL;
    if (strcmp(verb, "keeps") == 0 && n == 3)
        return keep_observer(w, words[2], &request);
    if (strcmp(verb, "notifies") == 0) {
        for (size_t i = 0; n > 2 && i < w->n_observers; i++)
            if (strcmp(w->observers[i].name, words[2]) == 0)
                o = &w->observers[i];
        if (!o)
            return fail(w, "device NAME notifies OBSERVER TYPE CODE ...");
        request.token_n = o->token_n;
        memcpy(request.token, o->token, sizeof request.token);
        words++;
        n--;
    }
    struct draft *d = calloc(1, sizeof *d);
    d->space = buf_on(d->storage, sizeof d->storage);
    d->m.mid = request.mid;
    bool ok = true;
    uint8_t storage[MESSAGE_MAX];
    struct buf out = buf_on(storage, sizeof storage);
    if (strcmp(verb, "acks") == 0 || strcmp(verb, "resets") == 0) {
        msg_write_empty(verb[0] == 'a' ? TYPE_ACK : TYPE_RST, request.mid, &out);
    } else {
        bool sends = o || strcmp(verb, "sends") == 0;
        size_t at = sends ? 4 : 3;
        int type = sends && n >= 4            ? type_named(words[2])
                   : request.type == TYPE_CON ? (int)TYPE_ACK
                                              : (int)TYPE_NON;
        int code = n >= at ? code_named(words[at - 1]) : -1;
        if (type < 0 || code < 0)
            ok = fail(w, "device answers CODE ... | sends TYPE CODE ...");
        d->m.type = (uint8_t)type;
        d->m.code = (uint8_t)code;
        d->m.token_n = request.token_n;
        memcpy(d->m.token, request.token, sizeof request.token);
        if (sends)
            d->m.mid = o ? ++w->notice_mid : (uint16_t)(request.mid + 7777);
        ok = ok && read_words(w, words + at, n - at, d) && msg_write(&d->m, &out);
    }
    if (ok) {
        from_device(w, &w->device_got.at, buf_bytes(&out));
        settle(w);
    }
    free(d);
    return ok;
}

/* devices publish: their /.well-known/core is the scenario's to answer.
 * devices ignore pings: empty messages are lost on the way to them. */
static bool verb_devices(struct world *w, char **words, size_t n)
{
    bool publish = n == 1 && strcmp(words[0], "publish") == 0;
    bool ignore = n == 2 && strcmp(words[0], "ignore") == 0;
    w->devices_publish |= publish;
    w->pings_lost |= ignore;
    return publish || ignore || fail(w, "devices publish | ignore pings");
}

/* house FILE: this configuration of the house, from the start */
static bool verb_house(struct world *w, char **words, size_t n)
{
    static char text[4096];
    struct buf diag = buf_on(text, sizeof text - 1);
    char file[256];
    snprintf(file, sizeof file, "%s/%s", w->dir, n ? words[0] : "");
    close_gate(w);
    config_free(w->config);
    w->config = config_load(file, &diag);
    text[diag.n] = 0;
    return w->config ? open_gate(w) : fail(w, "%s", text);
}

/* name HOST is ADDRESS | nothing */
static bool verb_name(struct world *w, char **words, size_t n)
{
    if (n != 3 || strcmp(words[1], "is") != 0)
        return fail(w, "name HOST is ADDRESS");
    fake_resolve_name(words[0], strcmp(words[2], "nothing") == 0 ? NULL : words[2]);
    return true;
}

static bool reply(struct world *w, const struct pep_reply *r)
{
    gate_reply_came(w->gate, w->question.id, r, w->now);
    settle(w);
    return true;
}

/* Claims in an answer of introspection (RFC 9200 5.9.2): with active in front. */
static bool reply_active(struct world *w, char **words, size_t n)
{
    uint8_t claims[1024], text[1024];
    struct buf c = buf_on(claims, sizeof claims), b = buf_on(text, sizeof text);
    struct told told = {0};
    read_claims(w, words, n, &told);
    cwt_write(&told.c, POLICY_RFC9200, &c);
    buf_put_u8(&b, (uint8_t)(claims[0] + 1));
    buf_put_u8(&b, 10);
    buf_put_u8(&b, 0xf5);
    buf_put(&b, bytes_of(claims + 1, c.n - 1));
    return reply(w, &(struct pep_reply){.code = MSG_CODE(2, 1),
                                        .content_format = PEP_FORMAT_ACE_CBOR,
                                        .body = buf_bytes(&b)});
}

static bool authority_gets(struct world *w, int authority, char **words, size_t n)
{
    bool any = w->question_head != w->question_tail;
    struct asked *q = &w->questions[w->question_head % INBOX];
    if (n == 1 && strcmp(words[0], "nothing") == 0)
        return !any || fail(w, "an authority got a question");
    struct minted *t = n == 2 ? token_named(w, words[1] + 1) : NULL;
    if (!t)
        return fail(w, "authority NAME gets question @TOKEN | nothing");
    if (!any || q->authority != authority || q->ask != PEP_ASK_INTROSPECT)
        return fail(w, "the authority got no question");
    w->question_head++;
    w->question = *q;
    return memmem(q->body.p, q->body.n, t->raw.p, t->raw.n) ||
           fail(w, "the question is not about %s", words[1]);
}

/* ---- what is asked about a request ---- */

/* "KEY=VALUE" of a question's JSON: a text, a number, or one of a list; "!KEY"
 * is not there. */
static bool tells(const struct mail *body, const char *word)
{
    char name[64], want[300];
    const char *is = strchr(word, '=');
    snprintf(name, sizeof name, "\"%.*s\":", is ? (int)(is - word) : 60, word + (*word == '!'));
    if (!is)
        snprintf(name, sizeof name, "\"%s\":", word + 1);
    const char *at = memmem(body->p, body->n, name, strlen(name));
    if (*word == '!' || !at)
        return *word == '!' && !at;
    at += strlen(name);
    const char *end = (const char *)body->p + body->n;
    snprintf(want, sizeof want, *at == '"' || *at == '[' ? "\"%s\"" : "%s", is + 1);
    if (*at != '[')
        return (size_t)(end - at) > strlen(want) && memcmp(at, want, strlen(want)) == 0 &&
               strchr(",}", at[strlen(want)]);
    const char *close = memchr(at, ']', (size_t)(end - at));
    return close && memmem(at, (size_t)(close - at), want, strlen(want));
}

static bool gets_about(struct world *w, enum pep_ask ask, int whom, char **words, size_t n)
{
    bool any = w->question_head != w->question_tail;
    struct asked *q = &w->questions[w->question_head % INBOX];
    if (n == 1 && strcmp(words[0], "nothing") == 0)
        return !any || fail(w, "somebody got a question");
    if (!any || q->ask != ask || q->authority != whom)
        return fail(w, "no such question was asked");
    w->question_head++;
    w->question = *q;
    for (size_t i = 0; i < n; i++)
        if (!tells(&q->body, words[i]))
            return fail(w, "no %s in %.*s", words[i], (int)q->body.n, (const char *)q->body.p);
    return true;
}

/* Members of an answer, and what stands around it: code=, rsc=, max-age=. */
static bool point_answers(struct world *w, char **words, size_t n)
{
    static const struct {
        const char *word, *json;
    } known[] = {{"permit", "\"dec\":1,\"sus\":1"},
                 {"deny", "\"dec\":2,\"sus\":1"},
                 {"not-applicable", "\"sus\":2"}};
    char text[1024] = "{\"m2m:auds\":{";
    struct pep_reply r = {.code = MSG_CODE(2, 4), .content_format = PEP_FORMAT_JSON};
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(text), k = 0;
        char *v = strchr(words[i], '=');
        while (k < 3 && strcmp(words[i], known[k].word) != 0)
            k++;
        if (k < 3)
            snprintf(text + at, sizeof text - at, "%s,", known[k].json);
        else if (!v)
            return fail(w, "answers permit | deny | not-applicable | KEY=VALUE");
        else if (strncmp(words[i], "code=", 5) == 0)
            r.code = (uint8_t)code_named(v + 1);
        else if (strncmp(words[i], "rsc=", 4) == 0)
            r.rsc = (uint16_t)atoi(v + 1);
        else if (strncmp(words[i], "max-age=", 8) == 0)
            r.has_max_age = true, r.max_age_s = (uint32_t)atoi(v + 1);
        else
            snprintf(text + at, sizeof text - at,
                     strspn(v + 1, "0123456789") == strlen(v + 1) ? "\"%.*s\":%s,"
                                                                  : "\"%.*s\":\"%s\",",
                     (int)(v - words[i]), words[i], v + 1);
    }
    size_t end = strlen(text);
    snprintf(text + end - (text[end - 1] == ','), 3, "}}");
    r.body = bytes_str(text);
    return reply(w, &r);
}

/* What an authority gives for one request (oneM2M's dynamic authorization):
 * acor= and acop= of a rule, pl= of its end; sit=, code=, rsc=; or nothing. */
static bool reply_gives(struct world *w, char **words, size_t n)
{
    char text[4096], rule[512 + TOKEN_MAX] = "", end[64] = "";
    const struct minted *given = NULL;
    const char *acor = NULL, *acop = NULL, *sit = "2";
    struct pep_reply r = {.code = MSG_CODE(2, 4), .content_format = PEP_FORMAT_JSON};
    for (size_t i = 0; i < n; i++) {
        const char *v = strchr(words[i], '=') ? strchr(words[i], '=') + 1 : "";
        if (strncmp(words[i], "acor=", 5) == 0)
            acor = v;
        else if (strncmp(words[i], "acop=", 5) == 0)
            acop = v;
        else if (strncmp(words[i], "pl=", 3) == 0)
            snprintf(end, sizeof end, ",\"pl\":\"%s\"", v);
        else if (strncmp(words[i], "sit=", 4) == 0)
            sit = v;
        else if (strncmp(words[i], "tokens=", 7) == 0 && token_named(w, v))
            given = token_named(w, v);
        else if (strncmp(words[i], "code=", 5) == 0)
            r.code = (uint8_t)code_named(v);
        else if (strncmp(words[i], "rsc=", 4) == 0)
            r.rsc = (uint16_t)atoi(v);
        else if (strcmp(words[i], "nothing") != 0)
            return fail(w, "gives acor= acop= pl= | nothing");
    }
    if (acor && acop)
        snprintf(rule, sizeof rule,
                 ",\"dres\":{\"dai\":{\"gp\":{\"acr\":[{\"acor\":[\"%s\"],\"acop\":%s}]}%s}}", acor,
                 acop, end);
    if (given)
        snprintf(rule, sizeof rule, ",\"dres\":{\"tkns\":[\"%.*s\"]}", (int)given->raw.n,
                 (const char *)given->raw.p);
    snprintf(text, sizeof text, "{\"m2m:seci\":{\"sit\":%s%s}}", sit, rule);
    r.body = bytes_str(text);
    return reply(w, &r);
}

/* point NAME gets KEY=VALUE ... | gets nothing | answers permit | deny |
 * not-applicable | KEY=VALUE ... | is away. As `authority`. */
static bool verb_point(struct world *w, char **words, size_t n)
{
    int point = n >= 2 ? policy_point_find(pep_policy(w->pep), bytes_str(words[0])) : -1;
    if (point < 0)
        return fail(w, "point NAME gets|answers|is ...");
    if (strcmp(words[1], "gets") == 0)
        return gets_about(w, PEP_ASK_DECISION, point, words + 2, n - 2);
    if (strcmp(words[1], "is") == 0)
        return reply(w, &(struct pep_reply){.away = true, .content_format = PEP_FORMAT_NONE});
    return strcmp(words[1], "answers") == 0 ? point_answers(w, words + 2, n - 2)
                                            : fail(w, "what does '%s' mean?", words[1]);
}

/* authority NAME gets question @TOKEN | gets nothing | answers active CLAIMS
 * | answers inactive | answers CODE "text" | is away; gets KEY=VALUE ... | gives
 * RULE | nothing, about a request. It answers the question that it took last. */
static bool verb_authority(struct world *w, char **words, size_t n)
{
    int authority = n >= 3 ? policy_authority_find(pep_policy(w->pep), bytes_str(words[0])) : -1;
    const char *what = n >= 3 ? words[2] : "";
    if (authority < 0)
        return fail(w, "authority NAME gets|answers|is ...");
    if (strcmp(words[1], "gets") == 0 && strpbrk(what, "=!"))
        return gets_about(w, PEP_ASK_DYNAMIC, authority, words + 2, n - 2);
    if (strcmp(words[1], "gets") == 0)
        return authority_gets(w, authority, words + 2, n - 2);
    if (strcmp(words[1], "gives") == 0)
        return reply_gives(w, words + 2, n - 2);
    if (strcmp(words[1], "is") == 0 && strcmp(what, "away") == 0)
        return reply(w, &(struct pep_reply){.away = true, .content_format = PEP_FORMAT_NONE});
    if (strcmp(words[1], "answers") != 0)
        return fail(w, "what does '%s' mean?", words[1]);
    if (strcmp(what, "active") == 0)
        return reply_active(w, words + 3, n - 3);
    struct pep_reply r = {.code = MSG_CODE(2, 1),
                          .content_format = PEP_FORMAT_ACE_CBOR,
                          .body = BYTES_LIT("\xa1\x0a\xf4")};
    if (strcmp(what, "inactive") == 0)
        return reply(w, &r);
    int code = code_named(what);
    if (code < 0)
        return fail(w, "answers active | inactive | CODE");
    r.code = (uint8_t)code;
    r.body = n > 3 ? bytes_of(words[3] + 1, strlen(words[3]) - 2) : BYTES_NONE;
    return reply(w, &r);
}

static bool run_words(struct world *w, char **words, size_t n);

/* times N LINE */
static bool verb_times(struct world *w, char **words, size_t n)
{
    bool ok = n >= 2 && atoi(words[0]) > 0;
    char *copy[WORDS];
    for (int i = 0; ok && i < atoi(words[0]); i++) {
        memcpy(copy, words + 1, (n - 1) * sizeof *copy);
        ok = run_words(w, copy, n - 1);
    }
    return ok || fail(w, "times N LINE");
}

static const struct {
    const char *name;
    bool (*run)(struct world *w, char **words, size_t n);
} verbs[] = {
    {"client", verb_client}, {"token", verb_token},         {"m2mtoken", verb_m2mtoken},
    {"wait", verb_wait},     {"policy", verb_policy},       {"restart", verb_restart},
    {"audit", verb_audit},   {"device", verb_device},       {"devices", verb_devices},
    {"revoke", verb_revoke}, {"authority", verb_authority}, {"clock", verb_clock},
    {"times", verb_times},   {"point", verb_point},         {"name", verb_name},
    {"house", verb_house},   {"sleepers", verb_sleepers},
};

/* ---- what a client does ---- */

static void emit(struct world *w, struct client *c, struct bytes message)
{
    c->came += message.n;
    if (c->dtls)
        (void)dtls_client_write(c->dtls, message, w->now);
    else
        gate_client_datagram(w->gate, c->listener, &c->peer, message, w->now);
    settle(w);
}

static bool client_sends(struct world *w, struct client *c, char **words, size_t n)
{
    if (n >= 1 && strcmp(words[0], "raw") == 0 && n == 2) {
        c->sent.n = unhex(words[1], c->sent.p, sizeof c->sent.p);
        emit(w, c, bytes_of(c->sent.p, c->sent.n));
        return true;
    }
    int type = n >= 2 ? type_named(words[0]) : -1, code = n >= 2 ? code_named(words[1]) : -1;
    if (type < 0 || code < 0)
        return fail(w, "NAME sends TYPE CODE ...");
    struct draft *d = calloc(1, sizeof *d);
    d->space = buf_on(d->storage, sizeof d->storage);
    d->m.type = (uint8_t)type;
    d->m.code = (uint8_t)code;
    d->m.mid = ++c->mid;
    if (code != 0) {
        d->m.token_n = 2;
        memcpy(d->m.token, &d->m.mid, 2);
    }
    bool ok = read_words(w, words + 2, n - 2, d);
    struct buf out = buf_on(c->sent.p, sizeof c->sent.p);
    if (ok && !msg_write(&d->m, &out))
        ok = fail(w, "the message does not fit");
    c->sent.n = out.n;
    const struct msg_option *echo = msg_find(&d->m, OPT_ECHO);
    c->there = c->there ||
               (echo && c->echo.n > 0 && bytes_equal(echo->value, bytes_of(c->echo.p, c->echo.n)));
    free(d);
    if (ok)
        emit(w, c, bytes_of(c->sent.p, c->sent.n));
    return ok;
}

/* What a client is notified of grows strictly (RFC 7641 4.4), per token. */
static bool is_in_order(struct client *c, struct bytes got)
{
    struct msg m;
    if (msg_parse(got, &m) != MSG_OK || observe_number(&m) < 0)
        return true;
    struct seen *s = NULL;
    for (size_t i = 0; i < COUNT(c->seen) && !s; i++)
        if (!c->seen[i].any || bytes_equal(bytes_of(c->seen[i].token, c->seen[i].token_n),
                                           bytes_of(m.token, m.token_n)))
            s = &c->seen[i];
    uint32_t number = (uint32_t)observe_number(&m);
    bool ok = !s || !s->any || observe_is_newer(s->number, 0, number, 0) ||
              (s->number == number && s->mid == m.mid); /* sent again */
    if (!s)
        return true;
    *s = (struct seen){.any = true, .number = number, .mid = m.mid, .token_n = m.token_n};
    memcpy(s->token, m.token, sizeof s->token);
    return ok;
}

static bool client_gets(struct world *w, struct client *c, char **words, size_t n)
{
    bool any = c->head != c->tail;
    if (n == 1 && strcmp(words[0], "nothing") == 0) {
        char text[2048];
        if (any)
            show(bytes_of(c->inbox[c->head % INBOX].p, c->inbox[c->head % INBOX].n), text,
                 sizeof text);
        return !any || fail(w, "%s got %s", c->name, text);
    }
    if (!any)
        return fail(w, "%s got nothing", c->name);
    struct mail *m = &c->inbox[c->head++ % INBOX];
    if (n == 1 && strcmp(words[0], "any") == 0) /* bytes, whatever they are */
        return true;
    if (!is_in_order(c, bytes_of(m->p, m->n)))
        return fail(w, "%s: the Observe numbers do not grow", c->name);
    return matches(w, c->name, bytes_of(m->p, m->n), words, n);
}

static bool client_connects(struct world *w, struct client *c, bool wanted)
{
    dtls_client_connect(c->dtls, w->now);
    settle(w);
    if (!dtls_client_established(c->dtls) && !dtls_client_closed(c->dtls))
        pass(w, 5000);
    bool is = dtls_client_established(c->dtls);
    return is == wanted || fail(w, "%s %s", c->name, is ? "is connected" : "is not connected");
}

/* NAME answers [later] CODE ...: to the request that it took last; later: not
 * with its ACK. */
static bool client_answers(struct world *w, struct client *c, char **words, size_t n)
{
    struct mail *m = &c->inbox[(c->head - 1) % INBOX];
    struct msg last;
    bool later = n > 0 && strcmp(words[0], "later") == 0;
    words += later;
    n -= later;
    int code = n > 0 ? code_named(words[0]) : -1;
    if (code < 0 || c->head == 0 || msg_parse(bytes_of(m->p, m->n), &last) != MSG_OK ||
        !msg_is_request(&last))
        return fail(w, "%s has got no request; NAME answers [later] CODE ...", c->name);
    struct draft *d = calloc(1, sizeof *d);
    d->space = buf_on(d->storage, sizeof d->storage);
    d->m.type = last.type == TYPE_NON ? TYPE_NON : later ? TYPE_CON : TYPE_ACK;
    d->m.code = (uint8_t)code;
    d->m.mid = d->m.type == TYPE_ACK ? last.mid : ++c->mid;
    d->m.token_n = last.token_n;
    memcpy(d->m.token, last.token, sizeof last.token);
    bool ok = read_words(w, words + 1, n - 1, d);
    struct buf out = buf_on(c->sent.p, sizeof c->sent.p);
    if (ok && !msg_write(&d->m, &out))
        ok = fail(w, "the message does not fit");
    c->sent.n = out.n;
    free(d);
    if (ok)
        emit(w, c, bytes_of(c->sent.p, c->sent.n));
    return ok;
}

static bool client_line(struct world *w, struct client *c, char **words, size_t n)
{
    const char *verb = n ? words[0] : "";
    if (strcmp(verb, "sends") == 0)
        return client_sends(w, c, words + 1, n - 1);
    if (strcmp(verb, "gets") == 0)
        return client_gets(w, c, words + 1, n - 1);
    if (strcmp(verb, "repeats") == 0) {
        emit(w, c, bytes_of(c->sent.p, c->sent.n));
        return true;
    }
    if (strcmp(verb, "answers") == 0)
        return client_answers(w, c, words + 1, n - 1);
    if (strcmp(verb, "acks") == 0 && n > 1 && strcmp(words[1], "always") == 0) {
        c->acks = true;
        return true;
    }
    if (strcmp(verb, "acks") == 0 || strcmp(verb, "resets") == 0) {
        /* the message it took last */
        struct mail *m = &c->inbox[(c->head - 1) % INBOX];
        struct msg last;
        if (c->head == 0 || msg_parse(bytes_of(m->p, m->n), &last) != MSG_OK)
            return fail(w, "%s has got nothing to %s", c->name, verb);
        uint8_t storage[4];
        struct buf out = buf_on(storage, sizeof storage);
        msg_write_empty(verb[0] == 'a' ? TYPE_ACK : TYPE_RST, last.mid, &out);
        emit(w, c, buf_bytes(&out));
        return true;
    }
    if (strcmp(verb, "loses") == 0) {
        c->lose = n > 1 ? (unsigned)atoi(words[1]) : 1;
        return true;
    }
    if (strcmp(verb, "connects") == 0 && c->dtls)
        return client_connects(w, c, true);
    if (strcmp(verb, "begins") == 0 && c->dtls) { /* its handshake, which may have to wait */
        dtls_client_connect(c->dtls, w->now);
        settle(w);
        return !dtls_client_established(c->dtls) || fail(w, "%s is connected", c->name);
    }
    if (strcmp(verb, "connected") == 0 && c->dtls)
        return dtls_client_established(c->dtls) || fail(w, "%s is not connected", c->name);
    if (strcmp(verb, "cannot") == 0 && c->dtls)
        return client_connects(w, c, false);
    if (strcmp(verb, "closes") == 0 && c->dtls) {
        dtls_client_close(c->dtls, w->now);
        settle(w);
        return true;
    }
    if (strcmp(verb, "closed") == 0 && c->dtls)
        return dtls_client_closed(c->dtls) || fail(w, "%s is still connected", c->name);
    return fail(w, "what does '%s' mean?", verb);
}

static bool run_line(struct world *w, char *line)
{
    char *words[WORDS];
    size_t n = split(line, words);
    return n == 0 || run_words(w, words, n);
}

static bool run_words(struct world *w, char **words, size_t n)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(words[0], verbs[i].name) == 0)
            return verbs[i].run(w, words + 1, n - 1);
    struct client *c = client_named(w, words[0]);
    return c ? client_line(w, c, words + 1, n - 1) : fail(w, "who is '%s'?", words[0]);
}

/* Nothing is answered unseen. */
static void check_quiet(struct world *w)
{
    char text[2048];
    for (size_t i = 0; i < w->n_clients; i++) {
        struct client *c = &w->clients[i];
        if (c->head == c->tail)
            continue;
        show(bytes_of(c->inbox[c->head % INBOX].p, c->inbox[c->head % INBOX].n), text, sizeof text);
        fail(w, "at the end %s still has %s", c->name, text);
    }
    for (size_t i = 0; i < w->config->n_devices; i++) {
        if (w->device_head[i] == w->device_tail[i])
            continue;
        struct mail *d = &w->device_box[i][w->device_head[i] % INBOX];
        show(bytes_of(d->p, d->n), text, sizeof text);
        fail(w, "at the end device %s still has %s", w->config->devices[i].upstream.name, text);
    }
}

bool scenario_play(const char *file, const char *house)
{
    struct world *w = calloc(1, sizeof *w);
    w->file = file;
    FILE *f = fopen(file, "r");
    if (!f) {
        fprintf(stderr, "%s: cannot be read\n", file);
        free(w);
        return false;
    }
    bool ok = open_house(w, house);
    char line[1024];
    while (ok && fgets(line, sizeof line, f)) {
        w->line++;
        ok = run_line(w, line);
    }
    if (ok)
        check_quiet(w);
    ok = ok && !w->failed;
    fclose(f);
    close_house(w);
    fake_udp_reset();
    free(w);
    return ok;
}
