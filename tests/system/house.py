"""The house that most tests stand in: a lamp and a door that stock servers
play, an authorization server whose keys we hold, a few enrolled clients."""
import datetime
import ipaddress
import os
import time
import unittest

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import mint
import rig

ISSUER = "coaps://as"  # short: a token must fit in the 128 bytes of a stock identity

POLICY = """\
version: 1
mode: enforce
authorities:
  - name: home-as
    issuer: coaps://as
    keys: keys/home-as.keys
    may-grant:
      roles: [guest, resident]
      scopes: [lights_r, lights_w]
      resources: [{path: /lamp/**, methods: [GET, PUT]}]
  - name: sign-as
    issuer: coaps://as.sign
    keys: keys/sign-as.pem
    may-grant:
      roles: [guest]
roles:
  guest:
    permit:
      - {path: /lamp/state, methods: [GET, PUT]}
  resident:
    includes: [guest]
    permit:
      - {path: /door/**, methods: [GET, PUT]}
      - {path: /slow/**, methods: [GET]}
      - {path: /dead/**, methods: [GET]}
      - {path: /gone/**, methods: [GET]}
      - {path: /nobody/**, methods: [GET]}
      - {path: /lamp/**, methods: [GET, PUT, DELETE]}
  night:
    permit:
      - {path: /lamp/state, methods: [GET], when: {dates: "2001-01-01..2001-01-02"}}
scopes:
  lights_r: {permit: [{path: /lamp/**, methods: [GET]}]}
  lights_w: {permit: [{path: /lamp/**, methods: [GET, PUT]}]}
subjects:
  - {name: panel, psk-identity: panel, key-file: keys/panel.psk, roles: [resident]}
  - {name: visitor, psk-identity: visitor, key-file: keys/visitor.psk, roles: [guest]}
  - {name: owl, psk-identity: owl, key-file: keys/owl.psk, roles: [night]}
  - {name: tablet, certificate: tablet.home, roles: [resident]}
forbid:
  - {path: /*/firmware, methods: [PUT, POST]}
"""

PSK = b"0123456789abcdef"  # of every enrolled client here; for tests only


def claims(key_kid=None, key=None, **change):
    """An accepted token's claims; each refusal changes one of them."""
    c = {1: ISSUER, 3: "lamp", 4: int(time.time()) + 600, 9: "guest"}
    if key is not None:
        c[8] = {1: {1: 4, 2: key_kid, -1: key}}
    for name, value in change.items():
        number = {"iss": 1, "aud": 3, "exp": 4, "nbf": 5, "scope": 9, "cnf": 8, "cti": 7}[name]
        if value is None:
            c.pop(number, None)
        else:
            c[number] = value
    return c


def certificate(directory, name, common, issuer=None, ca=False, key=None):
    """Writes name.crt and name.key; returns (certificate, key, their files)."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    signer, signer_name = (issuer[1], issuer[0].subject) if issuer else (key, subject)
    now = datetime.datetime.utcnow()
    b = (x509.CertificateBuilder().subject_name(subject).issuer_name(signer_name)
         .public_key(key.public_key()).serial_number(x509.random_serial_number())
         .not_valid_before(now - datetime.timedelta(days=1))
         .not_valid_after(now + datetime.timedelta(days=30))
         .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
         # RFC 5280 4.2.1.1, 4.2.1.2; newer verifiers insist
         .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
         .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                        critical=False))
    if ca:
        b = b.add_extension(x509.KeyUsage(
            key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False), critical=True)
    else:
        # An address as a name too: not every stack looks at addresses.
        names = [x509.DNSName(common)]
        if common == "127.0.0.1":
            names += [x509.IPAddress(ipaddress.ip_address(common)), x509.DNSName("localhost")]
        b = b.add_extension(x509.SubjectAlternativeName(names), critical=False)
    crt = b.sign(signer, hashes.SHA256())
    files = os.path.join(directory, name + ".crt"), os.path.join(directory, name + ".key")
    with open(files[0], "wb") as f:
        f.write(crt.public_bytes(serialization.Encoding.PEM))
    with open(os.open(files[1], os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM,
                                  serialization.PrivateFormat.TraditionalOpenSSL,
                                  serialization.NoEncryption()))
    return crt, key, files


class Client:
    """An ACE client's kid and key, as its authorization server told it."""

    def __init__(self):
        self.kid, self.key = mint.random_text(8), mint.random_text(16)

    @property
    def psk(self):
        return mint.kid_identity(self.kid), self.key

    def cnf(self):
        return {1: {1: 4, 2: self.kid, -1: self.key}}


