#include "admin.h"

#include <unistd.h>

#include "enrolled.h"
#include "json.h"
#include "log.h"
#include "notify.h"

/* The lines that say what and where; the excerpts are for terminals. */
static void log_diagnostics(struct bytes text)
{
    while (text.n > 0) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        struct bytes line = {text.p, end ? (size_t)(end - text.p) : text.n};
        if (memmem(line.p, line.n, "error: ", 7))
            log_event(LOG_LEVEL_ERROR, "diagnostic", "text", LOG_B(line), NULL);
        size_t step = line.n + (end != NULL);
        text = bytes_of(text.p + step, text.n - step);
    }
}

bool admin_reload(struct admin *a, struct instant now, struct buf *diag)
{
    if (a->audit)
        audit_sink_reopen(a->audit);
    struct policy *p = config_load_policy(a->config, diag);
    struct wire *wire = p ? wire_load(p, a->config->policy_dir, diag) : NULL;
    bool ok = wire && gate_load(worker_gate(workers_first(a->workers)), p, now, diag);
    policy_unref(p); /* pep has its own reference */
    a->last_failed = !ok;
    if (ok) {
        a->reloads++;
        a->loaded_s = now.wall_s;
        worker_reloaded(workers_first(a->workers), wire, now);
        log_event(LOG_LEVEL_INFO, "reload", "policy", policy_hash(pep_policy(a->pep)), NULL);
        notify("STATUS=serving");
        if (workers_shut(a->workers) > 0) {
            /* In force where it could be; the rest serves nobody. */
            buf_put_str(diag,
                        "the policy is in force, but a worker could not load it and is shut\n");
            ok = false;
        }
    } else {
        wire_free(wire);
        a->reloads_failed++;
        log_diagnostics(bytes_of(diag->p, diag->n)); /* what fitted */
        log_event(LOG_LEVEL_ERROR, "reload-failed", "kept", policy_hash(pep_policy(a->pep)), NULL);
        notify("STATUS=serving; the last reload failed, the policy before it is in force");
    }
    return ok;
}

static void open_object(struct buf *out, const char *key)
{
    json_put_key(out, key);
    buf_put_u8(out, '{');
}

static void close_object(struct buf *out)
{
    buf_put_u8(out, '}');
}

static void put_policy(const struct admin *a, struct buf *out)
{
    const struct policy *p = pep_policy(a->pep);
    open_object(out, "policy");
    json_member(out, "file", policy_name(p));
    json_member(out, "hash", policy_hash(p));
    json_member(out, "mode", policy_mode(p) == POLICY_REPORT ? "report" : "enforce");
    json_member_u64(out, "since", (uint64_t)a->loaded_s);
    json_member_u64(out, "reloads", a->reloads);
    json_member_u64(out, "reloads_failed", a->reloads_failed);
    json_member_bool(out, "last_reload_failed", a->last_failed);
    close_object(out);
}

