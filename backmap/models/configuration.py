"""Configurations: dataclasses created from the plain values of a model file or a TOML file."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Annotated, Any, TypeVar, get_args, get_origin

from backmap.errors import InputError
from backmap.limits import Real, Whole, shown

Config = TypeVar("Config")

Width = Annotated[int, Whole(1, 16_384)]
"""Size of a layer."""
Depth = Annotated[int, Whole(1, 64)]
"""Number of layers, heads or groups."""
Share = Annotated[float, Real(0.0, 1.0)]
Factor = Annotated[float, Real(0.0, 1e9)]
"""A weight, a rate or a strength."""
Nanometres = Annotated[float, Real(1e-3, 1e3)]
Count = Annotated[int, Whole(0, 10**12)]
Number = Annotated[int, Whole(1, 10**9)]
"""How many epochs, frames or the like."""

_WHOLE_NUMBERS = Whole(-(2**63), 2**63 - 1)
_NUMBERS = Real(-1e300, 1e300)


def config_from_dict(kind: type[Config], values: Any, where: str = "") -> Config:
    """Create a (nested) configuration dataclass from plain values, by the type hints of its fields.

    Parameters
    ----------
    kind : type
        The dataclass. Type hints may be numbers with a range (``Annotated[int, Whole(1, 9)]``), int, float,
        str, bool, tuples of these, other dataclasses, or unions of one of these with None.
    values : dict
        Value of each field; fields with a default may be omitted.
    where : str
        Name of the table, for messages.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value has the wrong type or size; the message names it.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where or 'the configuration'} is {shown(values)}; it must be a table")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind, include_extras=True)
    for name in values:
        if name not in fields:
            place = f" in {where}" if where else ""
            raise InputError(f"unknown key {shown(name)}{place}: {kind.__name__} has {', '.join(fields)}")
    arguments = {name: _value(hints[name], value, _join(where, name)) for name, value in values.items()}
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise InputError(f"{_join(where, name)} is missing")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise InputError(f"{where}: {error}" if where else str(error)) from None


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _value(hint: Any, value: Any, where: str) -> Any:
    """Check one value against the hint of its field."""
    origin = get_origin(hint)
    if origin is Annotated:
        return get_args(hint)[1].check(value, where)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (option for option in get_args(hint) if option is not types.NoneType)
        return None if value is None else _value(inner, value, where)
    if dataclasses.is_dataclass(hint):
        return config_from_dict(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        return _tuple(get_args(hint), value, where)
    if hint is int:
        return _WHOLE_NUMBERS.check(value, where)
    if hint is float:
        return _NUMBERS.check(value, where)
    if not isinstance(value, hint):
        raise InputError(f"{where} is {shown(value)}; it must be of type {hint.__name__}")
    return value


def _tuple(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where} is {shown(value)}; it must be a list")
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(value)
    if len(value) != len(hints):
        raise InputError(f"{where} is {shown(value)}; it must be a list of {len(hints)}")
    return tuple(
        _value(hint, entry, f"{where}[{number}]")
        for number, (hint, entry) in enumerate(zip(hints, value, strict=True))
    )
