// Steps of side-chain torsions in time. Residues are independent.
#pragma once

#include <cstdint>

#include "core/rotamers.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct StepRotamersArguments {
  int64_t batch, torsions, width, bins, passes;
  const T* context;        // (torsions, width)
  const T* coefficient;    // (torsions, 2, torsions, width), shared by all residues like the other weights
  const T* weight;         // (torsions, width, bins)
  const T* bias;           // (torsions, bins)
  const bool* moves;       // (torsions)
  const bool* repeats;     // (torsions)
  const bool* leaps_only;  // ()
  const T* before;         // (torsions)
  const T* rate;           // (torsions)
  const T* window;         // ()
  const T* uniform;        // (torsions, 5)
  char* workspace;         // CUDA only, of step_rotamers_workspace() bytes
  T* after;                // out (torsions)
  int64_t* first;          // out ()
};

template <typename T>
BACKMAP_HD RotamerNetwork<T> network_of(const StepRotamersArguments<T>& args) {
  return {args.torsions, args.width, args.bins, args.coefficient, args.weight, args.bias};
}

// What moves the torsions of residue r.
template <typename T>
BACKMAP_HD RotamerStep<T> step_of(const StepRotamersArguments<T>& args, int64_t r) {
  const int64_t row = r * args.torsions;
  return {args.context + row * args.width,
          args.moves + row,
          args.repeats + row,
          args.before + row,
          args.rate + row,
          args.window[r],
          args.uniform + step_draws * row,
          args.leaps_only[r]};
}

BACKMAP_LAUNCHERS(step_rotamers, StepRotamersArguments);
BACKMAP_CUDA_WORKSPACE(step_rotamers_workspace, int64_t /*rows*/, int64_t /*width*/, int64_t /*bins*/);

}  // namespace backmap
