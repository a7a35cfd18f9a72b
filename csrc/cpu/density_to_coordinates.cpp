// Centres of densities. Threads share particles; vectors run over the rows and planes of a cube.
#include <vector>

#include "core/density_moments.h"
#include "cpu/clones.h"
#include "cpu/fixed_points.h"
#include "cpu/parallel.h"
#include "cpu/prefetch.h"
#include "cpu/streaming.h"
#include "kernels/density_to_coordinates.h"

namespace backmap::cpu {
namespace {

// Fewest voxels per thread: about ten microseconds of work.
constexpr int64_t voxels_of_a_thread = 1 << 15;

// ---- Centres -----------------------------------------------------------------------------------

template <typename T>
int64_t centre_scratch(const VoxelGrid<T>& grid) {
  return 4 * grid.plane();
}

// Adds the weights of some planes of a cube, from `first` on, to one sum, and their products with x to another.
template <int planes, bool logits, typename T>
BACKMAP_HD void add_planes(const VoxelGrid<T>& grid, int32_t first, const T* __restrict density, int32_t plane,
                           T* __restrict sum, T* __restrict sum_x) {
  prefetch(density + planes * plane, planes * plane);
  for (int32_t q = 0; q < plane; ++q) {
    T value = sum[q], value_x = sum_x[q];
    for (int32_t i = 0; i < planes; ++i) {
      const T weight = voxel_weight<logits>(density[i * plane + q]);
      value += weight;
      value_x += grid.half_steps(first + i) * weight;
    }
    sum[q] = value;
    sum_x[q] = value_x;
  }
}

// Particles [begin, end). Weights, and weights times x, are summed over x into two planes, which are then summed over y
// and z; the density is read only once, in order.
template <int fixed, bool logits, typename T>
BACKMAP_HD void find_centres(const MomentsArguments<T>& args, int64_t begin, int64_t end, T* scratch) {
  const VoxelGrid<T> grid = with_points<fixed>(args.grid);
  const int32_t points = grid.points, plane = grid.plane();
  T* __restrict step_y = scratch;
  T* __restrict step_z = step_y + plane;
  T* __restrict sum = step_z + plane;
  T* __restrict sum_x = sum + plane;
  for (int32_t j = 0; j < points; ++j) {
    for (int32_t k = 0; k < points; ++k) {
      step_y[j * points + k] = grid.half_steps(j);
      step_z[j * points + k] = grid.half_steps(k);
    }
  }
  for (int64_t p = begin; p < end; ++p) {
    for (int32_t q = 0; q < plane; ++q) sum[q] = sum_x[q] = T(0);
    const T* __restrict density = args.density[p];
    int32_t i = 0;
    for (; i + 4 <= points; i += 4) add_planes<4, logits>(grid, i, density + i * plane, plane, sum, sum_x);
    for (; i < points; ++i) add_planes<1, logits>(grid, i, density + i * plane, plane, sum, sum_x);
    T total = T(0), x = T(0), y = T(0), z = T(0);
#pragma omp simd reduction(+ : total, x, y, z)
    for (int32_t q = 0; q < plane; ++q) {
      total += sum[q];
      x += sum_x[q];
      y += step_y[q] * sum[q];
      z += step_z[q] * sum[q];
    }
    store(args.coordinates + 3 * p, centre_of(grid, Moments<T>{total, {x, y, z}}));
    args.total[p] = total;
  }
}

template <int fixed, typename T>
BACKMAP_HD void centres_by_kind(const MomentsArguments<T>& args, int64_t begin, int64_t end, T* scratch) {
  if (args.logits) find_centres<fixed, true>(args, begin, end, scratch);
  else find_centres<fixed, false>(args, begin, end, scratch);
}

template <typename T>
BACKMAP_HD void centres_by_points(const MomentsArguments<T>& args, int64_t begin, int64_t end, T* scratch){
    BACKMAP_WITH_POINTS(args.grid.points, centres_by_kind, args, begin, end, scratch)}

BACKMAP_CLONES void centres(const MomentsArguments<float>& args, int64_t begin, int64_t end, float* scratch) {
  centres_by_points(args, begin, end, scratch);
}
BACKMAP_CLONES void centres(const MomentsArguments<double>& args, int64_t begin, int64_t end, double* scratch) {
  centres_by_points(args, begin, end, scratch);
}

// ---- Gradient ----------------------------------------------------------------------------------

template <typename T>
int64_t gradient_scratch(const VoxelGrid<T>& grid) {
  return 2 * grid.plane();
}

template <int fixed, bool logits, typename T>
BACKMAP_HD void fill_gradients(const MomentsBackwardArguments<T>& args, bool past_cache, int64_t begin, int64_t end,
                               T* scratch) {
  const VoxelGrid<T> grid = with_points<fixed>(args.grid);
  const int32_t points = grid.points, plane = grid.plane();
  T* __restrict yz = scratch;
  T* __restrict product = yz + plane;
  for (int64_t p = begin; p < end; ++p) {
    const CentreBackward<T> backward =
        centre_backward(grid, load(args.coordinates + 3 * p), args.total[p], load(args.grad + 3 * p));
    for (int32_t j = 0; j < points; ++j)
      for (int32_t k = 0; k < points; ++k) yz[j * points + k] = backward.y(j) + backward.z(k);
    const T* __restrict density = args.density[p];
    T* grad = args.grad_density[p];
    for (int32_t i = 0; i < points; ++i, density += plane, grad += plane) {
      const T x = backward.x(i);
      T* __restrict target = past_cache ? product : grad;
      for (int32_t q = 0; q < plane; ++q) target[q] = voxel_weight_slope<logits>(density[q]) * (x + yz[q]);
      if (past_cache) stream(grad, product, plane);
    }
  }
}

template <int fixed, typename T>
BACKMAP_HD void gradients_by_kind(const MomentsBackwardArguments<T>& args, bool past_cache, int64_t begin, int64_t end,
                                  T* scratch) {
  if (args.logits) fill_gradients<fixed, true>(args, past_cache, begin, end, scratch);
  else fill_gradients<fixed, false>(args, past_cache, begin, end, scratch);
}

template <typename T>
BACKMAP_HD void gradients_by_points(const MomentsBackwardArguments<T>& args, bool past_cache, int64_t begin,
                                    int64_t end, T* scratch){
    BACKMAP_WITH_POINTS(args.grid.points, gradients_by_kind, args, past_cache, begin, end, scratch)}

BACKMAP_CLONES void gradients(const MomentsBackwardArguments<float>& args, bool past_cache, int64_t begin, int64_t end,
                              float* scratch) {
  gradients_by_points(args, past_cache, begin, end, scratch);
}
BACKMAP_CLONES void gradients(const MomentsBackwardArguments<double>& args, bool past_cache, int64_t begin, int64_t end,
                              double* scratch) {
  gradients_by_points(args, past_cache, begin, end, scratch);
}

}  // namespace

template <typename T>
void density_to_coordinates(const MomentsArguments<T>& args) {
  parallel_ranges(args.density.count(), 1 + voxels_of_a_thread / args.grid.cube(), [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(centre_scratch(args.grid));
    centres(args, begin, end, scratch.data());
  });
}

template <typename T>
void density_to_coordinates_backward(const MomentsBackwardArguments<T>& args) {
  const int64_t voxels = args.grid.cube(), particles = args.density.count();
  const bool past_cache = exceeds_cache(2 * particles * voxels * int64_t(sizeof(T)));
  parallel_ranges(particles, 1 + voxels_of_a_thread / voxels, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(gradient_scratch(args.grid));
    gradients(args, past_cache, begin, end, scratch.data());
    if (past_cache) finish_streaming();
  });
}

template void density_to_coordinates(const MomentsArguments<float>&);
template void density_to_coordinates(const MomentsArguments<double>&);
template void density_to_coordinates_backward(const MomentsBackwardArguments<float>&);
template void density_to_coordinates_backward(const MomentsBackwardArguments<double>&);

}  // namespace backmap::cpu
