"""Devices as they are met: protected ones, several URLs for one, names, and
what becomes of requests when one restarts or forgets its session."""
import json
import os
import signal
import socket
import tempfile
import threading
import time
import unittest

import house
import rig
import tcp
from house import House, PSK

KEY = b"device-test-key!"  # for tests only


def port_pair():
    """A free port whose next is free too: a stock server's for DTLS."""
    while True:
        port = rig.free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                pass


class Secure(rig.Process):
    """A stock server with DTLS; `credentials` are its options."""

    def __init__(self, tls, credentials, port=None):
        self.tls, self.credentials = tls, credentials
        self.port = port or port_pair()
        self.url = "coaps://127.0.0.1:%d" % (self.port + 1)
        super().__init__(["coap-server-" + tls, "-v", "7", "-d", "100", "-A", "127.0.0.1", "-p",
                          str(self.port)] + credentials)
        self.wait_line(r"created DTLS +endpoint")

    def again(self, how=signal.SIGTERM):
        """The same server after a restart, on the same port."""
        self.stop(how)
        return Secure(self.tls, self.credentials, self.port)


def psk_of(tls, key=KEY):
    return ["-k", key.decode(), "-h", "hint"]


class Devices(House):
    """A gateway with the devices of one test each."""

    def gateway(self, devices, secrets=None, policy=None):
        names = [d["name"] for d in devices]
        permits = "".join("      - {path: /%s/**, methods: [GET, PUT, POST, DELETE]}\n" % n
                          for n in names)
        text = (policy or self.policy).replace(
            "      - {path: /lamp/state, methods: [GET, PUT]}\n",
            "      - {path: /lamp/state, methods: [GET, PUT]}\n" + permits, 1)
        # what is asked is to reach the device
        known = [{"path": "/" + d["name"], "cache": "no", **d} for d in devices]
        gw = rig.Gateway(text, known, secrets={**self.secrets(), **(secrets or {})})
        self.addCleanup(gw.close)
        return gw

    def request(self, gw, path, code, method="get", **more):
        a = rig.coap(gw.coaps(path), method, psk=(b"panel", PSK), wait=30, **more)
        if isinstance(code, str):
            code = (code,)
        self.assertIn(a.code, code, a.output + "\n" + gw.proc.output())
        return a

    def server(self, tls, credentials):
        s = Secure(tls, credentials)
        self.addCleanup(lambda: s.stop() if s.proc.poll() is None else None)
        return s

    def device_status(self, gw, name):
        status = json.loads(gw.postern("status", "-c", gw.path("postern.yaml"), "--json",
                                       check=0).text)
        return [d for d in status["devices"] if d["name"] == name][0]


