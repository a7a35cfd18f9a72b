// Short vectors of numbers, with the compiler's vector extension: one source for all instruction sets.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/host_device.h"

// Vectors are passed only between inlined functions, so that the calling convention does not matter.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace backmap::cpu {

// 32 bytes: 8 floats or 4 doubles, with integers of the same width for the results of comparisons.
template <typename T>
struct LanesOf;
template <>
struct LanesOf<float> {
  using Values __attribute__((vector_size(32))) = float;
  using Integers __attribute__((vector_size(32))) = int32_t;
  using Integer = int32_t;
  using Parts __attribute__((vector_size(8))) = uint8_t;  // as many integers within 64 bits
};
template <>
struct LanesOf<double> {
  using Values __attribute__((vector_size(32))) = double;
  using Integers __attribute__((vector_size(32))) = int64_t;
  using Integer = int64_t;
  using Parts __attribute__((vector_size(8))) = uint16_t;
};

template <typename T>
using Lanes = typename LanesOf<T>::Values;
template <typename T>
using IntegerLanes = typename LanesOf<T>::Integers;

template <typename T>
constexpr int64_t lane_count = 32 / sizeof(T);

template <typename T>
BACKMAP_HD Lanes<T> load_lanes(const T* p) {
  Lanes<T> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

template <typename T>
BACKMAP_HD void store_lanes(T* p, const Lanes<T>& v) {
  std::memcpy(p, &v, sizeof(v));
}

// One number in all lanes. Compilers turn this array into one instruction, but {v, v...} into many.
template <typename T>
BACKMAP_HD Lanes<T> broadcast(T value) {
  T values[lane_count<T>];
  for (T& v : values) v = value;
  return load_lanes(values);
}

template <typename T>
BACKMAP_HD Lanes<T> square_root(const Lanes<T>& v) {
  T values[lane_count<T>];
  std::memcpy(values, &v, sizeof(v));
  for (T& value : values) value = std::sqrt(value);
  return load_lanes(values);
}

// The nearest integers.
template <typename T>
BACKMAP_HD Lanes<T> rounded(const Lanes<T>& v) {
  T values[lane_count<T>];
  std::memcpy(values, &v, sizeof(v));
  for (T& value : values) value = std::rint(value);
  return load_lanes(values);
}

// The sum of a vector, in halves.
template <typename T>
BACKMAP_HD T sum_of_lanes(const Lanes<T>& v) {
  T values[lane_count<T>];
  store_lanes(values, v);
  for (int64_t half = lane_count<T> / 2; half > 0; half /= 2)
    for (int64_t n = 0; n < half; ++n) values[n] += values[n + half];
  return values[0];
}

}  // namespace backmap::cpu
