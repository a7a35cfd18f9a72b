// Removal of noise from the points of residues. Threads share residues; vectors run over features, pairs and atoms.
// Some residues pass through a layer together, so that they share each load of its weights.
#include "kernels/remove_noise.h"

#include <algorithm>
#include <vector>

#include "cpu/clones.h"
#include "cpu/layers.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t rows_of_a_thread = 2;
constexpr int64_t most_rows = 36;  // whose features stay in the second cache

// So far from all points that its weight is zero.
template <typename T>
constexpr T far_away = T(1e15);

template <typename T>
struct Sizes {
  int64_t points, coordinates, pairs, inputs, outputs, hidden, padded, padded_outputs, atoms, padded_atoms;

  explicit Sizes(const RemoveNoiseArguments<T>& args)
      : points(args.points),
        coordinates(3 * points),
        pairs(pair_count(points)),
        inputs(7 * points + pairs),
        outputs(3 * points + pairs),
        hidden(args.hidden),
        padded(round_up(hidden, panel_width)),
        padded_outputs(round_up(outputs, panel_width)),
        atoms(args.atoms),
        padded_atoms(round_up(atoms, lane_count<T>)) {}
};

// Working memory of a thread, for some rows.
template <typename T>
struct Scratch {
  std::vector<T> atom, between, input, hidden, normed, inner, output, axis, start;

  Scratch(const Sizes<T>& size, int64_t rows, const T* leave_bias)
      : atom(rows * 3 * size.padded_atoms, far_away<T>),
        between(rows * 3 * size.pairs),
        input(rows * size.inputs),
        hidden(rows * size.padded, T(0)),
        normed(rows * size.padded, T(0)),
        inner(rows * size.padded, T(0)),
        output(rows * size.padded_outputs),
        axis(3 * size.points),
        start(padded_rows(leave_bias, 1, size.outputs)) {}
};

// ---- What the network reads --------------------------------------------------------------------

// Push of the atoms on a point, and the sum of their weights, which are Gaussians of the distance.
template <typename T>
BACKMAP_HD void touch(const T* __restrict atom, int64_t padded_atoms, const T* here, T* push, T* total) {
  Lanes<T> sum[4];
  for (Lanes<T>& of_all : sum) of_all = broadcast(T(0));
  for (int64_t first = 0; first < padded_atoms; first += lane_count<T>) {
    T apart[3][lane_count<T>], weight[lane_count<T>];
    for (int64_t n = 0; n < lane_count<T>; ++n) {
      for (int64_t k = 0; k < 3; ++k) apart[k][n] = atom[k * padded_atoms + first + n] - here[k];
      const T square = apart[0][n] * apart[0][n] + apart[1][n] * apart[1][n] + apart[2][n] * apart[2][n];
      weight[n] = decaying_exponential(T(-0.5) * square);
    }
    const Lanes<T> weights = load_lanes(weight);
    for (int64_t k = 0; k < 3; ++k) sum[k] += weights * load_lanes(apart[k]);
    sum[3] += weights;
  }
  for (int64_t k = 0; k < 3; ++k) push[k] = sum_of_lanes<T>(sum[k]);
  *total = sum_of_lanes<T>(sum[3]);
}

// Scaled coordinates, deviations of the distances between points, and contacts with the atoms around.
template <typename T>
BACKMAP_HD void describe(const RemoveNoiseArguments<T>& args, const Sizes<T>& size, int64_t row,
                         const NoiseLevel<T>& level, const T* atom, T* axis, T* __restrict between,
                         T* __restrict input) {
  const int64_t points = size.points, pairs = size.pairs;
  const T* __restrict point = args.point + row * size.coordinates;
  T *deviation = input + size.coordinates, *push = deviation + pairs, *total = push + size.coordinates;
  for (int64_t p = 0; p < points; ++p)
    for (int64_t k = 0; k < 3; ++k) axis[k * points + p] = input[3 * p + k] = point[3 * p + k] * level.scale_in;
  for (int64_t k = 0; k < 3; ++k) {
    const T* __restrict of_axis = axis + k * points;
    T* __restrict apart = between + k * pairs;
    for (int64_t first = 0; first < points; ++first)
      for (int64_t second = first + 1; second < points; ++second) *apart++ = of_axis[first] - of_axis[second];
  }
  const T* __restrict mean = args.pair + row * pair_numbers * pairs;
  const T* __restrict variance = mean + pairs, * __restrict exists = mean + 3 * pairs;
  for (int64_t e = 0; e < pairs; ++e) {
    const T x = between[e], y = between[pairs + e], z = between[2 * pairs + e];
    deviation[e] = pair_deviation(x * x + y * y + z * z, level, mean[e], variance[e], args.furthest) * exists[e];
  }
  for (int64_t p = 0; p < points; ++p) {
    T here[3];
    for (int64_t k = 0; k < 3; ++k) here[k] = point[3 * p + k] * level.contact_scale;
    touch(atom, size.padded_atoms, here, push + 3 * p, total + p);
  }
}

