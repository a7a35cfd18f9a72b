// An order of points in which neighbours are mostly near each other in space.
#pragma once

#include <cstdint>

#include "core/periodic_box.h"
#include "core/vec3.h"

namespace backmap {

// A box that is halved again and again, each time across its longest side. The 2^halvings cells are numbered so that
// the first halving decides the highest bit.
template <typename T>
struct HalvedBox {
  PeriodicBox<T> box;
  Vec3<T> low, size;  // in a periodic box, from zero along the distances between its faces
  int32_t halvings;
};

// The fewest halvings into at least as many cells as points.
BACKMAP_HD int32_t halvings_for(int64_t points) {
  int32_t halvings = 0;
  while ((int64_t(1) << halvings) < points) ++halvings;
  return halvings;
}

// The cell of a point; of points outside, and of those that are not finite, any cell.
template <typename T>
BACKMAP_HD int64_t cell_of(const Vec3<T>& point, const HalvedBox<T>& halved) {
  Vec3<T> at = point - halved.low, size = halved.size;
  if (halved.box.exists) {
    const Vec3<double> fraction = box_fractions(moved_into_box(point, halved.box), halved.box);
    at = {T(fraction.x) * size.x, T(fraction.y) * size.y, T(fraction.z) * size.z};
  }
  int64_t cell = 0;
  for (int32_t h = 0; h < halved.halvings; ++h) {
    const bool x = size.x >= size.y && size.x >= size.z, y = !x && size.y >= size.z;
    T &side = x ? size.x : (y ? size.y : size.z), &along = x ? at.x : (y ? at.y : at.z);
    side *= T(0.5);
    const bool upper = along >= side;
    if (upper) along -= side;
    cell = 2 * cell + upper;
  }
  return cell;
}

}  // namespace backmap
