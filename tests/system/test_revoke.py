"""What is revoked: by the operator, by an authority's list, by a policy that
names the authority no more. Tokens, requests and associations end at once."""
import json
import time
import unittest

import authority
import dtls
import mint
import rig
from house import Client, House, ISSUER, POLICY, claims


class Revoking(House):
    def association(self, client):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        return c

    def is_over(self, c):
        """The association ended: whatever is asked there gets no answer but
        4.01."""
        try:
            self.assertEqual(c.get("/lamp/state")[0], "4.01")
        except dtls.Refused:
            pass

    def token(self, client, **change):
        more = {int(k[1:]): change.pop(k) for k in list(change) if k[0] == "n"}
        return mint.cwt(self.encrypt, {**claims(client.kid, client.key, **change), **more},
                        canonical=True)


class Operator(Revoking):
    @classmethod
    def setUpClass(cls):
        cls.silent = rig.SilentDevice()
        cls.addClassCleanup(cls.silent.stop)
        cls.more_devices = ({"name": "slow", "path": "/slow", "url": cls.silent.url,
                             "audience": "slow"},)
        super().setUpClass()
        cls.silent.settle()

    def revoke(self, *args, check=0, **more):
        return self.gw.postern("revoke", "-c", "postern.yaml", *args, check=check, **more)

    def ways(self, token, client):
        with open(self.gw.path("token"), "wb") as f:
            f.write(token)
        return (("--token", "token"), ("--hash", authority.token_hash(token).hex()),
                ("--hash", mint.token_hash(token)),
                ("--cti", "c0ffee"), ("--jti", "\u00e9t\u00e9"), ("--kid", "0x" + client.kid.hex()), ("--subject", "ted"),
                ("--subject", "ted", "--authority", "home-as"),
                ("--subject", "ted@home-as"), ("--authority", "home-as"))

    def test_each_way(self):
        client = Client()
        for i in range(len(self.ways(b"", client))):
            token = self.token(client, n2="ted", n6=int(time.time()) - 5,
                               cti="\u00e9t\u00e9".encode() if i == 4 else b"\xc0\xff\xee")
            way = self.ways(token, client)[i]
            with self.subTest(way=way):
                self.post(token)
                c = self.association(client)
                self.assertEqual(c.get("/lamp/state")[0], "2.05")
                said = self.revoke(*way)
                self.assertIn("; 1 grant ended", said.text)
                self.is_over(c)
                self.assertIsNone(rig.coap(self.gw.coaps("/lamp/state"), psk=client.psk,
                                           wait=2).code)
                self.assertIn(b"token-revoked", self.post(token, "4.01").payload)
                undo = ("--hash", said.text.split()[2].rstrip(";")) \
                    if way[0] == "--hash" else way
                self.revoke("--undo", *undo)
                self.post(token)
                self.ask("/lamp/state", "2.05", client.psk)

    def test_a_request_that_runs(self):
        client = self.enter(aud="slow", scope="resident", cti=b"runs")
        c = self.association(client)
        token = c.request("/slow/x")
        datagram, to = self.silent.receive()
        self.revoke("--cti", b"runs".hex())
        self.assertEqual(c.answer(token)[0], "4.01")
        self.silent.answer(datagram, to)  # goes nowhere
        self.gw.audit(lambda r: r.get("path") == "/slow/x" and r.get("code") == "4.01")
        self.is_over(c)

    def test_it_outlives_a_crash(self):
        client = Client()
        token = self.token(client, cti=b"crash")
        self.post(token)
        self.revoke("--token", "-", stdin=token)
        self.gw.kill()
        self.gw.start()
        self.post(token, "4.01")
        shown = json.loads(self.revoke("--list", "--json").text)["revocations"]
        self.assertTrue(any(r["kind"] == "token-hash" and r["source"] == "operator" and
                            0 < r["until"] - time.time() < 700 for r in shown), shown)

    def test_the_record(self):
        self.revoke("--kid", "nobody's", "--until", "8h")
        r = self.gw.audit(lambda r: r.get("event") == "revoked" and
                          r.get("value") == b"nobody's".hex())
        self.assertEqual((r["by"], r["kind"], r["ended"]), ("operator", "kid", 0))
        self.revoke("--undo", "--kid", "nobody's")
        self.gw.audit(lambda r: r.get("event") == "revocation-undone")

    def test_enrolled_clients(self):
        self.ask("/lamp/state", "2.05")
        self.revoke("--subject", "panel")
        self.assertIsNone(rig.coap(self.gw.coaps("/lamp/state"),
                                   psk=(b"panel", b"0123456789abcdef"), wait=2).code)
        self.revoke("--undo", "--subject", "panel")
        self.ask("/lamp/state", "2.05")

    def test_misuse(self):
        for args, status, why in (
                ((), 64, "revoke what"), (("--kid", "a", "--cti", "00"), 64, "one thing at a time"),
                (("--hash", "0011"), 64, "SHA-256"), (("--cti", "xyz"), 64, "hexadecimal"),
                (("--authority", "nobody"), 1, "no such authority"),
                (("--kid", "a", "--until", "yesterday"), 64, "neither a duration"),
                (("--cti", "00", "--until", "1h"), 64, "until the token has expired"),
                (("--undo", "--cti", "0badcafe"), 1, "no such revocation"),
                (("--list", "--kid", "a"), 64, "--list"),
                (("--token", "absent"), 65, "absent")):
            with self.subTest(args):
                self.assertIn(why, self.revoke(*args, check=status).err)
        self.assertEqual(json.loads(self.revoke("--kid", "j", "--json").text)["kept"], True)

    def test_nobody_runs(self):
        run = self.revoke("--kid", "x", "--socket", self.gw.path("nothing.sock"), check=69)
        self.assertIn("not running", run.err)


