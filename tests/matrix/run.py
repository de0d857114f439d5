#!/usr/bin/env python3
"""Runs parts of the tests with what Debian's suites offer, each in a root file system of its own.

    run.py [PART...]    servers, services, proxies, toolchains, or single items of them; all if none
    run.py list         the items
    run.py table        only the table of what has run so far

Root file systems are made by debootstrap in build/matrix/roots and kept. Nothing outside of
build/matrix is changed, and no service is started. The tests of servers and proxies are those of
build/dev, and their servers run by way of the loader and the libraries of their root.
Each item prints a line, and its result is kept in build/matrix/results. The table has the kept
results of all items, with the date of each.
Exits with 1 when a test or a build has failed.
"""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
WORK = TREE / "build" / "matrix"
ROOTS = WORK / "roots"
TESTS = TREE / "build" / "dev" / "tests" / "integration"
PARALLEL_TESTS = str(6 * (os.cpu_count() or 1))  # most of them wait
WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"

# A suite, and the packages that toolchains need there beside compilers.
SUITES = {
    "bookworm": "Debian 12",
    "bookworm-backports": "Debian 12 with backports",
    "trixie": "Debian 13",
    "sid": "Debian sid",
}
BUILD_PACKAGES = [
    "cmake", "ninja-build", "pkg-config", "python3", "git",
    "libhiredis-dev", "libssl-dev", "libgtest-dev", "liblua5.1-0-dev", "libsqlite3-dev",
]  # fmt: skip

SERVERS = [
    ("bookworm", "redis"),
    ("bookworm-backports", "valkey"),
    ("trixie", "redis"),
    ("trixie", "valkey"),
    ("sid", "redis"),
    ("sid", "valkey"),
]
TOOLCHAINS = [
    ("trixie", "g++-14"),
    ("trixie", "clang-19"),
    ("trixie", "g++-13"),
    ("trixie", "g++-12"),
    ("bookworm", "g++-12"),
    ("bookworm", "clang-14"),
    ("bookworm", "clang-16"),
    ("sid", "g++-14"),
    ("sid", "clang-19"),
]
# What is imitated, the commands that are renamed away for that, and the tests, on the server of
# bookworm. Tests that use such a command themselves are left out.
SERVICES = [
    ("no-administration", "no CLIENT, CONFIG and SCRIPT", ["CLIENT", "CONFIG", "SCRIPT"],
     r"EveryLock(Exclusion|Twice|ForeignKeys)|^LockExclusion"),
    ("no-scripts", "no CLIENT, CONFIG, SCRIPT and EVAL, for `Lock`",
     ["CLIENT", "CONFIG", "SCRIPT", "EVAL"],
     r"EveryLockTwice\..*redlatch::Lock>|LikeAProgramsOwnList.*redlatch::Lock>|^LockExclusion\."),
    ("commands-refused", "single commands refused by ACL or renamed, in the tests themselves", [],
     r"RenamedCommands|Permissions|LeastRights|EveryLock.*Rights|ServerQueueRights"),
    ("scripts-refused", "scripts refused in the words of services, by scripted servers; `SCRIPT`"
     " refused; scripts forgotten", [],
     r"ScriptsRefused|EveryLockScripts|RefusedScripts|ForgottenScript|ScriptThatIsForgotten"),
]  # fmt: skip
PROXIES = [
    ("haproxy", "haproxy", r"EveryLock(Exclusion|Holding|Waiting)", ""),
    ("stunnel", "stunnel4", r"EveryLock(Exclusion|Holding|Waiting)", "tls"),
    ("twemproxy", "nutcracker", r"Twemproxy", ""),
]


class Failure(Exception):
    """Something that cannot be run, in words for the user."""


def say(text):
    print(f"matrix: {text}", file=sys.stderr, flush=True)


