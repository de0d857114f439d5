"""What checks of the tree have in common."""

import pathlib
import sys


def report(check):
    """Prints the faults that `check` finds below the directory of the command line, or below this
    one. The exit status."""
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    faults = check(root)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0
