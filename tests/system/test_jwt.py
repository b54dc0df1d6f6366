"""JSON Web Tokens: of a real authorization server, and of one whose keys we
hold; each kind of proof; keys that change."""
import json
import os
import shutil
import tempfile
import threading
import time
import uuid

import jwt

import authority
import dtls
import jws
import rig
from asked import MAY_GRANT
from house import POLICY, PSK, Client, House, certificate

RESOURCES = {
    "urn:lamp": {"scope": "guest resident", "audience": "lamp", "format": "jwt", "alg": "ES256"},
    "urn:lamp:rsa": {"scope": "guest", "audience": "lamp", "format": "jwt", "alg": "PS256"},
    "urn:lamp:opaque": {"scope": "guest", "audience": "lamp", "format": "opaque"},
}


class WithJwt(House):
    """A gateway that believes jwt-as, and lets certificates in."""
    identity = {"certificate": "tls/gateway.crt", "key": "tls/gateway.key",
                "client-ca": "tls/ca.crt"}
    bearer = "allow"

    @classmethod
    def setUpClass(cls):
        cls.tls = tempfile.mkdtemp(prefix="postern-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.tls, ignore_errors=True)
        cls.ca = certificate(cls.tls, "ca", "test-ca", ca=True)
        certificate(cls.tls, "as", "127.0.0.1", issuer=cls.ca)
        certificate(cls.tls, "gateway", "gateway.test", issuer=cls.ca)
        cls.serve()
        cls.policy = POLICY.replace("authorities:\n", "authorities:\n" + cls.describe())
        super().setUpClass()

    @classmethod
    def files(cls, *names):
        return [os.path.join(cls.tls, n) for n in names]

    @classmethod
    def describe(cls):
        return ("  - name: jwt-as\n    issuer: %s\n    dialect: oauth\n    %s\n"
                "    bearer: %s\n%s" % (cls.issuer, cls.keys(), cls.bearer, MAY_GRANT))

    @classmethod
    def keys(cls):
        return "keys: keys/jwt-as.jwks"

    @classmethod
    def secrets(cls):
        files = super().secrets()
        for name in ("ca.crt", "gateway.crt", "gateway.key"):
            with open(cls.files(name)[0], "rb") as f:
                files["tls/" + name] = f.read()
        files["keys/jwt-as.jwks"] = json.dumps(cls.jwk_set())
        return files

    def enrolled(self, name="visitor"):
        """An association that by itself opens the lamp's state and no more."""
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(name.encode(), PSK))
        self.addCleanup(c.close)
        return c

    def bring(self, c, token, code="2.01"):
        got = c.get("/authz-info", method=2, payload=token, options=[(12, b"\x2a")])
        self.assertEqual(got[0], code, got)

    def by_certificate(self, path, code, files, **more):
        return self.ask(path, code, psk=None, cert=files, **more)


