// Structure score: from tensors to launchers, and gradients.
#include "kernels/structure_score.h"
#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

// Checks shared by the operator and its backward: atoms, mask, bonds with lengths, box. Returns the batch dimensions.
Sizes check_bonded(const char* op, const Tensor& atoms, const Tensor& present, const Tensor& bonds,
                   const Tensor& reference_lengths, const std::optional<Tensor>& box) {
  const Argument first{op, "atoms", atoms};
  const Sizes batch = check_atoms(op, atoms, present);
  check_pairs({op, "bonds", bonds}, "(bonds, 2)", {op, "reference_lengths", reference_lengths}, first, batch);
  check_box(op, box, first, batch);
  return batch;
}

void check_values(const char* op, const Tensor& atoms, const Tensor& bonds) {
  const int64_t atoms_of_frame = atoms.size(-3) * atoms.size(-2);
  check_count(op, "atoms", atoms_of_frame);
  check_count(op, "bonds", bonds.size(0));
  check_atom_range({op, "bonds", bonds}, atoms_of_frame);
}

Tensors3 empty_structure_score(const Tensor& atoms, const Tensor& present, const Tensor& side_chain,
                               const Tensor& following, const Tensor& bonds, const Tensor& reference_lengths,
                               double bond_tolerance, double clash_distance, const std::optional<Tensor>& box) {
  const char* op = "structure_score";
  const Argument first{op, "atoms", atoms};
  const Sizes batch = check_bonded(op, atoms, present, bonds, reference_lengths, box);
  const auto residues = atoms.sym_size(-3), slots = atoms.sym_size(-2);
  goes_with({op, "side_chain", side_chain}, first, at::kBool);
  has_shape({op, "side_chain", side_chain}, {residues, slots});
  goes_with({op, "following", following}, first, at::kLong);
  has_shape({op, "following", following}, {residues});
  TORCH_CHECK_VALUE(bond_tolerance >= 0, op, ": bond_tolerance must be 0 or more, got ", bond_tolerance);
  TORCH_CHECK_VALUE(clash_distance > 0, op, ": clash_distance must be more than 0 nm, got ", clash_distance);
  return {at::empty_symint(join(batch, {bonds.sym_size(0)}), atoms.options()),
          at::empty_symint(join(batch, {residues}), atoms.options().dtype(at::kBool)),
          at::empty_symint(join(batch, {3}), atoms.options().dtype(at::kLong))};
}

Tensors3 structure_score(const Tensor& atoms, const Tensor& present, const Tensor& side_chain, const Tensor& following,
                         const Tensor& bonds, const Tensor& reference_lengths, double bond_tolerance,
                         double clash_distance, const std::optional<Tensor>& box) {
  auto [deviation, clash, counts] = empty_structure_score(atoms, present, side_chain, following, bonds,
                                                          reference_lengths, bond_tolerance, clash_distance, box);
  check_values("structure_score", atoms, bonds);
  check_box_values("structure_score", box, clash_distance, "clash_distance");
  const Tensor atoms_ = atoms.contiguous(), present_ = present.contiguous(), side_chain_ = side_chain.contiguous(),
               following_ = following.contiguous(), bonds_ = bonds.contiguous(),
               reference_ = reference_lengths.contiguous(), box_ = contiguous_or_undefined(box);
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const int64_t frames = frame_count(atoms, 3), atoms_of_frame = atoms.size(-3) * atoms.size(-2);
    const Tensor workspace = cuda_workspace(atoms, [&] { return cuda::score_workspace<T>(frames, atoms_of_frame); });
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
        .following = following_.const_data_ptr<int64_t>(),
        .bond = bonds_.const_data_ptr<int64_t>(),
        .reference = reference_.const_data_ptr<T>(),
        .reference_stride = frame_stride(reference_lengths, 1),
        .box = data_or_null<T>(box_),
        .box_stride = box ? frame_stride(*box, 2) : 0,
        .deviation = deviation.mutable_data_ptr<T>(),
        .clash = clash.mutable_data_ptr<bool>(),
        .counts = counts.mutable_data_ptr<int64_t>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(atoms, [&] { cpu::structure_score(args); }, [&](void* s) { cuda::structure_score(args, s); });
  });
  return {deviation, clash, counts};
}

