"""``sciffusion-train``: train a diffusion model, draw fields from it and compare them with held-out ones.

With ``--model matcher``: train a network that ranks fields by how well they fit an object's conditions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser  # pyright: ignore[reportPrivateImportUsage]

from sciffusion.cli.common import add_settings, gather_options, run_command
from sciffusion.config import MODELS, PRESETS, RunConfig
from sciffusion.field import get_field

__all__ = ["main", "parse"]


def _parser(defaults: Sequence[Path] = ()) -> ArgumentParser:
    parser = ArgumentParser(
        prog="sciffusion-train",
        description="Train a diffusion model of a scientific field, draw fields, compare them with held-out ones. "
        "Without --data it trains on the set packaged with the field.",
        default_config_files=[str(path) for path in defaults],
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of settings; flags after it win.")
    add_settings(parser, RunConfig)
    return parser


def _preset(name: str) -> Path:
    path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise ValueError(f"unknown preset {name!r}; known are {known}")
    return path


def _first_look(argv: Sequence[str]) -> dict[str, Any]:
    """Find what decides about the defaults (field, preset, the run to resume) before the real parsing."""
    import yaml

    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("field", "model", "preset", "config", "out"):
        look.add_argument(f"--{name}")
    look.add_argument("--resume", action="store_true", default=None)
    found = vars(look.parse_known_args(argv)[0])
    path = found.pop("config")
    stored = yaml.safe_load(Path(path).read_text(encoding="utf-8")) if path and Path(path).is_file() else {}
    stored = stored if isinstance(stored, dict) else {}
    return {key: value if value is not None else stored.get(key) for key, value in found.items()}


def parse(argv: Sequence[str]) -> RunConfig:
    """Return the settings that a command line spells.

    Defaults come from the field's preset, then from the named ``--preset``; with ``--resume`` they are those of the
    run in ``--out``.
    """
    argv = gather_options(argv)
    look = _first_look(argv)
    field = get_field(look["field"] or RunConfig().field)
    model = look["model"] or RunConfig().model
    defaults = field.presets(model) if model in MODELS else []  # an unknown one is told below
    if look["preset"]:
        defaults.append(_preset(look["preset"]))
    folder = RunConfig(field=field.name, model=model if model in MODELS else "diffusion", out=look["out"]).folder
    if look["resume"] and (folder / "config.yaml").is_file():
        defaults = [folder / "config.yaml"]
    parser = _parser(defaults)
    settings = parser.parse_args(argv)
    settings.pop("config", None)
    return RunConfig(**parser.instantiate(settings).as_dict())


def _train(argv: Sequence[str]) -> None:
    config = parse(argv)
    from sciffusion import distributed
    from sciffusion.generate import pick_device
    from sciffusion.run import Run

    with distributed.joined(pick_device(config.device)) as device:
        own = config if distributed.world_size() == 1 else replace(config, device=str(device))
        Run(own, progress=distributed.is_main()).execute()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (130 after Ctrl-C or SIGTERM)."""
    try:
        return run_command("sciffusion-train", _train, argv)
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted before training began: nothing to resume", file=sys.stderr)
        return 130
