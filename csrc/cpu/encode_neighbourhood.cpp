// Neighbourhoods of sites, summarised by a network. Threads share sites; vectors run over features. What a site needs
// stays in the first cache, the weights in the second.
#include "kernels/encode_neighbourhood.h"

#include <algorithm>
#include <vector>

#include "core/neighbourhood_features.h"
#include "cpu/clones.h"
#include "cpu/layers.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t sites_of_a_thread = 8;

template <typename T>
struct Weights {
  std::vector<T> position, type, offset, inner, bias;

  explicit Weights(const EncodeNeighbourhoodArguments<T>& args)
      : position(panels_of(args.position_weight, args.width, neighbour_numbers(args.points))),
        type(padded_rows(args.type_embedding, args.types, args.width, args.position_bias)),
        offset(padded_rows(args.offset_embedding, args.offsets, args.width)),
        inner(panels_of(args.inner_weight, args.width, args.width)),
        bias(padded_rows(args.inner_bias, 1, args.width)) {}
};

// Working memory of a site; features are padded with zeros.
template <typename T>
struct Scratch {
  int64_t padded;
  std::vector<T> numbers, hidden, features, query, score;

  explicit Scratch(const EncodeNeighbourhoodArguments<T>& args)
      : padded(round_up(args.width, panel_width)),
        numbers(args.neighbours * neighbour_numbers(args.points)),
        hidden(args.neighbours * padded),
        features(args.neighbours * padded),
        query(args.queries * padded, T(0)),
        score(args.neighbours) {}
};

// The features of the neighbours of one site.
template <typename T>
BACKMAP_HD void compute_features(const EncodeNeighbourhoodArguments<T>& args, const Weights<T>& weights, int64_t site,
                                 Scratch<T>& scratch) {
  const int64_t inputs = neighbour_numbers(args.points), padded = scratch.padded, rows = args.neighbours;
  const uint8_t *type = args.type + site * rows, *offset = args.offset + site * rows;
  T *numbers = scratch.numbers.data(), *hidden = scratch.hidden.data(), *features = scratch.features.data();
  for (int64_t k = 0; k < rows; ++k) {
    describe_neighbour(args.position + (site * rows + k) * 3 * args.points, args.points, numbers + k * inputs);
    const T *of_type = weights.type.data() + type[k] * padded, *of_offset = weights.offset.data() + offset[k] * padded;
    for (int64_t f = 0; f < padded; ++f) hidden[k * padded + f] = of_type[f] + of_offset[f];
  }
  apply_layer<T>({numbers, inputs}, rows, inputs, weights.position.data(), args.width, {hidden, padded},
                 {hidden, padded});
  activate(hidden, rows * padded);
  apply_layer<T>({hidden, padded}, rows, args.width, weights.inner.data(), args.width, {weights.bias.data(), 0},
                 {features, padded});
  activate(features, rows * padded);
}

template <typename T>
BACKMAP_HD T product(const T* __restrict a, const T* __restrict b, int64_t padded) {
  Lanes<T> first = broadcast(T(0)), second = first;
  for (int64_t f = 0; f < padded; f += 2 * lane_count<T>) {
    first += load_lanes(a + f) * load_lanes(b + f);
    second += load_lanes(a + f + lane_count<T>) * load_lanes(b + f + lane_count<T>);
  }
  T parts[lane_count<T>], sum = T(0);
  store_lanes(parts, first + second);
  for (const T part : parts) sum += part;
  return sum;
}

// The mean of the features under the attention of each query.
template <typename T>
BACKMAP_HD void attend(const EncodeNeighbourhoodArguments<T>& args, int64_t site, Scratch<T>& scratch) {
  const int64_t padded = scratch.padded, width = args.width;
  const T scale = T(1) / std::sqrt(T(width));
  const uint8_t* type = args.type + site * args.neighbours;
  const T* features = scratch.features.data();
  for (int64_t q = 0; q < args.queries; ++q) {
    T *query = scratch.query.data() + q * padded, *score = scratch.score.data();
    const T* given = args.query + (site * args.queries + q) * width;
    for (int64_t f = 0; f < width; ++f) query[f] = given[f];
    for (int64_t k = 0; k < args.neighbours; ++k)
      score[k] = type[k] == args.types - 1 ? hidden_score<T> : scale * product(query, features + k * padded, padded);
    T best = score[0];
    for (int64_t k = 1; k < args.neighbours; ++k) best = score[k] > best ? score[k] : best;
    for (int64_t k = 0; k < args.neighbours; ++k) score[k] = decaying_exponential(score[k] - best);
    T total = T(0);
    for (int64_t k = 0; k < args.neighbours; ++k) total += score[k];
    T* summary = args.summary + (site * args.queries + q) * width;
    for (int64_t f = 0; f < padded; f += lane_count<T>) {
      Lanes<T> sum = broadcast(T(0));
      for (int64_t k = 0; k < args.neighbours; ++k) sum += broadcast(score[k]) * load_lanes(features + k * padded + f);
      T mean[lane_count<T>];
      store_lanes(mean, sum / broadcast(total));
      for (int64_t i = 0; i < std::min(lane_count<T>, width - f); ++i) summary[f + i] = mean[i];
    }
  }
}

template <typename T>
BACKMAP_HD void encode(const EncodeNeighbourhoodArguments<T>& args, const Weights<T>& weights, int64_t begin,
                       int64_t end, Scratch<T>& scratch) {
  for (int64_t site = begin; site < end; ++site) {
    compute_features(args, weights, site, scratch);
    attend(args, site, scratch);
  }
}

BACKMAP_CLONES void encode_sites(const EncodeNeighbourhoodArguments<float>& args, const Weights<float>& weights,
                                 int64_t begin, int64_t end, Scratch<float>& scratch) {
  encode(args, weights, begin, end, scratch);
}
BACKMAP_CLONES void encode_sites(const EncodeNeighbourhoodArguments<double>& args, const Weights<double>& weights,
                                 int64_t begin, int64_t end, Scratch<double>& scratch) {
  encode(args, weights, begin, end, scratch);
}

}  // namespace

template <typename T>
void encode_neighbourhood(const EncodeNeighbourhoodArguments<T>& args) {
  const Weights<T> weights(args);
  parallel_ranges(args.batch, sites_of_a_thread, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(args);
    encode_sites(args, weights, begin, end, scratch);
  });
}

template void encode_neighbourhood(const EncodeNeighbourhoodArguments<float>&);
template void encode_neighbourhood(const EncodeNeighbourhoodArguments<double>&);

}  // namespace backmap::cpu
