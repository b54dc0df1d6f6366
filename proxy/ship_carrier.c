#include "ship_carrier.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* the C library's has no tcpi_bytes_acked */
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "file.h"
#include "ship_local.h"

enum { HEADER_ROOM = SHIP_TOKEN_MAX + 64, HOUR_MS = 3600000 };

struct carrier {
    const struct ship_config *config;
    const char *stream;
    CURLM *multi; /* also how the thread sleeps: curl_multi_wakeup() */
    CURL *easy;   /* one at a time; HTTP keeps it, a stream's is its connection */
    bool added, open;
    int fd; /* of an open stream or local socket */
    atomic_uint_fast64_t stop_by_ms;
    char error[SHIP_ERROR_MAX], curl_error[CURL_ERROR_SIZE];
};

uint64_t carrier_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool fail(struct carrier *c, const char *why)
{
    (void)snprintf(c->error, sizeof c->error, "%s", why);
    return false;
}

static bool fail_curl(struct carrier *c, CURLcode code)
{
    return fail(c, c->curl_error[0] ? c->curl_error : curl_easy_strerror(code));
}

struct carrier *carrier_new(const struct ship_config *config, const char *stream, struct buf *diag)
{
    struct carrier *c = calloc(1, sizeof *c);
    if (c) {
        c->config = config;
        c->stream = stream;
        c->fd = -1;
        atomic_init(&c->stop_by_ms, UINT64_MAX);
        if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
            c->multi = curl_multi_init();
            if (c->multi)
                return c;
            curl_global_cleanup();
        }
    }
    free(c);
    buf_put_str(diag, "audit: the way to the collector could not be made");
    return NULL;
}

void carrier_free(struct carrier *c)
{
    if (!c)
        return;
    carrier_close(c);
    if (c->easy)
        curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    curl_global_cleanup();
    free(c);
}

void carrier_wake(struct carrier *c)
{
    (void)curl_multi_wakeup(c->multi);
}

void carrier_stop(struct carrier *c, uint64_t by_ms)
{
    atomic_store(&c->stop_by_ms, by_ms);
    carrier_wake(c);
}

bool carrier_is_stopped(const struct carrier *c)
{
    return carrier_now_ms() >= atomic_load(&c->stop_by_ms);
}

/* Milliseconds to a deadline or the stop, 0: over. A stop that comes between
 * this look and the wait ends the wait: a wake-up stays until it was seen. */
static int left_ms(const struct carrier *c, uint64_t until_ms)
{
    uint64_t now = carrier_now_ms(), stop = atomic_load(&c->stop_by_ms);
    if (stop < until_ms)
        until_ms = stop;
    return until_ms <= now ? 0 : until_ms - now > HOUR_MS ? HOUR_MS : (int)(until_ms - now);
}

/* Drives the added handle to its end. */
static bool perform(struct carrier *c, uint64_t limit_ms)
{
    uint64_t until = carrier_now_ms() + limit_ms;
    for (;;) {
        int running, n;
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            return fail(c, "libcurl failed");
        for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &n));)
            if (m->msg == CURLMSG_DONE)
                return m->data.result == CURLE_OK || fail_curl(c, m->data.result);
        int ms = left_ms(c, until);
        if (ms == 0)
            return fail(c, "no answer in time");
        (void)curl_multi_poll(c->multi, NULL, 0, ms, NULL);
    }
}

static size_t discard(char *p, size_t size, size_t n, void *user)
{
    (void)p, (void)user;
    return size * n;
}

#define SET(option, value) ok = curl_easy_setopt(c->easy, option, value) == CURLE_OK && ok

/* What every connection has: no proxy, no redirection, and the certificate
 * and its name verified whenever there is TLS. */
