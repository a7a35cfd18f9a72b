// Gaussian densities of particles: first the factors of a particle in shared memory, then its cube.
#include "core/gaussian_density.h"
#include "core/vec3.h"
#include "cuda/cubes.h"
#include "cuda/launch.h"
#include "kernels/voxelize.h"

namespace backmap::cuda {
namespace {

// ---- Density -----------------------------------------------------------------------------------

template <typename Visit, typename T>
__global__ void fill_densities(VoxelizeArguments<T> args) {
  __shared__ T shared[Visit::teams][3 * Visit::points_at_most];
  const VoxelGrid<T> grid = Visit::with_points(args.grid);
  const int32_t points = grid.points;
  T* factor = shared[Visit::team_of_block()];
  const int64_t p = Visit::cube();
  const bool exists = p < args.density.count();
  if (exists) {
    for (int32_t n = Visit::thread_of_team(); n < 3 * points; n += Visit::team)
      factor[n] = axis_factor(args.gaussian, grid.centre(n % points) - args.coordinates[3 * p + n / points]);
  }
  __syncthreads();
  if (!exists) return;
  const T *y = factor + points, *z = y + points;
  T* cube = args.density[p];
  for (int32_t n = Visit::pack * Visit::thread_of_team(); n < grid.cube(); n += Visit::pack * Visit::team) {
    const int32_t k = n % points, j = n / points % points, i = n / grid.plane();
    Pack<T, Visit::pack> density;
    for (int m = 0; m < Visit::pack; ++m) density.values[m] = factor[i] * (y[j] * z[k + m]);
    store_pack(cube + n, density);
  }
}

// ---- Gradient ----------------------------------------------------------------------------------

template <typename Visit, typename T>
__global__ void sum_gradients(VoxelizeBackwardArguments<T> args) {
  __shared__ T shared[Visit::teams][6 * Visit::points_at_most];
  const VoxelGrid<T> grid = Visit::with_points(args.grid);
  const int32_t points = grid.points;
  T* factor = shared[Visit::team_of_block()];
  T* slope = factor + 3 * points;
  const int64_t p = Visit::cube();
  const bool exists = p < args.grad.count();
  if (exists) {
    for (int32_t n = Visit::thread_of_team(); n < 3 * points; n += Visit::team) {
      const T offset = grid.centre(n % points) - args.coordinates[3 * p + n / points];
      factor[n] = axis_factor(args.gaussian, offset);
      slope[n] = axis_slope(args.gaussian, offset, factor[n]);
    }
  }
  __syncthreads();
  if (!exists) return;
  const T *y = factor + points, *z = y + points, *slope_y = slope + points, *slope_z = slope_y + points;
  const T* cube = args.grad[p];
  Vec3<T> sum{T(0), T(0), T(0)};
  for (int32_t n = Visit::pack * Visit::thread_of_team(); n < grid.cube(); n += Visit::pack * Visit::team) {
    const int32_t k = n % points, j = n / points % points, i = n / grid.plane();
    const auto grad = load_pack<Visit::pack>(cube + n);
    T along_z = T(0), along_slope = T(0);
    for (int m = 0; m < Visit::pack; ++m) {
      along_z += grad.values[m] * z[k + m];
      along_slope += grad.values[m] * slope_z[k + m];
    }
    sum += Vec3<T>{slope[i] * y[j] * along_z, factor[i] * slope_y[j] * along_z, factor[i] * y[j] * along_slope};
  }
  sum = {Visit::sum(sum.x), Visit::sum(sum.y), Visit::sum(sum.z)};
  if (Visit::thread_of_team() == 0) store(args.grad_coordinates + 3 * p, sum);
}

}  // namespace

template <typename T>
void voxelize(const VoxelizeArguments<T>& args, void* stream) {
  if (args.density.count() == 0) return;
  choose_visit<T>(args.grid.points, in_packs(args.density, args.grid.points), [&](auto visit) {
    using Visit = decltype(visit);
    const auto kernel = fill_densities<Visit, T>;
    BACKMAP_LAUNCH(kernel, blocks_for(args.density.count(), Visit::teams), Visit::threads, stream, args);
  });
  check_launch("voxelize");
}

template <typename T>
void voxelize_backward(const VoxelizeBackwardArguments<T>& args, void* stream) {
  if (args.grad.count() == 0) return;
  choose_visit<T>(args.grid.points, in_packs(args.grad, args.grid.points), [&](auto visit) {
    using Visit = decltype(visit);
    const auto kernel = sum_gradients<Visit, T>;
    BACKMAP_LAUNCH(kernel, blocks_for(args.grad.count(), Visit::teams), Visit::threads, stream, args);
  });
  check_launch("voxelize_backward");
}

template void voxelize(const VoxelizeArguments<float>&, void*);
template void voxelize(const VoxelizeArguments<double>&, void*);
template void voxelize_backward(const VoxelizeBackwardArguments<float>&, void*);
template void voxelize_backward(const VoxelizeBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
