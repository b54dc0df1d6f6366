/* postern revoke: a token, or all of a holder or an authority, through the
 * control socket: the running daemon is the one that must know. */
#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../pep/base64url.h"
#include "../pep/revocation_record.h"
#include "cmd_daemon.h"
#include "cmd_key.h"
#include "cmd_token.h"
#include "config.h"

enum {
    O_TOKEN,
    O_HASH,
    O_CTI,
    O_JTI,
    O_KID,
    O_SUBJECT,
    O_AUTHORITY,
    O_UNTIL,
    O_UNDO,
    O_LIST,
    O_JSON,
    O_CONFIG,
    O_SOCKET
};

enum { REQUEST_MAX = 4096, HASH_HEX = 2 * TOKEN_ID };

static const struct cmd_option options[] = {
    [O_TOKEN] = {"token", 't', "FILE", "this token ('-' is standard input)", false},
    [O_HASH] = {"hash", 0, "HEX", "the token of this hash (RFC 9770, or as shown)", false},
    [O_CTI] = {"cti", 0, "HEX", "the token of this CWT ID", false},
    [O_JTI] = {"jti", 0, "TEXT", "the token of this JWT ID", false},
    [O_KID] = {"kid", 'k', "KID", "all for the proof key of this kid, text or 0xHEX", false},
    [O_SUBJECT] = {"subject", 'S', "TEXT", "all of this subject, as in the token or the record",
                   false},
    [O_AUTHORITY] = {"authority", 'A', "NAME", "all of this authority; with another: only its own",
                     false},
    [O_UNTIL] = {"until", 'u', "WHEN", "of a kid, subject, authority: until then, or for so long",
                 false},
    [O_UNDO] = {"undo", 0, NULL, "take such a revocation back", false},
    [O_LIST] = {"list", 'l', NULL, "show what is revoked", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_SOCKET] = {"socket", 's', "PATH", "control socket, instead of the configuration's", false},
    {NULL, 0, NULL, NULL, false},
};

/* What the line names, in the words of the control socket. */
struct named {
    const char *by;
    uint8_t storage[TOKEN_MAX];
    struct buf value;
};

static int read_hash(const struct cmd *c, const char *text, struct buf *out)
{
    /* With the algorithm's number in front, as lists have it, or without. */
    if (strlen(text) == HASH_HEX - 2)
        buf_put_u8(out, TOKEN_ID_SHA256);
    if (!cmd_hex(bytes_str(text), out) || out->n != TOKEN_ID || out->p[0] > TOKEN_ID_SHA256)
        return cmd_fail(c, CMD_USAGE, "'%s' is no SHA-256 in hexadecimal, with or without 01",
                        text);
    return CMD_OK;
}

static int read_cti(const struct cmd *c, const char *text, struct buf *out)
{
    const char *hex = strncmp(text, "0x", 2) == 0 ? text + 2 : text;
    if (!cmd_hex(bytes_str(hex), out) || out->n == 0)
        return cmd_fail(c, CMD_USAGE, "'%s' is not hexadecimal; a JWT's text goes with --jti",
                        text);
    return CMD_OK;
}

static int read_named(const struct cmd *c, const struct cmd_values *o, struct named *out)
{
    static const struct {
        int option;
        const char *by;
    } ways[] = {{O_TOKEN, "token"}, {O_HASH, "hash"}, {O_CTI, "cti"},
                {O_JTI, "cti"},     {O_KID, "kid"},   {O_SUBJECT, "subject"}};
    int which = -1, status = CMD_OK;
    out->value = buf_on(out->storage, sizeof out->storage);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (!o[ways[i].option].n)
            continue;
        if (which >= 0)
            return cmd_fail(c, CMD_USAGE, "one thing at a time: --%s or --%s", options[which].name,
                            options[ways[i].option].name);
        which = ways[i].option;
        out->by = ways[i].by;
    }
    if (which < 0 && !o[O_AUTHORITY].n)
        return cmd_fail(c, CMD_USAGE,
                        "revoke what? --token, --hash, --cti, --jti, --kid, "
                        "--subject or --authority");
    const char *text = which < 0 ? NULL : cmd_value(&o[which]);
    switch (which) {
    case O_TOKEN:
        return cmd_token_read(c, text, &out->value);
    case O_HASH:
        return read_hash(c, text, &out->value);
    case O_CTI:
        return read_cti(c, text, &out->value);
    case O_KID:
        if (!cmd_kid(c, text, &out->value))
            return CMD_USAGE;
        break;
    case O_JTI:
    case O_SUBJECT:
        buf_put_str(&out->value, text);
        break;
    default:
        out->by = "authority";
        return CMD_OK;
    }
    if (out->value.n == 0 || out->value.n > REVOCATION_VALUE_MAX || out->value.full)
        status = cmd_fail(c, CMD_USAGE, "--%s is empty or longer than %d bytes",
                          options[which].name, REVOCATION_VALUE_MAX);
    return status;
}