static bool make_easy(struct carrier *c)
{
    const struct ship_config *config = c->config;
    bool ok = true;
    c->easy = curl_easy_init();
    if (!c->easy)
        return fail(c, "out of memory");
    SET(CURLOPT_URL, config->url);
    SET(CURLOPT_ERRORBUFFER, c->curl_error);
    SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* a name that does not resolve must not hold up a stop */
#endif
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, 30L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)SHIP_CONNECT_MS);
    if (config->ca) { /* this one and no other */
        SET(CURLOPT_CAINFO, config->ca);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (config->certificate) {
        SET(CURLOPT_SSLCERT, config->certificate);
        SET(CURLOPT_SSLKEY, config->key);
    }
    if (config->kind == SHIP_HTTP) {
        SET(CURLOPT_WRITEFUNCTION, discard);
        SET(CURLOPT_USERAGENT, "posternd/" POSTERN_VERSION);
    } else {
        SET(CURLOPT_CONNECT_ONLY, 1L);
        SET(CURLOPT_SSL_ENABLE_ALPN, 0L); /* syslog is no HTTP */
    }
    return ok || fail(c, "libcurl lacks an option");
}

/* ---- HTTP ---- */

bool ship_trim_token(struct bytes *text)
{
    while (text->n > 0 && (text->p[text->n - 1] == '\n' || text->p[text->n - 1] == '\r'))
        text->n--;
    for (size_t i = 0; i < text->n; i++)
        if (text->p[i] < 0x21 || text->p[i] > 0x7e)
            return false;
    return text->n > 0 && text->n <= SHIP_TOKEN_MAX;
}

static bool append(struct curl_slist **list, const char *header)
{
    struct curl_slist *more = curl_slist_append(*list, header);
    if (more)
        *list = more;
    return more != NULL;
}

/* Read for each batch, so that a new token needs no reload. */
static bool append_token(struct carrier *c, struct curl_slist **list)
{
    uint8_t *text = NULL;
    size_t n = 0;
    const char *why = NULL;
    char header[HEADER_ROOM];
    if (!c->config->token_file)
        return true;
    bool ok = file_read(c->config->token_file, false, SHIP_TOKEN_MAX + 2, &text, &n, &why);
    struct bytes token = {text, n};
    if (ok && !ship_trim_token(&token)) {
        why = "not one line with a token";
        ok = false;
    }
    if (ok) {
        (void)snprintf(header, sizeof header, "Authorization: Bearer %.*s", (int)token.n,
                       (const char *)token.p);
        ok = append(list, header);
        explicit_bzero(header, sizeof header);
    } else {
        (void)snprintf(c->error, sizeof c->error, "%s: %s", c->config->token_file, why);
    }
    if (text)
        explicit_bzero(text, n);
    free(text);
    return ok;
}

static void free_headers(struct curl_slist *list)
{
    for (struct curl_slist *at = list; at; at = at->next)
        explicit_bzero(at->data, strlen(at->data));
    curl_slist_free_all(list);
}

bool carrier_post(struct carrier *c, struct bytes body, int *status, uint64_t *retry_s)
{
    struct curl_slist *headers = NULL;
    char stream[64];
    (void)snprintf(stream, sizeof stream, "Postern-Stream: %s", c->stream);
    c->error[0] = '\0';
    bool ok = (c->easy || make_easy(c)) && append(&headers, "Content-Type: application/x-ndjson") &&
              append(&headers, "Expect:") && append(&headers, stream) && append_token(c, &headers);
    if (ok) {
        SET(CURLOPT_HTTPHEADER, headers);
        SET(CURLOPT_POSTFIELDS, body.p);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        c->curl_error[0] = '\0';
        ok = ok && curl_multi_add_handle(c->multi, c->easy) == CURLM_OK;
        if (ok) {
            ok = perform(c, SHIP_ANSWER_MS);
            (void)curl_multi_remove_handle(c->multi, c->easy);
        }
        (void)curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
    }
    free_headers(headers);
    if (!ok)
        return c->error[0] ? false : fail(c, "out of memory");
    long code = 0;
    curl_off_t after = 0;
    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &code);
    (void)curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &after);
    *status = (int)code;
    *retry_s = after > 0 ? (uint64_t)after : 0;
    if (code < 200 || code > 299) {
        char text[32];
        (void)snprintf(text, sizeof text, "HTTP status %ld", code);
        return fail(c, text);
    }
    return true;
}

/* ---- streams ---- */

