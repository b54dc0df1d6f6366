/* oneM2M tokens (TS-0003 7.3.2.6): JWTs whose content m2m_claims.h reads, as
 * the claims that all tokens have, and written. */
#ifndef POSTERN_M2M_TOKEN_H
#define POSTERN_M2M_TOKEN_H

#include "jwt.h"
#include "m2m_claims.h"

/* As jwt_read(). `sub` is the holder; a cnf (RFC 7800), which TS-0003 has not,
 * binds the token to a key besides. */
MUST_USE enum pep_err m2m_token_read(struct bytes content, const struct jwt_source *from,
                                     struct claims *out);

/* By which names the claims are written: those of JWTs, or TS-0004's own, as
 * some issuers do, which have times of another form, too. */
enum m2m_naming { M2M_JWT_NAMES = 0, M2M_OWN_NAMES = 1 };

/* Appends the content: cti, iss, sub and exp are there. `permissions` is JSON,
 * and not looked at. PEP_CONFIRMATION, PEP_TOO_LARGE. */
MUST_USE enum pep_err m2m_token_write(const struct claims *c, enum m2m_naming naming,
                                      struct buf *out);
/* As jwt_mint(). */
MUST_USE enum pep_err m2m_token_mint(const struct claims *c, enum m2m_naming naming,
                                     const struct jwt_maker *with, struct buf *out);

#endif