// ---- The network -------------------------------------------------------------------------------

// Mean zero and variance one.
template <typename T>
BACKMAP_HD void normalise(const T* __restrict hidden, int64_t width, T* __restrict normed) {
  constexpr int64_t lanes = lane_count<T>;
  const int64_t whole = width / lanes * lanes;
  Lanes<T> sums = broadcast(T(0));
  for (int64_t f = 0; f < whole; f += lanes) sums += load_lanes(hidden + f);
  T sum = sum_of_lanes<T>(sums);
  for (int64_t f = whole; f < width; ++f) sum += hidden[f];
  const T mean = sum / T(width);
  sums = broadcast(T(0));
  for (int64_t f = 0; f < whole; f += lanes) {
    const Lanes<T> apart = load_lanes(hidden + f) - broadcast(mean);
    sums += apart * apart;
  }
  T square = sum_of_lanes<T>(sums);
  for (int64_t f = whole; f < width; ++f) square += (hidden[f] - mean) * (hidden[f] - mean);
  const T scale = T(1) / std::sqrt(square / T(width) + least_variance<T>);
  for (int64_t f = 0; f < width; ++f) normed[f] = (hidden[f] - mean) * scale;
}

// Scales, shifts and activates features.
template <typename T>
BACKMAP_HD void modulate(const T* __restrict own, const T* __restrict of_step, int64_t width, T* __restrict inner) {
  for (int64_t f = 0; f < width; ++f)
    inner[f] = silu(inner[f] * (T(1) + (own[f] + of_step[f])) + (own[width + f] + of_step[width + f]));
}

template <typename T>
BACKMAP_HD void apply_network(const RemoveNoiseArguments<T>& args, const Sizes<T>& size, int64_t first, int64_t rows,
                              int64_t step, Scratch<T>& scratch) {
  const int64_t width = size.hidden, padded = size.padded, of_layer = panel_numbers(width, width);
  T *hidden = scratch.hidden.data(), *normed = scratch.normed.data(), *inner = scratch.inner.data();
  const T* __restrict of_step = args.step_features + step * width;
  for (int64_t r = 0; r < rows; ++r) {
    const T* __restrict features = args.features + (first + r) * width;
    for (int64_t f = 0; f < width; ++f) hidden[r * padded + f] = features[f] + of_step[f];
  }
  apply_layer<T>({scratch.input.data(), size.inputs}, rows, size.inputs, args.entry, width, {hidden, padded},
                 {hidden, padded});
  for (int64_t l = 0; l < args.layers; ++l) {
    const T *enter = args.layer + 2 * l * of_layer, *bias = args.layer_bias + 2 * l * width;
    for (int64_t r = 0; r < rows; ++r) {
      normalise(hidden + r * padded, width, normed + r * padded);
      std::copy_n(bias, width, inner + r * padded);
    }
    apply_layer<T>({normed, padded}, rows, width, enter, width, {inner, padded}, {inner, padded});
    for (int64_t r = 0; r < rows; ++r) {
      modulate(args.modulation + ((first + r) * args.layers + l) * 2 * width,
               args.step_modulation + (step * args.layers + l) * 2 * width, width, inner + r * padded);
      for (int64_t f = 0; f < width; ++f) hidden[r * padded + f] += bias[width + f];
    }
    apply_layer<T>({inner, padded}, rows, width, enter + of_layer, width, {hidden, padded}, {hidden, padded});
  }
  apply_layer<T>({hidden, padded}, rows, width, args.leave, size.outputs, {scratch.start.data(), 0},
                 {scratch.output.data(), size.padded_outputs});
}

// ---- What its results do -----------------------------------------------------------------------