static void put_counters(const struct gate_stats *g, const struct pep_stats *p, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"requests", g->requests},
        {"permitted", g->permitted},
        {"denied", g->denied},
        {"reported", g->reported},
        {"answers", g->answered + g->exchanges.answered},
        {"requests_unanswered", g->exchanges.unanswered},
        {"answered_here", g->answered_here},
        {"plain_refused", g->plain_refused},
        {"rate_refused", g->rate_refused},
        {"clients_notified", g->called},
        {"clients_notified_answered", g->called_answered},
        {"echoed", g->echoed},
        {"held_back", g->held_back},
        {"malformed", g->malformed},
        {"tokens_taken", g->tokens_taken},
        {"tokens_refused", g->tokens_refused},
        {"requests_parked", g->parked},
        {"questions_asked", p->asked},
        {"questions_refused_busy", p->busy},
        {"answers_used_again", p->answer_hits},
        {"tokens_verified", p->verified},
        {"token_cache_hits", p->cache_hits},
        {"signatures_checked", p->checks},
        {"signatures_forged", p->forged},
        {"signatures_busy", p->checks_busy},
        {"grants_expired", p->expired},
        {"grants_replaced", p->replaced},
        {"grants_revoked", p->revoked},
        {"store_errors", p->store_errors},
        {"datagrams_received", g->udp.in},
        {"datagrams_sent", g->udp.out},
        {"datagrams_unsent", g->udp.dropped_out},
        {"datagrams_too_long", g->udp.truncated_in},
        {"hellos", g->assocs.hellos},
        {"cookies", g->assocs.cookies},
        {"handshakes", g->assocs.handshakes},
        {"handshakes_completed", g->assocs.completed},
        {"handshakes_failed", g->assocs.failed},
        {"handshakes_refused", g->assocs.refused},
        {"handshakes_evicted", g->assocs.evicted},
        {"handshake_datagrams_queued", g->assocs.waited},
        {"handshake_datagrams_dropped", g->assocs.dropped},
        {"handshake_cpu_ms", g->handshake_us / 1000},
        {"associations_slept", g->assocs.slept},
        {"associations_woken", g->assocs.woken},
        {"associations_moved", g->assocs.moved},
        {"associations_restored", g->assocs.restored},
        {"sleepers_tried", g->assocs.tried},
        {"stray_datagrams", g->assocs.stray},
        {"records_unread", g->unread},
        {"connections_accepted", g->conns.accepted},
        {"connections_opened", g->conns.opened},
        {"connections_failed", g->conns.failed},
        {"connections_refused", g->conns.refused},
        {"connections_evicted", g->conns.evicted},
        {"connections_aborted", g->conns.aborted},
        {"connections_slow", g->conns.slow},
        {"exchanges_accepted", g->exchanges.accepted},
        {"exchanges_repeated", g->exchanges.repeated},
        {"exchanges_full", g->exchanges.full},
        {"answers_separate", g->exchanges.separate},
        {"answers_undelivered", g->exchanges.undelivered},
        {"observations_opened", g->watches.opened},
        {"observations_refused", g->watches.refused},
        {"observations_denied", g->watches.denied},
        {"observations_reset", g->watches.reset},
        {"observations_unacknowledged", g->watches.unacknowledged},
        {"notifications_sent", g->watches.notified},
        {"notifications_received", g->observes.notifications},
        {"notifications_disordered", g->observes.disordered},
        {"cache_hits", g->cache.hits},
        {"cache_misses", g->cache.misses},
        {"cache_validated", g->cache.validated},
        {"cache_kept", g->cache.kept},
        {"cache_evicted", g->cache.evicted},
        {"cache_shared", g->shared},
        {"block_transfers", g->blocks.transfers},
        {"blocks_waited", g->blocks.waited},
        {"blocks_refused", g->blocks.refused},
        {"blocks_incomplete", g->blocks.incomplete},
    };
    open_object(out, "counters");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        json_member_u64(out, rows[i].name, rows[i].value);
    close_object(out);
}

static void put_shipping(const struct admin *a, struct buf *out)
{
    static const char *const states[] = {
        [SHIP_UNKNOWN] = "unknown", [SHIP_UP] = "up", [SHIP_DOWN] = "down"};
    struct ship_status s;
    if (!a->audit || !audit_sink_ship_status(a->audit, &s))
        return;
    open_object(out, "audit_ship");
    json_member(out, "to", a->config->ship.to);
    json_member(out, "collector", states[s.state]);
    json_member_u64(out, "since", (uint64_t)s.since_s);
    json_member_u64(out, "shipped", s.shipped);
    json_member_u64(out, "waiting", s.waiting);
    json_member_u64(out, "lost", s.lost);
    json_member(out, "last_error", s.error[0] ? s.error : NULL);
    close_object(out);
}

