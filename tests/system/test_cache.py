"""What devices answered, kept by the gate: fewer questions to the device, the
same answers to the clients, and nothing for those who may not ask."""
import json
import random
import zlib

import device
import dtls
import rig
from house import House, PSK

MAX_AGE, ETAG = device.MAX_AGE, device.ETAG


def tag_of(path, query):
    return b"%08x" % zlib.crc32(repr((path, tuple(query))).encode())


class Cache(House):
    """The same device behind three names: cache stated, yes and no."""
    policy = House.policy.replace(
        "{path: /slow/**, methods: [GET]}", "{path: /stated/**, methods: [GET, PUT, FETCH]}").replace(
        "{path: /dead/**, methods: [GET]}", "{path: /yes/**, methods: [GET, PUT, FETCH]}").replace(
        "{path: /gone/**, methods: [GET]}", "{path: /no/**, methods: [GET, PUT, FETCH]}").replace(
        "    permit:\n      - {path: /lamp/state, methods: [GET, PUT]}",
        "    permit:\n      - {path: /lamp/state, methods: [GET, PUT]}\n"
        "      - {path: /yes/a, methods: [GET]}\n      - {path: /no/a, methods: [GET]}")

    @classmethod
    def devices(cls):
        cls.seen = {}
        cls.sensor = cls.start(device.CoapDevice(cls.answer))
        # as many devices as places: each answers its own socket
        return super().devices() + [
            {"name": "stated", "path": "/stated", "url": cls.sensor.url, "window": 8},
            {"name": "yes", "path": "/yes", "url": cls.sensor.url, "cache": "yes", "window": 8},
            {"name": "no", "path": "/no", "url": cls.sensor.url, "cache": "no", "window": 8}]

    @classmethod
    def answer(cls, r):
        """Constant: the same for the same question, whatever was written."""
        query = [v.decode() for v in r.all(device.QUERY)]
        if r.method == 3:
            return ("4.05" if "deny" in query else "2.04"), [], b""
        options = []
        for q in query:
            if q.startswith("age="):
                options.append((MAX_AGE, device.uint(int(q[4:]))))
        etag = tag_of(r.path, query)
        if "etag" in query:
            options.append((ETAG, etag))
            if etag in r.all(ETAG):
                return "2.03", options, b""
        if "missing" in query:
            return "4.04", options, b""
        return "2.05", options, ("%s %s" % (r.path, query)).encode() + r.payload

    def count(self):
        return len(self.sensor.requests)

    def panel(self, name=b"panel"):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(name, PSK))
        self.addCleanup(c.close)
        return c

    def test_stock_clients_share_an_answer(self):
        before = self.count()
        for i in range(5):
            a = self.ask("/stated/shared?age=30", "2.05")
            self.assertIn(b"/shared", a.payload)
            self.assertIn("Max-Age:", a.options)
        self.assertEqual(self.count(), before + 1)
        self.gw.audit(lambda r: r.get("path") == "/stated/shared" and r.get("source") == "cache"
                      and r["verdict"] == "permit" and r["code"] == "2.05")
        status = json.loads(self.gw.postern("status", "-c", "postern.yaml", "--json", check=0).text)
        self.assertGreaterEqual(status["counters"]["cache_hits"], 4)
        self.assertGreater(status["cache"]["bytes"], 0)
        self.assertIn("cache ", self.gw.postern("status", "-c", "postern.yaml", check=0).text)
        # a client's ETag: told by us that it still holds
        a = self.ask("/stated/etag?age=30&etag", "2.05")
        etag = tag_of("/etag", ("age=30", "etag"))
        self.ask("/stated/etag?age=30&etag", "2.03", options=[(ETAG, etag)])
        # not for who may not; nor for a moment longer than the policy says so
        self.ask("/stated/shared?age=30", "4.03", psk=(b"owl", PSK))
        self.ask("/stated/shared?age=30", "4.03", psk=(b"visitor", PSK))
        # without a word of the device only where the operator says so
        before = self.count()
        for place, asked in (("stated", 2), ("yes", 1), ("no", 2)):
            self.ask("/%s/quiet" % place, "2.05")
            self.ask("/%s/quiet" % place, "2.05")
            before += asked
            self.assertEqual(self.count(), before, place)
        # written: asked again
        self.ask("/yes/other", "2.04", method="put", payload=b"x", fmt=0)
        self.ask("/yes/quiet", "2.05")
        self.assertEqual(self.count(), before + 2)

    def test_the_same_for_all_with_and_without(self):
        """Random questions of clients of different rights, through a place
        that keeps answers and one that does not."""
        clients = [self.panel(), self.panel(), self.panel(b"visitor"), self.panel(b"owl")]
        rnd = random.Random(7)
        before = self.count()
        outcomes = {}
        for _ in range(600):
            c = rnd.randrange(len(clients))
            method = 3 if rnd.random() < 0.04 else rnd.choice((1, 1, 1, 5))
            name = rnd.choice(("a", "b", "c"))
            query = rnd.sample(("age=1", "age=60", "etag", "missing", "deny"), rnd.randrange(3))
            if sum(q.startswith("age") for q in query) > 1:
                continue
            payload = rnd.choice((b"", b"p", b"q")) if method != 1 else b""
            options = [(device.QUERY, q.encode()) for q in query]
            if rnd.random() < 0.2:
                options.append((ETAG, tag_of("/" + name, query)))
            got = [clients[c].answer(clients[c].request("/%s/%s" % (place, name), method, payload,
                                                        options)) for place in ("yes", "no")]
            self.assertEqual(got[0], got[1], (c, method, name, options, payload))
            outcomes[got[0][0]] = outcomes.get(got[0][0], 0) + 1
        self.assertTrue({"2.05", "2.03", "2.04", "4.03", "4.04", "4.05"} <= set(outcomes), outcomes)
        # Records are written behind the answers, in order: the last is waited for.
        clients[0].get("/no/last")
        self.gw.audit(lambda r: "last" in json.dumps(r))
        asked = {"yes": 0, "no": 0}
        for r in (r for r in [json.loads(l) for l in self.records()]
                  if r.get("device") in asked and r["verdict"] == "permit"):
            asked[r["device"]] += r.get("source") != "cache"
        self.assertLess(asked["yes"], 0.8 * asked["no"])
        self.assertGreaterEqual(self.count() - before, asked["yes"])

    def records(self):
        with open(self.gw.path("log/audit.jsonl")) as f:
            return f.read().splitlines()

    def test_a_silent_device_still_serves(self):
        """A device that sleeps: what it said holds until it is over."""
        odd = rig.SilentDevice()
        self.addCleanup(odd.stop)
        gw = rig.Gateway(self.policy, [{"name": "lamp", "path": "/lamp", "url": odd.url}],
                         secrets=self.secrets())
        self.addCleanup(gw.close)
        c = dtls.Client(("127.0.0.1", gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)
        odd.settle()
        token = c.request("/lamp/state")
        datagram, to = odd.receive()
        tkl = datagram[0] & 15
        odd.sock.sendto(bytes([0x60 | tkl, 0x45]) + datagram[2:4 + tkl] + b"\xd1\x01\x3c\xffon", to)
        self.assertEqual(c.answer(token), ("2.05", b"on"))
        for _ in range(20):
            self.assertEqual(c.get("/lamp/state"), ("2.05", b"on"))
        gw.stop()
