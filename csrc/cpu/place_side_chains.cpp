// Side-chain atoms on ideal bonds, from torsions. Threads share sites; vectors run over candidates.
#include "kernels/place_side_chains.h"

#include <algorithm>
#include <vector>

#include "core/side_chain_geometry.h"
#include "cpu/clones.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t sites_per_thread = 128;  // fewer are not worth a thread
constexpr int64_t together = 16;           // candidates

// An atom of all candidates of a block.
template <typename T>
struct Atoms {
  T x[together], y[together], z[together];
};

template <typename T>
BACKMAP_HD Vec3<T> of_candidate(const Atoms<T>& atoms, int64_t k) {
  return {atoms.x[k], atoms.y[k], atoms.z[k]};
}

template <typename T>
BACKMAP_HD void set(Atoms<T>& atoms, int64_t k, const Vec3<T>& v) {
  atoms.x[k] = v.x, atoms.y[k] = v.y, atoms.z[k] = v.z;
}

template <typename T>
BACKMAP_HD void set_all(Atoms<T>& atoms, const Vec3<T>& v) {
  for (int64_t k = 0; k < together; ++k) set(atoms, k, v);
}

// Cosines and sines of a torsion of all candidates of a block.
template <typename T>
struct Waves {
  T cosine[together], sine[together];
};

// What the tables say of an atom, ready for use.
template <typename T>
struct Placement {
  BondFrame<T> bond;
  T cosine, sine;  // of the offset
};

template <typename T>
std::vector<Placement<T>> prepare(const PlaceSideChainsArguments<T>& args) {
  std::vector<Placement<T>> placements(args.kinds * args.atoms);
  for (size_t i = 0; i < placements.size(); ++i) {
    const T* values = args.geometry + 3 * i;
    placements[i] = {bond_frame(values[0], values[1]), std::cos(values[2]), std::sin(values[2])};
  }
  return placements;
}

template <typename T>
BACKMAP_HD void place(const Atoms<T>& a, const Atoms<T>& b, const Atoms<T>& c, const Placement<T>& placement,
                      const Waves<T>& waves, Atoms<T>& placed) {
  for (int64_t k = 0; k < together; ++k) {
    const T cosine = waves.cosine[k] * placement.cosine - waves.sine[k] * placement.sine,
            sine = waves.sine[k] * placement.cosine + waves.cosine[k] * placement.sine;
    set(placed, k,
        place_atom(of_candidate(a, k), of_candidate(b, k), of_candidate(c, k), placement.bond, cosine, sine));
  }
}

// Waves of the torsions of candidates [first, first + count) of a site; the last ones of a short block are repeated.
template <typename T>
void measure(const PlaceSideChainsArguments<T>& args, int64_t site, int64_t first, int64_t count, Waves<T>* waves) {
  for (int64_t t = 0; t < args.torsions; ++t)
    for (int64_t k = 0; k < together; ++k) {
      const int64_t candidate = first + std::min(k, count - 1);
      const T angle = args.torsion[(site * args.candidates + candidate) * args.torsions + t];
      waves[t].cosine[k] = std::cos(angle), waves[t].sine[k] = std::sin(angle);
    }
  for (int64_t k = 0; k < together; ++k) waves[args.torsions].cosine[k] = T(1), waves[args.torsions].sine[k] = T(0);
}

// The atoms of candidates [first, first + count) of a site. `atoms` begins with the backbone, the same for all of them.
template <typename T>
BACKMAP_HD void place_block(const PlaceSideChainsArguments<T>& args, const Placement<T>* placements,
                            const Ring<T>& ring, int64_t site, int64_t first, int64_t count, const Waves<T>* waves,
                            Atoms<T>* atoms) {
  const int64_t row = args.type[site] * args.atoms;
  for (int64_t atom = 0; atom < args.atoms; ++atom) {
    Atoms<T>& placed = atoms[backbone_atoms + atom];
    const int64_t* parent = args.parent + 3 * (row + atom);
    const Atoms<T>&a = atoms[parent[0]], &b = atoms[parent[1]], &c = atoms[parent[2]];
    switch (PlacementRule(args.rule[row + atom])) {
      case PlacementRule::None:
        set_all(placed, {T(0), T(0), T(0)});
        break;
      case PlacementRule::Beta:
        set_all(placed, load(args.beta + 3 * site));
        break;
      case PlacementRule::Torsion:
        place(a, b, c, placements[row + atom], waves[args.torsion_of[row + atom]], placed);
        break;
      case PlacementRule::Pucker:
        for (int64_t k = 0; k < count; ++k) {
          const T* torsion = args.torsion + (site * args.candidates + first + k) * args.torsions;
          set(placed, k,
              place_gamma(ring, of_candidate(a, k), of_candidate(b, k), of_candidate(c, k),
                          args.torsions > 0 ? torsion[0] : T(0)));
        }
        break;
      case PlacementRule::Closure:
        for (int64_t k = 0; k < count; ++k)
          set(placed, k,
              close_ring(ring, of_candidate(a, k), of_candidate(b, k), of_candidate(c, k),
                         of_candidate(atoms[backbone_atoms + atom - 1], k)));
        break;
    }
    if (args.known != nullptr && args.known_present[site * args.atoms + atom])
      set_all(placed, load(args.known + 3 * (site * args.atoms + atom)));
    for (int64_t k = 0; k < count; ++k)
      store(args.placed + 3 * ((site * args.candidates + first + k) * args.atoms + atom), of_candidate(placed, k));
  }
}

BACKMAP_CLONES void place_candidates(const PlaceSideChainsArguments<float>& args, const Placement<float>* placements,
                                     const Ring<float>& ring, int64_t site, int64_t first, int64_t count,
                                     const Waves<float>* waves, Atoms<float>* atoms) {
  place_block(args, placements, ring, site, first, count, waves, atoms);
}
BACKMAP_CLONES void place_candidates(const PlaceSideChainsArguments<double>& args, const Placement<double>* placements,
                                     const Ring<double>& ring, int64_t site, int64_t first, int64_t count,
                                     const Waves<double>* waves, Atoms<double>* atoms) {
  place_block(args, placements, ring, site, first, count, waves, atoms);
}

}  // namespace

template <typename T>
void place_side_chains(const PlaceSideChainsArguments<T>& args) {
  const std::vector<Placement<T>> placements = prepare(args);
  const Ring<T> ring = load_ring(args.ring);
  parallel_ranges(args.batch, sites_per_thread, [&](int64_t begin, int64_t end) {
    std::vector<Atoms<T>> atoms(backbone_atoms + args.atoms);
    std::vector<Waves<T>> waves(args.torsions + 1);
    for (int64_t site = begin; site < end; ++site) {
      for (int64_t a = 0; a < backbone_atoms; ++a)
        set_all(atoms[a], load(args.backbone + 3 * (site * backbone_atoms + a)));
      for (int64_t first = 0; first < args.candidates; first += together) {
        const int64_t count = std::min(together, args.candidates - first);
        measure(args, site, first, count, waves.data());
        place_candidates(args, placements.data(), ring, site, first, count, waves.data(), atoms.data());
      }
    }
  });
}

template void place_side_chains(const PlaceSideChainsArguments<float>&);
template void place_side_chains(const PlaceSideChainsArguments<double>&);

}  // namespace backmap::cpu
