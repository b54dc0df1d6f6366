/* A small CoAP authorization server for the system tests: /token, /introspect
 * and /revoke/trl over coaps, by PSK or certificate, in one dialect. It is
 * told what to know and how to misbehave by lines on stdin, answers each with
 * a line "ok ..." or "error ...", and writes a line for every question, so
 * that a test waits for events and not for time. It ends with stdin.
 *
 * usage: helper_as rfc9200|ace-07 PORT [psk IDENTITY KEY-HEX]...
 *        [pki CERTIFICATE KEY CA]
 *
 *   token HANDLE [NAME=CBOR]...   introspection says this of it; all in hex
 *   forget HANDLE                 ... and no longer: inactive
 *   client ID SECRET              may ask /token
 *   next HANDLE                   what /token hands out next; else a fresh reference
 *   revoke HASH... [- HASH...]    one update of the list: these come, those go
 *   trl MAX-N MAX-BATCH           updates remembered, and told in one answer
 *   trl-forget                    a list as new
 *   behave ENDPOINT normal|silent|inactive|garbage|half|empty|wrap
 *   behave ENDPOINT refuse C.DD   an error
 *   behave ENDPOINT success C.DD  this in place of the code of success
 *   behave ENDPOINT format N      this in place of the content-format
 *   slow ENDPOINT MS              an empty ACK at once, the answer later
 *   hold ENDPOINT                 ... the answer when told so
 *   release                       answers all that is held; holds no more
 *   count ENDPOINT                ok N: questions so far; 0 again
 *   mute on|off                   nothing leaves, not even of a handshake
 *   crash                         ends at once, without a goodbye
 *
 * Events: "asked introspect N HANDLE", "asked token N", "asked trl N QUERY",
 * "notify trl QUERY", "bad ENDPOINT WHY", "session open", "session closed".
 *
 * Keys are for tests only. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <coap3/coap.h>

#include "as_state.h"

enum { LINE_MAX_ = 65536, WORDS_MAX = 256, PSKS_MAX = 8, SEEN_MAX = 32, HELD_MAX = 1024 };
#define HELD UINT_MAX  /* in place of a time: until it is released */
enum { CRITICAL = 2 }; /* as in syslog; libcoap 4.3.2 renamed its own */

static const char *const endpoint_names[] = {"token", "introspect", "trl"};

struct psk {
    const char *identity;
    uint8_t key[64];
    coap_bin_const_t value;
};

/* A request. libcoap calls the same handler for it and for each notification
 * that follows: the second time with that token is no question. */
struct seen {
    coap_session_t *session;
    uint8_t token[8];
    size_t token_n;
};

static struct {
    coap_context_t *ctx;
    coap_resource_t *trl;
    struct psk psks[PSKS_MAX];
    size_t n_psks;
    struct seen seen[SEEN_MAX], held[HELD_MAX];
    size_t n_seen, n_held;
    char line[LINE_MAX_];
    size_t line_n;
    bool muted, done;
} here;

static void print_hex(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        printf("%02x", b.p[i]);
}

/* Over itself; BYTES_NONE when it is not hex. */
static struct bytes unhex(char *s)
{
    uint8_t *to = (uint8_t *)s;
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i += 2) {
        char two[3] = {s[i], i + 1 < n ? s[i + 1] : 'x', '\0'}, *end;
        to[i / 2] = (uint8_t)strtoul(two, &end, 16);
        if (*end)
            return BYTES_NONE;
    }
    return bytes_of(s, n / 2);
}

/* ---- questions ---- */

static void give_back(coap_session_t *session, void *body)
{
    (void)session;
    free(body);
}

