/* postern status: what the running daemon says of itself. */
#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd_daemon.h"
#include "config.h"

enum { O_CONFIG, O_SOCKET, O_JSON };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_SOCKET] = {"socket", 's', "PATH", "control socket, instead of the configuration's", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    {NULL, 0, NULL, NULL, false},
};

static int64_t number(const char *text)
{
    return strtoll(text, NULL, 10);
}

static void print_duration(int64_t s)
{
    if (s >= 86400)
        printf("%" PRId64 "d ", s / 86400);
    printf("%02d:%02d:%02d", (int)(s / 3600 % 24), (int)(s / 60 % 60), (int)(s % 60));
}

static void print_shipping(const struct cmd_answer *a)
{
    char since[32];
    const struct yaml_node *s = cmd_answer_get(a, "audit_ship");
    if (!s)
        return;
    const char *error = cmd_answer_text_in(a, s, "last_error");
    bool failed = strcmp(error, "") != 0 && strcmp(error, "null") != 0;
    printf("audit to       %s, %s since %s\n", cmd_answer_text_in(a, s, "to"),
           cmd_answer_text_in(a, s, "collector"),
           cmd_time_text(since, number(cmd_answer_text_in(a, s, "since"))));
    printf("               shipped up to %s, waiting %s, lost %s\n",
           cmd_answer_text_in(a, s, "shipped"), cmd_answer_text_in(a, s, "waiting"),
           cmd_answer_text_in(a, s, "lost"));
    if (failed)
        printf("               last error: %s\n", error);
}

static void print_list(const struct cmd_answer *a, const struct yaml_node *s)
{
    const char *cursor = cmd_answer_text_in(a, s, "list_cursor");
    if (strcmp(cmd_answer_text_in(a, s, "list_known"), "true") != 0) {
        printf("               list %s; NOT KNOWN SINCE THE START\n",
               cmd_answer_text_in(a, s, "list"));
        return;
    }
    printf("               list %s%s, %s s old, %s hashes", cmd_answer_text_in(a, s, "list"),
           strcmp(cmd_answer_text_in(a, s, "list_observed"), "true") == 0 ? ", observed" : "",
           cmd_answer_text_in(a, s, "list_age_s"), cmd_answer_text_in(a, s, "list_hashes"));
    if (*cursor)
        printf(", cursor %s", cursor);
    printf("\n");
    if (strcmp(cmd_answer_text_in(a, s, "list_too_long"), "true") == 0)
        printf("               THE LIST IS TOO LONG: its authority's tokens are refused\n");
}

static void print_servers(const struct cmd_answer *a)
{
    struct yaml_seq seq;
    bool first = true;
    if (!yaml_seq_open(a->y, cmd_answer_get(a, "servers"), &seq))
        return;
    for (const struct yaml_node *s; (s = yaml_seq_next(&seq)); first = false) {
        char since[32];
        const char *error = cmd_answer_text_in(a, s, "last_error");
        bool away = strcmp(cmd_answer_text_in(a, s, "state"), "away") == 0;
        int64_t hits = number(cmd_answer_text_in(a, s, "cache_hits"));
        int64_t misses = number(cmd_answer_text_in(a, s, "cache_misses"));
        printf("%-14s %s %s: %s since %s, %.1f ms\n", first ? "servers" : "",
               cmd_answer_text_in(a, s, "authority"), cmd_answer_text_in(a, s, "purpose"),
               cmd_answer_text_in(a, s, "state"),
               cmd_time_text(since, number(cmd_answer_text_in(a, s, "since"))),
               (double)number(cmd_answer_text_in(a, s, "latency_us")) / 1000);
        if (away && strcmp(error, "null") != 0 && *error)
            printf("               %s; tried again in %s s\n", error,
                   cmd_answer_text_in(a, s, "retry_s"));
        if (*cmd_answer_text_in(a, s, "list"))
            print_list(a, s);
        if (hits + misses > 0)
            printf("               %" PRId64 "%% from memory, %s parked\n",
                   100 * hits / (hits + misses), cmd_answer_text_in(a, s, "parked"));
    }
}

