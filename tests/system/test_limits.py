"""How often, how large, of which formats; and what strangers can make us send."""
import concurrent.futures
import re
import socket
import struct

import dtls
import rig
from house import House, POLICY, PSK

LIMITED = POLICY.replace(
    "      - {path: /lamp/state, methods: [GET, PUT]}\n",
    "      - {path: /lamp/state, methods: [GET]}\n"
    "      - {path: /lamp/state, methods: [PUT], rate: 3/h, max-payload: 16,"
    " formats: [text/plain, 60]}\n").replace(
    "key-file: keys/visitor.psk, roles: [guest]}",
    "key-file: keys/visitor.psk, roles: [guest], rate: 1000/h}")

VISITOR = (b"visitor", PSK)


class Limits(House):
    policy = LIMITED

    def put(self, psk, payload=b"on", fmt=0):
        return rig.coap(self.gw.coaps("/lamp/state"), "put", psk=psk, payload=payload, fmt=fmt)

    def test_a_rate_is_the_clients_wherever_it_comes_from(self):
        """Each stock client comes from another port with a handshake of its own."""
        client = self.enter()
        for _ in range(3):
            self.assertEqual(self.put(client.psk).code, "2.04")
        start = self.lamp.mark()
        a = self.put(client.psk, b"too much")
        self.assertEqual(a.code, "4.29", a.output)
        age = int(re.search(r"Max-Age:(\d+)", a.options)[1])
        self.assertTrue(1100 < age <= 1200, a.options)
        self.assertFalse([r for r in self.lamp.requests(start) if "too much" in r])
        record = self.gw.audit(lambda r: r.get("reason") == "rate")
        self.assertEqual((record["verdict"], record["missing"], record["code"]),
                         ("deny", "rule", "4.29"))
        self.assertIn("policy.yaml:", record["rule"])
        # Reading has no rate, others have their own, a reload changes nothing.
        self.ask("/lamp/state", "2.05", client.psk)
        self.assertEqual(self.put(self.enter().psk).code, "2.04")
        self.gw.reload()
        self.assertEqual(self.put(client.psk).code, "4.29")
        # A new token for the same key is the same client.
        self.enter(client)
        self.assertEqual(self.put(client.psk).code, "4.29")

    def test_at_once_from_many_ports(self):
        """Twelve at the same time: three pass."""
        client = self.enter()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(lambda _: self.put(client.psk).code, range(12)))
        self.assertEqual(sorted(codes), ["2.04"] * 3 + ["4.29"] * 9)

    def test_payload_and_format(self):
        a = self.put(VISITOR, b"x" * 17)
        self.assertEqual(a.code, "4.13", a.output)
        self.assertRegex(a.options, r"Size1:16\b")
        self.assertEqual(self.put(VISITOR, b"x", fmt=50).code, "4.15")
        self.assertEqual(self.put(VISITOR, b"x", fmt=None).code, "4.15")

    def test_what_is_refused_takes_nothing(self):
        client = self.enter()
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        for _ in range(10):
            code, _ = c.answer(c.request("/lamp/state", 3, b"x" * 17, [(12, b"")]))
            self.assertEqual(code, "4.13")
        codes = [c.answer(c.request("/lamp/state", 3, b"x", [(12, b"")]))[0] for _ in range(4)]
        self.assertEqual(codes, ["2.04"] * 3 + ["4.29"])

    def test_explain_says_how_often(self):
        run = self.gw.postern("explain", "-c", self.gw.path("postern.yaml"), "-s", "visitor",
                              "--payload", "3", "--format", "text/plain", "PUT", "/lamp/state",
                              check=0)
        self.assertIn("at most: 3/h for each client (rule ", run.text)
        self.assertIn("at most: 1000/h in all (subject visitor)", run.text)

    def test_explain_says_what_is_too_much(self):
        explain = ("explain", "-c", self.gw.path("postern.yaml"), "-s", "visitor")
        run = self.gw.postern(*explain, "--payload", "17", "--format", "60", "PUT", "/lamp/state",
                              check=1)
        self.assertIn("denied (payload-size)", run.text)
        self.assertIn("answer: 4.13", run.text)
        run = self.gw.postern(*explain, "--payload", "1", "--format", "application/json", "PUT",
                              "/lamp/state", check=1)
        self.assertIn("answer: 4.15", run.text)


class LimitsOverWorkers(Limits):
    """In total, whichever worker a client's port leads to."""
    extra = "workers: 3\n"


