"""Tokens that are posted: what is taken, and each refusal with its code
(RFC 9200 5.10.1.1). Every refusal is one change of a token that is taken."""
import json
import os
import socket
import time

import cbor2

import mint
import rig
from house import Client, House, PSK, claims


class Refusals(House):
    def token(self, key=None, **change):
        c = Client()
        return mint.cwt(key or self.encrypt, claims(c.kid, c.key, **change))

    def test_the_one_that_all_others_differ_from(self):
        for fmt in (61, 16, 42, None):
            with self.subTest(content_format=fmt):
                self.post(self.token(), fmt=fmt)

    def test_protection(self):
        good = self.token()
        rows = {
            "last byte changed": good[:-1] + bytes([good[-1] ^ 1]),
            "another's key": self.token(mint.SymmetricKey(self.encrypt.kid, 10)),
            "unknown kid": self.token(mint.SymmetricKey(b"nobody", 10, self.encrypt.k)),
            "signed by another": mint.cwt(self._other_signer(), claims(cnf=self._public())),
        }
        for name, token in rows.items():
            with self.subTest(name):
                self.post(token, "4.01")

    def _other_signer(self):
        key = mint.SigningKey(self.ec.kid)
        return key

    def _public(self):
        return {1: mint.ec_cose_key(mint.SigningKey(b"c").private.public_key())}

    def test_each_is_counted_once(self):
        """Also one that waited for the check of its signature."""
        def counted():
            c = json.loads(self.gw.postern("status", "--json", "-c", "postern.yaml", check=0).text)
            return [c["counters"][k] for k in ("requests", "answered_here", "requests_parked")]
        before = counted()
        self.post(mint.cwt(self.ec, claims(cnf=self._public())))
        self.post(mint.cwt(self._other_signer(), claims(cnf=self._public())), "4.01")
        self.post(self.token())
        self.assertEqual([b - a for a, b in zip(before, counted())], [3, 3, 2])

    def test_datagrams_are_counted(self):
        """One of 2304 bytes is read, one byte more is not."""
        def counted():
            c = json.loads(self.gw.postern("status", "--json", "-c", "postern.yaml", check=0).text)
            return [c["counters"]["datagrams_" + k] for k in ("too_long", "unsent", "received")]
        before = counted()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for n in (2304, 2305):
                s.sendto(b"\0" * n, ("127.0.0.1", self.gw.ports[4][0]))
        self.post(self.token())  # to the same socket, so behind them
        change = [b - a for a, b in zip(before, counted())]
        self.assertEqual(change[:2], [1, 0])
        self.assertGreaterEqual(change[2], 3)

    def test_a_secret_in_the_open(self):
        """A symmetric cnf key in a token that is only signed."""
        for key in (self.ec, self.mac):
            with self.subTest(alg=key.alg):
                self.post(self.token(key), "4.00")

    def test_form(self):
        good = self.token()
        rows = {
            "empty": b"",
            "not CBOR": b"hello, world",
            "cut short": good[:len(good) // 2],
            "a byte too many": good + b"\0",
            "random": os.urandom(200),
            "huge length": b"\xd8\x3d\xd0\x83\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
            "deep nesting": b"\x81" * 500,
            "a number": b"\x01",
        }
        for name, token in rows.items():
            with self.subTest(name):
                a = self.gw.post_token(token)
                self.assertIn(a.code, ("4.00", "4.13"), a.output)
        self.post(good)

    def test_claims_that_are_no_claims(self):
        rows = {
            "an array": cbor2.dumps([1, 2]),
            "the same key twice": b"\xa2\x01\x62as\x01\x62as",
            "bytes behind": cbor2.dumps(claims(b"k", PSK)) + b"\0",
        }
        for name, payload in rows.items():
            with self.subTest(name):
                self.post(mint.protect(self.encrypt, payload), "4.00")

    def test_issuer(self):
        self.post(self.token(iss="someone"), "4.01")
        self.post(self.token(iss="coaps://as.sign"), "4.01")  # an authority's, but another's key
        self.post(self.token(iss=None))  # "if present": the key tells whose it is

    def test_times(self):
        now = int(time.time())
        self.post(self.token(exp=now - 10), "4.01")
        self.post(self.token(exp=None), "4.01")
        self.post(self.token(nbf=now + 300), "4.01")
        self.post(self.token(nbf=now - 300))

    def test_audience(self):
        self.post(self.token(aud="someone's toaster"), "4.03")
        self.post(self.token(aud=None), "4.03")
        self.post(self.token(aud=["toaster", "lamp"]))
        self.post(self.token(aud="gateway.test"))

    def test_scope(self):
        self.post(self.token(scope="emperor"), "4.00")
        self.post(self.token(scope=None), "4.00")
        self.post(self.token(scope="guest emperor"))

    def test_the_first_fault_in_order_is_told(self):
        """iss, then exp, then aud, then scope."""
        old = int(time.time()) - 10
        self.post(self.token(exp=old, aud="toaster"), "4.01")
        self.post(self.token(aud="toaster", scope="emperor"), "4.03")

    def test_no_proof_key(self):
        """A bearer token, and bearer is not allowed."""
        self.post(self.token(cnf=None), "4.00")

    def test_post_only(self):
        for method in ("get", "put", "delete"):
            with self.subTest(method):
                a = rig.coap(self.gw.coap("/authz-info"), method,
                             payload=b"x" if method == "put" else None)
                self.assertEqual(a.code, "4.05", a.output)

    def test_exact_path(self):
        for path in ("/authz-info/x", "/x/authz-info", "/authz-info2"):
            with self.subTest(path):
                a = rig.coap(self.gw.coap(path), "post", payload=self.token(), fmt=61)
                self.assertEqual(a.code, "4.01", a.output)

    def test_a_refused_token_changes_nothing(self):
        client = self.enter()
        self.post(mint.cwt(self.encrypt, claims(client.kid, client.key, exp=1600000000)), "4.01")
        self.ask("/lamp/state", "2.05", client.psk)


class Discovery(House):
    def links(self, answer):
        self.assertEqual(answer.code, "2.05", answer.output)
        self.assertRegex(answer.options, r"Content-Format:application/link-format")
        return answer.payload.decode()

    def test_stranger(self):
        text = self.links(rig.coap(self.gw.coap("/.well-known/core")))
        self.assertIn("</authz-info>", text)
        self.assertIn("ace.ai", text)
        self.assertNotIn("lamp", text)
        self.assertNotIn("door", text)

    def test_client_sees_what_it_may_touch(self):
        """What the devices publish, below their paths, and no more of it
        than this client may use."""
        self.lamp.wait_line(r"c:GET .*Uri-Path:\.well-known")  # learned in the background
        self.door.wait_line(r"c:GET .*Uri-Path:\.well-known")
        text = self.links(self.ask("/.well-known/core", "2.05", (b"visitor", PSK)))
        self.assertIn("</lamp/state>", text)
        self.assertNotIn("</lamp/color>", text)
        self.assertNotIn("door", text)
        text = self.links(self.ask("/.well-known/core", "2.05"))
        self.assertIn("</lamp/color>", text)
        self.assertIn("</door/lock>", text)
