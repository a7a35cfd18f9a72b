// The atoms of all frames in a spatial hash, to find atoms in contact.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/cell_hash.h"
#include "cuda/launch.h"
#include "cuda/linked_lists.h"

namespace backmap::cuda {

// An atom moved into the box, and the row of its cell; together, because they are read together.
template <typename T>
struct alignas(16) CellAtom {
  Vec3<T> position;
  uint32_t row;
};

template <typename T>
struct CellLists {
  int64_t batch, atoms, buckets;  // atoms and buckets of one frame
  CellSpace<T>* space;            // (batch)
  CellAtom<T>* atom;              // (batch, atoms)
  LinkedLists lists;              // one per bucket (batch, buckets), of atoms of all frames
};

template <typename T>
CellLists<T> take_cell_lists(Workspace& workspace, int64_t batch, int64_t atoms) {
  const int64_t buckets = bucket_count(atoms);
  CellSpace<T>* const space = workspace.take<CellSpace<T>>(batch);
  CellAtom<T>* const atom = workspace.take<CellAtom<T>>(batch * atoms);
  return {batch, atoms, buckets, space, atom, workspace.take_lists(batch * buckets, batch * atoms)};
}

BACKMAP_HD unsigned long long bits_of(double value) {
  unsigned long long bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

BACKMAP_HD double from_bits(unsigned long long bits) {
  double value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// Where the atoms come from. `reach` is the bits of a reach that a kernel computed; if null, `known_reach` is used.
template <typename T>
struct CellSource {
  const T* atoms;
  const bool* present;
  int64_t present_stride;
  const T* radius;  // (atoms); atoms without a valid radius do not count. Null: all atoms count
  const T* box;
  int64_t box_stride;
  double known_reach;
  const unsigned long long* reach;
};

template <typename T>
__global__ void prepare_spaces(CellSource<T> source, CellLists<T> cells) {
  const int64_t b = thread_of_grid();
  if (b >= cells.batch) return;
  const double reach = source.reach == nullptr ? source.known_reach : from_bits(*source.reach);
  cells.space[b] = cell_space(reach, box_of_frame(source.box, source.box_stride, b));
}

template <typename T>
__global__ void insert_atoms(CellSource<T> source, CellLists<T> cells) {
  const int64_t item = thread_of_grid();
  if (item >= cells.batch * cells.atoms) return;
  const int64_t b = item / cells.atoms, i = item % cells.atoms;
  if (!source.present[source.present_stride * b + i]) return;
  if (source.radius != nullptr && !is_radius(source.radius[i])) return;
  const Vec3<T> v = load(source.atoms + 3 * item);
  if (!is_finite(v)) return;
  const CellSpace<T>& space = cells.space[b];
  const Vec3<T> position = moved_into_box(v, space.box);
  const Cell cell = cell_of(position, space);
  const uint32_t row = row_of(cell.y, cell.z, space);
  cells.atom[item] = {position, row};
  push(cells.lists, b * cells.buckets + bucket_of(row, cell.x, uint32_t(cells.buckets - 1)), item);
}

// Fills the lists. The batch must not be empty.
template <typename T>
void build_cell_lists(const CellSource<T>& source, const CellLists<T>& cells, void* stream) {
  constexpr int threads = 256;
  BACKMAP_LAUNCH(prepare_spaces<T>, blocks_for(cells.batch, threads), threads, stream, source, cells);
  BACKMAP_LAUNCH(clear_lists, blocks_for(cells.lists.count, threads), threads, stream, cells.lists);
  if (cells.atoms > 0)
    BACKMAP_LAUNCH(insert_atoms<T>, blocks_for(cells.batch * cells.atoms, threads), threads, stream, source, cells);
}

// Calls visit(j) for the other atoms of frame b within reach of an atom in the lists.
template <typename T, typename Visit>
__device__ void for_near_atoms(const CellLists<T>& cells, int64_t b, int64_t i, const Visit& visit) {
  const CellSpace<T>& space = cells.space[b];
  const int64_t frame = b * cells.atoms;
  const Vec3<T> position = cells.atom[frame + i].position;
  for_rows_near(position, space, [&](uint32_t row, int32_t x, int32_t count, const Vec3<T>& shift) {
    const Vec3<T> probe = position - shift;
    for (int32_t n = 0; n < count; ++n) {
      const uint32_t bucket = bucket_of(row, x + n, uint32_t(cells.buckets - 1));
      int32_t node = cells.lists.first[b * cells.buckets + bucket];
      for (; node != end_of_list; node = cells.lists.next[node]) {
        const CellAtom<T> other = cells.atom[node];
        if (other.row == row && squared_distance(probe, other.position) < space.limit && node != frame + i)
          visit(node - frame);
      }
    }
  });
}

}  // namespace backmap::cuda
