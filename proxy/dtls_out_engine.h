/* What TLS towards servers (tls*.c) takes of dtls_out.c: its credentials, and
 * the check of the server's name. */
#ifndef POSTERN_DTLS_OUT_ENGINE_H
#define POSTERN_DTLS_OUT_ENGINE_H

#include <mbedtls/ssl.h>

#include "dtls_out.h"

mbedtls_ssl_config *dtls_out_conf(struct dtls_out *d);
/* For mbedtls_ssl_set_hostname(): NULL when the host is an address, or when
 * the shared key is proof enough. */
const char *dtls_out_name(const struct dtls_out *d);

#endif
