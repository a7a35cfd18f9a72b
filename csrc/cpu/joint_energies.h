// Penalties of a joint at all angles, in vectors: cells of a table first, then the look-ups.
#pragma once

#include <cstdint>

#include "core/joint_penalty.h"

namespace backmap::cpu {

// energy[k] = the penalty of angle k after an angle of some cosine and sine. `table` is that of the kind of the joint.
template <typename T>
BACKMAP_HD void joint_energies(const T* form, int64_t quantities, const T* __restrict table, int32_t cells, T cosine,
                               T sine, const T* __restrict wave, int64_t angles, T* __restrict own,
                               int32_t* __restrict cell, T* __restrict energy) {
  for (int64_t n = 0; n < quantities * waves_of_angle; ++n) own[n] = form_after(form, quantities, n, cosine, sine);
  for (int64_t k = 0; k < angles; ++k) cell[k] = torsion_cell(own, wave, angles, k, cells);
  if (quantities == torsion_quantities)
    for (int64_t k = 0; k < angles; ++k) energy[k] = strain_energy(own, torsion_quantities, wave, angles, k);
  else
    for (int64_t k = 0; k < angles; ++k) energy[k] = strain_energy(own, quantities, wave, angles, k);
  for (int64_t k = 0; k < angles; ++k) energy[k] += table[cell[k]];
}

}  // namespace backmap::cpu
