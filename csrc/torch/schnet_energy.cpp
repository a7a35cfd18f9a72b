// Energy of beads by SchNet, with its gradient: from tensors to launchers.
#include "kernels/schnet_energy.h"

#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

// The parameters of the operator, and their names in the same order.
#define BACKMAP_SCHNET_PARAMETERS                                                                                   \
  const Tensor &beads, const Tensor &features, const Tensor &filters, const Tensor &incoming, const Tensor &mixing, \
      const Tensor &mixing_bias, const Tensor &outgoing, const Tensor &outgoing_bias, const Tensor &readout,        \
      const Tensor &readout_bias, const Tensor &readout_weights, double cutoff_nm
#define BACKMAP_SCHNET_ARGUMENTS                                                                           \
  beads, features, filters, incoming, mixing, mixing_bias, outgoing, outgoing_bias, readout, readout_bias, \
      readout_weights, cutoff_nm

namespace backmap {
namespace {

using namespace checks;

constexpr const char* op = "schnet_energy";

Tensors2 empty_schnet_energy(BACKMAP_SCHNET_PARAMETERS) {
  const Argument first{op, "beads", beads};
  is_floating(first);
  holds_points(first, 2, "(*, beads, 3)");
  const auto has = [&](const char* name, const Tensor& tensor, const Sizes& shape) {
    const Argument argument{op, name, tensor};
    goes_with(argument, first, beads.scalar_type());
    has_shape(argument, shape);
  };
  goes_with({op, "features", features}, first, beads.scalar_type());
  has_dimensions({op, "features", features}, 2, "(beads, width)");
  const auto width = features.sym_size(1);
  has("features", features, {beads.sym_size(-2), width});
  goes_with({op, "filters", filters}, first, beads.scalar_type());
  has_dimensions({op, "filters", filters}, 4, "(blocks, knots, 2, width)");
  const auto blocks = filters.sym_size(0), knots = filters.sym_size(1);
  has("filters", filters, {blocks, knots, 2, width});
  TORCH_CHECK_VALUE(knots >= 2, op, ": filters must have 2 knots or more, got ", knots);
  has("incoming", incoming, {blocks, width, width});
  has("mixing", mixing, {blocks, width, width});
  has("mixing_bias", mixing_bias, {blocks, width});
  has("outgoing", outgoing, {blocks, width, width});
  has("outgoing_bias", outgoing_bias, {blocks, width});
  goes_with({op, "readout", readout}, first, beads.scalar_type());
  has_dimensions({op, "readout", readout}, 2, "(hidden, width)");
  const auto hidden = readout.sym_size(0);
  has("readout", readout, {hidden, width});
  has("readout_bias", readout_bias, {hidden});
  has("readout_weights", readout_weights, {hidden});
  is_length(op, "cutoff_nm", cutoff_nm);
  return {at::empty_symint(without_last(beads, 2), beads.options()),
          at::empty_symint(beads.sym_sizes(), beads.options())};
}

Tensors2 schnet_energy(BACKMAP_SCHNET_PARAMETERS) {
  const auto [energy, gradient] = empty_schnet_energy(BACKMAP_SCHNET_ARGUMENTS);
  check_count(op, "beads", beads.size(-2));
  const Tensor beads_ = beads.contiguous(), features_ = features.contiguous(), filters_ = filters.contiguous(),
               incoming_ = incoming.contiguous(), mixing_ = mixing.contiguous(),
               mixing_bias_ = mixing_bias.contiguous(), outgoing_ = outgoing.contiguous(),
               outgoing_bias_ = outgoing_bias.contiguous(), readout_ = readout.contiguous(),
               readout_bias_ = readout_bias.contiguous(), readout_weights_ = readout_weights.contiguous();
  with_scalar_of(beads, [&, energy = energy, gradient = gradient](auto scalar) {
    using T = decltype(scalar);
    const int64_t batch = frame_count(beads, 2), count = beads.size(-2), width = features.size(1),
                  hidden = readout.size(0), blocks = filters.size(0);
    const Tensor workspace =
        cuda_workspace(beads, [&] { return cuda::schnet_workspace<T>(batch, count, width, hidden, blocks); });
    const SchNetArguments<T> args{
        .batch = batch,
        .beads = count,
        .width = width,
        .hidden = hidden,
        .blocks = blocks,
        .knots = filter_knots<T>(filters.size(1), cutoff_nm),
        .position = beads_.const_data_ptr<T>(),
        .feature = features_.const_data_ptr<T>(),
        .filter = filters_.const_data_ptr<T>(),
        .incoming = incoming_.const_data_ptr<T>(),
        .mixing = mixing_.const_data_ptr<T>(),
        .mixing_bias = mixing_bias_.const_data_ptr<T>(),
        .outgoing = outgoing_.const_data_ptr<T>(),
        .outgoing_bias = outgoing_bias_.const_data_ptr<T>(),
        .readout = readout_.const_data_ptr<T>(),
        .readout_bias = readout_bias_.const_data_ptr<T>(),
        .readout_weight = readout_weights_.const_data_ptr<T>(),
        .energy = energy.mutable_data_ptr<T>(),
        .gradient = gradient.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(beads, [&] { cpu::schnet_energy(args); }, [&](void* s) { cuda::schnet_energy(args, s); });
  });
  return {energy, gradient};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&schnet_energy, &empty_schnet_energy, NoGradient>(
      m,
      "schnet_energy(Tensor beads, Tensor features, Tensor filters, Tensor incoming, Tensor mixing, "
      "Tensor mixing_bias, Tensor outgoing, Tensor outgoing_bias, Tensor readout, Tensor readout_bias, "
      "Tensor readout_weights, float cutoff_nm) -> (Tensor energy, Tensor gradient)");
}

}  // namespace backmap
