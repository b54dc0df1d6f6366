#include "authority.h"

#include <stdlib.h>
#include <strings.h>

#include "coap_line.h"

enum {
    CODE_BAD_GATEWAY = MSG_CODE(5, 2),
    CODE_UNAVAILABLE = MSG_CODE(5, 3),
    CODE_TOO_MANY = MSG_CODE(4, 29),
    DETAIL_MAX = 31,         /* of a code; HTTP has more, none that matters here */
    FORM_ROOM = 8192,        /* for credentials in a form */
    STANDING_RETRY_MS = 1000 /* when only the one question was lost */
};

/* Whom we ask, over one transport with one set of credentials. */
struct server {
    struct server *next;
    struct authorities *as;
    uint8_t digest[CRYPTO_SHA256];
    struct coap_line *coap; /* NULL: HTTP */
    struct circuit circuit;
    uint64_t heard_us, latency_us;
    size_t under_way, n_standing;
    uint64_t asked, answered, away, refused;
    const char *reason;
    bool wanted; /* by the wire that is being taken over */
};

enum slot_state {
    SLOT_FREE = 0,
    SLOT_ASKED,
    SLOT_STANDING, /* an observation whose server is away */
    SLOT_AWAY,     /* to be told so at the next turn, and over */
};

struct slot {
    enum slot_state state;
    bool is_get, observe, told_away;
    bool awaited; /* asked, and nothing has come yet */
    enum authority_purpose purpose;
    int authority;
    uint64_t id; /* pep's, or the handle */
    uint64_t serial;
    struct server *server; /* NULL: none, and SLOT_AWAY */
    uint64_t asked_us, retry_ms;
    uint8_t *query; /* of a get: lengths (1 byte each) and texts */
    size_t query_n;
    uint32_t next_free;
};

struct authorities {
    struct loop *loop;
    struct authority_ops ops;
    void *user;
    struct resolver *resolver;
    struct http_client *http;
    struct wire *wire;
    struct server *servers;
    struct server **map; /* AUTHORITY_PURPOSES an authority; NULL: none */
    struct slot slots[AUTHORITY_QUESTIONS];
    uint32_t free; /* index + 1 of the first free slot; 0: none */
    size_t n_away, n_standing;
    uint64_t next_serial;
    bool dirty; /* something was asked since the lines had their turn */
};

/* ---- slots ---- */

static struct slot *take_slot(struct authorities *as)
{
    if (as->free == 0)
        return NULL;
    struct slot *s = &as->slots[as->free - 1];
    uint32_t index = as->free - 1;
    as->free = s->next_free;
    *s = (struct slot){.serial = ++as->next_serial << 16 | index};
    return s;
}

static struct slot *find_slot(struct authorities *as, uint64_t serial)
{
    struct slot *s = &as->slots[serial & 0xffff];
    return (serial & 0xffff) < AUTHORITY_QUESTIONS && s->state != SLOT_FREE && s->serial == serial
               ? s
               : NULL;
}

/* The counts follow the state; nothing else changes them. */
static void set_state(struct authorities *as, struct slot *s, enum slot_state state)
{
    if (s->server) {
        s->server->under_way -= s->state == SLOT_ASKED;
        s->server->under_way += state == SLOT_ASKED;
    }
    as->n_away -= s->state == SLOT_AWAY;
    as->n_away += state == SLOT_AWAY;
    as->n_standing -= s->state == SLOT_STANDING;
    as->n_standing += state == SLOT_STANDING;
    s->state = state;
}

static void free_slot(struct authorities *as, struct slot *s)
{
    set_state(as, s, SLOT_FREE);
    if (s->server && s->observe)
        s->server->n_standing--;
    free(s->query);
    *s = (struct slot){.next_free = as->free};
    as->free = (uint32_t)(s - as->slots) + 1;
}

static uint32_t random_u32(struct authorities *as)
{
    uint32_t v;
    as->ops.random(as->user, &v, sizeof v);
    return v;
}

/* ---- telling ---- */

