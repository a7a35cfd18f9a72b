// Neighbourhoods of sites, summarised by a network.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

// The weights are shared by all sites; those of layers have a row for each of `width` features.
template <typename T>
struct EncodeNeighbourhoodArguments {
  int64_t batch, neighbours, points, queries, width, types, offsets;
  const T* position;          // (neighbours, points, 3)
  const uint8_t* type;        // (neighbours); the last type means that there is no neighbour
  const uint8_t* offset;      // (neighbours)
  const T* query;             // (queries, width)
  const T* position_weight;   // (width, 4 points + 3)
  const T* position_bias;     // (width)
  const T* type_embedding;    // (types, width)
  const T* offset_embedding;  // (offsets, width)
  const T* inner_weight;      // (width, width)
  const T* inner_bias;        // (width)
  T* summary;                 // out (queries, width)
  T* workspace;               // CUDA only
};

BACKMAP_LAUNCHERS(encode_neighbourhood, EncodeNeighbourhoodArguments);
BACKMAP_CUDA_WORKSPACE(encode_neighbourhood_workspace, int64_t batch, int64_t neighbours, int64_t points,
                       int64_t queries, int64_t width);

}  // namespace backmap
