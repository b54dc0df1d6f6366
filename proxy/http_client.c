#include "http_client.h"

#include <stdlib.h>
#include <strings.h>

#include <curl/curl.h>

#include "../pep/crypto.h"

enum { ANSWER_FIRST = 4096 };

struct transfer {
    struct transfer *next;
    struct http_client *client;
    uint64_t id;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    uint8_t *body;
    size_t body_n, body_cap, body_max, header_n;
    bool too_large;
    bool once, wants_fields, is_probe;
    bool in_body;   /* the header of the answer that comes is complete */
    int64_t length; /* its Content-Length; -1: not told */
    unsigned tries; /* times that it was about to be sent */
};

struct http_client {
    struct loop *loop;
    http_done_fn *done;
    void *user;
    CURLM *multi;
    struct transfer *transfers;
    uint64_t timer_ms; /* UINT64_MAX: none */
};

/* ---- what the library calls ---- */

static void on_io(void *user, int fd, unsigned io, struct instant now)
{
    (void)now; /* what is finished is found by the turn that follows */
    struct http_client *h = user;
    int running,
        what = (io & LOOP_READ ? CURL_CSELECT_IN : 0) | (io & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
    (void)curl_multi_socket_action(h->multi, fd, what, &running);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
    (void)easy, (void)socket_user;
    struct http_client *h = user;
    if (what == CURL_POLL_REMOVE) {
        loop_unwatch(h->loop, fd);
        return 0;
    }
    unsigned io = (what & CURL_POLL_IN ? LOOP_READ : 0u) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0u);
    if (!loop_watch_io(h->loop, fd, io, on_io, h))
        return -1; /* the library then ends all transfers */
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *user)
{
    (void)multi;
    struct http_client *h = user;
    h->timer_ms = ms < 0 ? UINT64_MAX : instant_ms(loop_now(h->loop)) + (uint64_t)ms;
    return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
    struct transfer *t = user;
    n *= size;
    if (n > t->body_max - t->body_n) {
        t->too_large = true;
        return 0;
    }
    if (n > t->body_cap - t->body_n) {
        size_t cap = t->body_cap ? t->body_cap * 2 : ANSWER_FIRST;
        while (cap < t->body_n + n)
            cap *= 2;
        uint8_t *grown = malloc(cap); /* not realloc(): the old place is wiped */
        if (!grown)
            return 0;
        if (t->body_n)
            memcpy(grown, t->body, t->body_n);
        crypto_wipe(t->body, t->body_n);
        free(t->body);
        t->body = grown;
        t->body_cap = cap;
    }
    if (n)
        memcpy(t->body + t->body_n, p, n);
    t->body_n += n;
    return n;
}

/* A length that is none, or two that differ: whoever believes the other one
 * finds the next answer at another place (RFC 9112 6.3). The library takes the
 * last. */
static bool takes_length(struct transfer *t, const char *p, size_t n)
{
    static const char name[] = "content-length:";
    int64_t v = 0;
    if (n < sizeof name - 1 || strncasecmp(p, name, sizeof name - 1) != 0)
        return true;
    size_t at = sizeof name - 1, digits = 0;
    while (at < n && (p[at] == ' ' || p[at] == '\t'))
        at++;
    for (; at < n && p[at] >= '0' && p[at] <= '9' && digits < 18; at++, digits++)
        v = v * 10 + (p[at] - '0');
    while (at < n && strchr(" \t\r\n", p[at]) && p[at] != 0)
        at++;
    bool sound = digits > 0 && at == n && (t->length < 0 || t->length == v);
    t->length = v;
    return sound;
}