class Real(WithJwt):
    """oidc-provider: what it issues is accepted as it comes."""
    slow = 15

    @classmethod
    def serve(cls):
        cls.user = ("lamp-user", "user-secret")
        cls.bound = certificate(cls.tls, "bound", "bound.home", issuer=cls.ca)
        clients = authority.oauth_clients(cls.user, ("gateway", "gateway-secret"))
        clients.append({"client_id": "bound", "redirect_uris": [], "response_types": [],
                        "grant_types": ["client_credentials"],
                        "token_endpoint_auth_method": "tls_client_auth",
                        "tls_client_auth_san_dns": "bound.home",
                        "tls_client_certificate_bound_access_tokens": True})
        cls.server = authority.OAuthServer(clients, RESOURCES, algorithms=("ES256", "PS256"),
                                           tls=cls.files("as.crt", "as.key", "ca.crt"))
        cls.addClassCleanup(cls.server.stop)
        cls.issuer = cls.server.url

    @classmethod
    def jwk_set(cls):
        return cls.server.get("/jwks")

    def test_bearer(self):
        for resource in ("urn:lamp", "urn:lamp:rsa"):
            with self.subTest(resource):
                c = self.enrolled("owl")
                self.assertEqual(c.get("/lamp/state")[0], "4.03")
                token = self.server.token(self.user, scope="guest", resource=resource).encode()
                self.bring(c, token)
                self.assertEqual(c.get("/lamp/state"), ("2.05", b"on"))
                self.assertEqual(c.get("/lamp/color")[0], "4.03")
                # It is of that association: another has not come with it.
                self.assertEqual(self.enrolled("owl").get("/lamp/state")[0], "4.03")

    def test_bearer_of_a_broken_seal(self):
        token = self.server.token(self.user, scope="guest", resource="urn:lamp")
        head, body, seal = token.split(".")
        c = self.enrolled("owl")
        flipped = seal[:9] + ("A" if seal[9] != "A" else "B") + seal[10:]
        self.bring(c, ".".join((head, body, flipped)).encode(), "4.01")
        self.assertEqual(c.get("/lamp/state")[0], "4.03")

    def test_bound_to_a_certificate(self):
        """RFC 8705 3: cnf x5t#S256; the same certificate opens the lamp."""
        token = self.server.token("bound", files=self.bound[2], scope="guest",
                                  resource="urn:lamp")
        said = jwt.decode(token, options={"verify_signature": False})
        self.assertIn("x5t#S256", said["cnf"])
        self.post(token.encode(), fmt=42)
        for tls in ("openssl", "gnutls"):
            a = self.by_certificate("/lamp/state", "2.05", self.bound[2], tls=tls)
            self.assertEqual(a.payload, b"on")
        other = certificate(self.tls, "other", "bound.home", issuer=self.ca)[2]
        self.by_certificate("/lamp/state", "4.01", other)

    def test_bound_to_a_key(self):
        """RFC 9449 6: cnf jkt; a certificate of that key opens the lamp."""
        _, key, files = certificate(self.tls, "dpop", "whatever")
        proof = jwt.encode({"jti": str(uuid.uuid4()), "htm": "POST", "iat": int(time.time()),
                            "htu": self.server.url + "/token"}, key, "ES256",
                           {"typ": "dpop+jwt", "jwk": jws.jwk(key.public_key())})
        token = self.server.token(self.user, headers={"DPoP": proof}, scope="guest",
                                  resource="urn:lamp")
        said = jwt.decode(token, options={"verify_signature": False})
        self.assertEqual(said["cnf"], {"jkt": jws.thumbprint(key.public_key())})
        a = rig.coap(self.gw.coaps("/lamp/state"), cert=files, wait=2)
        self.assertIsNone(a.code, "before its token came")
        self.post(token.encode(), fmt=42)
        self.assertEqual(self.by_certificate("/lamp/state", "2.05", files).payload, b"on")


