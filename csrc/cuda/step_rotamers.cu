// Steps of side-chain torsions in time. One thread per residue.
#include "cuda/launch.h"
#include "kernels/step_rotamers.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 64;

// Basins of all residues come first, so that all arrays are aligned.
template <typename T>
__device__ RotamerMemory<T> memory_of(const StepRotamersArguments<T>& args, int64_t r) {
  int64_t* basins = reinterpret_cast<int64_t*>(args.workspace);
  T* values = reinterpret_cast<T*>(basins + args.bins * args.batch) + (args.width + 2 * args.bins) * r;
  return {values, values + args.width, values + args.width + args.bins, basins + args.bins * r};
}

template <typename T>
__global__ void step(StepRotamersArguments<T> args) {
  const int64_t r = thread_of_grid();
  if (r >= args.batch) return;
  args.first[r] =
      step_rotamer(network_of(args), args.passes, step_of(args, r), memory_of(args, r), args.after + r * args.torsions);
}

}  // namespace

template <typename T>
int64_t step_rotamers_workspace(int64_t rows, int64_t width, int64_t bins) {
  return rows * (bins * int64_t(sizeof(int64_t)) + (width + 2 * bins) * int64_t(sizeof(T)));
}

template <typename T>
void step_rotamers(const StepRotamersArguments<T>& args, void* stream) {
  if (args.batch == 0) return;
  BACKMAP_LAUNCH(step<T>, blocks_for(args.batch, threads), threads, stream, args);
  check_launch("step_rotamers");
}

#define BACKMAP_INSTANTIATE(T)                                            \
  template int64_t step_rotamers_workspace<T>(int64_t, int64_t, int64_t); \
  template void step_rotamers(const StepRotamersArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
