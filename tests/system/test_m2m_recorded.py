"""What two CSEs that nobody here wrote were sent and answered (Mobius 2 with
the legacy options, tinyIoT with the current ones), recorded beside what the
client said and got. Played again: every byte on both sides is as it was, but
for message IDs and the gateway's own tokens."""
import glob
import os
import re
import socket
import threading

import dtls
import rig
from house import Stage

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "m2m")
PSK = b"0123456789abcdef"  # for tests only

POLICY = """\
version: 1
mode: enforce
roles:
  application:
    permit:
      - {path: /cse/%(base)s, operations: [CREATE], types: [AE]}
      - {path: /cse/%(base)s/**, operations: [CREATE, RETRIEVE, UPDATE, DELETE, NOTIFY, DISCOVERY]}
subjects:
  - {name: app, psk-identity: app, key-file: keys/app.psk, originator: Crecorded,
     may-register: [Crecorded], roles: [application]}
"""


def bare(message):
    """Without message ID and token; code and all that follows."""
    return message[0] & 0x30, message[1:2] + message[4 + (message[0] & 15):]


class Recording:
    def __init__(self, file):
        with open(file) as f:
            text = f.read()
        self.about = dict(re.findall(r"(cse-id|cse-base|options) ([^\s,]+)", text))
        self.steps = []
        for block in re.split(r"^\[", text, flags=re.M)[1:]:
            name, _, lines = block.partition("]\n")
            kinds = dict(l.split(" ", 1) for l in lines.splitlines() if l)
            self.steps.append((name, {k: bytes.fromhex(v) for k, v in kinds.items()}))


class Recorded:
    """The CSE: answers the request of the step with what it said then."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.url = "coap://127.0.0.1:%d" % self.sock.getsockname()[1]
        self.step, self.got = {}, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            m, peer = self.sock.recvfrom(4096)
            if not m:
                return
            if m[1] == 0 or m[1] >> 5:
                continue
            self.got.append(m)
            said = self.step.get("<<")
            if said:
                tkl = m[0] & 15
                self.sock.sendto(bytes([said[0] & 0xf0 | tkl, said[1]]) + m[2:4 + tkl] +
                                 said[4 + (said[0] & 15):], peer)

    def stop(self):
        self.sock.sendto(b"", self.sock.getsockname())


class Replay(Stage):
    @classmethod
    def build(cls):
        cls.recordings = [Recording(f) for f in sorted(glob.glob(os.path.join(VECTORS, "*.txt")))]
        cls.cse = cls.start(Recorded())

    def play(self, recording):
        about = recording.about
        gw = rig.Gateway(POLICY % {"base": about["cse-base"]}, [{
            "name": "cse", "path": "/cse", "url": self.cse.url, "dialect": "onem2m",
            "cse-id": about["cse-id"], "cse-base": about["cse-base"],
            "onem2m-options": about["options"]}], secrets={"keys/app.psk": PSK.hex() + "\n"})
        self.addCleanup(gw.close)
        link = dtls.Client(("127.0.0.1", gw.ports[4][1]), psk=(b"app", PSK))
        self.addCleanup(link.close)
        for name, step in recording.steps:
            with self.subTest(name, **about):
                self.cse.step, self.cse.got = step, []
                link.send(step[">"])
                self.assertEqual(bare(link.receive())[1], bare(step["<"])[1])
                wanted = {bare(step[">>"])} if ">>" in step else set()
                self.assertEqual({bare(m) for m in self.cse.got}, wanted)

    def test_they_are_there(self):
        self.assertEqual(len(self.recordings), 4)
        for r in self.recordings:
            self.assertGreaterEqual(len(r.steps), 10)

    def test_as_it_was(self):
        for r in self.recordings:
            self.play(r)
