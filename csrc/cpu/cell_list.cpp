// Inner loops that sort atoms by cell.
#include "cpu/cell_list.h"

#include "cpu/clones.h"

namespace backmap::cpu {
namespace {

template <typename T>
BACKMAP_HD void bound(const SphereSource<T>& source, int64_t begin, int64_t end, Bounds<T>& bounds) {
  for (int64_t i = begin; i < end; ++i)
    if (source.exists(i)) bounds.include(load(source.atoms + 3 * i));
}

template <typename T>
BACKMAP_HD void assign(const SphereSource<T>& source, const CellSpace<T>& space, uint32_t mask, int64_t begin,
                       int64_t end, uint32_t* bucket) {
  for (int64_t i = begin; i < end; ++i) {
    bucket[i] = no_bucket;
    if (!source.exists(i)) continue;
    const Cell cell = cell_of(moved_into_box(load(source.atoms + 3 * i), space.box), space);
    bucket[i] = bucket_of(row_of(cell.y, cell.z, space), cell.x, mask);
  }
}

template <typename T>
BACKMAP_HD void fill(const SphereSource<T>& source, const CellSpace<T>& space, int64_t begin, int64_t end,
                     const SortedSpheres<T>& spheres) {
  for (int64_t p = begin; p < end; ++p) {
    const int64_t i = spheres.index[p];
    const Vec3<T> position = moved_into_box(load(source.atoms + 3 * i), space.box);
    const Cell cell = cell_of(position, space);
    spheres.x[p] = position.x, spheres.y[p] = position.y, spheres.z[p] = position.z;
    spheres.radius[p] = source.scaled_radius(i) + space.slack / 2;
    spheres.row[p] = row_of(cell.y, cell.z, space);
  }
}

}  // namespace

BACKMAP_CLONES void bound_spheres(const SphereSource<float>& source, int64_t begin, int64_t end,
                                  Bounds<float>& bounds) {
  bound(source, begin, end, bounds);
}
BACKMAP_CLONES void bound_spheres(const SphereSource<double>& source, int64_t begin, int64_t end,
                                  Bounds<double>& bounds) {
  bound(source, begin, end, bounds);
}

BACKMAP_CLONES void assign_buckets(const SphereSource<float>& source, const CellSpace<float>& space, uint32_t mask,
                                   int64_t begin, int64_t end, uint32_t* bucket) {
  assign(source, space, mask, begin, end, bucket);
}
BACKMAP_CLONES void assign_buckets(const SphereSource<double>& source, const CellSpace<double>& space, uint32_t mask,
                                   int64_t begin, int64_t end, uint32_t* bucket) {
  assign(source, space, mask, begin, end, bucket);
}

BACKMAP_CLONES void fill_spheres(const SphereSource<float>& source, const CellSpace<float>& space, int64_t begin,
                                 int64_t end, const SortedSpheres<float>& spheres) {
  fill(source, space, begin, end, spheres);
}
BACKMAP_CLONES void fill_spheres(const SphereSource<double>& source, const CellSpace<double>& space, int64_t begin,
                                 int64_t end, const SortedSpheres<double>& spheres) {
  fill(source, space, begin, end, spheres);
}

}  // namespace backmap::cpu
