// Formulas of SchNet, a network of continuous filters over distances: its activation and its tabulated filters.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/exponential.h"

namespace backmap {

// ---- Activation --------------------------------------------------------------------------------

// Terms of atanh(z) / z = 1 + z^2 / 3 + z^4 / 5 + ... for z up to 1/3; the next one is below the rounding of T.
template <typename T>
constexpr int atanh_terms = sizeof(T) == 4 ? 7 : 16;

template <int first, int last, typename T>
BACKMAP_HD T atanh_series(T square) {
  constexpr T coefficient = T(1.0 / (2 * first + 1));
  if constexpr (first + 1 == last) return coefficient;
  else return coefficient + square * atanh_series<first + 1, last>(square);
}

// log((1 + exp(x)) / 2) and its derivative, the logistic function, without branches.
template <typename T>
BACKMAP_HD T shifted_softplus(T x, T& slope) {
  const T tail = decaying_exponential(-std::fabs(x));
  // log(1 + y) = 2 atanh(y / (2 + y))
  const T z = tail / (T(2) + tail);
  const T logarithm = T(2) * z * atanh_series<0, atanh_terms<T>>(z * z);
  slope = (x >= T(0) ? T(1) : tail) / (T(1) + tail);
  return (x >= T(0) ? x : T(0)) + (logarithm - T(0.69314718055994530942));
}

// ---- Filters -----------------------------------------------------------------------------------

// Equally spaced distances from zero to the cutoff, at which filters and their derivatives are known. There are two
// knots or more.
template <typename T>
struct FilterKnots {
  int64_t count;
  T cutoff, spacing, inverse_spacing;
};

template <typename T>
FilterKnots<T> filter_knots(int64_t count, double cutoff) {
  const double spacing = cutoff / double(count - 1);
  return {count, T(cutoff), T(spacing), T(1 / spacing)};
}

// The last knot below a distance, and how far beyond it the distance is, in units of the spacing.
template <typename T>
struct FilterPlace {
  int64_t knot;
  T beyond;
};

// For distances below the cutoff.
template <typename T>
BACKMAP_HD FilterPlace<T> place_among(const FilterKnots<T>& knots, T distance) {
  const T scaled = distance * knots.inverse_spacing;
  const int64_t below = int64_t(scaled), knot = below < knots.count - 2 ? below : knots.count - 2;
  return {knot, scaled - T(knot)};
}

// Weights of value and derivative at the knot below and at the one above.
template <typename T>
struct HermiteWeights {
  T value_below, slope_below, value_above, slope_above;
};

// The cubic polynomial with given values and derivatives at both knots.
template <typename T>
BACKMAP_HD HermiteWeights<T> hermite_value(T t, T spacing) {
  const T rest = T(1) - t, above = t * t * (T(3) - T(2) * t);
  return {T(1) - above, spacing * t * rest * rest, above, -spacing * t * t * rest};
}

// Its derivative by the distance.
template <typename T>
BACKMAP_HD HermiteWeights<T> hermite_slope(T t, T inverse_spacing) {
  const T rest = T(1) - t, above = T(6) * t * rest * inverse_spacing;
  return {-above, rest * (T(1) - T(3) * t), above, t * (T(3) * t - T(2))};
}

}  // namespace backmap
