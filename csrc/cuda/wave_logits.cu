// Logits of classes, from layers that depend on waves. A block per draw; its threads share features, then classes.
#include <algorithm>

#include "core/activation.h"
#include "cuda/launch.h"
#include "kernels/wave_logits.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 64;

// Blocks take one draw after another, so that the working memory does not grow with their number.
constexpr int64_t most_blocks = 8192;

inline int64_t block_count(int64_t rows) { return std::min(rows, most_blocks); }

template <typename T>
__global__ void classify(WaveLogitsArguments<T> args) {
  T* hidden = args.workspace + blockIdx.x * args.width;
  for (int64_t row = blockIdx.x; row < args.batch * args.draws; row += gridDim.x) {
    const int64_t site = row / args.draws, draw = row % args.draws;
    const T* wave = args.wave + site * args.wave_stride + draw * args.waves;
    const T* coefficient = args.coefficient + site * args.coefficient_stride;
    for (int64_t f = threadIdx.x; f < args.width; f += threads) {
      T sum = args.context[site * args.width + f];
      for (int64_t m = 0; m < args.waves; ++m) sum += wave[m] * coefficient[m * args.width + f];
      hidden[f] = silu(sum);
    }
    __syncthreads();
    for (int64_t k = threadIdx.x; k < args.classes; k += threads) {
      T sum = args.bias[k];
      for (int64_t f = 0; f < args.width; ++f) sum += args.weight[k * args.width + f] * hidden[f];
      args.logits[row * args.classes + k] = sum;
    }
    __syncthreads();  // the working memory is used again
  }
}

}  // namespace

template <typename T>
int64_t wave_logits_workspace(int64_t rows, int64_t width) {
  return block_count(rows) * width * int64_t(sizeof(T));
}

template <typename T>
void wave_logits(const WaveLogitsArguments<T>& args, void* stream) {
  const int64_t rows = args.batch * args.draws;
  if (rows == 0) return;
  BACKMAP_LAUNCH(classify<T>, block_count(rows), threads, stream, args);
  check_launch("wave_logits");
}

#define BACKMAP_INSTANTIATE(T)                                 \
  template int64_t wave_logits_workspace<T>(int64_t, int64_t); \
  template void wave_logits(const WaveLogitsArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
