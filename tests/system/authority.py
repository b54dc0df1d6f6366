"""Authorization servers for the tests: over CoAP our own helper_as, which can
misbehave; over HTTP one that can misbehave here, and a real one, npm's
oidc-provider, under oidc/."""
import base64
import hashlib
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import cbor2

import rig

PSK = bytes(range(16, 32))  # the gateway's towards the authorization server; for tests only


def token_hash(token):
    """RFC 9770 4: of a token handed out in CBOR."""
    text = base64.urlsafe_b64encode(token).rstrip(b"=")
    return b"\x01" + hashlib.sha256(text).digest()


def jwt_hash(token):
    """The same, of a token handed out in JSON."""
    return b"\x01" + hashlib.sha256(token).digest()


class CoapAuthority:
    """helper_as. What it knows is told it again when it comes back."""

    def __init__(self, dialect="rfc9200", psk=(b"gateway", PSK), pki=None):
        self.port = rig.free_port()
        self.url = "coaps://127.0.0.1:%d" % self.port
        self.argv = [os.path.join(rig.BUILD, "tests", "helper_as"), dialect, str(self.port)]
        if psk:
            self.argv += ["psk", psk[0].decode(), psk[1].hex()]
        if pki:
            self.argv += ["pki", *pki]
        self._lock = threading.Lock()
        self.start()

    def start(self):
        self.proc = rig.Process(self.argv, stdin=subprocess.PIPE)
        self.proc.wait_line("^ready$")

    def tell(self, *words):
        """One command, done when this returns; what it answered."""
        line = " ".join(w.hex() if isinstance(w, bytes) else str(w) for w in words)
        with self._lock:
            start = self.proc.mark()
            self.proc.proc.stdin.write(line.encode() + b"\n")
            self.proc.proc.stdin.flush()
            m, _ = self.proc.wait_line("^(ok|error)(.*)", start)
        if m[1] == "error":
            raise AssertionError("helper_as: %s: %s" % (line[:200], m[2]))
        return m[2].strip()

    def know(self, handle, **claims):
        """Introspection says this of the token `handle` from now on."""
        self.tell("token", handle, *("%s=%s" % (k, cbor2.dumps(v).hex())
                                     for k, v in claims.items()))
        return handle

    def count(self, endpoint="introspect"):
        """Questions since the last count."""
        return int(self.tell("count", endpoint))

    def behave(self, how, endpoint="introspect"):
        self.tell("behave", endpoint, how)

    def wait_asked(self, endpoint="introspect", start=0):
        return self.proc.wait_line("^asked %s " % endpoint, start)

    def mark(self):
        return self.proc.mark()

    def crash(self):
        self.proc.proc.stdin.write(b"crash\n")
        self.proc.proc.stdin.flush()
        self.proc.stop(signal.SIGKILL)

    def stop(self):
        if self.proc.proc.poll() is not None:
            return
        self.proc.proc.stdin.close()
        status = self.proc.proc.wait(rig.DEADLINE)
        self.proc.proc.stdin = None
        self.proc.stop()
        if status != 0:
            raise AssertionError("helper_as ended with %d:\n%s" % (status, self.proc.output()))


class HttpAuthority:
    """RFC 7662 and a JWK set over HTTP, in this process. `behaviour` is what
    it does with each question: a function of (handler, form) or None."""

    def __init__(self, tls=None, client_ca=None):
        """tls: (certificate, key) files."""
        self.tokens = {}      # token: claims
        self.jwks = {"keys": []}
        self.auth = None      # a function of (handler, form): may it ask?
        self.behaviour = None
        self.delay = None     # an Event: answers wait for it
        self.asked, self.fetched = [], 0
        self.news = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, status, body=b"", kind="application/json", **headers):
                self.send_response(status)
                if body:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for k, v in headers.items():
                    self.send_header(k.replace("_", "-"), v)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                with outer.news:
                    outer.fetched += 1
                    outer.news.notify_all()
                if outer.behaviour:
                    return outer.behaviour(self, None)
                self.reply(200, json.dumps(outer.jwks).encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                form = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
                with outer.news:
                    outer.asked.append(form)
                    outer.news.notify_all()
                if outer.delay:
                    outer.delay.wait(rig.DEADLINE)
                if outer.auth and not outer.auth(self, form):
                    return self.reply(401, b'{"error":"invalid_client"}')
                if outer.behaviour:
                    return outer.behaviour(self, form)
                self.reply(200, outer.say(form))

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that went away
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.port)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            if client_ca:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            # the handshake in the connection's own thread, not in the listener's
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def say(self, form):
        claims = self.tokens.get(form.get("token"))
        return json.dumps({"active": True, **claims} if claims else {"active": False}).encode()

    def wait_asked(self, n=1):
        """Until n questions came since the last count()."""
        with self.news:
            if not self.news.wait_for(lambda: len(self.asked) >= n, rig.DEADLINE):
                raise AssertionError("asked %d times, not %d" % (len(self.asked), n))

    def wait_fetched(self, n=1):
        with self.news:
            if not self.news.wait_for(lambda: self.fetched >= n, rig.DEADLINE):
                raise AssertionError("fetched %d times, not %d" % (self.fetched, n))

    def count(self):
        n, self.asked = len(self.asked), []
        return n

    def stop(self):
        if self.delay:
            self.delay.set()
        self.server.shutdown()
        self.server.server_close()


