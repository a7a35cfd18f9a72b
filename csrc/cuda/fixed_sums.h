// Energies and gradients of many frames as sums of terms in fixed point, which do not depend on the order of the terms.
#pragma once

#include <cmath>

#include "cuda/launch.h"

namespace backmap::cuda {

constexpr double steps_of_unit = 16777216.0;  // 2^24 per kJ/mol or kJ/mol/nm
constexpr double largest_term = 2.7e11;       // 2^62 steps, so that two sums do not overflow

using FixedPoint = unsigned long long;

// Sums of each frame.
struct Sums {
  FixedPoint* gradient;  // (batch, atoms, 3)
  FixedPoint* energy;    // (batch)
  int* broken;           // (batch): how many atoms have positions that are not finite
};

inline Sums sums_in(void* workspace, int64_t batch, int64_t atoms) {
  FixedPoint* gradient = static_cast<FixedPoint*>(workspace);
  FixedPoint* energy = gradient + 3 * batch * atoms;
  return {gradient, energy, reinterpret_cast<int*>(energy + batch)};
}

inline int64_t bytes_of_sums(int64_t batch, int64_t atoms) {
  return batch * (3 * atoms + 1) * int64_t(sizeof(FixedPoint)) + batch * int64_t(sizeof(int));
}

__device__ inline void add_fixed(FixedPoint* sum, double value) {
  const double bounded = value > largest_term ? largest_term : value < -largest_term ? -largest_term : value;
  // Negative numbers wrap round, and their sums back.
  atomicAdd(sum, static_cast<FixedPoint>(static_cast<long long>(std::rint(bounded * steps_of_unit))));
}

__device__ inline double from_fixed(FixedPoint sum) { return double(static_cast<long long>(sum)) / steps_of_unit; }

// Adds the gradient of a term by one atom.
template <typename T>
__device__ void add_fixed(FixedPoint* gradient, const Vec3<T>& grad) {
  add_fixed(gradient, double(grad.x));
  add_fixed(gradient + 1, double(grad.y));
  add_fixed(gradient + 2, double(grad.z));
}

[[maybe_unused]] static __global__ void clear_sums(Sums sums, int64_t batch, int64_t atoms) {
  const int64_t n = thread_of_grid();
  if (n < 3 * batch * atoms) sums.gradient[n] = 0;
  if (n < batch) sums.energy[n] = 0, sums.broken[n] = 0;
}

}  // namespace backmap::cuda
