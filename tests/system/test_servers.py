"""The authorization servers of the tests, asked by stock clients: what the
other tests take for granted of them."""
import base64
import json
import shutil
import tempfile
import unittest
import urllib.error
import urllib.request

import cbor2

import authority
import rig
from house import certificate

PSK = (b"gateway", authority.PSK)
NUMBERS = {"rfc9200": {"token": 11, "active": 10, "scope": 9, "aud": 3, "access_token": 1,
                       "client_id": 24, "client_secret": 25, "audience": 5, "format": 19},
           "ace-07": {"token": 27, "active": 29, "scope": 12, "aud": 3, "access_token": 19,
                      "client_id": 8, "client_secret": 9, "audience": 3, "format": 60}}


class OverCoap(unittest.TestCase):
    dialect = "rfc9200"

    @classmethod
    def setUpClass(cls):
        cls.n = NUMBERS[cls.dialect]
        cls.tls = tempfile.mkdtemp(prefix="postern-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.tls)
        ca = certificate(cls.tls, "ca", "test-ca", ca=True)
        certificate(cls.tls, "as", "as.test", issuer=ca)
        cls.cert = certificate(cls.tls, "gateway", "gateway.test", issuer=ca)[2]
        cls.stray = certificate(cls.tls, "stray", "gateway.test")[2]
        cls.server = authority.CoapAuthority(
            cls.dialect, pki=[cls.tls + "/" + f for f in ("as.crt", "as.key", "ca.crt")])
        cls.addClassCleanup(cls.server.stop)
        cls.server.tell("client", "lamp-user", "secret")

    def tearDown(self):
        self.server.behave("normal")

    def ask(self, handle, **more):
        who = more or {"psk": PSK}
        return rig.coap(self.server.url + "/introspect", "post", fmt=self.n["format"],
                        payload=cbor2.dumps({self.n["token"]: handle}), **who)

    def list(self, query=""):
        a = rig.coap(self.server.url + "/revoke/trl" + query, psk=PSK)
        return a.code, cbor2.loads(a.payload)

    def test_introspection_by_psk_and_certificate(self):
        handle = self.server.know(b"\x01\x02known", scope="guest", aud="lamp")
        known = {self.n["active"]: True, self.n["scope"]: "guest", self.n["aud"]: "lamp"}
        for who in ({"psk": PSK}, {"cert": self.cert}):
            for tls in ("openssl", "gnutls"):
                with self.subTest(who=who, tls=tls):
                    a = self.ask(handle, tls=tls, **who)
                    self.assertEqual((a.code, cbor2.loads(a.payload)), ("2.01", known), a.output)
        self.assertEqual(cbor2.loads(self.ask(b"unknown").payload), {self.n["active"]: False})
        self.server.tell("forget", handle)
        self.assertEqual(cbor2.loads(self.ask(handle).payload), {self.n["active"]: False})

    def test_strangers_are_not_let_in(self):
        for who in ({"psk": (b"gateway", b"another key of 1")}, {"psk": (b"nobody", PSK[1])},
                    {"cert": self.stray}):
            self.assertIsNone(self.ask(b"x", wait=2, **who).code)

    def test_token_endpoint(self):
        ask = {self.n["client_id"]: "lamp-user", self.n["client_secret"]: "secret",
               self.n["scope"]: "guest", self.n["audience"]: "lamp"}
        for how in ("normal", "wrap"):
            self.server.behave(how, "token")
            a = rig.coap(self.server.url + "/token", "post", psk=PSK, fmt=self.n["format"],
                         payload=cbor2.dumps(ask))
            handle = cbor2.loads(a.payload)[self.n["access_token"]]
            self.assertEqual(a.code, "2.01")
            self.assertEqual(len(handle), 17 if how == "wrap" else 16)
            self.assertEqual(cbor2.loads(self.ask(handle).payload)[self.n["scope"]], "guest")
        ask[self.n["client_secret"]] = "wrong"
        a = rig.coap(self.server.url + "/token", "post", psk=PSK, fmt=self.n["format"],
                     payload=cbor2.dumps(ask))
        self.assertEqual(a.code, "4.01")

    def test_misbehaviour(self):
        handle = self.server.know(b"moody", scope="guest")
        good = self.ask(handle)
        self.server.count()
        for how, code, payload in (
                ("garbage", "2.01", lambda p: p[0] == 0xbf), ("empty", "2.01", lambda p: p == b""),
                ("half", "2.01", lambda p: p == good.payload[:len(good.payload) // 2]),
                ("inactive", "2.01", lambda p: cbor2.loads(p) == {self.n["active"]: False}),
                ("refuse 4.01", "4.01", lambda p: len(p) > 0),
                ("refuse 4.03", "4.03", lambda p: p == b""),
                ("success 2.05", "2.05", lambda p: p == good.payload),
                ("format 50", "2.01", lambda p: p == good.payload)):
            with self.subTest(how):
                self.server.behave(how)
                a = self.ask(handle)
                self.assertEqual(a.code, code)
                self.assertTrue(payload(a.payload), a)
                self.server.behave("normal")
        self.assertEqual(self.server.count(), 8)
        self.server.tell("slow introspect 50")
        a = self.ask(handle)
        self.assertEqual((a.types[-1], a.payload), ("CON", good.payload), "a separate answer")
        self.server.tell("slow introspect 0")
        for how, back in (("behave introspect silent", "behave introspect normal"),
                          ("mute on", "mute off")):
            self.server.tell(how)
            self.assertIsNone(self.ask(handle, psk=PSK, wait=1).code)
            self.server.tell(back)
        self.assertEqual(self.ask(handle).payload, good.payload)

    def test_list(self):
        """RFC 9770 9 to 11."""
        self.server.tell("trl-forget")
        self.server.tell("trl", 10, 5)
        self.assertEqual(self.list(), ("2.05", {0: [], 2: None}))
        self.assertEqual(self.list("?diff=0"), ("2.05", {1: [], 2: None, 3: False}))
        h = [b"\x01" + bytes([i]) * 32 for i in range(50)]
        for i in range(6):
            self.server.tell("revoke", h[i])
        self.server.tell("revoke", "-", h[0], h[1])
        self.assertEqual(sorted(self.list()[1][0]), h[2:6])
        added = [[[], [x]] for x in h]
        last = [[h[0], h[1]], []]
        for query, answer in (
                ("?diff=2", {1: [last, added[5]], 2: 6, 3: False}),
                ("?diff=0", {1: added[4::-1], 2: 4, 3: True}),
                ("?diff=0&cursor=4", {1: [last, added[5]], 2: 6, 3: False}),
                ("?diff=0&cursor=6", {1: [], 2: 6, 3: False})):
            with self.subTest(query):
                self.assertEqual(self.list(query), ("2.05", answer))
        for query, error in (("?diff=x", 0), ("?cursor=1", 1), ("?diff=0&cursor=7", 2)):
            with self.subTest(query):
                code, problem = self.list(query)
                self.assertEqual((code, problem[1]), ("4.00", {0: error}))
        self.server.tell("trl", 3, 3)
        self.assertEqual(self.list("?diff=0&cursor=2"), ("2.05", {1: [], 2: None, 3: True}))
        self.assertEqual(self.list("?diff=0&cursor=3")[1][2], 6)
        self.server.tell("revoke", *h[10:])

    def test_observation(self):
        self.server.tell("trl-forget")
        start = self.server.mark()
        client = rig.Process(["coap-client-openssl", "-v", "7", "-s", "30", "-B", "30", "-u",
                              "gateway", "-k", PSK[1], self.server.url + "/revoke/trl"])
        client.wait_line("c:2.05 .*Observe:")
        self.server.tell("revoke", b"\x01" + bytes(32))
        client.wait_line("<<a20081582101" + 64 * "0" + "0200>>")
        self.server.proc.wait_line("^notify trl", start)
        client.proc.kill()
        client.stop()

    def test_back_after_a_crash(self):
        self.server.crash()
        self.server.start()
        self.assertEqual(self.ask(b"x").code, "2.01")
        self.server.tell("client", "lamp-user", "secret")


class OverCoapAce07(OverCoap):
    dialect = "ace-07"


class OverHttp(unittest.TestCase):
    def test_introspection(self):
        s = authority.HttpAuthority()
        self.addCleanup(s.stop)
        s.tokens["t"] = {"scope": "guest"}
        s.auth = lambda h, form: h.headers["Authorization"] == "Bearer rs"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask(token, bearer="rs"):
            r = urllib.request.Request(s.url + "/introspect", b"token=" + token,
                                       {"Authorization": "Bearer " + bearer})
            with opener.open(r) as a:
                return json.load(a)
        self.assertEqual(ask(b"t"), {"active": True, "scope": "guest"})
        self.assertEqual(ask(b"u"), {"active": False})
        with self.assertRaises(urllib.error.HTTPError) as e:
            ask(b"t", "wrong")
        self.assertEqual(e.exception.code, 401)
        e.exception.close()
        self.assertEqual(s.count(), 3)


def unverified(jwt):
    part = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class RealOAuth(unittest.TestCase):
    slow = 5

    def test_tokens_introspection_revocation_keys(self):
        d = tempfile.mkdtemp(prefix="postern-tls-")
        self.addCleanup(shutil.rmtree, d)
        ca = certificate(d, "ca", "test-ca", ca=True)
        certificate(d, "as", "127.0.0.1", issuer=ca)
        client, gateway = ("lamp-user", "user-secret"), ("gateway", "gateway-secret")
        s = authority.OAuthServer(
            authority.oauth_clients(client, gateway),
            {"urn:opaque": {"scope": "guest", "audience": "lamp", "format": "opaque"},
             "urn:jwt": {"scope": "guest", "audience": "lamp", "format": "jwt", "alg": "ES256"}},
            tls=[d + "/" + f for f in ("as.crt", "as.key", "ca.crt")])
        self.addCleanup(s.stop)
        opaque = s.token(client, scope="guest", resource="urn:opaque")
        told = s.post("/introspect", gateway, token=opaque)
        self.assertEqual((told["active"], told["scope"], told["aud"]), (True, "guest", "lamp"))
        jwt = s.token(client, scope="guest", resource="urn:jwt")
        self.assertEqual(unverified(jwt)["iss"], s.url)
        s.post("/revoke", client, token=opaque)
        self.assertEqual(s.post("/introspect", gateway, token=opaque), {"active": False})
        self.assertEqual(s.count(), 2)
        old = {k["kid"] for k in s.get("/jwks")["keys"]}
        s.restart()
        self.assertEqual(old & {k["kid"] for k in s.get("/jwks")["keys"]}, set())
