"""Observations (RFC 7641) by stock clients at stock devices, and by hostile
ones of our own."""
import re
import socket
import struct
import threading
import time

import dtls
import rig
from house import House, PSK

OBSERVE = 6


def observing(url, seconds, tls="openssl", psk=(b"panel", PSK), more=()):
    """A stock client that observes; its lines are read as they come."""
    return rig.Process(["coap-client-" + tls, "-v", "7", "-s", str(seconds), "-B",
                        str(seconds + 5), "-u", psk[0], "-k", psk[1], *more, url])


NOTICE = r"^v:\S+ (?:t:\w+ )?c:2.05 .*Observe:(\d+)"
ANSWER = r"^v:\S+ (?:t:\w+ )?c:([245]\.\d\d) .*\[(.*?)\]"


class Observe(House):
    def registrations(self, device, start=0):
        """Their tokens: a stock device prints a request again whenever it
        asks itself for a notification."""
        return {re.search(r"\{(\w+)\}", l)[1] for l in device.requests(start)
                if re.search(r"Observe:0?,", l)}

    def test_stock_clients_share_one_observation(self):
        """The stock device's /time changes each second."""
        start = self.lamp.mark()
        clients = [observing(self.gw.coaps("/lamp/time"), 20, tls)
                   for tls in ("openssl", "gnutls", "openssl")]
        try:
            for c in clients:
                at, numbers = 0, []
                for _ in range(5):
                    m, at = c.wait_line(NOTICE, at)
                    numbers.append(int(m[1]))
                self.assertTrue(all((b - a) % 2 ** 24 < 2 ** 23 and a != b
                                    for a, b in zip(numbers, numbers[1:])), numbers)
            self.assertEqual(len(self.registrations(self.lamp, start)), 1)
            record = self.gw.audit(lambda r: r.get("observation") == "notified" and
                                   r["path"] == "/lamp/time")
            self.assertEqual(record["verdict"], "permit")
        finally:
            for c in clients:
                c.stop()

    def test_a_client_that_ends_its_observation(self):
        start = self.lamp.mark()
        c = observing(self.gw.coaps("/lamp/time?end"), 2)
        c.wait_line(NOTICE)
        c.wait_line(r"c:GET .*Observe:1")
        self.lamp.wait_line(r"c:GET .*Observe:1.*Uri-Query:end|t:RST", start)
        c.stop()
        self.gw.audit(lambda r: r.get("observation") == "ended" and
                      r.get("reason") == "deregistered")

    def test_a_change_by_another_client_is_notified(self):
        c = observing(self.gw.coaps("/lamp/state"), 20)
        try:
            _, at = c.wait_line(NOTICE)
            self.ask("/lamp/state", "2.04", method="put", payload=b"bright", fmt=0)
            c.wait_line(r"c:2.05 .*Observe.*'bright'", at)
            self.ask("/lamp/state", "2.04", method="put", payload=b"on", fmt=0)
            c.wait_line(r"c:2.05 .*Observe.*'on'", at)
        finally:
            c.stop()

    def test_a_resource_that_cannot_be_observed(self):
        c = observing(self.gw.coaps("/lamp"), 1)
        m, _ = c.wait_line(ANSWER)
        self.assertNotIn("Observe", m[2])
        c.stop()

    def test_a_revoked_token_stops_it(self):
        start = self.lamp.mark()
        client = self.enter(scope="lights_r", aud="lamp")
        c = observing(self.gw.coaps("/lamp/time?revoked"), 20, psk=client.psk)
        try:
            _, at = c.wait_line(NOTICE)
            kid = "0x" + client.kid.hex()
            self.gw.postern("revoke", "-c", self.gw.path("postern.yaml"), "--kid", kid,
                            "-A", "home-as", check=0)
            c.wait_line(r"c:4.01 ", at)
            self.lamp.wait_line(r"c:GET .*Observe:1.*Uri-Query:revoked|t:RST", start)
        finally:
            c.stop()

    def test_a_token_that_ends_stops_it(self):
        client = self.enter(scope="lights_r", aud="lamp", exp=int(time.time()) + 4)
        c = observing(self.gw.coaps("/lamp/time?exp"), 20, psk=client.psk)
        try:
            _, at = c.wait_line(NOTICE)
            c.wait_line(r"c:4.01 ", at)
        finally:
            c.stop()

    def test_a_policy_that_no_longer_permits_it(self):
        c = observing(self.gw.coaps("/lamp/time?policy"), 20, psk=(b"visitor", PSK))
        m, _ = c.wait_line(ANSWER)
        self.assertEqual(m[1], "4.03")
        c.stop()
        c = observing(self.gw.coaps("/lamp/time?policy"), 20)
        try:
            _, at = c.wait_line(NOTICE)
            old, new = "- {path: /lamp/**, methods: [GET, PUT, DELETE]}", \
                "- {path: /lamp/**, methods: [PUT, DELETE]}"
            self.gw.edit("policy.yaml", old, new)
            self.gw.reload()
            c.wait_line(r"c:4.05 ", at)
            self.gw.edit("policy.yaml", new, old)
            self.gw.reload()
        finally:
            c.stop()

    def test_blocks(self):
        """Each notification is the first block; the client fetches the rest."""
        body = bytes(33 + i % 90 for i in range(700))
        self.ask("/lamp/long", "2.01", method="put", payload=body, fmt=0)
        c = observing(self.gw.coaps("/lamp/long"), 20, more=["-b", "256"])
        try:
            c.wait_line(r"c:2.05 .*Observe.*Block2:0/M/256")
            _, at = c.wait_line(r"c:2.05 .*Block2:2/_/256")
            self.ask("/lamp/long", "2.04", method="put", payload=body[::-1], fmt=0)
            c.wait_line(r"c:2.05 .*Observe.*Block2:0/M/256", at)
            c.wait_line(r"c:2.05 .*Block2:2/_/256", at)
        finally:
            c.stop()


