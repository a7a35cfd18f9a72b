// The C interface: handles and plain arrays to tensors, exceptions to error strings.
#include <torch/script.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "build_description.h"
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

// The sentence in what torch says: without the trace of the interpreter, the kind of exception and addresses.
std::string sentence(std::string text) {
  for (const char* kind : {"builtins.ValueError: ", "RuntimeError: "}) {
    const size_t at = text.rfind(kind);
    if (at != std::string::npos) text = text.substr(at + std::string(kind).size());
  }
  return text.substr(0, text.find('\n'));
}

// Runs what a call does; nothing it throws gets out.
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
  std::vector<std::string> residue_names;
  std::vector<std::vector<std::string>> atom_names;

  Tensor tensor(const void* data, at::IntArrayRef shape, at::ScalarType type) const {
    return at::from_blob(const_cast<void*>(data), shape, type).to(device, /*non_blocking=*/false, /*copy=*/true);
  }
};

// Handles are numbers that are looked up: one that was let go of, or never was one, is an error.
std::shared_mutex models_lock;
std::map<const backmap_model*, std::shared_ptr<Model>> models;
uintptr_t handles_given = 0;

std::shared_ptr<Model> find(const backmap_model* handle) {
  std::shared_lock lock(models_lock);
  const auto found = models.find(handle);
  if (found == models.end()) refuse(handle ? "the model is none, or was let go of" : "the model is NULL");
  return found->second;
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
    fail(BACKMAP_BAD_FILE, path + " is damaged: its format is no number");
  if (std::stoi(format) > kFormatVersion)
    fail(BACKMAP_BAD_FILE, path + " has format " + format + ", newer than this backmap reads: update backmap");
}

std::shared_ptr<Model> load(const std::string& path, at::Device device) {
  if (!std::ifstream(path)) fail(BACKMAP_BAD_FILE, path + " cannot be read");
  torch::jit::ExtraFilesMap extra{{"format", ""}};
  auto model = std::make_shared<Model>(Model{{}, device, {}, {}});
  try {
    model->module = torch::jit::load(path, device, extra);
  } catch (const c10::Error& error) {
    const std::string reason = sentence(error.what_without_backtrace());
    if (device.is_cuda() && reason.find("CUDA") != std::string::npos) fail(BACKMAP_FAILED, reason);
    fail(BACKMAP_BAD_FILE, path + " is not a model file that `backmap export` wrote (" + reason + ")");
  }
  check_format(path, extra["format"]);
  const std::set<std::string> families{"protein", "diamondback"};
  if (!model->module.hasattr("family") || !families.count(model->module.attr("family").toStringRef()))
    fail(BACKMAP_BAD_FILE, path + " is not a model that builds proteins frame by frame");
  model->module.eval();
  for (const c10::IValue& name : model->module.attr("residue_names").toListRef())
    model->residue_names.push_back(name.toStringRef());
  for (const c10::IValue& names : model->module.attr("atom_names").toListRef()) {
    model->atom_names.emplace_back();
    for (const c10::IValue& name : names.toListRef()) model->atom_names.back().push_back(name.toStringRef());
  }
  return model;
}

// Numbers in an array of this shape.
int64_t count(const char* what, std::initializer_list<int64_t> shape) {
  int64_t product = 1;
  for (const int64_t size : shape) {
    if (size < 1) refuse(std::string(what) + ": there must be at least one frame, residue, chain and sample");
    if (__builtin_mul_overflow(product, size, &product) || product > (int64_t{1} << 48))
      refuse(std::string(what) + " would have more numbers than any memory holds");
  }
  return product;
}

template <class T>
const T* given(const char* name, const T* pointer) {
  if (!pointer) refuse(std::string(name) + " is NULL");
  return pointer;
}

void check_flags(const uint8_t* linked, int64_t residues) {
  for (int64_t i = 0; i < residues; ++i)
    if (linked[i] > 1) refuse("linked holds a value other than 0 and 1");
}

template <class Real>
void reconstruct(const backmap_model* handle, const backmap_system* system, const Real* c_alpha, int64_t samples,
                 int64_t seed, Real* atoms, int64_t atoms_capacity, uint8_t* mask) {
  const std::shared_ptr<Model> model = find(handle);
  const backmap_system& s = *given("system", system);
  const int64_t wanted = count("atoms", {samples, s.frames, s.residues, BACKMAP_SLOTS, 3});
  count("chain_offsets", {s.chains});
  if (s.chains > s.residues) refuse("there are more chains than residues");
  given("atoms", atoms);
  if (atoms_capacity < wanted)
    refuse("atoms holds " + std::to_string(atoms_capacity) + " numbers, but " + std::to_string(wanted) + " are wanted");
  const auto real = c10::CppTypeToScalarType<Real>::value;
  std::vector<c10::IValue> inputs{model->tensor(given("c_alpha", c_alpha), {s.frames, s.residues, 3}, real),
                                  model->tensor(given("residue_types", s.residue_types), {s.residues}, at::kLong),
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
  c10::InferenceMode guard;
  const auto built = model->module.get_method("forward")(std::move(inputs)).toTuple();
  const Tensor positions = built->elements()[0].toTensor().cpu().contiguous();
  const Tensor present = built->elements()[1].toTensor().to(at::kCPU, at::kByte).contiguous();
  TORCH_CHECK(positions.numel() == wanted, "the model gave ", positions.numel(), " numbers instead of ", wanted);
  TORCH_CHECK(present.numel() == s.residues * BACKMAP_SLOTS, "the model gave a mask of another size");
  std::copy_n(positions.const_data_ptr<Real>(), wanted, atoms);
  if (mask) std::copy_n(present.const_data_ptr<uint8_t>(), present.numel(), mask);
}

}  // namespace

extern "C" {

const char* backmap_version(void) { return backmap::build_description().version; }

const char* backmap_last_error(void) { return last_error.c_str(); }

int backmap_load(const char* path, const char* device, backmap_model** model) {
  return guarded([&] {
    if (!model) refuse("the place for the model is NULL");
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
    const std::shared_ptr<Model> last = find(model);  // destroyed outside the lock, by whoever uses it last
    std::unique_lock lock(models_lock);
    models.erase(model);
  });
}

int64_t backmap_residue_type(const backmap_model* model, const char* name) {
  int64_t type = -1;
  guarded([&] {
    const auto found = find(model);
    const std::string wanted = given("name", name);
    const auto& names = found->residue_names;
    const auto at = std::find(names.begin(), names.end(), wanted);
    if (at == names.end()) refuse("residue " + wanted.substr(0, 20) + " is none of the types this model builds");
    type = at - names.begin();
  });
  return type;
}

const char* backmap_atom_name(const backmap_model* model, int64_t residue_type, int64_t slot) {
  const char* name = nullptr;
  guarded([&] {
    const auto found = find(model);
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

}  // extern "C"
