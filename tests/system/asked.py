"""A house whose gateway asks an authorization server about tokens that it
cannot read."""
import os
import re
import shutil
import tempfile
import time

import authority
import mint
from house import POLICY, Client, House, certificate

MAY_GRANT = """\
    may-grant:
      roles: [guest, resident]
      scopes: [lights_r, lights_w]
      resources: [{path: /lamp/**, methods: [GET, PUT]}]
"""


class Asked(House):
    """`server` is what is asked; the policy names it ask-as."""
    dialect = "rfc9200"
    line = "psk"     # how the gateway proves itself: psk, certificate
    introspect = ""  # more of `introspect`
    lines = ""       # more lines of the authority

    @classmethod
    def setUpClass(cls):
        cls.tls = tempfile.mkdtemp(prefix="postern-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.tls, ignore_errors=True)
        cls.ca = certificate(cls.tls, "as-ca", "test-ca", ca=True)
        certificate(cls.tls, "as", "127.0.0.1", issuer=cls.ca)
        certificate(cls.tls, "gw", "gateway.test", issuer=cls.ca)
        cls.server = cls.serve()
        cls.addClassCleanup(cls.server.stop)
        cls.policy = POLICY.replace("authorities:\n", "authorities:\n" + cls.describe())
        super().setUpClass()

    @classmethod
    def files(cls, *names):
        return [os.path.join(cls.tls, n) for n in names]

    @classmethod
    def serve(cls):
        psk = (b"gateway", authority.PSK) if cls.line == "psk" else None
        pki = cls.files("as.crt", "as.key", "as-ca.crt") if cls.line == "certificate" else None
        return authority.CoapAuthority(cls.dialect, psk=psk, pki=pki)

    @classmethod
    def credentials(cls):
        return {"psk": "psk: {identity: gateway, key-file: keys/ask-as.psk}",
                "certificate": "certificate: tls/gw.crt, key: tls/gw.key, ca: tls/as-ca.crt",
                }[cls.line]

    @classmethod
    def describe(cls):
        return ("  - name: ask-as\n"
                "    issuer: coaps://as.ask\n"
                "    dialect: %s\n"
                "    introspect: {url: \"%s/introspect\", %s%s}\n%s%s" % (
                    cls.dialect, cls.server.url, cls.credentials(),
                    ", " + cls.introspect if cls.introspect else "", cls.lines, MAY_GRANT))

    @classmethod
    def devices(cls):
        """A reference is shown to the authority of the device only."""
        lamp, *others = super().devices()
        return [{**lamp, "authority": "ask-as"}, *others]

    @classmethod
    def secrets(cls):
        files = super().secrets()
        files["keys/ask-as.psk"] = authority.PSK.hex() + "\n"
        for name in ("as-ca.crt", "gw.crt", "gw.key"):
            with open(os.path.join(cls.tls, name), "rb") as f:
                files["tls/" + name] = f.read()
        return files

    # ---- shorthand ----

    def setUp(self):
        self.server.count()

    def reference(self, client=None, **change):
        """A token that says nothing itself; the server knows the rest.
        Text without NUL: stock clients take it as a psk_identity."""
        said = {"scope": "guest", "aud": "lamp", "exp": int(time.time()) + 600}
        if client:
            said["cnf"] = client.cnf()
        handle = change.pop("handle", None) or mint.random_text(24)
        said.update(change)
        return self.server.know(handle, **{k: v for k, v in said.items() if v is not None})

    def post(self, token, code="2.01", fmt=42, **more):
        return super().post(token, code, fmt=fmt, **more)

    def brought(self, client=None, **change):
        """A client whose reference was posted."""
        client = client or Client()
        self.post(self.reference(client, **change))
        return client

    def max_age(self, answer):
        """Seconds until it is worth coming again."""
        m = re.search(r"Max-Age:(\d+)", answer.options)
        self.assertTrue(m, answer)
        return int(m[1])
