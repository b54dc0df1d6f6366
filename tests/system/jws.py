"""JWTs and JWKs for the tests, by Debian's python3-jwt and cryptography."""
import base64
import hashlib
import json
import os

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


def jwk(public, **more):
    """A public key as JWK."""
    n = public.public_numbers()
    if isinstance(public, rsa.RSAPublicKey):
        return {"kty": "RSA", "n": number(n.n), "e": number(n.e), **more}
    size = (public.curve.key_size + 7) // 8
    return {"kty": "EC", "crv": "P-%d" % public.curve.key_size, "x": number(n.x, size),
            "y": number(n.y, size), **more}


def thumbprint(public):
    """RFC 7638."""
    key = jwk(public)
    names = ("e", "kty", "n") if key["kty"] == "RSA" else ("crv", "kty", "x", "y")
    text = json.dumps({k: key[k] for k in names}, separators=(",", ":"), sort_keys=True)
    return b64(hashlib.sha256(text.encode()).digest())


class SigningKey:
    """For one algorithm, with a fresh kid."""

    def __init__(self, alg="ES256"):
        curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
        self.alg, self.kid = alg, b64(os.urandom(6))
        self.private = ec.generate_private_key(curves[alg]()) if alg in curves else \
            rsa.generate_private_key(65537, 2048)

    def jwk(self):
        return jwk(self.private.public_key(), kid=self.kid, alg=self.alg, use="sig")

    def sign(self, claims, typ="at+jwt", **header):
        return jwt.encode(claims, self.private, self.alg,
                          {"kid": self.kid, "typ": typ, **header}).encode()

    def pem(self):
        return self.private.private_bytes(serialization.Encoding.PEM,
                                          serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption())


def symmetric_cnf(kid, key):
    """A cnf with a key that is known to both; kid as text."""
    return {"jwk": {"kty": "oct", "kid": kid.decode(), "k": b64(key)}}
