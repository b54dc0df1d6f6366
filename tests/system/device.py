"""A device in a few lines: what it answers is a function of the request. Like
most small devices it knows a body in blocks by the resource alone."""
import socket
import threading

import rig

ETAG, CONTENT_FORMAT, PATH, MAX_AGE, QUERY, ACCEPT = 4, 12, 11, 14, 15, 17
BLOCK2, BLOCK1, SIZE2, SIZE1 = 23, 27, 28, 60


def code(text):
    return int(text[0]) << 5 | int(text[2:])


def uint(n):
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def block(num, more, szx):
    return uint(num << 4 | (8 if more else 0) | szx)


def read_block(value):
    v = int.from_bytes(value, "big")
    return v >> 4, bool(v & 8), v & 7


class Request:
    def __init__(self, datagram):
        self.kind = datagram[0] >> 4 & 3
        self.method = datagram[1]
        self.mid = datagram[2:4]
        tkl = datagram[0] & 15
        self.token = datagram[4:4 + tkl]
        self.options, self.payload = [], b""
        at, number = 4 + tkl, 0
        while at < len(datagram):
            if datagram[at] == 0xff:
                self.payload = datagram[at + 1:]
                break
            fields = []
            first = datagram[at]
            at += 1
            for nibble in (first >> 4, first & 15):
                if nibble == 13:
                    fields.append(datagram[at] + 13)
                    at += 1
                elif nibble == 14:
                    fields.append(int.from_bytes(datagram[at:at + 2], "big") + 269)
                    at += 2
                else:
                    fields.append(nibble)
            number += fields[0]
            self.options.append((number, datagram[at:at + fields[1]]))
            at += fields[1]

    def all(self, number):
        return [v for n, v in self.options if n == number]

    def first(self, number):
        return next(iter(self.all(number)), None)

    @property
    def path(self):
        return "/" + "/".join(v.decode() for v in self.all(PATH))


def encode(options):
    out, before = b"", 0
    for number, value in sorted(options, key=lambda o: o[0]):
        head, more = [], b""
        for n in (number - before, len(value)):
            if n < 13:
                head.append(n)
            elif n < 269:
                head.append(13)
                more += bytes([n - 13])
            else:
                head.append(14)
                more += (n - 269).to_bytes(2, "big")
        out += bytes([head[0] << 4 | head[1]]) + more + value
        before = number
    return out


class CoapDevice:
    """answer(request) -> (code, options, payload), or None for silence. It
    runs in a thread of its own; a request again gets the same answer."""

    def __init__(self, answer):
        self.handler = answer
        self.requests = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = "coap://127.0.0.1:%d" % self.port
        self.known = {}
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            datagram, to = self.sock.recvfrom(4096)
            if datagram == b"end":
                return
            if len(datagram) < 4 or not 0 < datagram[1] < 32:
                continue
            if datagram not in self.known:
                r = Request(datagram)
                if r.path == "/.well-known/core":
                    a = ("4.04", [], b"")
                else:
                    self.requests.append(r)
                    a = self.handler(r)
                self.known[datagram] = a and self._message(r, *a)
            if self.known[datagram]:
                self.sock.sendto(self.known[datagram], to)

    @staticmethod
    def _message(r, status, options, payload):
        kind = 2 if r.kind == 0 else 1
        return (bytes([0x40 | kind << 4 | len(r.token), code(status)]) + r.mid + r.token +
                encode(options) + (b"\xff" + payload if payload else b""))

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"end", ("127.0.0.1", self.port))
        self.thread.join(rig.DEADLINE)
        self.sock.close()


class Store:
    """Bodies by path, in blocks of at most 16 << szx; one body at a time to a
    path, whoever sends it. `whole` are those that were complete."""

    def __init__(self, szx, denies=False):
        self.szx, self.denies = szx, denies
        self.bodies, self.parts, self.whole = {}, {}, []

    def __call__(self, r):
        if r.method == 1:
            return self.read(r)
        one = r.first(BLOCK1)
        if one is None:
            self.bodies[r.path] = r.payload
            self.whole.append(r.payload)
            return "2.04", [], b""
        num, more, szx = read_block(one)
        if szx > self.szx and self.denies:
            return "4.13", [(BLOCK1, block(0, False, self.szx)), (SIZE1, uint(1 << 20))], b""
        if num == 0:
            self.parts[r.path] = b""
        part = self.parts.get(r.path)
        # a sloppy one: as long as the place fits, it is taken
        if part is None or num << szx + 4 != len(part):
            return "4.08", [(BLOCK1, one)], b""
        self.parts[r.path] = part + r.payload
        use = min(szx, self.szx)
        if more:
            return "2.31", [(BLOCK1, block(num, True, use))], b""
        self.bodies[r.path] = self.parts.pop(r.path)
        self.whole.append(self.bodies[r.path])
        return "2.04", [(BLOCK1, one)], b""

    def read(self, r):
        body = self.bodies.get(r.path)
        if body is None:
            return "4.04", [], b""
        num, _, szx = read_block(r.first(BLOCK2) or b"\x06")
        use = min(szx, self.szx)
        start, size = num << szx + 4, 16 << use
        part = body[start:start + size]
        if start and not part:
            return "4.00", [], b""
        more = start + size < len(body)
        return ("2.05", [(BLOCK2, block(start >> use + 4, more, use)), (SIZE2, uint(len(body))),
                         (ETAG, b"v1")], part)
