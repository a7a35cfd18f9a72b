// Shapes without values: what torch traces with.
#include <torch/library.h>

#include "torch/operators.h"

namespace backmap {

TORCH_LIBRARY_IMPL(backmap, Meta, m) {
  m.impl("canonical_alignment", &empty_canonical_alignment);
  m.impl("canonical_alignment_backward", &empty_canonical_alignment_backward);
  m.impl("canonical_placement", &empty_canonical_placement);
  m.impl("canonical_placement_backward", &empty_canonical_placement_backward);
  m.impl("overlapping_placement", &empty_overlapping_placement);
  m.impl("overlapping_placement_backward", &empty_overlapping_placement_backward);
  m.impl("structure_score", &empty_structure_score);
  m.impl("structure_score_backward", &empty_structure_score_backward);
  m.impl("structure_penalty", &empty_structure_penalty);
  m.impl("structure_penalty_backward", &empty_structure_penalty_backward);
  m.impl("pack_side_chains", &empty_pack_side_chains);
  m.impl("c_alpha_energy", &empty_c_alpha_energy);
  m.impl("draw_c_alphas", &empty_draw_c_alphas);
  m.impl("least_overlap", &empty_least_overlap);
  m.impl("voxelize", &empty_voxelize);
  m.impl("voxelize_into", &empty_voxelize_into);
  m.impl("voxelize_backward", &empty_voxelize_backward);
  m.impl("density_to_coordinates", &empty_density_to_coordinates);
  m.impl("density_to_coordinates_backward", &empty_density_to_coordinates_backward);
}

}  // namespace backmap
