/* The language of the policy file: each refused text is one change of an
 * accepted one, and its complaint is compared to the letter. Then sizes: many
 * rules, long chains, names by the thousand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/path.h"
#include "../policy/policy.h"

struct row {
    const char *text; /* behind "version: 1\n", so that its first line is 2 */
    const char *want; /* "": accepted */
};

#define SCOPE   "scopes:\n  a:\n    permit:\n    - "
#define SUBJECT "subjects:\n- {name: n, certificate: c, roles: [], "
#define KEYS    "authorities:\n- name: as\n  keys: k\n"
#define M2M     "  may-grant: {}\n  dialect: onem2m\n  issuer: i\n"

static const struct row rows[] = {
    {"", ""},
    {"mode: report\nzone: Europe/Berlin\n", ""},
    {"mode: audit\n",
     "p:2:7: error: expected enforce or report, found 'audit'\nmode: audit\n      ^\n"},
    {"zone: Europe/Berlim\n",
     "p:2:7: error: no time zone 'Europe/Berlim' on this machine; names are as Europe/Berlin, and "
     "the package tzdata holds them\nzone: Europe/Berlim\n      ^\n"},
    {"role: {}\n", "p:2:1: error: unknown key 'role'; did you mean 'roles'?\nrole: {}\n^\n"},

    /* authorities */
    {KEYS "  may-grant: {}\n", ""},
    {KEYS "  may-grant: {}\n  issuer: coaps://as\n  dialect: ace-07\n  bearer: allow\n", ""},
    {KEYS, "p:3:3: error: missing key 'may-grant'\n- name: as\n  ^\n"},
    {"authorities:\n- keys: k\n  may-grant: {}\n",
     "p:3:3: error: missing key 'name'\n- keys: k\n  ^\n"},
    {"authorities:\n- name: as\n  may-grant: {}\n",
     "p:3:3: error: missing key 'keys'\n- name: as\n  ^\n"},
    {KEYS "  may-grant: {}\n- name: as\n  keys: k\n  may-grant: {}\n",
     "p:6:9: error: the name of an authority 'as' is taken already\n- name: as\n        ^\n"},
    {KEYS "  may-grant: {}\n  issuer: i\n- name: b\n  keys: k\n  may-grant: {}\n  issuer: i\n"
          "  dialect: oauth\n",
     ""},
    {KEYS "  may-grant: {}\n  issuer: i\n- name: b\n  keys: k\n  may-grant: {}\n  issuer: i\n",
     "p:10:11: error: issuer 'i' is authority 'as' already, in this dialect\n  issuer: i\n"
     "          ^\n"},
    {KEYS M2M, ""},
    {KEYS "  may-grant: {}\n  dialect: onem2m\n",
     "p:3:3: error: an authority of the dialect onem2m needs its 'issuer'\n- name: as\n  ^\n"},
    {KEYS M2M "  classes: [jws, nested]\n  algorithms: [ES256, A128KW, A256GCM]\n", ""},
    {KEYS M2M "  classes: nested\n  bearer: allow\n", ""},
    {KEYS M2M "  classes: [jws, jwk]\n",
     "p:8:18: error: expected jws, jwe or nested, found 'jwk'\n  classes: [jws, jwk]\n"
     "                 ^\n"},
    {KEYS M2M "  classes: [jws, jws]\n",
     "p:8:18: error: 'jws' is named twice\n  classes: [jws, jws]\n                 ^\n"},
    {KEYS M2M "  classes: []\n",
     "p:8:12: error: without a class no token of this authority could count\n  classes: []\n"
     "           ^\n"},
    {KEYS "  may-grant: {}\n  classes: [jws]\n",
     "p:6:12: error: 'classes' are for the dialect onem2m\n  classes: [jws]\n           ^\n"},
    {KEYS M2M "  algorithms: {jws: [ES256], jwe: A256GCM, nested: [ES256, A256GCM]}\n", ""},
    {KEYS M2M "  classes: jws\n  algorithms: {jws: [ES256]}\n", ""},
    {KEYS M2M "  classes: jws\n  algorithms: {jws: [ES256], jwe: [A256GCM]}\n",
     "p:9:35: error: 'jwe' is not among this authority's classes\n"
     "  algorithms: {jws: [ES256], jwe: [A256GCM]}\n                                  ^\n"},
    {KEYS M2M "  classes: [jws, jwe]\n  algorithms: {jws: [ES256]}\n",
     "p:9:15: error: which algorithms are for class 'jwe'? leave it out of 'classes' if none is\n"
     "  algorithms: {jws: [ES256]}\n              ^\n"},
    {KEYS M2M "  algorithms: {jwt: [ES256], jws: ES256, jwe: A256GCM, nested: ES256}\n",
     "p:8:16: error: unknown key 'jwt'; did you mean 'jws'?\n"
     "  algorithms: {jwt: [ES256], jws: ES256, jwe: A256GCM, nested: ES256}\n"
     "               ^\n"},
    {KEYS "  may-grant: {}\n  algorithms: {jws: [ES256]}\n",
     "p:6:15: error: expected text, found a mapping\n  algorithms: {jws: [ES256]}\n              "
     "^\n"},
    {KEYS M2M "  cnonce: required\n",
     "p:8:11: error: 'cnonce' is not for the dialect onem2m\n  cnonce: required\n"
     "          ^\n"},
    {KEYS M2M "  introspect: {url: https://as.example/i}\n",
     "p:8:15: error: 'introspect' is not for the dialect onem2m\n"
     "  introspect: {url: https://as.example/i}\n              ^\n"},
    {KEYS "  dialect: onem2m\n  issuer: i\n"
          "  may-grant: {resources: [{path: /a, operations: RETRIEVE}]}\n",
     ""},
    {KEYS "  dialect: onem2m\n  issuer: i\n"
          "  may-grant: {resources: [{path: /a, methods: GET}]}\n",
     "p:7:27: error: tokens of the dialect onem2m permit operations, so this needs 'operations'\n"
     "  may-grant: {resources: [{path: /a, methods: GET}]}\n                          ^\n"},
    {KEYS "  dialect: onem2m\n  issuer: i\n  may-grant: {scopes: b}\nscopes: {b: {permit: []}}\n",
     "p:7:23: error: oneM2M tokens name roles and resources, no scopes\n"
     "  may-grant: {scopes: b}\n                      ^\n"},
    {KEYS "  may-grant: {}\n  dialect: rfc9201\n",
     "p:6:12: error: expected rfc9200, ace-07, oauth or onem2m, found 'rfc9201'\n  dialect: "
     "rfc9201\n"
     "           ^\n"},
    {KEYS "  may-grant: {}\n  algorithms: [ES256, HMAC 256/256]\n", ""},
    {KEYS "  may-grant: {}\n  algorithms: ES256\n", ""},
    {KEYS "  may-grant: {}\n  algorithms: []\n",
     "p:6:15: error: without an algorithm no token of this authority could count\n"
     "  algorithms: []\n              ^\n"},
    {KEYS "  may-grant: {}\n  algorithms: [ES256, ES256]\n",
     "p:6:23: error: 'ES256' is named twice\n  algorithms: [ES256, ES256]\n"
     "                      ^\n"},
    {KEYS "  may-grant: {}\n  bearer: yes\n",
     "p:6:11: error: expected deny or allow, found 'yes'\n  bearer: yes\n          ^\n"},
    {KEYS "  may-grant: {}\n  introspect: {url: x}\n",
     "p:6:21: error: expected a URI such as coap://192.0.2.10\n  introspect: {url: x}\n"
     "                    ^\n"},
    {KEYS "  may-grant: {}\n  revocation-list: {url: x}\n",
     "p:6:26: error: expected a URI such as coap://192.0.2.10\n"
     "  revocation-list: {url: x}\n"
     "                         ^\n"},
    {KEYS "  may-grant: {roles: [a], scopes: b}\nroles: {a: {}}\nscopes: {b: {permit: []}}\n", ""},
    {KEYS "  may-grant: {roles: [b], scopes: b}\nroles: {a: {}}\nscopes: {b: {permit: []}}\n",
     "p:5:23: error: there is no role 'b'\n  may-grant: {roles: [b], scopes: b}\n"
     "                      ^\n"},
    {KEYS "  may-grant: {roles: [guets]}\nroles: {guest: {}}\n",
     "p:5:23: error: there is no role 'guets'; did you mean 'guest'?\n"
     "  may-grant: {roles: [guets]}\n                      ^\n"},
    {KEYS "  may-grant: {roles: [a, a]}\nroles: {a: {}}\n",
     "p:5:26: error: 'a' is named twice\n  may-grant: {roles: [a, a]}\n"
     "                         ^\n"},
    {KEYS "  may-grant: {resources: [{path: /a/**, methods: [GET]}]}\n", ""},
    {KEYS "  may-grant: {resources: [{path: /a/**, methods: [GET], when: {}}]}\n",
     "p:5:57: error: unknown key 'when'\n"
     "  may-grant: {resources: [{path: /a/**, methods: [GET], when: {}}]}\n"
     "                                                        ^\n"},

    /* roles and scopes */
    {"roles:\n  a: {includes: [b]}\n  b: {}\n", ""},
    {"roles:\n  a: {includes: [b]}\n  b: {includes: a}\n",
     "p:4:6: error: role 'b' includes 'a', which includes it in turn\n  b: {includes: a}\n"
     "     ^\n"},
    {"roles:\n  a: {includes: [a]}\n",
     "p:3:6: error: role 'a' includes 'a', which includes it in turn\n  a: {includes: [a]}\n"
     "     ^\n"},
    {"roles:\n  a: {includes: [b]}\nscopes:\n  b: {permit: []}\n",
     "p:3:18: error: there is no role 'b'\n  a: {includes: [b]}\n                 ^\n"},
    {"roles:\n  a: {}\nscopes:\n  a: {permit: []}\n",
     "p:5:3: error: 'a' is a role already, on line 3; a word of a token could mean either\n"
     "  a: {permit: []}\n  ^\n"},
    {"roles:\n  a: {}\n  a: {}\n",
     "p:4:3: error: duplicate key 'a'; it is already on line 3\n  a: {}\n  ^\n"},
    {"roles:\n  \"a b\": {}\n",
     "p:3:4: error: a name of a role has 1 to 128 printable ASCII characters, without spaces, "
     "quotes and backslashes\n  \"a b\": {}\n   ^\n"},
    {"roles:\n  a:\n",
     "p:3:3: error: expected a mapping of keys to values, found nothing\n  a:\n  ^\n"},
    {"scopes:\n  a: {}\n", "p:3:6: error: missing key 'permit'\n  a: {}\n     ^\n"},
    {"scopes:\n  a: {permit: [], includes: []}\n",
     "p:3:19: error: unknown key 'includes'\n  a: {permit: [], includes: []}\n"
     "                  ^\n"},

    /* subjects */
    {"subjects:\n- {name: n, psk-identity: i, key-file: f, roles: []}\n", ""},
    {"subjects:\n- {name: n, certificate: i, roles: []}\n", ""},
    {"subjects:\n- {name: n, roles: []}\n",
     "p:3:3: error: a subject needs psk-identity and key-file, or certificate\n"
     "- {name: n, roles: []}\n  ^\n"},
    {"subjects:\n- {name: n, psk-identity: i, roles: []}\n",
     "p:3:27: error: psk-identity needs a key-file\n- {name: n, psk-identity: i, roles: []}\n"
     "                          ^\n"},
    {"subjects:\n- {name: n, certificate: i, key-file: f, roles: []}\n",
     "p:3:39: error: key-file needs a psk-identity\n"
     "- {name: n, certificate: i, key-file: f, roles: []}\n"
     "                                      ^\n"},
    {"subjects:\n- {name: n, psk-identity: i, key-file: f, certificate: c, roles: []}\n",
     "p:3:56: error: a subject has psk-identity or certificate, not both\n"
     "- {name: n, psk-identity: i, key-file: f, certificate: c, roles: []}\n"
     "                                                       ^\n"},
    {"subjects:\n- {name: n, certificate: i}\n",
     "p:3:3: error: missing key 'roles'\n- {name: n, certificate: i}\n  ^\n"},
    {"subjects:\n- {name: n, certificate: i, roles: []}\n- {name: m, certificate: i, roles: []}\n",
     "p:4:26: error: certificate 'i' is taken already\n- {name: m, certificate: i, roles: []}\n"
     "                         ^\n"},

    /* rules */
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: [GET, iPATCH]}\n", ""},
    {"scopes:\n  a:\n    permit:\n    - {path: a, methods: [GET]}\n",
     "p:5:14: error: a path begins with '/'\n    - {path: a, methods: [GET]}\n             ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: [GET, ipatch]}\n",
     "p:5:33: error: expected GET, POST, PUT, DELETE, FETCH, PATCH or iPATCH, found 'ipatch'\n"
     "    - {path: /a, methods: [GET, ipatch]}\n                                ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: [GET, GET]}\n",
     "p:5:33: error: GET is named twice\n    - {path: /a, methods: [GET, GET]}\n"
     "                                ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: []}\n",
     "p:5:27: error: no methods; a rule without any does nothing\n    - {path: /a, methods: []}\n"
     "                          ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a}\n",
     "p:5:7: error: missing key 'methods', or 'operations' for a CSE\n    - {path: /a}\n      ^\n"},
    /* of a CSE */
    {SCOPE "{path: /a, operations: [RETRIEVE]}\n", ""},
    {SCOPE "{path: /a, operations: RETRIEVE, methods: GET}\n", ""},
    {SCOPE "{path: /a, operations: [RETRIEVE, READ]}\n",
     "p:5:41: error: expected CREATE, RETRIEVE, UPDATE, DELETE, NOTIFY or DISCOVERY, found "
     "'READ'\n    - {path: /a, operations: [RETRIEVE, READ]}\n"
     "                                        ^\n"},
    {SCOPE "{path: /a, operations: [RETRIEVE, RETRIEVE]}\n",
     "p:5:41: error: RETRIEVE is named twice\n    - {path: /a, operations: [RETRIEVE, RETRIEVE]}\n"
     "                                        ^\n"},
    {SCOPE "{path: /a, operations: []}\n",
     "p:5:30: error: no operations; a rule without any does nothing\n"
     "    - {path: /a, operations: []}\n                             ^\n"},
    {SCOPE "{path: /a, operations: [CREATE, RETRIEVE], types: [AE, container, 28, 65535]}\n", ""},
    {SCOPE "{path: /a, operations: CREATE, types: AE}\n", ""},
    {SCOPE "{path: /a, operations: RETRIEVE, types: AE}\n",
     "p:5:47: error: types are of what is created; the rule has no CREATE among its operations\n"
     "    - {path: /a, operations: RETRIEVE, types: AE}\n"
     "                                              ^\n"},
    {SCOPE "{path: /a, methods: POST, types: AE}\n",
     "p:5:40: error: types are of what is created; the rule has no CREATE among its operations\n"
     "    - {path: /a, methods: POST, types: AE}\n"
     "                                       ^\n"},
    {SCOPE "{path: /a, operations: CREATE, types: []}\n",
     "p:5:45: error: no types; a rule without any creates nothing\n"
     "    - {path: /a, operations: CREATE, types: []}\n"
     "                                            ^\n"},
    {SCOPE "{path: /a, operations: CREATE, types: [AE, 2]}\n",
     "p:5:50: error: named twice\n    - {path: /a, operations: CREATE, types: [AE, 2]}\n"
     "                                                 ^\n"},
    {SCOPE "{path: /a, operations: CREATE, types: contentInstances}\n",
     "p:5:45: error: no resource type of this name (TS-0004 6.3.4.2.1); did you mean "
     "'contentInstance'?\n    - {path: /a, operations: CREATE, types: contentInstances}\n"
     "                                            ^\n"},
    {SCOPE "{path: /a, operations: CREATE, types: 65536}\n",
     "p:5:45: error: a resource type is a number from 1 to 65535\n"
     "    - {path: /a, operations: CREATE, types: 65536}\n"
     "                                            ^\n"},
    {"forbid:\n- {path: /a, operations: CREATE, types: AE}\n", ""},
    {KEYS "  may-grant: {resources: [{path: /a, operations: CREATE, types: AE}]}\n", ""},

    /* roles by their IDs */
    {"roles:\n  a: {role-id: reader@sp.example}\n  b: {includes: reader@sp.example}\n", ""},
    {"roles:\n  reader@sp.example: {}\n  b: {includes: reader@sp.example}\n", ""},
    {"roles:\n  a: {role-id: reader}\n",
     "p:3:16: error: expected a role ID such as reader@sp.example\n  a: {role-id: reader}\n"
     "               ^\n"},
    {"roles:\n  a: {role-id: r@sp@sp}\n",
     "p:3:16: error: expected a role ID such as reader@sp.example\n  a: {role-id: r@sp@sp}\n"
     "               ^\n"},
    {"roles:\n  a: {role-id: r@sp}\n  b: {role-id: r@sp}\n",
     "p:4:16: error: role ID 'r@sp' is taken already\n  b: {role-id: r@sp}\n"
     "               ^\n"},
    {"roles:\n  a: {role-id: r@sp}\n  r@sp: {}\n",
     "p:3:16: error: 'r@sp' is the name of a role already, on line 4\n  a: {role-id: r@sp}\n"
     "               ^\n"},
    {"roles:\n  a@sp: {role-id: r@sp}\n",
     "p:3:19: error: 'a@sp' is a role ID itself; a role has one\n  a@sp: {role-id: r@sp}\n"
     "                  ^\n"},
    {"scopes:\n  a: {role-id: r@sp, permit: []}\n",
     "p:3:7: error: unknown key 'role-id'\n  a: {role-id: r@sp, permit: []}\n      ^\n"},

    /* originators */
    {SUBJECT "originator: Cmeter}\n", ""},
    {SUBJECT "originators: [Cmeter, /mn/Cm, //SP.example/mn/Cm, Sm, /Sn, //sp.example/Sn, "
             "admin]}\n",
     ""},
    {SUBJECT "originators: Cmeter}\n", ""},
    {SUBJECT "originator: [Cmeter]}\n",
     "p:3:52: error: 'originator' is one; several are 'originators'\n"
     "- {name: n, certificate: c, roles: [], originator: [Cmeter]}\n"
     "                                                   ^\n"},
    {SUBJECT "originator: Cx, originators: [Cy]}\n",
     "p:3:69: error: 'originator' and 'originators' are the same; give one of them\n"
     " n, certificate: c, roles: [], originator: Cx, originators: [Cy]}\n"
     "                                                            ^\n"},
    {SUBJECT "originators: [Cx, Cx]}\n",
     "p:3:58: error: 'Cx' is named twice\n"
     "- {name: n, certificate: c, roles: [], originators: [Cx, Cx]}\n"
     "                                                         ^\n"},
    {SUBJECT "originators: []}\n",
     "p:3:53: error: no originators; leave the key away if there are none\n"
     "- {name: n, certificate: c, roles: [], originators: []}\n"
     "                                                    ^\n"},
    {SUBJECT "originator: C}\n",
     "p:3:52: error: this asks for an AE-ID to be given: say it in may-register\n"
     "- {name: n, certificate: c, roles: [], originator: C}\n"
     "                                                   ^\n"},
    {SUBJECT "originator: C*}\n",
     "p:3:52: error: an originator is one AE-ID; '*' is for may-register\n"
     "- {name: n, certificate: c, roles: [], originator: C*}\n"
     "                                                   ^\n"},
    {SUBJECT "originator: /mn-cse}\n",
     "p:3:52: error: this is a CSE-ID: say it in cse\n"
     "- {name: n, certificate: c, roles: [], originator: /mn-cse}\n"
     "                                                   ^\n"},
    {SUBJECT "originator: \"C x\"}\n",
     "p:3:53: error: an originator has 1 to 255 printable ASCII characters, without spaces\n"
     "- {name: n, certificate: c, roles: [], originator: \"C x\"}\n"
     "                                                    ^\n"},
    {SUBJECT "cse: /mn-cse}\n", ""},
    {SUBJECT "cse: //sp.example/mn-cse}\n", ""},
    {SUBJECT "cse: mn-cse}\n",
     "p:3:45: error: expected a CSE-ID such as /mn-cse or //sp.example/mn-cse\n"
     "- {name: n, certificate: c, roles: [], cse: mn-cse}\n"
     "                                            ^\n"},
    {SUBJECT "cse: /mn-cse, originator: Cx}\n",
     "p:3:45: error: a subject is a CSE, or speaks for AEs: 'cse' excludes 'originator'\n"
     "- {name: n, certificate: c, roles: [], cse: /mn-cse, originator: Cx}\n"
     "                                            ^\n"},
    {SUBJECT "cse: /mn-cse, may-register: S}\n",
     "p:3:68: error: a CSE registers no AEs at another CSE: 'cse' excludes this\n"
     ": n, certificate: c, roles: [], cse: /mn-cse, may-register: S}\n"
     "                                                            ^\n"},
    {SUBJECT "may-register: [S, C, Cmeter, \"Chome-*\"]}\n", ""},
    {SUBJECT "may-register: [/mn/Cx]}\n",
     "p:3:55: error: expected S, C, or an AE-ID-Stem such as Cmeter, in which * stands for any "
     "characters\n- {name: n, certificate: c, roles: [], may-register: [/mn/Cx]}\n"
     "                                                      ^\n"},
    {SUBJECT "originator: Cx}\n- {name: m, certificate: d, roles: [], originator: Cy}\n", ""},
    {SUBJECT "originator: Cx}\n- {name: m, certificate: d, roles: [], originator: Cx}\n",
     "p:4:3: error: originator 'Cx' is that of subject 'n' on line 3 already\n"
     "- {name: m, certificate: d, roles: [], originator: Cx}\n  ^\n"},
    {SUBJECT "originator: //sp/Sx}\n- {name: m, certificate: d, roles: [], originator: "
             "//SP/Sx}\n",
     "p:4:3: error: originator '//sp/Sx' is that of subject 'n' on line 3 already\n"
     "- {name: m, certificate: d, roles: [], originator: //SP/Sx}\n  ^\n"},
    /* of a credential that nobody wrote it is no mistake */
    {SUBJECT "originator: //sp/Sx}\n- {name: m, certificate: //SP/Sx, roles: []}\n", ""},
    {SUBJECT "cse: /a}\n- {name: m, certificate: d, roles: [], cse: /a}\n",
     "p:4:3: error: CSE-ID '/a' is that of subject 'n' on line 3 already\n"
     "- {name: m, certificate: d, roles: [], cse: /a}\n  ^\n"},

    /* without an association */
    {"roles: {r: {}}\nmca-without-association:\n"
     "- {originators: [Cx, Sy], operations: RETRIEVE, roles: [r]}\n",
     ""},
    {"roles: {r: {}}\nmca-without-association:\n"
     "- {originators: [Cx, Sy], operations: RETRIEVE}\n",
     "p:4:3: error: missing key 'roles'\n- {originators: [Cx, Sy], operations: RETRIEVE}\n  ^\n"},
    {"roles: {r: {}}\nmca-without-association:\n"
     "- {originators: [/mn], operations: RETRIEVE, roles: [r]}\n",
     "p:4:18: error: only AEs may come without an association, never a CSE (TS-0003 6.1.2.2.1)\n"
     "- {originators: [/mn], operations: RETRIEVE, roles: [r]}\n                 ^\n"},
    {"roles: {r: {}}\nmca-without-association:\n"
     "- {originators: Cx, operations: RETRIEVE, roles: [r]}\n" SUBJECT "originator: Cx}\n",
     "p:4:17: error: 'Cx' is subject 'n', which has a credential to show\n"
     "- {originators: Cx, operations: RETRIEVE, roles: [r]}\n                ^\n"},

    {"scopes:\n  a:\n    rate: 1000000/s\n    permit:\n    - {path: /a, methods: GET, rate: "
     "5/min}\n",
     ""},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, rate: 5/minute}\n",
     "p:5:38: error: expected a rate such as 10/min; the units are s, min, h and day\n"
     "    - {path: /a, methods: GET, rate: 5/minute}\n                                     ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, rate: 0/min}\n",
     "p:5:38: error: a rate of nothing; leave the permit away to permit nothing\n"
     "    - {path: /a, methods: GET, rate: 0/min}\n                                     ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, max-payload: 0, formats: 60}\n",
     ""},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, max-payload: -1}\n",
     "p:5:45: error: -1 is out of range; expected 0 to 4294967295\n"
     "    - {path: /a, methods: GET, max-payload: -1}\n"
     "                                            ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, formats: [60, "
     "application/json]}\n",
     ""},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, formats: [60, application/jsn]}\n",
     "p:5:46: error: no content-format of that name is known here; its number will do\n"
     "    - {path: /a, methods: GET, formats: [60, application/jsn]}\n"
     "                                             ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, formats: [50, "
     "application/json]}\n",
     "p:5:46: error: named twice\n"
     "    - {path: /a, methods: GET, formats: [50, application/json]}\n"
     "                                             ^\n"},
    {"forbid:\n- {path: /a, methods: GET, rate: 5/min}\n",
     "p:3:28: error: unknown key 'rate'\n- {path: /a, methods: GET, rate: 5/min}\n"
     "                           ^\n"},
    {"roles:\n  a: {rate: 1/s, includes: [b]}\n  b: {rate: 1/s, includes: [c]}\n"
     "  c: {rate: 1/s, includes: [d]}\n  d: {rate: 1/s, includes: [e]}\n  e: {}\n",
     ""},
    {"roles:\n  a: {rate: 1/s, includes: [b]}\n  b: {rate: 1/s, includes: [c]}\n"
     "  c: {rate: 1/s, includes: [d]}\n  d: {rate: 1/s, includes: [e]}\n  e: {rate: 1/s}\n",
     "p:3:6: error: role 'a' includes roles with a rate more than 4 deep\n"
     "  a: {rate: 1/s, includes: [b]}\n     ^\n"},
    {"subjects:\n- {name: n, certificate: i, roles: [], rate: 10/h}\n", ""},
    {"subjects:\n- {name: n, certificate: i, roles: [], rate: ten}\n",
     "p:3:46: error: expected a rate such as 10/min; the units are s, min, h and day\n"
     "- {name: n, certificate: i, roles: [], rate: ten}\n"
     "                                             ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, types: [ae]}\n",
     "p:5:39: error: types are of what is created; the rule has no CREATE among its operations\n"
     "    - {path: /a, methods: GET, types: [ae]}\n"
     "                                      ^\n"
     "p:5:40: error: no resource type of this name (TS-0004 6.3.4.2.1)\n"
     "    - {path: /a, methods: GET, types: [ae]}\n"
     "                                       ^\n"},
    {"scopes:\n  a:\n    permit:\n    - {path: /a, methods: GET, unless-role: r}\n",
     "p:5:32: error: unknown key 'unless-role'\n    - {path: /a, methods: GET, unless-role: r}\n"
     "                               ^\n"},
    {"forbid:\n- {path: /a, methods: GET, unless-role: r}\nroles: {r: {}}\n", ""},
    {"forbid:\n- {path: /a, methods: GET, unless-role: s}\nroles: {r: {}}\n",
     "p:3:41: error: there is no role 's'\n- {path: /a, methods: GET, unless-role: s}\n"
     "                                        ^\n"},

    /* when */
    {"forbid:\n- {path: /a, methods: GET, when: {hours: \"07:00-23:00\", zone: UTC}}\n", ""},
    {"forbid:\n- {path: /a, methods: GET, when: {days: [mon, wed-fri], zone: Asia/Tokyo}}\n", ""},
    {"forbid:\n- {path: /a, methods: GET, when: {association: psk, network: 10.0.0.0/8}}\n", ""},
    {"forbid:\n- {path: /a, methods: GET, when: {networks: [10.0.0.0/8, \"::/0\"]}}\n", ""},
    {"forbid:\n- {path: /a, methods: GET, when: {}}\n",
     "p:3:34: error: no condition; leave 'when' away if there is none\n"
     "- {path: /a, methods: GET, when: {}}\n                                 ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {association: psk, zone: UTC}}\n",
     "p:3:59: error: a zone without hours, days or dates does nothing\n"
     "- {path: /a, methods: GET, when: {association: psk, zone: UTC}}\n"
     "                                                          ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {hours: 7-23}}\n",
     "p:3:42: error: expected hours as \"07:00-23:00\"\n"
     "- {path: /a, methods: GET, when: {hours: 7-23}}\n"
     "                                         ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {hours: [7]}}\n",
     "p:3:42: error: expected hours as \"07:00-23:00\"\n"
     "- {path: /a, methods: GET, when: {hours: [7]}}\n"
     "                                         ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {days: [mon, tues]}}\n",
     "p:3:47: error: expected days as mon, tue, wed, thu, fri, sat, sun, or mon-fri\n"
     "- {path: /a, methods: GET, when: {days: [mon, tues]}}\n"
     "                                              ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {days: []}}\n",
     "p:3:41: error: no days; a rule without any never holds\n"
     "- {path: /a, methods: GET, when: {days: []}}\n                                        ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {dates: 2026-02-30}}\n",
     "p:3:42: error: expected dates as 2026-06-01..2026-08-31\n"
     "- {path: /a, methods: GET, when: {dates: 2026-02-30}}\n"
     "                                         ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {network: 10.0.0.1/8}}\n",
     "p:3:44: error: bits are set behind the prefix\n"
     "- {path: /a, methods: GET, when: {network: 10.0.0.1/8}}\n"
     "                                           ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {network: [], networks: []}}\n",
     "p:3:58: error: 'network' and 'networks' are the same; give one of them\n"
     "- {path: /a, methods: GET, when: {network: [], networks: []}}\n"
     "                                                         ^\n"
     "p:3:44: error: no networks; a rule without any never holds\n"
     "- {path: /a, methods: GET, when: {network: [], networks: []}}\n"
     "                                           ^\n"},
    {"forbid:\n- {path: /a, methods: GET, when: {association: rpk}}\n",
     "p:3:48: error: expected bearer, psk or certificate, found 'rpk'\n"
     "- {path: /a, methods: GET, when: {association: rpk}}\n"
     "                                               ^\n"},
};

