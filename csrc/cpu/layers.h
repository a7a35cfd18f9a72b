// Layers of small networks: products with weights that lie ready for vectors, and activations.
#pragma once

#include <cstdint>
#include <vector>

#include "core/activation.h"
#include "cpu/lanes.h"

namespace backmap::cpu {

// Rows and features that a layer computes together: as many sums as fit into the registers.
constexpr int64_t rows_together = 6;
template <typename T>
constexpr int64_t features_together = 2 * lane_count<T>;

inline int64_t round_up(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

// The weights (width, inputs) of a layer in panels of features that are computed together: (panels, inputs, features).
template <typename T>
std::vector<T> panels_of(const T* weight, int64_t width, int64_t inputs) {
  constexpr int64_t together = features_together<T>;
  std::vector<T> panels(round_up(width, together) * inputs, T(0));
  for (int64_t f = 0; f < width; ++f)
    for (int64_t i = 0; i < inputs; ++i)
      panels[(f / together * inputs + i) * together + f % together] = weight[f * inputs + i];
  return panels;
}

// Rows (rows, width), and a vector added to each, padded with zeros to a whole number of panels.
template <typename T>
std::vector<T> padded_rows(const T* row, int64_t rows, int64_t width, const T* added = nullptr) {
  const int64_t padded = round_up(width, features_together<T>);
  std::vector<T> all(rows * padded, T(0));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t f = 0; f < width; ++f) all[r * padded + f] = row[r * width + f] + (added ? added[f] : T(0));
  return all;
}

// Adds the products of some rows with one panel to `sum`, and stores it. Rows of inputs are `stride` apart.
template <typename T>
BACKMAP_HD void add_panel(const T* __restrict row, int64_t stride, int64_t inputs, const T* __restrict panel,
                          Lanes<T> (&sum)[rows_together][2], T* __restrict out, int64_t padded) {
  for (int64_t i = 0; i < inputs; ++i) {
    const Lanes<T> first = load_lanes(panel + i * features_together<T>);
    const Lanes<T> second = load_lanes(panel + i * features_together<T> + lane_count<T>);
#pragma GCC unroll 6
    for (int64_t r = 0; r < rows_together; ++r) {
      const Lanes<T> value = broadcast(row[r * stride + i]);
      sum[r][0] += value * first;
      sum[r][1] += value * second;
    }
  }
#pragma GCC unroll 6
  for (int64_t r = 0; r < rows_together; ++r) {
    store_lanes(out + r * padded, sum[r][0]);
    store_lanes(out + r * padded + lane_count<T>, sum[r][1]);
  }
}

template <typename T>
BACKMAP_HD void activate(T* __restrict value, int64_t count) {
  for (int64_t i = 0; i < count; ++i) value[i] = silu(value[i]);
}

}  // namespace backmap::cpu
