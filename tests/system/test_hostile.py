"""Bytes that mean harm, or nothing: silence, RST or an error, and the house
goes on. The gateway runs with sanitizers; its end is part of each test."""
import os
import random
import socket

import dtls
import mint
import rig
from house import House, PSK


class Hostile(House):
    @classmethod
    def devices(cls):
        cls.odd = cls.start(rig.SilentDevice())
        return super().devices() + [{"name": "odd", "path": "/slow", "url": cls.odd.url,
                                     "window": 4}]

    def panel(self):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)
        return c

    def exchange(self, port, datagram):
        """What comes back for one datagram; a ping behind it bounds the wait."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(rig.DEADLINE)
            s.connect(("127.0.0.1", port))
            s.send(datagram)
            s.send(b"\x40\x00\xee\xee")
            got = []
            while True:
                d = s.recv(4096)
                if d == b"\x70\x00\xee\xee":
                    return got
                got.append(d)

    def test_malformed_messages(self):
        """RFC 7252 3, 4.2, 4.3: a CON is reset, anything else is silence."""
        plain = self.gw.ports[4][0]
        rows = {
            "empty datagram": (b"", []),
            "three bytes": (b"\x40\x01\x00", []),
            "version 2": (b"\x80\x01\x12\x34", []),
            "token length 9, CON": (b"\x49\x01\x12\x34" + b"t" * 9, [b"\x70\x00\x12\x34"]),
            "token length 9, NON": (b"\x59\x01\x12\x34" + b"t" * 9, []),
            "token cut": (b"\x48\x01\x12\x34ttt", [b"\x70\x00\x12\x34"]),
            "option length 15": (b"\x40\x01\x12\x34\xbf", [b"\x70\x00\x12\x34"]),
            "option delta 15": (b"\x40\x01\x12\x34\xf1x", [b"\x70\x00\x12\x34"]),
            "option cut": (b"\x40\x01\x12\x34\xb5abc", [b"\x70\x00\x12\x34"]),
            "marker without payload": (b"\x40\x01\x12\x34\xff", [b"\x70\x00\x12\x34"]),
            "empty with a token": (b"\x41\x00\x12\x34t", [b"\x70\x00\x12\x34"]),
            "empty with payload": (b"\x40\x00\x12\x34\xffx", [b"\x70\x00\x12\x34"]),
            "a response out of nowhere": (b"\x40\x45\x12\x34", [b"\x70\x00\x12\x34"]),
            "reserved class 1": (b"\x40\x21\x12\x34", [b"\x70\x00\x12\x34"]),
            "stray ACK": (b"\x60\x00\x12\x34", []),
            "stray RST": (b"\x70\x00\x12\x34", []),
        }
        for name, (datagram, wanted) in rows.items():
            with self.subTest(name):
                self.assertEqual(self.exchange(plain, datagram), wanted)

    def test_a_duplicate_is_answered_from_memory(self):
        request = dtls.message(0, 1, 0x4242, b"tok", "/lamp/state")
        got = self.exchange(self.gw.ports[4][0], request)
        self.assertEqual(len(got), 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(rig.DEADLINE)
            s.connect(("127.0.0.1", self.gw.ports[4][0]))
            s.send(request)
            first = s.recv(4096)
            s.send(request)
            self.assertEqual(s.recv(4096), first)

    def test_a_duplicate_reaches_the_device_once(self):
        c = self.panel()
        start = self.lamp.mark()
        put = dtls.message(0, 3, 0x4243, b"tok", "/lamp/color", b"blue")
        c.send(put)
        first = c.receive()
        c.send(put)
        self.assertEqual(c.receive(), first)
        self.assertEqual(len(self.lamp.requests(start)), 1)

    def test_noise(self):
        """Random and mutated datagrams at both doors; then all is as before."""
        rng = random.Random(7252)
        hello = self._hello()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for i in range(1500):
                if i % 3 == 0:
                    d = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300)))
                elif i % 3 == 1:
                    d = bytearray(hello)
                    for _ in range(rng.randrange(1, 6)):
                        d[rng.randrange(len(d))] = rng.randrange(256)
                    d = bytes(d[:rng.randrange(1, len(d) + 1)])
                else:
                    d = bytearray(dtls.message(0, 2, i, b"t", "/authz-info", b"\xd8\x3d\xd0\x83"))
                    d[rng.randrange(len(d))] = rng.randrange(256)
                    d = bytes(d)
                for port in self.gw.ports[4]:
                    s.sendto(d, ("127.0.0.1", port))
        self.ask("/lamp/state", "2.05")

    def _hello(self):
        """A stock ClientHello, caught on its way."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            s.settimeout(rig.DEADLINE)
            try:
                dtls.Client(s.getsockname(), psk=(b"panel", PSK), deadline=0.05)
            except (socket.timeout, dtls.Refused):
                pass
            return s.recv(4096)

    def test_noise_inside_an_association(self):
        rng = random.Random(9202)
        c = self.panel()
        for i in range(300):
            d = bytearray(dtls.message(i % 2, 1, i, b"tok", "/lamp/state", b"x"))
            for _ in range(rng.randrange(1, 4)):
                d[rng.randrange(len(d))] = rng.randrange(256)
            c.send(bytes(d[:rng.randrange(1, len(d) + 1)]))
        again = self.panel()
        self.assertEqual(again.get("/lamp/state")[0], "2.05")

    def test_hellos_without_a_cookie_cost_nothing(self):
        """RFC 6347 4.2.1: each gets a HelloVerifyRequest, and nobody a place."""
        hello = self._hello()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(rig.DEADLINE)
            s.connect(("127.0.0.1", self.gw.ports[4][1]))
            for _ in range(400):
                s.send(hello)
                self.assertEqual(s.recv(4096)[13], 3)  # handshake type hello_verify_request
        self.ask("/lamp/state", "2.05")

    def test_tokens_of_noise(self):
        rng = random.Random(9200)
        good = mint.cwt(self.encrypt, {1: "as", 3: "lamp"})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(rig.DEADLINE)
            s.connect(("127.0.0.1", self.gw.ports[4][0]))
            for i in range(400):
                token = bytearray(good)
                for _ in range(rng.randrange(1, 5)):
                    token[rng.randrange(len(token))] = rng.randrange(256)
                s.send(dtls.message(0, 2, i, b"t", "/authz-info", bytes(token)))
                self.assertIn(s.recv(4096)[1] >> 5, (4,))

    def test_a_device_that_answers_nonsense(self):
        c = self.panel()
        token = c.request("/slow/x")
        asked, to = self.odd.receive()
        for nonsense in (b"", b"\xff" * 40, b"\x40", b"\x4f\x45\x12\x34", b"\x40\x01\x12\x34\xb1x",
                         b"\x58\x45\x12\x34unasked!\xffx", os.urandom(40)):
            self.odd.sock.sendto(nonsense, to)
        # the right message ID with another token, then another ID with none
        wrong = bytearray(asked[:4 + (asked[0] & 15)])
        wrong[0], wrong[1] = 0x60 | asked[0] & 15, 0x45
        wrong[4] ^= 1
        self.odd.sock.sendto(bytes(wrong), to)
        self.odd.answer(asked, to, b"right")
        self.assertEqual(c.answer(token), ("2.05", b"right"))

    def test_an_answer_from_somebody_else(self):
        """Matched by source address and token: a neighbour's is not taken."""
        c = self.panel()
        token = c.request("/slow/x")
        asked, to = self.odd.receive()
        neighbour = rig.SilentDevice()
        neighbour.answer(asked, to, b"wrong")
        neighbour.stop()
        self.odd.answer(asked, to, b"right")
        self.assertEqual(c.answer(token), ("2.05", b"right"))

    def test_an_answer_too_large_for_a_datagram(self):
        """5.02, and at once: the device is not silent, and its place is free."""
        c = self.panel()
        for size in (2100, 4000, 60000):
            token = c.request("/slow/x")
            asked, to = self.odd.receive()
            self.odd.answer(asked, to, b"x" * size)
            self.assertEqual(c.answer(token), ("5.02", b""), size)
        token = c.request("/slow/x")
        asked, to = self.odd.receive()
        self.odd.answer(asked, to, b"right")
        self.assertEqual(c.answer(token), ("2.05", b"right"))

    def test_a_request_too_large_to_take(self):
        """4.13 (RFC 7252 5.9.2.9), also for what no exchange could hold."""
        c = self.panel()
        for size in (2040, 2200):
            self.assertEqual(c.answer(c.request("/slow/x", method=3, payload=b"x" * size)),
                             ("4.13", b""), size)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")

    def test_answers_out_of_turn(self):
        """Four in flight, answered backwards: each client gets its own."""
        clients = [self.panel() for _ in range(4)]
        asked = []
        for i, c in enumerate(clients):
            token = c.request("/slow/%d" % i)
            asked.append((c, token) + self.odd.receive())
        for i, (c, token, datagram, to) in reversed(list(enumerate(asked))):
            self.assertIn(b"%d" % i, datagram)
            self.odd.answer(datagram, to, b"for %d" % i)
        for i, (c, token, _, _) in enumerate(asked):
            self.assertEqual(c.answer(token), ("2.05", b"for %d" % i))

    def test_a_devices_unknown_critical_option(self):
        """5.02: what we do not understand is not passed on as if we did."""
        c = self.panel()
        token = c.request("/slow/x")
        asked, to = self.odd.receive()
        tkl = asked[0] & 15
        head = bytes([0x60 | tkl, 0x45]) + asked[2:4 + tkl]
        self.odd.sock.sendto(head + b"\xe1" + (65001 - 269).to_bytes(2, "big") + b"x\xffy", to)
        self.assertEqual(c.answer(token)[0], "5.02")
