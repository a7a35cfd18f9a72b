// Placement with overlaps.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct OverlapArguments {
  int64_t batch, atoms, queries, slots;  // atoms of one frame, all residues together
  const T* atom;                         // (atoms, 3)
  const T* frame;                        // (queries, 4, 3)
  const T* local;                        // (queries, slots, 3)
  const int64_t* target;                 // (queries, slots) indices of atoms, shared by all frames
  int64_t* winner;                       // workspace (atoms), shared by all frames
  T* placed;                             // out (atoms, 3)
};

template <typename T>
struct OverlapBackwardArguments {
  int64_t batch, atoms, queries, slots;
  const T* grad;  // (atoms, 3)
  const T* frame;
  const T* local;
  const int64_t* target;
  int64_t* winner;  // workspace (atoms), shared by all frames
  T* grad_atoms;    // out (atoms, 3)
  T* grad_frame;    // out (queries, 4, 3)
  T* grad_local;    // out (queries, slots, 3)
};

BACKMAP_LAUNCHERS(overlapping_placement, OverlapArguments);
BACKMAP_LAUNCHERS(overlapping_placement_backward, OverlapBackwardArguments);

}  // namespace backmap
