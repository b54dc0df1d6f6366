"""What must not get through does not, and each has its exact code."""
import concurrent.futures

import dtls
import mint
import rig
from house import Client, House, POLICY, PSK, claims


class Denials(House):
    @classmethod
    def devices(cls):
        cls.slow = cls.start(rig.SilentDevice())
        return super().devices() + [
            {"name": "slow", "path": "/slow", "url": cls.slow.url, "queue": 4}]

    # ---- by the policy ----

    def test_not_resource(self):
        self.ask("/door/lock", "4.03", (b"visitor", PSK))

    def test_not_method(self):
        self.ask("/lamp/state", "4.05", (b"visitor", PSK), method="delete")

    def test_forbidden_whatever_the_role(self):
        self.ask("/lamp/firmware", "4.03", method="put", payload=b"x", fmt=0)

    def test_condition(self):
        self.ask("/lamp/state", "4.03", (b"owl", PSK))

    def test_not_audience(self):
        """A token for the lamp opens no door, whatever its role."""
        client = self.enter(scope="resident", aud="lamp")
        self.ask("/lamp/color", "2.05", client.psk)
        self.ask("/door/lock", "4.03", client.psk)

    def test_the_denied_never_reach_the_device(self):
        start = self.door.mark()
        self.ask("/door/lock", "4.03", (b"visitor", PSK))
        self.ask("/door/lock", "2.05")
        self.assertEqual(len(self.door.requests(start)), 1)

    def test_paths_that_look_like_others(self):
        for path in ("/lamp%2Fstate", "/lamp//state", "/lamp/%2E%2E/door/lock",
                     "/lamp/state%2F", "/LAMP/state", "/lamp/state/"):
            with self.subTest(path):
                a = rig.coap(self.gw.coaps(path), psk=(b"visitor", PSK))
                self.assertIn(a.code, ("4.03", "4.04"), a.output)

    # ---- by the protocol ----

    def test_no_token_at_all(self):
        """Hints (RFC 9200 5.3): the server, the audience, the scope that would do."""
        h = self.hints(rig.coap(self.gw.coap("/lamp/state")))
        self.assertEqual(h[1], "coaps://as")
        self.assertEqual(h[5], "lamp")
        self.assertIn(h[9], ("guest", "lights_r"))

    def test_hints_name_what_the_method_needs(self):
        h = self.hints(rig.coap(self.gw.coap("/lamp/color"), "put", payload=b"x", fmt=0))
        self.assertIn(h[9], ("lights_w", "resident"))

    def test_plain_coap_carries_nothing_else(self):
        start = self.lamp.mark()
        for method in ("get", "put", "post", "delete"):
            with self.subTest(method):
                a = rig.coap(self.gw.coap("/lamp/state"), method,
                             payload=b"x" if method in ("put", "post") else None)
                self.assertEqual(a.code, "4.01", a.output)
        client = Client()
        token = mint.cwt(self.encrypt, claims(client.kid, client.key))
        a = rig.coap(self.gw.coap("/lamp/state"), options=[(65000, token)])
        self.assertEqual(a.code, "4.01", a.output)
        self.assertEqual(self.lamp.requests(start), [])

    def test_unknown_critical_option(self):
        self.ask("/lamp/state", "4.02", options=[(65001, b"x")])

    def test_unknown_unsafe_option(self):
        self.ask("/lamp/state", "4.02", options=[(65002, b"x")])

    def test_unknown_elective_safe_option_passes(self):
        start = self.lamp.mark()
        self.ask("/lamp/state", "2.05", options=[(65004, b"x")])
        self.assertIn("65004", self.lamp.requests(start)[0])

    def test_proxy_uri(self):
        self.ask("/lamp/state", "5.05", options=[(35, b"coap://example.com/")])

    def test_proxy_scheme(self):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)  # a stock client would follow it
        self.assertEqual(c.get("/lamp/state", options=[(39, b"coap")])[0], "5.05")

    def test_hop_limit_used_up(self):
        self.ask("/lamp/state", "5.08", options=[(16, b"\x01")])

    # ---- by the devices ----

    def test_permitted_but_no_such_device(self):
        self.ask("/nobody/x", "4.04")

    def test_the_devices_own_denial_comes_back(self):
        self.ask("/lamp/nothing", "4.04")

    def test_device_queue_full(self):
        """One in flight, four wait; what has no place is told so at once."""
        self.slow.settle()
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)
        asked = [c.request("/slow/x", non=True) for _ in range(7)]
        for token in asked[5:]:
            code, _ = c.answer(token)
            self.assertEqual(code, "5.03")
        # One after the other they reach the device; answered, the next comes.
        for token in asked[:5]:
            datagram, to = self.slow.receive()
            self.slow.answer(datagram, to, payload=token)
            self.assertEqual(c.answer(token), ("2.05", token))


class NoAnswer(House):
    slow = 100  # MAX_TRANSMIT_WAIT (RFC 7252 4.8.2) is most of two minutes

    @classmethod
    def devices(cls):
        cls.mute = cls.start(rig.SilentDevice())
        return super().devices() + [
            {"name": "mute", "path": "/slow", "url": cls.mute.url},
            {"name": "gone", "path": "/gone", "url": "coap://127.0.0.1:%d" % rig.free_port()}]

    def test_silent_and_away(self):
        self.mute.settle()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            away = pool.submit(self.ask, "/gone/x", "5.04", wait=130)
            silent = self.ask("/slow/x", "5.04", wait=130)
            away.result()
        # The client's and our own retransmissions are one request: the same
        # message ID each time, 1 + MAX_RETRANSMIT of them at most.
        self.mute.sock.settimeout(0)
        mids = []
        try:
            while True:
                datagram = self.mute.sock.recv(4096)
                if datagram[1]:  # else a ping: is it back?
                    mids.append(datagram[2:4])
        except BlockingIOError:
            pass
        self.assertEqual(len(set(mids)), 1, mids)
        self.assertEqual(len(mids), 5)
        self.assertEqual([t for t in silent.types if t == "CON"], ["CON"], "a separate answer, once")
        # It is known to be down now, and its host says that nobody listens:
        # no need to wait again.
        self.ask("/gone/x", "5.04", wait=10)
        with open(self.gw.path("log/audit.jsonl")) as f:
            self.assertIn('"code":"5.04"', f.read())


class Reporting(House):
    """mode: report lets pass what it would deny, and says so."""
    policy = POLICY.replace("mode: enforce", "mode: report")

    def test_denied_by_the_rules_but_let_through(self):
        self.ask("/door/lock", "2.05", (b"visitor", PSK))
        r = self.gw.audit(lambda r: r.get("path") == "/door/lock")
        self.assertEqual(r["verdict"], "deny")

    def test_a_stranger_still_gets_nothing(self):
        self.assertEqual(rig.coap(self.gw.coap("/door/lock")).code, "4.01")
