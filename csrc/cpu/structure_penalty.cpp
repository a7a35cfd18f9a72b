// Smooth penalties of bonds, angles and overlaps; threads over frames, and within frames that are large.
#include <algorithm>
#include <vector>

#include "core/pair_terms.h"
#include "cpu/cell_list.h"
#include "cpu/pair_sums.h"
#include "cpu/parallel.h"
#include "kernels.h"

namespace backmap::cpu {
namespace {

constexpr int64_t pairs_of_block = 2048, atoms_of_block = 256;  // what is summed before it meets other sums

// One frame of the arguments, and what its sums and its gradient share.
template <typename T>
class PenalisedFrame {
 public:
  PenalisedFrame(const PenaltyInputs<T>& args, double reach, int64_t b)
      : a_(args),
        reach_(reach),
        atoms_(args.atoms + 3 * args.residues * args.slots * b),
        present_(args.present + args.present_stride * b),
        box_(box_of_frame(args.box, args.box_stride, b)),
        bonds_{args.bonds, args.bond, args.bond_length + args.bond_length_stride * b},
        angles_{args.angles, args.angle, args.angle_span + args.angle_span_stride * b} {}

  // Energies of bonds, angles and overlaps.
  void sum(CellList<T>& cells, T* energy) const {
    energy[0] = T(double(a_.bond_strength) * stretch(bonds_));
    energy[1] = T(double(a_.angle_strength) * stretch(angles_));
    sort(cells);
    const double overlap = sum_in_blocks(cells.size(), atoms_of_block, atoms_a_thread, [&](int64_t begin, int64_t end) {
      double sum = 0;
      std::vector<int32_t> found;
      for (int64_t p = begin; p < end; ++p)  // each pair once
        for_contacts(cells, p, p + 1, found, [&](const Vec3<T>& d, T contact) {
          sum += double(squared_overlap(dot(d, d), contact));
        });
      return sum;
    });
    energy[2] = T(double(a_.repulsion_strength) * overlap);
  }

  // Each atom collects its own gradient, so that threads never meet.
  void differentiate(CellList<T>& cells, const T* grad, T* grad_atoms) const {
    const int64_t atoms = a_.residues * a_.slots;
    parallel_ranges(atoms, atoms_a_thread, [&](int64_t first, int64_t last) {
      std::fill(grad_atoms + 3 * first, grad_atoms + 3 * last, T(0));
      add_stretch_gradient(bonds_, grad[0] * a_.bond_strength, first, last, grad_atoms);
      add_stretch_gradient(angles_, grad[1] * a_.angle_strength, first, last, grad_atoms);
    });
    sort(cells);
    const T strength = grad[2] * a_.repulsion_strength;
    parallel_ranges(cells.size(), atoms_a_thread, [&](int64_t begin, int64_t end) {
      std::vector<int32_t> found;
      for (int64_t p = begin; p < end; ++p) {
        T* out = grad_atoms + 3 * int64_t(cells.index(p));
        Vec3<T> sum = load(out);
        for_contacts(cells, p, 0, found, [&](const Vec3<T>& d, T contact) {
          sum += squared_overlap_backward(d, contact, strength);
        });
        store(out, sum);
      }
    });
  }

 private:
  // Pairs of atoms and the distance at which each costs nothing.
  struct Pairs {
    int64_t count;
    const int64_t* pair;
    const T* length;
  };

  double stretch(const Pairs& pairs) const {
    return sum_in_blocks(pairs.count, pairs_of_block, pairs_a_thread, [&](int64_t begin, int64_t end) {
      double sum = 0;
      for (int64_t m = begin; m < end; ++m) {
        const int64_t* pair = pairs.pair + 2 * m;
        if (pair_exists(pair, a_.residues * a_.slots, present_))
          sum += double(squared_stretch(pair_vector(pair, atoms_, box_), pairs.length[m]));
      }
      return sum;
    });
  }

  void add_stretch_gradient(const Pairs& pairs, T strength, int64_t first, int64_t last, T* grad_atoms) const {
    add_pair_gradients(
        pairs.pair, pairs.count, a_.residues * a_.slots, present_, first, last,
        [&](int64_t m) {
          return squared_stretch_backward(pair_vector(pairs.pair + 2 * m, atoms_, box_), pairs.length[m], strength);
        },
        grad_atoms);
  }

  void sort(CellList<T>& cells) const {
    cells.build(
        atoms_, a_.residues * a_.slots, reach_, box_, [&](int64_t i) { return present_[i] && is_radius(a_.radius[i]); },
        [&](int64_t i) { return a_.radius_scale * a_.radius[i]; });
  }

  // visit(d, contact) for the atoms in touch with the p-th that are not excluded, from the `first` on.
  template <typename Visit>
  void for_contacts(const CellList<T>& cells, int64_t p, int64_t first, std::vector<int32_t>& found,
                    const Visit& visit) const {
    const int64_t i = cells.index(p);
    const RowOfList excluded = row_of_list(a_.exclusion_start, i, a_.exclusions);
    cells.for_overlaps(p, first, found, [&](int64_t q) {
      const int64_t j = cells.index(q);
      if (is_listed(a_.exclusion, excluded, j)) return;
      visit(minimum_image(load(atoms_ + 3 * i) - load(atoms_ + 3 * j), box_),
            a_.radius_scale * a_.radius[i] + a_.radius_scale * a_.radius[j]);
    });
  }

  const PenaltyInputs<T>& a_;
  double reach_;
  const T* atoms_;
  const bool* present_;
  PeriodicBox<T> box_;
  Pairs bonds_, angles_;
};

// The largest distance at which two atoms touch.
template <typename T>
double largest_contact(const PenaltyInputs<T>& args) {
  T largest = T(0);
  for (int64_t i = 0; i < args.residues * args.slots; ++i)
    if (is_radius(args.radius[i])) largest = std::max(largest, args.radius[i]);
  return 2 * double(args.radius_scale * largest);
}

// visit(frame, number of the frame, cell list for its use) for every frame.
template <typename T, typename Visit>
void for_penalised_frames(const PenaltyInputs<T>& args, const Visit& visit) {
  const double reach = largest_contact(args);
  parallel_frames(args.batch, args.residues * args.slots, atoms_a_thread, [&](int64_t begin, int64_t end) {
    CellList<T> cells;
    for (int64_t b = begin; b < end; ++b) visit(PenalisedFrame<T>(args, reach, b), b, cells);
  });
}

}  // namespace

template <typename T>
void structure_penalty(const PenaltyArguments<T>& args) {
  for_penalised_frames(args.inputs, [&](const PenalisedFrame<T>& frame, int64_t b, CellList<T>& cells) {
    frame.sum(cells, args.energy + 3 * b);
  });
}

template <typename T>
void structure_penalty_backward(const PenaltyBackwardArguments<T>& args) {
  const int64_t atoms = args.inputs.residues * args.inputs.slots;
  for_penalised_frames(args.inputs, [&](const PenalisedFrame<T>& frame, int64_t b, CellList<T>& cells) {
    frame.differentiate(cells, args.grad + 3 * b, args.grad_atoms + 3 * atoms * b);
  });
}

template void structure_penalty(const PenaltyArguments<float>&);
template void structure_penalty(const PenaltyArguments<double>&);
template void structure_penalty_backward(const PenaltyBackwardArguments<float>&);
template void structure_penalty_backward(const PenaltyBackwardArguments<double>&);

}  // namespace backmap::cpu
