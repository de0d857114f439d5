#!/usr/bin/env python3
"""Applies each fault of mutants.txt to a copy of the tree and shows that a test fails then.

    run.py [NAME...]    only the faults with one of these texts in their name
    run.py --check      only that each text is found exactly once, in the tree as it is

Exits with 1 when a fault survives, and with 2 when the table is not true any more: a text is not
found exactly once, a fault does not compile, or a test fails without any fault.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutants"
TREE = WORK / "tree"
BUILD = WORK / "build"
OBJECTS = WORK / "objects"
TIME_FOR_A_TEST = 120  # seconds; a fault that hangs a test is caught
TIME_FOR_A_BUILD = 900


class TableError(Exception):
    pass


class Mutant:
    """One fault: `old` becomes `new`, and one of `tests` (test file, filter) has to fail."""

    def __init__(self, name, line):
        self.name = name
        self.line = line
        self.old = []
        self.new = []
        self.tests = []

    def pattern(self):
        # Any white space will do, so that formatting the sources anew changes nothing.
        words = " ".join(self.old).split()
        return re.compile(r"\s+".join(re.escape(word) for word in words))

    def find(self, tree=TREE):
        """The file with the text, and the file's text with the fault in it."""
        found = []
        for path in sorted([*tree.glob("src/**/*.?pp"), *tree.glob("include/**/*.hpp")]):
            text = path.read_text()
            found += [(path, text, match) for match in self.pattern().finditer(text)]
        if len(found) != 1:
            raise TableError(f"line {self.line}, {self.name}: the text is found {len(found)} times")
        path, text, match = found[0]
        return path, text[: match.start()] + "\n".join(self.new) + text[match.end() :]


@contextmanager
def applied(mutant):
    """The tree has the fault meanwhile, in the file that this gives."""
    path, text = mutant.find()
    original = path.read_text()
    path.write_text(text)
    try:
        yield path
    finally:
        path.write_text(original)


def read_table(path):
    mutants = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        kind, rest = line[0], line[2:]
        if kind == "@":
            mutants.append(Mutant(rest, number))
        elif kind == "-":
            mutants[-1].old.append(rest)
        elif kind == "+":
            mutants[-1].new.append(rest)
        elif kind == "=":
            mutants[-1].tests.append(tuple(rest.split()))
        else:
            raise TableError(f"line {number} begins with none of @ - + = #")
    for mutant in mutants:
        if not mutant.old or not mutant.tests or any(len(test) != 2 for test in mutant.tests):
            raise TableError(f"line {mutant.line}, {mutant.name}: a text or a test is missing")
    return mutants


def run(command, limit, **options):
    """True, False, or None when the time is over."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, **options,
    ) as process:
        try:
            run.output = process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            run.output = process.communicate()[0]
            return None
        return process.returncode == 0


def must(command):
    if not run(command, TIME_FOR_A_BUILD):
        raise TableError(f"{' '.join(map(str, command))}\n{run.output}")


def write_if_new(path, content):
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def copy_tree():
    """As it is now, with what is not committed. Files that are the same keep their times."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True,
    ).stdout
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in TREE.glob("**/*") if path.is_file()]:
        if str(path.relative_to(TREE)) not in names:
            path.unlink()
    for name in names:
        write_if_new(TREE / name, (ROOT / name).read_bytes())


