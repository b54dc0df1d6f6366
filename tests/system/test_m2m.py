"""In front of a CSE: register, create, put and read content, discover,
subscribe, be notified and delete, in each pair of numberings and by HTTP; and
what must not get through, with its exact code and status."""
import http.client
import itertools
import json
import os
import socket
import sys

import onem2m
import rig
from ae import Ae
from house import Stage
from onem2m import AE, CIN, CNT, RETRIEVE, SUB

HERE = os.path.dirname(os.path.abspath(__file__))
PSK = b"0123456789abcdef"  # of every application here; for tests only
CSES = ("current", "legacy", "http")
_serial = itertools.count(1)

POLICY = """\
version: 1
mode: enforce
roles:
  application:
    permit:
%(cses)s
  reader:
    permit:
      - {path: /current/cb/**, operations: [RETRIEVE]}
      - {path: /current/cb/box, operations: [CREATE], types: [contentInstance]}
subjects:
%(subjects)s
forbid:
  - {path: /current/cb/secret/**, operations: [RETRIEVE]}
"""
EACH = """\
      - {path: /%(cse)s/cb, operations: [CREATE], types: [AE]}
      - {path: /%(cse)s/cb, operations: [RETRIEVE, DISCOVERY]}
      - {path: /%(cse)s/cb/**, operations: [CREATE, RETRIEVE, UPDATE, DELETE, NOTIFY, DISCOVERY]}
"""


class CseProcess(rig.Process):
    """The tests' CSE; what reached it, and what never did."""

    def __init__(self, kind, *more):
        self.kind = kind
        self.port = rig.free_port(kind=socket.SOCK_STREAM if kind == "http" else socket.SOCK_DGRAM)
        args = ["http", str(self.port)] if kind == "http" else ["coap", str(self.port), kind]
        super().__init__([sys.executable, "-B", os.path.join(HERE, "cse.py"), *args, *more])
        self.wait_line(r'"ready"')
        self.url = "%s://127.0.0.1:%d" % ("http" if kind == "http" else "coap", self.port)

    def mark(self):
        return self._told(super().mark())

    def requests(self, start=0):
        stop = self._told(start)
        return [r for r in (json.loads(l) for l in self.lines[start:stop - 1]) if "op" in r]

    def _told(self, start):
        """The place behind all that reached it: one of our own is the last of
        them. What it prints may come late."""
        n = next(_serial)
        end = "end-%d" % n
        if self.kind == "http":
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=rig.DEADLINE)
            c.request("GET", "/" + end)
            c.getresponse().read()
            c.close()
        else:
            numbering = onem2m.NUMBERINGS[self.kind]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(onem2m.message(1, 1, n & 0xffff, b"e", numbering,
                                        {"fr": "end", "rqi": end, "rvi": "3"}, [end]),
                         ("127.0.0.1", self.port))
        return self.wait_line('"to": "%s"' % end, start)[1]


class InFront(Stage):
    cses = CSES
    policy = None
    extra = ""
    applications = ("app-current-current", "app-current-legacy", "app-current-http",
                    "app-legacy-current", "app-legacy-legacy", "app-legacy-http")

    @classmethod
    def build(cls):
        cls.cse = {kind: cls.start(CseProcess(kind, *cls.cse_options())) for kind in cls.cses}
        cls.gw = cls.start(rig.Gateway(cls.policy_text(), cls.devices(), secrets=cls.secrets(),
                                       extra=cls.extra))

    @classmethod
    def cse_options(cls):
        return ()

    @classmethod
    def devices(cls):
        out = []
        for kind, c in cls.cse.items():
            d = {"name": kind, "path": "/" + kind, "url": c.url, "dialect": "onem2m",
                 "cse-id": "/cse1", "window": 8}
            if kind != "http":
                d["onem2m-options"] = kind
            out.append(d)
        return out

    @classmethod
    def policy_text(cls):
        subjects = ["  - {name: %s, psk-identity: %s, key-file: keys/app.psk, originator: C%s, "
                    "roles: [application]}" % (a, a, a) for a in cls.applications]
        subjects += [
            "  - {name: reader, psk-identity: reader, key-file: keys/app.psk, "
            "originators: [Creader, Creader2], roles: [reader]}",
            "  - {name: newcomer, psk-identity: newcomer, key-file: keys/app.psk, "
            "may-register: [S, C], roles: [application]}"]
        return POLICY % {"cses": "".join(EACH % {"cse": c} for c in cls.cses).rstrip("\n"),
                         "subjects": "\n".join(subjects)}

    @classmethod
    def secrets(cls):
        return {"keys/app.psk": PSK.hex() + "\n"}

    def ae(self, identity, numbering="current", prefix="/current", originator=None):
        a = Ae(self.gw, (identity.encode(), PSK), numbering, originator, prefix)
        self.addCleanup(a.close)
        return a

    def expect(self, answer, code, rsc):
        self.assertEqual((answer.code, answer.rsc), (code, rsc), "%s\n%s" % (
            answer, self.gw.proc.output()))
        return answer


