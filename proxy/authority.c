#include "authority.h"

#include <stdlib.h>
#include <strings.h>

#include "authority_inside.h"

enum {
    CODE_BAD_GATEWAY = MSG_CODE(5, 2),
    CODE_UNAVAILABLE = MSG_CODE(5, 3),
    CODE_TOO_MANY = MSG_CODE(4, 29),
    DETAIL_MAX = 31,         /* of a code; HTTP has more, none that matters here */
    STANDING_RETRY_MS = 1000 /* when only the one question was lost */
};

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
        slot_free(as, s);
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
    slot_free(as, s);
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
    slot_set_state(as, s, SLOT_STANDING);
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
    slot_set_state(as, s, SLOT_AWAY);
    as->dirty = true;
}

/* ---- what became of a question ---- */

void authority_on_coap(void *user, uint64_t serial, const struct coap_answer *a, struct instant now)
{
    struct server *v = user;
    struct authorities *as = v->as;
    struct slot *s = slot_find(as, serial);
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
        server_note_failure(v, s, a->end == COAP_SILENT,
                            a->end == COAP_SILENT || !why ? "silent" : why, now);
        tell_away(as, s, now);
        return;
    }
    case COAP_RESET:
    case COAP_BAD: /* somebody is there, and talks nonsense */
        server_note_answer(v, s, now);
        r = (struct pep_reply){.code = CODE_BAD_GATEWAY, .content_format = PEP_FORMAT_NONE};
        tell(as, s, &r, 0, now);
        return;
    case COAP_ANSWERED:
    case COAP_UNOBSERVED:
        break;
    }
    if (r.code == CODE_UNAVAILABLE || r.code == CODE_TOO_MANY)
        r.retry_s = a->max_age_s;
    send_read_answer(as, s, a, &r);
    if (s->awaited)
        server_note_answer(v, s, now);
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
        {"application/vnd.onem2m-res+json", PEP_FORMAT_JSON}, /* TS-0009 6.7 */
        {"application/vnd.onem2m-ntfy+json", PEP_FORMAT_JSON},
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

void authority_on_http(void *user, uint64_t serial, const struct http_answer *a, struct instant now)
{
    struct authorities *as = user;
    struct slot *s = slot_find(as, serial);
    if (!s || !s->server)
        return;
    struct server *v = s->server;
    struct pep_reply r = {.code = CODE_BAD_GATEWAY, .content_format = PEP_FORMAT_NONE};
    switch (a->end) {
    case HTTP_UNREACHABLE:
    case HTTP_UNTRUSTED:
    case HTTP_SILENT:
        server_note_failure(v, s, a->end == HTTP_SILENT, http_reason(a->end), now);
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
        send_read_http_answer(as, s, a, &r);
        break;
    }
    server_note_answer(v, s, now);
    tell(as, s, &r, 0, now);
}

/* ---- asking ---- */

static void send_slot(struct authorities *as, struct slot *s, struct bytes body, int format,
                      struct instant now)
{
    struct server *v = s->server;
    const struct wire_endpoint *e = &as->wire->authorities[s->authority].endpoints[s->purpose];
    s->asked_us = now.mono_us;
    s->awaited = true;
    slot_set_state(as, s, SLOT_ASKED);
    as->dirty = true;
    v->asked++;
    if (v->coap ? send_by_coap(as, s, e, body, format, now) : send_by_http(as, s, e, body, now))
        return;
    circuit_unprobed(&v->circuit);
    refuse(as, s);
}

/* Decision points stand behind the authorities. */
static int place_of(const struct authorities *as, const struct pep_question *q)
{
    bool decides = q->ask == PEP_ASK_DECISION;
    size_t first = decides && as->wire ? as->wire->n_authorities : 0;
    return q->authority < 0 ? -1 : (int)(first + (size_t)q->authority);
}

bool authority_ask(struct authorities *as, const struct pep_question *q, struct instant now)
{
    static const enum authority_purpose purposes[] = {
        [PEP_ASK_INTROSPECT] = AUTHORITY_INTROSPECT,
        [PEP_ASK_DYNAMIC] = AUTHORITY_DYNAMIC,
        [PEP_ASK_DECISION] = AUTHORITY_DECISION,
    };
    struct slot *s = slot_take(as);
    if (!s)
        return false;
    s->id = q->id;
    s->authority = place_of(as, q);
    s->purpose = purposes[q->ask];
    struct server *v = server_of(as, s->authority, s->purpose);
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

uint64_t authority_get(struct authorities *as, int authority, enum authority_purpose purpose,
                       const struct bytes *query, size_t n_query, bool observe, struct instant now)
{
    struct server *v = server_of(as, authority, purpose);
    bool gets = purpose == AUTHORITY_REVOCATIONS || purpose == AUTHORITY_JWKS;
    struct slot *s = v && gets ? slot_take(as) : NULL;
    if (!s)
        return 0;
    s->is_get = true;
    s->id = s->serial;
    s->authority = authority;
    s->purpose = purpose;
    if (!slot_copy_query(s, query, n_query)) {
        slot_free(as, s);
        return 0;
    }
    s->server = v;
    s->observe = observe && v->coap;
    v->n_standing += s->observe;
    uint64_t handle = s->id;
    if (circuit_admits(&v->circuit, now)) {
        send_slot(as, s, BYTES_NONE, CF_NONE, now);
    } else if (s->observe) {
        slot_set_state(as, s, SLOT_STANDING);
        s->retry_ms = 0;
    } else {
        refuse(as, s);
    }
    return handle;
}

void authority_unget(struct authorities *as, uint64_t handle, struct instant now)
{
    struct slot *s = slot_find(as, handle);
    if (!s || !s->is_get)
        return;
    send_withdraw(as, s, now);
    slot_free(as, s);
    as->dirty = true;
}

/* ---- the wire is another ---- */

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
    send_withdraw(as, s, now);
    slot_set_state(as, s, SLOT_AWAY);
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
    if (!map || !server_gather(as, w, map)) {
        free(map); /* those of before stay, the fresh ones go */
        for (struct server *v = as->servers; v; v = v->next)
            v->wanted = false;
        for (size_t i = 0; as->wire && i < as->wire->n * AUTHORITY_PURPOSES; i++)
            if (as->map[i])
                as->map[i]->wanted = true;
        server_sweep(as, now);
        return false;
    }
    for (size_t i = 0; i < AUTHORITY_QUESTIONS; i++)
        if (as->slots[i].state != SLOT_FREE)
            move_slot(as, &as->slots[i], w, map, now);
    server_sweep(as, now);
    wire_free(as->wire);
    free(as->map);
    as->wire = w;
    as->map = map;
    return true;
}

/* ---- life ---- */

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
    server_sweep(as, loop_now(as->loop));
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