static void tell_get(struct authorities *as, struct slot *s, const struct pep_reply *r,
                     uint32_t max_age_s, bool observed, bool last, struct instant now)
{
    const struct authority_got g = {.authority = s->authority,
                                    .purpose = s->purpose,
                                    .reply = *r,
                                    .max_age_s = max_age_s,
                                    .observed = observed,
                                    .last = last};
    uint64_t handle = s->id;
    if (last)
        free_slot(as, s);
    as->ops.got(as->user, handle, &g, now);
}

static void tell(struct authorities *as, struct slot *s, const struct pep_reply *r,
                 uint32_t max_age_s, struct instant now)
{
    uint64_t id = s->id;
    if (s->is_get) {
        tell_get(as, s, r, max_age_s, false, true, now);
        return;
    }
    free_slot(as, s);
    as->ops.replied(as->user, id, r, now);
}

static void tell_away(struct authorities *as, struct slot *s, struct instant now)
{
    uint32_t retry_s = s->server ? circuit_retry_s(&s->server->circuit, now) : 0;
    const struct pep_reply r = {
        .away = true, .content_format = PEP_FORMAT_NONE, .retry_s = retry_s ? retry_s : 1};
    if (s->server)
        s->server->away++;
    if (!s->observe || s->state == SLOT_AWAY) {
        tell(as, s, &r, 0, now);
        return;
    }
    set_state(as, s, SLOT_STANDING);
    s->retry_ms = instant_ms(now) + STANDING_RETRY_MS;
    bool told = s->told_away;
    s->told_away = true;
    if (!told) /* once each time */
        tell_get(as, s, &r, 0, false, false, now);
}

/* To be told later, and not to be asked. */
static void refuse(struct authorities *as, struct slot *s)
{
    if (s->server)
        s->server->refused++;
    set_state(as, s, SLOT_AWAY);
    as->dirty = true;
}

/* ---- what became of a question ---- */

static void note_answer(struct server *v, const struct slot *s, struct instant now)
{
    uint64_t us = now.mono_us - s->asked_us;
    v->latency_us = v->latency_us ? (7 * v->latency_us + us) / 8 : us;
    v->heard_us = now.mono_us;
    v->answered++;
    circuit_succeeded(&v->circuit, now);
}

/* Silence is the server's only if it was silent to everybody. */
static void note_failure(struct server *v, const struct slot *s, bool silence, const char *reason,
                         struct instant now)
{
    v->reason = reason;
    if (silence && v->heard_us > s->asked_us)
        circuit_succeeded(&v->circuit, now);
    else
        circuit_failed(&v->circuit, random_u32(v->as), now);
}

static void on_coap(void *user, uint64_t serial, const struct coap_answer *a, struct instant now)
{
    struct server *v = user;
    struct authorities *as = v->as;
    struct slot *s = find_slot(as, serial);
    if (!s)
        return;
    struct pep_reply r = {.code = a->code,
                          .content_format =
                              a->content_format < 0 ? PEP_FORMAT_NONE : a->content_format,
                          .body = a->body};
    switch (a->end) {
    case COAP_SILENT:
    case COAP_LOST: {
        const char *why = coap_line_reason(v->coap);
        note_failure(v, s, a->end == COAP_SILENT, a->end == COAP_SILENT || !why ? "silent" : why,
                     now);
        tell_away(as, s, now);
        return;
    }
    case COAP_RESET:
    case COAP_BAD: /* somebody is there, and talks nonsense */
        note_answer(v, s, now);
        r = (struct pep_reply){.code = CODE_BAD_GATEWAY, .content_format = PEP_FORMAT_NONE};
        tell(as, s, &r, 0, now);
        return;
    case COAP_ANSWERED:
    case COAP_UNOBSERVED:
        break;
    }
    if (r.code == CODE_UNAVAILABLE || r.code == CODE_TOO_MANY)
        r.retry_s = a->max_age_s;
    if (s->awaited)
        note_answer(v, s, now);
    else /* a notification: it shows that the server is there */
        v->heard_us = now.mono_us;
    s->asked_us = now.mono_us; /* an observation: what follows is silent since now */
    s->awaited = s->told_away = false;
    if (a->last)
        tell(as, s, &r, a->max_age_s, now);
    else
        tell_get(as, s, &r, a->max_age_s, true, false, now);
}

