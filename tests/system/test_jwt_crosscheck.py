"""JSON Web Tokens against other people's code: what python3-jwt signs and
python3-jwcrypto encrypts, we read; what we mint, they and openssl read."""
import base64
import json
import os
import subprocess
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwcrypto import jwe
from jwcrypto.jwk import JWK

from asked import MAY_GRANT
from house import POLICY, House

SIGNED = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
          "EdDSA", "HS256", "HS384", "HS512")
WRAPPED = {"A128KW": 16, "A192KW": 24, "A256KW": 32, "RSA-OAEP-256": rsa, "ECDH-ES": ec.SECP256R1,
           "ECDH-ES+A128KW": ec.SECP384R1, "ECDH-ES+A256KW": ec.SECP521R1}
PUBLIC = [a for a, size in WRAPPED.items() if not isinstance(size, int)]
CONTENT = {"A128GCM": 16, "A192GCM": 24, "A256GCM": 32, "A128CBC-HS256": 32}
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def as_jwk(key, **more):
    """With the private half. (python3-jwt leaves leading zeros of coordinates
    out, against RFC 7518 6.2.1.2.)"""
    if isinstance(key, bytes):
        return {"kty": "oct", "k": b64(key), **more}
    told = JWK.from_pyca(key).export(as_dict=True)
    told.pop("kid", None)
    return {**told, **more}


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


