// Stands in for the CUDA launchers in a library that was built without them.
#include <stdexcept>

#include "kernels.h"

namespace backmap::cuda {
namespace {

[[noreturn]] void refuse() {
  throw std::runtime_error(
      "backmap was built without CUDA: move the tensors to the CPU, or install the CUDA toolkit (nvcc) and build "
      "again");
}

}  // namespace

#define BACKMAP_ABSENT(name, Arguments)               \
  template <typename T>                               \
  void name(const Arguments<T>&, void*) {             \
    refuse();                                         \
  }                                                   \
  template void name(const Arguments<float>&, void*); \
  template void name(const Arguments<double>&, void*)

BACKMAP_ABSENT(canonical_alignment, AlignmentArguments);
BACKMAP_ABSENT(canonical_alignment_backward, AlignmentBackwardArguments);
BACKMAP_ABSENT(canonical_placement, PlacementArguments);
BACKMAP_ABSENT(canonical_placement_backward, PlacementBackwardArguments);
BACKMAP_ABSENT(overlapping_placement, OverlapArguments);
BACKMAP_ABSENT(overlapping_placement_backward, OverlapBackwardArguments);
BACKMAP_ABSENT(structure_score, ScoreArguments);
BACKMAP_ABSENT(structure_score_backward, ScoreBackwardArguments);
BACKMAP_ABSENT(structure_penalty, PenaltyArguments);
BACKMAP_ABSENT(structure_penalty_backward, PenaltyBackwardArguments);
BACKMAP_ABSENT(pack_side_chains, PackArguments);
BACKMAP_ABSENT(c_alpha_energy, CAlphaEnergyArguments);
BACKMAP_ABSENT(draw_c_alphas, DrawCAlphasArguments);
BACKMAP_ABSENT(least_overlap, LeastOverlapArguments);
BACKMAP_ABSENT(voxelize, VoxelizeArguments);
BACKMAP_ABSENT(voxelize_backward, VoxelizeBackwardArguments);
BACKMAP_ABSENT(density_to_coordinates, MomentsArguments);
BACKMAP_ABSENT(density_to_coordinates_backward, MomentsBackwardArguments);

template <typename T>
int64_t score_workspace(int64_t, int64_t) {
  refuse();
}
template int64_t score_workspace<float>(int64_t, int64_t);
template int64_t score_workspace<double>(int64_t, int64_t);

template <typename T>
int64_t penalty_workspace(int64_t, int64_t, int64_t, int64_t) {
  refuse();
}
template int64_t penalty_workspace<float>(int64_t, int64_t, int64_t, int64_t);
template int64_t penalty_workspace<double>(int64_t, int64_t, int64_t, int64_t);

template <typename T>
int64_t draw_c_alphas_workspace(int64_t, int64_t) {
  refuse();
}
template int64_t draw_c_alphas_workspace<float>(int64_t, int64_t);
template int64_t draw_c_alphas_workspace<double>(int64_t, int64_t);

int64_t score_backward_workspace(int64_t, int64_t) { refuse(); }
int64_t pack_workspace(int64_t, int64_t) { refuse(); }

}  // namespace backmap::cuda
