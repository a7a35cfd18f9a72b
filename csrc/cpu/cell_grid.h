// A cell list over points: a dense grid of their bounding box with at most about two cells a point.
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
  // Sorts the points into cubic cells of at least the given side. Points must be finite.
  void build(const std::vector<Vec3<T>>& points, double smallest_side) {
    find_bounds(points);
    choose_side(points.size(), smallest_side);
    sort(points);
  }

  // The cell of any point, inside the grid or not.
  Cell cell(const Vec3<T>& point) const { return cell_of(widened(point) - origin_, 1.0 / side_); }

  // visit(point index) for the points of the 27 cells around a point: all within one side of it.
  template <typename Visit>
  void for_surroundings(const Vec3<T>& point, const Visit& visit) const {
    const Cell c = cell(point);
    for (int32_t z = std::max(c.z - 1, 0); z <= std::min(c.z + 1, nz_ - 1); ++z)
      for (int32_t y = std::max(c.y - 1, 0); y <= std::min(c.y + 1, ny_ - 1); ++y)
        for_row(y, z, c.x - 1, c.x + 1, visit);
  }

 private:
  static Vec3<double> widened(const Vec3<T>& v) { return {double(v.x), double(v.y), double(v.z)}; }

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
    if (points.empty()) return;
    Vec3<T> low = points[0], high = points[0];
    for (const Vec3<T>& p : points) {
      low = {std::min(low.x, p.x), std::min(low.y, p.y), std::min(low.z, p.z)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y), std::max(high.z, p.z)};
    }
    origin_ = widened(low);
    extent_ = widened(high) - widened(low);
  }

  // Grows the cells until their number is in proportion to the number of points.
  void choose_side(size_t points, double smallest_side) {
    const double limit = 2.0 * double(points) + 8.0;
    const double widest = std::max({extent_.x, extent_.y, extent_.z});
    side_ = std::max({smallest_side, widest * 1e-6, 1e-12});
    const auto cells = [&] {
      return (std::floor(extent_.x / side_) + 1) * (std::floor(extent_.y / side_) + 1) *
             (std::floor(extent_.z / side_) + 1);
    };
    while (cells() > limit) side_ *= 1.25;
    nx_ = int32_t(std::floor(extent_.x / side_)) + 1;
    ny_ = int32_t(std::floor(extent_.y / side_)) + 1;
    nz_ = int32_t(std::floor(extent_.z / side_)) + 1;
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

  Vec3<double> origin_{}, extent_{};
  double side_ = 1;
  int32_t nx_ = 1, ny_ = 1, nz_ = 1;
  std::vector<int32_t> start_, next_, order_, cell_of_point_;
};

}  // namespace backmap::cpu