static int format_of(const char *type)
{
    static const struct {
        const char *name;
        int format;
    } known[] = {
        {"application/json", PEP_FORMAT_JSON},
        {"application/token-introspection+jwt", PEP_FORMAT_INTROSPECTION_JWT},
        {"application/jwk-set+json", PEP_FORMAT_JWK_SET},
        {"application/ace+cbor", PEP_FORMAT_ACE_CBOR},
        {"application/cbor", PEP_FORMAT_CBOR},
    };
    size_t n = type ? strcspn(type, "; \t") : 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == n && strncasecmp(known[i].name, type, n) == 0)
            return known[i].format;
    return PEP_FORMAT_NONE;
}

static const char *http_reason(enum http_end end)
{
    switch (end) {
    case HTTP_UNREACHABLE:
        return "unreachable";
    case HTTP_UNTRUSTED:
        return "certificate-refused";
    case HTTP_SILENT:
        return "silent";
    case HTTP_TOO_LARGE:
        return "answer-too-large";
    case HTTP_ANSWERED:
        break;
    }
    return "answered";
}

static void on_http(void *user, uint64_t serial, const struct http_answer *a, struct instant now)
{
    struct authorities *as = user;
    struct slot *s = find_slot(as, serial);
    if (!s || !s->server)
        return;
    struct server *v = s->server;
    struct pep_reply r = {.code = CODE_BAD_GATEWAY, .content_format = PEP_FORMAT_NONE};
    switch (a->end) {
    case HTTP_UNREACHABLE:
    case HTTP_UNTRUSTED:
    case HTTP_SILENT:
        note_failure(v, s, a->end == HTTP_SILENT, http_reason(a->end), now);
        tell_away(as, s, now);
        return;
    case HTTP_TOO_LARGE:
        break;
    case HTTP_ANSWERED:
        if (a->status < 200)
            break;
        r.code =
            MSG_CODE(a->status / 100, a->status % 100 < DETAIL_MAX ? a->status % 100 : DETAIL_MAX);
        r.content_format = format_of(a->content_type);
        r.body = a->body;
        r.retry_s = a->retry_s;
        break;
    }
    note_answer(v, s, now);
    tell(as, s, &r, 0, now);
}

/* ---- asking ---- */

static bool send_coap(struct slot *s, const struct wire_endpoint *e, struct bytes body, int format,
                      struct instant now)
{
    struct bytes query[UINT8_MAX];
    size_t n_query = 0;
    for (size_t i = 0; i < s->query_n; i += 1u + s->query[i])
        query[n_query++] = bytes_of(s->query + i + 1, s->query[i]);
    const struct coap_question q = {
        .code = s->is_get ? MSG_GET : MSG_POST,
        .host = e->host_is_name ? bytes_str(e->host) : BYTES_NONE,
        .path = e->path,
        .n_path = e->n_path,
        .query = query,
        .n_query = n_query,
        .content_format = s->is_get ? CF_NONE : format,
        .accept = CF_NONE, /* critical, and what it would say is the only format there is */
        .body = body,
        .observe = s->observe,
        .wait_ms = AUTHORITY_WAIT_MS,
    };
    return coap_line_ask(s->server->coap, s->serial, &q, now);
}

static bool send_http(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                      struct bytes body, struct instant now)
{
    const struct policy_endpoint *said = e->said;
    const char *issuer = as->wire->authorities[s->authority].issuer;
    size_t room = s->is_get ? 0 : body.n + e->form.n + FORM_ROOM;
    uint8_t *form = malloc(room + 1);
    if (!form)
        return false;
    struct buf b = buf_on(form, room);
    bool ok = true;
    if (!s->is_get) {
        buf_put(&b, body);
        buf_put(&b, bytes_of(e->form.p, e->form.n));
        if (said->auth == POLICY_AUTH_PRIVATE_KEY_JWT)
            ok = wire_assertion(e, issuer ? issuer : said->url, now.wall_s, &b);
    }
    const struct http_question q = {
        .url = said->url,
        .content_type = s->is_get ? NULL : "application/x-www-form-urlencoded",
        .accept = s->is_get ? "application/jwk-set+json, application/json"
                            : "application/json, application/token-introspection+jwt;q=0.5",
        .body = buf_bytes(&b),
        .auth = said->auth == POLICY_AUTH_BASIC    ? HTTP_AUTH_BASIC
                : said->auth == POLICY_AUTH_BEARER ? HTTP_AUTH_BEARER
                                                   : HTTP_AUTH_NONE,
        .user = (const char *)e->user.p,
        .secret = (const char *)e->secret.p,
        .ca = bytes_of(e->ca.p, e->ca.n),
        .certificate = bytes_of(e->certificate.p, e->certificate.n),
        .key = bytes_of(e->key.p, e->key.n),
        .wait_ms = AUTHORITY_WAIT_MS,
    };
    ok = ok && !b.full && http_client_ask(as->http, s->serial, &q, now);
    crypto_wipe(form, b.n);
    free(form);
    return ok;
}

