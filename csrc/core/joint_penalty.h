// The penalty on an angle, given the one before it, for what lies between them.
//
// backmap/ops/joint_penalty.py contains the equations. Quantities of a joint are strains and the sines and cosines of
// two torsions, each a form in the waves (1, cosine, sine) of both angles.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

constexpr int64_t waves_of_angle = 3;
constexpr int64_t torsion_quantities =
    5;  // a strain, the sines of two torsions, their cosines; more strains may follow

// The angle of (x, y) from the x axis in [-pi, pi], zero at the origin; without branches, so that loops vectorise.
// Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 4.4.49: to 2e-8.
template <typename T>
BACKMAP_HD T polar_angle(T x, T y) {
  const T across = x < T(0) ? -x : x, up = y < T(0) ? -y : y;
  const bool steep = up > across;
  const T longer = steep ? up : across, shorter = steep ? across : up;
  const T slope = longer > T(0) ? shorter / longer : T(0), s = slope * slope;
  T series = T(0.0028662257);
  series = series * s + T(-0.0161657367);
  series = series * s + T(0.0429096138);
  series = series * s + T(-0.0752896400);
  series = series * s + T(0.1065626393);
  series = series * s + T(-0.1420889944);
  series = series * s + T(0.1999355085);
  series = series * s + T(-0.3333314528);
  const T low = slope + slope * s * series, pi = T(3.141592653589793);
  const T right = steep ? T(0.5) * pi - low : low, upper = x < T(0) ? pi - right : right;
  return y < T(0) ? -upper : upper;
}

// The cell of the angle of (x, y) among equal parts of a turn from -pi.
template <typename T>
BACKMAP_HD int32_t cell_of(T x, T y, int32_t cells) {
  const T half = T(0.5) * T(cells), place = polar_angle(x, y) * (half / T(3.141592653589793)) + half;
  const int32_t cell = int32_t(place);
  return cell < 0 ? 0 : cell < cells ? cell : cells - 1;
}

// What quantity q is as a form in the waves of the own angle, once the angle before is known: 3 numbers per quantity.
template <typename T>
BACKMAP_HD T form_after(const T* form, int64_t quantities, int64_t number, T cosine, T sine) {
  const int64_t row = quantities * waves_of_angle;
  return form[number] + cosine * form[row + number] + sine * form[2 * row + number];
}

// A quantity at an angle. Waves are the constant, the cosine and the sine of `angles` angles.
template <typename T>
BACKMAP_HD T quantity_at(const T* own, int64_t q, const T* wave, int64_t angles, int64_t k) {
  const T* form = own + q * waves_of_angle;
  return form[0] * wave[k] + form[1] * wave[angles + k] + form[2] * wave[2 * angles + k];
}

// Half the sum of squared strains.
template <typename T>
BACKMAP_HD T strain_energy(const T* own, int64_t quantities, const T* wave, int64_t angles, int64_t k) {
  const T strain = quantity_at(own, 0, wave, angles, k);
  T energy = T(0.5) * strain * strain;
  for (int64_t q = torsion_quantities; q < quantities; ++q) {
    const T more = quantity_at(own, q, wave, angles, k);
    energy += T(0.5) * more * more;
  }
  return energy;
}

// Where a table (cells, cells) has the penalty of both torsions.
template <typename T>
BACKMAP_HD int32_t torsion_cell(const T* own, const T* wave, int64_t angles, int64_t k, int32_t cells) {
  const int32_t row = cell_of(quantity_at(own, 3, wave, angles, k), quantity_at(own, 1, wave, angles, k), cells);
  return row * cells + cell_of(quantity_at(own, 4, wave, angles, k), quantity_at(own, 2, wave, angles, k), cells);
}

}  // namespace backmap