class Walk(InFront):
    """The whole life of an application, for each pair."""

    def walk(self, client, cse):
        name = "app-%s-%s" % (client, cse)
        me = "C" + name
        a = self.ae(name, client, "/" + cse, me)
        start = self.cse[cse].mark()
        made = self.expect(a.create("cb", AE, {"rn": name, "api": "N1", "rr": True}), "2.01", 2001)
        self.assertEqual(made.body["m2m:ae"]["aei"], me)
        base = "cb/" + name
        self.expect(a.create(base, CNT, {"rn": "power", "lbl": ["kWh"]}), "2.01", 2001)
        for watts in ("17", "42"):
            self.expect(a.create(base + "/power", CIN, {"con": watts}), "2.01", 2001)
        got = self.expect(a.retrieve(base + "/power/la"), "2.05", 2000)
        self.assertEqual(got.body["m2m:cin"]["con"], "42")
        got = self.expect(a.retrieve(base + "/power/ol"), "2.05", 2000)
        self.assertEqual(got.body["m2m:cin"]["con"], "17")
        got = self.expect(a.update(base + "/power", CNT, {"lbl": ["kWh", "new"]}), "2.04", 2004)
        self.assertEqual(got.body["m2m:cnt"]["lbl"], ["kWh", "new"])
        got = self.expect(a.discover(base, "ty=3"), "2.05", 2000)
        self.assertEqual(got.body["m2m:uril"], [base + "/power"])
        self.expect(a.delete(base + "/power"), "2.02", 2002)
        self.expect(a.retrieve(base + "/power"), "4.04", 4004)
        self.expect(a.delete(base), "2.02", 2002)
        seen = self.cse[cse].requests(start)
        self.assertEqual([r["op"] for r in seen], [1, 1, 1, 1, 2, 2, 3, 2, 4, 2, 4])
        self.assertEqual({(r.get("m2m") or r["headers"]).get("fr") or
                          r["headers"]["x-m2m-origin"] for r in seen}, {me})


for _client in ("current", "legacy"):
    for _cse in CSES:
        def _test(self, client=_client, cse=_cse):
            self.walk(client, cse)
        setattr(Walk, "test_%s_application_%s_cse" % (_client, _cse), _test)