static struct policy *load(const char *text, size_t n, char *diag, size_t cap)
{
    struct buf b = buf_on(diag, cap - 1);
    struct policy *p = policy_load("p", bytes_of(text, n), "0", &b);
    diag[b.n] = 0;
    return p;
}

static void diagnostics(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1024], diag[4096];
        int n = snprintf(text, sizeof text, "version: 1\n%s", rows[i].text);
        struct policy *p = load(text, (size_t)n, diag, sizeof diag);
        if (!p != (rows[i].want[0] != 0) || strcmp(diag, rows[i].want) != 0)
            fail_msg("text:\n%s\ngot:\n%s\nwanted:\n%s", text, diag, rows[i].want);
        policy_unref(p);
    }
}

static void versions(void **state)
{
    (void)state;
    static const struct row heads[] = {
        {"version: 1\n", ""},
        {"version: 2\n", "p:1:10: error: version 2 is not supported by this version, which reads "
                         "1\nversion: 2\n         ^\n"},
        {"version: \"1\"\n", "p:1:11: error: expected a decimal number, found '1' in quotes\n"
                             "version: \"1\"\n          ^\n"},
        {"mode: enforce\n", "p:1:1: error: missing key 'version'\nmode: enforce\n^\n"},
        {"[]\n", "p:1:1: error: expected a mapping of keys to values, found a list\n[]\n^\n"},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char diag[512];
        struct policy *p = load(heads[i].text, strlen(heads[i].text), diag, sizeof diag);
        assert_string_equal(diag, heads[i].want);
        policy_unref(p);
    }
}

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n; /* segments, -1: refused */
        bool rest;
    } each[] = {
        {"/", 0, false},
        {"/a", 1, false},
        {"/a/", 2, false},
        {"/a//", -1, false},
        {"//", -1, false},
        {"//a", -1, false},
        {"", -1, false},
        {"a", -1, false},
        {"/*", 1, false},
        {"/**", 0, true},
        {"/a/**", 1, true},
        {"/**/a", -1, false},
        {"/a/**/", -1, false},
        {"/***", -1, false},
        {"/a*", -1, false},
        {"/*a", -1, false},
        {"/.", -1, false},
        {"/..", -1, false},
        {"/a/./b", -1, false},
        {"/...", 1, false},
        {"/a b/%20", 2, false},
        {"/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2", 32, false},
        {"/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/**", 32, true},
        {"/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3", -1, false},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct pattern p;
        const char *wrong = pattern_parse(bytes_str(each[i].text), &p);
        if (!wrong != (each[i].n >= 0) ||
            (!wrong && ((int)p.n != each[i].n || p.rest != each[i].rest)))
            fail_msg("%s: got %s, %zu", each[i].text, wrong ? wrong : "good", p.n);
    }
    struct pattern p;
    assert_non_null(pattern_parse(BYTES_LIT("/a\0b"), &p));
}

