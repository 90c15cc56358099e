// Cleans a WAV or a PPM with a graph from `denoise export`: C++17 and ONNX Runtime's library.
//
// c++ -std=c++17 -O2 clean.cpp -o clean libonnxruntime.so -Wl,-rpath,'$ORIGIN'
// ./clean speech-fast.onnx noisy.wav clean.wav strength=0.8
// ./clean idf-picture.onnx noisy.ppm clean.ppm
// ./clean speech-fast.onnx --golden speech-fast.golden.json

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "files.hpp"
#include "graph.hpp"

static void clean_sound(const Graph& graph, const char* source, const char* target, Settings settings) {
  Sound sound = read_wav(source);
  if (graph.rate && graph.rate != sound.rate)
    throw std::runtime_error(source + (" has " + std::to_string(sound.rate) + " Hz, and the model works at ") +
                             std::to_string(graph.rate) + " Hz; resample it first");
  if (graph.inputs.find("rate")) settings["rate"] = sound.rate;
  for (auto& voice : sound.voices) {
    const int64_t length = voice.size();
    if (graph.hop) voice.resize((length + graph.late + graph.hop - 1) / graph.hop * graph.hop);
    const int64_t samples = voice.size();
    const auto shape = graph.hop ? std::vector<int64_t>{1, samples} : std::vector<int64_t>{1, 1, samples};
    const auto restored = graph({shape, voice, {}, false}, settings).floats;
    voice.assign(restored.begin() + graph.late, restored.begin() + graph.late + length);
  }
  write_wav(target, sound);
}

static void clean_picture(const Graph& graph, const char* source, const char* target, const Settings& settings) {
  Picture picture = read_ppm(source);
  picture.planes = graph({{1, 3, picture.height, picture.width}, picture.planes, {}, false}, settings).floats;
  write_ppm(target, picture);
}

// Infinitely far, if one is not a number.
static double apart(const Tensor& one, const Tensor& other) {
  if (one.shape != other.shape) throw std::runtime_error("what comes out has another shape");
  double worst = 0;
  for (size_t at = 0; at < one.floats.size(); ++at) {
    const double off = std::abs(one.floats[at] - other.floats[at]);
    worst = off <= worst ? worst : std::isnan(off) ? INFINITY : off;
  }
  return worst;
}

static int compare(const Graph& graph, const char* path) {
  const Json golden = JsonReader(contents(path)).read();
  const Tensor noisy = unpacked(golden["noisy"]);
  const Tensor survey = golden.find("survey") ? unpacked(golden["survey"]) : Tensor{};
  const double allowed = golden["tolerance"].number;
  double worst = 0;
  for (const Json& one : golden["cases"].items) {
    Settings settings;
    for (const auto& [name, value] : one["settings"].fields) settings[name] = value.number;
    worst = std::max(worst, apart(graph(noisy, settings, survey.shape.empty() ? nullptr : &survey), unpacked(one["restored"])));
  }
  std::printf("C++: %.1e off, %.0e allowed\n", worst, allowed);
  return worst <= allowed ? 0 : 1;
}

static void turn(Settings& settings, const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == word.npos) throw std::runtime_error(word + ": INPUT=NUMBER is wanted");
  settings[word.substr(0, equals)] = std::stod(word.substr(equals + 1));
}

int main(int count, char** words) try {
  if (count < 4) throw std::runtime_error("clean GRAPH SOURCE TARGET [INPUT=NUMBER...], or clean GRAPH --golden FILE");
  const Graph graph(words[1]);
  if (std::string(words[2]) == "--golden") return compare(graph, words[3]);
  Settings settings;
  for (int at = 4; at < count; ++at) turn(settings, words[at]);
  const std::string kind = graph.session.said("kind");
  if (kind == "audio") clean_sound(graph, words[2], words[3], settings);
  else if (kind == "picture") clean_picture(graph, words[2], words[3], settings);
  else throw std::runtime_error("mosaics of cameras need a raw decoder; README.md says what to feed");
} catch (const std::exception& trouble) {
  std::cerr << trouble.what() << "\n";
  return 2;
}
