#include "worker_ask.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "../pep/introspect.h"
#include "mail.h"

enum {
    WHO_SHIFT = 56, /* a question's id has its worker on top: pep counts from 1 */
    NAME_MAX_N = 255,
};

/* One question under way, and who waits for its answer. */
struct under_way {
    uint64_t wire; /* its id on the wire: the first's; 0: free */
    uint8_t digest[CRYPTO_SHA256];
    size_t n;
    uint64_t ids[CREW_MAX];
};

struct asker {
    struct crew *crew;
    unsigned who;
    struct pep *pep;
    struct servers *servers;
    struct gate *(*gate_of)(void *user, unsigned who);
    void *user;
    uint64_t unknown_keys; /* pep's count when it was told last */
    struct under_way *asked;
    size_t n; /* from there on all are free */
};

struct question {
    struct mail_head head;
    uint8_t http, ask;
    int content_format;
    uint64_t id;
    uint32_t name_n;
};

struct reply {
    struct mail_head head;
    uint8_t away, code;
    int content_format;
    uint32_t retry_s;
    uint64_t id;
    uint32_t max_age_s;
    uint16_t rsc;
    uint8_t has_max_age;
};

static uint64_t with_who(unsigned who, uint64_t id)
{
    return (uint64_t)who << WHO_SHIFT | id;
}

/* ---- answers ---- */

/* One that has no room for its answer must not wait for it for ever: it is
 * told while it stands still. */
static void tell(struct asker *a, uint64_t id, const struct pep_reply *r, struct instant now)
{
    unsigned who = (unsigned)(id >> WHO_SHIFT);
    id &= (UINT64_C(1) << WHO_SHIFT) - 1;
    const struct reply head = {.head = {MAIL_REPLY},
                               .away = r->away,
                               .code = r->code,
                               .content_format = r->content_format,
                               .retry_s = r->retry_s,
                               .id = id,
                               .max_age_s = r->max_age_s,
                               .rsc = r->rsc,
                               .has_max_age = r->has_max_age};
    const struct bytes parts[] = {bytes_of(&head, sizeof head), r->body};
    if (who != a->who && crew_mail(a->crew, a->who, who, CREW_REPLY, parts, 2))
        return;
    bool other = who != a->who;
    if (other)
        crew_pause(a->crew);
    gate_reply_came(a->gate_of(a->user, who), id, r, now);
    if (other)
        crew_resume(a->crew);
}

static void replied(void *user, uint64_t id, const struct pep_reply *r, struct instant now)
{
    struct asker *a = user;
    for (size_t i = 0; i < a->n; i++) {
        struct under_way *u = &a->asked[i];
        if (u->wire != id)
            continue;
        const struct under_way done = *u;
        *u = a->asked[--a->n];
        for (size_t k = 0; k < done.n; k++)
            tell(a, done.ids[k], r, now);
        return;
    }
}

struct asker *asker_new(struct crew *c, unsigned who, struct servers *servers,
                        struct gate *(*gate_of)(void *user, unsigned who), void *user)
{
    struct asker *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    *a =
        (struct asker){.crew = c, .who = who, .servers = servers, .gate_of = gate_of, .user = user};
    if (!servers)
        return a;
    a->asked = calloc(AUTHORITY_QUESTIONS, sizeof *a->asked);
    if (!a->asked) {
        free(a);
        return NULL;
    }
    servers_relay(servers, replied, a);
    return a;
}

void asker_free(struct asker *a)
{
    if (!a)
        return;
    free(a->asked);
    free(a);
}

void asker_attach(struct asker *a, struct pep *pep)
{
    a->pep = pep;
}

/* ---- questions ---- */

/* Whom it is for, by name; empty: nobody. */
static struct bytes name_of(const struct policy *p, const struct pep_question *q)
{
    if (q->authority < 0)
        return BYTES_NONE;
    size_t i = (size_t)q->authority;
    const struct policy_authority *is = q->ask == PEP_ASK_DECISION ? NULL : policy_authority(p, i);
    const struct policy_point *point = q->ask == PEP_ASK_DECISION ? policy_point(p, i) : NULL;
    return is ? bytes_str(is->name) : point ? bytes_str(point->name) : BYTES_NONE;
}

/* Of all that makes it this question and no other. */
static bool digest(const struct pep_question *q, struct bytes name, uint8_t out[CRYPTO_SHA256])
{
    uint8_t text[16 + NAME_MAX_N + INTROSPECT_ASK_MAX];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, (uint8_t)q->ask);
    buf_put_u8(&b, q->http);
    buf_put_be(&b, (uint64_t)(int64_t)q->content_format, 8);
    buf_put_be(&b, name.n, 2);
    buf_put(&b, name);
    buf_put(&b, q->body);
    bool ok = !b.full && crypto_sha256(buf_bytes(&b), out);
    crypto_wipe(text, sizeof text);
    return ok;
}