static void respond(coap_resource_t *r, coap_session_t *session, const coap_pdu_t *request,
                    const coap_string_t *query, coap_pdu_t *response, const struct as_answer *a)
{
    coap_pdu_set_code(response, (coap_pdu_code_t)a->code); /* 0: the ACK is all */
    if (a->code == 0 || a->body.n == 0)
        return;
    uint8_t *copy = malloc(a->body.n); /* libcoap keeps it until all blocks left */
    if (!copy)
        abort();
    memcpy(copy, a->body.p, a->body.n);
    coap_add_data_large_response(r, session, request, response, query, (uint16_t)a->format, -1, 0,
                                 a->body.n, copy, give_back, copy);
}

static struct seen seen_of(coap_session_t *session, const coap_pdu_t *request)
{
    coap_bin_const_t t = coap_pdu_get_token(request);
    struct seen s = {.session = session, .token_n = t.length > 8 ? 8 : t.length};
    memcpy(s.token, t.s, s.token_n);
    return s;
}

static bool seen_before(coap_session_t *session, const coap_pdu_t *request)
{
    coap_opt_iterator_t it;
    struct seen s = seen_of(session, request);
    if (!coap_check_option(request, COAP_OPTION_OBSERVE, &it))
        return false;
    for (size_t i = 0; i < here.n_seen; i++)
        if (here.seen[i].session == session && here.seen[i].token_n == s.token_n &&
            memcmp(here.seen[i].token, s.token, s.token_n) == 0)
            return true;
    if (here.n_seen == SEEN_MAX)
        memmove(&here.seen[0], &here.seen[1], --here.n_seen * sizeof here.seen[0]);
    here.seen[here.n_seen++] = s;
    return false;
}

static int content_format(const coap_pdu_t *request)
{
    coap_opt_iterator_t it;
    coap_opt_t *o = coap_check_option(request, COAP_OPTION_CONTENT_FORMAT, &it);
    return o ? (int)coap_decode_var_bytes(coap_opt_value(o), coap_opt_length(o)) : -1;
}

/* True when the answer must wait: libcoap acknowledges now and comes back. */
static bool wait_first(coap_session_t *session, const coap_pdu_t *request, unsigned slow_ms)
{
    if (slow_ms == HELD && here.n_held < HELD_MAX) {
        here.held[here.n_held++] = seen_of(session, request);
        return coap_register_async(session, request, 0); /* 0: until triggered */
    }
    return slow_ms && coap_register_async(session, request,
                                          (coap_tick_t)slow_ms * COAP_TICKS_PER_SECOND / 1000);
}

static void release(void)
{
    for (int e = 0; e < AS_ENDPOINTS; e++)
        if (as_endpoint((enum as_endpoint)e)->slow_ms == HELD)
            as_endpoint((enum as_endpoint)e)->slow_ms = 0;
    for (size_t i = 0; i < here.n_held; i++) {
        struct seen *h = &here.held[i];
        coap_async_t *a = coap_find_async(h->session, (coap_bin_const_t){h->token_n, h->token});
        if (a)
            coap_async_trigger(a);
    }
    here.n_held = 0;
}

static void handle(enum as_endpoint e, coap_resource_t *r, coap_session_t *session,
                   const coap_pdu_t *request, const coap_string_t *query, coap_pdu_t *response)
{
    struct as_endpoint_state *s = as_endpoint(e);
    struct as_answer a;
    struct bytes token = BYTES_NONE;
    size_t n = 0, offset = 0, total = 0;
    const uint8_t *body = NULL;
    char q[128] = "";
    bool late = coap_find_async(session, coap_pdu_get_token(request)) != NULL;
    bool notify = !late && seen_before(session, request);
    if (query)
        snprintf(q, sizeof q, "%.*s", (int)query->length, (const char *)query->s);
    coap_get_data_large(request, &n, &body, &offset, &total);
    if (e == AS_TOKEN && !late && wait_first(session, request, s->slow_ms)) {
        printf("asked token %u\n", ++s->asked);
        return;
    }
    switch (e) {
    case AS_TOKEN:
        as_ask_token(bytes_of(body, n), content_format(request), &a);
        break;
    case AS_INTROSPECT:
        as_ask_introspect(bytes_of(body, n), content_format(request), &a, &token);
        break;
    default:
        as_ask_trl(q, &a);
        break;
    }
    if (a.why[0])
        printf("bad %s %s\n", endpoint_names[e], a.why);
    if (notify)
        printf("notify %s %s\n", endpoint_names[e], q);
    else if (!late) {
        printf("asked %s %u ", endpoint_names[e], ++s->asked);
        print_hex(token);
        printf("%s\n", q);
        if (e != AS_TOKEN && wait_first(session, request, s->slow_ms))
            return;
    }
    respond(r, session, request, query, response, &a);
}