class Psk(Devices):
    def device(self, s, **more):
        return {"name": "meter", "url": s.url,
                "psk": {"identity": "gw", "key-file": "keys/meter.psk"}, **more}

    def secret(self, key=KEY):
        return {"keys/meter.psk": key.hex() + "\n"}

    def test_stock_servers(self):
        for tls in ("openssl", "gnutls"):
            with self.subTest(tls):
                s = self.server(tls, psk_of(tls))
                gw = self.gateway([self.device(s)], self.secret())
                self.request(gw, "/meter/a", "2.01", "put", payload=b"42", fmt=0)
                self.assertEqual(self.request(gw, "/meter/a", "2.05").payload, b"42")
                large = bytes(range(32, 96)) * 15  # 960
                self.request(gw, "/meter/a", "2.04", "put", payload=large, fmt=0)
                self.assertEqual(self.request(gw, "/meter/a", "2.05").payload, large)
                gw.close()
                s.stop()

    def test_one_handshake_for_many(self):
        s = self.server("openssl", psk_of("openssl"))
        gw = self.gateway([self.device(s, window=4)], self.secret())
        threads = [threading.Thread(target=self.request, args=(gw, "/meter/", "2.05"))
                   for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        hellos = [l for l in s.lines if l and "*** new outgoing" not in l
                  and "new incoming session" in l]
        self.assertEqual(len(hellos), 1, s.output())

    def test_a_restart(self):
        """It says goodbye, or it does not; what it knew is gone either way."""
        for tls in ("openssl", "gnutls"):
            for how in (signal.SIGTERM, signal.SIGKILL):
                with self.subTest(tls=tls, how=how):
                    s = self.server(tls, psk_of(tls))
                    gw = self.gateway([self.device(s)], self.secret())
                    self.request(gw, "/meter/", "2.05")
                    again = s.again(how)
                    self.addCleanup(lambda p=again: p.proc.poll() is None and p.stop())
                    self.request(gw, "/meter/", "2.05")
                    self.request(gw, "/meter/", "2.05")
                    gw.close()
                    again.stop()

    def test_nothing_is_posted_twice(self):
        """What may have been done is not done again because a session is new:
        the client is told, and may ask again."""
        s = self.server("openssl", psk_of("openssl"))
        gw = self.gateway([self.device(s)], self.secret())
        self.request(gw, "/meter/", "2.05")
        again = s.again(signal.SIGKILL)
        self.addCleanup(again.stop)
        self.request(gw, "/meter/", ("5.04",), "post", payload=b"1", fmt=0)
        self.assertFalse([l for l in again.lines if l and "c:POST" in l])
        self.request(gw, "/meter/", "2.05")

    def test_wrong_key(self):
        s = self.server("openssl", psk_of("openssl"))
        gw = self.gateway([self.device(s)], self.secret(b"another-test-key"))
        a = self.request(gw, "/meter/", "5.02")
        gw.proc.wait_line(r"device-down .*device=meter .*reason=(no-answer-to-our-key|alert)")
        self.assertTrue(self.device_status(gw, "meter")["down"])
        self.assertNotIn(KEY.hex(), gw.proc.output() + a.output)
        # Not once more for each client that comes.
        before = len([l for l in s.lines if l and "Client Hello" in l])
        for _ in range(3):
            self.request(gw, "/meter/", "5.02")
        self.assertLessEqual(len([l for l in s.lines if l and "Client Hello" in l]), before + 4)

    def test_nobody_there(self):
        port = port_pair()
        gw = self.gateway([{"name": "meter", "url": "coaps://127.0.0.1:%d" % port,
                            "psk": {"identity": "gw", "key-file": "keys/meter.psk"}}],
                          self.secret())
        self.request(gw, "/meter/", ("5.03", "5.04"))
        self.assertTrue(self.device_status(gw, "meter")["down"])
        s = Secure("openssl", psk_of("openssl"), port - 1)
        self.addCleanup(s.stop)
        gw.proc.wait_line(r"device-up .*device=meter")
        self.request(gw, "/meter/", "2.05")


class Certificates(Devices):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="postern-pki-")
        self.addCleanup(self.dir.cleanup)
        d = self.dir.name
        self.ca = house.certificate(d, "ca", "test CA", ca=True)
        self.other = house.certificate(d, "other", "other CA", ca=True)
        self.good = house.certificate(d, "good", "127.0.0.1", issuer=self.ca)
        self.named = house.certificate(d, "named", "elsewhere.test", issuer=self.ca)
        self.ours = house.certificate(d, "ours", "gateway.test", issuer=self.ca)

    def pki(self, cert, ask=False):
        options = ["-c", cert[2][0], "-j", cert[2][1]]
        # -n: no certificate is asked for
        return options + (["-C", self.ca[2][0]] if ask else ["-n"])

    def text(self, cert, which):
        with open(cert[2][which], "rb") as f:
            return f.read()

    def try_one(self, tls, server, ca, codes, own=None, scheme="coaps"):
        s = self.server(tls, self.pki(server, ask=own is not None))
        device = {"name": "meter", "url": s.url.replace("coaps", scheme), "ca": "tls/ca.crt"}
        secrets = {"tls/ca.crt": self.text(ca, 0)}
        if own:
            device.update({"certificate": "tls/gw.crt", "key": "tls/gw.key"})
            secrets.update({"tls/gw.crt": self.text(own, 0), "tls/gw.key": self.text(own, 1)})
        gw = self.gateway([device], secrets)
        self.request(gw, "/meter/", codes)
        out = gw.proc.output()
        gw.close()
        s.stop()
        return out

    def test_by_its_ca_and_name(self):
        for tls in ("openssl", "gnutls"):
            with self.subTest(tls):
                self.try_one(tls, self.good, self.ca, "2.05")

    def test_another_ca(self):
        out = self.try_one("openssl", self.good, self.other, "5.02")
        self.assertRegex(out, r"device-down .*reason=certificate-refused")

    def test_another_name(self):
        out = self.try_one("openssl", self.named, self.ca, "5.02")
        self.assertRegex(out, r"device-down .*reason=certificate-refused")

    def test_over_tcp(self):
        for server, ca, code in ((self.good, self.ca, "2.05"), (self.good, self.other, "5.02"),
                                 (self.named, self.ca, "5.02")):
            out = self.try_one("openssl", server, ca, code, scheme="coaps+tcp")
            self.assertEqual("reason=certificate-refused" in out, code == "5.02", out)

    def test_with_our_own(self):
        for tls in ("openssl", "gnutls"):
            with self.subTest(tls):
                self.try_one(tls, self.good, self.ca, "2.05", own=self.ours)


