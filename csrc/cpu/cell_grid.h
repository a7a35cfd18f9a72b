// A cell list of points: a dense grid over their bounding box or a periodic box, with at most about two cells per
// point.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/cell_hash.h"
#include "core/vec3.h"

namespace backmap::cpu {

template <typename T>
class CellGrid {
 public:
  // Sorts the points into cells at least as wide as the given side. Points must be finite.
  void build(const std::vector<Vec3<T>>& points, double smallest_side, const PeriodicBox<T>& box) {
    box_ = box;
    find_bounds(points);
    choose_side(points.size(), smallest_side);
    sort(points);
  }

  // Calls visit(point index) once for each point in the 27 cells around a point. These include all points with an image
  // within one cell side of it.
  template <typename Visit>
  void for_surroundings(const Vec3<T>& point, const Visit& visit) const {
    const Cell c = cell(point);
    if (box_.exists) {
      const auto around = [](int32_t middle, int32_t count, const auto& visit_cell) {
        for (int32_t i = count < 3 ? 0 : middle - 1; i <= (count < 3 ? count - 1 : middle + 1); ++i)
          visit_cell(i < 0 ? i + count : (i < count ? i : i - count));
      };
      around(c.z, nz_, [&](int32_t z) {
        around(c.y, ny_, [&](int32_t y) { around(c.x, nx_, [&](int32_t x) { for_row(y, z, x, x, visit); }); });
      });
      return;
    }
    for (int32_t z = std::max(c.z - 1, 0); z <= std::min(c.z + 1, nz_ - 1); ++z)
      for (int32_t y = std::max(c.y - 1, 0); y <= std::min(c.y + 1, ny_ - 1); ++y)
        for_row(y, z, c.x - 1, c.x + 1, visit);
  }

 private:
  // The cell of a point; without a periodic box it may lie outside the grid.
  Cell cell(const Vec3<T>& point) const {
    if (!box_.exists) return cell_of(widened(point) - origin_, 1.0 / side_);
    const Vec3<double> s = box_fractions(point, box_);
    const auto wrapped = [](double fraction, int32_t cells) {
      const double within = fraction - std::floor(fraction);
      return within >= 0 ? std::min(int32_t(within * cells), cells - 1) : 0;
    };
    return {wrapped(s.x, nx_), wrapped(s.y, ny_), wrapped(s.z, nz_)};
  }

  template <typename Visit>
  void for_row(int32_t y, int32_t z, int32_t x_first, int32_t x_last, const Visit& visit) const {
    x_first = std::max(x_first, 0);
    x_last = std::min(x_last, nx_ - 1);
    if (x_first > x_last) return;
    const int64_t row = (int64_t(z) * ny_ + y) * nx_;
    for (int32_t p = start_[row + x_first]; p < start_[row + x_last + 1]; ++p) visit(order_[p]);
  }

  void find_bounds(const std::vector<Vec3<T>>& points) {
    origin_ = extent_ = Vec3<double>{0, 0, 0};
    if (box_.exists) extent_ = face_distances(box_);
    if (box_.exists || points.empty()) return;
    Vec3<T> low = points[0], high = points[0];
    for (const Vec3<T>& p : points) {
      low = {std::min(low.x, p.x), std::min(low.y, p.y), std::min(low.z, p.z)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y), std::max(high.z, p.z)};
    }
    origin_ = widened(low);
    extent_ = widened(high) - widened(low);
  }

  // Enlarges the cells until there are at most about two per point.
  void choose_side(size_t points, double smallest_side) {
    const double limit = 2.0 * double(points) + 8.0;
    const double widest = std::max({extent_.x, extent_.y, extent_.z});
    side_ = std::max({smallest_side, widest * 1e-6, 1e-12});
    // A periodic box is divided into whole cells.
    const auto along = [&](double extent) {
      const double whole = std::floor(extent / side_);
      return box_.exists ? std::max(whole, 1.0) : whole + 1;
    };
    while (along(extent_.x) * along(extent_.y) * along(extent_.z) > limit) side_ *= 1.25;
    nx_ = int32_t(along(extent_.x));
    ny_ = int32_t(along(extent_.y));
    nz_ = int32_t(along(extent_.z));
  }

  // Counting sort by cell.
  void sort(const std::vector<Vec3<T>>& points) {
    cell_of_point_.resize(points.size());
    order_.resize(points.size());
    start_.assign(size_t(nx_) * ny_ * nz_ + 1, 0);
    for (size_t i = 0; i < points.size(); ++i) {
      const Cell c = cell(points[i]);
      const int32_t x = std::min(c.x, nx_ - 1), y = std::min(c.y, ny_ - 1), z = std::min(c.z, nz_ - 1);
      cell_of_point_[i] = (z * ny_ + y) * nx_ + x;
      ++start_[cell_of_point_[i] + 1];
    }
    for (size_t c = 1; c < start_.size(); ++c) start_[c] += start_[c - 1];
    next_.assign(start_.begin(), start_.end() - 1);
    for (size_t i = 0; i < points.size(); ++i) order_[next_[cell_of_point_[i]]++] = int32_t(i);
  }

  PeriodicBox<T> box_{};
  Vec3<double> origin_{}, extent_{};
  double side_ = 1;
  int32_t nx_ = 1, ny_ = 1, nz_ = 1;
  std::vector<int32_t> start_, next_, order_, cell_of_point_;
};

}  // namespace backmap::cpu
