// Descent of atoms whose weighted means stay on beads: from tensors to launchers.
#include "kernels/descend_onto_beads.h"

#include <numeric>
#include <vector>

#include "torch/bonded_checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

Tensors2 empty_descend_onto_beads(const Tensor& atoms, const Tensor& before, const Tensor& slope, const Tensor& springs,
                                  const Tensor& spring_length, const Tensor& spring_stiffness, const Tensor& centres,
                                  const Tensor& volume, const Tensor& volume_stiffness, const Tensor& links,
                                  const Tensor& link_length, const Tensor& link_stiffness, const Tensor& parts,
                                  const Tensor& weight, const Tensor& pull, const Tensor& beads, const Tensor& share,
                                  int64_t steps, double step_size, double momentum, double largest_step,
                                  const std::optional<Tensor>& places) {
  const char* op = "descend_onto_beads";
  const Argument first{op, "atoms", atoms};
  is_floating(first);
  holds_points(first, 2, "(*, atoms, 3)");
  const Sizes batch = without_last(atoms, 2);
  const auto scalar = atoms.scalar_type();
  for (const Argument& a : {Argument{op, "before", before}, Argument{op, "slope", slope}}) {
    goes_with(a, first, scalar);
    has_shape(a, Sizes(atoms.sym_sizes().begin(), atoms.sym_sizes().end()));
  }
  const auto lists = [&](const Argument& list, const c10::SymInt& columns, const char* form) {
    goes_with(list, first, at::kLong);
    has_dimensions(list, 2, form);
    has_shape(list, Sizes{list.tensor.sym_size(0), columns});
    return list.tensor.sym_size(0);
  };
  const auto values = [&](const Argument& value, const Sizes& shape) {
    goes_with(value, first, scalar);
    has_shape(value, shape);
  };
  const auto n_springs = lists({op, "springs", springs}, 2, "(springs, 2)");
  values({op, "spring_length", spring_length}, join(batch, {n_springs}));
  values({op, "spring_stiffness", spring_stiffness}, Sizes{n_springs});
  const auto n_centres = lists({op, "centres", centres}, 4, "(centres, 4)");
  values({op, "volume", volume}, join(batch, {n_centres}));
  values({op, "volume_stiffness", volume_stiffness}, Sizes{n_centres});
  const Argument all_links{op, "links", links};
  goes_with(all_links, first, at::kLong);
  TORCH_CHECK_VALUE(links.dim() >= 2, op, ": links must have shape (*, links, 2), got ", links.sym_sizes());
  const auto n_links = links.sym_size(-2);
  has_shape(all_links, join(batch, {n_links, 2}));
  values({op, "link_length", link_length}, join(batch, {n_links}));
  values({op, "link_stiffness", link_stiffness}, join(batch, {n_links}));
  const auto n_parts = lists({op, "parts", parts}, 2, "(parts, 2)");
  values({op, "weight", weight}, Sizes{n_parts});
  values({op, "pull", pull}, Sizes{n_parts});
  const Argument all_beads{op, "beads", beads};
  holds_points(all_beads, 2, "(*, beads, 3)");
  const auto n_beads = beads.sym_size(-2);
  values(all_beads, join(batch, {n_beads, 3}));
  values({op, "share", share}, join(batch, {n_beads}));
  if (places) {
    const auto n_atoms = atoms.sym_size(-2);
    const Argument all_places{op, "places", *places};
    goes_with(all_places, first, at::kLong);
    has_shape(all_places, Sizes{3 * (n_atoms + 1) + n_beads + 1 + 2 * n_springs + 4 * n_centres + 2 * n_parts});
  }
  constexpr int64_t most_steps = 100000;
  TORCH_CHECK_VALUE(0 <= steps && steps <= most_steps, op, ": steps must lie in [0, ", most_steps, "], got ", steps);
  TORCH_CHECK_VALUE(step_size > 0 && std::isfinite(step_size), op, ": step_size must be finite and more than 0, got ",
                    step_size);
  TORCH_CHECK_VALUE(0 <= momentum && momentum < 1, op, ": momentum must lie in [0, 1), got ", momentum);
  is_length(op, "largest_step", largest_step);
  return {at::empty_like(atoms, at::MemoryFormat::Contiguous), at::empty_like(atoms, at::MemoryFormat::Contiguous)};
}