static int read_until(const struct cmd *c, const struct named *what, const char *text,
                      int64_t *until_s)
{
    *until_s = 0;
    if (!text)
        return CMD_OK;
    if (strcmp(what->by, "token") == 0 || strcmp(what->by, "hash") == 0 ||
        strcmp(what->by, "cti") == 0)
        return cmd_fail(c, CMD_USAGE, "a token's own revocation holds until the token has expired");
    if (cmd_duration(text, until_s))
        *until_s += cmd_now();
    else if (!cmd_time(text, until_s))
        return cmd_fail(c, CMD_USAGE, "'%s' is neither a duration (8h, 30d) nor a time", text);
    if (*until_s <= cmd_now())
        return cmd_fail(c, CMD_USAGE, "'%s' has passed", text);
    return CMD_OK;
}

/* Authorities' names go into JSON as they are. */
static bool is_plain(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == '"' || *s == '\\')
            return false;
    return true;
}

static int64_t number(const char *text)
{
    return strtoll(text, NULL, 10);
}

/* ---- revoking ---- */

static int tell(const struct cmd *c, const struct cmd_answer *a, const char *authority, bool undo,
                bool json)
{
    const char *error = cmd_answer_text(a, "error");
    bool ok = cmd_answer_ok(a), in_force = *cmd_answer_text(a, "kind") != 0;
    if (json)
        printf("%.*s\n", (int)a->n, a->line);
    else if (in_force)
        printf("%s %s %s", undo ? "undone:" : "revoked", cmd_answer_text(a, "kind"),
               *cmd_answer_text(a, "value") ? cmd_answer_text(a, "value") : authority);
    if (!json && in_force && !undo) {
        int64_t ended = number(cmd_answer_text(a, "ended"));
        printf("; %" PRId64 " grant%s ended", ended, ended == 1 ? "" : "s");
        char when[32];
        const char *until = cmd_answer_text(a, "until");
        if (*until)
            printf("; forgotten after %s", cmd_time_text(when, number(until)));
    }
    if (!json && in_force)
        printf("\n");
    if (!ok)
        return cmd_fail(c, in_force ? CMD_OUTPUT : CMD_NO, "%s", error);
    if (strcmp(cmd_answer_text(a, "kept"), "true") != 0)
        (void)fprintf(stderr, "postern revoke: warning: the configuration names no 'state', so "
                              "this lasts until the daemon ends\n");
    return CMD_OK;
}

static int revoke_it(const struct cmd *c, const struct cmd_values *o, const struct cmd_daemon *d,
                     const struct named *what, int64_t until_s)
{
    char request[REQUEST_MAX], number_text[32];
    struct buf b = buf_on(request, sizeof request - 1);
    const char *authority = cmd_value(&o[O_AUTHORITY]);
    bool undo = o[O_UNDO].n > 0;
    buf_put_str(&b,
                undo ? "{\"command\":\"unrevoke\",\"by\":\"" : "{\"command\":\"revoke\",\"by\":\"");
    buf_put_str(&b, what->by);
    buf_put_str(&b, "\",\"value\":\"");
    base64url_put(&b, bytes_of(what->value.p, what->value.n));
    buf_put_str(&b, "\"");
    if (authority) {
        buf_put_str(&b, ",\"authority\":\"");
        buf_put_str(&b, authority);
        buf_put_str(&b, "\"");
    }
    if (until_s) {
        (void)snprintf(number_text, sizeof number_text, ",\"until\":%" PRId64, until_s);
        buf_put_str(&b, number_text);
    }
    buf_put_str(&b, "}");
    if (b.full)
        return cmd_fail(c, CMD_USAGE, "this is too long to be asked");
    request[b.n] = 0;
    struct cmd_answer a;
    int status = cmd_daemon_ask(c, d, request, &a);
    if (status != CMD_OK)
        return status;
    status = tell(c, &a, authority ? authority : "", undo, o[O_JSON].n > 0);
    cmd_answer_clear(&a);
    return status;
}