static void send_slot(struct authorities *as, struct slot *s, struct bytes body, int format,
                      struct instant now)
{
    struct server *v = s->server;
    const struct wire_endpoint *e = &as->wire->authorities[s->authority].endpoints[s->purpose];
    s->asked_us = now.mono_us;
    s->awaited = true;
    set_state(as, s, SLOT_ASKED);
    as->dirty = true;
    v->asked++;
    if (v->coap ? send_coap(s, e, body, format, now) : send_http(as, s, e, body, now))
        return;
    circuit_unprobed(&v->circuit);
    refuse(as, s);
}

static struct server *server_of(const struct authorities *as, int authority,
                                enum authority_purpose purpose)
{
    if (!as->wire || authority < 0 || (size_t)authority >= as->wire->n)
        return NULL;
    return as->map[(size_t)authority * AUTHORITY_PURPOSES + purpose];
}

bool authority_ask(struct authorities *as, const struct pep_question *q, struct instant now)
{
    struct slot *s = take_slot(as);
    if (!s)
        return false;
    struct server *v = server_of(as, q->authority, AUTHORITY_INTROSPECT);
    s->id = q->id;
    s->authority = q->authority;
    s->purpose = AUTHORITY_INTROSPECT;
    s->server = v;
    /* What was revoked while the server was away comes first. */
    bool lists_first = v && v->n_standing && v->circuit.state != CIRCUIT_CLOSED;
    if (!v || q->http != !v->coap || v->under_way >= AUTHORITY_EACH || lists_first ||
        !circuit_admits(&v->circuit, now))
        refuse(as, s);
    else
        send_slot(as, s, q->body, q->content_format, now);
    return true;
}

static bool copy_query(struct slot *s, const struct bytes *query, size_t n)
{
    size_t room = 0;
    for (size_t i = 0; i < n; i++) {
        if (query[i].n > UINT8_MAX)
            return false;
        room += 1 + query[i].n;
    }
    s->query = malloc(room + 1);
    if (!s->query || n > UINT8_MAX)
        return false;
    struct buf b = buf_on(s->query, room);
    for (size_t i = 0; i < n; i++) {
        buf_put_u8(&b, (uint8_t)query[i].n);
        buf_put(&b, query[i]);
    }
    s->query_n = b.n;
    return true;
}

uint64_t authority_get(struct authorities *as, int authority, enum authority_purpose purpose,
                       const struct bytes *query, size_t n_query, bool observe, struct instant now)
{
    struct server *v = server_of(as, authority, purpose);
    struct slot *s = v && purpose != AUTHORITY_INTROSPECT ? take_slot(as) : NULL;
    if (!s)
        return 0;
    s->is_get = true;
    s->id = s->serial;
    s->authority = authority;
    s->purpose = purpose;
    if (!copy_query(s, query, n_query)) {
        free_slot(as, s);
        return 0;
    }
    s->server = v;
    s->observe = observe && v->coap;
    v->n_standing += s->observe;
    uint64_t handle = s->id;
    if (circuit_admits(&v->circuit, now)) {
        send_slot(as, s, BYTES_NONE, CF_NONE, now);
    } else if (s->observe) {
        set_state(as, s, SLOT_STANDING);
        s->retry_ms = 0;
    } else {
        refuse(as, s);
    }
    return handle;
}

