/* postern enrolled: who is, as what, and until when. */
#include "cmd.h"

#include <stdio.h>

#include "config.h"
#include "json.h"

enum { O_CONFIG, O_WITHIN, O_JSON };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_WITHIN] = {"within", 'w', "TIME", "only who has ended, or ends within 30d", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    {NULL, 0, NULL, NULL, false},
};

enum { DAY_S = 86400, LINE_MAX_N = 16 << 10 };

static const char *credential(const struct policy_subject *s)
{
    return s->psk_identity ? s->psk_identity : s->certificate ? s->certificate : "-";
}

static void print_line(const struct policy_subject *s, int64_t now_s)
{
    char when[32];
    printf("%-24s %-11s %-32s ", s->name, s->psk_identity ? "key" : "certificate", credential(s));
    for (size_t i = 0; i < s->n_roles; i++)
        printf("%s%s", i ? "," : "", s->roles[i]);
    if (s->expires_s == INT64_MAX)
        printf("  no end\n");
    else if (s->expires_s <= now_s)
        printf("  ENDED %s\n", cmd_time_text(when, s->expires_s));
    else
        printf("  %s, %lld days\n", cmd_time_text(when, s->expires_s),
               (long long)((s->expires_s - now_s) / DAY_S));
}

static void print_json(const struct policy_subject *s, int64_t now_s, bool first)
{
    char text[LINE_MAX_N];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, '{');
    json_member(&b, "name", s->name);
    json_member(&b, "psk_identity", s->psk_identity);
    json_member(&b, "certificate", s->certificate);
    json_put_key(&b, "roles");
    buf_put_u8(&b, '[');
    for (size_t i = 0; i < s->n_roles; i++) {
        buf_put_str(&b, i ? "," : "");
        json_put_string(&b, bytes_str(s->roles[i]));
    }
    buf_put_u8(&b, ']');
    if (s->expires_s != INT64_MAX)
        json_member_u64(&b, "expires", (uint64_t)s->expires_s);
    json_member_bool(&b, "ended", s->expires_s <= now_s);
    json_member_bool(&b, "by_command", s->managed);
    json_member(&b, "file", s->file);
    json_member_u64(&b, "line", s->line);
    buf_put_u8(&b, '}');
    printf("%s%.*s", first ? "" : ",", (int)b.n, text);
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)args;
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    int64_t within_s = 0, now_s = cmd_now();
    if (o[O_WITHIN].n && !cmd_duration(cmd_value(&o[O_WITHIN]), &within_s))
        return cmd_fail(c, CMD_USAGE, "--within wants a time such as 30d");
    struct config *config =
        config_load(o[O_CONFIG].n ? cmd_value(&o[O_CONFIG]) : CONFIG_FILE_DEFAULT, &diag);
    struct policy *p = config ? config_load_policy(config, &diag) : NULL;
    if (!p) {
        config_free(config);
        return cmd_complain(CMD_CONFIG, &diag);
    }
    bool json = o[O_JSON].n > 0, first = true;
    const struct policy_subject *s;
    printf("%s", json ? "{\"ok\":true,\"enrolled\":[" : "");
    for (size_t i = 0; (s = policy_subject(p, i)); i++) {
        if (o[O_WITHIN].n && (s->expires_s == INT64_MAX || s->expires_s - now_s > within_s))
            continue;
        if (json)
            print_json(s, now_s, first);
        else
            print_line(s, now_s);
        first = false;
    }
    printf("%s", json ? "]}\n" : "");
    policy_unref(p);
    config_free(config);
    return o[O_WITHIN].n && !first ? CMD_NO : CMD_OK;
}

const struct cmd cmd_enrolled = {
    .name = "enrolled",
    .summary = "list who is enrolled, and until when",
    .about = "By the files as they are now, those of the policy itself included. For a timer:\n"
             "  postern enrolled --within 30d || send them a letter\n"
             "Exit status: 0, or with --within 0 when nobody's end is near and 1 when\n"
             "somebody's is; 64 misused, 78 bad configuration or policy.\n",
    .options = options,
    .run = run,
};
