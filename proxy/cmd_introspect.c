/* postern introspect: asks an authorization server about one token, by hand,
 * as the daemon would: the same question, the same line, the same reading. */
#include <stdio.h>
#include <stdlib.h>

#include "../pep/crypto.h"
#include "../pep/introspect.h"
#include "authority.h"
#include "cmd_claims.h"
#include "cmd_token.h"
#include "json.h"
#include "setup.h"

enum { O_CONFIG, O_AUTHORITY, O_JSON, O_REVEAL };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "the configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_AUTHORITY] = {"authority", 'A', "NAME", "whom to ask, when the policy has several", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    [O_REVEAL] = {"reveal", 0, NULL, "print a symmetric key that the answer carries", false},
    {NULL, 0, NULL, NULL, false},
};

struct asked {
    const struct cmd *c;
    bool json, reveal;
    struct setup setup;
    struct keys *keys;
    struct loop *loop;
    struct authorities *wire;
    const struct policy_authority *authority;
    struct introspect_about about;
    uint64_t started_us, took_us;
    bool replied, away;
    uint8_t code;
    struct introspection said;
    uint8_t raw[TOKEN_MAX], body[INTROSPECT_ASK_MAX], storage[2 * INTROSPECT_ANSWER_MAX + 64];
};

/* ---- the line ---- */

static void replied(void *user, uint64_t id, const struct pep_reply *r, struct instant now)
{
    struct asked *a = user;
    (void)id;
    a->replied = true;
    a->took_us = now.mono_us - a->started_us;
    a->away = r->away;
    a->code = r->code;
    if (!r->away) {
        struct buf b = buf_on(a->storage, sizeof a->storage);
        introspect_read(&a->about, r, &b, &a->said);
    }
    loop_stop(a->loop);
}

static void got(void *user, uint64_t handle, const struct authority_got *g, struct instant now)
{
    (void)user, (void)handle, (void)g, (void)now;
}

static void random_bytes(void *user, void *to, size_t n)
{
    (void)user;
    if (!crypto_random(to, n))
        abort();
}

static uint64_t turn(void *user, struct instant now)
{
    struct asked *a = user;
    return authorities_turn(a->wire, now);
}

/* The one that was named, or the only one that can be asked. */
static int choose(struct asked *a, const char *name)
{
    const struct policy *p = pep_policy(a->setup.pep);
    const struct policy_authority *is;
    int chosen = -1;
    for (size_t i = 0; (is = policy_authority(p, i)); i++) {
        if (name ? strcmp(is->name, name) != 0 : !is->wire.introspect.url)
            continue;
        if (chosen >= 0)
            return cmd_fail(a->c, CMD_USAGE,
                            "several authorities can be asked; name one with --authority"),
                   -1;
        chosen = (int)i;
    }
    if (chosen < 0)
        (void)cmd_fail(a->c, CMD_USAGE,
                       name ? "the policy has no authority '%s'"
                            : "no authority of the policy has `introspect:`",
                       name);
    else if (!policy_authority(p, (size_t)chosen)->wire.introspect.url) {
        (void)cmd_fail(a->c, CMD_USAGE, "authority '%s' has no `introspect:` in the policy", name);
        chosen = -1;
    }
    return chosen;
}

static int ask(struct asked *a, int authority)
{
    static const struct authority_ops ops = {replied, got, random_bytes};
    struct pep_question q = {.id = 1, .authority = authority, .http = a->about.http};
    struct buf body = buf_on(a->body, sizeof a->body);
    if (!introspect_ask(&a->about, &body, &q.content_format))
        return cmd_fail(a->c, CMD_INPUT, "the token does not fit a question");
    q.body = buf_bytes(&body);
    a->loop = loop_new(turn, a);
    a->wire = a->loop ? authorities_new(a->loop, &ops, a) : NULL;
    if (!a->wire || !authorities_use(a->wire, a->setup.wire, loop_now(a->loop)))
        return cmd_fail(a->c, EX_OSERR, "out of memory");
    a->setup.wire = NULL;
    a->started_us = loop_now(a->loop).mono_us;
    if (!authority_ask(a->wire, &q, loop_now(a->loop)) || !loop_run(a->loop) || !a->replied)
        return cmd_fail(a->c, EX_OSERR, "the question could not be sent");
    return CMD_OK;
}

/* ---- the answer ---- */

static const char *verdict(const struct asked *a)
{
    static const char *const words[] = {
        [INTROSPECT_NOTHING] = "no answer", [INTROSPECT_REFUSED] = "refused",
        [INTROSPECT_UNUSABLE] = "unusable", [INTROSPECT_INACTIVE] = "inactive",
        [INTROSPECT_ACTIVE] = "active",
    };
    return a->away ? "away" : words[a->said.said];
}

