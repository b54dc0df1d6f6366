"""Bodies in blocks (RFC 7959) through the gate, by stock clients, to stock
servers and to devices of other habits."""
import concurrent.futures
import os
import random
import tempfile

import device
import dtls
import rig
from house import House, PSK

PANEL = (b"panel", PSK)


class Blocks(House):
    @classmethod
    def devices(cls):
        cls.small = device.Store(szx=2)           # 64 bytes
        cls.strict = device.Store(szx=1, denies=True)
        cls.odd_answers = {}
        cls.little = cls.start(device.CoapDevice(cls.small))
        cls.denier = cls.start(device.CoapDevice(cls.strict))
        cls.odd = cls.start(device.CoapDevice(lambda r: cls.odd_answers[r.path](r)))
        return super().devices() + [
            {"name": "little", "path": "/slow", "url": cls.little.url},
            {"name": "denier", "path": "/dead", "url": cls.denier.url},
            {"name": "odd", "path": "/gone", "url": cls.odd.url, "window": 4}]

    policy = House.policy.replace("{path: /slow/**, methods: [GET]}",
                                  "{path: /slow/**, methods: [GET, PUT, POST, FETCH]}").replace(
        "{path: /dead/**, methods: [GET]}", "{path: /dead/**, methods: [GET, PUT]}").replace(
        "{path: /gone/**, methods: [GET]}", "{path: /gone/**, methods: [GET, PUT]}")

    def body(self, n):
        return bytes(random.randrange(256) for _ in range(n))

    def put(self, path, body, size, psk=PANEL, wait=60, **more):
        with tempfile.NamedTemporaryFile() as f:  # of stdin it reads 20,000 bytes
            f.write(body)
            f.flush()
            return rig.coap(self.gw.coaps(path), "put", fmt=42, psk=psk, wait=wait,
                            more=("-b", str(size), "-f", f.name), **more)

    def get(self, path, size, wait=60):
        """The body as the stock client puts it together."""
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "body")
            a = rig.coap(self.gw.coaps(path), psk=PANEL, wait=wait,
                         more=("-b", str(size), "-o", out))
            if not os.path.exists(out):
                self.fail(a.output[-3000:])
            with open(out, "rb") as f:
                return f.read()

    def test_stock_to_stock(self):
        for n, down, up in ((0, 16, 1024), (16, 16, 16), (1000, 64, 1024), (1024, 1024, 64),
                            (1025, 1024, 64), (5000, 256, 512), (20000, 64, 1024),
                            (100 << 10, 1024, 1024)):
            with self.subTest(n=n, down=down, up=up):
                body = self.body(n)
                a = self.put("/lamp/body-%d" % n, body, down)
                self.assertIn(a.code, ("2.01", "2.04"), a.output[-2000:])
                if n:
                    self.assertEqual(self.get("/lamp/body-%d" % n, up), body)

    def test_a_device_of_small_blocks(self):
        """It answers the first block of 1024 by the size that it would like."""
        for n, size in ((100, 1024), (3000, 1024), (3000, 64), (3000, 16), (10000, 256)):
            with self.subTest(n=n, size=size):
                body = self.body(n)
                a = self.put("/slow/x", body, size)
                self.assertEqual(a.code, "2.04", a.output[-2000:])
                self.assertEqual(self.small.bodies["/x"], body)
                self.assertEqual(self.get("/slow/x", size), body)

    def test_a_device_that_denies_large_ones(self):
        """4.13 with a smaller size: the client's to heed, one message at a time."""
        c = self.panel()
        options = [(device.BLOCK1, device.block(0, True, 6)), (device.SIZE1, device.uint(2048))]
        got = c.receive_request("/dead/x", 3, b"x" * 1024, options)
        self.assertEqual((got.code, device.read_block(got.first(device.BLOCK1))),
                         ("4.13", (0, False, 1)))
        for i in range(4):
            got = c.receive_request("/dead/x", 3, b"x" * 32,
                                    [(device.BLOCK1, device.block(i, i < 3, 1))])
        self.assertEqual(got.code, "2.04")
        self.assertEqual(self.strict.bodies["/x"], b"x" * 128)

    def panel(self):
        c = Speaker(("127.0.0.1", self.gw.ports[4][1]), psk=PANEL)
        self.addCleanup(c.close)
        return c

    def test_many_at_once(self):
        """Every body that the device took is somebody's, and every client that
        was told so wrote one."""
        bodies = [bytes([65 + i]) * (2000 + 300 * i) for i in range(6)]
        self.small.whole.clear()
        with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
            answers = list(pool.map(lambda b: self.put("/slow/shared", b, 256), bodies))
        for body in self.small.whole:
            self.assertIn(body, bodies)
        for body, a in zip(bodies, answers):
            self.assertEqual(a.code, "2.04", a.output[-1500:])
            self.assertIn(body, self.small.whole)

    def test_crossed_blocks(self):
        """Two that send block by block in turns: the second's is held back."""
        ann, bob = self.panel(), self.panel()
        self.small.whole.clear()
        one = lambda i, more: [(device.BLOCK1, device.block(i, more, 2))]
        self.assertEqual(ann.receive_request("/slow/x", 3, b"a" * 64, one(0, True)).code, "2.31")
        waits = bob.request("/slow/x", 3, b"b" * 64, one(0, True))
        self.assertEqual(ann.receive_request("/slow/x", 3, b"a" * 64, one(1, True)).code, "2.31")
        self.assertEqual(ann.receive_request("/slow/x", 3, b"end", one(2, False)).code, "2.04")
        self.assertEqual(bob.answer(waits)[0], "2.31")
        self.assertEqual(ann.receive_request("/slow/x", 3, b"late", one(3, False)).code, "4.08")
        self.assertEqual(bob.receive_request("/slow/x", 3, b"end", one(1, False)).code, "2.04")
        self.assertEqual(self.small.whole, [b"a" * 128 + b"end", b"b" * 64 + b"end"])

    def test_odd_devices(self):
        """What makes no sense passes or becomes 5.02; the gate stays well."""
        b2, c = device.BLOCK2, self.panel()
        rows = {
            "/jumps": (lambda r: ("2.05", [(b2, device.block(77, True, 2))], b"x" * 64), "2.05"),
            "/lies": (lambda r: ("2.05", [(b2, device.block(0, True, 2)),
                                          (device.SIZE2, b"\xff" * 4)], b"x" * 3), "2.05"),
            "/large": (lambda r: ("2.05", [(b2, device.block(0, True, 0))], b"x" * 1900), "2.05"),
            "/reserved": (lambda r: ("2.05", [(b2, device.block(0, True, 7))], b"x"), "5.02"),
            "/long": (lambda r: ("2.05", [(b2, b"\0\0\0\0")], b"x"), "5.02"),
            "/twice": (lambda r: ("2.05", [(b2, b""), (b2, b"\x10")], b"x"), "5.02"),
            "/q-block": (lambda r: ("2.05", [(31, b"\x0e")], b"x"), "5.02"),
            "/continue": (lambda r: ("2.31", [(device.BLOCK1, b"\x0e")], b""), "2.31"),
        }
        self.odd_answers.update((path, row[0]) for path, row in rows.items())
        for path, (_, wanted) in rows.items():
            for method in (1, 3):
                with self.subTest(path=path, method=method):
                    got = c.receive_request("/gone" + path, method, b"")
                    self.assertEqual(got.code, wanted)
        # a stock client that is led round in circles gives up, and only it
        etags = iter(range(1 << 16))

        def restless(r):
            num = device.read_block(r.first(b2) or b"\x02")[0]
            return "2.05", [(b2, device.block(num, True, 2)),
                            (device.ETAG, device.uint(next(etags) + 1))], b"x" * 64
        self.odd_answers["/restless"] = restless
        rig.coap(self.gw.coaps("/gone/restless"), psk=PANEL, wait=2, more=("-b", "64"))
        self.assertEqual(c.get("/lamp/state")[0], "2.05")


class Speaker(dtls.Client):
    def receive_request(self, path, method, payload, options=()):
        """A request, and its answer in full; one at a time."""
        token = self.request(path, method, payload, options)
        while True:
            m = self.receive()
            r = device.Request(m)
            if r.token == token and r.method:
                if r.kind == 0:
                    self.send(b"\x60\x00" + r.mid)
                r.code = "%d.%02d" % (r.method >> 5, r.method & 31)
                return r
