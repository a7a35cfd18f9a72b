// Canonical alignment and placement: from tensors to launchers, and gradients.
#include "kernels/canonical_alignment.h"
#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

void check_frame_rule(const char* op, int64_t rule) {
  TORCH_CHECK_VALUE(rule == int64_t(FrameRule::GramSchmidt) || rule == int64_t(FrameRule::Isosceles), op,
                    ": frame_rule must be 0 (gram_schmidt) or 1 (isosceles), got ", rule);
}

// Atoms (*, residues, slots, 3). Returns the batch dimensions.
Sizes batch_of(const Argument& atoms) {
  is_floating(atoms);
  holds_points(atoms, 3, "(*, residues, atoms, 3)");
  return without_last(atoms.tensor, 3);
}

Tensors3 empty_canonical_alignment(const Tensor& atoms, const Tensor& present, const Tensor& selectable,
                                   const Tensor& query, const Tensor& triangle, const Tensor& exclude,
                                   c10::SymInt neighbours, int64_t frame_rule, const std::optional<Tensor>& box) {
  const char* op = "canonical_alignment";
  const Argument first{op, "atoms", atoms};
  const auto dtype = atoms.scalar_type();
  const Sizes batch = batch_of(first);
  const auto residues = atoms.sym_size(-3), slots = atoms.sym_size(-2);
  goes_with({op, "present", present}, first, at::kBool);
  has_shape_or_shared({op, "present", present}, batch, {residues, slots});
  goes_with({op, "selectable", selectable}, first, at::kBool);
  has_shape_or_shared({op, "selectable", selectable}, batch, {residues, slots});
  goes_with({op, "query", query}, first, dtype);
  holds_points({op, "query", query}, 2, "(*, queries, 3)");
  const auto queries = query.sym_size(-2);
  has_shape({op, "query", query}, join(batch, {queries, 3}));
  goes_with({op, "triangle", triangle}, first, dtype);
  has_shape({op, "triangle", triangle}, join(batch, {queries, 3, 3}));
  goes_with({op, "exclude", exclude}, first, at::kLong);
  has_shape({op, "exclude", exclude}, {queries});
  TORCH_CHECK_VALUE(neighbours >= 0, op, ": neighbours must be 0 or more, got ", neighbours);
  check_frame_rule(op, frame_rule);
  check_box(op, box, first, batch);
  return {at::empty_symint(join(batch, {queries, neighbours, slots, 3}), atoms.options()),
          at::empty_symint(join(batch, {queries, neighbours}), atoms.options().dtype(at::kLong)),
          at::empty_symint(join(batch, {queries, 4, 3}), atoms.options())};
}

Tensors3 canonical_alignment(const Tensor& atoms, const Tensor& present, const Tensor& selectable, const Tensor& query,
                             const Tensor& triangle, const Tensor& exclude, c10::SymInt neighbours, int64_t frame_rule,
                             const std::optional<Tensor>& box) {
  auto [local, index, frame] =
      empty_canonical_alignment(atoms, present, selectable, query, triangle, exclude, neighbours, frame_rule, box);
  check_box_values("canonical_alignment", box, 0, "nothing");
  const Tensor atoms_ = atoms.contiguous(), present_ = present.contiguous(), selectable_ = selectable.contiguous(),
               query_ = query.contiguous(), triangle_ = triangle.contiguous(), exclude_ = exclude.contiguous(),
               box_ = contiguous_or_undefined(box);
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const int64_t batch = frame_count(atoms, 3), residues = atoms.size(-3), queries = query.size(-2);
    const Tensor workspace =
        cuda_workspace(atoms, [&] { return cuda::alignment_workspace<T>(batch, residues, queries); });
    const AlignmentArguments<T> args{
        .batch = batch,
        .residues = residues,
        .slots = atoms.size(-2),
        .queries = queries,
        .neighbours = index.size(-1),
        .rule = FrameRule(frame_rule),
        .atoms = atoms_.const_data_ptr<T>(),
        .present = present_.const_data_ptr<bool>(),
        .present_stride = frame_stride(present, 2),
        .selectable = selectable_.const_data_ptr<bool>(),
        .selectable_stride = frame_stride(selectable, 2),
        .query = query_.const_data_ptr<T>(),
        .triangle = triangle_.const_data_ptr<T>(),
        .exclude = exclude_.const_data_ptr<int64_t>(),
        .box = data_or_null<T>(box_),
        .box_stride = box ? frame_stride(*box, 2) : 0,
        .local = local.mutable_data_ptr<T>(),
        .index = index.mutable_data_ptr<int64_t>(),
        .frame = frame.mutable_data_ptr<T>(),
        .workspace = workspace.mutable_data_ptr(),
    };
    launch(atoms, [&] { cpu::canonical_alignment(args); }, [&](void* s) { cuda::canonical_alignment(args, s); });
  });
  return {local, index, frame};
}

