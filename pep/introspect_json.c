#include "introspect_json.h"

#include <strings.h>

#include "jwt.h"

static void say(struct introspection *out, enum introspect_said said, const char *why)
{
    out->said = said;
    out->why = why;
}

static bool is_word(const struct json_node *n, const char *word)
{
    struct bytes s;
    return json_node_text(n, &s) && s.n == strlen(word) &&
           strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* coap_dtls is 1 (RFC 9202 7); in JSON a name. */
static bool is_foreign(const struct json_node *profile)
{
    int64_t v;
    if (!profile)
        return false;
    return json_node_int(profile, &v) ? v != 1 : !is_word(profile, "coap_dtls");
}

static void read_object(const struct introspect_about *a, const struct json_node *o,
                        struct buf *storage, struct introspection *out)
{
    bool active;
    if (json_node_kind(o) != JSON_NODE_OBJECT ||
        !json_node_bool(json_node_get(o, "active"), &active)) {
        say(out, INTROSPECT_NOTHING, "does not say if active");
        return;
    }
    if (!active) {
        say(out, INTROSPECT_INACTIVE, "inactive");
        return;
    }
    struct jwt_source from = {
        .keys = a->keys, .authority = a->authority, .encrypted = true, .plain = storage};
    out->err = jwt_read_claims(o, &from, &out->claims);
    out->has_rs_cnf = json_node_get(o, "rs_cnf") != NULL;
    if (out->err == PEP_SCOPE || out->err == PEP_CONFIRMATION) {
        say(out, INTROSPECT_UNUSABLE, pep_err_str(out->err));
    } else if (out->err != PEP_OK) {
        say(out, INTROSPECT_NOTHING, "its claims do not read");
    } else if (is_foreign(json_node_get(o, "ace_profile"))) {
        say(out, INTROSPECT_UNUSABLE, "the token is for another profile");
        out->err = PEP_UNSUPPORTED;
    } else if (is_word(json_node_get(o, "token_type"), "pop") && out->claims.cnf.kind == CNF_NONE) {
        say(out, INTROSPECT_UNUSABLE, "a pop token without its key");
        out->err = PEP_CONFIRMATION;
    } else {
        struct bytes name;
        say(out, INTROSPECT_ACTIVE, NULL);
        if (out->claims.sub.n == 0 && json_node_text(json_node_get(o, "username"), &name)) {
            out->claims.sub = bytes_of(storage->p + storage->n, name.n);
            buf_put(storage, name);
            if (storage->full)
                say(out, INTROSPECT_NOTHING, "too long");
        }
    }
}

static bool names_us(const struct introspect_about *a, const struct json_node *aud)
{
    struct bytes s;
    bool list = json_node_kind(aud) == JSON_NODE_ARRAY;
    for (size_t i = 0; i < (list ? json_node_count(aud) : 1); i++) {
        if (!json_node_text(list ? json_node_at(aud, i) : aud, &s))
            continue;
        if (a->client_id && bytes_equal_str(s, a->client_id))
            return true;
        for (size_t k = 0; k < a->n_audience; k++)
            if (bytes_equal_str(s, a->audience[k]))
                return true;
    }
    return false;
}

/* RFC 9701 5: signed by the authority, for us, and about a token. */
static void read_signed(const struct introspect_about *a, struct bytes body, struct buf *storage,
                        struct introspection *out)
{
    struct jwt_opened opened;
    struct bytes iss;
    if (jwt_open(a->keys, a->authority, JWT_INTROSPECTION, body, storage, &opened) != PEP_OK) {
        say(out, INTROSPECT_NOTHING, "its signature is not the authority's");
        return;
    }
    struct json_node *doc = json_doc_read(opened.content);
    if (!json_node_text(json_node_get(doc, "iss"), &iss) || !a->issuer ||
        !bytes_equal_str(iss, a->issuer) || !names_us(a, json_node_get(doc, "aud")))
        say(out, INTROSPECT_NOTHING, "signed by another, or for another");
    else
        read_object(a, json_node_get(doc, "token_introspection"), storage, out);
    json_doc_free(doc);
}

void introspect_read_json(const struct introspect_about *a, const struct pep_reply *r,
                          struct buf *storage, struct introspection *out)
{
    if (r->content_format == PEP_FORMAT_INTROSPECTION_JWT) {
        read_signed(a, r->body, storage, out);
        return;
    }
    if (r->content_format != PEP_FORMAT_JSON) {
        say(out, INTROSPECT_NOTHING, "another content-type");
        return;
    }
    struct json_node *doc = json_doc_read(r->body);
    if (doc)
        read_object(a, doc, storage, out);
    else
        say(out, INTROSPECT_NOTHING, "not whole JSON");
    json_doc_free(doc);
}
