"""CoAP over TCP and TLS (RFC 8323): every way in that there is by datagrams,
by stock clients; and peers that do what no stock client does."""
import socket
import ssl
import threading

import mint
import rig
import tcp
# By module: a class by its own name here would be tested here as well.
import test_introspection
import test_ways_in
from house import Client, House, certificate, claims


class EnrolledByTcp(test_ways_in.Enrolled):
    tcp = True


class TokensByTcp(test_ways_in.Tokens):
    """A token's post and its client's handshake land on different workers."""
    tcp = True
    extra = "workers: 3\n"


class AskedByTcp(test_introspection.Ways):
    """A handshake stands still while an authorization server is asked."""
    tcp = True


class CertificatesByTcp(test_ways_in.Certificates):
    tcp = True

    def context(self, files, protocols=("coap",)):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.tls + "/ca.crt")
        if files:
            c.load_cert_chain(*files)
        if protocols:
            c.set_alpn_protocols(list(protocols))
        return c

    def peer(self, files=None, protocols=("coap",), **more):
        p = tcp.Peer(self.gw.tcp_ports[4][1], self.context(files or self.tablet, protocols), **more)
        self.addCleanup(p.close)
        return p

    def test_protocol_by_name(self):
        self.assertEqual(self.peer().sock.selected_alpn_protocol(), "coap")
        self.assertIsNone(self.peer(protocols=()).sock.selected_alpn_protocol())
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.peer(protocols=("h2", "http/1.1")).until_end()

    def test_no_certificate(self):
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            p = tcp.Peer(self.gw.tcp_ports[4][1], self.context(None))
            self.addCleanup(p.close)
            self.assertIsNone(p.receive())
            raise ConnectionError

    def test_many_requests_at_once(self):
        p = self.peer()
        n = 200
        p.send(b"".join(tcp.frame(1, bytes([i]), tcp.path("/lamp/state")) for i in range(n)))
        got = [p.receive() for _ in range(n + 1)][1:]
        codes = sorted({"%d.%02d" % (c >> 5, c & 31) for c, _, _ in got})
        # More than EXCHANGES_PER_ASSOC are not under way for one client.
        self.assertLessEqual(set(codes), {"2.05", "4.29"})
        self.assertEqual(len({t for _, t, _ in got}), n)
        self.assertRegex(p.ask("/lamp/state")[1], rb"\xffon$")

    def test_an_observation(self):
        p = self.peer()
        rig.coap(self.lamp.url + "/color", "put", payload=b"red", fmt=0)
        code, rest = p.ask("/lamp/color", more=())
        self.assertEqual((code, rest[-3:]), ("2.05", b"red"))
        p.send(tcp.frame(1, b"o", tcp.options((6, b""), (11, b"lamp"), (11, b"color"))))
        code, rest = p.answer(b"o")
        self.assertEqual(code, "2.05")
        if rest[0] >> 4 != 6:
            self.skipTest("the stock device does not observe this")
        rig.coap(self.lamp.url + "/color", "put", payload=b"blue", fmt=0)
        code, rest = p.answer(b"o")
        self.assertEqual((code, rest[-4:]), ("2.05", b"blue"))
        p.send(tcp.frame(1, b"o", tcp.options((6, b"\x01"), (11, b"lamp"), (11, b"color"))))
        self.assertEqual(p.answer(b"o")[0], "2.05")
        self.assertEqual(p.ask("/lamp/state")[0], "2.05")

    def test_a_small_peer(self):
        """What is larger than the peer takes is told so, not sent."""
        p = self.peer(csm=bytes.fromhex("20e12140"))  # 64 bytes
        self.assertRegex(p.ask("/lamp/state")[1], rb"\xffon$")
        code, _ = p.ask("/lamp")  # some 120 bytes
        self.assertEqual(code, "5.02")

    def test_a_body_that_no_datagram_takes(self):
        p = self.peer()
        room = 2048 - len(tcp.frame(3, b"t", tcp.path("/lamp/color") + b"\xff")) - 2
        code, _ = p.ask("/lamp/color", code=3, payload=b"x" * room)
        self.assertIn(code, ("2.04", "4.13"))
        self.assertEqual(p.ask("/lamp/state")[0], "2.05")

    def test_faults_end_it_with_an_abort(self):
        for name, what in (("huge", bytes.fromhex("f0ffffffff01")),
                           ("just too large", tcp.frame(2, b"", b"\xff" + b"x" * 2048)[:200]),
                           ("token of 9", bytes.fromhex("09") + b"\x01" + b"t" * 9),
                           ("bad options", tcp.frame(1, b"t", b"\xb9hi")),
                           ("critical signal option", tcp.frame(0xe2, b"", b"\x10")),
                           ("unknown signal", tcp.frame(0xe9))):
            with self.subTest(name):
                p = self.peer()
                p.send(what)
                self.assertEqual(p.until_end()[-1], "7.05")

    def test_close_in_the_middle(self):
        for cut in range(1, 12):
            p = self.peer()
            p.send(tcp.frame(1, b"t", tcp.path("/lamp/state"))[:cut])
            p.close()
        self.assertEqual(self.peer().ask("/lamp/state")[0], "2.05")

    def test_the_rights_end_while_it_is_connected(self):
        _, private, files = certificate(self.tls, "leaver", "whatever")
        cnf = {1: mint.ec_cose_key(private.public_key())}
        token = mint.cwt(self.mac, claims(cnf=cnf))
        self.post(token)
        p = self.peer(files)
        self.assertEqual(p.ask("/lamp/state")[0], "2.05")
        self.gw.write("leaver.cwt", token)
        self.gw.postern("revoke", "-c", "postern.yaml", "--token", "leaver.cwt", check=0)
        self.assertIn(p.until_end()[-1:], ([], ["4.01"]))


