/* The options of the oneM2M binding (TS-0008 6.2.2.4) in both numberings: the
 * one in force, and the one before its version 3.7, which is all over the
 * field. What a message says is read out of the one and written in the other.
 * Pure.
 *
 * None of them repeats, and all are critical, whatever the bits of a legacy
 * number say: they change what is asked. So one of a wrong form, or twice, or
 * of the other numbering, refuses the message. */
#ifndef POSTERN_M2M_OPTIONS_H
#define POSTERN_M2M_OPTIONS_H

#include "msg.h"

enum m2m_numbering { M2M_CURRENT = 0, M2M_LEGACY = 1 };

enum m2m_param {
    M2M_FR = 0,
    M2M_RQI,
    M2M_OT,
    M2M_RQET,
    M2M_RSET,
    M2M_OET,
    M2M_RTURI,
    M2M_EC,
    M2M_RSC,
    M2M_GID,
    M2M_TY,
    M2M_CTO,
    M2M_CTS,
    M2M_ATI,
    M2M_RVI,
    M2M_VSI,
    M2M_GTM,
    M2M_AUS,
    M2M_ASRI,
    M2M_OMR, /* this and the next two came later: legacy has no number for them */
    M2M_PRPI,
    M2M_MSU,
    M2M_PARAMS
};

/* What the options of one message say; borrowed from it. */
struct m2m_values {
    uint32_t has; /* bit M2M_FR ... */
    struct bytes of[M2M_PARAMS];
};

static inline bool m2m_has(const struct m2m_values *v, enum m2m_param p)
{
    return v->has >> p & 1;
}

void m2m_set(struct m2m_values *v, enum m2m_param p, struct bytes value);
/* The value of an unsigned one; -1: not there. */
int64_t m2m_uint(const struct m2m_values *v, enum m2m_param p);

/* 0: it has none. */
uint16_t m2m_number(enum m2m_numbering n, enum m2m_param p);
const char *m2m_param_name(enum m2m_param p); /* "FR" */

/* Which numbering a message is in, by the numbers that only one has. */
enum m2m_seen { M2M_SEEN_NONE = 0, M2M_SEEN_CURRENT, M2M_SEEN_LEGACY, M2M_SEEN_BOTH };
enum m2m_seen m2m_recognise(const struct msg *m);

/* Takes the message apart: what its options of this numbering say, and the
 * rest of it, options and payload. False: some option is not of sound form,
 * stands twice, is of the other numbering alone, or has no meaning in a
 * request (or an answer); `out` then has what was sound. `rest` may not be
 * `in`. */
MUST_USE bool m2m_split(const struct msg *in, enum m2m_numbering n, struct m2m_values *out,
                        struct msg *rest);
/* Writes them into the message. False: one has no number there (it could not
 * be left out: it changes what is said), or too many options. */
MUST_USE bool m2m_join(const struct m2m_values *v, enum m2m_numbering n, struct msg *m);

#endif
