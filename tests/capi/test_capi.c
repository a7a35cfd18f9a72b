/* Calls of the C interface, right ones and wrong ones.
 *
 *   test_capi build MODEL OUTPUT      writes the atoms of a made-up system, in binary
 *   test_capi place MODEL SYSTEM OUTPUT   writes the atoms of one chain on given positions, all in binary: numbers of
 *                                     residues and positions, residue types, bonds to the successors, positions
 *   test_capi refuse FILE ...         every file must be refused; prints why
 *   test_capi threads MODEL           two threads on one model must each get what one alone gets
 *   test_capi fuzz MODEL CALLS        calls with something wrong must all be refused
 *   test_capi roll MODEL BEADS OUTPUT FRAMES   rolls a temporal model along beads; both files are binary
 *   test_capi fuzz_roll MODEL CALLS   the same as fuzz, for a temporal model
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backmap.h"

enum { FRAMES = 3, RESIDUES = 22, CHAINS = 2, SAMPLES = 2, STREAM = 6 };
enum { ATOMS_OF_FRAME = RESIDUES * BACKMAP_SLOTS * 3, ATOMS = SAMPLES * FRAMES * ATOMS_OF_FRAME };

static const int64_t offsets[CHAINS + 1] = {0, 15, RESIDUES};
static int64_t types[RESIDUES];
static double c_alpha[FRAMES * RESIDUES * 3];

#define REQUIRE(condition)                                                                       \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, backmap_last_error()); \
      exit(1);                                                                                   \
    }                                                                                            \
  } while (0)

/* Helices that breathe from frame to frame. */
static void make_system(void) {
  for (int i = 0; i < RESIDUES; ++i) types[i] = i % 20;
  for (int f = 0; f < FRAMES; ++f)
    for (int i = 0; i < RESIDUES; ++i) {
      double* x = c_alpha + 3 * (f * RESIDUES + i);
      const double turn = i * (100.0 + f) * 3.14159265358979323846 / 180.0;
      x[0] = 0.23 * cos(turn) + (i < offsets[1] ? 0.0 : 1.2);
      x[1] = 0.23 * sin(turn);
      x[2] = 0.15 * i;
    }
}

static backmap_system whole_system(void) {
  backmap_system system = {FRAMES, RESIDUES, CHAINS, types, offsets, NULL, NULL, NULL, 0};
  return system;
}

static backmap_model* load(const char* path) {
  backmap_model* model = NULL;
  REQUIRE(backmap_load(path, "cpu", &model) == BACKMAP_OK);
  REQUIRE(model && !*backmap_last_error());
  return model;
}

static void build(const char* path, const char* output) {
  backmap_model* model = load(path);
  const backmap_system system = whole_system();
  double* atoms = malloc(ATOMS * sizeof *atoms);
  float *single = malloc(ATOMS * sizeof *single), near[FRAMES * RESIDUES * 3];
  uint8_t mask[RESIDUES * BACKMAP_SLOTS];
  REQUIRE(backmap_reconstruct(model, &system, c_alpha, SAMPLES, 7, atoms, ATOMS, mask) == BACKMAP_OK);
  for (int i = 0; i < FRAMES * RESIDUES * 3; ++i) near[i] = (float)c_alpha[i];
  REQUIRE(backmap_reconstruct_float(model, &system, near, SAMPLES, 7, single, ATOMS, NULL) == BACKMAP_OK);
  int off = 0;
  for (int i = 0; i < ATOMS; ++i) off += fabs(single[i] - atoms[i]) > 1e-4;
  REQUIRE(off < ATOMS / 20); /* a draw at the edge of a bin may tip over */

  double boxes[FRAMES * 9] = {0}; /* too large to matter */
  for (int f = 0; f < FRAMES; ++f)
    for (int axis = 0; axis < 3; ++axis) boxes[9 * f + 4 * axis] = 40.0;
  backmap_system periodic = whole_system();
  periodic.box = boxes;
  double* across = malloc(ATOMS * sizeof *across);
  REQUIRE(backmap_reconstruct(model, &periodic, c_alpha, SAMPLES, 7, across, ATOMS, NULL) == BACKMAP_OK);
  int changed = 0;
  for (int i = 0; i < ATOMS; ++i) changed += fabs(across[i] - atoms[i]) > 1e-4;
  REQUIRE(changed < ATOMS / 20);
  boxes[4] = 0.5;
  REQUIRE(backmap_reconstruct(model, &periodic, c_alpha, SAMPLES, 7, across, ATOMS, NULL) != BACKMAP_OK);
  REQUIRE(strstr(backmap_last_error(), "box must have rows"));
  free(across);

  REQUIRE(backmap_residue_type(model, "GLY") == 7);
  REQUIRE(!strcmp(backmap_atom_name(model, 7, 1), "CA") && !strcmp(backmap_atom_name(model, 7, 4), ""));
  REQUIRE(strlen(backmap_version()) > 0);
  FILE* file = fopen(output, "wb");
  REQUIRE(file && fwrite(atoms, sizeof *atoms, ATOMS, file) == ATOMS);
  REQUIRE(fwrite(mask, 1, sizeof mask, file) == sizeof mask);
  fclose(file);
  REQUIRE(backmap_free(model) == BACKMAP_OK && backmap_free(NULL) == BACKMAP_OK);
  REQUIRE(backmap_free(model) == BACKMAP_BAD_ARGUMENT);
  REQUIRE(backmap_reconstruct(model, &system, c_alpha, SAMPLES, 7, atoms, ATOMS, mask) == BACKMAP_BAD_ARGUMENT);
  free(atoms);
  free(single);
}

