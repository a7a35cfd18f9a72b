// Periodic boxes in the reduced form of GROMACS and OpenMM: a = (ax, 0, 0), b = (bx, by, 0), c = (cx, cy, cz).
#pragma once

#include <cmath>
#include <cstdint>

#include "core/vec3.h"

namespace backmap {

template <typename T>
struct PeriodicBox {
  bool exists;
  Vec3<T> a, b, c;
};

// The box of frame b, stored as three rows of three numbers; none for a null pointer.
template <typename T>
BACKMAP_HD PeriodicBox<T> box_of_frame(const T* boxes, int64_t stride, int64_t b) {
  if (boxes == nullptr) return {};
  const T* p = boxes + stride * b;
  return {true, load(p), load(p + 3), load(p + 6)};
}

// The image of a difference that is shorter than half of the least of ax, by and cz, if there is one; else an image
// that is close to the shortest.
template <typename T>
BACKMAP_HD Vec3<T> minimum_image(Vec3<T> d, const PeriodicBox<T>& box) {
  if (!box.exists) return d;
  d -= std::rint(d.z / box.c.z) * box.c;
  d -= std::rint(d.y / box.b.y) * box.b;
  d -= std::rint(d.x / box.a.x) * box.a;
  return d;
}

// The whole box vectors that `minimum_image` adds to a difference.
template <typename T>
BACKMAP_HD Vec3<T> image_shift(Vec3<T> d, const PeriodicBox<T>& box) {
  if (!box.exists) return {T(0), T(0), T(0)};
  const T z = -std::rint(d.z / box.c.z);
  d += z * box.c;
  const T y = -std::rint(d.y / box.b.y);
  d += y * box.b;
  const T x = -std::rint(d.x / box.a.x);
  return z * box.c + y * box.b + x * box.a;
}

// Below this length `minimum_image` is the shortest image: half of the least of ax, by and cz.
template <typename T>
BACKMAP_HD T exact_length(const PeriodicBox<T>& box) {
  const T ax = box.a.x, by = box.b.y, cz = box.c.z, least = ax < by ? ax : by;
  return T(0.5) * (cz < least ? cz : least);
}

template <typename T>
BACKMAP_HD Vec3<double> widened(const Vec3<T>& v) {
  return {double(v.x), double(v.y), double(v.z)};
}

// Coordinates along the box vectors.
template <typename T>
BACKMAP_HD Vec3<double> box_fractions(const Vec3<T>& v, const PeriodicBox<T>& box) {
  const double z = double(v.z) / double(box.c.z);
  const double y = (double(v.y) - z * double(box.c.y)) / double(box.b.y);
  const double x = (double(v.x) - z * double(box.c.x) - y * double(box.b.x)) / double(box.a.x);
  return {x, y, z};
}

// Moves a point into the box by whole box vectors; to the corner of the box if its coordinates overflow.
template <typename T>
BACKMAP_HD Vec3<T> moved_into_box(const Vec3<T>& v, const PeriodicBox<T>& box) {
  if (!box.exists) return v;
  const auto wrapped = [](double s) {
    const double fraction = s - std::floor(s);
    return fraction >= 0 && fraction < 1 ? fraction : 0.0;
  };
  const Vec3<double> s = box_fractions(v, box);
  const Vec3<double> w = wrapped(s.x) * widened(box.a) + wrapped(s.y) * widened(box.b) + wrapped(s.z) * widened(box.c);
  return {T(w.x), T(w.y), T(w.z)};
}

// Distances between opposite faces.
template <typename T>
BACKMAP_HD Vec3<double> face_distances(const PeriodicBox<T>& box) {
  const Vec3<double> a = widened(box.a), b = widened(box.b), c = widened(box.c);
  const double volume = a.x * b.y * c.z;
  return {volume / norm(cross(b, c)), volume / norm(cross(c, a)), volume / norm(cross(a, b))};
}

}  // namespace backmap