class Ours(WithJwt):
    """Tokens of our own making: what is accepted, and one change of each."""
    issuer = "https://as.jwt"

    @classmethod
    def serve(cls):
        cls.signing = {alg: jws.SigningKey(alg) for alg in
                       ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384",
                        "PS512")}

    @classmethod
    def jwk_set(cls):
        return {"keys": [k.jwk() for k in cls.signing.values()]}

    def claims(self, **change):
        c = {"iss": self.issuer, "aud": "lamp", "scope": "guest", "exp": int(time.time()) + 600,
             "jti": str(uuid.uuid4()), "client_id": "c"}
        c.update(change)
        return {k: v for k, v in c.items() if v is not None}

    def test_each_algorithm(self):
        for alg, key in self.signing.items():
            with self.subTest(alg):
                c = self.enrolled("owl")
                self.bring(c, key.sign(self.claims()))
                self.assertEqual(c.get("/lamp/state"), ("2.05", b"on"))

    def test_key_in_the_token(self):
        _, key, files = certificate(self.tls, "pop", "whatever")
        self.post(self.signing["ES256"].sign(self.claims(
            cnf={"jwk": jws.jwk(key.public_key())})), fmt=42)
        self.assertEqual(self.by_certificate("/lamp/state", "2.05", files).payload, b"on")

    def test_what_is_refused(self):
        key = self.signing["ES256"]
        other = jws.SigningKey()
        other.kid = key.kid
        stranger = jws.SigningKey()
        client = Client()
        none = jwt.encode(self.claims(), None, "none", {"kid": key.kid}).encode()
        for name, token, code in (
                ("as it should be", key.sign(self.claims()), "2.01"),
                ("no audience of ours", key.sign(self.claims(aud="toaster")), "4.03"),
                ("another issuer", key.sign(self.claims(iss="https://as.other")), "4.01"),
                ("expired", key.sign(self.claims(exp=1600000000)), "4.01"),
                ("not yet", key.sign(self.claims(nbf=int(time.time()) + 600)), "4.01"),
                ("scope unknown", key.sign(self.claims(scope="emperor")), "4.00"),
                ("another's key under that kid", other.sign(self.claims()), "4.01"),
                ("a kid that nobody has", stranger.sign(self.claims()), "4.01"),
                ("no algorithm", none, "4.01"),
                ("another kind of JWT", key.sign(self.claims(), typ="logout+jwt"), None),
                ("a critical header", key.sign(self.claims(), crit=["x"], x=1), None),
                ("a secret in the open", key.sign(self.claims(
                    cnf=jws.symmetric_cnf(b"kid", client.key))), None)):
            with self.subTest(name):
                c = self.enrolled("owl")
                got = c.get("/authz-info", method=2, payload=token, options=[(12, b"\x2a")])
                if code:
                    self.assertEqual(got[0], code, got)
                else:
                    self.assertTrue(got[0].startswith("4."), got)
                self.assertEqual(c.get("/lamp/state")[0], "2.05" if code == "2.01" else "4.03")


class NoBearers(Ours):
    bearer = "deny"

    def test_each_algorithm(self):
        c = self.enrolled("owl")
        got = c.get("/authz-info", method=2, payload=self.signing["ES256"].sign(self.claims()),
                    options=[(12, b"\x2a")])
        self.assertTrue(got[0].startswith("4."), got)
        self.assertEqual(c.get("/lamp/state")[0], "4.03")

    test_what_is_refused = None


class KeysByUrl(WithJwt):
    """The JWK set is fetched over HTTPS; a key that is not known is looked
    for there, now and then; what is no key set changes nothing."""
    slow = 40
    issuer = "https://as.jwt"

    @classmethod
    def serve(cls):
        cls.server = authority.HttpAuthority(cls.files("as.crt", "as.key"))
        cls.addClassCleanup(cls.server.stop)
        cls.first = jws.SigningKey()
        cls.server.jwks = {"keys": [cls.first.jwk()]}

    @classmethod
    def keys(cls):
        return "jwks: {url: \"%s/jwks\", ca: tls/ca.crt, refresh: 60s}" % cls.server.url

    @classmethod
    def jwk_set(cls):
        return {"keys": []}

    claims = Ours.claims

    def test_rotation(self):
        self.until(self.first, "2.05")
        second = jws.SigningKey()
        self.server.jwks = {"keys": [second.jwk()]}
        self.until(second, "2.05")
        self.has(self.first, "4.03")
        # The server has nothing of use: the last good set is kept.
        for how in (lambda h, f: h.reply(500), lambda h, f: h.reply(200, b"<html>"),
                    lambda h, f: h.reply(200, b'{"keys":{}}')):
            self.server.behaviour = how
            fetched = self.server.fetched
            self.gw.reload()
            self.server.wait_fetched(fetched + 1)
            self.has(second, "2.05")

    def has(self, key, code=None):
        """A token of that key has that effect."""
        c = self.enrolled("owl")
        c.get("/authz-info", method=2, payload=key.sign(self.claims()), options=[(12, b"\x2a")])
        got = c.get("/lamp/state")[0]
        c.close()
        if code:
            self.assertEqual(got, code)
        return got

    def until(self, key, code):
        """It has it once the set was fetched; strangers do not make that so often."""
        until = time.monotonic() + 2 * rig.DEADLINE
        while self.has(key) != code:
            self.assertLess(time.monotonic(), until)
            threading.Event().wait(0.5)
