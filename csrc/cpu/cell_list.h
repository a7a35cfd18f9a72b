// The atoms of one frame sorted by cell, to find those that touch; threads share the work within a frame.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/cell_hash.h"
#include "cpu/parallel.h"

namespace backmap::cpu {

constexpr int64_t atoms_a_thread = 4096;  // the least that is worth a thread of its own

// Spheres coordinate by coordinate, so that many are compared with one at once, and the row of cells of each.
template <typename T>
struct Spheres {
  const T *x, *y, *z, *radius;
  const uint32_t* row;
};

// Among the spheres from `begin` to `end`: which overlap with a sphere and stand in the given row. Writes them to
// `found` and returns their number. May read up to `sphere_padding` spheres more.
constexpr int sphere_padding = 8;
int64_t find_overlaps(const Spheres<float>& spheres, int64_t begin, int64_t end, const Vec3<float>& centre,
                      float radius, uint32_t row, int32_t* found);
int64_t find_overlaps(const Spheres<double>& spheres, int64_t begin, int64_t end, const Vec3<double>& centre,
                      double radius, uint32_t row, int32_t* found);

template <typename T>
class CellList {
 public:
  // Sorts the atoms that are present and finite. Spheres overlap where atoms are closer than the sum
  // of their radii, at most `reach`. present(i) and radius(i) describe atom i.
  template <typename Present, typename Radius>
  void build(const T* atoms, int64_t count, double reach, const PeriodicBox<T>& box, const Present& present,
             const Radius& radius) {
    space_ = cell_space(reach, box);
    const int64_t buckets = bucket_count(count);
    mask_ = uint32_t(buckets - 1);
    bucket_.resize(count);
    parallel_ranges(count, atoms_a_thread, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const bool counts = present(i) && is_finite(load(atoms + 3 * i));
        bucket_[i] = counts ? bucket(cell_of(moved_into_box(load(atoms + 3 * i), box), space_)) : nowhere;
      }
    });
    const int64_t kept = count - std::count(bucket_.begin(), bucket_.end(), nowhere);
    for (std::vector<T>* v : {&x_, &y_, &z_, &radius_}) v->resize(kept + sphere_padding);
    row_.resize(kept + sphere_padding);
    index_.resize(kept);
    start_.resize(buckets + 1);
    // Each thread sorts a range of buckets of its own, in the order of the atoms, however many threads there are.
    parallel_ranges(buckets, atoms_a_thread, [&](int64_t first, int64_t last) {
      int32_t before = 0;
      std::fill(start_.begin() + first, start_.begin() + last, 0);
      for (const uint32_t b : bucket_) {
        before += int64_t(b) < first;
        if (int64_t(b) >= first && int64_t(b) < last) ++start_[b];
      }
      for (int64_t b = first; b < last; ++b) before = start_[b] += before;
      // The starts are ends now, and go back to where they belong while the buckets fill from behind.
      for (int64_t i = count - 1; i >= 0; --i) {
        const int64_t b = bucket_[i];
        if (b < first || b >= last) continue;
        put(--start_[b], i, load(atoms + 3 * i), radius(i));
      }
    });
    start_[buckets] = int32_t(kept);
  }

  // Number of atoms in the list, and what number in the frame the p-th of them has.
  int64_t size() const { return int64_t(index_.size()); }
  int32_t index(int64_t p) const { return index_[p]; }

  // visit(q) for the atoms that overlap with the p-th, from the `first` on in the list, each once. The positions
  // moved into the box are rounded: a visit may be a little farther than contact.
  template <typename Visit>
  void for_overlaps(int64_t p, int64_t first, std::vector<int32_t>& found, const Visit& visit) const {
    const Spheres<T> spheres{x_.data(), y_.data(), z_.data(), radius_.data(), row_.data()};
    const Vec3<T> position{x_[p], y_[p], z_[p]};
    for_rows_near(position, space_, [&](uint32_t row, int32_t x, int32_t cells, const Vec3<T>& shift) {
      while (cells > 0) {  // twice where the row passes the last bucket
        const uint32_t h = bucket_of(row, x, mask_);
        const int32_t stretch = std::min(cells, int32_t(mask_ + 1 - h));
        const int64_t begin = std::max<int64_t>(start_[h], first), end = start_[h + stretch];
        if (begin < end) {
          found.resize(std::max<size_t>(found.size(), end - begin + sphere_padding));
          const int64_t hits = find_overlaps(spheres, begin, end, position - shift, radius_[p], row, found.data());
          for (int64_t n = 0; n < hits; ++n)
            if (found[n] != p) visit(found[n]);
        }
        x += stretch, cells -= stretch;
      }
    });
  }

 private:
  static constexpr uint32_t nowhere = std::numeric_limits<uint32_t>::max();

  uint32_t bucket(const Cell& c) const { return bucket_of(row_of(c.y, c.z), c.x, mask_); }

  void put(int64_t p, int64_t i, const Vec3<T>& v, T radius) {
    const Vec3<T> position = moved_into_box(v, space_.box);
    const Cell cell = cell_of(position, space_);
    x_[p] = position.x, y_[p] = position.y, z_[p] = position.z;
    radius_[p] = radius + space_.slack / 2;
    row_[p] = row_of(cell.y, cell.z);
    index_[p] = int32_t(i);
  }

  CellSpace<T> space_{};
  uint32_t mask_ = 0;
  std::vector<uint32_t> bucket_, row_;
  std::vector<T> x_, y_, z_, radius_;
  std::vector<int32_t> index_, start_;
};

}  // namespace backmap::cpu
