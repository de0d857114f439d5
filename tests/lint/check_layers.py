#!/usr/bin/env python3
"""Fails on an include that does not point down: from a layer to itself or to one below it."""

import re
import sys

import faults

# A header belongs to the first entry that its path begins with.
# From the bottom to the top; what users include is the bottom of all, so that it includes nothing else.
ORDER = ["vocabulary", "public", "protocol", "detail", "base", "net", "engine", "background", "wait",
         "client"]
LAYERS = [
    ("vocabulary", ["include/redlatch/detail/export.hpp", "include/redlatch/detail/clock.hpp",
                    "include/redlatch/detail/thread_name.hpp"]),
    ("protocol", ["include/redlatch/protocol/"]),
    ("detail", ["include/redlatch/detail/"]),
    ("public", ["include/redlatch/"]),
    ("base", ["src/base/"]),
    ("net", ["src/net/"]),
    ("engine", ["src/engine/"]),
    ("background", ["src/background/"]),
    ("wait", ["src/wait/"]),
    ("client", ["src/client/"]),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:<(redlatch/[^>]+)>|"([^"]+)")', re.MULTILINE)


def layer_of(path):
    for name, prefixes in LAYERS:
        if any(path.startswith(prefix) for prefix in prefixes):
            return ORDER.index(name)
    return None


def check(root):
    found = []
    for top in ("include", "src"):
        for file in sorted((root / top).rglob("*.[ch]pp")):
            path = file.relative_to(root).as_posix()
            level = layer_of(path)
            if level is None:
                found.append(f"{path}: belongs to no layer; put it into the folder of one")
                continue
            for public, internal in INCLUDE.findall(file.read_text(encoding="utf-8")):
                target = f"include/{public}" if public else f"src/{internal}"
                if not (root / target).is_file():
                    found.append(f"{path}: includes {target}, which does not exist")
                elif layer_of(target) > level:
                    found.append(f"{path}: includes {target}; {ORDER[level]} is below "
                                  f"{ORDER[layer_of(target)]}")
    return found


if __name__ == "__main__":
    sys.exit(faults.report(check))
