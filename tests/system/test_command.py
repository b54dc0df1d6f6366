"""The operator's command: what it says, what it makes, and how it ends. Each
misuse is one change of a use beside it."""
import base64
import json
import os
import subprocess

import mint
import rig
from house import House, PSK, claims

USAGE, INPUT, AWAY, OUTPUT, CONFIG = 64, 65, 69, 73, 78


class Command(House):
    def postern(self, *args, check=0, stdin=None):
        return self.gw.postern(*args, check=check, stdin=stdin)

    def with_config(self, *args, check=0, stdin=None):
        words = 2 if args[0] in ("token", "key") else 1
        return self.postern(*args[:words], "-c", "postern.yaml", *args[words:], check=check,
                            stdin=stdin)

    # ---- check ----

    def test_check(self):
        self.assertEqual(self.with_config("check").text, "postern.yaml: ok\n")

    def test_check_finds_what_is_bad(self):
        self.gw.write("bad.yaml", self.policy + "surprise: yes\n")
        with open(self.gw.path("postern.yaml")) as f:
            text = f.read()
        self.gw.write("other.yaml", text.replace("policy: policy.yaml", "policy: bad.yaml"))
        r = self.postern("check", "-c", "other.yaml", check=CONFIG)
        self.assertRegex(r.err, r"^bad\.yaml:\d+:1: error: unknown key 'surprise'\nsurprise: yes\n\^\n")
        self.assertEqual(r.text, "")
        daemon = subprocess.run([os.path.join(rig.BUILD, "posternd"), "-n", "-c", "other.yaml"],
                                cwd=self.gw.dir, stderr=subprocess.PIPE, check=False)
        self.assertEqual((daemon.returncode, daemon.stderr.decode()), (CONFIG, r.err))

    def test_check_as_json(self):
        self.assertEqual(json.loads(self.with_config("check", "--json").text),
                         {"file": "postern.yaml", "ok": True, "diagnostics": []})
        with open(self.gw.path("postern.yaml")) as f:
            lines = f.read().splitlines()
        at = next(i for i, l in enumerate(lines) if "control" in l)
        lines[at] = 'controll: "a: error: b"'
        self.gw.write("other.yaml", "\n".join(lines) + "\nsurprise: yes\n")
        got = json.loads(self.postern("check", "-j", "-c", "other.yaml", check=CONFIG).text)
        self.assertEqual((got["file"], got["ok"]), ("other.yaml", False))
        first, second = got["diagnostics"]
        self.assertEqual(first, {"file": "other.yaml", "line": at + 1, "column": 1,
                                 "message": "unknown key 'controll'; did you mean 'control'?",
                                 "excerpt": 'controll: "a: error: b"'})
        self.assertEqual(second["line"], len(lines) + 1)
        got = json.loads(self.postern("check", "-j", "-c", "nowhere.yaml", check=CONFIG).text)
        self.assertEqual(got["diagnostics"], [{"file": "nowhere.yaml",
                                               "message": "No such file or directory"}])

    def test_check_finds_the_gateway_itself(self):
        with open(self.gw.path("postern.yaml")) as f:
            text = f.read()
        self.gw.write("other.yaml", text.replace(
            json.dumps(self.lamp.url), json.dumps("coap://127.0.0.1:%d" % self.gw.ports[4][0])))
        r = self.postern("check", "-c", "other.yaml", check=CONFIG)
        self.assertRegex(r.err, r"other\.yaml:\d+:\d+: error: this is the gateway itself, which "
                                r"listens on coap://127\.0\.0\.1:%d\n" % self.gw.ports[4][0])

    def test_check_looks_at_keys(self):
        os.chmod(self.gw.path("keys/panel.psk"), 0o644)
        self.addCleanup(os.chmod, self.gw.path("keys/panel.psk"), 0o600)
        r = self.with_config("check", check=CONFIG)
        self.assertIn("keys/panel.psk", r.err)
        self.assertIn("0644", r.err)

    def test_check_without_a_file(self):
        r = self.postern("check", "-c", "nowhere.yaml", check=CONFIG)
        self.assertEqual(r.err, "nowhere.yaml: error: No such file or directory\n")

    # ---- misuse ----

    def test_misuse(self):
        for args, wanted in (
                (["chek"], "unknown command 'chek'; did you mean 'check'?"),
                (["token"], "'token' needs one of these"),
                (["token", "shwo"], "'token' knows only one of these"),
                (["check", "--confg", "x"], "unknown option '--confg'; did you mean '--config'?"),
                (["check", "-x"], "unknown option '-x'"),
                (["check", "-c"], "option '-c' needs an argument: FILE"),
                (["check", "-c", "a", "-c", "b"], "option '-c' was given twice"),
                (["check", "more"], "unexpected argument 'more'"),
                (["status", "--json=yes"], "option '--json' takes no argument"),
                (["explain", "GET"], "missing argument: PATH"),
                (["explain", "-s", "panel", "GTE", "/lamp"], "did you mean 'GET'?"),
                (["explain", "-s", "panel", "GET", "lamp"], "a path begins with '/'"),
                (["explain", "-s", "panel", "--at", "noon", "GET", "/lamp"], "--at wants a time"),
                (["explain", "-s", "panel", "--from", "lamp", "GET", "/x"], "--from wants an IPv4"),
                (["token", "new"], "--aud is needed"),
                (["token", "new", "-a", "lamp"], "one of --scope and --aif is needed"),
                (["token", "new", "-a", "lamp", "-s", "guest"], "whom the token is for"),
                (["token", "new", "-a", "lamp", "-s", "guest", "-n"], "a key to mint with is needed"),
                (["token", "new", "-a", "lamp", "-s", "guest", "-n", "-e", "soon"], "--exp wants"),
                (["token", "new", "-a", "lamp", "--aif", "/lamp", "-n"], "--aif wants PATH=METHODS"),
                (["token", "new", "--holder", "Cx"], "what the token gives: --role, --permit"),
                (["token", "new", "--holder", "Cx", "--permit", "FLY"], "--permit: operations are"),
                (["token", "new", "--holder", "Cx", "--permit", "CREATE"], "that --on names"),
                (["token", "new", "--holder", "Cx", "--role", "r@x", "-s", "guest"],
                 "are not for a token of oneM2M"),
                (["token", "new", "--holder", "Cx", "--role", "r@x", "--permissions", "-"],
                 "--permissions says it all"),
                (["token", "new", "--holder", "Cx", "--role", "r@x"], "a key to mint with is needed"),
                (["key", "new", "--alg", "ROT13", "k"], "unknown algorithm 'ROT13'; known: ES256"),
        ):
            with self.subTest(" ".join(args)):
                r = self.postern(*args, check=USAGE)
                self.assertIn(wanted, r.err)
                self.assertEqual(r.text, "")

    def test_who_asks_must_be_known(self):
        for args, wanted in ((["-s", "nobody"], "enrols no 'nobody'"),
                             (["--scope", "guest", "-A", "nobody"], "has no authority 'nobody'"),
                             (["--scope", "guest"], "--scope needs --authority"),
                             ([], "who asks: one of --subject, --token, --scope"),
                             (["-s", "panel", "--strength", "iron"], "--strength is bearer, psk")):
            with self.subTest(" ".join(args)):
                r = self.with_config("explain", *args, "GET", "/lamp/state", check=USAGE)
                self.assertIn(wanted, r.err)

    def test_a_token_of_onem2m(self):
        self.gw.write("das.hex", "# a test key\n" + "5a" * 32 + "\n")
        mint = ["token", "new", "-k", "das.hex", "--issuer", "das@sp.example", "--holder",
                "//sp.example/cse1/Cphone", "--json"]
        for more, pm in (
                (["--role", "guest@sp.example", "--on", "cb/room/*", "--permit", "retrieve,NOTIFY"],
                 [{"ris": ["cb/room/*"], "rids": ["guest@sp.example"],
                   "pv": {"acr": [{"acor": ["//sp.example/cse1/Cphone"], "acop": 18}]}}]),
                (["--role", "a@x", "--role", "b@x", "--own-names"], [{"rids": ["a@x", "b@x"]}])):
            with self.subTest(" ".join(more)):
                text = json.loads(self.postern(*mint, *more).text)["jwt"]
                body = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
                own = "--own-names" in more
                self.assertEqual(body["tkps"], {"pm": pm})
                self.assertEqual(body["tkhd" if own else "azp"], "//sp.example/cse1/Cphone")
                self.assertRegex(body["tkid" if own else "jti"], r"^[a-z0-9]{12}@sp\.example$")
                self.assertEqual("T" in str(body["tkna" if own else "exp"]), own)
                self.gw.write("m2m.jwt", text)
                shown = self.postern("token", "show", "m2m.jwt").text
                self.assertIn("holder    //sp.example/cse1/Cphone", shown)
                self.assertIn("roles     " + ", ".join(pm[0]["rids"]), shown)
                said = json.loads(self.postern("token", "show", "--json", "m2m.jwt").text)["claims"]
                self.assertEqual(said["permissions"], pm)

    def test_help(self):
        for args in ([], ["check"], ["explain"], ["token", "new"], ["token", "show"],
                     ["key", "new"], ["reload"], ["status"]):
            r = self.postern(*args, "--help")
            self.assertTrue(r.text.startswith("usage: postern"), r.text)
            self.assertEqual(r.err, "")
        self.assertRegex(self.postern("--version").text, r"^postern \d+\.\d+\.\d+\n$")

    # ---- explain ----

    def explain(self, *args, check):
        return json.loads(self.with_config("explain", "-j", *args, check=check).text)

    def test_explain_says_what_the_gateway_does(self):
        """The verdict on paper and the one on the wire."""
        for subject, method, path, code in (("panel", "get", "/lamp/state", "2.05"),
                                            ("visitor", "get", "/lamp/color", "4.03"),
                                            ("visitor", "delete", "/lamp/state", "4.05"),
                                            ("panel", "get", "/door/lock", "2.05"),
                                            ("owl", "get", "/lamp/state", "4.03")):
            with self.subTest("%s %s %s" % (subject, method, path)):
                a = rig.coap(self.gw.coaps(path), method, psk=(subject.encode(), PSK))
                self.assertEqual(a.code, code)
                e = self.explain("-s", subject, method, path, check=0 if code[0] == "2" else 1)
                self.assertEqual(e["verdict"], "permit" if code[0] == "2" else "deny")
                self.assertEqual(e["code"], None if code[0] == "2" else code)
                self.assertEqual(e["device"], path.split("/")[1])

    def test_explain_in_words(self):
        r = self.with_config("explain", "-s", "visitor", "PUT", "/lamp/state")
        self.assertRegex(r.text, r"^permitted: PUT /lamp/state\nby: role guest, policy\.yaml:\d+\n")
        self.assertIn("device: lamp (coap://", r.text)
        r = self.with_config("explain", "-s", "visitor", "GET", "/door/lock", check=1)
        self.assertIn("denied (not-resource)", r.text)
        self.assertIn("answer: 4.03", r.text)

    def test_explain_at_another_time(self):
        e = self.explain("-s", "owl", "--at", "2001-01-01T12:00Z", "GET", "/lamp/state", check=0)
        self.assertEqual(e["reason"], "permitted")
        e = self.explain("-s", "owl", "--at", "2001-01-03T12:00Z", "GET", "/lamp/state", check=1)
        self.assertEqual((e["reason"], e["missing"]), ("condition", "dates"))

    def test_explain_by_scope(self):
        e = self.explain("--scope", "lights_r", "-A", "home-as", "GET", "/lamp/x", check=0)
        self.assertEqual(e["holder"], "lights_r")
        e = self.explain("--scope", "lights_r", "-A", "sign-as", "GET", "/lamp/x", check=1)
        self.assertEqual(e["words_beyond_authority"], 1)
        e = self.explain("--scope", "lights_r", "-A", "home-as", "-a", "door", "GET", "/lamp/x",
                         check=1)
        self.assertEqual(e["reason"], "not-audience")

    def test_explain_by_token(self):
        def ask(check, **change):
            token = mint.cwt(self.encrypt, claims(b"kid1", PSK, **change))
            return self.explain("-t", self.file("t.cwt", token), "GET", "/lamp/state", check=check)
        self.assertEqual(ask(0)["verdict"], "permit")
        for change, reason, code in (({"exp": 1000}, "token-expired", "4.01"),
                                     ({"aud": "toaster"}, "wrong-audience", "4.03"),
                                     ({"iss": "other"}, "wrong-issuer", "4.01"),
                                     ({"scope": "king"}, "unknown-scope", "4.00")):
            with self.subTest(reason):
                e = ask(1, **change)
                self.assertEqual((e["reason"], e["code"]), (reason, code))

    # ---- tokens and keys ----

    def file(self, name, content):
        self.gw.write(name, content)
        return name

    def test_a_token_of_ours_works(self):
        """Key, authority, token, client: nothing but our own command and a
        stock client."""
        self.postern("key", "new", "--kid", "own", "keys/own.keys")
        self.assertEqual(os.stat(self.gw.path("keys/own.keys")).st_mode & 0o777, 0o640)
        r = self.postern("key", "new", "keys/own.keys", check=OUTPUT)
        self.assertIn("keys/own.keys", r.err)
        self.gw.edit("policy.yaml", "roles:\n  guest:", "  - name: own\n    issuer: own\n"
                     "    keys: keys/own.keys\n    may-grant: {roles: [guest]}\nroles:\n  guest:")
        self.addCleanup(lambda: (self.gw.write("policy.yaml", self.policy), self.gw.reload()))
        self.assertRegex(self.with_config("reload").text, r"^reloaded, policy [0-9a-f]{16}\n$")
        token = json.loads(self.with_config("token", "new", "-j", "-A", "own", "-a", "lamp",
                                            "-s", "guest", "-n", "-o", "guest.cwt").text)
        with open(self.gw.path("guest.cwt"), "rb") as f:
            raw = f.read()
        self.assertEqual(raw.hex(), token["token"])
        self.assertEqual(self.gw.post_token(raw).code, "2.01")
        psk = bytes.fromhex(token["psk_identity"]), bytes.fromhex(token["psk"])
        self.ask("/lamp/state", "2.05", psk)
        self.ask("/door/lock", "4.03", psk)
        self.assertNotIn(token["psk"], self.with_config("token", "show", "guest.cwt").text)

    def test_a_slip_in_a_token_is_noted(self):
        """Minted all the same: some tokens are made to be refused."""
        for slip, note in ((["-a", "lamp", "-s", "guest"], None),
                           (["-a", "lump", "-s", "guest"], "4.03 wrong-audience"),
                           (["-a", "lamp", "-s", "guess"], "4.00 unknown-scope"),
                           (["-a", "lamp", "-s", "guest", "-e", "-5m"], "4.01 token-expired"),
                           (["-a", "lamp", "-s", "guest guess"], "1 unknown")):
            with self.subTest(slip):
                run = self.gw.postern("token", "new", "-c", "postern.yaml", "-A", "home-as", "-n",
                                      *slip, check=0)
                self.assertEqual("note:" in run.err, note is not None, run.err)
                self.assertIn(note or "", run.err)

    def test_every_form_of_token(self):
        shown = []
        for form in ("hex", "base64url", "plain.cwt"):
            self.postern("key", "new", "-a", "ES256", "-p", "keys/%s.pub" % form, "keys/%s.k" % form)
            r = self.postern("token", "new", "-k", "keys/%s.k" % form, "--issuer", "x", "-a", "lamp",
                             "-a", "door", "--aif", "/lamp/state=GET,+PUT", "--bearer", "--exp",
                             "2030-01-01", "-o", form)
            name = form if form == "plain.cwt" else self.file("text", r.text)
            out = self.postern("token", "show", name).text
            self.assertTrue(out.startswith("UNVERIFIED: no key was tried"), out)
            shown.append("\n".join(out.splitlines()[2:]))
        self.assertEqual(len(set(shown)), 1)
        self.assertIn("/lamp/state = GET +PUT", shown[0])
        self.assertIn("2030-01-01T00:00:00Z", shown[0])
        for name in ("keys/hex.k", "keys/hex.pub"):
            self.assertEqual(os.stat(self.gw.path(name)).st_mode & 0o777,
                             0o640 if name.endswith("k") else 0o644)

    def test_show_verifies(self):
        token = mint.cwt(self.encrypt, claims(b"kid1", PSK))
        j = json.loads(self.with_config("token", "show", "-j", self.file("t", token)).text)
        self.assertEqual((j["verified"], j["authority"], j["code"]), (True, "home-as", "2.01"))
        self.assertNotIn("cnf_key", j["claims"])
        j = json.loads(self.with_config("token", "show", "-j", "--reveal", "t").text)
        self.assertEqual(j["claims"]["cnf_key"], PSK.hex())
        forged = token[:-1] + bytes([token[-1] ^ 1])
        r = self.with_config("token", "show", self.file("f", forged), check=1)
        self.assertTrue(r.text.startswith("UNVERIFIED: bad-protection"), r.text)

    def test_show_takes_standard_input(self):
        token = mint.cwt(self.encrypt, claims(b"kid1", PSK))
        r = self.with_config("token", "show", "-", stdin=token.hex().encode())
        self.assertTrue(r.text.startswith("verified: authority home-as"), r.text)

    def test_show_refuses_what_is_no_token(self):
        for name, content in (("empty", b""), ("text", b"hello, world"), ("odd", b"d83"),
                              ("large", b"\xd8" * 3000), ("cut", b"\xd8\x3d\xd0\x83\x58")):
            with self.subTest(name):
                r = self.postern("token", "show", self.file(name, content), check=INPUT)
                self.assertIn(name, r.err)

    def test_a_symmetric_key_travels_encrypted_only(self):
        self.postern("key", "new", "-a", "HMAC 256/256", "keys/mac.k")
        r = self.postern("token", "new", "-k", "keys/mac.k", "-a", "lamp", "-s", "guest", "-n",
                         check=INPUT)
        self.assertIn("must be encrypted", r.err)
        self.assertEqual(r.text, "")

    # ---- the daemon ----

    def test_status(self):
        self.ask("/lamp/state", "2.05")
        s = json.loads(self.with_config("status", "-j").text)
        self.assertEqual(s["policy"]["mode"], "enforce")
        self.assertRegex(s["policy"]["hash"], "^[0-9a-f]{16}$")
        self.assertEqual([d["name"] for d in s["devices"]][:2], ["lamp", "door"])
        self.assertFalse(s["devices"][0]["down"])
        self.assertGreaterEqual(s["devices"][0]["answered"], 1)
        self.assertGreaterEqual(s["counters"]["permitted"], 1)
        text = self.with_config("status").text
        self.assertIn("mode enforce", text)
        self.assertRegex(text, r"lamp +up ")

    def test_reload_says_what_is_bad(self):
        self.gw.write("policy.yaml", self.policy + "surprise: yes\n")
        r = self.with_config("reload", check=CONFIG)
        self.assertRegex(r.err, r"policy\.yaml:\d+:1: error: unknown key 'surprise'\n")
        self.assertIn("nothing changed", r.err)
        s = json.loads(self.with_config("status", "-j").text)
        self.assertTrue(s["policy"]["last_reload_failed"])
        self.ask("/lamp/state", "2.05")
        self.gw.write("policy.yaml", self.policy)
        self.with_config("reload")

    def test_no_daemon(self):
        for command in ("status", "reload"):
            r = self.postern(command, "-s", "nowhere.sock", check=AWAY)
            self.assertIn("posternd is not running", r.err)
