// Angles drawn along chains, each given the one before it. Chains are independent.
#pragma once

#include <cstdint>

#include "core/host_device.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct DrawAngleChainsArguments {
  int64_t batch, samples, residues, width, classes, quantities, kinds, cells, chains, longest;
  const T* context;      // (residues, width)
  const T* coefficient;  // (residues, 3, width)
  const T* weight;       // (classes, width), shared by all frames
  const T* bias;         // (classes), shared likewise
  const T* form;         // (residues, 3, quantities, 3)
  const int64_t* kind;   // (residues)
  const T* table;        // (kinds, cells, cells), shared likewise
  const T* offset;       // (residues, classes)
  const T* known;        // (residues), NaN for unknown; null if none is known
  const int64_t* chain;  // (chains, longest), shared likewise; a chain ends before the first index out of range
  const T* uniform;      // (samples, residues, 2)
  T* angle;              // out (samples, residues), zero outside chains
  T* workspace;          // CUDA only, of draw_angle_chains_workspace() bytes
};

// A chain of one frame of one sample.
struct ChainOfFrame {
  int64_t chain, sample, frame;
};

// The numbers of samples and frames run before those of chains, so that neighbours are equally long.
template <typename T>
BACKMAP_HD ChainOfFrame chain_of_frame(const DrawAngleChainsArguments<T>& args, int64_t item) {
  const int64_t frames = args.samples * args.batch, of_sample = item % frames;
  return {item / frames, of_sample % args.samples, of_sample / args.samples};
}

// The residue at a place of a chain; negative beyond its end.
template <typename T>
BACKMAP_HD int64_t residue_at(const DrawAngleChainsArguments<T>& args, int64_t chain, int64_t place) {
  if (place >= args.longest) return -1;
  const int64_t residue = args.chain[chain * args.longest + place];
  return residue < args.residues ? residue : -1;
}

// Where a residue of a chain has its random numbers and its angle.
template <typename T>
BACKMAP_HD int64_t place_of(const DrawAngleChainsArguments<T>& args, const ChainOfFrame& item, int64_t residue) {
  return (item.frame * args.samples + item.sample) * args.residues + residue;
}

BACKMAP_LAUNCHERS(draw_angle_chains, DrawAngleChainsArguments);
BACKMAP_CUDA_WORKSPACE(draw_angle_chains_workspace, int64_t /*items*/, int64_t /*width*/, int64_t /*classes*/);

}  // namespace backmap
