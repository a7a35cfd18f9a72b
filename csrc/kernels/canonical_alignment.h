// Canonical alignment and placement.
#pragma once

#include <cstdint>

#include "core/local_frame.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct AlignmentArguments {
  int64_t batch, residues, slots, queries, neighbours;
  FrameRule rule;
  const T* atoms;       // (residues, slots, 3)
  const bool* present;  // (residues, slots)
  int64_t present_stride;
  const bool* selectable;  // (residues, slots)
  int64_t selectable_stride;
  const T* query;          // (queries, 3)
  const T* triangle;       // (queries, 3, 3)
  const int64_t* exclude;  // (queries), shared by all frames
  const T* box;            // (3, 3), null for none
  int64_t box_stride;
  T* local;         // out (queries, neighbours, slots, 3)
  int64_t* index;   // out (queries, neighbours)
  T* frame;         // out (queries, 4, 3)
  void* workspace;  // CUDA only, alignment_workspace bytes
};

template <typename T>
struct AlignmentBackwardArguments {
  int64_t batch, residues, slots, queries, neighbours;
  FrameRule rule;
  const T* grad_local;  // (queries, neighbours, slots, 3)
  const T* grad_frame;  // (queries, 4, 3)
  const T* atoms;
  const bool* present;
  int64_t present_stride;
  const int64_t* index;  // (queries, neighbours)
  const T* triangle;
  const T* local;    // (queries, neighbours, slots, 3) says which images were taken; null: no box
  T* grad_atoms;     // out (residues, slots, 3), zero on entry on CUDA
  T* grad_triangle;  // out (queries, 3, 3)
};

template <typename T>
struct PlacementArguments {
  int64_t queries, slots;  // all frames of the batch as one list
  const T* frame;          // (queries, 4, 3)
  const T* local;          // (queries, slots, 3)
  T* placed;               // out (queries, slots, 3)
};

template <typename T>
struct PlacementBackwardArguments {
  int64_t queries, slots;
  const T* grad;  // (queries, slots, 3)
  const T* frame;
  const T* local;
  T* grad_frame;  // out (queries, 4, 3)
  T* grad_local;  // out (queries, slots, 3)
};

BACKMAP_LAUNCHERS(canonical_alignment, AlignmentArguments);
BACKMAP_CUDA_WORKSPACE(alignment_workspace, int64_t /*batch*/, int64_t /*residues*/, int64_t /*queries*/);
BACKMAP_LAUNCHERS(canonical_alignment_backward, AlignmentBackwardArguments);
BACKMAP_LAUNCHERS(canonical_placement, PlacementArguments);
BACKMAP_LAUNCHERS(canonical_placement_backward, PlacementBackwardArguments);

}  // namespace backmap
