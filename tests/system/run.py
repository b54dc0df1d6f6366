#!/usr/bin/python3
"""Runs the system tests: every class of test_*.py, several at a time, as
each has its own gateway, devices and directory. Most of their time is
waiting. Ends with "N passed, N failed"."""
import argparse
import concurrent.futures
import glob
import importlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
import unittest

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import rig  # noqa: E402

print_lock = threading.Lock()


def run_class(cases):
    """One class's tests in order: (name, seconds, failure text or None)."""
    results = []

    class Result(unittest.TestResult):
        def startTest(self, test):
            super().startTest(test)
            self.began = time.monotonic()
            self.bad = None

        def addError(self, test, err):
            super().addError(test, err)
            text = self._exc_info_to_string(err, test)
            if not isinstance(test, unittest.TestCase):  # setUpClass, tearDownClass
                results.append((str(test), 0, text))
            self.bad = text

        def addFailure(self, test, err):
            super().addFailure(test, err)
            self.bad = self._exc_info_to_string(err, test)

        def addSubTest(self, test, subtest, err):
            super().addSubTest(test, subtest, err)
            if err is not None:
                self.bad = (self.bad or "") + "%s\n%s" % (
                    subtest._subDescription(), self._exc_info_to_string(err, test))

        def stopTest(self, test):
            super().stopTest(test)
            results.append((test.id(), time.monotonic() - self.began, self.bad))

    unittest.TestSuite(cases).run(Result())
    with print_lock:
        for name, seconds, bad in results:
            print("%s %s (%.1f s)" % ("FAIL" if bad else "ok  ", name, seconds))
            if bad:
                print("     " + bad.strip().replace("\n", "\n     "))
        sys.stdout.flush()
    return results


def flatten(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from flatten(t)
        else:
            yield t


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", required=True, help="where posternd and postern were built")
    p.add_argument("-k", default="", help="only tests whose name has this in it")
    p.add_argument("-j", type=int, default=4, help="classes at a time")
    a = p.parse_args()
    rig.BUILD = os.path.abspath(a.build)

    def interrupted(signo, _frame):
        rig.kill_all()
        os._exit(128 + signo)
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)

    for program in ("posternd", "postern"):
        if not os.path.exists(os.path.join(rig.BUILD, program)):
            sys.exit("%s is not in %s" % (program, rig.BUILD))
    for program in ("coap-client-openssl", "coap-client-gnutls", "coap-client-notls",
                    "coap-server-notls"):
        if not shutil.which(program):
            sys.exit("%s is missing: Debian's libcoap3-bin" % program)

    classes = {}
    broken = []
    for f in sorted(glob.glob(os.path.join(here, "test_*.py"))):
        try:
            module = importlib.import_module(os.path.basename(f)[:-3])
        except Exception:  # one file that cannot be read must not hide the others
            print("FAIL %s\n%s" % (os.path.basename(f), traceback.format_exc()))
            broken.append(f)
            continue
        for t in flatten(unittest.defaultTestLoader.loadTestsFromModule(module)):
            if a.k in t.id():
                classes.setdefault(type(t), []).append(t)
    # The slow ones first, so that nobody waits for them at the end.
    order = sorted(classes.values(), key=lambda c: -getattr(type(c[0]), "slow", 0))
    with concurrent.futures.ThreadPoolExecutor(a.j) as pool:
        results = [r for rs in pool.map(run_class, order) for r in rs]
    passed = sum(1 for r in results if not r[2])
    failed = len(results) - passed + len(broken)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
