"""A DTLS client over Debian's libssl by ctypes, for what no stock program
can do: many requests on one association, bytes of our own making, answers
out of turn. It sends one record a datagram."""
import ctypes
import ctypes.util
import socket
import struct
import time

_ssl = ctypes.CDLL("libssl.so.3")
_crypto = ctypes.CDLL("libcrypto.so.3")
_p, _i, _c, _l = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_long
PSK_CB = ctypes.CFUNCTYPE(ctypes.c_uint, _p, _c, ctypes.POINTER(ctypes.c_char), ctypes.c_uint,
                          ctypes.POINTER(ctypes.c_ubyte), ctypes.c_uint)


def _fn(lib, name, result, *args):
    f = getattr(lib, name)
    f.restype, f.argtypes = result, args
    return f


_method = _fn(_ssl, "DTLSv1_2_client_method", _p)
_ctx_new = _fn(_ssl, "SSL_CTX_new", _p, _p)
_ctx_free = _fn(_ssl, "SSL_CTX_free", None, _p)
_ciphers = _fn(_ssl, "SSL_CTX_set_cipher_list", _i, _p, _c)
_set_psk = _fn(_ssl, "SSL_CTX_set_psk_client_callback", None, _p, PSK_CB)
_use_cert = _fn(_ssl, "SSL_CTX_use_certificate_file", _i, _p, _c, _i)
_use_key = _fn(_ssl, "SSL_CTX_use_PrivateKey_file", _i, _p, _c, _i)
_options = _fn(_ssl, "SSL_CTX_set_options", ctypes.c_uint64, _p, ctypes.c_uint64)
_new = _fn(_ssl, "SSL_new", _p, _p)
_free = _fn(_ssl, "SSL_free", None, _p)
_ctrl = _fn(_ssl, "SSL_ctrl", _l, _p, _i, _l, _p)
_set_bio = _fn(_ssl, "SSL_set_bio", None, _p, _p, _p)
_connect = _fn(_ssl, "SSL_connect", _i, _p)
_read = _fn(_ssl, "SSL_read", _i, _p, _p, _i)
_write = _fn(_ssl, "SSL_write", _i, _p, _c, _i)
_shutdown = _fn(_ssl, "SSL_shutdown", _i, _p)
_error = _fn(_ssl, "SSL_get_error", _i, _p, _i)
_bio_new = _fn(_crypto, "BIO_new", _p, _p)
_bio_mem = _fn(_crypto, "BIO_s_mem", _p)
_bio_read = _fn(_crypto, "BIO_read", _i, _p, _p, _i)
_bio_write = _fn(_crypto, "BIO_write", _i, _p, _c, _i)
_err_get = _fn(_crypto, "ERR_get_error", ctypes.c_ulong)
_err_text = _fn(_crypto, "ERR_error_string_n", None, ctypes.c_ulong, _p, ctypes.c_size_t)

NO_QUERY_MTU, SET_MTU = 0x1000, 17
WANT_READ, ZERO_RETURN = 2, 6


class Refused(Exception):
    """The handshake or the association ended."""


