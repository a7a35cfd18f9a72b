// Angles drawn along chains, each given the one before it: from tensors to launchers.
#include "kernels/draw_angle_chains.h"

#include "torch/joint_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;
using OptionalTensor = std::optional<Tensor>;

Tensor empty_draw_angle_chains(const Tensor& context, const Tensor& coefficients, const Tensor& weight,
                               const Tensor& bias, const Tensor& forms, const Tensor& kinds, const Tensor& table,
                               const Tensor& offsets, const Tensor& chains, const Tensor& uniforms,
                               const OptionalTensor& known) {
  const char* op = "draw_angle_chains";
  const Argument first{op, "context", context};
  is_floating(first);
  TORCH_CHECK_VALUE(context.dim() >= 2, op, ": context must have shape (*, residues, width), got ",
                    context.sym_sizes());
  const auto scalar = context.scalar_type();
  const auto width = context.sym_size(-1);
  const Sizes sites = without_last(context, 1);
  goes_with({op, "coefficients", coefficients}, first, scalar);
  has_shape({op, "coefficients", coefficients}, join(sites, {waves_of_angle, width}));
  goes_with({op, "weight", weight}, first, scalar);
  has_dimensions({op, "weight", weight}, 2, "(classes, width)");
  const auto classes = weight.sym_size(0);
  TORCH_CHECK_VALUE(classes >= 1, op, ": weight must have 1 class or more, got ", weight.sym_sizes());
  has_shape({op, "weight", weight}, {classes, width});
  goes_with({op, "bias", bias}, first, scalar);
  has_shape({op, "bias", bias}, {classes});
  const Argument forms_{op, "forms", forms}, kinds_{op, "kinds", kinds}, table_{op, "table", table};
  goes_with(forms_, first, scalar);
  goes_with(kinds_, first, at::kLong);
  goes_with(table_, first, scalar);
  hold_joints(forms_, kinds_, table_, sites);
  goes_with({op, "offsets", offsets}, first, scalar);
  has_shape({op, "offsets", offsets}, join(sites, {classes}));
  goes_with({op, "chains", chains}, first, at::kLong);
  has_dimensions({op, "chains", chains}, 2, "(chains, longest)");
  goes_with({op, "uniforms", uniforms}, first, scalar);
  TORCH_CHECK_VALUE(uniforms.dim() >= 3, op, ": uniforms must have shape (*, samples, residues, 2), got ",
                    uniforms.sym_sizes());
  const Sizes drawn = join(without_last(context, 2), {uniforms.sym_size(-3), context.sym_size(-2)});
  has_shape({op, "uniforms", uniforms}, join(drawn, {2}));
  if (known) {
    goes_with({op, "known", *known}, first, scalar);
    has_shape({op, "known", *known}, sites);
  }
  return at::empty_symint(drawn, context.options());
}

Tensor draw_angle_chains(const Tensor& context, const Tensor& coefficients, const Tensor& weight, const Tensor& bias,
                         const Tensor& forms, const Tensor& kinds, const Tensor& table, const Tensor& offsets,
                         const Tensor& chains, const Tensor& uniforms, const OptionalTensor& known) {
  const Tensor angles = empty_draw_angle_chains(context, coefficients, weight, bias, forms, kinds, table, offsets,
                                                chains, uniforms, known);
  check_range({"draw_angle_chains", "kinds", kinds}, table.size(0));
  const Tensor context_ = context.contiguous(), coefficients_ = coefficients.contiguous(),
               weight_ = weight.contiguous(), bias_ = bias.contiguous(), forms_ = forms.contiguous(),
               kinds_ = kinds.contiguous(), table_ = table.contiguous(), offsets_ = offsets.contiguous(),
               chains_ = chains.contiguous(), uniforms_ = uniforms.contiguous(),
               known_ = contiguous_or_undefined(known);
  const int64_t batch = frame_count(context, 2), samples = uniforms.size(-3), width = context.size(-1),
                classes = weight.size(0);
  with_scalar_of(context, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace = cuda_workspace(context, [&] {
      return cuda::draw_angle_chains_workspace<T>(chains.size(0) * samples * batch, width, classes);
    });
    const DrawAngleChainsArguments<T> args{
        .batch = batch,
        .samples = samples,
        .residues = context.size(-2),
        .width = width,
        .classes = classes,
        .quantities = forms.size(-2),
        .kinds = table.size(0),
        .cells = table.size(1),
        .chains = chains.size(0),
        .longest = chains.size(1),
        .context = context_.const_data_ptr<T>(),
        .coefficient = coefficients_.const_data_ptr<T>(),
        .weight = weight_.const_data_ptr<T>(),
        .bias = bias_.const_data_ptr<T>(),
        .form = forms_.const_data_ptr<T>(),
        .kind = kinds_.const_data_ptr<int64_t>(),
        .table = table_.const_data_ptr<T>(),
        .offset = offsets_.const_data_ptr<T>(),
        .known = data_or_null<T>(known_),
        .chain = chains_.const_data_ptr<int64_t>(),
        .uniform = uniforms_.const_data_ptr<T>(),
        .angle = angles.mutable_data_ptr<T>(),
        .workspace = reinterpret_cast<T*>(workspace.mutable_data_ptr<uint8_t>()),
    };
    launch(context, [&] { cpu::draw_angle_chains(args); }, [&](void* s) { cuda::draw_angle_chains(args, s); });
  });
  return angles;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&draw_angle_chains, &empty_draw_angle_chains, NoGradient>(
      m,
      "draw_angle_chains(Tensor context, Tensor coefficients, Tensor weight, Tensor bias, Tensor forms, Tensor kinds, "
      "Tensor table, Tensor offsets, Tensor chains, Tensor uniforms, Tensor? known=None) -> Tensor");
}

}  // namespace backmap
