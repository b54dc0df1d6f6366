#include "support_pep.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const house_policy_text =
    "version: 1\n"
    "mode: enforce\n"
    "authorities:\n"
    "  - name: home-as\n"
    "    issuer: coaps://as.home\n"
    "    keys: home-as.keys\n"
    "    bearer: deny\n"
    "    may-grant:\n"
    "      roles: [guest]\n"
    "      scopes: [lights_r, lights_w, night]\n"
    "      resources: [{path: /lamp/**, methods: [GET, PUT, POST, DELETE]}]\n"
    "  - name: visitor-as\n"
    "    issuer: coaps://visitors\n"
    "    keys: visitor-as.keys\n"
    "    bearer: allow\n"
    "    may-grant: {scopes: [door_r]}\n"
    "  - name: derive-as\n"
    "    issuer: coaps://derive\n"
    "    keys: derive-as.keys\n"
    "    may-grant: {scopes: [lights_r]}\n"
    "roles:\n"
    "  sensor: {permit: [{path: /meter/**, methods: [GET]}]}\n"
    "  guest: {permit: [{path: /lamp/guest, methods: [GET]}]}\n"
    "scopes:\n"
    "  lights_r: {permit: [{path: /lamp/**, methods: [GET]}]}\n"
    "  lights_w: {permit: [{path: /lamp/**, methods: [PUT]}]}\n"
    "  door_r: {permit: [{path: /door/**, methods: [GET]}]}\n"
    "  night: {permit: [{path: /lamp/night, methods: [GET], when: {dates: "
    "2020-01-01..2020-01-02}}]}\n"
    "  all_w: {permit: [{path: /**, methods: [PUT]}]}\n"
    "subjects:\n"
    "  - {name: thermostat-7, psk-identity: t7, key-file: t7.psk, roles: [sensor]}\n"
    "  - {name: panel, certificate: panel.home, roles: [sensor]}\n"
    "forbid:\n"
    "  - {path: /lamp/firmware, methods: [PUT, GET]}\n";

const struct pep_device house_devices[3] = {
    {.name = "lamp", .audience = "lamp", .authority = "home-as"},
    {.name = "door", .audience = "door", .authority = "visitor-as"},
    {.name = "meter"},
};

static const char *const as_name[HOUSE_AS] = {"home-as", "visitor-as", "derive-as"};
static const char *const as_issuer[HOUSE_AS] = {"coaps://as.home", "coaps://visitors",
                                                "coaps://derive"};

static void secret_key(struct key *k, int alg, const char *kid, uint8_t fill, size_t n)
{
    *k = (struct key){.kind = KEY_SECRET, .authority = -1, .alg = alg, .has_secret = true};
    k->kid_n = strlen(kid);
    memcpy(k->kid, kid, k->kid_n);
    memset(k->secret, fill, n);
    k->secret_n = n;
}

static bool ec_key(struct key *k, int alg, const char *kid, uint8_t fill)
{
    *k = (struct key){.kind = KEY_EC, .authority = -1, .alg = alg, .has_secret = true};
    k->kid_n = strlen(kid);
    memcpy(k->kid, kid, k->kid_n);
    memset(k->secret, fill, 32);
    k->secret_n = 32;
    return crypto_ec_of_secret(CRYPTO_P256, key_secret(k), &k->ec);
}

static void path_of(const struct house *h, const char *name, char out[128])
{
    (void)snprintf(out, 128, "%s/%s", h->dir, name);
}

bool house_write_keys(const struct house *h, enum house_as as)
{
    char path[128], name[32], text[512];
    struct buf diag = buf_on(text, sizeof text);
    struct key keys[3] = {h->proof[as], h->seal[as], h->derivation};
    (void)snprintf(name, sizeof name, "%s.keys", as_name[as]);
    path_of(h, name, path);
    (void)unlink(path);
    return key_file_create(path, keys, as == DERIVE ? 3 : 2, true, &diag);
}

