"""Who would turn the asking of authorization servers against the gateway:
strangers in numbers, answers that come at the wrong moment, authorities that
speak for others."""
import os
import re
import socket
import threading
import time

import cbor2

import dtls
import mint
import rig
from asked import Asked
from house import PSK, Client, claims

NAMED = (b"panel", PSK)
ACK, CREATED, TOO_MANY = 2, 0x41, 0x9d


class Strangers(Asked):
    slow = 20

    def plain(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.connect(("127.0.0.1", self.gw.ports[4][0]))
        s.settimeout(rig.DEADLINE)
        return s

    def test_more_posts_of_one_token_than_the_table_has_room_for(self):
        """Each is as from another client; those who are known go on."""
        handle = self.reference(Client())
        self.server.tell("hold introspect")
        s = self.plain()
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=NAMED)
        self.addCleanup(c.close)
        refused = 0
        for i in range(9000):
            s.send(dtls.message(1, 2, i, i.to_bytes(2, "big"), "authz-info", handle,
                                [(12, b"\x2a")]))
            if i % 25 == 24:
                self.assertEqual(c.get("/lamp/state")[0], "2.05", "after %d posts" % i)
        self.server.tell("release")
        s.settimeout(2)
        codes = {}
        try:
            while True:
                m = s.recv(2048)
                codes[m[1]] = codes.get(m[1], 0) + 1
        except socket.timeout:
            pass
        self.assertLessEqual(set(codes), {CREATED, TOO_MANY}, codes)
        self.assertGreater(codes.get(TOO_MANY, 0), 0)
        self.assertEqual(self.server.count(), 1)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")

    def test_what_a_client_is_known_by_outlives_strangers(self):
        """A duplicate is answered from memory, whatever came between."""
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=NAMED)
        self.addCleanup(c.close)
        m = dtls.message(0, 1, 0x7001, b"du", "/lamp/state")
        c.send(m)
        first = c.receive()
        s = self.plain()
        for turn in range(5):
            handle = self.reference(Client())
            self.server.tell("hold introspect")
            for i in range(2000):
                s.send(dtls.message(1, 2, turn * 2000 + i, i.to_bytes(2, "big"), "authz-info",
                                    handle, [(12, b"\x2a")]))
                if i % 100 == 99:
                    self.assertEqual(c.get("/lamp/state")[0], "2.05")
            self.server.tell("release")
            self.assertEqual(self.gw.post_token(handle, fmt=42).code, "2.01")
        c.send(m)
        self.assertEqual(c.receive(), first)

    def test_a_separate_answer_over_plain_coap_is_sent_until_it_is_acknowledged(self):
        self.server.tell("hold introspect")
        s = self.plain()
        s.send(dtls.message(0, 2, 0x4711, b"se", "authz-info", self.reference(Client()),
                            [(12, b"\x2a")]))
        m = s.recv(2048)
        self.assertEqual((m[0] >> 4 & 3, m[1], m[2:4]), (ACK, 0, b"\x47\x11"))
        self.server.tell("release")
        m = s.recv(2048)
        self.assertEqual((m[0] >> 4 & 3, m[1], m[4:6]), (0, CREATED, b"se"))
        again = s.recv(2048)
        self.assertEqual(again, m)
        s.send(b"\x60\x00" + m[2:4])
        s.settimeout(6.5)  # the next would come after 4 to 6 s
        with self.assertRaises(socket.timeout):
            s.recv(2048)

    def test_tokens_of_noise_in_numbers(self):
        """10,000 of them: the server is asked no more than it is let, and the
        gateway does not grow."""
        def rss():
            with open("/proc/%d/status" % self.gw.proc.proc.pid) as f:
                return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1])
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=NAMED)
        self.addCleanup(c.close)
        s = self.plain()
        sizes = []
        for i in range(10000):
            s.send(dtls.message(1, 2, i, i.to_bytes(2, "big"), "authz-info", os.urandom(40),
                                [(12, b"\x2a")]))
            if i % 50 == 49:
                self.assertEqual(c.get("/lamp/state")[0], "2.05")
            if i % 2500 == 2499:
                sizes.append(rss())
        self.assertLess(self.server.count(), 10000)
        # The table's pages are touched once; the sanitizer holds back some.
        self.assertLess(sizes[-1] - sizes[1], 65536, sizes)
        client = self.brought()
        self.ask("/lamp/state", "2.05", client.psk)


