/* postern check: everything that can be known before the daemon starts. */
#include "cmd.h"

#include <stdio.h>

#include "setup.h"

enum { O_CONFIG };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    {NULL, 0, NULL, NULL, false},
};

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)c;
    (void)args;
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    const char *file = o[O_CONFIG].n ? cmd_value(&o[O_CONFIG]) : CONFIG_FILE_DEFAULT;
    if (!setup_check(file, cmd_now(), &diag))
        return cmd_complain(CMD_CONFIG, &diag);
    printf("%s: ok\n", file);
    return CMD_OK;
}

const struct cmd cmd_check = {
    .name = "check",
    .summary = "check configuration, policy and keys",
    .about = "Reads everything as the daemon would and opens nothing. Run it as the user that\n"
             "the daemon runs as, since it looks at permissions too. Diagnostics go to stderr\n"
             "as FILE:LINE:COLUMN. Exit status: 0 good, 78 bad, 64 misused.\n",
    .options = options,
    .run = run,
};