def run(command, log, **options):
    """Appends what the command prints to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)
    return done.returncode


def must(command, log, **options):
    if run(command, log, **options) != 0:
        raise Failure(f"{command[0]} failed; see {log}")


def output(command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


def script(path, command):
    """A script that becomes the command; the arguments of the script come first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexec {command}\n")
    path.chmod(0o755)
    return path


class Root:
    """A root file system of a suite, in which packages are installed as they are needed."""

    def __init__(self, suite):
        self.suite = suite
        self.path = ROOTS / suite
        self.log = WORK / "logs" / f"root-{suite}.log"

    def make(self):
        if self.path.exists():
            return
        base, _, backports = self.suite.partition("-")
        part = ROOTS / f"{self.suite}.part"
        shutil.rmtree(part, ignore_errors=True)
        ROOTS.mkdir(parents=True, exist_ok=True)
        say(f"making the root of {self.suite}, which takes a few minutes")
        must(["debootstrap", "--variant=minbase", base, str(part)], self.log)
        if backports:
            sources = part / "etc/apt/sources.list"
            main = sources.read_text()
            sources.write_text(main + main.replace(f" {base} ", f" {self.suite} "))
        policy = part / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        (part / "etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n")
        # A mirror of sid that stands still is good enough: the table has the versions.
        (part / "etc/apt/apt.conf.d/matrix").write_text('Acquire::Check-Valid-Until "false";\n')
        part.rename(self.path)

    def command(self, command, source=None, build=None):
        """`command` in the root. Its mounts are in a namespace of their own and end with it."""
        mounts = [f'mount -t proc proc "{self.path}/proc"', f'mount --rbind /dev "{self.path}/dev"']
        for inside, outside, flags in (("source", source, "-o ro"), ("build", build, "")):
            if outside is None:
                continue
            point = self.path / inside
            point.mkdir(exist_ok=True)
            mounts.append(f'mount --bind {flags} "{outside}" "{point}"')
        script = " && ".join(mounts) + f' && exec chroot "{self.path}" "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh",
                "env", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *command]  # fmt: skip

    def version_of(self, package):
        known = output(["chroot", str(self.path), "dpkg-query", "-W", "-f",
                        "${db:Status-Status} ${Version}\n", package])  # fmt: skip
        return known.split()[1] if known.startswith("installed ") else None

    def install(self, packages):
        self.make()
        absent = [package for package in packages if self.version_of(package) is None]
        if not absent:
            return
        target = ["-t", self.suite] if "-" in self.suite else []
        must(self.command(["apt-get", "-q", "update"]), self.log)
        must(self.command(["apt-get", "-qy", "--no-install-recommends", *target, "install",
                           *absent]), self.log)  # fmt: skip

    def program(self, name, wrapper):
        """A script outside of the root that runs a program of it with its loader and libraries."""
        loader = [*self.path.glob("lib64/ld-linux-*.so.*"), *self.path.glob("lib/ld-linux-*.so.*")]
        libraries = sorted(self.path.glob("usr/lib/*-linux-gnu"))
        program = next((self.path / folder / name for folder in ("usr/bin", "usr/sbin")
                        if os.path.lexists(self.path / folder / name)), None)  # fmt: skip
        if not (loader and libraries and program):
            raise Failure(f"{self.suite} has no {name}")
        return script(WORK / "bin" / wrapper / name,
                      f'"{loader[0]}" --library-path "{libraries[0]}" "{program}" "$@"')  # fmt: skip


def server_of(suite, kind):
    """The script that runs the server, and its name and version in its own words."""
    root = Root(suite)
    root.install([f"{kind}-server"])
    path = root.program(f"{kind}-server", f"{suite}-{kind}")
    found = re.search(r"v=(\S+)", output([str(path), "--version"]))
    if not found:
        raise Failure(f"{path} does not say its version")
    return path, f"{kind.capitalize()} {found[1]}"


