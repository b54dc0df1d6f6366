#include "syslog_line.h"

#include <stdio.h>

enum {
    FACILITY = 10, /* security/authorization (RFC 5424 6.2.1) */
    WARNING = 4,
    NOTICE = 5,
    INFORMATIONAL = 6,
    HOST_MAX = 255, /* 6.2.4 */
    WORD_MAX = 32,  /* 6.2.7, MSGID */
    PARAM_MAX = 256,
};

/* Our own structured data needs a private enterprise number (6.3.2), which
 * nobody has assigned to this program; this one is for examples (RFC 5612). */
#define SD_ID "postern@32473"

/* The raw text of a string member, JSON's escapes and all. Nothing inside a
 * string can look like the key: its quotes would be escaped. */
static struct bytes member(struct bytes record, const char *key)
{
    char text[32];
    (void)snprintf(text, sizeof text, ",\"%s\":\"", key);
    const uint8_t *at = memmem(record.p, record.n, text, strlen(text));
    if (!at)
        return BYTES_NONE;
    at += strlen(text);
    const uint8_t *limit = record.p + record.n, *end = at;
    while (end < limit && *end != '"')
        end += *end == '\\' ? 2 : 1;
    return end < limit ? bytes_of(at, (size_t)(end - at)) : BYTES_NONE;
}

/* PRINTUSASCII without spaces, or the NILVALUE. */
static void put_word(struct buf *out, struct bytes word, size_t max)
{
    bool good = word.n > 0 && word.n <= max;
    for (size_t i = 0; good && i < word.n; i++)
        good = word.p[i] > 0x20 && word.p[i] < 0x7f;
    buf_put(out, good ? word : BYTES_LIT("-"));
}

/* RFC 5424 6.2.3 is the form that the record has: RFC 3339, up to
 * microseconds. */
static void put_time(struct buf *out, struct bytes time)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    bool good = time.n >= sizeof form && time.n <= sizeof form - 1 + 8 && time.p[time.n - 1] == 'Z';
    for (size_t i = 0; good && i < time.n - 1; i++) {
        char want = i < sizeof form - 1 ? form[i] : i == sizeof form - 1 ? '.' : 'd';
        good = want == 'd' ? time.p[i] >= '0' && time.p[i] <= '9' : time.p[i] == (uint8_t)want;
    }
    good = good && time.n != sizeof form + 1; /* a point with nothing behind it */
    buf_put(out, good ? time : BYTES_LIT("-"));
}

/* One character of a JSON string, decoded; 0: a control, or none of ours. */
static uint8_t unescape(struct bytes *s)
{
    uint8_t c = s->p[0];
    size_t n = 1;
    if (c == '\\' && s->n > 1) {
        c = s->p[1] == '"' || s->p[1] == '\\' || s->p[1] == '/' ? s->p[1] : 0;
        n = s->p[1] == 'u' && s->n >= 6 ? 6 : 2;
    }
    *s = bytes_of(s->p + n, s->n - n);
    return c;
}

/* 6.3.3: '"', '\' and ']' are escaped. */
static void put_param(struct buf *out, const char *name, struct bytes json)
{
    size_t begin = out->n;
    if (!json.p)
        return;
    buf_put_u8(out, ' ');
    buf_put_str(out, name);
    buf_put_str(out, "=\"");
    while (json.n > 0 && out->n - begin < PARAM_MAX) {
        uint8_t c = unescape(&json);
        if (c == '"' || c == '\\' || c == ']')
            buf_put_u8(out, '\\');
        if (c >= 0x20 && c != 0x7f)
            buf_put_u8(out, c);
        else
            buf_put_str(out, "\xef\xbf\xbd");
    }
    buf_put_u8(out, '"');
}

static struct bytes sequence(struct bytes record)
{
    static const char head[] = "{\"seq\":";
    size_t n = sizeof head - 1, end = n;
    if (record.n < n || memcmp(record.p, head, n) != 0)
        return BYTES_NONE;
    while (end < record.n && record.p[end] >= '0' && record.p[end] <= '9')
        end++;
    return end > n ? bytes_of(record.p + n, end - n) : BYTES_NONE;
}

static void put_message(const struct syslog_origin *o, struct bytes record, struct buf *out)
{
    struct bytes verdict = member(record, "verdict"), event = member(record, "event");
    bool lost = bytes_equal_str(event, "lost");
    bool denied = bytes_equal_str(verdict, "deny") || bytes_equal_str(verdict, "refused");
    char text[32];
    (void)snprintf(text, sizeof text, "<%d>1 ",
                   FACILITY * 8 + (lost     ? WARNING
                                   : denied ? NOTICE
                                            : INFORMATIONAL));
    buf_put_str(out, text);
    put_time(out, member(record, "time"));
    buf_put_u8(out, ' ');
    put_word(out, bytes_str(o->host), HOST_MAX);
    (void)snprintf(text, sizeof text, " posternd %u ", o->pid);
    buf_put_str(out, text);
    put_word(out,
             event.p                     ? event
             : member(record, "token").p ? BYTES_LIT("token")
                                         : BYTES_LIT("decision"),
             WORD_MAX);
    buf_put_str(out, " [" SD_ID);
    put_param(out, "stream", bytes_str(o->stream));
    put_param(out, "seq", sequence(record));
    put_param(out, "verdict", verdict);
    put_param(out, "subject", member(record, "subject"));
    /* No byte order mark (6.4, MSG-ANY): what reads JSON trips over it. */
    buf_put_str(out, "] ");
    buf_put(out, record);
}

bool syslog_put(const struct syslog_origin *o, struct bytes record, bool counted, struct buf *out)
{
    uint8_t text[SYSLOG_LINE_MAX];
    struct buf message = buf_on(text, sizeof text);
    size_t before = out->n;
    put_message(o, record, &message);
    if (counted) {
        char count[16];
        (void)snprintf(count, sizeof count, "%zu ", message.n);
        buf_put_str(out, count);
    }
    buf_put(out, bytes_of(text, message.n));
    if (message.full || out->full) {
        out->n = before;
        out->full = false;
        return false;
    }
    return true;
}
