// The operators as C++ functions.
//
// `empty_*` checks the arguments and allocates the results: all that Meta tensors need. The function of the
// same name without the prefix fills them, on the CPU or on CUDA by where the arguments are.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <tuple>

namespace backmap {

using at::Tensor;
using Tensors2 = std::tuple<Tensor, Tensor>;
using Tensors3 = std::tuple<Tensor, Tensor, Tensor>;

Tensors3 empty_canonical_alignment(const Tensor& atoms, const Tensor& present, const Tensor& selectable,
                                   const Tensor& query, const Tensor& triangle, const Tensor& exclude,
                                   c10::SymInt neighbours, int64_t frame_rule, const std::optional<Tensor>& box);
Tensors3 canonical_alignment(const Tensor& atoms, const Tensor& present, const Tensor& selectable, const Tensor& query,
                             const Tensor& triangle, const Tensor& exclude, c10::SymInt neighbours, int64_t frame_rule,
                             const std::optional<Tensor>& box);

Tensors2 empty_canonical_alignment_backward(const Tensor& grad_local, const Tensor& grad_frame, const Tensor& atoms,
                                            const Tensor& present, const Tensor& index, const Tensor& triangle,
                                            int64_t frame_rule, const std::optional<Tensor>& local);
Tensors2 canonical_alignment_backward(const Tensor& grad_local, const Tensor& grad_frame, const Tensor& atoms,
                                      const Tensor& present, const Tensor& index, const Tensor& triangle,
                                      int64_t frame_rule, const std::optional<Tensor>& local);

Tensor empty_canonical_placement(const Tensor& frame, const Tensor& local);
Tensor canonical_placement(const Tensor& frame, const Tensor& local);

Tensors2 empty_canonical_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local);
Tensors2 canonical_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local);

Tensor empty_overlapping_placement(const Tensor& atoms, const Tensor& frame, const Tensor& local, const Tensor& target);
Tensor overlapping_placement(const Tensor& atoms, const Tensor& frame, const Tensor& local, const Tensor& target);

Tensors3 empty_overlapping_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local,
                                              const Tensor& target);
Tensors3 overlapping_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local,
                                        const Tensor& target);

Tensors3 empty_structure_score(const Tensor& atoms, const Tensor& present, const Tensor& side_chain,
                               const Tensor& linked, const Tensor& bonds, const Tensor& reference_lengths,
                               double bond_tolerance, double clash_distance, const std::optional<Tensor>& box);
Tensors3 structure_score(const Tensor& atoms, const Tensor& present, const Tensor& side_chain, const Tensor& linked,
                         const Tensor& bonds, const Tensor& reference_lengths, double bond_tolerance,
                         double clash_distance, const std::optional<Tensor>& box);

Tensor empty_structure_score_backward(const Tensor& grad_deviation, const Tensor& atoms, const Tensor& present,
                                      const Tensor& bonds, const Tensor& reference_lengths,
                                      const std::optional<Tensor>& box);
Tensor structure_score_backward(const Tensor& grad_deviation, const Tensor& atoms, const Tensor& present,
                                const Tensor& bonds, const Tensor& reference_lengths, const std::optional<Tensor>& box);

// The parameters of the penalty, which its backward has too, and their names in the same order.
#define BACKMAP_PENALTY_PARAMETERS                                                                             \
  const Tensor &atoms, const Tensor &present, const Tensor &bonds, const Tensor &bond_lengths,                 \
      const Tensor &angle_ends, const Tensor &angle_spans, const Tensor &radii, const Tensor &exclusion_start, \
      const Tensor &exclusions, double bond_kt_per_nm2, double angle_kt_per_nm2, double repulsion_kt_per_nm2,  \
      double radius_scale, const std::optional<Tensor>&box
#define BACKMAP_PENALTY_ARGUMENTS                                                                                    \
  atoms, present, bonds, bond_lengths, angle_ends, angle_spans, radii, exclusion_start, exclusions, bond_kt_per_nm2, \
      angle_kt_per_nm2, repulsion_kt_per_nm2, radius_scale, box

