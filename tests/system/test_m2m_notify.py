"""A CSE notifies applications that have no address but their association: in
either numbering, with one worker and with several, over UDP; and who cannot be
reached is told to the CSE in its own terms."""
import json
import shutil
import socket
import ssl
import tempfile

import rig
import tcp
from house import certificate
from onem2m import AE, CIN, CNT, SUB
from test_m2m import PSK, CseProcess, InFront

N = 8  # applications; the system spreads them over the workers

POLICY = """\
version: 1
mode: enforce
roles:
  application:
    permit:
      - {path: /cse/cb/**, operations: [CREATE, RETRIEVE, UPDATE, DELETE, DISCOVERY]}
  cse:
    permit:
      - {path: /cse/*/in, operations: [NOTIFY]}
subjects:
%s
"""


class Notified(InFront):
    numbering = "current"
    workers = 1

    @classmethod
    def build(cls):
        cls.notify = rig.free_port()
        cls.extra = "workers: %d\n" % cls.workers
        cls.cse = {cls.numbering: cls.start(CseProcess(cls.numbering))}
        cls.gw = cls.start(rig.Gateway(cls.policy_text(), cls.devices(), secrets=cls.secrets(),
                                       extra=cls.extra))

    @classmethod
    def devices(cls):
        return [{"name": "cse", "path": "/cse", "url": cls.cse[cls.numbering].url,
                 "dialect": "onem2m", "onem2m-options": cls.numbering, "cse-id": "/cse1",
                 "window": 8, "notify": "coap://127.0.0.1:%d" % cls.notify}]

    @classmethod
    def policy_text(cls):
        return POLICY % "\n".join(
            ["  - {name: app-%d, psk-identity: app-%d, key-file: keys/app.psk, originator: Capp-%d, "
             "roles: [application]}" % (i, i, i) for i in range(N)] +
            ["  - {name: the-cse, psk-identity: the-cse, key-file: keys/app.psk, cse: /cse1, "
             "roles: [cse]}"])

    def poa(self, i):
        return "coap://127.0.0.1:%d/Capp-%d/in" % (self.notify, i)

    def subscribed(self, i, numbering, name, verify=False):
        """An application with a container that it is notified of."""
        me = "Capp-%d" % i
        a = self.ae("app-%d" % i, numbering, "/cse", me)
        box = "cb/%s/box" % name
        self.expect(a.create("cb", AE, {"rn": name, "api": "N1", "rr": True,
                                        "poa": [self.poa(i)]}), "2.01", 2001)
        self.expect(a.create("cb/" + name, CNT, {"rn": "box"}), "2.01", 2001)
        self.expect(a.create(box, SUB, {"rn": "sub", "nu": [self.poa(i)],
                                        **({"su": "verify"} if verify else {})}), "2.01", 2001)
        self.addCleanup(lambda: a.delete("cb/" + name))
        return a, box

    def test_each(self):
        apps = [self.subscribed(i, ("current", "legacy")[i % 2], "n%d" % i) for i in range(N)]
        publisher = apps[0][0]
        for i, (a, box) in enumerate(apps):
            token = publisher.send(2, box, {"fr": "Capp-0", "rqi": "p%d" % i, "rvi": "3",
                                            "ty": CIN}, (), {"m2m:cin": {"con": str(i)}})
            seen = a.next_notification()
            self.assertEqual(seen.path, ["Capp-%d" % i, "in"])
            self.assertIn(b'"con": "%d"' % i, seen.payload)
            self.assertEqual(seen.m2m["fr"], "/cse1")
            self.assertEqual(publisher.answer(token).rsc, 2001)
        for i in range(N):
            # each was answered to the CSE as its application did
            self.cse[self.numbering].wait_line(r'"code": "2.04", "notified": "%s", "rsc": 2000' %
                                               self.poa(i))
        said = json.loads(self.gw.postern("status", "--json", "-c", "postern.yaml", check=0).text)
        self.assertGreaterEqual(said["counters"]["clients_notified_answered"], N)

    def test_who_came_last(self):
        """One that has come back, from elsewhere, and has not said goodbye."""
        _, box = self.subscribed(4, "current", "w")
        for i in range(6):
            a = self.ae("app-4", ("legacy", "current")[i % 2], "/cse", "Capp-4")
            self.expect(a.create(box, CIN, {"con": str(i)}), "2.01", 2001)
            self.assertIn(b'"con": "%d"' % i, a.next_notification().payload)

    def test_verified(self):
        a = self.ae("app-1", "current", "/cse", "Capp-1")
        self.expect(a.create("cb", AE, {"rn": "v1", "api": "N1", "rr": True,
                                        "poa": [self.poa(1)]}), "2.01", 2001)
        self.addCleanup(lambda: a.delete("cb/v1"))
        token = a.send(2, "cb/v1", {"fr": "Capp-1", "rqi": "s1", "rvi": "3", "ty": SUB}, (),
                       {"m2m:sub": {"rn": "s", "nu": [self.poa(1)], "su": "verify"}})
        self.assertIn(b'"vrq": true', a.next_notification().payload)
        self.assertEqual(a.answer(token).rsc, 2001)

    def test_nobody_there(self):
        a = self.ae("app-2", "current", "/cse", "Capp-2")
        start = self.cse[self.numbering].mark()
        self.expect(a.create("cb", AE, {"rn": "v2", "api": "N1", "rr": True}), "2.01", 2001)
        self.addCleanup(lambda: a.delete("cb/v2"))
        self.expect(a.create("cb/v2", CNT, {"rn": "box"}), "2.01", 2001)
        self.expect(a.create("cb/v2/box", SUB, {
            "rn": "sub", "nu": ["coap://127.0.0.1:%d/Cnobody/in" % self.notify]}), "2.01", 2001)
        self.expect(a.create("cb/v2/box", CIN, {"con": "1"}), "2.01", 2001)
        self.cse[self.numbering].wait_line(r'"code": "4.04".*Cnobody.*"rsc": 5103', start)

    def test_where_it_may_not(self):
        a = self.ae("app-3", "current", "/cse", "Capp-3")
        start = self.cse[self.numbering].mark()
        self.expect(a.create("cb", AE, {"rn": "v3", "api": "N1", "rr": True}), "2.01", 2001)
        self.addCleanup(lambda: a.delete("cb/v3"))
        self.expect(a.create("cb/v3", CNT, {"rn": "box"}), "2.01", 2001)
        self.expect(a.create("cb/v3/box", SUB, {
            "rn": "sub", "nu": ["coap://127.0.0.1:%d/Capp-3/else" % self.notify]}), "2.01", 2001)
        self.expect(a.create("cb/v3/box", CIN, {"con": "1"}), "2.01", 2001)
        self.cse[self.numbering].wait_line(r'"code": "4.03".*Capp-3/else.*"rsc": 4103', start)

    def test_a_stranger(self):
        """From another address than the CSE's: no answer at all."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.2", 0))
            s.connect(("127.0.0.1", self.notify))
            s.send(b"\x40\x02\x00\x01\xb7Capp-0!\xff{}")
            s.settimeout(0.3)
            with self.assertRaises((socket.timeout, ConnectionError)):
                s.recv(2048)


class NotifiedLegacy(Notified):
    numbering = "legacy"


class NotifiedByWorkers(Notified):
    workers = 4


class NotifiedByTcp(InFront):
    """Over TLS, where nothing is acknowledged or sent again."""

    @classmethod
    def build(cls):
        cls.notify = rig.free_port()
        cls.cse = {"current": cls.start(CseProcess("current"))}
        cls.tls = tempfile.mkdtemp(prefix="postern-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.tls, ignore_errors=True)
        ca = certificate(cls.tls, "ca", "test-ca", ca=True)
        certificate(cls.tls, "gateway", "gateway.test", issuer=ca)
        cls.tablet = certificate(cls.tls, "tablet", "tablet.home", issuer=ca)[2]
        secrets = cls.secrets()
        for name in ("ca.crt", "gateway.crt", "gateway.key"):
            with open(cls.tls + "/" + name, "rb") as f:
                secrets["tls/" + name] = f.read()
        cls.gw = cls.start(rig.Gateway(
            POLICY % "  - {name: tablet, certificate: tablet.home, originator: Ctablet, roles: "
            "[application]}\n  - {name: the-cse, psk-identity: the-cse, key-file: keys/app.psk, "
            "cse: /cse1, roles: [cse]}",
            [{"name": "cse", "path": "/cse", "url": cls.cse["current"].url, "dialect": "onem2m",
              "cse-id": "/cse1", "notify": "coap://127.0.0.1:%d" % cls.notify}],
            identity={"certificate": "tls/gateway.crt", "key": "tls/gateway.key",
                      "client-ca": "tls/ca.crt"}, secrets=secrets, tcp=True))

    def test_each_of_many(self):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.tls + "/ca.crt")
        c.load_cert_chain(*self.tablet)
        c.set_alpn_protocols(["coap"])
        p = tcp.Peer(self.gw.tcp_ports[4][1], c)
        self.addCleanup(p.close)

        def create(to, ty, body):
            code, rest = p.ask("/cse/" + to, 2, b"t", (
                (12, b"\x32"), (267, bytes([ty])), (271, b"3"), (279, b"Ctablet"), (283, b"r")),
                json.dumps(body).encode())
            self.assertEqual(code, "2.01", rest)

        create("cb", AE, {"m2m:ae": {"rn": "t", "api": "N1", "rr": True}})
        create("cb/t", CNT, {"m2m:cnt": {"rn": "box"}})
        create("cb/t/box", SUB, {"m2m:sub": {
            "rn": "s", "nu": ["coap://127.0.0.1:%d/Ctablet/in" % self.notify]}})
        for i in range(20):
            p.send(tcp.frame(2, b"t", tcp.path("/cse/cb/t/box", (12, b"\x32"), (267, b"\x04"),
                                               (271, b"3"), (279, b"Ctablet"), (283, b"r"))
                             + b"\xff" + json.dumps({"m2m:cin": {"con": str(i)}}).encode()))
            code, token, rest = p.receive()
            while code >> 5 == 7:
                code, token, rest = p.receive()
            self.assertEqual((code, len(token)), (2, 8))
            self.assertIn(b'"con": "%d"' % i, rest)
            # a bare answer, as one that knows no more of the binding would give
            p.send(tcp.frame(0x44, token))
            self.assertEqual(p.answer()[0], "2.01")


del InFront
