// Neighbourhoods of sites, summarised by a network. A block per site; its threads share features, then queries.
#include <algorithm>

#include "core/activation.h"
#include "core/neighbourhood_features.h"
#include "cuda/launch.h"
#include "kernels/encode_neighbourhood.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

// Blocks take one site after another, so that the working memory does not grow with the number of sites.
constexpr int64_t most_blocks = 2048;

// Numbers, two layers of features, and scores of a site.
inline __host__ __device__ int64_t elements_of_block(int64_t neighbours, int64_t points, int64_t queries,
                                                     int64_t width) {
  return neighbours * (4 * points + 3 + 2 * width + queries);
}

inline int64_t block_count(int64_t batch) { return std::min(batch, most_blocks); }

template <typename T>
__global__ void encode(EncodeNeighbourhoodArguments<T> args) {
  const int64_t neighbours = args.neighbours, width = args.width, inputs = neighbour_numbers(args.points);
  const int64_t features_of_site = neighbours * width, scores_of_site = args.queries * neighbours;
  const T scale = T(1) / std::sqrt(T(width));
  T* numbers = args.workspace + blockIdx.x * elements_of_block(neighbours, args.points, args.queries, width);
  T *hidden = numbers + neighbours * inputs, *features = hidden + features_of_site,
    *scores = features + features_of_site;
  for (int64_t site = blockIdx.x; site < args.batch; site += gridDim.x) {
    const uint8_t *type = args.type + site * neighbours, *offset = args.offset + site * neighbours;
    for (int64_t k = threadIdx.x; k < neighbours; k += threads)
      describe_neighbour(args.position + (site * neighbours + k) * 3 * args.points, args.points, numbers + k * inputs);
    __syncthreads();
    for (int64_t i = threadIdx.x; i < features_of_site; i += threads) {
      const int64_t k = i / width, f = i % width;
      const int64_t own = type[k] < args.types ? type[k] : args.types - 1;
      const int64_t apart = offset[k] < args.offsets ? offset[k] : args.offsets - 1;
      T sum = args.position_bias[f] + args.type_embedding[own * width + f] + args.offset_embedding[apart * width + f];
      for (int64_t j = 0; j < inputs; ++j) sum += args.position_weight[f * inputs + j] * numbers[k * inputs + j];
      hidden[i] = silu(sum);
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < features_of_site; i += threads) {
      const int64_t k = i / width, f = i % width;
      T sum = args.inner_bias[f];
      for (int64_t j = 0; j < width; ++j) sum += args.inner_weight[f * width + j] * hidden[k * width + j];
      features[i] = silu(sum);
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < scores_of_site; i += threads) {
      const int64_t q = i / neighbours, k = i % neighbours;
      const T* query = args.query + (site * args.queries + q) * width;
      T sum = T(0);
      for (int64_t f = 0; f < width; ++f) sum += query[f] * features[k * width + f];
      scores[i] = type[k] >= args.types - 1 ? hidden_score<T> : scale * sum;
    }
    __syncthreads();
    for (int64_t q = threadIdx.x; q < args.queries; q += threads) {
      T *score = scores + q * neighbours, best = score[0], total = T(0);
      for (int64_t k = 1; k < neighbours; ++k) best = score[k] > best ? score[k] : best;
      for (int64_t k = 0; k < neighbours; ++k) total += score[k] = decaying_exponential(score[k] - best);
      for (int64_t k = 0; k < neighbours; ++k) score[k] /= total;
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < args.queries * width; i += threads) {
      const int64_t q = i / width, f = i % width;
      T sum = T(0);
      for (int64_t k = 0; k < neighbours; ++k) sum += scores[q * neighbours + k] * features[k * width + f];
      args.summary[site * args.queries * width + i] = sum;
    }
    __syncthreads();  // the working memory is used again
  }
}

}  // namespace

template <typename T>
int64_t encode_neighbourhood_workspace(int64_t batch, int64_t neighbours, int64_t points, int64_t queries,
                                       int64_t width) {
  return block_count(batch) * elements_of_block(neighbours, points, queries, width) * int64_t(sizeof(T));
}

template <typename T>
void encode_neighbourhood(const EncodeNeighbourhoodArguments<T>& args, void* stream) {
  if (args.batch == 0) return;
  BACKMAP_LAUNCH(encode<T>, block_count(args.batch), threads, stream, args);
  check_launch("encode_neighbourhood");
}

#define BACKMAP_INSTANTIATE(T)                                                                     \
  template int64_t encode_neighbourhood_workspace<T>(int64_t, int64_t, int64_t, int64_t, int64_t); \
  template void encode_neighbourhood(const EncodeNeighbourhoodArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
