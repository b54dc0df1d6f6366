"""Mints CWTs with Debian's cbor2 and cryptography: nothing here shares a line
with the product's own reader and writer. All keys are for tests only."""
import hashlib
import hmac
import os

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# COSE algorithms (PROTOCOL: COSE and CWT)
HMAC = {4: ("sha256", 8), 5: ("sha256", 32), 6: ("sha384", 48), 7: ("sha512", 64)}
CCM = {10: (16, 8, 13), 11: (32, 8, 13), 12: (16, 8, 7), 13: (32, 8, 7),
       30: (16, 16, 13), 31: (32, 16, 13), 32: (16, 16, 7), 33: (32, 16, 7)}
GCM = {1: 16, 2: 24, 3: 32}
ECDSA = {-7: (ec.SECP256R1, hashes.SHA256, 32, 1), -35: (ec.SECP384R1, hashes.SHA384, 48, 2),
         -36: (ec.SECP521R1, hashes.SHA512, 66, 3)}


class SymmetricKey:
    def __init__(self, kid, alg, k=None):
        n = CCM[alg][0] if alg in CCM else GCM.get(alg, 32)
        self.kid, self.alg, self.k = kid, alg, k or os.urandom(n)

    def cose_key(self):
        return {1: 4, 2: self.kid, 3: self.alg, -1: self.k}


class SigningKey:
    def __init__(self, kid, alg=-7):
        curve, self.hash, self.n, self.crv = ECDSA[alg]
        self.kid, self.alg, self.private = kid, alg, ec.generate_private_key(curve())

    def cose_key(self):
        return {2: self.kid, 3: self.alg, **ec_cose_key(self.private.public_key())}

    def pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def ec_cose_key(public):
    """A public key as COSE_Key, as it stands in a cnf claim."""
    numbers = public.public_numbers()
    n = (public.curve.key_size + 7) // 8
    crv = {256: 1, 384: 2, 521: 3}[public.curve.key_size]
    return {1: 2, -1: crv, -2: numbers.x.to_bytes(n, "big"), -3: numbers.y.to_bytes(n, "big")}


def protect(key, payload, cwt=True, canonical=False):
    """COSE_Sign1, COSE_Mac0 or COSE_Encrypt0 by the key's algorithm.
    canonical: nothing stands in the open (RFC 9770 3)."""
    head, open_head = {1: key.alg}, {}
    shown = head if canonical else open_head
    if key.kid is not None:
        shown[4] = key.kid
    if key.alg in CCM or key.alg in GCM:
        nonce = shown[5] = os.urandom(CCM[key.alg][2] if key.alg in CCM else 12)
    head = cbor2.dumps(head)
    if key.alg in HMAC:
        name, n = HMAC[key.alg]
        to_mac = cbor2.dumps(["MAC0", head, b"", payload])
        body = cbor2.CBORTag(17, [head, open_head, payload,
                                  hmac.new(key.k, to_mac, name).digest()[:n]])
    elif key.alg in ECDSA:
        to_sign = cbor2.dumps(["Signature1", head, b"", payload])
        r, s = utils.decode_dss_signature(key.private.sign(to_sign, ec.ECDSA(key.hash())))
        body = cbor2.CBORTag(18, [head, open_head, payload,
                                  r.to_bytes(key.n, "big") + s.to_bytes(key.n, "big")])
    else:
        aad = cbor2.dumps(["Encrypt0", head, b""])
        if key.alg in CCM:
            cipher = AESCCM(key.k, tag_length=CCM[key.alg][1]).encrypt(nonce, payload, aad)
        else:
            cipher = AESGCM(key.k).encrypt(nonce, payload, aad)
        body = cbor2.CBORTag(16, [head, open_head, cipher])
    return cbor2.dumps(cbor2.CBORTag(61, body) if cwt else body)


def cwt(key, claims, without_nul=False, canonical=False):
    """A token. without_nul: for identities that go through C strings."""
    payload = cbor2.dumps(claims)
    while True:
        token = protect(key, payload, canonical=canonical)
        if not without_nul or b"\0" not in token:
            return token


def key_set(*keys):
    return cbor2.dumps([k.cose_key() for k in keys])


def kid_identity(kid):
    """RFC 9202 3.3.2: {8: {1: {1: 4, 2: kid}}}."""
    return cbor2.dumps({8: {1: {1: 4, 2: kid}}})


def random_text(n):
    """n bytes without NUL: what a stock client can take on its command line."""
    return bytes(1 + b % 255 for b in os.urandom(n))


def derived_key(derivation_key, token, n=16):
    """RFC 9202 3.3.1."""
    info = cbor2.dumps(["ACE-CoAP-DTLS-key-derivation", n, token])
    return HKDF(algorithm=hashes.SHA256(), length=n, salt=None, info=info).derive(derivation_key)


def token_hash(token):
    return hashlib.sha256(token).hexdigest()
