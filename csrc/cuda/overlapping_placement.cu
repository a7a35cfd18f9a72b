// Local points placed on the atoms of structures; the last of several points on one atom counts. One thread per atom.
#include "core/local_frame.h"
#include "core/overlap.h"
#include "cuda/launch.h"
#include "kernels/overlapping_placement.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

__global__ void clear_winners(int64_t* winner, int64_t atoms) {
  const int64_t a = thread_of_grid();
  if (a < atoms) winner[a] = nothing_placed;
}

// The maximum of integers does not depend on their order.
__global__ void find_winners(const int64_t* target, int64_t points, int64_t atoms, int64_t* winner) {
  const int64_t i = thread_of_grid();
  if (i < points && claims_an_atom(target[i], atoms))
    atomicMax(reinterpret_cast<long long*>(winner + target[i]), static_cast<long long>(i));
}

void launch_winners(const int64_t* target, int64_t points, int64_t atoms, int64_t* winner, void* stream) {
  if (atoms == 0) return;
  BACKMAP_LAUNCH(clear_winners, blocks_for(atoms, threads), threads, stream, winner, atoms);
  if (points == 0) return;
  BACKMAP_LAUNCH(find_winners, blocks_for(points, threads), threads, stream, target, points, atoms, winner);
}

template <typename T>
__global__ void place(OverlapArguments<T> args) {
  const int64_t i = thread_of_grid();
  if (i >= args.batch * args.atoms) return;
  const int64_t b = i / args.atoms, winner = args.winner[i % args.atoms];
  Vec3<T> position;
  if (winner == nothing_placed) {
    position = load(args.atom + 3 * i);
  } else {
    const Frame<T> frame = load_frame(args.frame + 12 * (b * args.queries + winner / args.slots));
    position = to_global(frame, load(args.local + 3 * (b * args.queries * args.slots + winner)));
  }
  store(args.placed + 3 * i, position);
}

template <typename T>
__global__ void atoms_backward(OverlapBackwardArguments<T> args) {
  const int64_t i = thread_of_grid();
  if (i >= args.batch * args.atoms) return;
  const bool kept = args.winner[i % args.atoms] == nothing_placed;
  store(args.grad_atoms + 3 * i, kept ? load(args.grad + 3 * i) : Vec3<T>{T(0), T(0), T(0)});
}

// One thread per frame, which sums over its points.
template <typename T>
__global__ void frames_backward(OverlapBackwardArguments<T> args) {
  const int64_t q = thread_of_grid();
  if (q >= args.batch * args.queries) return;
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

}  // namespace

template <typename T>
void overlapping_placement(const OverlapArguments<T>& args, void* stream) {
  const int64_t atoms = args.batch * args.atoms;
  if (atoms == 0) return;
  launch_winners(args.target, args.queries * args.slots, args.atoms, args.winner, stream);
  BACKMAP_LAUNCH(place<T>, blocks_for(atoms, threads), threads, stream, args);
  check_launch("overlapping_placement");
}

template <typename T>
void overlapping_placement_backward(const OverlapBackwardArguments<T>& args, void* stream) {
  launch_winners(args.target, args.queries * args.slots, args.atoms, args.winner, stream);
  const int64_t atoms = args.batch * args.atoms, frames = args.batch * args.queries;
  if (atoms > 0) BACKMAP_LAUNCH(atoms_backward<T>, blocks_for(atoms, threads), threads, stream, args);
  if (frames > 0) BACKMAP_LAUNCH(frames_backward<T>, blocks_for(frames, threads), threads, stream, args);
  check_launch("overlapping_placement_backward");
}

template void overlapping_placement(const OverlapArguments<float>&, void*);
template void overlapping_placement(const OverlapArguments<double>&, void*);
template void overlapping_placement_backward(const OverlapBackwardArguments<float>&, void*);
template void overlapping_placement_backward(const OverlapBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
