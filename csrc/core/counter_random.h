// Counter-based random numbers: hashes of keys and counters, as in models/counter_random.py.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), absorbing one word.
BACKMAP_HD uint64_t absorb(uint64_t state, uint64_t word) {
  uint64_t x = (state ^ word) + 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// A uniform number in [0, 1) with 24 bits, which is exact in single precision.
template <typename T>
BACKMAP_HD T uniform_number(uint64_t stream, uint64_t counter) {
  return T(absorb(absorb(stream, counter), 0) >> 40) * T(1.0 / (1 << 24));
}

// An almost normal number of mean 0 and variance 1: the sum of four uniform numbers, the 16-bit words of a hash.
template <typename T>
BACKMAP_HD T nearly_normal(uint64_t bits) {
  int32_t sum = 0;
  for (int word = 0; word < 4; ++word) sum += int32_t((bits >> (16 * word)) & 0xffff);
  return T(sum - 2 * 65535) * T(1.7320508075688772 / 65536);
}

}  // namespace backmap
