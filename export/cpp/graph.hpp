// A graph from `denoise export`, with what its file says of its inputs, its rate and its sides.

#pragma once

#include <algorithm>

#include "json.hpp"
#include "runtime.hpp"

using Settings = std::map<std::string, double>;

struct Graph {
  Session session;
  Json inputs;
  std::vector<std::string> kept;  // by a live graph, from frame to frame
  int64_t multiple, least, hop, late, rate;  // 0: it is not live; any rate

  explicit Graph(const std::string& path)
      : session(path), inputs(json("inputs")), multiple(number("multiple")), least(number("least")),
        hop(number("hop")), late(number("late")), rate(number("rate")) {
    if (hop)
      for (const auto& [name, shape] : json("state").fields) kept.push_back(name);
  }

  Json json(const std::string& key) const { return JsonReader(session.said(key)).read(); }
  int64_t number(const std::string& key) const { return std::atoll(session.said(key).c_str()); }

  // Every input beside the signal. A survey without rows says that nothing is known; so does silence before.
  std::map<std::string, Tensor> feeds(const Settings& settings) const {
    for (const auto& [name, value] : settings)
      if (!inputs.find(name)) throw std::runtime_error(session.said("name") + " has no " + name);
    std::map<std::string, Tensor> found;
    for (const auto& [name, put] : inputs.fields)
      if (name != "noisy") found[name] = value(put, settings.count(name) ? &settings.at(name) : nullptr);
    return found;
  }

  static Tensor value(const Json& put, const double* given) {
    Tensor tensor;
    for (const Json& side : put["shape"].items) tensor.shape.push_back(side.kind == Json::number_ ? side.number : 0);
    const Json* usual = put.find("default");
    const double number = given ? *given : usual ? usual->number : 0;
    tensor.is_whole = put["type"].text == "int64";
    if (tensor.is_whole) tensor.whole.assign(Tensor::count(tensor.shape), static_cast<int64_t>(number));
    else tensor.floats.assign(Tensor::count(tensor.shape), static_cast<float>(number));
    return tensor;
  }

  // (1, channels, samples) or (1, channels, height, width); a live graph takes (1, samples).
  Tensor operator()(const Tensor& noisy, const Settings& settings, const Tensor* survey = nullptr) const {
    auto given = feeds(settings);
    if (survey) given["survey"] = *survey;
    if (hop) return frames(noisy, given);
    std::vector<int64_t> shape = noisy.shape;
    for (size_t axis = 2; axis < shape.size(); ++axis)
      shape[axis] = (std::max(shape[axis], least) + multiple - 1) / multiple * multiple;
    given["noisy"] = resized(noisy, shape);
    return resized(session.run(given, {"restored"})[0], noisy.shape);
  }

  static int64_t mirrored(int64_t at, int64_t length) {
    at %= std::max<int64_t>(2 * length - 2, 1);
    return at < length ? at : 2 * length - 2 - at;
  }

  // Cut at the end, or continued there as a mirror would; only the last two axes differ.
  static Tensor resized(const Tensor& from, const std::vector<int64_t>& shape) {
    Tensor to{shape, std::vector<float>(Tensor::count(shape)), {}, false};
    const size_t last = shape.size() - 1;
    const int64_t rows = last > 2 ? shape[2] : 1, had = last > 2 ? from.shape[2] : 1, width = from.shape[last];
    for (int64_t at = 0; at < Tensor::count(shape); ++at) {
      const int64_t across = at % shape[last], down = at / shape[last] % rows, plane = at / shape[last] / rows;
      to.floats[at] = from.floats[(plane * had + mirrored(down, had)) * width + mirrored(across, width)];
    }
    return to;
  }

  // What comes out of a frame is `late` samples behind what went in.
  Tensor frames(const Tensor& noisy, std::map<std::string, Tensor>& given) const {
    std::vector<std::string> wanted{"restored"};
    for (const auto& name : kept) wanted.push_back("next_" + name);
    Tensor out{{1, 0}, {}, {}, false};
    for (int64_t start = 0; start + hop <= noisy.shape[1]; start += hop, out.shape[1] += hop) {
      given["noisy"] = {{1, hop}, {noisy.floats.begin() + start, noisy.floats.begin() + start + hop}, {}, false};
      auto results = session.run(given, wanted);
      out.floats.insert(out.floats.end(), results[0].floats.begin(), results[0].floats.end());
      for (size_t index = 0; index < kept.size(); ++index) given[kept[index]] = std::move(results[index + 1]);
    }
    return out;
  }
};
