"""Asking elsewhere: decision points and dynamic authorization servers over
CoAP in both numberings and over HTTPS, as they should be, slow, away, wrong,
hostile and in contradiction."""
import json
import os
import shutil
import tempfile
import threading
import time

import jws
import rig
from ae import Ae
from decider import DENY, NOT_APPLICABLE, PERMIT, Decider, Reply, decision, gives
from house import Stage, certificate
from onem2m import CNT, CREATE
from test_m2m import PSK, CseProcess

POLICY = """\
version: 1
mode: enforce
authorities:
  - name: das
    dialect: onem2m
    issuer: das@sp.example
    keys: keys/das.jwks
    dynamic-authorization:
      for: [/cse/cb/dyn/**]
      tell: coaps://das.example/token
      ask:
        url: %(das)s/das/in
        originator: /gateway
%(credentials)s
      lifetime: 60s
    may-grant:
      roles: [visitor]
      resources: [{path: /cse/cb/dyn/room/**, operations: [RETRIEVE]}]
decision-points:
  - name: pdp
    url: %(pdp)s/in-cse/decision
    originator: /gateway
    for: [/cse/cb/asked/**, /cse/cb/both/**]
    combine: deny-overrides
    timeout: 1s
%(flat)s
  - name: town
    url: %(town)s/in-cse/decision
    originator: /gateway
    for: [/cse/cb/first/**, /cse/cb/both/**]
    combine: local-first
    cache: 30s
%(flat)s
roles:
  application:
    role-id: application@sp.example
    permit:
      - {path: /cse/cb, operations: [CREATE], types: [AE]}
      - {path: /cse/cb/asked/**, operations: [CREATE, RETRIEVE, UPDATE]}
      - {path: /cse/cb/free/**, operations: [CREATE, RETRIEVE]}
  visitor:
    role-id: visitor@sp.example
    permit:
      - {path: /cse/cb/dyn/**, operations: [RETRIEVE]}
subjects:
  - {name: app, psk-identity: app, key-file: keys/app.psk, originator: Capp, roles: [application]}
  - {name: two, psk-identity: two, key-file: keys/app.psk, originator: Ctwo, roles: [application]}
forbid:
  - {path: /cse/cb/first/safe/**, operations: [RETRIEVE]}
"""


class Asking:
    kind = None

    @classmethod
    def build(cls):
        tls, cls.secret_files = None, {}
        if cls.kind == "https":
            cls.tls = tempfile.mkdtemp(prefix="postern-tls-")
            cls.addClassCleanup(shutil.rmtree, cls.tls, ignore_errors=True)
            ca = certificate(cls.tls, "ca", "test-ca", ca=True)
            certificate(cls.tls, "pdp", "127.0.0.1", issuer=ca)
            tls = tuple(os.path.join(cls.tls, n) for n in ("pdp.crt", "pdp.key"))
            with open(os.path.join(cls.tls, "ca.crt")) as f:
                cls.secret_files["tls/ca.crt"] = f.read()
        cls.cse = cls.start(CseProcess("current"))
        cls.pdp, cls.town, cls.das = (cls.start(Decider(cls.kind, tls=tls)) for _ in range(3))
        cls.key = jws.SigningKey()
        cls.gw = cls.start(rig.Gateway(
            POLICY % cls.parts(),
            [{"name": "cse", "path": "/cse", "url": cls.cse.url, "dialect": "onem2m",
              "cse-id": "/cse1", "sp-id": "//sp.example", "cse-base": "cb", "window": 8}],
            secrets={"keys/app.psk": PSK.hex() + "\n",
                     "keys/das.jwks": json.dumps({"keys": [cls.key.jwk()]}),
                     **cls.secret_files}))

    @classmethod
    def parts(cls):
        line = {"https": "ca: tls/ca.crt", "legacy": "onem2m-options: legacy"}.get(cls.kind, "")
        return {"pdp": cls.pdp.url, "town": cls.town.url, "das": cls.das.url,
                "credentials": "        " + line if line else "",
                "flat": "    " + line if line else ""}

    def setUp(self):
        for d in (self.pdp, self.town, self.das):
            d.says = lambda q: Reply(PERMIT)
            d.take_all()
        self.app = self.ae("app", "Capp")
        self.mark = self.cse.mark()

    def ae(self, identity, originator):
        a = Ae(self.gw, (identity.encode(), PSK), "current", originator)
        self.addCleanup(a.close)
        return a

    def reached(self):
        return [r for r in self.cse.requests(self.mark) if not r["to"].startswith("end-")]

    def settle(self):
        """What reached it by now does not count."""
        self.cse.requests(self.mark)
        self.mark = self.cse.mark()

    def denied(self, answer, code="4.03", rsc=4103):
        self.assertEqual((answer.code, answer.rsc, answer.payload), (code, rsc, b""), str(answer))
        self.assertEqual(self.reached(), [])

    def passed(self, answer):
        """The CSE has no such resource, and says so itself."""
        self.assertEqual((answer.code, answer.rsc), ("4.04", 4004), str(answer))
        self.settle()


