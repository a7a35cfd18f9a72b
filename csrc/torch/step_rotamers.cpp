// Steps of side-chain torsions in time: from tensors to launchers.
#include "kernels/step_rotamers.h"

#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

Tensors2 empty_step_rotamers(const Tensor& context, const Tensor& coefficients, const Tensor& weight,
                             const Tensor& bias, const Tensor& moves, const Tensor& repeats, const Tensor& leaps_only,
                             const Tensor& before, const Tensor& rate, const Tensor& window, const Tensor& uniforms,
                             int64_t passes) {
  const char* op = "step_rotamers";
  const Argument first{op, "context", context};
  is_floating(first);
  TORCH_CHECK_VALUE(context.dim() >= 2, op, ": context must have shape (*, torsions, width), got ",
                    context.sym_sizes());
  check_passes(op, passes);
  const Sizes batch = without_last(context, 2), rows = without_last(context, 1);
  const auto torsions = context.sym_size(-2), width = context.sym_size(-1);
  const auto scalar = context.scalar_type();
  goes_with({op, "coefficients", coefficients}, first, scalar);
  has_shape({op, "coefficients", coefficients}, {torsions, 2, torsions, width});
  goes_with({op, "bias", bias}, first, scalar);
  has_dimensions({op, "bias", bias}, 2, "(torsions, bins)");
  const auto bins = bias.sym_size(1);
  TORCH_CHECK_VALUE(bins >= 1, op, ": bias must have 1 bin or more, got ", bias.sym_sizes());
  has_shape({op, "bias", bias}, {torsions, bins});
  goes_with({op, "weight", weight}, first, scalar);
  has_shape({op, "weight", weight}, {torsions, width, bins});
  for (const Argument& flag : {Argument{op, "moves", moves}, Argument{op, "repeats", repeats}}) {
    goes_with(flag, first, at::kBool);
    has_shape(flag, rows);
  }
  goes_with({op, "leaps_only", leaps_only}, first, at::kBool);
  has_shape({op, "leaps_only", leaps_only}, batch);
  for (const Argument& value : {Argument{op, "before", before}, Argument{op, "rate", rate}}) {
    goes_with(value, first, scalar);
    has_shape(value, rows);
  }
  goes_with({op, "window", window}, first, scalar);
  has_shape({op, "window", window}, batch);
  goes_with({op, "uniforms", uniforms}, first, scalar);
  has_shape({op, "uniforms", uniforms}, join(rows, {step_draws}));
  return {at::empty_symint(rows, context.options()), at::empty_symint(batch, context.options().dtype(at::kLong))};
}

Tensors2 step_rotamers(const Tensor& context, const Tensor& coefficients, const Tensor& weight, const Tensor& bias,
                       const Tensor& moves, const Tensor& repeats, const Tensor& leaps_only, const Tensor& before,
                       const Tensor& rate, const Tensor& window, const Tensor& uniforms, int64_t passes) {
  const auto [after, first] = empty_step_rotamers(context, coefficients, weight, bias, moves, repeats, leaps_only,
                                                  before, rate, window, uniforms, passes);
  const Tensor context_ = context.contiguous(), coefficients_ = coefficients.contiguous(),
               weight_ = weight.contiguous(), bias_ = bias.contiguous(), moves_ = moves.contiguous(),
               repeats_ = repeats.contiguous(), leaps_only_ = leaps_only.contiguous(), before_ = before.contiguous(),
               rate_ = rate.contiguous(), window_ = window.contiguous(), uniforms_ = uniforms.contiguous(),
               after_ = after, first_ = first;
  const int64_t residues = frame_count(context, 2), width = context.size(-1), bins = bias.size(1);
  with_scalar_of(context, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace =
        cuda_workspace(context, [&] { return cuda::step_rotamers_workspace<T>(residues, width, bins); });
    const StepRotamersArguments<T> args{
        .batch = residues,
        .torsions = context.size(-2),
        .width = width,
        .bins = bins,
        .passes = passes,
        .context = context_.const_data_ptr<T>(),
        .coefficient = coefficients_.const_data_ptr<T>(),
        .weight = weight_.const_data_ptr<T>(),
        .bias = bias_.const_data_ptr<T>(),
        .moves = moves_.const_data_ptr<bool>(),
        .repeats = repeats_.const_data_ptr<bool>(),
        .leaps_only = leaps_only_.const_data_ptr<bool>(),
        .before = before_.const_data_ptr<T>(),
        .rate = rate_.const_data_ptr<T>(),
        .window = window_.const_data_ptr<T>(),
        .uniform = uniforms_.const_data_ptr<T>(),
        .workspace = static_cast<char*>(workspace.mutable_data_ptr()),
        .after = after_.mutable_data_ptr<T>(),
        .first = first_.mutable_data_ptr<int64_t>(),
    };
    launch(context, [&] { cpu::step_rotamers(args); }, [&](void* s) { cuda::step_rotamers(args, s); });
  });
  return {after, first};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&step_rotamers, &empty_step_rotamers, NoGradient>(
      m,
      "step_rotamers(Tensor context, Tensor coefficients, Tensor weight, Tensor bias, Tensor moves, Tensor repeats, "
      "Tensor leaps_only, Tensor before, Tensor rate, Tensor window, Tensor uniforms, int smoothing_passes) "
      "-> (Tensor after, Tensor first)");
}

}  // namespace backmap