bool carrier_connect(struct carrier *c)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (c->config->kind == SHIP_HTTP)
        return true;
    carrier_close(c);
    if (c->config->kind == SHIP_SYSLOG_LOCAL) {
        const char *why;
        c->open = ship_local_open(c->config->url, &c->fd, &why);
        return c->open || fail(c, why);
    }
    c->curl_error[0] = '\0';
    if (!make_easy(c) || curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) {
        carrier_close(c);
        return false;
    }
    /* The handle stays in the multi: that is where its connection lives. */
    c->added = true;
    if (!perform(c, SHIP_CONNECT_MS) ||
        curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        carrier_close(c);
        return false;
    }
    c->fd = fd;
    c->open = true;
    return true;
}

void carrier_close(struct carrier *c)
{
    if (c->config->kind == SHIP_SYSLOG_LOCAL && c->fd >= 0)
        close(c->fd);
    if (c->config->kind == SHIP_SYSLOG_STREAM && c->easy) {
        if (c->added)
            (void)curl_multi_remove_handle(c->multi, c->easy);
        curl_easy_cleanup(c->easy);
        c->easy = NULL;
    }
    c->added = c->open = false;
    c->fd = -1;
}

/* A collector says nothing; what comes is discarded. False: it has ended. */
static bool is_alive(struct carrier *c)
{
    uint8_t heard[1024];
    size_t n;
    if (c->config->kind != SHIP_SYSLOG_STREAM)
        return true;
    for (int i = 0; i < 64; i++) {
        CURLcode code = curl_easy_recv(c->easy, heard, sizeof heard, &n);
        if (code == CURLE_AGAIN)
            return true;
        if (code != CURLE_OK)
            return fail_curl(c, code);
        if (n == 0)
            return fail(c, "the collector closed the connection");
    }
    return true;
}

static void poll_once(struct carrier *c, short events, int ms)
{
    struct curl_waitfd fd = {c->fd, 0, 0};
    if (events & POLLIN)
        fd.events |= CURL_WAIT_POLLIN;
    if (events & POLLOUT)
        fd.events |= CURL_WAIT_POLLOUT;
    (void)curl_multi_poll(c->multi, &fd, c->fd >= 0 ? 1 : 0, ms, NULL);
}

bool carrier_wait(struct carrier *c, uint64_t ms)
{
    int left = left_ms(c, carrier_now_ms() + ms);
    if (left > 0)
        poll_once(c, c->config->kind == SHIP_SYSLOG_STREAM ? POLLIN : 0, left);
    if (!c->open || is_alive(c))
        return true;
    carrier_close(c);
    return false;
}

static bool send_some(struct carrier *c, struct bytes b, size_t *n)
{
    const char *why;
    if (c->config->kind == SHIP_SYSLOG_LOCAL)
        return ship_local_send(c->fd, b, n, &why) || fail(c, why);
    *n = 0;
    CURLcode code = curl_easy_send(c->easy, b.p, b.n, n);
    return code == CURLE_OK || code == CURLE_AGAIN || fail_curl(c, code);
}

bool carrier_send(struct carrier *c, struct bytes b)
{
    uint64_t until = carrier_now_ms() + SHIP_STALL_MS;
    c->curl_error[0] = '\0';
    while (b.n > 0) {
        size_t n;
        int ms = left_ms(c, until);
        if (ms == 0)
            return fail(c, "the collector takes nothing");
        if (!send_some(c, b, &n))
            return false;
        if (n > 0) {
            b = bytes_of(b.p + n, b.n - n);
            until = carrier_now_ms() + SHIP_STALL_MS;
            continue;
        }
        poll_once(c, POLLIN | POLLOUT, ms);
        if (!is_alive(c))
            return false;
    }
    return true;
}

bool carrier_is_open(const struct carrier *c)
{
    return c->open;
}

uint64_t carrier_acked(const struct carrier *c)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    return getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 ? info.tcpi_bytes_acked : 0;
}

uint64_t carrier_handed(const struct carrier *c)
{
    int queued;
    return ioctl(c->fd, SIOCOUTQ, &queued) == 0 ? carrier_acked(c) + (uint64_t)queued : UINT64_MAX;
}

const char *carrier_error(const struct carrier *c)
{
    return c->error;
}
