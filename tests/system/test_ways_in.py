"""Each way in which a client proves who it is, and its token comes along."""
import shutil
import socket
import tempfile

import cbor2

import dtls
import mint
import rig
from house import Client, House, PSK, certificate, claims


class Enrolled(House):
    families = (4, 6)

    def test_stock_clients_reach_the_device(self):
        for tls in ("openssl", "gnutls"):
            for family in (4, 6):
                with self.subTest(tls=tls, family=family):
                    a = self.ask("/lamp/state", "2.05", tls=tls, family=family)
                    self.assertEqual(a.payload, b"on")

    def test_device_on_ipv6(self):
        self.assertEqual(self.ask("/door/lock", "2.05").payload, b"shut")

    def test_payload_arrives_and_comes_back(self):
        self.ask("/lamp/color", "2.04", method="put", payload=b"green", fmt=0)
        self.assertEqual(self.ask("/lamp/color", "2.05").payload, b"green")

    def test_non_confirmable(self):
        self.assertEqual(self.ask("/lamp/state", "2.05", non=True).payload, b"on")

    def test_separate_answer(self):
        """The stock server's /async answers after the seconds of its query."""
        a = self.ask("/lamp/async?1", "2.05")
        self.assertEqual(a.payload, b"done")

    def test_a_wrong_key_is_not_let_in(self):
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=(b"panel", b"fedcba9876543210"), wait=3)
        self.assertIsNone(a.code, a.output)

    def test_an_unknown_name_is_not_let_in(self):
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=(b"nobody", PSK), wait=3)
        self.assertIsNone(a.code, a.output)

    def test_many_requests_on_one_association_each_get_their_answer(self):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)
        asked = [(c.request("/lamp/state" if i % 2 else "/door/lock", non=i % 3 == 0), i)
                 for i in range(40)]
        for token, i in asked:
            self.assertEqual(c.answer(token), ("2.05", b"on" if i % 2 else b"shut"), i)

    def test_back_from_the_same_port_without_goodbye(self):
        """RFC 6347 4.2.8: a new ClientHello on a live association's address."""
        first = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
        self.assertEqual(first.get("/lamp/state")[0], "2.05")
        again = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"visitor", PSK),
                            sock=first.sock)
        self.addCleanup(again.close)
        self.assertEqual(again.get("/lamp/state")[0], "2.05")
        self.assertEqual(again.get("/door/lock")[0], "4.03", "the panel's rights are not the visitor's")

    def test_back_from_the_same_port_after_goodbye(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        for _ in range(3):
            c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK), sock=s.dup())
            self.assertEqual(c.get("/lamp/state")[0], "2.05")
            c.close()
        s.close()


