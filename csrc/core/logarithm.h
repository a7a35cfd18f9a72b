// The natural logarithm of positive numbers, without branches, so that loops over it vectorise.
#pragma once

#include "core/exponential.h"

namespace backmap {

template <typename T>
struct LogarithmParts;

template <>
struct LogarithmParts<float> {
  using Signed = int32_t;
  static constexpr int terms = 6;                        // of the series; the next term is below 3e-11
  static constexpr uint32_t root_of_half = 0x3f3504f3u;  // bits of sqrt(1 / 2), rounded
  static constexpr uint32_t one = 0x3f800000u;
};

template <>
struct LogarithmParts<double> {
  using Signed = int64_t;
  static constexpr int terms = 12;  // the next term is below 2e-20
  static constexpr uint64_t root_of_half = 0x3fe6a09e667f3bcdull;
  static constexpr uint64_t one = 0x3ff0000000000000ull;
};

// Terms n, n + 1, ... of 1 + s / 3 + s^2 / 5 + ..., divided by s^n.
template <int n, int terms, typename T>
BACKMAP_HD T logarithm_series(T s) {
  constexpr T coefficient = T(1.0 / (2 * n + 1));
  if constexpr (n + 1 == terms) return coefficient;
  else return coefficient + s * logarithm_series<n + 1, terms>(s);
}

// log(x) of a positive normal number to two units in the last place: x = 2^n m with m between the roots of 1 / 2 and 2,
// and log(m) = 2 artanh((m - 1) / (m + 1)).
template <typename T>
BACKMAP_HD T logarithm(T x) {
  using Parts = LogarithmParts<T>;
  using Exponential = ExponentialParts<T>;
  using Bits = typename Exponential::Bits;
  using Signed = typename Parts::Signed;
  constexpr Bits mantissa = (Bits(1) << Exponential::mantissa_bits) - 1;
  Bits bits;
  std::memcpy(&bits, &x, sizeof(T));
  bits += Parts::one - Parts::root_of_half;
  const T n = T(Signed(bits >> Exponential::mantissa_bits) - Signed(Exponential::bias));
  bits = (bits & mantissa) + Parts::root_of_half;
  T m;
  std::memcpy(&m, &bits, sizeof(T));
  const T ratio = (m - T(1)) / (m + T(1));
  const T series = T(2) * ratio * logarithm_series<0, Parts::terms>(ratio * ratio);
  return n * Exponential::ln2_high + (series + n * Exponential::ln2_low);
}

}  // namespace backmap
