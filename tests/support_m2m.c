#include "support_m2m.h"

#include "../pep/jose.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const m2m_policy_text =
    "version: 1\n"
    "authorities:\n"
    "  - name: das\n"
    "    dialect: onem2m\n"
    "    issuer: " M2M_ISSUER "\n"
    "    keys: \"0\"\n"
    "    bearer: deny\n"
    "    may-grant:\n"
    "      roles: [guest, night]\n"
    "      resources: [{path: /cse/room/**, operations: [RETRIEVE, NOTIFY, CREATE]}]\n"
    "roles:\n"
    "  guest:\n"
    "    role-id: guest@house.example\n"
    "    permit: [{path: /cse/lamp/**, operations: [RETRIEVE, UPDATE]}]\n"
    "  night:\n"
    "    role-id: night@house.example\n"
    "    permit: [{path: /cse/lamp/**, operations: [DELETE], when: {dates: "
    "2020-01-01..2020-01-02}}]\n"
    "  owner:\n"
    "    role-id: owner@house.example\n"
    "    permit: [{path: /cse/**, operations: [CREATE, RETRIEVE, UPDATE, DELETE]}]\n"
    "  none: {}\n"
    "subjects:\n"
    "  - {name: phone, psk-identity: phone, key-file: phone.psk, roles: [none],\n"
    "     originator: Cphone}\n"
    "  - {name: panel, psk-identity: panel, key-file: panel.psk, roles: [owner],\n"
    "     originator: Cpanel}\n"
    "forbid:\n"
    "  - {path: /cse/room/safe, operations: [RETRIEVE]}\n"
    "  - {path: /cse/lamp/safe, operations: [RETRIEVE]}\n";

const struct pep_device m2m_devices[3] = {
    {.name = "cse", .onem2m = true, .cse_id = "/mn-cse", .sp_id = "//house.example"},
    {.name = "other", .onem2m = true, .cse_id = "/gym-cse", .sp_id = "//house.example"},
    {.name = "lamp", .audience = "lamp"},
};

static void put(const struct m2m_house *h, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", h->dir, name);
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fchmod(fileno(f), 0640) != 0 || fclose(f) != 0)
        abort();
}

static struct policy *policy_of(struct m2m_house *h, const char *from, const char *to)
{
    static char text[8192];
    h->diag = buf_on(h->diag_text, sizeof h->diag_text - 1);
    const char *at = from ? strstr(m2m_policy_text, from) : NULL;
    if (from && !at)
        abort();
    if (at)
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - m2m_policy_text), m2m_policy_text,
                       to, at + strlen(from));
    else
        (void)snprintf(text, sizeof text, "%s", m2m_policy_text);
    return policy_load("policy.yaml", bytes_str(text), "0123456789abcdef", &h->diag);
}

bool m2m_house_reload(struct m2m_house *h, const char *from, const char *to)
{
    struct policy *p = policy_of(h, from, to);
    bool ok = p && pep_load(h->pep, p, h->dir, M2M_NOW, &h->diag);
    policy_unref(p);
    return ok;
}

struct pep *m2m_house_pep(struct m2m_house *h, const struct pep_config *with)
{
    struct pep_config c = *with;
    c.devices = m2m_devices;
    c.n_devices = 3;
    c.build_s = INT64_C(1790000000);
    c.max_grants = c.max_grants ? c.max_grants : 100;
    struct pep *p = pep_new(&c), *own = h->pep;
    if (!p)
        abort();
    h->pep = p;
    if (!m2m_house_reload(h, NULL, NULL))
        abort();
    h->pep = own;
    return p;
}

void m2m_house_make(struct m2m_house *h, struct store *store, const char *from, const char *to)
{
    *h = (struct m2m_house){.dir = "/tmp/test_m2m.XXXXXX"};
    char path[128];
    if (!mkdtemp(h->dir))
        abort();
    (void)snprintf(path, sizeof path, "%s/0", h->dir);
    oauth_put_keys(path);
    put(h, "phone.psk", "# a test key\n000102030405060708090a0b0c0d0e0f\n");
    put(h, "panel.psk", "# a test key\n100102030405060708090a0b0c0d0e0f\n");
    h->pep = m2m_house_pep(h, &(struct pep_config){.store = store});
    if (from && !m2m_house_reload(h, from, to)) {
        fprintf(stderr, "%.*s\n", (int)h->diag.n, h->diag_text);
        abort();
    }
}

void m2m_house_put_keys(struct m2m_house *h, struct bytes jwks)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/0", h->dir);
    FILE *f = fopen(path, "w");
    if (!f || fwrite(jwks.p, 1, jwks.n, f) != jwks.n || fclose(f) != 0 ||
        !m2m_house_reload(h, NULL, NULL)) {
        fprintf(stderr, "%.*s\n", (int)h->diag.n, h->diag_text);
        abort();
    }
}

void m2m_house_leave(const struct m2m_house *h)
{
    static const char *const files[] = {"0", "phone.psk", "panel.psk"};
    char path[128];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", h->dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(h->dir);
}

