#include "audit_fake.h"

#include <stdio.h>

enum { LINES = 512, LINE = 2048 };

static struct audit_sink {
    char lines[LINES][LINE];
    size_t n;
    uint64_t lost;
    bool full;
} sink;

struct audit_sink *audit_fake(void)
{
    sink.n = 0;
    sink.lost = 0;
    sink.full = false;
    return &sink;
}

const char *audit_fake_line(size_t from_end)
{
    return from_end < sink.n ? sink.lines[(sink.n - 1 - from_end) % LINES] : "";
}

size_t audit_fake_count(void)
{
    return sink.n;
}

void audit_fake_fill(bool full)
{
    sink.full = full;
}

struct audit_sink *audit_sink_open(const char *file, const struct ship_config *ship,
                                   unsigned workers, struct buf *diag)
{
    (void)file, (void)ship, (void)workers;
    (void)diag;
    return audit_fake();
}

void audit_sink_close(struct audit_sink *s)
{
    (void)s;
}

bool audit_sink_write(struct audit_sink *s, unsigned worker, struct bytes line)
{
    (void)worker;
    if (s->full) {
        s->lost++;
        return false;
    }
    snprintf(s->lines[s->n++ % LINES], LINE, "%.*s", (int)line.n, (const char *)line.p);
    return true;
}

void audit_sink_tell(struct audit_sink *s, unsigned worker)
{
    (void)s, (void)worker;
}

bool audit_sink_has_room(const struct audit_sink *s, unsigned worker)
{
    (void)worker;
    return !s->full;
}

void audit_sink_reopen(struct audit_sink *s)
{
    (void)s;
}

uint64_t audit_sink_lost(const struct audit_sink *s)
{
    return s->lost;
}

bool audit_sink_ship_status(const struct audit_sink *s, struct ship_status *out)
{
    (void)s, (void)out;
    return false;
}
