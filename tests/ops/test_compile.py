"""Every operator in `torch.compile` and `torch.export`, with any number of frames."""

import pytest
import torch
from torch import Tensor

from .operators import FORWARD_OPERATORS, Arguments, Operator

SIZES = (6, 4, 5, 3, 2, 7)

every_operator = pytest.mark.parametrize("operator", FORWARD_OPERATORS, ids=str)


def arguments_of(operator: Operator, frames: int) -> Arguments:
    return operator.make((frames,), torch.float64, **dict(zip(operator.sizes, SIZES, strict=False)))


class Called(torch.nn.Module):
    """An operator as a function of its tensors alone; the other arguments are constants."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator, self.call, self.written = operator, operator.call, operator.written
        self.constants = {n: v for n, v in arguments_of(operator, 2).items() if not isinstance(v, Tensor)}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
        found = self.call(**tensors, **self.constants)
        if self.written:
            return tuple(tensors[name] for name in self.written)
        return (found,) if isinstance(found, Tensor) else tuple(found)

    def tensors(self, frames: int, differentiable: bool = False) -> dict[str, Tensor]:
        found = {n: v for n, v in arguments_of(self.operator, frames).items() if isinstance(v, Tensor)}
        for name in self.operator.differentiable if differentiable else ():
            found[name].requires_grad_()
        return found

    def gradients(self, results: tuple[Tensor, ...], tensors: dict[str, Tensor]) -> list[Tensor]:
        total = sum((r**2).sum() for r in results if r.requires_grad)
        return list(torch.autograd.grad(total, [tensors[name] for name in self.operator.differentiable]))


@every_operator
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_in_one_graph_for_any_number_of_frames(operator, backend):
    called = Called(operator)
    torch.compiler.reset()
    compiled = torch.compile(called, fullgraph=True, dynamic=True, backend=backend)
    compiled(called.tensors(frames=11))  # unlike all other sizes, which torch would take for the same
    with torch.compiler.set_stance("fail_on_recompile"):
        for frames in (2, 9):
            tensors = called.tensors(frames)
            copies = {name: tensor.clone() for name, tensor in tensors.items()}
            for a, b in zip(compiled(copies), called(tensors), strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("operator", [o for o in FORWARD_OPERATORS if o.differentiable], ids=str)
def test_compile_with_gradients(operator):
    called = Called(operator)
    torch.compiler.reset()
    compiled = torch.compile(called, fullgraph=True, dynamic=True, backend="aot_eager")
    for frames in (7, 2):
        tensors = called.tensors(frames, differentiable=True)
        pair = [called.gradients(f(tensors), tensors) for f in (compiled, called)]
        for a, b in zip(*pair, strict=True):
            assert torch.equal(a, b)


@every_operator
def test_export_keeps_the_batch_dynamic(operator):
    called = Called(operator)
    tensors = called.tensors(frames=3)
    batch = torch.export.Dim("frames", min=1)
    shapes = {name: None if name in operator.shared else {0: batch} for name in tensors}
    program = torch.export.export(called, (tensors,), dynamic_shapes=(shapes,))
    assert any(operator.name in str(node.target) for node in program.graph.nodes)
    for frames in (1, 5):
        other = called.tensors(frames)
        copies = {name: tensor.clone() for name, tensor in other.items()}
        for a, b in zip(program.module()(copies), called(other), strict=True):
            assert torch.equal(a, b)
