// WAV, binary PPM, and the arrays of golden vectors; for machines that keep the lowest byte first.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "json.hpp"
#include "runtime.hpp"

struct Sound {
  uint32_t rate = 0;
  std::vector<std::vector<float>> voices;
};

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<float> planes;  // red, green, blue; white is 1
};

inline std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), bytes.size()).flush()) throw std::runtime_error(path + ": cannot be written");
}

template <typename Number>
Number number_at(const std::string& bytes, size_t place) {
  Number found;
  if (place + sizeof found > bytes.size()) throw std::runtime_error("a file ends too early");
  std::memcpy(&found, bytes.data() + place, sizeof found);
  return found;
}

template <typename Number>
void put(std::string& bytes, Number value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// 16-bit and 32-bit float WAV.
inline Sound read_wav(const std::string& path) {
  const std::string bytes = contents(path);
  Sound sound;
  size_t tag = 0, channels = 0, bits = 0, data = 0, size = 0;
  for (size_t at = 12; at + 8 <= bytes.size() && !data;) {
    const std::string name = bytes.substr(at, 4);
    size = number_at<uint32_t>(bytes, at + 4);
    if (name == "data") data = at + 8;
    if (name == "fmt ") {
      channels = number_at<uint16_t>(bytes, at + 10), bits = number_at<uint16_t>(bytes, at + 22);
      sound.rate = number_at<uint32_t>(bytes, at + 12), tag = number_at<uint16_t>(bytes, at + 8);
      if (tag == 0xFFFE) tag = number_at<uint16_t>(bytes, at + 32);  // said further on
    }
    at += 8 + size + size % 2;
  }
  const bool whole = tag == 1 && bits == 16, floats = tag == 3 && bits == 32;
  if (!data || !channels || !(whole || floats))
    throw std::runtime_error(path + ": a WAV of 16 bits or of 32-bit floats is wanted");
  const size_t step = bits / 8, length = std::min(size, bytes.size() - data) / step / channels;
  sound.voices.assign(channels, std::vector<float>(length));
  for (size_t at = 0; at < length * channels; ++at)
    sound.voices[at % channels][at / channels] =
        whole ? number_at<int16_t>(bytes, data + 2 * at) / 32768.0f : number_at<float>(bytes, data + 4 * at);
  return sound;
}

// 16 bits.
inline void write_wav(const std::string& path, const Sound& sound) {
  const uint32_t channels = sound.voices.size(), size = 2 * channels * sound.voices[0].size();
  std::string bytes = "RIFF";
  put<uint32_t>(bytes, 36 + size);
  bytes += "WAVEfmt ";
  put<uint32_t>(bytes, 16), put<uint16_t>(bytes, 1), put<uint16_t>(bytes, channels);
  put<uint32_t>(bytes, sound.rate), put<uint32_t>(bytes, sound.rate * channels * 2);
  put<uint16_t>(bytes, channels * 2), put<uint16_t>(bytes, 16);
  bytes += "data";
  put<uint32_t>(bytes, size);
  for (size_t at = 0; at < sound.voices[0].size(); ++at)
    for (const auto& voice : sound.voices)
      put<int16_t>(bytes, std::lrint(std::clamp(voice[at] * 32768.0f, -32768.0f, 32767.0f)));
  write(path, bytes);
}

// A binary PPM (P6) of 8 bits.
inline Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  Picture picture;
  int white = 0;
  file >> kind >> picture.width >> picture.height >> white;
  if (kind != "P6" || white != 255) throw std::runtime_error(path + ": a binary PPM of 8 bits is wanted");
  const int64_t size = picture.width * picture.height;
  std::string bytes(3 * size, '\0');
  if (!file.ignore(1).read(bytes.data(), bytes.size())) throw std::runtime_error(path + ": it ends too early");
  picture.planes.resize(3 * size);
  for (int64_t at = 0; at < 3 * size; ++at)
    picture.planes[at % 3 * size + at / 3] = static_cast<unsigned char>(bytes[at]) / 255.0f;
  return picture;
}

inline void write_ppm(const std::string& path, const Picture& picture) {
  const int64_t size = picture.width * picture.height;
  std::string bytes = "P6\n" + std::to_string(picture.width) + " " + std::to_string(picture.height) + "\n255\n";
  for (int64_t at = 0; at < 3 * size; ++at)
    bytes += static_cast<char>(std::lrint(255 * std::clamp(picture.planes[at % 3 * size + at / 3], 0.0f, 1.0f)));
  write(path, bytes);
}

// {"shape": [...], "data": base64 of 32-bit floats}
inline Tensor unpacked(const Json& values) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Tensor tensor;
  for (const Json& side : values["shape"].items) tensor.shape.push_back(side.number);
  std::string bytes;
  uint32_t held = 0;
  int bits = 0;
  for (const char digit : values["data"].text) {
    if (digit == '=') break;
    held = held << 6 | static_cast<uint32_t>(digits.find(digit)), bits += 6;
    if (bits >= 8) bits -= 8, bytes += static_cast<char>(held >> bits);
  }
  tensor.floats.resize(Tensor::count(tensor.shape));
  if (bytes.size() != 4 * tensor.floats.size()) throw std::runtime_error("golden vectors are damaged");
  std::memcpy(tensor.floats.data(), bytes.data(), bytes.size());
  return tensor;
}
