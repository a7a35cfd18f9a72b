// Centres of densities: one pass over each cube, with sums in a fixed order.
#include "core/density_moments.h"
#include "cuda/cubes.h"
#include "cuda/launch.h"
#include "kernels/density_to_coordinates.h"

namespace backmap::cuda {
namespace {

// ---- Centres -----------------------------------------------------------------------------------

template <typename Visit, bool logits, typename T>
__global__ void find_centres(MomentsArguments<T> args) {
  const int64_t p = Visit::cube();
  if (p >= args.density.count()) return;  // true for all threads of a warp, or for none
  const VoxelGrid<T> grid = Visit::with_points(args.grid);
  const int32_t points = grid.points;
  const T* cube = args.density[p];
  Moments<T> m{T(0), {T(0), T(0), T(0)}};
  for (int32_t n = Visit::pack * Visit::thread_of_team(); n < grid.cube(); n += Visit::pack * Visit::team) {
    const int32_t k = n % points, j = n / points % points, i = n / grid.plane();
    const auto density = load_pack<Visit::pack>(cube + n);
    T along_z = T(0), steps = T(0);
    for (int v = 0; v < Visit::pack; ++v) {
      const T weight = voxel_weight<logits>(density.values[v]);
      along_z += weight;
      steps += grid.half_steps(k + v) * weight;
    }
    m.total += along_z;
    m.first += Vec3<T>{grid.half_steps(i) * along_z, grid.half_steps(j) * along_z, steps};
  }
  m = {Visit::sum(m.total), {Visit::sum(m.first.x), Visit::sum(m.first.y), Visit::sum(m.first.z)}};
  if (Visit::thread_of_team() != 0) return;
  store(args.coordinates + 3 * p, centre_of(grid, m));
  args.total[p] = m.total;
}

// ---- Gradient ----------------------------------------------------------------------------------

template <typename Visit, bool logits, typename T>
__global__ void fill_gradients(MomentsBackwardArguments<T> args) {
  const int64_t p = Visit::cube();
  if (p >= args.density.count()) return;
  const VoxelGrid<T> grid = Visit::with_points(args.grid);
  const int32_t points = grid.points;
  const CentreBackward<T> backward =
      centre_backward(grid, load(args.coordinates + 3 * p), args.total[p], load(args.grad + 3 * p));
  const T* cube = args.density[p];
  T* grad_cube = args.grad_density[p];
  for (int32_t n = Visit::pack * Visit::thread_of_team(); n < grid.cube(); n += Visit::pack * Visit::team) {
    const int32_t k = n % points, j = n / points % points, i = n / grid.plane();
    const auto density = load_pack<Visit::pack>(cube + n);
    const T x = backward.x(i), y = backward.y(j);
    Pack<T, Visit::pack> grad;
    for (int v = 0; v < Visit::pack; ++v)
      grad.values[v] = voxel_weight_slope<logits>(density.values[v]) * (x + (y + backward.z(k + v)));
    store_pack(grad_cube + n, grad);
  }
}

}  // namespace

template <typename T>
void density_to_coordinates(const MomentsArguments<T>& args, void* stream) {
  if (args.density.count() == 0) return;
  choose_visit<T>(args.grid.points, in_packs(args.density, args.grid.points), [&](auto visit) {
    using Visit = decltype(visit);
    const auto kernel = args.logits ? find_centres<Visit, true, T> : find_centres<Visit, false, T>;
    BACKMAP_LAUNCH(kernel, blocks_for(args.density.count(), Visit::teams), Visit::threads, stream, args);
  });
  check_launch("density_to_coordinates");
}

template <typename T>
void density_to_coordinates_backward(const MomentsBackwardArguments<T>& args, void* stream) {
  if (args.density.count() == 0) return;
  const bool packs = in_packs(args.density, args.grid.points) && in_packs(args.grad_density, args.grid.points);
  choose_visit<T>(args.grid.points, packs, [&](auto visit) {
    using Visit = decltype(visit);
    const auto kernel = args.logits ? fill_gradients<Visit, true, T> : fill_gradients<Visit, false, T>;
    BACKMAP_LAUNCH(kernel, blocks_for(args.density.count(), Visit::teams), Visit::threads, stream, args);
  });
  check_launch("density_to_coordinates_backward");
}

template void density_to_coordinates(const MomentsArguments<float>&, void*);
template void density_to_coordinates(const MomentsArguments<double>&, void*);
template void density_to_coordinates_backward(const MomentsBackwardArguments<float>&, void*);
template void density_to_coordinates_backward(const MomentsBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
