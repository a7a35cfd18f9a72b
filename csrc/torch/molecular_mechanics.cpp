// Energy of a molecule and its gradient: from tensors to launchers.
#include "kernels/molecular_mechanics.h"

#include <algorithm>

#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

// The parameters of the operator, and their names in the same order.
#define BACKMAP_MECHANICS_PARAMETERS                                                                                   \
  const Tensor &atoms, const Tensor &bonds, const Tensor &bond_parameters, const Tensor &angles,                       \
      const Tensor &angle_parameters, const Tensor &torsions, const Tensor &torsion_polynomials, const Tensor &pairs,  \
      const Tensor &pair_parameters, const Tensor &particles, const Tensor &exclusion_start, const Tensor &exclusions, \
      double cutoff_nm, double dielectric
#define BACKMAP_MECHANICS_ARGUMENTS                                                                               \
  atoms, bonds, bond_parameters, angles, angle_parameters, torsions, torsion_polynomials, pairs, pair_parameters, \
      particles, exclusion_start, exclusions, cutoff_nm, dielectric

namespace backmap {
namespace {

using namespace checks;

constexpr const char* op = "molecular_mechanics";

Tensors2 empty_molecular_mechanics(BACKMAP_MECHANICS_PARAMETERS) {
  const Argument first{op, "atoms", atoms};
  is_floating(first);
  holds_points(first, 2, "(*, atoms, 3)");
  check_terms({op, "bonds", bonds}, 2, {op, "bond_parameters", bond_parameters}, 2, first);
  check_terms({op, "angles", angles}, 3, {op, "angle_parameters", angle_parameters}, 2, first);
  check_terms({op, "pairs", pairs}, 2, {op, "pair_parameters", pair_parameters}, 3, first);
  check_torsions({op, "torsions", torsions}, {op, "torsion_polynomials", torsion_polynomials}, first);
  const auto count = atoms.sym_size(-2);
  goes_with({op, "particles", particles}, first, atoms.scalar_type());
  has_shape({op, "particles", particles}, {count, 3});
  goes_with({op, "exclusion_start", exclusion_start}, first, at::kLong);
  has_shape({op, "exclusion_start", exclusion_start}, {count + 1});
  goes_with({op, "exclusions", exclusions}, first, at::kLong);
  has_dimensions({op, "exclusions", exclusions}, 1, "(exclusions,)");
  TORCH_CHECK_VALUE(cutoff_nm > smallest_distance_nm && std::isfinite(cutoff_nm), op,
                    ": cutoff_nm must be finite and more than 0.1 nm, got ", cutoff_nm);
  TORCH_CHECK_VALUE(dielectric > 0 && std::isfinite(dielectric), op,
                    ": dielectric must be finite and more than 0, got ", dielectric);
  return {at::empty_symint(without_last(atoms, 2), atoms.options()),
          at::empty_symint(atoms.sym_sizes(), atoms.options())};
}

void check_values(BACKMAP_MECHANICS_PARAMETERS) {
  const int64_t count = atoms.size(-2);
  check_count(op, "atoms", count);
  if (!atoms.is_cpu()) return;
  for (const Argument& indices : {Argument{op, "bonds", bonds},
                                  {op, "angles", angles},
                                  {op, "torsions", torsions},
                                  {op, "pairs", pairs},
                                  {op, "exclusions", exclusions}}) {
    check_count(op, indices.name, indices.tensor.size(0));
    check_atom_range(indices, count);
  }
  check_row_starts({op, "exclusion_start", exclusion_start}, {op, "exclusions", exclusions});
}

// The arguments of the kernel, and the tensors that own the memory they point to.
template <typename T>
struct MechanicsMemory {
  Tensor atoms, bonds, bond_parameters, angles, angle_parameters, torsions, torsion_polynomials, pairs, pair_parameters,
      particles, exclusion_start, exclusions, workspace;
  double cutoff, dielectric;

