// Side-chain atoms from bond lengths, angles and torsions; the ring of proline.
//
// backmap/ops/place_side_chains.py contains the equations.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/vec3.h"

namespace backmap {

// How an atom is placed. The values are part of the operator's schema.
enum class PlacementRule : int64_t {
  None = 0,     // the residue type does not have the atom
  Beta = 1,     // it is CB, which is given
  Torsion = 2,  // by bond length, angle and torsion from three parents
  Pucker = 3,   // CG of a ring, which bends with the first torsion
  Closure = 4,  // CD of a ring, at the right distance from both CG and N
};
constexpr int64_t placement_rules = 5;

constexpr int64_t ring_values = 7;

// What is known of a ring; lengths in nm, angles in radians.
template <typename T>
struct Ring {
  T beta_gamma, gamma_delta, delta_n;  // bond lengths
  T widest;                            // limit of the torsion N-CA-CB-CG
  T angle_at_beta, narrowing;          // the angle CA-CB-CG is angle_at_beta - narrowing torsion^2
  T angle_at_n;                        // CA-N-CD
};

template <typename T>
BACKMAP_HD Ring<T> load_ring(const T* p) {
  return {p[0], p[1], p[2], p[3], p[4], p[5], p[6]};
}

template <typename T>
BACKMAP_HD Vec3<T> unit(const Vec3<T>& v) {
  const T length = norm(v), least = T(1e-9);
  return (T(1) / (length > least ? length : least)) * v;
}

// Where an atom lies relative to the last of its parents: along their last bond, and from its axis.
template <typename T>
struct BondFrame {
  T along, radius;
};

template <typename T>
BACKMAP_HD BondFrame<T> bond_frame(T length, T angle) {
  return {-length * std::cos(angle), length * std::sin(angle)};
}

// The atom whose torsion a-b-c-atom has this cosine and sine.
template <typename T>
BACKMAP_HD Vec3<T> place_atom(const Vec3<T>& a, const Vec3<T>& b, const Vec3<T>& c, const BondFrame<T>& bond, T cosine,
                              T sine) {
  const Vec3<T> axis = unit(c - b), normal = unit(cross(b - a, axis)), inward = cross(normal, axis);
  return c + bond.along * axis + (bond.radius * cosine) * inward + (bond.radius * sine) * normal;
}

template <typename T>
BACKMAP_HD Vec3<T> place_gamma(const Ring<T>& ring, const Vec3<T>& n, const Vec3<T>& alpha, const Vec3<T>& beta,
                               T torsion) {
  const T pucker = torsion < -ring.widest ? -ring.widest : torsion > ring.widest ? ring.widest : torsion;
  const BondFrame<T> bond = bond_frame(ring.beta_gamma, ring.angle_at_beta - ring.narrowing * pucker * pucker);
  return place_atom(n, alpha, beta, bond, std::cos(pucker), std::sin(pucker));
}

// CD lies on the circle about the axis CA-N at its length and angle from N. Ring torsions alternate in sign, so it
// turns away from CG's side of the plane N, CA, CB. Where it cannot reach CG, it comes as near as it can.
template <typename T>
BACKMAP_HD Vec3<T> close_ring(const Ring<T>& ring, const Vec3<T>& n, const Vec3<T>& alpha, const Vec3<T>& beta,
                              const Vec3<T>& gamma) {
  const Vec3<T> axis = unit(n - alpha), to_beta = beta - n, inward = unit(to_beta - dot(to_beta, axis) * axis),
                normal = cross(axis, inward);
  const BondFrame<T> bond = bond_frame(ring.delta_n, ring.angle_at_n);
  const Vec3<T> centre = n + bond.along * axis, to_gamma = gamma - centre;
  const T x = dot(to_gamma, inward), y = dot(to_gamma, normal), across = std::sqrt(x * x + y * y), least = T(1e-9);
  const T reach = dot(to_gamma, to_gamma) + bond.radius * bond.radius - ring.gamma_delta * ring.gamma_delta;
  const T cosine = reach / (T(2) * bond.radius * (across > least ? across : least));
  const T away = std::acos(cosine < T(-1) ? T(-1) : cosine > T(1) ? T(1) : cosine);
  const T turn = std::atan2(y, x) - (y >= T(0) ? away : -away);
  return centre + (bond.radius * std::cos(turn)) * inward + (bond.radius * std::sin(turn)) * normal;
}

}  // namespace backmap
