"""Calls every operator wrongly, thousands of times: a program for `test_fuzz.py`.

Each bad call starts from valid arguments and breaks one thing, so that it must raise. The operators are those
registered with torch, backward ones too. What is called is printed first: the last line tells what crashed.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from operators import OPERATORS, Arguments, Operator
from torch import Tensor

BAD_CALLS = 10_000
WILD_CALLS = 2_000

FRAMES = 2
SIZES = (5, 7, 11, 13, 17, 19)
"""Of valid arguments: all different, so that no dimension fits in the place of another."""

NO_TENSORS = (None, "3", b"3", [], {}, object(), 1 + 2j)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64)
DTYPES = (*FLOATS, torch.uint8, torch.int32, torch.int64, torch.bool)
HUGE = 2**50
"""A size for which there is no memory, whatever the other sizes are."""

Broken = tuple[str, Any]
"""What was done to an argument, in words, and what to pass instead of it."""


def registered_operators() -> set[str]:
    """Names of all operators in torch's namespace `backmap`."""
    names = (schema.name for schema in torch._C._jit_get_all_schemas())
    return {name.removeprefix("backmap::") for name in names if name.startswith("backmap::")}


# ---- Breaking one argument ---------------------------------------------------------------------


def resized(tensor: Tensor, dimension: int, size: int) -> Tensor:
    return tensor.index_select(dimension, torch.arange(size) % tensor.shape[dimension])


def expanded(tensor: Tensor, dimension: int) -> Tensor:
    """A dimension of a huge size, which takes no memory yet."""
    sizes = list(tensor.shape)
    sizes[dimension] = HUGE
    return tensor.narrow(dimension, 0, 1).expand(sizes)


def break_shape(operator: Operator, arguments: Arguments, name: str) -> list[Broken]:
    tensor, free = arguments[name], operator.free.get(name, ())
    found: list[Broken] = []
    if name not in operator.scalars:
        found.append(("has no dimension", tensor.flatten()[0]))
    if name in operator.any_shape:
        return found + [(f"has a huge dimension {d}", expanded(tensor, d)) for d in range(-tensor.dim(), 0)]
    found += [("lacks the last dimension", tensor[..., 0]),
              ("has one dimension more at the end", tensor.unsqueeze(-1))]  # fmt: skip
    if -tensor.dim() not in free:
        found.append(("has one dimension more at the start", tensor.unsqueeze(0)))
    for d in range(-tensor.dim(), 0):
        found.append((f"has a huge dimension {d}", expanded(tensor, d)))
        if d in free:
            continue
        old = tensor.shape[d]
        for new in {0, 1, old - 1, old + 1, 2 * old} - {old}:
            found.append((f"has size {new} instead of {old} in dimension {d}", resized(tensor, d, new)))
    return found


def break_kind(arguments: Arguments, name: str) -> list[Broken]:
    """Another dtype, device or layout."""
    tensor = arguments[name]
    others = [v for n, v in arguments.items() if n != name and isinstance(v, Tensor)]
    wrong = set(DTYPES) - {tensor.dtype}
    if tensor.is_floating_point() and not any(other.is_floating_point() for other in others):
        wrong -= {torch.float32, torch.float64}  # then either is right
    found = [(f"has dtype {dtype}", tensor.to(dtype)) for dtype in sorted(wrong, key=str)]
    found.append(("is sparse", tensor.to_sparse()))
    if others:
        found.append(("is on the meta device", tensor.to("meta")))
    return found


def break_values(operator: Operator, arguments: Arguments, name: str, chance: random.Random) -> list[Broken]:
    """An index out of range, or values that make no sense."""
    tensor = arguments[name]
    made = operator.bad_contents.get(name, lambda tensor: [])(tensor)
    found = [(f"holds bad values ({n})", values) for n, values in enumerate(made)]
    if name in operator.index_ranges:
        valid = operator.index_ranges[name](arguments)
        for value in (valid.start - 1, valid.stop, -(2**63), 2**63 - 1, valid.stop + chance.randrange(1000)):
            changed = tensor.clone()
            changed.view(-1)[chance.randrange(tensor.numel())] = value
            found.append((f"holds {value}", changed))
    return found


