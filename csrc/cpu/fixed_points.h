// Grids of the usual sizes known when the loops over them are compiled.
#pragma once

#include "core/voxel_grid.h"

namespace backmap::cpu {

// The grid, with its number of points a constant unless `fixed` is 0.
template <int fixed, typename T>
BACKMAP_HD VoxelGrid<T> with_points(VoxelGrid<T> grid) {
  if constexpr (fixed != 0) grid.points = fixed;
  return grid;
}

}  // namespace backmap::cpu

// Calls function<points>(arguments...) for the points of a grid; a macro, because a lambda would not be compiled for
// the instruction set of the clone around it.
#define BACKMAP_WITH_POINTS(points, function, ...) \
  switch (points) {                                \
    case 8:                                        \
      return function<8>(__VA_ARGS__);             \
    case 12:                                       \
      return function<12>(__VA_ARGS__);            \
    case 16:                                       \
      return function<16>(__VA_ARGS__);            \
    default:                                       \
      return function<0>(__VA_ARGS__);             \
  }
