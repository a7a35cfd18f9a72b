// Prefetching, for several simultaneous streams, which processors do not predict well.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap::cpu {

template <typename T>
BACKMAP_HD void prefetch(const T* values, int64_t count) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t n = 0; n < count; n += line) __builtin_prefetch(values + n);
}

}  // namespace backmap::cpu
