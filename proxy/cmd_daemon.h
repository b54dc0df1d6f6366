/* For commands that talk to the running daemon: where its socket is, one
 * question, one answer. */
#ifndef POSTERN_CMD_DAEMON_H
#define POSTERN_CMD_DAEMON_H

#include "../policy/yaml.h"
#include "cmd.h"

struct cmd_daemon {
    char *socket;
};

/* From --socket, else from the configuration's `control`. CMD_OK, or the
 * exit status with the reason told. */
int cmd_daemon_find(const struct cmd *c, const char *config, const char *socket,
                    struct cmd_daemon *out);
void cmd_daemon_clear(struct cmd_daemon *d);

/* JSON is YAML: the reader of the configuration reads it too. */
struct cmd_answer {
    char *line; /* as it came */
    size_t n;
    struct yaml *y;
};

int cmd_daemon_ask(const struct cmd *c, const struct cmd_daemon *d, const char *request,
                   struct cmd_answer *out);
MUST_USE bool cmd_answer_ok(const struct cmd_answer *a); /* its member "ok" is true */
/* Scalars of the top object or of `in`, "" when missing. */
const char *cmd_answer_text(const struct cmd_answer *a, const char *key);
const char *cmd_answer_text_in(const struct cmd_answer *a, const struct yaml_node *in,
                               const char *key);
const struct yaml_node *cmd_answer_get(const struct cmd_answer *a, const char *key);
void cmd_answer_clear(struct cmd_answer *a);

#endif
