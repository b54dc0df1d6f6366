"""Devices that are reached by HTTP: what is asked there, what comes back, and
servers that are strict, slow, wrong or hostile."""
import concurrent.futures
import json
import os
import random
import signal
import socket
import tempfile
import threading

import dtls
import house
import rig
from house import House, PSK
from web import WebDevice, reply

PANEL = (b"panel", PSK)
JSON = ("Content-Type", "application/json")
TEXT = ("Content-Type", "text/plain; charset=UTF-8")
ETAG, ACCEPT, BLOCK1, BLOCK2 = 4, 17, 27, 23


class Web(House):
    """Each test says what the device answers, by path."""

    @classmethod
    def devices(cls):
        cls.answers = {}
        cls.web = cls.start(WebDevice(lambda r: cls.answers[r.target.split("?")[0]](r)))
        return super().devices() + [
            {"name": "web", "path": "/web", "url": cls.web.url + "/api", "window": 8}]

    policy = House.policy.replace(
        "      - {path: /slow/**, methods: [GET]}\n",
        "      - {path: /web/**, methods: [GET, PUT, POST, DELETE, FETCH, PATCH, iPATCH]}\n")

    def answer(self, path, how):
        self.answers["/api/" + path] = how if callable(how) else lambda r: how

    def last(self):
        return self.web.requests[-1]

    def body_of(self, n):
        return bytes(random.randrange(256) for _ in range(n))

    def get_body(self, path, size=1024):
        """In blocks, as the stock client puts them together."""
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "body")
            a = rig.coap(self.gw.coaps(path), psk=PANEL, wait=60,
                         more=("-b", str(size), "-o", out))
            self.assertTrue(os.path.exists(out), a.output[-3000:])
            with open(out, "rb") as f:
                return f.read()

    def send_body(self, path, body, size, method="put", wait=60):
        with tempfile.NamedTemporaryFile() as f:
            f.write(body)
            f.flush()
            return rig.coap(self.gw.coaps(path), method, fmt=42, psk=PANEL, wait=wait,
                            more=("-b", str(size), "-f", f.name))

    # ---- what is asked ----

    def test_get(self):
        self.answer("state", reply(200, b'{"on":1}', JSON, ("Cache-Control", "max-age=20")))
        a = self.ask("/web/state?x=1&y=a+b", "2.05")
        self.assertEqual(a.payload, b'{"on":1}')
        self.assertRegex(a.options, "Content-Format:application/json")
        self.assertRegex(a.options, "Max-Age:(20|19)")
        r = self.last()
        self.assertEqual((r.method, r.target, r.body), ("GET", "/api/state?x=1&y=a%2Bb", b""))
        self.assertEqual(r.headers["host"], "127.0.0.1:%d" % self.web.port)
        self.assertEqual(set(r.headers), {"host", "user-agent", "accept"})

    def test_methods(self):
        for method, status, code, body in (
                ("put", 200, "2.04", b"1"), ("put", 201, "2.01", b"1"), ("put", 204, "2.04", b"1"),
                ("post", 200, "2.04", b"2"), ("post", 202, "2.04", b""), ("patch", 204, "2.04", b"3"),
                ("ipatch", 200, "2.04", b"3"), ("delete", 204, "2.02", b"")):
            with self.subTest(method=method, status=status):
                self.answer("state", reply(status))
                self.ask("/web/state", code, method=method, payload=body or None, fmt=0)
                r = self.last()
                self.assertEqual(r.method, {"ipatch": "PATCH"}.get(method, method.upper()))
                self.assertEqual(r.body, body)
                if body:
                    self.assertEqual(r.headers["content-type"], "text/plain;charset=utf-8")
                if method != "delete":
                    self.assertEqual(r.headers["content-length"], str(len(body)))

    def test_no_such_method(self):
        n = len(self.web.requests)
        self.ask("/web/state", "4.05", method="fetch", payload=b"?", fmt=0)
        self.assertEqual(len(self.web.requests), n)

    def test_paths(self):
        """What could be read as another path is not asked; the rest arrives as
        it was judged."""
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=PANEL)
        self.addCleanup(c.close)
        n = len(self.web.requests)
        for bad in ([b"a/b"], [b".."], [b"x", b".", b"y"], [b"a", b"", b"b"], [b"a\0b"], [b"a\\b"],
                    [b"a\r\nX-Evil: 1"]):
            code, _ = c.get("", options=[(11, b"web")] + [(11, s) for s in bad])
            self.assertIn(code, ("4.00", "4.03"), bad)
        self.assertEqual(len(self.web.requests), n)
        for good, want in (([b"a b;c=1", b"\xc3\xa4%2f"], "/api/a%20b%3Bc%3D1/%C3%A4%252f"),
                           ([b"dir", b""], "/api/dir/")):
            self.answers[want] = lambda r: reply(200, b"x", TEXT)
            code, _ = c.get("", options=[(11, b"web")] + [(11, s) for s in good])
            self.assertEqual((code, self.last().target), ("2.05", want))
        self.answers["/api/q"] = lambda r: reply(200, b"x", TEXT)
        c.get("", options=[(11, b"web"), (11, b"q"), (15, b"a=b&c=d"), (15, b"e#f"),
                           (15, b"\r\nHost: x")])
        self.assertEqual(self.last().target, "/api/q?a=b%26c=d&e%23f&%0D%0AHost%3A%20x")

    def test_formats(self):
        self.answer("f", lambda r: reply(200, b"<a/>", ("Content-Type", "application/xml")))
        self.ask("/web/f", "2.05", options=[(ACCEPT, b"\x29")])
        self.assertEqual(self.last().headers["accept"], "application/xml")
        n = len(self.web.requests)
        self.ask("/web/f", "4.06", options=[(ACCEPT, b"\xea\x60")])  # 60000: nobody's
        self.ask("/web/f", "4.15", method="put", payload=b"x", fmt=60000)
        self.assertEqual(len(self.web.requests), n)
        self.ask("/web/f", "4.06", options=[(ACCEPT, b"\x32")])  # it answers XML
        self.answer("f", reply(200, b"\x89PNG", ("Content-Type", "image/x-unheard-of")))
        self.assertRegex(self.ask("/web/f", "2.05").options, "octet-stream|Content-Format:42")

    # ---- what comes back ----

    def test_codes(self):
        for status, code in ((400, "4.00"), (401, "4.01"), (403, "4.03"), (404, "4.04"),
                             (405, "4.05"), (409, "4.09"), (410, "4.04"), (413, "4.13"),
                             (418, "4.00"), (422, "4.22"), (500, "5.00"), (501, "5.01"),
                             (502, "5.02"), (504, "5.04"), (599, "5.00"), (206, "5.02"),
                             (304, "5.02"), (301, "5.02"), (307, "5.02"), (299, "5.02"),
                             (600, "5.02")):
            with self.subTest(status):
                self.answer("s", reply(status, b"", ("Location", self.web.url + "/api/other")))
                n = len(self.web.requests)
                self.ask("/web/s", code)
                self.assertEqual(len(self.web.requests), n + 1)  # no redirect is followed
        for status, code in ((503, "5.03"), (429, "4.29")):
            path = "s%d" % status  # it is kept for so long
            self.answer(path, reply(status, b"", ("Retry-After", "17")))
            self.assertRegex(self.ask("/web/" + path, code).options, "Max-Age:17")

    def test_errors_and_their_words(self):
        self.answer("e", reply(404, b"no such lamp", TEXT))
        self.assertEqual(self.ask("/web/e", "4.04").payload, b"no such lamp")
        self.answer("e", reply(404, b"<html>no</html>", ("Content-Type", "text/html")))
        self.assertEqual(self.ask("/web/e", "4.04").payload, b"")
        self.answer("e", reply(404, b"x" * 5000, TEXT))
        self.assertEqual(self.ask("/web/e", "4.04").payload, b"")
        self.answer("e", reply(400, b'{"error":1}', JSON))
        self.assertEqual(self.ask("/web/e", "4.00").payload, b'{"error":1}')

    def test_location(self):
        for place, want in (("/api/jobs/7?x=1", "Location-Path:web, Location-Path:jobs, "
                                                "Location-Path:7, Location-Query:x=1"),
                            (self.web.url + "/api/jobs/7", "Location-Path:web, Location-Path:jobs, "
                                                           "Location-Path:7"),
                            ("7", "Location-Path:web, Location-Path:jobs, Location-Path:7"),
                            ("http://evil.example/api/jobs/7", None), ("/else/7", None),
                            ("/api/../secret", None), ("/api/a%2Fb", None)):
            with self.subTest(place):
                self.answer("jobs/", reply(201, b"", ("Location", place)))
                a = self.ask("/web/jobs/", "2.01", method="post", payload=b"x", fmt=0)
                self.assertEqual(want or "", ", ".join(o for o in a.options.split(", ")
                                                       if o.startswith("Location")))

    def test_etag(self):
        state = {"tag": '"one"', "body": b"1"}

        def device(r):
            if r.method == "PUT":
                if r.headers.get("if-match") not in (None, "*", state["tag"]):
                    return reply(412)
                if r.headers.get("if-none-match") == "*":
                    return reply(412)
                state.update(tag='"two"', body=r.body)
                return reply(204, b"", ("ETag", state["tag"]))
            if state["tag"] in r.headers.get("if-none-match", ""):
                return reply(304, b"", ("ETag", state["tag"]))
            return reply(200, state["body"], TEXT, ("ETag", state["tag"]))
        self.answer("t", device)
        a = self.ask("/web/t", "2.05")
        tag = bytes.fromhex(a.options.split("ETag:0x")[1][:16])
        self.ask("/web/t", "2.03", options=[(ETAG, tag)])
        self.assertEqual(self.last().headers["if-none-match"], '"one"')
        self.ask("/web/t", "2.05", options=[(ETAG, b"12345678")])  # never heard of
        self.assertEqual(self.last().headers["if-none-match"], '"one"')  # the gateway's own
        n = len(self.web.requests)
        self.ask("/web/t", "4.12", method="put", payload=b"2", fmt=0, options=[(1, b"12345678")])
        self.assertEqual(len(self.web.requests), n)
        self.ask("/web/t", "4.12", method="put", payload=b"2", fmt=0, options=[(5, b"")])
        self.ask("/web/t", "2.04", method="put", payload=b"2", fmt=0, options=[(1, tag)])
        self.ask("/web/t", "4.12", method="put", payload=b"3", fmt=0, options=[(1, tag)])
        self.ask("/web/t", "2.04", method="put", payload=b"3", fmt=0, options=[(1, b"")])

    def test_kept_by_its_word_alone(self):
        self.answer("k", reply(200, b"1", TEXT, ("Cache-Control", "max-age=60")))
        n = len(self.web.requests)
        self.ask("/web/k", "2.05")
        self.ask("/web/k", "2.05")
        self.assertEqual(len(self.web.requests), n + 1)
        self.answer("l", reply(200, b"1", TEXT))
        self.ask("/web/l", "2.05")
        self.assertRegex(self.ask("/web/l", "2.05").options, "Max-Age:0?(,|$)")
        self.assertEqual(len(self.web.requests), n + 3)

    def test_no_observation(self):
        self.answer("o", reply(200, b"1", TEXT))
        a = self.ask("/web/o", "2.05", options=[(6, b"")])
        self.assertNotIn("Observe", a.options)

    # ---- bodies ----

    def test_bodies_down(self):
        for n, size in ((0, 1024), (1, 16), (1024, 1024), (1025, 1024), (3000, 64), (2048, 1024),
                        (200000, 1024)):
            with self.subTest(n=n, size=size):
                body = self.body_of(n)
                self.answer("body", reply(200, body, ("Content-Type", "application/octet-stream")))
                asked = len(self.web.requests)
                if n == 0:
                    self.assertEqual(self.ask("/web/body", "2.05").payload, b"")
                    continue
                self.assertEqual(self.get_body("/web/body", size), body)
                self.assertEqual(len(self.web.requests), asked + 1)  # once for all blocks

    def test_bodies_up(self):
        self.answer("up", lambda r: reply(204))
        for n, size in ((1024, 1024), (1025, 1024), (3000, 16), (100 << 10, 1024)):
            with self.subTest(n=n, size=size):
                body = self.body_of(n)
                asked = len(self.web.requests)
                self.assertEqual(self.send_body("/web/up", body, size).code, "2.04")
                self.assertEqual(len(self.web.requests), asked + 1)
                self.assertEqual(self.last().body, body)

    def test_a_body_too_large(self):
        n = len(self.web.requests)
        a = self.send_body("/web/up", bytes(300 << 10), 1024)
        self.assertEqual(a.code, "4.13", a.output[-2000:])
        self.assertEqual(len(self.web.requests), n)
        self.answer("large", reply(200, bytes(256 << 10), TEXT))
        self.assertEqual(len(self.get_body("/web/large")), 256 << 10)
        self.answer("large", reply(200, bytes((256 << 10) + 1), TEXT))
        self.ask("/web/large", "5.02")
        self.answer("large", reply(200, b"", TEXT, length=1 << 40))
        self.ask("/web/large", "5.02")

    def test_post_and_a_large_answer(self):
        """Both in blocks; it is asked once."""
        body = self.body_of(3000)
        self.answer("both", lambda r: reply(200, r.body[::-1], ("Content-Type",
                                                               "application/octet-stream")))
        n = len(self.web.requests)
        with tempfile.TemporaryDirectory() as d:
            out, put = os.path.join(d, "out"), os.path.join(d, "in")
            with open(put, "wb") as f:
                f.write(body)
            rig.coap(self.gw.coaps("/web/both"), "post", fmt=42, psk=PANEL, wait=60,
                     more=("-b", "512", "-f", put, "-o", out))
            with open(out, "rb") as f:
                self.assertEqual(f.read(), body[::-1])
        self.assertEqual(len(self.web.requests), n + 1)

    def test_blocks_out_of_order(self):
        c = dtls.Client(("127.0.0.1", self.gw.ports[4][1]), psk=PANEL)
        self.addCleanup(c.close)
        self.answer("b", reply(200, self.body_of(100), TEXT))
        n = len(self.web.requests)

        def put(number, more, payload, szx=0):
            value = number << 4 | more << 3 | szx
            return c.answer(c.request("", 3, payload, options=[
                (11, b"web"), (11, b"b"), (12, b"*"), (BLOCK1, value.to_bytes(3, "big"))]))[0]
        self.assertEqual(put(1, 1, b"x" * 16), "4.08")   # 4.08: no beginning
        self.assertEqual(put(0, 1, b"x" * 16), "2.31")   # 2.31
        self.assertEqual(put(2, 1, b"x" * 16), "4.08")   # a gap
        self.assertEqual(put(0, 1, b"x" * 16), "2.31")
        self.assertEqual(put(1, 1, b"x" * 15), "4.00")   # not a block's length
        self.assertEqual(put(0, 1, b"y" * 16), "2.31")
        self.assertEqual(put(1, 1, b"z" * 16), "2.31")
        self.assertEqual(put(1, 1, b"z" * 16), "2.31")   # again
        self.assertEqual(len(self.web.requests), n)
        self.assertEqual(put(2, 0, b"!"), "2.04")
        self.assertEqual(self.last().body, b"y" * 16 + b"z" * 16 + b"!")
        code, _ = c.get("", options=[(11, b"web"), (11, b"b"), (BLOCK2, b"\x90")])
        self.assertEqual(code, "4.00")  # beyond its end

    # ---- hostile servers ----

    def test_answers_that_are_none(self):
        chunked = "Transfer-Encoding: chunked\r\n"
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        close = None
        for name, out in {
                "half a header": [b"HTTP/1.1 200 OK\r\nContent-", close],
                "half a body": [reply(200, b"half", TEXT, length=100), close],
                "nothing": [close],
                "no HTTP": [b"what is this?\r\n\r\n", close],
                "HTTP 0.9": [b"<html>hello</html>", close],
                "half a chunk": [(head + chunked + "\r\n").encode() + b"5\r\nhel", close],
                "a chunk that is none": [(head + chunked + "\r\n").encode() + b"zz\r\nhello\r\n0\r\n\r\n",
                                         close],
                "two lengths": [(head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab").encode(),
                                close],
                "a length below zero": [(head + "Content-Length: -1\r\n\r\nab").encode(), close],
                "a coding": [reply(200, b"\x1f\x8b", TEXT, ("Content-Encoding", "gzip")), close],
                "two types": [reply(200, b"a", TEXT, JSON), close],
                "a type that is none": [reply(200, b"a", ("Content-Type", "text plain")), close],
                "two ETags": [reply(200, b"a", TEXT, ("ETag", '"a"'), ("ETag", '"b"')), close],
                "a header without end": [b"HTTP/1.1 200 OK\r\n"] + [b"X-A: %s\r\n" % (b"a" * 1000)] * 40
                                        + [close],
                "too many fields": [("HTTP/1.1 200 OK\r\n" + "".join(
                    "X-%d: 1\r\n" % i for i in range(100)) + "Content-Length: 0\r\n\r\n").encode(),
                    close],
                "interim answers without end": [b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 1000,
                                                close],
        }.items():
            with self.subTest(name):
                self.answer("x", out)
                self.ask("/web/x", "5.02")
        self.answer("x", reply(200, b"well", TEXT))
        self.assertEqual(self.ask("/web/x", "2.05").payload, b"well")

    def test_answers_that_are_odd(self):
        for name, out, want in (
                ("an interim answer", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" +
                 reply(200, b"ok", TEXT), b"ok"),
                ("100", b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, b"ok", TEXT), b"ok"),
                ("chunks", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
                 b"content-type: text/plain\r\n\r\n1;ext=1\r\no\r\n1\r\nk\r\n0\r\nX-T: 1\r\n\r\n", b"ok"),
                ("until it closes", [b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok", None],
                 b"ok"),
                ("lines without CR", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
                ("no type", reply(200, b"ok"), b"ok"),
                ("one byte at a time", [bytes([b]) for b in reply(200, b"ok", TEXT)], b"ok")):
            with self.subTest(name):
                self.answer("odd", out)
                self.assertEqual(self.ask("/web/odd", "2.05").payload, want)

    def test_an_answer_that_nobody_asked_for(self):
        """Two answers to one request: the second is not the next one's."""
        self.answer("two", reply(200, b"one", TEXT) + reply(200, b"two", TEXT))
        self.answer("next", reply(200, b"next", TEXT))
        for _ in range(5):
            self.assertEqual(self.ask("/web/two", "2.05").payload, b"one")
            self.assertEqual(self.ask("/web/next", "2.05").payload, b"next")

    def test_kept_connections(self):
        self.answer("c", reply(200, b"1", TEXT))
        self.ask("/web/c", "2.05")
        first = self.last().connection
        for _ in range(5):
            self.ask("/web/c", "2.05")
        self.assertEqual(self.last().connection, first)

    def test_a_kept_connection_that_closes(self):
        """What can be asked again is; a POST never is."""
        self.answer("c", reply(200, b"1", TEXT))
        seen = []

        def once(r):
            seen.append(r.connection)
            return [None] if len(seen) == 1 else reply(200, b"again", TEXT)
        for method, code in (("get", "2.05"), ("put", "2.04"), ("post", "5.02")):
            with self.subTest(method):
                self.ask("/web/c", "2.05")
                seen.clear()
                self.answer("d", once)
                self.ask("/web/d", code, method=method, payload=None if method == "get" else b"x",
                         fmt=None if method == "get" else 0)
                self.assertEqual(len(seen), 1 if method == "post" else 2)

    def test_many_at_once(self):
        """As many as the window holds, and no more, whoever asks."""
        gate, now, most = threading.Event(), [0], [0]
        lock = threading.Lock()

        def slow(r):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
                if now[0] == 8:
                    gate.set()
            gate.wait(rig.DEADLINE)
            with lock:
                now[0] -= 1
            return reply(200, r.target.encode(), TEXT)
        for i in range(24):
            self.answer("m%d" % i, slow)
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            got = list(pool.map(lambda i: self.ask("/web/m%d" % i, "2.05").payload, range(24)))
        self.assertEqual(got, [b"/api/m%d" % i for i in range(24)])
        self.assertEqual(most[0], 8)


class Alone(House):
    """Each test has a gateway of its own."""

    def gateway(self, devices, secrets=None):
        policy = self.policy.replace("      - {path: /slow/**, methods: [GET]}\n",
                                     "      - {path: /web/**, methods: [GET, PUT, POST]}\n")
        gw = rig.Gateway(policy, [{"name": "web", "path": "/web", **d} for d in devices],
                         secrets={**self.secrets(), **(secrets or {})})
        self.addCleanup(gw.close)
        return gw

    def server(self, answer=reply(200, b"here", TEXT), **more):
        w = WebDevice(answer if callable(answer) else lambda r: answer, **more)
        self.addCleanup(w.stop)
        return w

    def request(self, gw, path, code, method="get", **more):
        a = rig.coap(gw.coaps(path), method, psk=PANEL, wait=30, **more)
        self.assertEqual(a.code, code, a.output + "\n" + gw.proc.output())
        return a

    def status(self, gw):
        status = json.loads(gw.postern("status", "-c", gw.path("postern.yaml"), "--json",
                                       check=0).text)
        return status["devices"][0]


class Away(Alone):
    """Servers that are not there, or do not answer."""

    def test_nobody_there_and_back(self):
        port = rig.free_port(kind=socket.SOCK_STREAM)
        gw = self.gateway([{"url": "http://127.0.0.1:%d" % port}])
        self.request(gw, "/web/x", "5.04")
        gw.proc.wait_line("device-down.*reason=unreachable")
        self.assertTrue(self.status(gw)["down"])
        mark = gw.proc.mark()
        w = self.server(port=port)
        gw.proc.wait_line("device-up", mark)  # found by itself, and nothing was asked
        self.assertEqual(w.requests, [])
        self.assertEqual(self.request(gw, "/web/x", "2.05").payload, b"here")

    def test_another_url(self):
        port = rig.free_port(kind=socket.SOCK_STREAM)
        w = self.server()
        gw = self.gateway([{"url": ["http://127.0.0.1:%d" % port, w.url]}])
        self.assertEqual(self.request(gw, "/web/x", "2.05").payload, b"here")

    def test_by_name_and_ipv6(self):
        w = self.server(host="::1")
        gw = self.gateway([{"url": w.url}])
        self.request(gw, "/web/x", "2.05")
        self.assertEqual(w.requests[-1].headers["host"], "[::1]:%d" % w.port)
        v = self.server()
        gw = self.gateway([{"url": "http://localhost:%d" % v.port}])
        self.request(gw, "/web/x", "2.05")
        self.assertEqual(v.requests[-1].headers["host"], "localhost:%d" % v.port)

    def test_no_proxy_of_the_environment(self):
        trap = self.server()
        w = self.server()
        before = dict(os.environ)
        os.environ.update(http_proxy=trap.url, ALL_PROXY=trap.url, HTTP_PROXY=trap.url)
        try:
            gw = self.gateway([{"url": w.url}])
        finally:
            for name in ("http_proxy", "ALL_PROXY", "HTTP_PROXY"):
                os.environ.pop(name)
            os.environ.update(before)
        self.request(gw, "/web/x", "2.05")
        self.assertEqual(trap.requests, [])

    def test_who_leaves_is_not_waited_for(self):
        """A client that goes ends what was asked for it: its place is free."""
        hold = threading.Event()
        w = self.server(lambda r: [hold, reply(200, b"late", TEXT)] if "slow" in r.target
                        else reply(200, b"quick", TEXT))
        self.addCleanup(hold.set)
        gw = self.gateway([{"url": w.url, "window": 1}])
        c = dtls.Client(("127.0.0.1", gw.ports[4][1]), psk=PANEL)
        c.send(dtls.message(0, 1, 7, b"t", "/web/slow"))
        w.wait_requests(1)
        c.close()
        self.assertEqual(self.request(gw, "/web/x", "2.05").payload, b"quick")

    def test_a_restart(self):
        w = self.server()
        gw = self.gateway([{"url": w.url}])
        self.request(gw, "/web/x", "2.05")
        w.stop()
        self.request(gw, "/web/x", "5.04")
        mark = gw.proc.mark()
        self.server(port=w.port)
        gw.proc.wait_line("device-up", mark)
        self.request(gw, "/web/x", "2.05")


class Tls(Alone):
    def certificates(self):
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        ca, ca_key, ca_files = house.certificate(d.name, "ca", "test CA", ca=True)
        _, _, mine = house.certificate(d.name, "web", "127.0.0.1", (ca, ca_key))
        _, _, wrong = house.certificate(d.name, "wrong", "other.test", (ca, ca_key))
        _, _, us = house.certificate(d.name, "us", "gateway.test", (ca, ca_key))
        read = lambda p: open(p, "rb").read()
        return {"ca": ca_files[0], "web": mine, "wrong": wrong,
                "secrets": {"tls/ca.crt": read(ca_files[0]), "tls/us.crt": read(us[0]),
                            "tls/us.key": read(us[1])}}

    def test_trusted(self):
        c = self.certificates()
        w = self.server(tls=c["web"])
        gw = self.gateway([{"url": w.url, "ca": "tls/ca.crt"}], c["secrets"])
        for _ in range(3):
            self.assertEqual(self.request(gw, "/web/x", "2.05").payload, b"here")
        self.assertEqual({r.connection for r in w.requests}, {w.requests[0].connection})

    def test_not_trusted(self):
        c = self.certificates()
        other = self.certificates()
        for name, tls, ca in (("another name", c["wrong"], c), ("another CA", c["web"], other),
                              ("the system's CAs", c["web"], None)):
            with self.subTest(name):
                w = self.server(tls=tls)
                gw = self.gateway([{"url": w.url, **({"ca": "tls/ca.crt"} if ca else {})}],
                                  (ca or c)["secrets"])
                self.request(gw, "/web/x", "5.02")
                gw.proc.wait_line("device-down.*reason=untrusted")
                self.assertEqual(w.requests, [])
                gw.close()

    def test_plain_behind_https(self):
        w = self.server()
        gw = self.gateway([{"url": w.url.replace("http:", "https:")}])
        self.request(gw, "/web/x", "5.04")  # it waits for a request
        self.assertEqual(w.requests, [])

    def test_with_our_certificate(self):
        c = self.certificates()
        w = self.server(tls=(*c["web"], c["ca"]))
        gw = self.gateway([{"url": w.url, "ca": "tls/ca.crt", "certificate": "tls/us.crt",
                            "key": "tls/us.key"}], c["secrets"])
        self.request(gw, "/web/x", "2.05")
        gw.close()
        gw = self.gateway([{"url": w.url, "ca": "tls/ca.crt"}], c["secrets"])
        self.assertIn(self.request_any(gw, "/web/x"), ("5.02", "5.04"))

    def request_any(self, gw, path):
        return rig.coap(gw.coaps(path), psk=PANEL, wait=30).code