bool house_make(struct house *h)
{
    *h = (struct house){.dir = "/tmp/test_pep.XXXXXX"};
    h->diag = buf_on(h->diag_text, sizeof h->diag_text);
    if (!mkdtemp(h->dir) || !ec_key(&h->proof[HOME], -7, "h1", 0x11))
        return false;
    secret_key(&h->seal[HOME], 10, "h2", 0x12, 16);
    secret_key(&h->proof[VISITOR], 5, "v1", 0x13, 32);
    secret_key(&h->seal[VISITOR], 1, "v2", 0x14, 16);
    secret_key(&h->proof[DERIVE], 5, "d1", 0x15, 32);
    secret_key(&h->seal[DERIVE], 1, "d2", 0x16, 16);
    secret_key(&h->derivation, KEY_ALG_DERIVATION, "d3", 0x17, 32);
    for (int as = 0; as < HOUSE_AS; as++)
        if (!house_write_keys(h, (enum house_as)as))
            return false;
    char path[128];
    path_of(h, "t7.psk", path);
    FILE *f = fopen(path, "w");
    if (!f)
        return false;
    fputs("# a test key\n000102030405060708090a0b0c0d0e0f\n", f);
    bool ok = fchmod(fileno(f), 0640) == 0;
    return fclose(f) == 0 && ok;
}

void house_clear(struct house *h)
{
    static const char *const files[] = {"home-as.keys",          "visitor-as.keys",
                                        "derive-as.keys",        "t7.psk",
                                        "store/grants/data.mdb", "store/grants/lock.mdb"};
    char path[128];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        path_of(h, files[i], path);
        (void)unlink(path);
    }
    path_of(h, "store/grants", path);
    (void)rmdir(path);
    path_of(h, "store", path);
    (void)rmdir(path);
    (void)rmdir(h->dir);
}

struct policy *house_policy(struct house *h, const char *from, const char *to)
{
    char text[8192];
    const char *at = from ? strstr(house_policy_text, from) : NULL;
    if (from && !at)
        return NULL;
    if (at)
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - house_policy_text),
                       house_policy_text, to, at + strlen(from));
    else
        (void)snprintf(text, sizeof text, "%s", house_policy_text);
    h->diag = buf_on(h->diag_text, sizeof h->diag_text - 1);
    struct policy *p = policy_load("policy.yaml", bytes_str(text),
                                   at ? "changed000000000" : "0123456789abcdef", &h->diag);
    h->diag_text[h->diag.n] = 0;
    return p;
}

bool house_reload(struct house *h, struct pep *p, const char *from, const char *to)
{
    struct policy *policy = house_policy(h, from, to);
    if (!policy)
        return false;
    h->diag = buf_on(h->diag_text, sizeof h->diag_text - 1);
    bool ok = pep_load(p, policy, h->dir, HOUSE_NOW, &h->diag);
    h->diag_text[h->diag.n] = 0;
    policy_unref(policy);
    return ok;
}

struct pep *house_pep_empty(struct store *store, size_t max_grants)
{
    return house_pep_of(&(struct pep_config){.store = store, .max_grants = max_grants});
}

struct pep *house_pep_of(const struct pep_config *with)
{
    static const char *const audience[] = {"gateway.home"};
    const struct pep_config c = {.devices = house_devices,
                                 .n_devices = 3,
                                 .audience = audience,
                                 .n_audience = 1,
                                 .build_s = HOUSE_BUILD,
                                 .max_grants = with->max_grants,
                                 .store = with->store,
                                 .worker = with->worker,
                                 .workers = with->workers,
                                 .colleagues = with->colleagues,
                                 .nonce_key = with->nonce_key,
                                 .checks_elsewhere = with->checks_elsewhere};
    return pep_new(&c);
}

struct pep *house_pep(struct house *h, struct store *store, size_t max_grants)
{
    struct pep *p = house_pep_empty(store, max_grants);
    if (p && !house_reload(h, p, NULL, NULL)) {
        pep_free(p);
        return NULL;
    }
    return p;
}

static bool public_key(uint8_t seed, struct crypto_ec *out)
{
    uint8_t d[32];
    memset(d, seed ? seed : 1, sizeof d);
    return crypto_ec_of_secret(CRYPTO_P256, bytes_of(d, sizeof d), out);
}

