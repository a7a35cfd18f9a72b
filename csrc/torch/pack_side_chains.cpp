// Side-chain packing: from tensors to launchers.
#include <cmath>

#include "kernels/pack_side_chains.h"
#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

// The box must be so wide that no atom is in contact with two images of another.
void check_box_width(const std::optional<Tensor>& box, const Tensor& radii, const Tensor& backbone_radii,
                     double reach) {
  if (!box || !box->is_cpu()) return;
  const auto largest = [](const Tensor& values) { return values.numel() > 0 ? values.max().item<double>() : 0.0; };
  const double side = largest(radii), contact = side + std::max(side, largest(backbone_radii));
  checks::check_box_values("pack_side_chains", box, std::max(std::isfinite(contact) ? contact : 0.0, reach),
                           "the largest contact");
}

Tensors2 empty_pack_side_chains(const Tensor& candidates, const Tensor& candidate_present, const Tensor& backbone,
                                const Tensor& backbone_present, const Tensor& radii, const Tensor& backbone_radii,
                                const Tensor& following, const Tensor& uniforms, double strength,
                                const std::optional<Tensor>& box, const std::optional<Tensor>& energies,
                                const std::optional<Tensor>& contacts, const std::optional<Tensor>& classes,
                                const std::optional<Tensor>& backbone_classes, double reach) {
  using namespace checks;
  const char* op = "pack_side_chains";
  const Argument first{op, "candidates", candidates};
  const auto dtype = candidates.scalar_type();
  is_floating(first);
  holds_points(first, 4, "(*, residues, candidates, side_slots, 3)");
  TORCH_CHECK_VALUE(candidates.sym_size(-3) >= 1, op, ": candidates must contain at least 1 candidate, got shape ",
                    candidates.sym_sizes());
  const Sizes batch = without_last(candidates, 4);
  const auto residues = candidates.sym_size(-4), side_slots = candidates.sym_size(-2);
  goes_with({op, "candidate_present", candidate_present}, first, at::kBool);
  has_shape({op, "candidate_present", candidate_present}, {residues, side_slots});
  goes_with({op, "backbone", backbone}, first, dtype);
  holds_points({op, "backbone", backbone}, 3, "(*, residues, backbone_slots, 3)");
  const auto backbone_slots = backbone.sym_size(-2);
  has_shape({op, "backbone", backbone}, join(batch, {residues, backbone_slots, 3}));
  goes_with({op, "backbone_present", backbone_present}, first, at::kBool);
  has_shape_or_shared({op, "backbone_present", backbone_present}, batch, {residues, backbone_slots});
  goes_with({op, "radii", radii}, first, dtype);
  has_shape({op, "radii", radii}, {residues, side_slots});
  goes_with({op, "backbone_radii", backbone_radii}, first, dtype);
  has_shape({op, "backbone_radii", backbone_radii}, {residues, backbone_slots});
  goes_with({op, "following", following}, first, at::kLong);
  has_shape({op, "following", following}, {residues});
  goes_with({op, "uniforms", uniforms}, first, dtype);
  TORCH_CHECK_VALUE(uniforms.dim() >= 2, op, ": uniforms must have shape (*, sweeps, residues), got ",
                    uniforms.sym_sizes());
  has_shape({op, "uniforms", uniforms}, join(batch, {uniforms.sym_size(-2), residues}));
  TORCH_CHECK_VALUE(strength >= 0 && std::isfinite(strength), op, ": strength must be finite and 0 or more, got ",
                    strength);
  check_box(op, box, first, batch);
  if (energies) {
    goes_with({op, "energies", *energies}, first, dtype);
    has_shape({op, "energies", *energies}, join(batch, {residues, candidates.sym_size(-3)}));
  }
  TORCH_CHECK_VALUE(contacts.has_value() == classes.has_value() && classes.has_value() == backbone_classes.has_value(),
                    op, ": contacts, classes and backbone_classes belong together; give all of them or none");
  if (contacts) {
    const Argument table{op, "contacts", *contacts};
    goes_with(table, first, dtype);
    has_dimensions(table, 3, "(classes, classes, knots)");
    has_shape(table, {contacts->sym_size(0), contacts->sym_size(0), contacts->sym_size(2)});
    TORCH_CHECK_VALUE(contacts->sym_size(2) >= 2, op, ": contacts must have at least 2 knots, got shape ",
                      contacts->sym_sizes());
    TORCH_CHECK_VALUE(contacts->sym_numel() < (int64_t(1) << 31), op, ": contacts is too large, got shape ",
                      contacts->sym_sizes());
    goes_with({op, "classes", *classes}, first, at::kLong);
    has_shape({op, "classes", *classes}, {residues, side_slots});
    goes_with({op, "backbone_classes", *backbone_classes}, first, at::kLong);
    has_shape({op, "backbone_classes", *backbone_classes}, {residues, backbone_slots});
    TORCH_CHECK_VALUE(reach > 0 && std::isfinite(reach), op, ": reach must be finite and more than 0, got ", reach);
  }
  return {at::empty_symint(join(batch, {residues}), candidates.options().dtype(at::kLong)),
          at::empty_symint(join(batch, {residues}), candidates.options())};
}

