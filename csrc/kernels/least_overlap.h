// Trials that overlap least.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct LeastOverlapArguments {
  int64_t batch, residues, slots, groups, trials, points;
  T distance;
  T* atoms;                // (residues, slots, 3), a copy that receives the chosen points
  const T* trial;          // (groups, trials, points, 3)
  const T* penalty;        // (groups, trials)
  const int64_t* residue;  // (groups), shared by all frames
  const int64_t* target;   // (groups, points) flat atom indices, shared by all frames
  const T* box;            // (3, 3), null for none
  int64_t box_stride;
  int64_t* choice;  // out (groups)
  T* score;         // workspace (trials)
};

BACKMAP_LAUNCHERS(least_overlap, LeastOverlapArguments);

}  // namespace backmap