class NoState(Revoking):
    def test_the_operator_is_told(self):
        # a gateway that keeps nothing
        gw = rig.Gateway(self.policy, self.devices(), secrets=self.secrets(), state=False)
        self.addCleanup(gw.close)
        run = gw.postern("revoke", "-c", "postern.yaml", "--kid", "k", check=0)
        self.assertIn("until the daemon ends", run.err)


class NewOwner(Revoking):
    """The car of draft-maler-ace-oauth-uma 3.3 and 5.1: the maker's authority
    leaves, the owner's comes."""
    policy = POLICY.replace("  - name: home-as\n", """\
  - name: maker-as
    issuer: coaps://as.maker
    keys: keys/maker-as.keys
    may-grant: {roles: [guest]}
  - name: home-as
""")

    @classmethod
    def secrets(cls):
        cls.maker = mint.SymmetricKey(b"m2", 10)
        return {**super().secrets(), "keys/maker-as.keys": mint.key_set(cls.maker),
                "keys/owner-as.keys": mint.key_set(cls.maker)}

    def test_the_car_is_sold(self):
        client, other = Client(), self.enter()
        old = mint.cwt(self.maker, claims(client.kid, client.key, iss="coaps://as.maker"))
        self.post(old)
        c, d = self.association(client), self.association(other)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        self.assertEqual(d.get("/lamp/state")[0], "2.05")
        self.gw.edit("policy.yaml", "maker-as\n    issuer: coaps://as.maker\n",
                     "owner-as\n    issuer: coaps://as.owner\n")
        self.gw.edit("policy.yaml", "keys/maker-as.keys", "keys/owner-as.keys")
        self.gw.reload()
        gone = self.gw.audit(lambda r: r.get("event") == "authority-removed")
        self.assertEqual((gone["authority"], gone["ended"], gone["by"]), ("maker-as", 1, "reload"))
        came = self.gw.audit(lambda r: r.get("event") == "authority-added")
        self.assertEqual(came["authority"], "owner-as")
        self.is_over(c)
        self.assertEqual(d.get("/lamp/state")[0], "2.05")
        # the same key would still open it: its issuer is another's
        self.post(old, "4.01")
        self.post(mint.cwt(self.maker, claims(client.kid, client.key, iss="coaps://as.owner")))
        self.ask("/lamp/state", "2.05", client.psk)


