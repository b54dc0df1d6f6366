"""What system tests stand on: posternd in a directory of its own, stock
libcoap programs as clients and devices, all on loopback. Nothing waits for a
time to pass: every wait is for a line, a datagram or an end, with a deadline."""
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

DEADLINE = 30.0  # for what must come; only a failure waits so long
BUILD = None     # set by run.py
# How many threads posternd gets where a test does not say: all of them hold
# for any number.
WORKERS = int(os.environ.get("POSTERN_WORKERS", "1"))
_claimed = set()
_running = set()
_serial = itertools.count()
_lock = threading.Lock()


def free_port(family=socket.AF_INET, kind=socket.SOCK_DGRAM):
    """A free port that this run has given to no one else, below those that
    the kernel gives to clients: it stays free until its server is there, and
    while that is away."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    while True:
        port = random.randrange(10000, 32768)
        with _lock:
            if port in _claimed:
                continue
            _claimed.add(port)
        with socket.socket(family, kind) as s:
            try:
                s.bind((host, port))
                return port
            except OSError:
                pass


def kill_all():
    """The run was interrupted: nothing may stay behind."""
    for proc in list(_running):
        if proc.poll() is None:
            proc.kill()


def host_of(family):
    return "[::1]" if family == 6 else "127.0.0.1"


class Process:
    """A program whose output is read as it comes."""

    def __init__(self, argv, env=None, cwd=None, stdin=subprocess.DEVNULL, pass_fds=()):
        self.argv = argv
        self.lines = []
        self._news = threading.Condition()
        self.proc = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, env=env, cwd=cwd,
                                     pass_fds=pass_fds)
        with _lock:
            _running.add(self.proc)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for raw in self.proc.stdout:
            with self._news:
                self.lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.lines.append(None)
            self._news.notify_all()

    def output(self):
        return "\n".join(l for l in list(self.lines) if l is not None)

    def wait_line(self, pattern, start=0, deadline=DEADLINE):
        """The first line from `start` on that matches; and the place after it."""
        until = time.monotonic() + deadline
        i = start
        with self._news:
            while True:
                while i < len(self.lines):
                    line = self.lines[i]
                    i += 1
                    if line is None:
                        raise AssertionError("%s ended before /%s/:\n%s" % (
                            self.argv[0], pattern, self.output()))
                    m = re.search(pattern, line)
                    if m:
                        return m, i
                left = until - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    if time.monotonic() >= until:
                        raise AssertionError("no line /%s/ from %s:\n%s" % (
                            pattern, self.argv[0], self.output()))

    def mark(self):
        return len(self.lines)

    def stop(self, sig=signal.SIGTERM):
        """Ends it; returns its exit status."""
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        try:
            status = self.proc.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError("%s did not stop:\n%s" % (self.argv[0], self.output()))
        self._reader.join(DEADLINE)
        self.proc.stdout.close()
        if self.proc.stdin:
            self.proc.stdin.close()
        with _lock:
            _running.discard(self.proc)
        return status


class Device(Process):
    """Debian's coap-server-notls: a device that knows nothing of security."""

    def __init__(self, family=4):
        self.family = family
        self.port = free_port(socket.AF_INET6 if family == 6 else socket.AF_INET)
        self.url = "coap://%s:%d" % (host_of(family), self.port)
        super().__init__(["coap-server-notls", "-v", "7", "-d", "100", "-A",
                          "::1" if family == 6 else "127.0.0.1", "-p", str(self.port)])
        self.wait_line(r"created UDP +endpoint")

    def _told(self, start=0):
        """The place behind all that reached it: a request of our own is the
        last of them. What it prints may come late."""
        end = "end-%d" % next(_serial)
        coap(self.url + "/" + end)
        return self.wait_line(r"c:GET .*Uri-Path:%s\b" % end, start)[1]

    def mark(self):
        return self._told(super().mark())

    def requests(self, start=0):
        """The requests that reached it from `start` on, as libcoap prints
        them."""
        stop = self._told(start)
        return [l for l in self.lines[start:stop - 1] if
                re.match(r"v:1 t:(CON|NON) c:(GET|POST|PUT|DELETE|FETCH|PATCH|iPATCH) ", l)
                and "Uri-Path:end-" not in l]