def ctest(log, arguments, environment):
    """How many tests ran and which of them failed, by ctest in the build of the host."""
    run(["ctest", "--test-dir", str(TESTS), "--output-on-failure", *arguments], log,
        env={**os.environ, **environment})  # fmt: skip
    text = log.read_text(errors="replace")
    total = re.search(r"tests failed out of (\d+)", text)
    _, _, summary = text.partition("The following tests FAILED:")
    return int(total[1]) if total else 0, re.findall(r"^\s*\d+ - (\S+) \(", summary, re.M)


def test(item, selection, environment):
    """How many tests ran, which failed also alone, and how many only beside others."""
    logs = [WORK / "logs" / f"{item}.log", WORK / "logs" / f"{item}-again.log"]
    for log in logs:
        log.unlink(missing_ok=True)
    total, failed = ctest(logs[0], ["--parallel", PARALLEL_TESTS, *selection], environment)
    if total == 0:
        raise Failure(f"no test ran; see {logs[0]}")
    if not failed:
        return total, [], 0
    exactly = "|".join(re.escape(name) for name in failed)
    _, again = ctest(logs[1], ["--repeat", "until-pass:3", "-R", f"^({exactly})$"], environment)
    return total, sorted(again), len(failed) - len(again)


def keep(part, item, what, versions, tests, failed, late=0):
    """The row of the table; the names of the tests that failed are only in the line."""
    result = f"{len(failed)} failed" if failed else "all passed"
    if late:
        result += f", {late} only when repeated alone"
    row = {
        "what": what, "versions": versions, "tests": tests, "result": result,
        "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    results = WORK / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{part}-{item}.json").write_text(json.dumps(row))
    names = "".join(f"\n  failed: {name}" for name in failed)
    print(f"{item}: {what}; {versions}; {tests}; {result}{names}", flush=True)
    return not failed


# What the tests of a server are: the label of a way to it, and the tests of that way.
DIRECT = ["-LE", "tls|sentinel|cluster"]
WAYS = [("direct", DIRECT), ("TLS", ["-L", "tls"]),
        ("Sentinel", ["-L", "sentinel"]), ("Cluster", ["-L", "cluster"])]  # fmt: skip
ONLY = os.environ.get("REDLATCH_MATRIX_TESTS", "")


def test_server(item, suite, kind):
    path, version = server_of(suite, kind)
    counts, failed, late = [], [], 0
    for way, arguments in WAYS:
        only = ["-R", ONLY] if ONLY else []
        tests, wrong, passed_late = test(f"{item}-{way}", [*arguments, *only],
                                         {"REDLATCH_SERVER": str(path)})  # fmt: skip
        counts.append(f"{way} {tests}")
        failed += wrong
        late += passed_late
    return keep("servers", item, f"server, {SUITES[suite]}", version, ", ".join(counts), failed,
                late)  # fmt: skip


def test_service(item, what, renamed, pattern):
    server, version = server_of("bookworm", "redis")
    away = "".join(f" --rename-command {command} ''" for command in renamed)
    path = script(WORK / "bin" / item / "server", f'"{server}" "$@"{away}')
    tests, failed, late = test(item, [*DIRECT, "-R", pattern], {"REDLATCH_SERVER": str(path)})
    return keep("services", item, f"imitated: {what}", version, str(tests), failed, late)


def test_proxy(item, package, pattern, label):
    root = Root("bookworm")
    server, version = server_of("bookworm", "redis")
    root.install([package])
    program = root.program(package, item)
    environment = {"REDLATCH_SERVER": str(server)}
    if item == "twemproxy":  # the tests start it
        environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    else:
        behind = Path(__file__).with_name("behind_proxy.py")
        path = script(WORK / "bin" / item / "server",
                      f'/usr/bin/python3 "{behind}" {item} "{program}" "{server}" "$@"')  # fmt: skip
        environment["REDLATCH_SERVER"] = str(path)
    selection = ["-L", label] if label else DIRECT
    tests, failed, late = test(item, [*selection, "-R", pattern], environment)
    its_version = re.search(r"\d+\.\d+[\w.+~-]*", root.version_of(package))[0]
    return keep("proxies", item, "proxy in front of the server", f"{item} {its_version}, {version}",
                str(tests), failed, late)  # fmt: skip