class Listed(Revoking):
    """RFC 9770, with a server that notifies."""

    @classmethod
    def setUpClass(cls):
        cls.server = authority.CoapAuthority()
        cls.addClassCleanup(cls.server.stop)
        cls.policy = POLICY.replace(
            "    issuer: %s\n" % ISSUER,
            "    issuer: %s\n    revocation-list: {url: \"%s/revoke/trl\", "
            "psk: {identity: gateway, key-file: keys/as.psk}}\n" % (ISSUER, cls.server.url), 1)
        super().setUpClass()
        cls.server.wait_asked("trl")

    @classmethod
    def secrets(cls):
        return {**super().secrets(), "keys/as.psk": authority.PSK.hex() + "\n"}

    def test_a_listed_token_ends_within_a_second(self):
        client = Client()
        token = self.token(client)
        self.post(token)
        c = self.association(client)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        start = time.monotonic()
        self.server.tell("revoke", authority.token_hash(token))
        r = self.gw.audit(lambda r: r.get("event") == "revoked" and r.get("ended") == 1)
        self.assertLess(time.monotonic() - start, 1)
        self.assertEqual((r["by"], r["authority"]), ("list", "home-as"))
        self.is_over(c)
        self.post(token, "4.01")
        # listed no more, as if it had expired: it does not come back before
        start = self.server.mark()
        self.server.tell("revoke", "-", authority.token_hash(token))
        self.server.proc.wait_line("^notify trl", start)
        self.post(token, "4.01")

    def test_status(self):
        s = json.loads(self.gw.postern("status", "-c", "postern.yaml", "-j", check=0).text)
        s = [v for v in s["servers"] if v["purpose"] == "revocation-list"][0]
        self.assertEqual((s["list"], s["list_known"], s["list_observed"]), ("good", True, True))
        text = self.gw.postern("status", "-c", "postern.yaml", check=0).text
        self.assertRegex(text, r"list good, observed, \d+ s old, \d+ hashes")

    def test_before_it_came(self):
        client = Client()
        token = self.token(client)
        start = self.gw.proc.mark()
        self.server.tell("revoke", authority.token_hash(token))
        self.gw.proc.wait_line(r"list-revoked .*hashes=1 ended=0", start)
        self.assertIn(b"token-revoked", self.post(token, "4.01").payload)

    def test_the_strict_form_only(self):
        client = Client()
        told = mint.cwt(self.mac, {**claims(), 8: {3: b"k"}})
        self.assertIn(b"token-form", self.post(told, "4.00").payload)
        self.post(self.token(client))

    def test_the_server_goes_and_comes(self):
        client, late = Client(), Client()
        token, other = self.token(client), self.token(late)
        self.post(token)
        self.post(other)
        known = authority.token_hash(token)
        start = self.gw.proc.mark()
        self.server.tell("revoke", known)
        self.gw.proc.wait_line("list-revoked", start)
        self.server.crash()
        # what is known holds, here and after a restart of ours
        self.post(token, "4.01")
        self.ask("/lamp/state", "2.05", late.psk)
        self.gw.kill()
        self.gw.start()
        self.gw.proc.wait_line("list-unknown")
        self.post(token, "4.01")
        self.ask("/lamp/state", "2.05", late.psk)
        self.server.start()
        self.server.tell("revoke", authority.token_hash(other))
        self.gw.proc.wait_line("list-revoked .*ended=1")
        self.gw.proc.wait_line("list-known")
        self.assertIsNone(rig.coap(self.gw.coaps("/lamp/state"), psk=late.psk, wait=2).code)
        shown = json.loads(self.gw.postern("revoke", "-c", "postern.yaml", "--list", "--json",
                                           check=0).text)["revocations"]
        self.assertIn(("list, before", known.hex()), [(r["source"], r["value"]) for r in shown])


if __name__ == "__main__":
    unittest.main()
