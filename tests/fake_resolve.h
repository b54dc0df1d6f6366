/* An invented resolver, in resolve.c's place; include once a program. The
 * test says what names mean; fake_resolve_answer() tells those who asked. */
#ifndef POSTERN_FAKE_RESOLVE_H
#define POSTERN_FAKE_RESOLVE_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proxy/resolve.h"

enum { FAKE_NAMES = 8, FAKE_QUESTIONS = 16 };

struct resolver {
    resolve_done_fn *done;
    void *user;
    struct {
        uint64_t id;
        char host[64];
        int port;
    } asked[FAKE_QUESTIONS];
    size_t n_asked;
};

static struct fake_names {
    struct resolver *resolver; /* the last that was made */
    struct {
        char host[64], address[64];
    } names[FAKE_NAMES];
    size_t n, questions; /* questions: asked since the beginning */
} fake_names;

/* NULL: there is no such name (any more). */
static void fake_resolve_name(const char *host, const char *address)
{
    size_t i = 0;
    while (i < fake_names.n && strcmp(fake_names.names[i].host, host) != 0)
        i++;
    if (i == FAKE_NAMES)
        abort();
    fake_names.n += i == fake_names.n;
    snprintf(fake_names.names[i].host, sizeof fake_names.names[i].host, "%s", host);
    snprintf(fake_names.names[i].address, sizeof fake_names.names[i].address, "%s",
             address ? address : "");
}

bool resolve_literal(const char *host, int port, struct peer *out)
{
    memset(out, 0, sizeof *out);
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &out->in4.sin_addr) == 1) {
        out->in4.sin_family = AF_INET;
        out->in4.sin_port = htons((uint16_t)port);
        out->len = sizeof out->in4;
    } else if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons((uint16_t)port);
        out->len = sizeof out->in6;
    }
    return out->len > 0;
}

static bool fake_resolve_find(const char *host, int port, struct peer *out)
{
    for (size_t i = 0; i < fake_names.n; i++)
        if (strcmp(fake_names.names[i].host, host) == 0)
            return resolve_literal(fake_names.names[i].address, port, out);
    return false;
}

struct resolver *resolver_new(struct loop *l, resolve_done_fn *done, void *user)
{
    struct resolver *r = calloc(1, sizeof *r);
    (void)l;
    if (r)
        *r = (struct resolver){.done = done, .user = user};
    fake_names.resolver = r;
    return r;
}

void resolver_free(struct resolver *r)
{
    if (fake_names.resolver == r)
        fake_names.resolver = NULL;
    free(r);
}

bool resolver_ask(struct resolver *r, uint64_t id, const char *host, int port)
{
    if (r->n_asked == FAKE_QUESTIONS)
        return false;
    fake_names.questions++;
    r->asked[r->n_asked].id = id;
    r->asked[r->n_asked].port = port;
    snprintf(r->asked[r->n_asked++].host, sizeof r->asked[0].host, "%s", host);
    return true;
}

/* True: somebody was told. */
static bool fake_resolve_answer(struct instant now)
{
    struct resolver *r = fake_names.resolver;
    if (!r || r->n_asked == 0)
        return false;
    while (r->n_asked > 0) {
        struct peer to;
        size_t i = --r->n_asked;
        bool found = fake_resolve_find(r->asked[i].host, r->asked[i].port, &to);
        r->done(r->user, r->asked[i].id, found ? &to : NULL, now);
    }
    return true;
}

#endif
