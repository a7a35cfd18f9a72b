// Voxel densities: from tensors to launchers, and gradients.
#include <ATen/MemoryOverlap.h>

#include <algorithm>
#include <vector>

#include "kernels/voxelize.h"
#include "torch/checks.h"
#include "torch/cubes.h"
#include "torch/large_pages.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

// Coordinates and the Gaussian. Returns the dimensions of the particles.
Sizes check_particles(const char* op, const Tensor& coordinates, double width, double sigma) {
  is_floating({op, "coordinates", coordinates});
  holds_points({op, "coordinates", coordinates}, 2, "(*, particles, 3)");
  is_length(op, "width", width);
  is_length(op, "sigma", sigma);
  return without_last(coordinates, 1);
}

// Whether no two elements share memory: the step of each dimension exceeds the span of all finer dimensions.
bool has_separate_elements(const Tensor& tensor) {
  std::vector<int64_t> dimensions;
  for (int64_t d = 0; d < tensor.dim(); ++d)
    if (tensor.size(d) > 1) dimensions.push_back(d);
  std::sort(dimensions.begin(), dimensions.end(),
            [&](int64_t a, int64_t b) { return tensor.stride(a) < tensor.stride(b); });
  int64_t span = 1;
  for (const int64_t d : dimensions) {
    if (tensor.stride(d) < span) return false;
    span += (tensor.size(d) - 1) * tensor.stride(d);
  }
  return true;
}

void check_memory(const char* op, const Tensor& coordinates, const Tensor& out) {
  TORCH_CHECK_VALUE(has_dense_cubes(out), op, ": out must be dense in its last three dimensions, got shape ",
                    out.sizes(), " with strides ", out.strides());
  TORCH_CHECK_VALUE(has_separate_elements(out), op, ": the elements of out must not overlap, got shape ", out.sizes(),
                    " with strides ", out.strides());
  const auto overlap = at::get_overlap_status(coordinates, out);
  TORCH_CHECK_VALUE(overlap != at::MemOverlapStatus::Full && overlap != at::MemOverlapStatus::Partial, op,
                    ": out must not share memory with coordinates");
}

// `coordinates` is contiguous. Frames of `out` that are not evenly spaced take one launch per item of the first axis.
void fill(const Tensor& coordinates, const Tensor& out, double width, double sigma) {
  if (out.numel() == 0) return;
  if (!even_frame_stride(out)) {
    for (int64_t n = 0; n < out.size(0); ++n) fill(coordinates[n], out[n], width, sigma);
    return;
  }
  with_scalar_of(coordinates, [&](auto scalar) {
    using T = decltype(scalar);
    const VoxelizeArguments<T> args{
        .grid = voxel_grid<T>(out.size(-1), width),
        .gaussian = gaussian<T>(sigma),
        .coordinates = coordinates.const_data_ptr<T>(),
        .density = cubes_of(out, out.mutable_data_ptr<T>()),
    };
    launch(coordinates, [&] { cpu::voxelize(args); }, [&](void* s) { cuda::voxelize(args, s); });
  });
}

Tensor empty_voxelize(const Tensor& coordinates, c10::SymInt grid_points, double width, double sigma) {
  const char* op = "voxelize";
  const Sizes particles = check_particles(op, coordinates, width, sigma);
  is_grid(op, "grid_points", grid_points);
  return at::empty_symint(join(particles, {grid_points, grid_points, grid_points}), coordinates.options());
}

Tensor voxelize(const Tensor& coordinates, c10::SymInt grid_points, double width, double sigma) {
  const Tensor density = in_large_pages(empty_voxelize(coordinates, grid_points, width, sigma));
  fill(coordinates.contiguous(), density, width, sigma);
  return density;
}

void empty_voxelize_into(const Tensor& coordinates, const Tensor& out, double width, double sigma) {
  const char* op = "voxelize_into";
  const Sizes particles = check_particles(op, coordinates, width, sigma);
  goes_with({op, "out", out}, {op, "coordinates", coordinates}, coordinates.scalar_type());
  holds_cubes({op, "out", out});
  const auto points = out.sym_size(-1);
  has_shape({op, "out", out}, join(particles, {points, points, points}));
}

