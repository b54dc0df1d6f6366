#include "support_dtls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "rig: %s\n", what);
    abort();
}

char *rig_file(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", TESTS_DIR, name);
    FILE *f = fopen(path, "rb");
    must(f, path);
    char *text = calloc(1, 65536);
    must(text && fread(text, 1, 65535, f) > 0, path);
    fclose(f);
    return text;
}

struct peer rig_peer(const char *address, uint16_t port)
{
    struct peer p = {0};
    if (inet_pton(AF_INET, address, &p.in4.sin_addr) == 1) {
        p.in4.sin_family = AF_INET;
        p.in4.sin_port = htons(port);
        p.len = sizeof p.in4;
    } else {
        must(inet_pton(AF_INET6, address, &p.in6.sin6_addr) == 1, address);
        p.in6.sin6_family = AF_INET6;
        p.in6.sin6_port = htons(port);
        p.len = sizeof p.in6;
    }
    return p;
}

/* ---- the wire ---- */

static void put(struct rig *r, bool to_server, const struct peer *peer, struct bytes datagram)
{
    struct rig_datagram d = {.to_server = to_server, .peer = *peer, .n = datagram.n};
    must(datagram.n <= sizeof d.bytes, "datagram too large");
    if (datagram.n)
        memcpy(d.bytes, datagram.p, datagram.n);
    r->count++;
    if (r->lose && r->lose(r, &d))
        return;
    for (int i = 0; i < (r->twice ? 2 : 1); i++) {
        must(r->n < RIG_WIRE, "the wire is full");
        r->wire[(r->first + r->n++) % RIG_WIRE] = d;
    }
}

static bool take(struct rig *r, struct rig_datagram *out)
{
    if (r->n == 0)
        return false;
    if (r->backwards) { /* the newest first */
        *out = r->wire[(r->first + --r->n) % RIG_WIRE];
        return true;
    }
    *out = r->wire[r->first];
    r->first = (r->first + 1) % RIG_WIRE;
    r->n--;
    return true;
}

void rig_inject(struct rig *r, const struct peer *from, struct bytes datagram)
{
    put(r, true, from, datagram);
}

static void client_sends(void *user, struct bytes datagram)
{
    struct rig_client *k = user;
    put(k->rig, true, &k->peer, datagram);
}

/* ---- the gateway's side ---- */

static enum pep_key_state find_psk(void *user, struct assoc *a, struct bytes identity,
                                   struct pep_proof *out)
{
    struct rig *r = user;
    r->asked++;
    r->last = a;
    must(identity.n <= sizeof r->seen, "identity too long");
    memcpy(r->seen, identity.p, identity.n);
    r->seen_n = identity.n;
    out->kind = r->kind;
    if (r->wait)
        return PEP_KEY_WAIT;
    if (!bytes_equal(identity, r->identity) &&
        !(r->prefix && identity.n > r->identity.n &&
          memcmp(identity.p, r->identity.p, r->identity.n) == 0))
        return PEP_KEY_NONE;
    out->strength = POLICY_STRENGTH_PSK;
    out->subject = 7;
    memcpy(out->key, r->key.p, r->key.n);
    out->key_n = r->key.n;
    return PEP_KEY_FOUND;
}

static bool judge(void *user, struct assoc *a, const struct pep_certificate *c,
                  struct pep_proof *out)
{
    struct rig *r = user;
    r->asked++;
    r->last = a;
    r->trusted = c->trusted;
    r->n_names = c->n_names;
    for (size_t i = 0; i < c->n_names; i++)
        snprintf(r->names[i], sizeof r->names[i], "%.*s", (int)c->names[i].n,
                 (const char *)c->names[i].p);
    out->strength = POLICY_STRENGTH_CERTIFICATE;
    return c->trusted || (r->spki.n && bytes_equal(c->spki, r->spki));
}

static void gateway_sends(void *user, int listener, const struct peer *to, struct bytes datagram)
{
    struct rig *r = user;
    (void)listener;
    r->n_sent++;
    put(r, false, to, datagram);
}

static bool established(void *user, struct assoc *a, struct instant now)
{
    struct rig *r = user;
    (void)now;
    r->n_established++;
    r->last = a;
    return !r->refuse;
}

static void closed(void *user, struct assoc *a, const char *reason)
{
    struct rig *r = user;
    if (r->last == a)
        r->last = NULL;
    r->n_closed++;
    r->reason = reason;
}