Tensors2 empty_canonical_alignment_backward(const Tensor& grad_local, const Tensor& grad_frame, const Tensor& atoms,
                                            const Tensor& present, const Tensor& index, const Tensor& triangle,
                                            int64_t frame_rule, const std::optional<Tensor>& local) {
  const char* op = "canonical_alignment_backward";
  const Argument first{op, "atoms", atoms};
  const auto dtype = atoms.scalar_type();
  const Sizes batch = batch_of(first);
  const auto residues = atoms.sym_size(-3), slots = atoms.sym_size(-2);
  goes_with({op, "present", present}, first, at::kBool);
  has_shape_or_shared({op, "present", present}, batch, {residues, slots});
  goes_with({op, "triangle", triangle}, first, dtype);
  holds_points({op, "triangle", triangle}, 3, "(*, queries, 3, 3)");
  const auto queries = triangle.sym_size(-3);
  has_shape({op, "triangle", triangle}, join(batch, {queries, 3, 3}));
  goes_with({op, "index", index}, first, at::kLong);
  TORCH_CHECK_VALUE(index.dim() >= 2, op, ": index must have shape (*, queries, neighbours), got ", index.sym_sizes());
  const auto neighbours = index.sym_size(-1);
  has_shape({op, "index", index}, join(batch, {queries, neighbours}));
  goes_with({op, "grad_local", grad_local}, first, dtype);
  has_shape({op, "grad_local", grad_local}, join(batch, {queries, neighbours, slots, 3}));
  goes_with({op, "grad_frame", grad_frame}, first, dtype);
  has_shape({op, "grad_frame", grad_frame}, join(batch, {queries, 4, 3}));
  check_frame_rule(op, frame_rule);
  if (local) {
    goes_with({op, "local", *local}, first, dtype);
    has_shape({op, "local", *local}, join(batch, {queries, neighbours, slots, 3}));
  }
  return {at::empty_symint(atoms.sym_sizes(), atoms.options()),
          at::empty_symint(triangle.sym_sizes(), triangle.options())};
}

Tensors2 canonical_alignment_backward(const Tensor& grad_local, const Tensor& grad_frame, const Tensor& atoms,
                                      const Tensor& present, const Tensor& index, const Tensor& triangle,
                                      int64_t frame_rule, const std::optional<Tensor>& local) {
  auto [grad_atoms, grad_triangle] =
      empty_canonical_alignment_backward(grad_local, grad_frame, atoms, present, index, triangle, frame_rule, local);
  if (grad_atoms.is_cuda()) grad_atoms.zero_();
  const Tensor grad_local_ = grad_local.contiguous(), grad_frame_ = grad_frame.contiguous(),
               atoms_ = atoms.contiguous(), present_ = present.contiguous(), index_ = index.contiguous(),
               triangle_ = triangle.contiguous(), local_ = contiguous_or_undefined(local);
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const AlignmentBackwardArguments<T> args{
        .batch = frame_count(atoms, 3),
        .residues = atoms.size(-3),
        .slots = atoms.size(-2),
        .queries = triangle.size(-3),
        .neighbours = index.size(-1),
        .rule = FrameRule(frame_rule),
        .grad_local = grad_local_.const_data_ptr<T>(),
        .grad_frame = grad_frame_.const_data_ptr<T>(),
        .atoms = atoms_.const_data_ptr<T>(),
        .present = present_.const_data_ptr<bool>(),
        .present_stride = frame_stride(present, 2),
        .index = index_.const_data_ptr<int64_t>(),
        .triangle = triangle_.const_data_ptr<T>(),
        .local = data_or_null<T>(local_),
        .grad_atoms = grad_atoms.mutable_data_ptr<T>(),
        .grad_triangle = grad_triangle.mutable_data_ptr<T>(),
    };
    launch(
        atoms, [&] { cpu::canonical_alignment_backward(args); },
        [&](void* s) { cuda::canonical_alignment_backward(args, s); });
  });
  return {grad_atoms, grad_triangle};
}

void check_placement(const char* op, const Tensor& frame, const Tensor& local) {
  const Argument first{op, "frame", frame};
  is_floating(first);
  holds_points(first, 3, "(*, queries, 4, 3)");
  has_shape(first, join(without_last(frame, 2), {4, 3}));
  goes_with({op, "local", local}, first, frame.scalar_type());
  holds_points({op, "local", local}, 3, "(*, queries, atoms, 3)");
  has_shape({op, "local", local}, join(without_last(frame, 2), {local.sym_size(-2), 3}));
}

Tensor empty_canonical_placement(const Tensor& frame, const Tensor& local) {
  check_placement("canonical_placement", frame, local);
  return at::empty_symint(local.sym_sizes(), local.options());
}

