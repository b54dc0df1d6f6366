"""Token revocation lists (RFC 9770), observed over coaps: what the list names
ends here within a second, and stays ended."""
import time

import authority
import dtls
import jws
import mint
import rig
import test_jwt
from asked import Asked
from house import Client


class Listed(Asked):
    """ask-as has a list; its tokens can be read here."""
    poll = "300s"

    @classmethod
    def setUpClass(cls):
        cls.more_devices = ({"name": "slow", "path": "/slow", "audience": "lamp",
                             "url": cls.start_silent().url},)
        super().setUpClass()
        cls.server.wait_asked("trl")

    @classmethod
    def start_silent(cls):
        cls.silent = rig.SilentDevice()
        cls.addClassCleanup(cls.silent.stop)
        return cls.silent

    @classmethod
    def describe(cls):
        cls.lines = ("    keys: keys/ask-as.keys\n"
                     "    revocation-list: {url: \"%s/revoke/trl\", poll: %s}\n" % (
                         cls.server.url, cls.poll))
        return super().describe()

    @classmethod
    def secrets(cls):
        cls.own = mint.SymmetricKey(b"a1", 10)
        return {**super().secrets(), "keys/ask-as.keys": mint.key_set(cls.own)}

    def token(self, client, scope="guest", **how):
        """Nothing in the open: else its hash could be changed by anyone."""
        how.setdefault("canonical", True)
        return mint.cwt(self.own, {1: "coaps://as.ask", 3: "lamp", 4: int(time.time()) + 600,
                                   7: mint.random_text(8), 9: scope, 8: client.cnf()}, **how)

    def revoke(self, *hashes):
        """Returns when the list has told of it."""
        start = self.server.mark()
        self.server.tell("revoke", *hashes)
        self.server.proc.wait_line("^notify trl", start)
        return time.monotonic()

    def opened(self, client):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        return c

    def ends_within_a_second(self, c, told):
        while True:
            try:
                code = c.get("/lamp/state")[0]
            except dtls.Refused:
                code = "closed"
            if code != "2.05":
                break
            self.assertLess(time.monotonic() - told, 5)
        self.assertLess(time.monotonic() - told, 1)
        self.assertIn(code, ("4.01", "closed"))

    def refused(self, token):
        """Within a second of the list's word, if that has just come."""
        began = time.monotonic()
        while True:
            a = self.gw.post_token(token)
            if a.code != "2.01" or time.monotonic() - began > 1:
                break
        self.assertEqual(a.code, "4.01", a.output)


class Observed(Listed):
    def test_a_live_association_ends(self):
        client = Client()
        token = self.token(client)
        self.post(token, fmt=61)
        c = self.opened(client)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        self.ends_within_a_second(c, self.revoke(authority.token_hash(token)))
        self.refused(token)
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=1)
        self.assertIsNone(a.code, a.output)

    def test_a_request_under_way_ends(self):
        """RFC 9200 5.10.3: 4.01, however late the device is."""
        self.silent.settle()
        client = Client()
        token = self.token(client, scope="resident")
        self.post(token, fmt=61)
        c = self.opened(client)
        asked = c.request("/slow/x")
        datagram, to = self.silent.receive()
        self.revoke(authority.token_hash(token))
        self.refused(token)
        self.silent.answer(datagram, to)
        try:
            self.assertEqual(c.answer(asked)[0], "4.01")
        except dtls.Refused:
            pass

    def test_revoked_before_it_came(self):
        token = self.token(Client())
        self.revoke(authority.token_hash(token))
        self.refused(token)

    def test_several_at_once(self):
        clients = [Client() for _ in range(5)]
        tokens = [self.token(c) for c in clients]
        for t in tokens:
            self.post(t, fmt=61)
        keeps = Client()
        self.post(self.token(keeps), fmt=61)
        opened = [self.opened(c) for c in clients]
        told = self.revoke(*map(authority.token_hash, tokens))
        for c in opened:
            self.ends_within_a_second(c, told)
        self.ask("/lamp/state", "2.05", keeps.psk)

    def test_what_leaves_the_list_stays_revoked(self):
        """RFC 9770 10.1: until the token was seen and has expired."""
        token = self.token(Client())
        self.revoke(authority.token_hash(token))
        self.refused(token)
        self.revoke("-", authority.token_hash(token))
        self.refused(token)

    def test_a_reference(self):
        client = Client()
        handle = self.reference(client)
        self.post(handle)
        c = self.opened(client)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        self.ends_within_a_second(c, self.revoke(authority.token_hash(handle)))

    def test_access_token_option(self):
        client = Client()
        self.post(self.token(client), fmt=61)
        more = self.token(client, scope="resident")
        self.ask("/lamp/color", "2.05", client.psk, options=[(65000, more)])
        told = self.revoke(authority.token_hash(more))
        while True:
            a = rig.coap(self.gw.coaps("/lamp/color"), psk=client.psk, options=[(65000, more)])
            if a.code != "2.05" or time.monotonic() - told > 1:
                break
        self.assertEqual(a.code, "4.01", a.output)
        self.ask("/lamp/state", "2.05", client.psk)

    def test_a_token_whose_hash_can_be_changed_is_refused(self):
        """RFC 9770 13.4: something in the open; tags in another form."""
        good = self.token(Client())
        self.assertEqual(good[:3], b"\xd8\x3d\xd0")
        for name, token in (("headers in the open", self.token(Client(), canonical=False)),
                            ("no tag 61", good[2:]), ("no tags", good[3:]),
                            ("a longer tag", b"\xd8\x3d\xd8\x10" + good[3:]),
                            ("tag 61 twice", b"\xd8\x3d" + good)):
            with self.subTest(name):
                a = self.gw.post_token(token)
                self.assertTrue(a.code and a.code[0] == "4", a.output)
        self.post(good, fmt=61)

    def test_a_list_of_many_blocks(self):
        client = Client()
        token = self.token(client)
        self.post(token, fmt=61)
        c = self.opened(client)
        for i in range(5):
            self.revoke(*(b"\x01" + bytes([i, k]) * 16 for k in range(60)))
        self.ends_within_a_second(c, self.revoke(authority.token_hash(token)))
        for i in range(5):
            self.revoke("-", *(b"\x01" + bytes([i, k]) * 16 for k in range(60)))


