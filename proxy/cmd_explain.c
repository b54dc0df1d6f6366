/* postern explain: the verdict on a request that nobody sent, and why. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "../pep/keys.h"
#include "cmd_explain.h"
#include "cmd_token.h"
#include "route.h"

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_SUBJECT] = {"subject", 's', "NAME", "asked by this enrolled subject", false},
    [O_TOKEN] = {"token", 't', "FILE", "asked by whom this token is bound to", false},
    [O_SCOPE] = {"scope", 0, "WORDS", "asked with a grant of these words ...", false},
    [O_AUTHORITY] = {"authority", 'A', "NAME", "... from this authority", false},
    [O_AUD] = {"aud", 'a', "TEXT", "... for this audience (all devices)", false},
    [O_HOST] = {"host", 0, "NAME", "Uri-Host of the request", false},
    [O_AT] = {"at", 0, "TIME", "asked then: 2026-02-03T04:05Z (now)", false},
    [O_FROM] = {"from", 0, "ADDRESS", "asked from there (unknown)", false},
    [O_STRENGTH] = {"strength", 0, "WORD",
                    "bearer, psk or certificate (as the subject or token has it)", false},
    [O_CREATED] = {"created", 0, NULL, "on a resource that the client made itself", false},
    [O_PAYLOAD] = {"payload", 0, "BYTES", "with so much payload (none)", false},
    [O_FORMAT] = {"format", 0, "FORMAT", "of this content-format, by number or name", false},
    [O_OPERATION] = {"operation", 0, "WORD", "of a CSE: CREATE, RETRIEVE, ... (by the method)",
                     false},
    [O_TYPE] = {"type", 0, "TYPE", "of what is created: container, AE, 28 (none)", false},
    [O_ORIGINATOR] = {"originator", 'O', "AE-ID",
                      "who it says it is from; alone: without an "
                      "association",
                      false},
    [O_RIDS] = {"role", 0, "ROLE", "judged by this role alone, if it is held (rids)", true},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    {NULL, 0, NULL, NULL, false},
};

/* ---- what is asked for ---- */

static int read_method(struct asking *a, const char *word)
{
    static const char *const names[] = {"GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"};
    enum { N = sizeof names / sizeof *names };
    for (uint8_t i = 0; i < N; i++)
        if (strcasecmp(names[i], word) == 0) {
            a->q.method = (uint8_t)(i + 1);
            return CMD_OK;
        }
    const char *near = cmd_nearest(word, names, N);
    return cmd_fail(a->c, CMD_USAGE, "unknown method '%s'%s%s%s", word,
                    near ? "; did you mean '" : "; known: GET POST PUT DELETE FETCH PATCH iPATCH",
                    near ? near : "", near ? "'?" : "");
}

static int read_path(struct asking *a, const char *text)
{
    const char *why, *question = strchr(text, '?');
    struct bytes rest = bytes_of(text, question ? (size_t)(question - text) : strlen(text));
    size_t n = 0, len;
    if (text[0] != '/')
        return cmd_fail(a->c, CMD_USAGE, "a path begins with '/': '%s'", text);
    if (question)
        a->q.query = bytes_str(question + 1);
    if (rest.n == 1)
        rest.n = 0; /* "/": no segment at all */
    while (n < POLICY_PATH_SEGMENTS_MAX && url_next_segment(&rest, a->segments[n], &len, &why)) {
        a->path[n] = bytes_of(a->segments[n], len);
        n++;
    }
    if (n > 0 && n < POLICY_PATH_SEGMENTS_MAX && rest.n == 1) {
        a->path[n++] = bytes_str(""); /* "/lamp/" ends in an empty Uri-Path option */
        rest.n = 0;
    }
    if (rest.n > 0)
        return cmd_fail(a->c, CMD_USAGE, "path '%s': %s", text,
                        why ? why : "more than 32 segments");
    a->q.path = a->path;
    a->q.n_path = n;
    a->local = (n == 1 && bytes_equal_str(a->path[0], "authz-info")) ||
               (n == 2 && bytes_equal_str(a->path[0], ".well-known") &&
                bytes_equal_str(a->path[1], "core"));
    return CMD_OK;
}

