// Schemas, and the functions behind them on the CPU and on CUDA.
#include <torch/library.h>

#include "torch/operators.h"

#define BACKMAP_PENALTY_SCHEMA                                                                               \
  "Tensor atoms, Tensor present, Tensor bonds, Tensor bond_lengths, Tensor angle_ends, Tensor angle_spans, " \
  "Tensor radii, Tensor exclusion_start, Tensor exclusions, float bond_kt_per_nm2, float angle_kt_per_nm2, " \
  "float repulsion_kt_per_nm2, float radius_scale, Tensor? box=None"

namespace backmap {

TORCH_LIBRARY(backmap, m) {
  m.def(
      "canonical_alignment(Tensor atoms, Tensor present, Tensor selectable, Tensor query, Tensor triangle, "
      "Tensor exclude, SymInt neighbours, int frame_rule, Tensor? box=None) "
      "-> (Tensor local, Tensor index, Tensor frame)");
  m.def(
      "canonical_alignment_backward(Tensor grad_local, Tensor grad_frame, Tensor atoms, Tensor present, Tensor index, "
      "Tensor triangle, int frame_rule, Tensor? local=None) -> (Tensor grad_atoms, Tensor grad_triangle)");
  m.def("canonical_placement(Tensor frame, Tensor local) -> Tensor");
  m.def(
      "canonical_placement_backward(Tensor grad, Tensor frame, Tensor local) "
      "-> (Tensor grad_frame, Tensor grad_local)");
  m.def("overlapping_placement(Tensor atoms, Tensor frame, Tensor local, Tensor target) -> Tensor");
  m.def(
      "overlapping_placement_backward(Tensor grad, Tensor frame, Tensor local, Tensor target) "
      "-> (Tensor grad_atoms, Tensor grad_frame, Tensor grad_local)");
  m.def(
      "structure_score(Tensor atoms, Tensor present, Tensor side_chain, Tensor linked, Tensor bonds, "
      "Tensor reference_lengths, float bond_tolerance, float clash_distance, Tensor? box=None) "
      "-> (Tensor deviation, Tensor clash, Tensor counts)");
  m.def(
      "structure_score_backward(Tensor grad_deviation, Tensor atoms, Tensor present, Tensor bonds, "
      "Tensor reference_lengths, Tensor? box=None) -> Tensor");
  m.def("structure_penalty(" BACKMAP_PENALTY_SCHEMA ") -> Tensor");
  m.def("structure_penalty_backward(Tensor grad, " BACKMAP_PENALTY_SCHEMA ") -> Tensor");
  m.def(
      "pack_side_chains(Tensor candidates, Tensor candidate_present, Tensor backbone, Tensor backbone_present, "
      "Tensor radii, Tensor backbone_radii, Tensor linked, Tensor uniforms, float strength, Tensor? box=None) "
      "-> (Tensor choice, Tensor energy)");
  m.def(
      "c_alpha_energy(Tensor c_alpha, Tensor kinds, Tensor weights, Tensor table, float first_angle, "
      "float last_angle) -> Tensor");
  m.def(
      "draw_c_alphas(Tensor beads, Tensor noise, Tensor bonds, Tensor kinds, Tensor weights, Tensor table, "
      "Tensor keys, Tensor steps, float first_angle, float last_angle, float temperature, float step_size, "
      "float largest_step, float contact_distance, float contact_strength, Tensor? box=None) -> Tensor");
  m.def(
      "least_overlap(Tensor atoms, Tensor trials, Tensor penalty, Tensor residue, Tensor target, float distance, "
      "Tensor? box=None) -> Tensor");
  m.def("voxelize(Tensor coordinates, SymInt grid_points, float width, float sigma) -> Tensor");
  m.def("voxelize_into(Tensor coordinates, Tensor(a!) out, float width, float sigma) -> ()");
  m.def("voxelize_backward(Tensor grad, Tensor coordinates, float width, float sigma) -> Tensor");
  m.def("density_to_coordinates(Tensor density, float width, bool logits) -> (Tensor coordinates, Tensor total)");
  m.def(
      "density_to_coordinates_backward(Tensor grad, Tensor density, Tensor coordinates, Tensor total, float width, "
      "bool logits) -> Tensor");
}

namespace {

// Each function finds its device by its arguments, so both keys lead to the same ones.
void implement(torch::Library& m) {
  m.impl("canonical_alignment", &canonical_alignment);
  m.impl("canonical_alignment_backward", &canonical_alignment_backward);
  m.impl("canonical_placement", &canonical_placement);
  m.impl("canonical_placement_backward", &canonical_placement_backward);
  m.impl("overlapping_placement", &overlapping_placement);
  m.impl("overlapping_placement_backward", &overlapping_placement_backward);
  m.impl("structure_score", &structure_score);
  m.impl("structure_score_backward", &structure_score_backward);
  m.impl("structure_penalty", &structure_penalty);
  m.impl("structure_penalty_backward", &structure_penalty_backward);
  m.impl("pack_side_chains", &pack_side_chains);
  m.impl("c_alpha_energy", &c_alpha_energy);
  m.impl("draw_c_alphas", &draw_c_alphas);
  m.impl("least_overlap", &least_overlap);
  m.impl("voxelize", &voxelize);
  m.impl("voxelize_into", &voxelize_into);
  m.impl("voxelize_backward", &voxelize_backward);
  m.impl("density_to_coordinates", &density_to_coordinates);
  m.impl("density_to_coordinates_backward", &density_to_coordinates_backward);
}

}  // namespace

TORCH_LIBRARY_IMPL(backmap, CPU, m) { implement(m); }
TORCH_LIBRARY_IMPL(backmap, CUDA, m) { implement(m); }

}  // namespace backmap
