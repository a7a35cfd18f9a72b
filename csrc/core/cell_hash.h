// Spatial hashing: atoms of one cell share a bucket, without bounds on the coordinates; periodic boxes too.
//
// A cell is as long as the reach along x and twice as long along y and z: all atoms within reach of a point lie in
// four rows of three cells. The cells of a row are neighbours among the buckets as well, so that a row is one
// stretch of memory where atoms are sorted by bucket. In a periodic box cells divide the box vectors.
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

// Position along one axis in units of the cell, within the range of the integer (clamping keeps order, so
// that atoms near each other stay in cells near each other). In double: float cells blur far from zero.
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
  Vec3<double> density;  // cells a nm, without a box
  Cell cells;            // along the box vectors, in a box
  Vec3<double> reach;    // the reach along each axis, in cells
  T slack;               // what rounding may add to the distance of two atoms moved into the box
  T limit;               // squared distance at which they touch no more
};

// As many cells as fit, each at least `side` wide; one at least, whatever the box.
BACKMAP_HD int32_t cells_that_fit(double width, double side) {
  const double cells = std::floor(width / side);
  return cells >= 1 ? (cells < 1e6 ? int32_t(cells) : 1000000) : 1;
}

template <typename T>
BACKMAP_HD CellSpace<T> cell_space(double reach, const PeriodicBox<T>& box) {
  CellSpace<T> space{};
  space.box = box;
  double padded = 1.001 * reach + 1e-9;  // a little more, for rounding
  if (!box.exists) {
    space.density = {1 / padded, 0.5 / padded, 0.5 / padded};
    space.reach = {1, 0.5, 0.5};
    space.limit = T(reach) * T(reach);
    return space;
  }
  const double extent = norm(widened(box.a)) + norm(widened(box.b)) + norm(widened(box.c));
  space.slack = T(4 * double(std::numeric_limits<T>::epsilon()) * extent);
  space.limit = (T(reach) + space.slack) * (T(reach) + space.slack);
  padded += double(space.slack);
  const Vec3<double> width = face_distances(box);
  space.cells = {cells_that_fit(width.x, padded), cells_that_fit(width.y, 2 * padded),
                 cells_that_fit(width.z, 2 * padded)};
  // Two cells would be too few only in boxes narrower than twice the reach, which are not promised to work.
  const auto reach_along = [&](double face_distance, int32_t cells) {
    const double reach_in_cells = padded * cells / face_distance;
    return reach_in_cells < 2 ? reach_in_cells : 2.0;
  };
  space.reach = {reach_along(width.x, space.cells.x), reach_along(width.y, space.cells.y),
                 reach_along(width.z, space.cells.z)};
  return space;
}

// Where a point lies in units of cells.
template <typename T>
BACKMAP_HD Vec3<double> in_cells(const Vec3<T>& v, const CellSpace<T>& space) {
  if (space.box.exists) {
    const Vec3<double> s = box_fractions(v, space.box);
    return {s.x * space.cells.x, s.y * space.cells.y, s.z * space.cells.z};
  }
  return {cell_position(v.x, space.density.x), cell_position(v.y, space.density.y),
          cell_position(v.z, space.density.z)};
}

// The cell of a point that was moved into the box; rounding may have left it a little outside.
template <typename T>
BACKMAP_HD Cell cell_of(const Vec3<T>& v, const CellSpace<T>& space) {
  const Vec3<double> p = in_cells(v, space);
  const Cell c{int32_t(std::floor(p.x)), int32_t(std::floor(p.y)), int32_t(std::floor(p.z))};
  if (!space.box.exists) return c;
  const auto within = [](int32_t i, int32_t n) { return i < 0 ? 0 : (i < n ? i : n - 1); };
  return {within(c.x, space.cells.x), within(c.y, space.cells.y), within(c.z, space.cells.z)};
}

// Name of a row of cells, different for rows near each other.
BACKMAP_HD uint32_t row_of(int32_t y, int32_t z) { return uint32_t(y) * 73856093u + uint32_t(z) * 19349663u; }

// Bucket of a cell, for a power of two of buckets: mask = buckets - 1.
BACKMAP_HD uint32_t bucket_of(uint32_t row, int32_t x, uint32_t mask) {
  row ^= row >> 16;  // the low bits alone would see little of the high ones
  row *= 0x7feb352du;
  row ^= row >> 15;
  return (row + uint32_t(x)) & mask;
}

// Smallest power of two of buckets that leaves about one atom a bucket, and a row in reach no bucket twice.
BACKMAP_HD int64_t bucket_count(int64_t atoms) {
  int64_t buckets = 8;
  while (buckets < atoms) buckets *= 2;
  return buckets;
}

// How many boxes a cell lies away from the box that starts at cell 0.
BACKMAP_HD int32_t image_of(int32_t cell, int32_t cells) {
  if (uint32_t(cell) < uint32_t(cells)) return 0;
  return cell < 0 ? -((cells - 1 - cell) / cells) : cell / cells;
}

// visit(row, x, count, shift) for stretches of cells that together hold all within reach of a point of the box;
// shift is where the image of the box stands whose cells they are. Each cell is visited once for each image in
// reach, and an atom is in reach in one image only: so nothing counts twice, be there one cell along an axis or many.
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
      const uint32_t row = row_of(y - image_y * space.cells.y, z - image_z * space.cells.z);
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