static void on_token(coap_resource_t *r, coap_session_t *session, const coap_pdu_t *request,
                     const coap_string_t *query, coap_pdu_t *response)
{
    handle(AS_TOKEN, r, session, request, query, response);
}

static void on_introspect(coap_resource_t *r, coap_session_t *session, const coap_pdu_t *request,
                          const coap_string_t *query, coap_pdu_t *response)
{
    handle(AS_INTROSPECT, r, session, request, query, response);
}

static void on_trl(coap_resource_t *r, coap_session_t *session, const coap_pdu_t *request,
                   const coap_string_t *query, coap_pdu_t *response)
{
    handle(AS_TRL, r, session, request, query, response);
}

static size_t without(struct seen *list, size_t n, const coap_session_t *session)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].session != session)
            list[kept++] = list[i];
    return kept;
}

static int on_event(coap_session_t *session, const coap_event_t event)
{
    if (event == COAP_EVENT_DTLS_CONNECTED)
        puts("session open");
    if (event != COAP_EVENT_SERVER_SESSION_DEL)
        return 0;
    puts("session closed");
    /* its address may be another's next */
    here.n_seen = without(here.seen, here.n_seen, session);
    here.n_held = without(here.held, here.n_held, session);
    return 0;
}

static const coap_bin_const_t *key_of(coap_bin_const_t *identity, coap_session_t *session,
                                      void *arg)
{
    (void)session;
    (void)arg;
    for (size_t i = 0; i < here.n_psks; i++)
        if (bytes_equal_str(bytes_of(identity->s, identity->length), here.psks[i].identity))
            return &here.psks[i].value;
    puts("bad handshake identity");
    return NULL;
}

/* ---- commands ---- */

static bool code_of(const char *s, uint8_t *out)
{
    unsigned class, detail;
    char rest;
    if (sscanf(s, "%1u.%2u%c", &class, &detail, &rest) != 2 || class > 7 || detail > 31)
        return false;
    *out = (uint8_t)(class << 5 | detail);
    return true;
}

static const char *do_token(char **w, size_t n)
{
    const char *why = n ? as_token_begin(unhex(w[0])) : "which token?";
    for (size_t i = 1; i < n && !why; i++) {
        char *value = strchr(w[i], '=');
        if (!value)
            return "NAME=CBOR";
        *value++ = '\0';
        why = as_token_claim(w[i], unhex(value));
    }
    return why;
}

static const char *do_revoke(char **w, size_t n)
{
    struct bytes hashes[WORDS_MAX];
    size_t k = 0, added = n;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(w[i], "-") == 0)
            added = k;
        else
            hashes[k++] = unhex(w[i]);
    }
    if (added > k)
        added = k;
    const char *why = as_trl_update(hashes, added, hashes + added, k - added);
    if (!why)
        coap_resource_notify_observers(here.trl, NULL);
    return why;
}

static const char *do_behave(struct as_endpoint_state *s, char **w, size_t n)
{
    static const char *const moods[] = {"normal", "silent", "inactive", "garbage",
                                        "half",   "empty",  "wrap"};
    for (size_t i = 0; n == 1 && i < sizeof moods / sizeof *moods; i++) {
        if (strcmp(w[0], moods[i]) != 0)
            continue;
        s->mood = (enum as_mood)i;
        if (i == AS_NORMAL) {
            s->success = 0;
            s->format = -1;
        }
        return NULL;
    }
    if (n == 2 && strcmp(w[0], "refuse") == 0 && code_of(w[1], &s->refusal)) {
        s->mood = AS_REFUSE;
        return NULL;
    }
    if (n == 2 && strcmp(w[0], "success") == 0 && code_of(w[1], &s->success))
        return NULL;
    if (n == 2 && strcmp(w[0], "format") == 0) {
        s->format = atoi(w[1]);
        return NULL;
    }
    return "no such behaviour";
}

