"""Checks the documents of the project.

usage: check_documents.py PROJECT_DIRECTORY

- Every C++ and CMake sample is part of a file that the tests build and run. A sample names its file
  in a comment on the line before it: <!-- examples/hello_lock.cpp -->
- Every link inside the project leads to a file and, if it has an anchor, to a heading of it.
- Paths of the project in `code`, such as `src/client/`, exist.
- docs/README.md links to every page of docs.
- README.md has at most 200 lines. Lines have at most 100 characters, except for one long word such
  as a URL, for the rows of tables in docs, which Markdown cannot break, and in the changelog.
"""

import pathlib
import re
import sys
import textwrap

MOST_LINES = 200  # of README.md
MOST_COLUMNS = 100

SAMPLE = re.compile(r"(?:<!-- (\S+) -->\n)?```(cpp|cmake)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`]*`")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
PATH = re.compile(r"`((?:cmake|docs|examples|include|src|tests)/[\w./-]*)`")
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)|^\[[^\]]+\]: +(\S+)$", re.MULTILINE)


def pages_of(root):
    return sorted(page for folder in (".", "docs", "tests") for page in root.glob(f"{folder}/*.md"))


def lines_of(text):
    return [line.strip() for line in textwrap.dedent(text).splitlines() if line.strip()]


def is_part_of(sample, whole, language):
    """C++ stands in the file as it is; of CMake, each line does, for a program of another name."""
    if language == "cmake":
        lines = [re.escape(line).replace("my_service", r"\S+") for line in sample]
        return all(any(re.fullmatch(line, other) for other in whole) for line in lines)
    return any(whole[i : i + len(sample)] == sample for i in range(len(whole) - len(sample) + 1))


def check_samples(root, page):
    for name, language, text in SAMPLE.findall(page.read_text()):
        sample = lines_of(text)
        start = f"the sample that begins with {sample[0]!r}"
        if not name:
            yield f"{start} names no file"
        elif not (root / name).is_file():
            yield f"{start} is of {name}, which does not exist"
        elif not is_part_of(sample, lines_of((root / name).read_text()), language):
            yield f"{start} is not a part of {name}"


def anchors_of(page):
    """As GitHub names them."""
    anchors = set()
    for heading in HEADING.findall(FENCED.sub("", page.read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = 0
        while (numbered := f"{name}-{count}" if count else name) in anchors:
            count += 1
        anchors.add(numbered)
    return anchors


def links_of(page):
    """The targets of links inside the project, each as a file and an anchor, which may be empty."""
    prose = INLINE_CODE.sub("", FENCED.sub("", page.read_text()))
    for targets in LINK.findall(prose):
        target = "".join(targets)
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        yield (page.parent / name).resolve() if name else page.resolve(), anchor, target


def check_links(root, page):
    for file, anchor, target in links_of(page):
        if not file.is_relative_to(root.resolve()):
            yield f"the link to {target} leads out of the project"
        elif not file.exists():
            yield f"the link to {target} leads nowhere"
        elif anchor and anchor not in anchors_of(file):
            yield f"the link to {target} names no heading"


def check_paths(root, page):
    for path in PATH.findall(FENCED.sub("", page.read_text())):
        if not (root / path).exists():
            yield f"there is no {path}"


def check_index(root, page):
    if page != root / "docs/README.md":
        return
    linked = {file for file, _, _ in links_of(page)}
    for other in sorted(root.glob("docs/*.md")):
        if other != page and other.resolve() not in linked:
            yield f"there is no link to {other.name}"


def check_size(root, page):
    if page.name == "CHANGELOG.md":
        return
    lines = page.read_text().splitlines()
    if page == root / "README.md" and len(lines) > MOST_LINES:
        yield f"it has {len(lines)} lines; {MOST_LINES} is the limit"
    for number, line in enumerate(lines, 1):
        is_row = line.startswith("|") and page.parent.name == "docs"
        if len(line) > MOST_COLUMNS and " " in line.strip() and not is_row:
            yield f"line {number} has {len(line)} characters; {MOST_COLUMNS} is the limit"


def complaints_about(root):
    for page in pages_of(root):
        for check in (check_samples, check_links, check_paths, check_index, check_size):
            for complaint in check(root, page):
                yield f"{page.relative_to(root)}: {complaint}"


def main():
    root = pathlib.Path(sys.argv[1])
    complaints = list(complaints_about(root))
    samples = sum(len(SAMPLE.findall(page.read_text())) for page in pages_of(root))
    links = sum(len(list(links_of(page))) for page in pages_of(root))
    if not samples:
        complaints.append("there are no samples")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"{len(pages_of(root))} pages, {samples} samples, {links} links: {len(complaints)} wrong")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
