"""What holds for every operator, whatever the shapes, the layout in memory, the dtype and the values."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backmap.ops import reference

from .operators import FORWARD_OPERATORS, Arguments, Operator

BATCHES = [(), (0,), (1,), (3,), (2, 2), (2, 0)]
FILLED_BATCHES = [(2,), (3,), (2, 2)]
DTYPES = [torch.float32, torch.float64]
MOST_SIZES = max(len(operator.sizes) for operator in FORWARD_OPERATORS)

every_operator = pytest.mark.parametrize("operator", FORWARD_OPERATORS, ids=str)
few_examples = settings(derandomize=True, deadline=None, max_examples=25)


@dataclass(frozen=True)
class Case:
    """What arguments are made of; sizes start from the smallest that the operator takes."""

    batch: tuple[int, ...]
    dtype: torch.dtype
    beyond_smallest: list[int]
    seed: int

    def arguments(self, operator: Operator) -> Arguments:
        torch.manual_seed(self.seed)
        sizes = zip(operator.sizes.items(), self.beyond_smallest, strict=False)
        return operator.make(self.batch, self.dtype, **{name: least + n for (name, least), n in sizes})


def cases(batches=BATCHES, dtypes=DTYPES) -> st.SearchStrategy[Case]:
    sizes = st.lists(st.integers(0, 4), min_size=MOST_SIZES, max_size=MOST_SIZES)
    return st.builds(Case, st.sampled_from(batches), st.sampled_from(dtypes), sizes, st.integers(0, 999))


def with_gradients(operator: Operator, arguments: Arguments) -> tuple[list[Tensor], list[Tensor]]:
    """Results, and gradients of the sum of the squares of those that have any."""
    arguments = dict(arguments)
    for name in operator.differentiable:
        arguments[name] = arguments[name].detach().requires_grad_()
    found = operator.evaluate(arguments)
    sums = [(f**2).sum() for f in found if f.requires_grad]
    wanted = [arguments[name] for name in operator.differentiable]
    return [f.detach() for f in found], list(torch.autograd.grad(sum(sums), wanted)) if sums else []


def assert_identical(actual, expected) -> None:
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


# ---- Layouts: the same values, elsewhere in memory ---------------------------------------------


def spread(tensor: Tensor) -> Tensor:
    """Every second element of a wider tensor."""
    return tensor.repeat_interleave(2, -1)[..., ::2] if tensor.dim() else tensor


def turned(tensor: Tensor) -> Tensor:
    """Dimensions stored in reverse order."""
    order = list(reversed(range(tensor.dim())))
    return tensor.permute(order).contiguous().permute(order)


def shifted(tensor: Tensor) -> Tensor:
    """Begins one element into its storage, so that it is aligned to its elements at most."""
    storage = torch.cat([tensor.new_zeros(1), tensor.flatten()])
    return storage[1:].view(tensor.shape)


def repeated(tensor: Tensor) -> Tensor:
    """The first slice for all, by a stride of 0."""
    return tensor[:1].expand_as(tensor) if tensor.dim() and len(tensor) else tensor


LAYOUTS = [spread, turned, shifted, repeated]


@every_operator
@few_examples
@given(case=cases(), layouts=st.lists(st.sampled_from(LAYOUTS), min_size=10, max_size=10))
def test_layout_changes_nothing(operator, case, layouts):
    laid_out = case.arguments(operator)
    for (name, value), layout in zip(laid_out.items(), layouts, strict=False):
        fixed = name in operator.written or (layout is repeated and name in operator.bad_contents)
        if isinstance(value, Tensor) and not fixed:
            laid_out[name] = layout(value)
    plain = {
        name: value.clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value
        for name, value in laid_out.items()
    }
    for actual, expected in zip(
        with_gradients(operator, laid_out), with_gradients(operator, plain), strict=True
    ):
        assert_identical(actual, expected)


# ---- Shapes and values -------------------------------------------------------------------------


@pytest.mark.parametrize("operator", [o for o in FORWARD_OPERATORS if not o.written], ids=str)
@few_examples
@given(case=cases(dtypes=[torch.float64]))
def test_matches_reference(operator, case):
    arguments = case.arguments(operator)
    expected = getattr(reference, operator.name)(*arguments.values())
    expected = (expected,) if isinstance(expected, Tensor) else expected
    for a, b in zip(operator.evaluate(arguments), expected, strict=True):
        torch.testing.assert_close(a, b)


@every_operator
@few_examples
@given(case=cases())
def test_shapes_without_values(operator, case):
    """Meta tensors have the shapes, dtypes and strides of real ones."""
    arguments = case.arguments(operator)
    meta = {name: v.to("meta") if isinstance(v, Tensor) else v for name, v in arguments.items()}
    for a, b in zip(operator.evaluate(meta), operator.evaluate(arguments), strict=True):
        assert a.is_meta and (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride())


@every_operator
@few_examples
@given(case=cases())
def test_gradients_have_the_shapes_of_their_arguments(operator, case):
    arguments = case.arguments(operator)
    _, gradients = with_gradients(operator, arguments)
    for name, gradient in zip(operator.differentiable, gradients, strict=True):
        assert (gradient.shape, gradient.dtype) == (arguments[name].shape, arguments[name].dtype)


def frame_of(operator: Operator, arguments: Arguments, index: tuple[int, ...]) -> Arguments:
    """The arguments of one frame, without batch dimensions."""
    return {
        name: value[index].clone() if isinstance(value, Tensor) and name not in operator.shared else value
        for name, value in arguments.items()
    }


@every_operator
@few_examples
@given(case=cases(FILLED_BATCHES), data=st.data())
def test_frames_do_not_see_each_other(operator, case, data):
    """A frame alone gives what it gives in a batch, also beside one whose values are not finite."""
    arguments = case.arguments(operator)
    batched = [
        name
        for name, value in arguments.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and name not in operator.shared
        and name not in operator.bad_contents
    ]
    first, last = (0,) * len(case.batch), tuple(size - 1 for size in case.batch)
    alone = with_gradients(operator, frame_of(operator, arguments, last))
    for name in batched:
        arguments[name][first] = spoiled(arguments[name][first], data)
    together = with_gradients(operator, arguments)
    for one, many in zip(alone, together, strict=True):
        assert_identical([m[last] for m in many], one)


def spoiled(values: Tensor, data: st.DataObject) -> Tensor:
    """A copy with some elements that are not finite or huge."""
    bad = data.draw(st.sampled_from([math.nan, math.inf, -math.inf, 1e30]))
    return torch.where(torch.rand_like(values) < data.draw(st.sampled_from([0.1, 1.0])), bad, values)