class Cross(House):
    @classmethod
    def setUpClass(cls):
        own = rsa.generate_private_key(65537, 2048)
        cls.keys = {}
        for alg in SIGNED:
            if alg in CURVES:
                cls.keys[alg] = ec.generate_private_key(CURVES[alg]())
            elif alg[0] in "RP":
                cls.keys[alg] = own
            elif alg == "EdDSA":
                cls.keys[alg] = ed25519.Ed25519PrivateKey.generate()
            else:
                cls.keys[alg] = os.urandom(int(alg[2:]) // 8)
        for alg, size in WRAPPED.items():
            cls.keys[alg] = os.urandom(size) if isinstance(size, int) else \
                rsa.generate_private_key(65537, 3072) if size is rsa else \
                ec.generate_private_key(size())
        for enc, size in CONTENT.items():
            cls.keys[enc] = os.urandom(size)
        cls.policy = POLICY.replace("authorities:\n", (
            "authorities:\n  - name: cross-as\n    issuer: https://cross\n    dialect: oauth\n"
            "    keys: keys/cross.jwks\n    bearer: allow\n" + MAY_GRANT))
        super().setUpClass()

    @classmethod
    def secrets(cls):
        files = super().secrets()
        files["keys/cross.jwks"] = json.dumps(
            {"keys": [as_jwk(key, kid=alg, alg=alg) for alg, key in cls.keys.items()]})
        return files

    def claims(self):
        return {"iss": "https://cross", "sub": "müller", "aud": ["lamp", "else"],
                "exp": int(time.time()) + 600, "scope": "guest", "jti": b64(os.urandom(6))}

    def signed(self, alg, claims):
        return jwt.encode(claims, self.keys[alg], algorithm=alg, headers={"kid": alg})

    def sealed(self, content, alg, enc, kid, cty=None):
        header = {"alg": alg, "enc": enc, "kid": kid, **({"cty": cty} if cty else {})}
        key = self.keys[kid]
        key = JWK(**as_jwk(key)) if isinstance(key, bytes) else JWK.from_pyca(key.public_key())
        made = jwe.JWE(content.encode(), json.dumps(header))
        made.add_recipient(key)
        return made.serialize(compact=True)

    def show(self, token, check=0):
        return self.gw.postern("token", "show", "-c", "postern.yaml", "--json", "-",
                               stdin=token.encode(), check=check)

    def reads(self, token, claims):
        told = json.loads(self.show(token).text)
        self.assertTrue(told["verified"])
        self.assertEqual(told["authority"], "cross-as")
        for name in ("iss", "sub", "aud", "scope", "exp"):
            self.assertEqual(told["claims"][name], claims[name])
        self.assertEqual(bytes.fromhex(told["claims"]["cti"]).decode(), claims["jti"])

    def test_signed_by_others(self):
        for alg in SIGNED:
            with self.subTest(alg):
                claims = self.claims()
                token = self.signed(alg, claims)
                self.reads(token, claims)
                head, body, proof = token.split(".")
                other = json.dumps({**claims, "scope": "resident"}).encode()
                self.show(".".join((head, b64(other), proof)), check=1)
                self.show(".".join((head, body, proof[:-8] + "AAAAAAAA")), check=1)

    def test_encrypted_by_others(self):
        for alg, kid in [(a, a) for a in WRAPPED] + [("dir", e) for e in CONTENT]:
            for enc in CONTENT if alg != "dir" else (kid,):
                with self.subTest(alg=alg, enc=enc):
                    claims = self.claims()
                    inner = self.signed("ES256", claims)
                    self.reads(self.sealed(inner, alg, enc, kid, "JWT"), claims)
                    bare = self.sealed(json.dumps(claims), alg, enc, kid)
                    if alg in PUBLIC:  # anybody has that key
                        self.show(bare, check=1)
                    else:
                        self.reads(bare, claims)

    def test_confused(self):
        """The public key as a secret, and other classics."""
        claims = self.claims()
        public = self.keys["RS256"].public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        for secret in (public, public.strip()):
            head = b64(json.dumps({"alg": "HS256", "kid": "RS256"}).encode())
            body = b64(json.dumps(claims).encode())
            mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
            proof = b64(mac.sign((head + "." + body).encode(), secret))
            self.show(".".join((head, body, proof)), check=1)
        self.show(jwt.encode(claims, None, algorithm="none") + "AAAA", check=65)
        self.show(jwt.encode(claims, self.keys["RS256"], algorithm="PS256",
                             headers={"kid": "RS256"}), check=1)

    def mint(self, key, *args):
        self.gw.write("mint.key", key)
        os.chmod(self.gw.path("mint.key"), 0o600)
        try:
            r = self.gw.postern("token", "new", "--jwt", "-k", "mint.key", "--issuer",
                                "https://cross", "-a", "lamp", "-s", "guest", "--sub", "bob", *args,
                                check=0)
        finally:
            os.unlink(self.gw.path("mint.key"))
        return r.text.strip()

    def test_minted_by_us(self):
        for alg in SIGNED:
            with self.subTest(alg):
                key = self.keys[alg]
                token = self.mint(json.dumps(as_jwk(key, kid=alg, alg=alg)), "--bearer")
                public = key if isinstance(key, bytes) else key.public_key()
                told = jwt.decode(token, public, algorithms=[alg], audience="lamp",
                                  issuer="https://cross")
                self.assertEqual((told["sub"], told["scope"]), ("bob", "guest"))
                header = jwt.get_unverified_header(token)
                self.assertEqual((header["kid"], header["typ"]), (alg, "at+jwt"))

    def test_sealed_by_us(self):
        for kid in ("A128KW", "A192KW", "A256KW", "A128GCM", "A192GCM", "A256GCM",
                    "A128CBC-HS256"):
            with self.subTest(kid):
                token = self.mint(json.dumps(as_jwk(self.keys[kid], kid=kid, alg=kid)), "--cnf-new")
                made = jwe.JWE()
                made.deserialize(token, JWK(**as_jwk(self.keys[kid])))
                told = json.loads(made.payload)
                self.assertEqual(told["sub"], "bob")
                self.assertEqual(told["cnf"]["jwk"]["kty"], "oct")
                self.assertEqual(len(unb64(told["cnf"]["jwk"]["k"])), 32)

    def test_sealed_by_us_for_others(self):
        """Signed by one key of the file, then sealed to the other's public half."""
        for alg in PUBLIC:
            with self.subTest(alg):
                public = JWK.from_pyca(self.keys[alg].public_key()).export(as_dict=True)
                keys = [as_jwk(self.keys["ES256"], kid="ES256", alg="ES256"),
                        {**public, "kid": alg, "alg": alg}]
                token = self.mint(json.dumps({"keys": keys}), "--cnf-new")
                made = jwe.JWE()
                made.deserialize(token, JWK.from_pyca(self.keys[alg]))
                told = jwt.decode(made.payload.decode(), self.keys["ES256"].public_key(),
                                  algorithms=["ES256"], audience="lamp")
                self.assertEqual(len(unb64(told["cnf"]["jwk"]["k"])), 32)

    def test_openssl(self):
        """RSA signatures are as they come; their keys in PEM."""
        key = rsa.generate_private_key(65537, 2048)
        public = self.gw.path("mint.pub")
        self.gw.write("mint.pub", key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        for alg, options in (("RS256", ()), ("PS256", ("-sigopt", "rsa_padding_mode:pss",
                                                       "-sigopt", "rsa_pss_saltlen:digest"))):
            with self.subTest(alg):
                token = self.mint(pem(key), "--bearer", "--alg", alg)
                text, proof = token.rsplit(".", 1)
                self.gw.write("proof", unb64(proof))
                said = subprocess.run(["openssl", "dgst", "-sha256", "-verify", public, *options,
                                       "-signature", self.gw.path("proof")], input=text.encode(),
                                      stdout=subprocess.PIPE, check=True).stdout
                self.assertEqual(said, b"Verified OK\n")
