// The nearest-residue rule: smallest squared distance first, the lower residue index on ties.
#pragma once

#include <cstdint>
#include <limits>

#include "core/vec3.h"

namespace backmap {

// Squared distance and index of a residue.
template <typename T>
struct Neighbour {
  T squared;
  int32_t residue;
};

// Stands for no residue: farther than any.
template <typename T>
BACKMAP_HD Neighbour<T> nobody() {
  return {std::numeric_limits<T>::infinity(), std::numeric_limits<int32_t>::max()};
}

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
