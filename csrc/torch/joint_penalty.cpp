// Penalties on angles, each given the one before it: from tensors to launchers.
#include "kernels/joint_penalty.h"

#include "torch/joint_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

Tensor empty_joint_penalty(const Tensor& forms, const Tensor& kinds, const Tensor& table, const Tensor& cosine,
                           const Tensor& sine, const Tensor& waves) {
  const char* op = "joint_penalty";
  const Argument first{op, "cosine", cosine};
  is_floating(first);
  TORCH_CHECK_VALUE(cosine.dim() >= 1, op, ": cosine must have shape (*, previous), got ", cosine.sym_sizes());
  const auto scalar = cosine.scalar_type();
  const Sizes joints = without_last(cosine, 1);
  const Argument forms_{op, "forms", forms}, kinds_{op, "kinds", kinds}, table_{op, "table", table};
  goes_with(forms_, first, scalar);
  goes_with(kinds_, first, at::kLong);
  goes_with(table_, first, scalar);
  hold_joints(forms_, kinds_, table_, joints);
  goes_with({op, "sine", sine}, first, scalar);
  has_shape({op, "sine", sine}, without_last(cosine, 0));
  goes_with({op, "waves", waves}, first, scalar);
  has_dimensions({op, "waves", waves}, 2, "(3, angles)");
  has_shape({op, "waves", waves}, {waves_of_angle, waves.sym_size(1)});
  return at::empty_symint(join(without_last(cosine, 0), {waves.sym_size(1)}), cosine.options());
}

Tensor joint_penalty(const Tensor& forms, const Tensor& kinds, const Tensor& table, const Tensor& cosine,
                     const Tensor& sine, const Tensor& waves) {
  const Tensor penalty = empty_joint_penalty(forms, kinds, table, cosine, sine, waves);
  check_range({"joint_penalty", "kinds", kinds}, table.size(0));
  const Tensor forms_ = forms.contiguous(), kinds_ = kinds.contiguous(), table_ = table.contiguous(),
               cosine_ = cosine.contiguous(), sine_ = sine.contiguous(), waves_ = waves.contiguous();
  with_scalar_of(cosine, [&](auto scalar) {
    using T = decltype(scalar);
    const JointPenaltyArguments<T> args{
        .batch = frame_count(cosine, 1),
        .previous = cosine.size(-1),
        .quantities = forms.size(-2),
        .angles = waves.size(1),
        .kinds = table.size(0),
        .cells = table.size(1),
        .form = forms_.const_data_ptr<T>(),
        .kind = kinds_.const_data_ptr<int64_t>(),
        .table = table_.const_data_ptr<T>(),
        .cosine = cosine_.const_data_ptr<T>(),
        .sine = sine_.const_data_ptr<T>(),
        .wave = waves_.const_data_ptr<T>(),
        .penalty = penalty.mutable_data_ptr<T>(),
    };
    launch(cosine, [&] { cpu::joint_penalty(args); }, [&](void* s) { cuda::joint_penalty(args, s); });
  });
  return penalty;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&joint_penalty, &empty_joint_penalty, NotDifferentiable>(
      m, "joint_penalty(Tensor forms, Tensor kinds, Tensor table, Tensor cosine, Tensor sine, Tensor waves) -> Tensor");
}

}  // namespace backmap