def break_argument(
    operator: Operator, arguments: Arguments, name: str, chance: random.Random
) -> list[list[Broken]]:
    """All ways to break an argument, by their kinds."""
    value = arguments[name]
    schema_type = operator.schema_types[name]
    if schema_type == "bool":
        return []  # torch takes the truth of anything
    optional = schema_type.startswith("Optional")
    kinds = [[(f"is {wrong!r}", wrong) for wrong in NO_TENSORS if not (wrong is None and optional)]]
    if isinstance(value, Tensor):
        kinds.append(break_shape(operator, arguments, name))
        kinds.append(break_kind(arguments, name))
        kinds.append(break_values(operator, arguments, name, chance))
    else:
        kinds.append([(f"is {bad!r}", bad) for bad in operator.bad_values.get(name, ())])
    return [kind for kind in kinds if kind]


# ---- Calls -------------------------------------------------------------------------------------


def fails(call: Callable[[], object], what: str) -> bool:
    """Whether a call raises, as it should, something that is no failure inside torch."""
    print(what, flush=True)
    try:
        call()
    except Exception as error:  # any will do
        return "INTERNAL ASSERT" not in str(error)
    return False


@dataclass(frozen=True)
class Target:
    """An operator with valid arguments, and all ways to break each."""

    operator: Operator
    arguments: Arguments
    ways: dict[str, list[list[Broken]]]

    def __str__(self) -> str:
        return f"{self.operator}, {next(iter(self.arguments.values())).dtype}"

    def bad_call(self, chance: random.Random) -> tuple[str, Callable[[], object]]:
        """A call with one thing wrong: most often an argument, else their number or names."""
        call, values = self.operator.call, list(self.arguments.values())
        way = chance.randrange(20)
        if way == 0:
            missing = chance.randrange(self.operator.required_arguments)
            return f"only {missing} arguments", lambda: call(*values[:missing])
        if way == 1:
            return "one argument more", lambda: call(*values, 1)
        if way == 2:
            return "an unknown keyword", lambda: call(*values, no_such_argument=1)
        name = chance.choice([name for name, ways in self.ways.items() if ways])
        words, broken = chance.choice(chance.choice(self.ways[name]))
        return f"{name} {words}", lambda: call(*{**self.arguments, name: broken}.values())

    def wild_call(self, chance: random.Random) -> object:
        """A call with any values in arguments of the right shapes."""
        values = [
            wild_values(v, chance) if isinstance(v, Tensor) and chance.random() < 0.5 else v
            for v in self.arguments.values()
        ]
        return self.operator.call(*values)


def wild_values(tensor: Tensor, chance: random.Random) -> Tensor:
    """Any values: not finite and huge coordinates, indices far out of range."""
    if tensor.is_floating_point():
        wild = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, 1e38, -1e38, 1e-38, 1e9])
    elif tensor.dtype == torch.int64:
        wild = torch.tensor([-(2**63), 2**63 - 1, -1, 0, 1, 2**31, -(2**31), 2**40])
    else:
        wild = torch.tensor([False, True])
    chosen = wild.to(tensor.dtype)[torch.randint(0, len(wild), tensor.shape)]
    return torch.where(torch.rand(tensor.shape) < chance.choice([0.02, 0.5, 1.0]), chosen, tensor)


def target(operator: Operator, dtype: torch.dtype, chance: random.Random) -> Target:
    """Arguments of a few frames, called once to show that they are valid."""
    arguments = operator.make((FRAMES,), dtype, **dict(zip(operator.sizes, SIZES, strict=False)))
    print(f"{operator}, {dtype}: valid arguments", flush=True)
    operator.call(*arguments.values())
    ways = {name: break_argument(operator, arguments, name, chance) for name in arguments}
    return Target(operator, arguments, ways)


def main() -> int:
    if missing := registered_operators() - {operator.name for operator in OPERATORS}:
        print(f"no valid arguments are known of {', '.join(sorted(missing))}: add them to operators.py")
        return 1
    chance = random.Random(0)
    torch.manual_seed(0)
    targets = [
        target(operator, dtype, chance) for operator in OPERATORS for dtype in (torch.float32, torch.float64)
    ]
    for _ in range(BAD_CALLS):
        chosen = chance.choice(targets)
        words, call = chosen.bad_call(chance)
        if not fails(call, f"{chosen}: {words}"):
            print("raised nothing, or an internal error of torch")
            return 1
    for _ in range(WILD_CALLS):
        chosen = chance.choice(targets)
        fails(partial(chosen.wild_call, chance), f"{chosen}: wild values")
    print(f"{BAD_CALLS} bad calls raised, {WILD_CALLS} wild ones did not crash")
    return 0


if __name__ == "__main__":
    sys.exit(main())
