// Residues nearest to a point, in its local frame, and placement in global coordinates. Threads share points.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/local_frame.h"
#include "cpu/clones.h"
#include "cpu/local_axes.h"
#include "cpu/parallel.h"
#include "cpu/residue_blocks.h"
#include "kernels/canonical_alignment.h"

namespace backmap::cpu {
namespace {

constexpr int64_t queries_per_thread = 16;

// ---- One environment ---------------------------------------------------------------------------

// The atoms of one frame by residue. One number behind the last atom is readable, so that vectors of four can be read.
template <typename T>
class ReadableResidues {
 public:
  explicit ReadableResidues(int64_t slots) : slots_(slots), last_residue_(3 * slots + 1) {}

  void set(const T* atoms, int64_t residues) {
    atoms_ = atoms;
    last_ = residues - 1;
    if (residues > 0) std::copy_n(atoms + 3 * slots_ * last_, 3 * slots_, last_residue_.data());
  }

  BACKMAP_HD const T* operator[](int64_t residue) const {
    return residue == last_ ? last_residue_.data() : atoms_ + 3 * slots_ * residue;
  }

 private:
  int64_t slots_, last_ = -1;
  const T* atoms_ = nullptr;
  std::vector<T> last_residue_;
};

template <typename T>
BACKMAP_HD void write_environment(const AlignmentArguments<T>& args, const ReadableResidues<T>& atoms,
                                  const bool* present, const bool* selectable, const PeriodicBox<T>& box,
                                  const int64_t* index, int64_t item) {
  const int64_t slots = args.slots, neighbours = args.neighbours;
  const Frame<T> frame = frame_of(args.rule, load_triangle(args.triangle + 9 * item));
  store_frame(args.frame + 12 * item, frame);
  const LocalAxes<T> axes(frame);
  const PointBits<T> kept[2] = {PointBits<T>{0, 0, 0, 0}, PointBits<T>{-1, -1, -1, -1}};
  if (slots == 0) return;
  T* out = args.local + 3 * slots * neighbours * item;
  for (int64_t k = 0; k < neighbours; ++k) {
    const int64_t residue = index[k];
    if (residue < 0) {
      std::fill(out, out + 3 * slots * (neighbours - k), T(0));
      return;
    }
    const T* p = atoms[residue];
    const bool *there = present + slots * residue, *counts = selectable + slots * residue;
    Point<T> shift{};
    if (box.exists)
      shift = to_point(
          shift_to_image(p, slots, load(args.query + 3 * item), box, [&](int64_t i) { return there[i] && counts[i]; }));
    const auto image = [&](const T* atom) { return box.exists ? load_point(atom) + shift : load_point(atom); };
    // Writes four numbers per atom, of which the next atom overwrites the fourth; only three for the last atom.
    const T* const end = p + 3 * (k + 1 < neighbours ? slots : slots - 1);
    for (; p != end; p += 3, out += 3, ++there) {
      const PointBits<T> local = (PointBits<T>)axes.to_local(image(p)) & kept[*there];
      std::memcpy(out, &local, 4 * sizeof(T));
    }
    if (k + 1 < neighbours) continue;
    const PointBits<T> local = (PointBits<T>)axes.to_local(image(p)) & kept[*there];
    std::memcpy(out, &local, 3 * sizeof(T));
  }
}

template <typename T>
BACKMAP_HD void align_items(const AlignmentArguments<T>& args, int64_t begin, int64_t end) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  ResidueBlocks<T> blocks;
  ReadableResidues<T> readable(args.slots);
  int64_t packed = -1;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t b = item / args.queries;
    const T* atoms = args.atoms + 3 * atoms_of_frame * b;
    const bool* present = args.present + args.present_stride * b;
    const bool* selectable = args.selectable + args.selectable_stride * b;
    const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
    if (b != packed) {
      blocks.pack(atoms, args.residues, args.slots, args.queries, box,
                  [&](int64_t i) { return present[i] && selectable[i]; });
      readable.set(atoms, args.residues);
      packed = b;
    }
    int64_t* index = args.index + item * args.neighbours;
    blocks.find(load(args.query + 3 * item), args.exclude[item % args.queries], args.neighbours, index);
    write_environment(args, readable, present, selectable, box, index, item);
  }
}

BACKMAP_CLONES void align(const AlignmentArguments<float>& args, int64_t begin, int64_t end) {
  align_items(args, begin, end);
}
BACKMAP_CLONES void align(const AlignmentArguments<double>& args, int64_t begin, int64_t end) {
  align_items(args, begin, end);
}

// ---- Gradients ---------------------------------------------------------------------------------