/* A status line or a field, of an interim answer, too. */
static size_t on_header(char *p, size_t size, size_t n, void *user)
{
    struct transfer *t = user;
    n *= size;
    t->header_n += n < HTTP_HEADER_BYTES ? n : HTTP_HEADER_BYTES;
    t->too_large = t->too_large || t->header_n > HTTP_HEADER_BYTES;
    bool begins = n >= 5 && memcmp(p, "HTTP/", 5) == 0;
    if (begins)
        t->length = -1;
    t->in_body = !begins && (t->in_body || p[0] == '\r' || p[0] == '\n');
    return !t->too_large && takes_length(t, p, n) ? n : 0;
}

/* There is a connection to send it on, and perhaps not for the first time. */
static int on_ready(void *user, char *to_ip, char *from_ip, int to_port, int from_port)
{
    (void)to_ip, (void)from_ip, (void)to_port, (void)from_port;
    struct transfer *t = user;
    t->tries++;
    return t->once && t->tries > 1 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- making and ending ---- */

struct http_client *http_client_new(struct loop *l, http_done_fn *done, void *user)
{
    struct http_client *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->loop = l;
    h->done = done;
    h->user = user;
    h->timer_ms = UINT64_MAX;
    /* Counted inside the library, and safe from any thread since 7.84. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(h);
        return NULL;
    }
    h->multi = curl_multi_init();
    if (!h->multi) {
        http_client_free(h);
        return NULL;
    }
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    http_client_allow(h, HTTP_CONNECTIONS, HTTP_CONNECTIONS_PER_HOST, HTTP_CONNECTIONS);
    return h;
}

void http_client_allow(struct http_client *h, size_t connections, size_t per_host, size_t kept)
{
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)connections);
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)per_host);
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)kept);
}

static void transfer_free(struct transfer *t)
{
    struct http_client *h = t->client;
    struct transfer **p = &h->transfers;
    while (*p && *p != t)
        p = &(*p)->next;
    if (*p)
        *p = t->next;
    if (t->easy) {
        (void)curl_multi_remove_handle(h->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->connect_to);
    crypto_wipe(t->body, t->body_n);
    free(t->body);
    free(t);
}

void http_client_free(struct http_client *h)
{
    if (!h)
        return;
    while (h->transfers)
        transfer_free(h->transfers);
    if (h->multi)
        (void)curl_multi_cleanup(h->multi);
    curl_global_cleanup();
    free(h);
}

void http_client_cancel(struct http_client *h, uint64_t id)
{
    for (struct transfer *t = h->transfers; t; t = t->next)
        if (t->id == id) {
            transfer_free(t);
            return;
        }
}

/* ---- asking ---- */

static bool set_blob(CURL *e, CURLoption option, struct bytes pem)
{
    struct curl_blob blob = {.len = pem.n, .flags = CURL_BLOB_NOCOPY};
    memcpy(&blob.data, &pem.p, sizeof blob.data); /* the library's blob is not const */
    return curl_easy_setopt(e, option, &blob) == CURLE_OK;
}

static bool add_line(struct curl_slist **list, const char *text)
{
    struct curl_slist *grown = curl_slist_append(*list, text);
    if (grown)
        *list = grown;
    return grown != NULL;
}

static bool add_header(struct transfer *t, const char *name, const char *value)
{
    char text[512];
    struct buf b = buf_on(text, sizeof text);
    buf_put_str(&b, name);
    buf_put_str(&b, value);
    buf_put_u8(&b, 0);
    return !b.full && add_line(&t->headers, text);
}

#define SET(option, value) (curl_easy_setopt(e, (option), (value)) == CURLE_OK)

static bool set_tls(CURL *e, const struct http_question *q)
{
    bool ok = SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
              SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    /* The system's certificates are read once by the library and kept, which
     * it does for the file only, not for the directory beside it. */
    ok = ok && SET(CURLOPT_CAPATH, NULL);
    if (q->ca.n)
        ok = ok && set_blob(e, CURLOPT_CAINFO_BLOB, q->ca);
    if (q->certificate.n)
        ok = ok && SET(CURLOPT_SSLCERTTYPE, "PEM") && SET(CURLOPT_SSLKEYTYPE, "PEM") &&
             set_blob(e, CURLOPT_SSLCERT_BLOB, q->certificate) &&
             set_blob(e, CURLOPT_SSLKEY_BLOB, q->key);
    return ok;
}

static bool set_auth(CURL *e, const struct http_question *q)
{
    switch (q->auth) {
    case HTTP_AUTH_NONE:
        return true;
    case HTTP_AUTH_BASIC:
        return SET(CURLOPT_HTTPAUTH, CURLAUTH_BASIC) && SET(CURLOPT_USERNAME, q->user) &&
               SET(CURLOPT_PASSWORD, q->secret);
    case HTTP_AUTH_BEARER:
        return SET(CURLOPT_HTTPAUTH, CURLAUTH_BEARER) && SET(CURLOPT_XOAUTH2_BEARER, q->secret);
    }
    return false;
}

static bool set_body(struct transfer *t, const struct http_question *q)
{
    CURL *e = t->easy;
    /* Without a type there is none, not the library's. And no waiting for leave
     * to send a body so small. */
    return (q->content_type ? add_header(t, "Content-Type: ", q->content_type)
                            : add_header(t, "Content-Type:", "")) &&
           add_header(t, "Expect:", "") && SET(CURLOPT_POST, 1L) &&
           SET(CURLOPT_POSTFIELDSIZE, (long)q->body.n) &&
           SET(CURLOPT_COPYPOSTFIELDS, q->body.n ? (const char *)q->body.p : "");
}

/* Method and body: PUT, POST and PATCH have one, be it empty. */
static bool set_method(struct transfer *t, const struct http_question *q)
{
    CURL *e = t->easy;
    if (!q->method)
        return !q->content_type || set_body(t, q);
    bool has_body = q->method[0] == 'P';
    return (!has_body || set_body(t, q)) &&
           (strcmp(q->method, "GET") == 0 || SET(CURLOPT_CUSTOMREQUEST, q->method));
}

static bool set_way(struct transfer *t, const struct http_question *q)
{
    CURL *e = t->easy;
    char text[96];
    struct buf b = buf_on(text, sizeof text);
    if (!q->connect_to)
        return true;
    buf_put_str(&b, "::"); /* whatever host and port the URL has */
    buf_put_str(&b, q->connect_to);
    buf_put_u8(&b, 0);
    return !b.full && add_line(&t->connect_to, text) && SET(CURLOPT_CONNECT_TO, t->connect_to);
}

static bool configure(struct transfer *t, const struct http_question *q)
{
    CURL *e = t->easy;
    bool ok = SET(CURLOPT_URL, q->url) && SET(CURLOPT_PRIVATE, t) &&
              SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, t) &&
              SET(CURLOPT_HEADERFUNCTION, on_header) && SET(CURLOPT_HEADERDATA, t) &&
              SET(CURLOPT_PREREQFUNCTION, on_ready) && SET(CURLOPT_PREREQDATA, t) &&
              SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_PROTOCOLS_STR, "http,https") &&
              SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_PROXY, "") &&
              SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) &&
              SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
              SET(CURLOPT_PATH_AS_IS, 1L) && SET(CURLOPT_MAXFILESIZE, (long)t->body_max) &&
              SET(CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS) &&
              SET(CURLOPT_TIMEOUT_MS, (long)q->wait_ms) &&
              SET(CURLOPT_MAXAGE_CONN, (long)HTTP_KEEP_S) &&
              SET(CURLOPT_USERAGENT, "postern/" POSTERN_VERSION) &&
              /* Else the end of a transfer waits for the thread that asks for
               * its name: where there is no line, tens of seconds. */
              SET(CURLOPT_QUICK_EXIT, 1L);
    if (q->probe)
        ok = ok && SET(CURLOPT_CONNECT_ONLY, 1L);
    ok = ok && set_tls(e, q) && set_auth(e, q) && set_way(t, q) && set_method(t, q);
    ok = ok && (!q->accept || add_header(t, "Accept: ", q->accept));
    for (size_t i = 0; ok && i < q->n_lines; i++)
        ok = add_line(&t->headers, q->lines[i]);
    return ok && SET(CURLOPT_HTTPHEADER, t->headers);
}

