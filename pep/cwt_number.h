/* Numbers of CWT claims and confirmation methods, for cwt.c and cwt_write.c. */
#ifndef POSTERN_CWT_NUMBER_H
#define POSTERN_CWT_NUMBER_H

enum claim {
    CLAIM_ISS = 1, /* RFC 8392 4 */
    CLAIM_SUB = 2,
    CLAIM_AUD = 3,
    CLAIM_EXP = 4,
    CLAIM_NBF = 5,
    CLAIM_IAT = 6,
    CLAIM_CTI = 7,
    CLAIM_CNF = 8,   /* RFC 8747 3.1 */
    CLAIM_SCOPE = 9, /* RFC 9200 8.14 */
    CLAIM_CNONCE = 39,
    CLAIM_EXI = 40,
    /* ace-07 5.7 and 8.5 name the claims cnf and scope and give them no
     * number. Figure 17 numbers the parameters of an introspection answer,
     * the CWT claims 1 to 7 among them, and goes on with these; 5.5.4.5 has
     * one cnf for token and answer. Servers of the time used them in tokens
     * too. */
    CLAIM_ACE07_SCOPE = 12,
    CLAIM_ACE07_CNF = 25,
};

enum cnf_method { /* RFC 8747 table 1; osc: RFC 9203 3.2.1 */
                  METHOD_COSE_KEY = 1,
                  METHOD_ENCRYPTED = 2,
                  METHOD_KID = 3,
                  METHOD_OSC = 4,
};

#endif
