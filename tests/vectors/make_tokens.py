#!/usr/bin/python3
"""Writes tokens.hex: one token for every algorithm, protected by an
implementation that shares nothing with ours (python3-cbor2,
python3-cryptography). The keys are those of test_key(0, alg) in
support_token.c. With --verify it reads "alg hex" lines from stdin, tokens that
ours minted, and checks them the same way."""

import hmac
import sys

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

SIGN = {-7: (ec.SECP256R1(), hashes.SHA256(), 32), -35: (ec.SECP384R1(), hashes.SHA384(), 48),
        -36: (ec.SECP521R1(), hashes.SHA512(), 66)}
MAC = {4: ("sha256", 8, 32), 5: ("sha256", 32, 32), 6: ("sha384", 48, 48), 7: ("sha512", 64, 64)}
GCM = {1: 16, 2: 24, 3: 32}
CCM = {10: (16, 13, 8), 11: (32, 13, 8), 12: (16, 7, 8), 13: (32, 7, 8),
       30: (16, 13, 16), 31: (32, 13, 16), 32: (16, 7, 16), 33: (32, 7, 16)}
CLAIMS = {1: "as", 3: "gw", 4: 2000000000, 8: {3: b"kid"}, 9: "r w"}


def secret(alg, n):
    return bytes([0, alg & 0xff]) + bytes([0x10]) * (n - 2)


def signer(alg):
    curve, md, n = SIGN[alg]
    return ec.derive_private_key(int.from_bytes(secret(alg, n), "big"), curve), md, n


def aead(alg):
    if alg in GCM:
        return AESGCM(secret(alg, GCM[alg])), 12
    key_n, iv_n, tag_n = CCM[alg]
    return AESCCM(secret(alg, key_n), tag_length=tag_n), iv_n


def protect(alg, content):
    kid = b"0:%d" % alg
    guarded = cbor2.dumps({1: alg})
    if alg in SIGN:
        key, md, n = signer(alg)
        tbs = cbor2.dumps(["Signature1", guarded, b"", content])
        r, s = utils.decode_dss_signature(key.sign(tbs, ec.ECDSA(md)))
        proof = r.to_bytes(n, "big") + s.to_bytes(n, "big")
        return cbor2.CBORTag(18, [guarded, {4: kid}, content, proof])
    if alg in MAC:
        name, cut, n = MAC[alg]
        tbm = cbor2.dumps(["MAC0", guarded, b"", content])
        tag = hmac.new(secret(alg, n), tbm, name).digest()[:cut]
        return cbor2.CBORTag(17, [guarded, {4: kid}, content, tag])
    cipher, iv_n = aead(alg)
    iv = bytes(range(iv_n))
    sealed = cipher.encrypt(iv, content, cbor2.dumps(["Encrypt0", guarded, b""]))
    return cbor2.CBORTag(16, [guarded, {4: kid, 5: iv}, sealed])


def verify(token):
    """The claims of a token of ours; raises if anything is wrong."""
    if token.tag == 61:
        token = token.value
    guarded = token.value[0]
    head = cbor2.loads(guarded)
    alg = head[1]
    if token.tag == 18:
        _, _, content, proof = token.value
        key, md, n = signer(alg)
        der = utils.encode_dss_signature(int.from_bytes(proof[:n], "big"),
                                         int.from_bytes(proof[n:], "big"))
        key.public_key().verify(der, cbor2.dumps(["Signature1", guarded, b"", content]),
                                ec.ECDSA(md))
    elif token.tag == 17:
        _, _, content, proof = token.value
        name, cut, n = MAC[alg]
        tbm = cbor2.dumps(["MAC0", guarded, b"", content])
        assert hmac.new(secret(alg, n), tbm, name).digest()[:cut] == proof
    else:
        _, _, sealed = token.value
        content = aead(alg)[0].decrypt(head[5], sealed, cbor2.dumps(["Encrypt0", guarded, b""]))
    content = cbor2.loads(content)
    return verify(content) if isinstance(content, cbor2.CBORTag) else content


def main():
    if sys.argv[1:] == ["--verify"]:
        n = 0
        for line in sys.stdin:
            assert verify(cbor2.loads(bytes.fromhex(line.split()[-1]))) == CLAIMS, line
            n += 1
        # Every algorithm alone, those that sign or MAC encrypted as well.
        assert n == 2 * (len(SIGN) + len(MAC)) + len(GCM) + len(CCM), n
        print(f"{n} tokens verified")
        return
    claims = cbor2.dumps(CLAIMS)
    print("# One token for every algorithm, made by make_tokens.py beside this file: an")
    print("# implementation of its own. Test keys, from test_key(0, alg).")
    for alg in [*SIGN, *MAC, *GCM, *CCM]:
        print(f"alg{alg} {cbor2.dumps(cbor2.CBORTag(61, protect(alg, claims))).hex()}")
    nested = cbor2.dumps(protect(-7, claims))
    print(f"nested {cbor2.dumps(protect(10, nested)).hex()}")


main()