class Builder:
    """The library by CMake; tests one file at a time, since few of them are needed for a fault."""

    def __init__(self):
        self.compiler = os.environ.get("CXX", "g++")
        self.launcher = [ccache] if (ccache := shutil.which("ccache")) else []
        must([
            "cmake", "-S", TREE, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
            "-DCMAKE_CXX_FLAGS_DEBUG=-O0", f"-DCMAKE_CXX_COMPILER={self.compiler}",
            f"-DCMAKE_CXX_COMPILER_LAUNCHER={';'.join(self.launcher)}",
        ])

    def library(self):
        return self.build("redlatch_internal", "redlatch_test_support")

    def build(self, *targets):
        return bool(run(["ninja", "-C", BUILD, *targets], TIME_FOR_A_BUILD))

    def test(self, name):
        """The program of tests/NAME, or None when it does not compile."""
        if "/" not in name:
            built = self.build(f"{name}_tests")
            return next(BUILD.glob(f"**/{name}_tests"), None) if built else None
        object_file = self.object_of(name)
        program = object_file.with_suffix("")
        if not self.is_new(object_file) and not run(self.compilation_of(name), TIME_FOR_A_BUILD):
            return None
        command = [self.compiler, object_file, *sorted(BUILD.glob("**/libredlatch_test_support.a")),
                   *sorted(BUILD.glob("**/libredlatch_internal.a")), "-lgtest_main", "-lgtest",
                   "-lhiredis", "-lssl", "-lcrypto", "-pthread", "-o", program]
        return program if run(command, TIME_FOR_A_BUILD) else None

    def compile_in_parallel(self, names):
        """Without a word of what fails: that is seen when it is needed."""
        todo = [name for name in names if "/" in name and not self.is_new(self.object_of(name))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for name in todo:
                pool.submit(subprocess.run, self.compilation_of(name), capture_output=True)

    @staticmethod
    def object_of(name):
        return (OBJECTS / name.replace("/", ".")).with_suffix(".o")

    def compilation_of(self, name):
        OBJECTS.mkdir(parents=True, exist_ok=True)
        dirs = ["include", "src", "tests/support", Path("tests") / Path(name).parent]
        includes = [f"-I{TREE / dir}" for dir in dirs]
        return [*self.launcher, self.compiler, "-std=c++20", "-O0", "-MMD", *includes, "-c",
                TREE / "tests" / name, "-o", self.object_of(name)]

    @staticmethod
    def is_new(object_file):
        dependencies = object_file.with_suffix(".d")
        if not object_file.exists() or not dependencies.exists():
            return False
        names = dependencies.read_text().replace("\\\n", " ").split(":", 1)[1].split()
        built = object_file.stat().st_mtime_ns
        return all(os.path.exists(name) and os.stat(name).st_mtime_ns < built for name in names)


def passes(program, tests):
    """Whether the tests of the filter run and pass, within the time."""
    return run([program, f"--gtest_filter={tests}", "--gtest_brief=1"], TIME_FOR_A_TEST) and (
        "0 tests from 0" not in run.output)


def is_asserted():
    return re.search(r"static.assert", run.output) is not None


def fails(builder, mutant, path):
    """Whether a test fails, and which one."""
    library_is_built = False
    for file, tests in mutant.tests:
        # What a unit test has of a header is compiled with the test.
        if not library_is_built and file.startswith("unit/") and path.suffix == ".hpp":
            program = builder.test(file)
            if program is None and is_asserted():
                return f"a static_assert of {file}"
            if program is not None and not passes(program, tests):
                return f"{file} {tests}"
        if not library_is_built and not builder.library():
            raise TableError(f"{mutant.name}: does not compile\n{run.output}")
        library_is_built = True
        program = builder.test(file)
        if program is None and is_asserted():
            return f"a static_assert of {file}"
        if program is None:
            raise TableError(f"{mutant.name}: {file} does not compile\n{run.output}")
        if not passes(program, tests):
            return f"{file} {tests}"
    return None


def check_without_faults(builder, mutants):
    if not builder.library():
        raise TableError(f"the library does not compile\n{run.output}")
    pairs = sorted({test for mutant in mutants for test in mutant.tests})
    builder.compile_in_parallel({file for file, _ in pairs})
    for file, tests in pairs:
        program = builder.test(file)
        if program is None:
            raise TableError(f"{file} does not compile\n{run.output}")
        if not passes(program, tests):
            raise TableError(f"{file} {tests} fails, or is empty, without any fault\n{run.output}")


def check_table(mutants):
    faults = []
    for mutant in mutants:
        try:
            mutant.find(ROOT)
        except TableError as error:
            faults.append(str(error))
    if faults:
        raise TableError("\n".join(faults))
    return 0


def main(names):
    mutants = read_table(Path(__file__).with_name("mutants.txt"))
    if names == ["--check"]:
        return check_table(mutants)
    mutants = [one for one in mutants if not names or any(name in one.name for name in names)]
    copy_tree()
    for mutant in mutants:
        mutant.find()
    builder = Builder()
    check_without_faults(builder, mutants)
    survivors = []
    for number, mutant in enumerate(mutants, 1):
        began = time.monotonic()
        with applied(mutant) as path:
            caught = fails(builder, mutant, path)
        outcome = f"caught by {caught}" if caught else "SURVIVES"
        took = time.monotonic() - began
        print(f"{number}/{len(mutants)} {mutant.name}: {outcome} ({took:.0f} s)", flush=True)
        if not caught:
            survivors.append(mutant.name)
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} faults are caught")
    for name in survivors:
        print(f"survives: {name}")
    return 1 if survivors else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TableError as error:
        print(f"mutants: {error}", file=sys.stderr)
        sys.exit(2)
