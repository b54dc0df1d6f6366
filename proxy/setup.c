#include "setup.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "../pep/store.h"
#include "enrolled.h"
#include "m2m_check.h"

static bool open_crew(struct setup *s, unsigned n, struct buf *diag)
{
    s->crew = crew_new(n);
    s->stores = s->crew ? crew_stores_new(s->crew, s->store) : NULL;
    if (s->stores && crypto_random(s->nonce_key, sizeof s->nonce_key))
        return true;
    buf_put_str(diag, "out of memory\n");
    return false;
}

static bool open_pep(struct setup *s, unsigned who, bool daemon, struct policy *policy,
                     int64_t now_s, struct buf *diag)
{
    const struct config *c = s->config;
    struct pep_config pc = {.devices = s->devices,
                            .n_devices = c->n_devices,
                            .audience = c->audience,
                            .n_audience = c->n_audience,
                            .build_s = POSTERN_BUILD_S,
                            .max_grants = c->max_grants,
                            .store = s->store,
                            .checks_elsewhere = daemon};
    if (s->crew) {
        pc.store = crew_store(s->stores, who);
        pc.colleagues = crew_store_telling(s->stores, who);
        pc.worker = who;
        pc.workers = crew_size(s->crew);
        pc.nonce_key = s->nonce_key;
    }
    s->peps[who] = pep_new(&pc);
    if (!s->peps[who])
        buf_put_str(diag, "out of memory\n");
    return s->peps[who] && pep_load(s->peps[who], policy, c->policy_dir, now_s, diag);
}

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
        s->devices[i] = config_pep_device(&c->devices[i]);
    ok = ok && (c->workers == 1 || !with_store || open_crew(s, c->workers, diag));
    if (ok) {
        s->wire = wire_load(policy, c->policy_dir, diag);
        ok = s->wire != NULL;
    }
    for (unsigned i = 0; ok && i < crew_size(s->crew); i++)
        ok = open_pep(s, i, with_store, policy, now_s, diag);
    s->pep = s->peps[0];
    if (s->stores)
        crew_stores_open(s->stores);
    policy_unref(policy); /* pep has its own reference */
    if (!ok)
        setup_close(s);
    return ok;
}

void setup_close(struct setup *s)
{
    wire_free(s->wire);
    for (unsigned i = 0; i < CREW_MAX; i++)
        pep_free(s->peps[i]);
    crew_stores_free(s->stores);
    crew_free(s->crew);
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
    if (d) {
        const struct dtls_config *c = &s.config->dtls;
        enrolled_warn(pep_policy(s.pep), now_s, diag);
        enrolled_warn_of(c->certificate, "the gateway's own certificate", dtls_own_ends(d), now_s,
                         diag);
        enrolled_warn_of(c->client_ca, "the CA of clients", dtls_ca_ends(d), now_s, diag);
        m2m_warn(s.config, pep_policy(s.pep), diag);
    }
    dtls_free(d);
    setup_close(&s);
    return d != NULL;
}
