// The C interface: converts handles and plain arrays to tensors, and exceptions to error messages.
#include <torch/script.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "capi/backmap.h"

namespace {

using at::Tensor;

constexpr int kFormatVersion = 1;  // of exported files, see backmap/export/torchscript.py

struct Failure {
  int code;
  std::string message;
};

[[noreturn]] void fail(int code, const std::string& message) { throw Failure{code, message}; }
[[noreturn]] void refuse(const std::string& message) { fail(BACKMAP_BAD_ARGUMENT, message); }

thread_local std::string last_error;

// The sentence in an error message of torch, without interpreter trace, type of exception and addresses.
std::string sentence(std::string text) {
  for (const char* kind : {"builtins.ValueError: ", "RuntimeError: "}) {
    const size_t at = text.rfind(kind);
    if (at != std::string::npos) text = text.substr(at + std::string(kind).size());
  }
  return text.substr(0, text.find('\n'));
}

// Runs the body of a call and catches all exceptions.
template <class Function>
int guarded(Function&& function) noexcept {
  try {
    last_error.clear();
    try {
      function();
      return BACKMAP_OK;
    } catch (const Failure& failure) {
      last_error = failure.message;
      return failure.code;
    } catch (const std::bad_alloc&) {
      last_error = "there is not enough memory";
    } catch (const c10::Error& error) {
      last_error = sentence(error.what_without_backtrace());
    } catch (const std::exception& error) {
      last_error = sentence(error.what());
    } catch (...) {
      last_error = "unknown exception";
    }
  } catch (...) {  // no memory for the message either
  }
  return BACKMAP_FAILED;
}

struct Model {
  torch::jit::Module module;
  at::Device device;
  std::vector<std::string> residue_names;  // of a protein model
  std::vector<std::vector<std::string>> atom_names;
  backmap_molecule molecule;  // of a temporal model

  bool is_temporal() const { return residue_names.empty(); }