static void put_revocations(const struct admin *a, struct buf *out)
{
    struct revocations_stats s;
    revocations_get_stats(pep_revocations(a->pep), &s);
    open_object(out, "revocations");
    json_member_u64(out, "local", s.local);
    json_member_u64(out, "listed", s.listed);
    json_member_u64(out, "kept", s.kept);
    json_member_u64(out, "unwritten", a->config->state ? s.unwritten : 0);
    json_member_u64(out, "corrupt", s.corrupt);
    close_object(out);
}

static void put_enrolments(const struct admin *a, struct instant now, struct buf *out)
{
    struct enrolled_sum s;
    enrolled_sum(pep_policy(a->pep), now.wall_s, &s);
    open_object(out, "enrolments");
    json_member_u64(out, "subjects", s.subjects);
    json_member_u64(out, "ended", s.ended);
    json_member_u64(out, "ending_soon", s.soon);
    json_member(out, "next", s.next ? s.next->name : NULL);
    json_member_u64(out, "next_ends", s.next ? (uint64_t)s.next->expires_s : 0);
    close_object(out);
}

/* What each does, for those who look for one that does too much. */
static void put_workers(const struct admin *a, struct buf *out)
{
    json_put_key(out, "workers");
    buf_put_u8(out, '[');
    for (unsigned i = 0; i < workers_size(a->workers); i++) {
        struct gate_stats g;
        struct worker *w = workers_at(a->workers, i);
        gate_get_stats(worker_gate(w), &g);
        buf_put_str(out, i ? ",{" : "{");
        json_member_u64(out, "associations", g.assocs.established);
        json_member_u64(out, "half_open", g.assocs.half_open);
        json_member_u64(out, "exchanges_open", g.exchanges.open);
        json_member_u64(out, "requests", g.requests);
        json_member_u64(out, "tokens_taken", g.tokens_taken);
        json_member_u64(out, "handshakes_completed", g.assocs.completed);
        json_member_bool(out, "shut", gate_is_shut(worker_gate(w)));
        close_object(out);
    }
    buf_put_u8(out, ']');
    json_member_u64(out, "worker_messages_refused", workers_refused(a->workers));
}

static void put_status(const struct admin *a, struct instant now, struct buf *out)
{
    struct gate_stats g;
    struct pep_stats p;
    workers_get_stats(a->workers, &g, &p);
    json_member_bool(out, "ok", true);
    json_member(out, "version", POSTERN_VERSION);
    json_member_u64(out, "pid", (uint64_t)getpid());
    json_member(out, "config", a->config->file);
    json_member_u64(out, "started", (uint64_t)a->started_s);
    json_member_u64(out, "uptime_s",
                    now.wall_s > a->started_s ? (uint64_t)(now.wall_s - a->started_s) : 0);
    put_policy(a, out);
    json_member_u64(out, "associations", g.assocs.established);
    json_member_u64(out, "asleep", g.assocs.asleep);
    json_member_u64(out, "half_open", g.assocs.half_open);
    json_member_u64(out, "connections", g.conns.open);
    json_member_u64(out, "connections_half_open", g.conns.half_open);
    json_member_u64(out, "exchanges_open", g.exchanges.open);
    json_member_u64(out, "exchanges_kept", g.exchanges.kept);
    json_member_u64(out, "grants", p.grants);
    open_object(out, "observations");
    json_member_u64(out, "of_clients", g.watches.now);
    json_member_u64(out, "at_devices", g.observes.observations);
    close_object(out);
    open_object(out, "cache");
    json_member_u64(out, "answers", g.cache.answers);
    json_member_u64(out, "bytes", g.cache.bytes);
    json_member_u64(out, "limit", a->config->cache_bytes);
    close_object(out);
    put_revocations(a, out);
    put_enrolments(a, now, out);
    json_member_u64(out, "device_count", a->config->n_devices);
    json_member_u64(out, "audit_lost", a->audit ? audit_sink_lost(a->audit) : 0);
    put_shipping(a, out);
    admin_put_servers(a, now, out);
    put_workers(a, out);
    put_counters(&g, &p, out);
}

