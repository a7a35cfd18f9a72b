// Layers of small networks: products with weights that lie ready for vectors, and activations.
#pragma once

#include <cstdint>
#include <vector>

#include "core/activation.h"
#include "cpu/lanes.h"
#include "kernels/panels.h"

namespace backmap::cpu {

// Rows that a layer computes together: as many sums as fit into the registers.
constexpr int64_t rows_together = 6;

// The weights (width, inputs) of a layer in panels.
template <typename T>
std::vector<T> panels_of(const T* weight, int64_t width, int64_t inputs) {
  std::vector<T> panels(panel_numbers(width, inputs), T(0));
  for (int64_t f = 0; f < width; ++f)
    for (int64_t i = 0; i < inputs; ++i) panels[panel_offset(f, inputs) + i * panel_width] = weight[f * inputs + i];
  return panels;
}

// Rows (rows, width), and a vector added to each, padded with zeros to a whole number of panels.
template <typename T>
std::vector<T> padded_rows(const T* row, int64_t rows, int64_t width, const T* added = nullptr) {
  const int64_t padded = round_up(width, panel_width);
  std::vector<T> all(rows * padded, T(0));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t f = 0; f < width; ++f) all[r * padded + f] = row[r * width + f] + (added ? added[f] : T(0));
  return all;
}

// A matrix of numbers, rows `stride` apart.
template <typename T>
struct Rows {
  T* first;
  int64_t stride;

  BACKMAP_HD T* operator[](int64_t row) const { return first + row * stride; }
};

// Some rows of some vectors of features, from `start`, which may be `out`. Each sum runs over the inputs in their
// order, so that a row's result depends neither on the other rows nor on their number.
template <int64_t rows, int64_t vectors, typename T>
BACKMAP_HD void add_products(Rows<const T> input, int64_t inputs, const T* __restrict panels, int64_t feature,
                             Rows<const T> start, Rows<T> out) {
  constexpr int64_t lanes = lane_count<T>, in_panel = panel_width / lanes;
  const T* __restrict weight = panels + panel_offset(feature, inputs);
  Lanes<T> sum[rows][vectors];
#pragma GCC unroll 8
  for (int64_t r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; ++v) sum[r][v] = load_lanes(start[r] + feature + v * lanes);
  // Sums of six rows, the weights and one value take 15 registers; a value of each row at once would not fit into 16.
  for (int64_t i = 0; i < inputs; ++i) {
    Lanes<T> factor[vectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; ++v)
      factor[v] = load_lanes(weight + v / in_panel * panel_width * inputs + i * panel_width + v % in_panel * lanes);
#pragma GCC unroll 8
    for (int64_t r = 0; r < rows; ++r) {
      const Lanes<T> value = broadcast(input[r][i]);
#pragma GCC unroll 8
      for (int64_t v = 0; v < vectors; ++v) sum[r][v] += value * factor[v];
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; ++v) store_lanes(out[r] + feature + v * lanes, sum[r][v]);
}

// All features of few rows, which leave registers for more vectors: a single row would wait for its own sums.
template <int64_t rows, int64_t vectors, typename T>
BACKMAP_HD void add_few(Rows<const T> input, int64_t inputs, const T* panels, int64_t width, Rows<const T> start,
                        Rows<T> out) {
  constexpr int64_t together = vectors * lane_count<T>, panel = 2 * lane_count<T>;
  int64_t feature = 0;
  for (; feature + together <= width; feature += together)
    add_products<rows, vectors>(input, inputs, panels, feature, start, out);
  for (; feature < width; feature += panel) add_products<rows, 2>(input, inputs, panels, feature, start, out);
}

// out = start + weights x input, for any number of rows. `start` and `out` are padded to whole panels; `start` may be
// one row for all (stride 0), or `out` itself.
template <typename T>
BACKMAP_HD void apply_layer(Rows<const T> input, int64_t rows, int64_t inputs, const T* panels, int64_t width,
                            Rows<const T> start, Rows<T> out) {
  const int64_t padded = round_up(width, panel_width);
  if (rows == 1) return add_few<1, 8>(input, inputs, panels, padded, start, out);
  if (rows == 2) return add_few<2, 4>(input, inputs, panels, padded, start, out);
  if (rows == 3) return add_few<3, 4>(input, inputs, panels, padded, start, out);
  // Groups of nearly the same size: a single row at the end would cost as much as three.
  const int64_t groups = (rows + rows_together - 1) / rows_together;
  for (int64_t feature = 0; feature < padded; feature += 2 * lane_count<T>)
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = rows * g / groups, count = rows * (g + 1) / groups - first;
      const Rows<const T> own{input[first], input.stride}, from{start[first], start.stride};
      const Rows<T> to{out[first], out.stride};
      if (count == 6) add_products<6, 2>(own, inputs, panels, feature, from, to);
      else if (count == 5) add_products<5, 2>(own, inputs, panels, feature, from, to);
      else if (count == 4) add_products<4, 2>(own, inputs, panels, feature, from, to);
      else add_products<3, 2>(own, inputs, panels, feature, from, to);
    }
}

template <typename T>
BACKMAP_HD void activate(T* __restrict value, int64_t count) {
  for (int64_t i = 0; i < count; ++i) value[i] = silu(value[i]);
}

}  // namespace backmap::cpu
