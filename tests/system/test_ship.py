"""The audit goes home: collectors that hang, fail, lie and vanish; a daemon
that is killed in between; every decision arrives, in order."""
import json
import os
import shutil
import tempfile
import threading
import time
import unittest

import collector
import dtls
import house
import rig

POLICY = """\
version: 1
roles: {guest: {permit: [{path: /lamp/state, methods: [GET]}]}}
subjects: [{name: visitor, psk-identity: visitor, key-file: keys/visitor.psk, roles: [guest]}]
"""


class Ship(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lamp = rig.Device()  # a planned stop need not wait for it

    @classmethod
    def tearDownClass(cls):
        cls.lamp.stop()

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="postern-ship-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def begin(self, to, **ship):
        """The gateway, shipping there."""
        ship = {"to": to, **ship}
        self.gw = rig.Gateway(
            POLICY, [{"name": "lamp", "path": "/lamp", "url": self.lamp.url}],
            secrets={"keys/visitor.psk": house.PSK.hex() + "\n",
                     "tls/token": "abc.DEF-123\n"},
            audit=", ship: {%s}" % ", ".join("%s: %s" % (k.replace("_", "-"), json.dumps(v))
                                             for k, v in ship.items()))
        self.addCleanup(self.gw.close)
        self.client = None
        self.asked = 0

    def keep(self, c):
        self.addCleanup(c.stop)
        return c

    def decide(self, n=1, client=None):
        """n denials, each answered; how long each took."""
        if not self.client:
            self.client = dtls.Client(("127.0.0.1", self.gw.ports[4][1]),
                                      psk=(b"visitor", house.PSK))
            self.addCleanup(self.client.close)
        took = []
        for _ in range(n):
            before = time.monotonic()
            code = self.client.get("/lamp/%d" % self.asked)[0]
            took.append(time.monotonic() - before)
            self.assertEqual(code, "4.03")
            self.asked += 1
        return took

    def written(self):
        """The last number in the file, once the last decision is there."""
        want = "/lamp/%d" % (self.asked - 1)
        return self.gw.audit(lambda r: r.get("path") == want)["seq"]

    def killed(self):
        self.written()
        self.gw.kill()
        self.client = None
        self.gw.start()

    def status(self):
        run = self.gw.postern("status", "-c", "postern.yaml", "--json", check=0)
        return json.loads(run.text)["audit_ship"]

    def wait_status(self, what):
        until, never = time.monotonic() + rig.DEADLINE, threading.Event()
        while True:
            s = self.status()
            if what(s):
                return s
            self.assertLess(time.monotonic(), until, s)
            never.wait(0.05)

    def certificates(self, common="127.0.0.1"):
        ca = house.certificate(self.dir, "ca", "test CA", ca=True)
        _, _, files = house.certificate(self.dir, "collector", common, issuer=ca)
        _, _, own = house.certificate(self.dir, "gateway", "gateway.test", issuer=ca)
        return ca[2][0], files, own


class SyslogTcp(Ship):
    def test_every_decision_in_order_with_its_number(self):
        c = self.keep(collector.Syslog())
        self.begin("syslog://127.0.0.1:%d" % c.port)
        self.decide(50)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)
        m = next(h for r, h in zip(c.records, c.headers) if r.get("path") == "/lamp/7")
        self.assertEqual((m["pri"], m["verdict"], m["subject"], m["id"]),
                         ("85", "deny", "visitor", "decision"))
        self.assertEqual(m["time"], json.loads(m["record"])["time"])
        s = self.wait_status(lambda s: s["shipped"] == last)
        self.assertEqual((s["collector"], s["waiting"], s["lost"], s["last_error"]),
                         ("up", 0, 0, None))
        text = self.gw.postern("status", "-c", "postern.yaml", check=0).text
        self.assertRegex(text, r"audit to +syslog://127\.0\.0\.1:\d+, up since ")
        self.assertRegex(text, r"shipped up to %d, waiting 0, lost 0" % last)

    def test_away_and_back(self):
        c = self.keep(collector.Syslog())
        self.begin("syslog://127.0.0.1:%d" % c.port)
        for _ in range(2):
            self.decide(20)
            c.wait_seq(self.written())
            c.stop()
            self.gw.proc.wait_line("audit-collector-away")
            self.decide(20)
            s = self.wait_status(lambda s: s["collector"] == "down" and s["waiting"] >= 20)
            self.assertTrue(s["last_error"])
            c.start()
            c.wait_seq(self.written())
        last = self.written()
        self.assertEqual(c.expect_whole(1, last), 0)
        self.wait_status(lambda s: s["collector"] == "up" and s["shipped"] == last)

    def test_cut_in_the_middle_of_a_message(self):
        c = self.keep(collector.Syslog())
        c.close_after = 4000
        self.begin("syslog://127.0.0.1:%d" % c.port, batch=40)
        self.decide(100)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)
        self.assertGreaterEqual(c.connections, 2)

    def test_killed_again_and_again(self):
        c = self.keep(collector.Syslog())
        self.begin("syslog://127.0.0.1:%d" % c.port)
        for i in range(3):
            self.decide(20)
            if i == 1:
                c.stop()
            self.killed()
        c.start()
        self.decide(5)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)
        streams = {m["stream"] for m in c.headers}
        self.assertEqual(len(streams), 1)
        # A number stands for one record, however often it comes.
        said = {}
        for r in c.records:
            self.assertEqual(said.setdefault(r["seq"], r), r)

    def test_unread_when_it_died(self):
        """What the collector's kernel took and nobody read is sent again."""
        c = self.keep(collector.Syslog())
        c.reading.clear()
        self.begin("syslog://127.0.0.1:%d" % c.port)
        c.wait(lambda _: c.connections == 1)
        self.decide(30)
        last = self.written()
        self.wait_status(lambda s: s["shipped"] == last)
        c.stop()
        c.start()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)

    def test_a_planned_stop_delivers_and_repeats_nothing(self):
        c = self.keep(collector.Syslog())
        self.begin("syslog://127.0.0.1:%d" % c.port)
        self.decide(30)
        last = self.written()
        self.client.close()
        self.client = None
        self.gw.stop()
        c.wait_seq(last)
        self.gw.start()
        self.decide(5)
        last = self.written()
        c.wait_seq(last)
        c.expect_whole(1, last)
        self.assertEqual(len(c.records), last)


