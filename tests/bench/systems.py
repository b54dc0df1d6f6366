"""Who is measured and who asks: the floor, libcoap's proxy and Postern before
one device, and the load. Loopback only; nothing outlives this process."""
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = os.path.join(os.path.dirname(HERE), "keys")  # of the tests; they guard nothing
PATIENCE = 150  # seconds for anything that must come
PAYLOAD = 20    # bytes, of an answer and of a PUT

POLICY = """\
version: 1
mode: enforce
authorities:
  - name: home-as
    issuer: coaps://as.home
    keys: ../home-as.keys
    may-grant:
      roles: [guest]
roles:
  guest:
    permit:
      - {path: /lamp/state, methods: [GET, PUT], when: {networks: [127.0.0.0/8]}}
      - {path: /door/**, methods: [GET]}
forbid:
  - {path: /*/firmware/**, methods: [PUT, POST]}
"""

CONFIG = """\
listen: ["coaps://127.0.0.1:%(secure)d", "coap://127.0.0.1:%(plain)d"]
audience: [gateway.home]
policy: policy.yaml
state: state
audit: {file: audit.jsonl, permits: all}
control: control.sock
limits: {associations: 20000%(limits)s}
devices:
  - {name: lamp, path: /lamp, url: "coap://127.0.0.1:%(device)d", audience: lamp, window: 128}
  - {name: door, path: /door, url: "coap://127.0.0.1:%(device)d", audience: door}
"""


IDENTITY = "identity: {certificate: gateway.crt, key: gateway.key, client-ca: ca.crt}\n"

LIBC = ctypes.CDLL(None)


def key_file(name):
    return os.path.join(KEYS, name)


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing stays if this is killed


class Program:
    """A child whose lines are read one by one, with patience but not for ever."""
    all = []

    def __init__(self, argv, cwd=None, log=None):
        self.argv, self.left = argv, b""
        self.proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd,
                                     stderr=log, preexec_fn=die_with_parent)
        self.pid = self.proc.pid
        Program.all.append(self)

    def line(self):
        until = time.monotonic() + PATIENCE
        while b"\n" not in self.left:
            ready, _, _ = select.select([self.proc.stdout], [], [], until - time.monotonic())
            more = os.read(self.proc.stdout.fileno(), 65536) if ready else b""
            if not more:
                raise RuntimeError("%s: %s" % (self.argv[0], "ended" if ready else "says nothing"))
            self.left += more
        line, self.left = self.left.split(b"\n", 1)
        return line.decode()

    def ready(self, text):
        """After the line with `text` nothing that it says is of interest, but
        a full pipe would stop it."""
        while text not in self.line():
            continue
        self.drain()

    def drain(self):
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        while os.read(self.proc.stdout.fileno(), 65536):
            continue

    def order(self, text):
        self.proc.stdin.write(text.encode() + b"\n")
        self.proc.stdin.flush()
        return json.loads(self.line())

    def rss_kib(self):
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.proc.stdin.close()
        if self in Program.all:
            Program.all.remove(self)


def stop_all():
    for p in reversed(list(Program.all)):
        p.stop()


_given = set()


def free_port(kind=socket.SOCK_DGRAM):
    """A port that is free, as is the next one, and that was not given before."""
    while True:
        with socket.socket(socket.AF_INET, kind) as a, socket.socket(socket.AF_INET, kind) as b:
            a.bind(("127.0.0.1", 0))
            port = a.getsockname()[1]
            try:
                b.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        if port not in _given and port + 1 not in _given:
            _given.update((port, port + 1))
            return port


def wait_until_served(proc, port):
    """Until a CoAP server answers a ping (RFC 7252 4.3). Before it is there the
    kernel refuses for it, which is the event to ask again at."""
    until = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect(("127.0.0.1", port))
        while proc.poll() is None and time.monotonic() < until:
            try:
                s.send(b"\x40\0\0\1")
                s.recv(64)
                return
            except (ConnectionRefusedError, socket.timeout):
                continue
    raise RuntimeError("%s does not start" % proc.args[0])


