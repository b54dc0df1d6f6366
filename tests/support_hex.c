#include "support_hex.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 1 << 20, LINE = 8192 };
static uint8_t room[ROOM];
static size_t used;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s\n", what, which);
    abort();
}

struct bytes unhex(const char *hex)
{
    size_t from = used, digits = 0;
    for (const char *p = hex; *p; p++) {
        if (*p == ' ' || *p == '\n')
            continue;
        if (!isxdigit((unsigned char)*p) || used + 1 >= ROOM)
            die("not hexadecimal, or too much of it", hex);
        unsigned d = (unsigned)(*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
        room[used] = (uint8_t)(digits % 2 ? (unsigned)room[used] << 4 | d : d);
        used += digits++ % 2;
    }
    if (digits % 2)
        die("odd number of digits", hex);
    return bytes_of(room + from, used - from);
}

struct bytes vector(const char *file, const char *name)
{
    char path[512], line[LINE];
    snprintf(path, sizeof path, "%s/vectors/%s.hex", TESTS_DIR, file);
    FILE *f = fopen(path, "r");
    if (!f)
        die("cannot open", path);
    struct bytes out = BYTES_NONE;
    size_t n = strlen(name);
    while (!out.p && fgets(line, sizeof line, f))
        if (line[0] != '#' && strncmp(line, name, n) == 0 && line[n] == ' ')
            out = unhex(line + n + 1);
    fclose(f);
    if (!out.p)
        die("no such vector", name);
    return out;
}
