// Energy of beads by SchNet, with its gradient: one block of threads per frame at a time.
//
// Each thread computes features of its own from all that they depend on, so that no sum is atomic.
#include <algorithm>

#include "core/bead_distance.h"
#include "cuda/launch.h"
#include "kernels/schnet_energy.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;
constexpr int64_t most_blocks = 4096;  // frames with working memory at once

// ---- Working memory ----------------------------------------------------------------------------

// Layers are stored with one row per output; forward, the threads of a warp read the same column of different rows,
// which lie side by side in the transposes.
template <typename T>
struct Transposes {
  T *incoming, *mixing, *outgoing, *readout;
};

// What the block of a frame writes to.
template <typename T>
struct FrameMemory {
  T *feature, *gathered, *activated;  // (beads, width)
  T *incoming, *slope;                // (blocks, beads, width)
  T *hidden, *hidden_slope;           // (beads, hidden)
  T *grad_feature, *grad_a, *grad_b;  // (beads, width)
  T *beyond, *pair_slope;             // (beads, beads)
  int32_t* knot;                      // (beads, beads), -1 beyond the cutoff
};

BACKMAP_HD int64_t transposed_numbers(int64_t width, int64_t hidden, int64_t blocks) {
  return width * (3 * blocks * width + hidden);
}

BACKMAP_HD int64_t frame_numbers(int64_t beads, int64_t width, int64_t hidden, int64_t blocks) {
  return beads * ((6 + 2 * blocks) * width + 2 * hidden + 2 * beads);
}

inline int64_t frames_at_once(int64_t batch) { return std::min(batch, most_blocks); }

template <typename T>
BACKMAP_HD Transposes<T> transposes_in(const SchNetArguments<T>& a) {
  T* memory = static_cast<T*>(a.workspace);
  const int64_t size = a.blocks * a.width * a.width;
  return {memory, memory + size, memory + 2 * size, memory + 3 * size};
}

template <typename T>
__device__ FrameMemory<T> memory_of_block(const SchNetArguments<T>& a) {
  const int64_t rows = a.beads * a.width, read = a.beads * a.hidden, pairs = a.beads * a.beads;
  const int64_t size = frame_numbers(a.beads, a.width, a.hidden, a.blocks);
  T* const base = static_cast<T*>(a.workspace) + transposed_numbers(a.width, a.hidden, a.blocks);
  T* next = base + size * blockIdx.x;
  const auto take = [&next](int64_t numbers) {
    T* const taken = next;
    next += numbers;
    return taken;
  };
  FrameMemory<T> m;
  m.feature = take(rows), m.gathered = take(rows), m.activated = take(rows);
  m.incoming = take(a.blocks * rows), m.slope = take(a.blocks * rows);
  m.hidden = take(read), m.hidden_slope = take(read);
  m.grad_feature = take(rows), m.grad_a = take(rows), m.grad_b = take(rows);
  m.beyond = take(pairs), m.pair_slope = take(pairs);
  m.knot = reinterpret_cast<int32_t*>(base + size * gridDim.x) + pairs * blockIdx.x;
  return m;
}

template <typename T>
__device__ void transpose(const T* from, int64_t n, int64_t matrices, int64_t rows, int64_t columns, T* to) {
  const int64_t size = rows * columns;
  if (n >= matrices * size) return;
  const int64_t matrix = n / size, row = n % size / columns, column = n % columns;
  to[matrix * size + column * rows + row] = from[n];
}

template <typename T>
__global__ void transpose_layers(SchNetArguments<T> a) {
  const int64_t n = thread_of_grid();
  const Transposes<T> to = transposes_in(a);
  transpose(a.incoming, n, a.blocks, a.width, a.width, to.incoming);
  transpose(a.mixing, n, a.blocks, a.width, a.width, to.mixing);
  transpose(a.outgoing, n, a.blocks, a.width, a.width, to.outgoing);
  transpose(a.readout, n, 1, a.hidden, a.width, to.readout);
}

// ---- Parts of the network ----------------------------------------------------------------------

// Calls set(n, sum) with each number of the product of x (rows, inputs) and a matrix (inputs, outputs).
template <typename T, typename Set>
__device__ void multiply(const T* x, const T* matrix, int64_t rows, int64_t inputs, int64_t outputs, const Set& set) {
  for (int64_t n = threadIdx.x; n < rows * outputs; n += threads) {
    const T *row = x + n / outputs * inputs, *column = matrix + n % outputs;
    T sum = T(0);
    for (int64_t k = 0; k < inputs; ++k) sum += row[k] * column[k * outputs];
    set(n, sum);
  }
  __syncthreads();
}