/* Off its transport, without a word. */
static void withdraw(struct authorities *as, struct slot *s, struct instant now)
{
    struct server *v = s->server;
    if (s->state != SLOT_ASKED || !v)
        return;
    if (v->coap)
        coap_line_cancel(v->coap, s->serial, now);
    else
        http_client_cancel(as->http, s->serial);
    circuit_unprobed(&v->circuit);
}

void authority_unget(struct authorities *as, uint64_t handle, struct instant now)
{
    struct slot *s = find_slot(as, handle);
    if (!s || !s->is_get)
        return;
    withdraw(as, s, now);
    free_slot(as, s);
    as->dirty = true;
}

/* ---- the set of servers ---- */

static void server_free(struct server *v, struct instant now)
{
    coap_line_free(v->coap, now);
    free(v);
}

static void on_random(void *user, void *to, size_t n)
{
    struct server *v = user;
    v->as->ops.random(v->as->user, to, n);
}

static struct server *server_new(struct authorities *as, const struct wire_endpoint *e)
{
    static const struct coap_line_ops ops = {on_coap, on_random};
    struct server *v = calloc(1, sizeof *v);
    const char *why = NULL;
    if (!v)
        return NULL;
    v->as = as;
    memcpy(v->digest, e->digest, sizeof v->digest);
    if (e->said->http)
        return v;
    struct dtls_out *dtls = e->said->secure ? wire_dtls(e, &why) : NULL;
    if (!why)
        v->coap = coap_line_new(as->loop, as->resolver, e->host, e->port, dtls, &ops, v);
    if (!v->coap) {
        free(v);
        return NULL;
    }
    return v;
}

static struct server *find_server(struct authorities *as, const struct wire_endpoint *e)
{
    for (struct server *v = as->servers; v; v = v->next)
        if (memcmp(v->digest, e->digest, sizeof v->digest) == 0)
            return v;
    return NULL;
}

static void sweep(struct authorities *as, struct instant now)
{
    for (struct server **p = &as->servers; *p;) {
        struct server *v = *p;
        if (v->wanted) {
            p = &v->next;
            continue;
        }
        *p = v->next;
        server_free(v, now);
    }
}

/* The servers of w, old ones where they are the same; `map` gets them. */
static bool gather(struct authorities *as, const struct wire *w, struct server **map)
{
    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k < AUTHORITY_PURPOSES; k++) {
            const struct wire_endpoint *e = &w->authorities[i].endpoints[k];
            if (!e->said)
                continue;
            struct server *v = find_server(as, e);
            if (!v && (v = server_new(as, e))) {
                v->next = as->servers;
                as->servers = v;
            }
            if (!v || (e->said->http && !as->http &&
                       !(as->http = http_client_new(as->loop, on_http, as))))
                return false;
            v->wanted = true;
            map[i * AUTHORITY_PURPOSES + k] = v;
        }
    return true;
}

