// Loops over grids of the usual sizes, compiled with the size as a constant.
#pragma once

#include "core/voxel_grid.h"

namespace backmap::cpu {

// The grid, with a constant number of points unless `fixed` is 0.
template <int fixed, typename T>
BACKMAP_HD VoxelGrid<T> with_points(VoxelGrid<T> grid) {
  if constexpr (fixed != 0) grid.points = fixed;
  return grid;
}

}  // namespace backmap::cpu

// Calls function<points>(arguments...) with the number of points of the grid. This is a macro because a lambda would
// not be compiled for the instruction set of the enclosing clone.
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
