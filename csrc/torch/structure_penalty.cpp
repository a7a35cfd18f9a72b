// Structure penalty: from tensors to launchers, and gradients.
#include "kernels/structure_penalty.h"
#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

// The parameters of the penalty and its backward, and their names in the same order.
#define BACKMAP_PENALTY_PARAMETERS                                                                             \
  const Tensor &atoms, const Tensor &present, const Tensor &bonds, const Tensor &bond_lengths,                 \
      const Tensor &angle_ends, const Tensor &angle_spans, const Tensor &radii, const Tensor &exclusion_start, \
      const Tensor &exclusions, double bond_kt_per_nm2, double angle_kt_per_nm2, double repulsion_kt_per_nm2,  \
      double radius_scale, const std::optional<Tensor>&box
#define BACKMAP_PENALTY_ARGUMENTS                                                                                    \
  atoms, present, bonds, bond_lengths, angle_ends, angle_spans, radii, exclusion_start, exclusions, bond_kt_per_nm2, \
      angle_kt_per_nm2, repulsion_kt_per_nm2, radius_scale, box

namespace backmap {
namespace {

using namespace checks;

// The arguments of the operator and its backward.
struct Penalty {
  const char* op;
  const Tensor &atoms, &present, &bonds, &bond_lengths, &angle_ends, &angle_spans, &radii, &exclusion_start,
      &exclusions;
  double bond_strength, angle_strength, repulsion_strength, radius_scale;
  const std::optional<Tensor>& box;

  int64_t frames() const { return frame_count(atoms, 3); }
  int64_t atoms_of_frame() const { return atoms.size(-3) * atoms.size(-2); }

  // Returns the batch dimensions.
  Sizes check() const {
    const Argument first{op, "atoms", atoms};
    const Sizes batch = check_atoms(op, atoms, present);
    check_pairs({op, "bonds", bonds}, "(bonds, 2)", {op, "bond_lengths", bond_lengths}, first, batch);
    check_pairs({op, "angle_ends", angle_ends}, "(angles, 2)", {op, "angle_spans", angle_spans}, first, batch);
    const auto residues = atoms.sym_size(-3), slots = atoms.sym_size(-2);
    goes_with({op, "radii", radii}, first, atoms.scalar_type());
    has_shape({op, "radii", radii}, {residues, slots});
    goes_with({op, "exclusion_start", exclusion_start}, first, at::kLong);
    has_shape({op, "exclusion_start", exclusion_start}, {residues * slots + 1});
    goes_with({op, "exclusions", exclusions}, first, at::kLong);
    has_dimensions({op, "exclusions", exclusions}, 1, "(exclusions,)");
    check_box(op, box, first, batch);
    check_strength("bond_kt_per_nm2", bond_strength);
    check_strength("angle_kt_per_nm2", angle_strength);
    check_strength("repulsion_kt_per_nm2", repulsion_strength);
    check_strength("radius_scale", radius_scale);
    return batch;
  }

  void check_strength(const char* name, double value) const {
    TORCH_CHECK_VALUE(value >= 0 && value < INFINITY, op, ": ", name, " must be 0 or more, got ", value);
  }

  void check_values() const {
    check_count(op, "atoms", atoms_of_frame());
    check_count(op, "bonds", bonds.size(0));
    check_count(op, "angle_ends", angle_ends.size(0));
    if (!atoms.is_cpu()) return;
    check_atom_range({op, "bonds", bonds}, atoms_of_frame());
    check_atom_range({op, "angle_ends", angle_ends}, atoms_of_frame());
    check_row_starts({op, "exclusion_start", exclusion_start}, {op, "exclusions", exclusions});
    check_atom_range({op, "exclusions", exclusions}, atoms_of_frame());
    check_radii();
  }

  void check_radii() const {
    if (radii.numel() == 0) return check_box_values(op, box, 0, "the largest contact");
    const auto [low, high] = radii.aminmax();
    const double smallest = low.item<double>(), largest = high.item<double>();
    TORCH_CHECK_VALUE(smallest >= 0 && largest < INFINITY, op, ": radii must be 0 nm or more and finite, got ",
                      smallest >= 0 ? largest : smallest);
    check_box_values(op, box, 2 * radius_scale * largest, "the largest contact");
  }
};

// The arguments of the kernel, and the tensors that own the memory they point to.
template <typename T>
struct PenaltyMemory {
  Tensor atoms, present, bonds, bond_lengths, angle_ends, angle_spans, radii, exclusion_start, exclusions, box,
      workspace;

  explicit PenaltyMemory(const Penalty& p)
      : atoms(p.atoms.contiguous()),
        present(p.present.contiguous()),
        bonds(p.bonds.contiguous()),
        bond_lengths(p.bond_lengths.contiguous()),
        angle_ends(p.angle_ends.contiguous()),
        angle_spans(p.angle_spans.contiguous()),
        radii(p.radii.contiguous()),
        exclusion_start(p.exclusion_start.contiguous()),
        exclusions(p.exclusions.contiguous()),
        box(contiguous_or_undefined(p.box)),
        workspace(cuda_workspace(p.atoms, [&] {
          return cuda::penalty_workspace<T>(p.frames(), p.atoms_of_frame(), p.bonds.size(0), p.angle_ends.size(0));
        })) {}

