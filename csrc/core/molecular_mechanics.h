// Terms of a molecular-mechanics energy and their gradients, in kJ/mol and nm.
#pragma once

#include <cstdint>

#include "core/vec3.h"

namespace backmap {

// Coulomb's constant in kJ/mol nm per squared elementary charge.
constexpr double coulomb_constant = 138.93545764438198;

// Within this distance of two atoms, their energy is linear in the squared distance, so that overlapping atoms give
// finite numbers in single precision.
constexpr double smallest_distance_nm = 0.1, smallest_square_nm2 = 0.01;

// Lower bound on squared lengths (nm^2) and areas (nm^4), so that coinciding atoms give finite numbers.
constexpr double negligible_square = 1e-14;

template <typename T>
BACKMAP_HD T at_least(T value, double bound) {
  return value > T(bound) ? value : T(bound);
}

// ---- Pairs -------------------------------------------------------------------------------------

// Lennard-Jones and Coulomb energy of a pair with the distance-dependent dielectric constant `dielectric * r / nm`:
//
//   S(r) (4 epsilon ((sigma / r)^12 - (sigma / r)^6) + k q q' / (dielectric r^2)),   S(r) = (1 - (r / cutoff)^6)^2.
//
// `square` is r^2, at least the smallest one; `charges` is k q q' / dielectric and `depth` 4 epsilon. Vectors of
// numbers work too. `slope` is the derivative by r^2.
template <typename T, typename V>
BACKMAP_HD void pair_energy(const V& square, const V& charges, const V& sigma, const V& depth, T inverse_square_cutoff,
                            V& energy, V& slope) {
  const V inverse = T(1) / square;
  const V ratio = sigma * sigma * inverse, sixth = ratio * ratio * ratio, weighted = depth * sixth;
  const V coulomb = charges * inverse;
  const V full = weighted * (sixth - T(1)) + coulomb;
  const V full_slope = -(weighted * (T(6) * sixth - T(3)) + coulomb) * inverse;
  const V part = square * inverse_square_cutoff, part_square = part * part;
  const V open = T(1) - part_square * part, weight = open * open;
  energy = weight * full;
  slope = weight * full_slope - (T(6) * inverse_square_cutoff) * open * part_square * full;
}

// ---- Bonds, angles and torsions ----------------------------------------------------------------

// Energy k / 2 (|d| - length)^2 of a bond, with its gradient by d.
template <typename T>
BACKMAP_HD T bond_energy(const Vec3<T>& d, T length, T stiffness, Vec3<T>& grad) {
  const T distance = std::sqrt(at_least(dot(d, d), negligible_square)), stretch = distance - length;
  grad = (stiffness * stretch / distance) * d;
  return T(0.5) * stiffness * stretch * stretch;
}

// Energy k / 2 (theta - angle)^2 of the angle between u and v, with its gradients by both.
template <typename T>
BACKMAP_HD T angle_energy(const Vec3<T>& u, const Vec3<T>& v, T angle, T stiffness, Vec3<T>& grad_u, Vec3<T>& grad_v) {
  const Vec3<T> normal = cross(u, v);
  const T area = std::sqrt(at_least(dot(normal, normal), negligible_square)), inner = dot(u, v);
  const T bend = std::atan2(area, inner) - angle;
  const T moment = stiffness * bend / area;
  // d theta / du = ((u.v / u.u) u - v) / |u x v|, and the same with u and v exchanged.
  grad_u = (moment * inner / at_least(dot(u, u), negligible_square)) * u - moment * v;
  grad_v = (moment * inner / at_least(dot(v, v), negligible_square)) * v - moment * u;
  return T(0.5) * stiffness * bend * bend;
}

// Energy P(cos phi) + sin phi Q(cos phi) of the torsion phi with the arms b1, b2 and b3, with its gradients by all
// three. P and Q have `terms` coefficients each, in ascending order; P comes first.
template <typename T>
BACKMAP_HD T torsion_energy(const Vec3<T>& b1, const Vec3<T>& b2, const Vec3<T>& b3, const T* coefficients,
                            int64_t terms, Vec3<T>& grad1, Vec3<T>& grad2, Vec3<T>& grad3) {
  const Vec3<T> m = cross(b1, b2), n = cross(b2, b3);
  const T m_square = at_least(dot(m, m), negligible_square), n_square = at_least(dot(n, n), negligible_square);
  const T axis_square = at_least(dot(b2, b2), negligible_square), axis = std::sqrt(axis_square);
  const T inverse = T(1) / std::sqrt(m_square * n_square);
  const T cosine = dot(m, n) * inverse, sine = dot(b1, n) * axis * inverse;
  T even = T(0), even_slope = T(0), odd = T(0), odd_slope = T(0);
  for (int64_t c = terms - 1; c >= 0; --c) {
    even_slope = even_slope * cosine + even;
    even = even * cosine + coefficients[c];
    odd_slope = odd_slope * cosine + odd;
    odd = odd * cosine + coefficients[terms + c];
  }
  const T slope = cosine * odd - sine * (even_slope + sine * odd_slope);
  // d phi / d b1 = |b2| m / m.m and d phi / d b3 = |b2| n / n.n. The derivative by b2 sums these, scaled by
  // -(b1.b2 / b2.b2) and -(b3.b2 / b2.b2).
  grad1 = (slope * axis / m_square) * m;
  grad3 = (slope * axis / n_square) * n;
  grad2 = (-dot(b1, b2) / axis_square) * grad1 + (-dot(b2, b3) / axis_square) * grad3;
  return even + sine * odd;
}

// ---- Terms between listed atoms ----------------------------------------------------------------

// The bonded terms and the listed pairs of a molecule, the same in all frames.
template <typename T>
struct ListedTerms {
  int64_t atoms, bonds, angles, torsions, pairs, torsion_terms;
  const int64_t* bond;           // (bonds, 2)
  const T* bond_parameter;       // (bonds, 2): length, stiffness
  const int64_t* angle;          // (angles, 3)
  const T* angle_parameter;      // (angles, 2): angle, stiffness
  const int64_t* torsion;        // (torsions, 4)
  const T* torsion_coefficient;  // (torsions, 2, torsion_terms)
  const int64_t* pair;           // (pairs, 2)
  const T* pair_parameter;       // (pairs, 3): product of charges, sigma, epsilon
  T coulomb;                     // Coulomb's constant over the dielectric constant
  T inverse_square_cutoff;

