// Local points placed on the atoms of structures; the last of several points on one atom counts. Threads share atoms.
#include "kernels/overlapping_placement.h"
#include "core/local_frame.h"
#include "core/overlap.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t atoms_per_thread = 1024;

// winner[atom] = the last local point that claims it.
void find_winners(const int64_t* target, int64_t points, int64_t atoms, int64_t* winner) {
  for (int64_t a = 0; a < atoms; ++a) winner[a] = nothing_placed;
  for (int64_t i = 0; i < points; ++i)
    if (claims_an_atom(target[i], atoms)) winner[target[i]] = i;
}

}  // namespace

template <typename T>
void overlapping_placement(const OverlapArguments<T>& args) {
  const int64_t points = args.queries * args.slots;
  find_winners(args.target, points, args.atoms, args.winner);
  parallel_ranges(args.batch * args.atoms, atoms_per_thread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / args.atoms, winner = args.winner[i % args.atoms];
      if (winner == nothing_placed) {  // always true if there are no slots
        store(args.placed + 3 * i, load(args.atom + 3 * i));
        continue;
      }
      const Frame<T> frame = load_frame(args.frame + 12 * (b * args.queries + winner / args.slots));
      store(args.placed + 3 * i, to_global(frame, load(args.local + 3 * (b * points + winner))));
    }
  });
}

template <typename T>
void overlapping_placement_backward(const OverlapBackwardArguments<T>& args) {
  const int64_t points = args.queries * args.slots;
  find_winners(args.target, points, args.atoms, args.winner);
  parallel_ranges(args.batch * args.atoms, atoms_per_thread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool kept = args.winner[i % args.atoms] == nothing_placed;
      store(args.grad_atoms + 3 * i, kept ? load(args.grad + 3 * i) : Vec3<T>{T(0), T(0), T(0)});
    }
  });
  parallel_ranges(args.batch * args.queries, atoms_per_thread / 8, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const Frame<T> frame = load_frame(args.frame + 12 * q);
      const T* grad = args.grad + 3 * args.atoms * (q / args.queries);
      Frame<T> grad_frame{};
      for (int64_t s = 0; s < args.slots; ++s) {
        const int64_t i = q % args.queries * args.slots + s, atom = args.target[i];
        const bool counts = claims_an_atom(atom, args.atoms) && args.winner[atom] == i;
        const int64_t at = 3 * (q * args.slots + s);
        store(args.grad_local + at,
              counts ? to_global_backward(frame, load(args.local + at), load(grad + 3 * atom), grad_frame)
                     : Vec3<T>{T(0), T(0), T(0)});
      }
      store_frame(args.grad_frame + 12 * q, grad_frame);
    }
  });
}

template void overlapping_placement(const OverlapArguments<float>&);
template void overlapping_placement(const OverlapArguments<double>&);
template void overlapping_placement_backward(const OverlapBackwardArguments<float>&);
template void overlapping_placement_backward(const OverlapBackwardArguments<double>&);

}  // namespace backmap::cpu