static void put_device(const struct admin *a, size_t i, struct buf *out)
{
    struct device_stats s;
    const struct config_device *d = &a->config->devices[i];
    unsigned owner = gate_owner(i, workers_size(a->workers));
    upstream_get_stats(gate_upstreams(worker_gate(workers_at(a->workers, owner))), (int)i, &s);
    if (out->n && out->p[out->n - 1] == '}')
        buf_put_u8(out, ',');
    buf_put_u8(out, '{');
    json_member(out, "name", d->upstream.name);
    json_member(out, "url", s.url);
    json_member_bool(out, "down", s.down);
    json_member_u64(out, "since", s.since_s > 0 ? (uint64_t)s.since_s : (uint64_t)a->started_s);
    json_member(out, "reason", s.down ? s.reason : NULL);
    json_member_u64(out, "in_flight", s.in_flight);
    json_member_u64(out, "queued", s.queued);
    json_member_u64(out, "rtt_us", s.rtt_us);
    json_member_u64(out, "sent", s.sent);
    json_member_u64(out, "answered", s.answered);
    json_member_u64(out, "retransmitted", s.retransmitted);
    json_member_u64(out, "silent", s.silent);
    json_member_u64(out, "refused", s.refused);
    json_member_u64(out, "stray", s.stray);
    json_member_u64(out, "moved", s.moved);
    close_object(out);
}

static void put_devices(const struct admin *a, uint64_t from, struct buf *out)
{
    size_t i = from < a->config->n_devices ? (size_t)from : a->config->n_devices;
    size_t n =
        a->config->n_devices - i < ADMIN_DEVICES_MAX ? a->config->n_devices - i : ADMIN_DEVICES_MAX;
    json_member_bool(out, "ok", true);
    json_put_key(out, "devices");
    buf_put_u8(out, '[');
    for (size_t end = i + n; i < end; i++)
        put_device(a, i, out);
    buf_put_u8(out, ']');
    if (i < a->config->n_devices)
        json_member_u64(out, "next", i);
}

/* A line each: simple readers take no line breaks within a string. */
static void put_lines(struct bytes text, struct buf *out)
{
    json_put_key(out, "diagnostics");
    buf_put_u8(out, '[');
    for (bool first = true; text.n > 0; first = false) {
        uint8_t line[256];
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        size_t shown = n < sizeof line ? n : sizeof line;
        for (size_t i = 0; i < shown; i++)
            line[i] = text.p[i] == '\t' ? ' ' : text.p[i];
        buf_put_str(out, first ? "" : ",");
        json_put_string(out, bytes_of(line, shown));
        n += end != NULL;
        text = bytes_of(text.p + n, text.n - n);
    }
    buf_put_u8(out, ']');
}

static void put_reload(struct admin *a, struct instant now, struct buf *out)
{
    char text[ADMIN_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    bool ok = admin_reload(a, now, &diag);
    json_member_bool(out, "ok", ok);
    if (!ok)
        put_lines(bytes_of(text, diag.n), out);
    json_member(out, "policy", policy_hash(pep_policy(a->pep)));
}

static void answer(struct admin *a, const struct control_request *r, struct instant now,
                   struct buf *out)
{
    if (bytes_equal_str(r->command, "status")) {
        put_status(a, now, out);
    } else if (bytes_equal_str(r->command, "devices")) {
        put_devices(a, r->from, out);
    } else if (bytes_equal_str(r->command, "reload")) {
        put_reload(a, now, out);
    } else if (bytes_equal_str(r->command, "stop")) {
        json_member_bool(out, "ok", true);
        workers_stop(a->workers);
    } else if (!admin_revoke_answer(a, r, now, out)) {
        json_member_bool(out, "ok", false);
        json_member(out, "error", "unknown command");
    }
}

/* The others stand still: everything is ours to look at, and to change. */
void admin_answer(void *user, const struct control_request *r, struct instant now, struct buf *out)
{
    struct admin *a = user;
    workers_pause(a->workers);
    answer(a, r, now, out);
    workers_resume(a->workers);
}
