"""A device at the other end of a bad line: keeps bodies in blocks, has a
resource that ticks for its observers, and now and then restarts, which makes
it forget all but its port."""
import os
import random
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import device  # noqa: E402

OBSERVE, TICK_S, NOTICE_TRIES = 6, 0.5, 4


class Ticking:
    def __init__(self, address, port, restart_s, seed):
        self.rng = random.Random(seed)
        self.address, self.port, self.restart_s = address, port, restart_s
        self.begin()

    def begin(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((self.address, self.port))
        self.store = device.Store(2)
        self.store.bodies["/large"] = bytes(range(256)) * 5
        self.store.bodies["/small"] = b"20 bytes of content."
        self.known, self.watchers, self.unheard = {}, {}, {}
        self.mid = self.rng.randrange(65536)
        self.number = 2
        self.until = time.monotonic() + self.restart_s * self.rng.uniform(0.7, 1.3)

    def send(self, to, datagram):
        try:
            self.sock.sendto(datagram, to)
        except ConnectionRefusedError:
            pass

    def answer(self, r, to):
        if r.path == "/ticks":
            options = [(device.MAX_AGE, b"\x02")]
            wish = r.first(OBSERVE)
            if wish == b"" and len(self.watchers) < 64:
                self.watchers[to, r.token] = 0
                options.append((OBSERVE, device.uint(self.number)))
            elif wish is not None:
                self.watchers.pop((to, r.token), None)
            return "2.05", options, b"%d" % self.number
        if r.path == "/silent":
            return None
        if r.path == "/.well-known/core":
            return "2.05", [(device.CONTENT_FORMAT, b"\x28")], b"</ticks>;obs,</small>,</large>"
        return self.store(r)

    def take(self, datagram, to):
        if len(datagram) < 4 or datagram[0] >> 6 != 1:
            return
        kind, mid = datagram[0] >> 4 & 3, datagram[2:4]
        if kind > 1:
            watcher = self.unheard.pop((to, mid), None)
            if watcher and kind == 3:
                self.watchers.pop(watcher, None)
            return
        if not 0 < datagram[1] < 32:
            return
        if (to, datagram) not in self.known:
            if len(self.known) > 5000:
                self.known.clear()
            r = device.Request(datagram)
            a = self.answer(r, to)
            self.known[to, datagram] = a and device.CoapDevice._message(r, *a)
        if self.known[to, datagram]:
            self.send(to, self.known[to, datagram])

    def tick(self):
        self.number += 1
        for (to, token), unheard in list(self.watchers.items()):
            confirm = self.number % 8 == 0
            self.mid = (self.mid + 1) % 65536
            mid = self.mid.to_bytes(2, "big")
            if confirm and unheard >= NOTICE_TRIES:
                del self.watchers[to, token]
                continue
            self.unheard[to, mid] = (to, token)  # an RST may come for a NON, too
            self.watchers[to, token] = unheard + 1 if confirm else unheard
            self.send(to, bytes([(0x40 if confirm else 0x50) | len(token), 0x45]) + mid + token +
                      device.encode([(OBSERVE, device.uint(self.number)),
                                     (device.MAX_AGE, b"\x02")]) + b"\xff%d" % self.number)
        if len(self.unheard) > 5000:
            self.unheard.clear()

    def run(self):
        due = time.monotonic() + TICK_S
        while True:
            if time.monotonic() >= self.until:
                self.sock.close()
                self.begin()
            ready, _, _ = select.select([self.sock], [], [], max(0, due - time.monotonic()))
            if ready:
                try:
                    datagram, to = self.sock.recvfrom(4096)
                except ConnectionRefusedError:
                    continue
                for w in [w for w in self.watchers if w[0] == to and datagram[2:4] and
                          datagram[0] >> 4 & 3 == 2]:
                    self.watchers[w] = 0
                self.take(datagram, to)
            else:
                self.tick()
                due = time.monotonic() + TICK_S


def main(address, port, restart_s, seed):
    d = Ticking(address, int(port), float(restart_s), int(seed))
    print("ready", flush=True)
    d.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
