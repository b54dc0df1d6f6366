"""Introspection over HTTP (RFC 7662): each way in which the gateway proves
itself, each failure of the server, answers that are signed (RFC 9701), and a
real server."""
import base64
import os
import threading
import time

import jwt

import authority
import dtls
import jws
import rig
from asked import MAY_GRANT, Asked
from house import PSK, Client, certificate


class OverHttp(Asked):
    dialect = "oauth"
    scheme = "https"
    credentials_are = "auth: basic, client-id: gate way, secret-file: keys/secret"
    secret = "pass/word+:%x"
    jwks = False
    slow = 5

    @classmethod
    def serve(cls):
        return authority.HttpAuthority(
            cls.files("as.crt", "as.key") if cls.scheme == "https" else None,
            client_ca=cls.files("as-ca.crt")[0] if "mutual-tls" in cls.credentials_are else None)

    @classmethod
    def credentials(cls):
        return cls.credentials_are + (", ca: tls/as-ca.crt" if cls.scheme == "https" else "")

    @classmethod
    def describe(cls):
        keys = "    jwks: {url: \"%s/jwks\", ca: tls/as-ca.crt}\n" % cls.server.url
        return super().describe().replace("coaps://as.ask", "https://as.ask").replace(
            MAY_GRANT, (keys if cls.jwks else "") + MAY_GRANT)

    @classmethod
    def secrets(cls):
        cls.signing = jws.SigningKey()
        return {**super().secrets(), "keys/secret": cls.secret + "\n",
                "keys/signing.pem": cls.signing.pem()}

    def setUp(self):
        super().setUp()
        self.server.auth = self.allowed
        self.server.behaviour = None

    def allowed(self, handler, form):
        raise NotImplementedError

    def reference(self, client=None, **change):
        said = {"scope": "guest", "aud": "lamp", "exp": int(time.time()) + 600}
        if client:
            said["cnf"] = jws.symmetric_cnf(client.kid, client.key)
        said.update(change)
        handle = base64.urlsafe_b64encode(os.urandom(24))
        self.server.tokens[handle.decode()] = said
        return handle

    def client(self):
        c = Client()
        c.kid = base64.urlsafe_b64encode(c.kid)  # a kid of JSON is text
        return c

    def comes_in(self):
        client = self.client()
        self.post(self.reference(client))
        self.assertEqual(self.ask("/lamp/state", "2.05", client.psk).payload, b"on")
        return client


class Basic(OverHttp):
    def allowed(self, handler, form):
        """RFC 6749 2.3.1: both parts in the form's encoding, then joined."""
        kind, _, value = handler.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(value) in (
            b"gate+way:pass%2Fword%2B%3A%25x", b"gate%20way:pass%2Fword%2B%3A%25x")

    def test_posted(self):
        self.comes_in()
        self.assertEqual(self.server.count(), 1)

    def test_as_psk_identity(self):
        client = self.client()
        self.ask("/lamp/state", "2.05", (self.reference(client), client.key))

    def test_access_token_option(self):
        client = self.comes_in()
        more = self.reference(client, scope="resident", aud=["lamp", "door"])
        self.server.count()
        for _ in range(2):
            self.ask("/door/lock", "2.05", client.psk, options=[(65000, more)])
        self.assertEqual(self.server.count(), 1)

    def test_unknown_there(self):
        a = self.gw.post_token(b"never-seen", fmt=42)
        self.assertEqual(a.code, "4.01", a.output)

    def test_many_wait_for_one_question(self):
        client = self.client()
        handle = self.reference(client)
        self.server.delay = threading.Event()
        codes = []
        threads = [threading.Thread(target=lambda: codes.append(
            self.gw.post_token(handle, fmt=42).code)) for _ in range(10)]
        for t in threads:
            t.start()
        self.server.wait_asked()
        self.ask("/lamp/state", "2.05")
        self.server.delay.set()
        for t in threads:
            t.join()
        self.server.delay = None
        self.assertEqual(codes, ["2.01"] * 10)
        self.assertEqual(self.server.count(), 1)

    def test_each_failure(self):
        """None lets anyone in; what was granted holds; the next good answer
        counts again."""
        good = b'{"active":true,"scope":"guest","aud":"lamp","exp":%d}' % (time.time() + 600)

        def away(h, form):
            h.close_connection = True

        def cut(h, form):
            h.send_response(200)
            h.send_header("Content-Type", "application/json")
            h.send_header("Content-Length", "1000")
            h.end_headers()
            h.wfile.write(b'{"active":true,')
            h.close_connection = True

        def elsewhere(h, form):
            h.reply(307, b"", Location=self.server.url + "/other")
        failures = {
            "401": lambda h, f: h.reply(401, b'{"error":"invalid_client"}'),
            "403": lambda h, f: h.reply(403), "500": lambda h, f: h.reply(500, good),
            "204": lambda h, f: h.reply(204),
            "nothing": lambda h, f: h.reply(200, b""),
            "no JSON": lambda h, f: h.reply(200, b"active"),
            "half": lambda h, f: h.reply(200, self.server.say(f)[:-10]),
            "two": lambda h, f: h.reply(200, self.server.say(f) * 2),
            "active twice": lambda h, f: h.reply(
                200, b'{"active":false,' + self.server.say(f)[1:]),
            "active is text": lambda h, f: h.reply(
                200, self.server.say(f).replace(b"true", b'"true"')),
            "a page": lambda h, f: h.reply(200, self.server.say(f), kind="text/html"),
            "too much": lambda h, f: h.reply(
                200, b'{"pad":"' + b"x" * 1000000 + b'",' + self.server.say(f)[1:]),
            "away": away, "cut": cut, "elsewhere": elsewhere}
        for name, how in failures.items():
            with self.subTest(name):
                self.server.behaviour = how
                late = self.client()
                handle = self.reference(late)
                a = self.gw.post_token(handle, fmt=42)
                self.assertIn(a.code, ("5.03", "4.01"), a.output)
                a = rig.coap(self.gw.coaps("/lamp/state"), psk=late.psk, wait=1)
                self.assertIsNone(a.code, a.output)
                self.ask("/lamp/state", "2.05")
                self.server.behaviour = None
                self.back(handle)
                self.ask("/lamp/state", "2.05", late.psk)

    def back(self, handle):
        until = time.monotonic() + rig.DEADLINE
        while True:  # as a client would: again when it was told to
            a = self.gw.post_token(handle, fmt=42)
            if a.code != "5.03" or time.monotonic() > until:
                break
            threading.Event().wait(min(self.max_age(a), 5))
        self.assertEqual(a.code, "2.01", a.output)


