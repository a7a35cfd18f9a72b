// Bond deviations and clashes. Threads share frames, or the atoms of large frames.
#include <algorithm>
#include <atomic>
#include <vector>

#include "core/pair_terms.h"
#include "cpu/cell_list.h"
#include "cpu/clones.h"
#include "cpu/pair_sums.h"
#include "cpu/parallel.h"
#include "kernels/structure_score.h"

namespace backmap::cpu {
namespace {

template <typename T>
void score_bonds(const ScoreArguments<T>& args, int64_t b) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  const bool* present = args.present + args.present_stride * b;
  const T* reference = args.reference + args.reference_stride * b;
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  std::atomic<int64_t> all_within = 0, all_existing = 0;
  parallel_ranges(args.bonds, pairs_per_thread, [&](int64_t begin, int64_t end) {
    int64_t within = 0, existing = 0;
    for (int64_t m = begin; m < end; ++m) {
      const int64_t* bond = args.bond + 2 * m;
      T deviation = T(0);
      if (pair_exists(bond, atoms_of_frame, present)) {
        deviation = bond_deviation(pair_vector(bond, atoms, box), reference[m]);
        ++existing;
        within += within_tolerance(deviation, args.bond_tolerance);
      }
      args.deviation[b * args.bonds + m] = deviation;
    }
    all_within += within;
    all_existing += existing;
  });
  args.counts[3 * b] = all_within;
  args.counts[3 * b + 1] = all_existing;
}

// Flags the clashes of the atoms from `begin` to `end` in the list, each with the atoms after it.
template <typename T>
BACKMAP_HD void flag_clashes(const ScoreArguments<T>& args, int64_t b, const CellList<T>& cells, int64_t begin,
                             int64_t end) {
  const T* atoms = args.atoms + 3 * args.residues * args.slots * b;
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  const T limit = args.clash_distance * args.clash_distance;
  bool* clash = args.clash + b * args.residues;
  std::vector<int32_t> found;
  for (int64_t p = begin; p < end; ++p) {
    const int64_t i = cells.index(p), residue = i / args.slots;
    cells.for_overlaps(p, p + 1, found, [&](int64_t q) {
      const int64_t j = cells.index(q), other = j / args.slots;
      if (!may_clash(residue, args.side_chain[i], other, args.side_chain[j], args.following)) return;
      const Vec3<T> d = minimum_image(load(atoms + 3 * i) - load(atoms + 3 * j), box);
      if (!(dot(d, d) < limit)) return;
      for (const int64_t r : {residue, other})  // another thread may flag it at the same time
        std::atomic_ref<bool>(clash[r]).store(true, std::memory_order_relaxed);
    });
  }
}

BACKMAP_CLONES void find_clashes(const ScoreArguments<float>& args, int64_t b, const CellList<float>& cells,
                                 int64_t begin, int64_t end) {
  flag_clashes(args, b, cells, begin, end);
}
BACKMAP_CLONES void find_clashes(const ScoreArguments<double>& args, int64_t b, const CellList<double>& cells,
                                 int64_t begin, int64_t end) {
  flag_clashes(args, b, cells, begin, end);
}

template <typename T>
void score_clashes(const ScoreArguments<T>& args, int64_t b, CellList<T>& cells) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  const SphereSource<T> source{atoms_of_frame, args.atoms + 3 * atoms_of_frame * b,
                               args.present + args.present_stride * b, nullptr, args.clash_distance / 2};
  cells.build(source, double(args.clash_distance), box_of_frame(args.box, args.box_stride, b));
  bool* clash = args.clash + b * args.residues;
  std::fill(clash, clash + args.residues, false);
  parallel_ranges(cells.size(), atoms_per_thread,
                  [&](int64_t begin, int64_t end) { find_clashes(args, b, cells, begin, end); });
  args.counts[3 * b + 2] = std::count(clash, clash + args.residues, true);
}

}  // namespace

template <typename T>
void structure_score(const ScoreArguments<T>& args) {
  parallel_frames(args.batch, args.residues * args.slots, atoms_per_thread, [&](int64_t begin, int64_t end) {
    CellList<T> cells;
    for (int64_t b = begin; b < end; ++b) {
      score_bonds(args, b);
      score_clashes(args, b, cells);
    }
  });
}

template <typename T>
void structure_score_backward(const ScoreBackwardArguments<T>& args) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  const auto of_frame = [&](int64_t b) {
    const T* atoms = args.atoms + 3 * atoms_of_frame * b;
    const T* reference = args.reference + args.reference_stride * b;
    const T* grad_deviation = args.grad_deviation + args.bonds * b;
    const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
    T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
    parallel_ranges(atoms_of_frame, atoms_per_thread, [&](int64_t first, int64_t last) {
      std::fill(grad_atoms + 3 * first, grad_atoms + 3 * last, T(0));
      add_pair_gradients(
          args.bond, args.bonds, atoms_of_frame, args.present + args.present_stride * b, first, last,
          [&](int64_t m) {
            return bond_deviation_backward(pair_vector(args.bond + 2 * m, atoms, box), reference[m], grad_deviation[m]);
          },
          grad_atoms);
    });
  };
  parallel_frames(args.batch, atoms_of_frame, atoms_per_thread, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) of_frame(b);
  });
}

template void structure_score(const ScoreArguments<float>&);
template void structure_score(const ScoreArguments<double>&);
template void structure_score_backward(const ScoreBackwardArguments<float>&);
template void structure_score_backward(const ScoreBackwardArguments<double>&);

}  // namespace backmap::cpu
