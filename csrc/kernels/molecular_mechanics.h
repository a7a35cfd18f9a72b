// Energy of a molecule by a force field, with its gradient.
#pragma once

#include <cstdint>

#include "core/molecular_mechanics.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct MechanicsArguments {
  int64_t batch, exclusions;
  T cutoff;
  ListedTerms<T> terms;            // shared by all frames, as are the arrays down to `exclusion`
  const T* particle;               // (atoms, 3): charge, sigma, epsilon
  const int64_t* exclusion_start;  // (atoms + 1)
  const int64_t* exclusion;        // (exclusions)
  const T* atoms;                  // (atoms, 3)
  T* energy;                       // out (1)
  T* gradient;                     // out (atoms, 3)
  void* workspace;                 // CUDA only, mechanics_workspace bytes
};

BACKMAP_LAUNCHERS(molecular_mechanics, MechanicsArguments);
BACKMAP_CUDA_WORKSPACE(mechanics_workspace, int64_t /*batch*/, int64_t /*atoms*/);

}  // namespace backmap