  explicit MechanicsMemory(BACKMAP_MECHANICS_PARAMETERS)
      : atoms(atoms.contiguous()),
        bonds(bonds.contiguous()),
        bond_parameters(bond_parameters.contiguous()),
        angles(angles.contiguous()),
        angle_parameters(angle_parameters.contiguous()),
        torsions(torsions.contiguous()),
        torsion_polynomials(torsion_polynomials.contiguous()),
        pairs(pairs.contiguous()),
        pair_parameters(pair_parameters.contiguous()),
        particles(particles.contiguous()),
        exclusion_start(exclusion_start.contiguous()),
        exclusions(exclusions.contiguous()),
        workspace(
            cuda_workspace(atoms, [&] { return cuda::mechanics_workspace<T>(frame_count(atoms, 2), atoms.size(-2)); })),
        cutoff(cutoff_nm),
        dielectric(dielectric) {}

  MechanicsArguments<T> arguments(const Tensor& energy, const Tensor& gradient) const {
    return {
        .batch = frame_count(atoms, 2),
        .exclusions = exclusions.size(0),
        .cutoff = T(cutoff),
        .terms =
            {
                .atoms = atoms.size(-2),
                .bonds = bonds.size(0),
                .angles = angles.size(0),
                .torsions = torsions.size(0),
                .pairs = pairs.size(0),
                .torsion_terms = torsion_polynomials.size(2),
                .bond = bonds.const_data_ptr<int64_t>(),
                .bond_parameter = bond_parameters.const_data_ptr<T>(),
                .angle = angles.const_data_ptr<int64_t>(),
                .angle_parameter = angle_parameters.const_data_ptr<T>(),
                .torsion = torsions.const_data_ptr<int64_t>(),
                .torsion_coefficient = torsion_polynomials.const_data_ptr<T>(),
                .pair = pairs.const_data_ptr<int64_t>(),
                .pair_parameter = pair_parameters.const_data_ptr<T>(),
                .coulomb = T(coulomb_constant / dielectric),
                .inverse_square_cutoff = T(1 / (cutoff * cutoff)),
            },
        .particle = particles.const_data_ptr<T>(),
        .exclusion_start = exclusion_start.const_data_ptr<int64_t>(),
        .exclusion = exclusions.const_data_ptr<int64_t>(),
        .atoms = atoms.const_data_ptr<T>(),
        .energy = energy.mutable_data_ptr<T>(),
        .gradient = gradient.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
  }
};

Tensors2 molecular_mechanics(BACKMAP_MECHANICS_PARAMETERS) {
  const auto [energy, gradient] = empty_molecular_mechanics(BACKMAP_MECHANICS_ARGUMENTS);
  check_values(BACKMAP_MECHANICS_ARGUMENTS);
  with_scalar_of(atoms, [&, energy = energy, gradient = gradient](auto scalar) {
    using T = decltype(scalar);
    const MechanicsMemory<T> memory(BACKMAP_MECHANICS_ARGUMENTS);
    const MechanicsArguments<T> args = memory.arguments(energy, gradient);
    launch(atoms, [&] { cpu::molecular_mechanics(args); }, [&](void* s) { cuda::molecular_mechanics(args, s); });
  });
  return {energy, gradient};
}

// ---- Gradient ----------------------------------------------------------------------------------

// The gradient is a result already, which autograd takes as a constant.
struct MolecularMechanics : torch::autograd::Function<MolecularMechanics> {
  static variable_list forward(AutogradContext* ctx, BACKMAP_MECHANICS_PARAMETERS) {
    const auto [energy, gradient] = call_below_autograd<&molecular_mechanics>(BACKMAP_MECHANICS_ARGUMENTS);
    ctx->save_for_backward({gradient});
    ctx->mark_non_differentiable({gradient});
    return {energy, gradient};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), op, ": the second derivative is not implemented");
    variable_list of_arguments(14);
    of_arguments[0] = grads[0].unsqueeze(-1).unsqueeze(-1) * ctx->get_saved_variables()[0];
    return of_arguments;
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&molecular_mechanics, &empty_molecular_mechanics, MolecularMechanics>(
      m,
      "molecular_mechanics(Tensor atoms, Tensor bonds, Tensor bond_parameters, Tensor angles, Tensor angle_parameters, "
      "Tensor torsions, Tensor torsion_polynomials, Tensor pairs, Tensor pair_parameters, Tensor particles, "
      "Tensor exclusion_start, Tensor exclusions, float cutoff_nm, float dielectric) -> (Tensor energy, Tensor "
      "gradient)");
}

}  // namespace backmap
