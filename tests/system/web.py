"""Devices by HTTP, down to the bytes: each test says what comes back, and in
which pieces, so that a server may be strict, slow, wrong or hostile."""
import socket
import ssl
import threading

DEADLINE = 30.0

REASON = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified"}


def reply(status, body=b"", *headers, length=None, more=""):
    """A whole answer; `more`: further raw lines of its header."""
    lines = ["HTTP/1.1 %d %s" % (status, REASON.get(status, "X"))]
    lines += ["%s: %s" % h for h in headers]
    if status not in (204, 304):
        lines.append("Content-Length: %d" % (len(body) if length is None else length))
    return ("\r\n".join(lines) + "\r\n" + more + "\r\n").encode("latin-1") + body


class Request:
    def __init__(self, head, body, connection):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.lines = lines[1:]
        self.headers = {}
        for line in self.lines:
            name, _, value = line.partition(":")
            if name.lower() in self.headers:
                raise AssertionError("twice: " + line)
            self.headers[name.lower()] = value.strip(" \t")
        self.body, self.connection = body, connection

    def __repr__(self):
        return "%s %s %r %r" % (self.method, self.target, self.lines, self.body)


class WebDevice:
    """Serves on loopback. `answer(request)` returns bytes, or a list of them
    and of events to wait for; None at its end closes the connection."""

    def __init__(self, answer, tls=None, host="127.0.0.1", port=0):
        self.answer = answer
        self.requests, self.errors = [], []
        self.connections = 0
        self.news = threading.Condition()
        self.over = threading.Event()
        self.open = set()
        self.sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host
                                         else socket.AF_INET)
        self.port = self.sock.getsockname()[1]
        self.tls = None
        if tls:  # certificate, key, and whose clients are served
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tls[0], tls[1])
            if len(tls) > 2:
                self.tls.verify_mode = ssl.CERT_REQUIRED
                self.tls.load_verify_locations(tls[2])
        self.url = "%s://%s:%d" % ("https" if tls else "http",
                                   "[%s]" % host if ":" in host else host, self.port)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        try:
            if self.tls:
                c = self.tls.wrap_socket(c, server_side=True)
            with self.news:
                self.open.add(c)
            self._talk(c)
        except (OSError, ValueError) as e:
            with self.news:
                self.errors.append(str(e))
        finally:
            with self.news:
                self.open.discard(c)
            c.close()

    def _talk(self, c):
        data, mine = b"", None
        while True:
            while b"\r\n\r\n" not in data:
                more = c.recv(65536)
                if not more:
                    return
                data += more
            if mine is None:  # one that only looks whether we are here is none
                with self.news:
                    self.connections += 1
                    mine = self.connections
            head, data = data.split(b"\r\n\r\n", 1)
            r = Request(head, b"", mine)
            n = int(r.headers.get("content-length", 0))
            while len(data) < n:
                more = c.recv(65536)
                if not more:
                    return
                data += more
            r.body, data = data[:n], data[n:]
            with self.news:
                self.requests.append(r)
                self.news.notify_all()
            out = self.answer(r)
            for piece in out if isinstance(out, list) else [out]:
                if piece is None:
                    return
                if isinstance(piece, bytes):
                    c.sendall(piece)
                else:
                    piece.wait(DEADLINE)

    def wait_requests(self, n):
        with self.news:
            if not self.news.wait_for(lambda: len(self.requests) >= n, DEADLINE):
                raise AssertionError("%d requests, not %d" % (len(self.requests), n))
            return list(self.requests)

    def stop(self):
        self.over.set()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        except OSError:
            pass
        self.sock.close()
        with self.news:
            for c in self.open:
                try:
                    c.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
