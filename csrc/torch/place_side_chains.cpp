// Side-chain atoms on ideal bonds, from torsions: from tensors to launchers.
#include "kernels/place_side_chains.h"

#include <optional>

#include "core/side_chain_geometry.h"
#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

// Parents must be placed before their atom, and a ring is closed from the atom before.
void check_order(const Argument& rules, const Argument& parents) {
  const int64_t atoms = rules.tensor.size(1);
  if (!rules.tensor.is_cpu() || rules.tensor.numel() == 0) return;
  const Tensor rule = rules.tensor.contiguous(), parent = parents.tensor.contiguous();
  for (int64_t row = 0; row < rule.numel(); ++row) {
    const int64_t earlier = backbone_atoms + row % atoms, *p = parent.const_data_ptr<int64_t>() + 3 * row;
    for (int64_t i = 0; i < 3; ++i)
      TORCH_CHECK_VALUE(0 <= p[i] && p[i] < earlier, parents.op, ": parents of atom ", row % atoms, " must lie in [0, ",
                        earlier, "), because atoms are placed one after another, got ", p[i]);
    TORCH_CHECK_VALUE(row % atoms > 0 || PlacementRule(rule.const_data_ptr<int64_t>()[row]) != PlacementRule::Closure,
                      rules.op, ": rules must not close a ring (", int64_t(PlacementRule::Closure),
                      ") with the first atom");
  }
}

Tensor empty_place_side_chains(const Tensor& backbone, const Tensor& c_beta, const Tensor& types,
                               const Tensor& torsions, const Tensor& rules, const Tensor& parents,
                               const Tensor& torsion_indices, const Tensor& geometry, const Tensor& ring,
                               const std::optional<Tensor>& known, const std::optional<Tensor>& known_present) {
  const char* op = "place_side_chains";
  const Argument first{op, "backbone", backbone};
  is_floating(first);
  holds_points(first, 2, "(*, 4, 3)");
  const Sizes batch = without_last(backbone, 2);
  has_shape(first, join(batch, {backbone_atoms, 3}));
  const auto scalar = backbone.scalar_type();
  goes_with({op, "c_beta", c_beta}, first, scalar);
  has_shape({op, "c_beta", c_beta}, join(batch, {3}));
  goes_with({op, "types", types}, first, at::kLong);
  has_shape({op, "types", types}, batch);
  goes_with({op, "torsions", torsions}, first, scalar);
  TORCH_CHECK_VALUE(torsions.dim() >= 2, op, ": torsions must have shape (*, candidates, torsions), got ",
                    torsions.sym_sizes());
  const auto candidates = torsions.sym_size(-2);
  has_shape({op, "torsions", torsions}, join(batch, {candidates, torsions.sym_size(-1)}));
  goes_with({op, "rules", rules}, first, at::kLong);
  has_dimensions({op, "rules", rules}, 2, "(types, atoms)");
  const auto kinds = rules.sym_size(0), atoms = rules.sym_size(1);
  TORCH_CHECK_VALUE(kinds >= 1, op, ": rules must have at least 1 row");
  goes_with({op, "parents", parents}, first, at::kLong);
  has_shape({op, "parents", parents}, {kinds, atoms, 3});
  goes_with({op, "torsion_indices", torsion_indices}, first, at::kLong);
  has_shape({op, "torsion_indices", torsion_indices}, {kinds, atoms});
  goes_with({op, "geometry", geometry}, first, scalar);
  has_shape({op, "geometry", geometry}, {kinds, atoms, 3});
  goes_with({op, "ring", ring}, first, scalar);
  has_shape({op, "ring", ring}, {ring_values});
  TORCH_CHECK_VALUE(known.has_value() == known_present.has_value(), op,
                    ": known and known_present must be given together");
  if (known) {
    goes_with({op, "known", *known}, first, scalar);
    has_shape({op, "known", *known}, join(batch, {atoms, 3}));
    goes_with({op, "known_present", *known_present}, first, at::kBool);
    has_shape({op, "known_present", *known_present}, join(batch, {atoms}));
  }
  return at::empty_symint(join(batch, {candidates, atoms, 3}), backbone.options());
}

Tensor place_side_chains(const Tensor& backbone, const Tensor& c_beta, const Tensor& types, const Tensor& torsions,
                         const Tensor& rules, const Tensor& parents, const Tensor& torsion_indices,
                         const Tensor& geometry, const Tensor& ring, const std::optional<Tensor>& known,
                         const std::optional<Tensor>& known_present) {
  const char* op = "place_side_chains";
  const Tensor placed = empty_place_side_chains(backbone, c_beta, types, torsions, rules, parents, torsion_indices,
                                                geometry, ring, known, known_present);
  check_range({op, "types", types}, rules.size(0));
  check_range({op, "rules", rules}, placement_rules);
  check_range({op, "torsion_indices", torsion_indices}, torsions.size(-1) + 1);
  check_order({op, "rules", rules}, {op, "parents", parents});
  const Tensor backbone_ = backbone.contiguous(), c_beta_ = c_beta.contiguous(), types_ = types.contiguous(),
               torsions_ = torsions.contiguous(), rules_ = rules.contiguous(), parents_ = parents.contiguous(),
               torsion_indices_ = torsion_indices.contiguous(), geometry_ = geometry.contiguous(),
               ring_ = ring.contiguous(), known_ = contiguous_or_undefined(known),
               known_present_ = contiguous_or_undefined(known_present);
  with_scalar_of(backbone, [&](auto scalar) {
    using T = decltype(scalar);
    const PlaceSideChainsArguments<T> args{
        .batch = frame_count(backbone, 2),
        .candidates = torsions.size(-2),
        .torsions = torsions.size(-1),
        .kinds = rules.size(0),
        .atoms = rules.size(1),
        .backbone = backbone_.const_data_ptr<T>(),
        .beta = c_beta_.const_data_ptr<T>(),
        .type = types_.const_data_ptr<int64_t>(),
        .torsion = torsions_.const_data_ptr<T>(),
        .rule = rules_.const_data_ptr<int64_t>(),
        .parent = parents_.const_data_ptr<int64_t>(),
        .torsion_of = torsion_indices_.const_data_ptr<int64_t>(),
        .geometry = geometry_.const_data_ptr<T>(),
        .ring = ring_.const_data_ptr<T>(),
        .known = data_or_null<T>(known_),
        .known_present = data_or_null<bool>(known_present_),
        .placed = placed.mutable_data_ptr<T>(),
    };
    launch(backbone, [&] { cpu::place_side_chains(args); }, [&](void* s) { cuda::place_side_chains(args, s); });
  });
  return placed;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&place_side_chains, &empty_place_side_chains, NotDifferentiable>(
      m,
      "place_side_chains(Tensor backbone, Tensor c_beta, Tensor types, Tensor torsions, Tensor rules, Tensor parents, "
      "Tensor torsion_indices, Tensor geometry, Tensor ring, Tensor? known=None, Tensor? known_present=None) "
      "-> Tensor");
}

}  // namespace backmap
