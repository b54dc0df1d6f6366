#include "as_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include <cbor.h>

#include "../policy/cursor.h"

enum {
    HANDLE_MAX = 2048,
    CLAIMS_MAX = 4096,
    TOKENS_MAX = 64,
    CLIENTS_MAX = 16,
    HASH_MAX = 65,
    TRL_MAX = 2048,
    UPDATES_MAX = 256,
    HASHES_AN_UPDATE = 64,
};

/* Parameters by dialect (RFC 9200 8.10, 8.12; ace-07 8.6, 8.8). -1: none. */
static const struct param {
    const char *name;
    int rfc9200, ace07;
} params[] = {
    {"iss", 1, 1},
    {"sub", 2, 2},
    {"aud", 3, 3},
    {"exp", 4, 4},
    {"nbf", 5, 5},
    {"iat", 6, 6},
    {"cti", 7, 7},
    {"active", 10, 29},
    {"scope", 9, 12},
    {"cnf", 8, 25},
    {"profile", 38, 26},
    {"token_type", 34, 20},
    {"client_id", 24, 8},
    {"username", 35, 22},
    {"client_token", -1, 30},
    {"rs_cnf", 41, 31},
    {"exi", 40, -1},
    {"cnonce", 39, -1},
    {"error", 30, 15},
    {"token", 11, 27},
    {"token_type_hint", 33, 28},
    {"access_token", 1, 19},
    {"expires_in", 2, 21},
    {"grant_type", 33, 18},
    {"client_secret", 25, 9},
    {"audience", 5, 3},
    {"req_cnf", 4, 25},
};

struct token {
    uint8_t handle[HANDLE_MAX];
    size_t handle_n;
    uint8_t claims[CLAIMS_MAX]; /* the pairs of the answer's map, encoded */
    struct buf pairs;
    unsigned n;
    bool tells_active;
};

struct hash {
    uint8_t p[HASH_MAX];
    size_t n;
};

struct update {
    struct hash add[HASHES_AN_UPDATE], del[HASHES_AN_UPDATE];
    size_t n_add, n_del;
};

static struct {
    bool ace07;
    struct as_endpoint_state endpoints[AS_ENDPOINTS];
    struct token tokens[TOKENS_MAX];
    size_t n_tokens, current;
    struct {
        char id[64], secret[64];
    } clients[CLIENTS_MAX];
    size_t n_clients;
    uint8_t next[HANDLE_MAX];
    size_t next_n;
    struct hash trl[TRL_MAX];
    size_t n_trl;
    struct update updates[UPDATES_MAX]; /* the newest last */
    size_t n_updates;
    uint64_t next_index; /* of the update to come (RFC 9770 6.2.1) */
    unsigned max_n, max_batch;
    uint8_t out[AS_BODY_MAX];
} as;

/* ---- CBOR, written ---- */

static void put_head(struct buf *b, unsigned major, uint64_t v)
{
    unsigned m = major << 5;
    if (v < 24) {
        buf_put_u8(b, (uint8_t)(m | v));
    } else if (v < 256) {
        buf_put_u8(b, (uint8_t)(m | 24));
        buf_put_be(b, v, 1);
    } else if (v < 65536) {
        buf_put_u8(b, (uint8_t)(m | 25));
        buf_put_be(b, v, 2);
    } else {
        buf_put_u8(b, (uint8_t)(m | 26));
        buf_put_be(b, v, 4);
    }
}

static void put_bstr(struct buf *b, struct bytes s)
{
    put_head(b, 2, s.n);
    buf_put(b, s);
}

static void put_bool(struct buf *b, bool v)
{
    buf_put_u8(b, v ? 0xf5 : 0xf4);
}

static int number(const char *name)
{
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        if (strcmp(params[i].name, name) == 0)
            return as.ace07 ? params[i].ace07 : params[i].rfc9200;
    return -1;
}

static void put_key(struct buf *b, const char *name)
{
    put_head(b, 0, (uint64_t)number(name));
}

/* ---- CBOR, read ---- */

static const cbor_item_t *field(const cbor_item_t *map, const char *name)
{
    const struct cbor_pair *p = cbor_map_handle(map);
    for (size_t i = 0; i < cbor_map_size(map); i++)
        if (cbor_isa_uint(p[i].key) && cbor_get_int(p[i].key) == (uint64_t)number(name))
            return p[i].value;
    return NULL;
}

