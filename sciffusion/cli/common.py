"""What the commands share: how settings become flags, and how expected errors become one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import get_type_hints

from docstring_parser import parse
from jsonargparse import ArgumentParser

__all__ = ["add_settings", "run_command"]


def add_settings(parser: ArgumentParser, settings: type, skip: Sequence[str] = ()) -> None:
    """Give `parser` a flag for every field of the dataclass `settings`, with its docstring as help.

    Booleans become plain flags (``--resume``) and lists take words (``--data a.npy b.npy``), as people type them;
    everything else is as `jsonargparse` has it, nested dataclasses included.
    """
    hints = get_type_hints(settings)
    texts = {item.arg_name: item.description for item in parse(settings.__doc__ or "").params}
    typed = []
    for field in fields(settings):
        words = hints[field.name] in (list[str], list[str] | None)
        if field.name in skip or not (words or hints[field.name] is bool):
            continue
        typed.append(field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        shape = {"nargs": "*", "type": str} if words else {"action": "store_true"}
        parser.add_argument(f"--{field.name}", default=default, help=texts[field.name], **shape)  # type: ignore[arg-type]
    parser.add_class_arguments(settings, as_group=False, skip={*skip, *typed})


def run_command(name: str, command: Callable[[Sequence[str]], None], argv: Sequence[str] | None) -> int:
    """Call ``command(argv)`` and return the exit status.

    Returns
    -------
    int
        0 for success, 1 for an error that the message explains (bad input, bad settings, a file in the way).
        Errors that are a fault of this package keep their traceback.
    """
    try:
        command(sys.argv[1:] if argv is None else list(argv))
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    return 0
