// Side-chain atoms on ideal bonds, from torsions. One thread per candidate, which reads its parents back.
#include "core/side_chain_geometry.h"
#include "cuda/launch.h"
#include "kernels/place_side_chains.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 64;

__device__ int64_t in_range(int64_t index, int64_t size) { return index < 0 ? 0 : index < size ? index : size - 1; }

template <typename T>
__global__ void place(PlaceSideChainsArguments<T> args) {
  const int64_t index = thread_of_grid();
  if (index >= args.batch * args.candidates) return;
  const int64_t site = index / args.candidates, row = in_range(args.type[site], args.kinds) * args.atoms;
  const T *backbone = args.backbone + 3 * backbone_atoms * site, *torsion = args.torsion + index * args.torsions;
  T* placed = args.placed + 3 * index * args.atoms;
  const Ring<T> ring = load_ring(args.ring);
  for (int64_t atom = 0; atom < args.atoms; ++atom) {
    // Atoms that are not yet placed count as the first one of the backbone.
    const auto parent = [&](int64_t number) {
      const int64_t p = args.parent[3 * (row + atom) + number];
      if (p < 0 || p >= backbone_atoms + atom) return load(backbone);
      return p < backbone_atoms ? load(backbone + 3 * p) : load(placed + 3 * (p - backbone_atoms));
    };
    Vec3<T> here{T(0), T(0), T(0)};
    switch (PlacementRule(args.rule[row + atom])) {
      case PlacementRule::None:
        break;
      case PlacementRule::Beta:
        here = load(args.beta + 3 * site);
        break;
      case PlacementRule::Torsion: {
        const T* values = args.geometry + 3 * (row + atom);
        const int64_t own = args.torsion_of[row + atom];
        const T angle = (own >= 0 && own < args.torsions ? torsion[own] : T(0)) + values[2];
        here = place_atom(parent(0), parent(1), parent(2), bond_frame(values[0], values[1]), std::cos(angle),
                          std::sin(angle));
        break;
      }
      case PlacementRule::Pucker:
        here = place_gamma(ring, parent(0), parent(1), parent(2), args.torsions > 0 ? torsion[0] : T(0));
        break;
      case PlacementRule::Closure:
        if (atom > 0) here = close_ring(ring, parent(0), parent(1), parent(2), load(placed + 3 * (atom - 1)));
        break;
    }
    if (args.known != nullptr && args.known_present[site * args.atoms + atom])
      here = load(args.known + 3 * (site * args.atoms + atom));
    store(placed + 3 * atom, here);
  }
}

}  // namespace

template <typename T>
void place_side_chains(const PlaceSideChainsArguments<T>& args, void* stream) {
  const int64_t threads_needed = args.batch * args.candidates;
  if (threads_needed == 0) return;
  BACKMAP_LAUNCH(place<T>, blocks_for(threads_needed, threads), threads, stream, args);
  check_launch("place_side_chains");
}

template void place_side_chains(const PlaceSideChainsArguments<float>&, void*);
template void place_side_chains(const PlaceSideChainsArguments<double>&, void*);

}  // namespace backmap::cuda
