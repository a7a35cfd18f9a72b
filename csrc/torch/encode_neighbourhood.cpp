// Neighbourhoods of sites, summarised by a network: from tensors to launchers.
#include "kernels/encode_neighbourhood.h"

#include "core/neighbourhood_features.h"
#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

// Indices into an embedding. Values are checked only if reading them needs no synchronisation; on CUDA, an index out of
// range counts as the last one.
void check_rows(const Argument& index, const Argument& embedding) {
  if (!index.tensor.is_cpu() || index.tensor.numel() == 0) return;
  const int64_t highest = index.tensor.max().item<int64_t>(), rows = embedding.tensor.size(0);
  TORCH_CHECK_VALUE(highest < rows, index.op, ": ", index.name, " must be less than the ", rows, " rows of ",
                    embedding.name, ", got ", highest);
}

Tensor empty_encode_neighbourhood(const Tensor& positions, const Tensor& types, const Tensor& offsets,
                                  const Tensor& query, const Tensor& position_weight, const Tensor& position_bias,
                                  const Tensor& type_embedding, const Tensor& offset_embedding,
                                  const Tensor& inner_weight, const Tensor& inner_bias) {
  const char* op = "encode_neighbourhood";
  const Argument first{op, "positions", positions};
  is_floating(first);
  holds_points(first, 3, "(*, neighbours, points, 3)");
  const Sizes batch = without_last(positions, 3);
  const auto neighbours = positions.sym_size(-3), points = positions.sym_size(-2);
  TORCH_CHECK_VALUE(neighbours >= 1 && points >= 1, op, ": positions must contain at least 1 neighbour and 1 point, ",
                    "got shape ", positions.sym_sizes());
  goes_with({op, "types", types}, first, at::kByte);
  has_shape({op, "types", types}, join(batch, {neighbours}));
  goes_with({op, "offsets", offsets}, first, at::kByte);
  has_shape({op, "offsets", offsets}, join(batch, {neighbours}));
  for (const Argument& weight :
       {Argument{op, "query", query}, Argument{op, "position_weight", position_weight},
        Argument{op, "position_bias", position_bias}, Argument{op, "type_embedding", type_embedding},
        Argument{op, "offset_embedding", offset_embedding}, Argument{op, "inner_weight", inner_weight},
        Argument{op, "inner_bias", inner_bias}})
    goes_with(weight, first, positions.scalar_type());
  has_dimensions({op, "inner_weight", inner_weight}, 2, "(width, width)");
  const auto width = inner_weight.sym_size(0);
  has_shape({op, "inner_weight", inner_weight}, {width, width});
  has_shape({op, "inner_bias", inner_bias}, {width});
  has_shape({op, "position_weight", position_weight}, {width, 4 * points + 3});
  has_shape({op, "position_bias", position_bias}, {width});
  for (const Argument& embedding :
       {Argument{op, "type_embedding", type_embedding}, Argument{op, "offset_embedding", offset_embedding}}) {
    has_dimensions(embedding, 2, "(rows, width)");
    has_shape(embedding, {embedding.tensor.sym_size(0), width});
    TORCH_CHECK_VALUE(embedding.tensor.sym_size(0) >= 1, op, ": ", embedding.name, " must have at least 1 row");
  }
  TORCH_CHECK_VALUE(query.dim() >= 2, op, ": query must have shape (*, queries, width), got ", query.sym_sizes());
  const auto queries = query.sym_size(-2);
  has_shape({op, "query", query}, join(batch, {queries, width}));
  return at::empty_symint(join(batch, {queries, width}), positions.options());
}

Tensor encode_neighbourhood(const Tensor& positions, const Tensor& types, const Tensor& offsets, const Tensor& query,
                            const Tensor& position_weight, const Tensor& position_bias, const Tensor& type_embedding,
                            const Tensor& offset_embedding, const Tensor& inner_weight, const Tensor& inner_bias) {
  const char* op = "encode_neighbourhood";
  const Tensor summary = empty_encode_neighbourhood(positions, types, offsets, query, position_weight, position_bias,
                                                    type_embedding, offset_embedding, inner_weight, inner_bias);
  check_rows({op, "types", types}, {op, "type_embedding", type_embedding});
  check_rows({op, "offsets", offsets}, {op, "offset_embedding", offset_embedding});
  const Tensor positions_ = positions.contiguous(), types_ = types.contiguous(), offsets_ = offsets.contiguous(),
               query_ = query.contiguous(), position_weight_ = position_weight.contiguous(),
               position_bias_ = position_bias.contiguous(), type_embedding_ = type_embedding.contiguous(),
               offset_embedding_ = offset_embedding.contiguous(), inner_weight_ = inner_weight.contiguous(),
               inner_bias_ = inner_bias.contiguous();
  const int64_t sites = frame_count(positions, 3), neighbours = positions.size(-3), points = positions.size(-2),
                queries = query.size(-2), width = inner_weight.size(0);
  with_scalar_of(positions, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace = cuda_workspace(
        positions, [&] { return cuda::encode_neighbourhood_workspace<T>(sites, neighbours, points, queries, width); });
    const EncodeNeighbourhoodArguments<T> args{
        .batch = sites,
        .neighbours = neighbours,
        .points = points,
        .queries = queries,
        .width = width,
        .types = type_embedding.size(0),
        .offsets = offset_embedding.size(0),
        .position = positions_.const_data_ptr<T>(),
        .type = types_.const_data_ptr<uint8_t>(),
        .offset = offsets_.const_data_ptr<uint8_t>(),
        .query = query_.const_data_ptr<T>(),
        .position_weight = position_weight_.const_data_ptr<T>(),
        .position_bias = position_bias_.const_data_ptr<T>(),
        .type_embedding = type_embedding_.const_data_ptr<T>(),
        .offset_embedding = offset_embedding_.const_data_ptr<T>(),
        .inner_weight = inner_weight_.const_data_ptr<T>(),
        .inner_bias = inner_bias_.const_data_ptr<T>(),
        .summary = summary.mutable_data_ptr<T>(),
        .workspace = reinterpret_cast<T*>(workspace.mutable_data_ptr<uint8_t>()),
    };
    launch(positions, [&] { cpu::encode_neighbourhood(args); }, [&](void* s) { cuda::encode_neighbourhood(args, s); });
  });
  return summary;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&encode_neighbourhood, &empty_encode_neighbourhood, NotDifferentiable>(
      m,
      "encode_neighbourhood(Tensor positions, Tensor types, Tensor offsets, Tensor query, Tensor position_weight, "
      "Tensor position_bias, Tensor type_embedding, Tensor offset_embedding, Tensor inner_weight, "
      "Tensor inner_bias) -> Tensor");
}

}  // namespace backmap
