/* What the commands around enrolment share: the configuration, its policy and
 * the file of enrolments, locked from the first look to the last write; and
 * the daemon, which is told. */
#ifndef POSTERN_ENROLLING_H
#define POSTERN_ENROLLING_H

#include "cmd.h"
#include "config.h"
#include "enrol_file.h"

struct enrolling {
    const struct cmd *c;
    const char *config_file;
    struct config *config;
    struct policy *policy; /* with the enrolments as `file` has them */
    struct enrol_file file;
};

/* All return CMD_OK, or the exit status with the reason told. */
int enrolling_open(struct enrolling *e, const struct cmd *c, const char *config_file);
void enrolling_close(struct enrolling *e); /* zeroed with file.dir -1 is fine */
/* The policy that e->file's text would make, into *out. */
int enrolling_try(const struct enrolling *e, struct policy **out);

const struct policy_subject *enrolling_find(const struct policy *p, const char *name);
/* How many subjects are enrolled by file. */
size_t enrolling_count(const struct policy *p);
/* Every enrolled subject of `before`, but for `name`, is in `after` with the
 * same credential; and certificates that are out are so still. */
MUST_USE bool enrolling_same_others(const struct policy *before, const struct policy *after,
                                    const char *name, int64_t now_s);
/* Cuts the entries on which nothing depends any more: certificates that are
 * out and have expired. Also the one on `line`; 0: none. */
MUST_USE bool enrolling_tidy(struct enrolling *e, unsigned line, int64_t now_s);

/* Relative to the policy, as key files are. */
MUST_USE bool enrolling_path(const struct enrolling *e, const char *name, char out[ENROL_PATH_MAX]);

enum enrolling_told {
    ENROLLING_IN_FORCE = 0,
    ENROLLING_AWAY,    /* the daemon does not run, or names no control socket */
    ENROLLING_REFUSED, /* it said no, or nothing; why was printed */
};
/* Makes the daemon take the new policy. */
enum enrolling_told enrolling_tell(const struct enrolling *e);
const char *enrolling_told_text(enum enrolling_told t);
/* CMD_OK; CMD_AWAY when the daemon runs and what was written is not in force. */
int enrolling_told_status(enum enrolling_told t);

#endif