static void print_status(const struct cmd_answer *a)
{
    char since[32];
    const struct yaml_node *policy = cmd_answer_get(a, "policy");
    printf("posternd %s, process %s, up ", cmd_answer_text(a, "version"),
           cmd_answer_text(a, "pid"));
    print_duration(number(cmd_answer_text(a, "uptime_s")));
    printf("\nconfiguration  %s\n", cmd_answer_text(a, "config"));
    printf("policy         %s %s, mode %s, since %s\n", cmd_answer_text_in(a, policy, "file"),
           cmd_answer_text_in(a, policy, "hash"), cmd_answer_text_in(a, policy, "mode"),
           cmd_time_text(since, number(cmd_answer_text_in(a, policy, "since"))));
    if (strcmp(cmd_answer_text_in(a, policy, "last_reload_failed"), "true") == 0)
        printf("               THE LAST RELOAD FAILED; this is the policy before it\n");
    printf("associations   %s, asleep %s, handshakes under way %s, moves %s\n",
           cmd_answer_text(a, "associations"), cmd_answer_text(a, "asleep"),
           cmd_answer_text(a, "half_open"),
           cmd_answer_text_in(a, cmd_answer_get(a, "counters"), "associations_moved"));
    printf("connections    %s by TCP, %s of strangers\n", cmd_answer_text(a, "connections"),
           cmd_answer_text(a, "connections_half_open"));
    printf("exchanges      %s open, %s remembered\n", cmd_answer_text(a, "exchanges_open"),
           cmd_answer_text(a, "exchanges_kept"));
    printf("grants         %s\n", cmd_answer_text(a, "grants"));
    const struct yaml_node *watched = cmd_answer_get(a, "observations");
    printf("observations   %s of clients, %s at devices\n",
           cmd_answer_text_in(a, watched, "of_clients"),
           cmd_answer_text_in(a, watched, "at_devices"));
    const struct yaml_node *cache = cmd_answer_get(a, "cache");
    printf("cache          %s answers, %s of %s bytes\n", cmd_answer_text_in(a, cache, "answers"),
           cmd_answer_text_in(a, cache, "bytes"), cmd_answer_text_in(a, cache, "limit"));
    const struct yaml_node *revoked = cmd_answer_get(a, "revocations");
    printf("revocations    %s made here, %s listed, %s kept until their token has expired\n",
           cmd_answer_text_in(a, revoked, "local"), cmd_answer_text_in(a, revoked, "listed"),
           cmd_answer_text_in(a, revoked, "kept"));
    if (number(cmd_answer_text_in(a, revoked, "unwritten")) > 0)
        printf("               %s NOT YET ON DISK\n", cmd_answer_text_in(a, revoked, "unwritten"));
    if (number(cmd_answer_text_in(a, revoked, "corrupt")) > 0)
        printf("               %s DAMAGED RECORDS IN THE STATE DIRECTORY\n",
               cmd_answer_text_in(a, revoked, "corrupt"));
    const struct yaml_node *enrolled = cmd_answer_get(a, "enrolments");
    printf("enrolments     %s", cmd_answer_text_in(a, enrolled, "subjects"));
    if (number(cmd_answer_text_in(a, enrolled, "ended")) > 0)
        printf(", %s HAVE ENDED", cmd_answer_text_in(a, enrolled, "ended"));
    if (number(cmd_answer_text_in(a, enrolled, "ending_soon")) > 0)
        printf(", %s end within 30 days", cmd_answer_text_in(a, enrolled, "ending_soon"));
    if (number(cmd_answer_text_in(a, enrolled, "next_ends")) > 0)
        printf("; next '%s' on %s", cmd_answer_text_in(a, enrolled, "next"),
               cmd_time_text(since, number(cmd_answer_text_in(a, enrolled, "next_ends"))));
    printf("\n");
    if (number(cmd_answer_text(a, "audit_lost")) > 0)
        printf("audit          %s RECORDS LOST\n", cmd_answer_text(a, "audit_lost"));
    print_shipping(a);
    print_servers(a);
    const struct yaml_node *counters = cmd_answer_get(a, "counters"), *key, *value;
    struct yaml_map m;
    if (!yaml_map_open(a->y, counters, &m))
        return;
    printf("counters\n");
    while (yaml_map_next(&m, &key, &value))
        if (number((const char *)yaml_raw(value).p) > 0)
            printf("  %-22s %s\n", (const char *)yaml_raw(key).p, (const char *)yaml_raw(value).p);
}

