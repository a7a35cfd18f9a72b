// Structure score: from tensors to launchers.
#include "kernels.h"
#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/operators.h"

namespace backmap {
namespace {

using namespace checks;

// What the operator and its backward share: atoms, mask, bonds and their lengths. Returns the batch dimensions.
Sizes check_bonded(const char* op, const Tensor& atoms, const Tensor& present, const Tensor& bonds,
                   const Tensor& reference_lengths) {
  const Argument first{op, "atoms", atoms};
  is_floating(first);
  holds_points(first, 3, "(*, residues, atoms, 3)");
  const Sizes batch = without_last(atoms, 3);
  goes_with({op, "present", present}, first, at::kBool);
  has_shape_or_shared({op, "present", present}, batch, {atoms.sym_size(-3), atoms.sym_size(-2)});
  goes_with({op, "bonds", bonds}, first, at::kLong);
  has_dimensions({op, "bonds", bonds}, 2, "(bonds, 2)");
  has_shape({op, "bonds", bonds}, {bonds.sym_size(0), 2});
  goes_with({op, "reference_lengths", reference_lengths}, first, atoms.scalar_type());
  has_shape_or_shared({op, "reference_lengths", reference_lengths}, batch, {bonds.sym_size(0)});
  return batch;
}

// Only where reading the values costs no synchronisation; CUDA takes an atom out of range as missing.
void check_bond_range(const Tensor& bonds, int64_t atoms) {
  if (!bonds.is_cpu() || bonds.numel() == 0) return;
  const int64_t lowest = bonds.min().item<int64_t>(), highest = bonds.max().item<int64_t>();
  TORCH_CHECK_VALUE(lowest >= 0 && highest < atoms, "structure_score: bonds must lie in [0, ", atoms,
                    ") (residues * atoms), got ", lowest < 0 ? lowest : highest);
}

}  // namespace

Tensors3 empty_structure_score(const Tensor& atoms, const Tensor& present, const Tensor& side_chain,
                               const Tensor& linked, const Tensor& bonds, const Tensor& reference_lengths,
                               double bond_tolerance, double clash_distance) {
  const char* op = "structure_score";
  const Argument first{op, "atoms", atoms};
  const Sizes batch = check_bonded(op, atoms, present, bonds, reference_lengths);
  const auto residues = atoms.sym_size(-3), slots = atoms.sym_size(-2);
  goes_with({op, "side_chain", side_chain}, first, at::kBool);
  has_shape({op, "side_chain", side_chain}, {residues, slots});
  goes_with({op, "linked", linked}, first, at::kBool);
  has_shape({op, "linked", linked}, {residues});
  TORCH_CHECK_VALUE(bond_tolerance >= 0, op, ": bond_tolerance must be 0 or more, got ", bond_tolerance);
  TORCH_CHECK_VALUE(clash_distance > 0, op, ": clash_distance must be more than 0 nm, got ", clash_distance);
  return {at::empty_symint(join(batch, {bonds.sym_size(0)}), atoms.options()),
          at::empty_symint(join(batch, {residues}), atoms.options().dtype(at::kBool)),
          at::empty_symint(join(batch, {3}), atoms.options().dtype(at::kLong))};
}

Tensors3 structure_score(const Tensor& atoms, const Tensor& present, const Tensor& side_chain, const Tensor& linked,
                         const Tensor& bonds, const Tensor& reference_lengths, double bond_tolerance,
                         double clash_distance) {
  auto [deviation, clash, counts] = empty_structure_score(atoms, present, side_chain, linked, bonds, reference_lengths,
                                                          bond_tolerance, clash_distance);
  const int64_t frames = frame_count(atoms, 3), atoms_of_frame = atoms.size(-3) * atoms.size(-2);
  check_bond_range(bonds, atoms_of_frame);
  const Tensor atoms_ = atoms.contiguous(), present_ = present.contiguous(), side_chain_ = side_chain.contiguous(),
               linked_ = linked.contiguous(), bonds_ = bonds.contiguous(), reference_ = reference_lengths.contiguous();
  const int64_t workspace_size = atoms.is_cuda() ? frames * cuda::score_workspace(atoms_of_frame) : 0;
  const Tensor workspace = at::empty({workspace_size}, atoms.options().dtype(at::kInt));
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const ScoreArguments<T> args{
        .batch = frames,
        .residues = atoms.size(-3),
        .slots = atoms.size(-2),
        .bonds = bonds.size(0),
        .bond_tolerance = T(bond_tolerance),
        .clash_distance = T(clash_distance),
        .atoms = atoms_.const_data_ptr<T>(),
        .present = present_.const_data_ptr<bool>(),
        .present_stride = frame_stride(present, 2),
        .side_chain = side_chain_.const_data_ptr<bool>(),
        .linked = linked_.const_data_ptr<bool>(),
        .bond = bonds_.const_data_ptr<int64_t>(),
        .reference = reference_.const_data_ptr<T>(),
        .reference_stride = frame_stride(reference_lengths, 1),
        .deviation = deviation.mutable_data_ptr<T>(),
        .clash = clash.mutable_data_ptr<bool>(),
        .counts = counts.mutable_data_ptr<int64_t>(),
        .workspace = workspace.mutable_data_ptr<int32_t>(),
    };
    launch(atoms, [&] { cpu::structure_score(args); }, [&](void* s) { cuda::structure_score(args, s); });
  });
  return {deviation, clash, counts};
}

Tensor empty_structure_score_backward(const Tensor& grad_deviation, const Tensor& atoms, const Tensor& present,
                                      const Tensor& bonds, const Tensor& reference_lengths) {
  const char* op = "structure_score_backward";
  const Sizes batch = check_bonded(op, atoms, present, bonds, reference_lengths);
  goes_with({op, "grad_deviation", grad_deviation}, {op, "atoms", atoms}, atoms.scalar_type());
  has_shape({op, "grad_deviation", grad_deviation}, join(batch, {bonds.sym_size(0)}));
  return at::empty_symint(atoms.sym_sizes(), atoms.options());
}

Tensor structure_score_backward(const Tensor& grad_deviation, const Tensor& atoms, const Tensor& present,
                                const Tensor& bonds, const Tensor& reference_lengths) {
  Tensor grad_atoms = empty_structure_score_backward(grad_deviation, atoms, present, bonds, reference_lengths).zero_();
  const Tensor grad_ = grad_deviation.contiguous(), atoms_ = atoms.contiguous(), present_ = present.contiguous(),
               bonds_ = bonds.contiguous(), reference_ = reference_lengths.contiguous();
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const ScoreBackwardArguments<T> args{
        .batch = frame_count(atoms, 3),
        .residues = atoms.size(-3),
        .slots = atoms.size(-2),
        .bonds = bonds.size(0),
        .grad_deviation = grad_.const_data_ptr<T>(),
        .atoms = atoms_.const_data_ptr<T>(),
        .present = present_.const_data_ptr<bool>(),
        .present_stride = frame_stride(present, 2),
        .bond = bonds_.const_data_ptr<int64_t>(),
        .reference = reference_.const_data_ptr<T>(),
        .reference_stride = frame_stride(reference_lengths, 1),
        .grad_atoms = grad_atoms.mutable_data_ptr<T>(),
    };
    launch(
        atoms, [&] { cpu::structure_score_backward(args); }, [&](void* s) { cuda::structure_score_backward(args, s); });
  });
  return grad_atoms;
}

}  // namespace backmap
