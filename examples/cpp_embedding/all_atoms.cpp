// Reads the C-alphas of a PDB file, or the beads for which the model was exported, builds all atoms with a model that
// `backmap export` wrote, writes a PDB file, and prints how fast it was, all without Python:
// all_atoms MODEL.ts INPUT.pdb OUTPUT.pdb [SEED [REPEATS]]
// With 0 repeats a single structure is built, without optimising the model's code first, which takes longer than that.
#include <torch/script.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Place = std::array<double, 3>;  // in Angstrom as in PDB files

struct Residue {
  std::string name, label;             // of the type, and columns 22 to 27: chain, number, insertion code
  std::map<std::string, Place> beads;  // by name
};

std::string without_spaces(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

std::vector<Residue> read_residues(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + " cannot be read");
  std::vector<Residue> residues;
  for (std::string line; std::getline(file, line) && line.rfind("ENDMDL", 0) != 0;) {
    if (line.size() < 54 || line.rfind("ATOM", 0) != 0) continue;
    if (line[16] != ' ' && line[16] != 'A') continue;  // the first of several locations
    const std::string label = line.substr(21, 6);
    if (residues.empty() || residues.back().label != label) residues.push_back({line.substr(17, 3), label, {}});
    residues.back().beads[without_spaces(line.substr(12, 4))] = {
        std::stod(line.substr(30, 8)), std::stod(line.substr(38, 8)), std::stod(line.substr(46, 8))};
  }
  if (residues.empty()) throw std::runtime_error(path + " contains no residues");
  return residues;
}

std::vector<std::string> strings(const c10::IValue& list) {
  std::vector<std::string> out;
  for (const c10::IValue& entry : list.toListRef()) out.push_back(entry.toStringRef());
  return out;
}

// Residue types and chain offsets in the numbering of the model.
std::pair<at::Tensor, at::Tensor> describe(const std::vector<Residue>& residues, const torch::jit::Module& model) {
  const std::vector<std::string> names = strings(model.attr("residue_names"));
  std::vector<int64_t> types, offsets{0};
  for (size_t i = 0; i < residues.size(); ++i) {
    const auto found = std::find(names.begin(), names.end(), residues[i].name);
    if (found == names.end()) throw std::runtime_error("residue " + residues[i].name + " cannot be built");
    types.push_back(found - names.begin());
    if (i && residues[i].label[0] != residues[i - 1].label[0]) offsets.push_back(i);
  }
  offsets.push_back(residues.size());
  return {at::tensor(types, at::kLong), at::tensor(offsets, at::kLong)};
}

// The beads of each residue in the order of the model, by default its C-alpha.
at::Tensor positions(const std::vector<Residue>& residues, const at::Tensor& types, const torch::jit::Module& model) {
  std::vector<std::vector<std::string>> wanted(20, {"CA"});
  if (model.hasattr("bead_names")) {
    wanted.clear();
    for (const c10::IValue& names : model.attr("bead_names").toListRef()) wanted.push_back(strings(names));
  }
  std::vector<double> values;
  for (size_t i = 0; i < residues.size(); ++i)
    for (const std::string& name : wanted[types[i].item<int64_t>()]) {
      const auto found = residues[i].beads.find(name);
      if (found == residues[i].beads.end())
        throw std::runtime_error("residue " + residues[i].name + " " + residues[i].label + " has no " + name);
      values.insert(values.end(), found->second.begin(), found->second.end());
    }
  return at::tensor(values, at::kDouble).view({1, -1, 3}) / 10;  // to nm
}

void write_pdb(const std::string& path, const std::vector<Residue>& residues, const at::Tensor& types,
               const at::Tensor& offsets, const at::Tensor& atoms, const at::Tensor& mask,
               const torch::jit::Module& model) {
  std::vector<std::vector<std::string>> names;
  for (const c10::IValue& slots : model.attr("atom_names").toListRef()) names.push_back(strings(slots));
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (!file) throw std::runtime_error(path + " cannot be written");
  const at::Tensor angstrom = (atoms * 10).contiguous();
  const auto xyz = angstrom.accessor<double, 3>();
  const auto present = mask.accessor<bool, 2>();
  int serial = 0;
  for (int64_t i = 0, chain = 1; i < mask.size(0); ++i) {
    for (int64_t slot = 0; slot < mask.size(1); ++slot) {
      if (!present[i][slot]) continue;
      const std::string& name = names[types[i].item<int64_t>()][slot];
      std::fprintf(file, "ATOM  %5d  %-3s %s %s   %8.3f%8.3f%8.3f  1.00  0.00          %2c\n", ++serial % 100000,
                   name.c_str(), residues[i].name.c_str(), residues[i].label.c_str(), xyz[i][slot][0], xyz[i][slot][1],
                   xyz[i][slot][2], name[0]);
    }
    if (i + 1 == offsets[chain].item<int64_t>()) std::fprintf(file, "TER\n"), ++chain;
  }
  std::fprintf(file, "END\n");
  if (std::fclose(file)) throw std::runtime_error(path + " cannot be written");
}

int run(int argc, char** argv) {
  if (argc < 4) throw std::runtime_error("usage: all_atoms MODEL.ts INPUT.pdb OUTPUT.pdb [SEED [REPEATS]]");
  const int64_t samples = 1, seed = argc > 4 ? std::stoll(argv[4]) : 0, repeats = argc > 5 ? std::stoll(argv[5]) : 10;
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  if (!repeats) torch::jit::setGraphExecutorOptimize(false);
  torch::jit::Module model = torch::jit::load(argv[1]);
  const std::vector<Residue> residues = read_residues(argv[2]);
  const auto [types, offsets] = describe(residues, model);
  c10::InferenceMode guard;
  const std::vector<c10::IValue> inputs{positions(residues, types, model), types, offsets, samples, seed};
  const auto built = model.forward(inputs).toTuple();
  const double start = std::chrono::duration<double>(Clock::now() - begin).count();
  const at::Tensor atoms = built->elements()[0].toTensor()[0][0], mask = built->elements()[1].toTensor();
  write_pdb(argv[3], residues, types, offsets, atoms, mask, model);

  if (!repeats) {
    std::printf("%zu residues, built after %.2f s\n", residues.size(), start);
    return 0;
  }
  for (int i = 0; i < 2; ++i) model.forward(inputs);  // TorchScript optimises during the first calls
  const auto warm = Clock::now();
  for (int64_t i = 0; i < repeats; ++i) model.forward(inputs);
  const double seconds = std::chrono::duration<double>(Clock::now() - warm).count();
  std::printf("%zu residues, first built after %.2f s, then %.0f residues/s\n", residues.size(), start,
              residues.size() * repeats / seconds);
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
