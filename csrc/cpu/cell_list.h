// The atoms of one frame sorted by cell, to find atoms in contact. Threads share the work within a frame.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

#include "core/cell_hash.h"
#include "core/pair_terms.h"
#include "cpu/parallel.h"

namespace backmap::cpu {

constexpr int64_t atoms_per_thread = 4096;  // fewer are not worth a thread

// Atoms as spheres. Two spheres overlap if their distance is less than the sum of their radii.
template <typename T>
struct SphereSource {
  int64_t count;
  const T* atoms;
  const bool* present;
  const T* radius;  // null: all are 1
  T scale;          // factor of the radii

  bool exists(int64_t i) const {
    return present[i] && is_finite(load(atoms + 3 * i)) && (radius == nullptr || is_radius(radius[i]));
  }
  T scaled_radius(int64_t i) const { return radius == nullptr ? scale : scale * radius[i]; }
};

// The smallest and largest x and y; z is not needed.
template <typename T>
struct Bounds {
  T low_x = std::numeric_limits<T>::max(), low_y = low_x, high_x = -low_x, high_y = -low_x;

  BACKMAP_HD void include(const Vec3<T>& v) {
    low_x = std::min(low_x, v.x), high_x = std::max(high_x, v.x);
    low_y = std::min(low_y, v.y), high_y = std::max(high_y, v.y);
  }
};

// Spheres sorted by bucket, one array per coordinate, so that vectors compare many spheres with one; also the row of
// cells that each sphere is in, and its index in the frame.
template <typename T>
struct SortedSpheres {
  T *x, *y, *z, *radius;
  uint32_t* row;
  const int32_t* index;
};

constexpr int sphere_padding = 8;  // how many elements past the end may be read
constexpr uint32_t no_bucket = 0xffffffffu;

// The inner loops over a range, for each instruction set.
void bound_spheres(const SphereSource<float>& source, int64_t begin, int64_t end, Bounds<float>& bounds);
void bound_spheres(const SphereSource<double>& source, int64_t begin, int64_t end, Bounds<double>& bounds);
void assign_buckets(const SphereSource<float>& source, const CellSpace<float>& space, uint32_t mask, int64_t begin,
                    int64_t end, uint32_t* bucket);
void assign_buckets(const SphereSource<double>& source, const CellSpace<double>& space, uint32_t mask, int64_t begin,
                    int64_t end, uint32_t* bucket);
void fill_spheres(const SphereSource<float>& source, const CellSpace<float>& space, int64_t begin, int64_t end,
                  const SortedSpheres<float>& spheres);
void fill_spheres(const SphereSource<double>& source, const CellSpace<double>& space, int64_t begin, int64_t end,
                  const SortedSpheres<double>& spheres);

// Writes to `found` the spheres from `begin` to `end` that overlap with the given sphere and are in the given row;
// returns their number.
template <typename T>
BACKMAP_HD int64_t find_overlaps(const SortedSpheres<T>& s, int64_t begin, int64_t end, const Vec3<T>& centre, T radius,
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
    for (int64_t n = 0; n < last; ++n) {  // without branches, which would be unpredictable
      found[count] = int32_t(k + n);
      count += int(gap[n] < T(0)) & int(s.row[k + n] == row);
    }
  }
  return count;
}

template <typename T>
class CellList {
 public:
  // Sorts the spheres that exist. Overlaps are found if radii sum to at most `reach`.
  void build(const SphereSource<T>& source, double reach, const PeriodicBox<T>& box) {
    space_ = cell_space(reach, box);
    const int64_t buckets = bucket_count(source.count);
    mask_ = uint32_t(buckets - 1);
    if (!box.exists) name_rows(source);
    bucket_.resize(source.count);
    parallel_ranges(source.count, atoms_per_thread, [&](int64_t begin, int64_t end) {
      assign_buckets(source, space_, mask_, begin, end, bucket_.data());
    });
    index_.resize(source.count - std::count(bucket_.begin(), bucket_.end(), no_bucket));
    start_.resize(buckets + 1);
    parallel_ranges(buckets, atoms_per_thread, [&](int64_t first, int64_t last) { sort(first, last); });
    start_[buckets] = int32_t(size());
    for (std::vector<T>* v : {&x_, &y_, &z_, &radius_}) v->resize(size() + sphere_padding);
    row_.resize(size() + sphere_padding);
    spheres_ = {x_.data(), y_.data(), z_.data(), radius_.data(), row_.data(), index_.data()};
    parallel_ranges(size(), atoms_per_thread,
                    [&](int64_t begin, int64_t end) { fill_spheres(source, space_, begin, end, spheres_); });
  }

