"""The bench still measures what there is: a run of a few seconds, of which
nothing but its form and its errors is looked at."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

import rig

RUN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "run")


class Smoke(unittest.TestCase):
    def test_every_case_of_every_system(self):
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "bench.json")
            run = subprocess.run([sys.executable, "-B", RUN, "--smoke", "--no-build", "-b",
                                  rig.BUILD, "--json", out, "--svg", d], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=120, check=False)
            said = run.stdout.decode("utf-8", "backslashreplace")
            self.assertEqual(run.returncode, 0, said)
            for name in ("cpu", "throughput", "latency", "p99", "memory", "handshakes"):
                self.assertEqual(ElementTree.parse(os.path.join(d, name + ".svg")).getroot().tag,
                                 "{http://www.w3.org/2000/svg}svg")
            with open(out) as f:
                cases = json.load(f)["cases"]
        seen = set()
        for case in cases:
            seen.add((case["what"], case["method"]))
            self.assertEqual(set(case["systems"]), {"floor", "libcoap", "postern"})
            for name, r in case["systems"].items():
                self.assertGreater(r["done"], 0, "%s of %s\n%s" % (case["what"], name, said))
        self.assertEqual(seen, {("closed", "GET"), ("closed", "PUT"), ("open", "GET"),
                                ("handshakes", "GET")})
