#include "support_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    pid_t pid;
    int in;
    char ports[256];
} server;

bool http_server_start(void)
{
    int in[2], out[2];
    size_t n = 0;
    ssize_t got;
    if (pipe(in) != 0 || pipe(out) != 0)
        return false;
    server.pid = fork();
    if (server.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execlp("python3", "python3", TESTS_DIR "/http_server.py", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server.in = in[1];
    while (n + 1 < sizeof server.ports && !memchr(server.ports, '\n', n) &&
           (got = read(out[0], server.ports + n, sizeof server.ports - 1 - n)) > 0)
        n += (size_t)got;
    close(out[0]);
    server.ports[n] = '\0';
    return server.pid > 0 && n > 0;
}

void http_server_stop(void)
{
    close(server.in);
    waitpid(server.pid, NULL, 0);
}

int http_server_port(const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "%s=", name);
    for (const char *p = server.ports; (p = strstr(p, key)); p++)
        if (p == server.ports || p[-1] == ' ')
            return atoi(p + strlen(key));
    return 0;
}
