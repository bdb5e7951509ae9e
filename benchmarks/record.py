"""Measure tables of the documentation anew, by the commands that stand above them.

    python benchmarks/record.py [--folder FOLDER] [NAME ...]

A name is that of a file in docs/results; without names, all are measured that need no real data. What a
command prints is shown, and takes the file's place when the command has ended well.
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "FOLDER"

_PAIR = re.compile(
    r"\.\. code-block:: sh\n\n((?:   .*\n)+)"  # the commands
    r"(?:(?!\.\. ).*\n)*?"  # what is said of them
    r"\.\. literalinclude:: results/(\S+)\.txt\n"
)


def tables(docs: Path) -> dict[str, list[str]]:
    """Return the commands of each table, by its name."""
    return {
        name: [line.strip() for line in commands.splitlines()]
        for page in sorted(docs.glob("*.rst"))
        for commands, name in _PAIR.findall(page.read_text())
    }


def measure(commands: list[str], folder: str | None, result: Path) -> None:
    """Run commands, show what they print, and keep it if all of them end well."""
    printed = []
    for command in commands:
        words = shlex.split(command)
        if folder is not None:
            words = [word.replace(PLACEHOLDER, folder) for word in words]
        words[0] = sys.executable
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                print(line, end="", flush=True)
                printed.append(line)
        if process.returncode:
            raise SystemExit(f"{command} failed; {result.name} is as it was")
    result.write_text("".join(printed).strip("\n") + "\n")


def main(arguments: list[str] | None = None, docs: Path = ROOT / "docs") -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--folder", help="real data, for commands that name a FOLDER")
    options = parser.parse_args(arguments)
    known = tables(docs)
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(
            f"no table is named {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    for name in options.names or known:
        needs_folder = any(PLACEHOLDER in command for command in known[name])
        print(f"\n== {name}", flush=True)
        if needs_folder and options.folder is None:
            if options.names:
                parser.error(f"{name} needs --folder")
            print("left out: it needs --folder")
            continue
        measure(known[name], options.folder, docs / "results" / f"{name}.txt")


if __name__ == "__main__":
    main()
