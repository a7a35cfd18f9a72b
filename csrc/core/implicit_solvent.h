// Energies of pairs of atoms in implicit solvent, without a cutoff, in kJ/mol and nm: Lennard-Jones, Coulomb, and the
// generalised Born model OBC2 (Onufriev, Bashford and Case, Proteins 55, 383 (2004)).
#pragma once

#include "core/exponential.h"
#include "core/logarithm.h"
#include "core/vec3.h"

namespace backmap {

// Lower bound on squared distances (nm^2), so that 1 / r^12 stays finite in single precision.
constexpr double least_square_nm2 = 1e-6;

// Rows of the table of atoms.
enum SolventRow { solvent_charge, solvent_radius, reduced_radius, screening_radius, surface_energy, solvent_rows };

// ---- Screening ---------------------------------------------------------------------------------

// What an atom adds to the screening integral of another, and -(dI / dr) / r of it.
template <typename T>
struct Screening {
  T integral, slope;
};

// `square` is r^2; `radius` belongs to the atom that screens, `least` is the reduced radius of the one it screens. Its
// sphere lies between its near and its far side, or outside the screened atom; the slope is stationary in both sides.
template <typename T>
BACKMAP_HD Screening<T> screen(T square, T radius, T least) {
  const T inverse = T(1) / std::sqrt(square), distance = square * inverse;
  const T behind = distance - radius, before = distance + radius;
  const T gap_to_side = behind < T(0) ? -behind : behind;
  const T near = gap_to_side > least ? gap_to_side : least, far = before > least ? before : least;
  const T inside = -behind > least ? -behind : least;
  const T inverse_near = T(1) / near, inverse_far = T(1) / far;
  const T logarithm_of_sides = logarithm(near * inverse_far) * inverse;
  const T gap = inverse_near - inverse_far, area = (inverse_near + inverse_far) * gap;
  const T ratio = radius * radius * inverse;
  const T enclosed = T(2) * (T(1) / least - T(1) / inside);
  return {gap + T(0.25) * (ratio - distance) * area + T(0.5) * logarithm_of_sides + enclosed,
          (T(0.25) * (area + area * (ratio * inverse)) + T(0.5) * logarithm_of_sides * inverse) * inverse};
}

// An effective Born radius, and its derivative by the screening integral.
template <typename T>
struct BornRadius {
  T value, slope;
};

template <typename T>
BACKMAP_HD BornRadius<T> born_radius(T integral, T radius, T reduced) {
  constexpr T alpha = T(1), beta = T(0.8), gamma = T(4.85);
  const T psi = T(0.5) * integral * reduced;
  const T bent = std::tanh(((gamma * psi - beta) * psi + alpha) * psi);
  const T born = T(1) / (T(1) / reduced - bent / radius);
  const T steep = (T(1) - bent * bent) * ((T(3) * gamma * psi - T(2) * beta) * psi + alpha);
  return {born, steep * born * born * (T(0.5) * reduced / radius)};
}

// The energy of an atom by itself, and its derivative by the Born radius. `polarisation` is -k (1 / solute - 1 /
// solvent) with Coulomb's constant k.
template <typename T>
BACKMAP_HD T own_energy(T polarisation, T charge, T surface, T born, T& slope) {
  const T inverse = T(1) / born, cube = inverse * inverse * inverse;
  const T polar = T(0.5) * polarisation * charge * charge * inverse, apolar = surface * cube * cube;
  slope = -(polar + T(6) * apolar) * inverse;
  return polar + apolar;
}

// ---- Pairs -------------------------------------------------------------------------------------

// The energy of a pair, -(dE / dr) / r at fixed Born radii, and the derivative by a Born radius over the other one.
template <typename T>
struct SolvatedPair {
  T energy, push, by_born;
};

// `charges` is the energy of the charges at 1 nm, `repulsion` and `attraction` are A and B of A / r^12 - B / r^6, and
// `polar` is the polarisation times both charges in the solvent.
template <typename T>
BACKMAP_HD SolvatedPair<T> solvated_pair(T square, T charges, T repulsion, T attraction, T polar, T born,
                                         T other_born) {
  const T inverse = T(1) / std::sqrt(square), inverse_square = inverse * inverse;
  const T sixth = inverse_square * inverse_square * inverse_square;
  const T twelfth = repulsion * sixth * sixth, lennard_jones = twelfth - attraction * sixth,
          coulomb = charges * inverse;
  const T product = born * other_born, exponent = T(-0.25) * square / product, decay = decaying_exponential(exponent);
  const T reach = T(1) / std::sqrt(square + product * decay), solvent = polar * reach;
  const T strength = solvent * reach * reach, decayed = decay * strength;
  return {lennard_jones + coulomb + solvent,
          (coulomb + T(6) * (twelfth + lennard_jones)) * inverse_square + (strength - T(0.25) * decayed),
          T(-0.5) * decayed * (T(1) - exponent)};
}

}  // namespace backmap