class Points:
    def test_what_is_asked(self):
        self.passed(self.app.retrieve("cb/asked/x"))
        q = self.pdp.next()
        self.assertEqual((q.method, q.path, q.fr, q.rvi), ("PUT", ["in-cse", "decision"],
                                                           "/gateway", "3"))
        self.assertEqual(q.form, "application/json" if self.kind == "https" else 50)
        self.assertTrue(q.rqi)
        auds = dict(q.auds)
        self.assertRegex(auds.pop("rtm"), r"^\d{8}T\d{6}$")
        self.assertEqual(auds, {"to": "cb/asked/x", "fr": "Capp", "op": 2,
                                "rids": ["application@sp.example"],
                                "oip": {"ip4": "127.0.0.1"}})
        self.app.create("cb/asked/x", CNT, {"rn": "y"})
        again = self.pdp.next()
        self.assertEqual((again.auds["op"], again.auds["rrt"]), (CREATE, CNT))
        self.assertNotEqual(again.rqi, q.rqi)

    def test_deny_overrides(self):
        for said, passes in ((PERMIT, True), (DENY, False), (NOT_APPLICABLE, True)):
            with self.subTest(said):
                self.pdp.says = lambda q: Reply(said)
                answer = self.app.retrieve("cb/asked/x")
                self.passed(answer) if passes else self.denied(answer)
                self.settle()
        self.pdp.take_all()
        # what the policy denies is not asked about
        self.denied(self.app.delete("cb/asked/x"))
        self.denied(self.app.retrieve("cb/else/x"))
        self.assertEqual(self.pdp.take_all(), [])
        # nor what is not its own
        self.passed(self.app.retrieve("cb/free/x"))
        self.assertEqual(self.pdp.take_all(), [])

    def test_local_first(self):
        for i, (said, passes) in enumerate(((PERMIT, True), (DENY, False),
                                            (NOT_APPLICABLE, False))):
            with self.subTest(said):
                self.town.says = lambda q: Reply(said, max_age=0)
                answer = self.app.retrieve("cb/first/%d" % i)
                self.passed(answer) if passes else self.denied(answer)
                self.settle()
        self.town.take_all()
        self.denied(self.app.retrieve("cb/first/safe/1"))
        self.assertEqual(self.town.take_all(), [])

    def test_contradictory(self):
        """One permits where the policy is silent, the other denies."""
        self.pdp.says = lambda q: Reply(DENY)
        self.denied(self.app.retrieve("cb/both/1"))
        self.assertEqual(self.gw.audit(lambda r: r["path"] == "/cse/cb/both/1")["decided_by"],
                         "pdp")
        self.pdp.says = lambda q: Reply(PERMIT)
        self.town.says = lambda q: Reply(DENY)
        self.denied(self.app.retrieve("cb/both/2"))

    def test_kept(self):
        self.town.says = lambda q: Reply(PERMIT)
        for _ in range(3):
            self.passed(self.app.retrieve("cb/first/kept"))
        self.assertEqual(len(self.town.take_all()), 1)
        # another's is another's
        other = self.ae("two", "Ctwo")
        self.town.says = lambda q: Reply(DENY)
        self.assertEqual(other.retrieve("cb/first/kept").code, "4.03")
        # what says that it does not hold is asked about each time
        self.town.says = lambda q: Reply(PERMIT, max_age=0)
        self.town.take_all()
        for _ in range(3):
            self.passed(self.app.retrieve("cb/first/fleeting"))
        self.assertEqual(len(self.town.take_all()), 3)
        # a reload forgets
        self.gw.edit("policy.yaml", "cache: 30s", "cache: 29s")
        self.addCleanup(self.restore)
        self.assertIn("event=reload ", self.gw.reload())
        self.town.says = lambda q: Reply(DENY)
        self.assertEqual(self.app.retrieve("cb/first/kept").code, "4.03")

    def restore(self):
        self.gw.edit("policy.yaml", "cache: 29s", "cache: 30s")
        self.gw.reload()

    def test_one_for_many(self):
        """Requests that wait for the same answer share it."""
        gate = threading.Event()

        def says(q):
            gate.wait(rig.DEADLINE)
            return Reply(PERMIT)
        self.town.says = says
        tokens = [self.app.send(1, "cb/first/many", {"fr": "Capp", "rqi": "m%d" % i, "rvi": "3"})
                  for i in range(6)]
        self.town.next()
        gate.set()
        for t in tokens:
            self.assertEqual(self.app.answer(t).code, "4.04")
        self.assertEqual(self.town.take_all(), [])

    HOSTILE = {
        "no content": Reply(),
        "not JSON": Reply(raw=b"yes"),
        "much": Reply(raw=b'{"m2m:auds":{"dec":1,"sus":1,"lbl":"' + b"x" * 900 + b'"}} '),
        "not UTF-8": Reply(raw=b'{"m2m:auds":{"dec":1,"sus":1,"lbl":"\xff"}}'),
        "twice": Reply(raw=b'{"m2m:auds":{"dec":2,"dec":1,"sus":1}}'),
        "deep": Reply(raw=b'{"m2m:auds":' + b"[" * 400 + b"]" * 400 + b"}"),
        "about another": Reply(decision(1, to="cb/else")),
        "about another originator": Reply(decision(1, fr="Cadmin")),
        "a status that contradicts": Reply(decision(1, 5)),
        "an RSC that contradicts": Reply(PERMIT, rsc=4103),
        "a code that contradicts": Reply(PERMIT, code=(4, 3)),
        "an error": Reply(PERMIT, code=(5, 0)),
        "another number": Reply(decision(11)),
        "to another request": Reply(PERMIT, rqi="gw0000000000000000"),
        "a notification": Reply(gives(acr=[{"acor": ["all"], "acop": 63}])),
        "a list": Reply(raw=b'[{"m2m:auds":{"dec":1,"sus":1}}]'),
        "what was asked, again": None,
    }

    def test_hostile(self):
        for name, reply in self.HOSTILE.items():
            with self.subTest(name):
                self.pdp.says = lambda q: reply or Reply(q.body)
                answer = self.app.retrieve("cb/asked/x")
                if name == "much":  # labels are no harm
                    self.passed(answer)
                else:
                    self.denied(answer, "5.03", 5103)
                self.settle()
        self.pdp.says = lambda q: Reply(PERMIT)
        self.passed(self.app.retrieve("cb/asked/x"))

    def test_slow(self):
        """Silent for longer than its timeout: denied, and what comes late
        is no answer to anything."""
        self.pdp.says = lambda q: None
        start = time.monotonic()
        self.denied(self.app.retrieve("cb/asked/slow"), "5.03", 5103)
        self.assertLess(time.monotonic() - start, 10)
        record = self.gw.audit(lambda r: r["path"] == "/cse/cb/asked/slow")
        self.assertEqual((record["reason"], record["decided_by"]), ("decision-point-away", "pdp"))
        status = json.loads(self.gw.postern("status", "-c", "postern.yaml", "--json", check=0).text)
        mine = [s for s in status["servers"] if s["authority"] == "pdp"]
        self.assertEqual(len(mine), 1)
        self.assertEqual((mine[0]["purpose"], mine[0]["state"]), ("decision", "away"))
        self.pdp.says = lambda q: Reply(PERMIT)
        self.wait_back(lambda: self.app.retrieve("cb/asked/slow"))

    def wait_back(self, ask):
        """Until the circuit has closed: it is tried again within seconds."""
        until = time.monotonic() + rig.DEADLINE
        while True:
            answer = ask()
            if answer.code == "4.04":
                return
            self.assertEqual(answer.code, "5.03")
            self.assertLess(time.monotonic(), until)
            threading.Event().wait(0.2)  # its Max-Age says when, in whole seconds

    def test_explained(self):
        def asks(path, *more):
            r = self.gw.postern("explain", "-c", "postern.yaml", "-j", "-s", "app", *more, path)
            return json.loads(r.text).get("asks")
        retrieve = ("--operation", "RETRIEVE")
        self.assertEqual(asks("/cse/cb/asked/x", *retrieve), ["pdp"])
        self.assertEqual(asks("/cse/cb/first/x", *retrieve), ["town"])
        self.assertEqual(asks("/cse/cb/both/x", *retrieve), ["pdp", "town"])
        self.assertEqual(asks("/cse/cb/dyn/x", *retrieve), ["das"])
        for path in ("/cse/cb/first/safe/x", "/cse/cb/free/x", "/cse/cb/else"):
            self.assertIsNone(asks(path, *retrieve))
        r = self.gw.postern("explain", "-c", "postern.yaml", "-s", "app", *retrieve,
                            "/cse/cb/asked/x")
        self.assertRegex(r.text, r"(?m)^decided with: pdp \(.*policy.yaml:\d+\), which may deny it$")

    def test_away(self):
        port, tls = self.town.port, self.town.web and self.town.web.tls
        self.town.stop()
        self.started.remove(self.town)
        self.denied(self.app.retrieve("cb/first/away"), "5.03", 5103)
        # those of others go on
        self.passed(self.app.retrieve("cb/asked/x"))
        files = [os.path.join(self.tls, n) for n in ("pdp.crt", "pdp.key")] if tls else None
        type(self).town = self.start(Decider(self.kind, tls=files, port=port))
        self.wait_back(lambda: self.app.retrieve("cb/first/away"))