def suite(certificates=False):
    """The same for all three. OpenSSL from 3.2 on takes CCM_8 for too weak, and
    libcoap's proxy with it; then it is GCM."""
    said = subprocess.run(["openssl", "version"], stdout=subprocess.PIPE, check=True).stdout
    version = re.match(rb"OpenSSL (\d+)\.(\d+)", said)
    weak = version and (int(version[1]), int(version[2])) >= (3, 2)
    if certificates:
        return (("ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b) if weak else
                ("ECDHE_ECDSA_WITH_AES_128_CCM_8", 0xc0ae))
    return ("PSK_WITH_AES_128_GCM_SHA256", 0x00a8) if weak else ("PSK_WITH_AES_128_CCM_8", 0xc0a8)


def middle(results):
    """The median of each number; losses and errors are summed."""
    m = {k: statistics.median(r[k] for r in results) for k in results[0]}
    for k in ("done", "lost", "errors"):
        m[k] = sum(r[k] for r in results)
    return m


class Bench:
    def __init__(self, build, log, before=None):
        self.build, self.log = build, log
        self.posternd = {"postern": os.path.join(build, "posternd"), "before": before}
        self.made_with = {}
        self.device = self.program("tests/bench_echo")
        self.device_port = int(self.device.line())
        self.dir = tempfile.TemporaryDirectory(prefix="postern-bench-")
        self.tool("key", "new", self.path("home-as.keys"))
        self.token = json.loads(self.tool(
            "token", "new", "-k", self.path("home-as.keys"), "--issuer", "coaps://as.home",
            "-a", "lamp", "-s", "guest", "-n", "-j", "-e", "8h"))

    def path(self, *names):
        return os.path.join(self.dir.name, *names)

    def program(self, name, *args, cwd=None):
        return Program([os.path.join(self.build, name)] + [str(a) for a in args], cwd, self.log)

    def tool(self, *args):
        return subprocess.run([os.path.join(self.build, "postern"), *args], check=True,
                              stdout=subprocess.PIPE, stderr=self.log, timeout=PATIENCE).stdout

    # ---- who is measured: each returns the process, its port, and what its clients ask ----

    def floor(self, certificates=False):
        proof = (["-c", key_file("gateway.crt"), key_file("gateway.key")] if certificates else
                 [self.token["psk_identity"], self.token["psk"]])
        p = self.program("tests/bench_floor", self.device_port, *proof)
        return p, int(p.line()), ["-u", "/state"]

    def libcoap(self, certificates=False):
        """coap-server-openssl -P: by Proxy-Uri, straight to the device; one key
        for all, or a certificate, and any of a client's will do."""
        port = free_port()
        proof = (["-c", key_file("gateway.crt"), "-j", key_file("gateway.key"), "-n"]
                 if certificates else
                 ["-h", "", "-k", bytes.fromhex(self.token["psk"]).decode()])
        p = Program(["coap-server-openssl", "-A", "127.0.0.1", "-p", str(port), *proof,
                     "-u", "bench", "-P", ",proxy.bench"], log=subprocess.STDOUT)
        p.drain()
        wait_until_served(p.proc, port)  # it says nothing at its usual verbosity
        return p, port + 1, ["-x", "coap://127.0.0.1:%d/state" % self.device_port]

    def postern(self, certificates=False, name="postern", limits="", more=""):
        ports = {"secure": free_port(), "plain": free_port(), "device": self.device_port,
                 "limits": limits}
        home = self.path(name)
        os.makedirs(os.path.join(home, "state"), exist_ok=True)
        text = CONFIG % ports + more + (IDENTITY if certificates else "")
        for file, content in (("policy.yaml", POLICY), ("postern.yaml", text)):
            with open(os.path.join(home, file), "w") as f:
                f.write(content)
        if certificates:
            for file in ("gateway.crt", "gateway.key", "ca.crt"):
                shutil.copy(key_file(file), home)
                os.chmod(os.path.join(home, file), 0o600)
        p = self.posternd_at(name)
        self.post_token(ports["plain"])
        return p, ports["secure"], ["-u", "/lamp/state"]

    def posternd_at(self, name):
        p = Program([self.posternd[name], "-c", self.path(name, "postern.yaml")],
                    log=subprocess.STDOUT)
        p.ready("ready")
        return p

    def status(self, name="postern"):
        return json.loads(self.tool("status", "-j", "-s", self.path(name, "control.sock")))

    def before(self, certificates=False):
        return self.postern(certificates, "before")

    def post_token(self, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(PATIENCE)
            s.sendto(b"\x40\x02\x00\x01" + b"\xbaauthz-info" + b"\x11\x3d" + b"\xff" +
                     bytes.fromhex(self.token["token"]), ("127.0.0.1", port))
            code = s.recv(2048)[1]
        if code != 0x41:
            raise RuntimeError("the token was refused: %d.%02d" % (code >> 5, code & 31))

    SYSTEMS = ("floor", "libcoap", "postern")

    def load(self, proxy, port, clients, ask, certificates=False):
        proof = (["-c", key_file("client.crt"), "-j", key_file("client.key")] if certificates else
                 ["-i", self.token["psk_identity"], "-k", self.token["psk"]])
        return self.program("tests/bench_load", "-t", port, *proof, "-n", clients, "-P", proxy.pid,
                            "-s", suite(certificates)[1], *ask)

    def start(self, system, clients, put, certificates=False):
        proxy, port, ask = getattr(self, system)(certificates)
        return proxy, self.load(proxy, port, clients, ask + (["-p", PAYLOAD] if put else []),
                                certificates)

    def case(self, orders, clients, put=False, rounds=5, systems=SYSTEMS, certificates=False):
        """All of one case, in turns. Orders: name -> text for the load."""
        running = {s: self.start(s, clients, put, certificates) for s in systems}
        for s in systems:
            self.made_with = json.loads(running[s][1].line())  # ready
        results = {s: {o: [] for o in orders} for s in systems}
        for s in systems:  # not counted: caches, first pages
            running[s][1].order(re.sub(r"^(\w+) \S+", r"\1 0.2", orders[next(iter(orders))]))
        for _ in range(rounds):
            for o, text in orders.items():
                for s in systems:
                    results[s][o].append(running[s][1].order(text))
        out = {}
        for s in systems:
            out[s] = {o: middle(rs) for o, rs in results[s].items()}
            for o in orders:
                out[s][o]["rss_kib"] = running[s][0].rss_kib()
                # by rounds, so that what the machine did meanwhile cancels out
                for other in systems:
                    if s != other:
                        out[s][o]["cpu_to_" + other] = statistics.median(
                            a["cpu_us"] / b["cpu_us"]
                            for a, b in zip(results[s][o], results[other][o]))
        for s in systems:
            running[s][1].stop()
            running[s][0].stop()
        return out
