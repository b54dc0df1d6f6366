"""The soak for half a minute: that it still runs, and that what it demands of
a long one holds for a short one."""
import os
import subprocess
import sys
import unittest

import rig

SOAK = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "soak")
SKIPPED = 77


class Soak(unittest.TestCase):
    slow = 60

    def test_half_a_minute(self):
        run = subprocess.run([sys.executable, "-B", SOAK, "-b", rig.BUILD, "--minutes", "0.4",
                              "--clients", "6", "--workers", str(rig.WORKERS)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400,
                             check=False)
        said = run.stdout.decode("utf-8", "backslashreplace")
        if run.returncode == SKIPPED:
            self.skipTest(said.strip())
        self.assertEqual(run.returncode, 0, said)
        self.assertIn("ended well", said)