class Stage(unittest.TestCase):
    """What a class of tests starts for all of them, and ends in any case."""

    @classmethod
    def setUpClass(cls):
        cls.started = []
        try:
            cls.build()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def start(cls, what):
        cls.started.append(what)
        return what

    @classmethod
    def tearDownClass(cls):
        errors = []
        for what in reversed(cls.started):
            try:
                (getattr(what, "close", None) or what.stop)()
            except Exception as e:  # everything must be ended before it is told
                errors.append(str(e))
        if errors:
            raise AssertionError("\n".join(errors))


class House(Stage):
    families = (4,)
    identity = None
    policy = POLICY
    extra = ""
    more_devices = ()
    tcp = False

    @classmethod
    def build(cls):
        cls.encrypt = mint.SymmetricKey(b"e1", 10)   # AES-CCM-16-64-128
        cls.mac = mint.SymmetricKey(b"m1", 5)        # HMAC 256/256
        cls.ec = mint.SigningKey(b"s1")              # ES256
        cls.sign = mint.SigningKey(None)             # ES256, as PEM
        cls.derivation = mint.SymmetricKey(b"d1", -10)  # direct+HKDF-SHA-256
        cls.lamp = cls.start(rig.Device())
        cls.door = cls.start(rig.Device(family=cls.families[-1]))
        for path in ("state", "color"):
            a = rig.coap(cls.lamp.url + "/" + path, "put", payload=b"on", fmt=0)
            if a.code != "2.01":
                raise AssertionError("the lamp is no lamp:\n" + a.output)
        a = rig.coap(cls.door.url + "/lock", "put", payload=b"shut", fmt=0)
        if a.code != "2.01":
            raise AssertionError("the door is no door:\n" + a.output)
        cls.gw = cls.start(rig.Gateway(cls.policy, cls.devices(), identity=cls.identity,
                                       extra=cls.extra, families=cls.families,
                                       secrets=cls.secrets(), tcp=cls.tcp))

    @classmethod
    def devices(cls):
        return [{"name": "lamp", "path": "/lamp", "url": cls.lamp.url, "audience": "lamp",
                 "authority": "home-as"},
                {"name": "door", "path": "/door", "url": cls.door.url, "audience": "door"},
                *cls.more_devices]

    @classmethod
    def secrets(cls):
        psk = PSK.hex() + "\n"
        return {"keys/home-as.keys": mint.key_set(cls.encrypt, cls.mac, cls.ec, cls.derivation),
                "keys/sign-as.pem": cls.sign.pem(), "keys/panel.psk": psk,
                "keys/visitor.psk": psk, "keys/owl.psk": psk}

    # ---- shorthand ----

    def post(self, token, code="2.01", **more):
        """Posts to authz-info over plain coap."""
        a = self.gw.post_token(token, **more)
        self.assertEqual(a.code, code, a.output)
        return a

    def enter(self, client=None, **change):
        """A client whose token was posted: encrypted, as it holds a key."""
        client = client or Client()
        self.post(mint.cwt(self.encrypt, claims(client.kid, client.key, **change)))
        return client

    def ask(self, path, code, psk=(b"panel", PSK), method="get", family=4, **more):
        a = rig.coap(self.gw.coaps(path, family), method, psk=psk, **more)
        self.assertEqual(a.code, code, "%s %s\n%s\n%s" % (method, path, a.output,
                                                          self.gw.proc.output()))
        return a

    def hints(self, answer):
        """AS Request Creation Hints (RFC 9200 5.3), decoded."""
        self.assertRegex(answer.options, r"Content-Format:(19|application/ace\+cbor)")
        return cbor2.loads(answer.payload)