class Tcp(Devices):
    """RFC 8323 towards devices: a CSE behind a NAT, as a rule."""

    def plain(self):
        d = rig.Device()
        self.addCleanup(lambda: d.stop() if d.proc.poll() is None else None)
        return d

    def test_plain(self):
        d = self.plain()
        gw = self.gateway([{"name": "cse", "url": "coap+tcp://127.0.0.1:%d" % d.port,
                            "window": 4}])
        self.request(gw, "/cse/a", "2.01", "put", payload=b"42", fmt=0)
        self.assertEqual(self.request(gw, "/cse/a", "2.05").payload, b"42")
        self.assertEqual(self.request(gw, "/cse/a", "2.05", non=True).payload, b"42")
        large = bytes(range(32, 96)) * 15  # 960
        self.request(gw, "/cse/a", "2.04", "put", payload=large, fmt=0)
        self.assertEqual(self.request(gw, "/cse/a", "2.05").payload, large)
        sessions = [l for l in d.lines if l and "TCP" in l and "new incoming session" in l]
        self.assertEqual(len(sessions), 1, d.output())

    def test_a_restart(self):
        for how in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(how=how):
                d = self.plain()
                gw = self.gateway([{"name": "cse", "url": "coap+tcp://127.0.0.1:%d" % d.port}])
                self.request(gw, "/cse/", "2.05")
                d.stop(how)
                self.request(gw, "/cse/", ("5.03", "5.04"))
                again = rig.Process(d.argv)
                self.addCleanup(again.stop)
                again.wait_line(r"created TCP +endpoint")
                start = gw.proc.mark()
                gw.proc.wait_line(r"device-up .*device=cse", 0)
                self.request(gw, "/cse/", "2.05")
                gw.close()

    def test_tls_psk(self):
        for tls in ("openssl", "gnutls"):
            with self.subTest(tls):
                s = self.server(tls, psk_of(tls))
                gw = self.gateway([{"name": "cse", "url": s.url.replace("coaps:", "coaps+tcp:"),
                                    "psk": {"identity": "gw", "key-file": "keys/cse.psk"}}],
                                  {"keys/cse.psk": KEY.hex() + "\n"})
                self.request(gw, "/cse/", "2.05")
                self.request(gw, "/cse/", "2.05")
                gw.close()
                s.stop()

    def test_tls_wrong_key(self):
        s = self.server("openssl", psk_of("openssl"))
        gw = self.gateway([{"name": "cse", "url": s.url.replace("coaps:", "coaps+tcp:"),
                            "psk": {"identity": "gw", "key-file": "keys/cse.psk"}}],
                          {"keys/cse.psk": b"another-test-key".hex() + "\n"})
        self.request(gw, "/cse/", "5.02")
        gw.proc.wait_line(r"device-down .*device=cse .*reason=")

    def test_from_one_transport_to_the_other(self):
        first, second = self.plain(), self.plain()
        for d in (first, second):
            rig.coap(d.url + "/who", "put", payload=str(d.port).encode(), fmt=0)
        gw = self.gateway([{"name": "cse", "url": ["coap+tcp://127.0.0.1:%d" % first.port,
                                                   second.url]}])
        who = lambda: self.request(gw, "/cse/who", "2.05").payload
        self.assertEqual(who(), str(first.port).encode())
        first.stop(signal.SIGKILL)
        self.assertEqual(who(), str(second.port).encode())

    def test_an_observation_outlives_its_connection(self):
        """Nobody asks for anything, and the device's word is good for an hour:
        it is the lost connection that says that it must be observed again."""
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            door.listen(8)
            door.settimeout(rig.DEADLINE)
            gw = self.gateway([{"name": "cse", "url": "coap+tcp://127.0.0.1:%d" %
                                door.getsockname()[1]}])
            c = rig.Process(["coap-client-openssl", "-v", "7", "-s", "60", "-B", "60", "-u",
                             "panel", "-k", PSK, gw.coaps("/cse/door")])
            self.addCleanup(lambda: c.stop() if c.proc.poll() is None else None)
            for state in (b"shut", b"open"):
                sock, _ = door.accept()
                sock.settimeout(rig.DEADLINE)
                p = tcp.Peer(0, accepted=sock)
                while True:
                    code, token, rest = p.receive()
                    if code == 1 and rest[:1] == b"\x60":  # GET, Observe: 0
                        break
                    if code < 32:
                        p.send(tcp.frame(0x84, token))
                p.send(tcp.frame(0x45, token, tcp.options((6, b"\x05"), (14, b"\x0e\x10")) +
                                 b"\xff" + state))
                c.wait_line(r"c:2\.05 .*Observe:\d+.*:: '%s'" % state.decode())
                p.close()

    def test_a_device_that_takes_its_leave(self):
        """RFC 8323 5.5: what it was asked before it still answers, and what
        comes then goes by another connection."""
        def accept():
            sock, _ = door.accept()
            sock.settimeout(rig.DEADLINE)
            return tcp.Peer(0, accepted=sock)

        def asked(p, code):
            while True:
                got, token, _ = p.receive()
                if got == code:
                    return token
                if got < 32:
                    p.send(tcp.frame(0x84, token))

        def ask(method, codes):
            t = threading.Thread(target=lambda: codes.append(rig.coap(
                gw.coaps("/cse/work"), method, psk=(b"panel", PSK), wait=30).code))
            t.start()
            self.addCleanup(t.join)
            return t

        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            door.listen(8)
            door.settimeout(rig.DEADLINE)
            gw = self.gateway([{"name": "cse", "window": 4, "url": "coap+tcp://127.0.0.1:%d" %
                                door.getsockname()[1]}])
            posted, got = [], []
            first = ask("post", posted)
            p = accept()
            token = asked(p, 2)
            p.send(tcp.frame(0xe4))
            second = ask("get", got)
            p.send(tcp.frame(0x44, token))
            first.join()
            self.assertEqual(posted, ["2.04"])
            self.assertNotIn("0.01", p.until_end())
            p = accept()
            p.send(tcp.frame(0x45, asked(p, 1), b"\xffdone"))
            second.join()
            self.assertEqual(got, ["2.05"])

    def test_who_accepts_and_says_nothing(self):
        """No CSM: no connection, and no end of the world."""
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen(8)
            gw = self.gateway([{"name": "cse", "url": "coap+tcp://127.0.0.1:%d" %
                                mute.getsockname()[1]}])
            self.request(gw, "/cse/", ("5.03", "5.04"))
            gw.proc.wait_line(r"device-down .*device=cse .*reason=handshake-timeout")

    def test_who_speaks_another_protocol(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen(8)
            other.settimeout(rig.DEADLINE)
            gw = self.gateway([{"name": "cse", "url": "coap+tcp://127.0.0.1:%d" %
                                other.getsockname()[1]}])

            def babble():
                c, _ = other.accept()
                c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 50)
                c.close()

            t = threading.Thread(target=babble)
            t.start()
            self.request(gw, "/cse/", ("5.02", "5.03", "5.04"))
            t.join()