class Post(OverHttp):
    credentials_are = "auth: post, client-id: gateway, secret-file: keys/secret"

    def allowed(self, handler, form):
        return form["client_id"] == "gateway" and form["client_secret"] == self.secret and \
            "Authorization" not in handler.headers

    def test_posted(self):
        self.comes_in()


class Bearer(OverHttp):
    credentials_are = "auth: bearer, secret-file: keys/secret"
    secret = "our.own-token"

    def allowed(self, handler, form):
        return handler.headers["Authorization"] == "Bearer our.own-token"

    def test_posted(self):
        self.comes_in()


class MutualTls(OverHttp):
    credentials_are = ("auth: mutual-tls, client-id: gateway, certificate: tls/gw.crt, "
                       "key: tls/gw.key")

    def allowed(self, handler, form):
        names = dict(n[0] for n in handler.connection.getpeercert()["subject"])
        return names["commonName"] == "gateway.test" and form["client_id"] == "gateway"

    def test_posted(self):
        self.comes_in()


class PrivateKeyJwt(OverHttp):
    credentials_are = "auth: private-key-jwt, client-id: gateway, signing-key: keys/signing.pem"

    def allowed(self, handler, form):
        """RFC 7523 3; one assertion is for one question."""
        if form["client_assertion_type"] != \
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return False
        said = jwt.decode(form["client_assertion"], self.signing.private.public_key(),
                          algorithms=["ES256"], options={"verify_aud": False,
                                                         "require": ["exp", "jti", "aud"]})
        self.seen.append(said["jti"])
        audience = said["aud"] if isinstance(said["aud"], list) else [said["aud"]]
        return said["iss"] == said["sub"] == "gateway" and (
            self.server.url in audience[0] or "https://as.ask" in audience)

    def test_posted(self):
        self.seen = []
        self.comes_in()
        self.comes_in()
        self.assertEqual(len(set(self.seen)), 2)


class OverLoopback(OverHttp):
    """http:// is for loopback."""
    scheme = "http"
    credentials_are = "auth: bearer, secret-file: keys/secret"
    secret = "our.own-token"

    def allowed(self, handler, form):
        return handler.headers["Authorization"] == "Bearer our.own-token"

    def test_posted(self):
        # A key in an answer that goes unprotected: nobody else reads loopback.
        self.comes_in()


class Impostor(OverHttp):
    """The server's certificate is of nobody that the policy trusts."""
    credentials_are = "auth: bearer, secret-file: keys/secret"

    @classmethod
    def serve(cls):
        other = certificate(cls.tls, "other-ca", "other", ca=True)
        files = certificate(cls.tls, "impostor", "127.0.0.1", issuer=other)[2]
        return authority.HttpAuthority(files)

    def test_is_told_nothing(self):
        a = self.gw.post_token(self.reference(self.client()), fmt=42)
        self.assertEqual(a.code, "5.03", a.output)
        self.assertEqual(self.server.count(), 0)


class AnotherName(Impostor):
    @classmethod
    def serve(cls):
        files = certificate(cls.tls, "elsewhere", "as.elsewhere", issuer=cls.ca)[2]
        return authority.HttpAuthority(files)


