// The nearest-residue rule: smallest squared distance first, the lower residue index on ties.
#pragma once

#include <cstdint>
#include <limits>

#include "core/vec3.h"

namespace backmap {

// Squared distance and index of a residue; the initial value means "no residue" and is farther than any.
template <typename T>
struct Neighbour {
  T squared = std::numeric_limits<T>::infinity();
  int32_t residue = std::numeric_limits<int32_t>::max();
};

template <typename T>
BACKMAP_HD bool nearer(const Neighbour<T>& a, const Neighbour<T>& b) {
  return a.squared < b.squared || (a.squared == b.squared && a.residue < b.residue);
}

// Whether a residue at this squared distance can be chosen: NaN and infinity cannot.
template <typename T>
BACKMAP_HD bool reachable(T squared) {
  return squared < std::numeric_limits<T>::infinity();
}

}  // namespace backmap
