#!/usr/bin/env python3
"""Brings each fault of targets.txt back, in a copy of the tree, and simulates until it is found.

    targets.py [--seed N] [--seeds N] [--jobs N] [NAME...]

NAME: only the faults with one of these texts in their kind or name. Prints, for each, how many
seeds and how much time it took until the simulation broke a promise. Exits with 1 when a fault is
not found within `--seeds`.
"""

import argparse
import random
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutants"))
import run as mutants  # noqa: E402

BUILD = mutants.WORK / "simulation"
BLOCK = 50  # seeds; the process that runs them is started so often


def read_targets():
    targets = []
    for line in Path(__file__).with_name("targets.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            kind, name = line.split(": ", 1)
            targets.append((kind, name))
    return targets


def build():
    mutants.must(["ninja", "-C", BUILD, "simulate"])
    return next(BUILD.glob("**/simulate"))


def configure():
    mutants.must([
        "cmake", "-S", mutants.TREE, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_CXX_FLAGS_DEBUG=-O1", "-DREDLATCH_BUILD_EXAMPLES=OFF",
    ])


def seeds_until_found(program, first, count, jobs):
    """How many seeds it takes, and what is wrong then; nothing if that is more than `count`."""
    for begin in range(first, first + count, BLOCK):
        printed = subprocess.run(
            [program, "--seed", str(begin), "--seeds", str(BLOCK), "--jobs", str(jobs)],
            capture_output=True, text=True, check=False,
        ).stdout
        found = re.search(r"^seed (\d+): (.*)$", printed, re.MULTILINE)
        if found:
            return int(found.group(1)) - first + 1, found.group(2)
    return None


def main():
    parser = argparse.ArgumentParser(description="Known faults as targets of the simulation.")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--seeds", type=int, default=20000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    all_mutants = {one.name: one for one in
                   mutants.read_table(Path(mutants.__file__).with_name("mutants.txt"))}
    targets = [(kind, name) for kind, name in read_targets()
               if not given.names or any(text in f"{kind}: {name}" for text in given.names)]
    mutants.copy_tree()
    for _, name in targets:
        all_mutants[name].find()
    configure()
    if seeds_until_found(build(), given.seed, 10 * BLOCK, given.jobs):
        raise mutants.TableError("a promise is broken without any fault")
    print(f"the first seed: {given.seed}", flush=True)
    missed = 0
    for kind, name in targets:
        with mutants.applied(all_mutants[name]):
            program = build()
            began = time.monotonic()
            found = seeds_until_found(program, given.seed, given.seeds, given.jobs)
        minutes = (time.monotonic() - began) / 60
        if found:
            print(f"| {kind} | {name} | {found[0]} | {minutes:.1f} | {found[1][:90]}", flush=True)
        else:
            missed += 1
            print(f"| {kind} | {name} | not in {given.seeds} | {minutes:.1f} |", flush=True)
    print(f"{len(targets) - missed} of {len(targets)} faults were found")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except mutants.TableError as error:
        print(f"targets: {error}", file=sys.stderr)
        sys.exit(2)
