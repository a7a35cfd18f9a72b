// Angles drawn along chains, each given the one before it. A block per chain; its threads share features, then classes.
#include <algorithm>
#include <cmath>

#include "core/activation.h"
#include "core/basins.h"
#include "core/softmax.h"
#include "cuda/joint_energy.h"
#include "cuda/launch.h"
#include "kernels/draw_angle_chains.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

// Blocks take one chain after another, so that the working memory does not grow with their number.
constexpr int64_t most_blocks = 8192;

inline int64_t block_count(int64_t items) { return std::min(items, most_blocks); }

template <typename T>
__device__ T drawn_or_known(const DrawAngleChainsArguments<T>& args, int64_t site, const T* uniform, T* value) {
  softmax(value, args.classes);
  const T drawn = draw_angle(args.classes, [&](int64_t k) { return value[k]; }, uniform);
  if (args.known == nullptr || std::isnan(args.known[site])) return drawn;
  return args.known[site];
}

// The waves of the middles of the classes stand behind the working memory of all blocks.
template <typename T>
__global__ void prepare(DrawAngleChainsArguments<T> args, T* wave) {
  const int64_t k = thread_of_grid();
  if (k >= args.classes) return;
  const double middle = angle_at(k, 0.5, args.classes);
  wave[k] = T(1), wave[args.classes + k] = T(std::cos(middle)), wave[2 * args.classes + k] = T(std::sin(middle));
}

template <typename T>
__global__ void clear(DrawAngleChainsArguments<T> args) {
  const int64_t n = thread_of_grid();
  if (n < args.samples * args.batch * args.residues) args.angle[n] = T(0);
}

template <typename T>
__global__ void walk(DrawAngleChainsArguments<T> args, const T* wave) {
  __shared__ T previous;
  T* hidden = args.workspace + blockIdx.x * (args.width + args.classes);
  T* value = hidden + args.width;
  for (int64_t n = blockIdx.x; n < args.chains * args.samples * args.batch; n += gridDim.x) {
    const ChainOfFrame item = chain_of_frame(args, n);
    __syncthreads();
    if (threadIdx.x == 0) previous = T(0);
    for (int64_t place = 0;; ++place) {
      const int64_t residue = residue_at(args, item.chain, place);
      if (residue < 0) break;
      const int64_t site = item.frame * args.residues + residue;
      const int64_t out = place_of(args, item, residue);
      __syncthreads();
      const T cosine = std::cos(previous), sine = std::sin(previous);
      const T *context = args.context + site * args.width, *constant = args.coefficient + 3 * site * args.width;
      for (int64_t f = threadIdx.x; f < args.width; f += threads)
        hidden[f] = silu(((context[f] + constant[f]) + cosine * constant[args.width + f]) +
                         sine * constant[2 * args.width + f]);
      __syncthreads();
      const int64_t kind = args.kind[site];
      const T* table = args.table + (kind < 0 || kind >= args.kinds ? 0 : kind) * args.cells * args.cells;
      for (int64_t k = threadIdx.x; k < args.classes; k += threads) {
        T sum = args.bias[k];
        for (int64_t f = 0; f < args.width; ++f) sum += args.weight[k * args.width + f] * hidden[f];
        const T energy = joint_energy(args.form + site * 3 * args.quantities * waves_of_angle, args.quantities, table,
                                      int32_t(args.cells), cosine, sine, wave, args.classes, k);
        value[k] = (sum + args.offset[site * args.classes + k]) - energy;
      }
      __syncthreads();
      if (threadIdx.x == 0) args.angle[out] = previous = drawn_or_known(args, site, args.uniform + 2 * out, value);
    }
  }
}

}  // namespace

template <typename T>
int64_t draw_angle_chains_workspace(int64_t items, int64_t width, int64_t classes) {
  return (block_count(items) * (width + classes) + 3 * classes) * int64_t(sizeof(T));
}

template <typename T>
void draw_angle_chains(const DrawAngleChainsArguments<T>& args, void* stream) {
  const int64_t items = args.chains * args.samples * args.batch, angles = args.samples * args.batch * args.residues;
  if (angles == 0) return;
  BACKMAP_LAUNCH(clear<T>, blocks_for(angles, threads), threads, stream, args);
  if (items > 0 && args.classes > 0) {
    T* wave = args.workspace + block_count(items) * (args.width + args.classes);
    BACKMAP_LAUNCH(prepare<T>, blocks_for(args.classes, threads), threads, stream, args, wave);
    BACKMAP_LAUNCH(walk<T>, block_count(items), threads, stream, args, wave);
  }
  check_launch("draw_angle_chains");
}

#define BACKMAP_INSTANTIATE(T)                                                \
  template int64_t draw_angle_chains_workspace<T>(int64_t, int64_t, int64_t); \
  template void draw_angle_chains(const DrawAngleChainsArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
