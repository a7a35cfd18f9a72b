// Spheres in a periodic box, in chunks, so that vectors compute the distances of a point to all spheres of a chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/bounds.h"
#include "core/periodic_box.h"
#include "cpu/lanes.h"
#include "cpu/smallest.h"

namespace backmap::cpu {

// `minimum_image` of a vector of differences.
template <typename T>
BACKMAP_HD void to_minimum_image(Lanes<T>& x, Lanes<T>& y, Lanes<T>& z, const PeriodicBox<T>& box) {
  const Lanes<T> c = rounded<T>(z / broadcast(box.c.z));
  x -= c * broadcast(box.c.x), y -= c * broadcast(box.c.y), z -= c * broadcast(box.c.z);
  const Lanes<T> b = rounded<T>(y / broadcast(box.b.y));
  x -= b * broadcast(box.b.x), y -= b * broadcast(box.b.y);
  const Lanes<T> a = rounded<T>(x / broadcast(box.a.x));
  x -= a * broadcast(box.a.x);
}

template <typename T>
class Spheres {
 public:
  // Spheres that have not been set lie at infinity.
  void resize(int64_t count, const PeriodicBox<T>& box) {
    box_ = box;
    farthest_ = norm(box.a) + norm(box.b) + norm(box.c);
    numbers_.assign(4 * whole_chunks(count), T(0));
    for (int64_t s = 0; s < whole_chunks(count); ++s) at(s)[3 * L] = -std::numeric_limits<T>::infinity();
  }

  // Places a sphere of radius zero.
  void set(int64_t sphere, const Vec3<T>& centre) {
    T* p = at(sphere);
    p[0] = centre.x, p[L] = centre.y, p[2 * L] = centre.z, p[3 * L] = T(0);
  }

  // Widens a sphere to include the nearest image of a point.
  void include(int64_t sphere, const Vec3<T>& point) {
    T* p = at(sphere);
    const Vec3<T> d = minimum_image(point - Vec3<T>{p[0], p[L], p[2 * L]}, box_);
    p[3 * L] = std::max(p[3 * L], norm(d));
    farthest_ = std::max(farthest_, farthest_coordinate(point));
  }

  // Lower bounds, for the spheres of one chunk, of the squared distance by `minimum_image` from the point to any point
  // inside.
  BACKMAP_HD void measure(const Vec3<T>& point, int64_t which, T* squared) const {
    const Lanes<T> rounding = broadcast(rounding_of_images(std::max(farthest_, farthest_coordinate(point)))),
                   exact = broadcast(exact_length(box_));
    const T* p = numbers_.data() + 4 * chunk * which;
    for (int64_t sphere = 0; sphere < chunk; sphere += L, p += 4 * L) {
      const Lanes<T> least = least_distance_to_sphere(distance_to(point, p), exact, load_lanes(p + 3 * L), rounding);
      store_lanes(squared + sphere, least * least);
    }
  }

  // Squared distances to the far sides of the spheres of one chunk.
  BACKMAP_HD void measure_far_sides(const Vec3<T>& point, int64_t which, T* squared) const {
    const T* p = numbers_.data() + 4 * chunk * which;
    for (int64_t sphere = 0; sphere < chunk; sphere += L, p += 4 * L) {
      const Lanes<T> radius = load_lanes(p + 3 * L);
      const Lanes<T> most = distance_to(point, p) + (radius > -radius ? radius : -radius);  // infinite for no sphere
      store_lanes(squared + sphere, most * most);
    }
  }

 private:
  static constexpr int64_t L = lane_count<T>;

  // Distances from a point to the centres of one vector of spheres.
  BACKMAP_HD Lanes<T> distance_to(const Vec3<T>& point, const T* p) const {
    Lanes<T> dx = broadcast(point.x) - load_lanes(p), dy = broadcast(point.y) - load_lanes(p + L),
             dz = broadcast(point.z) - load_lanes(p + 2 * L);
    to_minimum_image(dx, dy, dz, box_);
    return square_root<T>(dx * dx + dy * dy + dz * dz);
  }

  T* at(int64_t sphere) { return numbers_.data() + sphere / L * 4 * L + sphere % L; }

  PeriodicBox<T> box_{};
  T farthest_ = T(0);
  std::vector<T> numbers_;
};

}  // namespace backmap::cpu