class Strangers(House):
    tcp = True

    def plain(self, **more):
        p = tcp.Peer(self.gw.tcp_ports[4][0], **more)
        self.addCleanup(p.close)
        return p

    def test_plain_answers_authz_info_and_discovery_only(self):
        p = self.plain()
        code, rest = p.ask("/.well-known/core")
        self.assertEqual(code, "2.05")
        self.assertIn(b"authz-info", rest)
        start = self.lamp.mark()
        self.assertEqual(p.ask("/lamp/state")[0], "4.01")
        self.assertEqual(self.lamp.requests(start), [])
        client = Client()
        token = mint.cwt(self.encrypt, claims(client.kid, client.key))
        self.assertEqual(p.ask("/authz-info", 2, more=((12, b"\x3d"),), payload=token)[0], "2.01")
        self.ask("/lamp/state", "2.05", client.psk)

    def test_pings_and_a_release(self):
        p = self.plain()
        self.assertEqual(p.receive()[0], 0xe1)
        p.send(tcp.frame(0xe2, b"ping"))
        self.assertEqual(p.receive(), (0xe3, b"ping", b""))
        p.send(tcp.frame(0xe2, b"all", b"\x20"))
        self.assertEqual(p.receive(), (0xe3, b"all", b"\x20"))
        p.send(tcp.frame(0xe4))
        self.assertEqual(p.until_end(), [])

    def test_no_csm(self):
        p = self.plain(csm=None)
        p.send(tcp.frame(1, b"t", tcp.path("/.well-known/core")))
        self.assertEqual(p.until_end(), ["7.01", "7.05"])

    def test_noise(self):
        for port in self.gw.tcp_ports[4]:
            for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 3000, b"\xff" * 3000,
                          bytes(range(256)) * 8, b"\x16\x03\x01\x40\x00" + b"\x01" * 3000):
                p = tcp.Peer(port, csm=None)
                self.addCleanup(p.close)
                try:
                    p.send(noise)
                    p.sock.shutdown(socket.SHUT_WR)
                    p.until_end()
                except OSError:
                    pass
        self.ask("/lamp/state", "2.05")

    def test_idle_connections_in_number(self):
        """They give way to one another, and to nobody who has shown a key."""
        first = self.ask("/lamp/state", "2.05")
        idle = []
        for i in range(250):
            idle.append(tcp.Peer(self.gw.tcp_ports[4][i % 2], csm=None))
            if i % 50 == 0:
                self.assertEqual(self.ask("/lamp/state", "2.05").payload, first.payload)
        for p in idle:
            p.close()
        status = self.gw.postern("status", "-c", "postern.yaml", check=0).text
        self.assertRegex(status, r"connections +\d+ by TCP")
        self.ask("/lamp/state", "2.05")

    def test_a_planned_stop_releases(self):
        p = self.plain()
        self.assertEqual(p.receive()[0], 0xe1)
        codes = []
        reader = threading.Thread(target=lambda: codes.extend(p.until_end()))
        reader.start()
        self.gw.stop()
        reader.join(rig.DEADLINE)
        self.gw.start()
        self.assertIn("7.04", codes)