class SyslogHeld(Ship):
    slow = 15

    def settled(self):
        with open(self.gw.path("state/audit/position"), "rb") as f:
            text = f.read()
        slots = [text[i:i + 50].split() for i in (0, 512)]
        return max(((int(s[0], 16), int(s[1], 16)) for s in slots if len(s) >= 3),
                   default=(0, 0))[1]

    def test_settled_when_the_connection_lived_on(self):
        c = self.keep(collector.Syslog())
        self.begin("syslog://127.0.0.1:%d" % c.port)
        self.decide(20)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(self.settled(), 0)
        until, never = time.monotonic() + rig.DEADLINE, threading.Event()
        while self.settled() < last and time.monotonic() < until:
            never.wait(0.1)
        self.assertEqual(self.settled(), last)
        self.killed()
        self.decide(5)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)
        self.assertEqual(len(c.records), last)  # nothing twice, though it was killed


class SyslogTls(Ship):
    def test_verified_both_ways(self):
        ca, files, own = self.certificates()
        c = self.keep(collector.Syslog(tls=files, require=ca))
        self.begin("syslog+tls://127.0.0.1:%d" % c.port, ca=ca, certificate=own[0], key=own[1])
        self.decide(30)
        c.wait_seq(self.written())
        c.stop()
        self.decide(30)
        self.killed()
        c.start()
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)

    def refused(self, ca, port, scheme="syslog+tls"):
        self.begin("%s://127.0.0.1:%d" % (scheme, port), ca=ca)
        self.decide(3)
        s = self.wait_status(lambda s: s["collector"] == "down")
        self.assertRegex(s["last_error"], "(?i)certificate|SSL")
        self.assertEqual(s["shipped"], 0)

    def test_a_certificate_of_another_authority(self):
        _, files, _ = self.certificates()
        other = house.certificate(self.dir, "other", "other CA", ca=True)[2][0]
        c = self.keep(collector.Syslog(tls=files))
        self.refused(other, c.port)
        self.assertEqual(c.records, [])

    def test_a_certificate_with_another_name(self):
        ca, files, _ = self.certificates("elsewhere.test")
        c = self.keep(collector.Syslog(tls=files))
        self.refused(ca, c.port)
        self.assertEqual(c.records, [])

    def test_a_certificate_with_another_name_by_https(self):
        ca, files, _ = self.certificates("elsewhere.test")
        c = self.keep(collector.Http(tls=files))
        self.refused(ca, c.port, "https")
        self.assertEqual(c.records, [])


class SyslogLocal(Ship):
    def test_away_and_back(self):
        path = os.path.join(self.dir, "log")
        c = self.keep(collector.Local(path))
        self.begin("syslog:" + path)
        self.decide(20)
        c.wait_seq(self.written())
        c.stop()
        self.decide(20)
        self.wait_status(lambda s: s["collector"] == "down")
        self.killed()
        c.start()
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)