class ByCertificate(Observed):
    line = "certificate"


class Kept(Listed):
    slow = 20

    def test_survives_kill_9_while_the_server_is_away(self):
        client = Client()
        token, revoked = self.token(client), self.token(Client())
        self.post(token, fmt=61)
        self.revoke(authority.token_hash(revoked))
        self.refused(revoked)
        self.gw.kill()
        self.server.crash()
        self.gw.start()
        self.refused(revoked)
        self.ask("/lamp/state", "2.05", client.psk)
        # Revoked while the line was down: known before anything else is asked.
        self.server.start()
        self.server.tell("revoke", authority.token_hash(token))
        until = time.monotonic() + rig.DEADLINE
        while time.monotonic() < until:
            a = self.gw.post_token(token)
            if a.code == "4.01":
                break
        self.assertEqual(a.code, "4.01", a.output)
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=1)
        self.assertIsNone(a.code, a.output)


class Polled(Listed):
    """Nothing leaves the server while the list grows: what was missed comes
    by another try of the notification, or when the list is asked for again."""
    poll = "10s"
    slow = 25

    def test_lost_notifications(self):
        client = Client()
        token = self.token(client)
        self.post(token, fmt=61)
        c = self.opened(client)
        self.server.tell("mute on")
        self.server.tell("revoke", authority.token_hash(token))
        for i in range(15):  # more than it remembers
            self.server.tell("revoke", b"\x01" + bytes([i]) * 32)
        self.server.tell("mute off")
        until = time.monotonic() + rig.DEADLINE
        code = "2.05"
        while code == "2.05" and time.monotonic() < until:
            try:
                code = c.get("/lamp/state")[0]
            except dtls.Refused:
                code = "4.01"
        self.assertEqual(code, "4.01")


class Ill(Listed):
    """A list that makes no sense changes nothing, and permits nothing that
    was revoked."""

    def test_each_failure(self):
        client = Client()
        token, revoked = self.token(client), self.token(Client())
        self.post(token, fmt=61)
        self.revoke(authority.token_hash(revoked))
        self.refused(revoked)
        for how in ("garbage", "half", "empty", "format 60", "refuse 4.03", "refuse 5.00"):
            with self.subTest(how):
                self.server.tell("behave trl", how)
                self.server.tell("revoke", b"\x01" + mint.random_text(32))
                self.refused(revoked)
                self.ask("/lamp/state", "2.05", client.psk)
                self.server.tell("behave trl normal")


class OfJwts(test_jwt.WithJwt):
    """A JWT has two hashes, by how its client was given it (RFC 9770 4.3.2)."""
    issuer = "https://as.jwt"
    claims = test_jwt.Ours.claims

    @classmethod
    def serve(cls):
        cls.key = jws.SigningKey()
        cls.server = authority.CoapAuthority()
        cls.addClassCleanup(cls.server.stop)

    @classmethod
    def keys(cls):
        return ("keys: keys/jwt-as.jwks\n    revocation-list: {url: \"%s/revoke/trl\", "
                "psk: {identity: gateway, key-file: keys/list.psk}}" % cls.server.url)

    @classmethod
    def jwk_set(cls):
        return {"keys": [cls.key.jwk()]}

    @classmethod
    def secrets(cls):
        return {**super().secrets(), "keys/list.psk": authority.PSK.hex() + "\n"}

    def test_each_hash(self):
        self.server.wait_asked("trl")
        for of in (authority.jwt_hash, authority.token_hash):
            with self.subTest(of.__name__):
                c = self.enrolled("owl")
                token = self.key.sign(self.claims())
                self.bring(c, token)
                self.assertEqual(c.get("/lamp/state")[0], "2.05")
                start = self.server.mark()
                self.server.tell("revoke", of(token))
                self.server.proc.wait_line("^notify trl", start)
                told = time.monotonic()
                while c.get("/lamp/state")[0] == "2.05":
                    self.assertLess(time.monotonic() - told, 1)
                self.assertEqual(c.get("/lamp/state")[0], "4.03")
