// Basins of distributions over equal bins of a turn, and steps of angles in time that leave a distribution unchanged.
//
// backmap/ops/basins.py contains the equations. A row of working memory is `height` and `basin`, both of `bins`.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/step_draws.h"

namespace backmap {

constexpr double turn_radians = 6.283185307179586;

template <typename T>
constexpr T longest_rate = T(1e9);  // everything is drawn anew

template <typename T>
constexpr T last_place = T(1) - T(1) / T(1 << 24);  // in a bin, as for uniform numbers of float32

// Replaces each height by (before + 2 height + after) / 4, `passes` times.
template <typename T>
BACKMAP_HD void smooth(const T* probability, int64_t bins, int64_t passes, T* height) {
  for (int64_t b = 0; b < bins; ++b) height[b] = probability[b];
  for (int64_t pass = 0; pass < passes; ++pass) {
    const T first = height[0];
    T before = height[bins - 1];
    for (int64_t b = 0; b < bins; ++b) {
      const T here = height[b], after = b + 1 < bins ? height[b + 1] : first;
      height[b] = T(0.5) * here + T(0.25) * (before + after);
      before = here;
    }
  }
}

// Whether the bin a is above b; of equal ones, the one with the lower index is.
template <typename T>
BACKMAP_HD bool is_above(const T* height, int64_t a, int64_t b) {
  return height[a] > height[b] || (height[a] == height[b] && a < b);
}

// basin[b] = the bin of the maximum that is uphill from b.
template <typename T>
BACKMAP_HD void find_basins(const T* probability, int64_t bins, int64_t passes, T* height, int64_t* basin) {
  smooth(probability, bins, passes, height);
  for (int64_t b = 0; b < bins; ++b) {
    const int64_t before = b > 0 ? b - 1 : bins - 1, after = b + 1 < bins ? b + 1 : 0;
    const int64_t higher = is_above(height, before, b) ? before : b;
    basin[b] = is_above(height, after, higher) ? after : higher;
  }
  for (int64_t b = 0; b < bins; ++b) {  // each bin of the way is above the one before, so it ends
    int64_t top = basin[b];
    while (basin[top] != top) top = basin[top];
    basin[b] = top;
  }
}

// leave[m] = the probability of leaving the basin whose maximum is at m; zero where there is no maximum.
template <typename T>
BACKMAP_HD void leaving(const T* probability, int64_t bins, const int64_t* basin, T rate, T* leave) {
  for (int64_t b = 0; b < bins; ++b) leave[b] = T(0);
  for (int64_t b = 0; b < bins; ++b) leave[basin[b]] += probability[b];
  T total = T(0);
  for (int64_t b = 0; b < bins; ++b) total += leave[b] = std::sqrt(leave[b]);
  const T longest = longest_rate<T>, out = (rate < longest ? rate : longest) * total;
  for (int64_t b = 0; b < bins; ++b) {
    const T sum = leave[b] + out;
    leave[b] = basin[b] == b ? out / (sum > T(1e-30) ? sum : T(1e-30)) : T(0);
  }
}

// The part of a turn from -pi, in [0, 1].
template <typename T>
BACKMAP_HD T turn_of(T angle) {
  const T turns = angle / T(turn_radians) + T(0.5);
  return turns - std::floor(turns);
}

template <typename T>
BACKMAP_HD T angle_at(int64_t bin, T place, int64_t bins) {
  return ((T(bin) + place) / T(bins) - T(0.5)) * T(turn_radians);
}

// The bin at a position in bins, in range for any number.
template <typename T>
BACKMAP_HD int64_t bin_at(T position, int64_t bins) {
  return !(position > T(0)) ? 0 : position < T(bins) ? int64_t(position) : bins - 1;
}

template <typename T>
struct Bin {
  int64_t index;
  T below;  // sum of the weights before it
};

// The first bin at which the running sum of weight(b) exceeds the target; the last possible one if none does.
template <typename T, typename Weight>
BACKMAP_HD Bin<T> bin_beyond(int64_t bins, T target, const Weight& weight) {
  Bin<T> last{0, T(0)};
  T running = T(0);
  for (int64_t b = 0; b < bins; ++b) {
    const T w = weight(b), next = running + w;
    if (next > target) return {b, running};
    if (w > T(0)) last = {b, running};
    running = next;
  }
  return last;
}

// An angle drawn from bins with weight(b): the bin by inversion of the cumulative distribution, and the place in it.
template <typename T, typename Weight>
BACKMAP_HD T draw_angle(int64_t bins, const Weight& weight, const T* uniform) {
  T total = T(0);
  for (int64_t b = 0; b < bins; ++b) total += weight(b);
  return angle_at(bin_beyond(bins, uniform[0] * total, weight).index, uniform[1], bins);
}

// An angle drawn in a window around the one before; uniform[0] places the window, uniform[1] the angle in it.
template <typename T>
BACKMAP_HD T draw_near(const T* probability, int64_t bins, T before, T window, const T* uniform) {
  const T turn = T(bins), full = window / T(turn_radians) * turn, width = full < turn ? full : turn;
  T start = turn_of(before) * turn - uniform[0] * width;
  if (start < T(0)) start += turn;
  const bool around = start + width >= turn;
  const T end = around ? start + width - turn : start + width;
  const int64_t start_bin = bin_at(start, bins), end_bin = bin_at(end, bins);
  T below = T(0), above = T(0), whole = T(0);
  for (int64_t b = 0; b < bins; ++b) {
    if (b == start_bin) below = whole + (start - T(b)) * probability[b];
    if (b == end_bin) above = whole + (end - T(b)) * probability[b];
    whole += probability[b];
  }
  const T inside = (around ? above + whole : above) - below;
  if (!(inside > T(1e-12))) return before;
  T target = below + uniform[1] * inside;
  if (target >= whole) target -= whole;
  const Bin<T> bin = bin_beyond(bins, target, [&](int64_t b) { return probability[b]; });
  const T place = (target - bin.below) / probability[bin.index], last = last_place<T>;
  return angle_at(bin.index, !(place > T(0)) ? T(0) : place < last ? place : last, bins);
}

// A step in time; returns whether the basin was left.
template <typename T>
BACKMAP_HD bool step_angle(const T* probability, int64_t bins, int64_t passes, T before, T rate, T window,
                           const T* uniform, T* height, int64_t* basin, T& angle) {
  find_basins(probability, bins, passes, height, basin);
  T* leave = height;
  leaving(probability, bins, basin, rate, leave);
  const bool left = uniform[0] < leave[basin[bin_at(turn_of(before) * T(bins), bins)]];
  if (left) before = draw_angle(bins, [&](int64_t b) { return probability[b] * leave[basin[b]]; }, uniform + 1);
  // The second part follows for all: only after those that stay, it would not be balanced.
  angle = draw_near(probability, bins, before, window, uniform + 3);
  return left;
}

}  // namespace backmap
