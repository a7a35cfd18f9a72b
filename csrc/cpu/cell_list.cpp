// The inner loop of the search for atoms that touch.
#include "cpu/cell_list.h"

#include "cpu/clones.h"

namespace backmap::cpu {
namespace {

template <typename T>
BACKMAP_HD int64_t collect_overlaps(const Spheres<T>& s, int64_t begin, int64_t end, const Vec3<T>& centre, T radius,
                                    uint32_t row, int32_t* found) {
  int64_t count = 0;
  for (int64_t k = begin; k < end; k += sphere_padding) {
    T gap[sphere_padding];
#pragma omp simd
    for (int n = 0; n < sphere_padding; ++n) {
      const T contact = radius + s.radius[k + n];
      gap[n] = squared_distance(centre, Vec3<T>{s.x[k + n], s.y[k + n], s.z[k + n]}) - contact * contact;
    }
    const int64_t last = std::min<int64_t>(end - k, sphere_padding);
    for (int64_t n = 0; n < last; ++n) {  // without branches, which nobody could predict
      found[count] = int32_t(k + n);
      count += int(gap[n] < T(0)) & int(s.row[k + n] == row);
    }
  }
  return count;
}

}  // namespace

BACKMAP_CLONES int64_t find_overlaps(const Spheres<float>& spheres, int64_t begin, int64_t end,
                                     const Vec3<float>& centre, float radius, uint32_t row, int32_t* found) {
  return collect_overlaps(spheres, begin, end, centre, radius, row, found);
}

BACKMAP_CLONES int64_t find_overlaps(const Spheres<double>& spheres, int64_t begin, int64_t end,
                                     const Vec3<double>& centre, double radius, uint32_t row, int32_t* found) {
  return collect_overlaps(spheres, begin, end, centre, radius, row, found);
}

}  // namespace backmap::cpu
