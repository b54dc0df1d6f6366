/* postern reload: policy and keys anew, through the control socket. */
#include "cmd.h"

#include <stdio.h>

#include "cmd_daemon.h"
#include "config.h"

enum { O_CONFIG, O_SOCKET };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_SOCKET] = {"socket", 's', "PATH", "control socket, instead of the configuration's", false},
    {NULL, 0, NULL, NULL, false},
};

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)args;
    struct cmd_daemon d;
    int status = cmd_daemon_find(c, cmd_value(&o[O_CONFIG]), cmd_value(&o[O_SOCKET]), &d);
    if (status != CMD_OK)
        return status;
    struct cmd_answer a;
    status = cmd_daemon_ask(c, &d, "{\"command\":\"reload\"}", &a);
    cmd_daemon_clear(&d);
    if (status != CMD_OK)
        return status;
    if (cmd_answer_ok(&a)) {
        printf("reloaded, policy %s\n", cmd_answer_text(&a, "policy"));
    } else {
        struct yaml_seq lines;
        if (yaml_seq_open(a.y, cmd_answer_get(&a, "diagnostics"), &lines))
            for (const struct yaml_node *n; (n = yaml_seq_next(&lines));)
                (void)fprintf(stderr, "%s\n", (const char *)yaml_raw(n).p);
        status = cmd_fail(c, CMD_CONFIG, "nothing changed; policy %s stays in force",
                          cmd_answer_text(&a, "policy"));
    }
    cmd_answer_clear(&a);
    return status;
}

const struct cmd cmd_reload = {
    .name = "reload",
    .summary = "make the daemon take policy and keys anew",
    .about = "The new policy comes into force as a whole or not at all; the audit file is\n"
             "reopened. postern.yaml itself is read only at the start. Exit status: 0 done,\n"
             "78 the new policy or its keys are bad and the old ones stay, 69 the daemon is\n"
             "not running, 64 misused.\n",
    .options = options,
    .run = run,
};