class Refused(InFront):
    """Denials have their exact code and status, RQI, and nothing else; and
    none of them reaches the CSE."""
    cses = ("current",)

    def setUp(self):
        self.start_at = self.cse["current"].mark()

    def nothing_came(self):
        self.assertEqual(self.cse["current"].requests(self.start_at), [])

    def denied(self, answer, code, rsc):
        self.expect(answer, code, rsc)
        self.assertEqual(answer.payload, b"")

    def test_policy(self):
        for numbering in ("current", "legacy"):
            r = self.ae("reader", numbering, originator="Creader")
            rows = [
                ("another operation", r.delete("cb/box")),
                ("another resource", r.retrieve("other/box")),
                ("another type", r.create("cb/box", CNT, {"rn": "x"})),
                ("a type where none is said", r.create("cb/other", CIN, {"con": "x"})),
                ("discovery is not retrieval", r.discover("cb/box")),
                ("what is forbidden", r.retrieve("cb/secret/x")),
                ("op says delete", r.ask(RETRIEVE, "cb/box", query=["op=4"], method=2)),
                ("unstructured", r.retrieve("cnt000001")),
            ]
            for row, answer in rows:
                with self.subTest("%s, %s" % (numbering, row)):
                    self.denied(answer, "4.03", 4103)
        self.nothing_came()

    def test_originator_of_another(self):
        r = self.ae("reader", originator="Creader")
        for fr in ("Capp-current-current", "Creader3", "creader", "Creade", "Creader ", "/cse1",
                   "//sp.example/cse1/Capp-current-current", "S"):
            with self.subTest(fr):
                self.denied(r.retrieve("cb/box", fr=fr), "4.03", 4106)
        self.nothing_came()

    def test_each_of_its_own_originators(self):
        for fr in ("Creader", "Creader2"):
            r = self.ae("reader", originator=fr)
            self.expect(r.retrieve("cb/none"), "4.04", 4004)
        self.assertEqual([q["m2m"]["fr"] for q in self.cse["current"].requests(self.start_at)],
                         ["Creader", "Creader2"])

    def test_no_originator(self):
        r = self.ae("reader")
        self.denied(r.retrieve("cb/box"), "4.00", 4000)
        self.nothing_came()

    def test_registration_not_allowed(self):
        r = self.ae("reader")
        for fr in (None, "S", "C", "Cother", ""):
            with self.subTest(fr):
                a = r.create("cb", AE, {"rn": "x", "api": "N1", "rr": True}, fr=fr)
                self.assertEqual((a.code, a.rsc in (4126, 4103, 4106)), ("4.03", True), str(a))
        self.nothing_came()

    def test_no_association(self):
        numbering = onem2m.CURRENT
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(rig.DEADLINE)
            s.sendto(onem2m.message(0, 1, 7, b"t", numbering,
                                    {"fr": "Creader", "rqi": "r1", "rvi": "3"},
                                    ["current", "cb", "box"]), ("127.0.0.1", self.gw.ports[4][0]))
            m = onem2m.Message(s.recv(2048), numbering)
        self.assertEqual((m.text, m.m2m.get("rsc"), m.m2m.get("rqi"), m.payload),
                         ("4.03", 4107, "r1", b""))
        self.nothing_came()

    def test_without_request_id_or_release(self):
        r = self.ae("reader", originator="Creader")
        self.denied(r.retrieve("cb/box", rqi=None), "4.00", 4000)
        self.denied(r.retrieve("cb/box", rvi=None), "4.00", 4000)
        self.nothing_came()

    def test_too_late(self):
        r = self.ae("reader", originator="Creader")
        self.denied(r.retrieve("cb/box", rqet="20200101T000000"), "5.04", 4008)
        self.nothing_came()

    def test_parameters_are_not_passed_on(self):
        r = self.ae("reader", originator="Creader")
        self.expect(r.retrieve("cb/none", query=["rids=unknown@nowhere.example"]), "4.03", 4103)
        self.nothing_came()

    def test_contradictions(self):
        r = self.ae("reader", originator="Creader")
        for row, query, method in (("twice", ["op=2", "op=2"], 2), ("none such", ["op=9"], 2),
                                   ("empty", ["op="], 2), ("fu with delete", ["fu=1"], 4)):
            with self.subTest(row):
                a = r.ask(RETRIEVE, "cb/box", query=query, method=method)
                self.assertIn((a.code, a.rsc), (("4.00", 4000), ("4.03", 4103)), str(a))
        self.nothing_came()


    def test_what_a_reader_may_is_no_notification(self):
        r = self.ae("reader", originator="Creader")
        for row, query, method in (("by op", ["op=2"], 2), ("by op, not blocking",
                                   ["op=2", "rt=2"], 2), ("by its method", [], 1)):
            with self.subTest(row):
                self.denied(r.ask(RETRIEVE, "cb/box", body={"m2m:sgn": {}}, query=query,
                                  method=method), "4.00", 4000)
        self.expect(r.ask(RETRIEVE, "cb/none", query=["op=2"], method=2), "4.04", 4004)
        self.assertEqual([(q["op"], q.get("query")) for q in
                          self.cse["current"].requests(self.start_at)], [(2, [])])


class Fragile(InFront):
    """A CSE that ends on a request without RQI or RVI goes on living."""
    cses = ("current", "legacy")

    @classmethod
    def cse_options(cls):
        return ("--fragile",)

    def test_it_lives(self):
        for cse in self.cses:
            for missing in ("rqi", "rvi"):
                a = self.ae("app-current-" + cse, prefix="/" + cse,
                            originator="Capp-current-" + cse)
                self.expect(a.retrieve("cb", **{missing: None}), "4.00", 4000)
                self.expect(a.retrieve("cb"), "2.05", 2000)
class Newcomer(InFront):
    """An AE-ID that the CSE assigns is the subject's own from then on."""
    cses = ("current",)

    def register(self, fr):
        a = self.ae("newcomer")
        made = self.expect(a.create("cb", AE, {"rn": "n%d" % next(_serial), "api": "N1",
                                               "rr": True}, fr=fr), "2.01", 2001)
        return a, made.body["m2m:ae"]["aei"]

    def test_assigned(self):
        for fr in (None, "", "S", "C"):
            with self.subTest(repr(fr)):
                a, me = self.register(fr)
                self.expect(a.retrieve("cb", fr=me), "2.05", 2000)
                self.expect(a.retrieve("cb", fr=me + "x"), "4.03", 4106)
                other = self.ae("reader")
                self.expect(other.retrieve("cb/x", fr=me), "4.03", 4106)
                # on a new association, and after a restart of the gateway
                self.expect(self.ae("newcomer").retrieve("cb", fr=me), "2.05", 2000)

    def test_outlives_the_gateway(self):
        _, me = self.register("C")
        self.gw.kill()
        self.gw.start()
        self.expect(self.ae("newcomer").retrieve("cb", fr=me), "2.05", 2000)
        self.expect(self.ae("reader").retrieve("cb/x", fr=me), "4.03", 4106)

    def test_not_a_stem_of_its_choice(self):
        a = self.ae("newcomer")
        self.expect(a.create("cb", AE, {"rn": "z", "api": "N1", "rr": True}, fr="Creader"),
                    "4.03", 4126)