bool http_client_ask(struct http_client *h, uint64_t id, const struct http_question *q,
                     struct instant now)
{
    (void)now; /* the library has a clock of its own */
    struct transfer *t = calloc(1, sizeof *t);
    if (!t)
        return false;
    t->client = h;
    t->id = id;
    t->length = -1;
    t->body_max = q->answer_max ? q->answer_max : HTTP_ANSWER_MAX;
    t->once = q->once;
    t->wants_fields = q->fields;
    t->is_probe = q->probe;
    t->next = h->transfers;
    h->transfers = t;
    t->easy = curl_easy_init();
    if (t->easy && configure(t, q) && curl_multi_add_handle(h->multi, t->easy) == CURLM_OK)
        return true;
    transfer_free(t);
    return false;
}

/* ---- answers ---- */

static enum http_end end_of(const struct transfer *t, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return HTTP_ANSWERED;
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_SILENT;
    case CURLE_FILESIZE_EXCEEDED:
        return HTTP_TOO_LARGE;
    case CURLE_WRITE_ERROR:
        return t->too_large ? HTTP_TOO_LARGE : HTTP_UNREACHABLE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return HTTP_UNTRUSTED;
    default: /* half an answer among them (CURLE_PARTIAL_FILE, CURLE_RECV_ERROR) */
        return HTTP_UNREACHABLE;
    }
}