  Tensor tensor(const void* data, at::IntArrayRef shape, at::ScalarType type) const {
    return at::from_blob(const_cast<void*>(data), shape, type).to(device, /*non_blocking=*/false, /*copy=*/true);
  }
};

// Handles are looked up by number, so that freed and invalid handles are errors.
std::shared_mutex models_lock;
std::map<const backmap_model*, std::shared_ptr<Model>> models;
uintptr_t handles_given = 0;

std::shared_ptr<Model> find(const backmap_model* handle) {
  std::shared_lock lock(models_lock);
  const auto found = models.find(handle);
  if (found == models.end())
    refuse(handle ? "invalid model handle (never loaded, or already freed)" : "the model is NULL");
  return found->second;
}

std::shared_ptr<Model> find_protein(const backmap_model* handle) {
  std::shared_ptr<Model> model = find(handle);
  if (model->is_temporal()) refuse("the model is temporal: use backmap_step");
  return model;
}

std::shared_ptr<Model> find_temporal(const backmap_model* handle) {
  std::shared_ptr<Model> model = find(handle);
  if (!model->is_temporal()) refuse("the model is not temporal: use backmap_reconstruct");
  return model;
}

at::Device parse_device(const char* name) {
  if (!name) refuse("the device is NULL: give \"cpu\" or \"cuda\"");
  std::optional<at::Device> device;
  try {
    device.emplace(name);
  } catch (const std::exception&) {
  }
  if (!device || !(device->is_cpu() || device->is_cuda()))
    refuse("device " + std::string(name) + " is unknown: give \"cpu\" or \"cuda\"");
  return *device;
}

void check_format(const std::string& path, const std::string& format) {
  if (format.empty()) fail(BACKMAP_BAD_FILE, path + " is TorchScript, but not a model that `backmap export` wrote");
  if (format.size() > 9 || format.find_first_not_of("0123456789") != std::string::npos)
    fail(BACKMAP_BAD_FILE, path + " is damaged: its format version is not a number");
  if (std::stoi(format) > kFormatVersion)
    fail(BACKMAP_BAD_FILE, path + " has format " + format + ", newer than this backmap reads: update backmap");
}

std::vector<std::string> strings(const c10::IValue& list) {
  std::vector<std::string> out;
  for (const c10::IValue& entry : list.toListRef()) out.push_back(entry.toStringRef());
  return out;
}

std::shared_ptr<Model> load(const std::string& path, at::Device device) {
  if (!std::ifstream(path)) fail(BACKMAP_BAD_FILE, path + " cannot be read");
  torch::jit::ExtraFilesMap extra{{"format", ""}};
  auto model = std::make_shared<Model>(Model{{}, device, {}, {}, {}});
  try {
    model->module = torch::jit::load(path, device, extra);
  } catch (const c10::Error& error) {
    const std::string reason = sentence(error.what_without_backtrace());
    if (device.is_cuda() && reason.find("CUDA") != std::string::npos) fail(BACKMAP_FAILED, reason);
    fail(BACKMAP_BAD_FILE, path + " is not a model file that `backmap export` wrote (" + reason + ")");
  }
  check_format(path, extra["format"]);
  torch::jit::Module& module = model->module;
  module.eval();
  const std::string family = module.hasattr("family") ? module.attr("family").toStringRef() : "";
  if (family == "temporal") {
    model->molecule = {module.attr("beads").toInt(), module.attr("atoms").toInt(),
                       module.attr("previous_frames").toInt()};
    model->atom_names.push_back(strings(module.attr("atom_names")));
  } else if (family == "protein" || family == "diamondback") {
    model->residue_names = strings(module.attr("residue_names"));
    for (const c10::IValue& names : module.attr("atom_names").toListRef()) model->atom_names.push_back(strings(names));
  } else {
    fail(BACKMAP_BAD_FILE, path + " contains a model of an unknown family: update backmap");
  }
  return model;
}

// Number of elements in an array of this shape.
int64_t count(const char* what, std::initializer_list<int64_t> shape) {
  int64_t product = 1;
  for (const int64_t size : shape) {
    if (size < 1)
      refuse(std::string(what) +
             ": the numbers of frames, residues, chains, samples and trajectories must be at least 1");
    if (__builtin_mul_overflow(product, size, &product) || product > (int64_t{1} << 48))
      refuse(std::string(what) + " would exceed any memory");
  }
  return product;
}

template <class T>
const T* given(const char* name, const T* pointer) {
  if (!pointer) refuse(std::string(name) + " is NULL");
  return pointer;
}

void require_room(const char* name, const void* array, int64_t capacity, int64_t wanted) {
  given(name, array);
  if (capacity < wanted)
    refuse(std::string(name) + " holds " + std::to_string(capacity) + " numbers, but " + std::to_string(wanted) +
           " are needed");
}

void check_flags(const uint8_t* linked, int64_t residues) {
  for (int64_t i = 0; i < residues; ++i)
    if (linked[i] > 1) refuse("linked must contain only 0 and 1");
}

// Copies a result into an array with room for `wanted` numbers.
template <class T>
void copy_out(const Tensor& result, T* array, int64_t wanted) {
  const Tensor values = result.to(at::kCPU, c10::CppTypeToScalarType<T>::value).contiguous();
  TORCH_CHECK(values.numel() == wanted, "the model gave ", values.numel(), " numbers instead of ", wanted);
  std::copy_n(values.const_data_ptr<T>(), wanted, array);
}

// Number of positions in a frame: one per residue, or the beads of the model's mapping.
int64_t positions_per_frame(const Model& model, const int64_t* residue_types, int64_t residues) {
  if (!model.module.hasattr("bead_counts")) return residues;
  const Tensor counts = model.module.attr("bead_counts").toTensor().cpu();
  int64_t beads = 0;
  for (int64_t i = 0; i < residues; ++i) {
    const int64_t type = residue_types[i];
    if (type < 0 || type >= counts.numel()) refuse("residue_types must be numbers from backmap_residue_type");
    beads += counts.const_data_ptr<int64_t>()[type];
  }
  if (beads < 1) refuse("these residues have no beads in the model's mapping");
  return beads;
}

template <class Real>
void reconstruct(const backmap_model* handle, const backmap_system* system, const Real* c_alpha, int64_t samples,
                 int64_t seed, Real* atoms, int64_t atoms_capacity, uint8_t* mask) {
  const std::shared_ptr<Model> model = find_protein(handle);
  const backmap_system& s = *given("system", system);
  const int64_t wanted = count("atoms", {samples, s.frames, s.residues, BACKMAP_SLOTS, 3});
  count("chain_offsets", {s.chains});
  if (s.chains > s.residues) refuse("there are more chains than residues");
  require_room("atoms", atoms, atoms_capacity, wanted);
  const auto real = c10::CppTypeToScalarType<Real>::value;
  const int64_t points = positions_per_frame(*model, given("residue_types", s.residue_types), s.residues);
  std::vector<c10::IValue> inputs{model->tensor(given("c_alpha", c_alpha), {s.frames, points, 3}, real),
                                  model->tensor(s.residue_types, {s.residues}, at::kLong),
                                  model->tensor(given("chain_offsets", s.chain_offsets), {s.chains + 1}, at::kLong),
                                  samples,
                                  seed,
                                  c10::IValue(),
                                  c10::IValue()};
  if (s.numbers) inputs[5] = model->tensor(s.numbers, {s.frames}, at::kLong);
  if (s.linked) {
    check_flags(s.linked, s.residues);
    inputs[6] = model->tensor(s.linked, {s.residues}, at::kBool);
  }
  if (s.box || s.bead_noise != 0) {  // files of earlier versions have neither argument
    inputs.push_back(s.box ? c10::IValue(model->tensor(s.box, {s.frames, 3, 3}, at::kDouble)) : c10::IValue());
    inputs.push_back(s.bead_noise);
  }
  c10::InferenceMode guard;
  const auto built = model->module.get_method("forward")(std::move(inputs)).toTuple();
  copy_out(built->elements()[0].toTensor(), atoms, wanted);
  if (mask) copy_out(built->elements()[1].toTensor(), mask, s.residues * BACKMAP_SLOTS);
}

void seed_frames(const backmap_model* handle, int64_t trajectories, const double* beads, double* previous,
                 int64_t previous_capacity) {
  const std::shared_ptr<Model> model = find_temporal(handle);
  const auto [bead_count, atom_count, frames] = model->molecule;
  const int64_t wanted = count("previous", {trajectories, frames, atom_count, 3});
  require_room("previous", previous, previous_capacity, wanted);
  const Tensor positions = model->tensor(given("beads", beads), {trajectories, bead_count, 3}, at::kDouble);
  c10::InferenceMode guard;
  copy_out(model->module.get_method("seed_frames")({positions}).toTensor(), previous, wanted);
}

void step(const backmap_model* handle, int64_t trajectories, const double* beads, const int64_t* numbers, int64_t frame,
          int64_t seed, double* previous, int64_t previous_capacity, double* atoms, int64_t atoms_capacity,
          uint8_t* physical) {
  const std::shared_ptr<Model> model = find_temporal(handle);
  const auto [bead_count, atom_count, frames] = model->molecule;
  const int64_t past = count("previous", {trajectories, frames, atom_count, 3});
  const int64_t present = count("atoms", {trajectories, atom_count, 3});
  require_room("previous", previous, previous_capacity, past);
  require_room("atoms", atoms, atoms_capacity, present);
  std::vector<c10::IValue> inputs{model->tensor(given("beads", beads), {trajectories, bead_count, 3}, at::kDouble),
                                  model->tensor(previous, {trajectories, frames, atom_count, 3}, at::kDouble), frame,
                                  seed, c10::IValue()};
  if (numbers) inputs[4] = model->tensor(numbers, {trajectories}, at::kLong);
  c10::InferenceMode guard;
  const auto drawn = model->module.get_method("forward")(std::move(inputs)).toTuple()->elements().vec();
  copy_out(drawn[0].toTensor(), atoms, present);
  copy_out(drawn[1].toTensor(), previous, past);
  if (physical) copy_out(drawn[2].toTensor(), physical, trajectories);
}

}  // namespace

