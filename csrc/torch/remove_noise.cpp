// Removal of noise from the points of residues: from tensors to launchers.
#include "kernels/remove_noise.h"

#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

Tensor empty_remove_noise(const Tensor& given, const Tensor& generated, const Tensor& empty, const Tensor& normals,
                          const Tensor& features, const Tensor& modulation, const Tensor& pairs, const Tensor& atoms,
                          const Tensor& levels, const Tensor& moves, const Tensor& step_features,
                          const Tensor& step_modulation, const Tensor& entry, const Tensor& layers,
                          const Tensor& layer_bias, const Tensor& leave, const Tensor& leave_bias, double clip,
                          double furthest) {
  const char* op = "remove_noise";
  const Argument first{op, "given", given};
  is_floating(first);
  TORCH_CHECK_VALUE(given.dim() >= 1 && given.sym_size(-1) >= 3 && given.sym_size(-1) % 3 == 0, op,
                    ": given must have shape (*, 3 points) of at least 1 point, got ", given.sym_sizes());
  for (const auto& [name, value] : {std::pair{"clip", clip}, std::pair{"furthest", furthest}})
    TORCH_CHECK_VALUE(value > 0 && std::isfinite(value), op, ": ", name, " must be finite and more than 0, got ",
                      value);
  const auto scalar = given.scalar_type();
  for (const Argument& number :
       {Argument{op, "normals", normals}, Argument{op, "features", features}, Argument{op, "modulation", modulation},
        Argument{op, "pairs", pairs}, Argument{op, "atoms", atoms}, Argument{op, "levels", levels},
        Argument{op, "moves", moves}, Argument{op, "step_features", step_features},
        Argument{op, "step_modulation", step_modulation}, Argument{op, "entry", entry}, Argument{op, "layers", layers},
        Argument{op, "layer_bias", layer_bias}, Argument{op, "leave", leave}, Argument{op, "leave_bias", leave_bias}})
    goes_with(number, first, scalar);
  const Sizes batch = without_last(given, 1);
  const auto coordinates = given.sym_size(-1), points = coordinates / 3, between = points * (points - 1) / 2;
  for (const Argument& flag : {Argument{op, "generated", generated}, Argument{op, "empty", empty}}) {
    goes_with(flag, first, at::kBool);
    has_shape(flag, join(batch, {points}));
  }
  has_dimensions({op, "layer_bias", layer_bias}, 3, "(layers, 2, hidden)");
  const auto count = layer_bias.sym_size(0), hidden = layer_bias.sym_size(2);
  TORCH_CHECK_VALUE(hidden >= 1, op, ": layer_bias must be at least 1 wide, got ", layer_bias.sym_sizes());
  has_shape({op, "layer_bias", layer_bias}, {count, 2, hidden});
  has_shape({op, "features", features}, join(batch, {hidden}));
  has_shape({op, "modulation", modulation}, join(batch, {count, 2 * hidden}));
  has_shape({op, "pairs", pairs}, join(batch, {pair_numbers, between}));
  TORCH_CHECK_VALUE(atoms.dim() >= 2, op, ": atoms must have shape (*, 3, atoms), got ", atoms.sym_sizes());
  has_shape({op, "atoms", atoms}, join(batch, {3, atoms.sym_size(-1)}));
  has_dimensions({op, "levels", levels}, 2, "(steps, 6)");
  const auto steps = levels.sym_size(0);
  has_shape({op, "levels", levels}, {steps, level_numbers});
  has_shape({op, "moves", moves}, {steps, move_numbers});
  has_shape({op, "step_features", step_features}, {steps, hidden});
  has_shape({op, "step_modulation", step_modulation}, {steps, count, 2 * hidden});
  TORCH_CHECK_VALUE(normals.dim() >= 2 && (normals.sym_size(-2) == 1 || normals.sym_size(-2) == steps), op,
                    ": normals must have shape (*, 1 or steps, 3 points), got ", normals.sym_sizes());
  has_shape({op, "normals", normals}, join(batch, {normals.sym_size(-2), coordinates}));
  const auto panels = [](const c10::SymInt& width) { return (width + (panel_width - 1)) / panel_width; };
  has_shape({op, "entry", entry}, {panels(hidden), 7 * points + between, panel_width});
  has_shape({op, "layers", layers}, {count, 2, panels(hidden), hidden, panel_width});
  has_shape({op, "leave", leave}, {panels(coordinates + between), hidden, panel_width});
  has_shape({op, "leave_bias", leave_bias}, {coordinates + between});
  return at::empty_symint(given.sym_sizes(), given.options());
}

