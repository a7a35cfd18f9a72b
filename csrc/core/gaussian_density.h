// Gaussian densities of particles: products of one factor per axis.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/exponential.h"
#include "core/voxel_grid.h"

namespace backmap {

template <typename T>
struct Gaussian {
  T inverse;  // 1 / (sqrt(2) sigma), in 1 / nm
};

template <typename T>
Gaussian<T> gaussian(double sigma) {
  const double inverse = 1.0 / (std::sqrt(2.0) * sigma), largest = double(std::numeric_limits<T>::max());
  return {T(inverse < largest ? inverse : largest)};
}

// Exponent below which a factor counts as zero. A product of three factors is then zero or a normal number; subnormal
// numbers are slow on some processors.
template <typename T>
BACKMAP_HD constexpr T faintest_exponent() {
  return sizeof(T) == sizeof(float) ? T(-29.11) : T(-235.6);  // 42 and 340 binary orders
}

// exp(-offset^2 / (2 sigma^2)) of a voxel centre's offset from the particle. Zero for infinity, NaN for NaN.
template <typename T>
BACKMAP_HD T axis_factor(const Gaussian<T>& gaussian, T offset) {
  const T t = offset * gaussian.inverse, exponent = -(t * t);
  return exponent < faintest_exponent<T>() ? T(0) : decaying_exponential(exponent);
}

// Derivative of `axis_factor` with respect to the coordinate of the particle; `value` is its result.
template <typename T>
BACKMAP_HD T axis_slope(const Gaussian<T>& gaussian, T offset, T factor) {
  const T t = offset * gaussian.inverse;  // may be infinite if the factor is zero
  return factor == T(0) ? T(0) : T(2) * t * gaussian.inverse * factor;
}

}  // namespace backmap
