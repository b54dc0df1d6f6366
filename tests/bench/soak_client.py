"""Clients that live with a bad line: DTLS flights and CoAP messages are sent
again until they are answered or their time is over. Each does by chance what
clients do, one thing after the other; a seed makes it the same again."""
import ctypes
import random
import socket
import struct
import time

import device
import dtls

OBSERVE, BLOCK1, CONTENT_FORMAT = 6, 27, 12
GET, POST, PUT, DELETE = 1, 2, 3, 4
HANDLE_TIMEOUT = 74            # DTLS_CTRL_HANDLE_TIMEOUT of OpenSSL
TRIES, FIRST_WAIT_S = 6, 1.5   # one more than RFC 7252 4.8, as the line is worse
HANDSHAKE_S = 20


class Gone(Exception):
    """The association ended, or its handshake."""


class Patient(dtls.Client):
    """One association."""

    def __init__(self, to, psk, local):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((local, 0))
        self.shaking = True
        try:
            super().__init__(to, psk=psk, sock=sock, deadline=HANDSHAKE_S)
        except (dtls.Refused, OSError) as e:
            sock.close()
            raise Gone(str(e))
        self.shaking = False
        self.notified, self.seen = {}, {}

    def _feed(self, until):
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise socket.timeout("no datagram before the deadline")
            self.sock.settimeout(min(left, 1.0) if self.shaking else left)
            try:
                datagram = self.sock.recv(4096)
            except socket.timeout:
                if self.shaking:
                    dtls._ctrl(self.ssl, HANDLE_TIMEOUT, 0, None)
                    self._flush()
                continue
            except ConnectionRefusedError:
                continue
            dtls._bio_write(self.inward, datagram, len(datagram))
            return

    def hear(self, until):
        """The next message; None when nothing comes until then."""
        self.deadline = max(0.001, until - time.monotonic())
        try:
            return self.receive()
        except socket.timeout:
            return None
        except (dtls.Refused, OSError) as e:
            raise Gone(str(e))

    def take(self, m, token):
        """(code, payload) if it is the answer to that token. A notification is
        acknowledged and counted; one of an observation that is over, reset."""
        kind, code, mid, tkl = m[0] >> 4 & 3, m[1], m[2:4], m[0] & 15
        mine = m[4:4 + tkl]
        if code >> 5 < 2:
            return None
        if kind == 0:
            known = mine == token or mine in self.notified or mine in self.seen
            self.send((b"\x60\x00" if known else b"\x70\x00") + mid)
        if mine == token:
            self.seen[mine] = True
            return "%d.%02d" % (code >> 5, code & 31), dtls.payload_of(m)
        if mine in self.notified:
            self.notified[mine] += 1
        return None

    def ask(self, path, method=GET, payload=b"", options=(), token=None):
        """(code, payload) or None: no answer to any of the transmissions."""
        self.mid = self.mid % 65535 + 1
        token = token or struct.pack("!HH", self.mid, 7)
        datagram = dtls.message(0, method, self.mid, token, path, payload, options)
        end, wait, again, acked = time.monotonic() + 60, FIRST_WAIT_S, 0.0, False
        tries = 0
        while time.monotonic() < end:
            now = time.monotonic()
            if not acked and now >= again:
                if tries == TRIES:
                    return None
                tries, again, wait = tries + 1, now + wait, wait * 2
                self.send(datagram)
            m = self.hear(end if acked else min(end, again))
            if m and m[:2] == b"\x60\x00" and m[2:4] == struct.pack("!H", self.mid):
                acked = True
            elif m:
                answer = self.take(m, token)
                if answer:
                    return answer
        return None

    def leave(self, silently):
        if silently:
            self.sock.close()
            dtls._free(self.ssl)
            dtls._ctx_free(self.ctx)
            self.ssl = None
        else:
            self.close()


class Actor:
    """One client: its proof, its association, and what became of it all."""

    def __init__(self, number, to, local, proof, sleep_s):
        self.rng = random.Random(number)
        self.to, self.local, self.proof, self.sleep_s = to, local, proof, sleep_s
        self.link, self.number = None, number
        self.count = {}

    def note(self, what, n=1):
        self.count[what] = self.count.get(what, 0) + n

    def ask(self, *args, **more):
        self.note("asked")
        answer = self.link.ask(*args, **more)
        self.note("lost" if answer is None else "answered")
        self.note("none" if answer is None else answer[0])
        return answer

    # ---- what it does ----

    def get(self):
        self.ask(self.rng.choice(("/lamp/state", "/store/small", "/door/x", "/lamp/time",
                                  "/.well-known/core")))

    def put(self):
        self.ask(self.rng.choice(("/lamp/state", "/store/small")), PUT,
                 bytes(self.rng.randrange(1, 300)), [(CONTENT_FORMAT, b"")])

    def refused(self):
        self.ask(self.rng.choice(("/lamp/firmware", "/nowhere", "/door/lock", "/store")),
                 self.rng.choice((PUT, POST, DELETE)), b"x")

    def blocks_up(self):
        body, size = bytes(self.rng.randrange(200, 900)), 64
        n = (len(body) + size - 1) // size
        for i in range(n):
            block = device.block(i, i < n - 1, 2)
            a = self.ask("/store/big%d" % self.number, PUT, body[i * size:(i + 1) * size],
                         [(BLOCK1, block)])
            if a is None or a[0] not in ("2.31", "2.04"):
                return
        self.note("bodies")

    def blocks_down(self):
        for i in range(30):
            a = self.ask("/store/large", options=[(23, device.block(i, False, 2))])
            if a is None or a[0] != "2.05" or len(a[1]) < 64:
                return

    def observe(self):
        token = b"ob" + struct.pack("!H", self.rng.randrange(65536))
        self.link.notified[token] = 0
        path = self.rng.choice(("/store/ticks", "/lamp/time"))
        a = self.ask(path, options=[(OBSERVE, b"")], token=token)
        until = time.monotonic() + self.rng.uniform(0.5, 3)
        while a and a[0] == "2.05" and time.monotonic() < until:
            m = self.link.hear(until)
            if m:
                self.link.take(m, b"")
        self.note("notified", self.link.notified.pop(token))
        if self.rng.random() < 0.6:  # else by RST, or by leaving
            self.ask(path, options=[(OBSERVE, b"\1")], token=token)

    def token(self):
        self.proof.renew(self)

    def idle(self):
        until = time.monotonic() + self.sleep_s
        while self.link.hear(until):
            continue

    def reconnect(self):
        self.link.leave(self.rng.random() < 0.5)
        self.link = None

    DEEDS = ((get, 40), (put, 20), (refused, 8), (blocks_up, 5), (blocks_down, 4), (observe, 8),
             (token, 4), (idle, 2), (reconnect, 4))

    def run(self, stop):
        deeds, weights = zip(*self.DEEDS)
        while not stop.is_set():
            try:
                if not self.link:
                    self.link = Patient(self.to, self.proof.psk(), self.local)
                    self.note("handshakes")
                self.rng.choices(deeds, weights)[0](self)
            except (Gone, dtls.Refused, OSError):
                self.note("ended")
                self.drop()
                if not stop.is_set():
                    self.proof.renew(None)
        self.drop()

    def drop(self):
        if self.link and self.link.ssl:
            self.link.leave(False)
        self.link = None