extern "C" {

const char* backmap_version(void) { return BACKMAP_VERSION; }

const char* backmap_last_error(void) { return last_error.c_str(); }

int backmap_load(const char* path, const char* device, backmap_model** model) {
  return guarded([&] {
    if (!model) refuse("the pointer that receives the model is NULL");
    *model = nullptr;
    const at::Device place = parse_device(device);
    std::shared_ptr<Model> loaded = load(given("path", path), place);
    std::unique_lock lock(models_lock);
    const auto handle = reinterpret_cast<backmap_model*>(++handles_given);
    models[handle] = std::move(loaded);
    *model = handle;
  });
}

int backmap_free(backmap_model* model) {
  return guarded([&] {
    if (!model) return;
    const std::shared_ptr<Model> last = find(model);  // destroyed outside the lock, by its last user
    std::unique_lock lock(models_lock);
    models.erase(model);
  });
}

int64_t backmap_residue_type(const backmap_model* model, const char* name) {
  int64_t type = -1;
  guarded([&] {
    const auto found = find_protein(model);
    const std::string wanted = given("name", name);
    const auto& names = found->residue_names;
    const auto at = std::find(names.begin(), names.end(), wanted);
    if (at == names.end()) refuse("residue " + wanted.substr(0, 20) + " is not a type that this model builds");
    type = at - names.begin();
  });
  return type;
}

const char* backmap_atom_name(const backmap_model* model, int64_t residue_type, int64_t slot) {
  const char* name = nullptr;
  guarded([&] {
    const auto found = find_protein(model);
    const auto& names = found->atom_names;
    if (residue_type < 0 || residue_type >= static_cast<int64_t>(names.size()))
      refuse("residue type " + std::to_string(residue_type) + " does not exist");
    const auto& slots = names[residue_type];
    if (slot < 0 || slot >= static_cast<int64_t>(slots.size()))
      refuse("slot " + std::to_string(slot) + " does not exist");
    name = slots[slot].c_str();
  });
  return name;
}

int backmap_reconstruct(backmap_model* model, const backmap_system* system, const double* c_alpha, int64_t samples,
                        int64_t seed, double* atoms, int64_t atoms_capacity, uint8_t* mask) {
  return guarded([&] { reconstruct(model, system, c_alpha, samples, seed, atoms, atoms_capacity, mask); });
}

int backmap_reconstruct_float(backmap_model* model, const backmap_system* system, const float* c_alpha, int64_t samples,
                              int64_t seed, float* atoms, int64_t atoms_capacity, uint8_t* mask) {
  return guarded([&] { reconstruct(model, system, c_alpha, samples, seed, atoms, atoms_capacity, mask); });
}

int backmap_describe(const backmap_model* model, backmap_molecule* molecule) {
  return guarded([&] {
    const auto found = find_temporal(model);
    if (!molecule) refuse("the pointer that receives the molecule is NULL");
    *molecule = found->molecule;
  });
}

const char* backmap_molecule_atom_name(const backmap_model* model, int64_t atom) {
  const char* name = nullptr;
  guarded([&] {
    const auto found = find_temporal(model);
    if (atom < 0 || atom >= found->molecule.atoms) refuse("atom " + std::to_string(atom) + " does not exist");
    name = found->atom_names[0].at(atom).c_str();
  });
  return name;
}

int backmap_seed_frames(backmap_model* model, int64_t trajectories, const double* beads, double* previous,
                        int64_t previous_capacity) {
  return guarded([&] { seed_frames(model, trajectories, beads, previous, previous_capacity); });
}

int backmap_step(backmap_model* model, int64_t trajectories, const double* beads, const int64_t* numbers, int64_t frame,
                 int64_t seed, double* previous, int64_t previous_capacity, double* atoms, int64_t atoms_capacity,
                 uint8_t* physical) {
  return guarded([&] {
    step(model, trajectories, beads, numbers, frame, seed, previous, previous_capacity, atoms, atoms_capacity,
         physical);
  });
}

}  // extern "C"