  PenaltyInputs<T> inputs(const Penalty& p) const {
    return {
        .batch = p.frames(),
        .residues = p.atoms.size(-3),
        .slots = p.atoms.size(-2),
        .bonds = p.bonds.size(0),
        .angles = p.angle_ends.size(0),
        .exclusions = p.exclusions.size(0),
        .bond_strength = T(p.bond_strength),
        .angle_strength = T(p.angle_strength),
        .repulsion_strength = T(p.repulsion_strength),
        .radius_scale = T(p.radius_scale),
        .atoms = atoms.const_data_ptr<T>(),
        .present = present.const_data_ptr<bool>(),
        .present_stride = frame_stride(present, 2),
        .bond = bonds.const_data_ptr<int64_t>(),
        .bond_length = bond_lengths.const_data_ptr<T>(),
        .bond_length_stride = frame_stride(bond_lengths, 1),
        .angle = angle_ends.const_data_ptr<int64_t>(),
        .angle_span = angle_spans.const_data_ptr<T>(),
        .angle_span_stride = frame_stride(angle_spans, 1),
        .radius = radii.const_data_ptr<T>(),
        .exclusion_start = exclusion_start.const_data_ptr<int64_t>(),
        .exclusion = exclusions.const_data_ptr<int64_t>(),
        .box = data_or_null<T>(box),
        .box_stride = p.box ? frame_stride(*p.box, 2) : 0,
        .workspace = workspace.mutable_data_ptr(),
    };
  }
};

Tensor empty_energies(const Penalty& p) { return at::empty_symint(join(p.check(), {3}), p.atoms.options()); }

Tensor empty_gradient(const Penalty& p, const Tensor& grad) {
  const Sizes batch = p.check();
  goes_with({p.op, "grad", grad}, {p.op, "atoms", p.atoms}, p.atoms.scalar_type());
  has_shape({p.op, "grad", grad}, join(batch, {3}));
  return at::empty_symint(p.atoms.sym_sizes(), p.atoms.options());
}

Tensor empty_structure_penalty(BACKMAP_PENALTY_PARAMETERS) {
  return empty_energies({"structure_penalty", BACKMAP_PENALTY_ARGUMENTS});
}

Tensor structure_penalty(BACKMAP_PENALTY_PARAMETERS) {
  const Penalty p{"structure_penalty", BACKMAP_PENALTY_ARGUMENTS};
  const Tensor energy = empty_energies(p);
  p.check_values();
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const PenaltyMemory<T> memory(p);
    const PenaltyArguments<T> args{.inputs = memory.inputs(p), .energy = energy.mutable_data_ptr<T>()};
    launch(atoms, [&] { cpu::structure_penalty(args); }, [&](void* s) { cuda::structure_penalty(args, s); });
  });
  return energy;
}

Tensor empty_structure_penalty_backward(const Tensor& grad, BACKMAP_PENALTY_PARAMETERS) {
  return empty_gradient({"structure_penalty_backward", BACKMAP_PENALTY_ARGUMENTS}, grad);
}

Tensor structure_penalty_backward(const Tensor& grad, BACKMAP_PENALTY_PARAMETERS) {
  const Penalty p{"structure_penalty_backward", BACKMAP_PENALTY_ARGUMENTS};
  const Tensor grad_atoms = empty_gradient(p, grad), grad_ = grad.contiguous();
  p.check_values();
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const PenaltyMemory<T> memory(p);
    const PenaltyBackwardArguments<T> args{.inputs = memory.inputs(p),
                                           .grad = grad_.template const_data_ptr<T>(),
                                           .grad_atoms = grad_atoms.template mutable_data_ptr<T>()};
    launch(
        atoms, [&] { cpu::structure_penalty_backward(args); },
        [&](void* s) { cuda::structure_penalty_backward(args, s); });
  });
  return grad_atoms;
}

// ---- Gradient ----------------------------------------------------------------------------------

struct StructurePenalty : torch::autograd::Function<StructurePenalty> {
  static Tensor forward(AutogradContext* ctx, BACKMAP_PENALTY_PARAMETERS) {
    ctx->save_for_backward({atoms, present, bonds, bond_lengths, angle_ends, angle_spans, radii, exclusion_start,
                            exclusions, box.value_or(Tensor())});
    ctx->saved_data["strengths"] =
        std::vector<double>{bond_kt_per_nm2, angle_kt_per_nm2, repulsion_kt_per_nm2, radius_scale};
    return call_below_autograd<&structure_penalty>(BACKMAP_PENALTY_ARGUMENTS);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto v = ctx->get_saved_variables();
    const auto s = ctx->saved_data["strengths"].toDoubleVector();
    const Tensor grad_atoms = call<&structure_penalty_backward>(grads[0], v[0], v[1], v[2], v[3], v[4], v[5], v[6],
                                                                v[7], v[8], s[0], s[1], s[2], s[3], if_defined(v[9]));
    variable_list of_arguments(14);
    of_arguments[0] = grad_atoms;
    return of_arguments;
  }
};

}  // namespace

#define BACKMAP_PENALTY_SCHEMA                                                                               \
  "Tensor atoms, Tensor present, Tensor bonds, Tensor bond_lengths, Tensor angle_ends, Tensor angle_spans, " \
  "Tensor radii, Tensor exclusion_start, Tensor exclusions, float bond_kt_per_nm2, float angle_kt_per_nm2, " \
  "float repulsion_kt_per_nm2, float radius_scale, Tensor? box=None"

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&structure_penalty, &empty_structure_penalty, StructurePenalty>(
      m, "structure_penalty(" BACKMAP_PENALTY_SCHEMA ") -> Tensor");
  register_operator<&structure_penalty_backward, &empty_structure_penalty_backward, NoSecondGradient>(
      m, "structure_penalty_backward(Tensor grad, " BACKMAP_PENALTY_SCHEMA ") -> Tensor");
}

}  // namespace backmap
