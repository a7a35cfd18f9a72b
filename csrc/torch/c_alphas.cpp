// C-alphas drawn about their beads, and their energies: from tensors to launchers.
#include <cmath>

#include "kernels/c_alphas.h"
#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

// The parameters of draw_c_alphas, and their names in the same order.
#define BACKMAP_DRAW_C_ALPHAS_PARAMETERS                                                                              \
  const Tensor &beads, const Tensor &noise, const Tensor &bonds, const Tensor &kinds, const Tensor &weights,          \
      const Tensor &table, const Tensor &keys, const Tensor &steps, double first_angle, double last_angle,            \
      double temperature, double step_size, double largest_step, double contact_distance, double contact_strength,    \
      const std::optional<Tensor>&box, const std::optional<Tensor>&following, const std::optional<Tensor>&other_keys, \
      const std::optional<Tensor>&turns
#define BACKMAP_DRAW_C_ALPHAS_ARGUMENTS                                                                     \
  beads, noise, bonds, kinds, weights, table, keys, steps, first_angle, last_angle, temperature, step_size, \
      largest_step, contact_distance, contact_strength, box, following, other_keys, turns

namespace backmap {
namespace {

using namespace checks;

// Points, and the arguments that belong to them and to the table of energies. Returns the batch dimensions.
Sizes check_windows(const char* op, const Argument& points, const Tensor& kinds, const Tensor& weights,
                    const Tensor& table, double first_angle, double last_angle,
                    const std::optional<Tensor>& following) {
  is_floating(points);
  holds_points(points, 2, "(*, residues, 3)");
  const Sizes batch = without_last(points.tensor, 2);
  const auto residues = points.tensor.sym_size(-2);
  goes_with({op, "kinds", kinds}, points, at::kLong);
  has_shape({op, "kinds", kinds}, {residues});
  goes_with({op, "weights", weights}, points, points.tensor.scalar_type());
  has_shape({op, "weights", weights}, join(batch, {residues}));
  goes_with({op, "table", table}, points, points.tensor.scalar_type());
  has_dimensions({op, "table", table}, 4, "(kinds, angles, dihedrals, angles)");
  TORCH_CHECK_VALUE(table.sym_size(0) >= 1 && table.sym_size(1) >= 3 && table.sym_size(2) >= 1 &&
                        table.sym_size(3) == table.sym_size(1),
                    op, ": table must have shape (kinds, angles, dihedrals, angles) with 3 angles or more, got ",
                    table.sym_sizes());
  TORCH_CHECK_VALUE(0 <= first_angle && first_angle < last_angle && last_angle <= pi, op,
                    ": first_angle and last_angle must ascend within [0, pi], got ", first_angle, " and ", last_angle);
  if (following) {
    goes_with({op, "following", *following}, points, at::kLong);
    has_shape({op, "following", *following}, {residues});
  }
  return batch;
}

// Chains are contiguous: no residue is followed by one further ahead than the next. On CUDA, such residues have none.
Tensor checked_following(const char* op, const std::optional<Tensor>& following) {
  if (!following) return {};
  const Tensor next = at::arange(1, following->size(0) + 1, following->options());
  const Tensor fits = following->ge(-1).logical_and(following->le(next)).logical_and(following->lt(next.size(0)));
  if (following->is_cpu())
    TORCH_CHECK_VALUE(fits.all().item<bool>(), op,
                      ": following must be -1, the next residue, or the first one of a ring");
  return at::where(fits, *following, -1).contiguous();
}

// The residue before each, -1 for none.
Tensor preceding_of(const Tensor& following) {
  if (!following.defined()) return {};
  const int64_t residues = following.size(0);
  const Tensor found = at::full({residues + 1}, -1, following.options());  // the last entry is for residues without
  const Tensor places = at::where(following.ge(0), following, residues);
  found.scatter_(0, places, at::arange(residues, following.options()));
  return found.narrow(0, 0, residues).contiguous();
}

template <typename T>
PriorTable<T> prior_table(const Tensor& table, double first_angle, double last_angle) {
  const int64_t angles = table.size(1);
  return {.kinds = table.size(0),
          .angles = angles,
          .dihedrals = table.size(2),
          .first_angle = T(first_angle),
          .angle_step = T((last_angle - first_angle) / double(angles - 1)),
          .energy = table.const_data_ptr<T>()};
}

void is_finite_and_not_negative(const char* op, const char* name, double value) {
  TORCH_CHECK_VALUE(value >= 0 && std::isfinite(value), op, ": ", name, " must be finite and 0 or more, got ", value);
}

Tensor empty_c_alpha_energy(const Tensor& c_alpha, const Tensor& kinds, const Tensor& weights, const Tensor& table,
                            double first_angle, double last_angle, const std::optional<Tensor>& following) {
  const char* op = "c_alpha_energy";
  const Sizes batch =
      check_windows(op, {op, "c_alpha", c_alpha}, kinds, weights, table, first_angle, last_angle, following);
  return at::empty_symint(join(batch, {c_alpha.sym_size(-2)}), c_alpha.options());
}

Tensor c_alpha_energy(const Tensor& c_alpha, const Tensor& kinds, const Tensor& weights, const Tensor& table,
                      double first_angle, double last_angle, const std::optional<Tensor>& following) {
  const Tensor energy = empty_c_alpha_energy(c_alpha, kinds, weights, table, first_angle, last_angle, following);
  check_range({"c_alpha_energy", "kinds", kinds}, table.size(0));
  const Tensor c_alpha_ = c_alpha.contiguous(), kinds_ = kinds.contiguous(), weights_ = weights.contiguous(),
               table_ = table.contiguous(), following_ = checked_following("c_alpha_energy", following);
  with_scalar_of(c_alpha, [&](auto scalar) {
    using T = decltype(scalar);
    const CAlphaEnergyArguments<T> args{
        .batch = frame_count(c_alpha, 2),
        .residues = c_alpha.size(-2),
        .chain = {c_alpha.size(-2), data_or_null<int64_t>(following_)},
        .table = prior_table<T>(table_, first_angle, last_angle),
        .c_alpha = c_alpha_.const_data_ptr<T>(),
        .weight = weights_.const_data_ptr<T>(),
        .kind = kinds_.const_data_ptr<int64_t>(),
        .energy = energy.mutable_data_ptr<T>(),
    };
    launch(c_alpha, [&] { cpu::c_alpha_energy(args); }, [&](void* s) { cuda::c_alpha_energy(args, s); });
  });
  return energy;
}

Tensor empty_draw_c_alphas(BACKMAP_DRAW_C_ALPHAS_PARAMETERS) {
  const char* op = "draw_c_alphas";
  const Argument first{op, "beads", beads};
  const Sizes batch = check_windows(op, first, kinds, weights, table, first_angle, last_angle, following);
  const auto residues = beads.sym_size(-2);
  const Argument noise_argument{op, "noise", noise}, bonds_argument{op, "bonds", bonds};
  for (const Argument& a : {noise_argument, bonds_argument}) {
    goes_with(a, first, beads.scalar_type());
    has_shape(a, join(batch, {residues}));
  }
  const Argument keys_argument{op, "keys", keys}, steps_argument{op, "steps", steps};
  for (const Argument& a : {keys_argument, steps_argument}) {
    goes_with(a, first, at::kLong);
    has_shape(a, batch);
  }
  TORCH_CHECK_VALUE(other_keys.has_value() == turns.has_value(), op, ": give both other_keys and turns, or neither");
  if (other_keys) {
    goes_with({op, "other_keys", *other_keys}, first, at::kLong);
    has_shape({op, "other_keys", *other_keys}, batch);
    goes_with({op, "turns", *turns}, first, beads.scalar_type());
    has_shape({op, "turns", *turns}, batch);
  }
  is_finite_and_not_negative(op, "temperature", temperature);
  is_finite_and_not_negative(op, "contact_strength", contact_strength);
  TORCH_CHECK_VALUE(step_size > 0 && std::isfinite(step_size), op,
                    ": step_size must be finite and more than 0 nm^2, got ", step_size);
  is_length(op, "largest_step", largest_step);
  is_length(op, "contact_distance", contact_distance);
  check_box(op, box, first, batch);
  return at::empty_symint(beads.sym_sizes(), beads.options());
}

Tensor draw_c_alphas(BACKMAP_DRAW_C_ALPHAS_PARAMETERS) {
  const char* op = "draw_c_alphas";
  const Tensor c_alpha = empty_draw_c_alphas(BACKMAP_DRAW_C_ALPHAS_ARGUMENTS).contiguous();
  check_count(op, "residues", beads.size(-2));
  check_range({op, "kinds", kinds}, table.size(0));
  check_range({op, "steps", steps}, most_steps + 1);
  check_box_values(op, box, contact_distance + contact_margin_nm, "the reach of contacts");
  const Tensor beads_ = beads.contiguous(), noise_ = noise.contiguous(), bonds_ = bonds.contiguous(),
               kinds_ = kinds.contiguous(), weights_ = weights.contiguous(), table_ = table.contiguous(),
               keys_ = keys.contiguous(), steps_ = steps.contiguous(), box_ = contiguous_or_undefined(box),
               following_ = checked_following(op, following),
               preceding = beads.is_cuda() ? preceding_of(following_) : Tensor(),
               other_keys_ = contiguous_or_undefined(other_keys), turns_ = contiguous_or_undefined(turns);
  const int64_t frames = frame_count(beads, 2), residues = beads.size(-2);
  with_scalar_of(beads, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace = cuda_workspace(beads, [&] { return cuda::draw_c_alphas_workspace<T>(frames, residues); });
    const DrawCAlphasArguments<T> args{
        .batch = frames,
        .residues = residues,
        .chain = {residues, data_or_null<int64_t>(following_)},
        .preceding = data_or_null<int64_t>(preceding),
        .table = prior_table<T>(table_, first_angle, last_angle),
        .dynamics = {T(temperature), T(step_size), T(largest_step)},
        .contact_distance = T(contact_distance),
        .contact_strength = T(contact_strength),
        .bead = beads_.const_data_ptr<T>(),
        .noise = noise_.const_data_ptr<T>(),
        .bond = bonds_.const_data_ptr<T>(),
        .weight = weights_.const_data_ptr<T>(),
        .kind = kinds_.const_data_ptr<int64_t>(),
        .key = keys_.const_data_ptr<int64_t>(),
        .other = data_or_null<int64_t>(other_keys_),
        .turn = data_or_null<T>(turns_),
        .steps = steps_.const_data_ptr<int64_t>(),
        .box = data_or_null<T>(box_),
        .box_stride = box ? frame_stride(*box, 2) : 0,
        .c_alpha = c_alpha.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(beads, [&] { cpu::draw_c_alphas(args); }, [&](void* s) { cuda::draw_c_alphas(args, s); });
  });
  return c_alpha;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&c_alpha_energy, &empty_c_alpha_energy, NoGradient>(
      m,
      "c_alpha_energy(Tensor c_alpha, Tensor kinds, Tensor weights, Tensor table, float first_angle, "
      "float last_angle, Tensor? following=None) -> Tensor");
  register_operator<&draw_c_alphas, &empty_draw_c_alphas, NoGradient>(
      m,
      "draw_c_alphas(Tensor beads, Tensor noise, Tensor bonds, Tensor kinds, Tensor weights, Tensor table, "
      "Tensor keys, Tensor steps, float first_angle, float last_angle, float temperature, float step_size, "
      "float largest_step, float contact_distance, float contact_strength, Tensor? box=None, "
      "Tensor? following=None, Tensor? other_keys=None, Tensor? turns=None) -> Tensor");
}

}  // namespace backmap