static void read_all(FILE* file, void* values, size_t size, size_t count) {
  REQUIRE(values && fread(values, size, count, file) == count);
}

static void place(const char* path, const char* system_path, const char* output) {
  backmap_model* model = load(path);
  FILE *in = fopen(system_path, "rb"), *out = fopen(output, "wb");
  REQUIRE(in && out);
  int64_t sizes[2];
  read_all(in, sizes, sizeof *sizes, 2);
  const int64_t residues = sizes[0], positions = sizes[1], chain[] = {0, residues};
  const int64_t size = residues * BACKMAP_SLOTS * 3;
  int64_t* kinds = malloc(residues * sizeof *kinds);
  uint8_t* linked = malloc(residues);
  double *beads = malloc(3 * positions * sizeof *beads), *atoms = malloc(size * sizeof *atoms);
  read_all(in, kinds, sizeof *kinds, residues);
  read_all(in, linked, 1, residues);
  read_all(in, beads, sizeof *beads, 3 * positions);
  const backmap_system system = {1, residues, 1, kinds, chain, linked, NULL, NULL, 0};
  REQUIRE(backmap_reconstruct(model, &system, beads, 1, 7, atoms, size, NULL) == BACKMAP_OK);
  REQUIRE(fwrite(atoms, sizeof *atoms, size, out) == (size_t)size);
  fclose(in);
  fclose(out);
  backmap_free(model);
  free(kinds);
  free(linked);
  free(beads);
  free(atoms);
}

static void refuse(int count, char** paths) {
  for (int i = 0; i < count; ++i) {
    backmap_model* model = (backmap_model*)paths;
    const int code = backmap_load(paths[i], "cpu", &model);
    REQUIRE(code == BACKMAP_BAD_FILE && !model && *backmap_last_error() && !strchr(backmap_last_error(), '\n'));
    printf("%s\n", backmap_last_error());
  }
}

/* Frames one by one, as a simulation has them; the number of a frame decides its random numbers. */
typedef struct {
  backmap_model* model;
  int64_t seed;
  double atoms[STREAM * ATOMS_OF_FRAME];
} Stream;

static void* run_stream(void* argument) {
  Stream* stream = argument;
  uint8_t linked[RESIDUES];
  for (int i = 0; i < RESIDUES; ++i) linked[i] = i + 1 != offsets[1] && i + 1 != offsets[2];
  for (int64_t f = 0; f < STREAM; ++f) {
    const backmap_system system = {1, RESIDUES, CHAINS, types, offsets, linked, &f, NULL, 0};
    const double* frame = c_alpha + (f % FRAMES) * RESIDUES * 3;
    double* atoms = stream->atoms + f * ATOMS_OF_FRAME;
    REQUIRE(backmap_reconstruct(stream->model, &system, frame, 1, stream->seed, atoms, ATOMS_OF_FRAME, NULL) == 0);
  }
  return NULL;
}

static void threads(const char* path) {
  static Stream together[2], alone[2];
  backmap_model* model = load(path);
  pthread_t thread[2];
  for (int i = 0; i < 2; ++i) {
    together[i].model = alone[i].model = model;
    together[i].seed = alone[i].seed = i;
    REQUIRE(!pthread_create(thread + i, NULL, run_stream, together + i));
  }
  for (int i = 0; i < 2; ++i) REQUIRE(!pthread_join(thread[i], NULL));
  for (int i = 0; i < 2; ++i) {
    run_stream(alone + i);
    for (int k = 0; k < STREAM * ATOMS_OF_FRAME; ++k) REQUIRE(fabs(together[i].atoms[k] - alone[i].atoms[k]) < 1e-5);
  }
  REQUIRE(memcmp(alone[0].atoms, alone[1].atoms, sizeof alone[0].atoms));
  backmap_free(model);
}

static uint64_t state = 1;

