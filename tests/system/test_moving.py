"""A client whose address changes under its association."""
import os
import subprocess

import rig
from house import House, PSK

TIMES = 8  # ports: the system spreads them over the workers


class Moving(House):
    extra = "workers: 4\n"

    def test_from_port_to_port(self):
        """By connection ID (RFC 9146) the association goes along, whichever
        worker the system picks; without one, who comes from elsewhere gets
        no answer, and a handshake later the same as ever."""
        run = subprocess.run(
            [os.path.join(rig.BUILD, "tests", "helper_mover"), str(self.gw.ports[4][1]), "panel",
             PSK.decode(), str(TIMES)], stdout=subprocess.PIPE, timeout=rig.DEADLINE, check=True)
        how, *answers = run.stdout.decode().split()
        status = self.gw.postern("status", "-c", "postern.yaml", check=0).text
        if how == "cid":
            self.assertEqual(answers, ["2.05"] * TIMES, self.gw.proc.output())
            self.assertRegex(status, r"moves %d\b" % TIMES)  # its goodbye too
        else:
            self.assertEqual(answers, ["2.05", "silence"])
            self.assertRegex(status, r"moves 0\b")
        self.ask("/lamp/state", "2.05")
