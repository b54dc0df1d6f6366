#include "setup.h"

#include <stdlib.h>

#include "../pep/store.h"

bool setup_open(struct setup *s, const char *file, bool with_store, int64_t now_s, struct buf *diag)
{
    struct policy *policy = NULL;
    *s = (struct setup){0};
    s->config = config_load(file, diag);
    const struct config *c = s->config;
    bool ok = c && (policy = config_load_policy(c, diag));
    if (ok && with_store && c->state) {
        s->store = store_open(c->state, 0, diag);
        ok = s->store != NULL;
    }
    if (ok) {
        s->devices = calloc(c->n_devices, sizeof *s->devices);
        ok = s->devices != NULL;
    }
    for (size_t i = 0; ok && i < c->n_devices; i++)
        s->devices[i] = (struct pep_device){c->devices[i].upstream.name, c->devices[i].audience,
                                            c->devices[i].authority};
    if (ok) {
        const struct pep_config pc = {.devices = s->devices,
                                      .n_devices = c->n_devices,
                                      .audience = c->audience,
                                      .n_audience = c->n_audience,
                                      .build_s = POSTERN_BUILD_S,
                                      .max_grants = c->max_grants,
                                      .store = s->store};
        s->pep = pep_new(&pc);
        if (!s->pep)
            buf_put_str(diag, "out of memory\n");
        s->wire = wire_load(policy, c->policy_dir, diag);
        ok = s->pep && s->wire && pep_load(s->pep, policy, c->policy_dir, now_s, diag);
    }
    policy_unref(policy); /* pep has its own reference */
    if (!ok)
        setup_close(s);
    return ok;
}

void setup_close(struct setup *s)
{
    wire_free(s->wire);
    pep_free(s->pep);
    store_close(s->store);
    free(s->devices);
    config_free(s->config);
    *s = (struct setup){0};
}

/* Nobody shakes hands with the engine that a check makes. */
static enum pep_key_state no_psk(void *user, struct dtls_session *s, struct bytes identity,
                                 struct pep_proof *out)
{
    (void)user, (void)s, (void)identity, (void)out;
    return PEP_KEY_NONE;
}

static bool no_certificate(void *user, struct dtls_session *s, const struct pep_certificate *c,
                           struct pep_proof *out)
{
    (void)user, (void)s, (void)c, (void)out;
    return false;
}

static void no_send(void *user, struct dtls_session *s, struct bytes datagram)
{
    (void)user, (void)s, (void)datagram;
}

bool setup_check(const char *file, int64_t now_s, struct buf *diag)
{
    static const struct dtls_ops ops = {no_psk, no_certificate, no_send};
    struct setup s;
    if (!setup_open(&s, file, false, now_s, diag))
        return false;
    struct dtls *d = dtls_new(&s.config->dtls, &ops, NULL, diag);
    dtls_free(d);
    setup_close(&s);
    return d != NULL;
}
