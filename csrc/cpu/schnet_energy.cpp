// Energy of beads by SchNet, with its gradient. Threads share frames.
//
// The features of a bead lie side by side in lanes, padded with zeros to panels. The beads of several frames pass
// through the layers together, as the rows of one matrix.
#include "kernels/schnet_energy.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/bead_distance.h"
#include "core/round_up.h"
#include "cpu/clones.h"
#include "cpu/lanes.h"
#include "cpu/layers.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t rows_at_once = 96;  // so many that weights are reused, so few that they stay in the cache

// ---- Layers ------------------------------------------------------------------------------------

int64_t padded(int64_t size) { return round_up(size, panel_width); }

// Rows of inputs times weights in panels, added to rows, which may be one for all or the result itself.
template <typename T>
struct Product {
  int64_t rows, inputs, width;
  Rows<const T> input;
  const T* panels;
  Rows<const T> start;
  Rows<T> out;
};

template <typename T>
BACKMAP_HD void multiply_all(const Product<T>& p) {
  apply_layer(p.input, p.rows, p.inputs, p.panels, p.width, p.start, p.out);
}

BACKMAP_CLONES void multiply(const Product<float>& p) { multiply_all(p); }
BACKMAP_CLONES void multiply(const Product<double>& p) { multiply_all(p); }

// A dense layer: weights (outputs, inputs) in panels, and transposed.
template <typename T>
class Layer {
 public:
  Layer(const T* weights, const T* bias, int64_t outputs, int64_t inputs)
      : inputs_(inputs),
        outputs_(outputs),
        forward_(panel_numbers(outputs, inputs)),
        backward_(panel_numbers(inputs, outputs)),
        bias_(padded(outputs)),
        nothing_(padded(inputs)) {
    for (int64_t o = 0; o < outputs; ++o) {
      const T* row = weights + o * inputs;
      T* to = forward_.data() + panel_offset(o, inputs);
      for (int64_t i = 0; i < inputs; ++i) to[i * panel_width] = row[i];
      for (int64_t i = 0; i < inputs; i += panel_width)
        std::copy_n(row + i, std::min(panel_width, inputs - i),
                    backward_.data() + panel_offset(i, outputs) + o * panel_width);
    }
    if (bias != nullptr) std::copy_n(bias, outputs, bias_.begin());
  }

  // Rows x (inputs) to rows y (outputs).
  void apply(int64_t rows, const T* x, T* y) const { forward(rows, x, {bias_.data(), 0}, y); }

  // The same, added to what y has.
  void add(int64_t rows, const T* x, T* y) const {
    const int64_t width = padded(outputs_);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t f = 0; f < outputs_; ++f) y[r * width + f] += bias_[f];
    forward(rows, x, {y, width}, y);
  }

  // Gradients by the outputs to gradients by the inputs, or added to those that x has.
  void pull_back(int64_t rows, const T* y, T* x, bool add = false) const {
    const int64_t width = padded(inputs_);
    const Rows<const T> start = add ? Rows<const T>{x, width} : Rows<const T>{nothing_.data(), 0};
    multiply(Product<T>{rows, outputs_, inputs_, {y, padded(outputs_)}, backward_.data(), start, {x, width}});
  }

 private:
  void forward(int64_t rows, const T* x, Rows<const T> start, T* y) const {
    multiply(Product<T>{rows, inputs_, outputs_, {x, padded(inputs_)}, forward_.data(), start, {y, padded(outputs_)}});
  }

  int64_t inputs_, outputs_;
  std::vector<T> forward_, backward_, bias_, nothing_;
};

// ---- Activation --------------------------------------------------------------------------------

template <typename T>
BACKMAP_HD void activate_all(T* values, T* slopes, int64_t count) {
  constexpr int64_t lanes = lane_count<T>;
  for (int64_t first = 0; first < count; first += lanes)
    for (int64_t n = first; n < first + lanes; ++n) values[n] = shifted_softplus(values[n], slopes[n]);
}

// Replaces whole lanes of values by their activations, and finds their slopes.
BACKMAP_CLONES void activate(float* __restrict values, float* __restrict slopes, int64_t count) {
  activate_all(values, slopes, count);
}
BACKMAP_CLONES void activate(double* __restrict values, double* __restrict slopes, int64_t count) {
  activate_all(values, slopes, count);
}

// ---- Convolutions ------------------------------------------------------------------------------

// Two beads within the cutoff, and the derivative of the energy by their distance.
template <typename T>
struct NearPair {
  int32_t first, second;
  Vec3<T> direction;  // derivative of the distance by the first position
  FilterPlace<T> place;
  T slope;
};

// The filters of one block for the near pairs of a frame.
template <typename T>
struct Convolution {
  FilterKnots<T> knots;
  int64_t width;
  const T* filter;
  NearPair<T>* pairs;
  int64_t count;
};

