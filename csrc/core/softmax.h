// From logits to probabilities.
#pragma once

#include <cstdint>

#include "core/exponential.h"
#include "core/host_device.h"

namespace backmap {

// Logits become probabilities.
template <typename T>
BACKMAP_HD void softmax(T* value, int64_t bins) {
  T highest = value[0];
  for (int64_t b = 1; b < bins; ++b) highest = value[b] > highest ? value[b] : highest;
  T total = T(0);
  for (int64_t b = 0; b < bins; ++b) value[b] = decaying_exponential(value[b] - highest);
  for (int64_t b = 0; b < bins; ++b) total += value[b];
  for (int64_t b = 0; b < bins; ++b) value[b] /= total;
}

}  // namespace backmap