// Gradients of the atoms of one structure, summed over its queries; `sums` has four numbers per atom.
template <typename T>
BACKMAP_HD void differentiate_frame(const AlignmentBackwardArguments<T>& args, int64_t b,
                                    const ReadableResidues<T>& atoms, std::vector<T>& sums) {
  const int64_t slots = args.slots, neighbours = args.neighbours, atoms_of_frame = args.residues * slots;
  const bool* present = args.present + args.present_stride * b;
  sums.assign(4 * atoms_of_frame, T(0));
  for (int64_t item = b * args.queries; item < (b + 1) * args.queries; ++item) {
    const Triangle<T> triangle = load_triangle(args.triangle + 9 * item);
    const Frame<T> frame = frame_of(args.rule, triangle);
    LocalAxesGradient<T> axes(frame);
    const T *grad = args.grad_local + 3 * slots * neighbours * item, *local = nullptr;
    if (args.local != nullptr) local = args.local + 3 * slots * neighbours * item;
    for (int64_t k = 0; k < neighbours; ++k, grad += 3 * slots) {
      const int64_t residue = args.index[item * neighbours + k];
      if (residue < 0 || residue >= args.residues) continue;
      const T* point = atoms[residue];
      const bool* there = present + slots * residue;
      T* sum = sums.data() + 4 * slots * residue;
      for (int64_t a = 0; a < slots; ++a) {
        if (!there[a]) continue;
        const Point<T> place = local == nullptr ? load_point(point + 3 * a)
                                                : to_point(to_global(frame, load(local + 3 * (k * slots + a))));
        const Point<T> total = load_point(sum + 4 * a) + axes.backward(place, grad + 3 * a);
        std::memcpy(sum + 4 * a, &total, sizeof(total));
      }
    }
    Frame<T> grad_frame = load_frame(args.grad_frame + 12 * item);
    axes.add_to(grad_frame);
    store_triangle(args.grad_triangle + 9 * item, frame_backward(args.rule, triangle, grad_frame));
  }
  T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
  for (int64_t i = 0; i < atoms_of_frame; ++i) store(grad_atoms + 3 * i, load(sums.data() + 4 * i));
}

template <typename T>
BACKMAP_HD void differentiate_frames(const AlignmentBackwardArguments<T>& args, int64_t begin, int64_t end) {
  ReadableResidues<T> atoms(args.slots);
  std::vector<T> sums;
  for (int64_t b = begin; b < end; ++b) {
    atoms.set(args.atoms + 3 * args.residues * args.slots * b, args.residues);
    differentiate_frame(args, b, atoms, sums);
  }
}

BACKMAP_CLONES void align_backward(const AlignmentBackwardArguments<float>& args, int64_t begin, int64_t end) {
  differentiate_frames(args, begin, end);
}
BACKMAP_CLONES void align_backward(const AlignmentBackwardArguments<double>& args, int64_t begin, int64_t end) {
  differentiate_frames(args, begin, end);
}

}  // namespace

template <typename T>
void canonical_alignment(const AlignmentArguments<T>& args) {
  parallel_ranges(args.batch * args.queries, queries_per_thread,
                  [&](int64_t begin, int64_t end) { align(args, begin, end); });
}

template <typename T>
void canonical_alignment_backward(const AlignmentBackwardArguments<T>& args) {
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) { align_backward(args, begin, end); });
}

template <typename T>
void canonical_placement(const PlacementArguments<T>& args) {
  parallel_ranges(args.queries, 256, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const Frame<T> frame = load_frame(args.frame + 12 * q);
      for (int64_t i = q * args.slots; i < (q + 1) * args.slots; ++i)
        store(args.placed + 3 * i, to_global(frame, load(args.local + 3 * i)));
    }
  });
}

template <typename T>
void canonical_placement_backward(const PlacementBackwardArguments<T>& args) {
  parallel_ranges(args.queries, 256, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const Frame<T> frame = load_frame(args.frame + 12 * q);
      Frame<T> grad_frame{};
      for (int64_t i = q * args.slots; i < (q + 1) * args.slots; ++i)
        store(args.grad_local + 3 * i,
              to_global_backward(frame, load(args.local + 3 * i), load(args.grad + 3 * i), grad_frame));
      store_frame(args.grad_frame + 12 * q, grad_frame);
    }
  });
}

template void canonical_alignment(const AlignmentArguments<float>&);
template void canonical_alignment(const AlignmentArguments<double>&);
template void canonical_alignment_backward(const AlignmentBackwardArguments<float>&);
template void canonical_alignment_backward(const AlignmentBackwardArguments<double>&);
template void canonical_placement(const PlacementArguments<float>&);
template void canonical_placement(const PlacementArguments<double>&);
template void canonical_placement_backward(const PlacementBackwardArguments<float>&);
template void canonical_placement_backward(const PlacementBackwardArguments<double>&);

}  // namespace backmap::cpu
