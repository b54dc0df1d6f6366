/* A client's certificate, for those who judge it: what pep knows of it, a view
 * into the library's own. DTLS and TLS share this. */
#ifndef POSTERN_CERTIFICATE_H
#define POSTERN_CERTIFICATE_H

#include <mbedtls/x509_crt.h>

#include "../pep/pep.h"

/* `trusted`: its chain ends at the clients' CA. Good as long as `crt` is. */
void certificate_view(const mbedtls_x509_crt *crt, bool trusted, struct pep_certificate *out);

#endif
