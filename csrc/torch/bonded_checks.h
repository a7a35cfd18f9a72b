// Checks shared by the operators on bonded structures: pairs of atoms, their lengths, and the periodic box.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "torch/checks.h"

namespace backmap::checks {

// Coordinates (*, residues, atoms, 3) and their mask. Returns the batch dimensions.
inline Sizes check_atoms(const char* op, const at::Tensor& atoms, const at::Tensor& present) {
  const Argument first{op, "atoms", atoms};
  is_floating(first);
  holds_points(first, 3, "(*, residues, atoms, 3)");
  const Sizes batch = without_last(atoms, 3);
  goes_with({op, "present", present}, first, at::kBool);
  has_shape_or_shared({op, "present", present}, batch, {atoms.sym_size(-3), atoms.sym_size(-2)});
  return batch;
}

// Pairs of atoms and one length per pair; `form` describes the expected shape of the pairs.
inline void check_pairs(const Argument& pairs, const char* form, const Argument& lengths, const Argument& first,
                        const Sizes& batch) {
  goes_with(pairs, first, at::kLong);
  has_dimensions(pairs, 2, form);
  has_shape(pairs, {pairs.tensor.sym_size(0), 2});
  goes_with(lengths, first, first.tensor.scalar_type());
  has_shape_or_shared(lengths, batch, {pairs.tensor.sym_size(0)});
}

inline void check_box(const char* op, const std::optional<at::Tensor>& box, const Argument& first, const Sizes& batch) {
  if (!box) return;
  goes_with({op, "box", *box}, first, first.tensor.scalar_type());
  has_shape_or_shared({op, "box", *box}, batch, {3, 3});
}

// A table of atoms of each term, and one of its parameters.
inline void check_terms(const Argument& indices, int64_t atoms_of_term, const Argument& parameters, int64_t columns,
                        const Argument& first) {
  goes_with(indices, first, at::kLong);
  has_dimensions(indices, 2, "(terms, atoms)");
  has_shape(indices, {indices.tensor.sym_size(0), atoms_of_term});
  goes_with(parameters, first, first.tensor.scalar_type());
  has_shape(parameters, {indices.tensor.sym_size(0), columns});
}

// Torsions, and the coefficients of two polynomials of the same degree for each.
inline void check_torsions(const Argument& torsions, const Argument& polynomials, const Argument& first) {
  goes_with(torsions, first, at::kLong);
  has_dimensions(torsions, 2, "(torsions, 4)");
  const auto count = torsions.tensor.sym_size(0);
  has_shape(torsions, {count, 4});
  goes_with(polynomials, first, first.tensor.scalar_type());
  has_dimensions(polynomials, 3, "(torsions, 2, terms)");
  has_shape(polynomials, {count, 2, polynomials.tensor.sym_size(2)});
}

// ---- Values: checked only if reading them needs no synchronisation -----------------------------

// On CUDA, an atom out of range counts as missing.
inline void check_atom_range(const Argument& indices, int64_t atoms, int64_t least = 0) {
  if (!indices.tensor.is_cpu() || indices.tensor.numel() == 0) return;
  const auto [low, high] = indices.tensor.aminmax();
  const int64_t lowest = low.item<int64_t>(), highest = high.item<int64_t>();
  TORCH_CHECK_VALUE(lowest >= least && highest < atoms, indices.op, ": ", indices.name, " must lie in [", least, ", ",
                    atoms, ") (residues * atoms), got ", lowest < least ? lowest : highest);
}

// The starts of the rows of a list must ascend from 0 to its length.
inline void check_row_starts(const Argument& starts, const Argument& list) {
  const at::Tensor start = starts.tensor.contiguous();
  const int64_t *first = start.const_data_ptr<int64_t>(), *last = first + start.numel();
  TORCH_CHECK_VALUE(*first == 0 && last[-1] == list.tensor.numel() && std::is_sorted(first, last), starts.op, ": ",
                    starts.name, " must ascend from 0 to the number of ", list.name, " (", list.tensor.numel(), ")");
}

// Every box must be in reduced form and wider than twice the reach, with a margin so that rounding never puts a pair
// within reach in two images. `reach_name` names the reach in the message.
inline void check_box_values(const char* op, const std::optional<at::Tensor>& box, double reach,
                             const char* reach_name) {
  if (!box || !box->is_cpu() || box->numel() == 0) return;
  const at::Tensor boxes = box->to(at::kDouble).reshape({-1, 9}).contiguous();
  const double slope = 0.5001;  // one half, with a margin for rounding in files
  for (int64_t b = 0; b < boxes.size(0); ++b) {
    const double* v = boxes.const_data_ptr<double>() + 9 * b;
    const double ax = v[0], bx = v[3], by = v[4], cx = v[6], cy = v[7], cz = v[8];
    const bool finite = ax + by + cz < INFINITY;
    TORCH_CHECK_VALUE(finite && v[1] == 0 && v[2] == 0 && v[5] == 0 && ax > 0 && by > 0 && cz > 0 &&
                          std::abs(bx) <= slope * ax && std::abs(cx) <= slope * ax && std::abs(cy) <= slope * by,
                      op, ": box must have rows (ax, 0, 0), (bx, by, 0), (cx, cy, cz) with ax, by, cz > 0, |bx| and ",
                      "|cx| at most ax / 2 and |cy| at most by / 2, got ((", ax, ", ", v[1], ", ", v[2], "), (", bx,
                      ", ", by, ", ", v[5], "), (", cx, ", ", cy, ", ", cz, "))");
    const double narrowest = std::min({ax, by, cz});
    TORCH_CHECK_VALUE(narrowest > 2.0002 * reach, op, ": box must be wider than twice ", reach_name, " (", 2 * reach,
                      " nm) along x, y and z, got ", narrowest, " nm");
  }
}

// Kernels index atoms and pairs with 32 bits.
inline void check_count(const char* op, const char* what, int64_t count) {
  TORCH_CHECK_VALUE(count < int64_t(1) << 30, op, ": at most 2^30 - 1 ", what, ", got ", count);
}

}  // namespace backmap::checks
