"""A raw CoAP peer over TCP or TLS (RFC 8323), for what no stock client does."""
import socket
import ssl
import struct

DEADLINE = 30.0
CSM = bytes.fromhex("30e1220800")  # Max-Message-Size 2048


def frame(code, token=b"", rest=b""):
    n = len(rest)
    if n < 13:
        head = bytes([n << 4 | len(token)])
    elif n < 269:
        head = bytes([13 << 4 | len(token), n - 13])
    elif n < 65805:
        head = bytes([14 << 4 | len(token)]) + struct.pack("!H", n - 269)
    else:
        head = bytes([15 << 4 | len(token)]) + struct.pack("!I", n - 65805)
    return head + bytes([code]) + token + rest


def options(*pairs):
    """(number, value) in order of number."""
    out, before = b"", 0
    for number, value in pairs:
        parts = []
        for n in (number - before, len(value)):
            parts.append((n, b"") if n < 13 else (13, bytes([n - 13])) if n < 269
                         else (14, struct.pack("!H", n - 269)))
        before = number
        out += bytes([parts[0][0] << 4 | parts[1][0]]) + parts[0][1] + parts[1][1] + value
    return out


def path(text, *more):
    return options(*[(11, s.encode()) for s in text.strip("/").split("/")], *more)


class Peer:
    """`tls`: an ssl.SSLContext, or None."""

    def __init__(self, port, tls=None, csm=CSM, host="127.0.0.1", accepted=None):
        self.sock = accepted or socket.create_connection((host, port), timeout=DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="gateway.test")
        self.have = b""
        if csm:
            self.send(csm)

    def send(self, data):
        self.sock.sendall(data)

    def close(self):
        self.sock.close()

    def _need(self, n):
        while len(self.have) < n:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError
            self.have += got

    def receive(self):
        """(code, token, rest) of the next frame; None: the end."""
        try:
            self._need(2)
            nibble, token_n = self.have[0] >> 4, self.have[0] & 15
            more = {13: 1, 14: 2, 15: 4}.get(nibble, 0)
            self._need(2 + more)
            n = int.from_bytes(self.have[1:1 + more], "big") + {13: 13, 14: 269, 15: 65805}.get(
                nibble, nibble)
            whole = 2 + more + token_n + n
            self._need(whole)
        except (EOFError, ConnectionError, ssl.SSLError):
            return None
        message, self.have = self.have[:whole], self.have[whole:]
        return (message[1 + more], message[2 + more:2 + more + token_n],
                message[2 + more + token_n:])

    def answer(self, token=b"t"):
        """The next message that is no signal: (code as text, rest)."""
        while True:
            got = self.receive()
            if got is None:
                return None
            if got[0] >> 5 != 7 and got[1] == token:
                return "%d.%02d" % (got[0] >> 5, got[0] & 31), got[2]

    def ask(self, where, code=1, token=b"t", more=(), payload=b""):
        self.send(frame(code, token, path(where, *more) + (b"\xff" + payload if payload else b"")))
        return self.answer(token)

    def until_end(self):
        """The codes of all that still comes."""
        codes = []
        while (got := self.receive()) is not None:
            codes.append("%d.%02d" % (got[0] >> 5, got[0] & 31))
        return codes
