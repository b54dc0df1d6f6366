"""Role and access tokens in front of CSEs of each kind: issued by other
people's code, posted by a stock client, carried in both numberings, named by
their IDs, narrowed, revoked; and what nobody gets through with."""
import json
import os
import time

import jws
import rig
from ae import Ae
from house import Stage
from jwcrypto import jwe
from jwcrypto.jwk import JWK
from onem2m import CNT
from test_m2m import CSES, PSK, CseProcess

POLICY = """\
version: 1
mode: enforce
authorities:
  - name: das
    dialect: onem2m
    issuer: //sp.example/in-cse/das
    keys: keys/das.jwks
    classes: [jws, nested]
    may-grant:
      roles: [guest]
      resources:
%(rooms)s
  - name: gym
    dialect: onem2m
    issuer: gym@sp.example
    keys: keys/gym.jwks
    classes: jws
    algorithms: PS256
    may-grant: {roles: [guest]}
roles:
  guest:
    role-id: guest@sp.example
    permit:
%(lobbies)s
  owner:
    role-id: owner@sp.example
    permit: [{path: /current/cb/**, operations: [CREATE, RETRIEVE, UPDATE, DELETE]}]
  nobody: {}
subjects:
  - {name: phone, psk-identity: phone, key-file: keys/app.psk, originator: Cphone, roles: [nobody]}
  - {name: other, psk-identity: other, key-file: keys/app.psk, originator: Cother, roles: [nobody]}
forbid:
  - {path: /current/cb/room/safe, operations: [RETRIEVE]}
"""
LOBBY = "      - {path: /%s/cb/lobby/**, operations: [RETRIEVE]}"
ROOM = "        - {path: /%s/cb/room/**, operations: [RETRIEVE, UPDATE]}"
HOLDER = "//sp.example/cse1/Cphone"


