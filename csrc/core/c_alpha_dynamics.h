// One step of Langevin dynamics of C-alphas about their beads. backmap/ops/c_alphas.py describes the algorithm.
#pragma once

#include <cstdint>

#include "core/c_alpha_prior.h"
#include "core/counter_random.h"
#include "core/vec3.h"

namespace backmap {

constexpr int64_t most_steps = 100000;
constexpr int64_t steps_between_searches = 10;    // how many steps use one list of contacts
constexpr int64_t contacts_listed = 32;           // per residue, those with the lowest indices
constexpr double contact_margin_nm = 0.1;         // added to the contact distance when listing
constexpr int bond_rounds = 2, last_rounds = 20;  // passes that restore bonds, per step and at the end

// Whether one or two bonds lead from residue i to residue j. `bond` is the length of the bond from each residue to its
// successor, 0 for residues without one.
template <typename T>
BACKMAP_HD bool leads_to(int64_t i, int64_t j, const Succession& chain, const T* bond) {
  const int64_t next = chain.after(i);
  if (next < 0 || bond[i] <= T(0)) return false;
  return next == j || (chain.after(next) == j && bond[next] > T(0));
}

// Whether two residues are so near in the chain that bonds and angles hold them apart.
template <typename T>
BACKMAP_HD bool near_in_chain(int64_t i, int64_t j, const Succession& chain, const T* bond) {
  return i == j || leads_to(i, j, chain, bond) || leads_to(j, i, chain, bond);
}

// Gradient of strength (distance - |d|)^2, zero from |d| = distance on, with respect to the residue that d points to.
template <typename T>
BACKMAP_HD Vec3<T> contact_gradient(const Vec3<T>& d, T distance, T strength) {
  const T length = norm(d);
  if (length >= distance || length == T(0)) return {T(0), T(0), T(0)};
  return (T(-2) * strength * (distance - length) / length) * d;
}

// Parameters of a step.
template <typename T>
struct Langevin {
  T temperature, step_size, largest_step;
};

// Random numbers of one step, from one stream or between two: cosine x one + sine x the other.
template <typename T>
struct Kicks {
  uint64_t key, other;
  T cosine, sine;
};

template <typename T>
BACKMAP_HD Kicks<T> kicks_of_step(const int64_t* key, const int64_t* other, const T* turn, int64_t frame, int64_t n) {
  const uint64_t own = absorb(uint64_t(key[frame]), uint64_t(n));
  if (other == nullptr) return {own, own, T(1), T(0)};
  return {own, absorb(uint64_t(other[frame]), uint64_t(n)), std::cos(turn[frame]), std::sin(turn[frame])};
}

template <typename T>
BACKMAP_HD T kick_along(const Kicks<T>& kicks, uint64_t coordinate) {
  const T first = nearly_normal<T>(absorb(kicks.key, coordinate));
  if (kicks.sine == T(0)) return kicks.cosine * first;
  return kicks.cosine * first + kicks.sine * nearly_normal<T>(absorb(kicks.other, coordinate));
}

// The move of a residue: down the gradient, with noise at temperature `heat`, and at most `largest_step` long.
template <typename T>
BACKMAP_HD Vec3<T> langevin_move(const Langevin<T>& dynamics, T noise, const Vec3<T>& gradient, T heat,
                                 const Kicks<T>& kicks, int64_t residue) {
  const T half_variance = T(0.5) * noise * noise;
  const T mobility = half_variance < dynamics.step_size ? half_variance : dynamics.step_size;
  const T spread = std::sqrt(T(2) * mobility * heat);
  Vec3<T> move = -mobility * gradient;
  if (spread > T(0)) {
    T kick[3];
    for (int axis = 0; axis < 3; ++axis) kick[axis] = kick_along(kicks, uint64_t(3 * residue + axis));
    move += spread * Vec3<T>{kick[0], kick[1], kick[2]};
  }
  const T length = norm(move);
  return length > dynamics.largest_step ? (dynamics.largest_step / length) * move : move;
}

// Temperature of step n of `steps`; it falls linearly to zero.
template <typename T>
BACKMAP_HD T heat_of_step(const Langevin<T>& dynamics, int64_t n, int64_t steps) {
  return dynamics.temperature * T(steps - 1 - n) / T(steps);
}

// Moves the ends of a bond until it has its length; an end without noise stays where it is.
template <typename T>
BACKMAP_HD void restore_bond(Vec3<T>& first, Vec3<T>& second, T length, T noise_of_first, T noise_of_second) {
  const T first_moves = noise_of_first > T(0) ? T(1) : T(0), second_moves = noise_of_second > T(0) ? T(1) : T(0);
  const T movers = first_moves + second_moves;
  const Vec3<T> d = second - first;
  const T distance = norm(d);
  if (length <= T(0) || movers == T(0) || distance == T(0)) return;
  const Vec3<T> share = ((T(1) - length / distance) / movers) * d;
  first += first_moves * share;
  second -= second_moves * share;
}

}  // namespace backmap