static void print_devices(const struct cmd_answer *a)
{
    struct yaml_seq seq;
    if (!yaml_seq_open(a->y, cmd_answer_get(a, "devices"), &seq))
        return;
    for (const struct yaml_node *d; (d = yaml_seq_next(&seq));) {
        bool down = strcmp(cmd_answer_text_in(a, d, "down"), "true") == 0;
        double rtt_ms = (double)number(cmd_answer_text_in(a, d, "rtt_us")) / 1000;
        char since[32];
        printf("  %-16s %-5s %9s %7s %9.1f  %s\n", cmd_answer_text_in(a, d, "name"),
               down ? "down" : "up", cmd_answer_text_in(a, d, "in_flight"),
               cmd_answer_text_in(a, d, "queued"), rtt_ms, cmd_answer_text_in(a, d, "url"));
        if (down)
            printf("                   since %s: %s\n",
                   cmd_time_text(since, number(cmd_answer_text_in(a, d, "since"))),
                   cmd_answer_text_in(a, d, "reason"));
    }
}

/* The items of the answer's array of devices, as text: the first '[' opens
 * it, since no key or value before it has one, and the last ']' ends it. */
static void print_devices_json(const struct cmd_answer *a, bool first)
{
    const char *start = memchr(a->line, '[', a->n), *end = memrchr(a->line, ']', a->n);
    if (start && end && end > start + 1)
        printf("%s%.*s", first ? "" : ",", (int)(end - start - 1), start + 1);
}

static int list_devices(const struct cmd *c, const struct cmd_daemon *d, bool json)
{
    char request[64];
    const char *next = "0";
    struct cmd_answer a = {NULL, 0, NULL};
    if (!json)
        printf("devices          state in flight  queued   rtt(ms)  url\n");
    for (bool first = true; *next; first = false) {
        (void)snprintf(request, sizeof request, "{\"command\":\"devices\",\"from\":%s}", next);
        cmd_answer_clear(&a);
        int status = cmd_daemon_ask(c, d, request, &a);
        if (status != CMD_OK)
            return status;
        if (json)
            print_devices_json(&a, first);
        else
            print_devices(&a);
        next = cmd_answer_text(&a, "next");
    }
    cmd_answer_clear(&a);
    return CMD_OK;
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)args;
    struct cmd_daemon d;
    struct cmd_answer a;
    bool json = o[O_JSON].n > 0;
    int status = cmd_daemon_find(c, cmd_value(&o[O_CONFIG]), cmd_value(&o[O_SOCKET]), &d);
    if (status != CMD_OK)
        return status;
    status = cmd_daemon_ask(c, &d, "{\"command\":\"status\"}", &a);
    if (status != CMD_OK) {
        cmd_daemon_clear(&d);
        return status;
    }
    if (!cmd_answer_ok(&a)) {
        status = cmd_fail(c, CMD_AWAY, "%s", cmd_answer_text(&a, "error"));
    } else if (json) {
        printf("%.*s,\"devices\":[", (int)a.n - 1, a.line);
        status = list_devices(c, &d, json);
        printf("]}\n");
    } else {
        print_status(&a);
        status = list_devices(c, &d, json);
    }
    cmd_answer_clear(&a);
    cmd_daemon_clear(&d);
    return status;
}

const struct cmd cmd_status = {
    .name = "status",
    .summary = "show what the running daemon does",
    .about = "Exit status: 0 it runs, 69 it does not, 64 misused, 78 bad configuration.\n",
    .options = options,
    .run = run,
};
