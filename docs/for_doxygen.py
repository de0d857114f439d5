#!/usr/bin/env python3
"""Prints a Markdown page as Doxygen needs it, whose links between pages and headings are not those of
GitHub: headings get labels, links lead to these, a link to a file that is no page is its text, and
pictures have no folder.

    for_doxygen.py PAGE
"""

import re
import sys
from pathlib import Path


def label(page, anchor):
    """Of one heading among those of all pages; `anchor` is GitHub's."""
    return f"{page.stem.lower()}-{anchor}"


def anchor_of(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def link(page, text, target):
    file, _, anchor = target.partition("#")
    if anchor:
        return f"[{text}](#{label(Path(file) if file else page, anchor)})"
    is_page = file.endswith(".md") and Path(file).name != "README.md"  # which is another index
    return f"[{text}]({target})" if is_page else text


def converted(page, line):
    if heading := re.fullmatch(r"(#+) (.+)", line):
        return f"{line} {{#{label(page, anchor_of(heading[2]))}}}"
    line = re.sub(r"(!\[[^]]*\])\([^)]*/([^)/]+)\)", r"\1(\2)", line)  # found by IMAGE_PATH
    return re.sub(r"(?<!!)\[([^]]+)\]\((?!https?://)([^)]+)\)",
                  lambda found: link(page, found[1], found[2]), line)


def main(page):
    in_code = False
    for line in page.read_text().splitlines():
        in_code ^= line.startswith("```")
        print(line if in_code else converted(page, line))


main(Path(sys.argv[1]))