class Dynamic:
    def rule(self, originator="Capp", acop=2):
        return [{"acor": [originator], "acop": acop}]

    def test_rules(self):
        self.das.says = lambda q: Reply(gives(self.rule(), "60000"))
        self.passed(self.app.retrieve("cb/dyn/room/1"))
        q = self.das.next()
        self.assertEqual((q.method, q.path, q.fr), ("POST", ["das", "in"], "/gateway"))
        dreq = dict(q.dreq)
        for name in ("rts", "ppl"):
            self.assertRegex(dreq.pop(name), r"^\d{8}T\d{6}$")
        self.assertEqual(dreq, {"or": "Capp", "op": 2, "trid": "cb/dyn/room/1",
                                "orid": ["application@sp.example"],
                                "rfa": ["visitor@sp.example"], "oip": {"ip4": "127.0.0.1"}})
        self.passed(self.app.retrieve("cb/dyn/room/1"))
        self.assertEqual(self.das.take_all(), [])
        record = self.gw.audit(lambda r: r["path"] == "/cse/cb/dyn/room/1")
        self.assertEqual((record["authority"], record["decided_by"]), ("das", "das"))

    def test_beyond(self):
        """may-grant bounds it, and its rules are for whom they name."""
        self.das.says = lambda q: Reply(gives(self.rule(acop=63), "60000"))
        self.denied(self.app.retrieve("cb/dyn/cellar"))
        self.denied(self.app.delete("cb/dyn/room/2"))
        self.das.says = lambda q: Reply(gives(self.rule("Cother"), "60000"))
        self.denied(self.app.retrieve("cb/dyn/room/3"))
        self.das.says = lambda q: Reply(gives([{"acop": 2}], "60000"))
        self.denied(self.app.retrieve("cb/dyn/room/4"))

    def token(self, key=None, **change):
        now = int(time.time())
        claims = {"jti": "t%d@sp.example" % time.monotonic_ns(), "iss": "das@sp.example",
                  "azp": "//sp.example/cse1/Ctwo", "nbf": now - 60, "exp": now + 600,
                  "aud": ["//sp.example/cse1"],
                  "tkps": {"pm": [{"rids": ["visitor@sp.example"]}]}, **change}
        return (key or self.key).sign(claims, typ="JWT").decode()

    def test_tokens(self):
        two = self.ae("two", "Ctwo")
        wrong = {"of another holder": self.token(azp="//sp.example/cse1/Capp"),
                 "of another issuer": self.token(iss="other@sp.example"),
                 "expired": self.token(exp=int(time.time()) - 10),
                 "for another CSE": self.token(aud=["//sp.example/cse2"]),
                 "of a stranger's key": self.token(jws.SigningKey()),
                 "no token": "a.b.c"}
        for i, (name, token) in enumerate(wrong.items()):
            with self.subTest(name):
                self.das.says = lambda q: Reply(gives(tokens=[token]))
                self.denied(two.retrieve("cb/dyn/hall/%d" % i))
        good = self.token()
        self.das.says = lambda q: Reply(gives(tokens=["a.b.c", good]))
        self.passed(two.retrieve("cb/dyn/hall/in"))
        # it is held from now on, for all that it says
        self.das.take_all()
        self.passed(two.retrieve("cb/dyn/hall/else"))
        self.assertEqual(self.das.take_all(), [])
        # by its holder alone
        self.das.says = lambda q: Reply(gives())
        self.assertEqual(self.app.retrieve("cb/dyn/hall/in").code, "4.03")

    def test_told(self):
        self.das.says = lambda q: Reply(gives())
        answer = self.app.retrieve("cb/dyn/told", query=("tqi=1",))
        self.assertEqual((answer.code, answer.rsc), ("4.03", 4103))
        (server,) = answer.body["dasi"]
        self.assertEqual(server["uri"], "coaps://das.example/token")
        self.assertEqual(server["dreq"]["trid"], "cb/dyn/told")
        self.assertEqual(server["dreq"]["rfa"], ["visitor@sp.example"])
        self.denied(self.app.retrieve("cb/dyn/told"))
        self.assertEqual(self.app.retrieve("cb/else", query=("tqi=1",)).payload, b"")


