// The atoms of one frame sorted by cell, to find those that touch; threads share the work within a frame.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/cell_hash.h"
#include "core/pair_terms.h"
#include "cpu/parallel.h"

namespace backmap::cpu {

constexpr int64_t atoms_a_thread = 4096;  // the least that is worth a thread of its own

// Atoms as spheres, which overlap where two are closer than the sum of their radii.
template <typename T>
struct SphereSource {
  int64_t count;
  const T* atoms;
  const bool* present;
  const T* radius;  // null: all are 1
  T scale;          // of the radii

  bool exists(int64_t i) const {
    return present[i] && is_finite(load(atoms + 3 * i)) && (radius == nullptr || is_radius(radius[i]));
  }
  T scaled_radius(int64_t i) const { return radius == nullptr ? scale : scale * radius[i]; }
};

// Spheres sorted by bucket, coordinate by coordinate so that many are compared with one at once; the row of cells
// in which each stands, and its number in the frame.
template <typename T>
struct SortedSpheres {
  T *x, *y, *z, *radius;
  uint32_t* row;
  const int32_t* index;
};

constexpr int sphere_padding = 8;  // so many more may be read than there are
constexpr uint32_t no_bucket = 0xffffffffu;

// The inner loops over a range, for each instruction set.
void assign_buckets(const SphereSource<float>& source, const CellSpace<float>& space, uint32_t mask, int64_t begin,
                    int64_t end, uint32_t* bucket);
void assign_buckets(const SphereSource<double>& source, const CellSpace<double>& space, uint32_t mask, int64_t begin,
                    int64_t end, uint32_t* bucket);
void fill_spheres(const SphereSource<float>& source, const CellSpace<float>& space, int64_t begin, int64_t end,
                  const SortedSpheres<float>& spheres);
void fill_spheres(const SphereSource<double>& source, const CellSpace<double>& space, int64_t begin, int64_t end,
                  const SortedSpheres<double>& spheres);

// Among the spheres from `begin` to `end`: which overlap with a sphere and stand in the given row. Writes them to
// `found` and returns their number.
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
    for (int64_t n = 0; n < last; ++n) {  // without branches, which nobody could predict
      found[count] = int32_t(k + n);
      count += int(gap[n] < T(0)) & int(s.row[k + n] == row);
    }
  }
  return count;
}

template <typename T>
class CellList {
 public:
  // Sorts the spheres that exist, for overlaps of those whose radii sum to `reach` at most.
  void build(const SphereSource<T>& source, double reach, const PeriodicBox<T>& box) {
    space_ = cell_space(reach, box);
    const int64_t buckets = bucket_count(source.count);
    mask_ = uint32_t(buckets - 1);
    bucket_.resize(source.count);
    parallel_ranges(source.count, atoms_a_thread, [&](int64_t begin, int64_t end) {
      assign_buckets(source, space_, mask_, begin, end, bucket_.data());
    });
    index_.resize(source.count - std::count(bucket_.begin(), bucket_.end(), no_bucket));
    start_.resize(buckets + 1);
    parallel_ranges(buckets, atoms_a_thread, [&](int64_t first, int64_t last) { sort(first, last); });
    start_[buckets] = int32_t(size());
    for (std::vector<T>* v : {&x_, &y_, &z_, &radius_}) v->resize(size() + sphere_padding);
    row_.resize(size() + sphere_padding);
    spheres_ = {x_.data(), y_.data(), z_.data(), radius_.data(), row_.data(), index_.data()};
    parallel_ranges(size(), atoms_a_thread,
                    [&](int64_t begin, int64_t end) { fill_spheres(source, space_, begin, end, spheres_); });
  }

  // Number of spheres in the list, and what number in the frame the p-th of them has.
  int64_t size() const { return int64_t(index_.size()); }
  BACKMAP_HD int32_t index(int64_t p) const { return spheres_.index[p]; }

  // visit(q) for the spheres that overlap with the p-th, from the `first` on in the list, each once. Positions
  // moved into the box are rounded: a visit may be a little farther than contact.
  template <typename Visit>
  BACKMAP_HD void for_overlaps(int64_t p, int64_t first, std::vector<int32_t>& found, const Visit& visit) const {
    const Vec3<T> position{spheres_.x[p], spheres_.y[p], spheres_.z[p]};
    for_rows_near(position, space_, [&](uint32_t row, int32_t x, int32_t cells, const Vec3<T>& shift) {
      while (cells > 0) {  // twice where the row passes the last bucket
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
  // Sorts the buckets from `first` to `last`, in the order of the atoms. Whoever does so looks at all atoms, and so
  // shares nothing with other threads; what comes out is the same however many there are.
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
    // The starts are ends now, and go back to where they belong while the buckets fill from behind.
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