Tensors2 pack_side_chains(const Tensor& candidates, const Tensor& candidate_present, const Tensor& backbone,
                          const Tensor& backbone_present, const Tensor& radii, const Tensor& backbone_radii,
                          const Tensor& following, const Tensor& uniforms, double strength,
                          const std::optional<Tensor>& box, const std::optional<Tensor>& energies,
                          const std::optional<Tensor>& contacts, const std::optional<Tensor>& classes,
                          const std::optional<Tensor>& backbone_classes, double reach) {
  auto [choice, energy] =
      empty_pack_side_chains(candidates, candidate_present, backbone, backbone_present, radii, backbone_radii,
                             following, uniforms, strength, box, energies, contacts, classes, backbone_classes, reach);
  check_box_width(box, radii, backbone_radii, contacts ? reach : 0.0);
  const Tensor candidates_ = candidates.contiguous(), candidate_present_ = candidate_present.contiguous(),
               backbone_ = backbone.contiguous(), backbone_present_ = backbone_present.contiguous(),
               radii_ = radii.contiguous(), backbone_radii_ = backbone_radii.contiguous(),
               following_ = following.contiguous(), uniforms_ = uniforms.contiguous(),
               box_ = contiguous_or_undefined(box), energies_ = contiguous_or_undefined(energies),
               contacts_ = contiguous_or_undefined(contacts), classes_ = contiguous_or_undefined(classes),
               backbone_classes_ = contiguous_or_undefined(backbone_classes);
  const int64_t frames = frame_count(candidates, 4), residues = candidates.size(-4);
  with_scalar_of(candidates, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace =
        cuda_workspace(candidates, [&] { return cuda::pack_workspace<T>(frames, residues, candidates.size(-3)); });
    const PackArguments<T> args{
        .batch = frames,
        .residues = residues,
        .candidates = candidates.size(-3),
        .side_slots = candidates.size(-2),
        .backbone_slots = backbone.size(-2),
        .sweeps = uniforms.size(-2),
        .strength = T(strength),
        .candidate = candidates_.const_data_ptr<T>(),
        .candidate_present = candidate_present_.const_data_ptr<bool>(),
        .backbone = backbone_.const_data_ptr<T>(),
        .backbone_present = backbone_present_.const_data_ptr<bool>(),
        .backbone_present_stride = frame_stride(backbone_present, 2),
        .side_radius = radii_.const_data_ptr<T>(),
        .backbone_radius = backbone_radii_.const_data_ptr<T>(),
        .following = following_.const_data_ptr<int64_t>(),
        .uniform = uniforms_.const_data_ptr<T>(),
        .own_energy = data_or_null<T>(energies_),
        .contacts = {data_or_null<T>(contacts_), contacts ? contacts->size(0) : 0, contacts ? contacts->size(2) : 0,
                     T(reach)},
        .side_class = data_or_null<int64_t>(classes_),
        .backbone_class = data_or_null<int64_t>(backbone_classes_),
        .box = data_or_null<T>(box_),
        .box_stride = box ? frame_stride(*box, 2) : 0,
        .choice = choice.mutable_data_ptr<int64_t>(),
        .energy = energy.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(candidates, [&] { cpu::pack_side_chains(args); }, [&](void* s) { cuda::pack_side_chains(args, s); });
  });
  return {choice, energy};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&pack_side_chains, &empty_pack_side_chains, NoGradient>(
      m,
      "pack_side_chains(Tensor candidates, Tensor candidate_present, Tensor backbone, Tensor backbone_present, "
      "Tensor radii, Tensor backbone_radii, Tensor following, Tensor uniforms, float strength, Tensor? box=None, "
      "Tensor? energies=None, Tensor? contacts=None, Tensor? classes=None, Tensor? backbone_classes=None, "
      "float reach=0.0) -> (Tensor choice, Tensor energy)");
}

}  // namespace backmap
