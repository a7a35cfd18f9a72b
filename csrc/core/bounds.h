// Lower bounds of the distance of a point to any point of a group, also after rounding: those of a bounding box, and in
// a periodic box those of a sphere, because distances are to the nearest image. `V` is a number or a vector of numbers.
#pragma once

#include <cmath>
#include <limits>

#include "core/periodic_box.h"
#include "core/vec3.h"

namespace backmap {

// The smallest box around points.
template <typename T>
struct Extent {
  static constexpr T infinity = std::numeric_limits<T>::infinity();
  Vec3<T> low{infinity, infinity, infinity}, high{-infinity, -infinity, -infinity};

  BACKMAP_HD void include(const Vec3<T>& p) {
    low = {p.x < low.x ? p.x : low.x, p.y < low.y ? p.y : low.y, p.z < low.z ? p.z : low.z};
    high = {p.x > high.x ? p.x : high.x, p.y > high.y ? p.y : high.y, p.z > high.z ? p.z : high.z};
  }
};

// How far a coordinate lies outside a range. Rounding is monotonic, so that the sum of the squares along x, y and z, in
// the order of `squared_distance`, never exceeds the computed squared distance to a point inside, and ties stay ties.
template <typename V>
BACKMAP_HD V outside(const V& low, const V& high, const V& v) {
  const V below = low - v, above = v - high, inside{};
  const V distance = below > above ? below : above;
  return inside > distance ? inside : distance;  // in this order, so that NaN stays
}

// Most that rounding adds to distances by `minimum_image` between points whose coordinates, and the lengths of the box,
// are no longer than `reach`.
template <typename T>
BACKMAP_HD T rounding_of_images(T reach) {
  const T rounding = 32 * std::numeric_limits<T>::epsilon() * reach, largest = std::numeric_limits<T>::max();
  return rounding < largest ? rounding : largest;
}

// Lower bound of the distance by `minimum_image` from a point to any point of a sphere. That distance is never shorter
// than the true distance, and equal to it below `exact_length`. The bound is the triangle inequality: the distance to
// the centre, capped where it may be inexact, minus the radius.
template <typename V>
BACKMAP_HD V least_distance_to_sphere(const V& to_centre, const V& exact, const V& radius, const V& rounding) {
  const V least = (to_centre < exact ? to_centre : exact) - radius - rounding, none{};
  return least > none ? least : none;
}

template <typename T>
BACKMAP_HD T squared_distance_to_box(const Vec3<T>& point, const Extent<T>& extent) {
  const Vec3<T> d{outside(extent.low.x, extent.high.x, point.x), outside(extent.low.y, extent.high.y, point.y),
                  outside(extent.low.z, extent.high.z, point.z)};
  return dot(d, d);
}

// The bounds of a group of points. In a periodic box, the extent is that of their nearest images around the centre of a
// sphere, and `rounding` that of distances to them.
template <typename T>
struct Bounds {
  Extent<T> extent;
  Vec3<T> centre;
  T radius, rounding;
};

// Lower bound of the squared distance of a point to any point of a group. `rounding` is that of distances to the point.
template <typename T>
BACKMAP_HD T least_squared_distance(const Vec3<T>& point, const Bounds<T>& bounds, const PeriodicBox<T>& box,
                                    T rounding) {
  if (!box.exists) return squared_distance_to_box(point, bounds.extent);
  const Vec3<T> away = minimum_image(point - bounds.centre, box);
  const T to_centre = norm(away), exact = exact_length(box), both = rounding + bounds.rounding;
  T least = least_distance_to_sphere(to_centre, exact, bounds.radius, both);
  if (to_centre + bounds.radius + both < exact) {  // the images around this centre are the nearest ones of the point
    const T to_box = std::sqrt(squared_distance_to_box(away, bounds.extent)) - both;
    least = to_box > least ? to_box : least;
  }
  return least * least;
}

template <typename T>
BACKMAP_HD T farthest_coordinate(const Vec3<T>& v) {
  const T x = std::fabs(v.x), y = std::fabs(v.y), z = std::fabs(v.z), most = x > y ? x : y;
  return z > most ? z : most;
}

}  // namespace backmap
