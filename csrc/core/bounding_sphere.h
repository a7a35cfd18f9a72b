// Spheres around groups of atoms, to tell early that two groups cannot touch.
#pragma once

#include <cstdint>

#include "core/periodic_box.h"
#include "core/vec3.h"

namespace backmap {

template <typename T>
struct Sphere {
  Vec3<T> centre;
  T radius;  // negative for a group without atoms
};

// Sphere that encloses the spheres of a group: atom(n, sphere) sets the n-th and returns whether it exists; atoms
// that are not finite do not. The centre is the mean, which makes a much tighter sphere than the C-alpha would.
template <typename T, typename Atom>
BACKMAP_HD Sphere<T> bounding_sphere(int64_t count, const Atom& atom) {
  Sphere<T> part{};
  Vec3<T> sum{T(0), T(0), T(0)};
  int64_t existing = 0;
  for (int64_t n = 0; n < count; ++n) {
    if (!atom(n, part) || !is_finite(part.centre)) continue;
    sum += part.centre;
    ++existing;
  }
  if (existing == 0 || !is_finite(sum)) return {{T(0), T(0), T(0)}, T(-1)};
  Sphere<T> whole{(T(1) / T(existing)) * sum, T(0)};
  for (int64_t n = 0; n < count; ++n) {
    if (!atom(n, part) || !is_finite(part.centre)) continue;
    const T needed = norm(part.centre - whole.centre) + part.radius;
    whole.radius = needed > whole.radius ? needed : whole.radius;
  }
  return whole;
}

// A little more than the sum of the radii, so that rounding never hides a contact.
template <typename T>
BACKMAP_HD T contact_reach(const Sphere<T>& a, const Sphere<T>& b) {
  return T(1.0001) * (a.radius + b.radius);
}

// Whether two spheres, or images of them, may touch; also true if the box is too narrow to tell.
template <typename T>
BACKMAP_HD bool may_touch(const Sphere<T>& a, const Sphere<T>& b, const PeriodicBox<T>& box) {
  if (!(a.radius >= T(0) && b.radius >= T(0))) return false;
  const T reach = contact_reach(a, b);
  if (box.exists && reach >= exact_length(box)) return true;
  const Vec3<T> d = minimum_image(a.centre - b.centre, box);
  return dot(d, d) < reach * reach;
}

}  // namespace backmap