/* As the gate does: the device, and its name before a path found by host. */
static int route(struct asking *a)
{
    const struct config *c = a->setup.config;
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    struct siphash_key seed = {0, 0};
    size_t strip;
    struct device_config *devices = calloc(c->n_devices, sizeof *devices);
    for (size_t i = 0; devices && i < c->n_devices; i++)
        devices[i] = c->devices[i].upstream;
    struct routes *r = devices ? routes_new(devices, c->n_devices, &seed, &diag) : NULL;
    if (r)
        a->device =
            routes_find(r, bytes_str(cmd_value(&a->o[O_HOST])), a->path, a->q.n_path, &strip);
    routes_free(r);
    free(devices);
    if (!r)
        return cmd_complain(CMD_CONFIG, &diag);
    if (a->device >= 0)
        a->cse = c->devices[a->device].upstream.cse;
    int status = explain_ask_cse(a, strip);
    if (status != CMD_OK || a->device < 0 || !c->devices[a->device].upstream.host)
        return status;
    a->q.named <<= 1;
    memmove(&a->path[1], &a->path[0], a->q.n_path * sizeof a->path[0]);
    a->path[0] = bytes_str(c->devices[a->device].upstream.name);
    a->q.n_path++;
    return CMD_OK;
}

static int read_payload(struct asking *a)
{
    const char *bytes = cmd_value(&a->o[O_PAYLOAD]), *format = cmd_value(&a->o[O_FORMAT]);
    uint16_t number;
    char *end = NULL;
    a->q.content_format = -1;
    if (bytes) {
        a->q.payload_n = bytes[0] >= '0' && bytes[0] <= '9' ? strtoull(bytes, &end, 10) : 0;
        if (!end || *end)
            return cmd_fail(a->c, CMD_USAGE, "--payload wants a number of bytes, not '%s'", bytes);
    }
    if (!format)
        return CMD_OK;
    const char *wrong = policy_format_parse(bytes_str(format), &number);
    if (wrong)
        return cmd_fail(a->c, CMD_USAGE, "--format '%s': %s", format, wrong);
    a->q.content_format = number;
    return CMD_OK;
}

static int read_circumstances(struct asking *a)
{
    const char *at = cmd_value(&a->o[O_AT]), *from = cmd_value(&a->o[O_FROM]);
    a->q.now_s = cmd_now();
    if (at && !cmd_time(at, &a->q.now_s))
        return cmd_fail(a->c, CMD_USAGE, "--at wants a time such as 2026-02-03T04:05Z, not '%s'",
                        at);
    if (from && inet_pton(AF_INET, from, a->q.peer.addr) == 1)
        a->q.peer.family = 4;
    else if (from && inet_pton(AF_INET6, from, a->q.peer.addr) == 1)
        a->q.peer.family = 6;
    else if (from)
        return cmd_fail(a->c, CMD_USAGE, "--from wants an IPv4 or IPv6 address, not '%s'", from);
    a->q.created = a->o[O_CREATED].n > 0;
    return read_payload(a);
}

/* ---- who asks ---- */

static int by_subject(struct asking *a, const char *name)
{
    const struct policy_subject *s;
    for (size_t i = 0; (s = policy_subject(a->policy, i)); i++)
        if (strcmp(s->name, name) == 0)
            break;
    if (!s)
        return cmd_fail(a->c, CMD_USAGE, "the policy %s enrols no '%s'", policy_name(a->policy),
                        name);
    if (s->n_roles > sizeof a->roles / sizeof *a->roles)
        return cmd_fail(a->c, CMD_CONFIG, "'%s' has more roles than can be looked at", name);
    for (size_t i = 0; i < s->n_roles; i++)
        a->roles[i] = bytes_str(s->roles[i]);
    a->claims = (struct policy_claims){.authority = -1, .roles = a->roles, .n_roles = s->n_roles};
    a->subject = s;
    a->strength = s->psk_identity ? POLICY_STRENGTH_PSK : POLICY_STRENGTH_CERTIFICATE;
    a->covers = true;
    if (s->expires_s <= a->q.now_s)
        a->refused = PEP_ENROLMENT;
    return CMD_OK;
}

static bool is_own_audience(const struct asking *a, struct bytes aud)
{
    const struct config *c = a->setup.config;
    for (size_t i = 0; i < c->n_audience; i++)
        if (bytes_equal_str(aud, c->audience[i]))
            return true;
    return false;
}

static bool is_device_audience(const struct asking *a, struct bytes aud, int device)
{
    const char *name = device >= 0 ? a->setup.config->devices[device].audience : NULL;
    return name && bytes_equal_str(aud, name);
}

static bool audience_covers(const struct asking *a, struct bytes aud)
{
    return is_own_audience(a, aud) || is_device_audience(a, aud, a->device);
}