static struct bytes text_of(const cbor_item_t *i)
{
    if (i && cbor_isa_string(i) && cbor_string_is_definite(i))
        return bytes_of(cbor_string_handle(i), cbor_string_length(i));
    if (i && cbor_isa_bytestring(i) && cbor_bytestring_is_definite(i))
        return bytes_of(cbor_bytestring_handle(i), cbor_bytestring_length(i));
    return BYTES_NONE;
}

/* The whole of `body` as one map, or NULL. */
static cbor_item_t *load_map(struct bytes body)
{
    struct cbor_load_result r;
    cbor_item_t *i = body.n ? cbor_load(body.p, body.n, &r) : NULL;
    if (i && (r.read != body.n || !cbor_isa_map(i)))
        cbor_decref(&i);
    return i;
}

/* ---- state ---- */

void as_init(bool ace07)
{
    memset(&as, 0, sizeof as);
    as.ace07 = ace07;
    as.max_n = 10;
    as.max_batch = 5;
    for (int e = 0; e < AS_ENDPOINTS; e++)
        as.endpoints[e].format = -1;
}

struct as_endpoint_state *as_endpoint(enum as_endpoint e)
{
    return &as.endpoints[e];
}

static struct token *find_exactly(struct bytes handle)
{
    for (size_t i = 0; i < as.n_tokens; i++)
        if (bytes_equal(bytes_of(as.tokens[i].handle, as.tokens[i].handle_n), handle))
            return &as.tokens[i];
    return NULL;
}

/* A handle that was handed out in a second byte string comes back so. */
static struct token *find(struct bytes handle)
{
    struct token *t = find_exactly(handle);
    /* Not by cbor_load(): what strangers post comes here byte for byte, and
     * four bytes of it can make libcbor ask for gigabytes. */
    struct cursor c = cursor_on(handle);
    uint8_t head = cursor_u8(&c);
    uint8_t low = head & 31;
    if (t || head >> 5 != 2 || low > 25)
        return t;
    size_t n = low < 24 ? low : (size_t)cursor_be(&c, low == 24 ? 1 : 2);
    struct bytes inner = cursor_take(&c, n);
    if (cursor_done(&c))
        t = find_exactly(inner);
    return t;
}

const char *as_token_begin(struct bytes handle)
{
    struct token *t = find_exactly(handle);
    if (handle.n == 0 || handle.n > HANDLE_MAX)
        return "a token of that length";
    if (!t && as.n_tokens == TOKENS_MAX)
        return "too many tokens";
    if (!t)
        t = &as.tokens[as.n_tokens++];
    memcpy(t->handle, handle.p, handle.n);
    t->handle_n = handle.n;
    t->pairs = buf_on(t->claims, sizeof t->claims);
    t->n = 0;
    t->tells_active = false;
    as.current = (size_t)(t - as.tokens);
    return NULL;
}

const char *as_token_claim(const char *name, struct bytes value)
{
    struct token *t = &as.tokens[as.current];
    if (number(name) < 0)
        return "no such parameter in this dialect";
    put_key(&t->pairs, name);
    buf_put(&t->pairs, value);
    t->n++;
    if (strcmp(name, "active") == 0)
        t->tells_active = true;
    return t->pairs.full ? "too many claims" : NULL;
}

const char *as_token_forget(struct bytes handle)
{
    struct token *t = find_exactly(handle);
    if (!t)
        return "no such token";
    size_t last = --as.n_tokens;
    if (t != &as.tokens[last]) {
        struct buf pairs = as.tokens[last].pairs;
        memcpy(t, &as.tokens[last], sizeof *t);
        t->pairs = pairs;
        t->pairs.p = t->claims;
    }
    return NULL;
}

const char *as_client(const char *id, const char *secret)
{
    if (as.n_clients == CLIENTS_MAX)
        return "too many clients";
    if (strlen(id) >= sizeof as.clients[0].id || strlen(secret) >= sizeof as.clients[0].secret)
        return "too long";
    strcpy(as.clients[as.n_clients].id, id);
    strcpy(as.clients[as.n_clients++].secret, secret);
    return NULL;
}

const char *as_next(struct bytes handle)
{
    if (handle.n > sizeof as.next)
        return "too long";
    memcpy(as.next, handle.p, handle.n);
    as.next_n = handle.n;
    return NULL;
}

/* ---- answers ---- */

static int dialect_format(void)
{
    return as.ace07 ? 60 : 19;
}

