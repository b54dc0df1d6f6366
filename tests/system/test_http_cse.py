"""CSEs that speak the HTTP binding only (TS-0009), for AEs that speak CoAP in
either numbering."""
import json
import os
import socket
import subprocess
import sys

import dtls
import onem2m
import rig
from ae import Ae
from house import House, PSK
from onem2m import AE, CIN, CNT, CREATE, CSEBASE, DELETE, NOTIFY, RETRIEVE, SUB
from web import WebDevice, reply

HERE = os.path.dirname(os.path.abspath(__file__))
POLICY = """\
version: 1
mode: enforce
roles:
  all:
    permit:
      - {path: /cse/**, operations: [CREATE, RETRIEVE, UPDATE, DELETE, NOTIFY, DISCOVERY]}
  reader:
    permit:
      - {path: /cse/**, operations: [RETRIEVE]}
subjects:
  - {name: ann, psk-identity: ann, key-file: keys/ann.psk, roles: [all], originator: Cann,
     may-register: [Cann]}
  - {name: bob, psk-identity: bob, key-file: keys/bob.psk, roles: [reader], originator: Cbob}
"""


class Base(House):
    @classmethod
    def setUpClass(cls):
        cls.started = []

    def gateway(self, url, **more):
        psk = PSK.hex() + "\n"
        device = {"name": "cse", "path": "/cse", "url": url, "dialect": "onem2m",
                  "cse-id": "/cse1", "cse-base": "cb", **more}
        gw = rig.Gateway(POLICY, [device], secrets={"keys/ann.psk": psk, "keys/bob.psk": psk})
        self.addCleanup(gw.close)
        return gw

    def ae(self, gw, numbering="current", who="ann"):
        a = Ae(gw, (who.encode(), PSK), numbering, "C" + who)
        self.addCleanup(a.close)
        return a

    def cse(self):
        p = rig.Process([sys.executable, "-B", os.path.join(HERE, "cse.py"), "http", "0"])
        self.addCleanup(p.stop)
        m, _ = p.wait_line(r'"ready": (\d+)')
        return p, "http://127.0.0.1:" + m[1]

    def asked(self, cse, start):
        """What reached it from `start` on."""
        return [json.loads(l) for l in cse.lines[start:] if l and '"op"' in l]


