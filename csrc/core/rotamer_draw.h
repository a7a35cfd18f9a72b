// Draws one of several candidates by their Boltzmann weights.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace backmap {

// Index drawn with probabilities proportional to exp(-energies[k]), by inversion of the cumulative distribution at
// `uniform` in [0, 1). Overwrites the energies with their weights, so that each exponential is computed only once.
template <typename T>
BACKMAP_HD int64_t draw(T* energies, int64_t count, T uniform) {
  T lowest = energies[0];
  for (int64_t k = 1; k < count; ++k) lowest = energies[k] < lowest ? energies[k] : lowest;
  T total = T(0);
  for (int64_t k = 0; k < count; ++k) total += energies[k] = std::exp(lowest - energies[k]);
  const T target = uniform * total;
  T running = T(0);
  int64_t last_possible = 0;
  for (int64_t k = 0; k < count; ++k) {
    running += energies[k];
    if (running > target) return k;
    if (energies[k] > T(0)) last_possible = k;
  }
  return last_possible;  // rounding left the target just above the sum, or `uniform` is 1
}

}  // namespace backmap
