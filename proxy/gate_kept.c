/* What a gate keeps over a planned restart: its clients' associations, which
 * of their messages it has seen, and what they observe. */
#include <stdlib.h>

#include "../pep/crypto.h"
#include "../policy/cursor.h"
#include "file.h"
#include "gate_internal.h"
#include "kept.h"

enum { CA_MAX = 1 << 20 };

void kept_put(struct kept_out *out, struct bytes entry)
{
    sealed_put(out->file, out->kind, entry);
    out->n++;
}

/* ---- what must be the same ---- */

/* Clients that a certificate authority vouched for are only known while it
 * still does. */
static void digest_ca(const struct gate *g, uint8_t out[CRYPTO_SHA256])
{
    uint8_t *text = NULL;
    size_t n = 0;
    const char *why;
    memset(out, 0, CRYPTO_SHA256);
    if (g->config->dtls.client_ca &&
        (!file_read(g->config->dtls.client_ca, false, CA_MAX, &text, &n, &why) ||
         !crypto_sha256(bytes_of(text, n), out)))
        out[0] = 1; /* like none that can be read */
    free(text);
}

static void save_ground(struct gate *g, struct kept_out *out)
{
    uint8_t storage[128], ca[CRYPTO_SHA256];
    struct buf b = buf_on(storage, sizeof storage);
    struct bytes header = dtls_saved_header(assocs_dtls(g->assocs));
    digest_ca(g, ca);
    buf_put_be(&b, header.n, 1);
    buf_put(&b, header);
    buf_put(&b, bytes_of(ca, sizeof ca));
    buf_put_be(&b, (uint64_t)g->now.wall_s, 8);
    kept_put(out, buf_bytes(&b));
}

static enum kept_taken load_ground(struct gate *g, struct bytes entry)
{
    uint8_t ca[CRYPTO_SHA256];
    struct cursor c = cursor_on(entry);
    struct bytes header = cursor_vector(&c, 1), before = cursor_take(&c, CRYPTO_SHA256);
    int64_t then_s = (int64_t)cursor_be(&c, 8);
    if (!cursor_done(&c) || (header.n && !dtls_use_header(assocs_dtls(g->assocs), header)))
        return KEPT_REFUSED;
    digest_ca(g, ca);
    g->recall.same_ca = bytes_equal(before, bytes_of(ca, sizeof ca));
    g->recall.away_ms = g->now.wall_s > then_s ? (uint64_t)(g->now.wall_s - then_s) * 1000 : 0;
    return KEPT_TAKEN;
}

/* ---- associations ---- */

static void put_peer(const struct peer *p, struct buf *out)
{
    buf_put_be(out, p->len, 1);
    buf_put(out, bytes_of(&p->sa, p->len));
    buf_put(out, bytes_of(&p->local, sizeof p->local));
    buf_put_be(out, p->local_if, 4);
}

static bool read_peer(struct cursor *c, struct peer *out)
{
    memset(out, 0, sizeof *out);
    struct bytes sa = cursor_vector(c, 1), local = cursor_take(c, sizeof out->local);
    out->local_if = (unsigned)cursor_be(c, 4);
    if (!cursor_ok(c) || (sa.n != sizeof out->in4 && sa.n != sizeof out->in6))
        return false;
    memcpy(&out->in6, sa.p, sa.n);
    memcpy(&out->local, local.p, local.n);
    out->len = (socklen_t)sa.n;
    return true;
}

struct saving {
    struct gate *g;
    struct kept_out *out;
};

static void save_assoc(void *user, struct assoc *a)
{
    const struct saving *s = user;
    uint8_t storage[SEALED_ENTRY_MAX];
    struct buf b = buf_on(storage, sizeof storage);
    struct assoc_kept k;
    if (!a->asleep || !a->session)
        return;
    assoc_describe(s->g->assocs, a, &k);
    const char *listener = s->g->config->listeners[k.listener].text;
    buf_put_be(&b, k.id, 8);
    buf_put_be(&b, strlen(listener), 2);
    buf_put_str(&b, listener);
    put_peer(&k.peer, &b);
    buf_put_be(&b, k.next_mid, 2);
    buf_put_u8(&b, a->m2m);
    buf_put_be(&b, k.unused_ms, 8);
    buf_put_be(&b, k.cid.n, 1);
    buf_put(&b, k.cid);
    buf_put_be(&b, k.asleep.n, 2);
    buf_put(&b, k.asleep);
    /* The rest is the session. */
    if (pep_session_save(a->session, &b) && !b.full)
        kept_put(s->out, buf_bytes(&b));
    crypto_wipe(storage, b.n);
}