class WrongMoment(Asked):
    """The answer comes when nobody can use it any more, or should."""
    slow = 10

    @classmethod
    def devices(cls):
        """None sends its clients to ask-as: it may be dropped."""
        return [{k: "home-as" if k == "authority" else v for k, v in d.items()}
                for d in super().devices()]

    def held(self, client, scope="resident", aud=("lamp", "door")):
        """A client with an association, and a request that waits."""
        more = self.reference(client, scope=scope, aud=list(aud))
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        self.server.count()
        start = self.server.mark()
        self.server.tell("hold introspect")
        token = c.request("/door/lock", options=[(65000, more)])
        self.server.wait_asked(start=start)
        return c, token, more

    def nothing_came(self, c):
        c.deadline = 1.0
        with self.assertRaises((socket.timeout, dtls.Refused)):
            while c.receive()[1] == 0:
                pass

    def test_the_client_is_gone(self):
        c, _, _ = self.held(self.brought())
        c.close()
        self.server.tell("release")
        self.ask("/lamp/state", "2.05")

    def test_a_new_handshake_from_the_same_port(self):
        """What the old association asked is not answered to the new one."""
        client, other = self.brought(), self.brought()
        c, _, _ = self.held(client)
        new = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=other.psk,
                          sock=c.sock.dup())
        self.addCleanup(new.close)
        self.server.tell("release")
        self.assertEqual(new.get("/lamp/state"), ("2.05", b"on"))
        self.assertEqual(new.get("/door/lock")[0], "4.03")
        self.nothing_came(new)

    def dropped(self, change):
        """What waits, a post and a request, brings nothing when `change` was
        loaded meanwhile."""
        client, late = self.brought(), Client()
        c, token, _ = self.held(client)
        start = self.server.mark()
        posted = []
        fresh = self.reference(late)
        post = threading.Thread(target=lambda: posted.append(self.gw.post_token(fresh, fmt=42)))
        post.start()
        self.server.wait_asked(start=start)
        self.addCleanup(self.restore)
        self.gw.edit("policy.yaml", *change)
        self.assertNotIn("error", self.gw.reload())
        self.server.tell("release")
        post.join()
        self.assertNotEqual(posted[0].code, "2.01", posted[0].output)
        try:
            self.assertNotEqual(c.answer(token)[0], "2.05")
        except dtls.Refused:
            pass  # its association rested on the authority
        for psk in (late.psk, client.psk):
            a = rig.coap(self.gw.coaps("/lamp/state"), psk=psk, wait=1)
            self.assertIsNone(a.code, a.output)
        self.ask("/lamp/state", "2.05")

    def test_the_policy_has_dropped_the_authority(self):
        self.dropped((self.describe(), ""))

    def test_the_policy_asks_it_no_more(self):
        introspect = [l for l in self.describe().splitlines() if "introspect" in l][0]
        self.dropped((introspect, "    keys: keys/sign-as.pem"))

    def restore(self):
        self.gw.write("policy.yaml", self.policy)
        self.gw.reload()

    def test_the_policy_allows_less(self):
        """Judged when the answer is there, by the policy that is then in force."""
        c, token, _ = self.held(self.brought())
        self.addCleanup(self.restore)
        said = self.describe()
        self.gw.edit("policy.yaml", said, said.replace("roles: [guest, resident]", "roles: [guest]"))
        self.assertNotIn("error", self.gw.reload())
        self.server.tell("release")
        code, _ = c.answer(token)
        self.assertIn(code, ("4.01", "4.03"))

    def test_revoked_while_it_waits(self):
        c, token, more = self.held(self.brought())
        self.gw.postern("revoke", "-c", "postern.yaml", "-t", "-", stdin=more, check=0)
        self.server.tell("release")
        code, _ = c.answer(token)
        self.assertIn(code, ("4.01", "4.03"))


