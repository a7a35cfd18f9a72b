// Distributions of side-chain torsions, each given the ones before it, and their steps in time.
//
// backmap/ops/step_rotamers.py contains the equations.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/activation.h"
#include "core/basins.h"
#include "core/host_device.h"
#include "core/softmax.h"

namespace backmap {

// The last layers of a network that classifies torsions.
template <typename T>
struct RotamerNetwork {
  int64_t torsions, width, bins;
  const T* coefficient;  // (torsions, 2, torsions, width): of cosines and sines of earlier torsions
  const T* weight;       // (torsions, width, bins)
  const T* bias;         // (torsions, bins)
};

// Working memory of a row.
template <typename T>
struct RotamerMemory {
  T* hidden;       // (width)
  T* probability;  // (bins)
  T* height;       // (bins)
  int64_t* basin;  // (bins)
};

// hidden[f] = silu(context[f] + waves of the torsions before `chi`).
template <typename T>
BACKMAP_HD void see_earlier_torsions(const RotamerNetwork<T>& network, int64_t chi, const T* __restrict context,
                                     const T* torsion, T* __restrict hidden) {
  const int64_t width = network.width;
  for (int64_t f = 0; f < width; ++f) hidden[f] = context[f];
  for (int64_t j = 0; j < chi; ++j) {
    const T cosine = std::cos(torsion[j]), sine = std::sin(torsion[j]);
    const T* __restrict of_cosine = network.coefficient + ((2 * chi + 0) * network.torsions + j) * width;
    const T* __restrict of_sine = network.coefficient + ((2 * chi + 1) * network.torsions + j) * width;
    for (int64_t f = 0; f < width; ++f) hidden[f] += cosine * of_cosine[f] + sine * of_sine[f];
  }
  for (int64_t f = 0; f < width; ++f) hidden[f] = silu(hidden[f]);
}

// The distribution of torsion `chi` over a full turn. Both halves are alike if it repeats after half a turn.
template <typename T>
BACKMAP_HD void torsion_distribution(const RotamerNetwork<T>& network, int64_t chi, const T* context, const T* torsion,
                                     bool repeats, const RotamerMemory<T>& memory) {
  const int64_t bins = network.bins;
  see_earlier_torsions(network, chi, context, torsion, memory.hidden);
  T* __restrict sum = memory.probability;
  for (int64_t b = 0; b < bins; ++b) sum[b] = network.bias[chi * bins + b];
  for (int64_t f = 0; f < network.width; ++f) {
    const T value = memory.hidden[f];
    const T* __restrict weight = network.weight + (chi * network.width + f) * bins;
    for (int64_t b = 0; b < bins; ++b) sum[b] += value * weight[b];
  }
  softmax(sum, bins);
  if (!repeats) return;
  for (int64_t b = 0; b < bins; ++b) memory.height[b] = sum[b];
  for (int64_t b = 0; b < bins; ++b) sum[b] = T(0.5) * (sum[b] + memory.height[(b + bins - bins / 2) % bins]);
}

// What moves the torsions of a residue.
template <typename T>
struct RotamerStep {
  const T* context;     // (torsions, width)
  const bool* moves;    // (torsions)
  const bool* repeats;  // (torsions)
  const T* before;      // (torsions)
  const T* rate;        // (torsions)
  T window;
  const T* uniform;  // (torsions, 5)
  bool leaps_only;   // torsions change only where they leave their basins
};

// Steps the torsions of a residue; returns the first that left its basin, or the number of torsions. Those after it are
// drawn anew.
template <typename T>
BACKMAP_HD int64_t step_rotamer(const RotamerNetwork<T>& network, int64_t passes, const RotamerStep<T>& step,
                                const RotamerMemory<T>& memory, T* after) {
  int64_t first = network.torsions;
  for (int64_t chi = 0; chi < network.torsions; ++chi) {
    after[chi] = step.before[chi];
    if (!step.moves[chi]) continue;
    torsion_distribution(network, chi, step.context + chi * network.width, after, step.repeats[chi], memory);
    const bool anew = first < chi;
    const T always = longest_rate<T>, rate = anew ? always : step.rate[chi];
    T angle;
    const bool left = step_angle(memory.probability, network.bins, passes, step.before[chi], rate, step.window,
                                 step.uniform + step_draws * chi, memory.height, memory.basin, angle);
    if (left || anew || !step.leaps_only) after[chi] = angle;
    if (left && !anew) first = chi;
  }
  return first;
}

}  // namespace backmap
