"""A oneM2M CSE, small and strict, for tests: AE, container, contentInstance
and subscription; structured and unstructured addresses, la and ol, discovery,
non-blocking requests; over CoAP in one of its numberings, or over HTTP. Access
control is off: whatever reaches it was let through.

It answers 4.00 to every option and query parameter that it does not know.
Each request is told on stdout as one line of JSON, so that a test can say
what came here and what never did.

    cse.py coap PORT current|legacy [--fragile]
    cse.py http PORT

--fragile ends the process on a request without RQI or RVI, as some CSEs do."""
import http.client
import http.server
import itertools
import json
import os
import socket
import struct
import sys
import time
import urllib.parse

import onem2m
from onem2m import AE, CIN, CNT, CREATE, CSEBASE, DELETE, NOTIFY, REQUEST, RETRIEVE, SUB, UPDATE

CSE_ID, CSE_NAME, SP_ID = "/cse1", "cb", "//sp.example"
ROOT = {AE: "m2m:ae", CNT: "m2m:cnt", CIN: "m2m:cin", CSEBASE: "m2m:cb", SUB: "m2m:sub",
        REQUEST: "m2m:req"}
CHILDREN = {CSEBASE: {AE, CNT, SUB}, AE: {CNT, SUB}, CNT: {CNT, CIN, SUB}}
MAY = {AE: {"rn", "api", "apn", "rr", "poa", "lbl", "srv", "et", "acpi", "aei", "nl"},
       CNT: {"rn", "lbl", "mni", "mbs", "mia", "et", "acpi", "cr"},
       CIN: {"rn", "lbl", "cnf", "con", "et", "cr"},
       SUB: {"rn", "lbl", "nu", "nct", "enc", "exc", "et", "acpi", "su"}}
MUST = {AE: {"api", "rr"}, CIN: {"con"}, SUB: {"nu"}}
QUERY = {"fu", "ty", "lbl", "lim", "lvl", "ofst", "rcn", "drt", "rt", "rp", "op", "crb", "cra"}


class Fault(Exception):
    def __init__(self, rsc):
        super().__init__(str(rsc))
        self.rsc = rsc


