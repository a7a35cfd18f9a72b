// Langevin dynamics of a molecule in implicit solvent, with bonds of fixed length.
#pragma once

#include <cstdint>

#include "core/implicit_solvent.h"
#include "core/molecular_mechanics.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct DynamicsArguments {
  int64_t batch, steps, constraints, iterations;
  ListedTerms<T> terms;        // without pairs; shared by all frames, as are the arrays down to `constraint_length`
  const T* pair;               // (3, atoms, atoms): energy of the charges at 1 nm, A and B
  const T* solvent;            // (5, atoms), rows as in SolventRow
  const T* inverse_mass;       // (atoms)
  const int64_t* constraint;   // (constraints, 2)
  const T* constraint_length;  // (constraints)
  T polarisation, step, kept, kt, largest_move;  // kept: the part of velocities that friction leaves
  const T* atoms;                                // (atoms, 3)
  const T* velocity;                             // (atoms, 3); that of an atom that is held counts as zero
  const T* normal;                               // (steps, atoms, 3)
  T* moved;                                      // out (atoms, 3)
  T* moved_velocity;                             // out (atoms, 3)
  T* energy;                                     // out (1)
  void* workspace;                               // CUDA only
};

// A pair of atoms at a fixed distance; one that names no atoms, or only atoms that are held, changes nothing.
template <typename T>
struct Constraint {
  int64_t first, second;
  T square, stiffness;  // of the length; sum of the inverse masses
  bool acts;
};

template <typename T>
BACKMAP_HD Constraint<T> constraint_at(const DynamicsArguments<T>& args, int64_t k) {
  const int64_t* pair = args.constraint + 2 * k;
  if (!are_atoms<2>(pair, args.terms.atoms)) return {0, 0, T(0), T(1), false};
  const T length = args.constraint_length[k], stiffness = args.inverse_mass[pair[0]] + args.inverse_mass[pair[1]];
  return {pair[0], pair[1], length * length, stiffness, stiffness > T(0)};
}

// The multiple of the bond before a step, `along`, that restores the length of `bond` after it.
template <typename T>
BACKMAP_HD T position_share(const Constraint<T>& constraint, const Vec3<T>& bond, const Vec3<T>& along) {
  return (constraint.square - dot(bond, bond)) / (T(2) * constraint.stiffness * dot(bond, along));
}

// The multiple of a bond that takes its stretching from the velocities.
template <typename T>
BACKMAP_HD T velocity_share(const Constraint<T>& constraint, const Vec3<T>& bond, const Vec3<T>& velocity) {
  return -dot(bond, velocity) / (constraint.stiffness * dot(bond, bond));
}

// The change of a velocity by a gradient within a step, limited by the largest move.
template <typename T>
BACKMAP_HD Vec3<T> force_kick(const DynamicsArguments<T>& args, T inverse_mass, const Vec3<T>& gradient) {
  const Vec3<T> kick = (-args.step * inverse_mass) * gradient;
  const T most = args.largest_move / args.step, length = std::sqrt(dot(kick, kick));
  return length < most ? kick : (most / length) * kick;
}

BACKMAP_LAUNCHERS(langevin_dynamics, DynamicsArguments);
BACKMAP_CUDA_WORKSPACE(dynamics_workspace, int64_t /*batch*/, int64_t /*atoms*/, int64_t /*constraints*/);

}  // namespace backmap
