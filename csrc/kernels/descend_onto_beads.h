// Descent of atoms whose weighted means stay on beads.
#pragma once

#include <cstdint>

#include "core/bead_descent.h"
#include "kernels/launchers.h"

namespace backmap {

// Places in a list, ordered by the item that they concern: those of item n are entry[start[n]] to entry[start[n + 1]].
struct PlacesByItem {
  const int64_t* start;
  const int64_t* entry;
};

// Indices are checked on the CPU. Kernels of CUDA read no memory for those out of range.
template <typename T>
struct DescentArguments {
  int64_t batch, atoms, springs, centres, links, parts, beads, steps;
  DescentSettings<T> settings;
  const T* slope;                // (atoms, 3), in kT/nm
  const int64_t* spring;         // (springs, 2) atoms, shared by all frames
  const T* spring_length;        // (springs)
  const T* spring_stiffness;     // (springs), shared by all frames
  const int64_t* centre;         // (centres, 4) atoms
  const T* volume;               // (centres)
  const T* volume_stiffness;     // (centres), shared
  const int64_t* link;           // (links, 2) atoms, -1 for none
  const T* link_length;          // (links)
  const T* link_stiffness;       // (links)
  const int64_t* part;           // (parts, 2) bead and atom
  const T* weight;               // (parts), shared
  const T* pull;                 // (parts), shared
  const T* bead;                 // (beads, 3)
  const T* share;                // (beads)
  PlacesByItem ends_of_atom;     // in `spring`, flat: 2 x spring + end
  PlacesByItem corners_of_atom;  // in `centre`, flat: 4 x centre + corner
  PlacesByItem parts_of_atom;    // in `part`
  PlacesByItem parts_of_bead;    // in `part`
  char* workspace;               // CUDA only, of descent_workspace() bytes
  T* place;                      // in and out (atoms, 3)
  T* before;                     // in and out (atoms, 3), one step earlier
};

// Gradient of an atom by its springs and volumes and by `slope`. `at(atom)` is where an atom is, `of(array, n)` the
// n-th value of an array of this frame, `shared(value)` one number of all frames.
template <typename N, typename T, typename At, typename Of, typename Shared>
BACKMAP_HD Vec3<N> gradient_of(const DescentArguments<T>& args, int64_t atom, const Vec3<N>& slope, const N& least,
                               const At& at, const Of& of, const Shared& shared) {
  const Vec3<N> own = at(atom);
  Vec3<N> gradient = slope;
  const PlacesByItem ends = args.ends_of_atom, corners = args.corners_of_atom;
  for (int64_t n = ends.start[atom]; n < ends.start[atom + 1]; ++n) {
    const int64_t end = ends.entry[n], spring = end / 2, other = args.spring[end ^ 1];
    gradient += spring_gradient<N>(own - at(other), of(args.spring_length, spring),
                                   shared(args.spring_stiffness[spring]), least);
  }
  for (int64_t n = corners.start[atom]; n < corners.start[atom + 1]; ++n) {
    const int64_t corner = corners.entry[n], centre = corner / 4;
    const int64_t* four = args.centre + 4 * centre;
    gradient += volume_gradient<N>(corner % 4, at(four[0]), at(four[1]), at(four[2]), at(four[3]),
                                   of(args.volume, centre), shared(args.volume_stiffness[centre]));
  }
  return gradient;
}

// What the image of a bead moves by: a share of the way to its `place`.
template <typename N, typename T, typename At, typename Shared>
BACKMAP_HD Vec3<N> way_to_bead(const DescentArguments<T>& args, int64_t bead, const Vec3<N>& place, const N& share,
                               const At& at, const Shared& shared) {
  const PlacesByItem parts = args.parts_of_bead;
  Vec3<N> away = place;
  for (int64_t n = parts.start[bead]; n < parts.start[bead + 1]; ++n) {
    const int64_t part = parts.entry[n];
    away -= shared(args.weight[part]) * at(args.part[2 * part + 1]);
  }
  return share * away;
}

// Where an atom is once its beads have pulled it. `way(bead)` is from way_to_bead().
template <typename N, typename T, typename Way, typename Shared>
BACKMAP_HD Vec3<N> pulled(const DescentArguments<T>& args, int64_t atom, const Vec3<N>& place, const Way& way,
                          const Shared& shared) {
  const PlacesByItem parts = args.parts_of_atom;
  Vec3<N> moved = place;
  for (int64_t n = parts.start[atom]; n < parts.start[atom + 1]; ++n) {
    const int64_t part = parts.entry[n];
    moved += shared(args.pull[part]) * way(args.part[2 * part]);
  }
  return moved;
}

BACKMAP_LAUNCHERS(descend_onto_beads, DescentArguments);
BACKMAP_CUDA_WORKSPACE(descent_workspace, int64_t /*batch*/, int64_t /*atoms*/, int64_t /*beads*/);

}  // namespace backmap
