/* The door of answers about requests: what a decision point, or an authority
 * that is asked for a permission, sends back. Of the first byte bit 0 tells
 * which, bit 1 that it has an RSC, of the rest. The next is the code. PERMIT
 * must be said in so many words, and what is given lie within the document. */
#include <stdlib.h>

#include "../../pep/decision_point.h"
#include "../../pep/dynamic.h"
#include "../../pep/m2m_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1795312800 };

static void decide(const struct pep_reply *r)
{
    const char *why = NULL;
    enum point_says says =
        point_read(r, BYTES_LIT("\"to\":\"cb/room\",\"fr\":\"Cann\",\"op\":1,\"rrt\":3"), &why);
    if (says == POINT_PERMITS &&
        (r->code >> 5 != 2 || !memmem(r->body.p, r->body.n, "auds", 4) || r->body.n < 24))
        abort();
    if (says == POINT_UNHEARD && !why)
        abort();
}

static void give(const struct pep_reply *r)
{
    struct dynamic_answer a;
    const char *why = NULL;
    bool said = dynamic_read(r, NOW, &a, &why);
    if (a.n_tokens > DYNAMIC_TOKENS_MAX || (!said && (a.doc || a.acr || a.n_tokens || !why)) ||
        ((a.acr || a.n_tokens) && !a.doc))
        abort();
    for (size_t i = 0; i < a.n_tokens; i++)
        if (a.tokens[i].n == 0 || a.tokens[i].p[a.tokens[i].n - 1] == 0)
            abort();
    const struct m2m_asked asked = {
        .operation = M2M_RETRIEVE, .type = -1, .originator = BYTES_LIT("Cann"), .now_s = NOW};
    if (a.acr)
        (void)!m2m_rules_permit(a.acr, &asked);
    dynamic_clear(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct pep_reply r = {.code = data[1],
                                .content_format = PEP_FORMAT_JSON,
                                .rsc = data[0] & 2 ? 2004 : 0,
                                .body = bytes_of(data + 2, size - 2)};
    if (data[0] & 1)
        give(&r);
    else
        decide(&r);
    return 0;
}