class Client:
    def __init__(self, to, psk=None, cert=None, ciphers=None, family=socket.AF_INET, sock=None,
                 deadline=30.0):
        self.deadline = deadline
        self.sock = sock or socket.socket(family, socket.SOCK_DGRAM)
        self.sock.connect(to)
        self.mid = 1
        self._pending = []
        self.ctx = _ctx_new(_method())
        ciphers = ciphers or ("PSK-AES128-CCM8" if psk else "ECDHE-ECDSA-AES128-CCM8")
        _ciphers(self.ctx, (ciphers + ":@SECLEVEL=0").encode())
        _options(self.ctx, NO_QUERY_MTU)
        if psk:
            identity, key = psk

            def give(_ssl_, _hint, to_identity, max_identity, to_key, max_key):
                if len(identity) + 1 > max_identity or len(key) > max_key:
                    return 0
                ctypes.memmove(to_identity, identity + b"\0", len(identity) + 1)
                ctypes.memmove(to_key, key, len(key))
                return len(key)

            self._give = PSK_CB(give)  # must outlive the context
            _set_psk(self.ctx, self._give)
        if cert:
            if _use_cert(self.ctx, cert[0].encode(), 1) != 1 or \
                    _use_key(self.ctx, cert[1].encode(), 1) != 1:
                raise Refused("certificate or key: " + self._why())
        self.ssl = _new(self.ctx)
        _ctrl(self.ssl, SET_MTU, 1400, None)
        self.inward, self.outward = _bio_new(_bio_mem()), _bio_new(_bio_mem())
        _set_bio(self.ssl, self.inward, self.outward)
        self._drive(lambda: _connect(self.ssl))

    def _why(self):
        text = []
        while True:
            e = _err_get()
            if not e:
                return "; ".join(text) or "closed"
            out = ctypes.create_string_buffer(200)
            _err_text(e, out, 200)
            text.append(out.value.decode())

    def _flush(self):
        out = ctypes.create_string_buffer(65536)
        n = _bio_read(self.outward, out, 65536)
        data = out.raw[:n] if n > 0 else b""
        while len(data) >= 13:  # one record a datagram
            n = 13 + struct.unpack("!H", data[11:13])[0]
            self.sock.send(data[:n])
            data = data[n:]

    def _drive(self, step):
        """Until the step is done; what comes in is fed to it meanwhile."""
        until = time.monotonic() + self.deadline
        while True:
            r = step()
            self._flush()
            if r > 0:
                return r
            e = _error(self.ssl, r)
            if e != WANT_READ:
                raise Refused("closed" if e == ZERO_RETURN else self._why())
            self._feed(until)

    def _feed(self, until):
        left = until - time.monotonic()
        if left <= 0:
            raise socket.timeout("no datagram before the deadline")
        self.sock.settimeout(left)
        datagram = self.sock.recv(4096)
        _bio_write(self.inward, datagram, len(datagram))

    def send(self, message):
        if _write(self.ssl, message, len(message)) <= 0:
            raise Refused(self._why())
        self._flush()

    def receive(self):
        """The plaintext of the next record."""
        out = ctypes.create_string_buffer(4096)
        n = self._drive(lambda: _read(self.ssl, out, 4096))
        return out.raw[:n]

    # ---- CoAP on top, as little as it takes ----

    def request(self, path, method=1, payload=b"", options=(), non=False, token=None):
        """Sends one; returns its token."""
        self.mid = self.mid % 65535 + 1
        token = token or struct.pack("!H", self.mid)
        self.send(message(1 if non else 0, method, self.mid, token, path, payload, options))
        return token

    def answer(self, token):
        """The answer to that token, (code, payload); others are kept."""
        while True:
            for i, (t, code, payload) in enumerate(self._pending):
                if t == token:
                    del self._pending[i]
                    return code, payload
            m = self.receive()
            tkl = m[0] & 15
            if m[0] >> 4 & 3 == 0:  # a separate answer: acknowledge it
                self.send(b"\x60\x00" + m[2:4])
            if m[1] >> 5 in (2, 4, 5):
                self._pending.append((m[4:4 + tkl], "%d.%02d" % (m[1] >> 5, m[1] & 31),
                                      payload_of(m)))

    def get(self, path, **more):
        return self.answer(self.request(path, **more))

    def close(self):
        if self.ssl:
            _shutdown(self.ssl)
            self._flush()
            _free(self.ssl)
            _ctx_free(self.ctx)
            self.sock.close()
            self.ssl = None


def message(kind, code, mid, token, path="", payload=b"", options=()):
    opts = [(11, s.encode()) for s in path.split("/") if s] + list(options)
    out = struct.pack("!BBH", 0x40 | kind << 4 | len(token), code, mid) + token
    last = 0
    for number, value in sorted(opts, key=lambda o: o[0]):
        head, tail = 0, b""
        for shift, v in ((4, number - last), (0, len(value))):
            if v < 13:
                head |= v << shift
            elif v < 269:
                head |= 13 << shift
                tail += bytes([v - 13])
            else:
                head |= 14 << shift
                tail += struct.pack("!H", v - 269)
        out += bytes([head]) + tail + value
        last = number
    return out + (b"\xff" + payload if payload else b"")


def payload_of(m):
    i = 4 + (m[0] & 15)
    while i < len(m):
        if m[i] == 0xff:
            return m[i + 1:]
        fields = []
        head = m[i]
        i += 1
        for v in (head >> 4, head & 15):
            if v == 13:
                v = m[i] + 13
                i += 1
            elif v == 14:
                v = struct.unpack("!H", m[i:i + 2])[0] + 269
                i += 2
            fields.append(v)
        i += fields[1]
    return b""
