/* Names of AEs and CSEs (TS-0001 table 7.2-1), which say the same in several
 * forms: an AE that registered at a CSE is "Cx" there, "/cse/Cx" within the
 * service provider's domain, "//sp/cse/Cx" anywhere; one whose ID the provider
 * gave is "Sx", "/Sx" or "//sp/Sx"; a CSE is "/cse" or "//sp/cse".
 *
 * What a relative name means depends on where it is said: the home. Forms are
 * the same only where that is known, and only for names of the forms above;
 * any other text is the same as itself alone. Pure; borrows what it is given. */
#ifndef POSTERN_M2M_NAME_H
#define POSTERN_M2M_NAME_H

#include "bytes.h"

enum m2m_name_limits { M2M_NAME_MAX = 255, M2M_NAME_FORMS = 3 };

/* The CSE that is spoken to, without slashes; empty: not known. */
struct m2m_home {
    struct bytes cse, sp;
};
struct m2m_home m2m_home_of(const char *cse_id, const char *sp_id); /* "/cse", "//sp", or NULL */

enum m2m_name_kind {
    M2M_NAME_OTHER = 0, /* of no form that oneM2M has */
    M2M_NAME_AT_CSE,    /* an AE by what its CSE called it */
    M2M_NAME_OF_SP,     /* a CSE, or an AE by what the service provider called it */
};

struct m2m_name {
    enum m2m_name_kind kind;
    bool has_sp; /* of another service provider than home's */
    struct bytes sp, cse, name;
};

void m2m_name_read(struct bytes text, const struct m2m_home *home, struct m2m_name *out);
bool m2m_name_same(const struct m2m_name *a, const struct m2m_name *b);
/* Of two texts. */
bool m2m_same(struct bytes a, struct bytes b, const struct m2m_home *home);

/* Every form that says this name, a domain in lower case; of what has none,
 * nothing. Returns how many. */
struct m2m_forms {
    size_t n;
    struct bytes form[M2M_NAME_FORMS];
    uint8_t text[M2M_NAME_FORMS][M2M_NAME_MAX];
};
void m2m_name_forms(const struct m2m_name *n, const struct m2m_home *home, struct m2m_forms *out);

/* An AE-ID-Stem: 'C' or 'S', and more. */
bool m2m_is_stem(struct bytes text);
/* Letters, digits, '.', '-', '_' and '~', at least one; not "." or "..". */
bool m2m_is_segment(struct bytes text);

bool m2m_is_domain(struct bytes text);
/* Domain names have no case (RFC 4343). */
bool m2m_same_domain(struct bytes a, struct bytes b);

/* "name@fqdn", as role IDs (TS-0003 7.1) and identifiers of keys (10.5) are. */
bool m2m_at_domain(struct bytes text, struct bytes *name, struct bytes *domain);

/* NULL, or what is wrong with a text of the policy file. */
MUST_USE const char *m2m_role_id_check(struct bytes text);
MUST_USE const char *m2m_originator_check(struct bytes text);
MUST_USE const char *m2m_cse_id_check(struct bytes text);
MUST_USE const char *m2m_may_register_check(struct bytes text);

#endif
