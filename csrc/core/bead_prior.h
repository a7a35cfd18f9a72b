// Terms of the prior of a coarse-grained force field and their gradients, in kJ/mol and nm.
#pragma once

#include "core/bead_distance.h"
#include "core/molecular_mechanics.h"

namespace backmap {

// Energy k / 2 (|d| - length)^2 of a bond, with its gradient by d.
template <typename T>
BACKMAP_HD T bead_bond_energy(const Vec3<T>& d, T length, T stiffness, Vec3<T>& grad) {
  const T distance = std::sqrt(softened_square(d)), stretch = distance - length;
  grad = (stiffness * stretch / distance) * d;
  return T(0.5) * stiffness * stretch * stretch;
}

// Energy k / 2 (chi - handedness)^2 of a bead with three arms, of which chi is the triple product of the directions,
// with its gradients by all three.
template <typename T>
BACKMAP_HD T handedness_energy(const Vec3<T>& u, const Vec3<T>& v, const Vec3<T>& w, T handedness, T stiffness,
                               Vec3<T>& grad_u, Vec3<T>& grad_v, Vec3<T>& grad_w) {
  const T inverse_u = T(1) / std::sqrt(softened_square(u)), inverse_v = T(1) / std::sqrt(softened_square(v)),
          inverse_w = T(1) / std::sqrt(softened_square(w));
  const Vec3<T> a = inverse_u * u, b = inverse_v * v, c = inverse_w * w;
  const Vec3<T> by_a = cross(b, c), by_b = cross(c, a), by_c = cross(a, b);
  const T deviation = dot(a, by_a) - handedness, moment = stiffness * deviation;
  // The part along an arm does not change its direction.
  grad_u = (moment * inverse_u) * (by_a - dot(a, by_a) * a);
  grad_v = (moment * inverse_v) * (by_b - dot(b, by_b) * b);
  grad_w = (moment * inverse_w) * (by_c - dot(c, by_c) * c);
  return T(0.5) * stiffness * deviation * deviation;
}

// Energy kT (sigma / |d|)^12, with its gradient by d.
template <typename T>
BACKMAP_HD T repulsion_energy(const Vec3<T>& d, T sigma, T kt, Vec3<T>& grad) {
  const T inverse = T(1) / softened_square(d);
  const T ratio = sigma * sigma * inverse, cube = ratio * ratio * ratio, energy = kt * cube * cube;
  grad = (T(-12) * energy * inverse) * d;
  return energy;
}

// The terms of a molecule of beads, the same in all frames.
template <typename T>
struct PriorTerms {
  ListedTerms<T> bent;  // angles and torsions only
  int64_t bonds, centres, pairs;
  const int64_t* bond;        // (bonds, 2)
  const T* bond_parameter;    // (bonds, 2): length, stiffness
  const int64_t* centre;      // (centres, 4): a bead and the ends of its arms
  const T* centre_parameter;  // (centres, 2): handedness, stiffness
  const int64_t* pair;        // (pairs, 2)
  const T* sigma;             // (pairs)
  T kt;

  BACKMAP_HD int64_t count() const { return bonds + bent.count() + centres + pairs; }
};

// Returns the energy of a term, and calls add(bead, gradient) for its beads. A term with an index out of range counts
// as missing.
template <typename T, typename Add>
BACKMAP_HD T listed_bead_bond(const PriorTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  const int64_t* at = terms.bond + 2 * m;
  if (!are_atoms<2>(at, terms.bent.atoms)) return T(0);
  const T* parameter = terms.bond_parameter + 2 * m;
  Vec3<T> grad;
  const T energy = bead_bond_energy(load(x + 3 * at[0]) - load(x + 3 * at[1]), parameter[0], parameter[1], grad);
  add(at[0], grad);
  add(at[1], T(-1) * grad);
  return energy;
}

template <typename T, typename Add>
BACKMAP_HD T listed_centre(const PriorTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  const int64_t* at = terms.centre + 4 * m;
  if (!are_atoms<4>(at, terms.bent.atoms)) return T(0);
  const T* parameter = terms.centre_parameter + 2 * m;
  const Vec3<T> centre = load(x + 3 * at[0]);
  Vec3<T> first, second, third;
  const T energy = handedness_energy(load(x + 3 * at[1]) - centre, load(x + 3 * at[2]) - centre,
                                     load(x + 3 * at[3]) - centre, parameter[0], parameter[1], first, second, third);
  add(at[0], T(-1) * (first + second + third));
  add(at[1], first);
  add(at[2], second);
  add(at[3], third);
  return energy;
}

template <typename T, typename Add>
BACKMAP_HD T listed_repulsion(const PriorTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  const int64_t* at = terms.pair + 2 * m;
  if (!are_atoms<2>(at, terms.bent.atoms)) return T(0);
  Vec3<T> grad;
  const T energy = repulsion_energy(load(x + 3 * at[0]) - load(x + 3 * at[1]), terms.sigma[m], terms.kt, grad);
  add(at[0], grad);
  add(at[1], T(-1) * grad);
  return energy;
}

// The m-th of all terms.
template <typename T, typename Add>
BACKMAP_HD T prior_term(const PriorTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  if (m < terms.bonds) return listed_bead_bond(terms, m, x, add);
  m -= terms.bonds;
  if (m < terms.bent.count()) return listed_term(terms.bent, m, x, add);
  m -= terms.bent.count();
  if (m < terms.centres) return listed_centre(terms, m, x, add);
  return listed_repulsion(terms, m - terms.centres, x, add);
}

}  // namespace backmap