static struct as_endpoint_state *endpoint(const char *name)
{
    for (int e = 0; e < AS_ENDPOINTS; e++)
        if (strcmp(name, endpoint_names[e]) == 0)
            return as_endpoint((enum as_endpoint)e);
    return NULL;
}

static const char *do_mute(const char *how)
{
    here.muted = strcmp(how, "on") == 0;
    return coap_debug_set_packet_loss(here.muted ? "100%" : "0%") ? NULL : "libcoap said no";
}

static const char *command(char **w, size_t n, char *result, size_t result_cap)
{
    struct as_endpoint_state *s = n > 1 ? endpoint(w[1]) : NULL;
    const char *c = w[0];
    if (strcmp(c, "token") == 0)
        return do_token(w + 1, n - 1);
    if (strcmp(c, "revoke") == 0)
        return do_revoke(w + 1, n - 1);
    if (strcmp(c, "behave") == 0 && s)
        return do_behave(s, w + 2, n - 2);
    if (strcmp(c, "forget") == 0 && n == 2)
        return as_token_forget(unhex(w[1]));
    if (strcmp(c, "client") == 0 && n == 3)
        return as_client(w[1], w[2]);
    if (strcmp(c, "next") == 0 && n == 2)
        return as_next(unhex(w[1]));
    if (strcmp(c, "trl") == 0 && n == 3)
        return as_trl_limits((unsigned)atoi(w[1]), (unsigned)atoi(w[2]));
    if (strcmp(c, "mute") == 0 && n == 2)
        return do_mute(w[1]);
    if (strcmp(c, "trl-forget") == 0) {
        as_trl_forget();
        return NULL;
    }
    if (strcmp(c, "crash") == 0)
        _exit(1);
    if (strcmp(c, "slow") == 0 && s && n == 3) {
        s->slow_ms = (unsigned)atoi(w[2]);
        return NULL;
    }
    if (strcmp(c, "hold") == 0 && s) {
        s->slow_ms = HELD;
        return NULL;
    }
    if (strcmp(c, "release") == 0) {
        release();
        return NULL;
    }
    if (strcmp(c, "count") == 0 && s) {
        snprintf(result, result_cap, " %u", s->asked);
        s->asked = 0;
        return NULL;
    }
    return "no such command";
}