static void gateway_takes(struct rig *r, const struct rig_datagram *d)
{
    /* Of the exact size, so that ASan sees one byte too far. */
    uint8_t *bytes = malloc(d->n ? d->n : 1);
    must(bytes, "memory");
    memcpy(bytes, d->bytes, d->n);
    struct assoc *a = assocs_receive(r->assocs, 0, &d->peer, bytes_of(bytes, d->n), r->now);
    uint8_t storage[MESSAGE_MAX], sealed[DATAGRAM_MAX];
    for (struct bytes plain;
         a && (plain = assoc_read(r->assocs, a, r->now, storage, sizeof storage)).n;) {
        struct buf out = buf_on(sealed, sizeof sealed);
        if (assoc_write(r->assocs, a, plain, &out))
            gateway_sends(r, 0, &a->peer, buf_bytes(&out));
    }
    assocs_reap(r->assocs);
    free(bytes);
}

/* ---- rigging ---- */

struct rig *rig_new(const struct assocs_config *c, const char *certificate, const char *ca)
{
    static const struct assoc_ops ops = {find_psk, judge, gateway_sends, established, closed, NULL};
    static const struct assocs_config usual = {
        .max = 100, .max_half = 16, .max_half_per_net = 8, .idle_ms = 3600000};
    char crt[512], key[512], ca_file[512], text[512];
    struct dtls_config dc = {0};
    if (certificate) {
        snprintf(crt, sizeof crt, "%s/keys/%s.crt", TESTS_DIR, certificate);
        snprintf(key, sizeof key, "%s/keys/%s.key", TESTS_DIR, certificate);
        dc.certificate = crt;
        dc.key = key;
    }
    if (ca) {
        snprintf(ca_file, sizeof ca_file, "%s/keys/%s.crt", TESTS_DIR, ca);
        dc.client_ca = ca_file;
    }
    struct rig *r = calloc(1, sizeof *r);
    must(r, "memory");
    r->now = (struct instant){.mono_us = 1000000000, .wall_s = 1700000000};
    struct buf diag = buf_on(text, sizeof text - 1);
    memset(text, 0, sizeof text);
    r->assocs = assocs_new(c ? c : &usual, &dc, &ops, r, &diag);
    must(r->assocs, text);
    return r;
}

void rig_free(struct rig *r)
{
    for (size_t i = 0; i < r->n_clients; i++)
        dtls_client_free(r->clients[i].dtls);
    assocs_free(r->assocs);
    free(r);
}

struct rig_client *rig_client(struct rig *r, const struct dtls_client_config *c,
                              const char *address, uint16_t port)
{
    must(r->n_clients < RIG_CLIENTS, "too many clients");
    struct rig_client *k = &r->clients[r->n_clients++];
    k->rig = r;
    k->peer = rig_peer(address, port);
    rig_replace(k, c);
    return k;
}

void rig_replace(struct rig_client *k, const struct dtls_client_config *c)
{
    struct dtls_client_config mine = *c;
    mine.send = client_sends;
    mine.user = k;
    dtls_client_free(k->dtls);
    k->dtls = dtls_client_new(&mine);
    must(k->dtls, "client");
}

void rig_connect(struct rig_client *k)
{
    dtls_client_connect(k->dtls, k->rig->now);
    rig_run(k->rig);
}

void rig_run(struct rig *r)
{
    struct rig_datagram d;
    for (int turns = 0; take(r, &d); turns++) {
        must(turns < 10000, "the wire never comes to rest");
        if (d.to_server) {
            gateway_takes(r, &d);
            continue;
        }
        for (size_t i = 0; i < r->n_clients; i++)
            if (r->clients[i].dtls && peer_equal(&r->clients[i].peer, &d.peer))
                dtls_client_receive(r->clients[i].dtls, bytes_of(d.bytes, d.n), r->now);
    }
}

void rig_pass(struct rig *r, uint64_t ms)
{
    uint64_t end = instant_ms(r->now) + ms;
    for (;;) {
        uint64_t next = assocs_deadline_ms(r->assocs);
        for (size_t i = 0; i < r->n_clients; i++)
            if (dtls_client_deadline_ms(r->clients[i].dtls) < next)
                next = dtls_client_deadline_ms(r->clients[i].dtls);
        if (next > end)
            break;
        if (next > instant_ms(r->now))
            r->now.mono_us = next * 1000;
        assocs_expire(r->assocs, r->now);
        assocs_reap(r->assocs);
        for (size_t i = 0; i < r->n_clients; i++)
            dtls_client_expire(r->clients[i].dtls, r->now);
        rig_run(r);
    }
    r->now.mono_us = end * 1000;
}

bool rig_echo(struct rig_client *k, const char *text)
{
    if (!dtls_client_write(k->dtls, bytes_str(text), k->rig->now))
        return false;
    rig_run(k->rig);
    return bytes_equal_str(dtls_client_read(k->dtls), text);
}

struct assocs_stats rig_stats(struct rig *r)
{
    struct assocs_stats s;
    assocs_get_stats(r->assocs, &s);
    return s;
}
