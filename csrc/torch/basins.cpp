// Basins of distributions on a circle, and steps of angles in time: from tensors to launchers.
#include "kernels/basins.h"

#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

// Returns the batch dimensions.
Sizes check_distributions(const Argument& probabilities, int64_t passes) {
  is_floating(probabilities);
  const Tensor& tensor = probabilities.tensor;
  TORCH_CHECK_VALUE(tensor.dim() >= 1 && tensor.sym_size(-1) >= 1, probabilities.op, ": ", probabilities.name,
                    " must have shape (*, bins) with 1 bin or more, got ", tensor.sym_sizes());
  check_passes(probabilities.op, passes);
  return without_last(tensor, 1);
}

void goes_with_rows(const Argument& a, const Argument& probabilities, const Sizes& shape) {
  goes_with(a, probabilities, probabilities.tensor.scalar_type());
  has_shape(a, shape);
}

template <typename T>
Tensor workspace_of(const Tensor& probabilities) {
  return cuda_workspace(
      probabilities, [&] { return cuda::basins_workspace<T>(frame_count(probabilities, 1), probabilities.size(-1)); });
}

// ---- Basins ------------------------------------------------------------------------------------

Tensor empty_find_basins(const Tensor& probabilities, int64_t passes) {
  check_distributions({"find_basins", "probabilities", probabilities}, passes);
  return at::empty_symint(probabilities.sym_sizes(), probabilities.options().dtype(at::kLong));
}

Tensor find_basins(const Tensor& probabilities, int64_t passes) {
  const Tensor basins = empty_find_basins(probabilities, passes), probabilities_ = probabilities.contiguous();
  with_scalar_of(probabilities, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace = workspace_of<T>(probabilities);
    const FindBasinsArguments<T> args{
        .rows = frame_count(probabilities, 1),
        .bins = probabilities.size(-1),
        .passes = passes,
        .probability = probabilities_.const_data_ptr<T>(),
        .workspace = static_cast<char*>(workspace.mutable_data_ptr()),
        .basin = basins.mutable_data_ptr<int64_t>(),
    };
    launch(probabilities, [&] { cpu::find_basins(args); }, [&](void* s) { cuda::find_basins(args, s); });
  });
  return basins;
}

// ---- A step in time ----------------------------------------------------------------------------

Tensors2 empty_step_angle(const Tensor& probabilities, const Tensor& before, const Tensor& rate, const Tensor& window,
                          const Tensor& uniforms, int64_t passes) {
  const char* op = "step_angle";
  const Argument first{op, "probabilities", probabilities};
  const Sizes batch = check_distributions(first, passes);
  goes_with_rows({op, "before", before}, first, batch);
  goes_with_rows({op, "rate", rate}, first, batch);
  goes_with_rows({op, "window", window}, first, batch);
  goes_with_rows({op, "uniforms", uniforms}, first, join(batch, {step_draws}));
  return {at::empty_symint(batch, probabilities.options()),
          at::empty_symint(batch, probabilities.options().dtype(at::kBool))};
}

Tensors2 step_angle(const Tensor& probabilities, const Tensor& before, const Tensor& rate, const Tensor& window,
                    const Tensor& uniforms, int64_t passes) {
  const auto [angle, left] = empty_step_angle(probabilities, before, rate, window, uniforms, passes);
  const Tensor probabilities_ = probabilities.contiguous(), before_ = before.contiguous(), rate_ = rate.contiguous(),
               window_ = window.contiguous(), uniforms_ = uniforms.contiguous(), angle_ = angle, left_ = left;
  with_scalar_of(probabilities, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace = workspace_of<T>(probabilities);
    const StepAngleArguments<T> args{
        .rows = frame_count(probabilities, 1),
        .bins = probabilities.size(-1),
        .passes = passes,
        .probability = probabilities_.const_data_ptr<T>(),
        .before = before_.const_data_ptr<T>(),
        .rate = rate_.const_data_ptr<T>(),
        .window = window_.const_data_ptr<T>(),
        .uniform = uniforms_.const_data_ptr<T>(),
        .workspace = static_cast<char*>(workspace.mutable_data_ptr()),
        .angle = angle_.mutable_data_ptr<T>(),
        .left = left_.mutable_data_ptr<bool>(),
    };
    launch(probabilities, [&] { cpu::step_angle(args); }, [&](void* s) { cuda::step_angle(args, s); });
  });
  return {angle, left};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&find_basins, &empty_find_basins, NoGradient>(
      m, "find_basins(Tensor probabilities, int smoothing_passes) -> Tensor");
  register_operator<&step_angle, &empty_step_angle, NoGradient>(
      m,
      "step_angle(Tensor probabilities, Tensor before, Tensor rate, Tensor window, Tensor uniforms, "
      "int smoothing_passes) -> (Tensor angle, Tensor left)");
}

}  // namespace backmap
