"""`python -m streams.robots.check FILE...`: prints every fault of call scripts, with file and
line."""

import sys
from pathlib import Path

from ringlog.yaml_source import InvalidFile
from streams.robots.loading import load_file


def check_files(paths: list[Path]) -> tuple[list[str], list[str]]:
    """(a line for each good file, all faults)."""
    good, faults = [], []
    for path in paths:
        try:
            script = load_file(path)
        except InvalidFile as error:
            faults += [str(p) for p in error.problems]
            continue
        book = script.playbook
        texts = sum(len(p.all_texts) for p in book.prompts.values())
        good.append(
            f"{path}: {script.name} {script.version}: {len(book.nodes)} nodes, "
            f"{len(book.intents)} intents, {texts} wordings"
        )
    return good, faults


def main() -> int:
    """Exit code 0: all are good; 1: faults, one a line; 2: no file was named."""
    if len(sys.argv) < 2:
        print("usage: python -m streams.robots.check FILE...", file=sys.stderr)
        return 2
    good, faults = check_files([Path(name) for name in sys.argv[1:]])
    for line in good:
        print(line)
    for line in faults:
        print(line, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