class Failover(Devices):
    def test_the_next_url_and_back(self):
        first, second = rig.Device(), rig.Device()
        self.addCleanup(lambda: [d.stop() for d in (first, second) if d.proc.poll() is None])
        gw = self.gateway([{"name": "cse", "url": [first.url, second.url]}])
        for d in (first, second):
            a = rig.coap(d.url + "/who", "put", payload=str(d.port).encode(), fmt=0)
            self.assertEqual(a.code, "2.01")
        who = lambda: self.request(gw, "/cse/who", "2.05").payload
        self.assertEqual(who(), str(first.port).encode())
        first.stop()
        self.assertEqual(who(), str(second.port).encode())
        self.assertEqual(self.device_status(gw, "cse")["url"], second.url)
        self.assertFalse(self.device_status(gw, "cse")["down"])
        start = gw.proc.mark()
        third = rig.Process(first.argv)
        self.addCleanup(third.stop)
        third.wait_line(r"created UDP +endpoint")
        gw.proc.wait_line(r"device-up .*device=cse", start)
        rig.coap(first.url + "/who", "put", payload=b"back", fmt=0)
        self.assertEqual(who(), b"back")
        self.assertEqual(self.device_status(gw, "cse")["url"], first.url)

    def test_a_connection_falls_silent(self):
        """A host that hangs: its TCP goes on, and nobody answers a Ping."""
        first, second = rig.Device(), rig.Device()
        self.addCleanup(second.stop)
        self.addCleanup(first.stop, signal.SIGKILL)
        gw = self.gateway([{"name": "cse", "url": ["coap+tcp://127.0.0.1:%d" % first.port,
                                                   second.url]}])
        self.request(gw, "/cse/", "2.05")
        first.proc.send_signal(signal.SIGSTOP)
        self.request(gw, "/cse/", "2.05")
        self.assertEqual(self.device_status(gw, "cse")["url"], second.url)
        first.proc.send_signal(signal.SIGCONT)
        gw.proc.wait_line(r"device-up .*device=cse url=coap\+tcp")

    def test_the_first_is_silent(self):
        silent, second = rig.SilentDevice(), rig.Device()
        self.addCleanup(silent.stop)
        self.addCleanup(second.stop)
        rig.coap(second.url + "/who", "put", payload=b"second", fmt=0)
        gw = self.gateway([{"name": "cse", "url": [silent.url, second.url]}])
        self.assertEqual(self.request(gw, "/cse/who", "2.05").payload, b"second")
        self.assertEqual(self.request(gw, "/cse/who", "2.05").payload, b"second")


