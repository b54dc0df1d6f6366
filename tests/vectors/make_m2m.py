#!/usr/bin/python3
"""Writes m2m_tokens.jose: tokens of oneM2M in each class, by several
algorithms and both sets of claim names, protected by an implementation that
shares nothing with ours (python3-jwcrypto). Test keys only, made anew with
each run; signatures and content keys are random."""

import json
import os

from jwcrypto import jwe, jwk, jws

ISSUER = "//house.example/in-cse/das"
HOLDER = "//house.example/mn-cse/Cphone"
AUDIENCE = ["//house.example/mn-cse"]
PERMISSIONS = {"pm": [
    {"rids": ["guest@house.example"]},
    {"ris": ["//house.example/mn-cse/room/door"],
     "pv": {"acr": [{"acor": [HOLDER], "acop": 2, "acaf": True,
                     "acco": [{"actw": ["* * * * * * *"]}]}]}}]}
WRAPS = [(None, "A128GCM"), (None, "A256GCM"), (None, "A128CBC-HS256"), ("A128KW", "A128GCM"),
         ("A256KW", "A256GCM"), ("ECDH-ES", "A128GCM"), ("ECDH-ES+A128KW", "A256GCM"),
         ("ECDH-ES+A256KW", "A128CBC-HS256"), ("RSA-OAEP-256", "A256GCM")]
SIGNS = ["ES256", "ES384", "ES512", "PS256", "RS256", "EdDSA", "HS256", "HS384", "HS512"]


def claims(name, own):
    ident = name.replace(" ", "-").replace("+", "-") + "@house.example"
    if own:
        return {"vr": "1.0", "tkid": ident, "tkis": ISSUER, "tkhd": HOLDER,
                "tknb": "20260101T000000", "tkna": "20991231T235959,999", "tkau": AUDIENCE,
                "tknm": "a name \u2603", "tkps": PERMISSIONS, "tkex": "more"}
    return {"tkvr": "1.0", "jti": ident, "iss": ISSUER, "azp": HOLDER, "nbf": 1767225600,
            "exp": 4102444799.5, "aud": AUDIENCE, "tknm": "a name \u2603", "tkps": PERMISSIONS,
            "tkex": "more"}


def sign_key(alg):
    kinds = {"ES256": {"kty": "EC", "crv": "P-256"}, "ES384": {"kty": "EC", "crv": "P-384"},
             "ES512": {"kty": "EC", "crv": "P-521"}, "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
             "PS256": {"kty": "RSA", "size": 2048}, "RS256": {"kty": "RSA", "size": 2048}}
    if alg.startswith("HS"):
        return jwk.JWK.generate(kty="oct", size=int(alg[2:]), kid=alg, alg=alg)
    return jwk.JWK.generate(**kinds[alg], kid=alg, use="sig", alg=alg)


def seal_key(wrap, enc):
    kid = (wrap or "dir") + "/" + enc
    if wrap is None:
        return jwk.JWK.generate(kty="oct", size={"A128GCM": 128}.get(enc, 256), kid=kid, alg=enc)
    if wrap.startswith("A"):
        return jwk.JWK.generate(kty="oct", size=int(wrap[1:4]), kid=kid, alg=wrap)
    if wrap.startswith("RSA"):
        return jwk.JWK.generate(kty="RSA", size=2048, kid=kid, use="enc", alg=wrap)
    return jwk.JWK.generate(kty="EC", crv="P-256", kid=kid, use="enc", alg=wrap)


def sign(content, key, alg):
    t = jws.JWS(content)
    t.add_signature(key, None, json.dumps({"alg": alg, "typ": "JWT", "kid": key["kid"]}))
    return t.serialize(compact=True)


def seal(content, key, wrap, enc, nested):
    head = {"alg": wrap or "dir", "enc": enc, "typ": "JWT", "kid": key["kid"]}
    if nested:
        head["cty"] = "JWT"
    t = jwe.JWE(content.encode(), json.dumps(head))
    t.add_recipient(key)
    return t.serialize(compact=True)


def told(key):
    """As the gateway has it: what it must open it opens, nothing it can sign."""
    secret = key["kty"] == "oct" or key.get("use") == "enc"
    return json.loads(key.export(private_key=secret) if key["kty"] != "oct" else key.export())


def main():
    signers = {a: sign_key(a) for a in SIGNS}
    sealers = {w: seal_key(*w) for w in WRAPS}
    lines = ["# Tokens of oneM2M by python3-jwcrypto; made by make_m2m.py. Test keys only.",
             "keys " + json.dumps({"keys": [told(k) for k in [*signers.values(),
                                                              *sealers.values()]]},
                                  separators=(",", ":"))]
    n = 0

    def put(name, token):
        nonlocal n
        lines.append("token%d %s" % (n, token))
        lines.append("name%d %s" % (n, name.replace(" ", "-")))
        n += 1

    for i, alg in enumerate(SIGNS):
        name = "jws " + alg
        text = json.dumps(claims(name, i % 2), ensure_ascii=bool(i % 3))
        put(name, sign(text, signers[alg], alg))
    for i, (wrap, enc) in enumerate(WRAPS):
        name = "%s %s" % (wrap or "dir", enc)
        if wrap is None or wrap.startswith("A"):
            put("jwe " + name, seal(json.dumps(claims("jwe " + name, i % 2)),
                                    sealers[wrap, enc], wrap, enc, False))
        inner = sign(json.dumps(claims("nested " + name, i % 2)), signers["ES256"], "ES256")
        put("nested " + name, seal(inner, sealers[wrap, enc], wrap, enc, True))
    lines.append("count %d" % n)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "m2m_tokens.jose"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
