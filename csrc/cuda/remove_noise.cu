// Removal of noise from the points of residues. A block takes some residues through all steps; its threads share
// points, pairs and features, and each load of a weight serves all residues of the block.
#include <algorithm>

#include "core/activation.h"
#include "cuda/launch.h"
#include "kernels/remove_noise.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 256;

// Many residues share their loads of weights; few are spread over the processors instead.
constexpr int shared_rows = 8;
constexpr int64_t few_rows = 512;

// Blocks take one group of residues after another, so that the working memory does not grow with their number.
constexpr int64_t most_blocks = 1024;

// Network inputs, pairs of points, three layers of features, and outputs of a residue.
inline __host__ __device__ int64_t elements_of_row(int64_t points, int64_t hidden) {
  const int64_t pairs = pair_count(points);
  return (7 * points + pairs) + 3 * pairs + 3 * hidden + (3 * points + pairs);
}

inline int64_t rows_of_block(int64_t batch) { return batch <= few_rows ? 1 : shared_rows; }

inline int64_t block_count(int64_t batch) { return std::min(blocks_for(batch, rows_of_block(batch)), most_blocks); }

// Parts of the working memory, each for all residues of a block.
template <typename T>
struct Memory {
  T *input, *between, *hidden, *normed, *inner, *output;
};

template <int rows, typename T>
__device__ Memory<T> memory_of(const RemoveNoiseArguments<T>& args) {
  const int64_t pairs = pair_count(args.points);
  Memory<T> memory;
  memory.input = args.workspace + blockIdx.x * rows * elements_of_row(args.points, args.hidden);
  memory.between = memory.input + rows * (7 * args.points + pairs);
  memory.hidden = memory.between + rows * 3 * pairs;
  memory.normed = memory.hidden + rows * args.hidden;
  memory.inner = memory.normed + rows * args.hidden;
  memory.output = memory.inner + rows * args.hidden;
  return memory;
}

// The product of the weights of one feature with the inputs of `count` rows, added to `sum`.
template <int rows, typename T>
__device__ void add_products(const T* input, int64_t inputs, int64_t count, const T* panels, int64_t feature,
                             T (&sum)[rows]) {
  const T* weight = panels + panel_offset(feature, inputs);
  for (int64_t i = 0; i < inputs; ++i) {
    const T factor = weight[i * panel_width];
    for (int r = 0; r < rows; ++r)
      if (r < count) sum[r] += factor * input[r * inputs + i];
  }
}

template <typename T>
__device__ void start(const RemoveNoiseArguments<T>& args, int64_t first, int64_t count) {
  const int64_t coordinates = 3 * args.points;
  for (int64_t i = threadIdx.x; i < count * coordinates; i += threads) {
    const int64_t row = first + i / coordinates, c = i % coordinates;
    args.point[row * coordinates + c] = args.generated[row * args.points + c / 3]
                                            ? args.normal[row * args.noise_rows * coordinates + c]
                                            : args.given[row * coordinates + c];
  }
}

