// Centres of densities: normalised first moments, and their derivatives.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/exponential.h"
#include "core/vec3.h"
#include "core/voxel_grid.h"

namespace backmap {

// 1 / (1 + exp(-logit)) and its derivative.
template <typename T>
struct Logistic {
  T value, slope;
};

template <typename T>
BACKMAP_HD Logistic<T> logistic(T logit) {
  const T tail = decaying_exponential(-std::fabs(logit));
  const T head = T(1) / (T(1) + tail), other = tail * head;
  return {logit < T(0) ? other : head, head * other};
}

// The weight of a voxel: the logistic function of a logit, or a density itself, with negative densities as zero. The
// weight of NaN, and of a density of minus infinity, is NaN.
template <bool logits, typename T>
BACKMAP_HD T voxel_weight(T value) {
  if constexpr (logits) return logistic(value).value;
  else return value > T(0) ? value : T(0) * value;
}

template <bool logits, typename T>
BACKMAP_HD T voxel_weight_slope(T value) {
  if constexpr (logits) return logistic(value).slope;
  else return value < T(0) ? T(0) : T(1);
}

// Sums over the voxels of a cube: weights, and weights times centres in half spacings.
template <typename T>
struct Moments {
  T total;
  Vec3<T> first;
};

// The centre of the grid if the total weight is zero; NaN if a sum is not finite.
template <typename T>
BACKMAP_HD Vec3<T> centre_of(const VoxelGrid<T>& grid, const Moments<T>& m) {
  if (m.total == T(0)) return {T(0), T(0), T(0)};
  const T total = m.total + T(0) * (m.first.x + m.first.y + m.first.z);
  return grid.half_spacing * Vec3<T>{m.first.x / total, m.first.y / total, m.first.z / total};
}

// The derivative of grad . centre with respect to the weight of voxel (i, j, k) is x(i) + y(j) + z(k).
template <typename T>
struct CentreBackward {
  VoxelGrid<T> grid;
  Vec3<T> centre, scale;

  BACKMAP_HD T x(int32_t i) const { return scale.x * (grid.centre(i) - centre.x); }
  BACKMAP_HD T y(int32_t j) const { return scale.y * (grid.centre(j) - centre.y); }
  BACKMAP_HD T z(int32_t k) const { return scale.z * (grid.centre(k) - centre.z); }
};

// `centre` is the result of `centre_of`, `total` its argument. Zero if the total weight is zero.
template <typename T>
BACKMAP_HD CentreBackward<T> centre_backward(const VoxelGrid<T>& grid, const Vec3<T>& centre, T total,
                                             const Vec3<T>& grad) {
  if (total == T(0)) return {grid, centre, {T(0), T(0), T(0)}};
  return {grid, centre, {grad.x / total, grad.y / total, grad.z / total}};
}

}  // namespace backmap
