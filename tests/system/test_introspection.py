"""Tokens that say nothing to the gateway: it asks their authorization server
over coaps, in each dialect, and everything that such a server may do to it."""
import socket
import statistics
import threading
import time

import cbor2

import dtls
import mint
import rig
from asked import Asked
from house import Client, PSK, claims


class Ways(Asked):
    """Each way in which a reference comes along (rfc9200, PSK to the server)."""

    def test_posted_over_coap(self):
        client = self.brought()
        self.assertEqual(self.ask("/lamp/state", "2.05", client.psk).payload, b"on")
        self.ask("/lamp/color", "4.03", client.psk)
        self.assertEqual(self.server.count(), 1)
        self.assertNotIn("bad introspect", self.server.proc.output())

    def test_posted_over_coaps(self):
        client = Client()
        handle = self.reference(client)
        self.ask("/authz-info", "2.01", method="post", payload=handle, fmt=42)
        self.ask("/lamp/state", "2.05", client.psk)

    def test_as_psk_identity(self):
        """The handshake waits for the answer and goes on."""
        for tls in ("openssl", "gnutls"):
            with self.subTest(tls=tls):
                client = Client()
                handle = self.reference(client)
                self.ask("/lamp/state", "2.05", (handle, client.key), tls=tls)
                self.assertEqual(self.server.count(), 1)

    def test_as_psk_identity_unknown_to_the_server(self):
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=(mint.random_text(24), PSK), wait=3)
        self.assertIsNone(a.code, a.output)

    def test_survives_kill_9(self):
        """The grant is kept, its claims are not: they are asked for again."""
        client = self.brought()
        self.ask("/lamp/state", "2.05", client.psk)
        self.gw.kill()
        self.gw.start()
        self.server.count()
        self.ask("/lamp/state", "2.05", client.psk)
        self.assertEqual(self.server.count(), 1)

    def test_asked_by_hand(self):
        """References are of letters that also write CWTs; they are no CWTs."""
        for handle in (b"ref:one+two", b"6bcd00b1d83d", b"abcDEF_-0123456789", b"\x00\xff\x0a"):
            for end in (b"", b"\n") if handle[0] else (b"",):
                with self.subTest(handle=handle, end=end):
                    self.server.know(handle, scope="guest", aud="lamp")
                    r = self.gw.postern("introspect", "-c", "postern.yaml", "-",
                                        stdin=handle + end, check=0)
                    self.assertTrue(r.text.startswith("active: ask-as at coaps://"), r.text)
                    self.server.tell("forget", handle)
                    r = self.gw.postern("introspect", "-c", "postern.yaml", "-",
                                        stdin=handle + end, check=1)
                    self.assertTrue(r.text.startswith("inactive: ask-as at coaps://"), r.text)

    def test_no_key_to_mint_with(self):
        r = self.gw.postern("token", "new", "-c", "postern.yaml", "-A", "ask-as", "-a", "lamp",
                            "-s", "guest", "-n", check=64)
        self.assertIn("authority 'ask-as' has no `keys:`", r.err)

    def test_access_token_option(self):
        client = self.brought()
        more = self.reference(client, scope="resident", aud=["lamp", "door"])
        self.ask("/door/lock", "4.03", client.psk)
        self.server.count()
        for _ in range(3):
            a = self.ask("/door/lock", "2.05", client.psk, options=[(65000, more)])
            self.assertEqual(a.payload, b"shut")
        self.assertEqual(self.server.count(), 1, "kept for a minute")
        self.ask("/door/lock", "4.03", client.psk)

    def test_access_token_option_of_another_key(self):
        client, thief = self.brought(), self.brought()
        more = self.reference(client, scope="resident", aud=["lamp", "door"])
        a = rig.coap(self.gw.coaps("/door/lock"), psk=thief.psk, options=[(65000, more)])
        self.assertIn(a.code, ("4.01", "4.03"), a.output)

    def test_wrapped_in_a_second_byte_string(self):
        client = Client()
        handle = self.reference(client)
        self.post(cbor2.dumps(handle))
        self.ask("/lamp/state", "2.05", client.psk)

    def test_of_a_token_that_can_be_read_nothing_is_asked(self):
        client = Client()
        self.post(mint.cwt(self.encrypt, claims(client.kid, client.key)), fmt=61)
        self.ask("/lamp/state", "2.05", client.psk)
        self.assertEqual(self.server.count(), 0)