// Places in a list by the item that they concern, for kernels.
class Grouped {
 public:
  Grouped(const Tensor& items, int64_t n_items) {
    const Tensor flat = items.flatten().contiguous();
    if (flat.is_cpu()) {
      count(flat, n_items);
    } else {
      order_ = at::argsort(flat, /*stable=*/true, /*dim=*/0);
      start_ = at::searchsorted(flat.index_select(0, order_), at::arange(n_items + 1, flat.options()));
    }
  }

  // From what the caller prepared: starts, and `n` places. Values out of range are refused on the CPU; on CUDA they are
  // replaced by the nearest in range, without waiting for them.
  Grouped(const Argument& prepared, int64_t n_items, int64_t n) {
    start_ = prepared.tensor.slice(0, 0, n_items + 1);
    order_ = prepared.tensor.slice(0, n_items + 1, n_items + 1 + n);
    if (prepared.tensor.is_cpu()) {
      check_row_starts({prepared.op, prepared.name, start_}, {prepared.op, "places of a list", order_});
      check_range({prepared.op, prepared.name, order_}, n);
    } else {
      start_ = start_.clamp(0, n);
      order_ = order_.clamp(0, n - 1);
    }
  }

  PlacesByItem places() const { return {start_.const_data_ptr<int64_t>(), order_.const_data_ptr<int64_t>()}; }

 private:
  // In linear time; items are in range.
  void count(const Tensor& flat, int64_t n_items) {
    order_ = at::empty_like(flat);
    start_ = at::zeros({n_items + 1}, flat.options());
    const int64_t* item = flat.const_data_ptr<int64_t>();
    int64_t *order = order_.mutable_data_ptr<int64_t>(), *start = start_.mutable_data_ptr<int64_t>();
    for (int64_t n = 0; n < flat.numel(); ++n) ++start[item[n] + 1];
    std::partial_sum(start, start + n_items + 1, start);
    std::vector<int64_t> next(start, start + n_items);
    for (int64_t n = 0; n < flat.numel(); ++n) order[next[item[n]]++] = n;
  }

  Tensor order_, start_;
};

// The places of all lists by atom, and those of parts also by bead.
struct AllGrouped {
  Grouped ends, corners, of_atom, of_bead;
};

AllGrouped group(const Tensor& springs, const Tensor& centres, const Tensor& parts, int64_t n_atoms, int64_t n_beads) {
  return {{springs, n_atoms}, {centres, n_atoms}, {parts.select(1, 1), n_atoms}, {parts.select(1, 0), n_beads}};
}

// The same from one array that the caller prepared, in this order.
AllGrouped take_groups(const Argument& places, int64_t n_springs, int64_t n_centres, int64_t n_parts, int64_t n_atoms,
                       int64_t n_beads) {
  const Tensor all = places.tensor.contiguous();
  int64_t taken = 0;
  const auto next = [&](int64_t n_items, int64_t n) {
    const int64_t begin = taken;
    taken += n_items + 1 + n;
    return Grouped({places.op, places.name, all.slice(0, begin, taken)}, n_items, n);
  };
  return {next(n_atoms, 2 * n_springs), next(n_atoms, 4 * n_centres), next(n_atoms, n_parts), next(n_beads, n_parts)};
}

