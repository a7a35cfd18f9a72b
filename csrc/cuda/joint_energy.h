// The penalty of a joint at one angle, for kernels with a thread per angle.
#pragma once

#include <cstdint>

#include "core/joint_penalty.h"
#include "cuda/launch.h"

namespace backmap::cuda {

// `table` is that of the kind of the joint.
template <typename T>
__device__ T joint_energy(const T* form, int64_t quantities, const T* table, int32_t cells, T cosine, T sine,
                          const T* wave, int64_t angles, int64_t k) {
  T torsions[torsion_quantities * waves_of_angle];
  for (int64_t n = 0; n < torsion_quantities * waves_of_angle; ++n)
    torsions[n] = form_after(form, quantities, n, cosine, sine);
  T energy = strain_energy(torsions, torsion_quantities, wave, angles, k);
  for (int64_t q = torsion_quantities; q < quantities; ++q) {
    T own[waves_of_angle];
    for (int64_t m = 0; m < waves_of_angle; ++m)
      own[m] = form_after(form, quantities, q * waves_of_angle + m, cosine, sine);
    energy += strain_energy(own, 1, wave, angles, k);
  }
  return energy + table[torsion_cell(torsions, wave, angles, k, cells)];
}

}  // namespace backmap::cuda
