"""Collectors of audit records that misbehave on command: syslog by TCP, TLS
and datagrams, HTTP with and without TLS. Each keeps what it took, in its
order, and can go away and come back to the same port."""
import http.server
import json
import os
import re
import socket
import ssl
import threading
import time

import rig


class Collector:
    """What arrived: records in order, with the syslog header or the HTTP
    request they came in."""

    def __init__(self):
        self.news = threading.Condition()
        self.records = []
        self.headers = []
        self.bad = []

    def took(self, record, header):
        with self.news:
            self.records.append(record)
            self.headers.append(header)
            self.news.notify_all()

    def wait(self, what, deadline=rig.DEADLINE):
        """Until what(records) is true."""
        until = time.monotonic() + deadline
        with self.news:
            while not what(self.records):
                left = until - time.monotonic()
                if left <= 0:
                    raise AssertionError("not in time; %d records, the last %s; %s" % (
                        len(self.records), self.records[-1:], self.bad))
                self.news.wait(left)

    def wait_seq(self, seq, deadline=rig.DEADLINE):
        self.wait(lambda rs: any(r["seq"] >= seq for r in rs[-1000:]), deadline)

    def expect_whole(self, first, last):
        """Every number from first to last at least once, and no number before
        one that is lower and new. Returns how many were told as lost."""
        if self.bad:
            raise AssertionError("\n".join(self.bad))
        known, lost = first - 1, 0
        for r in self.records:
            if r.get("where") == "spool":
                if r["from"] <= known + 1 and r["seq"] > known:
                    lost += r["seq"] - known
                    known = r["seq"]
            elif r["seq"] > known:
                if r["seq"] != known + 1:
                    raise AssertionError("after %d came %s" % (known, r))
                known = r["seq"]
        if known != last:
            raise AssertionError("it ended with %d, wanted %d" % (known, last))
        return lost


SYSLOG = re.compile(
    r'^<(?P<pri>\d+)>1 (?P<time>\S+) (?P<host>\S+) posternd (?P<pid>\d+) (?P<id>\S+) '
    r'\[postern@32473 stream="(?P<stream>[0-9a-f]{16})" seq="(?P<seq>\d+)"'
    r'(?: verdict="(?P<verdict>\w+)")?(?: subject="(?P<subject>(?:[^"\\\]]|\\.)*)")?\] '
    r'(?P<record>\{.*\})$', re.S)


class Syslog(Collector):
    def __init__(self, tls=None, require=None):
        """tls: (certificate, key) files; require: CA file for clients."""
        super().__init__()
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
            if require:
                self.context.load_verify_locations(require)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.port = 0
        self.reading = threading.Event()  # cleared: it hangs
        self.reading.set()
        self.close_after = None  # bytes, then the connection is cut with some unread
        self.connections = 0
        self.start()

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.open = set()
        self.stopping = False
        self.thread = threading.Thread(target=self._accept, args=(self.listener,), daemon=True)
        self.thread.start()

    def stop(self):
        """Away at once, with what is unread."""
        self.stopping = True
        self.reading.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for c in list(self.open):
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(rig.DEADLINE)

    def _accept(self, listener):
        threads = []
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                break
            with self.news:
                self.connections += 1
                self.news.notify_all()
            self.open.add(c)  # until it is wrapped
            t = threading.Thread(target=self._serve, args=(c,), daemon=True)
            t.start()
            threads.append(t)
        for t in threads:
            t.join(rig.DEADLINE)

    def _serve(self, raw):
        c, buf, seen = raw, b"", 0
        try:
            if self.context:
                c = self.context.wrap_socket(raw, server_side=True)
                self.open.add(c)
            while True:
                while not self.reading.wait(1):
                    pass
                if self.stopping:
                    break
                got = c.recv(997)  # so that messages are cut anywhere
                if not got:
                    break
                buf += got
                seen += len(got)
                while True:
                    m = re.match(rb"([1-9]\d{0,5}) ", buf)
                    if not m or len(buf) < m.end() + int(m[1]):
                        break
                    self.message(buf[m.end():m.end() + int(m[1])])
                    buf = buf[m.end() + int(m[1]):]
                if buf and not re.match(rb"[1-9]\d{0,5}( |$)", buf):
                    self.bad.append("no count: %r" % buf[:80])
                    break
                if self.close_after is not None and seen >= self.close_after:
                    self.close_after = None
                    break
        except OSError:  # ssl.SSLError too
            pass
        finally:
            self.open -= {raw, c}
            c.close()

    def message(self, text):
        m = SYSLOG.match(text.decode())
        if not m:
            with self.news:
                self.bad.append("no message: %r" % text)
            return
        record = json.loads(m["record"])
        if record["seq"] != int(m["seq"]):
            self.bad.append("numbers differ: %r" % text)
        self.took(record, m)


class Local(Syslog):
    """The local syslog's socket."""

    def __init__(self, path):
        self.path = path
        super().__init__()

    def start(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def _receive(self):
        while True:
            text = self.sock.recv(65536)
            if not text:
                return
            self.message(text)

    def stop(self):
        os.unlink(self.path)
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(rig.DEADLINE)
        self.sock.close()


class Http(Collector):
    def __init__(self, tls=None, require=None, token=None):
        super().__init__()
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
            if require:
                self.context.load_verify_locations(require)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.token = token
        self.port = 0
        self.status = [204]       # of the next answers; the last one stays
        self.answering = threading.Event()  # cleared: it takes a batch and says nothing
        self.answering.set()
        self.cut = 0              # so many batches are cut in the middle
        self.asked = 0
        self.most = None          # records a batch, else 413
        self.batches = []
        self.start()

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.batch(self)

            def log_message(self, *_args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def get_request(self):
                c, a = super().get_request()
                outer.open.add(c)
                return c, a

            def finish_request(self, request, client_address):
                if outer.context:  # in the connection's own thread
                    request = outer.context.wrap_socket(request, server_side=True)
                    outer.open.add(request)
                super().finish_request(request, client_address)

            def handle_error(self, *_args):
                pass

        self.open = set()
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        self.answering.set()
        self.server.shutdown()
        self.server.server_close()
        for c in list(self.open):
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(rig.DEADLINE)

    def batch(self, h):
        with self.news:
            self.asked += 1
            self.news.notify_all()
        n = int(h.headers["Content-Length"])
        if self.cut > 0:
            self.cut -= 1
            h.rfile.read(n // 2)
            h.close_connection = True
            h.connection.close()
            return
        body = h.rfile.read(n)
        status = self.status.pop(0) if len(self.status) > 1 else self.status[0]
        if self.token and h.headers["Authorization"] != "Bearer " + self.token:
            status = 401
        lines = body.decode().split("\n")
        if lines.pop() != "" or h.headers["Content-Type"] != "application/x-ndjson":
            self.bad.append("no lines: %r %s" % (body[-80:], h.headers))
        if self.most and len(lines) > self.most:
            status = 413
        self.answering.wait(rig.DEADLINE)
        if 200 <= status < 300:
            self.batches.append(len(lines))
            for line in lines:
                self.took(json.loads(line), h.headers)
        h.send_response(status)
        h.send_header("Content-Length", "0")
        h.end_headers()