template <typename T>
struct LanesOfWeights {
  Lanes<T> value_below, slope_below, value_above, slope_above;

  explicit BACKMAP_HD LanesOfWeights(const HermiteWeights<T>& weights)
      : value_below(broadcast(weights.value_below)),
        slope_below(broadcast(weights.slope_below)),
        value_above(broadcast(weights.value_above)),
        slope_above(broadcast(weights.slope_above)) {}

  // Of values and derivatives at two successive knots.
  BACKMAP_HD Lanes<T> of(const Lanes<T>& value_0, const Lanes<T>& slope_0, const Lanes<T>& value_1,
                         const Lanes<T>& slope_1) const {
    return (value_below * value_0 + slope_below * slope_0) + (value_above * value_1 + slope_above * slope_1);
  }
};

// Adds to each row of `gathered` the features of the near beads, each times its filter.
template <typename T>
BACKMAP_HD void gather_all(const Convolution<T>& c, const T* features, T* gathered) {
  constexpr int64_t lanes = lane_count<T>;
  for (int64_t n = 0; n < c.count; ++n) {
    const NearPair<T>& pair = c.pairs[n];
    const LanesOfWeights<T> weights(hermite_value(pair.place.beyond, c.knots.spacing));
    const T* knot = c.filter + 2 * c.width * pair.place.knot;
    const int64_t first = c.width * pair.first, second = c.width * pair.second;
    for (int64_t f = 0; f < c.width; f += lanes) {
      const Lanes<T> filter = weights.of(load_lanes(knot + f), load_lanes(knot + c.width + f),
                                         load_lanes(knot + 2 * c.width + f), load_lanes(knot + 3 * c.width + f));
      store_lanes(gathered + first + f, load_lanes(gathered + first + f) + filter * load_lanes(features + second + f));
      store_lanes(gathered + second + f, load_lanes(gathered + second + f) + filter * load_lanes(features + first + f));
    }
  }
}

BACKMAP_CLONES void gather(const Convolution<float>& c, const float* features, float* gathered) {
  gather_all(c, features, gathered);
}
BACKMAP_CLONES void gather(const Convolution<double>& c, const double* features, double* gathered) {
  gather_all(c, features, gathered);
}

// The reverse: from gradients by gathered features, adds those by features and by distances.
template <typename T>
BACKMAP_HD void scatter_all(const Convolution<T>& c, const T* features, const T* grad_gathered, T* grad_features) {
  constexpr int64_t lanes = lane_count<T>;
  for (int64_t n = 0; n < c.count; ++n) {
    NearPair<T>& pair = c.pairs[n];
    const LanesOfWeights<T> value_weights(hermite_value(pair.place.beyond, c.knots.spacing));
    const LanesOfWeights<T> slope_weights(hermite_slope(pair.place.beyond, c.knots.inverse_spacing));
    const T* knot = c.filter + 2 * c.width * pair.place.knot;
    const int64_t first = c.width * pair.first, second = c.width * pair.second;
    Lanes<T> slopes = broadcast(T(0));
    for (int64_t f = 0; f < c.width; f += lanes) {
      const Lanes<T> value_0 = load_lanes(knot + f), slope_0 = load_lanes(knot + c.width + f),
                     value_1 = load_lanes(knot + 2 * c.width + f), slope_1 = load_lanes(knot + 3 * c.width + f);
      const Lanes<T> grad_first = load_lanes(grad_gathered + first + f),
                     grad_second = load_lanes(grad_gathered + second + f);
      slopes += slope_weights.of(value_0, slope_0, value_1, slope_1) *
                (grad_first * load_lanes(features + second + f) + grad_second * load_lanes(features + first + f));
      const Lanes<T> filter = value_weights.of(value_0, slope_0, value_1, slope_1);
      store_lanes(grad_features + first + f, load_lanes(grad_features + first + f) + filter * grad_second);
      store_lanes(grad_features + second + f, load_lanes(grad_features + second + f) + filter * grad_first);
    }
    pair.slope += sum_of_lanes<T>(slopes);
  }
}

BACKMAP_CLONES void scatter(const Convolution<float>& c, const float* features, const float* grad_gathered,
                            float* grad_features) {
  scatter_all(c, features, grad_gathered, grad_features);
}
BACKMAP_CLONES void scatter(const Convolution<double>& c, const double* features, const double* grad_gathered,
                            double* grad_features) {
  scatter_all(c, features, grad_gathered, grad_features);
}

// ---- The network -------------------------------------------------------------------------------

template <typename T>
struct Block {
  const T* filter;
  Layer<T> incoming, mixing, outgoing;
};

