// C-alphas drawn about their beads, and their energies.
#pragma once

#include <cstdint>

#include "core/c_alpha_dynamics.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct CAlphaEnergyArguments {
  int64_t batch, residues;
  Succession chain;  // shared by all frames
  PriorTable<T> table;
  const T* c_alpha;     // (residues, 3)
  const T* weight;      // (residues)
  const int64_t* kind;  // (residues), shared by all frames
  T* energy;            // out (residues)
};

template <typename T>
struct DrawCAlphasArguments {
  int64_t batch, residues;
  Succession chain;          // shared by all frames
  const int64_t* preceding;  // CUDA only: the residue before each, -1 for none; null: the previous residue
  PriorTable<T> table;
  Langevin<T> dynamics;
  T contact_distance, contact_strength;
  const T* bead;         // (residues, 3)
  const T* noise;        // (residues)
  const T* bond;         // (residues)
  const T* weight;       // (residues)
  const int64_t* kind;   // (residues), shared by all frames
  const int64_t* key;    // one per frame
  const int64_t* other;  // one per frame, null for none
  const T* turn;         // one per frame, null for none
  const int64_t* steps;  // one per frame
  const T* box;          // (3, 3), null for none
  int64_t box_stride;
  T* c_alpha;       // out (residues, 3)
  void* workspace;  // CUDA only, draw_c_alphas_workspace bytes
};

BACKMAP_LAUNCHERS(c_alpha_energy, CAlphaEnergyArguments);
BACKMAP_LAUNCHERS(draw_c_alphas, DrawCAlphasArguments);
BACKMAP_CUDA_WORKSPACE(draw_c_alphas_workspace, int64_t /*batch*/, int64_t /*residues*/);

}  // namespace backmap