def oauth_clients(user, gateway, **more):
    """oidc-provider's metadata of a client that asks for tokens, and of a
    gateway that asks about them. user, gateway: (id, secret)."""
    common = {"redirect_uris": [], "response_types": []}
    return [{**common, "client_id": user[0], "client_secret": user[1],
             "grant_types": ["client_credentials"]},
            {**common, "client_id": gateway[0], "client_secret": gateway[1], "grant_types": [],
             **more}]


class OAuthServer:
    """oidc-provider. `files`: its certificate and key, and the CA that its
    clients' certificates are of."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "oidc")
    _installed = None
    _failed = None
    _installing = threading.Lock()

    @classmethod
    def install(cls):
        """Into the build directory, once for each state of the lock file."""
        with cls._installing:
            if cls._installed:
                return cls._installed
            if cls._failed:  # once is enough: a registry that is away stays away
                raise AssertionError(cls._failed)
            to = os.path.join(rig.BUILD, "tests", "oidc")
            state = hashlib.sha256()
            for name in ("package.json", "package-lock.json"):
                with open(os.path.join(cls.source, name), "rb") as f:
                    state.update(f.read())
            mark = os.path.join(to, "installed-" + state.hexdigest()[:16])
            if not os.path.exists(mark):
                if not shutil.which("npm"):
                    raise AssertionError("npm is missing: Debian's packages nodejs and npm")
                shutil.rmtree(to, ignore_errors=True)
                os.makedirs(to)
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(os.path.join(cls.source, name), to)
                run = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts",
                                      "--fetch-retries=1", "--fetch-retry-mintimeout=1000",
                                      "--fetch-timeout=30000"],
                                     cwd=to, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, timeout=300, check=False)
                if run.returncode != 0:
                    cls._failed = "npm ci: " + run.stdout.decode("utf-8", "replace")
                    raise AssertionError(cls._failed)
                with open(mark, "w"):
                    pass
            cls._installed = to
            return to

    def __init__(self, clients, resources, algorithms=("ES256", "RS256"), tls=None):
        """tls: (certificate, key, CA) files; else http."""
        to = self.install()
        # Modules are looked for beside the file that imports them.
        shutil.copy(os.path.join(self.source, "server.mjs"), to)
        self.dir = tempfile.mkdtemp(prefix="postern-oidc-")
        self.port = rig.free_port(kind=socket.SOCK_STREAM)
        self.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.port)
        self.ca = tls[2] if tls else None
        config = {"port": self.port, "algorithms": algorithms, "clients": clients,
                  "resources": resources}
        if tls:
            config["tls"] = dict(zip(("cert", "key", "ca"), tls))
        with open(os.path.join(self.dir, "config.json"), "w") as f:
            json.dump(config, f)
        self.argv = ["node", os.path.join(to, "server.mjs"), f.name]
        self.start()

    def start(self):
        self.proc = rig.Process(self.argv, env={**os.environ, "NODE_NO_WARNINGS": "1"},
                                stdin=subprocess.PIPE)
        self.proc.wait_line("^ready$")

    def tell(self, *words):
        start = self.proc.mark()
        self.proc.proc.stdin.write((" ".join(words) + "\n").encode())
        self.proc.proc.stdin.flush()
        m, _ = self.proc.wait_line("^(ok|error) ?(.*)", start)
        if m[1] == "error":
            raise AssertionError("server.mjs: %s: %s" % (words, m[2]))
        return m[2]

    def _open(self, request, context=None):
        if self.ca and not context:
            context = ssl.create_default_context(cafile=self.ca)
        # straight: whatever the environment says of proxies
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(request, timeout=rig.DEADLINE) as answer:
                body = answer.read()
        except urllib.error.HTTPError as e:
            with e:
                raise AssertionError("%s: %s" % (e, e.read().decode("utf-8", "replace"))) from e
        return json.loads(body) if body else None

    def post(self, path, client, headers=None, files=None, **form):
        """As a client with its secret, or with its certificate's `files`;
        the answer's JSON, or None."""
        headers = dict(headers or {})
        context = None
        if files:
            context = ssl.create_default_context(cafile=self.ca)
            context.load_cert_chain(*files)
            form["client_id"] = client
        else:
            basic = base64.b64encode(("%s:%s" % client).encode()).decode()
            headers["Authorization"] = "Basic " + basic
        return self._open(urllib.request.Request(
            self.url + path, urllib.parse.urlencode(form).encode(), headers), context)

    def get(self, path):
        return self._open(self.url + path)

    def token(self, client, **form):
        return self.post("/token", client, grant_type="client_credentials", **form)["access_token"]

    def count(self):
        """Questions since the last count."""
        return int(self.tell("count"))

    def restart(self):
        """Its signing keys are new, its tokens forgotten."""
        self.proc.stop()
        self.start()

    def stop(self):
        if self.proc.proc.poll() is None:
            self.proc.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
