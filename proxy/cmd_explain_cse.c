/* postern explain: what only a CSE is asked. */
#include "../policy/m2m_words.h"
#include "cmd_explain.h"

#include <strings.h>

int explain_read_operation(struct asking *a)
{
    const char *word = cmd_value(&a->o[O_OPERATION]), *type = cmd_value(&a->o[O_TYPE]);
    uint16_t number = 0;
    a->q.type = -1;
    if (type) {
        const char *wrong = m2m_type_parse(bytes_str(type), &number);
        if (wrong)
            return cmd_fail(a->c, CMD_USAGE, "--type '%s': %s", type, wrong);
        a->q.type = number;
    }
    for (uint8_t i = 1; word && i <= M2M_OPERATIONS; i++)
        if (strcasecmp(word, m2m_operation_str(i)) == 0)
            a->q.operation = i;
    if (word && a->q.operation == 0) {
        const char *near = cmd_nearest(word, m2m_operation_words, M2M_OPERATIONS);
        return cmd_fail(a->c, CMD_USAGE, "unknown operation '%s'; did you mean '%s'?", word,
                        near ? near : "RETRIEVE");
    }
    for (size_t i = 0; i < a->o[O_RIDS].n; i++)
        a->only[i] = bytes_str(a->o[O_RIDS].v[i]);
    a->q.only = a->only;
    a->q.n_only = a->o[O_RIDS].n;
    return CMD_OK;
}

/* As TS-0008 6.2.2.1 has it; a CREATE is known by its type. */
static uint8_t operation_of(const struct asking *a)
{
    static const uint8_t by_method[] = {M2M_NONE,   M2M_RETRIEVE, M2M_NOTIFY, M2M_UPDATE,
                                        M2M_DELETE, M2M_NONE,     M2M_NONE,   M2M_NONE};
    return a->q.method == 2 && a->q.type >= 0 ? (uint8_t)M2M_CREATE : by_method[a->q.method];
}

static uint8_t method_of(uint8_t operation)
{
    static const uint8_t by_operation[] = {0, 2, 1, 3, 4, 2, 1};
    return by_operation[operation];
}

/* What only a CSE is asked, and what the address means there (m2m_cse.h). */
int explain_ask_cse(struct asking *a, size_t strip)
{
    struct buf to = buf_on(a->to, sizeof a->to);
    const char *name = a->device >= 0 ? a->setup.config->devices[a->device].upstream.name : NULL;
    bool asked = a->o[O_OPERATION].n + a->o[O_TYPE].n + a->o[O_ORIGINATOR].n + a->o[O_RIDS].n > 0;
    if (!a->cse)
        return asked && name ? cmd_fail(a->c, CMD_USAGE,
                                        "'%s' is no CSE: it is asked by a method alone", name)
                             : CMD_OK;
    if (a->q.operation == 0)
        a->q.operation = operation_of(a);
    else if (!a->has_method)
        a->q.method = method_of(a->q.operation);
    if (a->q.operation == 0 || (a->q.operation == M2M_CREATE) != (a->q.type >= 0))
        return cmd_fail(a->c, CMD_USAGE,
                        a->q.operation
                            ? "a CREATE, and nothing else, has a --type"
                            : "a CSE is asked by GET, POST, PUT or DELETE, or an --operation");
    if (!m2m_address_read(a->cse, a->path + strip, a->q.n_path - strip, &a->address) ||
        strip + a->address.n > POLICY_PATH_SEGMENTS_MAX || !m2m_address_write(&a->address, &to))
        return cmd_fail(a->c, CMD_USAGE, "the path is no address of a CSE");
    for (size_t i = 0; i < a->address.n; i++)
        a->path[strip + i] = a->address.path[i];
    a->q.n_path = strip + a->address.n;
    a->q.named = a->address.n == 0 ? 0 : a->address.named << strip;
    a->m2m = (struct m2m_request){.operation = (enum m2m_operation)a->q.operation,
                                  .type = a->q.type,
                                  .has_originator = a->o[O_ORIGINATOR].n > 0,
                                  .originator = bytes_str(cmd_value(&a->o[O_ORIGINATOR])),
                                  .to = buf_bytes(&to)};
    return CMD_OK;
}

void explain_originator(struct asking *a)
{
    const char *names[POLICY_ROLE_IDS_MAX];
    size_t n = 0;
    struct request r = {.device = a->device, .m2m = &a->m2m};
    if (!a->cse || a->o[O_ORIGINATOR].n == 0 || a->by_token || a->claims.authority >= 0)
        return;
    a->not_from = pep_explain_originator(a->setup.pep, a->subject ? a->subject->name : NULL, &r,
                                         names, sizeof names / sizeof *names, &n, &a->rsc);
    if (a->subject)
        return;
    for (size_t i = 0; i < n; i++)
        a->roles[i] = bytes_str(names[i]);
    a->claims.n_roles = n;
}
