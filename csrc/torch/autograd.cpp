// Gradients. Each backward is an operator of its own; asking for a second derivative is an error.
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "torch/operators.h"

namespace backmap {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The operator of this name, typed by the function that implements it.
template <auto function, typename... Arguments>
auto call(const char* name, const Arguments&... arguments) {
  using Signature = std::remove_pointer_t<decltype(function)>;
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>().call(arguments...);
}

// The same, below autograd: its results have no history.
template <auto function, typename... Arguments>
auto call_below_autograd(const char* name, const Arguments&... arguments) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  return call<function>(name, arguments...);
}

std::optional<Tensor> if_defined(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

struct CanonicalAlignment : torch::autograd::Function<CanonicalAlignment> {
  static variable_list forward(AutogradContext* ctx, const Tensor& atoms, const Tensor& present,
                               const Tensor& selectable, const Tensor& query, const Tensor& triangle,
                               const Tensor& exclude, const c10::SymInt& neighbours, int64_t frame_rule,
                               const std::optional<Tensor>& box) {
    auto [local, index, frame] =
        call_below_autograd<&canonical_alignment>("backmap::canonical_alignment", atoms, present, selectable, query,
                                                  triangle, exclude, neighbours, frame_rule, box);
    ctx->save_for_backward({atoms, present, index, triangle, box ? local : Tensor()});
    ctx->saved_data["frame_rule"] = frame_rule;
    ctx->mark_non_differentiable({index});
    return {local, index, frame};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [grad_atoms, grad_triangle] = call<&canonical_alignment_backward>(
        "backmap::canonical_alignment_backward", grads[0], grads[2], saved[0], saved[1], saved[2], saved[3],
        ctx->saved_data["frame_rule"].toInt(), if_defined(saved[4]));
    return {grad_atoms, {}, {}, {}, grad_triangle, {}, {}, {}, {}};
  }
};

Tensors3 differentiable_alignment(const Tensor& atoms, const Tensor& present, const Tensor& selectable,
                                  const Tensor& query, const Tensor& triangle, const Tensor& exclude,
                                  c10::SymInt neighbours, int64_t frame_rule, const std::optional<Tensor>& box) {
  auto out =
      CanonicalAlignment::apply(atoms, present, selectable, query, triangle, exclude, neighbours, frame_rule, box);
  return {out[0], out[1], out[2]};
}

struct CanonicalPlacement : torch::autograd::Function<CanonicalPlacement> {
  static Tensor forward(AutogradContext* ctx, const Tensor& frame, const Tensor& local) {
    ctx->save_for_backward({frame, local});
    return call_below_autograd<&canonical_placement>("backmap::canonical_placement", frame, local);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [grad_frame, grad_local] =
        call<&canonical_placement_backward>("backmap::canonical_placement_backward", grads[0], saved[0], saved[1]);
    return {grad_frame, grad_local};
  }
};

Tensor differentiable_placement(const Tensor& frame, const Tensor& local) {
  return CanonicalPlacement::apply(frame, local);
}

struct OverlappingPlacement : torch::autograd::Function<OverlappingPlacement> {
  static Tensor forward(AutogradContext* ctx, const Tensor& atoms, const Tensor& frame, const Tensor& local,
                        const Tensor& target) {
    ctx->save_for_backward({frame, local, target});
    return call_below_autograd<&overlapping_placement>("backmap::overlapping_placement", atoms, frame, local, target);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [grad_atoms, grad_frame, grad_local] = call<&overlapping_placement_backward>(
        "backmap::overlapping_placement_backward", grads[0], saved[0], saved[1], saved[2]);
    return {grad_atoms, grad_frame, grad_local, {}};
  }
};

Tensor differentiable_overlap(const Tensor& atoms, const Tensor& frame, const Tensor& local, const Tensor& target) {
  return OverlappingPlacement::apply(atoms, frame, local, target);
}

struct StructureScore : torch::autograd::Function<StructureScore> {
  static variable_list forward(AutogradContext* ctx, const Tensor& atoms, const Tensor& present,
                               const Tensor& side_chain, const Tensor& linked, const Tensor& bonds,
                               const Tensor& reference_lengths, double bond_tolerance, double clash_distance,
                               const std::optional<Tensor>& box) {
    auto [deviation, clash, counts] =
        call_below_autograd<&structure_score>("backmap::structure_score", atoms, present, side_chain, linked, bonds,
                                              reference_lengths, bond_tolerance, clash_distance, box);
    ctx->save_for_backward({atoms, present, bonds, reference_lengths, box.value_or(Tensor())});
    ctx->mark_non_differentiable({clash, counts});
    return {deviation, clash, counts};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor grad_atoms = call<&structure_score_backward>("backmap::structure_score_backward", grads[0], saved[0],
                                                              saved[1], saved[2], saved[3], if_defined(saved[4]));
    return {grad_atoms, {}, {}, {}, {}, {}, {}, {}, {}};
  }
};

Tensors3 differentiable_score(const Tensor& atoms, const Tensor& present, const Tensor& side_chain,
                              const Tensor& linked, const Tensor& bonds, const Tensor& reference_lengths,
                              double bond_tolerance, double clash_distance, const std::optional<Tensor>& box) {
  auto out = StructureScore::apply(atoms, present, side_chain, linked, bonds, reference_lengths, bond_tolerance,
                                   clash_distance, box);
  return {out[0], out[1], out[2]};
}

struct StructurePenalty : torch::autograd::Function<StructurePenalty> {
  static Tensor forward(AutogradContext* ctx, BACKMAP_PENALTY_PARAMETERS) {
    ctx->save_for_backward({atoms, present, bonds, bond_lengths, angle_ends, angle_spans, radii, exclusion_start,
                            exclusions, box.value_or(Tensor())});
    ctx->saved_data["strengths"] =
        std::vector<double>{bond_kt_per_nm2, angle_kt_per_nm2, repulsion_kt_per_nm2, radius_scale};
    return call_below_autograd<&structure_penalty>("backmap::structure_penalty", BACKMAP_PENALTY_ARGUMENTS);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto v = ctx->get_saved_variables();
    const auto s = ctx->saved_data["strengths"].toDoubleVector();
    const Tensor grad_atoms =
        call<&structure_penalty_backward>("backmap::structure_penalty_backward", grads[0], v[0], v[1], v[2], v[3], v[4],
                                          v[5], v[6], v[7], v[8], s[0], s[1], s[2], s[3], if_defined(v[9]));
    variable_list of_arguments(14);
    of_arguments[0] = grad_atoms;
    return of_arguments;
  }
};

Tensor differentiable_penalty(BACKMAP_PENALTY_PARAMETERS) { return StructurePenalty::apply(BACKMAP_PENALTY_ARGUMENTS); }

// A draw has no gradient: the results are constants, whatever the arguments require.
Tensors2 constant_packing(const Tensor& candidates, const Tensor& candidate_present, const Tensor& backbone,
                          const Tensor& backbone_present, const Tensor& radii, const Tensor& backbone_radii,
                          const Tensor& linked, const Tensor& uniforms, double strength,
                          const std::optional<Tensor>& box) {
  return call_below_autograd<&pack_side_chains>("backmap::pack_side_chains", candidates, candidate_present, backbone,
                                                backbone_present, radii, backbone_radii, linked, uniforms, strength,
                                                box);
}

// Nor has a choice.
Tensor constant_least_overlap(const Tensor& atoms, const Tensor& trials, const Tensor& penalty, const Tensor& residue,
                              const Tensor& target, double distance, const std::optional<Tensor>& box) {
  return call_below_autograd<&least_overlap>("backmap::least_overlap", atoms, trials, penalty, residue, target,
                                             distance, box);
}

Tensor constant_c_alpha_energy(const Tensor& c_alpha, const Tensor& kinds, const Tensor& weights, const Tensor& table,
                               double first_angle, double last_angle) {
  return call_below_autograd<&c_alpha_energy>("backmap::c_alpha_energy", c_alpha, kinds, weights, table, first_angle,
                                              last_angle);
}

Tensor constant_c_alphas(BACKMAP_DRAW_C_ALPHAS_PARAMETERS) {
  return call_below_autograd<&draw_c_alphas>("backmap::draw_c_alphas", BACKMAP_DRAW_C_ALPHAS_ARGUMENTS);
}

struct Voxelize : torch::autograd::Function<Voxelize> {
  static Tensor forward(AutogradContext* ctx, const Tensor& coordinates, const c10::SymInt& grid_points, double width,
                        double sigma) {
    ctx->save_for_backward({coordinates});
    ctx->saved_data["width"] = width;
    ctx->saved_data["sigma"] = sigma;
    return call_below_autograd<&voxelize>("backmap::voxelize", coordinates, grid_points, width, sigma);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor grad_coordinates =
        call<&voxelize_backward>("backmap::voxelize_backward", grads[0], ctx->get_saved_variables()[0],
                                 ctx->saved_data["width"].toDouble(), ctx->saved_data["sigma"].toDouble());
    return {grad_coordinates, {}, {}, {}};
  }
};

Tensor differentiable_voxelize(const Tensor& coordinates, c10::SymInt grid_points, double width, double sigma) {
  return Voxelize::apply(coordinates, grid_points, width, sigma);
}

// Written in place, so there is no history to give: an error where one is asked for, as torch's own out= is.
void constant_voxelize_into(const Tensor& coordinates, const Tensor& out, double width, double sigma) {
  TORCH_CHECK(!at::GradMode::is_enabled() || !(coordinates.requires_grad() || out.requires_grad()),
              "voxelize_into: out= has no gradient, but ", coordinates.requires_grad() ? "coordinates" : "out",
              " requires grad: leave out= away, or call it under torch.no_grad()");
  call_below_autograd<&voxelize_into>("backmap::voxelize_into", coordinates, out, width, sigma);
  torch::autograd::impl::bump_version(out);
}

struct DensityToCoordinates : torch::autograd::Function<DensityToCoordinates> {
  static variable_list forward(AutogradContext* ctx, const Tensor& density, double width, bool logits) {
    auto [coordinates, total] =
        call_below_autograd<&density_to_coordinates>("backmap::density_to_coordinates", density, width, logits);
    ctx->save_for_backward({density, coordinates, total});
    ctx->saved_data["width"] = width;
    ctx->saved_data["logits"] = logits;
    ctx->mark_non_differentiable({total});
    return {coordinates, total};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor grad_density = call<&density_to_coordinates_backward>(
        "backmap::density_to_coordinates_backward", grads[0], saved[0], saved[1], saved[2],
        ctx->saved_data["width"].toDouble(), ctx->saved_data["logits"].toBool());
    return {grad_density, {}, {}};
  }
};

Tensors2 differentiable_centres(const Tensor& density, double width, bool logits) {
  auto out = DensityToCoordinates::apply(density, width, logits);
  return {out[0], out[1]};
}

}  // namespace

TORCH_LIBRARY_IMPL(backmap, Autograd, m) {
  m.impl("canonical_alignment", &differentiable_alignment);
  m.impl("canonical_placement", &differentiable_placement);
  m.impl("overlapping_placement", &differentiable_overlap);
  m.impl("structure_score", &differentiable_score);
  m.impl("structure_penalty", &differentiable_penalty);
  m.impl("pack_side_chains", &constant_packing);
  m.impl("c_alpha_energy", &constant_c_alpha_energy);
  m.impl("draw_c_alphas", &constant_c_alphas);
  m.impl("least_overlap", &constant_least_overlap);
  m.impl("voxelize", &differentiable_voxelize);
  m.impl("voxelize_into", &constant_voxelize_into);
  m.impl("density_to_coordinates", &differentiable_centres);
  for (const char* backward : {"canonical_alignment_backward", "canonical_placement_backward",
                               "overlapping_placement_backward", "structure_score_backward",
                               "structure_penalty_backward", "voxelize_backward", "density_to_coordinates_backward"})
    m.impl(backward, torch::autograd::autogradNotImplementedFallback());
}

}  // namespace backmap