struct bytes house_mint(const struct house *h, const struct minting *m, uint8_t out[TOKEN_MAX])
{
    struct claims c = {.has_exp = m->exp_in != HOUSE_NEVER};
    struct crypto_ec ec;
    const char *iss = m->iss ? m->iss : as_issuer[m->as];
    const char *aud = m->aud ? m->aud : "gateway.home";
    const char *scope = m->scope ? m->scope : m->as == VISITOR ? "door_r" : "lights_r";
    c.has_iss = *iss != 0;
    c.iss = bytes_str(iss);
    c.sub = bytes_str(m->sub);
    if (*aud)
        c.aud[c.n_aud++] = bytes_str(aud);
    if (m->aud2)
        c.aud[c.n_aud++] = bytes_str(m->aud2);
    c.exp_s = c.has_exp ? HOUSE_NOW + (m->exp_in ? m->exp_in : 3600) : 0;
    c.has_nbf = m->nbf_in != 0;
    c.nbf_s = HOUSE_NOW + m->nbf_in;
    c.has_iat = m->iat_in != 0;
    c.iat_s = HOUSE_NOW + m->iat_in;
    c.has_exi = m->exi != 0;
    c.exi_s = m->exi;
    c.cti = bytes_str(m->cti);
    c.cnonce = m->cnonce;
    c.has_scope = *scope != 0 || m->aif_path;
    c.scope_words = bytes_str(scope);
    if (m->aif_path) {
        c.aif[c.n_aif++] = (struct policy_aif){bytes_str(m->aif_path), m->aif_mask};
        c.scope_words = BYTES_NONE;
    }
    c.cnf.kid = m->kid ? bytes_str(m->kid) : bytes_of(&m->key, 1);
    switch (m->cnf) {
    case KEY_PSK:
        c.cnf.kind = CNF_SYMMETRIC;
        c.cnf.key_n = 16;
        memset(c.cnf.key, m->key, 16);
        break;
    case KEY_PUBLIC:
        if (!public_key(m->key, &ec))
            return BYTES_NONE;
        c.cnf.kind = CNF_EC;
        c.cnf.crv = ec.crv;
        c.cnf.x = crypto_ec_x(&ec);
        c.cnf.y = crypto_ec_y(&ec);
        break;
    case KEY_BY_KID:
        c.cnf.kind = CNF_KID;
        break;
    case KEY_BARE:
        c.cnf.kind = CNF_DERIVED;
        break;
    case KEY_NOBODYS:
        c.cnf = (struct cnf){.kind = CNF_NONE};
        break;
    }
    struct key proof = h->proof[m->as];
    if (m->stray)
        proof.kid[0] ^= 0x7f;
    struct cwt_maker maker = {.proof = &proof, .seal = m->cnf == KEY_PSK ? &h->seal[m->as] : NULL};
    struct key seal = h->seal[m->as];
    if (m->stray && maker.seal) {
        seal.kid[0] ^= 0x7f;
        maker.seal = &seal;
    }
    struct buf b = buf_on(out, TOKEN_MAX);
    return cwt_mint(&c, POLICY_RFC9200, &maker, &b) == PEP_OK ? buf_bytes(&b) : BYTES_NONE;
}

struct bytes house_spki(uint8_t key, uint8_t out[128])
{
    static const uint8_t head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                   0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                   0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
    struct crypto_ec ec;
    struct buf b = buf_on(out, 128);
    if (!public_key(key, &ec))
        return BYTES_NONE;
    buf_put(&b, bytes_of(head, sizeof head));
    buf_put(&b, bytes_of(ec.point, 1 + 2 * ec.n));
    return buf_bytes(&b);
}

struct bytes house_kid_identity(const void *kid, size_t n, uint8_t out[80])
{
    static const uint8_t front[] = {0xa1, 0x08, 0xa1, 0x01, 0xa2, 0x01, 0x04, 0x02};
    struct buf b = buf_on(out, 80);
    buf_put(&b, bytes_of(front, sizeof front));
    if (n < 24) {
        buf_put_u8(&b, (uint8_t)(0x40 | n));
    } else {
        buf_put_u8(&b, 0x58);
        buf_put_u8(&b, (uint8_t)n);
    }
    buf_put(&b, bytes_of(kid, n));
    return buf_bytes(&b);
}

struct request house_request(uint8_t method, const char *path, int device)
{
    struct request r = {.method = method, .device = device};
    while (*path == '/' && r.n_path < 8) {
        const char *end = strchrnul(path + 1, '/');
        r.path[r.n_path++] = bytes_of(path + 1, (size_t)(end - path - 1));
        path = end;
    }
    return r;
}