class Tokens(Stage):
    extra = ""

    @classmethod
    def build(cls):
        cls.key, cls.gym = jws.SigningKey(), jws.SigningKey("PS256")
        cls.seal = JWK.generate(kty="EC", crv="P-256", use="enc", kid="seal")
        cls.cse = {kind: cls.start(CseProcess(kind)) for kind in CSES}
        devices = []
        for kind, c in cls.cse.items():
            d = {"name": kind, "path": "/" + kind, "url": c.url, "dialect": "onem2m",
                 "cse-id": "/cse1", "sp-id": "//sp.example", "cse-base": "cb", "window": 8}
            if kind != "http":
                d["onem2m-options"] = kind
            devices.append(d)
        cls.gw = cls.start(rig.Gateway(
            POLICY % {"rooms": "\n".join(ROOM % k for k in CSES),
                      "lobbies": "\n".join(LOBBY % k for k in CSES)}, devices,
            secrets={"keys/app.psk": PSK.hex() + "\n",
                     "keys/das.jwks": json.dumps({"keys": [
                         cls.key.jwk(), json.loads(cls.seal.export(private_key=True))]}),
                     "keys/gym.jwks": json.dumps({"keys": [cls.gym.jwk()]})},
            extra=cls.extra))

    def setUp(self):
        self.marks = {kind: c.mark() for kind, c in self.cse.items()}
        self.phone = self.ae()

    def ae(self, identity="phone", originator="Cphone", numbering="current", prefix="/current"):
        a = Ae(self.gw, (identity.encode(), PSK), numbering, originator, prefix)
        self.addCleanup(a.close)
        return a

    # ---- tokens ----

    def claims(self, **change):
        now = int(time.time())
        return {"tkvr": "1.0", "jti": "t%d@sp.example" % time.monotonic_ns(),
                "iss": "//sp.example/in-cse/das", "azp": HOLDER, "nbf": now - 60,
                "exp": now + 600, "aud": ["//sp.example/cse*"],
                "tkps": {"pm": [{"rids": ["guest@sp.example"]}]}, **change}

    def token(self, key=None, typ="JWT", **change):
        return (key or self.key).sign(self.claims(**change), typ=typ).decode()

    def nested(self, **change):
        t = jwe.JWE(self.token(**change).encode(), json.dumps(
            {"alg": "ECDH-ES+A128KW", "enc": "A128GCM", "typ": "JWT", "cty": "JWT",
             "kid": "seal"}))
        t.add_recipient(self.seal)
        return t.serialize(compact=True)

    @staticmethod
    def rules(acop, *ris):
        return {"pm": [{"pv": {"acr": [{"acor": [HOLDER], "acop": acop}]},
                        "ris": list(ris or ("cb/*", "cb/*/*"))}]}

    @staticmethod
    def tkns(*tokens, size=240):
        text = "+".join(tokens)
        return ["tkns=" + text[i:i + size] for i in range(0, len(text), size)]

    # ---- what came of it ----

    def passed(self, answer):
        """The CSE has no such resource, and says so itself."""
        self.assertEqual((answer.code, answer.rsc), ("4.04", 4004),
                         "%s\n%s" % (answer, self.gw.proc.output()))
        return answer

    def denied(self, answer, rsc=4103):
        self.assertEqual((answer.code, answer.rsc, answer.payload), ("4.03", rsc, b""), str(answer))

    def reached(self, kind="current"):
        return self.cse[kind].requests(self.marks[kind])

    # ---- the tests ----

    def test_each_pair(self):
        """Over several options, in the client's numbering; the CSE sees
        nothing of it; by its local ID afterwards."""
        for client in ("current", "legacy"):
            for kind in CSES:
                with self.subTest("%s to %s" % (client, kind)):
                    a = self.ae(numbering=client, prefix="/" + kind)
                    self.denied(a.retrieve("cb/lobby/tv"))
                    for size in (240, 100, 251):
                        got = self.passed(a.retrieve("cb/lobby/tv",
                                                     query=self.tkns(self.token(), size=size)))
                    ati = got.message.m2m["ati"]
                    self.assertRegex(ati, r"^t\d+:t\d+@sp\.example$")
                    self.passed(a.retrieve("cb/lobby/radio",
                                           query=["ltids=" + ati.split(":")[0]]))
                    self.denied(a.retrieve("cb/lobby/radio", query=["ltids=t1"]))
                    self.passed(a.retrieve("cb/lobby/lamp", query=["tids=" + ati.split(":")[1]]))
                    for r in self.reached(kind):
                        self.assertNotRegex(json.dumps(r), "tkns|tids")
                    self.marks[kind] = self.cse[kind].mark()

    def test_posted(self):
        """By anybody, with a stock client: it is its holder's."""
        for token in (self.token(tkps=self.rules(2, "cb/room/door")),
                      self.nested(tkps=self.rules(4, "//sp.example/cse1/cb/room/*"))):
            self.assertEqual(self.gw.post_token(token.encode(), fmt=42).code, "2.01")
        self.passed(self.phone.retrieve("cb/room/door"))
        self.passed(self.phone.update("cb/room/door", CNT, {"lbl": ["x"]}))
        self.denied(self.phone.retrieve("cb/room/bath"))
        self.denied(self.phone.delete("cb/room/door"))
        other = self.ae("other", "Cother")
        self.denied(other.retrieve("cb/room/door"))
        self.denied(other.retrieve("cb/room/door", fr="Cphone"), 4106)
        record = self.gw.audit(lambda r: r.get("operation") == "UPDATE")
        self.assertEqual((record["holder"], record["authority"], record["permission"]),
                         (HOLDER, "das", 0))

    def test_own_names(self):
        at = time.strftime("%Y%m%dT%H%M%S", time.gmtime(time.time() + 600))
        c = self.claims()
        own = {"vr": "1.0", "tkid": c["jti"], "tkis": c["iss"], "tkhd": c["azp"], "tkna": at,
               "tkau": c["aud"], "tkps": c["tkps"]}
        token = self.key.sign(own, typ="JWT").decode()
        self.passed(self.phone.retrieve("cb/lobby/1", query=self.tkns(token)))

    def test_refused(self):
        now = int(time.time())
        rows = {"of another holder": self.token(azp="//sp.example/cse1/Cother"),
                "of another issuer": self.token(iss="gym@sp.example"),
                "of another key": self.token(jws.SigningKey()),
                "by an algorithm that its authority has not": self.key.sign(
                    self.claims(iss="gym@sp.example"), typ="JWT").decode(),
                "over": self.token(exp=now - 1),
                "to come": self.token(nbf=now + 600),
                "for another CSE": self.token(aud=["//sp.example/gym-cse"]),
                "of a role beyond its authority": self.token(
                    tkps={"pm": [{"rids": ["owner@sp.example"]}]}),
                "of another kind": self.token(typ="logout+jwt"),
                "cut": self.token()[:-2],
                "no token": "a.b.c", "no text": "\u00e9"}
        good = self.token()
        for name, token in rows.items():
            for beside in ([], [good]):
                with self.subTest("%s, beside %d good" % (name, len(beside))):
                    a = self.phone.retrieve("cb/lobby/tv", query=self.tkns(*beside, token))
                    if name == "of a role beyond its authority" and beside:
                        self.passed(a)
                    else:
                        self.assertIn((a.code, a.rsc), (("4.03", 4103), ("4.00", 4000)), str(a))
        beyond = self.token(tkps=self.rules(63))
        self.denied(self.phone.retrieve("cb/elsewhere", query=self.tkns(beyond)))
        self.denied(self.phone.delete("cb/room/door", query=self.tkns(beyond)))
        self.denied(self.phone.retrieve("cb/room/safe", query=self.tkns(beyond)))
        self.assertEqual({r["to"] for r in self.reached()} - {"cb/lobby/tv"}, set())

    def test_two_authorities(self):
        tokens = [self.token(tkps=self.rules(2)), self.token(self.gym, iss="gym@sp.example")]
        self.passed(self.phone.retrieve("cb/room/1", query=self.tkns(*tokens)))
        self.passed(self.phone.retrieve("cb/lobby/1", query=self.tkns(*tokens)))
        self.passed(self.phone.retrieve("cb/lobby/1",
                                        query=["rids=guest@sp.example"] + self.tkns(*tokens)))
        self.denied(self.phone.retrieve("cb/lobby/1",
                                        query=["rids=owner@sp.example"] + self.tkns(*tokens)))

    def test_revoked(self):
        name = "gone-%d@sp.example" % time.monotonic_ns()
        token = self.token(jti=name)
        self.assertEqual(self.gw.post_token(token.encode(), fmt=42).code, "2.01")
        self.passed(self.phone.retrieve("cb/lobby/tv"))
        local = self.passed(self.phone.retrieve("cb/lobby/tv", query=self.tkns(token)))
        self.gw.postern("revoke", "-c", "postern.yaml", "--jti", name, check=0)
        self.denied(self.phone.retrieve("cb/lobby/tv"))
        self.denied(self.phone.retrieve("cb/lobby/tv", query=self.tkns(token)))
        self.denied(self.phone.retrieve("cb/lobby/tv", query=[
            "ltids=" + local.message.m2m["ati"].split(":")[0]]))

    def test_minted_by_ours(self):
        """postern's own, with a key that only it has."""
        with open(os.path.join(self.gw.dir, "mint.pem"), "wb") as f:
            f.write(self.key.pem())
        os.chmod(os.path.join(self.gw.dir, "mint.pem"), 0o600)
        r = self.gw.postern("token", "new", "-c", "postern.yaml", "-A", "das", "-k", "mint.pem",
                            "--holder", HOLDER, "--role", "guest", "--json", check=0)
        token = json.loads(r.text)["jwt"]
        self.passed(self.phone.retrieve("cb/lobby/mint", query=self.tkns(token)))


class Workers(Tokens):
    """The same, and what one worker was told the others know."""
    extra = "workers: 3\n"

    def test_everywhere(self):
        got = self.passed(self.phone.retrieve("cb/lobby/tv", query=self.tkns(self.token())))
        local = ["ltids=" + got.message.m2m["ati"].split(":")[0]]
        self.assertEqual(self.gw.post_token(self.token(tkps=self.rules(2, "cb/room/tv")).encode(),
                                            fmt=42).code, "2.01")
        for _ in range(12):
            a = self.ae()
            self.passed(a.retrieve("cb/lobby/tv", query=local))
            self.passed(a.retrieve("cb/room/tv"))
            a.close()
