/* The file of enrolments, as the command changes it: by lines, so that what
 * somebody else wrote into it stays as it is. One process at a time; a change
 * is there as a whole, and on disk, or not at all.
 *
 * Whether a change is what was meant is seen by reading the new text as the
 * daemon would, before it is written; that is the caller's. */
#ifndef POSTERN_ENROL_FILE_H
#define POSTERN_ENROL_FILE_H

#include <sys/stat.h>

#include "../policy/bytes.h"

enum { ENROL_FILE_MAX = 16 << 20, ENROL_PATH_MAX = 4096 };

struct enrol_file {
    char path[ENROL_PATH_MAX];
    int dir; /* open, and locked; -1: not */
    bool exists;
    struct stat as; /* when it was read */
    uint8_t *text;
    size_t n;
};

/* Waits for whoever has it. A file that does not exist is one without entries.
 * `like` is whose owner and mode a new one gets. *why is static or errno's. */
MUST_USE bool enrol_file_open(struct enrol_file *f, const char *path, const char *like,
                              const char **why);
void enrol_file_close(struct enrol_file *f); /* zeroed with dir -1 is fine */

/* An entry at the end: `entry` is "{...}", one line. False: no memory. */
MUST_USE bool enrol_file_add(struct enrol_file *f, struct bytes entry);
/* The entry that begins on this line, counted from 1. False: there is none. */
MUST_USE bool enrol_file_cut(struct enrol_file *f, unsigned line);

/* Refused when somebody wrote to the file meanwhile. */
MUST_USE bool enrol_file_write(const struct enrol_file *f, const char **why);

/* A new secret, mode 0600 and the directory's owner's where we may say so.
 * `for_group`: 0640 where the directory is of a group that is not ours and may
 * list it, for that group. On disk when this returns; never over what is
 * there. */
MUST_USE bool enrol_file_create(const char *path, struct bytes content, bool for_group,
                                const char **why);

#endif
