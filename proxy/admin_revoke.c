/* The operator revokes: by whatever name of a token, a holder, an authority. */
#include "../pep/base64url.h"
#include "admin.h"
#include "json.h"

static const struct {
    const char *by;
    enum revocation_kind kind;
} ways[] = {
    {"token", REVOKED_HASH}, {"hash", REVOKED_HASH},       {"cti", REVOKED_ID},
    {"kid", REVOKED_KID},    {"subject", REVOKED_SUBJECT}, {"authority", REVOKED_AUTHORITY},
};

static void put_error(struct buf *out, const char *text)
{
    json_member_bool(out, "ok", false);
    json_member(out, "error", text);
}

static void put_value(enum revocation_kind kind, struct bytes value, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    json_put_key(out, "value");
    if (kind == REVOKED_SUBJECT) {
        json_put_string(out, value);
        return;
    }
    buf_put_u8(out, '"');
    for (size_t i = 0; i < value.n; i++) {
        buf_put_u8(out, (uint8_t)digits[value.p[i] >> 4]);
        buf_put_u8(out, (uint8_t)digits[value.p[i] & 15]);
    }
    buf_put_u8(out, '"');
}

/* False: *why. */
static bool read_request(const struct admin *a, const struct control_request *r, bool undo,
                         struct pep_revoking *out, struct buf *room, const char **why)
{
    *out = (struct pep_revoking){.authority = r->authority,
                                 .until_s = r->until ? (int64_t)r->until : REVOKED_FOR_GOOD};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (bytes_equal_str(r->by, ways[i].by))
            out->kind = ways[i].kind;
    if (out->kind == REVOKED_NOTHING) {
        *why = "revoked by what?";
        return false;
    }
    if (!base64url_read(r->value, room)) {
        *why = "the value is too long, or not base64url";
        return false;
    }
    if (bytes_equal_str(r->by, "token"))
        out->token = buf_bytes(room);
    else
        out->value = buf_bytes(room);
    /* One that is not in force holds no rights, and is most likely a slip. */
    if (!undo && r->authority.n > 0 &&
        policy_authority_find(pep_policy(a->pep), r->authority) < 0) {
        *why = "the policy names no such authority";
        return false;
    }
    if (bytes_equal_str(r->by, "token") && out->token.n == 0) {
        *why = "the token is empty";
        return false;
    }
    return true;
}

static const char *say(enum revocation_err err)
{
    switch (err) {
    case REVOCATION_FULL:
        return "NOT revoked: there is no room for another revocation";
    case REVOCATION_NONE:
        return "no such revocation was made here";
    case REVOCATION_OK:
    case REVOCATION_BAD:
    default:
        return "not revoked: no token can have such a value";
    }
}

static void revoke(struct admin *a, const struct control_request *r, bool undo, struct instant now,
                   struct buf *out)
{
    uint8_t storage[TOKEN_MAX];
    struct buf room = buf_on(storage, sizeof storage);
    struct pep_revoking what;
    struct pep_revoked done;
    const char *why;
    if (!read_request(a, r, undo, &what, &room, &why)) {
        put_error(out, why);
        return;
    }
    enum revocation_err err =
        gate_revoke(worker_gate(workers_first(a->workers)), &what, undo, now, &done);
    if (err != REVOCATION_OK) {
        put_error(out, say(err));
        return;
    }
    enum revocation_kind kind = what.token.n > 0 ? REVOKED_HASH : what.kind;
    bool failed = !done.kept && a->config->state;
    json_member_bool(out, "ok", !failed);
    if (failed)
        json_member(out, "error",
                    undo ? "undone, but NOT on disk: it will hold again after a restart"
                         : "in force, but NOT on disk: it will be lost at a restart");
    json_member(out, "kind", revocation_kind_str(kind));
    put_value(kind, bytes_of(done.value, done.value_n), out);
    json_member_u64(out, "ended", done.ended);
    json_member_bool(out, "kept", done.kept);
    if (!undo && done.until_s != REVOKED_FOR_GOOD)
        json_member_u64(out, "until", (uint64_t)done.until_s);
}

static void put_one(const struct revocation *v, struct buf *out)
{
    char name[REVOCATION_NAME_MAX + 1] = {0};
    memcpy(name, v->authority.p, v->authority.n);
    if (out->n && out->p[out->n - 1] == '}')
        buf_put_u8(out, ',');
    buf_put_u8(out, '{');
    json_member(out, "kind", revocation_kind_str(v->kind));
    put_value(v->kind, v->value, out);
    json_member(out, "authority", v->authority.n ? name : NULL);
    json_member(out, "source",
                v->local ? (v->listed ? "operator and list" : "operator")
                         : (v->listed ? "list" : "list, before"));
    json_member_u64(out, "made", (uint64_t)v->made_s);
    if (v->until_s != REVOKED_FOR_GOOD)
        json_member_u64(out, "until", (uint64_t)v->until_s);
    buf_put_u8(out, '}');
}

static void list(const struct admin *a, uint64_t from, struct buf *out)
{
    const struct revocation *v;
    uint64_t i = from;
    json_member_bool(out, "ok", true);
    json_put_key(out, "revocations");
    buf_put_u8(out, '[');
    for (; i - from < ADMIN_REVOCATIONS_MAX &&
           (v = revocations_at(pep_revocations(a->pep), (size_t)i)) != NULL;
         i++)
        put_one(v, out);
    buf_put_u8(out, ']');
    if (revocations_at(pep_revocations(a->pep), (size_t)i))
        json_member_u64(out, "next", i);
}

bool admin_revoke_answer(struct admin *a, const struct control_request *r, struct instant now,
                         struct buf *out)
{
    if (bytes_equal_str(r->command, "revoke") || bytes_equal_str(r->command, "unrevoke"))
        revoke(a, r, bytes_equal_str(r->command, "unrevoke"), now, out);
    else if (bytes_equal_str(r->command, "revocations"))
        list(a, r->from, out);
    else
        return false;
    return true;
}
