"""oneM2M over CoAP as bytes (TS-0008), for the tests' CSE and client: both
numberings of its options, and status codes. Written from the specification,
apart from the gateway's own tables."""
import struct

import dtls

LEGACY = {"fr": 256, "rqi": 257, "ot": 259, "rqet": 260, "rset": 261, "oet": 262, "rturi": 263,
          "ec": 264, "rsc": 265, "gid": 266, "ty": 267, "cto": 268, "cts": 269, "ati": 270,
          "rvi": 271, "vsi": 272, "gtm": 273, "aus": 274, "asri": 275}
CURRENT = {"fr": 279, "rqi": 283, "ot": 259, "rqet": 291, "rset": 295, "oet": 299, "rturi": 263,
           "ec": 303, "rsc": 307, "gid": 311, "ty": 267, "cto": 319, "cts": 323, "ati": 327,
           "rvi": 271, "vsi": 331, "gtm": 335, "aus": 339, "asri": 275}
NUMBERINGS = {"legacy": LEGACY, "current": CURRENT}
NUMBERS = {"ec", "rsc", "ty", "cto", "cts"}

AE, CNT, CIN, CSEBASE, REQUEST, SUB = 2, 3, 4, 5, 17, 23
CREATE, RETRIEVE, UPDATE, DELETE, NOTIFY = 1, 2, 3, 4, 5
METHOD = {CREATE: 2, RETRIEVE: 1, UPDATE: 3, DELETE: 4, NOTIFY: 2}

LOCATION_PATH, URI_PATH, CONTENT_FORMAT, URI_QUERY, ACCEPT, URI_HOST = 8, 11, 12, 15, 17, 3
URI_PORT, SIZE1, BLOCK1, BLOCK2 = 7, 60, 27, 23


def uint(v):
    return v.to_bytes((v.bit_length() + 7) // 8, "big")


def code_of(rsc, operation):
    """The CoAP code of a status (TS-0008 table 6.2.4-1)."""
    if rsc == 2000:
        return {NOTIFY: (2, 4), RETRIEVE: (2, 5)}.get(operation, (2, 5))
    fixed = {1001: (2, 1), 1002: (2, 1), 2001: (2, 1), 2002: (2, 2), 2004: (2, 4), 4000: (4, 0),
             4001: (5, 1), 4004: (4, 4), 4005: (4, 5), 4008: (5, 4), 4015: (4, 15), 4102: (4, 0),
             4105: (4, 3), 4117: (4, 3), 4108: (4, 3), 5000: (5, 0), 5001: (5, 1), 5103: (4, 4),
             5106: (4, 0), 5204: (5, 0)}
    return fixed.get(rsc, (4, 3))


def code_byte(code):
    return code[0] << 5 | code[1]


class Message:
    """One CoAP message, read; its oneM2M options by name."""

    def __init__(self, raw, numbering=CURRENT):
        tkl = raw[0] & 15
        self.type, self.code, self.mid = raw[0] >> 4 & 3, raw[1], struct.unpack("!H", raw[2:4])[0]
        self.token, self.options, self.payload = raw[4:4 + tkl], [], b""
        i, number = 4 + tkl, 0
        while i < len(raw):
            if raw[i] == 0xff:
                self.payload = raw[i + 1:]
                break
            fields, head = [], raw[i]
            i += 1
            for v in (head >> 4, head & 15):
                if v == 13:
                    v, i = raw[i] + 13, i + 1
                elif v == 14:
                    v, i = struct.unpack("!H", raw[i:i + 2])[0] + 269, i + 2
                fields.append(v)
            number += fields[0]
            self.options.append((number, raw[i:i + fields[1]]))
            i += fields[1]
        names = {n: name for name, n in numbering.items()}
        self.m2m = {}
        for n, v in self.options:
            if n in names:
                name = names[n]
                self.m2m[name] = int.from_bytes(v, "big") if name in NUMBERS else v.decode()

    def values(self, number):
        return [v for n, v in self.options if n == number]

    @property
    def path(self):
        return [v.decode() for v in self.values(URI_PATH)]

    @property
    def query(self):
        return [v.decode() for v in self.values(URI_QUERY)]

    @property
    def text(self):
        return "%d.%02d" % (self.code >> 5, self.code & 31)


def m2m_options(numbering, params):
    return [(numbering[k], uint(v) if k in NUMBERS else v.encode())
            for k, v in params.items() if v is not None]


def message(kind, code, mid, token, numbering, params, path=(), query=(), payload=b"",
            options=()):
    opts = [(URI_PATH, p.encode()) for p in path] + [(URI_QUERY, q.encode()) for q in query]
    return dtls.message(kind, code, mid, token, "", payload,
                        opts + m2m_options(numbering, params) + list(options))