class Tokens(House):
    families = (4, 6)

    def test_kid_identity_after_a_post_over_coap(self):
        for tls in ("openssl", "gnutls"):
            for family in (4, 6):
                with self.subTest(tls=tls, family=family):
                    client = Client()
                    self.post(mint.cwt(self.encrypt, claims(client.kid, client.key)),
                              family=family)
                    a = self.ask("/lamp/state", "2.05", client.psk, tls=tls, family=family)
                    self.assertEqual(a.payload, b"on")

    def test_kid_identity_after_a_post_over_coaps(self):
        client = Client()
        token = mint.cwt(self.encrypt, claims(client.kid, client.key))
        self.ask("/authz-info", "2.01", method="post", payload=token, fmt=61)
        self.ask("/lamp/state", "2.05", client.psk)

    def test_kid_identity_before_its_token_came(self):
        client = Client()
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk, wait=3)
        self.assertIsNone(a.code, a.output)

    def test_whole_token_as_identity(self):
        for tls in ("openssl", "gnutls"):
            with self.subTest(tls=tls):
                client = Client()
                token = mint.cwt(self.encrypt, claims(client.kid[:1], client.key), without_nul=True)
                self.assertLessEqual(len(token), 128, "a stock client would cut it")
                a = self.ask("/lamp/state", "2.05", (token, client.key), tls=tls)
                self.assertEqual(a.payload, b"on")

    def test_whole_token_that_has_expired(self):
        client = Client()
        token = mint.cwt(self.encrypt, claims(client.kid[:1], client.key, exp=1600000000),
                         without_nul=True)
        a = rig.coap(self.gw.coaps("/lamp/state"), psk=(token, client.key), wait=3)
        self.assertIsNone(a.code, a.output)

    def test_signed_then_encrypted(self):
        client = Client()
        inner = mint.protect(self.ec, cbor2.dumps(claims(client.kid, client.key)), cwt=False)
        self.post(mint.protect(self.encrypt, inner))
        self.ask("/lamp/state", "2.05", client.psk)

    def test_derived_key(self):
        """RFC 9202 3.3.1: the token names a kid, the key is of a secret that
        the authorization server and the gateway share."""
        client = Client()
        while True:
            token = mint.cwt(self.mac, claims(cnf={1: {1: 4, 2: client.kid}}))
            client.key = mint.derived_key(self.derivation.k, token)
            if b"\0" not in client.key:  # for a stock client's command line
                break
        self.post(token)
        self.ask("/lamp/state", "2.05", client.psk)

    def test_whole_signed_token_as_identity(self):
        """The handshake waits for its signature, which another thread checks."""
        client = Client()
        token = mint.cwt(self.ec, claims(cnf={1: {1: 4, 2: client.kid[:2]}}), without_nul=True)
        key = mint.derived_key(self.derivation.k, token)
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(token, key))
        self.addCleanup(c.close)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        forged = token[:-1] + bytes([token[-1] ^ 2 or 1])
        with self.assertRaises((dtls.Refused, OSError)):
            dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(forged, key), deadline=5)

    def test_a_second_token_of_the_same_key_replaces_the_first(self):
        client = self.enter(scope="resident", aud=["lamp", "door"])
        self.ask("/door/lock", "2.05", client.psk)
        self.enter(client, scope="guest", aud=["lamp", "door"])
        self.ask("/lamp/state", "2.05", client.psk)
        self.ask("/door/lock", "4.03", client.psk)

    def test_rights_change_on_a_live_association(self):
        """RFC 9202 4: a new token with the same kid, no new handshake."""
        client = self.enter(scope="guest", aud=["lamp", "door"])
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        self.assertEqual(c.get("/door/lock")[0], "4.03")
        token = mint.cwt(self.encrypt, claims(client.kid, client.key, scope="resident",
                                              aud=["lamp", "door"]))
        self.assertEqual(c.get("/authz-info", method=2, payload=token,
                               options=[(12, b"\x3d")])[0], "2.01")
        self.assertEqual(c.get("/door/lock"), ("2.05", b"shut"))

    def test_access_token_option(self):
        """It counts for the request that brings it, and never leaves."""
        client = self.enter(scope="guest", aud=["lamp", "door"])
        more = mint.cwt(self.encrypt, claims(client.kid, client.key, scope="resident",
                                             aud=["lamp", "door"]))
        self.ask("/door/lock", "4.03", client.psk)
        start = self.door.mark()
        a = self.ask("/door/lock", "2.05", client.psk, options=[(65000, more)])
        self.assertEqual(a.payload, b"shut")
        self.assertEqual(len(self.door.requests(start)), 1)
        # of its options, not of the token before them, which is random
        self.assertNotIn("65000", self.door.requests(start)[0].partition("[")[2])
        self.ask("/door/lock", "4.03", client.psk)

    def test_access_token_option_of_another_key(self):
        client, thief = self.enter(), self.enter()
        more = mint.cwt(self.encrypt, claims(client.kid, client.key, scope="resident",
                                             aud=["lamp", "door"]))
        a = rig.coap(self.gw.coaps("/door/lock"), psk=thief.psk, options=[(65000, more)])
        self.assertIn(a.code, ("4.01", "4.03"), a.output)

    def test_aif_scope(self):
        """RFC 9237: path and mask, as bytes."""
        client = self.enter(scope=cbor2.dumps([["/lamp/state", 1]]))  # GET
        self.ask("/lamp/state", "2.05", client.psk)
        self.ask("/lamp/state", "4.05", client.psk, method="put", payload=b"on", fmt=0)
        self.ask("/lamp/color", "4.03", client.psk)

    def test_scope_words(self):
        client = self.enter(scope="lights_r")
        self.ask("/lamp/color", "2.05", client.psk)
        self.ask("/lamp/color", "4.05", client.psk, method="put", payload=b"x", fmt=0)


class Certificates(House):
    identity = {"certificate": "tls/gateway.crt", "key": "tls/gateway.key",
                "client-ca": "tls/ca.crt"}

    @classmethod
    def secrets(cls):
        cls.tls = tempfile.mkdtemp(prefix="postern-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.tls, ignore_errors=True)
        ca = certificate(cls.tls, "ca", "test-ca", ca=True)
        certificate(cls.tls, "gateway", "gateway.test", issuer=ca)
        cls.tablet = certificate(cls.tls, "tablet", "tablet.home", issuer=ca)[2]
        cls.stray = certificate(cls.tls, "stray", "stray.home", issuer=ca)[2]
        cls.forged = certificate(cls.tls, "forged", "tablet.home")[2]
        files = super().secrets()
        for name in ("ca.crt", "gateway.crt", "gateway.key"):
            with open(cls.tls + "/" + name, "rb") as f:
                files["tls/" + name] = f.read()
        return files

    def ask_cert(self, path, code, files, tls="openssl", **more):
        return self.ask(path, code, psk=None, cert=files, tls=tls, **more)

    def test_enrolled_by_the_client_ca(self):
        for tls in ("openssl", "gnutls"):
            with self.subTest(tls=tls):
                self.assertEqual(self.ask_cert("/door/lock", "2.05", self.tablet, tls).payload,
                                 b"shut")

    def test_of_the_client_ca_but_enrolled_nowhere(self):
        self.hints(self.ask_cert("/lamp/state", "4.01", self.stray))

    def test_the_name_without_the_ca(self):
        a = rig.coap(self.gw.coaps("/lamp/state"), cert=self.forged, wait=3)
        self.assertIsNone(a.code, a.output)

    def test_psk_beside_certificates(self):
        self.ask("/lamp/state", "2.05")

    def test_self_signed_with_the_key_of_a_token(self):
        for name, key, iss in (("mac", self.mac, "coaps://as"), ("ec", self.ec, "coaps://as"),
                               ("pem", self.sign, "coaps://as.sign")):
            with self.subTest(name):
                _, private, files = certificate(self.tls, "own-" + name, "whatever")
                a = rig.coap(self.gw.coaps("/lamp/state"), cert=files, wait=3)
                self.assertIsNone(a.code, "before its token came")
                cnf = {1: mint.ec_cose_key(private.public_key())}
                self.post(mint.cwt(key, claims(cnf=cnf, iss=iss)))
                self.assertEqual(self.ask_cert("/lamp/state", "2.05", files).payload, b"on")
                self.ask_cert("/lamp/color", "4.03", files)