/* Paths of AIF entries. */
static void uris(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* segments behind '|', query behind '?'; NULL: refused */
    } each[] = {
        {"/", ""},
        {"/s/temp", "|s|temp"},
        {"/s/temp?q=1", "|s|temp?q=1"},
        {"/?q", "?q"},
        {"/a/", "|a|"},
        {"/a%20b", "|a b"},
        {"/a?b/c?d", "|a?b/c?d"},
        {"", NULL},
        {"s/temp", NULL},
        {"?q", NULL},
        {"//", NULL},
        {"/a//b", NULL},
        {"/a?", NULL},
        {"/a#f", NULL},
        {"/a?b#f", NULL},
        {"/a%2", NULL},
        {"/a%zz", NULL},
        {"/a%2fb", NULL},
        {"/a%00b", NULL},
        {"/%2e%2e/a", NULL},
        {"/a/./b", NULL},
        {"/a?b%26c", NULL},
        {"/a?b%25c", NULL},
        {"/a?b%00c", NULL},
        {"coap://h/a", NULL},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        uint8_t storage[64];
        char got[96];
        struct bytes seg[POLICY_PATH_SEGMENTS_MAX], query;
        size_t n;
        bool good = path_parse_uri(bytes_str(each[i].text), storage, seg, &n, &query);
        struct buf b = buf_on(got, sizeof got - 1);
        for (size_t k = 0; good && k < n; k++) {
            buf_put_u8(&b, '|');
            buf_put(&b, seg[k]);
        }
        if (good && query.n) {
            buf_put_u8(&b, '?');
            buf_put(&b, query);
        }
        got[b.n] = 0;
        if (good != !!each[i].want || (good && strcmp(got, each[i].want) != 0))
            fail_msg("%s: got %s", each[i].text, good ? got : "refused");
    }
}

