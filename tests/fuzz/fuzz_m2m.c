/* A message through the reader of the oneM2M binding, in either numbering.
 * What is read goes into the other numbering and comes back as it was; nothing
 * of tokens is left for the CSE; and an address that was put in its one form
 * stays that way. And a payload as a CSE's answer. */
#include <stdlib.h>

#include "../../proxy/m2m_aei.h"
#include "../../proxy/m2m_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void there_and_back(const struct m2m_values *v, enum m2m_numbering to, uint8_t code)
{
    static struct msg m, rest;
    struct m2m_values w;
    memset(&m, 0, sizeof m);
    m.code = code;
    if (!m2m_join(v, to, &m))
        return; /* there is no number for one of them */
    check(m2m_split(&m, to, &w, &rest) && w.has == v->has && rest.n_options == 0);
    for (enum m2m_param p = 0; p < M2M_PARAMS; p++)
        check(!m2m_has(v, p) || bytes_equal(v->of[p], w.of[p]));
}

static bool begins(struct bytes s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p, with, n) == 0;
}

static void address(struct m2m_read *r, const struct msg *m)
{
    static const struct m2m_cse cse = {M2M_CURRENT, "/mn-cse", "//sp.example", "cb", -1};
    struct bytes path[POLICY_PATH_SEGMENTS_MAX], once[POLICY_PATH_SEGMENTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number == OPT_URI_PATH && n < POLICY_PATH_SEGMENTS_MAX)
            path[n++] = m->options[i].value;
    if (!m2m_read_address(r, &cse, path, &n, 0))
        return;
    size_t k = n;
    uint32_t named = r->request.named;
    memcpy(once, path, n * sizeof *path);
    check(m2m_read_address(r, &cse, path, &k, 0) && k == n && named == r->request.named);
    for (size_t i = 0; i < n; i++)
        check(bytes_equal(once[i], path[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct m2m_read r;
    static struct msg m, rest;
    struct m2m_values v;
    struct m2m_fault why;
    uint8_t storage[M2M_ID_MAX];
    if (size > MESSAGE_MAX || msg_parse(bytes_of(data, size), &m) != MSG_OK)
        return 0;
    for (enum m2m_numbering n = M2M_CURRENT; n <= M2M_LEGACY; n++) {
        if (m2m_split(&m, n, &v, &rest)) {
            there_and_back(&v, M2M_CURRENT, m.code);
            there_and_back(&v, M2M_LEGACY, m.code);
        }
        if (!msg_is_request(&m) || !m2m_read(&m, M2M_CLIENT, n, 1780315200, &r, &why))
            continue;
        check(r.request.operation != M2M_NONE && r.request.rqi.n && r.request.rvi.n);
        check((r.request.type >= 0) == (r.request.operation == M2M_CREATE));
        for (size_t i = 0; i < r.plain.n_options; i++) {
            struct bytes o = r.plain.options[i].value;
            check(r.plain.options[i].number != OPT_URI_QUERY ||
                  !(begins(o, "tkns=") || begins(o, "rids=") || begins(o, "tids=") ||
                    begins(o, "ltids=") || begins(o, "tqi=")));
        }
        address(&r, &m);
    }
    int64_t format = msg_uint(&m, OPT_CONTENT_FORMAT);
    struct bytes id = m2m_aei(format, m.payload, storage);
    check(id.n <= M2M_ID_MAX);
    return 0;
}
