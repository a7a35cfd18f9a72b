// What a network reads of a neighbour.
#pragma once

#include <cstdint>

#include "core/vec3.h"

namespace backmap {

// Below this distance in nm, directions shrink to zero instead of turning fast.
template <typename T>
constexpr T least_distance = T(0.05);

// Score of a neighbour that is not there.
template <typename T>
constexpr T hidden_score = T(-1e4);

BACKMAP_HD int64_t neighbour_numbers(int64_t points) { return 4 * points + 3; }

// The numbers that describe a neighbour: positions of its points, their distances, and the direction of the first.
template <typename T>
BACKMAP_HD void describe_neighbour(const T* position, int64_t points, T* numbers) {
  T* distance = numbers + 3 * points;
  for (int64_t i = 0; i < 3 * points; ++i) numbers[i] = position[i];
  for (int64_t p = 0; p < points; ++p) distance[p] = norm(load(position + 3 * p));
  const T first = distance[0] < least_distance<T> ? least_distance<T> : distance[0];
  for (int64_t axis = 0; axis < 3; ++axis) distance[points + axis] = position[axis] / first;
}

}  // namespace backmap
