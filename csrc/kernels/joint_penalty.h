// Penalties on angles, each given the one before it.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct JointPenaltyArguments {
  int64_t batch, previous, quantities, angles, kinds, cells;
  const T* form;        // (3, quantities, 3)
  const int64_t* kind;  // ()
  const T* table;       // (kinds, cells, cells), shared by all joints like the waves
  const T* cosine;      // (previous)
  const T* sine;        // (previous)
  const T* wave;        // (3, angles)
  T* penalty;           // out (previous, angles)
};

BACKMAP_LAUNCHERS(joint_penalty, JointPenaltyArguments);

}  // namespace backmap
