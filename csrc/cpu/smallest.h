// Selects the smallest of many numbers without branches on their values.
//
// Arrays to be searched are padded with infinity to whole chunks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/round_up.h"
#include "cpu/lanes.h"

namespace backmap::cpu {

constexpr int64_t chunk = 64;

constexpr int64_t whole_chunks(int64_t count) { return round_up(count, chunk); }

// ranks[v] = for each lane of vector v, how many of the values are smaller; V vectors at a time.
template <int V, typename T>
BACKMAP_HD void count_lesser(const T* values, int64_t count, int64_t first, IntegerLanes<T>* ranks) {
  constexpr int64_t L = lane_count<T>;
  Lanes<T> own[V];
  IntegerLanes<T> lesser[V] = {};
  for (int v = 0; v < V; ++v) own[v] = load_lanes(values + (first + v) * L);
  for (int64_t i = 0; i < count; ++i) {
    const Lanes<T> other = broadcast(values[i]);
    for (int v = 0; v < V; ++v) lesser[v] -= other < own[v];
  }
  for (int v = 0; v < V; ++v) ranks[first + v] = lesser[v];
}

template <typename T>
BACKMAP_HD void rank(const T* values, int64_t count, IntegerLanes<T>* ranks) {
  const int64_t vectors = (count + lane_count<T> - 1) / lane_count<T>;
  int64_t v = 0;
  for (; v + 4 <= vectors; v += 4) count_lesser<4>(values, count, v, ranks);
  if (v + 2 <= vectors) count_lesser<2>(values, count, v, ranks), v += 2;
  if (v < vectors) count_lesser<1>(values, count, v, ranks);
}

// Calls visit(i) for all values[i] <= high, in no particular order.
template <typename T, typename Visit>
BACKMAP_HD void for_values_within(const T* values, int64_t count, T high, const Visit& visit) {
  constexpr int64_t L = lane_count<T>, bits = chunk / L;
  const Lanes<T> highs = broadcast(high);
  for (int64_t first = 0; first < count; first += chunk) {
    IntegerLanes<T> of_lane{};
    for (int64_t bit = 0; bit < bits; ++bit) {
      of_lane |= (load_lanes(values + first + bit * L) <= highs) & (typename LanesOf<T>::Integer(1) << bit);
    }
    const auto parts = __builtin_convertvector(of_lane, typename LanesOf<T>::Parts);
    uint64_t mask;  // bit b is bit b % bits of lane b / bits
    std::memcpy(&mask, &parts, sizeof(mask));
    for (; mask != 0; mask &= mask - 1) {
      const int64_t b = __builtin_ctzll(mask);
      visit(first + (b * L + b / bits) % chunk);
    }
  }
}

template <typename T>
BACKMAP_HD T least_lane(const Lanes<T>& v) {
  T least = v[0];
  for (int64_t lane = 1; lane < lane_count<T>; ++lane) least = v[lane] < least ? v[lane] : least;
  return least;
}

// A cheap upper bound of the `wanted` smallest values, which few other values are within; infinity if there are fewer
// values. The values are divided into somewhat more than `wanted` groups (i, i + groups, i + 2 groups...). Each group's
// minimum is a different value, so any number that is at least `wanted` of the minima is a bound; the smallest such
// number among some of the minima is returned.
template <typename T>
BACKMAP_HD T bound_of_smallest(const T* values, int64_t count, int64_t wanted, std::vector<T>& least) {
  constexpr int64_t L = lane_count<T>;
  const T infinity = std::numeric_limits<T>::infinity();
  if (count < wanted) return infinity;
  const int64_t groups = std::min((wanted + wanted / 3 + 16) / 16 * 16, (count + 15) / 16 * 16);
  least.resize(std::max<size_t>(least.size(), groups));
  Lanes<T> largest{};
  for (int64_t g = 0; g < groups; g += L) {
    Lanes<T> of_group = load_lanes(values + g);
    for (int64_t i = g + groups; i < count; i += groups) {
      const Lanes<T> v = load_lanes(values + i);
      of_group = v < of_group ? v : of_group;
    }
    store_lanes(least.data() + g, of_group);
    largest = of_group > largest ? of_group : largest;
  }
  const Lanes<T> a = load_lanes(least.data()), b = load_lanes(least.data() + L);
  IntegerLanes<T> within_a{}, within_b{};
  const T* all = least.data();
  for (int64_t g = 0; g < groups; ++g) {
    const Lanes<T> v = broadcast(all[g]);
    within_a -= v <= a;
    within_b -= v <= b;
  }
  const typename LanesOf<T>::Integer enough = wanted;
  const Lanes<T> none = broadcast(-least_lane<T>(-largest));
  const Lanes<T> bound_a = within_a >= enough ? a : none, bound_b = within_b >= enough ? b : none;
  return least_lane<T>(bound_a < bound_b ? bound_a : bound_b);
}

}  // namespace backmap::cpu