template <typename T>
__device__ T filter_at(const T* filter, int64_t width, const HermiteWeights<T>& w) {
  return (w.value_below * filter[0] + w.slope_below * filter[width]) +
         (w.value_above * filter[2 * width] + w.slope_above * filter[3 * width]);
}

// Finds where each pair lies among the knots.
template <typename T>
__device__ void place_pairs(const SchNetArguments<T>& a, const T* position, const FrameMemory<T>& m) {
  for (int64_t n = threadIdx.x; n < a.beads * a.beads; n += threads) {
    const int64_t i = n / a.beads, j = n % a.beads;
    const T distance = std::sqrt(softened_square(load(position + 3 * i) - load(position + 3 * j)));
    const bool near = i != j && distance < a.knots.cutoff;
    const FilterPlace<T> place = near ? place_among(a.knots, distance) : FilterPlace<T>{-1, T(0)};
    m.knot[n] = int32_t(place.knot);
    m.beyond[n] = place.beyond;
    m.pair_slope[n] = T(0);
  }
  __syncthreads();
}

// Sums the rows of x of the beads near each bead, each times its filter.
template <typename T>
__device__ void convolve(const SchNetArguments<T>& a, const FrameMemory<T>& m, const T* filters, const T* x, T* sums) {
  for (int64_t n = threadIdx.x; n < a.beads * a.width; n += threads) {
    const int64_t i = n / a.width, f = n % a.width;
    T sum = T(0);
    for (int64_t j = 0; j < a.beads; ++j) {
      const int64_t pair = i * a.beads + j;
      if (m.knot[pair] < 0) continue;
      const T* filter = filters + 2 * a.width * m.knot[pair] + f;
      sum += filter_at(filter, a.width, hermite_value(m.beyond[pair], a.knots.spacing)) * x[j * a.width + f];
    }
    sums[n] = sum;
  }
  __syncthreads();
}

// Adds the derivative of the energy by the distance of each pair with i < j; one warp per pair.
template <typename T>
__device__ void add_pair_slopes(const SchNetArguments<T>& a, const FrameMemory<T>& m, const T* filters, const T* x,
                                const T* grad_sums) {
  const int lane = threadIdx.x % warp_size;
  for (int64_t pair = threadIdx.x / warp_size; pair < a.beads * a.beads; pair += threads / warp_size) {
    const int64_t i = pair / a.beads, j = pair % a.beads;
    if (i >= j || m.knot[pair] < 0) continue;
    const HermiteWeights<T> weights = hermite_slope(m.beyond[pair], a.knots.inverse_spacing);
    T sum = T(0);
    for (int64_t f = lane; f < a.width; f += warp_size) {
      const T slope = filter_at(filters + 2 * a.width * m.knot[pair] + f, a.width, weights);
      sum +=
          slope * (grad_sums[i * a.width + f] * x[j * a.width + f] + grad_sums[j * a.width + f] * x[i * a.width + f]);
    }
    sum = warp_sum(sum);
    if (lane == 0) m.pair_slope[pair] += sum, m.pair_slope[j * a.beads + i] += sum;
  }
  __syncthreads();
}

// ---- The network -------------------------------------------------------------------------------

template <typename T>
__device__ void pass_forward(const SchNetArguments<T>& a, const FrameMemory<T>& m) {
  const int64_t rows = a.beads * a.width, square = a.width * a.width;
  const Transposes<T> layers = transposes_in(a);
  for (int64_t n = threadIdx.x; n < rows; n += threads) m.feature[n] = a.feature[n];
  __syncthreads();
  for (int64_t b = 0; b < a.blocks; ++b) {
    T *incoming = m.incoming + b * rows, *slope = m.slope + b * rows;
    const T *mixing_bias = a.mixing_bias + b * a.width, *outgoing_bias = a.outgoing_bias + b * a.width;
    multiply(m.feature, layers.incoming + b * square, a.beads, a.width, a.width,
             [&](int64_t n, T sum) { incoming[n] = sum; });
    convolve(a, m, a.filter + 2 * b * a.knots.count * a.width, incoming, m.gathered);
    multiply(m.gathered, layers.mixing + b * square, a.beads, a.width, a.width,
             [&](int64_t n, T sum) { m.activated[n] = shifted_softplus(sum + mixing_bias[n % a.width], slope[n]); });
    multiply(m.activated, layers.outgoing + b * square, a.beads, a.width, a.width,
             [&](int64_t n, T sum) { m.feature[n] += sum + outgoing_bias[n % a.width]; });
  }
  multiply(m.feature, layers.readout, a.beads, a.width, a.hidden, [&](int64_t n, T sum) {
    const int64_t h = n % a.hidden;
    T slope;
    m.hidden[n] = a.readout_weight[h] * shifted_softplus(sum + a.readout_bias[h], slope);
    m.hidden_slope[n] = a.readout_weight[h] * slope;
  });
}

