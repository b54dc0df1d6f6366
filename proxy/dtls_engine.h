/* What the files of the DTLS engine share: credentials and configuration,
 * the same for all sessions of a worker. Included by dtls*.c only. */
#ifndef POSTERN_DTLS_ENGINE_H
#define POSTERN_DTLS_ENGINE_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

#include "dtls.h"
#include "greeter.h"

struct dtls {
    struct dtls_ops ops;
    void *user;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt chain, client_ca;
    mbedtls_pk_context key;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    struct greeter greeter;
};

/* What the library calls back; `user` is the struct dtls. In dtls.c. */
int dtls_on_psk(void *user, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t n);
int dtls_on_cookie_write(void *user, unsigned char **p, unsigned char *end,
                         const unsigned char *client, size_t client_n);
int dtls_on_cookie_check(void *user, const unsigned char *cookie, size_t n,
                         const unsigned char *client, size_t client_n);

/* Whether a suite of ours has a psk_identity in its ClientKeyExchange. */
bool dtls_suite_uses_psk(int suite);

#endif
