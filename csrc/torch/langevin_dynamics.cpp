// Langevin dynamics of a molecule in implicit solvent: from tensors to launchers.
#include "kernels/langevin_dynamics.h"

#include <cmath>

#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

constexpr const char* op = "langevin_dynamics";

Tensors3 empty_langevin_dynamics(const Tensor& atoms, const Tensor& velocities, const Tensor& normals,
                                 const Tensor& inverse_masses, const Tensor& bonds, const Tensor& bond_parameters,
                                 const Tensor& angles, const Tensor& angle_parameters, const Tensor& torsions,
                                 const Tensor& torsion_polynomials, const Tensor& pair_tables, const Tensor& solvent,
                                 const Tensor& constraints, const Tensor& constraint_lengths, double polarisation,
                                 double step_ps, double friction_per_ps, double kt, double largest_move_nm,
                                 int64_t iterations) {
  const Argument first{op, "atoms", atoms};
  is_floating(first);
  holds_points(first, 2, "(*, atoms, 3)");
  const Sizes batch = without_last(atoms, 2);
  const auto count = atoms.sym_size(-2);
  const auto scalar = atoms.scalar_type();
  goes_with({op, "velocities", velocities}, first, scalar);
  has_shape({op, "velocities", velocities}, join(batch, {count, 3}));
  goes_with({op, "normals", normals}, first, scalar);
  TORCH_CHECK_VALUE(normals.dim() >= 3, op, ": normals must have shape (*, steps, atoms, 3), got ",
                    normals.sym_sizes());
  has_shape({op, "normals", normals}, join(batch, {normals.sym_size(-3), count, 3}));
  goes_with({op, "inverse_masses", inverse_masses}, first, scalar);
  has_shape({op, "inverse_masses", inverse_masses}, {count});
  check_terms({op, "bonds", bonds}, 2, {op, "bond_parameters", bond_parameters}, 2, first);
  check_terms({op, "angles", angles}, 3, {op, "angle_parameters", angle_parameters}, 2, first);
  check_torsions({op, "torsions", torsions}, {op, "torsion_polynomials", torsion_polynomials}, first);
  goes_with({op, "pair_tables", pair_tables}, first, scalar);
  has_shape({op, "pair_tables", pair_tables}, {3, count, count});
  goes_with({op, "solvent", solvent}, first, scalar);
  has_shape({op, "solvent", solvent}, {int64_t(solvent_rows), count});
  goes_with({op, "constraints", constraints}, first, at::kLong);
  has_dimensions({op, "constraints", constraints}, 2, "(constraints, 2)");
  has_shape({op, "constraints", constraints}, {constraints.sym_size(0), 2});
  goes_with({op, "constraint_lengths", constraint_lengths}, first, scalar);
  has_shape({op, "constraint_lengths", constraint_lengths}, {constraints.sym_size(0)});
  TORCH_CHECK_VALUE(std::isfinite(polarisation), op, ": polarisation must be finite, got ", polarisation);
  TORCH_CHECK_VALUE(friction_per_ps >= 0 && std::isfinite(friction_per_ps), op,
                    ": friction_per_ps must be finite and at least 0, got ", friction_per_ps);
  for (const auto& [name, value] :
       {std::pair{"step_ps", step_ps}, std::pair{"kt", kt}, std::pair{"largest_move_nm", largest_move_nm}})
    TORCH_CHECK_VALUE(value > 0 && std::isfinite(value), op, ": ", name, " must be finite and more than 0, got ",
                      value);
  TORCH_CHECK_VALUE(0 <= iterations && iterations <= 1000, op, ": iterations must lie in [0, 1000], got ", iterations);
  return {at::empty_symint(atoms.sym_sizes(), atoms.options()), at::empty_symint(atoms.sym_sizes(), atoms.options()),
          at::empty_symint(batch, atoms.options())};
}