class SilentDevice:
    """Takes datagrams and never answers; answer() does so at last."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(DEADLINE)
        self.port = self.sock.getsockname()[1]
        self.url = "coap://127.0.0.1:%d" % self.port

    def receive(self):
        """(datagram, from): the next request of a client. What the gateway
        asks for itself, discovery, is denied."""
        while True:
            datagram, to = self.sock.recvfrom(4096)
            if not 0 < datagram[1] < 32:
                continue  # an empty message: what we said was refused
            if b".well-known" not in datagram:
                return datagram, to
            self.answer(datagram, to, b"", 0x84)

    def settle(self):
        """Until discovery has asked and was denied: the window is free."""
        datagram, to = self.sock.recvfrom(4096)
        assert b".well-known" in datagram, datagram
        self.answer(datagram, to, b"", 0x84)

    def answer(self, datagram, to, payload=b"late", code=0x45):
        tkl = datagram[0] & 15
        kind = 2 if datagram[0] >> 4 & 3 == 0 else 1
        self.sock.sendto(bytes([0x40 | kind << 4 | tkl, code]) + datagram[2:4 + tkl] +
                         (b"\xff" + payload if payload else b""), to)

    def stop(self):
        self.sock.close()


class Answer:
    """What a stock client printed: exit codes say nothing, PDUs do."""
    # By TCP newer ones say "v:Reliable", and no type and ID, of which there are none.
    _pdu = re.compile(r"^v:(?:1 t:(?P<type>CON|NON|ACK|RST)|Reliable) c:(?P<code>[245]\.\d\d) "
                      r"(?:i:[0-9a-f]+ )?\{[0-9a-f]*\} \[ (?P<options>.*?) ?\]"
                      r"(?: :: (?:'(?P<text>.*)'|binary data length \d+\n<<(?P<hex>[0-9a-f]*)>>))?$",
                      re.M)

    def __init__(self, output):
        self.output = output
        self.code = None
        self.options = ""
        self.payload = b""
        self.types = []
        for m in self._pdu.finditer(output):
            self.code, self.options = m["code"], m["options"]
            self.types.append(m["type"])
            self.payload = bytes.fromhex(m["hex"]) if m["hex"] else (m["text"] or "").encode()

    def __str__(self):
        return "%s [%s] %r" % (self.code, self.options, self.payload)


def coap(url, method="get", payload=None, fmt=None, options=(), tls="openssl", psk=None,
         cert=None, non=False, wait=20, more=()):
    """One request by a stock client. psk: (identity, key) in bytes."""
    if url.startswith(("coap:", "coap+tcp:")):
        tls = "notls"
    argv = ["coap-client-" + tls, "-v", "7", "-B", str(wait), "-m", method]
    if psk:
        argv += ["-u", psk[0], "-k", psk[1]]
    if cert:  # (certificate, key) files
        argv += ["-c", cert[0], "-j", cert[1], "-n"]
    if non:
        argv += ["-N"]
    if fmt is not None:
        argv += ["-t", str(fmt)]
    for number, value in options:
        argv += ["-O", "%d,%s" % (number, "0x" + value.hex() if isinstance(value, bytes) else value)]
    argv += list(more)
    body = None
    if payload is not None:
        argv += ["-f", "-"]
        body = payload
    argv += [url]
    run = subprocess.run(argv, input=body if body is not None else b"", stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=wait + DEADLINE, check=False)
    return Answer(run.stdout.decode("utf-8", "backslashreplace"))


class Gateway:
    """posternd, its files and its ways in."""

    def __init__(self, policy, devices, identity=None, extra="", families=(4,), secrets=None,
                 state=True, audit="", tcp=False):
        self.tcp = tcp  # stock clients come by it too
        self.dir = tempfile.mkdtemp(prefix="postern-test-")
        self.proc = self.tail = None
        try:
            self._lay_out(policy, devices, identity, extra, families, secrets or {}, state,
                          audit)
            self.start()
        except BaseException:
            self.close()
            raise

    def _lay_out(self, policy, devices, identity, extra, families, secrets, state, audit):
        for d in ("keys", "tls", "state", "log"):
            os.mkdir(self.path(d), 0o700)
        for name, content in secrets.items():
            self.write(name, content)
        self.write("policy.yaml", policy)
        self.ports, self.tcp_ports = {}, {}
        listen = []
        for f in families:
            af = socket.AF_INET6 if f == 6 else socket.AF_INET
            self.ports[f] = (free_port(af), free_port(af))
            listen += ["  - coaps://%s:%d" % (host_of(f), self.ports[f][1]),
                       "  - coap://%s:%d" % (host_of(f), self.ports[f][0])]
            if self.tcp:
                plain, tls = (free_port(af, socket.SOCK_STREAM) for _ in range(2))
                self.tcp_ports[f] = (plain, tls)
                listen += ["  - coaps+tcp://%s:%d" % (host_of(f), tls),
                           "  - coap+tcp://%s:%d" % (host_of(f), plain)]
        lines = ["listen:"] + listen + ["audience: [gateway.test]"]
        if identity:
            lines.append("identity: {%s}" % ", ".join("%s: %s" % kv for kv in identity.items()))
        if state:
            lines.append("state: state")
        if "workers:" not in extra:
            lines.append("workers: %s" % WORKERS)
        lines += ["policy: policy.yaml",
                  "audit: {file: log/audit.jsonl, permits: all%s}" % audit,
                  "control: control.sock", "devices:"]
        # quoted: [::1] is a list otherwise
        lines += ["  - {%s}" % ", ".join("%s: %s" % (k, json.dumps(v)) for k, v in d.items())
                  for d in devices]
        self.write("postern.yaml", "\n".join(lines) + "\n" + extra)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, content):
        """Replaces a file whole, so that a reload never sees half of it."""
        data = content if isinstance(content, bytes) else content.encode()
        tmp = self.path(name + ".new")
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        os.rename(tmp, self.path(name))

    def edit(self, name, old, new):
        with open(self.path(name)) as f:
            text = f.read()
        if old not in text:
            raise AssertionError("%r is not in %s" % (old, name))
        self.write(name, text.replace(old, new))

    def start(self):
        self.proc = Process([os.path.join(BUILD, "posternd"), "-c", self.path("postern.yaml")])
        self.proc.wait_line(r"\bready\b")
        if not self.tail:
            self.tail = Process(["tail", "-q", "-n", "+1", "-F", self.path("log/audit.jsonl")])

    def coaps(self, path, family=4):
        if self.tcp:
            return "coaps+tcp://%s:%d%s" % (host_of(family), self.tcp_ports[family][1], path)
        return "coaps://%s:%d%s" % (host_of(family), self.ports[family][1], path)

    def coap(self, path, family=4):
        if self.tcp:
            return "coap+tcp://%s:%d%s" % (host_of(family), self.tcp_ports[family][0], path)
        return "coap://%s:%d%s" % (host_of(family), self.ports[family][0], path)

    def post_token(self, token, family=4, fmt=61):
        return coap(self.coap("/authz-info", family), "post", payload=token, fmt=fmt)

    def reload(self):
        """By signal; returns when posternd says that it is done, either way."""
        start = self.proc.mark()
        self.proc.proc.send_signal(signal.SIGHUP)
        m, _ = self.proc.wait_line(r"(?i)reload", start)
        return m.string

    def postern(self, *args, stdin=None, check=None):
        """The operator's command on this gateway's configuration."""
        run = subprocess.run([os.path.join(BUILD, "postern")] + list(args), input=stdin,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE,
                             cwd=self.dir, check=False)
        run.text = run.stdout.decode("utf-8", "backslashreplace")
        run.err = run.stderr.decode("utf-8", "backslashreplace")
        if check is not None and run.returncode != check:
            raise AssertionError("postern %s: exit %d, wanted %d\n%s%s" % (
                " ".join(args), run.returncode, check, run.text, run.err))
        return run

    def audit(self, where=None, start=0):
        """The first record from `start` on for which where(record) is true."""
        until = time.monotonic() + DEADLINE
        while True:
            m, start = self.tail.wait_line(r"^\{.*\}$", start, until - time.monotonic())
            record = json.loads(m.string)
            if where is None or where(record):
                return record

    def kill(self):
        self.proc.stop(signal.SIGKILL)

    def stop(self):
        """A planned stop: must end well, with nothing to say for sanitizers."""
        status = self.proc.stop(signal.SIGTERM)
        out = self.proc.output()
        if status != 0 or "Sanitizer" in out or "runtime error" in out:
            raise AssertionError("posternd ended with %d:\n%s" % (status, out))

    def close(self):
        try:
            if self.proc and self.proc.proc.poll() is None:
                self.stop()
        finally:
            if self.proc and self.proc.proc.poll() is None:
                self.proc.proc.kill()
            if self.tail:
                self.tail.stop()
            shutil.rmtree(self.dir, ignore_errors=True)