Tensor empty_structure_score_backward(const Tensor& grad_deviation, const Tensor& atoms, const Tensor& present,
                                      const Tensor& bonds, const Tensor& reference_lengths,
                                      const std::optional<Tensor>& box) {
  const char* op = "structure_score_backward";
  const Sizes batch = check_bonded(op, atoms, present, bonds, reference_lengths, box);
  goes_with({op, "grad_deviation", grad_deviation}, {op, "atoms", atoms}, atoms.scalar_type());
  has_shape({op, "grad_deviation", grad_deviation}, join(batch, {bonds.sym_size(0)}));
  return at::empty_symint(atoms.sym_sizes(), atoms.options());
}

Tensor structure_score_backward(const Tensor& grad_deviation, const Tensor& atoms, const Tensor& present,
                                const Tensor& bonds, const Tensor& reference_lengths,
                                const std::optional<Tensor>& box) {
  const Tensor grad_atoms =
      empty_structure_score_backward(grad_deviation, atoms, present, bonds, reference_lengths, box);
  check_values("structure_score_backward", atoms, bonds);
  check_box_values("structure_score_backward", box, 0, "nothing");
  const Tensor grad_ = grad_deviation.contiguous(), atoms_ = atoms.contiguous(), present_ = present.contiguous(),
               bonds_ = bonds.contiguous(), reference_ = reference_lengths.contiguous(),
               box_ = contiguous_or_undefined(box);
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const int64_t atoms_of_frame = atoms.size(-3) * atoms.size(-2);
    const Tensor workspace =
        cuda_workspace(atoms, [&] { return cuda::score_backward_workspace<T>(atoms_of_frame, bonds.size(0)); });
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
        .box = data_or_null<T>(box_),
        .box_stride = box ? frame_stride(*box, 2) : 0,
        .grad_atoms = grad_atoms.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(
        atoms, [&] { cpu::structure_score_backward(args); }, [&](void* s) { cuda::structure_score_backward(args, s); });
  });
  return grad_atoms;
}

// ---- Gradient ----------------------------------------------------------------------------------

struct StructureScore : torch::autograd::Function<StructureScore> {
  static variable_list forward(AutogradContext* ctx, const Tensor& atoms, const Tensor& present,
                               const Tensor& side_chain, const Tensor& following, const Tensor& bonds,
                               const Tensor& reference_lengths, double bond_tolerance, double clash_distance,
                               const std::optional<Tensor>& box) {
    auto [deviation, clash, counts] = call_below_autograd<&structure_score>(
        atoms, present, side_chain, following, bonds, reference_lengths, bond_tolerance, clash_distance, box);
    ctx->save_for_backward({atoms, present, bonds, reference_lengths, box.value_or(Tensor())});
    ctx->mark_non_differentiable({clash, counts});
    return {deviation, clash, counts};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor grad_atoms =
        call<&structure_score_backward>(grads[0], saved[0], saved[1], saved[2], saved[3], if_defined(saved[4]));
    return {grad_atoms, {}, {}, {}, {}, {}, {}, {}, {}};
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&structure_score, &empty_structure_score, StructureScore>(
      m,
      "structure_score(Tensor atoms, Tensor present, Tensor side_chain, Tensor following, Tensor bonds, "
      "Tensor reference_lengths, float bond_tolerance, float clash_distance, Tensor? box=None) "
      "-> (Tensor deviation, Tensor clash, Tensor counts)");
  register_operator<&structure_score_backward, &empty_structure_score_backward, NoSecondGradient>(
      m,
      "structure_score_backward(Tensor grad_deviation, Tensor atoms, Tensor present, Tensor bonds, "
      "Tensor reference_lengths, Tensor? box=None) -> Tensor");
}

}  // namespace backmap
