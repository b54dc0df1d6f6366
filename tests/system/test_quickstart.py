"""The first command of the README, on the build under test."""
import os
import subprocess
import unittest

import rig


class Quickstart(unittest.TestCase):
    def test_the_table(self):
        top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        run = subprocess.run([top + "/packaging/quickstart", "--no-install", "-b", rig.BUILD],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240,
                             check=False)
        text = run.stdout.decode()
        self.assertEqual(run.returncode, 0, text)
        rows = {(l[:17].strip(), l[18:37].strip(), l[38:50].strip(), l[51:69].strip())
                for l in text.splitlines()}
        for row in (("nobody", "GET /lamp/state", "4.01 + hints", "no-grant"),
                    ("guest's token", "POST /authz-info", "2.01", "ok"),
                    ("guest", "GET /lamp/state", "2.05 on", "permitted"),
                    ("guest", "PUT /lamp/state", "2.04", "permitted"),
                    ("guest", "DELETE /lamp/state", "4.05", "not-method"),
                    ("guest", "GET /door/lock", "4.03", "not-resource"),
                    ("resident", "GET /door/lock", "2.05 locked", "permitted"),
                    ("expired token", "POST /authz-info", "4.01", "token-expired"),
                    ("forged token", "POST /authz-info", "4.01", "bad-protection"),
                    ("the door's client", "GET /lamp/state", "4.03", "not-audience"),
                    ("resident", "GET /door/lock", "4.03", "beyond-authority")):
            self.assertIn(row, rows, text)
