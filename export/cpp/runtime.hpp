// ONNX Runtime through its C interface, as much of it as one graph on the processor needs; no header of it is needed.
//
// The library answers with a table of functions. It only ever grows at its end, so a function's place in it is the same
// in every version; the places here are those of version 2 of the interface (ONNX Runtime 1.1, December 2019).

#pragma once

#include <cstdint>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

struct OrtApiBase {
  void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};
extern "C" const OrtApiBase* OrtGetApiBase();

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> floats;
  std::vector<int64_t> whole;  // instead of floats, where it is an int64 tensor
  bool is_whole = false;

  static int64_t count(const std::vector<int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, [](int64_t a, int64_t b) { return a * b; });
  }
};

class Session {
 public:
  explicit Session(const std::string& path, int threads = 0) {
    check(at<CreateEnv, int, const char*, void**>(2, "denoise", &environment_));  // 2: warnings and errors are logged
    void* options = nullptr;
    check(at<CreateSessionOptions, void**>(&options));
    check(at<SetIntraOpNumThreads, void*, int>(options, threads));
    void* failed = at<CreateSession, void*, const file_char*, void*, void**>(environment_, named(path).c_str(), options, &session_);
    release<ReleaseSessionOptions>(options);
    check(failed);
    check(at<CreateCpuMemoryInfo, int, int, void**>(1, 0, &memory_));  // the arena's allocator, usual memory
  }

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  ~Session() {
    release<ReleaseMemoryInfo>(memory_);
    release<ReleaseSession>(session_);
    release<ReleaseEnv>(environment_);
  }

  // What the file says of itself; "" where it says nothing.
  std::string said(const std::string& key) const {
    void *metadata = nullptr, *allocator = nullptr;
    char* value = nullptr;
    check(at<GetAllocatorWithDefaultOptions, void**>(&allocator));
    check(at<SessionGetModelMetadata, void*, void**>(session_, &metadata));
    void* failed = at<ModelMetadataLookup, void*, void*, const char*, char**>(metadata, allocator, key.c_str(), &value);
    release<ReleaseModelMetadata>(metadata);
    check(failed);
    const std::string found = value ? value : "";
    if (value) check(at<AllocatorFree, void*, void*>(allocator, value));
    return found;
  }

  std::vector<Tensor> run(std::map<std::string, Tensor>& inputs, const std::vector<std::string>& outputs) const {
    std::vector<const char*> given, wanted;
    std::vector<void*> values, results(outputs.size());
    for (auto& [name, tensor] : inputs) given.push_back(name.c_str()), values.push_back(value_of(tensor));
    for (const auto& name : outputs) wanted.push_back(name.c_str());
    void* failed = at<Run, void*, void*, const char**, void**, size_t, const char**, size_t, void**>(
        session_, nullptr, given.data(), values.data(), values.size(), wanted.data(), wanted.size(), results.data());
    for (void* value : values) release<ReleaseValue>(value);
    check(failed);
    std::vector<Tensor> found;
    for (void* value : results) found.push_back(tensor_of(value)), release<ReleaseValue>(value);
    return found;
  }

 private:
  enum Place {
    GetErrorMessage = 2, CreateEnv = 3, CreateSession = 7, Run = 9, CreateSessionOptions = 10, SetIntraOpNumThreads = 24,
    CreateTensorWithData = 49, GetTensorMutableData = 51, GetDimensionsCount = 61, GetDimensions = 62,
    GetTensorTypeAndShape = 65, CreateCpuMemoryInfo = 69, AllocatorFree = 76, GetAllocatorWithDefaultOptions = 78,
    ReleaseEnv = 92, ReleaseStatus = 93, ReleaseMemoryInfo = 94, ReleaseSession = 95, ReleaseValue = 96,
    ReleaseTensorTypeAndShape = 99, ReleaseSessionOptions = 100, SessionGetModelMetadata = 111,
    ModelMetadataLookup = 116, ReleaseModelMetadata = 118,
  };
#ifdef _WIN32
  using file_char = wchar_t;
  static std::wstring named(const std::string& path) { return {path.begin(), path.end()}; }
#else
  using file_char = char;
  static std::string named(const std::string& path) { return path; }
#endif
  void *environment_ = nullptr, *session_ = nullptr, *memory_ = nullptr;

  static void* const* table() {
    static void* const* const found = OrtGetApiBase()->GetApi(2);
    if (!found) throw std::runtime_error("this ONNX Runtime is older than version 1.1");
    return found;
  }

  // A status, which is null where all went well.
  template <Place place, typename... Values>
  static void* at(Values... values) {
    return reinterpret_cast<void* (*)(Values...)>(table()[place])(values...);
  }

  template <Place place>
  static void release(void* thing) {
    if (thing) reinterpret_cast<void (*)(void*)>(table()[place])(thing);
  }

  static void check(void* status) {
    if (!status) return;
    const std::string why = reinterpret_cast<const char* (*)(void*)>(table()[GetErrorMessage])(status);
    release<ReleaseStatus>(status);
    throw std::runtime_error(why);
  }

  void* value_of(Tensor& tensor) const {
    void* data = tensor.is_whole ? static_cast<void*>(tensor.whole.data()) : static_cast<void*>(tensor.floats.data());
    const size_t bytes = tensor.is_whole ? 8 * tensor.whole.size() : 4 * tensor.floats.size();
    void* value = nullptr;
    check(at<CreateTensorWithData, void*, void*, size_t, const int64_t*, size_t, int, void**>(
        memory_, data, bytes, tensor.shape.data(), tensor.shape.size(), tensor.is_whole ? 7 : 1, &value));
    return value;
  }

  static Tensor tensor_of(void* value) {
    Tensor found;
    void *about = nullptr, *data = nullptr;
    size_t axes = 0;
    check(at<GetTensorTypeAndShape, void*, void**>(value, &about));
    check(at<GetDimensionsCount, void*, size_t*>(about, &axes));
    found.shape.resize(axes);
    check(at<GetDimensions, void*, int64_t*, size_t>(about, found.shape.data(), axes));
    release<ReleaseTensorTypeAndShape>(about);
    check(at<GetTensorMutableData, void*, void**>(value, &data));
    found.floats.assign(static_cast<float*>(data), static_cast<float*>(data) + Tensor::count(found.shape));
    return found;
  }
};
