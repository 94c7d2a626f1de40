"""Units as the field writes them, ``"(Msun/h)/(Mpc/h)^2"``, and as astropy computes with them.

In the files of cosmology a standalone ``h`` is the dimensionless Hubble parameter,
`astropy.cosmology.units.littleh`, never the hour (write ``hr``). Groups in parentheses nest and carry
powers, which astropy's own grammar lacks:

    quotient = product { "/" product }      product = factor { ["*" | "."] factor }
    factor   = ( number | name | "(" quotient ")" ) [ ["^" | "**"] integer ]

so that, as in astropy, ``erg/s cm`` is ``erg/(s cm)`` and ``erg/s/cm`` is the same.

Two families of functions. `as_unit` and `conversion` understand a unit, and raise where it is unknown.
`power_unit`, `k_unit` and `label` compose text from the text as it was given: a unit that astropy does not
know ("counts/fiber") is carried as it is. A quantity without dimension has the units ``""`` or ``"1"``.
"""

from __future__ import annotations

import re
from typing import Any

import astropy.units as u
from astropy.cosmology.units import littleh

__all__ = ["as_unit", "conversion", "inverse_unit", "k_unit", "label", "power_unit", "pretty"]

_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?)|([^\W\d]+)|(\*\*|[()*/^.])|([+-]\d+))")
_SPECIAL = {"h": littleh, "littleh": littleh, "Ang": u.Angstrom}
_LOGARITHMIC = ("dex", "mag", "dB")
_unit: Any = u.Unit  # its overloads hide that a text gives a unit
_DIMENSIONLESS = ("", "1")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def as_unit(text: str) -> u.UnitBase:
    """Return the astropy unit of a text.

    Parameters
    ----------
    text : str
        A unit as files write it; ``h`` alone is the Hubble parameter, ``Ang`` the Angstrom, ``""`` and
        ``"1"`` are dimensionless.

    Returns
    -------
    astropy.units.UnitBase

    Raises
    ------
    ValueError
        If the text names a unit that is not known, or cannot be read.

    Examples
    --------
    >>> as_unit("(Msun/h)/(Mpc/h)^2")
    Unit("littleh solMass / Mpc2")
    >>> as_unit("1E-17 erg/cm^2/s/Ang")
    Unit("1e-17 erg / (Angstrom s cm2)")
    """
    if text.strip() in _DIMENSIONLESS:
        return u.dimensionless_unscaled
    try:
        tokens = _tokens(text)
        unit = _quotient(tokens)
        if tokens:
            raise ValueError(f"{tokens[0]!r} is left over")
    except (ValueError, IndexError) as error:
        reason = "it ends too early" if isinstance(error, IndexError) else error
        raise ValueError(
            f"the units {text!r} are not understood ({reason}); expected products and powers of units "
            "known to astropy, with h for the Hubble parameter, such as '(Msun/h)/(Mpc/h)^2', or '' for none"
        ) from error
    return _unit(unit)


def _tokens(text: str) -> list[str]:
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"unexpected {text[at:]!r}")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


def _quotient(tokens: list[str]) -> u.UnitBase:
    value = _product(tokens)
    while tokens and tokens[0] == "/":
        tokens.pop(0)
        value = value / _product(tokens)
    return value


def _product(tokens: list[str]) -> u.UnitBase:
    value = _factor(tokens)
    while tokens and tokens[0] not in ("/", ")"):
        if tokens[0] in ("*", "."):
            tokens.pop(0)
        value = value * _factor(tokens)
    return value


def _factor(tokens: list[str]) -> u.UnitBase:
    token = tokens.pop(0)
    if token == "(":
        value = _quotient(tokens)
        if tokens.pop(0) != ")":
            raise ValueError("a parenthesis is not closed")
    elif token[0].isdigit():
        value = _unit(float(token))
    else:
        value = _name(token, tokens)
    return value ** _power(tokens)


def _name(token: str, tokens: list[str]) -> u.UnitBase:
    if token in _LOGARITHMIC and tokens[:1] == ["("]:
        raise ValueError(f"{token}(...) is logarithmic; convert the values to linear units first")
    if token in _SPECIAL:
        return _SPECIAL[token]
    try:
        return _unit(token)
    except ValueError:
        raise ValueError(f"{token!r} is not a unit") from None


