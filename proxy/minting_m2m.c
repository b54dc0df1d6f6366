/* What `postern token new` makes of the options for oneM2M. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "../pep/json_write.h"
#include "../policy/m2m_words.h"
#include "cmd_key.h"
#include "file.h"
#include "minting.h"

enum { ID_N = 12, FILE_MAX = 16 << 10 };

static bool misused(struct minting *m, const char *what)
{
    (void)cmd_fail(m->c, CMD_USAGE, "%s", what);
    return false;
}

bool minting_is_m2m(const struct minting *m)
{
    return m->o[O_HOLDER].n > 0;
}

/* "RETRIEVE,UPDATE", in any case. */
static bool read_operations(struct minting *m, const char *text, unsigned *acop)
{
    *acop = 0;
    while (*text) {
        char word[16] = "";
        size_t n = strcspn(text, ",");
        int op = 0;
        for (size_t i = 0; i < n && i < sizeof word - 1; i++)
            word[i] = (char)toupper((unsigned char)text[i]);
        for (int i = 1; i <= M2M_OPERATIONS && n < sizeof word; i++)
            if (strcmp(word, m2m_operation_str((unsigned)i)) == 0)
                op = i;
        if (!op)
            return misused(m, "--permit: operations are CREATE, RETRIEVE, UPDATE, DELETE, NOTIFY "
                              "and DISCOVERY, with commas between");
        *acop |= M2M_ACOP(op);
        text += n + (text[n] == ',');
    }
    return *acop > 0 || misused(m, "--permit wants operations, such as RETRIEVE,UPDATE");
}

/* {"pm": [...]}, with or without {"tkps": ...} around it, or the list itself. */
static bool read_file(struct minting *m, const char *file)
{
    const char *why = NULL;
    uint8_t *p = NULL;
    size_t n = 0;
    struct buf b = buf_on(m->permissions, sizeof m->permissions);
    if (!file_read(file, true, FILE_MAX, &p, &n, &why)) {
        (void)cmd_fail(m->c, CMD_INPUT, "--permissions %s: %s", file, why);
        return false;
    }
    struct json_node *doc = json_doc_read(bytes_of(p, n));
    const struct json_node *at = doc;
    if (json_node_get(at, "tkps"))
        at = json_node_get(at, "tkps");
    if (json_node_get(at, "pm"))
        at = json_node_get(at, "pm");
    json_node_put(at, &b);
    bool list = json_node_kind(at) == JSON_NODE_ARRAY;
    json_doc_free(doc);
    free(p);
    m->claims.permissions = buf_bytes(&b);
    if (list && !b.full)
        return true;
    (void)cmd_fail(m->c, CMD_INPUT, "--permissions %s: no list of permissions in JSON", file);
    return false;
}

bool minting_read_m2m(struct minting *m)
{
    const struct cmd_values *o = m->o;
    unsigned acop;
    m->claims.sub = bytes_str(cmd_value(&o[O_HOLDER]));
    m->claims.has_scope = true;
    if (o[O_SCOPE].n || o[O_AIF].n || o[O_SUB].n)
        return misused(m, "--scope, --aif and --sub are not for a token of oneM2M");
    if (m->claims.sub.n == 0 || m->claims.sub.n > M2M_ID_MAX)
        return misused(m, "--holder wants an AE-ID or CSE-ID, such as //sp.example/cse1/Cphone");
    if (o[O_PERMISSIONS].n) {
        if (o[O_ROLE].n || o[O_ON].n || o[O_PERMIT].n)
            return misused(m, "--permissions says it all: no --role, --on and --permit beside it");
        return read_file(m, cmd_value(&o[O_PERMISSIONS]));
    }
    if (!o[O_ROLE].n && !o[O_PERMIT].n)
        return misused(m, "what the token gives: --role, --permit or --permissions");
    if (o[O_PERMIT].n && !read_operations(m, cmd_value(&o[O_PERMIT]), &acop))
        return false;
    return !o[O_PERMIT].n || o[O_ON].n ||
           misused(m, "--permit is for the resources that --on names");
}

