#!/usr/bin/env python3
"""Fails on a lock class or a script that is missing in one of the places that list all of them."""

import re
import sys

import faults

# Where the name of each lock class stands, as which pattern.
CLASSES = {
    "include/redlatch/fwd.hpp": r"class {};",
    "src/client/locks.cpp": r"{0}::{0}\(",
    "README.md": r"`{}`",
    "docs/lock-classes.md": r"^## .*\b{}\b",
    "docs/permissions.md": r"\b{}\b",
    "tests/integration/every_class.hpp": r"\b{}\b",
    "tests/lint/every_class.cpp": r"construct<{}>\(",
    "tests/consumer/contract/lock_contract.cpp": r"PossessionOfAName<redlatch::{}>",
    "tests/consumer/cost/every_class.cpp": r"\bredlatch::{}\b",
}
# The same for the header of the class, by its name behind `include/`.
HEADERS = {
    "include/redlatch/redlatch.hpp": r"#include <{}>",
    "CMakeLists.txt": r"^    include/{}$",
}
# The same for each script of a protocol.
SCRIPTS = {
    "src/base/script_hashes.cpp": r"&{}\b",
    "tests/support/scripts.hpp": r"&protocol::{}\b",
}
CLASS = re.compile(r"^class \[\[nodiscard\]\] (\w+) : public CheckedLock<", re.MULTILINE)
SCRIPT = re.compile(r"^inline constexpr Script (\w+)", re.MULTILINE)


def missing(root, name, places):
    for place, pattern in places.items():
        text = (root / place).read_text(encoding="utf-8")
        if not re.search(pattern.format(name), text, re.MULTILINE):
            yield f"{name} is missing in {place}, as {pattern.format(name)}"


def check(root):
    found = []
    classes = 0
    for header in sorted((root / "include/redlatch").glob("*.hpp")):
        names = CLASS.findall(header.read_text(encoding="utf-8"))
        classes += len(names)
        for name in names:
            found += missing(root, name, CLASSES)
        if names:
            found += missing(root, header.relative_to(root / "include").as_posix(), HEADERS)
    if classes == 0:
        found.append("no lock class is found: how are they declared now?")
    for header in sorted((root / "include/redlatch/protocol").glob("*.hpp")):
        for name in SCRIPT.findall(header.read_text(encoding="utf-8")):
            found += missing(root, name, SCRIPTS)
    return found


if __name__ == "__main__":
    sys.exit(faults.report(check))
