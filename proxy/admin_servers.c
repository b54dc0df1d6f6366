/* What `postern status` tells of authorization servers: for each authority
 * and what it is asked for, whether it is reachable, since when, how fast. */
#include "admin.h"
#include "json.h"

static const char *const purposes[AUTHORITY_PURPOSES] = {
    [AUTHORITY_INTROSPECT] = "introspect",
    [AUTHORITY_REVOCATIONS] = "revocation-list",
    [AUTHORITY_JWKS] = "jwks",
    [AUTHORITY_DYNAMIC] = "dynamic-authorization",
    [AUTHORITY_DECISION] = "decision",
};

static const char *url_of(const struct policy_authority *a, enum authority_purpose p)
{
    const char *const urls[AUTHORITY_PURPOSES] = {
        [AUTHORITY_INTROSPECT] = a->wire.introspect.url,
        [AUTHORITY_REVOCATIONS] = a->wire.revocation_list.url,
        [AUTHORITY_JWKS] = a->wire.jwks.url,
        [AUTHORITY_DYNAMIC] = a->dynamic.ask.url,
    };
    return urls[p];
}

static const char *reach(const struct authority_stats *s)
{
    static const char *const words[] = {
        [CIRCUIT_CLOSED] = "reachable", [CIRCUIT_OPEN] = "away", [CIRCUIT_HALF_OPEN] = "trying"};
    return s->circuit == CIRCUIT_CLOSED && s->answered == 0 ? "not asked yet" : words[s->circuit];
}

static void put_list(const struct admin *a, const char *authority, const struct trl_watch_stats *l,
                     struct buf *out)
{
    static const char *const words[] = {[TRL_UNKNOWN] = "unknown",
                                        [TRL_GOOD] = "good",
                                        [TRL_SILENT] = "silent",
                                        [TRL_REFUSED] = "refused",
                                        [TRL_BAD_ANSWER] = "bad answer"};
    json_member(out, "list", words[l->health]);
    json_member_bool(out, "list_known", l->known);
    json_member_bool(out, "list_observed", l->observing);
    json_member_u64(out, "list_age_s", l->age_s > 0 ? (uint64_t)l->age_s : 0);
    json_member_u64(out, "list_hashes",
                    revocations_listed(pep_revocations(a->pep), bytes_str(authority)));
    if (l->cursor == TRL_CURSOR_AT)
        json_member_u64(out, "list_cursor", l->at);
    json_member_u64(out, "list_notifications", l->notifications);
    json_member_bool(out, "list_too_long",
                     revocations_list_overflowed(pep_revocations(a->pep), bytes_str(authority)));
}

/* `place` is its number on the wire: of authorities, and then decision points. */
static void put_server(const struct admin *a, size_t place, const char *name, const char *url,
                       enum authority_purpose p, struct instant now, struct buf *out)
{
    struct servers_stats s;
    struct pep_authority_stats asked;
    servers_get_stats(worker_servers(workers_first(a->workers)), (int)place, now, &s);
    const struct authority_stats *w = &s.purpose[p];
    if (out->n && out->p[out->n - 1] == '}')
        buf_put_u8(out, ',');
    buf_put_u8(out, '{');
    json_member(out, "authority", name);
    json_member(out, "purpose", purposes[p]);
    json_member(out, "url", url);
    json_member(out, "state", reach(w));
    json_member_u64(out, "since", w->since_s > 0 ? (uint64_t)w->since_s : (uint64_t)a->started_s);
    json_member(out, "last_error", w->reason);
    json_member_u64(out, "retry_s", w->retry_s);
    json_member_u64(out, "latency_us", w->latency_us);
    json_member_u64(out, "asked", w->asked);
    json_member_u64(out, "answered", w->answered);
    json_member_u64(out, "away", w->away);
    json_member_u64(out, "refused", w->refused);
    json_member_u64(out, "under_way", w->under_way);
    if (p == AUTHORITY_INTROSPECT) {
        pep_get_authority_stats(a->pep, (int)place, &asked);
        json_member_u64(out, "cache_hits", asked.hits);
        json_member_u64(out, "cache_misses", asked.asked);
        json_member_u64(out, "parked", asked.under_way);
    }
    if (p == AUTHORITY_REVOCATIONS)
        put_list(a, name, &s.list, out);
    if (p == AUTHORITY_JWKS)
        json_member_u64(out, "keys_taken", s.keys_s > 0 ? (uint64_t)s.keys_s : 0);
    buf_put_u8(out, '}');
}

void admin_put_servers(const struct admin *a, struct instant now, struct buf *out)
{
    json_put_key(out, "servers");
    buf_put_u8(out, '[');
    const struct policy *policy = pep_policy(a->pep);
    const struct policy_authority *is;
    const struct policy_point *point;
    size_t n = 0, authorities = 0;
    for (; (is = policy_authority(policy, authorities)); authorities++)
        for (int p = 0; p < AUTHORITY_PURPOSES; p++) {
            const char *url = url_of(is, (enum authority_purpose)p);
            if (url && n++ < ADMIN_SERVERS_MAX)
                put_server(a, authorities, is->name, url, (enum authority_purpose)p, now, out);
        }
    for (size_t i = 0; (point = policy_point(policy, i)); i++)
        if (n++ < ADMIN_SERVERS_MAX)
            put_server(a, authorities + i, point->name, point->endpoint.url, AUTHORITY_DECISION,
                       now, out);
    buf_put_u8(out, ']');
}