static int64_t draw(int64_t below) { /* a linear congruential generator is random enough here */
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (int64_t)((state >> 33) % (uint64_t)below);
}

static int64_t bad_count(void) {
  static const int64_t counts[] = {0, -1, -1000, INT64_MIN, INT64_MAX, INT64_MAX / 2, (int64_t)1 << 62};
  return counts[draw(sizeof counts / sizeof *counts)];
}

/* Neither in 0 ... count - 1. */
static int64_t beyond(int64_t count) { return draw(2) ? count + draw(1 << 20) : -1 - draw(1 << 20); }

/* One call of backmap_reconstruct with one thing wrong. */
static int wrong_call(backmap_model* model) {
  static double atoms[ATOMS], positions[FRAMES * RESIDUES * 3];
  static uint8_t mask[RESIDUES * BACKMAP_SLOTS], linked[RESIDUES];
  int64_t own_types[RESIDUES], own_offsets[CHAINS + 1], samples = SAMPLES, capacity = ATOMS;
  backmap_system system = whole_system();
  const backmap_system* given = &system;
  const double* from = positions;
  double* to = atoms;
  memcpy(own_types, types, sizeof types);
  memcpy(own_offsets, offsets, sizeof offsets);
  memcpy(positions, c_alpha, sizeof positions);
  memset(linked, 0, sizeof linked);
  system.residue_types = own_types;
  system.chain_offsets = own_offsets;
  static const double not_finite[] = {INFINITY, -INFINITY, NAN};
  switch (draw(17)) {
    case 0:
      model = NULL;
      break;
    case 1:
      model = (backmap_model*)(uintptr_t)(draw(1 << 30) + 100);
      break;
    case 2:
      given = NULL;
      break;
    case 3:
      system.frames = bad_count();
      break;
    case 4:
      system.residues = bad_count();
      break;
    case 5:
      system.chains = bad_count();
      break;
    case 6:
      system.residue_types = NULL;
      break;
    case 7:
      system.chain_offsets = NULL;
      break;
    case 8:
      from = NULL;
      break;
    case 9:
      to = NULL;
      break;
    case 10:
      samples = bad_count();
      break;
    case 11:
      capacity = draw(2) ? ATOMS - 1 - draw(ATOMS) : -draw(ATOMS);
      break;
    case 12:
      own_types[draw(RESIDUES)] = beyond(20);
      break;
    case 13:
      own_offsets[draw(CHAINS + 1)] = beyond(RESIDUES + 1);
      break;
    case 14:
      positions[draw(FRAMES * RESIDUES * 3)] = not_finite[draw(3)];
      break;
    case 15:
      linked[draw(RESIDUES)] = (uint8_t)(2 + draw(254)), system.linked = linked;
      break;
    default:
      linked[RESIDUES - 1] = 1, system.linked = linked;
      break;
  }
  return backmap_reconstruct(model, given, from, samples, draw(1 << 30), to, capacity, draw(2) ? mask : NULL);
}

static void fuzz(const char* path, int calls) {
  static const char* devices[] = {NULL, "", "gpu", "cpu:cpu", "meta", "cuda:9999", "\xff\xfe", "xpu", "cpu,cuda"};
  static const char* names[] = {NULL, "", "gly", "XYZ", "GLYCINE", "\xff"};
  backmap_model* model = load(path);
  for (int i = 0; i < calls; ++i) {
    backmap_model* other = model;
    int refused = 0;
    switch (draw(8)) {
      case 0:
        refused = backmap_load(path, devices[draw(9)], &other) != BACKMAP_OK && !other;
        break;
      case 1:
        refused = backmap_load(draw(2) ? NULL : "", "cpu", draw(2) ? &other : NULL) != BACKMAP_OK;
        break;
      case 2:
        refused = backmap_free((backmap_model*)(uintptr_t)(draw(1 << 30) + 100)) == BACKMAP_BAD_ARGUMENT;
        break;
      case 3:
        refused = backmap_residue_type(draw(2) ? model : NULL, names[draw(6)]) == -1;
        break;
      case 4:
        refused = !backmap_atom_name(model, draw(2) ? beyond(20) : draw(20), beyond(BACKMAP_SLOTS));
        break;
      default:
        refused = wrong_call(model) != BACKMAP_OK;
        break;
    }
    if (!refused) fprintf(stderr, "call %d was not refused\n", i);
    REQUIRE(refused && *backmap_last_error());
  }
  run_stream(&(Stream){.model = model}); /* all is as before */
  backmap_free(model);
}