class Names(Devices):
    def test_a_name(self):
        name = "ip6-localhost"
        try:
            socket.getaddrinfo(name, 1, socket.AF_INET6)
        except OSError:
            self.skipTest("no name that resolves here")
        d = rig.Device(family=6)
        self.addCleanup(d.stop)
        gw = self.gateway([{"name": "cse", "url": "coap://%s:%d" % (name, d.port)}])
        self.request(gw, "/cse/", "2.05")

    def test_no_such_name_is_no_end(self):
        gw = self.gateway([{"name": "cse", "url": "coap://no-such.invalid"},
                           {"name": "tap", "url": self.lamp.url}])
        self.request(gw, "/cse/x", ("5.03", "5.04"))
        gw.proc.wait_line(r"device-down .*device=cse .*reason=no-such-name")
        self.request(gw, "/tap/state", "2.05")


class Pause(Devices):
    def test_requests_keep_their_distance(self):
        stamps = []
        d = rig.SilentDevice()
        self.addCleanup(d.stop)
        gw = self.gateway([{"name": "frail", "url": d.url, "pause": "300ms", "window": 4}])
        d.settle()

        def play():
            for _ in range(4):
                datagram, to = d.receive()
                stamps.append(time.monotonic())
                d.answer(datagram, to)

        player = threading.Thread(target=play)
        player.start()
        threads = [threading.Thread(target=self.request, args=(gw, "/frail/%d" % i, "2.05"))
                   for i in range(4)]
        for t in threads:
            t.start()
        for t in threads + [player]:
            t.join()
        gaps = [b - a for a, b in zip(stamps, stamps[1:])]
        self.assertTrue(all(g > 0.25 for g in gaps), gaps)


if __name__ == "__main__":
    unittest.main()
