// Bounding boxes in chunks, so that vectors compute the distances of a point to all boxes of a chunk.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/bounds.h"
#include "core/vec3.h"
#include "cpu/lanes.h"
#include "cpu/smallest.h"

namespace backmap::cpu {

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
      const Lanes<T> dx = outside_box(corner, x), dy = outside_box(corner + L, y), dz = outside_box(corner + 2 * L, z);
      store_lanes(squared + box, dx * dx + dy * dy + dz * dz);
    }
  }

 private:
  static constexpr int64_t L = lane_count<T>;

  BACKMAP_HD static Lanes<T> outside_box(const T* low, const Lanes<T>& v) {
    return outside(load_lanes(low), load_lanes(low + 3 * L), v);
  }

  std::vector<T> corners_;
};

}  // namespace backmap::cpu
