// The energy of four consecutive C-alphas, read from a table of (angle, dihedral, angle), and its gradient.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/vec3.h"

namespace backmap {

constexpr double pi = 3.14159265358979323846;
constexpr double damped_below_sine = 0.35;  // of an angle: beyond 160 and below 20 degrees

// Which residue comes after each: in a ring, the first after the last.
struct Succession {
  int64_t residues;
  const int64_t* following;  // (residues), -1 for none; null: the next residue

  // The residue after residue i, -1 for none.
  BACKMAP_HD int64_t after(int64_t i) const {
    const int64_t next = following ? following[i] : i + 1;
    return next < residues ? next : -1;
  }
};

// Four consecutive residues; the last is -1 where the chain ends before.
struct FourResidues {
  int64_t at[4];

  BACKMAP_HD bool are_there() const { return at[3] >= 0; }
  BACKMAP_HD bool are_neighbours() const { return at[1] == at[0] + 1 && at[2] == at[0] + 2 && at[3] == at[0] + 3; }
};

BACKMAP_HD FourResidues four_from(int64_t i, const Succession& chain) {
  FourResidues four{{i, -1, -1, -1}};
  for (int k = 1; k < 4; ++k) four.at[k] = four.at[k - 1] < 0 ? -1 : chain.after(four.at[k - 1]);
  return four;
}

// Energies (kT) on a grid of angles and dihedrals (radians): the nodes of both angles start at `first_angle`, those of
// the dihedral, which is periodic, at -pi.
template <typename T>
struct PriorTable {
  int64_t kinds, angles, dihedrals;
  T first_angle, angle_step;
  const T* energy;  // (kinds, angles, dihedrals, angles)
};

// Weights of three neighbouring nodes, and their derivatives with respect to the position: quadratic B-splines, which
// continue linearly beyond half a step from the middle node, so that energies have continuous gradients.
template <typename T>
struct SplineWeights {
  int64_t middle;
  T weight[3], slope[3];
};

template <typename T>
BACKMAP_HD SplineWeights<T> spline_weights(int64_t middle, T t) {
  const T half = T(0.5);
  if (t > half) return {middle, {T(0), T(1) - t, t}, {T(0), T(-1), T(1)}};
  if (t < -half) return {middle, {-t, T(1) + t, T(0)}, {T(-1), T(1), T(0)}};
  const T before = half - t, after = half + t;
  return {middle, {half * before * before, T(0.75) - t * t, half * after * after}, {-before, T(-2) * t, after}};
}

template <typename T>
BACKMAP_HD SplineWeights<T> weights_of_angle(const PriorTable<T>& table, T angle) {
  const T position = (angle - table.first_angle) / table.angle_step;
  int64_t middle = int64_t(std::floor(position + T(0.5)));
  middle = middle < 1 ? 1 : (middle > table.angles - 2 ? table.angles - 2 : middle);
  return spline_weights(middle, position - T(middle));
}

template <typename T>
BACKMAP_HD SplineWeights<T> weights_of_dihedral(const PriorTable<T>& table, T dihedral) {
  const T position = (dihedral + T(pi)) * T(table.dihedrals) / T(2 * pi);
  int64_t middle = int64_t(std::floor(position + T(0.5)));
  middle = middle < 0 ? 0 : (middle > table.dihedrals ? table.dihedrals : middle);
  return spline_weights(middle, position - T(middle));
}

// Interpolated value and its derivatives.
template <typename T>
struct Interpolated {
  T value, by_first, by_dihedral, by_second;
};

template <typename T>
BACKMAP_HD Interpolated<T> interpolate(const PriorTable<T>& table, int64_t kind, T first, T dihedral, T second) {
  const SplineWeights<T> a = weights_of_angle(table, first), h = weights_of_dihedral(table, dihedral),
                         b = weights_of_angle(table, second);
  const int64_t row = table.angles, plane = table.dihedrals * row;
  const T* origin = table.energy + (kind * table.angles + a.middle - 1) * plane + b.middle - 1;
  const int64_t before = (h.middle + table.dihedrals - 1) % table.dihedrals, here = h.middle % table.dihedrals,
                after = (h.middle + 1) % table.dihedrals;
  const int64_t offset[3] = {before * row, here * row, after * row};
  Interpolated<T> sum{T(0), T(0), T(0), T(0)};
  for (int i = 0; i < 3; ++i) {
    T value = T(0), by_dihedral = T(0), by_second = T(0);
    for (int k = 0; k < 3; ++k) {
      const T* p = origin + i * plane + offset[k];
      const T along = b.weight[0] * p[0] + b.weight[1] * p[1] + b.weight[2] * p[2];
      value += h.weight[k] * along;
      by_dihedral += h.slope[k] * along;
      by_second += h.weight[k] * (b.slope[0] * p[0] + b.slope[1] * p[1] + b.slope[2] * p[2]);
    }
    sum.value += a.weight[i] * value;
    sum.by_first += a.slope[i] * value;
    sum.by_dihedral += a.weight[i] * by_dihedral;
    sum.by_second += a.weight[i] * by_second;
  }
  const T per_angle = T(1) / table.angle_step, per_dihedral = T(table.dihedrals) / T(2 * pi);
  return {sum.value, sum.by_first * per_angle, sum.by_dihedral * per_dihedral, sum.by_second * per_angle};
}

// ---- Angles and dihedrals of four points -------------------------------------------------------

// The steps between four points, and quantities that the angles and the dihedral share. Points on a straight line, for
// which the dihedral is undefined, are treated as if they were slightly off it.
template <typename T>
struct Window {
  Vec3<T> step[3];
  T length[3], cosine[2], sine[2];
  Vec3<T> normal[2];  // of the planes through the first and the last three points
  T dihedral;
};

template <typename T>
BACKMAP_HD Window<T> window_of(const Vec3<T>& a, const Vec3<T>& b, const Vec3<T>& c, const Vec3<T>& d) {
  Window<T> w;
  w.step[0] = b - a, w.step[1] = c - b, w.step[2] = d - c;
  for (int k = 0; k < 3; ++k) {
    const T length = norm(w.step[k]);
    w.length[k] = length > T(1e-4) ? length : T(1e-4);
  }
  for (int k = 0; k < 2; ++k) {
    const T cosine = -dot(w.step[k], w.step[k + 1]) / (w.length[k] * w.length[k + 1]);
    w.cosine[k] = cosine > T(1) ? T(1) : (cosine < T(-1) ? T(-1) : cosine);
    const T sine = std::sqrt(T(1) - w.cosine[k] * w.cosine[k]);
    w.sine[k] = sine > T(0.05) ? sine : T(0.05);
    w.normal[k] = cross(w.step[k], w.step[k + 1]);
  }
  w.dihedral = std::atan2(w.length[1] * dot(w.step[0], w.normal[1]), dot(w.normal[0], w.normal[1]));
  return w;
}

// The window of four residues that are there, among `points`.
template <typename T>
BACKMAP_HD Window<T> window_at(const FourResidues& four, const T* points) {
  return window_of(load(points + 3 * four.at[0]), load(points + 3 * four.at[1]), load(points + 3 * four.at[2]),
                   load(points + 3 * four.at[3]));
}

template <typename T>
BACKMAP_HD Interpolated<T> window_energy(const PriorTable<T>& table, int64_t kind, const Window<T>& w) {
  kind = kind < 0 ? 0 : (kind < table.kinds ? kind : table.kinds - 1);
  return interpolate(table, kind, std::acos(w.cosine[0]), w.dihedral, std::acos(w.cosine[1]));
}

// Adds `weight` times the gradient of the energy to the gradients of the four points.
template <typename T>
BACKMAP_HD void add_window_gradient(const Window<T>& w, const Interpolated<T>& energy, T weight, Vec3<T>* gradient) {
  const T by_angle[2] = {weight * energy.by_first, weight * energy.by_second};
  for (int k = 0; k < 2; ++k) {
    const Vec3<T> back = (T(-1) / w.length[k]) * w.step[k], ahead = (T(1) / w.length[k + 1]) * w.step[k + 1];
    const T scale = by_angle[k] / w.sine[k];
    const Vec3<T> of_back = (-scale / w.length[k]) * (ahead - w.cosine[k] * back);
    const Vec3<T> of_ahead = (-scale / w.length[k + 1]) * (back - w.cosine[k] * ahead);
    gradient[k] += of_back;
    gradient[k + 1] -= of_back + of_ahead;
    gradient[k + 2] += of_ahead;
  }
  // Blondel and Karplus, J. Comput. Chem. 1996, written in steps and normals.
  const T by_dihedral = weight * energy.by_dihedral;
  // Near a straight line the dihedral changes fast and means little; its force is damped to keep the dynamics stable.
  const T floor_of[2] = {w.length[0] * w.length[1] * T(damped_below_sine),
                         w.length[1] * w.length[2] * T(damped_below_sine)};
  Vec3<T> outer[2];
  for (int k = 0; k < 2; ++k) {
    const T square = dot(w.normal[k], w.normal[k]), least = floor_of[k] * floor_of[k];
    outer[k] = (by_dihedral * w.length[1] / (square > least ? square : least)) * w.normal[k];
  }
  const T squared_axis = w.length[1] * w.length[1];
  const T first = dot(w.step[0], w.step[1]) / squared_axis, last = dot(w.step[2], w.step[1]) / squared_axis;
  const Vec3<T> shared = first * outer[0] + last * outer[1];
  gradient[0] -= outer[0];
  gradient[1] += outer[0] + shared;
  gradient[2] -= outer[1] + shared;
  gradient[3] += outer[1];
}

}  // namespace backmap
