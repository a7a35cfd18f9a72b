// Spatial hashing: atoms in one cell share a bucket. Coordinates need no bounds, and boxes may be periodic.
//
// A cell is as long as the reach along x and twice as long along y and z, so that all atoms within reach of a point
// lie in four rows of three cells. The cells of a row have consecutive buckets: if atoms are sorted by bucket, a row
// is one stretch of memory. In a periodic box, cells divide the box vectors.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/periodic_box.h"
#include "core/vec3.h"

namespace backmap {

struct Cell {
  int32_t x, y, z;
};

// Position along one axis in units of the cell, clamped to the range of int32_t. Clamping keeps the order, so that
// atoms near each other stay in cells near each other. In double, because floats are too coarse far from zero.
template <typename T>
BACKMAP_HD double cell_position(T coordinate, double inverse_side) {
  const double limit = 1e9;
  const double p = double(coordinate) * inverse_side;
  return p < -limit ? -limit : (p > limit ? limit : p);
}

template <typename T>
BACKMAP_HD Cell cell_of(const Vec3<T>& v, double inverse_side) {
  return {int32_t(std::floor(cell_position(v.x, inverse_side))), int32_t(std::floor(cell_position(v.y, inverse_side))),
          int32_t(std::floor(cell_position(v.z, inverse_side)))};
}

// ---- Cells of a space, periodic or not ---------------------------------------------------------

// How space is cut into cells for pairs closer than a reach.
template <typename T>
struct CellSpace {
  PeriodicBox<T> box;
  Vec3<double> density;     // cells per nm, without a box
  Cell cells;               // along the box vectors, in a box
  Vec3<double> reach;       // the reach along each axis, in cells
  uint32_t step_y, step_z;  // difference of the keys of neighbouring rows of cells
  T slack;                  // most that rounding adds to the distance of two atoms moved into the box
  T limit;                  // squared distance from which on they do not touch
};

// The largest number of cells at least `side` wide that fit into the box, and at least one.
BACKMAP_HD int32_t cells_that_fit(double width, double side) {
  const double cells = std::floor(width / side);
  return cells >= 1 ? (cells < 1e6 ? int32_t(cells) : 1000000) : 1;
}

// Chooses the keys of rows so that a block of (cells_x, cells_y) cells fills the buckets in order, without gaps: atoms
// near each other in space are then mostly near in memory. Odd steps spread atoms beyond the block.
template <typename T>
BACKMAP_HD void name_rows_in_order(CellSpace<T>& space, int64_t cells_x, int64_t cells_y) {
  space.step_y = uint32_t(cells_x) | 1u;
  space.step_z = (space.step_y * uint32_t(cells_y < 8 ? 8 : cells_y)) | 1u;  // 8: nearby rows have different keys
}

template <typename T>
BACKMAP_HD CellSpace<T> cell_space(double reach, const PeriodicBox<T>& box) {
  CellSpace<T> space{};
  space.box = box;
  double padded = 1.001 * reach + 1e-9;  // allows for rounding
  if (!box.exists) {
    space.density = {1 / padded, 0.5 / padded, 0.5 / padded};
    space.reach = {1, 0.5, 0.5};
    space.limit = T(reach) * T(reach);
    space.step_y = 73856093u, space.step_z = 19349663u;  // arbitrary
    return space;
  }
  const double extent = norm(widened(box.a)) + norm(widened(box.b)) + norm(widened(box.c));
  space.slack = T(4 * double(std::numeric_limits<T>::epsilon()) * extent);
  space.limit = (T(reach) + space.slack) * (T(reach) + space.slack);
  padded += double(space.slack);
  const Vec3<double> width = face_distances(box);
  space.cells = {cells_that_fit(width.x, padded), cells_that_fit(width.y, 2 * padded),
                 cells_that_fit(width.z, 2 * padded)};
  name_rows_in_order(space, space.cells.x, space.cells.y);
  // Two cells are too few only in boxes narrower than twice the reach, which are not supported.
  const auto reach_along = [&](double face_distance, int32_t cells) {
    const double reach_in_cells = padded * cells / face_distance;
    return reach_in_cells < 2 ? reach_in_cells : 2.0;
  };
  space.reach = {reach_along(width.x, space.cells.x), reach_along(width.y, space.cells.y),
                 reach_along(width.z, space.cells.z)};
  return space;
}

// Position of a point in units of cells.
template <typename T>
BACKMAP_HD Vec3<double> in_cells(const Vec3<T>& v, const CellSpace<T>& space) {
  if (space.box.exists) {
    const Vec3<double> s = box_fractions(v, space.box);
    return {s.x * space.cells.x, s.y * space.cells.y, s.z * space.cells.z};
  }
  return {cell_position(v.x, space.density.x), cell_position(v.y, space.density.y),
          cell_position(v.z, space.density.z)};
}

// The cell of a point that was moved into the box; rounding may have left it slightly outside.
template <typename T>
BACKMAP_HD Cell cell_of(const Vec3<T>& v, const CellSpace<T>& space) {
  const Vec3<double> p = in_cells(v, space);
  const Cell c{int32_t(std::floor(p.x)), int32_t(std::floor(p.y)), int32_t(std::floor(p.z))};
  if (!space.box.exists) return c;
  const auto within = [](int32_t i, int32_t n) { return i < 0 ? 0 : (i < n ? i : n - 1); };
  return {within(c.x, space.cells.x), within(c.y, space.cells.y), within(c.z, space.cells.z)};
}

// Key of a row of cells, different for rows near each other.
template <typename T>
BACKMAP_HD uint32_t row_of(int32_t y, int32_t z, const CellSpace<T>& space) {
  return uint32_t(y) * space.step_y + uint32_t(z) * space.step_z;
}

// Bucket of a cell. The number of buckets is a power of two, and mask = buckets - 1.
BACKMAP_HD uint32_t bucket_of(uint32_t row, int32_t x, uint32_t mask) { return (row + uint32_t(x)) & mask; }

// Number of buckets: the smallest power of two that gives at most about one atom per bucket, and at least 8, so that
// no row meets a bucket twice.
BACKMAP_HD int64_t bucket_count(int64_t atoms) {
  int64_t buckets = 8;
  while (buckets < atoms) buckets *= 2;
  return buckets;
}

// Number of boxes between a cell and the box that starts at cell 0.
BACKMAP_HD int32_t image_of(int32_t cell, int32_t cells) {
  if (uint32_t(cell) < uint32_t(cells)) return 0;
  return cell < 0 ? -((cells - 1 - cell) / cells) : cell / cells;
}

// Calls visit(row, x, count, shift) for stretches of cells that together contain all atoms within reach of a point in
// the box; `shift` is the translation of the image of the box that the cells belong to. A cell is visited once per
// image in reach, and an atom is in reach in only one image, so no atom counts twice, however few cells an axis has.
template <typename T, typename Visit>
BACKMAP_HD void for_rows_near(const Vec3<T>& v, const CellSpace<T>& space, const Visit& visit) {
  const bool periodic = space.box.exists;
  const Vec3<double> centre = in_cells(v, space), low = centre - space.reach, high = centre + space.reach;
  const int32_t x_last = int32_t(std::floor(high.x)), y_last = int32_t(std::floor(high.y)),
                z_last = int32_t(std::floor(high.z));
  for (int32_t z = int32_t(std::floor(low.z)); z <= z_last; ++z) {
    const int32_t image_z = periodic ? image_of(z, space.cells.z) : 0;
    for (int32_t y = int32_t(std::floor(low.y)); y <= y_last; ++y) {
      const int32_t image_y = periodic ? image_of(y, space.cells.y) : 0;
      const uint32_t row = row_of(y - image_y * space.cells.y, z - image_z * space.cells.z, space);
      for (int32_t x = int32_t(std::floor(low.x)); x <= x_last;) {
        const int32_t image_x = periodic ? image_of(x, space.cells.x) : 0;
        const int32_t next_image = (image_x + 1) * space.cells.x;
        const int32_t end = periodic && next_image <= x_last ? next_image : x_last + 1;
        Vec3<T> shift{T(0), T(0), T(0)};
        if (periodic && (image_x != 0 || image_y != 0 || image_z != 0))
          shift = T(image_x) * space.box.a + T(image_y) * space.box.b + T(image_z) * space.box.c;
        visit(row, x - image_x * space.cells.x, end - x, shift);
        x = end;
      }
    }
  }
}

}  // namespace backmap
