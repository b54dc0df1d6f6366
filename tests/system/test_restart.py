"""A planned restart: stock clients go on where they were; what is kept is good
once, and after a crash nothing is."""
import os
import shutil
import socket
import sys
import threading
import time

import dtls
import rig
from house import House, PSK

# From 3 on, and for this process (sd_listen_fds(3)).
AS_MANAGER = """import os, sys
for i, fd in enumerate(sys.argv[1].split(",")):
    os.dup2(int(fd), 3 + i)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
FAST = "limits: {sleep: 1s}\n"


class Manager:
    """As much of a service manager as posternd speaks to: it holds file
    descriptors from one process to the next (sd_notify(3), FDSTORE)."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.held, self.states = {}, []
        self.keeps = True
        self.news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            except OSError:
                return
            if not data:
                return
            state = dict(l.split("=", 1) for l in data.decode().split("\n") if "=" in l)
            name = state.get("FDNAME")
            if "FDSTORE" in state and self.keeps:
                self.held[name] = fds.pop()
            if "FDSTOREREMOVE" in state and name in self.held:
                os.close(self.held.pop(name))
            for fd in fds:  # of a BARRIER too: closed when it was come to
                os.close(fd)
            with self.news:
                self.states.append(state)
                self.news.notify_all()

    def wait(self, key):
        with self.news:
            if not self.news.wait_for(lambda: any(key in s for s in self.states), rig.DEADLINE):
                raise AssertionError("%s did not come: %r" % (key, self.states))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for fd in self.held.values():
            os.close(fd)


