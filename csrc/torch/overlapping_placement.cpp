// Placement with overlaps: from tensors to launchers, and gradients.
#include "kernels/overlapping_placement.h"
#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

// Checks shared by the operator and its backward; `first` are coordinates (*, residues, atoms, 3).
void check_placement(const Argument& first, const Tensor& frame, const Tensor& local, const Tensor& target) {
  const char* op = first.op;
  is_floating(first);
  holds_points(first, 3, "(*, residues, atoms, 3)");
  const Sizes batch = without_last(first.tensor, 3);
  const auto dtype = first.tensor.scalar_type();
  goes_with({op, "frame", frame}, first, dtype);
  holds_points({op, "frame", frame}, 3, "(*, queries, 4, 3)");
  const auto queries = frame.sym_size(-3);
  has_shape({op, "frame", frame}, join(batch, {queries, 4, 3}));
  goes_with({op, "local", local}, first, dtype);
  holds_points({op, "local", local}, 3, "(*, queries, slots, 3)");
  const auto slots = local.sym_size(-2);
  has_shape({op, "local", local}, join(batch, {queries, slots, 3}));
  goes_with({op, "target", target}, first, at::kLong);
  has_shape({op, "target", target}, {queries, slots});
}

Tensor empty_overlapping_placement(const Tensor& atoms, const Tensor& frame, const Tensor& local,
                                   const Tensor& target) {
  check_placement({"overlapping_placement", "atoms", atoms}, frame, local, target);
  return at::empty_symint(atoms.sym_sizes(), atoms.options());
}

Tensor overlapping_placement(const Tensor& atoms, const Tensor& frame, const Tensor& local, const Tensor& target) {
  Tensor placed = empty_overlapping_placement(atoms, frame, local, target);
  const int64_t atoms_of_frame = atoms.size(-3) * atoms.size(-2);
  check_atom_range({"overlapping_placement", "target", target}, atoms_of_frame, -1);
  const Tensor atoms_ = atoms.contiguous(), frame_ = frame.contiguous(), local_ = local.contiguous(),
               target_ = target.contiguous();
  const Tensor winner = at::empty({atoms_of_frame}, target.options());
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const OverlapArguments<T> args{
        .batch = frame_count(atoms, 3),
        .atoms = atoms_of_frame,
        .queries = frame.size(-3),
        .slots = local.size(-2),
        .atom = atoms_.const_data_ptr<T>(),
        .frame = frame_.const_data_ptr<T>(),
        .local = local_.const_data_ptr<T>(),
        .target = target_.const_data_ptr<int64_t>(),
        .winner = winner.mutable_data_ptr<int64_t>(),
        .placed = placed.mutable_data_ptr<T>(),
    };
    launch(atoms, [&] { cpu::overlapping_placement(args); }, [&](void* s) { cuda::overlapping_placement(args, s); });
  });
  return placed;
}

Tensors3 empty_overlapping_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local,
                                              const Tensor& target) {
  check_placement({"overlapping_placement_backward", "grad", grad}, frame, local, target);
  return {at::empty_symint(grad.sym_sizes(), grad.options()), at::empty_symint(frame.sym_sizes(), frame.options()),
          at::empty_symint(local.sym_sizes(), local.options())};
}

Tensors3 overlapping_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local,
                                        const Tensor& target) {
  auto [grad_atoms, grad_frame, grad_local] = empty_overlapping_placement_backward(grad, frame, local, target);
  const int64_t atoms_of_frame = grad.size(-3) * grad.size(-2);
  const Tensor grad_ = grad.contiguous(), frame_ = frame.contiguous(), local_ = local.contiguous(),
               target_ = target.contiguous();
  const Tensor winner = at::empty({atoms_of_frame}, target.options());
  with_scalar_of(grad, [&](auto scalar) {
    using T = decltype(scalar);
    const OverlapBackwardArguments<T> args{
        .batch = frame_count(grad, 3),
        .atoms = atoms_of_frame,
        .queries = frame.size(-3),
        .slots = local.size(-2),
        .grad = grad_.const_data_ptr<T>(),
        .frame = frame_.const_data_ptr<T>(),
        .local = local_.const_data_ptr<T>(),
        .target = target_.const_data_ptr<int64_t>(),
        .winner = winner.mutable_data_ptr<int64_t>(),
        .grad_atoms = grad_atoms.mutable_data_ptr<T>(),
        .grad_frame = grad_frame.mutable_data_ptr<T>(),
        .grad_local = grad_local.mutable_data_ptr<T>(),
    };
    launch(
        grad, [&] { cpu::overlapping_placement_backward(args); },
        [&](void* s) { cuda::overlapping_placement_backward(args, s); });
  });
  return {grad_atoms, grad_frame, grad_local};
}

// ---- Gradient ----------------------------------------------------------------------------------

struct OverlappingPlacement : torch::autograd::Function<OverlappingPlacement> {
  static Tensor forward(AutogradContext* ctx, const Tensor& atoms, const Tensor& frame, const Tensor& local,
                        const Tensor& target) {
    ctx->save_for_backward({frame, local, target});
    return call_below_autograd<&overlapping_placement>(atoms, frame, local, target);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [grad_atoms, grad_frame, grad_local] =
        call<&overlapping_placement_backward>(grads[0], saved[0], saved[1], saved[2]);
    return {grad_atoms, grad_frame, grad_local, {}};
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&overlapping_placement, &empty_overlapping_placement, OverlappingPlacement>(
      m, "overlapping_placement(Tensor atoms, Tensor frame, Tensor local, Tensor target) -> Tensor");
  register_operator<&overlapping_placement_backward, &empty_overlapping_placement_backward, NoSecondGradient>(
      m,
      "overlapping_placement_backward(Tensor grad, Tensor frame, Tensor local, Tensor target) "
      "-> (Tensor grad_atoms, Tensor grad_frame, Tensor grad_local)");
}

}  // namespace backmap
