#include "discovery.h"

#include <stdlib.h>

#include "links.h"

#define CONTENT MSG_CODE(2, 5)

/* A device's document on its way in. */
struct learner {
    bool busy;
    uint8_t szx, restarts;
    uint8_t etag_n, etag[8];
    size_t n;
    uint8_t text[DISCOVERY_TEXT_MAX];
};

struct known {
    uint8_t *text; /* NULL: nothing was learned */
    size_t n;
    struct learner *learner; /* under way, or NULL */
    bool wanted;
    uint64_t due_ms, retry_ms;
};

struct discovery {
    struct discovery_device *devices;
    struct known *known;
    size_t n;
    uint64_t next_ms, now_ms;
    bool wants_elsewhere;
    struct learner learners[DISCOVERY_LEARNERS];
};

static struct learner *free_learner(struct discovery *d)
{
    for (size_t i = 0; i < DISCOVERY_LEARNERS; i++)
        if (!d->learners[i].busy)
            return &d->learners[i];
    return NULL;
}

/* After whatever changes it: the deadline is asked for every turn. */
static void find_next(struct discovery *d)
{
    d->next_ms = UINT64_MAX;
    if (!free_learner(d))
        return;
    for (size_t i = 0; i < d->n; i++) {
        const struct known *k = &d->known[i];
        if (k->wanted && !k->learner && !d->devices[i].elsewhere && k->due_ms < d->next_ms)
            d->next_ms = k->due_ms;
    }
}

struct discovery *discovery_new(const struct discovery_device *devices, size_t n)
{
    struct discovery *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->devices = calloc(n ? n : 1, sizeof *d->devices);
    d->known = calloc(n ? n : 1, sizeof *d->known);
    if (!d->devices || !d->known) {
        discovery_free(d);
        return NULL;
    }
    d->n = n;
    for (size_t i = 0; i < n; i++) {
        d->devices[i] = devices[i];
        d->known[i].wanted = !devices[i].elsewhere && !devices[i].mute;
    }
    find_next(d);
    return d;
}

void discovery_free(struct discovery *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++)
        free(d->known[i].text);
    free(d->known);
    free(d->devices);
    free(d);
}

uint64_t discovery_deadline_ms(const struct discovery *d)
{
    return d->next_ms;
}

int discovery_next(struct discovery *d, uint64_t now_ms)
{
    d->now_ms = now_ms;
    if (d->next_ms > now_ms)
        return -1;
    struct learner *l = free_learner(d);
    if (!l)
        return -1;
    for (size_t i = 0; i < d->n; i++) {
        struct known *k = &d->known[i];
        if (!k->wanted || k->learner || k->due_ms > now_ms || d->devices[i].elsewhere)
            continue;
        l->busy = true;
        l->restarts = 0;
        l->n = 0;
        k->learner = l;
        k->wanted = false;
        find_next(d);
        return (int)i;
    }
    return -1;
}

static struct known *under_way(const struct discovery *d, int device)
{
    if (device < 0 || (size_t)device >= d->n || !d->known[device].learner)
        return NULL;
    return &d->known[device];
}

bool discovery_request(const struct discovery *d, int device, struct msg *out,
                       struct discovery_scratch *scratch)
{
    const struct known *k = under_way(d, device);
    if (!k)
        return false;
    *out = (struct msg){.type = TYPE_NON, .code = MSG_GET};
    /* At the device's own root, whatever path its URL has (RFC 6690 4). Only
     * what every server knows: Accept and an early Block2 are critical. */
    if (!msg_add(out, OPT_URI_PATH, BYTES_LIT(".well-known")) ||
        !msg_add(out, OPT_URI_PATH, BYTES_LIT("core")))
        return false;
    const struct learner *l = k->learner;
    uint32_t block = (uint32_t)(l->n >> (l->szx + 4) << 4) | l->szx;
    return l->n == 0 || msg_add_uint(out, OPT_BLOCK2, block, scratch->block);
}

static void done(struct discovery *d, struct known *k, uint64_t due_ms)
{
    k->learner->busy = false;
    k->learner = NULL;
    k->due_ms = due_ms;
    find_next(d);
}

/* No answer, or none that says anything of the device's links: what was
 * known stays, and it is asked again, ever more rarely. */
static bool retry(struct discovery *d, struct known *k, uint64_t now_ms)
{
    k->retry_ms = k->retry_ms ? 2 * k->retry_ms : DISCOVERY_RETRY_MIN_S * 1000;
    if (k->retry_ms > DISCOVERY_RETRY_MAX_S * 1000)
        k->retry_ms = DISCOVERY_RETRY_MAX_S * 1000;
    k->wanted = true;
    done(d, k, now_ms + k->retry_ms);
    return false;
}

/* It has no links, or none that can be read. */
static bool forget(struct discovery *d, struct known *k, uint64_t now_ms)
{
    free(k->text);
    k->text = NULL;
    k->n = 0;
    k->retry_ms = 0;
    done(d, k, now_ms + DISCOVERY_RETRY_MAX_S * 1000);
    return false;
}

/* The document changed between two blocks (RFC 7959 2.4). */
static bool restart(struct discovery *d, struct known *k, uint64_t now_ms)
{
    k->learner->n = 0;
    if (++k->learner->restarts > DISCOVERY_RESTARTS)
        return retry(d, k, now_ms);
    return true;
}

static bool is_well_formed(struct bytes text)
{
    struct link l;
    for (size_t n = 0; n <= DISCOVERY_LINKS_MAX; n++) {
        enum link_result r = link_next(&text, &l);
        if (r != LINK_FOUND)
            return r == LINK_END;
    }
    return false;
}

