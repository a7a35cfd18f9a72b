// Trials that overlap least: from tensors to launchers.
#include "kernels/least_overlap.h"
#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

Tensor empty_least_overlap(const Tensor& atoms, const Tensor& trials, const Tensor& penalty, const Tensor& residue,
                           const Tensor& target, double distance, const std::optional<Tensor>& box) {
  const char* op = "least_overlap";
  const Argument first{op, "atoms", atoms};
  is_floating(first);
  holds_points(first, 3, "(*, residues, atoms, 3)");
  const Sizes batch = without_last(atoms, 3);
  goes_with({op, "trials", trials}, first, atoms.scalar_type());
  holds_points({op, "trials", trials}, 4, "(*, groups, trials, points, 3)");
  const auto groups = trials.sym_size(-4), count = trials.sym_size(-3), points = trials.sym_size(-2);
  has_shape({op, "trials", trials}, join(batch, {groups, count, points, 3}));
  TORCH_CHECK_VALUE(count >= 1, op, ": trials must contain at least 1 trial per group, got shape ", trials.sym_sizes());
  goes_with({op, "penalty", penalty}, first, atoms.scalar_type());
  has_shape({op, "penalty", penalty}, join(batch, {groups, count}));
  goes_with({op, "residue", residue}, first, at::kLong);
  has_shape({op, "residue", residue}, {groups});
  goes_with({op, "target", target}, first, at::kLong);
  has_shape({op, "target", target}, {groups, points});
  is_length(op, "distance", distance);
  check_box(op, box, first, batch);
  return at::empty_symint(join(batch, {groups}), atoms.options().dtype(at::kLong));
}

Tensor least_overlap(const Tensor& atoms, const Tensor& trials, const Tensor& penalty, const Tensor& residue,
                     const Tensor& target, double distance, const std::optional<Tensor>& box) {
  const char* op = "least_overlap";
  const Tensor choice = empty_least_overlap(atoms, trials, penalty, residue, target, distance, box);
  const int64_t atoms_of_frame = atoms.size(-3) * atoms.size(-2);
  check_count(op, "atoms", atoms_of_frame);
  check_atom_range({op, "target", target}, atoms_of_frame, /*least=*/-1);
  check_box_values(op, box, distance, "distance");
  const Tensor standing = atoms.clone(at::MemoryFormat::Contiguous), trials_ = trials.contiguous(),
               penalty_ = penalty.contiguous(), residue_ = residue.contiguous(), target_ = target.contiguous(),
               box_ = contiguous_or_undefined(box);
  const int64_t frames = frame_count(atoms, 3);
  const Tensor score = at::empty({frames, trials.size(-3)}, atoms.options());
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const LeastOverlapArguments<T> args{
        .batch = frames,
        .residues = atoms.size(-3),
        .slots = atoms.size(-2),
        .groups = trials.size(-4),
        .trials = trials.size(-3),
        .points = trials.size(-2),
        .distance = T(distance),
        .atoms = standing.mutable_data_ptr<T>(),
        .trial = trials_.const_data_ptr<T>(),
        .penalty = penalty_.const_data_ptr<T>(),
        .residue = residue_.const_data_ptr<int64_t>(),
        .target = target_.const_data_ptr<int64_t>(),
        .box = data_or_null<T>(box_),
        .box_stride = box ? frame_stride(*box, 2) : 0,
        .choice = choice.mutable_data_ptr<int64_t>(),
        .score = score.mutable_data_ptr<T>(),
    };
    launch(atoms, [&] { cpu::least_overlap(args); }, [&](void* s) { cuda::least_overlap(args, s); });
  });
  return choice;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&least_overlap, &empty_least_overlap, NoGradient>(
      m,
      "least_overlap(Tensor atoms, Tensor trials, Tensor penalty, Tensor residue, Tensor target, float distance, "
      "Tensor? box=None) -> Tensor");
}

}  // namespace backmap
