// The order of nearest residues: smallest squared distance first, the lower residue index on ties.
#pragma once

#include <cstdint>
#include <limits>

#include "core/periodic_box.h"
#include "core/vec3.h"

namespace backmap {

// Squared distance and index of a residue.
template <typename T>
struct Neighbour {
  T squared;
  int32_t residue;
};

// Placeholder for "no residue", farther than any residue.
template <typename T>
BACKMAP_HD Neighbour<T> nobody() {
  return {std::numeric_limits<T>::infinity(), std::numeric_limits<int32_t>::max()};
}

template <typename T>
BACKMAP_HD bool nearer(const Neighbour<T>& a, const Neighbour<T>& b) {
  return a.squared < b.squared || (a.squared == b.squared && a.residue < b.residue);
}

// The shift of a residue to its image nearest to a point: that of its nearest atom i with counts(i), the first on ties.
template <typename T, typename Counts>
BACKMAP_HD Vec3<T> shift_to_image(const T* atoms, int64_t slots, const Vec3<T>& point, const PeriodicBox<T>& box,
                                  const Counts& counts) {
  Vec3<T> shift{T(0), T(0), T(0)};
  T least = std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < slots; ++i) {
    if (!counts(i)) continue;
    const Vec3<T> offset = load(atoms + 3 * i) - point, image = minimum_image(offset, box);
    const T squared = dot(image, image);
    if (!(squared < least)) continue;
    least = squared;
    shift = image_shift(offset, box);
  }
  return shift;
}

// Whether a residue at this squared distance can be chosen; false for NaN and infinity.
template <typename T>
BACKMAP_HD bool reachable(T squared) {
  return squared < std::numeric_limits<T>::infinity();
}

}  // namespace backmap