// The weights in the form that the loops read, for all threads.
template <typename T>
struct Network {
  int64_t width, hidden;       // in whole panels
  std::vector<T> own_filters;  // only if filters do not fill whole panels
  std::vector<Block<T>> blocks;
  Layer<T> readout;
  std::vector<T> readout_weight;
  std::vector<T> feature;         // (beads, width)
  std::vector<T> first_incoming;  // (beads, width): the same in all frames

  explicit Network(const SchNetArguments<T>& args)
      : width(padded(args.width)),
        hidden(padded(args.hidden)),
        readout(args.readout, args.readout_bias, args.hidden, args.width),
        readout_weight(padded_rows(args.readout_weight, 1, args.hidden)),
        feature(padded_rows(args.feature, args.beads, args.width)),
        first_incoming(args.beads * width) {
    const int64_t rows = 2 * args.knots.count, square = args.width * args.width;
    if (width != args.width) own_filters = padded_rows(args.filter, args.blocks * rows, args.width);
    const T* filters = width != args.width ? own_filters.data() : args.filter;
    for (int64_t b = 0; b < args.blocks; ++b) {
      const auto layer = [&](const T* weights, const T* biases) {
        const T* bias = biases != nullptr ? biases + b * args.width : nullptr;
        return Layer<T>(weights + b * square, bias, args.width, args.width);
      };
      blocks.push_back({filters + b * rows * width, layer(args.incoming, nullptr), layer(args.mixing, args.mixing_bias),
                        layer(args.outgoing, args.outgoing_bias)});
    }
    if (args.blocks > 0) blocks[0].incoming.apply(args.beads, feature.data(), first_incoming.data());
  }
};

// What one thread writes to: rows of several frames.
template <typename T>
struct Memory {
  std::vector<T> feature, gathered, activated;  // (rows, width)
  std::vector<std::vector<T>> incoming, slope;  // of each block (rows, width)
  std::vector<T> hidden, hidden_slope;          // (rows, hidden)
  std::vector<T> grad_feature, grad_a, grad_b;  // (rows, width)
  std::vector<NearPair<T>> pairs;
  std::vector<int64_t> first_pair;  // of each frame, and their number

  Memory(const Network<T>& network, int64_t rows) {
    for (auto* values : {&feature, &gathered, &activated, &grad_feature, &grad_a, &grad_b})
      values->resize(rows * network.width);
    for (auto* values : {&hidden, &hidden_slope}) values->resize(rows * network.hidden);
    incoming.resize(network.blocks.size());
    slope.resize(network.blocks.size());
    for (auto* blocks : {&incoming, &slope})
      for (auto& values : *blocks) values.resize(rows * network.width);
  }
};

template <typename T>
void find_pairs(const SchNetArguments<T>& args, int64_t frame, int64_t count, Memory<T>& memory) {
  memory.pairs.clear();
  memory.first_pair.assign(1, 0);
  for (int64_t f = frame; f < frame + count; ++f) {
    const T* positions = args.position + 3 * args.beads * f;
    for (int64_t i = 0; i < args.beads; ++i)
      for (int64_t j = i + 1; j < args.beads; ++j) {
        const Vec3<T> apart = load(positions + 3 * i) - load(positions + 3 * j);
        const T distance = std::sqrt(softened_square(apart));
        if (!(distance < args.knots.cutoff)) continue;
        memory.pairs.push_back(
            {int32_t(i), int32_t(j), (T(1) / distance) * apart, place_among(args.knots, distance), T(0)});
      }
    memory.first_pair.push_back(int64_t(memory.pairs.size()));
  }
}

template <typename T>
Convolution<T> convolution(const SchNetArguments<T>& args, const Network<T>& network, int64_t block, int64_t frame,
                           Memory<T>& memory) {
  const int64_t first = memory.first_pair[frame], last = memory.first_pair[frame + 1];
  return {args.knots, network.width, network.blocks[block].filter, memory.pairs.data() + first, last - first};
}

// Features as they come into a convolution, those of a frame's first bead.
template <typename T>
const T* incoming_of(const Network<T>& network, const Memory<T>& memory, int64_t block, int64_t offset) {
  return block > 0 ? memory.incoming[block].data() + offset : network.first_incoming.data();
}

