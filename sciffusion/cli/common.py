"""What the commands share: how settings become flags, and how expected errors become one line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from docstring_parser import parse
from jsonargparse import ArgumentParser

__all__ = ["add_settings", "gather_options", "run_command"]


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


def gather_options(argv: Sequence[str]) -> list[str]:
    """Return a command line with the parts of an option of a reader in one word, as the parser takes them.

    Examples
    --------
    >>> gather_options(["--options.select.Omega_m", "[0.2, 0.3]", "--seed", "1", "--options.select.suite=TNG"])
    ['--seed', '1', '--options.select', '{"Omega_m": [0.2, 0.3], "suite": "TNG"}']
    """
    kept: list[str] = []
    parts: dict[str, dict[str, Any]] = {}
    words = _with_values(argv)
    for word, value in words:
        found = re.fullmatch(r"(--(?:\w+_)?options\.[^.]+)\.(.+)", word)
        if found is None:
            kept += [word] if value is None else [word, value]
        elif value is None:
            raise ValueError(f"{word}: expected a value after it")
        else:
            _place(parts.setdefault(found[1], {}), found[2].split("."), _value(value))
    for flag, tree in parts.items():
        kept += [flag, json.dumps(tree, ensure_ascii=False)]
    return kept


def _with_values(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each word; one that spells a part of an option comes with its value."""
    words = iter(argv)
    for word in words:
        if re.match(r"--(\w+_)?options\.[^.=]+\.", word):
            name, equals, value = word.partition("=")
            yield name, value if equals else next(words, None)
        else:
            yield word, None


def _place(tree: dict[str, Any], names: Sequence[str], value: Any) -> None:
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value


def _value(text: str) -> Any:
    """Return the number, list, mapping, boolean or text that a word spells."""
    try:
        return json.loads(text)
    except ValueError:
        import yaml

        return yaml.safe_load(text) if text[:1] in ("[", "{") else text


def run_command(name: str, command: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None) -> int:
    """Call ``command(argv)`` and return the exit status.

    Returns
    -------
    int
        0 for success (or what the command returns), 1 for an error that the message explains (bad input, bad settings,
        a file in the way, an extra that is not installed).
        Errors that are a fault of this package keep their traceback.
    """
    try:
        status = command(sys.argv[1:] if argv is None else list(argv))
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        if isinstance(error, ImportError) and "sciffusion[" not in str(error):
            raise  # no extra that is to be installed, but a fault
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    return status or 0
