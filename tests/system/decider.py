"""Who is asked elsewhere, written from the specification, apart from the
gateway's own code: a CSE with an <authorizationDecision> resource, and a
dynamic authorization server, over CoAP in both numberings or by HTTP(S). What
it answers is the test's."""
import json
import queue
import socket
import threading

import onem2m
import web

DEADLINE = 30.0
MAX_AGE, JSON = 14, 50


class Question:
    def __init__(self, method, path, fr, rqi, rvi, form, payload):
        self.method, self.path, self.fr, self.rqi, self.rvi = method, path, fr, rqi, rvi
        self.form, self.payload = form, payload
        self.body = json.loads(payload)

    @property
    def auds(self):
        return self.body["m2m:auds"]

    @property
    def dreq(self):
        assert self.body["m2m:seci"]["sit"] == 1, self.body
        return self.body["m2m:seci"]["dreq"]

    def __repr__(self):
        return "%s %s by %s: %s" % (self.method, self.path, self.fr, self.payload)


class Reply:
    def __init__(self, body=None, rsc=2004, code=None, max_age=None, raw=None, rqi=True, form=JSON):
        self.rsc, self.code, self.max_age, self.rqi, self.form = rsc, code, max_age, rqi, form
        self.payload = raw if raw is not None else json.dumps(body).encode() if body else b""


def decision(dec=None, sus=1, **more):
    told = {"dec": dec, "sus": sus, **more}
    return {"m2m:auds": {k: v for k, v in told.items() if v is not None}}


PERMIT, DENY, NOT_APPLICABLE = decision(1), decision(2), decision(None, 2)


def gives(acr=None, pl=None, tokens=None):
    dres = {}
    if acr is not None:
        dres["dai"] = {"gp": {"acr": acr}, **({"pl": pl} if pl else {})}
    if tokens:
        dres["tkns"] = tokens
    return {"m2m:seci": {"sit": 2, **({"dres": dres} if dres else {})}}


class Decider:
    """kind: current, legacy, http or https. `says(question)` gives a Reply, or
    None: silence."""

    def __init__(self, kind, tls=None, port=0):
        self.kind, self.says = kind, lambda q: Reply(PERMIT)
        self.questions = queue.Queue()
        if kind.startswith("http"):
            self.web = web.WebDevice(self._by_http, tls=tls, port=port)
            self.port, self.url = self.web.port, self.web.url
            return
        self.web, self.numbering = None, onem2m.NUMBERINGS[kind]
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", port))
        self.port = self.sock.getsockname()[1]
        self.url = "coap://127.0.0.1:%d" % self.port
        self.seen = {}
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    # ---- what a test looks at ----

    def next(self):
        return self.questions.get(timeout=DEADLINE)

    def take_all(self):
        out = []
        while not self.questions.empty():
            out.append(self.questions.get_nowait())
        return out

    def stop(self):
        if self.web:
            self.web.stop()
        elif self.thread.is_alive():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(b"", ("127.0.0.1", self.port))
            self.thread.join(DEADLINE)
            self.sock.close()

    # ---- CoAP ----

    def _serve(self):
        while True:
            try:
                raw, to = self.sock.recvfrom(8192)
            except OSError:
                return
            if not raw:
                return
            m = onem2m.Message(raw, self.numbering)
            if m.code == 0 or m.code >> 5:
                continue
            key = (to, m.mid)
            if key not in self.seen:
                self.seen[key] = self._by_coap(m)
            if self.seen[key]:
                try:
                    self.sock.sendto(self.seen[key], to)
                except OSError:
                    return

    def _by_coap(self, m):
        form = [int.from_bytes(v, "big") for v in m.values(onem2m.CONTENT_FORMAT)]
        q = Question({2: "POST", 3: "PUT"}.get(m.code, m.code), m.path, m.m2m.get("fr"),
                     m.m2m.get("rqi"), m.m2m.get("rvi"), form[0] if form else None, m.payload)
        known = set(self.numbering.values()) | {onem2m.URI_PATH, onem2m.CONTENT_FORMAT}
        strange = {n for n, _ in m.options} - known
        assert not strange, strange
        self.questions.put(q)
        r = self.says(q)
        if r is None:
            return None
        options = [(onem2m.CONTENT_FORMAT, onem2m.uint(r.form))] if r.payload else []
        if r.max_age is not None:
            options.append((MAX_AGE, onem2m.uint(r.max_age)))
        rqi = q.rqi if r.rqi is True else r.rqi or None
        return onem2m.message(2, onem2m.code_byte(r.code or (2, 4)), m.mid, m.token,
                              self.numbering, {"rsc": r.rsc, "rqi": rqi},
                              payload=r.payload, options=options)

    # ---- HTTP ----

    def _by_http(self, r):
        h = r.headers
        q = Question(r.method, r.target.split("/")[1:], h.get("x-m2m-origin"), h.get("x-m2m-ri"),
                     h.get("x-m2m-rvi"), h.get("content-type"), r.body)
        self.questions.put(q)
        a = self.says(q)
        if a is None:
            return [self.web.over, None]
        status = {(2, 4): 200}.get(a.code, a.code[0] * 100 + a.code[1]) if a.code else 200
        headers = [("Content-Type", "application/json" if a.form == JSON else "text/html")]
        if a.rsc is not None:
            headers.append(("X-M2M-RSC", str(a.rsc)))
        if a.rqi:
            headers.append(("X-M2M-RI", q.rqi if a.rqi is True else a.rqi))
        if a.max_age is not None:
            headers.append(("Cache-Control", "max-age=%d" % a.max_age))
        return web.reply(status, a.payload, *headers)
