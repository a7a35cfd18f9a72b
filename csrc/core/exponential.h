// The exponential of numbers that are not positive, without branches, so that loops over it vectorise.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/host_device.h"

namespace backmap {

// exp(x) = 2^n exp(r) with x = n ln 2 + r, |r| <= ln 2 / 2.
template <typename T>
struct ExponentialParts;

template <>
struct ExponentialParts<float> {
  using Bits = uint32_t;
  static constexpr int terms = 7;             // of the Taylor series; the next term is below 6e-9
  static constexpr float lowest = -87.3365f;  // exp of smaller numbers is below the smallest normal number
  static constexpr float inverse_ln2 = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;  // n ln2_high is exact
  static constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr Bits bias = 127, mantissa_bits = 23;
};

template <>
struct ExponentialParts<double> {
  using Bits = uint64_t;
  static constexpr int terms = 13;  // the next term is below 5e-18
  static constexpr double lowest = -708.396;
  static constexpr double inverse_ln2 = 1.4426950408889634;
  static constexpr double ln2_high = 0.693147180369123816490, ln2_low = 1.90821492927058770002e-10;
  static constexpr double rounder = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr Bits bias = 1023, mantissa_bits = 52;
};

constexpr double inverse_factorial(int n) { return n == 0 ? 1.0 : inverse_factorial(n - 1) / n; }

// Terms first...last of the series of exp(r), divided by r^first; in pairs, which halves the chain of dependencies.
template <int first, int last, typename T>
BACKMAP_HD T exponential_series(T r, T r_squared) {
  constexpr T even = T(inverse_factorial(first)), odd = T(inverse_factorial(first + 1));
  if constexpr (first + 1 == last) return even + odd * r;
  else return (even + odd * r) + r_squared * exponential_series<first + 2, last>(r, r_squared);
}

// exp(x) for x <= 0, to two units in the last place; zero if below the smallest normal number; NaN for NaN.
template <typename T>
BACKMAP_HD T decaying_exponential(T x) {
  using Parts = ExponentialParts<T>;
  const T rounded = x * Parts::inverse_ln2 + Parts::rounder;
  const T n = rounded - Parts::rounder;
  const T r = (x - n * Parts::ln2_high) - n * Parts::ln2_low;
  typename Parts::Bits bits;  // the low bits of the rounded sum are n
  std::memcpy(&bits, &rounded, sizeof(T));
  bits = (bits + Parts::bias) << Parts::mantissa_bits;
  T power;
  std::memcpy(&power, &bits, sizeof(T));
  const T value = power * exponential_series<0, Parts::terms>(r, r * r);
  return x < Parts::lowest ? T(0) : value;
}

}  // namespace backmap