def test_toolchain(item, suite, compiler):
    root = Root(suite)
    root.install([compiler, *BUILD_PACKAGES])
    build = WORK / "toolchains" / item
    build.mkdir(parents=True, exist_ok=True)
    log = WORK / "logs" / f"{item}.log"
    log.unlink(missing_ok=True)
    program = compiler.replace("clang-", "clang++-")

    def inside(*command):
        return run(root.command(command, source=TREE, build=build), log)

    versions = ", ".join([
        compiler.replace("-", " ").split()[0] + " "
        + output(root.command([program, "-dumpfullversion", "-dumpversion"])).split("\n")[0],
        "hiredis " + root.version_of("libhiredis-dev").split("-")[0],
        "OpenSSL " + root.version_of("libssl-dev").split("-")[0],
    ])  # fmt: skip
    steps = [
        ("configuration", ["cmake", "-S", "/source", "-B", "/build", "-G", "Ninja",
                           f"-DCMAKE_CXX_COMPILER={program}", f"-DCMAKE_CXX_FLAGS={WARNINGS}",
                           "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1"]),
        ("build", ["cmake", "--build", "/build", "--parallel", str(os.cpu_count()),
                   "--target", "redlatch", "unit_tests"]),
        ("unit tests", ["/build/tests/unit/unit_tests", "--gtest_brief=1"]),
    ]  # fmt: skip
    failed = next((name for name, command in steps if inside(*command) != 0), None)
    text = log.read_text(errors="replace")
    ran = re.search(r"(\d+) tests from \d+ test suites ran", text)
    tests = f"unit {ran[1]}" if ran else "none"
    wrong = sorted(set(re.findall(r"^\[  FAILED  \] ([^\s,]+\.\w+)", text, re.M)))
    if failed and not wrong:
        wrong = [failed]
    return keep("toolchains", item, f"compiler, {SUITES[suite]}", versions, tests, wrong)


ITEMS = {
    "servers": {f"{suite}-{kind}": (test_server, suite, kind) for suite, kind in SERVERS},
    "services": {name: (test_service, *rest) for name, *rest in SERVICES},
    "proxies": {name: (test_proxy, *rest) for name, *rest in PROXIES},
    "toolchains": {f"{suite}-{c}": (test_toolchain, suite, c) for suite, c in TOOLCHAINS},
}


def print_table():
    order = [(part, item) for part, items in ITEMS.items() for item in items]
    print("\n| what | versions | tests run | result | date |\n| --- | --- | --- | --- | --- |")
    for part, item in order:
        path = WORK / "results" / f"{part}-{item}.json"
        if path.exists():
            row = json.loads(path.read_text())
            print("| {what} | {versions} | {tests} | {result} | {date} |".format(**row))


def chosen(words):
    found = []
    for word in words or ITEMS:
        if word in ITEMS:
            found += [(item, call) for item, call in ITEMS[word].items()]
            continue
        one = [(item, items[item]) for items in ITEMS.values() for item in items if item == word]
        if not one:
            raise Failure(f"there is no part '{word}'; ./dev matrix list names them")
        found += one
    return found


def main(words):
    if words == ["list"]:
        for part, items in ITEMS.items():
            print(f"{part}: {' '.join(items)}")
        return 0
    good = True
    if words != ["table"]:
        for item, (call, *arguments) in chosen(words):
            try:
                good = call(item, *arguments) and good
            except Failure as failure:
                print(f"{item}: did not run: {failure}", flush=True)
                good = False
    print_table()
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(str(failure))
        sys.exit(64)