template <typename T>
__device__ void describe(const RemoveNoiseArguments<T>& args, int64_t first, int64_t count, const NoiseLevel<T>& level,
                         const Memory<T>& memory) {
  const int64_t points = args.points, coordinates = 3 * points, pairs = pair_count(points);
  const int64_t inputs = 7 * points + pairs;
  for (int64_t i = threadIdx.x; i < count * points; i += threads) {
    const int64_t r = i / points, p = i % points, row = first + r;
    const T *point = args.point + row * coordinates + 3 * p, *atom = args.atom + row * 3 * args.atoms;
    T *input = memory.input + r * inputs, *contact = input + coordinates + pairs;
    T here[3], push[3] = {T(0), T(0), T(0)}, total = T(0);
    for (int k = 0; k < 3; ++k) {
      input[3 * p + k] = point[k] * level.scale_in;
      here[k] = point[k] * level.contact_scale;
    }
    for (int64_t n = 0; n < args.atoms; ++n) {
      T apart[3];
      for (int k = 0; k < 3; ++k) apart[k] = atom[k * args.atoms + n] - here[k];
      const T weight =
          decaying_exponential(T(-0.5) * (apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2]));
      for (int k = 0; k < 3; ++k) push[k] += weight * apart[k];
      total += weight;
    }
    for (int k = 0; k < 3; ++k) contact[3 * p + k] = push[k];
    contact[coordinates + p] = total;
  }
  __syncthreads();
  // Pairs of a first point with all later ones are consecutive.
  for (int64_t i = threadIdx.x; i < count * points; i += threads) {
    const int64_t r = i / points, p = i % points, row = first + r;
    T *input = memory.input + r * inputs, *between = memory.between + r * 3 * pairs;
    const T *mean = args.pair + row * pair_numbers * pairs, *variance = mean + pairs, *exists = mean + 3 * pairs;
    int64_t e = p * points - p * (p + 1) / 2;
    for (int64_t other = p + 1; other < points; ++other, ++e) {
      T square = T(0);
      for (int k = 0; k < 3; ++k) {
        const T apart = input[3 * p + k] - input[3 * other + k];
        between[k * pairs + e] = apart;
        square += apart * apart;
      }
      input[coordinates + e] = pair_deviation(square, level, mean[e], variance[e], args.furthest) * exists[e];
    }
  }
  __syncthreads();
}

// Mean zero and variance one of the features of each row.
template <typename T>
__device__ void normalise(const T* hidden, int64_t width, int64_t count, T* normed) {
  for (int64_t r = 0; r < count; ++r) {
    const T* from = hidden + r * width;
    T sum = T(0), square = T(0);
    for (int64_t f = threadIdx.x; f < width; f += threads) sum += from[f];
    const T mean = block_sum(sum) / T(width);
    for (int64_t f = threadIdx.x; f < width; f += threads) square += (from[f] - mean) * (from[f] - mean);
    const T scale = T(1) / std::sqrt(block_sum(square) / T(width) + least_variance<T>);
    for (int64_t f = threadIdx.x; f < width; f += threads) normed[r * width + f] = (from[f] - mean) * scale;
  }
  __syncthreads();
}

template <int rows, typename T>
__device__ void apply_network(const RemoveNoiseArguments<T>& args, int64_t first, int64_t count, int64_t step,
                              const Memory<T>& memory) {
  const int64_t width = args.hidden, pairs = pair_count(args.points), inputs = 7 * args.points + pairs,
                outputs = 3 * args.points + pairs;
  for (int64_t f = threadIdx.x; f < width; f += threads) {
    T sum[rows];
    for (int r = 0; r < rows; ++r)
      sum[r] = r < count ? args.features[(first + r) * width + f] + args.step_features[step * width + f] : T(0);
    add_products<rows>(memory.input, inputs, count, args.entry, f, sum);
    for (int r = 0; r < rows; ++r)
      if (r < count) memory.hidden[r * width + f] = sum[r];
  }
  __syncthreads();
  for (int64_t l = 0; l < args.layers; ++l) {
    const T *enter = args.layer + 2 * l * panel_numbers(width, width), *bias = args.layer_bias + 2 * l * width;
    const T* of_step = args.step_modulation + (step * args.layers + l) * 2 * width;
    normalise(memory.hidden, width, count, memory.normed);
    for (int64_t f = threadIdx.x; f < width; f += threads) {
      T sum[rows];
      for (int r = 0; r < rows; ++r) sum[r] = bias[f];
      add_products<rows>(memory.normed, width, count, enter, f, sum);
      for (int r = 0; r < rows; ++r) {
        if (r >= count) continue;
        const T* own = args.modulation + ((first + r) * args.layers + l) * 2 * width;
        memory.inner[r * width + f] =
            silu(sum[r] * (T(1) + (own[f] + of_step[f])) + (own[width + f] + of_step[width + f]));
      }
    }
    __syncthreads();
    for (int64_t f = threadIdx.x; f < width; f += threads) {
      T sum[rows];
      for (int r = 0; r < rows; ++r) sum[r] = r < count ? memory.hidden[r * width + f] + bias[width + f] : T(0);
      add_products<rows>(memory.inner, width, count, enter + panel_numbers(width, width), f, sum);
      for (int r = 0; r < rows; ++r)
        if (r < count) memory.hidden[r * width + f] = sum[r];
    }
    __syncthreads();
  }
  for (int64_t f = threadIdx.x; f < outputs; f += threads) {
    T sum[rows];
    for (int r = 0; r < rows; ++r) sum[r] = args.leave_bias[f];
    add_products<rows>(memory.hidden, width, count, args.leave, f, sum);
    for (int r = 0; r < rows; ++r)
      if (r < count) memory.output[r * outputs + f] = sum[r];
  }
  __syncthreads();
}