void voxelize_into(const Tensor& coordinates, const Tensor& out, double width, double sigma) {
  empty_voxelize_into(coordinates, out, width, sigma);
  check_memory("voxelize_into", coordinates, out);
  fill(coordinates.contiguous(), out, width, sigma);
}

Tensor empty_voxelize_backward(const Tensor& grad, const Tensor& coordinates, double width, double sigma) {
  const char* op = "voxelize_backward";
  const Sizes particles = check_particles(op, coordinates, width, sigma);
  goes_with({op, "grad", grad}, {op, "coordinates", coordinates}, coordinates.scalar_type());
  holds_cubes({op, "grad", grad});
  const auto points = grad.sym_size(-1);
  has_shape({op, "grad", grad}, join(particles, {points, points, points}));
  return at::empty_symint(coordinates.sym_sizes(), coordinates.options());
}

Tensor voxelize_backward(const Tensor& grad, const Tensor& coordinates, double width, double sigma) {
  const Tensor grad_coordinates = empty_voxelize_backward(grad, coordinates, width, sigma);
  if (coordinates.numel() == 0) return grad_coordinates;
  const Tensor grad_ = with_cubes(grad), coordinates_ = coordinates.contiguous();
  with_scalar_of(coordinates, [&](auto scalar) {
    using T = decltype(scalar);
    const VoxelizeBackwardArguments<T> args{
        .grid = voxel_grid<T>(grad.size(-1), width),
        .gaussian = gaussian<T>(sigma),
        .grad = cubes_of(grad_, grad_.const_data_ptr<T>()),
        .coordinates = coordinates_.const_data_ptr<T>(),
        .grad_coordinates = grad_coordinates.mutable_data_ptr<T>(),
    };
    launch(coordinates, [&] { cpu::voxelize_backward(args); }, [&](void* s) { cuda::voxelize_backward(args, s); });
  });
  return grad_coordinates;
}

// ---- Gradient ----------------------------------------------------------------------------------

struct Voxelize : torch::autograd::Function<Voxelize> {
  static Tensor forward(AutogradContext* ctx, const Tensor& coordinates, const c10::SymInt& grid_points, double width,
                        double sigma) {
    ctx->save_for_backward({coordinates});
    ctx->saved_data["width"] = width;
    ctx->saved_data["sigma"] = sigma;
    return call_below_autograd<&voxelize>(coordinates, grid_points, width, sigma);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor grad_coordinates =
        call<&voxelize_backward>(grads[0], ctx->get_saved_variables()[0], ctx->saved_data["width"].toDouble(),
                                 ctx->saved_data["sigma"].toDouble());
    return {grad_coordinates, {}, {}, {}};
  }
};

// `out` is written in place, so it can have no history; a gradient is an error, as for out= of torch.
struct VoxelizeInto {
  static void apply(const Tensor& coordinates, const Tensor& out, double width, double sigma) {
    TORCH_CHECK(!at::GradMode::is_enabled() || !(coordinates.requires_grad() || out.requires_grad()),
                "voxelize_into: out= has no gradient, but ", coordinates.requires_grad() ? "coordinates" : "out",
                " requires grad: omit out=, or call it under torch.no_grad()");
    call_below_autograd<&voxelize_into>(coordinates, out, width, sigma);
    torch::autograd::impl::bump_version(out);
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&voxelize, &empty_voxelize, Voxelize>(
      m, "voxelize(Tensor coordinates, SymInt grid_points, float width, float sigma) -> Tensor");
  register_operator<&voxelize_backward, &empty_voxelize_backward, NoSecondGradient>(
      m, "voxelize_backward(Tensor grad, Tensor coordinates, float width, float sigma) -> Tensor");
  register_operator<&voxelize_into, &empty_voxelize_into, VoxelizeInto>(
      m, "voxelize_into(Tensor coordinates, Tensor(a!) out, float width, float sigma) -> ()");
}

}  // namespace backmap
