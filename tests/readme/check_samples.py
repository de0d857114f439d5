"""Every C++ and CMake sample of the README is part of a file that the tests build and run.

usage: check_samples.py PROJECT_DIRECTORY

A sample names its file in a comment on the line before it: <!-- examples/hello_lock.cpp -->
"""

import pathlib
import re
import sys
import textwrap

SAMPLE = re.compile(r"(?:<!-- (\S+) -->\n)?```(cpp|cmake)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def lines_of(text):
    return [line.strip() for line in textwrap.dedent(text).splitlines() if line.strip()]


def is_part_of(sample, whole, language):
    """C++ stands in the file as it is; of CMake, each line does, for a program of another name."""
    if language == "cmake":
        lines = [re.escape(line).replace("my_service", r"\S+") for line in sample]
        return all(any(re.fullmatch(line, other) for other in whole) for line in lines)
    return any(whole[i : i + len(sample)] == sample for i in range(len(whole) - len(sample) + 1))


def main():
    root = pathlib.Path(sys.argv[1])
    readme = (root / "README.md").read_text()
    samples = SAMPLE.findall(readme)
    wrong = []
    for name, language, text in samples:
        sample = lines_of(text)
        start = sample[0]
        if not name:
            wrong.append(f"the sample that begins with {start!r} names no file")
        elif not is_part_of(sample, lines_of((root / name).read_text()), language):
            wrong.append(f"the sample that begins with {start!r} is not a part of {name}")
    if not samples:
        wrong.append("the README has no samples")
    for complaint in wrong:
        print(complaint, file=sys.stderr)
    print(f"{len(samples)} samples, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
