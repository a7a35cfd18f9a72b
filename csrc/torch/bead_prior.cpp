// Energy of beads by a prior, with its gradient: from tensors to launchers.
#include "kernels/bead_prior.h"

#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

// The parameters of the operator, and their names in the same order.
#define BACKMAP_PRIOR_PARAMETERS                                                                 \
  const Tensor &beads, const Tensor &bonds, const Tensor &bond_parameters, const Tensor &angles, \
      const Tensor &angle_parameters, const Tensor &torsions, const Tensor &torsion_polynomials, \
      const Tensor &centres, const Tensor &centre_parameters, const Tensor &pairs, const Tensor &sigma, double kt
#define BACKMAP_PRIOR_ARGUMENTS                                                                                       \
  beads, bonds, bond_parameters, angles, angle_parameters, torsions, torsion_polynomials, centres, centre_parameters, \
      pairs, sigma, kt

namespace backmap {
namespace {

using namespace checks;

constexpr const char* op = "bead_prior";

Tensors2 empty_bead_prior(BACKMAP_PRIOR_PARAMETERS) {
  const Argument first{op, "beads", beads};
  is_floating(first);
  holds_points(first, 2, "(*, beads, 3)");
  check_terms({op, "bonds", bonds}, 2, {op, "bond_parameters", bond_parameters}, 2, first);
  check_terms({op, "angles", angles}, 3, {op, "angle_parameters", angle_parameters}, 2, first);
  check_torsions({op, "torsions", torsions}, {op, "torsion_polynomials", torsion_polynomials}, first);
  check_terms({op, "centres", centres}, 4, {op, "centre_parameters", centre_parameters}, 2, first);
  goes_with({op, "pairs", pairs}, first, at::kLong);
  has_dimensions({op, "pairs", pairs}, 2, "(pairs, 2)");
  has_shape({op, "pairs", pairs}, {pairs.sym_size(0), 2});
  goes_with({op, "sigma", sigma}, first, beads.scalar_type());
  has_shape({op, "sigma", sigma}, {pairs.sym_size(0)});
  TORCH_CHECK_VALUE(kt > 0 && std::isfinite(kt), op, ": kt must be finite and more than 0, got ", kt);
  return {at::empty_symint(without_last(beads, 2), beads.options()),
          at::empty_symint(beads.sym_sizes(), beads.options())};
}

void check_values(BACKMAP_PRIOR_PARAMETERS) {
  const int64_t count = beads.size(-2);
  check_count(op, "beads", count);
  for (const Argument& indices : {Argument{op, "bonds", bonds},
                                  {op, "angles", angles},
                                  {op, "torsions", torsions},
                                  {op, "centres", centres},
                                  {op, "pairs", pairs}}) {
    check_count(op, indices.name, indices.tensor.size(0));
    check_atom_range(indices, count);
  }
}

Tensors2 bead_prior(BACKMAP_PRIOR_PARAMETERS) {
  const auto [energy, gradient] = empty_bead_prior(BACKMAP_PRIOR_ARGUMENTS);
  check_values(BACKMAP_PRIOR_ARGUMENTS);
  const Tensor beads_ = beads.contiguous(), bonds_ = bonds.contiguous(),
               bond_parameters_ = bond_parameters.contiguous(), angles_ = angles.contiguous(),
               angle_parameters_ = angle_parameters.contiguous(), torsions_ = torsions.contiguous(),
               torsion_polynomials_ = torsion_polynomials.contiguous(), centres_ = centres.contiguous(),
               centre_parameters_ = centre_parameters.contiguous(), pairs_ = pairs.contiguous(),
               sigma_ = sigma.contiguous();
  with_scalar_of(beads, [&, energy = energy, gradient = gradient](auto scalar) {
    using T = decltype(scalar);
    const int64_t batch = frame_count(beads, 2), count = beads.size(-2);
    const Tensor workspace = cuda_workspace(beads, [&] { return cuda::prior_workspace<T>(batch, count); });
    const PriorArguments<T> args{
        .batch = batch,
        .terms =
            {
                .bent =
                    {
                        .atoms = count,
                        .bonds = 0,
                        .angles = angles.size(0),
                        .torsions = torsions.size(0),
                        .pairs = 0,
                        .torsion_terms = torsion_polynomials.size(2),
                        .bond = nullptr,
                        .bond_parameter = nullptr,
                        .angle = angles_.const_data_ptr<int64_t>(),
                        .angle_parameter = angle_parameters_.const_data_ptr<T>(),
                        .torsion = torsions_.const_data_ptr<int64_t>(),
                        .torsion_coefficient = torsion_polynomials_.const_data_ptr<T>(),
                        .pair = nullptr,
                        .pair_parameter = nullptr,
                        .coulomb = T(0),
                        .inverse_square_cutoff = T(0),
                    },
                .bonds = bonds.size(0),
                .centres = centres.size(0),
                .pairs = pairs.size(0),
                .bond = bonds_.const_data_ptr<int64_t>(),
                .bond_parameter = bond_parameters_.const_data_ptr<T>(),
                .centre = centres_.const_data_ptr<int64_t>(),
                .centre_parameter = centre_parameters_.const_data_ptr<T>(),
                .pair = pairs_.const_data_ptr<int64_t>(),
                .sigma = sigma_.const_data_ptr<T>(),
                .kt = T(kt),
            },
        .position = beads_.const_data_ptr<T>(),
        .energy = energy.mutable_data_ptr<T>(),
        .gradient = gradient.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(beads, [&] { cpu::bead_prior(args); }, [&](void* s) { cuda::bead_prior(args, s); });
  });
  return {energy, gradient};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&bead_prior, &empty_bead_prior, NoGradient>(
      m,
      "bead_prior(Tensor beads, Tensor bonds, Tensor bond_parameters, Tensor angles, Tensor angle_parameters, "
      "Tensor torsions, Tensor torsion_polynomials, Tensor centres, Tensor centre_parameters, Tensor pairs, "
      "Tensor sigma, float kt) -> (Tensor energy, Tensor gradient)");
}

}  // namespace backmap