Tensor empty_structure_penalty(BACKMAP_PENALTY_PARAMETERS);
Tensor structure_penalty(BACKMAP_PENALTY_PARAMETERS);
Tensor empty_structure_penalty_backward(const Tensor& grad, BACKMAP_PENALTY_PARAMETERS);
Tensor structure_penalty_backward(const Tensor& grad, BACKMAP_PENALTY_PARAMETERS);

Tensors2 empty_pack_side_chains(const Tensor& candidates, const Tensor& candidate_present, const Tensor& backbone,
                                const Tensor& backbone_present, const Tensor& radii, const Tensor& backbone_radii,
                                const Tensor& linked, const Tensor& uniforms, double strength,
                                const std::optional<Tensor>& box);
Tensors2 pack_side_chains(const Tensor& candidates, const Tensor& candidate_present, const Tensor& backbone,
                          const Tensor& backbone_present, const Tensor& radii, const Tensor& backbone_radii,
                          const Tensor& linked, const Tensor& uniforms, double strength,
                          const std::optional<Tensor>& box);

Tensor empty_least_overlap(const Tensor& atoms, const Tensor& trials, const Tensor& penalty, const Tensor& residue,
                           const Tensor& target, double distance, const std::optional<Tensor>& box);
Tensor least_overlap(const Tensor& atoms, const Tensor& trials, const Tensor& penalty, const Tensor& residue,
                     const Tensor& target, double distance, const std::optional<Tensor>& box);

Tensor empty_c_alpha_energy(const Tensor& c_alpha, const Tensor& kinds, const Tensor& weights, const Tensor& table,
                            double first_angle, double last_angle);
Tensor c_alpha_energy(const Tensor& c_alpha, const Tensor& kinds, const Tensor& weights, const Tensor& table,
                      double first_angle, double last_angle);

#define BACKMAP_DRAW_C_ALPHAS_PARAMETERS                                                                           \
  const Tensor &beads, const Tensor &noise, const Tensor &bonds, const Tensor &kinds, const Tensor &weights,       \
      const Tensor &table, const Tensor &keys, const Tensor &steps, double first_angle, double last_angle,         \
      double temperature, double step_size, double largest_step, double contact_distance, double contact_strength, \
      const std::optional<Tensor>&box
#define BACKMAP_DRAW_C_ALPHAS_ARGUMENTS                                                                     \
  beads, noise, bonds, kinds, weights, table, keys, steps, first_angle, last_angle, temperature, step_size, \
      largest_step, contact_distance, contact_strength, box

Tensor empty_draw_c_alphas(BACKMAP_DRAW_C_ALPHAS_PARAMETERS);
Tensor draw_c_alphas(BACKMAP_DRAW_C_ALPHAS_PARAMETERS);

Tensor empty_voxelize(const Tensor& coordinates, c10::SymInt grid_points, double width, double sigma);
Tensor voxelize(const Tensor& coordinates, c10::SymInt grid_points, double width, double sigma);

// Only checks: the caller allocated.
void empty_voxelize_into(const Tensor& coordinates, const Tensor& out, double width, double sigma);
void voxelize_into(const Tensor& coordinates, const Tensor& out, double width, double sigma);

Tensor empty_voxelize_backward(const Tensor& grad, const Tensor& coordinates, double width, double sigma);
Tensor voxelize_backward(const Tensor& grad, const Tensor& coordinates, double width, double sigma);

Tensors2 empty_density_to_coordinates(const Tensor& density, double width, bool logits);
Tensors2 density_to_coordinates(const Tensor& density, double width, bool logits);

Tensor empty_density_to_coordinates_backward(const Tensor& grad, const Tensor& density, const Tensor& coordinates,
                                             const Tensor& total, double width, bool logits);
Tensor density_to_coordinates_backward(const Tensor& grad, const Tensor& density, const Tensor& coordinates,
                                       const Tensor& total, double width, bool logits);

}  // namespace backmap
