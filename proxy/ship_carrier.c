#include "ship_carrier.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
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

static bool fail(struct carrier *w, const char *why)
{
    (void)snprintf(w->error, sizeof w->error, "%s", why);
    return false;
}

static bool fail_curl(struct carrier *w, CURLcode code)
{
    return fail(w, w->curl_error[0] ? w->curl_error : curl_easy_strerror(code));
}

struct carrier *carrier_new(const struct ship_config *c, const char *stream, struct buf *diag)
{
    struct carrier *w = calloc(1, sizeof *w);
    if (w) {
        w->config = c;
        w->stream = stream;
        w->fd = -1;
        atomic_init(&w->stop_by_ms, UINT64_MAX);
        if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
            w->multi = curl_multi_init();
            if (w->multi)
                return w;
            curl_global_cleanup();
        }
    }
    free(w);
    buf_put_str(diag, "audit: the way to the collector could not be made");
    return NULL;
}

void carrier_free(struct carrier *w)
{
    if (!w)
        return;
    carrier_close(w);
    if (w->easy)
        curl_easy_cleanup(w->easy);
    curl_multi_cleanup(w->multi);
    curl_global_cleanup();
    free(w);
}

void carrier_wake(struct carrier *w)
{
    (void)curl_multi_wakeup(w->multi);
}

void carrier_stop(struct carrier *w, uint64_t by_ms)
{
    atomic_store(&w->stop_by_ms, by_ms);
    carrier_wake(w);
}

bool carrier_is_stopped(const struct carrier *w)
{
    return carrier_now_ms() >= atomic_load(&w->stop_by_ms);
}

/* Milliseconds to a deadline or the stop, 0: over. A stop that comes between
 * this look and the wait ends the wait: a wake-up stays until it was seen. */
static int left_ms(const struct carrier *w, uint64_t until_ms)
{
    uint64_t now = carrier_now_ms(), stop = atomic_load(&w->stop_by_ms);
    if (stop < until_ms)
        until_ms = stop;
    return until_ms <= now ? 0 : until_ms - now > HOUR_MS ? HOUR_MS : (int)(until_ms - now);
}

/* Drives the added handle to its end. */
static bool perform(struct carrier *w, uint64_t limit_ms)
{
    uint64_t until = carrier_now_ms() + limit_ms;
    for (;;) {
        int running, n;
        if (curl_multi_perform(w->multi, &running) != CURLM_OK)
            return fail(w, "libcurl failed");
        for (CURLMsg *m; (m = curl_multi_info_read(w->multi, &n));)
            if (m->msg == CURLMSG_DONE)
                return m->data.result == CURLE_OK || fail_curl(w, m->data.result);
        int ms = left_ms(w, until);
        if (ms == 0)
            return fail(w, "no answer in time");
        (void)curl_multi_poll(w->multi, NULL, 0, ms, NULL);
    }
}

static size_t discard(char *p, size_t size, size_t n, void *user)
{
    (void)p, (void)user;
    return size * n;
}

#define SET(option, value) ok = curl_easy_setopt(w->easy, option, value) == CURLE_OK && ok

/* What every connection has: no proxy, no redirection, and the certificate
 * and its name verified whenever there is TLS. */