/* Cut anywhere and spoilt anywhere: a policy or a complaint, never a crash. */
static void spoilt(void **state)
{
    (void)state;
    static const char text[] =
        "version: 1\nmode: report\nauthorities:\n- {name: as, keys: k, may-grant: {roles: [a], "
        "resources: [{path: /a/**, methods: [GET]}]}}\nroles:\n  a: {includes: [b], permit: "
        "[{path: "
        "/x/*/y, methods: PUT, when: {hours: \"22:00-06:00\", zone: UTC, networks: "
        "[10.0.0.0/8]}}]}\n"
        "  b: {}\nsubjects:\n- {name: n, psk-identity: i, key-file: f, roles: [b]}\nforbid:\n- "
        "{path: "
        "/**, methods: [PUT], unless-role: a}\n";
    char diag[2048];
    struct policy *p = load(text, sizeof text - 1, diag, sizeof diag);
    assert_non_null(p);
    policy_unref(p);
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        p = load(copy, n, diag, sizeof diag);
        assert_true(p ? diag[0] == 0 : diag[0] != 0);
        policy_unref(p);
        for (int k = 0; k < 4 && n; k++) {
            copy[(n * 7 + (size_t)k * 13) % n] ^= (char)(1 << (n + (size_t)k) % 8);
            p = load(copy, n, diag, sizeof diag);
            assert_true(p ? diag[0] == 0 : diag[0] != 0);
            policy_unref(p);
        }
        free(copy);
    }
}