template <typename T>
__device__ void pass_back(const SchNetArguments<T>& a, const FrameMemory<T>& m) {
  const int64_t rows = a.beads * a.width, square = a.width * a.width;
  multiply(m.hidden_slope, a.readout, a.beads, a.hidden, a.width, [&](int64_t n, T sum) { m.grad_feature[n] = sum; });
  for (int64_t b = a.blocks - 1; b >= 0; --b) {
    const T *incoming = m.incoming + b * rows, *slope = m.slope + b * rows;
    const T* filters = a.filter + 2 * b * a.knots.count * a.width;
    multiply(m.grad_feature, a.outgoing + b * square, a.beads, a.width, a.width,
             [&](int64_t n, T sum) { m.grad_a[n] = sum * slope[n]; });
    multiply(m.grad_a, a.mixing + b * square, a.beads, a.width, a.width, [&](int64_t n, T sum) { m.grad_b[n] = sum; });
    add_pair_slopes(a, m, filters, incoming, m.grad_b);
    if (b == 0) break;
    convolve(a, m, filters, m.grad_b, m.grad_a);
    multiply(m.grad_a, a.incoming + b * square, a.beads, a.width, a.width,
             [&](int64_t n, T sum) { m.grad_feature[n] += sum; });
  }
}

template <typename T>
__global__ void evaluate(SchNetArguments<T> a) {
  const FrameMemory<T> m = memory_of_block(a);
  for (int64_t frame = blockIdx.x; frame < a.batch; frame += gridDim.x) {
    const T* position = a.position + 3 * a.beads * frame;
    T* gradient = a.gradient + 3 * a.beads * frame;
    place_pairs(a, position, m);
    pass_forward(a, m);
    pass_back(a, m);
    double energy = 0;
    int broken = 0;
    for (int64_t n = threadIdx.x; n < a.beads * a.hidden; n += threads) energy += double(m.hidden[n]);
    for (int64_t i = threadIdx.x; i < a.beads; i += threads) broken += !is_finite(load(position + 3 * i));
    energy = block_sum(energy);
    const T nothing = block_sum(broken) > 0 ? T(NAN) : T(0);  // a frame that is not finite gives NaN
    if (threadIdx.x == 0) a.energy[frame] = T(energy) + nothing;
    for (int64_t i = threadIdx.x; i < a.beads; i += threads) {
      const Vec3<T> own = load(position + 3 * i);
      Vec3<T> sum{nothing, nothing, nothing};
      for (int64_t j = 0; j < a.beads; ++j) {
        if (m.knot[i * a.beads + j] < 0) continue;
        const Vec3<T> apart = own - load(position + 3 * j);
        sum += (m.pair_slope[i * a.beads + j] / std::sqrt(softened_square(apart))) * apart;
      }
      store(gradient + 3 * i, sum);
    }
    __syncthreads();
  }
}

}  // namespace

template <typename T>
int64_t schnet_workspace(int64_t batch, int64_t beads, int64_t width, int64_t hidden, int64_t blocks) {
  const int64_t numbers =
      transposed_numbers(width, hidden, blocks) + frames_at_once(batch) * frame_numbers(beads, width, hidden, blocks);
  return numbers * int64_t(sizeof(T)) + frames_at_once(batch) * beads * beads * int64_t(sizeof(int32_t));
}

template <typename T>
void schnet_energy(const SchNetArguments<T>& args, void* stream) {
  if (args.batch == 0) return;
  const int64_t weights = args.width * std::max(args.blocks * args.width, args.hidden);
  if (weights > 0) BACKMAP_LAUNCH(transpose_layers<T>, blocks_for(weights, threads), threads, stream, args);
  BACKMAP_LAUNCH(evaluate<T>, frames_at_once(args.batch), threads, stream, args);
  check_launch("schnet_energy");
}

template int64_t schnet_workspace<float>(int64_t, int64_t, int64_t, int64_t, int64_t);
template int64_t schnet_workspace<double>(int64_t, int64_t, int64_t, int64_t, int64_t);
template void schnet_energy(const SchNetArguments<float>&, void*);
template void schnet_energy(const SchNetArguments<double>&, void*);

}  // namespace backmap::cuda