class Signed(OverHttp):
    """RFC 9701: the answer is a JWT of the authorization server's."""
    credentials_are = "auth: bearer, client-id: gateway, secret-file: keys/secret"
    jwks = True
    KIND = "application/token-introspection+jwt"

    @classmethod
    def serve(cls):
        server = super().serve()
        cls.key = jws.SigningKey()
        server.jwks = {"keys": [cls.key.jwk()]}
        return server

    def allowed(self, handler, form):
        return True

    def say(self, form, key=None, typ="token-introspection+jwt", **change):
        told = self.server.tokens.get(form["token"])
        claims = {"iss": "https://as.ask", "aud": "gateway", "iat": int(time.time()),
                  "token_introspection": {"active": True, **told} if told else {"active": False}}
        claims.update(change)
        return (key or self.key).sign(claims, typ=typ)

    def test_posted(self):
        self.server.wait_fetched()
        self.server.behaviour = lambda h, f: h.reply(200, self.say(f), kind=self.KIND)
        self.comes_in()

    def test_what_is_refused(self):
        self.server.wait_fetched()
        other = jws.SigningKey()
        other.kid = self.key.kid
        for name, change in {"another's key": {"key": other}, "another audience": {"aud": "you"},
                             "another issuer": {"iss": "https://as.other"},
                             "another kind of JWT": {"typ": "at+jwt"}}.items():
            with self.subTest(name):
                self.server.behaviour = lambda h, f: h.reply(200, self.say(f, **change),
                                                             kind=self.KIND)
                client = self.client()
                a = self.gw.post_token(self.reference(client), fmt=42)
                self.assertIn(a.code, ("5.03", "4.01"), a.output)
                a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=1)
                self.assertIsNone(a.code, a.output)


class Real(Asked):
    """oidc-provider, as it comes: reference tokens, which are bearers, for
    the association that brought them. Its answers are signed (RFC 9701) when
    they are asked for so."""
    slow = 15
    dialect = "oauth"
    method = "client_secret_basic"
    credentials_are = "auth: basic, client-id: gateway, secret-file: keys/secret"
    introspect = "cache: 0s"

    @classmethod
    def serve(cls):
        cls.user = ("lamp-user", "user-secret")
        cls.signing = jws.SigningKey()
        more = {"token_endpoint_auth_method": cls.method}
        if cls.method == "private_key_jwt":
            more.update(client_secret=None, jwks={"keys": [cls.signing.jwk()]},
                        token_endpoint_auth_signing_alg="ES256")
        elif cls.method == "tls_client_auth":
            more.update(client_secret=None, tls_client_auth_san_dns="gateway.test")
        clients = authority.oauth_clients(cls.user, ("gateway", "gateway-secret"), **more)
        clients = [{k: v for k, v in c.items() if v is not None} for c in clients]
        return authority.OAuthServer(
            clients, {"urn:lamp": {"scope": "guest", "audience": "lamp", "format": "opaque"}},
            tls=cls.files("as.crt", "as.key", "as-ca.crt"))

    @classmethod
    def credentials(cls):
        return cls.credentials_are + ", ca: tls/as-ca.crt"

    @classmethod
    def describe(cls):
        cls.lines = ("    jwks: {url: \"%s/jwks\", ca: tls/as-ca.crt}\n    bearer: allow\n"
                     % cls.server.url)
        return super().describe().replace("coaps://as.ask", cls.server.url)

    @classmethod
    def secrets(cls):
        return {**super().secrets(), "keys/secret": "gateway-secret\n",
                "keys/signing.pem": cls.signing.pem()}

    def enrolled(self):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"owl", PSK))
        self.addCleanup(c.close)
        return c

    def test_reference(self):
        handle = self.server.token(self.user, scope="guest", resource="urn:lamp").encode()
        c = self.enrolled()
        self.assertEqual(c.get("/lamp/state")[0], "4.03")
        self.assertEqual(c.get("/lamp/state", options=[(65000, handle)]), ("2.05", b"on"))
        self.assertEqual(c.get("/lamp/state")[0], "4.03")
        got = c.get("/authz-info", method=2, payload=handle, options=[(12, b"\x2a")])
        self.assertEqual(got[0], "2.01", got)
        self.assertEqual(c.get("/lamp/state"), ("2.05", b"on"))
        self.assertEqual(self.server.count(), 3, "nothing is kept")

    def test_revoked_there(self):
        """RFC 7009 is the server's; introspection shows it."""
        handle = self.server.token(self.user, scope="guest", resource="urn:lamp")
        c = self.enrolled()
        option = [(65000, handle.encode())]
        self.assertEqual(c.get("/lamp/state", options=option)[0], "2.05")
        self.server.post("/revoke", self.user, token=handle)
        self.assertIn(c.get("/lamp/state", options=option)[0], ("4.01", "4.03"))


class RealPost(Real):
    method = "client_secret_post"
    credentials_are = "auth: post, client-id: gateway, secret-file: keys/secret"


class RealPrivateKeyJwt(Real):
    method = "private_key_jwt"
    credentials_are = "auth: private-key-jwt, client-id: gateway, signing-key: keys/signing.pem"


class RealMutualTls(Real):
    method = "tls_client_auth"
    credentials_are = ("auth: mutual-tls, client-id: gateway, certificate: tls/gw.crt, "
                       "key: tls/gw.key")
