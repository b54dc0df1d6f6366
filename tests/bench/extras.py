"""What is measured of Postern alone: decisions, tokens, sleepers, restarts,
and the programs beside this one, where they are."""
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SLEEP_S = 60  # until all of a load's clients must be asleep


def say(build, program, *args):
    """What a program of the build prints. Its exit status is a bound that it
    keeps or not, which it says in words."""
    run = subprocess.run([os.path.join(build, "tests", program), *map(str, args)],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
                         check=False)
    return run.stdout.decode()


def decisions(build, rules):
    out = say(build, "bench_policy", rules)
    rows = re.findall(r"^(.{22}) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$", out, re.M)
    print("\n" + out, end="", flush=True)
    return [{"shape": r[0].strip(), "rules": int(r[1]), "ns": float(r[2]), "ratio": float(r[3]),
             "load_ms": float(r[4])} for r in rows]


def tokens(build, n):
    out = say(build, "bench_token", n)
    rows = re.findall(r"^(.{18}) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", out, re.M)
    print("\n" + out, end="", flush=True)
    return [{"kind": r[0].strip(), "bytes": int(r[1]), "known_us": float(r[2]),
             "new_us": float(r[3]), "bare_us": float(r[4]), "ratio": float(r[5])} for r in rows]


def parked(build, n, n_tokens):
    """By the gate in a process of its own, on a wire in memory: mallinfo."""
    found = []
    for n, more in ((n, ()), (n_tokens, ("-t",))):
        out = say(build, "bench_sleep", n, *more)
        row = {"associations": n, "tokens": bool(more)}
        for name, text in (("heap_bytes", "heap of each"), ("resident_bytes", "resident of each"),
                           ("sleep_us", "falling asleep"), ("wake_us", "a request that wakes"),
                           ("awake_us", "a request when awake"),
                           ("stranger_us", "a stranger's record")):
            m = re.search(re.escape(text) + r".*?([\d.]+) (?:bytes|us)$", out, re.M)
            row[name] = float(m[1]) if m else None
        print("\n" + out, end="", flush=True)
        found.append(row)
    return found


def restart(bench, n):
    """The daemon itself with n clients: asleep, woken by a request each, and
    after a planned restart. Bytes are of its resident memory, all told."""
    proxy, port, ask = bench.postern(name="postern", limits=", sleep: 1s", more="restart: state\n")
    empty_kib = proxy.rss_kib()
    load = bench.load(proxy, port, n, ask)
    bench.made_with = json.loads(load.line())
    awake_kib = proxy.rss_kib()
    load.order("once 60 16")  # who never spoke stays awake longer
    until = time.monotonic() + SLEEP_S
    while bench.status()["asleep"] < n and time.monotonic() < until:
        load.order("idle 0.5 1")
    asleep = bench.status()["asleep"]
    asleep_kib = proxy.rss_kib()
    woken = load.order("once 30 16")
    begun = time.monotonic()
    proxy.stop()
    stopped = time.monotonic()
    proxy = bench.posternd_at("postern")
    ready = time.monotonic()
    try:
        after = load.order("once 30 16")
        kept = int(after["done"] - after["errors"])
    except RuntimeError:  # it ends when it is told what it did not ask
        kept = 0
    load.stop()
    proxy.stop()
    row = {"associations": n, "asleep": asleep, "empty_kib": empty_kib, "awake_kib": awake_kib,
           "asleep_kib": asleep_kib, "bytes_each": (asleep_kib - empty_kib) * 1024 / n,
           "woken_p50_us": woken["p50_us"], "woken_p99_us": woken["p99_us"],
           "stop_s": stopped - begun, "start_s": ready - stopped, "kept": kept}
    print("\n%(associations)d associations at the daemon: %(asleep)d asleep, resident "
          "%(empty_kib)d KiB empty, %(asleep_kib)d KiB asleep\n"
          "  resident of each %(bytes_each).0f bytes; a request each that wakes, 16 at once: "
          "p50 %(woken_p50_us).0f us, p99 %(woken_p99_us).0f us\n"
          "  planned restart: stopped after %(stop_s).2f s, ready %(start_s).2f s later; "
          "%(kept)d associations answered after it" % row, flush=True)
    return row


def slow(build):
    """What the cache saves (tests/bench/slow)."""
    return _beside(build, "slow", ("cache", "answers", "of_the_device", "seconds", "p50_longest_ms"))


def flood(build):
    """Established clients while strangers flood; where tests/bench/flood is."""
    return _beside(build, "flood", None)


def _beside(build, name, keys):
    program = os.path.join(HERE, name)
    if not os.path.exists(program):
        return None
    run = subprocess.run([sys.executable, "-B", program, "-b", build], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=600, check=False)
    out = run.stdout.decode()
    print("\n%s:\n%s" % (name, out), end="", flush=True)
    rows = [[c.strip() for c in line.strip("| \n").split("|")]
            for line in out.splitlines() if line.startswith("|") and "---" not in line]
    if not rows:
        return {"status": run.returncode, "said": out}
    return [dict(zip(keys or rows[0], row)) for row in rows[1:]]