class Answers(Asked):
    """What the server may say."""

    def test_what_is_refused(self):
        client = Client()
        good = dict(scope="guest", aud="lamp")
        for name, change, code in (
                ("inactive", {"active": False}, "4.01"),
                ("expired", {"exp": 1600000000}, "4.01"),
                # milliseconds: in a far future, cut to what is believed of it, or refused
                ("not yet", {"nbf": int(time.time()) + 600}, "4.01"),
                ("another audience", {"aud": "toaster"}, "4.03"),
                ("no audience that is ours", {"aud": ["toaster", "gateway.other"]}, "4.03"),
                ("scope unknown", {"scope": "emperor"}, "4.00"),
                ("another issuer", {"iss": "coaps://as.other"}, "4.01"),
                ("another profile", {"profile": 2}, None),
                ("no key, and bearers are not let in", {"cnf": None}, None),
                ("exp in the past by a wrong unit", {"exp": int(time.time() / 1000)}, "4.01")):
            with self.subTest(name):
                handle = self.reference(client, **{**good, **change})
                a = self.gw.post_token(handle, fmt=42)
                self.assertTrue(a.code and a.code[0] == "4", a.output)
                if code:
                    self.assertEqual(a.code, code, a.output)
                a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=1)
                self.assertIsNone(a.code, a.output)

    def test_unknown_to_the_server(self):
        a = self.gw.post_token(b"\x01\x02never seen", fmt=42)
        self.assertEqual(a.code, "4.01", a.output)

    def test_success_by_another_code(self):
        self.server.behave("success 2.05")
        self.addCleanup(self.server.behave, "normal")
        self.ask("/lamp/state", "2.05", self.brought().psk)

    def test_what_the_authority_may_not_grant_does_not_count(self):
        client = self.brought(scope="guest night")
        self.ask("/lamp/state", "2.05", client.psk)


class Answers07(Answers):
    dialect = "ace-07"

    def test_client_token_goes_to_the_poster(self):
        """ace-07 5.6.4: in the payload of the 2.01."""
        client = Client()
        given = cbor2.dumps(cbor2.CBORTag(16, [b"\xa1\x01\x0a", {5: bytes(13)}, b"sealed"]))
        a = self.post(self.reference(client, client_token=given))
        self.assertEqual(a.payload, given)
        self.ask("/lamp/state", "2.05", client.psk)
        self.assertEqual(self.post(self.reference(Client())).payload, b"")


class ByCertificate(Asked):
    line = "certificate"

    def test_reference(self):
        self.ask("/lamp/state", "2.05", self.brought().psk)
        self.assertNotIn("bad introspect", self.server.proc.output())


class ByCertificate07(ByCertificate):
    dialect = "ace-07"


class NothingKept(Asked):
    introspect = "cache: 0s"

    def test_each_request_asks(self):
        client = self.brought()
        more = self.reference(client, scope="resident", aud=["lamp", "door"])
        for _ in range(3):
            self.ask("/door/lock", "2.05", client.psk, options=[(65000, more)])
        asked, at = " %s$" % more.hex(), 0
        for _ in range(3):
            _, at = self.server.proc.wait_line(asked, at)
        self.server.tell("forget", more)
        a = rig.coap(self.gw.coaps("/door/lock"), psk=client.psk, options=[(65000, more)])
        self.assertIn(a.code, ("4.01", "4.03"), a.output)


    def test_a_handshake_asks(self):
        """By kid, with a reference that was posted: each is asked about."""
        client = Client()
        handle = self.reference(client)
        self.post(handle)
        self.ask("/lamp/state", "2.05", client.psk)
        self.server.tell("forget", handle)
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=2)
        self.assertIn(a.code, (None, "4.01"), a.output)

    def test_away_is_never_open(self):
        """A live association whose token must be asked about."""
        client = Client()
        handle = self.reference(client)
        self.post(handle)
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        self.server.crash()
        self.assertEqual(c.get("/lamp/state")[0], "5.03")
        self.server.start()
        self.reference(client, handle=handle)
        until = time.monotonic() + rig.DEADLINE
        while c.get("/lamp/state")[0] != "2.05":
            self.assertLess(time.monotonic(), until)
            threading.Event().wait(0.2)


class ShortlyKept(Asked):
    introspect = "cache: 1s"

    def test_what_is_revoked_there_ends_here(self):
        client = self.brought()
        more = self.reference(client, scope="resident", aud=["lamp", "door"])
        self.ask("/door/lock", "2.05", client.psk, options=[(65000, more)])
        self.server.tell("forget", more)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            a = rig.coap(self.gw.coaps("/door/lock"), psk=client.psk, options=[(65000, more)])
            if a.code != "2.05":
                break
        self.assertIn(a.code, ("4.01", "4.03"), a.output)