static bool keep(struct discovery *d, struct known *k, const struct msg *m, uint64_t now_ms)
{
    const struct learner *l = k->learner;
    uint8_t *text = malloc(l->n ? l->n : 1);
    if (!text)
        return retry(d, k, now_ms);
    if (!is_well_formed(bytes_of(l->text, l->n))) {
        free(text);
        return forget(d, k, now_ms);
    }
    memcpy(text, l->text, l->n);
    free(k->text);
    k->text = text;
    k->n = l->n;
    k->retry_ms = 0;
    int64_t age_s = msg_uint(m, OPT_MAX_AGE);
    if (age_s < DISCOVERY_FRESH_MIN_S)
        age_s = DISCOVERY_FRESH_MIN_S;
    if (age_s > DISCOVERY_FRESH_MAX_S)
        age_s = DISCOVERY_FRESH_MAX_S;
    done(d, k, now_ms + (uint64_t)age_s * 1000);
    return false;
}

/* Of critical options an answer to this request may have Block2 only
 * (RFC 7252 5.4.1). */
static bool is_understood(const struct msg *m)
{
    for (size_t i = 0; i < m->n_options; i++) {
        const struct msg_option *o = &m->options[i];
        if (o->number & 1 && (o->number != OPT_BLOCK2 || o->value.n > 3 ||
                              (i > 0 && m->options[i - 1].number == OPT_BLOCK2)))
            return false;
    }
    int64_t format = msg_uint(m, OPT_CONTENT_FORMAT);
    return format == CF_NONE || format == CF_LINK;
}

bool discovery_take_answer(struct discovery *d, int device, const struct msg *m, uint64_t now_ms)
{
    struct known *k = under_way(d, device);
    if (!k)
        return false;
    struct learner *l = k->learner;
    if (!m || MSG_CLASS(m->code) == 5)
        return retry(d, k, now_ms);
    if (m->code != CONTENT) /* in the middle: it may have become shorter */
        return l->n ? restart(d, k, now_ms) : forget(d, k, now_ms);
    if (!is_understood(m))
        return forget(d, k, now_ms);

    const struct msg_option *etag = msg_find(m, OPT_ETAG);
    struct bytes tag = etag && etag->value.n <= sizeof l->etag ? etag->value : BYTES_NONE;
    bool more = false;
    if (msg_find(m, OPT_BLOCK2)) {
        uint32_t block = (uint32_t)msg_uint(m, OPT_BLOCK2);
        unsigned szx = block & 7;
        size_t size = (size_t)1 << (szx + 4);
        more = block & 8;
        if (szx > DISCOVERY_SZX_MAX || (more ? m->payload.n != size : m->payload.n > size))
            return forget(d, k, now_ms);
        if ((size_t)(block >> 4) << (szx + 4) != l->n)
            return restart(d, k, now_ms);
        if (l->n && !bytes_equal(tag, bytes_of(l->etag, l->etag_n)))
            return restart(d, k, now_ms);
        l->szx = (uint8_t)szx;
    } else {
        l->n = 0; /* all of it at once, whatever was asked for */
    }
    if (l->n == 0) {
        l->etag_n = (uint8_t)tag.n;
        if (tag.n)
            memcpy(l->etag, tag.p, tag.n);
    }
    if (m->payload.n > sizeof l->text - l->n)
        return forget(d, k, now_ms);
    if (m->payload.n)
        memcpy(l->text + l->n, m->payload.p, m->payload.n);
    l->n += m->payload.n;
    return more || keep(d, k, m, now_ms);
}

/* ---- elsewhere ---- */

int discovery_next_elsewhere(struct discovery *d, uint64_t now_ms)
{
    for (size_t i = 0; d->wants_elsewhere && i < d->n; i++) {
        struct known *k = &d->known[i];
        if (!k->wanted || !d->devices[i].elsewhere)
            continue;
        /* However many listings want it until it comes. */
        k->wanted = false;
        k->due_ms = now_ms + DISCOVERY_RETRY_MIN_S * 1000;
        return (int)i;
    }
    d->wants_elsewhere = false;
    return -1;
}

void discovery_want(struct discovery *d, int device)
{
    struct bytes text;
    if (device >= 0 && (size_t)device < d->n)
        (void)!discovery_known(d, device, &text);
}

bool discovery_learned(const struct discovery *d, int device, struct bytes *text, uint64_t *due_ms)
{
    const struct known *k = &d->known[device];
    *text = bytes_of(k->text, k->n);
    *due_ms = k->due_ms;
    return !k->learner;
}

void discovery_take_learned(struct discovery *d, int device, struct bytes text, uint64_t due_ms)
{
    if (device < 0 || (size_t)device >= d->n || !d->devices[device].elsewhere)
        return;
    struct known *k = &d->known[device];
    uint8_t *copy = text.n ? malloc(text.n) : NULL;
    if (text.n && !copy) /* what was known stays */
        return;
    if (text.n)
        memcpy(copy, text.p, text.n);
    free(k->text);
    k->text = copy;
    k->n = text.n;
    k->due_ms = due_ms;
    k->wanted = false;
}

size_t discovery_devices(const struct discovery *d, const struct discovery_device **devices)
{
    *devices = d->devices;
    return d->n;
}

bool discovery_known(struct discovery *d, int device, struct bytes *text)
{
    struct known *k = &d->known[device];
    *text = (struct bytes){k->text, k->n};
    if (d->devices[device].mute)
        return false;
    if (d->devices[device].elsewhere) {
        if (k->due_ms <= d->now_ms)
            k->wanted = d->wants_elsewhere = true;
    } else if (!k->wanted && !k->learner) {
        k->wanted = true;
        if (k->due_ms < d->next_ms && free_learner(d))
            d->next_ms = k->due_ms;
    }
    return k->text != NULL;
}