template <typename T>
__device__ void move(const RemoveNoiseArguments<T>& args, int64_t first, int64_t count, int64_t step,
                     const NoiseLevel<T>& level, const Memory<T>& memory) {
  const int64_t points = args.points, coordinates = 3 * points, pairs = pair_count(points);
  for (int64_t i = threadIdx.x; i < count * pairs; i += threads) {
    const int64_t r = i / pairs, e = i % pairs;
    const T *gain = args.pair + ((first + r) * pair_numbers + 2) * pairs, *exists = gain + pairs;
    T* pull = memory.output + r * (coordinates + pairs) + coordinates + e;
    *pull = (*pull + gain[e] * memory.input[r * (7 * points + pairs) + coordinates + e]) * exists[e];
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < count * coordinates; i += threads) {
    const int64_t r = i / coordinates, c = i % coordinates, p = c / 3, row = first + r;
    if (!args.generated[row * points + p]) continue;
    const T *pull = memory.output + r * (coordinates + pairs) + coordinates,
            *between = memory.between + (r * 3 + c % 3) * pairs;
    T sum = memory.output[r * (coordinates + pairs) + c];
    for (int64_t other = 0; other < points; ++other) {
      if (other == p) continue;
      const int64_t low = other < p ? other : p, high = other < p ? p : other;
      const int64_t e = low * points - low * (low + 1) / 2 + high - low - 1;
      sum += (p == low ? pull[e] : -pull[e]) * between[e];
    }
    const T* fresh = fresh_normals(args, row, step);
    T* point = args.point + row * coordinates + c;
    *point = moved_coordinate(*point, sum, args.empty[row * points + p], level, args.clip,
                              args.move + step * move_numbers, fresh ? fresh[c] : T(0));
  }
  __syncthreads();
}

template <int rows, typename T>
__global__ void remove(RemoveNoiseArguments<T> args) {
  const Memory<T> memory = memory_of<rows>(args);
  for (int64_t first = int64_t(blockIdx.x) * rows; first < args.batch; first += int64_t(gridDim.x) * rows) {
    const int64_t left = args.batch - first, count = left < rows ? left : rows;
    start(args, first, count);
    __syncthreads();
    for (int64_t step = 0; step < args.steps; ++step) {
      const NoiseLevel<T> level = noise_level(args.level, step);
      describe(args, first, count, level, memory);
      apply_network<rows>(args, first, count, step, memory);
      move(args, first, count, step, level, memory);
    }
  }
}

}  // namespace

template <typename T>
int64_t remove_noise_workspace(int64_t batch, int64_t points, int64_t hidden) {
  return block_count(batch) * rows_of_block(batch) * elements_of_row(points, hidden) * int64_t(sizeof(T));
}

template <typename T>
void remove_noise(const RemoveNoiseArguments<T>& args, void* stream) {
  if (args.batch == 0) return;
  const int64_t blocks = block_count(args.batch);
  if (rows_of_block(args.batch) == 1) BACKMAP_LAUNCH((remove<1, T>), blocks, threads, stream, args);
  else BACKMAP_LAUNCH((remove<shared_rows, T>), blocks, threads, stream, args);
  check_launch("remove_noise");
}

#define BACKMAP_INSTANTIATE(T)                                           \
  template int64_t remove_noise_workspace<T>(int64_t, int64_t, int64_t); \
  template void remove_noise(const RemoveNoiseArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