Tensor remove_noise(const Tensor& given, const Tensor& generated, const Tensor& empty, const Tensor& normals,
                    const Tensor& features, const Tensor& modulation, const Tensor& pairs, const Tensor& atoms,
                    const Tensor& levels, const Tensor& moves, const Tensor& step_features,
                    const Tensor& step_modulation, const Tensor& entry, const Tensor& layers, const Tensor& layer_bias,
                    const Tensor& leave, const Tensor& leave_bias, double clip, double furthest) {
  const Tensor point =
      empty_remove_noise(given, generated, empty, normals, features, modulation, pairs, atoms, levels, moves,
                         step_features, step_modulation, entry, layers, layer_bias, leave, leave_bias, clip, furthest);
  const Tensor given_ = given.contiguous(), generated_ = generated.contiguous(), empty_ = empty.contiguous(),
               normals_ = normals.contiguous(), features_ = features.contiguous(),
               modulation_ = modulation.contiguous(), pairs_ = pairs.contiguous(), atoms_ = atoms.contiguous(),
               levels_ = levels.contiguous(), moves_ = moves.contiguous(), step_features_ = step_features.contiguous(),
               step_modulation_ = step_modulation.contiguous(), entry_ = entry.contiguous(),
               layers_ = layers.contiguous(), layer_bias_ = layer_bias.contiguous(), leave_ = leave.contiguous(),
               leave_bias_ = leave_bias.contiguous();
  const int64_t residues = frame_count(given, 1), points = given.size(-1) / 3, hidden = layer_bias.size(2);
  with_scalar_of(given, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace =
        cuda_workspace(given, [&] { return cuda::remove_noise_workspace<T>(residues, points, hidden); });
    const RemoveNoiseArguments<T> args{
        .batch = residues,
        .points = points,
        .hidden = hidden,
        .layers = layer_bias.size(0),
        .atoms = atoms.size(-1),
        .steps = levels.size(0),
        .noise_rows = normals.size(-2),
        .given = given_.const_data_ptr<T>(),
        .generated = generated_.const_data_ptr<bool>(),
        .empty = empty_.const_data_ptr<bool>(),
        .normal = normals_.const_data_ptr<T>(),
        .features = features_.const_data_ptr<T>(),
        .modulation = modulation_.const_data_ptr<T>(),
        .pair = pairs_.const_data_ptr<T>(),
        .atom = atoms_.const_data_ptr<T>(),
        .level = levels_.const_data_ptr<T>(),
        .move = moves_.const_data_ptr<T>(),
        .step_features = step_features_.const_data_ptr<T>(),
        .step_modulation = step_modulation_.const_data_ptr<T>(),
        .entry = entry_.const_data_ptr<T>(),
        .layer = layers_.const_data_ptr<T>(),
        .layer_bias = layer_bias_.const_data_ptr<T>(),
        .leave = leave_.const_data_ptr<T>(),
        .leave_bias = leave_bias_.const_data_ptr<T>(),
        .clip = T(clip),
        .furthest = T(furthest),
        .point = point.mutable_data_ptr<T>(),
        .workspace = reinterpret_cast<T*>(workspace.mutable_data_ptr<uint8_t>()),
    };
    launch(given, [&] { cpu::remove_noise(args); }, [&](void* s) { cuda::remove_noise(args, s); });
  });
  return point;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&remove_noise, &empty_remove_noise, NotDifferentiable>(
      m,
      "remove_noise(Tensor given, Tensor generated, Tensor empty, Tensor normals, Tensor features, Tensor modulation, "
      "Tensor pairs, Tensor atoms, Tensor levels, Tensor moves, Tensor step_features, Tensor step_modulation, "
      "Tensor entry, Tensor layers, Tensor layer_bias, Tensor leave, Tensor leave_bias, float clip, float furthest) "
      "-> Tensor");
}

}  // namespace backmap
