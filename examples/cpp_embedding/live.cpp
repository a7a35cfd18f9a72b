// A coarse-grained simulation that is backmapped while it runs: Langevin dynamics of beads connected by springs, with
// every frame built by a temporal model that `backmap export` wrote.
//
//     live MODEL.ts STRUCTURE.pdb OUTPUT.pdb [FRAMES [SEED]]
//
// The structure has all atoms of the model's molecule, in the order of the model; the simulation starts from its beads.
#include <ATen/CPUGeneratorImpl.h>
#include <torch/script.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

at::Tensor read_atoms(const std::string& path) {  // (1, atoms, 3) in nm
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + " cannot be read");
  std::vector<double> values;
  for (std::string line; std::getline(file, line) && line.rfind("ENDMDL", 0) != 0;)
    if (line.size() >= 54 && (line.rfind("ATOM", 0) == 0 || line.rfind("HETATM", 0) == 0))
      for (int column : {30, 38, 46}) values.push_back(std::stod(line.substr(column, 8)) / 10);
  return at::tensor(values, at::kDouble).view({1, -1, 3});
}

// Overdamped Langevin dynamics of beads with springs between all pairs, whose rest lengths are the initial distances.
class Springs {
 public:
  Springs(const at::Tensor& start, int64_t seed) : beads_(start.clone()), lengths_(distances(vectors())) {
    generator_ = at::make_generator<at::CPUGeneratorImpl>(seed);
  }

  const at::Tensor& beads() const { return beads_; }

  void step() {
    const at::Tensor apart = vectors(), length = distances(apart);
    const at::Tensor pull = stiffness_ * (lengths_ - length) / length.clamp_min(1e-6);
    const at::Tensor force = (pull.unsqueeze(-1) * apart).sum(2);
    beads_ += mobility_ * force + std::sqrt(2 * mobility_) * at::randn(beads_.sizes(), generator_, at::kDouble);
  }

 private:
  at::Tensor vectors() const { return beads_.unsqueeze(2) - beads_.unsqueeze(1); }
  static at::Tensor distances(const at::Tensor& apart) { return at::linalg_vector_norm(apart, 2, {-1}); }

  const double stiffness_ = 1e5;  // kT / nm^2
  const double mobility_ = 1e-6;  // nm^2 / kT, mobility times the time step
  at::Tensor beads_, lengths_;
  at::Generator generator_;
};

class Writer {
 public:
  Writer(const std::string& path, const torch::jit::Module& model)
      : file_(std::fopen(path.c_str(), "w")),
        names_(model.attr("atom_names").toList()),
        residues_(model.attr("residue_names").toList()),
        numbers_(model.attr("residue_numbers").toIntVector()) {
    if (!file_) throw std::runtime_error(path + " cannot be written");
  }
  ~Writer() { std::fclose(file_); }

  void write(int64_t number, const at::Tensor& atoms) {  // (atoms, 3) in nm
    const auto xyz = atoms.accessor<double, 2>();
    std::fprintf(file_, "MODEL %8lld\n", static_cast<long long>(number + 1));
    for (int64_t i = 0; i < atoms.size(0); ++i)
      std::fprintf(file_, "ATOM  %5lld %-4s %-3s A%4lld    %8.3f%8.3f%8.3f  1.00  0.00\n",
                   static_cast<long long>(i + 1), padded(names_.get(i).toStringRef()).c_str(),
                   residues_.get(i).toStringRef().c_str(), static_cast<long long>(numbers_[i]), 10 * xyz[i][0],
                   10 * xyz[i][1], 10 * xyz[i][2]);
    std::fprintf(file_, "ENDMDL\n");
  }

 private:
  static std::string padded(const std::string& name) { return name.size() < 4 ? " " + name : name; }

  std::FILE* file_;
  c10::List<c10::IValue> names_, residues_;
  std::vector<int64_t> numbers_;
};

int run(int argc, char** argv) {
  if (argc < 4) throw std::runtime_error("usage: live MODEL.ts STRUCTURE.pdb OUTPUT.pdb [FRAMES [SEED]]");
  const int64_t frames = argc > 4 ? std::stoll(argv[4]) : 1000, seed = argc > 5 ? std::stoll(argv[5]) : 0;
  const int64_t steps_per_frame = 50;
  torch::jit::Module model = torch::jit::load(argv[1]);
  if (!model.hasattr("previous_frames")) throw std::runtime_error(std::string(argv[1]) + " is not a temporal model");
  c10::InferenceMode guard;
  const at::Tensor start = read_atoms(argv[2]);
  if (start.size(1) != model.attr("atoms").toInt())
    throw std::runtime_error("the structure is not the molecule of the model");
  Springs simulation(model.run_method("beads_of", start).toTensor(), seed);
  Writer writer(argv[3], model);
  at::Tensor previous = model.run_method("seed_frames", simulation.beads()).toTensor();
  int64_t physical = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t frame = 0; frame < frames; ++frame) {
    for (int64_t step = 0; step < steps_per_frame; ++step) simulation.step();
    const auto drawn = model.forward({simulation.beads(), previous, frame, seed}).toTuple()->elements().vec();
    writer.write(frame, drawn[0].toTensor()[0]);
    previous = drawn[1].toTensor();
    physical += drawn[2].toTensor().item<bool>();
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%lld frames, %lld of them physical, %.0f frames/s with the simulation\n", static_cast<long long>(frames),
              static_cast<long long>(physical), frames / seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const c10::Error& error) {
    std::cerr << error.what_without_backtrace() << "\n";
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
  }
  return 1;
}
