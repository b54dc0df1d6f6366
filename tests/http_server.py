#!/usr/bin/env python3
"""HTTP and HTTPS servers on loopback for test_http_client and test_authority,
which misbehave by path. Prints one line, "http=PORT https=PORT ...", and ends
when its standard input does."""
import datetime
import http.server
import ipaddress
import json
import os
import ssl
import sys
import tempfile
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

KEYS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keys")
over = threading.Event()


RAW = {
    "/half-header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "/same-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "/interim-length": b"HTTP/1.1 103 X\r\nContent-Length: 9\r\n\r\n"
                       b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "/no-length": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
    "/long-header": b"HTTP/1.1 200 OK\r\n" + b"X-A: aaaaaaaa\r\n" * 2000 + b"\r\n",
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        n = int(self.headers.get("Content-Length", 0))
        asked = self.rfile.read(n).decode()
        json_type = [("Content-Type", "application/json; charset=utf-8")]
        if self.path == "/echo":
            told = {
                "method": self.command,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": asked,
                "port": self.client_address[1],
            }
            self.answer(200, json.dumps(told, sort_keys=True).encode(), json_type)
        elif self.path == "/slow":
            over.wait(0.2)
            self.answer(200, b'{"slow":1}', json_type)
        elif self.path == "/silent":
            over.wait()
        elif self.path == "/half":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half an answer")
            self.close_connection = True
        elif self.path == "/nothing":
            self.close_connection = True
        elif self.path in RAW:
            self.wfile.write(RAW[self.path])
            self.close_connection = self.path != "/same-lengths"
        elif self.path == "/once":  # the second request of a connection gets no answer
            if getattr(self, "served", False):
                self.close_connection = True
            else:
                self.served = True
                self.answer(200, b"{}", json_type)
        elif self.path == "/garbage":
            self.wfile.write(b"what is this?\r\n\r\n")
            self.close_connection = True
        elif self.path == "/most":
            self.answer(200, b"m" * 65536, json_type)
        elif self.path == "/large":
            self.answer(200, b"l" * 65537, json_type)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            try:
                for _ in range(100):
                    self.wfile.write(b"e" * 4096)
            except OSError:
                pass
        elif self.path == "/redirect":
            self.answer(302, b"", [("Location", "/echo")])
        elif self.path == "/busy":
            self.answer(503, b"", [("Retry-After", "7")])
        elif self.path == "/denied":
            self.answer(401, b"{}", json_type)
        else:
            self.answer(404, b"")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients that refuse us are the point


def expired(directory):
    """A certificate with the right names, over since 2021."""
    with open(os.path.join(KEYS, "ca.key"), "rb") as f:
        ca_key = serialization.load_pem_private_key(f.read(), None)
    with open(os.path.join(KEYS, "ca.crt"), "rb") as f:
        ca = x509.load_pem_x509_certificate(f.read())
    with open(os.path.join(KEYS, "gateway.key"), "rb") as f:
        key = serialization.load_pem_private_key(f.read(), None)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "over")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2021, 1, 1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    path = os.path.join(directory, "over.crt")
    with open(path, "wb") as f:
        f.write(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def serve(name, certificate=None, key=None, mutual=False, address="127.0.0.1"):
    server = Server((address, 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(os.path.join(KEYS, "ca.crt"))
        # The handshake is the thread's, so that one that fails ends no other.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "%s=%d" % (name, server.server_port)


def main():
    def key_of(name):
        return [os.path.join(KEYS, name + end) for end in (".crt", ".key")]

    with tempfile.TemporaryDirectory() as directory:
        over_crt = expired(directory)
        gateway = key_of("gateway")
        ports = [
            serve("http"),
            serve("https", *gateway),
            serve("stranger", *key_of("stranger")),
            serve("expired", over_crt, gateway[1]),
            serve("mutual", *gateway, mutual=True),
            serve("elsewhere", *gateway, address="127.0.0.2"),
        ]
        print(" ".join(ports), flush=True)
        sys.stdin.read()
        over.set()


main()