void m2m_house_clear(struct m2m_house *h)
{
    pep_free(h->pep);
    m2m_house_leave(h);
}

struct pep_session *m2m_house_open(struct m2m_house *h, const char *psk_identity)
{
    struct pep_proof proof;
    if (pep_find_psk(h->pep, bytes_str(psk_identity), NULL, M2M_NOW, &proof) != PEP_KEY_FOUND)
        abort();
    struct pep_session *s = pep_session_open(h->pep, &proof);
    if (!s)
        abort();
    return s;
}

/* ---- tokens ---- */

static void member(struct buf *b, const char *name, const char *value, const char *usual)
{
    if (value && !*value)
        return;
    if (b->n > 1)
        buf_put_u8(b, ',');
    buf_put_u8(b, '"');
    buf_put_str(b, name);
    buf_put_str(b, "\":");
    buf_put_str(b, value ? value : usual);
}

static struct bytes payload_of(const struct m2m_minting *m, uint8_t *room, size_t cap)
{
    bool own = m->own_names;
    struct buf b = buf_on(room, cap);
    buf_put_u8(&b, '{');
    member(&b, own ? "tkid" : "jti", m->jti, "\"t1@house.example\"");
    member(&b, own ? "tkis" : "iss", m->iss, "\"" M2M_ISSUER "\"");
    member(&b, own ? "tkhd" : "azp", m->azp, "\"" M2M_HOLDER "\"");
    member(&b, own ? "tknb" : "nbf", m->nbf, own ? "\"20261122T013000\"" : "1795311000");
    member(&b, own ? "tkna" : "exp", m->exp, own ? "\"20261122T030000\"" : "1795316400");
    member(&b, own ? "tkau" : "aud", m->aud, "[\"//house.example/mn-cse\"]");
    member(&b, "tkps", m->tkps, "{\"pm\":[{\"rids\":[\"guest@house.example\"]}]}");
    if (m->more)
        buf_put_str(&b, m->more);
    buf_put_u8(&b, '}');
    return buf_bytes(&b);
}

static struct bytes keep(struct bytes s)
{
    static uint8_t rooms[64][4096];
    static unsigned turn;
    uint8_t *to = rooms[turn++ % 64];
    if (s.n > sizeof *rooms)
        abort();
    memcpy(to, s.p, s.n);
    return bytes_of(to, s.n);
}

struct bytes m2m_mint(const struct m2m_minting *m)
{
    uint8_t content[4096], room[8192];
    struct buf out = buf_on(room, sizeof room);
    struct bytes inner = payload_of(m, content, sizeof content);
    if (!m->unsigned_inside) {
        const char *kid = m->key ? m->key : "es", *alg = m->alg ? m->alg : "ES256";
        struct key k = oauth_key(kid);
        char header[256];
        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
                       alg, kid);
        inner = jws_of(m->header ? m->header : header, inner, &k, alg);
    }
    if (!m->sealed)
        return keep(inner);
    struct key k = oauth_key(m->sealed);
    const char *wrap = strcmp(m->sealed, "kw") == 0       ? "A128KW"
                       : strcmp(m->sealed, "ec-enc") == 0 ? "ECDH-ES+A128KW"
                                                          : NULL;
    k.ops = 0;
    if (jose_seal(wrap ? crypto_jose_named(bytes_str(wrap)) : NULL,
                  crypto_jose_named(BYTES_LIT("A256GCM")), &k, "JWT",
                  m->unsigned_inside ? NULL : "JWT", inner, &out) != PEP_OK)
        abort();
    return keep(buf_bytes(&out));
}

/* ---- requests ---- */

void m2m_ask_for(struct m2m_asking *a, enum m2m_operation op, const char *path,
                 const char *originator)
{
    static const uint8_t methods[] = {[M2M_CREATE] = 2, [M2M_RETRIEVE] = 1, [M2M_UPDATE] = 3,
                                      [M2M_DELETE] = 4, [M2M_NOTIFY] = 2,   [M2M_DISCOVERY] = 1};
    *a = (struct m2m_asking){.r = {.method = methods[op], .content_format = -1}};
    (void)snprintf(a->path, sizeof a->path, "%s", path + 1);
    for (char *at = a->path; at;) {
        char *end = strchr(at, '/');
        a->r.path[a->r.n_path++] = bytes_of(at, end ? (size_t)(end - at) : strlen(at));
        at = end ? end + 1 : NULL;
    }
    a->m = (struct m2m_request){.operation = op,
                                .type = op == M2M_CREATE ? M2M_TYPE_CONTAINER : -1,
                                .has_originator = originator != NULL,
                                .originator = bytes_str(originator),
                                .rqi = BYTES_LIT("r1"),
                                .rvi = BYTES_LIT("3"),
                                .expires_s = INT64_MAX};
    const char *to = strchr(a->path, '/');
    a->m.to = bytes_str(to ? to + 1 : NULL);
    a->r.m2m = &a->m;
    a->r.originator = a->m.originator;
    a->r.device = strncmp(a->path, "other", 5) == 0 ? M2M_OTHER_CSE : M2M_CSE;
}
