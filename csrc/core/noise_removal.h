// Removal of noise from the points of a residue: what the network reads of them, and how the sampler moves them.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace backmap {

// Numbers per step in the tables of noise levels and of the sampler, and per pair of points.
constexpr int64_t level_numbers = 6, move_numbers = 3, pair_numbers = 4;

constexpr int64_t pair_count(int64_t points) { return points * (points - 1) / 2; }

// Coefficients of a noise level.
template <typename T>
struct NoiseLevel {
  T signal, scale_in, skip, scale_out, distance_variance, contact_scale;
};

template <typename T>
BACKMAP_HD NoiseLevel<T> noise_level(const T* levels, int64_t step) {
  const T* level = levels + step * level_numbers;
  return {level[0], level[1], level[2], level[3], level[4], level[5]};
}

// Deviation of a distance from its mean, in standard deviations, from the squared distance between scaled points. The
// variance is the sum of the variances of the data and of both points' noise.
template <typename T>
BACKMAP_HD T pair_deviation(T square, const NoiseLevel<T>& level, T mean, T variance, T furthest) {
  const T distance = std::sqrt(square + T(1e-8)) / (level.signal * level.scale_in);
  const T deviation = (distance - mean) / std::sqrt(variance + level.distance_variance);
  const T at_least = deviation < -furthest ? -furthest : deviation;
  return at_least > furthest ? furthest : at_least;
}

// A coordinate of a point after a step, from the network's `move` of it. `move_by` holds the sampler's coefficients of
// the clean coordinate, of the noisy one and of the random number.
template <typename T>
BACKMAP_HD T moved_coordinate(T noisy, T move, bool empty, const NoiseLevel<T>& level, T clip, const T* move_by,
                              T normal) {
  const T predicted = empty ? T(0) : level.skip * noisy + level.scale_out * move;
  const T at_least = predicted < -clip ? -clip : predicted, clean = at_least > clip ? clip : at_least;
  return move_by[0] * clean + move_by[1] * noisy + move_by[2] * normal;
}

// Added to variances of features before they are divided by their root.
template <typename T>
constexpr T least_variance = T(1e-5);

}  // namespace backmap