  BACKMAP_HD int64_t count() const { return bonds + angles + torsions + pairs; }
};

template <int n>
BACKMAP_HD bool are_atoms(const int64_t* indices, int64_t atoms) {
  bool valid = true;
  for (int m = 0; m < n; ++m) valid = valid && 0 <= indices[m] && indices[m] < atoms;
  return valid;
}

// Returns the energy of a term, and calls add(atom, gradient) for its atoms. A term with an index out of range counts
// as missing.
template <typename T, typename Add>
BACKMAP_HD T listed_bond(const ListedTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  const int64_t* at = terms.bond + 2 * m;
  if (!are_atoms<2>(at, terms.atoms)) return T(0);
  const T* parameter = terms.bond_parameter + 2 * m;
  Vec3<T> grad;
  const T energy = bond_energy(load(x + 3 * at[0]) - load(x + 3 * at[1]), parameter[0], parameter[1], grad);
  add(at[0], grad);
  add(at[1], T(-1) * grad);
  return energy;
}

template <typename T, typename Add>
BACKMAP_HD T listed_angle(const ListedTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  const int64_t* at = terms.angle + 3 * m;
  if (!are_atoms<3>(at, terms.atoms)) return T(0);
  const T* parameter = terms.angle_parameter + 2 * m;
  const Vec3<T> centre = load(x + 3 * at[1]);
  Vec3<T> first, last;
  const T energy =
      angle_energy(load(x + 3 * at[0]) - centre, load(x + 3 * at[2]) - centre, parameter[0], parameter[1], first, last);
  add(at[0], first);
  add(at[1], T(-1) * (first + last));
  add(at[2], last);
  return energy;
}

template <typename T, typename Add>
BACKMAP_HD T listed_torsion(const ListedTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  const int64_t* at = terms.torsion + 4 * m;
  if (!are_atoms<4>(at, terms.atoms)) return T(0);
  const Vec3<T> i = load(x + 3 * at[0]), j = load(x + 3 * at[1]), k = load(x + 3 * at[2]), l = load(x + 3 * at[3]);
  const T* coefficients = terms.torsion_coefficient + 2 * terms.torsion_terms * m;
  Vec3<T> first, middle, last;
  const T energy = torsion_energy(j - i, k - j, l - k, coefficients, terms.torsion_terms, first, middle, last);
  add(at[0], T(-1) * first);
  add(at[1], first - middle);
  add(at[2], middle - last);
  add(at[3], last);
  return energy;
}

template <typename T, typename Add>
BACKMAP_HD T listed_pair(const ListedTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  const int64_t* at = terms.pair + 2 * m;
  if (!are_atoms<2>(at, terms.atoms)) return T(0);
  const T* parameter = terms.pair_parameter + 3 * m;
  const Vec3<T> d = load(x + 3 * at[0]) - load(x + 3 * at[1]);
  const T real = dot(d, d);
  if (!(real * terms.inverse_square_cutoff < T(1))) return T(0);
  const T square = at_least(real, smallest_square_nm2);
  T energy, slope;
  pair_energy<T>(square, terms.coulomb * parameter[0], parameter[1], T(4) * parameter[2], terms.inverse_square_cutoff,
                 energy, slope);
  const Vec3<T> grad = (T(2) * slope) * d;
  add(at[0], grad);
  add(at[1], T(-1) * grad);
  return energy + slope * (real - square);
}

// The m-th of all terms.
template <typename T, typename Add>
BACKMAP_HD T listed_term(const ListedTerms<T>& terms, int64_t m, const T* x, const Add& add) {
  if (m < terms.bonds) return listed_bond(terms, m, x, add);
  m -= terms.bonds;
  if (m < terms.angles) return listed_angle(terms, m, x, add);
  m -= terms.angles;
  if (m < terms.torsions) return listed_torsion(terms, m, x, add);
  return listed_pair(terms, m - terms.torsions, x, add);
}

}  // namespace backmap