static void save_assocs(struct gate *g, struct kept_out *out)
{
    struct saving s = {g, out};
    assocs_each(g->assocs, save_assoc, &s);
}

static int listener_of(const struct gate *g, struct bytes text)
{
    for (size_t i = 0; i < g->config->n_listeners; i++)
        if (g->config->listeners[i].secure && bytes_equal_str(text, g->config->listeners[i].text))
            return (int)i;
    return -1;
}

static enum kept_taken load_assoc(struct gate *g, struct bytes entry)
{
    struct assoc_kept k;
    struct cursor c = cursor_on(entry);
    k.id = cursor_be(&c, 8);
    k.listener = listener_of(g, cursor_vector(&c, 2));
    if (!read_peer(&c, &k.peer))
        return KEPT_REFUSED;
    k.next_mid = cursor_u16(&c);
    uint64_t numbering = cursor_be(&c, 1);
    k.unused_ms = cursor_be(&c, 8) + g->recall.away_ms;
    k.cid = cursor_vector(&c, 1);
    k.asleep = cursor_vector(&c, 2);
    struct bytes session = cursor_take(&c, c.n);
    if (!cursor_done(&c) || numbering > 1 + M2M_LEGACY)
        return KEPT_REFUSED;
    if (k.listener < 0)
        return KEPT_DROPPED;
    struct assoc *a = assoc_restore(g->assocs, &k, g->now);
    if (!a)
        return KEPT_DROPPED;
    /* One shows it for all: they were saved by one library. */
    if (!g->recall.sound && !assoc_is_sound(g->assocs, a))
        return KEPT_REFUSED;
    g->recall.sound = true;
    a->m2m = (uint8_t)numbering;
    struct policy_peer from = peer_policy(&a->peer);
    a->session = pep_session_restore(g->pep, session, &from, g->now.wall_s);
    if (!a->session || (pep_session_trusts(a->session) && !g->recall.same_ca)) {
        assoc_close(g->assocs, a, "not-restored");
        return KEPT_DROPPED;
    }
    return gate_assoc_resume(g, a) ? KEPT_TAKEN : KEPT_DROPPED;
}

/* ---- messages that were seen ---- */

static void save_one_seen(void *user, const struct exchange_seen *x)
{
    struct kept_out *out = user;
    uint8_t storage[MESSAGE_MAX + 64];
    struct buf b = buf_on(storage, sizeof storage);
    buf_put_be(&b, x->client, 8);
    buf_put_be(&b, x->hash, 8);
    buf_put_be(&b, x->mid, 2);
    buf_put_u8(&b, x->type);
    buf_put_u8(&b, x->acked);
    buf_put_be(&b, x->age_ms, 8);
    buf_put(&b, x->answer);
    kept_put(out, buf_bytes(&b));
}

static void save_seen(struct gate *g, struct kept_out *out)
{
    uint8_t seed[EXCHANGE_SEED];
    exchanges_get_seed(g->exchanges, seed);
    kept_put(out, bytes_of(seed, sizeof seed));
    exchanges_each_seen(g->exchanges, g->now, save_one_seen, out);
}

/* First the seed of the hashes that the others have. */
static enum kept_taken load_seen(struct gate *g, struct bytes entry)
{
    struct exchange_seen x;
    struct cursor c = cursor_on(entry);
    if (entry.n == EXCHANGE_SEED)
        return exchanges_use_seed(g->exchanges, entry.p) ? KEPT_TAKEN : KEPT_REFUSED;
    x.client = cursor_be(&c, 8);
    x.hash = cursor_be(&c, 8);
    x.mid = cursor_u16(&c);
    x.type = cursor_u8(&c);
    x.acked = cursor_u8(&c) != 0;
    x.age_ms = cursor_be(&c, 8) + g->recall.away_ms;
    x.answer = cursor_take(&c, c.n);
    if (!cursor_done(&c) || x.answer.n > MESSAGE_MAX)
        return KEPT_REFUSED;
    struct assoc *a = assocs_find(g->assocs, x.client);
    return a && exchange_remember(g->exchanges, a, &x, g->now) ? KEPT_TAKEN : KEPT_DROPPED;
}

/* ---- observations ---- */

static void save_watch(void *user, struct watch *w)
{
    struct kept_out *out = user;
    uint8_t storage[MESSAGE_MAX + 8];
    struct buf b = buf_on(storage, sizeof storage);
    if (!w->open)
        return;
    buf_put_be(&b, w->assoc->id, 8);
    buf_put(&b, bytes_of(w->request, w->request_n));
    if (!b.full)
        kept_put(out, buf_bytes(&b));
    crypto_wipe(storage, b.n); /* it may hold a token */
}