class Restart(House):
    def setUp(self):
        super().setUp()
        self.manager = None

    def house(self, extra="", manager=True):
        gw = rig.Gateway(self.policy, self.devices(), extra=FAST + extra, secrets=self.secrets())
        self.addCleanup(gw.close)
        gw.stop()
        if manager:
            self.manager = Manager(gw.dir)
            self.addCleanup(self.manager.close)
        self.start_of(gw)
        return gw

    def start_of(self, gw):
        """Starts it as the manager does, and gives it what is held."""
        argv = [os.path.join(rig.BUILD, "posternd"), "-c", gw.path("postern.yaml")]
        env = dict(os.environ)
        fds = []
        if self.manager:
            env["NOTIFY_SOCKET"] = self.manager.path
            fds = sorted(self.manager.held.items())
        if fds:
            env["LISTEN_FDS"] = str(len(fds))
            env["LISTEN_FDNAMES"] = ":".join(n for n, _ in fds)
            argv = [sys.executable, "-c", AS_MANAGER, ",".join(str(fd) for _, fd in fds)] + argv
        gw.proc = rig.Process(argv, env=env, pass_fds=[fd for _, fd in fds])
        gw.proc.wait_line(r"\bready\b")

    def client(self, gw):
        c = dtls.Client(("127.0.0.1", gw.ports[4][1]), psk=(b"panel", PSK))
        self.addCleanup(c.close)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        return c

    def status(self, gw):
        return gw.postern("status", "-c", "postern.yaml", check=0).text

    def slept(self, gw):
        until = time.monotonic() + rig.DEADLINE
        while "asleep 1," not in self.status(gw):
            self.assertLess(time.monotonic(), until)
            threading.Event().wait(0.05)

    def left(self, gw):
        return [n for n in os.listdir(gw.path("state")) if n.startswith("associations")]

    def test_a_client_goes_on(self):
        gw = self.house()
        c = self.client(gw)
        self.slept(gw)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        for _ in range(3):
            gw.stop()
            self.assertEqual(self.left(gw), ["associations"])
            self.assertEqual(list(self.manager.held), ["postern-restart"])
            self.start_of(gw)
            self.assertEqual(self.left(gw), [])
            self.assertIn("restored", gw.proc.output())
            self.assertEqual(c.get("/lamp/state")[0], "2.05")
        self.assertRegex(self.status(gw), r"associations_restored +1")
        self.manager.wait("FDSTOREREMOVE")

    def test_each_worker_gets_its_own_back(self):
        gw = self.house("workers: 3\n")
        clients = [self.client(gw) for _ in range(24)]
        for _ in range(2):
            gw.stop()
            self.start_of(gw)
            self.assertIn("count=24", gw.proc.output())
            for c in clients:
                self.assertEqual(c.get("/lamp/state")[0], "2.05")
        # Of another number the kernel would give them to others.
        gw.stop()
        gw.edit("postern.yaml", "workers: 3", "workers: 2")
        self.start_of(gw)
        self.assertIn("another number of workers", gw.proc.output())

    def test_stock_observers_go_on(self):
        """coap-client keeps its session and its observation; the device is
        asked again, and what it says comes as a notification."""
        gw = self.house()
        watchers = [rig.Process(["coap-client-" + tls, "-v", "7", "-s", "60", "-B", "60", "-u",
                                 b"panel", "-k", PSK, gw.coaps("/lamp/state")])
                    for tls in ("openssl", "gnutls")]
        for w in watchers:
            self.addCleanup(w.stop)
            w.wait_line(r"2\.05")
        marks = [w.mark() for w in watchers]
        gw.stop()
        self.start_of(gw)
        self.assertIn("count=2", gw.proc.output())
        for w, m in zip(watchers, marks):
            w.wait_line(r"2\.05.*Observe", m)

    def test_observers_at_several_workers(self):
        """The device belongs to one of them; those who watch are with all."""
        gw = self.house("workers: 3\n")
        watchers = [rig.Process(["coap-client-openssl", "-v", "7", "-s", "60", "-B", "60", "-u",
                                 b"panel", "-k", PSK, gw.coaps("/lamp/state")])
                    for _ in range(6)]
        for w in watchers:
            self.addCleanup(w.stop)
            w.wait_line(r"2\.05")
        marks = [w.mark() for w in watchers]
        gw.stop()
        self.start_of(gw)
        self.assertIn("count=6", gw.proc.output())
        for w, m in zip(watchers, marks):
            w.wait_line(r"2\.05.*Observe", m)

    def test_no_manager_nothing_kept(self):
        gw = self.house(manager=False)
        c = self.client(gw)
        gw.stop()
        self.assertEqual(self.left(gw), [])
        self.start_of(gw)
        self.assertNotIn("restored", gw.proc.output())
        with self.assertRaises(Exception):  # it was told that it is over
            c.get("/lamp/state")

    def test_a_manager_that_keeps_nothing(self):
        gw = self.house()
        self.client(gw)
        self.manager.keeps = False
        gw.stop()
        self.start_of(gw)
        self.assertIn("their key is not there", gw.proc.output())
        self.assertEqual(self.left(gw), [])

    def test_a_copy_is_worth_nothing(self):
        """The file and the key are put back after they were used."""
        gw = self.house()
        c = self.client(gw)
        gw.stop()
        copy = gw.path("copy")
        shutil.copy(gw.path("state", "associations"), copy)
        stolen = os.dup(self.manager.held["postern-restart"])
        self.start_of(gw)
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        self.assertEqual(os.fstat(stolen).st_size, 0)  # wiped where it was
        gw.kill()
        shutil.copy(copy, gw.path("state", "associations"))
        self.manager.held["postern-restart"] = stolen
        self.start_of(gw)
        self.assertIn("their key is not there", gw.proc.output())
        self.assertEqual(self.left(gw), [])

    def test_a_changed_file_is_refused_whole(self):
        gw = self.house()
        self.client(gw)
        gw.stop()
        with open(gw.path("state", "associations"), "r+b") as f:
            f.seek(-1, 2)
            last = f.read(1)
            f.seek(-1, 2)
            f.write(bytes([last[0] ^ 1]))
        self.start_of(gw)
        self.assertIn("not what was saved", gw.proc.output())
        self.assertEqual(self.left(gw), [])
        self.assertEqual(rig.coap(gw.coaps("/lamp/state"), psk=(b"panel", PSK)).code, "2.05")

    def test_killed(self):
        """Associations are gone, and their file is none; grants are kept (see
        test_operation)."""
        gw = self.house()
        self.client(gw)
        gw.kill()
        self.assertEqual(self.left(gw), [])
        self.start_of(gw)
        self.assertNotIn("restored", gw.proc.output())

    def test_beside_its_key(self):
        gw = self.house("restart: state\n", manager=False)
        c = self.client(gw)
        gw.stop()
        self.assertEqual(sorted(self.left(gw)), ["associations", "associations.key"])
        for name in self.left(gw):
            shutil.copy(gw.path("state", name), gw.path(name + ".copy"))
            self.assertEqual(os.stat(gw.path("state", name)).st_mode & 0o777, 0o600)
        self.start_of(gw)
        self.assertEqual(self.left(gw), [])
        self.assertEqual(c.get("/lamp/state")[0], "2.05")
        # Put back while it is good: it was used before, and that is known.
        gw.kill()
        for name in ("associations", "associations.key"):
            os.rename(gw.path(name + ".copy"), gw.path("state", name))
        self.start_of(gw)
        self.assertIn("used before", gw.proc.output())
        self.assertEqual(self.left(gw), [])

    def test_a_subject_that_is_no_more(self):
        gw = self.house()
        c = self.client(gw)
        gw.stop()
        gw.edit("policy.yaml", "psk-identity: panel", "psk-identity: another")
        self.start_of(gw)
        self.assertIn("dropped=1", gw.proc.output())
        with self.assertRaises(Exception):
            c.get("/lamp/state")
