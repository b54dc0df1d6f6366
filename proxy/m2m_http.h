/* oneM2M for clients by CoAP, for the CSE by HTTP (TS-0008, TS-0009). What the
 * options of one binding say, header fields of the other do; operation, status
 * and type are told in the ways of each. Pure; beside http_map.h, which calls
 * it for a device that is a CSE.
 *
 * A message is in the device's numbering: between that and the client's stands
 * the gate. */
#ifndef POSTERN_M2M_HTTP_H
#define POSTERN_M2M_HTTP_H

#include "http_map.h"

/* As http_map_request(), which has prepared `out`, and http_map_answer(). */
MUST_USE uint8_t m2m_http_request(const struct http_side *s, const struct msg *m, struct bytes body,
                                  struct http_request *out, const char **why);
void m2m_http_answer(const struct http_side *s, const struct msg *asked,
                     const struct http_answer *a, struct http_reply *out);

/* An answer that is made here, in the form of the binding: status and request
 * identifier, and no payload (TS-0008 6.2.4). */
void m2m_http_error(const struct http_side *s, const struct msg *asked, uint8_t code,
                    struct http_reply *out);

/* The header field of a parameter (TS-0009 6.4), in a request or in an answer;
 * NULL: it has none there. */
const char *m2m_http_field(enum m2m_param p, bool asked);
/* Its text as the option's value, written into `to` where it is another. False:
 * it is of no sound form. */
MUST_USE bool m2m_http_read(enum m2m_param p, struct bytes text, struct buf *to,
                            struct bytes *value);
/* And back. False: no header field can hold it as it is. */
MUST_USE bool m2m_http_write(enum m2m_param p, struct bytes value, struct buf *to);

/* The code that goes with a status (TS-0008 table 6.2.4-1); `created`: the
 * answer says where what was created is. */
uint8_t m2m_http_code(uint32_t rsc, int operation, bool created);

#endif