class Cse:
    def __init__(self, notify):
        self.notify = notify  # (url, body, rqi) -> status
        self.serial = itertools.count(1)
        self.by_id = {}
        self.root = self.put(CSEBASE, {"rn": CSE_NAME, "csi": CSE_ID, "srt": sorted(CHILDREN)},
                             None, "cb-id")

    def now(self):
        return time.strftime("%Y%m%dT%H%M%S", time.gmtime())

    def put(self, ty, attributes, parent, ri=None):
        ri = ri or "%s%06d" % (ROOT[ty][4:], next(self.serial))
        r = dict(attributes, ty=ty, ri=ri, pi=parent["ri"] if parent else "", ct=self.now(),
                 lt=self.now())
        r.setdefault("rn", ri)
        self.by_id[ri] = r
        return r

    def children(self, r):
        return [c for c in self.by_id.values() if c["pi"] == r["ri"]]

    def path(self, r):
        return r["rn"] if not r["pi"] else self.path(self.by_id[r["pi"]]) + "/" + r["rn"]

    # ---- addresses ----

    def find(self, segments):
        """CSE-relative as it is, SP-relative behind ~, absolute behind _."""
        segments = list(segments)
        if segments[:1] == ["~"]:
            if segments[1:2] != [CSE_ID[1:]]:
                raise Fault(5103)
            segments = segments[2:]
        elif segments[:1] == ["_"]:
            if segments[1:3] != [SP_ID[2:], CSE_ID[1:]]:
                raise Fault(5103)
            segments = segments[3:]
        if not segments:
            raise Fault(4004)
        if segments[0] in (CSE_NAME, "-"):
            r = self.root
        elif segments[0] in self.by_id:
            r = self.by_id[segments[0]]
        else:
            raise Fault(4004)
        for name in segments[1:]:
            if name in ("la", "ol") and r["ty"] == CNT:
                instances = [c for c in self.children(r) if c["ty"] == CIN]
                if not instances:
                    raise Fault(4004)
                r = instances[-1 if name == "la" else 0]
                continue
            r = next((c for c in self.children(r) if c["rn"] == name), None)
            if not r:
                raise Fault(4004)
        return r

    # ---- operations ----

    def create(self, parent, ty, fr, body):
        if ty not in CHILDREN.get(parent["ty"], ()):
            raise Fault(4108)
        attributes = body.get(ROOT[ty]) if isinstance(body, dict) and len(body) == 1 else None
        if not isinstance(attributes, dict) or set(attributes) - MAY[ty] or \
                MUST.get(ty, set()) - set(attributes):
            raise Fault(4102)
        if any(c["rn"] == attributes.get("rn") for c in self.children(parent)):
            raise Fault(4105)
        ri = None
        if ty == AE:
            ri = self.ae_id(fr)
            attributes = dict(attributes, aei=ri)
        if ty == CIN:
            attributes = dict(attributes, cs=len(str(attributes["con"])))
        if ty == SUB and attributes.get("su") == "verify":
            for url in attributes["nu"]:
                if self.tell(url, {"m2m:sgn": {"vrq": True}}) != 2000:
                    raise Fault(5204)
        r = self.put(ty, attributes, parent, ri)
        self.changed(parent, r)
        return 2001, r

    def ae_id(self, fr):
        """TS-0001 10.2.2.2: asked for an ID of its own, or for that stem."""
        if fr in (None, "", "S", "C"):
            fr = (fr or "C") + "AE%06d" % next(self.serial)
        if fr in self.by_id:
            raise Fault(4117)
        return fr

    def changed(self, parent, r):
        for s in self.children(parent):
            if s["ty"] == SUB and s is not r:
                body = {"m2m:sgn": {"nev": {"net": 3, "rep": {ROOT[r["ty"]]: self.shown(r)}},
                                    "sur": CSE_ID + "/" + s["ri"]}}
                for url in s["nu"]:
                    self.tell(url, body)

    def tell(self, url, body):
        """An address, or the AE-ID of one that has a pointOfAccess."""
        if "://" not in url:
            ae = self.by_id.get(url.rsplit("/", 1)[-1])
            if not ae or not ae.get("poa"):
                return 5103
            url = ae["poa"][0]
        return self.notify(url, body, "n%06d" % next(self.serial))

    @staticmethod
    def shown(r):
        return {k: v for k, v in r.items() if k not in ("children",)}

    def delete(self, r):
        if r is self.root:
            raise Fault(4005)
        for c in self.children(r):
            self.delete(c)
        del self.by_id[r["ri"]]
        return 2002, r

    def discover(self, r, query):
        found, stack = [], [r]
        while stack:
            for c in self.children(stack.pop(0)):
                stack.append(c)
                if "ty" in query and str(c["ty"]) not in query["ty"]:
                    continue
                if "lbl" in query and not set(query["lbl"]) & set(c.get("lbl", ())):
                    continue
                found.append(self.path(c))
        return 2000, {"m2m:uril": found[:int(query["lim"][0])] if "lim" in query else found}

    def handle(self, operation, segments, fr, ty, query, body):
        """(RSC, answer's body or None, path for Location or None)"""
        if set(query) - QUERY:
            raise Fault(4000)
        if query.get("rt") in (["1"], ["2"]):
            return self.later(operation, segments, fr, ty, query, body)
        r = self.find(segments)
        if operation == CREATE:
            rsc, new = self.create(r, ty, fr, body)
            return rsc, {ROOT[new["ty"]]: self.shown(new)}, self.path(new)
        if operation == RETRIEVE:
            if query.get("fu") == ["1"]:
                return (*self.discover(r, query), None)
            return 2000, {ROOT[r["ty"]]: self.shown(r)}, None
        if operation == UPDATE:
            attributes = body.get(ROOT[r["ty"]]) if isinstance(body, dict) else None
            if r["ty"] in (CIN, CSEBASE):
                raise Fault(4005)
            if not isinstance(attributes, dict) or set(attributes) - MAY[r["ty"]] - {"rn"}:
                raise Fault(4102)
            r.update(attributes, lt=self.now())
            return 2004, {ROOT[r["ty"]]: self.shown(r)}, None
        if operation == DELETE:
            rsc, gone = self.delete(r)
            return rsc, {ROOT[gone["ty"]]: self.shown(gone)}, None
        return 2000, None, None

    def later(self, operation, segments, fr, ty, query, body):
        query = {k: v for k, v in query.items() if k not in ("rt", "rp")}
        try:
            rsc, answer, _ = self.handle(operation, segments, fr, ty, query, body)
        except Fault as f:
            rsc, answer = f.rsc, None
        r = self.put(REQUEST, {"op": operation, "rs": 1, "ors": {"rsc": rsc, "pc": answer}},
                     self.root)
        return 1001, {"m2m:uri": CSE_NAME + "/" + r["rn"]}, self.path(r)