/* A role by its ID; of a policy also by its alias. */
static bool role_id(struct minting *m, const char *role, struct bytes *out)
{
    const struct policy *p = m->authority ? pep_policy(m->setup.pep) : NULL;
    const char *id = p ? policy_role_id(p, bytes_str(role)) : NULL;
    *out = bytes_str(id ? id : role);
    if (id || strchr(role, '@'))
        return true;
    (void)cmd_fail(m->c, CMD_USAGE,
                   "--role wants a role ID, such as guest@sp.example, or with "
                   "--authority a role of the policy that has one; '%s' is none",
                   role);
    return false;
}

/* All that the options say is one permission. */
static bool write_permission(struct minting *m)
{
    struct buf b = buf_on(m->permissions, sizeof m->permissions);
    struct bytes list[CMD_VALUES_MAX];
    const struct cmd_values *o = m->o;
    unsigned acop;
    buf_put_str(&b, "[{");
    for (size_t i = 0; i < o[O_ON].n; i++)
        list[i] = bytes_str(o[O_ON].v[i]);
    json_write_texts_of(&b, "ris", list, o[O_ON].n);
    if (o[O_PERMIT].n && read_operations(m, cmd_value(&o[O_PERMIT]), &acop)) {
        json_write_name(&b, "pv");
        buf_put_str(&b, "{\"acr\":[{");
        json_write_texts_of(&b, "acor", &m->claims.sub, 1);
        json_write_int_of(&b, "acop", acop);
        buf_put_str(&b, "}]}");
    }
    for (size_t i = 0; i < o[O_ROLE].n; i++)
        if (!role_id(m, o[O_ROLE].v[i], &list[i]))
            return false;
    json_write_texts_of(&b, "rids", list, o[O_ROLE].n);
    buf_put_str(&b, "}]");
    m->claims.permissions = buf_bytes(&b);
    return !b.full || misused(m, "more permissions than fit a token");
}

/* Where the issuer is at home: what stands behind its '@', or its provider. */
static struct bytes domain_of(struct bytes issuer)
{
    size_t i = 0;
    const uint8_t *at = issuer.n ? memchr(issuer.p, '@', issuer.n) : NULL;
    if (at)
        return bytes_of(at + 1, issuer.n - (size_t)(at + 1 - issuer.p));
    if (issuer.n > 2 && memcmp(issuer.p, "//", 2) == 0) {
        issuer = bytes_of(issuer.p + 2, issuer.n - 2);
        while (i < issuer.n && issuer.p[i] != '/')
            i++;
        return bytes_of(issuer.p, i);
    }
    return BYTES_LIT("local");
}

bool minting_settle_m2m(struct minting *m)
{
    static const char *const classes[] = {"jws", "jwe", "nested"};
    const char *class = cmd_value(&m->o[O_CLASS]), *id = cmd_value(&m->o[O_ID]);
    char name[ID_N];
    bool known = !class;
    for (size_t i = 0; class && i < 3; i++)
        known = known || strcmp(class, classes[i]) == 0;
    if (!known)
        return misused(m, "--class is jws, jwe or nested");
    if (!m->claims.iss.n)
        return misused(m, "--issuer is needed: a token of oneM2M says who issued it");
    if (!cmd_random_text(name, ID_N))
        return misused(m, "the kernel gives no randomness");
    struct bytes domain = domain_of(m->claims.iss);
    if (id)
        (void)snprintf(m->id, sizeof m->id, "%s", id);
    else
        (void)snprintf(m->id, sizeof m->id, "%.*s@%.*s", ID_N, name, (int)domain.n,
                       (const char *)domain.p);
    if (id && strlen(id) > M2M_ID_MAX)
        return misused(m, "--id: longer than a token's ID may be");
    m->claims.cti = bytes_str(m->id);
    return m->o[O_PERMISSIONS].n || write_permission(m);
}
