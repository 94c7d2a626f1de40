"""How fast `sciffusion.compare` is, how fast its P(k) beside other packages, and how honest its verdict.

    python benchmarks/validation.py                        # everything, on a machine that does nothing else
    python benchmarks/validation.py --only power_spectrum --python /path/of/an/environment/with/pylians/bin/python
    python benchmarks/validation.py --quick --out /tmp/try.md

Parts: ``speed`` (validation_speed.py), ``power_spectrum`` (validation_power.py), ``honesty`` (validation_honesty.py).
Each replaces its own section of benchmarks/results/validation.md and leaves the others. About twelve minutes in all on
two cores.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import validation_honesty
import validation_power
import validation_speed
from record import RESULTS, circumstances

PARTS: Mapping[str, tuple[str, Callable[[argparse.Namespace], str], tuple[str, ...]]] = {
    "speed": ("Speed", validation_speed.section, ("scipy", "xarray", "h5py")),
    "power_spectrum": ("P(k) beside other packages", validation_power.section, ("scipy", "xarray", "powerbox")),
    "honesty": ("Honesty", validation_honesty.section, ("scipy",)),
}
"""Of each part its heading, what writes it, and the packages whose versions it tells."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the maps and draws: a try, no result")
    parser.add_argument("--python", help="interpreter that has the packages which this one lacks, such as Pylians")
    parser.add_argument("--out", type=Path, default=RESULTS / "validation.md")
    options = parser.parse_args()
    for name in options.only:
        heading, section, packages = PARTS[name]
        text = f"{circumstances(*packages)}\n\n{section(options)}"
        print(f"## {heading}\n\n{text}", flush=True)
        replace(options.out, heading, text)


def replace(path: Path, heading: str, text: str) -> None:
    """Put a section in the place of the one with its heading, in the order of the parts."""
    sections = {}
    if path.exists():
        pieces = re.split(r"^## (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        sections = dict(zip(pieces[1::2], pieces[2::2]))
    sections[heading] = f"\n{text.strip()}\n\n"
    known = [f"## {name}\n{sections[name]}" for name, _, _ in PARTS.values() if name in sections]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# Validation: speed and honesty\n\n" + "".join(known).strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