/* ---- sizes ---- */

static struct policy *large(const char *head, const char *each, const char *tail, unsigned n)
{
    size_t cap = strlen(head) + strlen(tail) + n * (strlen(each) + 32) + 1, at = 0;
    char *text = malloc(cap), diag[2048];
    assert_non_null(text);
    at += (size_t)snprintf(text, cap, "%s", head);
    for (unsigned i = 0; i < n; i++)
        for (const char *c = each; *c; c++) { /* % is the number, ^ the one before */
            if (*c == '%' || *c == '^')
                at += (size_t)snprintf(text + at, cap - at, "%u", *c == '%' ? i : i ? i - 1 : n);
            else
                text[at++] = *c;
        }
    at += (size_t)snprintf(text + at, cap - at, "%s", tail);
    struct policy *p = load(text, at, diag, sizeof diag);
    if (!p)
        print_error("%s", diag);
    assert_non_null(p);
    free(text);
    return p;
}

static enum policy_reason ask(struct policy *p, const char *role, const struct bytes *seg, size_t n,
                              uint8_t method)
{
    struct bytes word = bytes_str(role);
    struct policy_claims c = {.authority = -1, .roles = &word, .n_roles = 1};
    struct policy_grant *g = policy_grant_new(p, &c, NULL);
    assert_non_null(g);
    struct policy_holding h = {.grant = g, .covers = true, .strength = POLICY_STRENGTH_PSK};
    struct policy_question q = {
        .method = method, .path = seg, .n_path = n, .held = &h, .n_held = 1};
    struct policy_decision d;
    policy_decide(p, &q, &d);
    policy_grant_free(g);
    return d.reason;
}

