"""Three network namespaces in a row, clients, gateway and devices, with a bad
line between each two: netem where the kernel has it, else bench_line."""
import json
import os
import signal
import subprocess

NEAR, GATE, FAR = "near", "gate", "far"
# Both ways, in parts of a thousand; milliseconds.
LOSS, REORDER, DUPLICATE, DELAY_MS = 20, 50, 10, 3


def inside(netns, *argv):
    """argv for a program in that namespace; no mounts, as `ip netns exec` has."""
    return ["nsenter", "--net=/run/netns/" + netns, *argv]


def _run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def _try(*argv):
    return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def make():
    """In a mount namespace of our own, so that the names end with us."""
    _run("mount", "-t", "tmpfs", "none", "/run")
    for n in (NEAR, GATE, FAR):
        _run("ip", "netns", "add", n)
        _run("ip", "-n", n, "link", "set", "lo", "up")


def has_netem():
    ok = _try("tc", "-n", NEAR, "qdisc", "add", "dev", "lo", "root", "netem", "loss", "1%")
    if ok:
        _run("tc", "-n", NEAR, "qdisc", "del", "dev", "lo", "root")
    return ok


class Line:
    """Between a (address .1 of its /30) and b (.2)."""

    def __init__(self, build, a, b, network, serial, seed, netem):
        self.ends = ((a, "p%da" % serial, network + ".1"), (b, "p%db" % serial, network + ".2"))
        self.proc, self.netem, self.report = None, netem, {}
        names = [e[1] for e in self.ends]
        if netem:
            _run("ip", "-n", a, "link", "add", names[0], "type", "veth", "peer", "name", names[1],
                 "netns", b)
        else:
            self.proc = subprocess.Popen(
                [os.path.join(build, "tests/bench_line"), "/run/netns/" + a, names[0],
                 "/run/netns/" + b, names[1], *map(str, (LOSS, REORDER, DUPLICATE, DELAY_MS, seed))],
                stdout=subprocess.PIPE)
            if self.proc.stdout.readline() != b"ready\n":
                raise RuntimeError("bench_line does not start")
        for netns, name, address in self.ends:
            other = next(e[2] for e in self.ends if e[2] != address)
            if netem:
                _run("ip", "-n", netns, "addr", "add", address + "/30", "dev", name)
                _run("tc", "-n", netns, "qdisc", "add", "dev", name, "root", "netem",
                     "delay", "%dms" % DELAY_MS, "%dms" % DELAY_MS,
                     "loss", "%g%%" % (LOSS / 10), "duplicate", "%g%%" % (DUPLICATE / 10),
                     "reorder", "%g%%" % (REORDER / 10))  # so many are not delayed
            else:
                _run("ip", "-n", netns, "addr", "add", address, "peer", other, "dev", name)
            _run("ip", "-n", netns, "link", "set", name, "up")

    def stop(self):
        if not self.proc:
            for netns, name, _ in self.ends:
                out = subprocess.run(["tc", "-s", "-j", "-n", netns, "qdisc", "show", "dev", name],
                                     stdout=subprocess.PIPE, check=False).stdout
                for q in json.loads(out or b"[]"):
                    for key, mine in (("packets", "seen"), ("drops", "lost")):
                        self.report[mine] = self.report.get(mine, 0) + q.get(key, 0)
            return
        self.proc.send_signal(signal.SIGTERM)
        self.report = json.loads(self.proc.communicate(timeout=10)[0])
