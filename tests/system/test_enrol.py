"""Enrolment: what `postern enrol` leaves is enough for a stock client, what
`postern unenrol` takes away ends it at once, and nothing of either is lost."""
import json
import os
import re
import stat
import subprocess
import threading
import time

import house
import rig
import test_m2m

NO, USAGE, INPUT, OUTPUT, CONFIG = 1, 64, 65, 73, 78

POLICY = house.POLICY + "enrolments: enrolled.yaml\n"
EMPTY = "version: 1\nenrolments:\n"


def openssl(*args, cwd=None):
    subprocess.run(["openssl", *args], check=True, cwd=cwd, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


class Enrol(house.House):
    policy = POLICY
    identity = {"certificate": "tls/gateway.crt", "key": "tls/gateway.key",
                "client-ca": "tls/clients.crt"}

    @classmethod
    def secrets(cls):
        import tempfile
        secrets = dict(super().secrets())
        with tempfile.TemporaryDirectory() as d:
            ca = house.certificate(d, "clients", "the clients' CA", ca=True)
            house.certificate(d, "gateway", "127.0.0.1", issuer=ca)
            # of the same CA, and enrolled by nobody
            house.certificate(d, "other", "other.home", issuer=ca)
            for name in ("clients.crt", "clients.key", "gateway.crt", "gateway.key", "other.crt",
                         "other.key"):
                with open(os.path.join(d, name), "rb") as f:
                    secrets["tls/" + name] = f.read()
        secrets["enrolled.yaml"] = EMPTY
        return secrets

    def enrol(self, *args, check=0, command="enrol", stdin=None):
        return self.gw.postern(command, "-c", "postern.yaml", *args, check=check, stdin=stdin)

    def enrolled(self):
        with open(self.gw.path("enrolled.yaml")) as f:
            return f.read()

    def carried(self, name):
        """What a device reads from the file that it gets."""
        with open(self.gw.path(name + ".enrolment")) as f:
            return {k: json.loads(v) for k, v in
                    (line.rstrip("\n").split(": ", 1) for line in f)}

    def psk(self, name):
        c = self.carried(name)
        return c["psk-identity"].encode(), c["psk-text"].encode()

    def pem(self, name):
        return self.gw.path(name + ".pem"), self.gw.path(name + ".pem")

    def refused(self, **how):
        a = rig.coap(self.gw.coaps("/lamp/state"), wait=4, **how)
        self.assertIsNone(a.code, a.output)

    # ---- by key ----

    def test_a_key_lets_stock_clients_in(self):
        r = self.enrol("thermostat-7", "-r", "guest", "-e", "90d", "-d", "sp.example")
        self.assertIn("in force", r.text)
        self.assertEqual(self.carried("thermostat-7")["psk-identity"], "thermostat-7@sp.example")
        for tls in ("openssl", "gnutls"):
            self.ask("/lamp/state", "2.05", psk=self.psk("thermostat-7"), tls=tls)
        self.ask("/door/lock", "4.03", psk=self.psk("thermostat-7"))

    def test_secrets_are_for_nobody_else(self):
        r = self.enrol("quiet", "-r", "guest")
        for f in ("quiet.enrolment", "keys/quiet.psk"):
            self.assertEqual(stat.S_IMODE(os.stat(self.gw.path(f)).st_mode), 0o600, f)
        secret = self.carried("quiet")
        for text in (r.text, r.err, self.enrolled(), self.gw.proc.output()):
            self.assertNotIn(secret["psk-text"], text)
            self.assertNotIn(secret["psk-hex"], text)

    def test_a_key_of_its_own(self):
        self.gw.write("factory.hex", "# from the label\n" + "0a" * 16 + "\n")
        self.enrol("labelled", "-r", "guest", "--psk-file", "factory.hex")
        self.ask("/lamp/state", "2.05", psk=(b"labelled", b"\n" * 16), tls="gnutls")
        self.gw.write("short.hex", "0a" * 8 + "\n")
        self.enrol("short", "-r", "guest", "--psk-file", "short.hex", check=INPUT)
        self.assertNotIn("short", self.enrolled())

    def test_unenrolled_at_once(self):
        self.enrol("leaver", "-r", "guest")
        psk = self.psk("leaver")
        watcher = rig.Process(["coap-client-openssl", "-v", "7", "-s", "30", "-B", "30", "-u",
                               psk[0], "-k", psk[1], self.gw.coaps("/lamp/state")])
        self.addCleanup(watcher.stop)
        watcher.wait_line(r"2\.05")
        r = self.enrol("leaver", command="unenrol")
        self.assertIn("in force", r.text)
        watcher.wait_line(r"4\.01")
        self.gw.proc.wait_line(r"association-closed.*subject=leaver.*reason=")
        self.assertFalse(os.path.exists(self.gw.path("keys/leaver.psk")))
        self.assertNotIn("leaver", self.enrolled())
        for event in ("subject-added", "subject-removed"):
            self.gw.audit(lambda r, e=event: (r.get("event"), r.get("kind"), r.get("value"),
                                              r.get("by")) == (e, "subject", "leaver", "reload"))
        self.refused(psk=psk)
        self.enrol("leaver", command="unenrol", check=NO)

    def test_over(self):
        """By the wall clock: the file says that it was over a second ago."""
        self.enrol("past", "-r", "guest", "-e", "8h")
        psk = self.psk("past")
        self.ask("/lamp/state", "2.05", psk=psk)
        text = self.enrolled()
        line = [x for x in text.splitlines() if 'name: "past"' in x][0]
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
        self.gw.write("enrolled.yaml", text.replace(
            line, re.sub(r'expires: "[^"]*"', 'expires: "%s"' % ended, line)))
        self.gw.reload()
        self.refused(psk=psk)
        self.gw.proc.wait_line(r"enrolment-refused.*subject=past")
        r = self.enrol("-s", "past", "GET", "/lamp/state", command="explain", check=NO)
        self.assertIn("denied: the enrolment is over (%s)" % ended, r.text)
        self.enrol("-s", "past", "--at", "2020-01-01", "GET", "/lamp/state", command="explain")
        os.unlink(self.gw.path("past.enrolment"))
        self.enrol("past", "--renew")
        self.ask("/lamp/state", "2.05", psk=self.psk("past"))

    def test_for_the_daemons_group(self):
        """Keys in a directory of a group: for that group, and nobody else."""
        if os.geteuid() != 0:
            self.skipTest("needs to give files away")
        os.mkdir(self.gw.path("grouped"))
        os.chown(self.gw.path("grouped"), 0, 12345)
        os.chmod(self.gw.path("grouped"), 0o750)
        os.chown(self.gw.path("enrolled.yaml"), 0, 12345)
        os.chmod(self.gw.path("enrolled.yaml"), 0o640)
        self.enrol("grouped", "-r", "guest", "--keys", "grouped")
        for f in ("grouped/grouped.psk", "enrolled.yaml"):
            st = os.stat(self.gw.path(f))
            self.assertEqual((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)),
                             (0, 12345, 0o640), f)
        self.assertEqual(os.stat(self.gw.path("grouped.enrolment")).st_mode & 0o777, 0o600)
        self.ask("/lamp/state", "2.05", psk=self.psk("grouped"))

    def test_a_request_from_standard_input(self):
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", "s.key", "-out", "s.csr", "-subj", "/CN=x", cwd=self.gw.dir)
        with open(self.gw.path("s.csr"), "rb") as f:
            self.enrol("stdin", "-r", "guest", "--csr", "-", stdin=f.read())
        self.ask("/lamp/state", "2.05", psk=None,
                 cert=(self.gw.path("stdin.pem"), self.gw.path("s.key")))

    def test_renewed(self):
        self.enrol("renewed", "-r", "guest", "-e", "1h")
        old = self.psk("renewed")
        self.assertIn("--renew", self.enrol("renewed", "-r", "guest", check=NO).err)
        os.unlink(self.gw.path("renewed.enrolment"))
        self.enrol("renewed", "--renew", "-e", "2d")
        new = self.psk("renewed")
        self.assertEqual((old[0], old[1] == new[1]), (new[0], False))
        self.refused(psk=old)
        self.ask("/lamp/state", "2.05", psk=new)
        self.assertEqual(self.enrolled().count('name: "renewed"'), 1)
        self.assertEqual(len([f for f in os.listdir(self.gw.path("keys"))
                              if f.startswith("renewed")]), 1)
        self.enrol("never-was", "--renew", check=NO)

    # ---- by certificate ----

    def test_a_certificate_lets_stock_clients_in(self):
        self.enrol("tab", "-r", "resident", "-C", "-O", "//sp.example/cse1/Ctab")
        for tls in ("openssl", "gnutls"):
            self.ask("/door/lock", "2.05", psk=None, cert=self.pem("tab"), tls=tls)
        openssl("verify", "-CAfile", "tls/clients.crt", "tab.pem", cwd=self.gw.dir)
        text = subprocess.run(["openssl", "x509", "-in", "tab.pem", "-noout", "-text"],
                              cwd=self.gw.dir, stdout=subprocess.PIPE, check=True).stdout.decode()
        self.assertIn("URI://sp.example/cse1/Ctab", text)
        self.assertIn("TLS Web Client Authentication", text)

    def test_a_request_of_a_device(self):
        for name, how in (("p256", ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")),
                          ("p384", ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384",
                                    "-sha384"))):
            with self.subTest(name):
                # What it asks for besides its key is not given.
                openssl("req", "-new", *how, "-nodes", "-keyout", name + ".key", "-out",
                        name + ".csr", "-subj", "/CN=tablet.home", "-addext",
                        "subjectAltName=DNS:tablet.home", "-addext", "basicConstraints=CA:TRUE",
                        cwd=self.gw.dir)
                self.enrol(name, "-r", "guest", "--csr", name + ".csr")
                with open(self.gw.path(name + ".pem")) as f:
                    self.assertNotIn("PRIVATE KEY", f.read())
                self.ask("/lamp/state", "2.05", psk=None,
                         cert=(self.gw.path(name + ".pem"), self.gw.path(name + ".key")))
                self.ask("/door/lock", "4.03", psk=None,
                         cert=(self.gw.path(name + ".pem"), self.gw.path(name + ".key")))
                text = subprocess.run(["openssl", "x509", "-in", name + ".pem", "-noout", "-text"],
                                      cwd=self.gw.dir, stdout=subprocess.PIPE,
                                      check=True).stdout.decode()
                self.assertNotIn("tablet.home", text)
                self.assertNotIn("CA:TRUE", text)

    def test_hostile_requests(self):
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", "h.key", "-out", "h.csr", "-outform", "DER", "-subj", "/CN=x",
                cwd=self.gw.dir)
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "r.key", "-out",
                "rsa.csr", "-subj", "/CN=x", cwd=self.gw.dir)
        openssl("req", "-new", "-key", "h.key", "-sha1", "-out", "sha1.csr", "-subj", "/CN=x",
                cwd=self.gw.dir)
        with open(self.gw.path("h.csr"), "rb") as f:
            good = f.read()
        self.enrol("h-good", "-r", "guest", "--csr", "h.csr", "-n")
        before = self.enrolled()
        cases = {"cut": good[:-1], "longer": good + b"x", "signature": good[:-1] + b"\0",
                 "name": good.replace(b"\x0c\x01x", b"\x0c\x01y"), "empty": b"", "nul": b"\0" * 64,
                 "text": b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
                 "large": b"\x30\x84\x7f\xff\xff\xff" + b"A" * 20000}
        for name, content in cases.items():
            self.gw.write("bad.csr", content)
            with self.subTest(name):
                self.enrol("h-bad", "-r", "guest", "--csr", "bad.csr", check=INPUT)
        for name in ("rsa.csr", "sha1.csr", "tls/clients.crt", "missing.csr", "keys"):
            with self.subTest(name):
                self.enrol("h-bad", "-r", "guest", "--csr", name, check=INPUT)
        for i in range(0, len(good), 3):
            self.gw.write("bad.csr", good[:i] + bytes([good[i] ^ 0x41]) + good[i + 1:])
            r = self.enrol("h-bad", "-r", "guest", "--csr", "bad.csr", "-n", check=INPUT)
            self.assertNotIn("Sanitizer", r.err)
        self.assertEqual(self.enrolled(), before)

    def test_an_unenrolled_certificate(self):
        self.enrol("gone", "-r", "guest", "-C")
        self.ask("/lamp/state", "2.05", psk=None, cert=self.pem("gone"))
        self.enrol("gone", command="unenrol")
        for tls in ("openssl", "gnutls"):
            self.refused(cert=self.pem("gone"), tls=tls)
        self.assertRegex(self.enrolled(), r'unenrolled: .*name: "gone"')
        # its name is free again, and stays another's
        os.rename(self.gw.path("gone.pem"), self.gw.path("gone-old.pem"))
        self.enrol("gone", "-r", "guest", "-C")
        self.ask("/lamp/state", "2.05", psk=None, cert=self.pem("gone"))
        self.refused(cert=self.pem("gone-old"))

    def test_a_renewed_certificate(self):
        self.enrol("moving", "-r", "resident", "-C", "-O", "Cmoving", "-e", "2d")
        os.rename(self.gw.path("moving.pem"), self.gw.path("moving-old.pem"))
        watcher = rig.Process(["coap-client-openssl", "-v", "7", "-s", "30", "-B", "30", "-c",
                               self.gw.path("moving-old.pem"), "-j",
                               self.gw.path("moving-old.pem"), "-n",
                               self.gw.coaps("/lamp/state")])
        self.addCleanup(watcher.stop)
        watcher.wait_line(r"2\.05")
        self.enrol("moving", "--renew", "-C", "-e", "3d")
        watcher.wait_line(r"4\.01")
        self.refused(cert=self.pem("moving-old"))
        self.ask("/door/lock", "2.05", psk=None, cert=self.pem("moving"))  # its role stayed
        entry = [x for x in self.enrolled().splitlines() if '{name: "moving"' in x]
        self.assertEqual(len(entry), 1)
        self.assertIn('originator: "Cmoving"', entry[0])
        # by key from now on: the certificate is out
        self.enrol("moving", "--renew")
        self.ask("/door/lock", "2.05", psk=self.psk("moving"))
        self.refused(cert=self.pem("moving"))
        self.assertEqual(len([x for x in self.enrolled().splitlines()
                              if "{unenrolled: " in x and 'name: "moving"' in x]), 2)

    def test_by_hand_and_without_an_end(self):
        """A certificate that some other tool made, told by its fingerprint."""
        out = subprocess.run(["openssl", "x509", "-in", "tls/other.crt", "-noout", "-fingerprint",
                              "-sha256"], cwd=self.gw.dir, stdout=subprocess.PIPE,
                             check=True).stdout.decode()
        finger = out.split("=")[1].strip().replace(":", "").lower()
        pair = (self.gw.path("tls/other.crt"), self.gw.path("tls/other.key"))
        before = self.enrolled()
        self.addCleanup(self.gw.reload)
        self.addCleanup(self.gw.write, "enrolled.yaml", before)
        self.gw.write("enrolled.yaml", before + '  - {name: theirs, certificate: '
                      'other.home, fingerprint: "%s", roles: [guest]}\n' % finger)
        self.gw.reload()
        self.ask("/lamp/state", "2.05", psk=None, cert=pair)
        self.enrol("theirs", command="unenrol")
        self.refused(cert=pair)
        line = [x for x in self.enrolled().splitlines() if finger in x][0]
        self.assertIn('expires: "9999-', line)

    def test_whether_the_device_knows_the_gateway(self):
        r = self.enrol("knows", "-r", "guest", "-C", "-n")
        self.assertNotIn("of another CA", r.text)
        self.assertTrue(json.loads(self.enrol("knows", "-r", "guest", "-C", "-n", "-j").text)
                        ["gateway_of_same_ca"])
        # openssl's own client believes the gateway by what the device got
        self.enrol("believer", "-r", "guest", "-C")
        port = self.gw.ports[4][1]
        run = subprocess.run(["openssl", "s_client", "-dtls1_2", "-connect", "127.0.0.1:%d" % port,
                              "-cert", "believer.pem", "-key", "believer.pem", "-CAfile",
                              "tls/clients.crt", "-verify_return_error", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
                             cwd=self.gw.dir, input=b"Q\n", stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=30, check=False)
        self.assertIn(b"Verify return code: 0", run.stdout)

    def test_a_name_is_not_enough(self):
        """One of the same CA with the name of an enrolled one is not that."""
        self.enrol("other", "-r", "guest", "-C", "--dns", "other.home")
        self.addCleanup(self.enrol, "other", command="unenrol")
        self.ask("/lamp/state", "2.05", psk=None, cert=self.pem("other"))
        self.refused(cert=(self.gw.path("tls/other.crt"), self.gw.path("tls/other.key")))

    def test_a_ca_is_made_where_it_is_expected(self):
        self.gw.write("new.yaml", "identity: {client-ca: made/ca.crt}\n")
        os.mkdir(self.gw.path("made"))
        self.gw.postern("enrol", "ca", "-c", "new.yaml", "--name", "House", check=0)
        self.assertEqual(stat.S_IMODE(os.stat(self.gw.path("made/ca.key")).st_mode), 0o600)
        openssl("verify", "-CAfile", "made/ca.crt", "made/ca.crt", cwd=self.gw.dir)
        self.gw.postern("enrol", "ca", "-c", "new.yaml", check=OUTPUT)
        # the key of another CA signs nothing that would count
        self.enrol("wrong-ca", "-r", "guest", "-C", "-k", "made/ca.key", check=INPUT)
        self.enrol("wrong-ca", "-r", "guest", "-C", "-k", "tls/clients.crt", check=INPUT)

    # ---- files ----

    def test_what_others_wrote_stays(self):
        self.enrol("first", "-r", "guest")
        text = self.enrolled().replace('  - {name: "first"', '  # the one in the hall\n'
                                       '  - {name: "first"')
        text += ("\n  # by hand, over several lines\n  - name: hand\n    psk-identity: hand\n"
                 "    # kept where it was\n    key-file: keys/panel.psk\n    roles:\n"
                 "      - guest\n\n# and an end\n")
        self.gw.write("enrolled.yaml", text)
        self.enrol("last", "-r", "guest")
        self.assertTrue(self.enrolled().startswith(text), self.enrolled())
        self.enrol("last", command="unenrol")
        self.assertEqual(self.enrolled(), text)
        self.enrol("hand", command="unenrol")
        self.assertTrue(os.path.exists(self.gw.path("keys/panel.psk")))  # panel's, too
        self.assertIn("# the one in the hall\n", self.enrolled())
        self.assertIn("# by hand, over several lines\n", self.enrolled())
        self.assertIn("# and an end\n", self.enrolled())
        self.assertNotIn("roles:\n", self.enrolled())
        self.enrol("first", command="unenrol")

    def test_of_the_policy_itself(self):
        for command in ("enrol", "unenrol"):
            args = ("-r", "guest") if command == "enrol" else ()
            r = self.enrol("panel", *args, command=command, check=NO)
            self.assertRegex(r.err, r"stands in policy\.yaml:\d+")

    def test_many_at_once(self):
        results = []

        def one(i):
            results.append(self.enrol("crowd-%d" % i, "-r", "guest").returncode)
        threads = [threading.Thread(target=one, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(results, [0] * 6)
        for i in range(6):
            self.assertEqual(self.enrolled().count('name: "crowd-%d"' % i), 1)
        self.ask("/lamp/state", "2.05", psk=self.psk("crowd-5"))

    def test_nothing_when_something_cannot_be(self):
        before = self.enrolled()
        keys = sorted(os.listdir(self.gw.path("keys")))
        self.gw.write("taken.enrolment", "mine")
        for name, args, status in (
                ("role", ("x1", "-r", "gust"), CONFIG),
                ("file", ("taken", "-r", "guest"), OUTPUT),
                ("keys", ("x2", "-r", "guest", "--keys", "nowhere"), OUTPUT),
                ("out", ("x3", "-r", "guest", "-o", "nowhere/x"), OUTPUT),
                ("identity", ("x4", "-r", "guest", "-i", "panel"), CONFIG),
                ("originator", ("x5", "-r", "guest", "-O", "Da"), USAGE),
                ("stem", ("x5", "-r", "guest", "-O", "C/a"), USAGE),
                ("cse", ("x5", "-r", "guest", "--cse", "cse1"), USAGE),
                ("both", ("x5", "-r", "guest", "--cse", "/cse1", "-O", "Ca"), USAGE),
                ("over", ("x6", "-r", "guest", "-e", "2020-01-01"), USAGE),
                ("when", ("x6", "-r", "guest", "-e", "soon"), USAGE),
                ("never", ("x6", "-r", "guest", "-C", "-e", "never"), USAGE),
                ("beyond", ("x6", "-r", "guest", "-C", "-e", "400d"), USAGE),
                ("none", ("x7",), USAGE),
                ("name", ("../x", "-r", "guest"), USAGE),
                ("long", ("x" * 64, "-r", "guest"), USAGE),
                ("domain", ("x8", "-r", "guest", "-d", "a_b.c"), USAGE),
                ("text", ("x8", "-r", "guest", "-i", "a b"), USAGE)):
            with self.subTest(name):
                self.enrol(*args, check=status)
                self.assertEqual(self.enrolled(), before)
                self.assertEqual(sorted(os.listdir(self.gw.path("keys"))), keys)
        with open(self.gw.path("taken.enrolment")) as f:
            self.assertEqual(f.read(), "mine")

    def test_a_full_disk(self):
        """No file may grow beyond what is written first: the key fits, what
        comes after does not."""
        before = self.enrolled()
        for limit in (32, 100, len(before) + 20):
            with self.subTest(limit):
                r = subprocess.run(
                    ["prlimit", "--fsize=%d" % limit, os.path.join(rig.BUILD, "postern"), "enrol",
                     "-c", "postern.yaml", "full", "-r", "guest"], cwd=self.gw.dir,
                    stderr=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
                self.assertEqual(r.returncode, OUTPUT, r.stderr)
                self.assertEqual(self.enrolled(), before)
                self.assertFalse([f for d in (".", "keys") for f in os.listdir(self.gw.path(d))
                                  if f.startswith(("full", "enrolled.yaml."))])

    def test_a_file_that_is_not_ours(self):
        good = self.enrolled()
        self.addCleanup(self.gw.write, "enrolled.yaml", good)
        for name, text, where in (
                ("key", "version: 1\nenrolments:\nsurprise: yes\n", ":3:1: error: unknown key"),
                ("version", "version: 2\nenrolments:\n", ":1:10: error: version 2"),
                ("entry", EMPTY + "  - {name: a, psk-identity: a, roles: [guest]}\n",
                 "psk-identity needs a key-file"),
                ("twice", EMPTY + 2 * "  - {name: a, psk-identity: a, key-file: keys/panel.psk, "
                 "roles: [guest]}\n", "taken already"),
                ("time", EMPTY + "  - {name: a, psk-identity: a, key-file: keys/panel.psk, "
                 "roles: [guest], expires: soon}\n", "expected a time in UTC"),
                ("yaml", "version: [\n", "enrolled.yaml:")):
            with self.subTest(name):
                self.gw.write("enrolled.yaml", text)
                self.assertIn(where, self.enrol(command="check", check=CONFIG).err)
                self.enrol("other-one", "-r", "guest", check=CONFIG)
                self.assertEqual(self.enrolled(), text)
                self.assertIn("reload-failed", self.gw.reload() + self.gw.proc.output())

    # ---- telling ----

    def test_told(self):
        self.enrol("short-lived", "-r", "guest", "-e", "5d")
        self.enrol("long-lived", "-r", "guest", "-e", "300d")
        r = self.enrol("--within", "10d", command="enrolled", check=NO)
        self.assertIn("short-lived", r.text)
        self.assertNotIn("long-lived", r.text)
        self.enrol("--within", "1d", command="enrolled", check=0)
        # the daemon, before anybody asks
        self.gw.proc.wait_line(r"enrolment-ends subject=short-lived at=\S+ days=[45]")
        self.assertNotIn("enrolment-ends subject=long-lived", self.gw.proc.output())
        self.assertRegex(self.enrol(command="status").text,
                         r"enrolments +\d+, \d+ end within 30 days; next '")
        r = self.enrol(command="check")
        self.assertRegex(r.err, r"enrolled\.yaml:\d+: warning: the enrolment of 'short-lived' ends")
        self.assertEqual(r.text, "postern.yaml: ok\n")
        # the test's gateway and its CA have a month, to the day
        self.assertIn("tls/gateway.crt: warning: the gateway's own certificate ends soon", r.err)
        self.assertIn("tls/clients.crt: warning: the CA of clients ends soon", r.err)
        found = json.loads(self.enrol("-j", command="check").text)
        self.assertTrue(found["ok"])
        self.assertTrue(all(d["warning"] for d in found["diagnostics"]))
        all_ = json.loads(self.enrol("-j", command="enrolled").text)["enrolled"]
        mine = [s for s in all_ if s["name"] == "short-lived"][0]
        self.assertTrue(mine["by_command"])
        self.assertLess(abs(mine["expires"] - time.time() - 5 * 86400), 120)

    def test_as_json(self):
        r = self.enrol("machine", "-r", "guest", "-j", "-o", "-", "--server", "coaps://gw.home")
        made = json.loads(r.text)
        self.assertEqual((made["psk_identity"], made["server"]), ("machine", "coaps://gw.home"))
        self.assertTrue(json.loads(r.err)["in_force"])
        self.ask("/lamp/state", "2.05", psk=(b"machine", made["psk_text"].encode()))
        out = json.loads(self.enrol("machine", "-j", command="unenrol").text)
        self.assertEqual((out["ok"], out["in_force"]), (True, True))

    def test_a_picture(self):
        r = self.enrol("pictured", "-r", "guest", "-q", check=None)
        if r.returncode == USAGE:
            self.assertIn("libqrencode", r.err)
            return
        rows = [line for line in r.text.splitlines() if line[:1] in "\u2580\u2584\u2588"]
        self.assertGreater(len(rows), 20)
        self.assertEqual(len(set(map(len, rows))), 1)


class Away(house.House):
    """The daemon is not there: files alone."""
    policy = POLICY

    @classmethod
    def secrets(cls):
        return dict(super().secrets(), **{"enrolled.yaml": EMPTY})

    def test_in_force_at_the_start(self):
        self.gw.stop()
        try:
            r = self.gw.postern("enrol", "-c", "postern.yaml", "early", "-r", "guest", check=0)
            self.assertIn("when it starts", r.text)
            os.unlink(self.gw.path("enrolled.yaml"))
            r = self.gw.postern("check", "-c", "postern.yaml", check=CONFIG)
            self.assertRegex(r.err, r"policy\.yaml:\d+:13: error: enrolled\.yaml: No such file")
            os.unlink(self.gw.path("early.enrolment"))
            self.gw.postern("enrol", "-c", "postern.yaml", "early", "-r", "guest", check=0)
        finally:
            self.gw.start()
        with open(self.gw.path("early.enrolment")) as f:
            key = re.search(r'psk-text: "(.*)"', f.read()).group(1)
        self.ask("/lamp/state", "2.05", psk=(b"early", key.encode()))


class BeforeACse(test_m2m.InFront):
    """What is enrolled as an AE speaks to a CSE as that AE, and as no other."""
    cses = ("current",)

    @classmethod
    def policy_text(cls):
        return super().policy_text() + "enrolments: enrolled.yaml\n"

    @classmethod
    def secrets(cls):
        return dict(super().secrets(), **{"enrolled.yaml": EMPTY})

    def enrol(self, name, *args, check=0):
        self.gw.postern("enrol", "-c", "postern.yaml", name, "-r", "application", "-j", *args,
                        check=check)
        with open(self.gw.path(name + ".json")) as f:
            made = json.load(f)
        return made["psk_identity"].encode(), made["psk_text"].encode()

    def walk(self, psk, originator):
        a = test_m2m.Ae(self.gw, psk, "current", originator, "/current")
        self.addCleanup(a.close)
        self.expect(a.create("cb", test_m2m.AE, {"rn": originator, "api": "N1", "rr": True}),
                    "2.01", 2001)
        self.expect(a.retrieve("cb/" + originator), "2.05", 2000)
        self.expect(a.retrieve("cb/" + originator, fr="Creader"), "4.03", 4106)
        self.expect(a.delete("cb/" + originator), "2.02", 2002)

    def test_as_its_originator(self):
        psk = self.enrol("lobby", "-d", "sp.example", "-O", "Clobby")
        self.assertEqual(psk[0], b"lobby@sp.example")
        self.walk(psk, "Clobby")

    def test_as_its_kpsa_id_says(self):
        self.walk(self.enrol("Chall", "-d", "sp.example"), "Chall")

    def test_an_originator_is_one_subjects(self):
        self.enrol("first", "-O", "Cshared")
        self.gw.postern("enrol", "-c", "postern.yaml", "second", "-r", "application", "-O",
                        "Cshared", check=CONFIG)
        self.assertFalse(os.path.exists(self.gw.path("keys/second.psk")))
