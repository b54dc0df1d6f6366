"""What an operator does, and what befalls a gateway: reload, crash, records,
the command."""
import os
import signal
import threading
import time

import dtls
import mint
import rig
from house import Client, House, PSK, claims


class Reload(House):
    def test_under_traffic_no_permitted_request_is_lost(self):
        """Stock clients one after the other, and a long association, while
        the policy is swapped again and again."""
        done = threading.Event()
        results = []

        def stock(tls):
            while not done.is_set():
                results.append(rig.coap(self.gw.coaps("/lamp/state"), psk=(b"panel", PSK),
                                        tls=tls).code)

        def long_one():
            c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
            while not done.is_set():
                results.append(c.get("/lamp/state")[0])
            c.close()

        threads = [threading.Thread(target=stock, args=("openssl",)),
                   threading.Thread(target=stock, args=("gnutls",)),
                   threading.Thread(target=long_one)]
        for t in threads:
            t.start()
        try:
            for i in range(20):
                before = len(results)
                self.gw.write("policy.yaml", self.policy + "# %d\n" % i)
                self.gw.reload()
                until = time.monotonic() + rig.DEADLINE
                while len(results) < before + 5 and time.monotonic() < until:
                    done.wait(0.001)
        finally:
            done.set()
            for t in threads:
                t.join()
        self.assertGreaterEqual(len(results), 100)
        self.assertEqual(set(results), {"2.05"})

    def test_a_role_taken_away(self):
        client = self.enter(scope="resident", aud=["lamp", "door"])
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=client.psk)
        self.addCleanup(c.close)
        self.assertEqual(c.get("/door/lock")[0], "2.05")
        self.gw.edit("policy.yaml", "roles: [guest, resident]", "roles: [guest]")
        self.gw.reload()
        # A scope of which nothing is left is the end of the grant, or of its
        # use; never a permit.
        try:
            self.assertIn(c.get("/door/lock")[0], ("4.01", "4.03"))
        except dtls.Refused:
            pass
        self.gw.write("policy.yaml", self.policy)
        self.gw.reload()
        self.ask("/door/lock", "2.05", client.psk)

    def test_a_bad_policy_changes_nothing(self):
        self.gw.write("policy.yaml", self.policy + "surprise: yes\n")
        start = self.gw.proc.mark()
        self.gw.proc.proc.send_signal(signal.SIGHUP)
        self.gw.proc.wait_line(r"policy\.yaml:\d+:\d+", start)
        self.ask("/lamp/state", "2.05")
        self.gw.write("policy.yaml", self.policy)
        self.gw.reload()
        self.ask("/lamp/state", "2.05")


class Crash(House):
    def test_grants_survive_kill_9(self):
        client = self.enter()
        self.ask("/lamp/state", "2.05", client.psk)
        for _ in range(2):
            self.gw.kill()
            self.gw.start()
            self.ask("/lamp/state", "2.05", client.psk)
            self.ask("/lamp/color", "4.03", client.psk)

    def test_grants_survive_a_planned_stop(self):
        client = self.enter()
        self.gw.stop()
        self.gw.start()
        self.ask("/lamp/state", "2.05", client.psk)

    def test_policy_bad_at_start(self):
        """Exit 78 (EX_CONFIG) and the diagnostic; nothing is opened."""
        self.gw.stop()
        self.gw.write("policy.yaml", self.policy + "surprise: yes\n")
        p = rig.Process(self.gw.proc.argv)
        p.wait_line(r"policy\.yaml:\d+:\d+")
        self.assertEqual(p.proc.wait(rig.DEADLINE), 78)
        p.stop()
        self.gw.write("policy.yaml", self.policy)
        self.gw.start()


class Records(House):
    FIELDS = ("time", "association", "subject", "method", "path", "verdict", "reason", "rule",
              "grant", "authority", "policy", "device", "code", "us")

    def test_a_permit_and_a_denial(self):
        client = self.enter()
        self.ask("/lamp/state", "2.05", client.psk)
        self.ask("/lamp/color", "4.03", client.psk)
        r = self.gw.audit(lambda r: r.get("path") == "/lamp/state" and r.get("grant"))
        for field in self.FIELDS:
            self.assertIn(field, r)
        self.assertEqual((r["method"], r["verdict"], r["reason"], r["device"], r["code"]),
                         ("GET", "permit", "permitted", "lamp", "2.05"))
        self.assertRegex(r["rule"], r"policy\.yaml:\d+$")
        self.assertEqual(r["authority"], "home-as")
        self.assertRegex(str(r["policy"]), r"^[0-9a-f]{16}$")
        r = self.gw.audit(lambda r: r.get("path") == "/lamp/color")
        self.assertEqual((r["verdict"], r["reason"], r["code"]), ("deny", "not-resource", "4.03"))

    def test_nothing_secret_in_them(self):
        client = Client()
        token = mint.cwt(self.encrypt, claims(client.kid, client.key))
        self.post(token)
        self.ask("/lamp/state", "2.04", client.psk, method="put", payload=b"PAYLOADPAYLOAD", fmt=0,
                 options=[(65000, token)])
        self.gw.audit(lambda r: r.get("path") == "/lamp/state" and r.get("method") == "PUT")
        with open(self.gw.path("log/audit.jsonl"), "rb") as f:
            written = f.read() + self.gw.proc.output().encode()
        for name, secret in (("payload", b"PAYLOADPAYLOAD"), ("token", token[10:40]),
                             ("key", client.key), ("psk", PSK)):
            for form in (secret, secret.hex().encode(), secret.hex().upper().encode()):
                self.assertNotIn(form, written, name)

    def test_text_from_outside_stays_in_its_string(self):
        """A path with quotes, controls and bytes that are no UTF-8."""
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)
        segment = b'"\n\\\x00\xff{}'
        self.assertIn(c.get("", options=[(11, b"lamp"), (11, segment)])[0], ("4.03", "4.04"))
        self.gw.audit(lambda r: r.get("path") == "/lamp/%22%0A%5C%00%FF{}")  # all before it parsed

    def test_reopened_on_sighup(self):
        """As logrotate does it: the file is moved, then the signal."""
        self.ask("/lamp/state", "2.05")
        self.gw.audit(lambda r: r.get("path") == "/lamp/state")
        os.rename(self.gw.path("log/audit.jsonl"), self.gw.path("log/audit.jsonl.1"))
        self.gw.reload()
        self.ask("/lamp/rotated", "4.04")
        self.gw.audit(lambda r: r.get("path") == "/lamp/rotated")
        with open(self.gw.path("log/audit.jsonl")) as f:
            self.assertIn("/lamp/rotated", f.read())
        with open(self.gw.path("log/audit.jsonl.1")) as f:
            self.assertNotIn("/lamp/rotated", f.read())
