// Nearest residues of a point in a local frame, and the placement back; threads over points.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/local_frame.h"
#include "cpu/clones.h"
#include "cpu/parallel.h"
#include "cpu/residue_blocks.h"
#include "kernels.h"

namespace backmap::cpu {
namespace {

constexpr int64_t queries_per_thread = 16;

// ---- One environment ---------------------------------------------------------------------------

// x, y, z and a fourth number that makes it a vector.
template <typename T>
struct PointOf {
  using Values __attribute__((vector_size(4 * sizeof(T)))) = T;
  using Bits __attribute__((vector_size(4 * sizeof(T)))) = typename LanesOf<T>::Integer;
};
template <typename T>
using Point = typename PointOf<T>::Values;
template <typename T>
using Bits = typename PointOf<T>::Bits;

// `to_local` of a frame, by vectors: the same operations in the same order.
template <typename T>
struct LocalAxes {
  Point<T> x, y, z, origin;

  BACKMAP_HD explicit LocalAxes(const Frame<T>& f)
      : x{f.e1.x, f.e2.x, f.e3.x, T(0)},
        y{f.e1.y, f.e2.y, f.e3.y, T(0)},
        z{f.e1.z, f.e2.z, f.e3.z, T(0)},
        origin{f.origin.x, f.origin.y, f.origin.z, T(0)} {}

  // Reads four numbers.
  BACKMAP_HD Point<T> to_local(const T* p) const {
    Point<T> offset;
    std::memcpy(&offset, p, sizeof(offset));
    offset -= origin;
    return x * offset[0] + y * offset[1] + z * offset[2];
  }
};

template <typename T>
BACKMAP_HD void write_environment(const AlignmentArguments<T>& args, const T* atoms, const bool* present,
                                  const T* last_residue, const int64_t* index, int64_t item) {
  const int64_t slots = args.slots, neighbours = args.neighbours;
  const Frame<T> frame = frame_of(args.rule, load_triangle(args.triangle + 9 * item));
  store_frame(args.frame + 12 * item, frame);
  const LocalAxes<T> axes(frame);
  const Bits<T> kept[2] = {Bits<T>{0, 0, 0, 0}, Bits<T>{-1, -1, -1, -1}};
  if (slots == 0) return;
  T* out = args.local + 3 * slots * neighbours * item;
  for (int64_t k = 0; k < neighbours; ++k) {
    const int64_t residue = index[k];
    if (residue < 0) {
      std::fill(out, out + 3 * slots * (neighbours - k), T(0));
      return;
    }
    const T* p = residue + 1 < args.residues ? atoms + 3 * slots * residue : last_residue;
    const bool* there = present + slots * residue;
    // Four numbers an atom, the fourth in the place of the next one; only three for the very last.
    const T* const end = p + 3 * (k + 1 < neighbours ? slots : slots - 1);
    for (; p != end; p += 3, out += 3, ++there) {
      const Bits<T> local = (Bits<T>)axes.to_local(p) & kept[*there];
      std::memcpy(out, &local, 4 * sizeof(T));
    }
    if (k + 1 < neighbours) continue;
    const Bits<T> local = (Bits<T>)axes.to_local(p) & kept[*there];
    std::memcpy(out, &local, 3 * sizeof(T));
  }
}

template <typename T>
BACKMAP_HD void align_items(const AlignmentArguments<T>& args, int64_t begin, int64_t end) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  ResidueBlocks<T> blocks;
  std::vector<T> last_residue(3 * args.slots + 1);  // with a number to spare: see `write_environment`
  int64_t packed = -1;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t b = item / args.queries;
    const T* atoms = args.atoms + 3 * atoms_of_frame * b;
    const bool* present = args.present + args.present_stride * b;
    if (b != packed) {
      const bool* selectable = args.selectable + args.selectable_stride * b;
      blocks.pack(atoms, args.residues, args.slots, args.queries,
                  [&](int64_t i) { return present[i] && selectable[i]; });
      if (args.residues > 0)
        std::copy_n(atoms + 3 * (atoms_of_frame - args.slots), 3 * args.slots, last_residue.data());
      packed = b;
    }
    int64_t* index = args.index + item * args.neighbours;
    blocks.find(load(args.query + 3 * item), args.exclude[item % args.queries], args.neighbours, index);
    write_environment(args, atoms, present, last_residue.data(), index, item);
  }
}

BACKMAP_CLONES void align(const AlignmentArguments<float>& args, int64_t begin, int64_t end) {
  align_items(args, begin, end);
}
BACKMAP_CLONES void align(const AlignmentArguments<double>& args, int64_t begin, int64_t end) {
  align_items(args, begin, end);
}

}  // namespace

template <typename T>
void canonical_alignment(const AlignmentArguments<T>& args) {
  parallel_ranges(args.batch * args.queries, queries_per_thread,
                  [&](int64_t begin, int64_t end) { align(args, begin, end); });
}

// One thread a structure: its atoms gather gradients from all its queries.
template <typename T>
void canonical_alignment_backward(const AlignmentBackwardArguments<T>& args) {
  const int64_t slots = args.slots, atoms_of_frame = args.residues * slots;
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin * args.queries; item < end * args.queries; ++item) {
      const int64_t b = item / args.queries;
      const T* atoms = args.atoms + 3 * atoms_of_frame * b;
      const bool* present = args.present + args.present_stride * b;
      T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
      const Triangle<T> triangle = load_triangle(args.triangle + 9 * item);
      const Frame<T> frame = frame_of(args.rule, triangle);
      Frame<T> grad_frame = load_frame(args.grad_frame + 12 * item);
      for (int64_t k = 0; k < args.neighbours; ++k) {
        const int64_t residue = args.index[item * args.neighbours + k];
        if (residue < 0 || residue >= args.residues) continue;
        for (int64_t a = 0; a < slots; ++a) {
          const int64_t atom = residue * slots + a;
          if (!present[atom]) continue;
          const Vec3<T> grad = load(args.grad_local + 3 * (slots * (item * args.neighbours + k) + a));
          const Vec3<T> grad_atom = to_local_backward(frame, load(atoms + 3 * atom), grad, grad_frame);
          store(grad_atoms + 3 * atom, load(grad_atoms + 3 * atom) + grad_atom);
        }
      }
      store_triangle(args.grad_triangle + 9 * item, frame_backward(args.rule, triangle, grad_frame));
    }
  });
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