def _power(tokens: list[str]) -> int:
    """Take the power that follows a factor: ``^2``, ``**-2``, ``^(2)``, or digits as in ``cm2``, ``s-1``."""
    if not tokens:
        return 1
    if tokens[0] not in ("^", "**"):
        return int(tokens.pop(0)) if re.fullmatch(r"[+-]?\d+", tokens[0]) else 1
    tokens.pop(0)
    if tokens[0] != "(":
        return int(tokens.pop(0))
    _, power, closing = tokens.pop(0), int(tokens.pop(0)), tokens.pop(0)
    if closing != ")":
        raise ValueError("the parenthesis of a power is not closed")
    return power


def conversion(source: str, target: str) -> float:
    """Return the factor by which values in the units `source` are multiplied to be in the units `target`.

    Equal texts have the factor 1 even where astropy does not know the unit.

    Raises
    ------
    ValueError
        If one of the units is unknown or they are not of one dimension.

    Examples
    --------
    >>> conversion("Mpc/h", "kpc/h")
    1000.0
    """
    if source == target:
        return 1.0
    try:
        return float(_unit(as_unit(source)).to(as_unit(target)))
    except u.UnitConversionError as error:
        raise ValueError(f"the units {source!r} cannot be converted into {target!r}: {error}") from error


def k_unit(coordinate_units: str) -> str:
    """Return the units of a wavenumber: radian per unit of the coordinate.

    Examples
    --------
    >>> k_unit("Mpc/h"), k_unit("Angstrom"), k_unit("")
    ('h/Mpc', '1/Angstrom', '')
    """
    return inverse_unit(coordinate_units)


def inverse_unit(units: str) -> str:
    """Return the units of one over a quantity, of a probability density for example.

    Examples
    --------
    >>> inverse_unit("K"), inverse_unit("(Msun/h)/(Mpc/h)^2")
    ('1/K', '1/((Msun/h)/(Mpc/h)^2)')
    """
    if units in _DIMENSIONLESS:
        return ""
    simple = re.fullmatch(r"([^\s/()]+)/([^\s/()]+)", units)
    return f"{simple[2]}/{simple[1]}" if simple else f"1/{_grouped(units)}"


def power_unit(field_units: str, coordinate_units: str, ndim: int, other_units: str | None = None) -> str:
    """Return the units of a power spectrum: field² × coordinate^ndim, or field × other × coordinate^ndim.

    Examples
    --------
    >>> power_unit("", "Mpc/h", 2)
    '(Mpc/h)^2'
    >>> power_unit("(Msun/h)/(Mpc/h)^2", "Mpc/h", 2)
    '((Msun/h)/(Mpc/h)^2)^2 (Mpc/h)^2'
    >>> power_unit("K", "Mpc/h", 3, other_units="km/s")
    'K (km/s) (Mpc/h)^3'
    """
    if other_units is None or other_units == field_units:
        factors = [(field_units, 2)]
    else:
        factors = [(field_units, 1), (other_units, 1)]
    factors.append((coordinate_units, ndim))
    return " ".join(_raised(units, power) for units, power in factors if units not in _DIMENSIONLESS)


def _raised(units: str, power: int) -> str:
    return _grouped(units) + (f"^{power}" if power > 1 else "")


def _grouped(units: str) -> str:
    return units if re.fullmatch(r"[^\W\d]+", units) else f"({units})"


def pretty(units: str) -> str:
    """Return units as a figure prints them: superscripts, the symbol of the Sun and of the Angstrom.

    Examples
    --------
    >>> pretty("(Msun/h)/(Mpc/h)^2")
    '(M☉/h)/(Mpc/h)²'
    """
    power = re.compile(r"(?:\^|\*\*)(?:\((-?\d+)\)|(-?\d+))")
    text = power.sub(lambda found: (found[1] or found[2]).translate(_SUPERSCRIPTS), units)
    return re.sub(r"\bAngstrom\b", "Å", re.sub(r"\bMsun\b", "M☉", text))


def label(name: str, units: str = "") -> str:
    """Return the label of an axis, ``name [units]``, and the name alone where there is no dimension.

    Examples
    --------
    >>> label("k", "h/Mpc"), label("contrast", "")
    ('k [h/Mpc]', 'contrast')
    """
    return name if units in _DIMENSIONLESS else f"{name} [{pretty(units)}]"
