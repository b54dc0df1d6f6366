/* What the files of the TLS engine share. Included by tls*.c only. */
#ifndef POSTERN_TLS_ENGINE_H
#define POSTERN_TLS_ENGINE_H

#include "dtls_engine.h"
#include "tls.h"

struct tls {
    mbedtls_ssl_config *conf; /* of one of the two below */
    bool server;
    mbedtls_ssl_config server_conf;
    struct dtls_own own;
    struct dtls_out *out;
    const char *protocols[2];
};

/* What the library calls back; in tls.c. */
int tls_on_psk(void *user, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t n);

#endif