/* The body in as.out, bent as the endpoint's mood has it. */
static void answer(enum as_endpoint e, struct buf *b, uint8_t code, int format,
                   struct as_answer *out)
{
    static const uint8_t garbage[] = {0xbf, 0x0a, 0xf5, 0x1c, 0x00, 0xff, 0xff, 0x9f};
    const struct as_endpoint_state *s = &as.endpoints[e];
    out->code = s->success ? s->success : code;
    out->format = s->format >= 0 ? s->format : format;
    out->body = bytes_of(b->p, b->n);
    switch (s->mood) {
    case AS_SILENT:
        out->code = 0;
        break;
    case AS_GARBAGE:
        out->body = bytes_of(garbage, sizeof garbage);
        break;
    case AS_HALF:
        out->body.n /= 2;
        break;
    case AS_EMPTY:
        out->body.n = 0;
        break;
    default:
        break;
    }
    if (out->body.n == 0)
        out->format = -1;
}

/* `error` by the order in which both dialects have them: invalid_request is
 * 0 in ace-07 and 1 in RFC 9200. */
static void refuse(uint8_t code, unsigned error, const char *why, struct as_answer *out)
{
    struct buf b = buf_on(as.out, sizeof as.out);
    out->code = code;
    out->format = -1;
    out->body = BYTES_NONE;
    snprintf(out->why, sizeof out->why, "%s", why);
    if (code == 0x83) /* not entitled: no payload (RFC 9200 5.9.3) */
        return;
    put_head(&b, 5, 1);
    put_key(&b, "error");
    put_head(&b, 0, error + (as.ace07 ? 0 : 1));
    out->format = dialect_format();
    out->body = bytes_of(b.p, b.n);
}

static bool refuses(enum as_endpoint e, struct as_answer *out)
{
    *out = (struct as_answer){.format = -1};
    if (as.endpoints[e].mood != AS_REFUSE)
        return false;
    refuse(as.endpoints[e].refusal, 1, "", out); /* invalid_client */
    return true;
}

void as_ask_introspect(struct bytes body, int content_format, struct as_answer *out,
                       struct bytes *token)
{
    static uint8_t asked[HANDLE_MAX];
    struct buf b = buf_on(as.out, sizeof as.out);
    *token = BYTES_NONE;
    if (refuses(AS_INTROSPECT, out))
        return;
    cbor_item_t *map = load_map(body);
    const cbor_item_t *t = map ? field(map, "token") : NULL;
    const cbor_item_t *hint = map ? field(map, "token_type_hint") : NULL;
    struct bytes handle = t && cbor_isa_bytestring(t) ? text_of(t) : BYTES_NONE;
    if (content_format != dialect_format())
        refuse(0x8f, 0, "content-format", out); /* 4.15 */
    else if (handle.n == 0 || handle.n > sizeof asked)
        refuse(0x80, 0, "no token, or one that is no byte string", out);
    else if (hint && !bytes_equal_str(text_of(hint), "pop") &&
             !(cbor_isa_uint(hint) && cbor_get_int(hint) == 2))
        refuse(0x80, 0, "token_type_hint", out);
    else {
        memcpy(asked, handle.p, handle.n);
        *token = bytes_of(asked, handle.n);
        const struct token *k = find(handle);
        if (!k || as.endpoints[AS_INTROSPECT].mood == AS_INACTIVE) {
            put_head(&b, 5, 1);
            put_key(&b, "active");
            put_bool(&b, false);
        } else {
            put_head(&b, 5, k->n + !k->tells_active);
            if (!k->tells_active) {
                put_key(&b, "active");
                put_bool(&b, true);
            }
            buf_put(&b, buf_bytes(&k->pairs));
        }
        answer(AS_INTROSPECT, &b, 0x41, dialect_format(), out); /* 2.01 */
    }
    if (map)
        cbor_decref(&map);
}

static bool is_client(struct bytes id, struct bytes secret)
{
    for (size_t i = 0; i < as.n_clients; i++)
        if (bytes_equal_str(id, as.clients[i].id) && bytes_equal_str(secret, as.clients[i].secret))
            return true;
    return false;
}

/* A fresh reference with a fresh key: what the client gets, and what
 * introspection will say of it. */
static const char *issue(struct bytes scope, struct bytes audience, struct buf *cnf)
{
    uint8_t random[40];
    uint8_t room[256];
    struct buf b = buf_on(room, sizeof room);
    const char *why;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return "no random bytes";
    put_head(cnf, 5, 1); /* {1: {1: 4, 2: kid, -1: k}} */
    put_head(cnf, 0, 1);
    put_head(cnf, 5, 3);
    put_head(cnf, 0, 1);
    put_head(cnf, 0, 4);
    put_head(cnf, 0, 2);
    put_bstr(cnf, bytes_of(random + 16, 8));
    put_head(cnf, 1, 0);
    put_bstr(cnf, bytes_of(random + 24, 16));
    why = as_next(bytes_of(random, 16));
    if (!why)
        why = as_token_begin(bytes_of(random, 16));
    if (!why)
        why = as_token_claim("cnf", buf_bytes(cnf));
    if (!why && scope.n) {
        put_head(&b, 3, scope.n);
        buf_put(&b, scope);
        why = as_token_claim("scope", buf_bytes(&b));
    }
    b.n = 0;
    if (!why && audience.n) {
        put_head(&b, 3, audience.n);
        buf_put(&b, audience);
        why = as_token_claim("aud", buf_bytes(&b));
    }
    return why;
}

