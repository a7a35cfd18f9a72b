// Logits of classes, from layers that depend on waves.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct WaveLogitsArguments {
  int64_t batch, draws, waves, width, classes;
  const T* context;  // (width)
  const T* wave;     // (draws, waves)
  int64_t wave_stride;
  const T* coefficient;  // (waves, width)
  int64_t coefficient_stride;
  const T* weight;  // (classes, width), shared by all frames
  const T* bias;    // (classes), shared by all frames
  T* logits;        // out (draws, classes)
  T* workspace;     // CUDA only
};

BACKMAP_LAUNCHERS(wave_logits, WaveLogitsArguments);
BACKMAP_CUDA_WORKSPACE(wave_logits_workspace, int64_t rows, int64_t width);

}  // namespace backmap