/* As C strings: the library takes none with NUL in it for a header. */
static size_t take_fields(struct transfer *t, struct http_field *fields)
{
    size_t n = 0;
    struct curl_header *at = NULL;
    while (n < HTTP_FIELDS_MAX && (at = curl_easy_nextheader(t->easy, CURLH_HEADER, -1, at)))
        fields[n++] = (struct http_field){at->name, at->value};
    t->too_large = t->too_large || (at && curl_easy_nextheader(t->easy, CURLH_HEADER, -1, at));
    return n;
}

static void finish(struct http_client *h, struct transfer *t, CURLcode code, struct instant now)
{
    struct http_answer a = {.end = end_of(t, code), .sent = t->tries > 0};
    struct http_field fields[HTTP_FIELDS_MAX];
    /* Off the list first: whoever is told may cancel what he likes. */
    struct transfer **p = &h->transfers;
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    /* One whose header breaks off is whole to the library. */
    if (a.end == HTTP_ANSWERED && !t->in_body && !t->is_probe)
        a.end = HTTP_UNREACHABLE;
    if (a.end == HTTP_ANSWERED) {
        long status = 0;
        char *type = NULL;
        curl_off_t retry = 0;
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
        (void)curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry);
        if (t->wants_fields)
            a.n_fields = take_fields(t, fields);
        a.fields = fields;
        if (t->too_large)
            a.end = HTTP_TOO_LARGE;
        a.status = status > 0 && status < 600 ? (unsigned)status : 0;
        a.content_type = type;
        a.body = bytes_of(t->body, t->body_n);
        a.retry_s = retry > 0 && retry <= UINT32_MAX ? (uint32_t)retry : 0;
    }
    h->done(h->user, t->id, &a, now);
    transfer_free(t);
}

uint64_t http_client_deadline_ms(const struct http_client *h)
{
    return h->timer_ms;
}

uint64_t http_client_turn(struct http_client *h, struct instant now)
{
    int running, left;
    if (instant_ms(now) >= h->timer_ms) {
        h->timer_ms = UINT64_MAX;
        (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        char *private = NULL;
        CURLcode code = m->data.result; /* *m ends with the handle */
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        struct transfer *t = (struct transfer *)(void *)private;
        finish(h, t, code, now);
    }
    return h->timer_ms;
}
