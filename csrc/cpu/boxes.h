// Bounding boxes in chunks, so that vectors compute the distances of a point to all boxes of a chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/vec3.h"
#include "cpu/lanes.h"
#include "cpu/smallest.h"

namespace backmap::cpu {

// The smallest box around points.
template <typename T>
struct Extent {
  static constexpr T infinity = std::numeric_limits<T>::infinity();
  Vec3<T> low{infinity, infinity, infinity}, high{-infinity, -infinity, -infinity};

  void include(const Vec3<T>& p) {
    low = {std::min(low.x, p.x), std::min(low.y, p.y), std::min(low.z, p.z)};
    high = {std::max(high.x, p.x), std::max(high.y, p.y), std::max(high.z, p.z)};
  }
};

template <typename T>
class Boxes {
 public:
  // Boxes that have not been set lie at infinity.
  void resize(int64_t count) { corners_.assign(6 * whole_chunks(count), std::numeric_limits<T>::infinity()); }

  void set(int64_t box, const Extent<T>& extent) {
    const auto& [low, high] = extent;
    T* corner = corners_.data() + box / L * 6 * L + box % L;
    for (const T v : {low.x, low.y, low.z, high.x, high.y, high.z}) {
      *corner = v;
      corner += L;
    }
  }

  // Squared distances to the boxes of one chunk, computed in the order of `squared_distance`.
  BACKMAP_HD void measure(const Vec3<T>& point, int64_t which, T* squared) const {
    const Lanes<T> x = broadcast(point.x), y = broadcast(point.y), z = broadcast(point.z);
    const T* corner = corners_.data() + 6 * chunk * which;
    for (int64_t box = 0; box < chunk; box += L, corner += 6 * L) {
      const Lanes<T> dx = outside(corner, x), dy = outside(corner + L, y), dz = outside(corner + 2 * L, z);
      store_lanes(squared + box, dx * dx + dy * dy + dz * dz);
    }
  }

 private:
  static constexpr int64_t L = lane_count<T>;

  BACKMAP_HD static Lanes<T> outside(const T* low, const Lanes<T>& v) {
    const Lanes<T> below = load_lanes(low) - v, above = v - load_lanes(low + 3 * L), inside{};
    const Lanes<T> distance = below > above ? below : above;
    return inside > distance ? inside : distance;  // in this order, so that NaN stays
  }

  std::vector<T> corners_;
};

}  // namespace backmap::cpu
