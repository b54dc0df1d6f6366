/* postern unenrol: a client that was enrolled is so no more. */
#include "cmd.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "enrol_entry.h"
#include "enrolling.h"
#include "json.h"

enum { O_CONFIG, O_DRY_RUN, O_JSON };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_DRY_RUN] = {"dry-run", 'n', NULL, "check everything, write nothing", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    {NULL, 0, NULL, NULL, false},
};

static int change(struct enrolling *e, const struct policy_subject *s, int64_t now_s)
{
    char text[ENROL_ENTRY_MAX];
    struct buf entry = buf_on(text, sizeof text);
    struct policy *after;
    bool ok = enrolling_tidy(e, s->line, now_s);
    /* A key that is gone opens nothing; a certificate goes on being one. */
    if (ok && s->pinned && s->expires_s > now_s)
        ok = enrol_entry_put_out(s, now_s, &entry) && enrol_file_add(&e->file, buf_bytes(&entry));
    int status = ok ? enrolling_try(e, &after) : CMD_CONFIG;
    if (ok && status != CMD_OK)
        return status;
    if (ok) {
        ok = !enrolling_find(after, s->name) &&
             enrolling_same_others(e->policy, after, s->name, now_s) &&
             enrolling_count(after) + 1 == enrolling_count(e->policy);
        policy_unref(after);
    }
    return ok ? CMD_OK
              : cmd_fail(e->c, CMD_CONFIG, "%s:%u: this entry cannot be told from those around it",
                         s->file, s->line);
}

/* Another may have been enrolled by hand with the same file. */
static bool is_used_elsewhere(const struct policy *p, const struct policy_subject *s)
{
    const struct policy_subject *o;
    for (size_t i = 0; (o = policy_subject(p, i)); i++)
        if (o != s && o->key_file && strcmp(o->key_file, s->key_file) == 0)
            return true;
    return false;
}

static void forget_key(const struct enrolling *e, const struct policy_subject *s)
{
    char path[ENROL_PATH_MAX];
    if (!s->key_file || is_used_elsewhere(e->policy, s) || !enrolling_path(e, s->key_file, path))
        return;
    if (unlink(path) != 0 && access(path, F_OK) == 0)
        (void)cmd_fail(e->c, 0, "%s could not be deleted; nothing uses it any more", path);
}

static void print(const char *name, bool json, bool done, enum enrolling_told told)
{
    char text[256];
    struct buf b = buf_on(text, sizeof text);
    if (!json) {
        printf("%s: unenrolled\n%s\n", name,
               done ? enrolling_told_text(told) : "nothing was written (--dry-run)");
        return;
    }
    buf_put_u8(&b, '{');
    json_member_bool(&b, "ok", true);
    json_member(&b, "name", name);
    json_member_bool(&b, "written", done);
    json_member_bool(&b, "in_force", done && told == ENROLLING_IN_FORCE);
    buf_put_u8(&b, '}');
    printf("%.*s\n", (int)b.n, text);
}

static int unenrol(struct enrolling *e, const struct cmd_values *o, const char *name)
{
    const char *why;
    int64_t now_s = cmd_now();
    int status = enrolling_open(e, e->c, cmd_value(&o[O_CONFIG]));
    if (status != CMD_OK)
        return status;
    const struct policy_subject *s = enrolling_find(e->policy, name);
    if (!s)
        return cmd_fail(e->c, CMD_NO, "'%s' is not enrolled", name);
    if (!s->managed)
        return cmd_fail(e->c, CMD_NO, "'%s' stands in %s:%u, which is yours to edit", name, s->file,
                        s->line);
    status = change(e, s, now_s);
    if (status != CMD_OK)
        return status;
    enum enrolling_told told = ENROLLING_AWAY;
    if (!o[O_DRY_RUN].n) {
        if (!enrol_file_write(&e->file, &why))
            return cmd_fail(e->c, CMD_OUTPUT, "%s: %s", e->file.path, why);
        told = enrolling_tell(e);
        if (told != ENROLLING_REFUSED) /* else the policy in force still wants it */
            forget_key(e, s);
    }
    print(s->name, o[O_JSON].n > 0, !o[O_DRY_RUN].n, told);
    return o[O_DRY_RUN].n ? CMD_OK : enrolling_told_status(told);
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    struct enrolling e = {.c = c, .file.dir = -1};
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is as a full disk */
    int status = unenrol(&e, o, args->v[0]);
    enrolling_close(&e);
    return status;
}

const struct cmd cmd_unenrol = {
    .name = "unenrol",
    .args = "NAME",
    .summary = "let an enrolled client out",
    .about = "Takes it from the policy's `enrolments` file and deletes its key there; a\n"
             "certificate is remembered until it has expired, and refused. When the command\n"
             "returns 0 the daemon has ended its associations.\n"
             "Exit status: 0 done, 1 it is not enrolled, 64 misused, 69 written but the daemon\n"
             "did not take it, 73 cannot be written, 78 bad configuration or policy.\n",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