enum { MANY = 20000 }; /* under sanitizers; the bench has 100,000 */

static void many_children(void **state)
{
    (void)state;
    struct policy *p = large("version: 1\nroles:\n  r:\n    permit:\n",
                             "    - {path: /dev/d%/state-of-it, methods: GET}\n", "", MANY);
    for (unsigned i = 0; i < MANY + 100; i += 97) {
        char name[16];
        snprintf(name, sizeof name, "d%u", i);
        struct bytes seg[] = {BYTES_LIT("dev"), bytes_str(name), BYTES_LIT("state-of-it")};
        assert_int_equal(ask(p, "r", seg, 3, 1), i < MANY ? POLICY_PERMITTED : POLICY_NOT_RESOURCE);
        assert_int_equal(ask(p, "r", seg, 2, 1), POLICY_NOT_RESOURCE);
    }
    policy_unref(p);
}

static void many_roles_on_one_path(void **state)
{
    (void)state;
    struct policy *p =
        large("version: 1\nroles:\n",
              "  r%: {permit: [{path: /a, methods: GET}, {path: /b/%, methods: PUT}]}\n",
              "  none: {}\n  all: {includes: [r1, r19999]}\n", MANY);
    struct bytes a[] = {BYTES_LIT("a")};
    assert_int_equal(ask(p, "r0", a, 1, 1), POLICY_PERMITTED);
    assert_int_equal(ask(p, "r19999", a, 1, 1), POLICY_PERMITTED);
    assert_int_equal(ask(p, "r777", a, 1, 3), POLICY_NOT_METHOD);
    assert_int_equal(ask(p, "all", a, 1, 1), POLICY_PERMITTED);
    assert_int_equal(ask(p, "none", a, 1, 1), POLICY_NOT_RESOURCE);
    policy_unref(p);
}

