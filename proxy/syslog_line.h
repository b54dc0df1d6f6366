/* An audit record as a syslog message: RFC 5424, its message the JSON of the
 * record, its structured data what collectors sort by; in a stream counted by
 * octets (RFC 6587 3.4.1, RFC 5425 4.3.1). Pure. */
#ifndef POSTERN_SYSLOG_LINE_H
#define POSTERN_SYSLOG_LINE_H

#include "../policy/bytes.h"

enum syslog_limits { SYSLOG_LINE_MAX = 4096 }; /* of a record of SPOOL_LINE_MAX */

struct syslog_origin {
    const char *host;   /* "": not known */
    const char *stream; /* whose sequence numbers these are */
    unsigned pid;
};

/* `record`: one line without its newline. False: it does not fit `out`,
 * which is left as it was. */
MUST_USE bool syslog_put(const struct syslog_origin *o, struct bytes record, bool counted,
                         struct buf *out);

#endif
