// Sums of the listed terms of a molecule.
#pragma once

#include "core/molecular_mechanics.h"

namespace backmap::cpu {

// Adds the gradients of the listed terms, and returns their energy.
template <typename T>
BACKMAP_HD double sum_listed(const ListedTerms<T>& terms, const T* positions, T* gradient) {
  const auto add = [gradient](int64_t atom, const Vec3<T>& grad)
                       __attribute__((always_inline)) { store(gradient + 3 * atom, load(gradient + 3 * atom) + grad); };
  double energy = 0;
  for (int64_t m = 0; m < terms.bonds; ++m) energy += double(listed_bond(terms, m, positions, add));
  for (int64_t m = 0; m < terms.angles; ++m) energy += double(listed_angle(terms, m, positions, add));
  for (int64_t m = 0; m < terms.torsions; ++m) energy += double(listed_torsion(terms, m, positions, add));
  for (int64_t m = 0; m < terms.pairs; ++m) energy += double(listed_pair(terms, m, positions, add));
  return energy;
}

}  // namespace backmap::cpu
