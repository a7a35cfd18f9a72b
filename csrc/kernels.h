// The seam between tensors and kernels: raw pointers and sizes, the same for the CPU and for CUDA.
//
// All arrays are contiguous, row-major. `batch` counts frames, over which every array repeats unless it says
// otherwise. A stride (`*_stride`) is the number of elements from one frame to the next of an array that may
// be shared by all frames: then it is 0.
#pragma once

#include <cstdint>

#include "core/c_alpha_dynamics.h"
#include "core/gaussian_density.h"
#include "core/local_frame.h"
#include "core/voxel_grid.h"

namespace backmap {

// ---- Canonical alignment -----------------------------------------------------------------------

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
  T* local;        // out (queries, neighbours, slots, 3)
  int64_t* index;  // out (queries, neighbours)
  T* frame;        // out (queries, 4, 3)
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
  const T* local;    // (queries, neighbours, slots, 3): where the images of the atoms stood; null: no box
  T* grad_atoms;     // out (residues, slots, 3), zero on entry on CUDA
  T* grad_triangle;  // out (queries, 3, 3)
};

template <typename T>
struct PlacementArguments {
  int64_t queries, slots;  // frames of all structures are one list here
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

// ---- Placement with overlaps -------------------------------------------------------------------

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

// ---- Structure score ---------------------------------------------------------------------------

template <typename T>
struct ScoreArguments {
  int64_t batch, residues, slots, bonds;
  T bond_tolerance, clash_distance;
  const T* atoms;       // (residues, slots, 3)
  const bool* present;  // (residues, slots)
  int64_t present_stride;
  const bool* side_chain;  // (residues, slots), shared by all frames
  const bool* linked;      // (residues), shared by all frames
  const int64_t* bond;     // (bonds, 2) flat atom indices, shared by all frames
  const T* reference;      // (bonds)
  int64_t reference_stride;
  const T* box;  // (3, 3), null for none
  int64_t box_stride;
  T* deviation;     // out (bonds)
  bool* clash;      // out (residues)
  int64_t* counts;  // out (3): bonds within tolerance, bonds present, clashing residues
  void* workspace;  // CUDA only, score_workspace bytes
};

template <typename T>
struct ScoreBackwardArguments {
  int64_t batch, residues, slots, bonds;
  const T* grad_deviation;  // (bonds)
  const T* atoms;
  const bool* present;
  int64_t present_stride;
  const int64_t* bond;
  const T* reference;
  int64_t reference_stride;
  const T* box;  // (3, 3), null for none
  int64_t box_stride;
  T* grad_atoms;    // out (residues, slots, 3)
  void* workspace;  // CUDA only, score_backward_workspace bytes
};

// ---- Structure penalty -------------------------------------------------------------------------

template <typename T>
struct PenaltyInputs {
  int64_t batch, residues, slots, bonds, angles, exclusions;
  T bond_strength, angle_strength, repulsion_strength;  // kT / nm^2
  T radius_scale;
  const T* atoms;       // (residues, slots, 3)
  const bool* present;  // (residues, slots)
  int64_t present_stride;
  const int64_t* bond;   // (bonds, 2) flat atom indices, shared by all frames
  const T* bond_length;  // (bonds)
  int64_t bond_length_stride;
  const int64_t* angle;  // (angles, 2) flat indices of the outer atoms, shared by all frames
  const T* angle_span;   // (angles)
  int64_t angle_span_stride;
  const T* radius;                 // (residues, slots), shared by all frames
  const int64_t* exclusion_start;  // (residues * slots + 1), shared by all frames
  const int64_t* exclusion;        // (exclusions), shared by all frames
  const T* box;                    // (3, 3), null for none
  int64_t box_stride;
  void* workspace;  // CUDA only, penalty_workspace bytes
};

template <typename T>
struct PenaltyArguments {
  PenaltyInputs<T> inputs;
  T* energy;  // out (3): bonds, angles, repulsion, in kT
};

template <typename T>
struct PenaltyBackwardArguments {
  PenaltyInputs<T> inputs;
  const T* grad;  // (3)
  T* grad_atoms;  // out (residues, slots, 3)
};

// ---- Side-chain packing ------------------------------------------------------------------------

template <typename T>
struct PackArguments {
  int64_t batch, residues, candidates, side_slots, backbone_slots, sweeps;
  T strength;
  const T* candidate;             // (residues, candidates, side_slots, 3)
  const bool* candidate_present;  // (residues, side_slots), shared by all frames
  const T* backbone;              // (residues, backbone_slots, 3)
  const bool* backbone_present;   // (residues, backbone_slots)
  int64_t backbone_present_stride;
  const T* side_radius;      // (residues, side_slots), shared by all frames
  const T* backbone_radius;  // (residues, backbone_slots), shared by all frames
  const bool* linked;        // (residues), shared by all frames
  const T* uniform;          // (sweeps, residues)
  const T* box;              // (3, 3), null for none
  int64_t box_stride;
  int64_t* choice;  // out (residues)
  T* energy;        // out (residues)
  T* workspace;     // CUDA only, pack_workspace(residues, candidates) elements a frame
};

// ---- Trials that overlap least -----------------------------------------------------------------

template <typename T>
struct LeastOverlapArguments {
  int64_t batch, residues, slots, groups, trials, points;
  T distance;
  T* atoms;                // (residues, slots, 3), a copy that chosen points are written into
  const T* trial;          // (groups, trials, points, 3)
  const T* penalty;        // (groups, trials)
  const int64_t* residue;  // (groups), shared by all frames
  const int64_t* target;   // (groups, points) flat atom indices, shared by all frames
  const T* box;            // (3, 3), null for none
  int64_t box_stride;
  int64_t* choice;  // out (groups)
  T* score;         // workspace (trials)
};

// ---- C-alphas ----------------------------------------------------------------------------------

template <typename T>
struct CAlphaEnergyArguments {
  int64_t batch, residues;
  PriorTable<T> table;
  const T* c_alpha;     // (residues, 3)
  const T* weight;      // (residues)
  const int64_t* kind;  // (residues), shared by all frames
  T* energy;            // out (residues)
};

template <typename T>
struct DrawCAlphasArguments {
  int64_t batch, residues;
  PriorTable<T> table;
  Langevin<T> dynamics;
  T contact_distance, contact_strength;
  const T* bead;         // (residues, 3)
  const T* noise;        // (residues)
  const T* bond;         // (residues)
  const T* weight;       // (residues)
  const int64_t* kind;   // (residues), shared by all frames
  const int64_t* key;    // one a frame
  const int64_t* steps;  // one a frame
  const T* box;          // (3, 3), null for none
  int64_t box_stride;
  T* c_alpha;       // out (residues, 3)
  void* workspace;  // CUDA only, draw_c_alphas_workspace bytes
};

// ---- Densities on voxels -----------------------------------------------------------------------

template <typename T>
struct VoxelizeArguments {
  VoxelGrid<T> grid;
  Gaussian<T> gaussian;
  const T* coordinates;  // (particles, 3)
  Cubes<T> density;      // out
};

template <typename T>
struct VoxelizeBackwardArguments {
  VoxelGrid<T> grid;
  Gaussian<T> gaussian;
  Cubes<const T> grad;
  const T* coordinates;  // (particles, 3)
  T* grad_coordinates;   // out (particles, 3)
};

template <typename T>
struct MomentsArguments {
  VoxelGrid<T> grid;
  bool logits;
  Cubes<const T> density;
  T* coordinates;  // out (particles, 3)
  T* total;        // out (particles)
};

template <typename T>
struct MomentsBackwardArguments {
  VoxelGrid<T> grid;
  bool logits;
  const T* grad;  // (particles, 3)
  Cubes<const T> density;
  const T* coordinates;   // (particles, 3)
  const T* total;         // (particles)
  Cubes<T> grad_density;  // out
};

// ---- Launchers ---------------------------------------------------------------------------------

namespace cpu {
template <typename T>
void canonical_alignment(const AlignmentArguments<T>& args);
template <typename T>
void canonical_alignment_backward(const AlignmentBackwardArguments<T>& args);
template <typename T>
void canonical_placement(const PlacementArguments<T>& args);
template <typename T>
void canonical_placement_backward(const PlacementBackwardArguments<T>& args);
template <typename T>
void overlapping_placement(const OverlapArguments<T>& args);
template <typename T>
void overlapping_placement_backward(const OverlapBackwardArguments<T>& args);
template <typename T>
void structure_score(const ScoreArguments<T>& args);
template <typename T>
void structure_score_backward(const ScoreBackwardArguments<T>& args);
template <typename T>
void structure_penalty(const PenaltyArguments<T>& args);
template <typename T>
void structure_penalty_backward(const PenaltyBackwardArguments<T>& args);
template <typename T>
void pack_side_chains(const PackArguments<T>& args);
template <typename T>
void c_alpha_energy(const CAlphaEnergyArguments<T>& args);
template <typename T>
void draw_c_alphas(const DrawCAlphasArguments<T>& args);
template <typename T>
void least_overlap(const LeastOverlapArguments<T>& args);
template <typename T>
void voxelize(const VoxelizeArguments<T>& args);
template <typename T>
void voxelize_backward(const VoxelizeBackwardArguments<T>& args);
template <typename T>
void density_to_coordinates(const MomentsArguments<T>& args);
template <typename T>
void density_to_coordinates_backward(const MomentsBackwardArguments<T>& args);
}  // namespace cpu

// `stream` is a cudaStream_t; each launcher throws std::runtime_error when CUDA reports an error.
namespace cuda {
template <typename T>
void canonical_alignment(const AlignmentArguments<T>& args, void* stream);
template <typename T>
void canonical_alignment_backward(const AlignmentBackwardArguments<T>& args, void* stream);
template <typename T>
void canonical_placement(const PlacementArguments<T>& args, void* stream);
template <typename T>
void canonical_placement_backward(const PlacementBackwardArguments<T>& args, void* stream);
template <typename T>
void overlapping_placement(const OverlapArguments<T>& args, void* stream);
template <typename T>
void overlapping_placement_backward(const OverlapBackwardArguments<T>& args, void* stream);
template <typename T>
void structure_score(const ScoreArguments<T>& args, void* stream);
template <typename T>
void structure_score_backward(const ScoreBackwardArguments<T>& args, void* stream);
template <typename T>
void structure_penalty(const PenaltyArguments<T>& args, void* stream);
template <typename T>
void structure_penalty_backward(const PenaltyBackwardArguments<T>& args, void* stream);
template <typename T>
void pack_side_chains(const PackArguments<T>& args, void* stream);
template <typename T>
void c_alpha_energy(const CAlphaEnergyArguments<T>& args, void* stream);
template <typename T>
void draw_c_alphas(const DrawCAlphasArguments<T>& args, void* stream);
template <typename T>
void least_overlap(const LeastOverlapArguments<T>& args, void* stream);
template <typename T>
void voxelize(const VoxelizeArguments<T>& args, void* stream);
template <typename T>
void voxelize_backward(const VoxelizeBackwardArguments<T>& args, void* stream);
template <typename T>
void density_to_coordinates(const MomentsArguments<T>& args, void* stream);
template <typename T>
void density_to_coordinates_backward(const MomentsBackwardArguments<T>& args, void* stream);

template <typename T>
int64_t score_workspace(int64_t batch, int64_t atoms);
int64_t score_backward_workspace(int64_t atoms, int64_t bonds);
template <typename T>
int64_t penalty_workspace(int64_t batch, int64_t atoms, int64_t bonds, int64_t angles);
int64_t pack_workspace(int64_t residues, int64_t candidates);
template <typename T>
int64_t draw_c_alphas_workspace(int64_t batch, int64_t residues);
}  // namespace cuda

}  // namespace backmap