class DeviceRate(House):
    extra = "workers: 2\n"

    @classmethod
    def devices(cls):
        each = super().devices()
        each[1]["rate"] = "5/h"
        return each

    def test_for_all_together(self):
        """Of a thousand requests by ten clients five reach the door."""
        start = self.door.mark()
        clients = [dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=self.enter(
            scope="resident", aud="door").psk) for _ in range(9)]
        clients.append(dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK)))
        codes = []
        for c in clients:
            self.addCleanup(c.close)
        for _ in range(10):
            asked = [(c, [c.request("/door/lock") for _ in range(10)]) for c in clients]
            codes += [c.answer(t)[0] for c, tokens in asked for t in tokens]
        self.assertEqual((codes.count("2.05"), codes.count("4.29")), (5, 995))
        came = {re.search(r"\{[0-9a-f]*\}", r)[0] for r in self.door.requests(start)
                if "Uri-Path:lock" in r}  # one retransmitted is one; discovery asks, too
        self.assertLessEqual(len(came), 5)


class Strangers(House):
    """Hints that are longer than three short requests."""
    extra = "workers: 2\n"
    policy = POLICY.replace("issuer: coaps://as\n",
                            "issuer: coaps://authorization-server.of.the.house.example:5684\n")

    def talk(self, datagram, sock=None):
        """What comes back for it, all together at most three times as long."""
        own = sock or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            own.settimeout(5)
            own.sendto(datagram, ("127.0.0.1", self.gw.ports[4][0]))
            answer = own.recv(4096)
            return answer
        finally:
            if not sock:
                own.close()

    def echo_of(self, m):
        """The value of option 252, or None."""
        i, number = 4 + (m[0] & 15), 0
        while i < len(m) and m[i] != 0xff:
            delta, n = m[i] >> 4, m[i] & 15
            i += 1
            if delta == 13:
                delta, i = 13 + m[i], i + 1
            elif delta == 14:
                delta, i = 269 + struct.unpack("!H", m[i:i + 2])[0], i + 2
            if n == 13:
                n, i = 13 + m[i], i + 1
            number += delta
            if number == 252:
                return m[i:i + n]
            i += n
        return None

    def test_a_stock_client_gets_its_hints(self):
        a = rig.coap(self.gw.coap("/lamp/state"))
        self.assertEqual(a.code, "4.01", a.output)
        self.assertRegex(a.output, r"Echo:")
        self.assertEqual(self.hints(a)[1],
                         "coaps://authorization-server.of.the.house.example:5684")

    def test_an_echo_is_for_its_address(self):
        ask = dtls.message(0, 1, 7, b"", "/lamp/state")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            first = self.talk(ask, mine)
            self.assertLessEqual(len(first), 3 * len(ask))
            echo = self.echo_of(first)
            self.assertEqual((first[1], len(echo)), (0x81, 8))
            again = dtls.message(0, 1, 8, b"", "/lamp/state", options=[(252, echo)])
            other = self.talk(again)  # from another port
            self.assertLessEqual(len(other), 3 * len(again))
            self.assertNotIn(b"authorization-server", other)
            full = self.talk(again, mine)
            self.assertIn(b"authorization-server", full)
            self.assertIn(b"authorization-server", self.talk(again, mine))

    def test_never_more_than_three_times(self):
        """Each kind of message, from a port of its own."""
        kinds = [bytes.fromhex("40000001"), bytes.fromhex("40010002"),
                 bytes.fromhex("480100030102030405060708"),
                 dtls.message(0, 1, 4, b"", "/.well-known/core"),
                 dtls.message(1, 1, 5, b"", "/.well-known/core"),
                 dtls.message(0, 1, 6, b"", "/a"), dtls.message(0, 4, 7, b"", "/a"),
                 dtls.message(0, 2, 8, b"", "/authz-info", b"x"),
                 dtls.message(0, 2, 9, b"", "/authz-info", b"\xd2" * 40),
                 dtls.message(0, 1, 10, b"", "/authz-info"),
                 dtls.message(0, 1, 11, b"", "/a", options=[(9, b"")]),
                 dtls.message(0, 1, 12, b"", "/a", options=[(35, b"coap://x")]),
                 dtls.message(0, 7, 13, b"", ""), bytes.fromhex("4001000eff"),
                 bytes.fromhex("4045000f")]
        for m in kinds:
            with self.subTest(m.hex()):
                self.assertLessEqual(len(self.talk(m)), 3 * len(m))
