// Energy of beads by the prior of a coarse-grained force field, with its gradient.
#pragma once

#include <cstdint>

#include "core/bead_prior.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct PriorArguments {
  int64_t batch;
  PriorTerms<T> terms;  // shared by all frames
  const T* position;    // (beads, 3)
  T* energy;            // out (1)
  T* gradient;          // out (beads, 3)
  void* workspace;      // CUDA only, prior_workspace bytes
};

BACKMAP_LAUNCHERS(bead_prior, PriorArguments);
BACKMAP_CUDA_WORKSPACE(prior_workspace, int64_t /*batch*/, int64_t /*beads*/);

}  // namespace backmap
