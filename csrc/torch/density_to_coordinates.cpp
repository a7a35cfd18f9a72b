// Centres of densities: from tensors to launchers, and gradients.
#include "kernels/density_to_coordinates.h"
#include "torch/checks.h"
#include "torch/cubes.h"
#include "torch/large_pages.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

Tensors2 empty_density_to_coordinates(const Tensor& density, double width, bool) {
  using namespace checks;
  const char* op = "density_to_coordinates";
  is_floating({op, "density", density});
  const Sizes particles = holds_cubes({op, "density", density});
  is_length(op, "width", width);
  return {at::empty_symint(join(particles, {3}), density.options()), at::empty_symint(particles, density.options())};
}

Tensors2 density_to_coordinates(const Tensor& density, double width, bool logits) {
  auto [coordinates, total] = empty_density_to_coordinates(density, width, logits);
  if (density.numel() == 0) return {coordinates, total};
  const Tensor density_ = with_cubes(density);
  with_scalar_of(density, [&](auto scalar) {
    using T = decltype(scalar);
    const MomentsArguments<T> args{
        .grid = voxel_grid<T>(density.size(-1), width),
        .logits = logits,
        .density = cubes_of(density_, density_.const_data_ptr<T>()),
        .coordinates = coordinates.mutable_data_ptr<T>(),
        .total = total.mutable_data_ptr<T>(),
    };
    launch(
        density, [&] { cpu::density_to_coordinates(args); }, [&](void* s) { cuda::density_to_coordinates(args, s); });
  });
  return {coordinates, total};
}

Tensor empty_density_to_coordinates_backward(const Tensor& grad, const Tensor& density, const Tensor& coordinates,
                                             const Tensor& total, double width, bool) {
  using namespace checks;
  const char* op = "density_to_coordinates_backward";
  const Argument first{op, "density", density};
  const auto dtype = density.scalar_type();
  is_floating(first);
  const Sizes particles = holds_cubes(first);
  goes_with({op, "grad", grad}, first, dtype);
  has_shape({op, "grad", grad}, join(particles, {3}));
  goes_with({op, "coordinates", coordinates}, first, dtype);
  has_shape({op, "coordinates", coordinates}, join(particles, {3}));
  goes_with({op, "total", total}, first, dtype);
  has_shape({op, "total", total}, particles);
  is_length(op, "width", width);
  return at::empty_symint(density.sym_sizes(), density.options());
}

Tensor density_to_coordinates_backward(const Tensor& grad, const Tensor& density, const Tensor& coordinates,
                                       const Tensor& total, double width, bool logits) {
  const Tensor grad_density =
      in_large_pages(empty_density_to_coordinates_backward(grad, density, coordinates, total, width, logits));
  if (density.numel() == 0) return grad_density;
  const Tensor grad_ = grad.contiguous(), density_ = with_cubes(density), coordinates_ = coordinates.contiguous(),
               total_ = total.contiguous();
  with_scalar_of(density, [&](auto scalar) {
    using T = decltype(scalar);
    const MomentsBackwardArguments<T> args{
        .grid = voxel_grid<T>(density.size(-1), width),
        .logits = logits,
        .grad = grad_.const_data_ptr<T>(),
        .density = cubes_of(density_, density_.const_data_ptr<T>()),
        .coordinates = coordinates_.const_data_ptr<T>(),
        .total = total_.const_data_ptr<T>(),
        .grad_density = cubes_of(grad_density, grad_density.mutable_data_ptr<T>()),
    };
    launch(
        density, [&] { cpu::density_to_coordinates_backward(args); },
        [&](void* s) { cuda::density_to_coordinates_backward(args, s); });
  });
  return grad_density;
}

// ---- Gradient ----------------------------------------------------------------------------------

struct DensityToCoordinates : torch::autograd::Function<DensityToCoordinates> {
  static variable_list forward(AutogradContext* ctx, const Tensor& density, double width, bool logits) {
    auto [coordinates, total] = call_below_autograd<&density_to_coordinates>(density, width, logits);
    ctx->save_for_backward({density, coordinates, total});
    ctx->saved_data["width"] = width;
    ctx->saved_data["logits"] = logits;
    ctx->mark_non_differentiable({total});
    return {coordinates, total};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor grad_density =
        call<&density_to_coordinates_backward>(grads[0], saved[0], saved[1], saved[2],
                                               ctx->saved_data["width"].toDouble(), ctx->saved_data["logits"].toBool());
    return {grad_density, {}, {}};
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&density_to_coordinates, &empty_density_to_coordinates, DensityToCoordinates>(
      m, "density_to_coordinates(Tensor density, float width, bool logits) -> (Tensor coordinates, Tensor total)");
  register_operator<&density_to_coordinates_backward, &empty_density_to_coordinates_backward, NoSecondGradient>(
      m,
      "density_to_coordinates_backward(Tensor grad, Tensor density, Tensor coordinates, Tensor total, float width, "
      "bool logits) -> Tensor");
}

}  // namespace backmap
