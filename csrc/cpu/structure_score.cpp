// Bond deviations and clashes; threads over frames, a spatial hash over the atoms of each.
#include <algorithm>
#include <vector>

#include "core/cell_hash.h"
#include "core/pair_terms.h"
#include "cpu/parallel.h"
#include "kernels.h"

namespace backmap::cpu {
namespace {

// The two atoms of a bond, or false where one does not exist.
bool bond_atoms(const int64_t* bond, int64_t atoms, const bool* present, int64_t& first, int64_t& second) {
  first = bond[0];
  second = bond[1];
  const auto exists = [&](int64_t i) { return 0 <= i && i < atoms && present[i]; };
  return exists(first) && exists(second);
}

template <typename T>
void score_bonds(const ScoreArguments<T>& args, int64_t b) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  const bool* present = args.present + args.present_stride * b;
  const T* reference = args.reference + args.reference_stride * b;
  int64_t within = 0, existing = 0;
  for (int64_t m = 0; m < args.bonds; ++m) {
    T deviation = T(0);
    int64_t i, j;
    if (bond_atoms(args.bond + 2 * m, atoms_of_frame, present, i, j)) {
      deviation = bond_deviation(load(atoms + 3 * i), load(atoms + 3 * j), reference[m]);
      ++existing;
      within += within_tolerance(deviation, args.bond_tolerance);
    }
    args.deviation[b * args.bonds + m] = deviation;
  }
  args.counts[3 * b] = within;
  args.counts[3 * b + 1] = existing;
}

// The atoms of one frame, sorted by bucket; reused from frame to frame.
template <typename T>
class AtomBuckets {
 public:
  struct Atom {
    Vec3<T> position;
    int32_t residue;
    bool side_chain;
  };

  void build(const ScoreArguments<T>& args, int64_t b) {
    gather(args, b);
    inverse_side_ = 1.0 / cell_side(double(args.clash_distance));
    mask_ = uint32_t(bucket_count(int64_t(unsorted_.size())) - 1);
    bucket_.resize(unsorted_.size());
    start_.assign(size_t(mask_) + 2, 0);
    for (size_t i = 0; i < unsorted_.size(); ++i) {
      bucket_[i] = bucket_of(cell_of(unsorted_[i].position, inverse_side_), mask_);
      ++start_[bucket_[i] + 1];
    }
    for (size_t h = 1; h < start_.size(); ++h) start_[h] += start_[h - 1];
    next_.assign(start_.begin(), start_.end() - 1);
    atoms_.resize(unsorted_.size());
    for (size_t i = 0; i < unsorted_.size(); ++i) atoms_[next_[bucket_[i]]++] = unsorted_[i];
  }

  const std::vector<Atom>& atoms() const { return atoms_; }

  // visit(atom) for the atoms of the eight cells that reach within the clash distance of a position.
  template <typename Visit>
  void for_near(const Vec3<T>& position, const Visit& visit) const {
    const Cell low = lower_cell_of(position, inverse_side_);
    for (int corner = 0; corner < 8; ++corner) {
      const Cell cell{low.x + (corner & 1), low.y + (corner >> 1 & 1), low.z + (corner >> 2)};
      const uint32_t h = bucket_of(cell, mask_);
      for (int32_t p = start_[h]; p < start_[h + 1]; ++p) visit(atoms_[p]);
    }
  }

 private:
  void gather(const ScoreArguments<T>& args, int64_t b) {
    const int64_t atoms_of_frame = args.residues * args.slots;
    const T* atoms = args.atoms + 3 * atoms_of_frame * b;
    const bool* present = args.present + args.present_stride * b;
    unsorted_.clear();
    for (int64_t i = 0; i < atoms_of_frame; ++i) {
      const Vec3<T> p = load(atoms + 3 * i);
      if (present[i] && is_finite(p)) unsorted_.push_back({p, int32_t(i / args.slots), args.side_chain[i]});
    }
  }

  double inverse_side_ = 0;
  uint32_t mask_ = 0;
  std::vector<Atom> unsorted_, atoms_;
  std::vector<uint32_t> bucket_;
  std::vector<int32_t> start_, next_;
};

template <typename T>
void score_clashes(const ScoreArguments<T>& args, int64_t b, AtomBuckets<T>& buckets) {
  bool* clash = args.clash + b * args.residues;
  std::fill(clash, clash + args.residues, false);
  buckets.build(args, b);
  const T limit = args.clash_distance * args.clash_distance;
  for (const auto& atom : buckets.atoms()) {
    buckets.for_near(atom.position, [&](const auto& other) {
      if (other.residue <= atom.residue) return;  // each pair once
      if (!(squared_distance(atom.position, other.position) < limit)) return;
      if (may_clash(atom.residue, atom.side_chain, other.residue, other.side_chain, args.linked))
        clash[atom.residue] = clash[other.residue] = true;
    });
  }
  args.counts[3 * b + 2] = std::count(clash, clash + args.residues, true);
}

}  // namespace

template <typename T>
void structure_score(const ScoreArguments<T>& args) {
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    AtomBuckets<T> buckets;
    for (int64_t b = begin; b < end; ++b) {
      score_bonds(args, b);
      score_clashes(args, b, buckets);
    }
  });
}

template <typename T>
void structure_score_backward(const ScoreBackwardArguments<T>& args) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* atoms = args.atoms + 3 * atoms_of_frame * b;
      const bool* present = args.present + args.present_stride * b;
      const T* reference = args.reference + args.reference_stride * b;
      T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
      for (int64_t m = 0; m < args.bonds; ++m) {
        int64_t i, j;
        if (!bond_atoms(args.bond + 2 * m, atoms_of_frame, present, i, j)) continue;
        const Vec3<T> grad = bond_deviation_backward(load(atoms + 3 * i), load(atoms + 3 * j), reference[m],
                                                     args.grad_deviation[b * args.bonds + m]);
        store(grad_atoms + 3 * i, load(grad_atoms + 3 * i) + grad);
        store(grad_atoms + 3 * j, load(grad_atoms + 3 * j) - grad);
      }
    }
  });
}

template void structure_score(const ScoreArguments<float>&);
template void structure_score(const ScoreArguments<double>&);
template void structure_score_backward(const ScoreBackwardArguments<float>&);
template void structure_score_backward(const ScoreBackwardArguments<double>&);

}  // namespace backmap::cpu
