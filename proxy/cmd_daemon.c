#include "cmd_daemon.h"

#include <stdlib.h>

#include "config.h"
#include "control.h"

int cmd_daemon_find(const struct cmd *c, const char *config, const char *socket,
                    struct cmd_daemon *out)
{
    out->socket = NULL;
    if (socket) {
        out->socket = strdup(socket);
        return out->socket ? CMD_OK : cmd_fail(c, EX_OSERR, "out of memory");
    }
    const char *file = config ? config : CONFIG_FILE_DEFAULT;
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    bool ok = config_find_control(file, &out->socket, &diag);
    if (!ok)
        return cmd_complain(CMD_CONFIG, &diag);
    if (!out->socket)
        return cmd_fail(c, CMD_CONFIG, "%s names no control socket; add 'control:' or use --socket",
                        file);
    return CMD_OK;
}

void cmd_daemon_clear(struct cmd_daemon *d)
{
    free(d->socket);
    d->socket = NULL;
}

int cmd_daemon_ask(const struct cmd *c, const struct cmd_daemon *d, const char *request,
                   struct cmd_answer *out)
{
    char text[1024];
    struct buf diag = buf_on(text, sizeof text - 1);
    *out = (struct cmd_answer){malloc(CONTROL_ANSWER_MAX), 0, NULL};
    if (!out->line)
        return cmd_fail(c, EX_OSERR, "out of memory");
    struct buf answer = buf_on(out->line, CONTROL_ANSWER_MAX);
    int status = CMD_OK;
    if (!control_ask(d->socket, request, &answer, &diag))
        status = cmd_fail(c, CMD_AWAY, "%.*s", (int)diag.n, text);
    else if (!(out->y = yaml_load("the daemon's answer", buf_bytes(&answer), &diag)))
        status = cmd_fail(c, CMD_AWAY, "%.*s", (int)diag.n, text);
    out->n = answer.n;
    if (status != CMD_OK)
        cmd_answer_clear(out);
    return status;
}

static const struct yaml_node *get(const struct cmd_answer *a, const struct yaml_node *in,
                                   const char *key)
{
    struct yaml_map m;
    return yaml_map_open(a->y, in, &m) ? yaml_map_get(&m, key) : NULL;
}

const struct yaml_node *cmd_answer_get(const struct cmd_answer *a, const char *key)
{
    return get(a, yaml_root(a->y), key);
}

const char *cmd_answer_text_in(const struct cmd_answer *a, const struct yaml_node *in,
                               const char *key)
{
    struct bytes s = yaml_raw(get(a, in, key));
    return s.p ? (const char *)s.p : ""; /* ends with a NUL (yaml.h) */
}

const char *cmd_answer_text(const struct cmd_answer *a, const char *key)
{
    return cmd_answer_text_in(a, yaml_root(a->y), key);
}

bool cmd_answer_ok(const struct cmd_answer *a)
{
    return strcmp(cmd_answer_text(a, "ok"), "true") == 0;
}

void cmd_answer_clear(struct cmd_answer *a)
{
    yaml_free(a->y);
    free(a->line);
    *a = (struct cmd_answer){NULL, 0, NULL};
}