class HttpCse(Base):
    def test_a_life(self):
        for numbering in ("current", "legacy"):
            for here in ("current", "legacy"):
                with self.subTest(client=numbering, device=here):
                    self.life(numbering, here)

    def life(self, numbering, here):
        cse, url = self.cse()
        gw = self.gateway(url, **{"onem2m-options": here})
        ann = self.ae(gw, numbering)
        a = ann.create("cb", AE, {"rn": "lamp", "api": "Nlamp", "rr": True})
        self.assertEqual((a.code, a.rsc), ("2.01", 2001), a)
        self.assertEqual(a.location, ["cse", "cb", "lamp"])
        self.assertEqual(a.body["m2m:ae"]["aei"], "Cann")
        a = ann.create("cb/lamp", CNT, {"rn": "state"})
        self.assertEqual((a.code, a.rsc, a.location), ("2.01", 2001, ["cse", "cb", "lamp", "state"]))
        for i in range(3):
            a = ann.create("cb/lamp/state", CIN, {"con": "on %d & <off>" % i})
            self.assertEqual((a.code, a.rsc), ("2.01", 2001))
        a = ann.retrieve("cb/lamp/state/la")
        self.assertEqual((a.code, a.rsc, a.body["m2m:cin"]["con"]), ("2.05", 2000, "on 2 & <off>"))
        for same in ("~/cse1/cb/lamp/state/ol",):
            self.assertEqual(ann.retrieve(same).body["m2m:cin"]["con"], "on 0 & <off>")
        a = ann.discover("cb", "ty=3+4", "lim=2")
        self.assertEqual((a.code, a.rsc, len(a.body["m2m:uril"])), ("2.05", 2000, 2))
        a = ann.update("cb/lamp/state", CNT, {"lbl": ["a", "b"]})
        self.assertEqual((a.code, a.rsc, a.body["m2m:cnt"]["lbl"]), ("2.04", 2004, ["a", "b"]))
        a = ann.retrieve("cb/lamp/state", query=("rt=1",))
        self.assertEqual((a.code, a.rsc), ("2.01", 1001), a)
        self.assertEqual(a.location[:2], ["cse", "cb"])
        a = ann.notify("cb/lamp", {"m2m:sgn": {"vrq": True}})
        self.assertEqual((a.code, a.rsc, a.payload), ("2.04", 2000, b""), a)
        # any operation by POST
        a = ann.ask(RETRIEVE, "cb/lamp", query=("op=2",), method=2)
        self.assertEqual((a.code, a.rsc), ("2.05", 2000), a)
        a = ann.ask(DELETE, "cb/lamp/state", query=("op=4",), method=2)
        self.assertEqual((a.code, a.rsc), ("2.02", 2002), a)
        a = ann.retrieve("cb/lamp/state")
        self.assertEqual((a.code, a.rsc, a.payload), ("4.04", 4004, b""))
        a = ann.create("cb", AE, {"rn": "lamp", "api": "Nlamp", "rr": True})
        self.assertEqual((a.code, a.rsc), ("4.03", 4105))
        a = ann.create("cb/lamp", CNT, {"bad": 1})
        self.assertEqual((a.code, a.rsc), ("4.00", 4102))
        a = ann.delete("cb/lamp")
        self.assertEqual((a.code, a.rsc), ("2.02", 2002))
        # nothing that a CSE refuses came there, and each in the form of its binding
        for r in self.asked(cse, 0):
            self.assertIn("x-m2m-ri", r["headers"])
            self.assertEqual(r["headers"]["x-m2m-origin"], "Cann")
            if r["op"] == CREATE:
                self.assertRegex(r["type"], r"^application/json;ty=\d+$")
        gw.close()
        cse.stop()

    def test_what_is_told(self):
        """Every parameter that has a header field, and none that ends here."""
        w = WebDevice(lambda r: reply(
            200, b"{}", ("Content-Type", "application/json"), ("X-M2M-RSC", "2000"),
            ("X-M2M-RI", r.headers["x-m2m-ri"]), ("X-M2M-RVI", "2a"), ("X-M2M-OT",
                                                                      "20260601T120000,123456"),
            ("X-M2M-RST", "20260601T130000"), ("X-M2M-EC", "4"), ("X-M2M-CTS", "1"),
            ("X-M2M-CTO", "300"), ("X-M2M-ATI", "l1:t1+l2:t2"), ("X-M2M-VSI", "v"),
            ("X-M2M-Origin", "/cse1")))
        self.addCleanup(w.stop)
        gw = self.gateway(w.url + "/onem2m")
        ann = self.ae(gw)
        a = ann.retrieve("cb/x", query=("rcn=1", "tqi=0", "lbl=a+b"), ot="20260601T110000",
                         rqet="20990601T110000", rset="20990601T110001", oet="20990601T110002",
                         rturi="http://a/b", ec=3, gid="g1", vsi="x y", aus="sig", rvi="3")
        self.assertEqual((a.code, a.rsc), ("2.05", 2000), a)
        r = w.requests[-1]
        self.assertEqual((r.method, r.target), ("GET", "/onem2m/cb/x?rcn=1&lbl=a+b"))
        told = {k: v for k, v in r.headers.items() if k.startswith("x-m2m")}
        self.assertEqual(told, {
            "x-m2m-origin": "Cann", "x-m2m-ri": a.rqi, "x-m2m-rvi": "3",
            "x-m2m-ot": "20260601T110000", "x-m2m-ret": "20990601T110000",
            "x-m2m-rst": "20990601T110001", "x-m2m-oet": "20990601T110002",
            "x-m2m-rtu": "http://a/b", "x-m2m-ec": "3", "x-m2m-gid": "g1", "x-m2m-vsi": "x y",
            "x-m2m-as": "sig"})
        m = a.message.m2m
        self.assertEqual({k: m.get(k) for k in ("rvi", "ot", "rset", "ec", "cts", "cto", "ati",
                                                "vsi", "fr")},
                         {"rvi": "2a", "ot": "20260601T120000", "rset": "20260601T130000", "ec": 4,
                          "cts": 1, "cto": 300, "ati": "l1:t1+l2:t2", "vsi": "v", "fr": "/cse1"})

    def test_what_is_not_told(self):
        w = WebDevice(lambda r: reply(200))
        self.addCleanup(w.stop)
        gw = self.gateway(w.url)
        ann = self.ae(gw)
        for name, params, code, rsc in (
                ("a parameter without a field", {"gtm": "a"}, "5.01", 5001),
                ("beyond ASCII", {"vsi": "\u00e4"}, "4.00", 4000),
                ("space in front", {"vsi": " x"}, "4.00", 4000),
                ("space behind", {"gid": "x "}, "4.00", 4000)):
            with self.subTest(name):
                a = ann.retrieve("cb/x", **params)
                self.assertEqual((a.code, a.rsc, a.payload), (code, rsc, b""), a)
        for name, params in (("a line's end", {"rqi": "a\r\nX-M2M-Origin: /admin"}),
                             ("a line's end in FR", {"fr": "Cann\nX-M2M-Origin: /admin"})):
            with self.subTest(name):
                t = ann.send(1, "cb/x", {"fr": "Cann", "rqi": "r1", "rvi": "3", **params})
                self.assertIn(ann.answer(t).code, ("4.00", "4.02", "4.03"))
        a = ann.ask(RETRIEVE, "cb/x", body={"m2m:atrl": ["rn"]})
        self.assertEqual((a.code, a.rsc), ("4.00", 4000))
        self.assertEqual(w.requests, [])

    def test_a_spoofed_originator(self):
        w = WebDevice(lambda r: reply(200))
        self.addCleanup(w.stop)
        gw = self.gateway(w.url)
        bob = self.ae(gw, who="bob")
        a = bob.retrieve("cb/x", fr="Cann")
        self.assertEqual((a.code, a.rsc, a.payload), ("4.03", 4106, b""))
        a = bob.create("cb", CNT, {"rn": "x"})
        self.assertEqual((a.code, a.rsc, a.payload), ("4.03", 4103, b""))
        self.assertEqual(w.requests, [])

    def test_hostile_answers(self):
        out = {}
        w = WebDevice(lambda r: out["how"](r))
        self.addCleanup(w.stop)
        gw = self.gateway(w.url)
        ann = self.ae(gw)

        def answer(status, *headers, body=b"", ri=True, kind=True):
            return lambda r: reply(status, body, *headers,
                                   *([("X-M2M-RI", r.headers["x-m2m-ri"])] if ri else []),
                                   *([("Content-Type", "application/json")] if kind and body else []))
        well = ("X-M2M-RSC", "2000")
        for name, how, code, rsc in (
                ("well", answer(200, well), "2.05", 2000),
                ("no request identifier", answer(200, well, ri=False), "2.05", 2000),
                ("another's request identifier",
                 answer(200, well, ("X-M2M-RI", "other"), ri=False), "5.00", 5000),
                ("two request identifiers", answer(200, well, ("X-M2M-RI", "x")), "5.00", 5000),
                ("no status", answer(200), "2.05", 2000),
                ("no status, not found", answer(404), "4.04", 4004),
                ("two statuses", answer(200, well, ("X-M2M-RSC", "4004")), "5.00", 5000),
                ("a status that is none", answer(200, ("X-M2M-RSC", "20x0")), "5.00", 5000),
                ("a status that is too long", answer(200, ("X-M2M-RSC", "20000")), "5.00", 5000),
                ("no such status", answer(200, ("X-M2M-RSC", "0000")), "5.00", 5000),
                ("success that is a failure", answer(403, well), "5.00", 5000),
                ("failure that is a success", answer(200, ("X-M2M-RSC", "4103")), "5.00", 5000),
                ("denied", answer(403, ("X-M2M-RSC", "4103")), "4.03", 4103),
                ("a status of its own", answer(500, ("X-M2M-RSC", "6999")), "5.00", 6999),
                ("redirected", answer(302, well, ("Location", "/x")), "5.00", 5000),
                ("unreachable target", answer(404, ("X-M2M-RSC", "5103")), "4.04", 5103),
                ("a line of the proxy before it", answer(502, body=b"{}"), "5.00", 5000),
                ("long parameters", answer(200, well, ("X-M2M-VSI", "v" * 300),
                                           ("X-M2M-CTO", "70000"), ("X-M2M-OT", "today"),
                                           ("X-M2M-RVI", "333")), "2.05", 2000)):
            with self.subTest(name):
                out["how"] = how
                a = ann.retrieve("cb/x")
                self.assertEqual((a.code, a.rsc), (code, rsc), a)

    def test_formats_and_bodies(self):
        body = json.dumps({"m2m:cin": {"con": "x" * 3000}}).encode()
        w = WebDevice(lambda r: reply(200, body, ("X-M2M-RSC", "2000"), ("Content-Type",
                                      "application/vnd.onem2m-res+json; charset=utf-8")))
        self.addCleanup(w.stop)
        gw = self.gateway(w.url)
        ann = self.ae(gw)
        got, i = b"", 0
        while True:  # a block at a time, of 512
            a = ann.retrieve("cb/x", rqi="one", options=[
                (onem2m.BLOCK2, onem2m.uint(i << 4 | 5))])
            self.assertEqual((a.code, a.rsc), ("2.05", 2000), a)
            self.assertEqual(a.message.values(12), [b"\x27\x11"])  # 10001
            got += a.payload
            if not a.message.values(onem2m.BLOCK2)[0][-1] & 8:
                break
            i += 1
        self.assertEqual(got, body)
        self.assertEqual(len(w.requests), 1)
        a = ann.retrieve("cb/x", options=[(onem2m.ACCEPT, b"\x32")])
        self.assertEqual(a.message.values(12), [b"\x32"])  # asked for JSON by its other name
        self.assertEqual(w.requests[-1].headers["accept"], "application/json")
        a = ann.retrieve("cb/x", options=[(onem2m.ACCEPT, b"\x3c")])
        self.assertEqual((a.code, a.rsc, a.payload), ("4.06", 5207, b""))


    def test_a_large_creation(self):
        """In blocks from the client, whole to the CSE, once."""
        cse, url = self.cse()
        gw = self.gateway(url)
        for numbering in ("current", "legacy"):
            ann = self.ae(gw, numbering)
            a = ann.create("cb", AE, {"rn": "a", "api": "N1", "rr": True})
            self.assertEqual((a.code, a.rsc), ("2.01", 2001), a)
            a = ann.create("cb/a", CNT, {"rn": "box"})
            self.assertEqual((a.code, a.rsc), ("2.01", 2001))
            content = "x" * 5000
            body = json.dumps({"m2m:cin": {"con": content}}).encode()
            for i in range(0, len(body), 256):
                more = i + 256 < len(body)
                token = ann.send(2, "cb/a/box", {"fr": "Cann", "rqi": "big", "rvi": "3", "ty": CIN},
                                 (), body[i:i + 256],
                                 [(onem2m.BLOCK1, onem2m.uint(i // 256 << 4 | more << 3 | 4))])
                a = ann.answer(token)
                self.assertEqual((a.code, a.rsc), ("2.31", None) if more else ("2.01", 2001), a)
            self.assertEqual(a.location[:4], ["cse", "cb", "a", "box"])
            got, i, block = b"", 0, None
            while block is None or block & 8:
                a = ann.retrieve("cb/a/box/la", rqi="back", options=[
                    (onem2m.BLOCK2, onem2m.uint(i << 4 | 6))])
                self.assertEqual((a.code, a.rsc), ("2.05", 2000), a)
                got, i, block = got + a.payload, i + 1, a.message.values(onem2m.BLOCK2)[0][-1]
            self.assertEqual(json.loads(got)["m2m:cin"]["con"], content)
            self.assertEqual(ann.delete("cb/a").rsc, 2002)
        self.assertEqual(len([r for r in self.asked(cse, 0) if r["type"].endswith("ty=4")]), 2)


NOTIFY_POLICY = """\
version: 1
mode: enforce
roles:
  all:
    permit:
      - {path: /cse/**, operations: [CREATE, RETRIEVE, UPDATE, DELETE, NOTIFY, DISCOVERY]}
  teller:
    permit:
      - {path: /cse/*/in, operations: [NOTIFY]}
      - {path: /other/**, operations: [NOTIFY]}
subjects:
  - {name: ann, psk-identity: ann, key-file: keys/ann.psk, roles: [all], originator: Cann,
     may-register: [Cann]}
  - {name: the-cse, psk-identity: the-cse, key-file: keys/ann.psk, cse: /cse1, roles: [teller]}
"""


class HttpNotify(Base):
    """A CSE by HTTP that notifies by HTTP, of clients and of other devices."""
    workers = 1

    def notified_gateway(self, url, **more):
        self.port = rig.free_port(kind=socket.SOCK_STREAM)
        psk = PSK.hex() + "\n"
        devices = [{"name": "cse", "path": "/cse", "url": url, "dialect": "onem2m",
                    "cse-id": "/cse1", "cse-base": "cb", "notify": "http://127.0.0.1:%d" % self.port,
                    **more}]
        self.other = WebDevice(lambda r: reply(200, b"", ("X-M2M-RSC", "2000")))
        self.addCleanup(self.other.stop)
        devices.append({"name": "other", "path": "/other", "url": self.other.url,
                        "dialect": "onem2m"})
        gw = rig.Gateway(NOTIFY_POLICY, devices, secrets={"keys/ann.psk": psk},
                         extra="workers: %d\n" % self.workers)
        self.addCleanup(gw.close)
        return gw

    def say(self, *parts, port=None, source="127.0.0.1", n=1):
        """Raw bytes to the listener; its n answers as (status, headers, body)."""
        out, data = [], b""
        with socket.socket() as s:
            s.settimeout(rig.DEADLINE)
            s.bind((source, 0))
            s.connect(("127.0.0.1", port or self.port))
            for p in parts:
                s.sendall(p)
            while len(out) < n:
                while b"\r\n\r\n" not in data:
                    more = s.recv(4096)
                    if not more:
                        return out + [None]
                    data += more
                head, data = data.split(b"\r\n\r\n", 1)
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:])}
                length = int(headers.get("content-length", 0))
                while len(data) < length:
                    data += s.recv(4096)
                out.append((int(lines[0].split()[1]), headers, data[:length]))
                data = data[length:]
        return out

    def request(self, path, body=b'{"m2m:sgn":{}}', method="POST", more=(), drop=(), version="1.1"):
        lines = {"Host": "gw", "X-M2M-Origin": "/cse1", "X-M2M-RI": "n1", "X-M2M-RVI": "3",
                 "Content-Type": "application/json", "Content-Length": str(len(body))}
        for k in drop:
            lines.pop(k)
        text = "%s %s HTTP/%s\r\n" % (method, path, version)
        text += "".join("%s: %s\r\n" % kv for kv in [*lines.items(), *more])
        return text.encode() + b"\r\n" + body

    def test_subscribed(self):
        for numbering in ("current", "legacy"):
            with self.subTest(numbering):
                cse, url = self.cse()
                gw = self.notified_gateway(url)
                poa = "http://127.0.0.1:%d/Cann/in" % self.port
                ann = self.ae(gw, numbering)
                for answer in (ann.create("cb", AE, {"rn": "a", "api": "N1", "rr": True,
                                                     "poa": [poa]}),
                               ann.create("cb/a", CNT, {"rn": "box"}),
                               ann.create("cb/a/box", SUB, {"rn": "s", "nu": [poa], "su": "verify"})):
                    self.assertEqual((answer.code, answer.rsc), ("2.01", 2001), answer)
                self.assertIn(b"vrq", ann.next_notification().payload)
                for i in range(3):
                    a = ann.create("cb/a/box", CIN, {"con": str(i)})
                    self.assertEqual((a.code, a.rsc), ("2.01", 2001))
                    seen = ann.next_notification()
                    self.assertEqual(seen.path, ["Cann", "in"])
                    self.assertEqual(seen.m2m["fr"], "/cse1")
                    self.assertIn(b'"con": "%d"' % i, seen.payload)
                cse.wait_line('"code": 200, "notified": "%s"' % poa)
                gw.audit(lambda r: r.get("subject") == "the-cse" and r["verdict"] == "permit")
                gw.close()
                cse.stop()

    def test_who_may(self):
        w = WebDevice(lambda r: reply(200, b"", ("X-M2M-RSC", "2000")))
        self.addCleanup(w.stop)
        gw = self.notified_gateway(w.url)
        for name, path, status, rsc in (("nobody there", "/Cnobody/in", 404, "5103"),
                                        ("where it may not", "/Cann/else", 403, "4103"),
                                        ("another device", "/other/cb", 200, "2000")):
            with self.subTest(name):
                [(got, headers, _)] = self.say(self.request(path))
                self.assertEqual((got, headers.get("x-m2m-rsc"), headers.get("x-m2m-ri")),
                                 (status, rsc, "n1"), gw.proc.output())
        self.assertEqual(self.other.requests[-1].target, "/cb")
        # a stranger's connection ends before anything of it is read
        try:
            self.assertEqual(self.say(self.request("/other/cb"), source="127.0.0.9"), [None])
        except OSError:
            pass  # reset
        self.assertEqual(len(self.other.requests), 1)

    def test_who_misses_the_phrase(self):
        """A CSE that takes the first line for it finds all that it looks for."""
        w = WebDevice(lambda r: reply(200, b"", ("X-M2M-RSC", "2000")))
        self.addCleanup(w.stop)
        self.notified_gateway(w.url)
        for more, first in ((), "keep-alive"), ([("Connection", "close")], "close"):
            (_, headers, _), = self.say(self.request("/other/cb", more=more))
            self.assertEqual(next(iter(headers.items())), ("connection", first))
            self.assertEqual(headers["x-m2m-rsc"], "2000")

    def test_forms(self):
        w = WebDevice(lambda r: reply(200, b"", ("X-M2M-RSC", "2000")))
        self.addCleanup(w.stop)
        self.notified_gateway(w.url)
        to, body = "/other/cb", b'{"m2m:sgn":{}}'
        chunked = dict(drop=["Content-Length"], more=[("Transfer-Encoding", "chunked")])
        head = self.request(to, b"", **chunked)
        for name, parts, want in (
                ("well", [self.request(to)], [200]),
                ("in pieces", [bytes([b]) for b in self.request(to)], [200]),
                ("two, one behind the other", [self.request(to) * 2], [200, 200]),
                ("chunks", [head + b"3;x=1\r\n" + body[:3] + b"\r\nb\r\n" + body[3:] +
                            b"\r\n0\r\nX-T: 1\r\n\r\n"], [200]),
                ("leave to go on", [self.request(to, more=[("Expect", "100-continue")])], [200]),
                ("release 1.0", [self.request(to, version="1.0")], [200, None]),
                ("its last", [self.request(to, more=[("Connection", "close")])], [200, None]),
                ("no request identifier", [self.request(to, drop=["X-M2M-RI"])], [400]),
                ("two request identifiers", [self.request(to, more=[("X-M2M-RI", "n2")])], [400]),
                ("a time that is none", [self.request(to, more=[("X-M2M-OT", "now")])], [400]),
                ("a CREATE", [self.request(to, drop=["Content-Type"], more=[
                    ("Content-Type", "application/json;ty=2")])], [405]),
                ("no type", [self.request(to, drop=["Content-Type"])], [415]),
                ("another type", [self.request(to, drop=["Content-Type"], more=[
                    ("Content-Type", "text/html")])], [415]),
                ("a GET", [self.request(to, method="GET")], [405]),
                ("an operation", [self.request(to + "?op=4")], [405]),
                ("above", [self.request("/other/../cse/cb")], [400]),
                ("above, encoded", [self.request("/other/%2e%2e/cse")], [400]),
                ("a slash, encoded", [self.request("/other/a%2Fb")], [400]),
                ("half a byte", [self.request("/other/%4")], [400]),
                ("too large", [self.request(to, b"x" * 3000)], [413, None]),
                ("as large as a message", [self.request(to, b'"' + b"x" * 2040 + b'"')], [413]),
                ("two lengths", [self.request(to, more=[("Content-Length", "1")])], [400, None]),
                ("a length and chunks", [self.request(to, more=[("Transfer-Encoding", "chunked")])],
                 [400, None]),
                ("another coding", [self.request(to, drop=["Content-Length"], more=[
                    ("Transfer-Encoding", "gzip")])], [501, None]),
                ("a length below zero", [self.request(to, drop=["Content-Length"], more=[
                    ("Content-Length", "-1")])], [400, None]),
                ("a chunk that is none", [head + b"x\r\n"], [400, None]),
                ("a chunk too large", [head + b"ffffffffff\r\n"], [413, None]),
                ("bare line feeds", [self.request(to).replace(b"\r\n", b"\n")], [400, None]),
                ("folded", [self.request(to, more=[("X-A", "1\r\n 2")])], [400, None]),
                ("space before the colon", [self.request(to, more=[("X-A ", "1")])], [400, None]),
                ("another release", [self.request(to, version="2.0")], [505, None]),
                ("a whole URL", [self.request("http://gw" + to)], [400, None]),
                ("a long line", [b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"], [431, None]),
                ("many fields", [self.request(to, more=[("X-%d" % i, "1") for i in range(60)])],
                 [431, None]),
                ("TLS", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"], [400, None])):
            with self.subTest(name):
                got = self.say(*parts, n=len(want))
                self.assertEqual([g and g[0] for g in got if not g or g[0] != 100], want)
        self.assertEqual({r.body for r in self.other.requests}, {body})

    def test_many_connections(self):
        w = WebDevice(lambda r: reply(200, b"", ("X-M2M-RSC", "2000")))
        self.addCleanup(w.stop)
        self.notified_gateway(w.url)
        held = []
        for _ in range(16):
            s = socket.create_connection(("127.0.0.1", self.port), rig.DEADLINE)
            self.addCleanup(s.close)
            s.sendall(b"POST ")
            held.append(s)
        try:
            self.assertEqual(self.say(self.request("/other/cb")), [None])
        except OSError:
            pass
        held[0].sendall(self.request("/other/cb")[5:])
        self.assertIn(b" 200 ", held[0].recv(4096))


class HttpNotifySeveral(HttpNotify):
    """The device's own worker listens, whoever has the client."""
    workers = 3
