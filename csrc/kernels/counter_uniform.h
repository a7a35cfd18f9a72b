// Uniform random numbers, each a hash of a key and a counter.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct CounterUniformArguments {
  int64_t batch, counters;
  uint64_t purpose;
  const int64_t* key;      // ()
  const int64_t* counter;  // (counters), shared by all keys
  T* number;               // out (counters)
};

BACKMAP_LAUNCHERS(counter_uniform, CounterUniformArguments);

}  // namespace backmap