static void save_watches(struct gate *g, struct kept_out *out)
{
    watches_each(g->watches, save_watch, out);
}

/* The request is told again from its beginning, as if its client had sent it
 * now as a NON: it is judged, the device is observed again, and what comes
 * back with the client's token is to the client the next notification (RFC
 * 7641 3.2), or the word that it is over. Its message ID is ours to choose:
 * a client's own message of that ID has other bytes. */
static enum kept_taken load_watch(struct gate *g, struct bytes entry)
{
    uint8_t plain[MESSAGE_MAX];
    struct msg m;
    struct bytes again = BYTES_NONE;
    struct cursor c = cursor_on(entry);
    struct assoc *a = assocs_find(g->assocs, cursor_be(&c, 8));
    struct bytes request = cursor_take(&c, c.n);
    if (!cursor_done(&c) || request.n > sizeof plain || request.n < 4)
        return KEPT_REFUSED;
    if (!a || !a->session || a->dead)
        return KEPT_DROPPED;
    memcpy(plain, request.p, request.n);
    plain[0] = (uint8_t)((plain[0] & ~0x30) | TYPE_NON << 4); /* RFC 7252 3 */
    plain[2] = (uint8_t)(a->next_mid >> 8);
    plain[3] = (uint8_t)a->next_mid++;
    struct arrival in = {.assoc = a,
                         .listener = a->listener,
                         .from = &a->peer,
                         .m = &m,
                         .datagram = bytes_of(plain, request.n)};
    if (msg_parse(in.datagram, &m) != MSG_OK)
        return KEPT_REFUSED;
    if (exchange_accept(g->exchanges, a, a->listener, &a->peer, &m, in.datagram, g->now, &in.x,
                        &again) != EXCHANGE_NEW)
        return KEPT_DROPPED;
    g->stats.requests++;
    gate_request(g, &in);
    crypto_wipe(plain, sizeof plain);
    return KEPT_TAKEN;
}

/* ---- all of it ---- */

static const struct kept_section sections[] = {
    {1, 1, "ground", save_ground, load_ground},
    {2, 2, "associations", save_assocs, load_assoc},
    {3, 1, "messages", save_seen, load_seen},
    {4, 1, "observations", save_watches, load_watch},
};

enum { N_SECTIONS = sizeof sections / sizeof *sections, KIND_ASSOCS = 2 };

/* What is still under way ends here, with its record: its device may do what
 * it was asked, but the answer finds nobody. */
static void end_open(void *user, struct exchange *x)
{
    struct gate *g = user;
    if (x->up != UP_NONE)
        gate_unserve(g, x);
    if (!x->own)
        gate_record_end(g, x, 0);
    exchange_drop(g->exchanges, x, g->now);
}

void gate_keep(struct gate *g, struct sealed_writer *file, struct instant now)
{
    uint8_t storage[2 * N_SECTIONS];
    struct buf list = buf_on(storage, sizeof storage);
    g->now = now;
    exchanges_each_open(g->exchanges, end_open, g);
    assocs_sleep_all(g->assocs);
    for (size_t i = 0; i < N_SECTIONS; i++) {
        buf_put_u8(&list, sections[i].kind);
        buf_put_u8(&list, sections[i].version);
    }
    sealed_put(file, KEPT_SECTIONS, buf_bytes(&list));
    for (size_t i = 0; i < N_SECTIONS; i++) {
        struct kept_out out = {file, sections[i].kind, 0};
        sections[i].save(g, &out);
    }
}

static bool is_our_list(struct bytes list)
{
    bool same = list.n == 2 * N_SECTIONS;
    for (size_t i = 0; same && i < N_SECTIONS; i++)
        same = list.p[2 * i] == sections[i].kind && list.p[2 * i + 1] == sections[i].version;
    return same;
}

bool gate_recall(struct gate *g, uint8_t kind, struct bytes entry, struct instant now,
                 struct kept_counts *counts)
{
    g->now = now;
    if (kind == KEPT_SECTIONS)
        return is_our_list(entry);
    for (size_t i = 0; i < N_SECTIONS; i++) {
        if (sections[i].kind != kind)
            continue;
        enum kept_taken t = sections[i].load(g, entry);
        if (kind == KIND_ASSOCS) {
            counts->taken += t == KEPT_TAKEN;
            counts->dropped += t == KEPT_DROPPED;
        }
        return t != KEPT_REFUSED;
    }
    return false;
}

static void forget_one(void *user, struct assoc *a)
{
    (void)user;
    pep_session_close(a->session);
    a->session = NULL;
}

void gate_forget(struct gate *g)
{
    assocs_each(g->assocs, forget_one, g);
    g->forgotten = true;
}