static void run_line(char *line)
{
    char *words[WORDS_MAX], *save = NULL, result[64] = "";
    size_t n = 0;
    for (char *w = strtok_r(line, " ", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    if (n == 0)
        return;
    const char *why = command(words, n, result, sizeof result);
    if (why)
        printf("error %s\n", why);
    else
        printf("ok%s\n", result);
}

static void read_commands(void)
{
    ssize_t got = read(STDIN_FILENO, here.line + here.line_n, sizeof here.line - here.line_n - 1);
    if (got <= 0) {
        here.done = got == 0 || errno != EINTR;
        return;
    }
    here.line_n += (size_t)got;
    here.line[here.line_n] = '\0';
    char *from = here.line, *end;
    while ((end = strchr(from, '\n'))) {
        *end = '\0';
        run_line(from);
        from = end + 1;
    }
    here.line_n = strlen(from);
    memmove(here.line, from, here.line_n);
}

/* ---- start ---- */

static coap_resource_t *resource(const char *path, coap_request_t method,
                                 coap_method_handler_t handler)
{
    coap_resource_t *r = coap_resource_init(coap_make_str_const(path), 0);
    coap_register_handler(r, method, handler);
    coap_add_resource(here.ctx, r);
    return r;
}

static bool use_certificate(char **files)
{
    coap_dtls_pki_t pki = {
        .version = COAP_DTLS_PKI_SETUP_VERSION,
        .verify_peer_cert = 1,
        .check_common_ca = 1,
        .cert_chain_validation = 1,
        .cert_chain_verify_depth = 2,
        .allow_no_crl = 1,
        .pki_key = {.key_type = COAP_PKI_KEY_PEM,
                    .key.pem = {.public_cert = files[0],
                                .private_key = files[1],
                                .ca_file = files[2]}},
    };
    return coap_context_set_pki(here.ctx, &pki);
}

static bool use_psks(void)
{
    coap_dtls_spsk_t psk = {.version = COAP_DTLS_SPSK_SETUP_VERSION,
                            .validate_id_call_back = key_of,
                            .psk_info.hint = {0, (const uint8_t *)""},
                            .psk_info.key = here.psks[0].value};
    return coap_context_set_psk2(here.ctx, &psk);
}

static bool configure(int argc, char **argv)
{
    int i = 3;
    while (i < argc) {
        struct psk *p = &here.psks[here.n_psks];
        struct bytes key;
        if (strcmp(argv[i], "psk") == 0 && i + 2 < argc && here.n_psks < PSKS_MAX &&
            (key = unhex(argv[i + 2])).n > 0 && key.n <= sizeof p->key) {
            memcpy(p->key, key.p, key.n);
            p->identity = argv[i + 1];
            p->value = (coap_bin_const_t){key.n, p->key};
            here.n_psks++;
            i += 3;
        } else if (strcmp(argv[i], "pki") == 0 && i + 3 < argc && use_certificate(argv + i + 1)) {
            i += 4;
        } else {
            return false;
        }
    }
    return here.n_psks == 0 || use_psks();
}

static bool serve(int port)
{
    coap_address_t address;
    coap_address_init(&address);
    address.addr.sin.sin_family = AF_INET;
    address.addr.sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.addr.sin.sin_port = htons((uint16_t)port);
    coap_register_event_handler(here.ctx, on_event);
    coap_context_set_block_mode(here.ctx, COAP_BLOCK_USE_LIBCOAP | COAP_BLOCK_SINGLE_BODY);
    resource("token", COAP_REQUEST_POST, on_token);
    resource("introspect", COAP_REQUEST_POST, on_introspect);
    here.trl = resource("revoke/trl", COAP_REQUEST_GET, on_trl);
    coap_resource_set_get_observable(here.trl, 1);
    return coap_new_endpoint(here.ctx, &address, COAP_PROTO_DTLS) != NULL;
}

int main(int argc, char **argv)
{
    if (argc < 3 || (strcmp(argv[1], "ace-07") != 0 && strcmp(argv[1], "rfc9200") != 0)) {
        fprintf(stderr, "usage: helper_as rfc9200|ace-07 PORT [psk IDENTITY KEY-HEX]... "
                        "[pki CERTIFICATE KEY CA]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    as_init(strcmp(argv[1], "ace-07") == 0);
    coap_startup();
    coap_set_log_level((coap_log_t)CRITICAL);
    coap_dtls_set_log_level((coap_log_t)CRITICAL);
    here.ctx = coap_new_context(NULL);
    if (!here.ctx || !configure(argc, argv) || !serve(atoi(argv[2]))) {
        fprintf(stderr, "helper_as: cannot serve\n");
        return 1;
    }
    puts("ready");
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = coap_context_get_coap_fd(here.ctx), .events = POLLIN}};
    while (!here.done) {
        /* also sets libcoap's own timer, which wakes its descriptor */
        coap_io_process(here.ctx, COAP_IO_NO_WAIT);
        if (poll(fds, 2, -1) > 0 && fds[0].revents)
            read_commands();
    }
    coap_free_context(here.ctx);
    coap_cleanup();
    return 0;
}
