// Energy of beads by SchNet, with its gradient.
#pragma once

#include <cstdint>

#include "core/schnet.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct SchNetArguments {
  int64_t batch, beads, width, hidden, blocks;  // `width` features describe a bead, `hidden` ones are read out
  FilterKnots<T> knots;
  const T* position;        // (beads, 3)
  const T* feature;         // (beads, width), shared by all frames, as are the arrays down to `readout_weight`
  const T* filter;          // (blocks, knots, 2, width): values and derivatives by the distance
  const T* incoming;        // (blocks, width, width)
  const T* mixing;          // (blocks, width, width)
  const T* mixing_bias;     // (blocks, width)
  const T* outgoing;        // (blocks, width, width)
  const T* outgoing_bias;   // (blocks, width)
  const T* readout;         // (hidden, width)
  const T* readout_bias;    // (hidden)
  const T* readout_weight;  // (hidden)
  T* energy;                // out (1)
  T* gradient;              // out (beads, 3)
  void* workspace;          // CUDA only, schnet_workspace bytes
};

BACKMAP_LAUNCHERS(schnet_energy, SchNetArguments);
BACKMAP_CUDA_WORKSPACE(schnet_workspace, int64_t /*batch*/, int64_t /*beads*/, int64_t /*width*/, int64_t /*hidden*/,
                       int64_t /*blocks*/);

}  // namespace backmap
