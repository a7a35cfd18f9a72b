/* backmap for programs in C, Fortran and other languages that call C: atoms from C-alphas, without Python.
 *
 * A model is a file that `backmap export` wrote. Any thread may make any call, and several threads may use one model at
 * the same time. No call ends the program: errors are reported by the return value and, in words, by
 * backmap_last_error(). Lengths are in nm. Arrays are in C order: the last index runs fastest.
 */
#ifndef BACKMAP_H
#define BACKMAP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BACKMAP_PUBLIC __attribute__((visibility("default")))
#else
#define BACKMAP_PUBLIC
#endif

/* Atom slots per residue: N, CA, C, O, up to ten side-chain atoms, and OXT at chain ends. */
#define BACKMAP_SLOTS 15

enum {
  BACKMAP_OK = 0,
  BACKMAP_BAD_ARGUMENT = 1, /* an argument is wrong; nothing was computed */
  BACKMAP_BAD_FILE = 2,     /* the model file cannot be used */
  BACKMAP_FAILED = 3        /* any other failure: out of memory, no such device ... */
};

typedef struct backmap_model backmap_model;

/* Version of backmap. */
BACKMAP_PUBLIC const char* backmap_version(void);

/* One line that describes the error of this thread's last call; empty on success. Valid until its next call. */
BACKMAP_PUBLIC const char* backmap_last_error(void);

/* Load a model onto a device, "cpu", "cuda" or "cuda:1", and store its handle in *model, NULL if that fails. */
BACKMAP_PUBLIC int backmap_load(const char* path, const char* device, backmap_model** model);

/* Free a model; NULL is allowed. Calls that use it in other threads run to completion. */
BACKMAP_PUBLIC int backmap_free(backmap_model* model);

/* ---- Models of proteins: protein, diamondback ---- */

/* Number of a residue type, for `residue_types`, by its three-letter name; -1 if there is no such type. */
BACKMAP_PUBLIC int64_t backmap_residue_type(const backmap_model* model, const char* name);

/* Name of the atom in a slot of a residue type, "" if there is none; NULL on an error. Valid as long as the model. */
BACKMAP_PUBLIC const char* backmap_atom_name(const backmap_model* model, int64_t residue_type, int64_t slot);

/* The system to build: its sizes, residue types, chains and bonds. */
typedef struct {
  int64_t frames, residues, chains;
  const int64_t* residue_types; /* (residues) numbers from backmap_residue_type */
  const int64_t* chain_offsets; /* (chains + 1) first residue of each chain, then the number of residues */
  const uint8_t* linked;  /* (residues) 1 if bonded to the successor, for the last of a chain to the first: a ring;
                             NULL: by distance of the C-alphas, without rings */
  const int64_t* numbers; /* (frames) frame numbers that select the random numbers; NULL: 0, 1, 2 ... */
  const double* box;      /* (frames, 9) periodic boxes: vectors a, b, c in reduced form; NULL: none */
  double bead_noise;      /* nm per coordinate, to draw C-alphas near the beads; 0: estimated; -1: C-alphas stay */
} backmap_system;

/* Build all atoms.
 *
 * c_alpha          (frames, residues, 3); for a model exported with --beads (frames, beads, 3), residue by residue in
 *                  the order of bead_names in the file's metadata
 * samples          structures per frame
 * seed             of the random numbers: the same seed and the same numbers give the same atoms
 * atoms            out: (samples, frames, residues, 15, 3); zero where there is no atom
 * atoms_capacity   number of elements that `atoms` can hold
 * mask             out: (residues, 15), 1 where there is an atom; may be NULL
 */
BACKMAP_PUBLIC int backmap_reconstruct(backmap_model* model, const backmap_system* system, const double* c_alpha,
                                       int64_t samples, int64_t seed, double* atoms, int64_t atoms_capacity,
                                       uint8_t* mask);

/* The same in single precision. */
BACKMAP_PUBLIC int backmap_reconstruct_float(backmap_model* model, const backmap_system* system, const float* c_alpha,
                                             int64_t samples, int64_t seed, float* atoms, int64_t atoms_capacity,
                                             uint8_t* mask);

/* ---- Temporal models: one molecule, each frame from its beads and the frames before ---- */

typedef struct {
  int64_t beads, atoms, previous_frames;
} backmap_molecule;

/* Store how many beads, atoms and previous frames a temporal model has. */
BACKMAP_PUBLIC int backmap_describe(const backmap_model* model, backmap_molecule* molecule);

/* Name of an atom of a temporal model's molecule; NULL on an error. Valid as long as the model. */
BACKMAP_PUBLIC const char* backmap_molecule_atom_name(const backmap_model* model, int64_t atom);

/* Find frames to start from, in the model's library.
 *
 * trajectories       number of trajectories
 * beads              (trajectories, beads, 3) of the first frame
 * previous           out: (trajectories, previous_frames, atoms, 3)
 * previous_capacity  number of elements that `previous` can hold
 */
BACKMAP_PUBLIC int backmap_seed_frames(backmap_model* model, int64_t trajectories, const double* beads,
                                       double* previous, int64_t previous_capacity);

/* Draw the next frame of trajectories; an unphysical one is drawn again.
 *
 * trajectories       number of trajectories
 * beads              (trajectories, beads, 3)
 * numbers            (trajectories) numbers that select the random numbers; NULL: 0, 1, 2 ...
 * frame              number of the frame, from 0, which its random numbers belong to
 * seed               of the random numbers
 * previous           in and out: (trajectories, previous_frames, atoms, 3), earlier frames, the newest last, as
 *                    backmap_seed_frames or the last call left them
 * previous_capacity  number of elements that `previous` can hold
 * atoms              out: (trajectories, atoms, 3)
 * atoms_capacity     number of elements that `atoms` can hold
 * physical           out: (trajectories), 1 where the frame is physical; may be NULL
 */
BACKMAP_PUBLIC int backmap_step(backmap_model* model, int64_t trajectories, const double* beads, const int64_t* numbers,
                                int64_t frame, int64_t seed, double* previous, int64_t previous_capacity, double* atoms,
                                int64_t atoms_capacity, uint8_t* physical);

#ifdef __cplusplus
}
#endif
#endif
