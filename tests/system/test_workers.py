"""Several workers: what one of them learns holds at all of them, and a device
that one of them has is the same device for all."""
import concurrent.futures
import json
import socket
import threading
import time
import unittest

import dtls
import mint
import rig
from house import POLICY, PSK, Client, House, claims

N = 4


class Workers(House):
    extra = "workers: %d\n" % N

    def workers(self):
        return json.loads(self.gw.postern("status", "--json", "-c", "postern.yaml", check=0).text)["workers"]

    def clients(self, psk, n=N):
        """An association on each of n workers. The kernel deals by address
        and port, so some ports are tried."""
        found, spare = {}, []
        self.addCleanup(lambda: [c.close() for c in list(found.values()) + spare])
        for _ in range(200):
            before = [w["handshakes_completed"] for w in self.workers()]
            c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=psk)
            after = [w["handshakes_completed"] for w in self.workers()]
            where = [i for i in range(N) if after[i] > before[i]]
            self.assertEqual(len(where), 1, (before, after))
            if where[0] in found:
                spare.append(c)
            else:
                found[where[0]] = c
            if len(found) == n:
                return found
        self.fail("200 ports and only %d workers" % len(found))


class Rights(Workers):
    def test_there_are_as_many_as_told(self):
        self.assertEqual(len(self.workers()), N)

    def test_a_token_posted_to_one_counts_at_all(self):
        for _ in range(6):
            holder = self.enter()
            # The next datagrams of this client go anywhere: it is known there.
            self.ask("/lamp/state", "2.05", holder.psk)
        holder = self.enter()
        for c in self.clients(holder.psk).values():
            self.assertEqual(c.get("/lamp/state"), ("2.05", b"on"))
            self.assertEqual(c.get("/door/lock")[0], "4.03")
        # A newer one of the same key, posted over one association, counts on
        # the others without a new handshake (RFC 9202 4).
        clients = self.clients(holder.psk)
        newer = mint.cwt(self.encrypt, claims(holder.kid, holder.key, aud=["lamp", "door"],
                                              scope="resident"))
        first = clients[min(clients)]
        token = first.request("/authz-info", method=2, payload=newer, options=[(12, b"\x3d")])
        self.assertEqual(first.answer(token)[0], "2.01")
        for c in clients.values():
            self.assertEqual(c.get("/door/lock"), ("2.05", b"shut"))

    def test_revoked_is_revoked_everywhere(self):
        holder = self.enter()
        clients = self.clients(holder.psk)
        for c in clients.values():
            self.assertEqual(c.get("/lamp/state")[0], "2.05")
        self.gw.postern("revoke", "-c", "postern.yaml", "--kid", "0x" + holder.kid.hex(), check=0)
        for where, c in clients.items():
            try:
                code = c.get("/lamp/state")[0]
            except dtls.Refused:
                code = "closed"
            self.assertIn(code, ("4.01", "closed"), where)
        for _ in range(2 * N):
            with self.assertRaises(dtls.Refused):
                dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=holder.psk)

    def test_a_policy_is_everyones_when_reload_says_so(self):
        clients = self.clients((b"visitor", PSK))
        self.addCleanup(lambda: self.gw.reload())
        self.addCleanup(lambda: self.gw.write("policy.yaml", POLICY))
        for _ in range(3):
            for methods, code in (("[PUT]", "4.05"), ("[GET, PUT]", "2.05")):
                old, new = ("[GET, PUT]", methods) if code == "4.05" else ("[PUT]", methods)
                self.gw.edit("policy.yaml", "{path: /lamp/state, methods: %s}\n  resident" % old,
                             "{path: /lamp/state, methods: %s}\n  resident" % new)
                self.gw.postern("reload", "-c", "postern.yaml", check=0)
                for where, c in clients.items():
                    self.assertEqual(c.get("/lamp/state")[0], code, where)

    def test_a_bad_policy_changes_nobody(self):
        clients = self.clients((b"visitor", PSK))
        self.gw.write("policy.yaml", "version: 2\n")
        self.addCleanup(lambda: self.gw.postern("reload", "-c", "postern.yaml", check=0))
        self.addCleanup(lambda: self.gw.write("policy.yaml", POLICY))
        self.assertNotEqual(self.gw.postern("reload", "-c", "postern.yaml").returncode, 0)
        for c in clients.values():
            self.assertEqual(c.get("/lamp/state")[0], "2.05")

    def test_records_are_numbered_in_one_row(self):
        for c in self.clients((b"panel", PSK)).values():
            for _ in range(5):
                self.assertEqual(c.get("/lamp/state")[0], "2.05")
        last = {}
        until = time.monotonic() + rig.DEADLINE
        while len(last) < N and time.monotonic() < until:
            self.gw.audit(lambda r: r.get("subject") == "panel")
            with open(self.gw.path("log/audit.jsonl")) as f:
                records = [json.loads(line) for line in f]
            last = {r["association"] % N for r in records if r.get("association")}
        self.assertEqual([r["seq"] for r in records], list(range(1, len(records) + 1)))
        self.assertEqual(len(last), N, "an association's number tells its worker")

    def test_what_devices_publish_is_known_to_all(self):
        until = time.monotonic() + rig.DEADLINE
        clients = self.clients((b"panel", PSK))
        waiting = dict(clients)
        while waiting and time.monotonic() < until:
            for where, c in list(waiting.items()):
                code, payload = c.get("/.well-known/core")
                self.assertEqual(code, "2.05")
                if b"</lamp/" in payload and b"</door/" in payload:
                    del waiting[where]
        self.assertFalse(waiting)


