"""``sciffusion-info``: say what is inside a file of fields or a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from sciffusion.cli.common import gather_options, run_command
from sciffusion.config import with_options

if TYPE_CHECKING:
    import xarray as xr

    from sciffusion.generate import Model
    from sciffusion.match import Matcher

__all__ = ["describe_field", "describe_model", "main"]

_MOST_SHOWN = 8  # numbers of a setting


def describe_field(ds: xr.Dataset) -> Iterator[str]:
    """Yield lines on dims, units, grid, conditions with their ranges, and provenance; reads no pixel."""
    from data_loaders import main_variable

    field = main_variable(ds)
    yield f"{field.attrs.get('long_name', field.name)} [{field.attrs.get('units', 'no units')}], {field.dtype}"
    yield "dims: " + ", ".join(f"{dim} {size}" for dim, size in field.sizes.items())
    yield from _grid(field.coords, [dim for dim in field.dims if dim in field.coords])
    for name, coord in field.coords.items():
        if coord.dims == ("sample",):
            yield f"  {name}(sample): {_range(coord.values)} {coord.attrs.get('units', '')}".rstrip()
        elif "sample" in coord.dims:
            yield f"  {name}({', '.join(map(str, coord.dims))}): {coord.dtype} {coord.attrs.get('units', '')}".rstrip()
    for name, variable in ds.data_vars.items():
        if name != field.name:
            sizes = ", ".join(f"{dim} {size}" for dim, size in variable.sizes.items())
            yield f"also {name}({sizes}): {variable.attrs.get('long_name', variable.dtype)}"
    for key, value in {**field.attrs, **ds.attrs}.items():
        if key not in ("long_name", "units", "field"):
            yield f"{key}: " + " ".join(str(value).split())


def describe_model(model: Model | Matcher) -> Iterator[str]:
    """Yield lines on field, grid, network, conditions with their ranges, transform, scores and provenance."""
    header, field, kind = model.header, model.header["field"], model.checkpoint.kind
    what = {"diffusion": "model", "matcher": "matcher"}[kind]
    yield f"{what} of {field['long_name']} [{field['attrs'].get('units', 'no units')}]"
    yield from _grid(model.checkpoint.coords, list(model.checkpoint.coords))
    weights = sum(value.numel() for value in model.checkpoint.weights.values())
    config = header["config"]
    network = config["network" if kind == "diffusion" else "matcher"]
    yield f"network: {weights / 1e6:.2f} M weights, average of width {header['ema']}; {_flat(network)}"
    for part in ("diffusion", "sampling") if kind == "diffusion" else ():
        yield f"{part}: {_flat(config[part])}"
    yield from _conditions(model)
    yield "transform: " + ", then ".join(
        _flat(part) for part in header["transform"].get("parts", [header["transform"]])
    )
    yield from _scores(header["scores"])
    yield "groups: " + ", ".join(f"{len(groups)} {name}" for name, groups in header["split"].items())
    for key, value in header["provenance"].items():
        yield f"{key}: {value}"


def _conditions(model: Model | Matcher) -> Iterator[str]:
    """Yield a line for each condition: the range of its values, of a context its shape and channels."""
    known = model.conditions
    for name in known.names:
        units = known.units[name]
        if name in known.contexts:
            context = known.contexts[name]
            sizes = ", ".join(f"{dim} {size}" for dim, size in zip(context.dims, context.sizes))
            labels = f": {', '.join(context.labels)}" if context.labels else ""
            grid = [(dim, step) for dim, step in zip(context.dims[-len(context.spacing) or None :], context.spacing)]
            steps = "".join(f", pixels of {step:.4g} along {dim}" for dim, step in grid if step)
            yield f"  condition {name} ({sizes}){labels}{steps}; {units}".rstrip("; ")
        else:
            low, high = known.range(name)
            on = f" on ({', '.join(map(str, model.checkpoint.coords))})" if name in known.maps else ""
            yield f"  condition {name}{on}: {low:g} to {high:g} {units}".rstrip()


def _scores(scores: dict[str, Any]) -> Iterator[str]:
    """Yield the table of what a run found of its held-out samples; nothing if it was not judged."""
    if "retrieval" in scores:
        yield f"scores: retrieval among {scores['objects']} held-out objects (in brackets what chance gives)"
        for row in scores["retrieval"]:
            place = f"{row['direction']}, pools of {row['pool']}" + (f", {row['within']}" if row["within"] else "")
            yield f"  {place}: {row['score']} {row['value']:.3g} +- {row['error']:.2g} ({row['chance']:.2g})"
    if "statistics" not in scores:
        return
    sizes = scores["sizes"]
    yield (
        f"scores: {sizes['generated_samples']} generated beside {sizes['real_samples']} held-out samples "
        f"({sizes['real_groups']} groups); score and floor: {sizes['half']} beside {sizes['half']}"
    )
    rows, units = scores["statistics"], scores["grid"]["k_units"]
    titles = [f"{row['channel']}: {row['label']}" if "channel" in row else row["label"] for row in rows]
    width = max(map(len, titles)) + 1
    heading = f"k [{units}]" if units else ""
    yield f"  {'':<{width}}{heading:>14}{'all samples':>13}{'score':>9}{'floor':>9}"
    for row, title in zip(rows, titles):
        band = "" if row["k_max"] is None else f"{row['k_min']:.3g} - {row['k_max']:.3g}"
        found = (row["all_samples"], row["score"], row["floor"]["median"])
        numbers = "".join(f"{'–' if n is None else format(n, '.4f'):>{w}}" for n, w in zip(found, (13, 9, 9)))
        yield f"  {title:<{width}}{band:>14}{numbers}"


def _grid(coords: Any, dims: Sequence[Any]) -> Iterator[str]:
    for dim in dims:
        coord = coords[dim]
        steps = (
            abs(coord.values[1:].astype(float) - coord.values[:-1].astype(float)) if coord.size > 1 else [float("nan")]
        )
        low, high = min(steps), max(steps)
        step = f"{low:.6g} to {high:.6g}" if high > 1.01 * low else f"{steps[0]:g}"
        units = coord.attrs.get("units", "")
        yield (
            f"  {dim}: {coord.size} pixels of {step} {units}, {float(coord[0]):g} to {float(coord[-1]):g} {units}, "
            f"boundary {coord.attrs.get('boundary', 'not said')}"
        )


def _range(values: Any) -> str:
    known = [value for value in values.tolist() if value == value]  # NaN: not known
    distinct, unknown = sorted(set(known)), len(values) - len(known)
    if unknown:
        return f"{_range(values[values == values]) if known else 'none'}, unknown in {unknown} samples"
    if len(distinct) == 1:
        return f"{distinct[0]}"
    if isinstance(distinct[0], str):
        return ", ".join(repr(value) for value in distinct[:6])
    return f"{distinct[0]:g} to {distinct[-1]:g} ({len(distinct)} values)"


def _flat(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in settings.items())


def _short(value: Any) -> Any:
    """Give of a long list of numbers, such as one for each pixel, its range."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list) and len(value) > _MOST_SHOWN and all(isinstance(each, float) for each in value):
        return f"{min(value):.4g} to {max(value):.4g} ({len(value)} values)"
    return [_short(each) for each in value] if isinstance(value, list) else value