def told(**what):
    print(json.dumps(what, sort_keys=True), flush=True)


# ---- CoAP ----

class OverCoap:
    KNOWN = {onem2m.URI_HOST, onem2m.URI_PORT, onem2m.URI_PATH, onem2m.URI_QUERY,
             onem2m.CONTENT_FORMAT, onem2m.ACCEPT, onem2m.SIZE1}

    def __init__(self, port, numbering, fragile):
        self.numbering, self.fragile = onem2m.NUMBERINGS[numbering], fragile
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", port))
        self.cse = Cse(self.notify)
        self.done, self.mid, self.pending = {}, 1, []

    def notify(self, url, body, rqi):
        """Waits a little for the answer; what else comes meanwhile is kept."""
        u = urllib.parse.urlsplit(url)
        self.mid = self.mid % 65535 + 1
        token = struct.pack("!H", self.mid)
        m = onem2m.message(0, 2, self.mid, token, self.numbering,
                           {"fr": CSE_ID, "rqi": rqi, "rvi": "3"},
                           [p for p in u.path.split("/") if p], (), json.dumps(body).encode(),
                           [(onem2m.CONTENT_FORMAT, onem2m.uint(50))])
        to = (u.hostname, u.port or 5683)
        for wait in (2, 4):
            self.sock.sendto(m, to)
            until = time.monotonic() + wait
            while time.monotonic() < until:
                self.sock.settimeout(max(until - time.monotonic(), 0.001))
                try:
                    raw, peer = self.sock.recvfrom(4096)
                except socket.timeout:
                    break
                a = onem2m.Message(raw, self.numbering)
                if peer == to and a.token == token and a.code >> 5 >= 2:
                    if a.type == 0:
                        self.sock.sendto(b"\x60\x00" + raw[2:4], to)
                    told(notified=url, code=a.text, rsc=a.m2m.get("rsc"))
                    return a.m2m.get("rsc", 2000 if a.code >> 5 == 2 else 5103)
                if not (peer == to and a.code == 0):
                    self.pending.append((raw, peer))
        told(notified=url, code=None)
        return 5103

    def operation(self, m, query):
        if "op" in query:
            return int(query["op"][0])
        return {1: RETRIEVE, 2: CREATE if "ty" in m.m2m else NOTIFY, 3: UPDATE,
                4: DELETE}.get(m.code, 0)

    def serve(self, m):
        mine = set(self.numbering.values())
        query = {}
        for q in m.query:
            k, _, v = q.partition("=")
            query.setdefault(k, []).extend(v.split("+"))
        operation = self.operation(m, query)
        told(op=operation, to="/".join(m.path), m2m=m.m2m, query=m.query,
             options=sorted({n for n, _ in m.options}), payload=m.payload.decode("utf-8", "replace"))
        if self.fragile and not ("rqi" in m.m2m and "rvi" in m.m2m):
            told(crashed="no RQI or RVI")
            os._exit(70)
        try:
            if {n for n, _ in m.options} - self.KNOWN - mine or \
                    not ("rqi" in m.m2m and "rvi" in m.m2m):
                raise Fault(4000)
            if "fr" not in m.m2m and not (operation == CREATE and m.m2m.get("ty") == AE):
                raise Fault(4000)
            body = json.loads(m.payload) if m.payload else None
            rsc, answer, location = self.cse.handle(operation, m.path, m.m2m.get("fr"),
                                                    m.m2m.get("ty"), query, body)
        except Fault as f:
            rsc, answer, location = f.rsc, None, None
        except (ValueError, KeyError, TypeError):
            rsc, answer, location = 4000, None, None
        params = {"rsc": rsc, "rqi": m.m2m.get("rqi"), "rvi": m.m2m.get("rvi")}
        payload, extra = b"", []
        if answer is not None:
            payload = json.dumps(answer).encode()
            extra.append((onem2m.CONTENT_FORMAT, onem2m.uint(50)))
        for p in (location or "").split("/"):
            if p:
                extra.append((onem2m.LOCATION_PATH, p.encode()))
        return onem2m.code_byte(onem2m.code_of(rsc, operation)), params, payload, extra

    def run(self):
        told(ready=self.sock.getsockname()[1])
        while True:
            if self.pending:
                raw, peer = self.pending.pop(0)
            else:
                self.sock.settimeout(None)
                raw, peer = self.sock.recvfrom(4096)
            m = onem2m.Message(raw, self.numbering)
            if m.code == 0 and m.type == 0:  # a ping
                self.sock.sendto(b"\x70\x00" + raw[2:4], peer)
            if m.code == 0 or m.code >> 5:
                continue
            if (peer, m.mid) not in self.done:
                code, params, payload, extra = self.serve(m)
                kind, mid = (2, m.mid) if m.type == 0 else (1, m.mid ^ 0x8000)
                self.done[peer, m.mid] = onem2m.message(kind, code, mid, m.token, self.numbering,
                                                        params, (), (), payload, extra)
                if len(self.done) > 500:
                    del self.done[next(iter(self.done))]
            self.sock.sendto(self.done[peer, m.mid], peer)