/* ---- listing ---- */

static void print_list(const struct cmd_answer *a)
{
    struct yaml_seq seq;
    char made[32], until[32];
    if (!yaml_seq_open(a->y, cmd_answer_get(a, "revocations"), &seq))
        return;
    for (const struct yaml_node *r; (r = yaml_seq_next(&seq));) {
        const char *of = cmd_answer_text_in(a, r, "authority");
        const char *value = cmd_answer_text_in(a, r, "value");
        const char *end = cmd_answer_text_in(a, r, "until");
        printf("%-10s  %s  made %s by %s", cmd_answer_text_in(a, r, "kind"), *value ? value : "-",
               cmd_time_text(made, number(cmd_answer_text_in(a, r, "made"))),
               cmd_answer_text_in(a, r, "source"));
        if (*of && strcmp(of, "null") != 0)
            printf(", of %s", of);
        if (*end)
            printf(", until %s", cmd_time_text(until, number(end)));
        printf("\n");
    }
}

/* The items of the answer's array: the first '[' opens it, for no key or
 * value before it has one, and the last ']' ends it. */
static void print_items(const struct cmd_answer *a, bool first)
{
    const char *start = memchr(a->line, '[', a->n), *end = memrchr(a->line, ']', a->n);
    if (start && end && end > start + 1)
        printf("%s%.*s", first ? "" : ",", (int)(end - start - 1), start + 1);
}

static int list_all(const struct cmd *c, const struct cmd_daemon *d, bool json)
{
    char request[64], next[24] = "0";
    if (json)
        printf("{\"revocations\":[");
    for (bool first = true; *next; first = false) {
        struct cmd_answer a;
        (void)snprintf(request, sizeof request, "{\"command\":\"revocations\",\"from\":%s}", next);
        int status = cmd_daemon_ask(c, d, request, &a);
        if (status != CMD_OK)
            return status;
        if (json)
            print_items(&a, first);
        else
            print_list(&a);
        (void)snprintf(next, sizeof next, "%s", cmd_answer_text(&a, "next"));
        cmd_answer_clear(&a);
    }
    if (json)
        printf("]}\n");
    return CMD_OK;
}

/* ---- the command ---- */

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)args;
    struct named what = {0};
    struct cmd_daemon d;
    int64_t until_s = 0;
    bool list = o[O_LIST].n > 0;
    const char *authority = cmd_value(&o[O_AUTHORITY]);
    if (list)
        for (int i = O_TOKEN; i <= O_UNDO; i++)
            if (o[i].n)
                return cmd_fail(c, CMD_USAGE, "--list shows all; it goes with --json only");
    int status = list ? CMD_OK : read_named(c, o, &what);
    if (status == CMD_OK && !list)
        status = read_until(c, &what, cmd_value(&o[O_UNTIL]), &until_s);
    if (status == CMD_OK && authority &&
        (!*authority || strlen(authority) > REVOCATION_NAME_MAX || !is_plain(authority)))
        status = cmd_fail(c, CMD_USAGE, "no authority has such a name");
    if (status != CMD_OK)
        return status;
    status = cmd_daemon_find(c, cmd_value(&o[O_CONFIG]), cmd_value(&o[O_SOCKET]), &d);
    if (status != CMD_OK)
        return status;
    status = list ? list_all(c, &d, o[O_JSON].n > 0) : revoke_it(c, o, &d, &what, until_s);
    cmd_daemon_clear(&d);
    return status;
}

const struct cmd cmd_revoke = {
    .name = "revoke",
    .summary = "revoke a token, or all of a holder or an authority",
    .about = "It counts for the next request, for what runs, and for associations, and is on\n"
             "disk when this command says so. A token's own revocation is forgotten when the\n"
             "token was seen and has expired. One of a kid, a subject or an authority counts for\n"
             "what was issued until now (iat; a token without it counts as revoked), and for\n"
             "enrolled clients of that name; it holds until --undo or --until. The daemon must\n"
             "run: while it does not, nothing passes. Exit status: 0 done, 1 not done, 65 not a\n"
             "token, 69 the daemon is not running, 73 in force but not on disk, 64 misused, 78\n"
             "bad configuration.\n",
    .options = options,
    .run = run,
};
