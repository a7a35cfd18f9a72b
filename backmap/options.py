"""Options as fields of a dataclass: their values, their help, and the models they apply to."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar, cast

from backmap.limits import Flag, Kind, OneOf, Real, Whole

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """Description of an option.

    Parameters
    ----------
    values : Kind
        Accepted values.
    help : str
        Short description.
    unset : str
        Meaning of a default of None or 0.
    metavar : str
        Placeholder for its value in the command-line help.
    group : str
        Its section in that help.
    families : tuple of str
        Families of models it applies to; empty for all.
    decides : bool
        Whether the written atoms depend on it, so that a run cannot be resumed with another value.
    """

    values: Kind
    help: str
    unset: str = ""
    metavar: str = ""
    group: str = ""
    families: tuple[str, ...] = ()
    decides: bool = True


def option(default: Any, values: Kind, help: str, **more: Any) -> Any:
    """Declare an option as a field of a dataclass: its default, and the parameters of :class:`Option`.

    A default of None means that the option may be omitted; ``...`` means that it is required.
    """
    metadata = {"option": Option(values, help, **more)}
    return dataclasses.field(default=dataclasses.MISSING if default is ... else default, metadata=metadata)


def same_option(kind: type, name: str, **changes: Any) -> Any:
    """Declare an option like that of another dataclass, except for changes of :class:`Option`."""
    (field,) = (field for field in dataclasses.fields(kind) if field.name == name)
    known = dataclasses.replace(field.metadata["option"], **changes)
    return dataclasses.field(default=field.default, metadata={"option": known})


def options_of(kind: type) -> Mapping[str, Option]:
    """Return the options that are fields of a dataclass, by name."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(kind)}


def defaults_of(kind: type) -> Mapping[str, Any]:
    """Return the defaults of options; required options have none."""
    fields = dataclasses.fields(kind)
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def check_options(given: Any) -> None:
    """Check all options of a dataclass under construction, and store them as plain values.

    Only NumPy numbers and booleans, paths and sequences are converted.

    Raises
    ------
    InputError
        If an option has the wrong type or is outside its limits; the message names it.
    """
    defaults = defaults_of(type(given))
    for name, known in options_of(type(given)).items():
        value = getattr(given, name)
        if value is not None or defaults.get(name, ()) is not None:
            object.__setattr__(given, name, known.values.check(value, name))


def takes_options(kind: type) -> Callable[[Function], Function]:
    """Give a function of ``**options`` the signature and documentation of the options of a dataclass.

    The options replace ``{options}`` in its docstring, except those that are explicit parameters. A keyword
    that the function does not take raises TypeError, with the name it is most like.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        named = {parameter.name for parameter in own}
        defaults = {name: value for name, value in defaults_of(kind).items() if name not in named}
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
            for name, value in defaults.items()
        ]
        documented = signature.replace(parameters=[*own, *keywords])

        @wraps(function)
        def checked(*given: Any, **options: Any) -> Any:
            for name in options.keys() - documented.parameters.keys():
                near = get_close_matches(name, documented.parameters, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}{hint}")
            return function(*given, **options)

        checked.__signature__ = documented  # type: ignore[attr-defined]
        listed = "\n".join(_entry(name, options_of(kind)[name], value) for name, value in defaults.items())
        checked.__doc__ = (function.__doc__ or "").replace("    {options}", textwrap.indent(listed, "    "))
        return cast(Function, checked)

    return decorate


def _entry(name: str, known: Option, default: Any) -> str:
    """Document an option in numpy style."""
    kind = {Flag: "bool", Whole: "int", Real: "float"}.get(type(known.values), "str")
    text = f"{known.help[0].upper()}{known.help[1:]}{applies_to(known)}."
    if isinstance(known.values, Whole | Real | OneOf):
        text += f" Takes {known.values}."
    meaning = f" ({known.unset})" if known.unset else ""
    text = textwrap.indent(textwrap.fill(text, 100), "    ")
    return f"{name} : {kind}, default {default!r}{meaning}\n{text}"


def applies_to(known: Option) -> str:
    """Name the models that an option applies to, in parentheses; empty if it applies to all."""
    return f" ({', '.join(known.families)} models)" if known.families else ""