# ---- HTTP (TS-0009) ----

HTTP_STATUS = {1001: 202, 2000: 200, 2001: 201, 2002: 200, 2004: 200, 4000: 400, 4004: 404,
               4005: 405, 4102: 400, 4105: 409, 4108: 403, 4117: 403, 5000: 500, 5103: 404,
               5204: 500}
HEADERS = {"x-m2m-origin", "x-m2m-ri", "x-m2m-rvi", "x-m2m-rtu", "x-m2m-ot", "x-m2m-rst",
           "x-m2m-ret", "x-m2m-oet", "x-m2m-ec", "x-m2m-gid", "x-m2m-ati"}


class OverHttp(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cse = None

    def log_message(self, *args):
        pass

    def answer(self):
        u = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        m2m = {k.lower(): v for k, v in self.headers.items() if k.lower().startswith("x-m2m-")}
        kind = self.headers.get("content-type") or ""
        parts = [p.strip() for p in kind.split(";")]
        ty = next((int(p[3:]) for p in parts if p.startswith("ty=")), None)
        operation = {"GET": RETRIEVE, "POST": CREATE if ty is not None else NOTIFY, "PUT": UPDATE,
                     "DELETE": DELETE}[self.command]
        query = {}
        for k, v in urllib.parse.parse_qsl(u.query, keep_blank_values=True):
            query.setdefault(k, []).extend(v.replace(" ", "+").split("+"))
        told(op=operation, to=u.path.strip("/"), headers=m2m, query=u.query, type=kind,
             payload=body.decode("utf-8", "replace"))
        location = None
        try:
            if set(m2m) - HEADERS or not ("x-m2m-ri" in m2m and "x-m2m-rvi" in m2m):
                raise Fault(4000)
            segments = [urllib.parse.unquote(s) for s in u.path.split("/") if s]
            rsc, answer, location = self.cse.handle(
                operation, segments, m2m.get("x-m2m-origin"), ty, query,
                json.loads(body) if body else None)
        except Fault as f:
            rsc, answer = f.rsc, None
        except (ValueError, KeyError, TypeError):
            rsc, answer = 4000, None
        out = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(HTTP_STATUS.get(rsc, 403))
        self.send_header("X-M2M-RSC", str(rsc))
        for name in ("x-m2m-ri", "x-m2m-rvi"):
            if name in m2m:
                self.send_header(name.upper(), m2m[name])
        if location:
            self.send_header("Content-Location", "/" + location)
        if out:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_POST = do_PUT = do_DELETE = answer


def notify_http(url, body, rqi):
    u = urllib.parse.urlsplit(url)
    c = http.client.HTTPConnection(u.hostname, u.port, timeout=5)
    try:
        c.request("POST", u.path or "/", json.dumps(body),
                  {"X-M2M-Origin": CSE_ID, "X-M2M-RI": rqi, "X-M2M-RVI": "3",
                   "Content-Type": "application/json"})
        a = c.getresponse()
        told(notified=url, code=a.status)
        return int(a.headers.get("X-M2M-RSC") or 2000)
    except OSError:
        told(notified=url, code=None)
        return 5103
    finally:
        c.close()


def main(argv):
    if len(argv) >= 3 and argv[0] == "coap" and argv[2] in onem2m.NUMBERINGS:
        OverCoap(int(argv[1]), argv[2], "--fragile" in argv).run()
    elif len(argv) == 2 and argv[0] == "http":
        OverHttp.cse = Cse(notify_http)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(argv[1])), OverHttp)
        told(ready=server.server_address[1])
        server.serve_forever()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