/* In the order of RFC 9200 5.10.1.1. */
static enum pep_err judge_token(struct asking *a, struct bytes raw, struct buf *diag)
{
    struct keys *keys = keys_load(a->policy, a->setup.config->policy_dir, diag);
    if (!keys)
        return PEP_UNKNOWN_KEY;
    enum pep_err err = token_verify(keys, raw, &a->token);
    keys_free(keys);
    if (err != PEP_OK)
        return err;
    const struct claims *k = &a->token.claims;
    const struct policy_authority *by = policy_authority(a->policy, (size_t)a->token.authority);
    err = token_check_times(k, by->issuer, a->q.now_s, 0);
    if (err != PEP_OK)
        return err;
    if (k->permissions.n > 0)
        return PEP_OK; /* the rest hangs on the request */
    bool ours = false;
    for (size_t i = 0; i < k->n_aud; i++) {
        a->covers = a->covers || audience_covers(a, k->aud[i]);
        ours = ours || is_own_audience(a, k->aud[i]);
        for (size_t d = 0; !ours && d < a->setup.config->n_devices; d++)
            ours = is_device_audience(a, k->aud[i], (int)d);
    }
    if (!ours)
        return PEP_AUDIENCE;
    if (k->cnf.kind == CNF_NONE && !by->bearer)
        return PEP_CONFIRMATION;
    return k->has_scope ? PEP_OK : PEP_SCOPE;
}

static int by_token(struct asking *a, const char *file)
{
    static const enum policy_strength strengths[] = {
        [CNF_NONE] = POLICY_STRENGTH_BEARER,     [CNF_SYMMETRIC] = POLICY_STRENGTH_PSK,
        [CNF_EC] = POLICY_STRENGTH_CERTIFICATE,  [CNF_KID] = POLICY_STRENGTH_PSK,
        [CNF_DERIVED] = POLICY_STRENGTH_PSK,     [CNF_X5T] = POLICY_STRENGTH_CERTIFICATE,
        [CNF_JKT] = POLICY_STRENGTH_CERTIFICATE,
    };
    char text[CMD_DIAG_MAX];
    struct buf b = buf_on(a->raw, sizeof a->raw), diag = buf_on(text, sizeof text);
    int status = cmd_token_read(a->c, file, &b);
    if (status != CMD_OK)
        return status;
    a->by_token = true;
    a->refused = judge_token(a, buf_bytes(&b), &diag);
    if (diag.n > 0)
        return cmd_complain(CMD_CONFIG, &diag);
    if (a->refused != PEP_OK)
        return CMD_OK;
    const struct claims *k = &a->token.claims;
    a->claims = (struct policy_claims){
        .authority = a->token.authority, .scope = k->scope_words, .aif = k->aif, .n_aif = k->n_aif};
    a->strength = strengths[k->cnf.kind];
    if (k->permissions.n > 0 && k->cnf.kind == CNF_NONE)
        a->strength = POLICY_STRENGTH_PSK; /* its holder's association */
    return CMD_OK;
}

static int by_scope(struct asking *a, const char *words)
{
    const char *name = cmd_value(&a->o[O_AUTHORITY]), *aud = cmd_value(&a->o[O_AUD]);
    int i = name ? policy_authority_find(a->policy, bytes_str(name)) : -1;
    if (!name)
        return cmd_fail(a->c, CMD_USAGE, "--scope needs --authority: who grants the words");
    if (i < 0)
        return cmd_fail(a->c, CMD_USAGE, "the policy %s has no authority '%s'",
                        policy_name(a->policy), name);
    a->claims = (struct policy_claims){.authority = i, .scope = bytes_str(words)};
    a->strength = POLICY_STRENGTH_PSK;
    a->covers = !aud || audience_covers(a, bytes_str(aud));
    return CMD_OK;
}

static int read_asker(struct asking *a)
{
    static const char *const words[] = {"bearer", "psk", "certificate"};
    const char *strength = cmd_value(&a->o[O_STRENGTH]);
    int status;
    size_t who = a->o[O_SUBJECT].n + a->o[O_TOKEN].n + a->o[O_SCOPE].n;
    if (who == 0 && a->cse && a->o[O_ORIGINATOR].n) {
        a->claims = (struct policy_claims){.authority = -1, .roles = a->roles};
        a->covers = true;
        return CMD_OK;
    }
    if (who != 1)
        return cmd_fail(a->c, CMD_USAGE, "who asks: one of --subject, --token, --scope");
    if (a->o[O_SUBJECT].n)
        status = by_subject(a, cmd_value(&a->o[O_SUBJECT]));
    else if (a->o[O_TOKEN].n)
        status = by_token(a, cmd_value(&a->o[O_TOKEN]));
    else
        status = by_scope(a, cmd_value(&a->o[O_SCOPE]));
    for (size_t i = 0; status == CMD_OK && strength && i < 3; i++)
        if (strcmp(strength, words[i]) == 0) {
            a->strength = (enum policy_strength)(POLICY_STRENGTH_BEARER + i);
            return CMD_OK;
        }
    if (status == CMD_OK && strength)
        return cmd_fail(a->c, CMD_USAGE, "--strength is bearer, psk or certificate, not '%s'",
                        strength);
    return status;
}

/* ---- the verdict ---- */

