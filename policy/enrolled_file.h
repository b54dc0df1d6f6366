/* The file that `enrolments:` of a policy names: the subjects that `postern
 * enrol` let in, and the certificates that it let out again. It is written by
 * the command alone and read as strictly as the policy, of which it is a part.
 *
 * Its entries are subjects of the policy, with what an enrolment adds
 * (read_enrolment); or `unenrolled: WHEN`, name and fingerprint of a
 * certificate that must not associate any more, until it has expired. */
#ifndef POSTERN_ENROLLED_FILE_H
#define POSTERN_ENROLLED_FILE_H

#include "policy_file.h"

/* Opened beside the policy. */
struct enrolled_file {
    struct yaml *y; /* NULL: the policy names none, or it cannot be read */
    struct yaml_seq entries;
};

/* What is wrong is reported. `files` NULL: there is nobody to open it. */
void enrolled_open(struct reader *r, const struct yaml_node *n, const struct policy_files *files,
                   struct enrolled_file *out);
void enrolled_close(struct reader *r, struct enrolled_file *f);
/* True: the entry says who is out; it was read into the policy. r->y is the
 * file's. */
bool enrolled_read_out(struct reader *r, const struct yaml_node *n);
/* `expires`, `fingerprint` and `enrolled` of any subject. The fingerprint's
 * text, or NULL. */
const char *read_enrolment(struct reader *r, struct yaml_map *m, struct policy_subject *s);

#endif
