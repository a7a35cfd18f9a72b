// The energy of four consecutive C-alphas, read from a table of (angle, dihedral, angle), and its gradient.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/vec3.h"

namespace backmap {

constexpr double pi = 3.14159265358979323846;

// Energies on a grid: both angles at nodes from `first_angle` on, beyond them the last cell goes on; the dihedral,
// periodic, at nodes from -pi on. In units of kT and radians.
template <typename T>
struct PriorTable {
  int64_t classes, angles, dihedrals;
  T first_angle, angle_step;
  const T* energy;  // (classes, angles, dihedrals, angles)
};

template <typename T>
struct CellPlace {
  int64_t cell;
  T fraction;
};

template <typename T>
BACKMAP_HD CellPlace<T> place_of_angle(const PriorTable<T>& table, T angle) {
  const T position = (angle - table.first_angle) / table.angle_step;
  int64_t cell = int64_t(std::floor(position));
  cell = cell < 0 ? 0 : (cell > table.angles - 2 ? table.angles - 2 : cell);
  return {cell, position - T(cell)};
}

template <typename T>
BACKMAP_HD CellPlace<T> place_of_dihedral(const PriorTable<T>& table, T dihedral) {
  const T position = (dihedral + T(pi)) * T(table.dihedrals) / T(2 * pi);
  int64_t cell = int64_t(std::floor(position));
  cell = cell < 0 ? 0 : (cell > table.dihedrals - 1 ? table.dihedrals - 1 : cell);
  return {cell, position - T(cell)};
}

// Value of a linear interpolation, and its derivatives.
template <typename T>
struct Interpolated {
  T value, by_first, by_dihedral, by_second;
};

template <typename T>
BACKMAP_HD Interpolated<T> interpolate(const PriorTable<T>& table, int64_t kind, T first, T dihedral, T second) {
  const CellPlace<T> i = place_of_angle(table, first), h = place_of_dihedral(table, dihedral),
                     j = place_of_angle(table, second);
  const int64_t row = table.angles, plane = table.dihedrals * row;
  const int64_t next = h.cell + 1 == table.dihedrals ? 0 : h.cell + 1;
  const T* low = table.energy + (kind * table.angles + i.cell) * plane + j.cell;
  const T* high = low + plane;
  const auto along_second = [&](const T* p, T& slope) {
    slope = p[1] - p[0];
    return p[0] + j.fraction * slope;
  };
  T s00, s01, s10, s11;
  const T v00 = along_second(low + h.cell * row, s00), v01 = along_second(low + next * row, s01),
          v10 = along_second(high + h.cell * row, s10), v11 = along_second(high + next * row, s11);
  const T v0 = v00 + h.fraction * (v01 - v00), v1 = v10 + h.fraction * (v11 - v10);
  const T s0 = s00 + h.fraction * (s01 - s00), s1 = s10 + h.fraction * (s11 - s10);
  const T d0 = v01 - v00, d1 = v11 - v10;
  const T per_angle = T(1) / table.angle_step, per_dihedral = T(table.dihedrals) / T(2 * pi);
  return {v0 + i.fraction * (v1 - v0), (v1 - v0) * per_angle, (d0 + i.fraction * (d1 - d0)) * per_dihedral,
          (s0 + i.fraction * (s1 - s0)) * per_angle};
}

// ---- Angles and dihedrals of four points -------------------------------------------------------

// The steps between four points, and what angles and dihedral share. Points that lie on a line, where the dihedral has
// no meaning, are treated as if they were a little off it.
template <typename T>
struct Window {
  Vec3<T> step[3];
  T length[3], cosine[2], sine[2];
  Vec3<T> normal[2];  // of the planes of the first and of the last three points
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

template <typename T>
BACKMAP_HD Interpolated<T> window_energy(const PriorTable<T>& table, int64_t kind, const Window<T>& w) {
  kind = kind < 0 ? 0 : (kind < table.classes ? kind : table.classes - 1);
  return interpolate(table, kind, std::acos(w.cosine[0]), w.dihedral, std::acos(w.cosine[1]));
}

// Adds `weight` times the gradient of the energy to those of the four points.
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
  const T floor_of[2] = {w.length[0] * w.length[1] * T(0.05), w.length[1] * w.length[2] * T(0.05)};
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
