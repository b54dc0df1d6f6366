#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "json.h"

struct connection {
    int fd; /* -1: free */
    uint64_t used_us;
    size_t n;
    uint8_t line[CONTROL_REQUEST_MAX];
};

struct control {
    struct loop *loop;
    control_answer_fn *answer;
    void *user;
    int fd;
    struct sockaddr_un at;
    struct connection peers[CONTROL_PEERS_MAX];
    uint8_t out[CONTROL_ANSWER_MAX];
};

static void hang_up(struct control *c, struct connection *p)
{
    loop_unwatch(c->loop, p->fd);
    close(p->fd);
    p->fd = -1;
}

static void put_error(struct buf *out, const char *text)
{
    json_member_bool(out, "ok", false);
    json_member(out, "error", text);
}

static void compose(struct control *c, struct bytes line, struct instant now, struct buf *out)
{
    struct json_field fields[8];
    struct control_request r = {0};
    const struct {
        const char *key;
        struct bytes *text;
        uint64_t *number;
    } members[] = {
        {"command", &r.command, NULL}, {"from", NULL, &r.from},   {"by", &r.by, NULL},
        {"value", &r.value, NULL},     {"until", NULL, &r.until}, {"authority", &r.authority, NULL},
    };
    size_t n;
    if (!json_read_flat(line, fields, sizeof fields / sizeof *fields, &n)) {
        put_error(out, "the request is not one flat JSON object");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t k = 0, all = sizeof members / sizeof *members;
        while (k < all && !(bytes_equal_str(fields[i].key, members[k].key) &&
                            fields[i].is_number == (members[k].number != NULL)))
            k++;
        if (k == all) {
            put_error(out, "unknown member in the request");
            return;
        }
        if (members[k].number)
            *members[k].number = fields[i].number;
        else
            *members[k].text = fields[i].text;
    }
    if (r.command.n == 0) {
        put_error(out, "the request has no command");
        return;
    }
    c->answer(c->user, &r, now, out);
}

/* False: the connection is over. */
static bool respond(struct control *c, struct connection *p, struct bytes line, struct instant now)
{
    struct buf out = buf_on(c->out, sizeof c->out - 2);
    buf_put_u8(&out, '{');
    compose(c, line, now, &out);
    if (out.full) {
        out = buf_on(c->out, sizeof c->out - 2);
        buf_put_u8(&out, '{');
        put_error(&out, "the answer is too long");
    }
    c->out[out.n++] = '}';
    c->out[out.n++] = '\n';
    /* One who asks and does not read is not waited for. */
    return send(p->fd, c->out, out.n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)out.n;
}

static bool take_lines(struct control *c, struct connection *p, struct instant now)
{
    uint8_t *end;
    while ((end = memchr(p->line, '\n', p->n))) {
        size_t n = (size_t)(end - p->line);
        if (!respond(c, p, bytes_of(p->line, n), now))
            return false;
        p->n -= n + 1;
        memmove(p->line, end + 1, p->n);
    }
    return p->n < sizeof p->line; /* else: no line of ours is so long */
}

static bool on_readable(void *user, int tag, struct instant now)
{
    struct control *c = user;
    struct connection *p = &c->peers[tag];
    ssize_t n = recv(p->fd, p->line + p->n, sizeof p->line - p->n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        hang_up(c, p);
        return false;
    }
    p->n += (size_t)n;
    p->used_us = now.mono_us;
    if (!take_lines(c, p, now))
        hang_up(c, p);
    return false; /* level-triggered: what is left comes next turn */
}

static int find_place(struct control *c)
{
    int oldest = 0;
    for (int i = 0; i < CONTROL_PEERS_MAX; i++) {
        if (c->peers[i].fd < 0)
            return i;
        if (c->peers[i].used_us < c->peers[oldest].used_us)
            oldest = i;
    }
    hang_up(c, &c->peers[oldest]);
    return oldest;
}

static bool on_connection(void *user, int tag, struct instant now)
{
    (void)tag;
    struct control *c = user;
    int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return false;
    int i = find_place(c);
    c->peers[i].fd = fd;
    c->peers[i].n = 0;
    c->peers[i].used_us = now.mono_us;
    if (!loop_watch(c->loop, fd, on_readable, c, i)) {
        close(fd);
        c->peers[i].fd = -1;
    }
    return false;
}