  // Number of spheres in the list, and the index in the frame of the p-th of them.
  int64_t size() const { return int64_t(index_.size()); }
  BACKMAP_HD int32_t index(int64_t p) const { return spheres_.index[p]; }

  // Calls visit(q) once for each sphere, from the `first` in the list on, that overlaps with the p-th. Positions moved
  // into the box are rounded, so that a visited sphere may be slightly out of contact.
  template <typename Visit>
  BACKMAP_HD void for_overlaps(int64_t p, int64_t first, std::vector<int32_t>& found, const Visit& visit) const {
    const Vec3<T> position{spheres_.x[p], spheres_.y[p], spheres_.z[p]};
    for_rows_near(position, space_, [&](uint32_t row, int32_t x, int32_t cells, const Vec3<T>& shift) {
      while (cells > 0) {  // twice if the row wraps around after the last bucket
        const uint32_t h = bucket_of(row, x, mask_);
        const int32_t stretch = std::min(cells, int32_t(mask_ + 1 - h));
        const int64_t begin = std::max<int64_t>(start_[h], first), end = start_[h + stretch];
        if (begin < end) {
          if (int64_t(found.size()) < end - begin) found.resize(2 * (end - begin));
          const int64_t hits =
              find_overlaps(spheres_, begin, end, position - shift, spheres_.radius[p], row, found.data());
          for (int64_t n = 0; n < hits; ++n)
            if (found[n] != p) visit(int64_t(found[n]));
        }
        x += stretch, cells -= stretch;
      }
    });
  }

 private:
  // Rows get consecutive buckets, unless the bounding box has more cells than there are buckets.
  void name_rows(const SphereSource<T>& source) {
    Bounds<T> bounds;
    std::mutex one_at_a_time;
    parallel_ranges(source.count, atoms_per_thread, [&](int64_t begin, int64_t end) {
      Bounds<T> part;
      bound_spheres(source, begin, end, part);
      const std::lock_guard lock(one_at_a_time);
      bounds.include({part.low_x, part.low_y, T(0)});
      bounds.include({part.high_x, part.high_y, T(0)});
    });
    const double cells_x = (double(bounds.high_x) - double(bounds.low_x)) * space_.density.x + 1,
                 cells_y = (double(bounds.high_y) - double(bounds.low_y)) * space_.density.y + 1;
    if (cells_x >= 1 && cells_y >= 1 && cells_x * cells_y < double(mask_))
      name_rows_in_order(space_, int64_t(cells_x), int64_t(cells_y));
  }

  // Fills the buckets from `first` to `last`, each in the order of its atoms. Each thread reads all atoms and writes
  // only its own buckets, so that the result does not depend on the number of threads.
  void sort(int64_t first, int64_t last) {
    const uint32_t low = uint32_t(first), width = uint32_t(last - first);
    int32_t* start = start_.data() + first;
    std::fill(start, start + width, 0);
    int32_t sum = 0;
    for (const uint32_t b : bucket_) {
      sum += b < low;
      if (b - low < width) ++start[b - low];
    }
    for (uint32_t b = 0; b < width; ++b) sum = start[b] += sum;
    // The starts are the ends at this point; filling the buckets from behind turns them into starts.
    for (int64_t i = int64_t(bucket_.size()) - 1; i >= 0; --i)
      if (bucket_[i] - low < width) index_[--start[bucket_[i] - low]] = int32_t(i);
  }

  CellSpace<T> space_{};
  uint32_t mask_ = 0;
  std::vector<uint32_t> bucket_, row_;
  std::vector<T> x_, y_, z_, radius_;
  std::vector<int32_t> index_, start_;
  SortedSpheres<T> spheres_{};
};

}  // namespace backmap::cpu
