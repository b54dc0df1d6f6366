"""The programs that a measurement needs, made when one of them is missing."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def place(build, target):
    return os.path.join(build, target if target in ("posternd", "postern") else "tests/" + target)


def need(build, preset, *targets, anew=False):
    """Ends the program when they cannot be made. A build that is there stays
    of its kind; with `anew` it is brought up to date, too."""
    missing = [t for t in targets if not os.access(place(build, t), os.X_OK)]
    if not missing and not anew:
        return
    if missing:
        say("%s: %s not there yet, building" % (build, ", ".join(missing)))
    there = os.path.exists(os.path.join(build, "CMakeCache.txt"))
    kind = ["-S", ROOT] if there else ["--preset", preset]
    step(build, ["cmake", *kind, "-B", build, "-DBUILD_TESTING=ON"])
    step(build, ["cmake", "--build", build, "-j", "2", "--target", *(targets if anew else missing)])


def step(build, argv):
    try:
        run = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             check=False)
        failed, said = run.returncode, run.stdout.decode("utf-8", "backslashreplace")
    except OSError as e:
        failed, said = True, str(e)
    if failed:
        say("\n".join(said.splitlines()[-20:]))
        sys.exit("%s: cannot be built; packaging/dependencies installs what it takes (build, tests)"
                 % build)


def say(text):
    print(text, file=sys.stderr, flush=True)