Tensors2 descend_onto_beads(const Tensor& atoms, const Tensor& before, const Tensor& slope, const Tensor& springs,
                            const Tensor& spring_length, const Tensor& spring_stiffness, const Tensor& centres,
                            const Tensor& volume, const Tensor& volume_stiffness, const Tensor& links,
                            const Tensor& link_length, const Tensor& link_stiffness, const Tensor& parts,
                            const Tensor& weight, const Tensor& pull, const Tensor& beads, const Tensor& share,
                            int64_t steps, double step_size, double momentum, double largest_step,
                            const std::optional<Tensor>& places) {
  const char* op = "descend_onto_beads";
  const auto [place, last] = empty_descend_onto_beads(
      atoms, before, slope, springs, spring_length, spring_stiffness, centres, volume, volume_stiffness, links,
      link_length, link_stiffness, parts, weight, pull, beads, share, steps, step_size, momentum, largest_step, places);
  const int64_t batch = frame_count(atoms, 2), n_atoms = atoms.size(-2), n_beads = beads.size(-2);
  check_range({op, "springs", springs}, n_atoms);
  check_range({op, "centres", centres}, n_atoms);
  check_range({op, "links", links}, n_atoms, -1);
  check_range({op, "parts", parts.select(1, 0)}, n_beads);
  check_range({op, "parts", parts.select(1, 1)}, n_atoms);
  place.copy_(atoms);
  last.copy_(before);
  const Tensor slope_ = slope.contiguous(), springs_ = springs.contiguous(),
               spring_length_ = spring_length.contiguous(), spring_stiffness_ = spring_stiffness.contiguous(),
               centres_ = centres.contiguous(), volume_ = volume.contiguous(),
               volume_stiffness_ = volume_stiffness.contiguous(), links_ = links.contiguous(),
               link_length_ = link_length.contiguous(), link_stiffness_ = link_stiffness.contiguous(),
               parts_ = parts.contiguous(), weight_ = weight.contiguous(), pull_ = pull.contiguous(),
               beads_ = beads.contiguous(), share_ = share.contiguous(), place_ = place, last_ = last;
  const AllGrouped grouped =
      places ? take_groups({op, "places", *places}, springs.size(0), centres.size(0), parts.size(0), n_atoms, n_beads)
             : group(springs_, centres_, parts_, n_atoms, n_beads);
  with_scalar_of(atoms, [&](auto scalar) {
    using T = decltype(scalar);
    const Tensor workspace = cuda_workspace(atoms, [&] { return cuda::descent_workspace<T>(batch, n_atoms, n_beads); });
    const DescentArguments<T> args{
        .batch = batch,
        .atoms = n_atoms,
        .springs = springs.size(0),
        .centres = centres.size(0),
        .links = links.size(-2),
        .parts = parts.size(0),
        .beads = n_beads,
        .steps = steps,
        .settings = {T(step_size), T(momentum), T(largest_step), T(1e-9)},
        .slope = slope_.const_data_ptr<T>(),
        .spring = springs_.const_data_ptr<int64_t>(),
        .spring_length = spring_length_.const_data_ptr<T>(),
        .spring_stiffness = spring_stiffness_.const_data_ptr<T>(),
        .centre = centres_.const_data_ptr<int64_t>(),
        .volume = volume_.const_data_ptr<T>(),
        .volume_stiffness = volume_stiffness_.const_data_ptr<T>(),
        .link = links_.const_data_ptr<int64_t>(),
        .link_length = link_length_.const_data_ptr<T>(),
        .link_stiffness = link_stiffness_.const_data_ptr<T>(),
        .part = parts_.const_data_ptr<int64_t>(),
        .weight = weight_.const_data_ptr<T>(),
        .pull = pull_.const_data_ptr<T>(),
        .bead = beads_.const_data_ptr<T>(),
        .share = share_.const_data_ptr<T>(),
        .ends_of_atom = grouped.ends.places(),
        .corners_of_atom = grouped.corners.places(),
        .parts_of_atom = grouped.of_atom.places(),
        .parts_of_bead = grouped.of_bead.places(),
        .workspace = static_cast<char*>(workspace.mutable_data_ptr()),
        .place = place_.mutable_data_ptr<T>(),
        .before = last_.mutable_data_ptr<T>(),
    };
    launch(atoms, [&] { cpu::descend_onto_beads(args); }, [&](void* s) { cuda::descend_onto_beads(args, s); });
  });
  return {place, last};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&descend_onto_beads, &empty_descend_onto_beads, NotDifferentiable>(
      m,
      "descend_onto_beads(Tensor atoms, Tensor before, Tensor slope, Tensor springs, Tensor spring_length, "
      "Tensor spring_stiffness, Tensor centres, Tensor volume, Tensor volume_stiffness, Tensor links, "
      "Tensor link_length, Tensor link_stiffness, Tensor parts, Tensor weight, Tensor pull, Tensor beads, "
      "Tensor share, int steps, float step_size, float momentum, float largest_step, Tensor? places=None) "
      "-> (Tensor atoms_after, Tensor atoms_before)");
}

}  // namespace backmap