class Always(Asked):
    """Tokens that the gateway could read are asked about all the same."""
    introspect = "when: always"
    lines = "    keys: keys/ask-as.keys\n"

    @classmethod
    def secrets(cls):
        cls.own = mint.SymmetricKey(b"a1", 10)
        return {**super().secrets(), "keys/ask-as.keys": mint.key_set(cls.own)}

    def token(self, client):
        return mint.cwt(self.own, {1: "coaps://as.ask", 3: "lamp", 4: int(time.time()) + 600,
                                   9: "guest", **{8: client.cnf()}})

    def test_good_in_itself_and_active(self):
        client = Client()
        token = self.token(client)
        self.server.know(token, scope="guest", aud="lamp", exp=int(time.time()) + 600)
        self.post(token, fmt=61)
        self.ask("/lamp/state", "2.05", client.psk)
        self.assertEqual(self.server.count(), 1)

    def test_good_in_itself_and_inactive(self):
        client = Client()
        a = self.gw.post_token(self.token(client))
        self.assertEqual(a.code, "4.01", a.output)
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=1)
        self.assertIsNone(a.code, a.output)


class Waiting(Asked):
    """Many wait while the server takes its time."""
    slow = 10

    def test_a_thousand_posts_of_one_token_cost_one_question(self):
        client = Client()
        handle = self.reference(client)
        self.server.tell("hold introspect")
        sockets = []
        for i in range(20):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect(("127.0.0.1", self.gw.ports[4][0]))
            s.settimeout(rig.DEADLINE)
            self.addCleanup(s.close)
            sockets.append(s)
            for k in range(50):
                m = dtls.message(0, 2, i * 50 + k, bytes([i, k]), "authz-info", handle,
                                 [(12, b"\x2a")])
                s.send(m)
        self.server.wait_asked()
        # Each has its empty ACK in time: nobody sends again.
        for s in sockets:
            acked = set()
            while len(acked) < 50:
                m = s.recv(2048)
                self.assertEqual((m[0] >> 4 & 3, m[1]), (2, 0), m)
                acked.add(m[2:4])
        self.server.tell("release")
        for i, s in enumerate(sockets):
            codes = {}
            while len(codes) < 50:
                m = s.recv(2048)
                if m[1]:
                    codes[m[4:4 + (m[0] & 15)]] = m[1]
                    s.send(b"\x60\x00" + m[2:4])
            self.assertEqual(set(codes.values()), {0x41}, i)
        self.assertEqual(self.server.count(), 1)
        self.ask("/lamp/state", "2.05", client.psk)

    def test_requests_of_many_clients_with_one_token_cost_one_question(self):
        client = self.brought()
        more = self.reference(client, scope="resident", aud=["lamp", "door"])
        self.server.tell("hold introspect")
        self.server.count()
        clients, asked = [], []
        for _ in range(4):
            c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
            self.addCleanup(c.close)
            clients.append(c)
            asked += [(c, c.request("/door/lock", options=[(65000, more)])) for _ in range(10)]
        self.server.wait_asked()
        # Who needs no answer has his at once.
        self.ask("/lamp/state", "2.05")
        self.server.tell("release")
        for c, token in asked:
            self.assertEqual(c.answer(token), ("2.05", b"shut"))
        self.assertEqual(self.server.count(), 1)

    def test_established_clients_do_not_notice(self):
        """While every question takes 200 ms, strangers ask without end."""
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)

        def p99(enough):
            took = []
            while not enough(took):
                began = time.monotonic()
                self.assertEqual(c.get("/lamp/state")[0], "2.05")
                took.append(time.monotonic() - began)
            return statistics.quantiles(took, n=100)[98]
        rest = p99(lambda took: len(took) == 1000)
        self.server.tell("slow introspect 200")
        self.addCleanup(self.server.tell, "slow introspect 0")
        done = threading.Event()

        def strangers():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect(("127.0.0.1", self.gw.ports[4][0]))
            s.settimeout(rig.DEADLINE)
            i = 0
            while not done.is_set():
                i += 1
                s.send(dtls.message(1, 2, i, i.to_bytes(4, "big"), "authz-info",
                                    mint.random_text(24), [(12, b"\x2a")]))
                s.recv(2048)
            s.close()
        threads = [threading.Thread(target=strangers) for _ in range(4)]
        start = self.server.mark()

        def asked(took):
            lines = self.server.proc.lines[start:]
            return sum(l.startswith("asked") for l in lines) > 40 and len(took) >= 1000
        for t in threads:
            t.start()
        try:
            busy = p99(asked)
        finally:
            done.set()
            for t in threads:
                t.join()
        # One turn that waited for an answer would take 200 ms, and there were
        # many; the rest is what others do to this machine.
        self.assertLess(busy, max(0.1, 2 * rest), "at rest %.4f s" % rest)

    def test_strangers_beyond_the_cap_are_sent_away(self):
        """4.29 with Max-Age; and the cap is theirs, not the house's."""
        self.server.tell("hold introspect")
        self.addCleanup(self.server.tell, "release")
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.connect(("127.0.0.1", self.gw.ports[4][0]))
        s.settimeout(rig.DEADLINE)
        for i in range(1200):
            s.send(dtls.message(1, 2, i, i.to_bytes(2, "big"), "authz-info", mint.random_text(24),
                                [(12, b"\x2a")]))
            if i % 50 == 49:
                self.ask("/lamp/state", "2.05")
        m = s.recv(2048)
        self.assertEqual(m[1], 0x9d, m)  # 4.29
        self.assertEqual(m[6] >> 4 | m[7] << 8, 13 | 1 << 8, "Max-Age")
        self.assertLess(self.server.count(), 1200)