Tensor canonical_placement(const Tensor& frame, const Tensor& local) {
  Tensor placed = empty_canonical_placement(frame, local);
  const Tensor frame_ = frame.contiguous(), local_ = local.contiguous();
  with_scalar_of(frame, [&](auto scalar) {
    using T = decltype(scalar);
    const PlacementArguments<T> args{
        .queries = frame_count(frame, 2),
        .slots = local.size(-2),
        .frame = frame_.const_data_ptr<T>(),
        .local = local_.const_data_ptr<T>(),
        .placed = placed.mutable_data_ptr<T>(),
    };
    launch(frame, [&] { cpu::canonical_placement(args); }, [&](void* s) { cuda::canonical_placement(args, s); });
  });
  return placed;
}

Tensors2 empty_canonical_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local) {
  const char* op = "canonical_placement_backward";
  check_placement(op, frame, local);
  goes_with({op, "grad", grad}, {op, "frame", frame}, frame.scalar_type());
  has_shape({op, "grad", grad}, without_last(local, 0));
  return {at::empty_symint(frame.sym_sizes(), frame.options()), at::empty_symint(local.sym_sizes(), local.options())};
}

Tensors2 canonical_placement_backward(const Tensor& grad, const Tensor& frame, const Tensor& local) {
  auto [grad_frame, grad_local] = empty_canonical_placement_backward(grad, frame, local);
  const Tensor grad_ = grad.contiguous(), frame_ = frame.contiguous(), local_ = local.contiguous();
  with_scalar_of(frame, [&](auto scalar) {
    using T = decltype(scalar);
    const PlacementBackwardArguments<T> args{
        .queries = frame_count(frame, 2),
        .slots = local.size(-2),
        .grad = grad_.const_data_ptr<T>(),
        .frame = frame_.const_data_ptr<T>(),
        .local = local_.const_data_ptr<T>(),
        .grad_frame = grad_frame.mutable_data_ptr<T>(),
        .grad_local = grad_local.mutable_data_ptr<T>(),
    };
    launch(
        frame, [&] { cpu::canonical_placement_backward(args); },
        [&](void* s) { cuda::canonical_placement_backward(args, s); });
  });
  return {grad_frame, grad_local};
}

// ---- Gradients ---------------------------------------------------------------------------------

struct CanonicalAlignment : torch::autograd::Function<CanonicalAlignment> {
  static variable_list forward(AutogradContext* ctx, const Tensor& atoms, const Tensor& present,
                               const Tensor& selectable, const Tensor& query, const Tensor& triangle,
                               const Tensor& exclude, const c10::SymInt& neighbours, int64_t frame_rule,
                               const std::optional<Tensor>& box) {
    auto [local, index, frame] = call_below_autograd<&canonical_alignment>(atoms, present, selectable, query, triangle,
                                                                           exclude, neighbours, frame_rule, box);
    ctx->save_for_backward({atoms, present, index, triangle, box ? local : Tensor()});
    ctx->saved_data["frame_rule"] = frame_rule;
    ctx->mark_non_differentiable({index});
    return {local, index, frame};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [grad_atoms, grad_triangle] =
        call<&canonical_alignment_backward>(grads[0], grads[2], saved[0], saved[1], saved[2], saved[3],
                                            ctx->saved_data["frame_rule"].toInt(), if_defined(saved[4]));
    return {grad_atoms, {}, {}, {}, grad_triangle, {}, {}, {}, {}};
  }
};

struct CanonicalPlacement : torch::autograd::Function<CanonicalPlacement> {
  static Tensor forward(AutogradContext* ctx, const Tensor& frame, const Tensor& local) {
    ctx->save_for_backward({frame, local});
    return call_below_autograd<&canonical_placement>(frame, local);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [grad_frame, grad_local] = call<&canonical_placement_backward>(grads[0], saved[0], saved[1]);
    return {grad_frame, grad_local};
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&canonical_alignment, &empty_canonical_alignment, CanonicalAlignment>(
      m,
      "canonical_alignment(Tensor atoms, Tensor present, Tensor selectable, Tensor query, Tensor triangle, "
      "Tensor exclude, SymInt neighbours, int frame_rule, Tensor? box=None) "
      "-> (Tensor local, Tensor index, Tensor frame)");
  register_operator<&canonical_alignment_backward, &empty_canonical_alignment_backward, NoSecondGradient>(
      m,
      "canonical_alignment_backward(Tensor grad_local, Tensor grad_frame, Tensor atoms, Tensor present, Tensor index, "
      "Tensor triangle, int frame_rule, Tensor? local=None) -> (Tensor grad_atoms, Tensor grad_triangle)");
  register_operator<&canonical_placement, &empty_canonical_placement, CanonicalPlacement>(
      m, "canonical_placement(Tensor frame, Tensor local) -> Tensor");
  register_operator<&canonical_placement_backward, &empty_canonical_placement_backward, NoSecondGradient>(
      m,
      "canonical_placement_backward(Tensor grad, Tensor frame, Tensor local) "
      "-> (Tensor grad_frame, Tensor grad_local)");
}

}  // namespace backmap