void as_ask_token(struct bytes body, int content_format, struct as_answer *out)
{
    struct buf b = buf_on(as.out, sizeof as.out);
    uint8_t room[128];
    struct buf cnf = buf_on(room, sizeof room);
    if (refuses(AS_TOKEN, out))
        return;
    cbor_item_t *map = load_map(body);
    const cbor_item_t *grant = map ? field(map, "grant_type") : NULL;
    const char *why = NULL;
    if (content_format != dialect_format())
        refuse(0x8f, 0, "content-format", out);
    else if (!map)
        refuse(0x80, 0, "no map", out);
    else if (grant && !(cbor_isa_uint(grant) && cbor_get_int(grant) == 2))
        refuse(0x80, 4, "grant_type", out); /* the default is client credentials */
    else if (!is_client(text_of(field(map, "client_id")), text_of(field(map, "client_secret"))))
        refuse(0x81, 1, "client", out);
    else if (as.next_n == 0 &&
             (why = issue(text_of(field(map, "scope")), text_of(field(map, "audience")), &cnf)))
        refuse(0xa0, 0, why, out);
    else {
        struct bytes handle = bytes_of(as.next, as.next_n);
        put_head(&b, 5, cnf.n ? 4 : 2);
        put_key(&b, "access_token");
        if (as.endpoints[AS_TOKEN].mood == AS_WRAP) {
            uint8_t wrapped[HANDLE_MAX + 8];
            struct buf w = buf_on(wrapped, sizeof wrapped);
            put_bstr(&w, handle);
            put_bstr(&b, buf_bytes(&w));
        } else {
            put_bstr(&b, handle);
        }
        put_key(&b, "token_type");
        put_head(&b, 0, 2); /* PoP */
        if (cnf.n) {
            put_key(&b, "cnf");
            buf_put(&b, buf_bytes(&cnf));
            put_key(&b, "profile");
            put_head(&b, 0, 1); /* coap_dtls */
        }
        as.next_n = 0;
        answer(AS_TOKEN, &b, 0x41, dialect_format(), out);
    }
    if (map)
        cbor_decref(&map);
}

/* ---- revoked tokens (RFC 9770) ---- */

static bool take_hashes(const struct bytes *from, size_t n, struct hash *to)
{
    if (n > HASHES_AN_UPDATE)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (from[i].n == 0 || from[i].n > HASH_MAX)
            return false;
        memcpy(to[i].p, from[i].p, from[i].n);
        to[i].n = from[i].n;
    }
    return true;
}

const char *as_trl_update(const struct bytes *add, size_t n_add, const struct bytes *del,
                          size_t n_del)
{
    if (as.n_trl + n_add > TRL_MAX)
        return "the list is full";
    if (as.n_updates == as.max_n)
        memmove(&as.updates[0], &as.updates[1], --as.n_updates * sizeof as.updates[0]);
    struct update *u = &as.updates[as.n_updates];
    if (!take_hashes(add, n_add, u->add) || !take_hashes(del, n_del, u->del))
        return "too many hashes, or one of that length";
    u->n_add = n_add;
    u->n_del = n_del;
    as.n_updates++;
    as.next_index++;
    for (size_t i = 0; i < n_add; i++)
        as.trl[as.n_trl++] = u->add[i];
    for (size_t i = 0; i < n_del; i++)
        for (size_t k = 0; k < as.n_trl; k++)
            if (bytes_equal(bytes_of(as.trl[k].p, as.trl[k].n), del[i]))
                as.trl[k--] = as.trl[--as.n_trl];
    return NULL;
}

const char *as_trl_limits(unsigned max_n, unsigned max_batch)
{
    if (max_n < 1 || max_n > UPDATES_MAX || max_batch < 1 || max_batch > max_n)
        return "1 <= batch <= max-n <= 256";
    as.max_n = max_n;
    as.max_batch = max_batch;
    while (as.n_updates > max_n)
        memmove(&as.updates[0], &as.updates[1], --as.n_updates * sizeof as.updates[0]);
    return NULL;
}