class Ill(Asked):
    """The server fails, each time in another way: nobody is let in who is not
    known already, and nobody else waits."""

    def refused_now(self, *codes):
        """A token that was good a moment ago brings nothing now."""
        client = Client()
        handle = self.reference(client)
        a = self.gw.post_token(handle, fmt=42)
        self.assertIn(a.code, codes, a.output)
        if a.code == "5.03":
            self.assertGreater(self.max_age(a), 0)
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=1)
        self.assertIsNone(a.code, a.output)
        self.ask("/lamp/state", "2.05")
        return handle, client

    def test_each_failure(self):
        for how in ("garbage", "half", "empty", "refuse 4.01", "refuse 4.03", "refuse 4.00",
                    "refuse 5.00", "format 50", "format 0", "success 2.04", "success 2.31"):
            with self.subTest(how):
                self.server.behave("normal")
                client = self.brought()  # it works
                self.server.behave(how)
                handle, late = self.refused_now("5.03", "4.01")
                self.ask("/lamp/state", "2.05", client.psk)  # what was granted holds
                self.server.behave("normal")
                self.post(handle)
                self.ask("/lamp/state", "2.05", late.psk)

    def test_inactive(self):
        self.server.behave("inactive")
        self.addCleanup(self.server.behave, "normal")
        self.refused_now("4.01")


class Silent(Asked):
    slow = 30

    def test_silence_after_the_ack(self):
        self.server.behave("silent")
        self.addCleanup(self.server.behave, "normal")
        client = Client()
        handle = self.reference(client)
        waits = threading.Thread(target=lambda: setattr(self, "late",
                                                        self.gw.post_token(handle, fmt=42)))
        waits.start()
        self.server.wait_asked()
        for _ in range(5):
            began = time.monotonic()
            self.ask("/lamp/state", "2.05")
            self.assertLess(time.monotonic() - began, 2)
        waits.join()
        self.assertEqual(self.late.code, "5.03", self.late.output)
        self.assertGreater(self.max_age(self.late), 0)


class Away(Asked):
    slow = 20
    introspect = "cache: 60s"

    def test_away_and_back(self):
        client = self.brought()
        more = self.reference(client, scope="resident", aud=["lamp", "door"])
        other = self.reference(client, scope="resident", aud=["lamp", "door"])
        self.ask("/door/lock", "2.05", client.psk, options=[(65000, more)])
        late = Client()
        self.server.crash()
        began = time.monotonic()
        a = self.gw.post_token(mint.random_text(24), fmt=42)
        self.assertEqual(a.code, "5.03", a.output)
        self.assertGreater(self.max_age(a), 0)
        a = rig.coap(self.gw.coaps("/door/lock"), psk=client.psk, options=[(65000, other)])
        self.assertEqual(a.code, "5.03", a.output)
        self.assertGreater(self.max_age(a), 0)
        # What was granted holds, what is kept of answers too.
        self.ask("/lamp/state", "2.05", client.psk)
        if time.monotonic() - began < 50:
            self.ask("/door/lock", "2.05", client.psk, options=[(65000, more)])
        # A token that is whole in itself needs nobody.
        alone = Client()
        self.post(mint.cwt(self.encrypt, claims(alone.kid, alone.key)), fmt=61)
        self.ask("/lamp/state", "2.05", alone.psk)
        self.server.start()
        handle = self.reference(late)
        until = time.monotonic() + rig.DEADLINE
        while True:  # as a client would: again when it was told to
            a = self.gw.post_token(handle, fmt=42)
            if a.code != "5.03" or time.monotonic() > until:
                break
            threading.Event().wait(min(self.max_age(a), 5))
        self.assertEqual(a.code, "2.01", a.output)
        self.ask("/lamp/state", "2.05", late.psk)


class Away07(Away):
    dialect = "ace-07"
