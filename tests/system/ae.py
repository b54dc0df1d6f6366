"""An application entity: one association to the gateway, requests in one of
the numberings of the oneM2M options, and answers to what it is notified of.

    ae.py HOST:PORT CREDENTIAL OPERATION PATH [BODY] [OPTION]...

asks once, as who CREDENTIAL (a file of `postern enrol`) is for, and prints
code, oneM2M status and content of the answer. OPERATION is create-ae,
create-cnt, create-cin, create-sub, retrieve, discover, update, delete or
notify; BODY is JSON. Stock clients show such answers with -v 7 alone, as they
do not know the options."""
import argparse
import itertools
import json
import re

import dtls
import onem2m
from onem2m import AE, CIN, CNT, CREATE, DELETE, METHOD, NOTIFY, RETRIEVE, SUB, UPDATE

ROOT = {AE: "m2m:ae", CNT: "m2m:cnt", CIN: "m2m:cin", SUB: "m2m:sub"}
_serial = itertools.count(1)


class Answer:
    def __init__(self, message, numbering):
        self.message, self.code = message, message.text
        self.rsc, self.rqi = message.m2m.get("rsc"), message.m2m.get("rqi")
        known = set(numbering.values())
        # what is of the binding, but not of this client's numbering
        self.foreign = sorted({n for n, _ in message.options if n > 255} - known)
        self.payload = message.payload
        self.location = [v.decode() for v in message.values(onem2m.LOCATION_PATH)]

    @property
    def body(self):
        return json.loads(self.payload) if self.payload else None

    def __str__(self):
        return "%s rsc %s %s %r" % (self.code, self.rsc, self.message.options, self.payload)


class Ae:
    def __init__(self, gateway, psk=None, numbering="current", originator=None, prefix="/cse",
                 cert=None):
        """gateway: one of rig.py, or (host, port)."""
        self.numbering = onem2m.NUMBERINGS[numbering]
        self.originator, self.prefix = originator, prefix
        to = gateway if isinstance(gateway, tuple) else ("127.0.0.1", gateway.ports[4][1])
        self.link = dtls.Client(to, psk=psk, cert=cert)
        self.notified = []
        self._answers = {}

    def close(self):
        self.link.close()

    # ---- requests ----

    def send(self, method, to, params, query=(), body=None, options=()):
        self.link.mid = self.link.mid % 65535 + 1
        token = self.link.mid.to_bytes(2, "big")
        payload = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        extra = list(options)
        if payload:
            extra.append((onem2m.CONTENT_FORMAT, onem2m.uint(50)))
        path = [p for p in (self.prefix + "/" + to).split("/") if p]
        self.link.send(onem2m.message(0, method, self.link.mid, token, self.numbering, params,
                                      path, query, payload, extra))
        return token

    def ask(self, operation, to, ty=None, body=None, query=(), method=None, options=(), **params):
        """params: fr, rqi, rvi and others by name; None leaves one out."""
        rqi = "q%d" % next(_serial)
        params = {"fr": self.originator, "rqi": rqi, "rvi": "3", "ty": ty, **params}
        token = self.send(method or METHOD[operation], to, params, query, body, options)
        answer = self.answer(token)
        if "rqi" in params and params["rqi"] is not None and answer.rqi != params["rqi"]:
            raise AssertionError("RQI %s, not %s: %s" % (answer.rqi, params["rqi"], answer))
        if answer.foreign:
            raise AssertionError("options %s of the other numbering: %s" % (answer.foreign, answer))
        return answer

    def create(self, to, ty, attributes, **more):
        return self.ask(CREATE, to, ty, {ROOT[ty]: attributes}, **more)

    def retrieve(self, to, **more):
        return self.ask(RETRIEVE, to, **more)

    def update(self, to, ty, attributes, **more):
        return self.ask(UPDATE, to, None, {ROOT[ty]: attributes}, **more)

    def delete(self, to, **more):
        return self.ask(DELETE, to, **more)

    def discover(self, to, *query, **more):
        return self.ask(RETRIEVE, to, query=("fu=1",) + query, **more)

    def notify(self, to, body, **more):
        return self.ask(NOTIFY, to, None, body, **more)

    # ---- what comes in ----

    def answer(self, token):
        while token not in self._answers:
            self.read()
        return Answer(self._answers.pop(token), self.numbering)

    def read(self):
        """The next message: an answer, or a request, which is answered 2.04."""
        m = onem2m.Message(self.link.receive(), self.numbering)
        if m.code >> 5 >= 2:
            if m.type == 0:
                self.link.send(b"\x60\x00" + m.mid.to_bytes(2, "big"))
            self._answers[m.token] = m
        elif m.code:
            self.notified.append(m)
            self.link.send(onem2m.message(
                2 if m.type == 0 else 1, onem2m.code_byte((2, 4)), m.mid, m.token, self.numbering,
                {"rsc": 2000, "rqi": m.m2m.get("rqi"), "rvi": m.m2m.get("rvi")}))

    def next_notification(self):
        while not self.notified:
            self.read()
        return self.notified.pop(0)


# ---- as a command ----

OPERATIONS = {"create-ae": (CREATE, AE), "create-cnt": (CREATE, CNT), "create-cin": (CREATE, CIN),
              "create-sub": (CREATE, SUB), "retrieve": (RETRIEVE, None),
              "discover": (RETRIEVE, None), "update": (UPDATE, None), "delete": (DELETE, None),
              "notify": (NOTIFY, None)}


def spread(token):
    """A token as tkns parameters: one option holds 255 bytes."""
    return ["tkns=" + token[i:i + 250] for i in range(0, len(token), 250)]


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    p.add_argument("to")
    p.add_argument("credential")
    p.add_argument("operation", choices=OPERATIONS)
    p.add_argument("path")
    p.add_argument("body", nargs="?")
    p.add_argument("--from", dest="originator", help="another originator than the credential's")
    p.add_argument("--token", action="append", default=[], metavar="FILE", help="carried in tkns")
    p.add_argument("--query", action="append", default=[])
    p.add_argument("--numbering", choices=onem2m.NUMBERINGS, default="current")
    a = p.parse_args()
    with open(a.credential) as f:
        held = {k: json.loads(v) for k, v in re.findall(r"^([a-z-]+): (.*)$", f.read(), re.M)}
    host, port = a.to.rsplit(":", 1)
    ae = Ae((host, int(port)), (held["psk-identity"].encode(), bytes.fromhex(held["psk-hex"])),
            a.numbering, a.originator or held.get("originators", [None])[0], "")
    operation, ty = OPERATIONS[a.operation]
    query = a.query + ["fu=1"] * (a.operation == "discover")
    for file in a.token:
        with open(file) as f:
            query += spread(f.read().strip())
    body = {ROOT[ty]: json.loads(a.body or "{}")} if ty else json.loads(a.body) if a.body else None
    got = ae.ask(operation, a.path, ty, body, query)
    print(*[str(v) for v in (got.code, got.rsc, got.payload.decode()) if v])
    ae.close()


if __name__ == "__main__":
    main()
