// Basins of distributions on a circle, and steps of angles in time. One thread per row.
#include "core/basins.h"
#include "cuda/launch.h"
#include "kernels/basins.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 64;

// The working memory of a row: basins of all rows come first, so that both arrays are aligned.
template <typename Arguments>
__device__ int64_t* basin_of(const Arguments& args, int64_t r) {
  return reinterpret_cast<int64_t*>(args.workspace) + args.bins * r;
}

template <typename T, typename Arguments>
__device__ T* height_of(const Arguments& args, int64_t r) {
  return reinterpret_cast<T*>(basin_of(args, args.rows)) + args.bins * r;
}

template <typename T>
__global__ void find(FindBasinsArguments<T> args) {
  const int64_t r = thread_of_grid();
  if (r >= args.rows) return;
  backmap::find_basins(args.probability + args.bins * r, args.bins, args.passes, height_of<T>(args, r),
                       args.basin + args.bins * r);
}

template <typename T>
__global__ void step(StepAngleArguments<T> args) {
  const int64_t r = thread_of_grid();
  if (r >= args.rows) return;
  args.left[r] = backmap::step_angle(args.probability + args.bins * r, args.bins, args.passes, args.before[r],
                                     args.rate[r], args.window[r], args.uniform + step_draws * r, height_of<T>(args, r),
                                     basin_of(args, r), args.angle[r]);
}

}  // namespace

template <typename T>
int64_t basins_workspace(int64_t rows, int64_t bins) {
  return rows * bins * int64_t(sizeof(int64_t) + sizeof(T));
}

template <typename T>
void find_basins(const FindBasinsArguments<T>& args, void* stream) {
  if (args.rows == 0) return;
  BACKMAP_LAUNCH(find<T>, blocks_for(args.rows, threads), threads, stream, args);
  check_launch("find_basins");
}

template <typename T>
void step_angle(const StepAngleArguments<T>& args, void* stream) {
  if (args.rows == 0) return;
  BACKMAP_LAUNCH(step<T>, blocks_for(args.rows, threads), threads, stream, args);
  check_launch("step_angle");
}

#define BACKMAP_INSTANTIATE(T)                                     \
  template int64_t basins_workspace<T>(int64_t, int64_t);          \
  template void find_basins(const FindBasinsArguments<T>&, void*); \
  template void step_angle(const StepAngleArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
