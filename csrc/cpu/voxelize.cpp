// Gaussian densities of particles. Threads share particles; vectors run over the planes of a cube.
#include <vector>

#include "core/gaussian_density.h"
#include "core/vec3.h"
#include "cpu/clones.h"
#include "cpu/fixed_points.h"
#include "cpu/parallel.h"
#include "cpu/prefetch.h"
#include "cpu/streaming.h"
#include "kernels/voxelize.h"

namespace backmap::cpu {
namespace {

// Fewest voxels per thread: about ten microseconds of work.
constexpr int64_t voxels_of_a_thread = 1 << 15;

// Offsets of the voxel centres from a particle: along x, then y, then z.
template <typename T>
BACKMAP_HD void fill_offsets(const VoxelGrid<T>& grid, const T* position, T* __restrict offset) {
  for (int a = 0; a < 3; ++a)
    for (int32_t k = 0; k < grid.points; ++k) offset[a * grid.points + k] = grid.centre(k) - position[a];
}

template <typename T>
BACKMAP_HD void fill_factors(const Gaussian<T>& gaussian, const T* __restrict offset, int32_t count,
                             T* __restrict factor) {
  for (int32_t n = 0; n < count; ++n) factor[n] = axis_factor(gaussian, offset[n]);
}

template <typename T>
BACKMAP_HD void fill_slopes(const Gaussian<T>& gaussian, const T* __restrict offset, const T* __restrict factor,
                            int32_t count, T* __restrict slope) {
  for (int32_t n = 0; n < count; ++n) slope[n] = axis_slope(gaussian, offset[n], factor[n]);
}

// plane[j, k] = y[j] z[k]
template <typename T>
BACKMAP_HD void multiply(const T* y, const T* __restrict z, int32_t points, T* __restrict plane) {
  for (int32_t j = 0; j < points; ++j)
    for (int32_t k = 0; k < points; ++k) plane[j * points + k] = y[j] * z[k];
}

// ---- Density -----------------------------------------------------------------------------------

template <typename T>
int64_t density_scratch(const VoxelGrid<T>& grid) {
  return 2 * grid.plane() + 6 * grid.points;
}

// Particles [begin, end). The plane of y and z is computed once and multiplied by the factor of x for each plane.
template <int fixed, typename T>
BACKMAP_HD void fill_densities(const VoxelizeArguments<T>& args, bool past_cache, int64_t begin, int64_t end,
                               T* scratch) {
  const VoxelGrid<T> grid = with_points<fixed>(args.grid);
  const int32_t points = grid.points, plane = grid.plane();
  T* __restrict yz = scratch;
  T* __restrict product = yz + plane;
  T* __restrict offset = product + plane;
  T* __restrict factor = offset + 3 * points;
  for (int64_t p = begin; p < end; ++p) {
    fill_offsets(grid, args.coordinates + 3 * p, offset);
    fill_factors(args.gaussian, offset, 3 * points, factor);
    multiply(factor + points, factor + 2 * points, points, yz);
    T* cube = args.density[p];
    for (int32_t i = 0; i < points; ++i, cube += plane) {
      T* __restrict target = past_cache ? product : cube;
      for (int32_t q = 0; q < plane; ++q) target[q] = factor[i] * yz[q];
      if (past_cache) stream(cube, product, plane);
    }
  }
}

template <typename T>
BACKMAP_HD void densities_by_points(const VoxelizeArguments<T>& args, bool past_cache, int64_t begin, int64_t end,
                                    T* scratch){
    BACKMAP_WITH_POINTS(args.grid.points, fill_densities, args, past_cache, begin, end, scratch)}

BACKMAP_CLONES
    void densities(const VoxelizeArguments<float>& args, bool past_cache, int64_t begin, int64_t end, float* scratch) {
  densities_by_points(args, past_cache, begin, end, scratch);
}
BACKMAP_CLONES void densities(const VoxelizeArguments<double>& args, bool past_cache, int64_t begin, int64_t end,
                              double* scratch) {
  densities_by_points(args, past_cache, begin, end, scratch);
}

// ---- Gradient ----------------------------------------------------------------------------------

template <typename T>
int64_t gradient_scratch(const VoxelGrid<T>& grid) {
  return 5 * grid.plane() + 9 * grid.points;
}

// Adds some planes of a cube to two sums, weighted by the factors and by the slopes of their x coordinate.
template <int planes, typename T>
BACKMAP_HD void add_planes(const T* __restrict grad, const T* factor, const T* slope, int32_t plane, T* __restrict sum,
                           T* __restrict sum_slope) {
  prefetch(grad + planes * plane, planes * plane);
  for (int32_t q = 0; q < plane; ++q) {
    T value = sum[q], value_slope = sum_slope[q];
    for (int32_t i = 0; i < planes; ++i) {
      value += factor[i] * grad[i * plane + q];
      value_slope += slope[i] * grad[i * plane + q];
    }
    sum[q] = value;
    sum_slope[q] = value_slope;
  }
}

// Particles [begin, end). The gradient, weighted by the factors and by their slopes, is summed over x into two planes,
// which are then summed over y and z; it is read only once, in order.
template <int fixed, typename T>
BACKMAP_HD void sum_gradients(const VoxelizeBackwardArguments<T>& args, int64_t begin, int64_t end, T* scratch) {
  const VoxelGrid<T> grid = with_points<fixed>(args.grid);
  const int32_t points = grid.points, plane = grid.plane();
  T* __restrict offset = scratch;
  T* __restrict factor = offset + 3 * points;
  T* __restrict slope = factor + 3 * points;
  T* __restrict yz = slope + 3 * points;
  T* __restrict slope_y = yz + plane;
  T* __restrict slope_z = slope_y + plane;
  T* __restrict sum = slope_z + plane;
  T* __restrict sum_slope = sum + plane;
  for (int64_t p = begin; p < end; ++p) {
    fill_offsets(grid, args.coordinates + 3 * p, offset);
    fill_factors(args.gaussian, offset, 3 * points, factor);
    fill_slopes(args.gaussian, offset, factor, 3 * points, slope);
    multiply(factor + points, factor + 2 * points, points, yz);
    multiply(slope + points, factor + 2 * points, points, slope_y);
    multiply(factor + points, slope + 2 * points, points, slope_z);
    for (int32_t q = 0; q < plane; ++q) sum[q] = sum_slope[q] = T(0);
    const T* __restrict grad = args.grad[p];
    int32_t i = 0;
    for (; i + 4 <= points; i += 4) add_planes<4>(grad + i * plane, factor + i, slope + i, plane, sum, sum_slope);
    for (; i < points; ++i) add_planes<1>(grad + i * plane, factor + i, slope + i, plane, sum, sum_slope);
    T grad_x = T(0), grad_y = T(0), grad_z = T(0);
#pragma omp simd reduction(+ : grad_x, grad_y, grad_z)
    for (int32_t q = 0; q < plane; ++q) {
      grad_x += sum_slope[q] * yz[q];
      grad_y += sum[q] * slope_y[q];
      grad_z += sum[q] * slope_z[q];
    }
    store(args.grad_coordinates + 3 * p, {grad_x, grad_y, grad_z});
  }
}

template <typename T>
BACKMAP_HD void gradients_by_points(const VoxelizeBackwardArguments<T>& args, int64_t begin, int64_t end, T* scratch){
    BACKMAP_WITH_POINTS(args.grid.points, sum_gradients, args, begin, end, scratch)}

BACKMAP_CLONES
    void gradients(const VoxelizeBackwardArguments<float>& args, int64_t begin, int64_t end, float* scratch) {
  gradients_by_points(args, begin, end, scratch);
}
BACKMAP_CLONES void gradients(const VoxelizeBackwardArguments<double>& args, int64_t begin, int64_t end,
                              double* scratch) {
  gradients_by_points(args, begin, end, scratch);
}

}  // namespace

template <typename T>
void voxelize(const VoxelizeArguments<T>& args) {
  const int64_t voxels = args.grid.cube(), particles = args.density.count();
  const bool past_cache = exceeds_cache(particles * voxels * int64_t(sizeof(T)));
  parallel_ranges(particles, 1 + voxels_of_a_thread / voxels, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(density_scratch(args.grid));
    densities(args, past_cache, begin, end, scratch.data());
    if (past_cache) finish_streaming();
  });
}

template <typename T>
void voxelize_backward(const VoxelizeBackwardArguments<T>& args) {
  parallel_ranges(args.grad.count(), 1 + voxels_of_a_thread / args.grid.cube(), [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(gradient_scratch(args.grid));
    gradients(args, begin, end, scratch.data());
  });
}

template void voxelize(const VoxelizeArguments<float>&);
template void voxelize(const VoxelizeArguments<double>&);
template void voxelize_backward(const VoxelizeBackwardArguments<float>&);
template void voxelize_backward(const VoxelizeBackwardArguments<double>&);

}  // namespace backmap::cpu