void as_trl_forget(void)
{
    as.n_trl = as.n_updates = 0;
    as.next_index = 0;
}

static void put_hashes(struct buf *b, const struct hash *h, size_t n)
{
    put_head(b, 4, n);
    for (size_t i = 0; i < n; i++)
        put_bstr(b, bytes_of(h[i].p, h[i].n));
}

static void put_cursor(struct buf *b, bool has, uint64_t index)
{
    put_head(b, 0, 2);
    if (has)
        put_head(b, 0, index);
    else
        buf_put_u8(b, 0xf6);
}

static void put_more(struct buf *b, bool more)
{
    put_head(b, 0, 3);
    put_bool(b, more);
}

static void full(struct buf *b)
{
    put_head(b, 5, 2);
    put_head(b, 0, 0);
    put_hashes(b, as.trl, as.n_trl);
    put_cursor(b, as.n_updates > 0, as.next_index - 1);
}

/* The updates from `from` on, the eldest of at most `n` of the newest. */
static void diff(struct buf *b, size_t from, size_t n)
{
    size_t have = as.n_updates - from;
    if (n > 0 && have > n)
        have = n;
    size_t first = as.n_updates - have, l = have > as.max_batch ? as.max_batch : have;
    put_head(b, 5, 3);
    put_head(b, 0, 1);
    put_head(b, 4, l);
    for (size_t i = first + l; i-- > first;) {
        put_head(b, 4, 2);
        put_hashes(b, as.updates[i].del, as.updates[i].n_del);
        put_hashes(b, as.updates[i].add, as.updates[i].n_add);
    }
    put_cursor(b, as.n_updates > 0, as.next_index - 1 - (have - l));
    put_more(b, have > l);
}

static void lost(struct buf *b)
{
    put_head(b, 5, 3);
    put_head(b, 0, 1);
    put_head(b, 4, 0);
    put_cursor(b, false, 0);
    put_more(b, true);
}

/* "diff" of "diff=3&cursor=7"; false: not a number. */
static bool parameter(const char *query, const char *name, bool *given, uint64_t *out)
{
    size_t n = strlen(name);
    for (const char *q = query; q && *q; q = strchr(q, '&') ? strchr(q, '&') + 1 : NULL) {
        char *end;
        if (strncmp(q, name, n) != 0 || q[n] != '=')
            continue;
        *given = true;
        *out = strtoull(q + n + 1, &end, 10);
        return q[n + 1] >= '0' && q[n + 1] <= '9' && (*end == '\0' || *end == '&');
    }
    return true;
}

/* RFC 9770 6.1: {-1: title, ace-trl-error (1): {0: id}}. */
static void problem(unsigned id, const char *why, struct as_answer *out)
{
    struct buf b = buf_on(as.out, sizeof as.out);
    put_head(&b, 5, 2);
    put_head(&b, 1, 0);
    put_head(&b, 3, strlen(why));
    buf_put_str(&b, why);
    put_head(&b, 0, 1);
    put_head(&b, 5, 1);
    put_head(&b, 0, 0);
    put_head(&b, 0, id);
    *out = (struct as_answer){.code = 0x80, .format = 257, .body = bytes_of(b.p, b.n)};
    snprintf(out->why, sizeof out->why, "%s", why);
}

void as_ask_trl(const char *query, struct as_answer *out)
{
    struct buf b = buf_on(as.out, sizeof as.out);
    bool has_diff = false, has_cursor = false;
    uint64_t n = 0, cursor = 0, first = as.next_index - as.n_updates;
    if (refuses(AS_TRL, out))
        return;
    if (!parameter(query, "diff", &has_diff, &n) ||
        !parameter(query, "cursor", &has_cursor, &cursor)) {
        problem(0, "Invalid parameter value", out);
        return;
    }
    if (has_cursor && !has_diff) {
        problem(1, "Invalid set of parameters", out);
        return;
    }
    if (has_cursor && as.n_updates > 0 && cursor >= as.next_index) {
        problem(2, "Out of bound cursor value", out);
        return;
    }
    if (!has_diff)
        full(&b);
    else if (as.n_updates == 0) {
        put_head(&b, 5, 3);
        put_head(&b, 0, 1);
        put_head(&b, 4, 0);
        put_cursor(&b, false, 0);
        put_more(&b, false);
    } else if (has_cursor && cursor + 1 < first)
        lost(&b);
    else
        diff(&b, has_cursor ? (size_t)(cursor + 1 - first) : 0, (size_t)n);
    answer(AS_TRL, &b, 0x45, 262, out);
}