class OneDevice(Workers):
    """A device of one request at a time, whoever asks."""
    @classmethod
    def devices(cls):
        cls.slow = cls.start(rig.SilentDevice())
        return super().devices() + [{"name": "slow", "path": "/slow", "url": cls.slow.url}]

    def test_each_request_is_counted_once(self):
        """Where its client is, not again where its device is."""
        for c in self.clients((b"panel", PSK)).values():
            self.assertEqual(c.get("/lamp/state")[0], "2.05")
            self.assertEqual(c.get("/door/lock")[0], "2.05")
        status = json.loads(self.gw.postern("status", "--json", "-c", "postern.yaml", check=0).text)
        c = status["counters"]
        self.assertEqual((c["requests"], c["requests_unanswered"]), (c["answers"], 0))

    def test_its_window_is_one_for_all(self):
        self.slow.settle()
        clients = list(self.clients((b"panel", PSK)).values())
        asked = [(c, c.request("/slow/x%d" % i)) for i, c in enumerate(clients * 3)]
        seen = []
        for _ in asked:
            datagram, to = self.slow.receive()
            seen.append(datagram)
            # Nothing else may come before this is answered: retransmissions
            # are its own.
            self.slow.sock.settimeout(0.3)
            try:
                again, _ = self.slow.sock.recvfrom(4096)
                self.assertEqual(again, datagram)
            except socket.timeout:
                pass
            self.slow.sock.settimeout(rig.DEADLINE)
            self.slow.answer(datagram, to, payload=dtls.payload_of(datagram) or b"done")
        for c, token in asked:
            self.assertEqual(c.answer(token)[0], "2.05")
        self.assertEqual(len({d[2:4] for d in seen}), len(asked))

    def test_who_leaves_gives_his_place(self):
        clients = self.clients((b"panel", PSK))
        leaving, staying = [clients[i] for i in sorted(clients)[:2]]
        leaving.request("/slow/left")
        datagram, to = self.slow.receive()
        self.assertIn(b"left", datagram)
        token = staying.request("/slow/next")
        leaving.close()
        datagram, to = self.slow.receive()
        while b"left" in datagram:
            datagram, to = self.slow.receive()
        self.assertIn(b"next", datagram)
        self.slow.answer(datagram, to)
        self.assertEqual(staying.answer(token)[0], "2.05")

    def test_what_waits_is_not_asked_under_another_policy(self):
        clients = list(self.clients((b"panel", PSK)).values())
        before = clients[0].request("/slow/before")
        datagram, to = self.slow.receive()
        while b"before" not in datagram:  # late ones of the test before
            datagram, to = self.slow.receive()
        waiting = [(c, c.request("/slow/waits")) for c in clients]
        while json.loads(self.gw.postern("status", "--json", "-c", "postern.yaml", check=0).text)[
                "devices"][-1]["queued"] < len(clients):
            pass
        self.gw.edit("policy.yaml", "/slow/**", "/slow/other")
        self.addCleanup(self.gw.reload)
        self.addCleanup(self.gw.edit, "policy.yaml", "/slow/other", "/slow/**")
        self.assertIn("event=reload ", self.gw.reload())
        for c, token in waiting:
            self.assertEqual(c.answer(token)[0], "5.03")
        self.slow.answer(datagram, to)
        self.assertEqual(clients[0].answer(before)[0], "2.05")
        for c in clients:
            self.assertEqual(c.get("/slow/waits")[0], "4.03")
        self.slow.sock.settimeout(0.3)
        try:
            self.assertNotIn(b"waits", self.slow.sock.recvfrom(4096)[0])
        except socket.timeout:
            pass
        self.slow.sock.settimeout(rig.DEADLINE)


class Lives(Workers):
    def test_tokens_of_all_workers_survive_a_kill(self):
        holders = []
        for _ in range(8):
            holders.append(self.enter())
        gone = holders.pop()
        self.gw.postern("revoke", "-c", "postern.yaml", "--kid", "0x" + gone.kid.hex(), check=0)
        self.gw.kill()
        self.gw.start()
        for h in holders:
            self.ask("/lamp/state", "2.05", h.psk)
        with self.assertRaises(dtls.Refused):
            dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=gone.psk)

    def test_a_stop_under_load_ends_well(self):
        stop = threading.Event()

        def load(_):
            n = 0
            while not stop.is_set():
                try:
                    c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=(b"panel", PSK),
                                    deadline=2)
                    for _ in range(40):  # then from another port, at another worker
                        code, _ = c.get(("/lamp/state", "/door/lock")[n % 2])
                        n += code == "2.05"
                    c.close()
                except (dtls.Refused, OSError):
                    pass
            return n

        with concurrent.futures.ThreadPoolExecutor(2 * N) as pool:
            try:
                work = [pool.submit(load, i) for i in range(2 * N)]
                # every worker has had something to do
                until = time.monotonic() + rig.DEADLINE
                while min(w["requests"] for w in self.workers()) < 20:
                    self.assertLess(time.monotonic(), until, self.workers())
                for _ in range(5):
                    self.gw.postern("reload", "-c", "postern.yaml", check=0)
                self.gw.stop()
            finally:
                stop.set()
            self.assertGreater(sum(w.result() for w in work), 100)
        self.gw.start()
        self.ask("/lamp/state", "2.05")


if __name__ == "__main__":
    unittest.main()
