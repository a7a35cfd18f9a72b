// Logits of classes, from layers that depend on waves: from tensors to launchers.
#include "kernels/wave_logits.h"

#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

Tensor empty_wave_logits(const Tensor& context, const Tensor& waves, const Tensor& coefficients, const Tensor& weight,
                         const Tensor& bias) {
  const char* op = "wave_logits";
  const Argument first{op, "context", context};
  is_floating(first);
  TORCH_CHECK_VALUE(context.dim() >= 1, op, ": context must have shape (*, width), got ", context.sym_sizes());
  const Sizes batch = without_last(context, 1);
  const auto width = context.sym_size(-1);
  const Argument wave{op, "waves", waves};
  goes_with(wave, first, context.scalar_type());
  TORCH_CHECK_VALUE(waves.dim() >= 2, op, ": waves must have shape (*, draws, waves), got ", waves.sym_sizes());
  const auto draws = waves.sym_size(-2), count = waves.sym_size(-1);
  has_shape_or_shared(wave, batch, {draws, count});
  goes_with({op, "coefficients", coefficients}, first, context.scalar_type());
  has_shape_or_shared({op, "coefficients", coefficients}, batch, {count, width});
  goes_with({op, "weight", weight}, first, context.scalar_type());
  has_dimensions({op, "weight", weight}, 2, "(classes, width)");
  const auto classes = weight.sym_size(0);
  has_shape({op, "weight", weight}, {classes, width});
  goes_with({op, "bias", bias}, first, context.scalar_type());
  has_shape({op, "bias", bias}, {classes});
  return at::empty_symint(join(batch, {draws, classes}), context.options());
}

Tensor wave_logits(const Tensor& context, const Tensor& waves, const Tensor& coefficients, const Tensor& weight,
                   const Tensor& bias) {
  const Tensor logits = empty_wave_logits(context, waves, coefficients, weight, bias);
  const Tensor context_ = context.contiguous(), waves_ = waves.contiguous(), coefficients_ = coefficients.contiguous(),
               weight_ = weight.contiguous(), bias_ = bias.contiguous();
  const int64_t sites = frame_count(context, 1), draws = waves.size(-2), width = context.size(-1);
  with_scalar_of(context, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace =
        cuda_workspace(context, [&] { return cuda::wave_logits_workspace<T>(sites * draws, width); });
    const WaveLogitsArguments<T> args{
        .batch = sites,
        .draws = draws,
        .waves = waves.size(-1),
        .width = width,
        .classes = weight.size(0),
        .context = context_.const_data_ptr<T>(),
        .wave = waves_.const_data_ptr<T>(),
        .wave_stride = frame_stride(waves, 2),
        .coefficient = coefficients_.const_data_ptr<T>(),
        .coefficient_stride = frame_stride(coefficients, 2),
        .weight = weight_.const_data_ptr<T>(),
        .bias = bias_.const_data_ptr<T>(),
        .logits = logits.mutable_data_ptr<T>(),
        .workspace = reinterpret_cast<T*>(workspace.mutable_data_ptr<uint8_t>()),
    };
    launch(context, [&] { cpu::wave_logits(args); }, [&](void* s) { cuda::wave_logits(args, s); });
  });
  return logits;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&wave_logits, &empty_wave_logits, NotDifferentiable>(
      m, "wave_logits(Tensor context, Tensor waves, Tensor coefficients, Tensor weight, Tensor bias) -> Tensor");
}

}  // namespace backmap
