// Smooth penalties of bonds, angles and overlaps. Threads share frames, or the atoms of large frames.
#include <algorithm>
#include <vector>

#include "core/pair_terms.h"
#include "cpu/cell_list.h"
#include "cpu/clones.h"
#include "cpu/pair_sums.h"
#include "cpu/parallel.h"
#include "kernels/structure_penalty.h"

namespace backmap::cpu {
namespace {

constexpr int64_t pairs_of_block = 2048, atoms_of_block = 256;  // per partial sum

// Pairs of atoms and the distances at which their penalties are zero.
template <typename T>
struct Springs {
  int64_t count;
  const int64_t* pair;
  const T* length;
  T strength;
};

// One frame of the arguments.
template <typename T>
struct Frame {
  int64_t atom_count;
  const T* atoms;
  const bool* present;
  PeriodicBox<T> box;
  Springs<T> bonds, angles;
  const T* radius;
  T radius_scale, repulsion_strength;
  const int64_t* exclusion_start;
  const int64_t* exclusion;
  int64_t exclusions;
};

template <typename T>
Frame<T> frame_of(const PenaltyInputs<T>& args, int64_t b) {
  const int64_t atoms = args.residues * args.slots;
  return {atoms,
          args.atoms + 3 * atoms * b,
          args.present + args.present_stride * b,
          box_of_frame(args.box, args.box_stride, b),
          {args.bonds, args.bond, args.bond_length + args.bond_length_stride * b, args.bond_strength},
          {args.angles, args.angle, args.angle_span + args.angle_span_stride * b, args.angle_strength},
          args.radius,
          args.radius_scale,
          args.repulsion_strength,
          args.exclusion_start,
          args.exclusion,
          args.exclusions};
}

// ---- Bonds and angles --------------------------------------------------------------------------

template <typename T>
double stretch_energy(const Frame<T>& frame, const Springs<T>& springs) {
  const double sum = sum_in_blocks(springs.count, pairs_of_block, pairs_per_thread, [&](int64_t begin, int64_t end) {
    double part = 0;
    for (int64_t m = begin; m < end; ++m) {
      const int64_t* pair = springs.pair + 2 * m;
      if (pair_exists(pair, frame.atom_count, frame.present))
        part += double(squared_stretch(pair_vector(pair, frame.atoms, frame.box), springs.length[m]));
    }
    return part;
  });
  return double(springs.strength) * sum;
}

// For the atoms from `first` to `last`.
template <typename T>
void add_stretch_gradient(const Frame<T>& frame, const Springs<T>& springs, T grad, int64_t first, int64_t last,
                          T* grad_atoms) {
  add_pair_gradients(
      springs.pair, springs.count, frame.atom_count, frame.present, first, last,
      [&](int64_t m) {
        const Vec3<T> d = pair_vector(springs.pair + 2 * m, frame.atoms, frame.box);
        return squared_stretch_backward(d, springs.length[m], grad * springs.strength);
      },
      grad_atoms);
}

// ---- Repulsion ---------------------------------------------------------------------------------

// Calls visit(d, contact) for the atoms from `first` on that are in contact with the p-th and not excluded.
template <typename T, typename Visit>
BACKMAP_HD void for_contacts(const Frame<T>& frame, const CellList<T>& cells, int64_t p, int64_t first,
                             std::vector<int32_t>& found, const Visit& visit) {
  const int64_t i = cells.index(p);
  const RowOfList excluded = row_of_list(frame.exclusion_start, i, frame.exclusions);
  cells.for_overlaps(p, first, found, [&](int64_t q) {
    const int64_t j = cells.index(q);
    if (is_listed(frame.exclusion, excluded, j)) return;
    visit(minimum_image(load(frame.atoms + 3 * i) - load(frame.atoms + 3 * j), frame.box),
          frame.radius_scale * frame.radius[i] + frame.radius_scale * frame.radius[j]);
  });
}

// Sum of the squared overlaps of the atoms from `begin` to `end` in the list, each with the atoms after it.
template <typename T>
BACKMAP_HD double sum_overlaps(const Frame<T>& frame, const CellList<T>& cells, int64_t begin, int64_t end) {
  double sum = 0;
  std::vector<int32_t> found;
  for (int64_t p = begin; p < end; ++p)
    for_contacts(frame, cells, p, p + 1, found,
                 [&](const Vec3<T>& d, T contact) { sum += double(squared_overlap(dot(d, d), contact)); });
  return sum;
}

BACKMAP_CLONES double overlap_energy(const Frame<float>& frame, const CellList<float>& cells, int64_t begin,
                                     int64_t end) {
  return sum_overlaps(frame, cells, begin, end);
}
BACKMAP_CLONES double overlap_energy(const Frame<double>& frame, const CellList<double>& cells, int64_t begin,
                                     int64_t end) {
  return sum_overlaps(frame, cells, begin, end);
}

// Gradients of the atoms from `begin` to `end` in the list. Each atom sums its own, so that threads share nothing.
template <typename T>
BACKMAP_HD void collect_overlap_gradient(const Frame<T>& frame, const CellList<T>& cells, T grad, int64_t begin,
                                         int64_t end, T* grad_atoms) {
  std::vector<int32_t> found;
  for (int64_t p = begin; p < end; ++p) {
    T* out = grad_atoms + 3 * int64_t(cells.index(p));
    Vec3<T> sum = load(out);
    for_contacts(frame, cells, p, 0, found, [&](const Vec3<T>& d, T contact) {
      sum += squared_overlap_backward(d, contact, grad * frame.repulsion_strength);
    });
    store(out, sum);
  }
}

BACKMAP_CLONES void add_overlap_gradient(const Frame<float>& frame, const CellList<float>& cells, float grad,
                                         int64_t begin, int64_t end, float* grad_atoms) {
  collect_overlap_gradient(frame, cells, grad, begin, end, grad_atoms);
}
BACKMAP_CLONES void add_overlap_gradient(const Frame<double>& frame, const CellList<double>& cells, double grad,
                                         int64_t begin, int64_t end, double* grad_atoms) {
  collect_overlap_gradient(frame, cells, grad, begin, end, grad_atoms);
}

// ---- Frames ------------------------------------------------------------------------------------

template <typename T>
void sum_energies(const Frame<T>& frame, const CellList<T>& cells, T* energy) {
  energy[0] = T(stretch_energy(frame, frame.bonds));
  energy[1] = T(stretch_energy(frame, frame.angles));
  const double overlaps =
      sum_in_blocks(cells.size(), atoms_of_block, atoms_per_thread,
                    [&](int64_t begin, int64_t end) { return overlap_energy(frame, cells, begin, end); });
  energy[2] = T(double(frame.repulsion_strength) * overlaps);
}

template <typename T>
void differentiate(const Frame<T>& frame, const CellList<T>& cells, const T* grad, T* grad_atoms) {
  parallel_ranges(frame.atom_count, atoms_per_thread, [&](int64_t first, int64_t last) {
    std::fill(grad_atoms + 3 * first, grad_atoms + 3 * last, T(0));
    add_stretch_gradient(frame, frame.bonds, grad[0], first, last, grad_atoms);
    add_stretch_gradient(frame, frame.angles, grad[1], first, last, grad_atoms);
  });
  parallel_ranges(cells.size(), atoms_per_thread, [&](int64_t begin, int64_t end) {
    add_overlap_gradient(frame, cells, grad[2], begin, end, grad_atoms);
  });
}

// The largest contact distance of two atoms.
template <typename T>
double largest_contact(const PenaltyInputs<T>& args) {
  T largest = T(0);
  for (int64_t i = 0; i < args.residues * args.slots; ++i)
    if (is_radius(args.radius[i])) largest = std::max(largest, args.radius[i]);
  return 2 * double(args.radius_scale * largest);
}

// Calls visit(frame, list of its atoms, index of the frame) for every frame. The list is empty if overlaps do not
// count.
template <typename T, typename Visit>
void for_frames(const PenaltyInputs<T>& args, const Visit& visit) {
  const double reach = largest_contact(args);
  parallel_frames(args.batch, args.residues * args.slots, atoms_per_thread, [&](int64_t begin, int64_t end) {
    CellList<T> cells;
    for (int64_t b = begin; b < end; ++b) {
      const Frame<T> frame = frame_of(args, b);
      if (searches_contacts(args))
        cells.build({frame.atom_count, frame.atoms, frame.present, frame.radius, frame.radius_scale}, reach, frame.box);
      visit(frame, cells, b);
    }
  });
}

}  // namespace

template <typename T>
void structure_penalty(const PenaltyArguments<T>& args) {
  for_frames(args.inputs, [&](const Frame<T>& frame, const CellList<T>& cells, int64_t b) {
    sum_energies(frame, cells, args.energy + 3 * b);
  });
}

template <typename T>
void structure_penalty_backward(const PenaltyBackwardArguments<T>& args) {
  for_frames(args.inputs, [&](const Frame<T>& frame, const CellList<T>& cells, int64_t b) {
    differentiate(frame, cells, args.grad + 3 * b, args.grad_atoms + 3 * frame.atom_count * b);
  });
}

template void structure_penalty(const PenaltyArguments<float>&);
template void structure_penalty(const PenaltyArguments<double>&);
template void structure_penalty_backward(const PenaltyBackwardArguments<float>&);
template void structure_penalty_backward(const PenaltyBackwardArguments<double>&);

}  // namespace backmap::cpu