static void roll(const char* path, const char* beads_path, const char* output, int frames) {
  backmap_model* model = load(path);
  backmap_molecule molecule;
  REQUIRE(backmap_describe(model, &molecule) == BACKMAP_OK && molecule.previous_frames == 1);
  REQUIRE(!strcmp(backmap_molecule_atom_name(model, 8), "CA"));
  const int64_t size = 3 * molecule.atoms;
  double *beads = malloc(3 * molecule.beads * sizeof *beads), *previous = malloc(size * sizeof *previous);
  double* atoms = malloc(size * sizeof *atoms);
  FILE *in = fopen(beads_path, "rb"), *out = fopen(output, "wb");
  REQUIRE(in && out);
  for (int64_t frame = 0; frame < frames; ++frame) {
    uint8_t physical = 0;
    REQUIRE(fread(beads, sizeof *beads, 3 * molecule.beads, in) == (size_t)(3 * molecule.beads));
    if (frame == 0) REQUIRE(backmap_seed_frames(model, 1, beads, previous, size) == BACKMAP_OK);
    REQUIRE(backmap_step(model, 1, beads, NULL, frame, 5, previous, size, atoms, size, &physical) == BACKMAP_OK);
    REQUIRE(physical);
    REQUIRE(fwrite(atoms, sizeof *atoms, size, out) == (size_t)size);
  }
  fclose(in);
  fclose(out);
  const backmap_system system = whole_system();
  REQUIRE(backmap_reconstruct(model, &system, c_alpha, 1, 7, atoms, ATOMS, NULL) == BACKMAP_BAD_ARGUMENT);
  REQUIRE(backmap_residue_type(model, "GLY") == -1);
  backmap_free(model);
  free(beads);
  free(previous);
  free(atoms);
}

enum { TRAJECTORIES = 2, MOST = 1000 };

/* One call of backmap_step or backmap_seed_frames with one thing wrong. */
static int wrong_step(backmap_model* model, backmap_molecule molecule) {
  static double beads[MOST], previous[MOST], atoms[MOST];
  const int64_t size = 3 * TRAJECTORIES * molecule.atoms;
  int64_t trajectories = TRAJECTORIES, previous_capacity = size, atoms_capacity = size;
  double *from = beads, *past = previous, *to = atoms;
  REQUIRE(size <= MOST);
  const int seeds = draw(2);
  for (int i = 0; i < MOST; ++i) beads[i] = previous[i] = 0.1 * draw(10);
  switch (draw(seeds ? 6 : 8)) {
    case 0:
      model = draw(2) ? NULL : (backmap_model*)(uintptr_t)(draw(1 << 30) + 100);
      break;
    case 1:
      trajectories = bad_count();
      break;
    case 2:
      from = NULL;
      break;
    case 3:
      past = NULL;
      break;
    case 4:
      previous_capacity = draw(2) ? draw(size) : -draw(size);
      break;
    case 5:
      beads[draw(3 * TRAJECTORIES * molecule.beads)] = draw(2) ? INFINITY : NAN;
      break;
    case 6:
      to = NULL;
      break;
    default:
      atoms_capacity = draw(2) ? draw(size) : -draw(size);
      break;
  }
  if (seeds) return backmap_seed_frames(model, trajectories, from, past, previous_capacity);
  return backmap_step(model, trajectories, from, NULL, draw(1 << 20), draw(1 << 30), past, previous_capacity, to,
                      atoms_capacity, NULL);
}

static void fuzz_roll(const char* path, int calls) {
  backmap_model* model = load(path);
  backmap_molecule molecule, other;
  REQUIRE(backmap_describe(model, &molecule) == BACKMAP_OK);
  for (int i = 0; i < calls; ++i) {
    int refused = 0;
    switch (draw(6)) {
      case 0:
        refused = backmap_describe(model, NULL) != BACKMAP_OK && backmap_describe(NULL, &other) != BACKMAP_OK;
        break;
      case 1:
        refused = !backmap_molecule_atom_name(model, beyond(molecule.atoms));
        break;
      default:
        refused = wrong_step(model, molecule) != BACKMAP_OK;
        break;
    }
    if (!refused) fprintf(stderr, "call %d was not refused\n", i);
    REQUIRE(refused && *backmap_last_error());
  }
  backmap_free(model);
}

int main(int argc, char** argv) {
  make_system();
  REQUIRE(argc > 2);
  if (!strcmp(argv[1], "build")) build(argv[2], argv[3]);
  if (!strcmp(argv[1], "place")) place(argv[2], argv[3], argv[4]);
  if (!strcmp(argv[1], "refuse")) refuse(argc - 2, argv + 2);
  if (!strcmp(argv[1], "threads")) threads(argv[2]);
  if (!strcmp(argv[1], "fuzz")) fuzz(argv[2], atoi(argv[3]));
  if (!strcmp(argv[1], "roll")) roll(argv[2], argv[3], argv[4], atoi(argv[5]));
  if (!strcmp(argv[1], "fuzz_roll")) fuzz_roll(argv[2], atoi(argv[3]));
  return 0;
}
