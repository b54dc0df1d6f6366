#include "stamp.h"

#include <stdio.h>
#include <time.h>

void stamp_now(char out[STAMP])
{
    struct timespec now;
    struct tm tm;
    char second[24];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    (void)strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out, STAMP, "%s.%06ldZ", second, now.tv_nsec / 1000);
}