class Disguised(Asked):
    """A token that the operator revoked does not come back in another form."""

    def test_a_reference_in_a_byte_string(self):
        client = self.brought()
        handle = self.reference(client)
        self.gw.postern("revoke", "-c", "postern.yaml", "-t", "-", stdin=handle, check=0)
        for form in (handle, cbor2.dumps(handle), b"\x58" + bytes([len(handle)]) + handle):
            a = self.gw.post_token(form, fmt=42)
            self.assertEqual(a.code, "4.01", a.output)


class InHandshakes(Asked):
    """A handshake waits for its key."""
    slow = 10

    @classmethod
    def devices(cls):
        return [{k: "home-as" if k == "authority" else v for k, v in d.items()}
                for d in super().devices()]

    def begin(self, psk):
        """One more handshake; [client] or [exception] when it is over."""
        over = []

        def run():
            try:
                c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=psk)
                self.addCleanup(c.close)
                over.append(c)
            except (dtls.Refused, OSError) as e:
                over.append(e)
        t = threading.Thread(target=run)
        t.start()
        return t, over

    def held(self, **change):
        client = Client()
        handle = self.reference(client, **change)
        self.server.tell("hold introspect")
        self.addCleanup(self.server.tell, "release")
        start = self.server.mark()
        waits = self.begin((handle, client.key))
        self.server.wait_asked(start=start)
        return client, handle, waits

    def test_many_with_one_token(self):
        client, handle, waits = self.held()
        others = [self.begin((handle, client.key)) for _ in range(5)]
        # By somebody who has seen the token, and has not the key.
        thief = self.begin((handle, b"0" * 16))
        self.ask("/lamp/state", "2.05")
        self.server.tell("release")
        for t, over in [waits, *others]:
            t.join()
            self.assertIsInstance(over[0], dtls.Client)
            self.assertEqual(over[0].get("/lamp/state"), ("2.05", b"on"))
        thief[0].join()
        self.assertIsInstance(thief[1][0], Exception)
        self.assertEqual(self.server.count(), 1)

    def test_inactive(self):
        _, handle, (t, over) = self.held()
        self.server.tell("forget", handle)
        self.server.tell("release")
        t.join()
        self.assertIsInstance(over[0], Exception)

    def test_the_authority_is_dropped(self):
        _, _, (t, over) = self.held()
        self.gw.edit("policy.yaml", self.describe(), "")
        self.addCleanup(self.gw.reload)
        self.addCleanup(self.gw.write, "policy.yaml", self.policy)
        self.assertNotIn("error", self.gw.reload())
        t.join()
        self.assertIsInstance(over[0], Exception)

    def test_another_comes_from_the_same_port(self):
        """The one that waited is over; its answer lets nobody in for it."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        client = Client()
        handle = self.reference(client, scope="resident", aud=["lamp", "door"])
        self.server.tell("hold introspect")
        self.addCleanup(self.server.tell, "release")
        with self.assertRaises(socket.timeout):
            dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(handle, client.key),
                        sock=sock.dup(), deadline=1)
        self.server.wait_asked()
        second = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"visitor", PSK),
                             sock=sock.dup())
        self.addCleanup(second.close)
        self.assertEqual(second.get("/lamp/state")[0], "2.05")
        self.server.tell("release")
        for _ in range(3):
            self.assertEqual(second.get("/door/lock")[0], "4.03")
        # What was answered is there for the client when it comes again.
        self.ask("/door/lock", "2.05", (handle, client.key))
        self.assertEqual(self.server.count(), 1)

    def test_the_server_is_silent(self):
        """Everybody else comes and goes; the one that waits is told."""
        self.server.behave("silent")
        self.addCleanup(self.server.behave, "normal")
        client = Client()
        start = self.server.mark()
        t, over = self.begin((self.reference(client), client.key))
        self.server.wait_asked(start=start)
        for _ in range(5):
            began = time.monotonic()
            self.ask("/lamp/state", "2.05")
            self.assertLess(time.monotonic() - began, 2)
        t.join()
        self.assertIsInstance(over[0], Exception)


class NarrowAuthority(Asked):
    """The answer may say less than the token, and nothing more."""
    introspect = "when: always, cache: 0"
    lines = "    keys: keys/ask-as.keys\n    algorithms: [AES-CCM-16-64-128]\n"

    @classmethod
    def secrets(cls):
        cls.own = mint.SymmetricKey(b"a1", 10)
        cls.mac_key = mint.SymmetricKey(b"a2", 5)
        return {**super().secrets(), "keys/ask-as.keys": mint.key_set(cls.own, cls.mac_key)}

    def token(self, client, **change):
        said = {1: "coaps://as.ask", 3: "lamp", 4: int(time.time()) + 600, 9: "guest",
                8: client.cnf()}
        said.update({int(k[1:]): v for k, v in change.items()})
        return mint.cwt(self.own, said)

    def test_an_answer_that_says_more(self):
        thief = Client()
        for name, more in (
                ("scope", {"scope": "guest resident"}),
                ("audience", {"aud": ["lamp", "door"]}),
                ("both", {"scope": "guest resident", "aud": ["lamp", "door", "gateway.test"]}),
                ("a longer life", {"exp": int(time.time()) + 10 ** 6})):
            with self.subTest(name):
                client = Client()
                token = self.token(client)
                self.server.know(token, **{"scope": "guest", "aud": "lamp",
                                           "exp": int(time.time()) + 600, **more})
                self.post(token, fmt=61)
                self.ask("/lamp/state", "2.05", client.psk)
                self.ask("/door/lock", "4.03", client.psk)
        client = Client()
        token = self.token(client)
        self.server.know(token, scope="guest", aud="lamp", cnf=thief.cnf())
        self.assertEqual(self.gw.post_token(token).code[0], "4")
        for who in (client, thief):
            a = rig.coap(self.gw.coaps("/lamp/state"), psk=who.psk, wait=1)
            self.assertIsNone(a.code, a.output)

    def test_a_longer_life_than_the_tokens_own(self):
        client = Client()
        token = self.token(client, _4=int(time.time()) + 3)
        self.server.know(token, scope="guest", aud="lamp", exp=int(time.time()) + 600)
        self.post(token, fmt=61)
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        until = time.monotonic() + 10
        with self.assertRaises((dtls.Refused, AssertionError)):
            while time.monotonic() < until:
                self.assertEqual(c.get("/lamp/state")[0], "2.05")

    def test_an_algorithm_that_is_not_named(self):
        client = Client()
        said = {1: "coaps://as.ask", 3: "lamp", 4: int(time.time()) + 600, 9: "guest",
                8: {1: public()}}
        token = mint.cwt(self.mac_key, said)
        self.server.know(token, scope="guest", aud="lamp", cnf=client.cnf())
        self.server.count()
        a = self.gw.post_token(token)
        self.assertEqual(a.code, "4.01", a.output)
        self.assertEqual(self.server.count(), 0)

    def test_a_token_of_another_authority(self):
        """home-as signs what ask-as should have; and the other way round."""
        client = Client()
        token = mint.cwt(self.encrypt, claims(client.kid, client.key, iss="coaps://as.ask"))
        self.server.know(token, scope="guest", aud="lamp", cnf=client.cnf())
        a = self.gw.post_token(token)
        self.assertEqual(a.code, "4.01", a.output)
        token = self.token(client, _1=claims(b"x", b"y" * 16)[1])
        self.server.know(token, scope="guest", aud="lamp", cnf=client.cnf())
        a = self.gw.post_token(token)
        self.assertEqual(a.code, "4.01", a.output)


def public():
    return mint.ec_cose_key(mint.SigningKey(b"p1").private.public_key())