static void judge_m2m(struct asking *a)
{
    struct pep_device d = {.name = ""};
    if (a->device >= 0)
        d = config_pep_device(&a->setup.config->devices[a->device]);
    if (a->refused == PEP_OK)
        a->refused = explain_token_hold(a->policy, &a->token, &d, &a->m2m, &a->q, a->strength,
                                        &a->m2m_token);
    if (a->refused != PEP_OK)
        return;
    a->q.held = a->m2m_token.held;
    a->q.n_held = a->m2m_token.n_held;
    policy_decide(a->policy, &a->q, &a->d);
}

static int judge(struct asking *a)
{
    explain_originator(a);
    if (a->not_from)
        return CMD_OK;
    if (a->token.claims.permissions.n > 0) {
        judge_m2m(a);
        return CMD_OK;
    }
    a->grant = policy_grant_new(a->policy, &a->claims, &a->report);
    if (!a->grant)
        return cmd_fail(a->c, EX_OSERR, "out of memory");
    /* Such a token is refused when it is posted (RFC 9200 5.10.1.1). */
    if (a->by_token && a->report.n_known == 0) {
        a->refused = PEP_SCOPE;
        return CMD_OK;
    }
    a->held =
        (struct policy_holding){.grant = a->grant, .covers = a->covers, .strength = a->strength};
    a->q.held = &a->held;
    a->q.n_held = 1;
    policy_decide(a->policy, &a->q, &a->d);
    return CMD_OK;
}

static int answer(struct asking *a, const struct cmd_values *args)
{
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    const char *file = a->o[O_CONFIG].n ? cmd_value(&a->o[O_CONFIG]) : CONFIG_FILE_DEFAULT;
    const char *path = args->v[args->n - 1];
    if (args->n < 2 && a->o[O_OPERATION].n == 0)
        return cmd_fail(a->c, CMD_USAGE, "missing argument: %s",
                        path[0] == '/' ? "METHOD" : "PATH");
    a->has_method = args->n == 2;
    int status = a->has_method ? read_method(a, args->v[0]) : CMD_OK;
    if (status == CMD_OK)
        status = explain_read_operation(a);
    if (status == CMD_OK)
        status = read_path(a, path);
    if (status == CMD_OK)
        status = read_circumstances(a);
    if (status != CMD_OK)
        return status;
    if (!setup_open(&a->setup, file, false, cmd_now(), &diag))
        return cmd_complain(CMD_CONFIG, &diag);
    /* pep shares it; a reference of our own makes it ours to grant from. */
    a->policy = config_load_policy(a->setup.config, &diag);
    if (!a->policy)
        return cmd_complain(CMD_CONFIG, &diag);
    if (a->local) {
        printf("the gateway answers %s itself: /authz-info takes tokens from anybody, "
               "/.well-known/core lists what the client may touch\n",
               path);
        return CMD_OK;
    }
    status = route(a);
    if (status == CMD_OK)
        status = read_asker(a);
    if (status == CMD_OK && a->refused == PEP_OK)
        status = judge(a);
    if (status != CMD_OK)
        return status;
    if (a->o[O_JSON].n)
        explain_print_json(a);
    else
        explain_print(a);
    return a->refused == PEP_OK && !a->not_from && a->d.verdict == POLICY_PERMIT ? CMD_OK : CMD_NO;
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    struct asking *a = calloc(1, sizeof *a);
    if (!a)
        return cmd_fail(c, EX_OSERR, "out of memory");
    a->c = c;
    a->o = o;
    a->device = -1;
    int status = answer(a, args);
    policy_grant_free(a->grant);
    explain_token_clear(&a->m2m_token);
    policy_unref(a->policy);
    setup_close(&a->setup);
    crypto_wipe(a, sizeof *a);
    free(a);
    return status;
}

const struct cmd cmd_explain = {
    .name = "explain",
    .args = "[METHOD] PATH",
    .summary = "judge a request that nobody sent, and say why",
    .about = "Says the verdict, the rule it rests on, what was missing, the device it would go to\n"
             "and the code that the client would get. Nothing is sent, no daemon is needed.\n"
             "\n"
             "  postern explain --subject thermostat-7 GET /lamp/state\n"
             "  postern explain --token guest.cwt PUT /lamp/state --at 2026-02-03T23:30Z\n"
             "  postern explain --scope lights_r --authority home-as GET /lamp/state\n"
             "  postern explain --subject meter-3 --operation CREATE --type container /cse/m3\n"
             "  postern explain --originator Cmeter3 --operation NOTIFY /cse/m3\n"
             "\n"
             "Exit status: 0 permitted, 1 denied, 64 misused, 65 not a token, 78 bad\n"
             "configuration.\n",
    .options = options,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