class Told(InFront):
    """A subscription's notifications come to the application over its own
    association, in its own numbering, and its answer goes back to the CSE."""
    cses = ("current", "legacy")
    applications = ("app-current-current", "app-current-legacy", "app-legacy-current",
                    "app-legacy-legacy")

    @classmethod
    def devices(cls):
        out = super().devices()
        cls.notify = {}
        for d in out:
            cls.notify[d["name"]] = d["notify"] = "coap://127.0.0.1:%d" % rig.free_port()
            d["cse-base"] = "cb"
        return out

    @classmethod
    def policy_text(cls):
        return super().policy_text().replace("forbid:", """\
  - {name: the-cse, psk-identity: the-cse, key-file: keys/app.psk, cse: /cse1, roles: [teller]}
forbid:""").replace("  reader:", """\
  teller:
    permit:
      - {path: /current/**, operations: [NOTIFY]}
      - {path: /legacy/**, operations: [NOTIFY]}
  reader:""")

    def subscribe(self, client, cse, poa=None):
        name = "app-%s-%s" % (client, cse)
        me, rn = "C" + name, "n%d" % next(_serial)
        a = self.ae(name, client, "/" + cse, me)
        made = {"rn": rn, "api": "N1", "rr": True, "poa": [poa or self.notify[cse] + "/" + me]}
        self.expect(a.create("cb", AE, made), "2.01", 2001)
        self.addCleanup(lambda: a.link.ssl and a.delete("cb/" + rn))
        self.expect(a.create("cb/" + rn, CNT, {"rn": "box"}), "2.01", 2001)
        self.expect(a.create("cb/%s/box" % rn, SUB, {"rn": "s", "nu": ["/cse1/" + me],
                                                     "enc": {"net": [3]}}), "2.01", 2001)
        return a, "cb/%s/box" % rn, me

    def test_each_pair(self):
        for client in ("current", "legacy"):
            for cse in self.cses:
                with self.subTest("%s client, %s CSE" % (client, cse)):
                    a, box, me = self.subscribe(client, cse)
                    start = self.cse[cse].mark()
                    for said in ("one", "two"):
                        self.expect(a.create(box, CIN, {"con": said}), "2.01", 2001)
                        told = a.next_notification()
                        self.assertEqual(told.m2m["fr"], "/cse1")
                        self.assertTrue(told.m2m["rqi"])
                        self.assertEqual(json.loads(told.payload)["m2m:sgn"]["nev"]["rep"]
                                         ["m2m:cin"]["con"], said)
                    m, _ = self.cse[cse].wait_line(r'"notified"', start)
                    self.assertEqual((json.loads(m.string)["code"], json.loads(m.string)["rsc"]),
                                     ("2.04", 2000))
                    self.gw.audit(lambda r: r.get("subject") == "the-cse" and
                                  r.get("verdict") == "permit" and r["path"].endswith(me))

    def test_nobody_there(self):
        a, box, _ = self.subscribe("current", "current")
        a.close()
        other = self.ae("app-current-current", originator="Capp-current-current")
        start = self.cse["current"].mark()
        # it has not spoken for that AE-ID when the CSE tells it
        other.send(2, box, {"fr": "Capp-current-current", "rqi": "z", "rvi": "3", "ty": CIN},
                   body={"m2m:cin": {"con": "x"}})
        other.next_notification()
        self.cse["current"].wait_line(r'"notified"', start)

    def test_a_stranger_cannot_tell(self):
        a, _, me = self.subscribe("current", "current")
        port = int(self.notify["current"].rsplit(":", 1)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.9", 0))
            s.sendto(onem2m.message(0, 2, 1, b"x", onem2m.CURRENT,
                                    {"fr": "/cse1", "rqi": "s1", "rvi": "3"}, [me], (), b"{}"),
                     ("127.0.0.1", port))
            self.expect(a.retrieve("cb"), "2.05", 2000)
            s.setblocking(False)
            with self.assertRaises(BlockingIOError):
                s.recv(2048)
        self.assertEqual(a.notified, [])