class Https(Ship):
    def begin_https(self, **more):
        ca, files, own = self.certificates()
        c = self.keep(collector.Http(tls=files, require=ca, token="abc.DEF-123"))
        self.begin("https://127.0.0.1:%d/audit" % c.port, ca=ca, certificate=own[0], key=own[1],
                   token_file="tls/token", **more)
        return c

    def test_in_batches_with_a_token(self):
        c = self.begin_https(batch=7)
        self.decide(50)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)
        self.assertEqual(len(c.records), last)  # and nothing twice
        self.assertLessEqual(max(c.batches), 7)
        self.assertEqual(len({h["Postern-Stream"] for h in c.headers}), 1)
        self.wait_status(lambda s: (s["collector"], s["shipped"]) == ("up", last))

    def test_a_new_token_needs_no_reload(self):
        c = self.begin_https()
        c.token = "new"
        self.decide(5)
        self.wait_status(lambda s: s["last_error"] == "HTTP status 401")
        self.gw.write("tls/token", "new\n")
        c.wait_seq(self.written())
        c.expect_whole(1, self.written())

    def test_errors_cuts_and_a_crash(self):
        c = self.begin_https(batch=20)
        c.status = [500, 503, 204]
        c.cut = 1
        self.decide(50)
        self.gw.proc.wait_line("audit-collector-away")
        self.killed()
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)

    def test_acknowledged_too_late(self):
        """The daemon dies before the acknowledgement: the batch comes again."""
        c = self.begin_https()
        c.answering.clear()
        self.decide(10)
        c.wait(lambda _: c.asked == 1)
        self.killed()
        c.answering.set()
        self.decide(1)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)
        self.assertGreater(len(c.records), last)

    def test_smaller_batches_when_asked(self):
        c = self.begin_https()
        c.most = 3
        self.decide(20)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)


class Bounds(Ship):
    def test_the_oldest_are_lost_and_that_is_told(self):
        c = self.keep(collector.Http())
        c.stop()
        self.begin("http://127.0.0.1:%d/audit" % c.port, spool="256K")
        self.decide(1200)
        last = self.written()
        spool = self.gw.path("state", "audit")
        size = sum(os.path.getsize(os.path.join(spool, f)) for f in os.listdir(spool))
        self.assertLessEqual(size, 256 << 10)
        before = self.wait_status(lambda s: s["lost"] > 0)
        self.assertEqual(before["lost"] + before["waiting"], last)
        self.gw.proc.wait_line("audit-spool-full")
        self.killed()
        c.start()
        c.wait_seq(last)
        lost = c.expect_whole(1, last)
        # Nothing was delivered before: what is told is all that is missing.
        missing = set(range(1, last + 1)) - {r["seq"] for r in c.records
                                              if r.get("where") != "spool"}
        self.assertEqual(len(missing), lost)
        self.assertEqual(missing, set(range(1, lost + 1)))
        s = self.wait_status(lambda s: s["shipped"] == last)
        self.assertEqual((s["lost"], s["waiting"]), (lost, 0))

    def test_rotation_touches_nothing(self):
        c = self.keep(collector.Http())
        c.stop()
        self.begin("http://127.0.0.1:%d/audit" % c.port)
        self.decide(10)
        self.written()
        os.unlink(self.gw.path("log/audit.jsonl"))
        self.gw.reload()
        self.gw.kill()  # the file is gone, and numbers go on
        self.client = None
        self.gw.start()
        self.decide(10)
        last = self.written()
        c.start()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)

    def hang(self, c, going):
        self.decide(20)
        p99 = []
        for hang in (False, True):
            if hang:
                going.clear()
            took = sorted(self.decide(600))
            p99.append(took[int(len(took) * 0.99)])
        # A worker that waited would wait for seconds.
        self.assertLess(p99[1], 2 * p99[0] + 0.05, p99)
        self.assertLess(took[-1], 2)
        going.set()
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)

    def test_clients_do_not_notice_syslog_that_hangs(self):
        c = self.keep(collector.Syslog())
        self.begin("syslog://127.0.0.1:%d" % c.port)
        self.hang(c, c.reading)

    def test_clients_do_not_notice_http_that_hangs(self):
        c = self.keep(collector.Http())
        self.begin("http://127.0.0.1:%d/audit" % c.port)
        self.hang(c, c.answering)

    def test_a_planned_stop_does_not_wait_for_one_that_hangs(self):
        c = self.keep(collector.Http())
        c.answering.clear()
        self.begin("http://127.0.0.1:%d/audit" % c.port)
        self.decide(10)
        c.wait(lambda _: c.asked == 1)
        self.client.close()
        self.client = None
        before = time.monotonic()
        self.gw.stop()
        self.assertLess(time.monotonic() - before, 10)  # 2 s for it, 5 s for the rest
        c.answering.set()
        self.gw.start()
        self.decide(1)
        last = self.written()
        c.wait_seq(last)
        self.assertEqual(c.expect_whole(1, last), 0)


class Misused(Ship):
    def test_what_check_says(self):
        c = self.keep(collector.Http())
        self.begin("http://127.0.0.1:%d/audit" % c.port)
        self.gw.edit("postern.yaml", "http://127.0.0.1", "http://collector.example")
        run = self.gw.postern("check", "-c", "postern.yaml", check=78)
        self.assertRegex(run.err + run.text,
                         r"postern\.yaml:\d+:\d+: error: without TLS only to loopback")
