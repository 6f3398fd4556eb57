"""The ``maskft`` command: reproduce exhibits, see what is there, build data sets, teach documents, make bases.

Heavy imports wait until a command needs them, so that ``maskft --help`` and a misspelt option answer at once.
"""

import argparse
import sys
from collections.abc import Sequence

from maskft.cli import bases, documents, study


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="maskft", description="Masked fine-tuning: the reproducible companion.")
    commands = parser.add_subparsers(dest="command", required=True)
    for group in (study, documents, bases):
        group.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 with one line that says what is wrong, or 75 where ``--minutes`` were over."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    # OSError: no file, no network, no space; FloatingPointError: training that went wrong, with a rate that is too large;
    # ModuleNotFoundError: of an extra that is not installed.
    except (ValueError, LookupError, OSError, RuntimeError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"maskft: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print("maskft: stopped; what is finished is kept, jobs of a cluster go on, and so does the same command", file=sys.stderr)
        return 130