static bool make_easy(struct carrier *w)
{
    const struct ship_config *c = w->config;
    bool ok = true;
    w->easy = curl_easy_init();
    if (!w->easy)
        return fail(w, "out of memory");
    SET(CURLOPT_URL, c->url);
    SET(CURLOPT_ERRORBUFFER, w->curl_error);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, 30L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)SHIP_CONNECT_MS);
    if (c->ca) { /* this one and no other */
        SET(CURLOPT_CAINFO, c->ca);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (c->certificate) {
        SET(CURLOPT_SSLCERT, c->certificate);
        SET(CURLOPT_SSLKEY, c->key);
    }
    if (c->kind == SHIP_HTTP) {
        SET(CURLOPT_WRITEFUNCTION, discard);
        SET(CURLOPT_USERAGENT, "posternd/" POSTERN_VERSION);
    } else {
        SET(CURLOPT_CONNECT_ONLY, 1L);
        SET(CURLOPT_SSL_ENABLE_ALPN, 0L); /* syslog is no HTTP */
    }
    return ok || fail(w, "libcurl lacks an option");
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
static bool append_token(struct carrier *w, struct curl_slist **list)
{
    uint8_t *text = NULL;
    size_t n = 0;
    const char *why = NULL;
    char header[HEADER_ROOM];
    if (!w->config->token_file)
        return true;
    bool ok = file_read(w->config->token_file, false, SHIP_TOKEN_MAX + 2, &text, &n, &why);
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
        (void)snprintf(w->error, sizeof w->error, "%s: %s", w->config->token_file, why);
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

bool carrier_post(struct carrier *w, struct bytes body, int *status, uint64_t *retry_s)
{
    struct curl_slist *headers = NULL;
    char stream[64];
    (void)snprintf(stream, sizeof stream, "Postern-Stream: %s", w->stream);
    w->error[0] = '\0';
    bool ok = (w->easy || make_easy(w)) && append(&headers, "Content-Type: application/x-ndjson") &&
              append(&headers, "Expect:") && append(&headers, stream) && append_token(w, &headers);
    if (ok) {
        SET(CURLOPT_HTTPHEADER, headers);
        SET(CURLOPT_POSTFIELDS, body.p);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        w->curl_error[0] = '\0';
        ok = ok && curl_multi_add_handle(w->multi, w->easy) == CURLM_OK;
        if (ok) {
            ok = perform(w, SHIP_ANSWER_MS);
            (void)curl_multi_remove_handle(w->multi, w->easy);
        }
        (void)curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, NULL);
    }
    free_headers(headers);
    if (!ok)
        return w->error[0] ? false : fail(w, "out of memory");
    long code = 0;
    curl_off_t after = 0;
    (void)curl_easy_getinfo(w->easy, CURLINFO_RESPONSE_CODE, &code);
    (void)curl_easy_getinfo(w->easy, CURLINFO_RETRY_AFTER, &after);
    *status = (int)code;
    *retry_s = after > 0 ? (uint64_t)after : 0;
    if (code < 200 || code > 299) {
        char text[32];
        (void)snprintf(text, sizeof text, "HTTP status %ld", code);
        return fail(w, text);
    }
    return true;
}

/* ---- streams ---- */

bool carrier_connect(struct carrier *w)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (w->config->kind == SHIP_HTTP)
        return true;
    carrier_close(w);
    if (w->config->kind == SHIP_SYSLOG_LOCAL) {
        const char *why;
        w->open = ship_local_open(w->config->url, &w->fd, &why);
        return w->open || fail(w, why);
    }
    w->curl_error[0] = '\0';
    if (!make_easy(w) || curl_multi_add_handle(w->multi, w->easy) != CURLM_OK) {
        carrier_close(w);
        return false;
    }
    /* The handle stays in the multi: that is where its connection lives. */
    w->added = true;
    if (!perform(w, SHIP_CONNECT_MS) ||
        curl_easy_getinfo(w->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        carrier_close(w);
        return false;
    }
    w->fd = fd;
    w->open = true;
    return true;
}

void carrier_close(struct carrier *w)
{
    if (w->config->kind == SHIP_SYSLOG_LOCAL && w->fd >= 0)
        close(w->fd);
    if (w->config->kind == SHIP_SYSLOG_STREAM && w->easy) {
        if (w->added)
            (void)curl_multi_remove_handle(w->multi, w->easy);
        curl_easy_cleanup(w->easy);
        w->easy = NULL;
    }
    w->added = w->open = false;
    w->fd = -1;
}

/* A collector says nothing; what comes is discarded. False: it has ended. */
static bool is_alive(struct carrier *w)
{
    uint8_t heard[1024];
    size_t n;
    if (w->config->kind != SHIP_SYSLOG_STREAM)
        return true;
    for (int i = 0; i < 64; i++) {
        CURLcode code = curl_easy_recv(w->easy, heard, sizeof heard, &n);
        if (code == CURLE_AGAIN)
            return true;
        if (code != CURLE_OK)
            return fail_curl(w, code);
        if (n == 0)
            return fail(w, "the collector closed the connection");
    }
    return true;
}

static void poll_once(struct carrier *w, short events, int ms)
{
    struct curl_waitfd fd = {w->fd, 0, 0};
    if (events & POLLIN)
        fd.events |= CURL_WAIT_POLLIN;
    if (events & POLLOUT)
        fd.events |= CURL_WAIT_POLLOUT;
    (void)curl_multi_poll(w->multi, &fd, w->fd >= 0 ? 1 : 0, ms, NULL);
}

bool carrier_wait(struct carrier *w, uint64_t ms)
{
    int left = left_ms(w, carrier_now_ms() + ms);
    if (left > 0)
        poll_once(w, w->config->kind == SHIP_SYSLOG_STREAM ? POLLIN : 0, left);
    if (!w->open || is_alive(w))
        return true;
    carrier_close(w);
    return false;
}

static bool send_some(struct carrier *w, struct bytes b, size_t *n)
{
    const char *why;
    if (w->config->kind == SHIP_SYSLOG_LOCAL)
        return ship_local_send(w->fd, b, n, &why) || fail(w, why);
    *n = 0;
    CURLcode code = curl_easy_send(w->easy, b.p, b.n, n);
    return code == CURLE_OK || code == CURLE_AGAIN || fail_curl(w, code);
}

bool carrier_send(struct carrier *w, struct bytes b)
{
    uint64_t until = carrier_now_ms() + SHIP_STALL_MS;
    w->curl_error[0] = '\0';
    while (b.n > 0) {
        size_t n;
        int ms = left_ms(w, until);
        if (ms == 0)
            return fail(w, "the collector takes nothing");
        if (!send_some(w, b, &n))
            return false;
        if (n > 0) {
            b = bytes_of(b.p + n, b.n - n);
            until = carrier_now_ms() + SHIP_STALL_MS;
            continue;
        }
        poll_once(w, POLLIN | POLLOUT, ms);
        if (!is_alive(w))
            return false;
    }
    return true;
}

bool carrier_is_open(const struct carrier *w)
{
    return w->open;
}

bool carrier_is_drained(const struct carrier *w)
{
    int queued = 0;
    return w->open && (w->config->kind == SHIP_SYSLOG_LOCAL ||
                       (ioctl(w->fd, SIOCOUTQ, &queued) == 0 && queued == 0));
}

const char *carrier_error(const struct carrier *w)
{
    return w->error;
}