Tensors3 langevin_dynamics(const Tensor& atoms, const Tensor& velocities, const Tensor& normals,
                           const Tensor& inverse_masses, const Tensor& bonds, const Tensor& bond_parameters,
                           const Tensor& angles, const Tensor& angle_parameters, const Tensor& torsions,
                           const Tensor& torsion_polynomials, const Tensor& pair_tables, const Tensor& solvent,
                           const Tensor& constraints, const Tensor& constraint_lengths, double polarisation,
                           double step_ps, double friction_per_ps, double kt, double largest_move_nm,
                           int64_t iterations) {
  const auto [moved, moved_velocities, energy] = empty_langevin_dynamics(
      atoms, velocities, normals, inverse_masses, bonds, bond_parameters, angles, angle_parameters, torsions,
      torsion_polynomials, pair_tables, solvent, constraints, constraint_lengths, polarisation, step_ps,
      friction_per_ps, kt, largest_move_nm, iterations);
  const int64_t count = atoms.size(-2);
  for (const Argument& indices : {Argument{op, "bonds", bonds},
                                  {op, "angles", angles},
                                  {op, "torsions", torsions},
                                  {op, "constraints", constraints}})
    check_range(indices, count);
  const Tensor atoms_ = atoms.contiguous(), velocities_ = velocities.contiguous(), normals_ = normals.contiguous(),
               inverse_masses_ = inverse_masses.contiguous(), bonds_ = bonds.contiguous(),
               bond_parameters_ = bond_parameters.contiguous(), angles_ = angles.contiguous(),
               angle_parameters_ = angle_parameters.contiguous(), torsions_ = torsions.contiguous(),
               torsion_polynomials_ = torsion_polynomials.contiguous(), pair_tables_ = pair_tables.contiguous(),
               solvent_ = solvent.contiguous(), constraints_ = constraints.contiguous(),
               constraint_lengths_ = constraint_lengths.contiguous(), moved_ = moved,
               moved_velocities_ = moved_velocities, energy_ = energy;
  const int64_t frames = frame_count(atoms, 2);
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace =
        cuda_workspace(atoms, [&] { return cuda::dynamics_workspace<T>(frames, count, constraints.size(0)); });
    const DynamicsArguments<T> args{
        .batch = frames,
        .steps = normals.size(-3),
        .constraints = constraints.size(0),
        .iterations = iterations,
        .terms =
            {
                .atoms = count,
                .bonds = bonds.size(0),
                .angles = angles.size(0),
                .torsions = torsions.size(0),
                .pairs = 0,
                .torsion_terms = torsion_polynomials.size(2),
                .bond = bonds_.const_data_ptr<int64_t>(),
                .bond_parameter = bond_parameters_.const_data_ptr<T>(),
                .angle = angles_.const_data_ptr<int64_t>(),
                .angle_parameter = angle_parameters_.const_data_ptr<T>(),
                .torsion = torsions_.const_data_ptr<int64_t>(),
                .torsion_coefficient = torsion_polynomials_.const_data_ptr<T>(),
                .pair = nullptr,
                .pair_parameter = nullptr,
                .coulomb = T(0),
                .inverse_square_cutoff = T(0),
            },
        .pair = pair_tables_.const_data_ptr<T>(),
        .solvent = solvent_.const_data_ptr<T>(),
        .inverse_mass = inverse_masses_.const_data_ptr<T>(),
        .constraint = constraints_.const_data_ptr<int64_t>(),
        .constraint_length = constraint_lengths_.const_data_ptr<T>(),
        .polarisation = T(polarisation),
        .step = T(step_ps),
        .kept = T(std::exp(-friction_per_ps * step_ps)),
        .kt = T(kt),
        .largest_move = T(largest_move_nm),
        .atoms = atoms_.const_data_ptr<T>(),
        .velocity = velocities_.const_data_ptr<T>(),
        .normal = normals_.const_data_ptr<T>(),
        .moved = moved_.mutable_data_ptr<T>(),
        .moved_velocity = moved_velocities_.mutable_data_ptr<T>(),
        .energy = energy_.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(atoms, [&] { cpu::langevin_dynamics(args); }, [&](void* s) { cuda::langevin_dynamics(args, s); });
  });
  return {moved, moved_velocities, energy};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&langevin_dynamics, &empty_langevin_dynamics, NotDifferentiable>(
      m,
      "langevin_dynamics(Tensor atoms, Tensor velocities, Tensor normals, Tensor inverse_masses, Tensor bonds, Tensor "
      "bond_parameters, "
      "Tensor angles, Tensor angle_parameters, Tensor torsions, Tensor torsion_polynomials, Tensor pair_tables, "
      "Tensor solvent, Tensor constraints, Tensor constraint_lengths, float polarisation, float step_ps, "
      "float friction_per_ps, float kt, float largest_move_nm, int iterations) -> (Tensor atoms, Tensor velocities, "
      "Tensor energy)");
}

}  // namespace backmap