/* Each includes the one before: no recursion runs out of stack. */
static void long_chain(void **state)
{
    (void)state;
    struct policy *p = large("version: 1\nroles:\n", "  r%: {includes: [r^]}\n",
                             "  r20000: {permit: [{path: /a, methods: GET}]}\n", MANY);
    struct bytes a[] = {BYTES_LIT("a")};
    assert_int_equal(ask(p, "r19999", a, 1, 1), POLICY_PERMITTED);
    policy_unref(p);
}

/* The same role and path again and again: what is permitted once is. */
static void many_alike(void **state)
{
    (void)state;
    struct policy *p =
        large("version: 1\nroles:\n  r:\n    permit:\n",
              "    - {path: /a, methods: GET}\n    - {path: /a, methods: [GET, PUT], "
              "when: {network: 10.0.0.1}}\n",
              "forbid:\n- {path: /a, methods: DELETE}\n", MANY / 4);
    struct bytes a[] = {BYTES_LIT("a")};
    assert_int_equal(ask(p, "r", a, 1, 1), POLICY_PERMITTED);
    assert_int_equal(ask(p, "r", a, 1, 3), POLICY_CONDITION);
    assert_int_equal(ask(p, "r", a, 1, 4), POLICY_FORBIDDEN);
    policy_unref(p);
}

static void many_complaints(void **state)
{
    (void)state;
    enum { N = 20000 };
    char *text = malloc(N * 64), diag[16384];
    size_t n = 0;
    assert_non_null(text);
    n += (size_t)sprintf(text, "version: 1\nroles:\n");
    for (unsigned i = 0; i < N; i++)
        n += (size_t)sprintf(text + n, "  r%u: {includes: [q%u]}\n", i, i);
    assert_null(load(text, n, diag, sizeof diag));
    assert_non_null(strstr(diag, "\n19980 more errors\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diagnostics),
        cmocka_unit_test(versions),
        cmocka_unit_test(patterns),
        cmocka_unit_test(uris),
        cmocka_unit_test(spoilt),
        cmocka_unit_test(many_children),
        cmocka_unit_test(many_roles_on_one_path),
        cmocka_unit_test(long_chain),
        cmocka_unit_test(many_alike),
        cmocka_unit_test(many_complaints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