class ObserveByTcp(Observe):
    """The same over TLS (RFC 8323), where a notification is neither CON nor NON."""
    tcp = True


class NoisyDevice:
    """Notifies as often as it is told to."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = "coap://127.0.0.1:%d" % self.port
        self.news = threading.Condition()
        self.observers = {}  # by token: from where
        self.registered = self.plain = self.resets = 0
        self.mid = 1
        self.value = 0
        self.reader = threading.Thread(target=self._serve, daemon=True)
        self.reader.start()

    def _serve(self):
        while True:
            try:
                d, to = self.sock.recvfrom(4096)
            except OSError:
                return
            if len(d) < 4 or d == b"":
                return
            kind, tkl = d[0] >> 4 & 3, d[0] & 15
            with self.news:
                if kind == 3:
                    self.resets += 1
                self.news.notify_all()
            if not 0 < d[1] < 32:
                continue
            token = d[4:4 + tkl]
            code, observe = 0x45, None
            if b".well-known" in d:
                code = 0x84
            else:
                # Observe comes first of all options
                rest = d[4 + tkl:]
                if rest[:1] == b"\x60":
                    observe = 0
                elif rest[:2] == b"\x61\x01":
                    observe = 1
            with self.news:
                if observe == 0:
                    self.registered += 1
                    self.observers[token] = to
                elif observe == 1:
                    self.observers.pop(token, None)
                elif code == 0x45:
                    self.plain += 1
                self.news.notify_all()
            self.sock.sendto(self.form(2 if kind == 0 else 1, code, d[2:4], token,
                                       observe == 0), to)

    def form(self, kind, code, mid, token, observe):
        options = b""
        if observe:
            with self.news:
                number = struct.pack("!I", self.value)[1:]
            options = b"\x63" + number
        body = b"\xff%d" % self.value if code == 0x45 else b""
        return bytes([0x40 | kind << 4 | len(token), code]) + mid + token + options + body

    def notify(self, sock=None, con=False):
        with self.news:
            self.value += 1
            observers = dict(self.observers)
        for token, to in observers.items():
            self.mid = (self.mid + 1) & 0xffff
            (sock or self.sock).sendto(self.form(0 if con else 1, 0x45,
                                                 struct.pack("!H", self.mid), token, True), to)

    def wait(self, what):
        with self.news:
            if not self.news.wait_for(what, rig.DEADLINE):
                raise AssertionError("the device waits in vain")

    def stop(self):
        self.sock.sendto(b"", ("127.0.0.1", self.port))
        self.reader.join(rig.DEADLINE)
        self.sock.close()


def has_observe(m):
    tkl = m[0] & 15
    return m[1] == 0x45 and 0x60 <= m[4 + tkl] <= 0x63


class HostileObserve(House):
    @classmethod
    def devices(cls):
        cls.noisy = cls.start(NoisyDevice())
        return super().devices() + [{"name": "slow", "path": "/slow", "url": cls.noisy.url,
                                     "window": 64, "queue": 1000}]

    def connect(self, psk=(b"panel", PSK)):
        return dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk)

    def drain(self, c, seconds):
        """All messages that come, acknowledged; until it is quiet for so long."""
        got = []
        c.deadline = seconds
        while True:
            try:
                m = c.receive()
            except socket.timeout:
                c.deadline = rig.DEADLINE
                return got
            if m[0] >> 4 & 3 == 0:
                c.send(b"\x60\x00" + m[2:4])
            got.append(m)

    def status(self, name):
        m = re.search(r'"%s":\s*(\d+)' % name, self.gw.postern(
            "status", "-c", self.gw.path("postern.yaml"), "--json", check=0).text)
        return int(m[1])

    def test_ten_thousand_registrations(self):
        """A client has its share; what is beyond is answered, and not observed."""
        c = self.connect()
        registered = self.noisy.registered
        observed = answered = 0
        for first in range(0, 10000, 50):
            tokens = set()
            for i in range(first, first + 50):
                tokens.add(c.request("/slow/many", options=[(OBSERVE, b"")],
                                     token=struct.pack("!I", i + 1)))
            while tokens:
                m = c.receive()
                token = m[4:4 + (m[0] & 15)]
                if m[0] >> 4 & 3 == 0:
                    c.send(b"\x60\x00" + m[2:4])
                if token in tokens:
                    tokens.remove(token)
                    self.assertEqual(m[1], 0x45)
                    answered += 1
                    observed += has_observe(m)
        self.assertEqual(answered, 10000)
        self.assertLessEqual(observed, 32)
        self.assertGreater(observed, 0)
        self.assertEqual(self.noisy.registered, registered + 1)
        self.noisy.notify()
        got = self.drain(c, 1)
        self.assertEqual(sum(has_observe(m) for m in got), observed)
        c.close()
        self.noisy.wait(lambda: not self.noisy.observers)

    def test_a_thousand_notifications_a_second(self):
        """The newest state, and not every state."""
        c = self.connect()
        token = c.request("/slow/fast", options=[(OBSERVE, b"")], token=b"fast")
        self.assertEqual(c.answer(token)[0], "2.05")
        stop = time.monotonic() + 3
        sender_done = threading.Event()

        def send():
            while time.monotonic() < stop:
                for _ in range(10):
                    self.noisy.notify()
                sender_done.wait(0.01)  # the device's own pace, not a wait for anything
            sender_done.set()

        sender = threading.Thread(target=send)
        sender.start()
        got, values = [], []
        while not sender_done.is_set():
            got += self.drain(c, 0.3)
        sender.join()
        got += self.drain(c, 0.5)
        values = [int(dtls.payload_of(m)) for m in got if has_observe(m)]
        self.assertEqual(values, sorted(set(values)))
        self.assertEqual(values[-1], self.noisy.value)
        self.assertGreater(self.noisy.value, 500)
        self.assertLess(len(values), 120)
        c.request("/slow/fast", options=[(OBSERVE, b"\x01")], token=b"fast")
        self.noisy.wait(lambda: not self.noisy.observers)
        c.close()

    def test_a_forged_notification(self):
        """From another address, or with a token that nobody gave out."""
        c = self.connect()
        token = c.request("/slow/forged", options=[(OBSERVE, b"")], token=b"forg")
        self.assertEqual(c.answer(token)[0], "2.05")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            for _ in range(20):
                self.noisy.notify(other)
        resets = self.noisy.resets
        for to in set(self.noisy.observers.values()):
            for kind in (0, 1):
                self.noisy.sock.sendto(self.noisy.form(
                    kind, 0x45, bytes([0x77, kind]), b"12345678", True), to)
        self.noisy.wait(lambda: self.noisy.resets >= resets + 2)
        self.assertFalse([m for m in self.drain(c, 0.5) if has_observe(m)])
        # the true one still comes
        self.noisy.notify(con=True)
        self.assertEqual([int(dtls.payload_of(m)) for m in self.drain(c, 0.5) if has_observe(m)],
                         [self.noisy.value])
        c.close()
        self.noisy.wait(lambda: not self.noisy.observers)

    def test_a_client_that_never_acknowledges(self):
        """It gets one CON and its repetitions, whatever comes meanwhile."""
        c = self.connect()
        token = c.request("/slow/mute", options=[(OBSERVE, b"")], token=b"mute")
        self.assertEqual(c.answer(token)[0], "2.05")
        mids = set()
        c.deadline = 1
        try:
            for _ in range(200):
                self.noisy.notify(con=True)
            while True:
                m = c.receive()
                if has_observe(m):
                    mids.add(m[2:4])
        except socket.timeout:
            pass
        self.assertEqual(len(mids), 1)
        # RST: it is over at once
        c.send(b"\x70\x00" + mids.pop())
        self.noisy.wait(lambda: not self.noisy.observers)
        record = self.gw.audit(lambda r: r.get("observation") == "ended" and
                               r.get("reason") == "reset")
        self.assertEqual(record["path"], "/slow/mute")
        c.close()