// Pairs of points pull at each other along the line between them; the sampler then moves the points.
template <typename T>
BACKMAP_HD void move(const RemoveNoiseArguments<T>& args, const Sizes<T>& size, int64_t row, int64_t step,
                     const NoiseLevel<T>& level, const T* between, const T* deviation, const T* output, T* axis) {
  const int64_t points = size.points, pairs = size.pairs;
  const T *gain = args.pair + (row * pair_numbers + 2) * pairs, *exists = gain + pairs;
  for (int64_t p = 0; p < points; ++p)
    for (int64_t k = 0; k < 3; ++k) axis[k * points + p] = output[3 * p + k];
  for (int64_t first = 0, e = 0; first < points; ++first)
    for (int64_t second = first + 1; second < points; ++second, ++e) {
      const T pull = (output[size.coordinates + e] + gain[e] * deviation[e]) * exists[e];
      for (int64_t k = 0; k < 3; ++k) {
        axis[k * points + first] += pull * between[k * pairs + e];
        axis[k * points + second] -= pull * between[k * pairs + e];
      }
    }
  const bool *generated = args.generated + row * points, *empty = args.empty + row * points;
  const T *fresh = fresh_normals(args, row, step), *move_by = args.move + step * move_numbers;
  T* point = args.point + row * size.coordinates;
  for (int64_t p = 0; p < points; ++p)
    for (int64_t k = 0; k < 3 && generated[p]; ++k) {
      const int64_t c = 3 * p + k;
      point[c] = moved_coordinate(point[c], axis[k * points + p], empty[p], level, args.clip, move_by,
                                  fresh ? fresh[c] : T(0));
    }
}

// All steps of rows [first, first + rows).
template <typename T>
BACKMAP_HD void remove(const RemoveNoiseArguments<T>& args, const Sizes<T>& size, int64_t first, int64_t rows,
                       Scratch<T>& scratch) {
  const int64_t of_atoms = 3 * size.padded_atoms, of_pairs = 3 * size.pairs;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = first + r;
    for (int64_t k = 0; k < 3; ++k)
      std::copy_n(args.atom + (row * 3 + k) * size.atoms, size.atoms,
                  scratch.atom.data() + r * of_atoms + k * size.padded_atoms);
    const T *given = args.given + row * size.coordinates,
            *normal = args.normal + row * args.noise_rows * size.coordinates;
    for (int64_t c = 0; c < size.coordinates; ++c)
      args.point[row * size.coordinates + c] = args.generated[row * size.points + c / 3] ? normal[c] : given[c];
  }
  for (int64_t step = 0; step < args.steps; ++step) {
    const NoiseLevel<T> level = noise_level(args.level, step);
    for (int64_t r = 0; r < rows; ++r)
      describe(args, size, first + r, level, scratch.atom.data() + r * of_atoms, scratch.axis.data(),
               scratch.between.data() + r * of_pairs, scratch.input.data() + r * size.inputs);
    apply_network(args, size, first, rows, step, scratch);
    for (int64_t r = 0; r < rows; ++r)
      move(args, size, first + r, step, level, scratch.between.data() + r * of_pairs,
           scratch.input.data() + r * size.inputs + size.coordinates, scratch.output.data() + r * size.padded_outputs,
           scratch.axis.data());
  }
}

BACKMAP_CLONES void remove_from_rows(const RemoveNoiseArguments<float>& args, const Sizes<float>& size, int64_t first,
                                     int64_t rows, Scratch<float>& scratch) {
  remove(args, size, first, rows, scratch);
}
BACKMAP_CLONES void remove_from_rows(const RemoveNoiseArguments<double>& args, const Sizes<double>& size, int64_t first,
                                     int64_t rows, Scratch<double>& scratch) {
  remove(args, size, first, rows, scratch);
}

}  // namespace

template <typename T>
void remove_noise(const RemoveNoiseArguments<T>& args) {
  const Sizes<T> size(args);
  parallel_ranges(args.batch, rows_of_a_thread, [&](int64_t begin, int64_t end) {
    const int64_t groups = (end - begin + most_rows - 1) / most_rows, count = end - begin;
    Scratch<T> scratch(size, (count + groups - 1) / groups, args.leave_bias);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = begin + count * g / groups;
      remove_from_rows(args, size, first, begin + count * (g + 1) / groups - first, scratch);
    }
  });
}

template void remove_noise(const RemoveNoiseArguments<float>&);
template void remove_noise(const RemoveNoiseArguments<double>&);

}  // namespace backmap::cpu