static int find_authority(const struct wire *w, const char *name)
{
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->authorities[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* A question stays with its authority, if that is asked at the same place. */
static void move_slot(struct authorities *as, struct slot *s, const struct wire *w,
                      struct server **map, struct instant now)
{
    int i = s->server ? find_authority(w, as->wire->authorities[s->authority].name) : -1;
    const struct wire_endpoint *is = i < 0 ? NULL : &w->authorities[i].endpoints[s->purpose];
    if (is && is->said && map[(size_t)i * AUTHORITY_PURPOSES + s->purpose] == s->server &&
        strcmp(is->said->url,
               as->wire->authorities[s->authority].endpoints[s->purpose].said->url) == 0) {
        s->authority = i;
        return;
    }
    withdraw(as, s, now);
    set_state(as, s, SLOT_AWAY);
    if (s->server && s->observe)
        s->server->n_standing--;
    s->observe = false;
    s->server = NULL;
    as->dirty = true;
}

bool authorities_use(struct authorities *as, struct wire *w, struct instant now)
{
    struct server **map = calloc(w->n * AUTHORITY_PURPOSES + 1, sizeof(*map));
    for (struct server *v = as->servers; v; v = v->next)
        v->wanted = false;
    if (!map || !gather(as, w, map)) {
        free(map); /* those of before stay, the fresh ones go */
        for (struct server *v = as->servers; v; v = v->next)
            v->wanted = false;
        for (size_t i = 0; as->wire && i < as->wire->n * AUTHORITY_PURPOSES; i++)
            if (as->map[i])
                as->map[i]->wanted = true;
        sweep(as, now);
        return false;
    }
    for (size_t i = 0; i < AUTHORITY_QUESTIONS; i++)
        if (as->slots[i].state != SLOT_FREE)
            move_slot(as, &as->slots[i], w, map, now);
    sweep(as, now);
    wire_free(as->wire);
    free(as->map);
    as->wire = w;
    as->map = map;
    return true;
}

static void on_resolved(void *user, uint64_t id, const struct peer *to, struct instant now)
{
    struct authorities *as = user;
    for (struct server *v = as->servers; v; v = v->next)
        if (v->coap && coap_line_resolved(v->coap, id, to, now))
            return;
}

struct authorities *authorities_new(struct loop *l, const struct authority_ops *ops, void *user)
{
    struct authorities *as = calloc(1, sizeof *as);
    if (!as)
        return NULL;
    as->loop = l;
    as->ops = *ops;
    as->user = user;
    for (uint32_t i = AUTHORITY_QUESTIONS; i > 0; i--) {
        as->slots[i - 1].next_free = as->free;
        as->free = i;
    }
    as->resolver = resolver_new(l, on_resolved, as);
    if (!as->resolver) {
        free(as);
        return NULL;
    }
    return as;
}

void authorities_free(struct authorities *as)
{
    if (!as)
        return;
    for (size_t i = 0; i < AUTHORITY_QUESTIONS; i++)
        free(as->slots[i].query);
    for (struct server *v = as->servers; v; v = v->next)
        v->wanted = false;
    sweep(as, loop_now(as->loop));
    http_client_free(as->http);
    resolver_free(as->resolver);
    wire_free(as->wire);
    free(as->map);
    free(as);
}

/* ---- time ---- */

static void tell_refused(struct authorities *as, struct instant now)
{
    for (size_t i = 0; as->n_away && i < AUTHORITY_QUESTIONS; i++)
        if (as->slots[i].state == SLOT_AWAY)
            tell_away(as, &as->slots[i], now);
}

/* Observations whose server may be back; the first one probes. */
static uint64_t retry_standing(struct authorities *as, struct instant now)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; as->n_standing && i < AUTHORITY_QUESTIONS; i++) {
        struct slot *s = &as->slots[i];
        if (s->state != SLOT_STANDING)
            continue;
        if (instant_ms(now) >= s->retry_ms && circuit_admits(&s->server->circuit, now)) {
            send_slot(as, s, BYTES_NONE, CF_NONE, now);
            continue;
        }
        const struct circuit *c = &s->server->circuit;
        uint64_t at =
            c->state == CIRCUIT_OPEN && c->until_ms > s->retry_ms ? c->until_ms : s->retry_ms;
        if (c->state != CIRCUIT_HALF_OPEN && at < next)
            next = at;
    }
    return next;
}

uint64_t authorities_turn(struct authorities *as, struct instant now)
{
    as->dirty = false;
    tell_refused(as, now);
    uint64_t next = retry_standing(as, now);
    for (struct server *v = as->servers; v; v = v->next) {
        uint64_t at = v->coap ? coap_line_turn(v->coap, now) : UINT64_MAX;
        if (at < next)
            next = at;
    }
    if (as->http) {
        uint64_t at = http_client_turn(as->http, now);
        if (at < next)
            next = at;
    }
    /* Asked from within a callback, behind the line's turn: once more. */
    return as->dirty || as->n_away ? instant_ms(now) : next;
}

void authority_get_stats(const struct authorities *as, int authority,
                         enum authority_purpose purpose, struct instant now,
                         struct authority_stats *out)
{
    const struct server *v = server_of(as, authority, purpose);
    *out = (struct authority_stats){0};
    if (!v)
        return;
    *out = (struct authority_stats){
        .configured = true,
        .circuit = v->circuit.state,
        .since_s = v->circuit.since_s,
        .retry_s = circuit_retry_s(&v->circuit, now),
        .latency_us = v->latency_us,
        .asked = v->asked,
        .answered = v->answered,
        .away = v->away,
        .refused = v->refused,
        .under_way = v->under_way,
        .reason = v->reason,
    };
}