def _opened(path: str) -> Model | Matcher:
    from sciffusion.checkpoint import Checkpoint
    from sciffusion.generate import Model, find_checkpoint
    from sciffusion.match import Matcher

    source = find_checkpoint(path)
    checkpoint = Checkpoint.open(source)
    return (Matcher if checkpoint.kind == "matcher" else Model)(checkpoint, source, "cpu")


def _info(argv: Sequence[str]) -> None:
    parser = ArgumentParser(prog="sciffusion-info", description="Say what is inside a file of fields or a checkpoint.")
    parser.add_argument("path", type=str, help="File of fields, checkpoint, folder of a run, or packaged model.")
    parser.add_argument("--dataset", type=str, default=None, help="Path of the array inside an HDF5 file of several.")
    parser.add_argument("--options", type=dict[str, Any], default={}, help="Options of the reader: --options.size 128.")
    arguments = parser.parse_args(gather_options(argv))

    path = Path(arguments.path)
    run = any((path / name).exists() for name in ("config.yaml", "checkpoint.safetensors"))
    if run or path.suffix == ".safetensors" or not path.exists():
        lines = describe_model(_opened(arguments.path))
    else:
        from data_loaders import open_field

        given = {"dataset": arguments.dataset} if arguments.dataset else {}
        lines = describe_field(open_field(path, **with_options(given, arguments.options)))
    print(f"{arguments.path}\n" + "\n".join(lines))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command("sciffusion-info", _info, argv)