// Gives the energies of some successive frames, and everything that their gradients need.
template <typename T>
void pass_forward(const SchNetArguments<T>& args, const Network<T>& network, int64_t frame, int64_t count,
                  Memory<T>& memory) {
  const int64_t beads = args.beads, rows = beads * count, of_frame = beads * network.width;
  for (int64_t f = 0; f < count; ++f)
    std::copy_n(network.feature.begin(), of_frame, memory.feature.begin() + f * of_frame);
  for (int64_t b = 0; b < args.blocks; ++b) {
    const Block<T>& block = network.blocks[b];
    T* gathered = memory.gathered.data();
    if (b > 0) block.incoming.apply(rows, memory.feature.data(), memory.incoming[b].data());
    std::fill_n(gathered, rows * network.width, T(0));
    for (int64_t f = 0; f < count; ++f)
      gather(convolution(args, network, b, f, memory), incoming_of(network, memory, b, f * of_frame),
             gathered + f * of_frame);
    block.mixing.apply(rows, gathered, memory.activated.data());
    activate(memory.activated.data(), memory.slope[b].data(), rows * network.width);
    block.outgoing.add(rows, memory.activated.data(), memory.feature.data());
  }
  network.readout.apply(rows, memory.feature.data(), memory.hidden.data());
  activate(memory.hidden.data(), memory.hidden_slope.data(), rows * network.hidden);
  for (int64_t f = 0; f < count; ++f) {
    double energy = 0;
    for (int64_t i = f * beads; i < (f + 1) * beads; ++i) {
      Lanes<T> sums = broadcast(T(0));
      for (int64_t h = 0; h < network.hidden; h += lane_count<T>)
        sums +=
            load_lanes(network.readout_weight.data() + h) * load_lanes(memory.hidden.data() + i * network.hidden + h);
      energy += double(sum_of_lanes<T>(sums));
    }
    args.energy[frame + f] = T(energy);
  }
}

template <typename T>
void multiply_by(std::vector<T>& values, const std::vector<T>& factors, int64_t count) {
  for (int64_t n = 0; n < count; ++n) values[n] *= factors[n];
}

// Leaves the derivatives by the distances in the pairs.
template <typename T>
void pass_back(const SchNetArguments<T>& args, const Network<T>& network, int64_t count, Memory<T>& memory) {
  const int64_t rows = args.beads * count, of_frame = args.beads * network.width;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t h = 0; h < network.hidden; ++h)
      memory.hidden_slope[i * network.hidden + h] *= network.readout_weight[h];
  network.readout.pull_back(rows, memory.hidden_slope.data(), memory.grad_feature.data());
  for (int64_t b = args.blocks - 1; b >= 0; --b) {
    const Block<T>& block = network.blocks[b];
    block.outgoing.pull_back(rows, memory.grad_feature.data(), memory.grad_a.data());
    multiply_by(memory.grad_a, memory.slope[b], rows * network.width);
    block.mixing.pull_back(rows, memory.grad_a.data(), memory.grad_b.data());
    std::fill_n(memory.grad_a.begin(), rows * network.width, T(0));
    for (int64_t f = 0; f < count; ++f)
      scatter(convolution(args, network, b, f, memory), incoming_of(network, memory, b, f * of_frame),
              memory.grad_b.data() + f * of_frame, memory.grad_a.data() + f * of_frame);
    if (b > 0) block.incoming.pull_back(rows, memory.grad_a.data(), memory.grad_feature.data(), true);
  }
}

template <typename T>
void evaluate(const SchNetArguments<T>& args, const Network<T>& network, int64_t frame, int64_t count,
              Memory<T>& memory) {
  find_pairs(args, frame, count, memory);
  pass_forward(args, network, frame, count, memory);
  pass_back(args, network, count, memory);
  const int64_t of_frame = 3 * args.beads;
  for (int64_t f = 0; f < count; ++f) {
    const T* positions = args.position + of_frame * (frame + f);
    T* gradient = args.gradient + of_frame * (frame + f);
    // A frame that is not finite gives NaN.
    const bool finite = std::all_of(positions, positions + of_frame, [](T v) { return v - v == T(0); });
    const T nothing = finite ? T(0) : std::numeric_limits<T>::quiet_NaN();
    args.energy[frame + f] += nothing;
    std::fill_n(gradient, of_frame, nothing);
    for (int64_t n = memory.first_pair[f]; n < memory.first_pair[f + 1]; ++n) {
      const NearPair<T>& pair = memory.pairs[n];
      const Vec3<T> pull = pair.slope * pair.direction;
      store(gradient + 3 * pair.first, load(gradient + 3 * pair.first) + pull);
      store(gradient + 3 * pair.second, load(gradient + 3 * pair.second) - pull);
    }
  }
}

}  // namespace

template <typename T>
void schnet_energy(const SchNetArguments<T>& args) {
  const Network<T> network(args);
  const int64_t at_once = std::max<int64_t>(1, rows_at_once / std::max<int64_t>(1, args.beads));
  parallel_ranges(args.batch, at_once, [&](int64_t begin, int64_t end) {
    Memory<T> memory(network, args.beads * std::min(at_once, end - begin));
    for (int64_t frame = begin; frame < end; frame += at_once)
      evaluate(args, network, frame, std::min(at_once, end - frame), memory);
  });
}

template void schnet_energy(const SchNetArguments<float>&);
template void schnet_energy(const SchNetArguments<double>&);

}  // namespace backmap::cpu
