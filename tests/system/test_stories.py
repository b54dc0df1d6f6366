"""The stories in packaging/stories, as told: their commands run in one shell,
in the order of the page, and say what the page says they do.

Of a page, ```sh is run and a ```text behind it is what that printed; a line
of it that ends with ... is the beginning of one. Ports become free ones, and
~/postern, where the page's reader has built, this build."""
import glob
import os
import re
import signal
import socket
import subprocess
import sys
import unittest

import rig

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
STORIES = os.path.join(ROOT, "packaging", "stories")
PORTS = {"5683": socket.SOCK_DGRAM, "5684": socket.SOCK_DGRAM, "5685": socket.SOCK_DGRAM}


def steps(page):
    """[commands, what they print or None], in order."""
    out = []
    for kind, text in re.findall(r"^```(sh|text)\n(.*?)^```$", page, re.M | re.S):
        if kind == "sh":
            out.append([text, None])
        else:
            out[-1][1] = text
    return out


class Stories(unittest.TestCase):
    def script(self, page):
        page = page.replace("~/postern/build-release", rig.BUILD).replace("~/postern", ROOT)
        ports = {p: str(rig.free_port(kind=kind)) for p, kind in PORTS.items()}
        return steps(re.sub(r"\b568[345]\b", lambda m: ports[m.group()], page)), ports

    def tell(self, name):
        with open(os.path.join(STORIES, name)) as f:
            told, _ = self.script(f.read())
        self.assertGreaterEqual(len(told), 5)
        shell = "".join("%s\necho '--- %d'\n" % (text, i) for i, (text, _) in enumerate(told))
        run = subprocess.Popen(["/bin/bash", "-u"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True,
                               env=dict(os.environ, TMPDIR=self.dir, PYTHON=sys.executable))
        try:
            said = run.communicate(shell.encode(), 180)[0].decode("utf-8", "backslashreplace")
        finally:
            try:
                os.killpg(run.pid, signal.SIGTERM)  # what the page left running
            except ProcessLookupError:
                pass
        self.assertEqual(run.returncode, 0, said)
        parts = re.split(r"^--- \d+\n", said, flags=re.M)
        for (text, wanted), got in zip(told, parts):
            if wanted is None:
                continue
            got, wanted = got.splitlines(), wanted.splitlines()
            same = len(got) == len(wanted) and all(
                g.startswith(w[:-3]) if w.endswith("...") else g == w
                for g, w in zip(got, wanted))
            self.assertTrue(same, "%s\nprinted\n%s\nnot\n%s\n\nin all\n%s" % (
                text, "\n".join(got), "\n".join(wanted), said))

    def setUp(self):
        self.dir = rig.tempfile.mkdtemp(prefix="postern-test-")
        self.addCleanup(rig.shutil.rmtree, self.dir, True)

    def test_all_are_told(self):
        self.assertEqual(sorted(os.path.basename(f) for f in glob.glob(STORIES + "/*.md")),
                         ["home-energy.md", "hotel.md"])

    def test_home_energy(self):
        self.tell("home-energy.md")

    def test_hotel(self):
        self.tell("hotel.md")