/* False: nobody can be asked. */
static bool ask_servers(struct asker *a, uint64_t id, const struct pep_question *q,
                        struct instant now)
{
    struct under_way u = {.wire = id, .n = 1, .ids = {id}};
    struct bytes name = name_of(pep_policy(a->pep), q);
    if (name.n == 0 || !digest(q, name, u.digest))
        return false;
    for (size_t i = 0; i < a->n; i++) {
        struct under_way *same = &a->asked[i];
        if (memcmp(same->digest, u.digest, sizeof u.digest) == 0 && same->n < CREW_MAX) {
            same->ids[same->n++] = id;
            return true;
        }
    }
    struct pep_question on_wire = *q;
    on_wire.id = id;
    if (a->n == AUTHORITY_QUESTIONS || !servers_ask(a->servers, &on_wire, now))
        return false;
    a->asked[a->n++] = u;
    return true;
}

bool asker_ask(void *user, const struct pep_question *q, struct instant now)
{
    struct asker *a = user;
    if (a->servers)
        return ask_servers(a, with_who(a->who, q->id), q, now);
    struct bytes name = name_of(pep_policy(a->pep), q);
    if (name.n == 0)
        return false;
    const struct question head = {.head = {MAIL_QUESTION},
                                  .ask = (uint8_t)q->ask,
                                  .http = q->http,
                                  .content_format = q->content_format,
                                  .id = q->id,
                                  .name_n = (uint32_t)name.n};
    const struct bytes parts[] = {bytes_of(&head, sizeof head), name, q->body};
    return crew_mail(a->crew, a->who, 0, CREW_ASK, parts, 3);
}

static void take_question(struct asker *a, unsigned from, struct bytes m, struct instant now)
{
    struct question head;
    if (m.n < sizeof head)
        return;
    memcpy(&head, m.p, sizeof head);
    if (head.name_n > m.n - sizeof head)
        return;
    struct bytes name = bytes_of(m.p + sizeof head, head.name_n);
    const struct policy *p = pep_policy(a->pep);
    bool decides = head.ask == PEP_ASK_DECISION;
    const struct pep_question q = {.id = head.id,
                                   .ask = (enum pep_ask)head.ask,
                                   .authority = decides ? policy_point_find(p, name)
                                                        : policy_authority_find(p, name),
                                   .body = bytes_of(name.p + name.n, m.n - sizeof head - name.n),
                                   .content_format = head.content_format,
                                   .http = head.http};
    uint64_t id = with_who(from, head.id);
    if (q.authority >= 0 && ask_servers(a, id, &q, now))
        return;
    const struct pep_reply away = {.away = true, .content_format = PEP_FORMAT_NONE};
    tell(a, id, &away, now);
}

static void take_reply(struct asker *a, struct bytes m, struct instant now)
{
    struct reply head;
    if (m.n < sizeof head)
        return;
    memcpy(&head, m.p, sizeof head);
    const struct pep_reply r = {.away = head.away,
                                .code = head.code,
                                .content_format = head.content_format,
                                .body = bytes_of(m.p + sizeof head, m.n - sizeof head),
                                .retry_s = head.retry_s,
                                .rsc = head.rsc,
                                .has_max_age = head.has_max_age,
                                .max_age_s = head.max_age_s};
    gate_reply_came(a->gate_of(a->user, a->who), head.id, &r, now);
}

void asker_take(struct asker *a, unsigned from, struct bytes message, struct instant now)
{
    switch (mail_kind(message)) {
    case MAIL_QUESTION:
        if (a->servers)
            take_question(a, from, message, now);
        break;
    case MAIL_REPLY:
        take_reply(a, message, now);
        break;
    case MAIL_UNKNOWN_KEY:
        if (a->servers)
            servers_note_unknown_key(a->servers);
        break;
    default:
        break;
    }
}

void asker_turn(struct asker *a)
{
    struct pep_stats s;
    if (a->servers)
        return;
    pep_get_stats(a->pep, &s);
    if (s.unknown_keys == a->unknown_keys)
        return;
    const struct mail_head head = {MAIL_UNKNOWN_KEY};
    const struct bytes part = bytes_of(&head, sizeof head);
    if (crew_mail(a->crew, a->who, 0, CREW_ASK, &part, 1))
        a->unknown_keys = s.unknown_keys;
}
