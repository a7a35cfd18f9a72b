// Checks of joints between angles, which two operators share.
#pragma once

#include "core/joint_penalty.h"
#include "torch/checks.h"

namespace backmap::checks {

// Forms (*, 3, quantities, 3), and a kind of each joint with a row of tables over two torsions.
inline void hold_joints(const Argument& forms, const Argument& kinds, const Argument& table, const Sizes& joints) {
  const auto quantities = forms.tensor.dim() >= 3 ? forms.tensor.sym_size(-2) : c10::SymInt(0);
  TORCH_CHECK_VALUE(quantities >= torsion_quantities, forms.op, ": ", forms.name,
                    " must have shape (*, 3, quantities, 3) with 5 quantities or more, got ", forms.tensor.sym_sizes());
  has_shape(forms, join(joints, {waves_of_angle, quantities, waves_of_angle}));
  has_shape(kinds, joints);
  const bool square = table.tensor.dim() == 3 && table.tensor.sym_size(1) == table.tensor.sym_size(2) &&
                      table.tensor.sym_size(1) >= 1 && table.tensor.sym_size(1) <= 16384;
  TORCH_CHECK_VALUE(square, table.op, ": ", table.name,
                    " must have shape (kinds, cells, cells) with 1 to 16384 cells, got ", table.tensor.sym_sizes());
}

}  // namespace backmap::checks
