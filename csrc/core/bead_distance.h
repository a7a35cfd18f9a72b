// Distances of beads, softened so that coinciding beads have finite gradients.
#pragma once

#include "core/vec3.h"

namespace backmap {

// The squared distance of beads that are `d` apart (nm), plus a little.
template <typename T>
BACKMAP_HD T softened_square(const Vec3<T>& d) {
  return dot(d, d) + T(1e-8);
}

}  // namespace backmap
