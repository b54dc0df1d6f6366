#include "certificate.h"

#include <mbedtls/oid.h>

static void add_name(struct pep_certificate *c, const mbedtls_x509_buf *name)
{
    if (c->n_names < sizeof c->names / sizeof *c->names && name->len)
        c->names[c->n_names++] = bytes_of(name->p, name->len);
}

/* subjectAltName dNSName [2] and URI [6] (RFC 5280 4.2.1.6), else the CN. */
static void find_names(const mbedtls_x509_crt *crt, struct pep_certificate *c)
{
    enum { CONTEXT = 0x80, DNS = 2, URI = 6 };
    for (const mbedtls_x509_sequence *a = &crt->subject_alt_names; a; a = a->next)
        if (a->buf.p && (a->buf.tag == (CONTEXT | DNS) || a->buf.tag == (CONTEXT | URI)))
            add_name(c, &a->buf);
    if (c->n_names)
        return;
    for (const mbedtls_x509_name *n = &crt->subject; n; n = n->next)
        if (n->oid.p &&
            bytes_equal(bytes_of(n->oid.p, n->oid.len),
                        bytes_of(MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN))))
            add_name(c, &n->val);
}

void certificate_view(const mbedtls_x509_crt *crt, bool trusted, struct pep_certificate *out)
{
    *out = (struct pep_certificate){.trusted = trusted,
                                    .der = bytes_of(crt->raw.p, crt->raw.len),
                                    .spki = bytes_of(crt->pk_raw.p, crt->pk_raw.len)};
    find_names(crt, out);
}
