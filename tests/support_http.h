/* tests/http_server.py for the life of a test program: real HTTP servers on
 * loopback. */
#ifndef POSTERN_TESTS_SUPPORT_HTTP_H
#define POSTERN_TESTS_SUPPORT_HTTP_H

#include <stdbool.h>

/* False: it does not come up. */
bool http_server_start(void);
void http_server_stop(void);
/* The port of the server of that name, as http_server.py calls it. */
int http_server_port(const char *name);

#endif