static void tell(struct buf *diag, const char *what, const char *path, const char *why)
{
    buf_put_str(diag, what);
    buf_put_str(diag, path);
    buf_put_str(diag, ": ");
    buf_put_str(diag, why);
}

static bool is_alive(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) == 0;
    if (fd >= 0)
        close(fd);
    return alive;
}

static int listen_at(const struct sockaddr_un *at, struct buf *diag)
{
    struct stat st;
    if (lstat(at->sun_path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            tell(diag, "control socket ", at->sun_path, "something else is there");
            return -1;
        }
        if (is_alive(at)) {
            tell(diag, "control socket ", at->sun_path, "another posternd answers on it");
            return -1;
        }
        (void)unlink(at->sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before = umask(0117); /* the mode must hold from the first moment */
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)at, sizeof *at) == 0 &&
              listen(fd, CONTROL_PEERS_MAX) == 0;
    int error = errno;
    (void)umask(before);
    if (ok)
        return fd;
    tell(diag, "control socket ", at->sun_path, strerror(error));
    if (fd >= 0)
        close(fd);
    return -1;
}

struct control *control_new(const char *path, struct loop *loop, control_answer_fn *answer,
                            void *user, struct buf *diag)
{
    struct control *c = calloc(1, sizeof *c);
    if (!c) {
        buf_put_str(diag, "control socket: out of memory");
        return NULL;
    }
    c->loop = loop;
    c->answer = answer;
    c->user = user;
    c->fd = -1;
    c->at.sun_family = AF_UNIX;
    for (size_t i = 0; i < CONTROL_PEERS_MAX; i++)
        c->peers[i].fd = -1;
    if (strlen(path) >= sizeof c->at.sun_path) {
        tell(diag, "control socket ", path, "the path is too long");
        free(c);
        return NULL;
    }
    memcpy(c->at.sun_path, path, strlen(path) + 1);
    c->fd = listen_at(&c->at, diag);
    if (c->fd >= 0 && !loop_watch(loop, c->fd, on_connection, c, 0)) {
        tell(diag, "control socket ", path, "the loop does not take it");
        close(c->fd);
        (void)unlink(c->at.sun_path);
        c->fd = -1;
    }
    if (c->fd < 0) {
        free(c);
        return NULL;
    }
    return c;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CONTROL_PEERS_MAX; i++)
        if (c->peers[i].fd >= 0)
            hang_up(c, &c->peers[i]);
    loop_unwatch(c->loop, c->fd);
    close(c->fd);
    (void)unlink(c->at.sun_path);
    free(c);
}

/* ---- the other end ---- */

static bool exchange_lines(int fd, const char *request, struct buf *answer)
{
    size_t n = strlen(request);
    struct iovec iov[2] = {{(void *)(uintptr_t)request, n}, {(void *)(uintptr_t) "\n", 1}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)n + 1)
        return false;
    while (answer->n < answer->cap) {
        ssize_t got = recv(fd, answer->p + answer->n, answer->cap - answer->n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = ECONNRESET;
        if (got <= 0)
            return false;
        answer->n += (size_t)got;
        if (answer->p[answer->n - 1] == '\n') {
            answer->n--;
            return true;
        }
    }
    errno = EMSGSIZE;
    return false;
}

bool control_ask(const char *path, const char *request, struct buf *answer, struct buf *diag)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at.sun_path) {
        tell(diag, "control socket ", path, "the path is too long");
        return false;
    }
    memcpy(at.sun_path, path, strlen(path) + 1);
    struct timeval wait = {CONTROL_WAIT_S, 0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = false;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0) {
        tell(diag, "control socket ", path, strerror(errno));
    } else if (connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) {
        bool absent = errno == ENOENT || errno == ECONNREFUSED;
        tell(diag, "control socket ", path, absent ? "posternd is not running" : strerror(errno));
    } else {
        ok = exchange_lines(fd, request, answer);
        if (!ok)
            tell(diag, "control socket ", path,
                 errno == EAGAIN ? "posternd does not answer" : strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    return ok;
}