class CurrentPoints(Points, Asking, Stage):
    kind = "current"


class LegacyPoints(Points, Asking, Stage):
    kind = "legacy"


class HttpsPoints(Points, Asking, Stage):
    kind = "https"


class CurrentDynamic(Dynamic, Asking, Stage):
    kind = "current"


class HttpsDynamic(Dynamic, Asking, Stage):
    kind = "https"


class OverDtls(Asking, Stage):
    """A stock server over DTLS: it takes the question, knows no such options,
    and says so (4.02), which is no decision."""
    kind = "current"
    SERVER_PSK = "fedcba9876543210"

    @classmethod
    def build(cls):
        cls.port = rig.free_port()
        cls.stock = cls.start(rig.Process(
            ["coap-server-openssl", "-v", "7", "-d", "10", "-A", "127.0.0.1",
             "-p", str(cls.port - 1), "-k", cls.SERVER_PSK, "-h", "hint"]))
        cls.stock.wait_line(r"created DTLS endpoint")
        super().build()

    @classmethod
    def parts(cls):
        line = "    psk: {identity: gateway, key-file: keys/pdp.psk}"
        cls.secret_files["keys/pdp.psk"] = cls.SERVER_PSK.encode().hex() + "\n"
        url = "coaps://127.0.0.1:%d" % cls.port
        return {"pdp": url, "town": url, "das": url, "credentials": "    " + line, "flat": line}

    def test_stock(self):
        for path in ("cb/asked/x", "cb/first/x", "cb/dyn/x"):
            with self.subTest(path):
                self.denied(self.app.retrieve(path), "5.03", 5103)
        seen = self.stock.output()
        self.assertRegex(seen, r"c:PUT .*Uri-Path:in-cse, Uri-Path:decision.*, Content-Format:"
                               r"application/json, .*279:")
        self.assertRegex(seen, r"c:POST .*Uri-Path:das, Uri-Path:in.*279:")