static int status_of(const struct asked *a)
{
    if (a->away || a->said.said == INTROSPECT_NOTHING)
        return CMD_AWAY;
    return a->said.said == INTROSPECT_ACTIVE ? CMD_OK : CMD_NO;
}

static void print(const struct asked *a)
{
    char code[8];
    const char *why = a->away ? "the server did not answer" : a->said.why;
    printf("%s: %s at %s\n", verdict(a), a->authority->name, a->authority->wire.introspect.url);
    if (!a->away)
        printf("answer %s after %.1f ms\n", cmd_code_text(code, a->code),
               (double)a->took_us / 1000);
    if (why && (a->away || a->said.said != INTROSPECT_ACTIVE))
        printf("%s\n", why);
    if (!a->away && a->said.said == INTROSPECT_UNUSABLE)
        printf("here: %s\n", pep_err_str(a->said.err));
    if (!a->away && a->said.said == INTROSPECT_ACTIVE)
        cmd_print_claims(&a->said.claims, a->reveal);
}

static int print_json(const struct asked *a)
{
    char text[32 << 10], code[8];
    struct buf out = buf_on(text, sizeof text);
    buf_put_u8(&out, '{');
    json_member(&out, "verdict", verdict(a));
    json_member(&out, "authority", a->authority->name);
    json_member(&out, "url", a->authority->wire.introspect.url);
    if (!a->away) {
        json_member(&out, "code", cmd_code_text(code, a->code));
        json_member_u64(&out, "us", a->took_us);
        if (a->said.said != INTROSPECT_ACTIVE)
            json_member(&out, "why", a->said.why);
        else
            cmd_json_claims(&a->said.claims, a->reveal, &out);
    }
    buf_put_str(&out, "}\n");
    size_t done = fwrite(text, 1, out.n, stdout);
    crypto_wipe(text, sizeof text);
    return done == out.n && !out.full ? CMD_OK : CMD_OUTPUT;
}

static int introspect(struct asked *a, const struct cmd_values *o, const struct cmd_values *args)
{
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text), raw = buf_on(a->raw, sizeof a->raw);
    const char *file = o[O_CONFIG].n ? cmd_value(&o[O_CONFIG]) : CONFIG_FILE_DEFAULT;
    int status = cmd_token_read(a->c, args->v[0], &raw);
    if (status != CMD_OK)
        return status;
    if (!setup_open(&a->setup, file, false, cmd_now(), &diag))
        return cmd_complain(CMD_CONFIG, &diag);
    int authority = choose(a, cmd_value(&o[O_AUTHORITY]));
    if (authority < 0)
        return CMD_USAGE;
    const struct policy *p = pep_policy(a->setup.pep);
    a->authority = policy_authority(p, (size_t)authority);
    a->keys = keys_load(p, a->setup.config->policy_dir, &diag);
    if (!a->keys)
        return cmd_complain(CMD_CONFIG, &diag);
    a->about = (struct introspect_about){.keys = a->keys,
                                         .authority = authority,
                                         .dialect = a->authority->dialect,
                                         .http = a->authority->wire.introspect.http,
                                         .issuer = a->authority->issuer,
                                         .client_id = a->authority->wire.introspect.client_id,
                                         .audience = a->setup.config->audience,
                                         .n_audience = a->setup.config->n_audience,
                                         .token = buf_bytes(&raw)};
    status = ask(a, authority);
    if (status != CMD_OK)
        return status;
    if (o[O_JSON].n)
        status = print_json(a);
    else
        print(a);
    return status == CMD_OK ? status_of(a) : status;
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    struct asked *a = calloc(1, sizeof *a);
    if (!a)
        return cmd_fail(c, EX_OSERR, "out of memory");
    a->c = c;
    a->reveal = o[O_REVEAL].n > 0;
    int status = introspect(a, o, args);
    if (a->wire)
        authorities_free(a->wire);
    if (a->loop)
        loop_free(a->loop);
    keys_free(a->keys);
    setup_close(&a->setup);
    crypto_wipe(a, sizeof *a);
    free(a);
    return status;
}

const struct cmd cmd_introspect = {
    .name = "introspect",
    .args = "FILE",
    .summary = "ask an authorization server about a token",
    .about = "FILE holds the token or reference as it is, or a CWT in hexadecimal or base64url;\n"
             "'-' is standard input. It is asked as the daemon asks, with the policy's\n"
             "credentials; nothing is kept.\n\n"
             "  postern introspect -A home-as guest.cwt\n\n"
             "Exit status: 0 active, 1 inactive or refused, 64 misused, 65 the file cannot be\n"
             "used, 69 no answer, 78 bad configuration.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
