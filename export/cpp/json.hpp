// JSON as graphs and golden vectors hold it: read whole, never written.

#pragma once

#include <cctype>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct Json {
  enum Kind { nothing, number_, text_, list_, object_ } kind = nothing;  // true and false are numbers
  double number = 0;
  std::string text;
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> fields;  // in the file's order

  const Json* find(const std::string& name) const {
    for (const auto& [key, value] : fields)
      if (key == name) return &value;
    return nullptr;
  }

  const Json& operator[](const std::string& name) const {
    const Json* found = find(name);
    if (!found) throw std::runtime_error("its JSON has no \"" + name + "\"");
    return *found;
  }
};

class JsonReader {
 public:
  explicit JsonReader(const std::string& source) : at_(source.data()), end_(at_ + source.size()) {}

  Json read() {
    Json value;
    switch (next()) {
      case '{': value.kind = Json::object_; for (bool more = opens('}'); more; more = goes_on('}')) field(value); break;
      case '[': value.kind = Json::list_; for (bool more = opens(']'); more; more = goes_on(']')) value.items.push_back(read()); break;
      case '"': value.kind = Json::text_; value.text = text(); break;
      case 't': value.kind = Json::number_; value.number = word("true", 1); break;
      case 'f': value.kind = Json::number_; value.number = word("false", 0); break;
      case 'n': word("null", 0); break;
      default: value.kind = Json::number_; value.number = number();
    }
    return value;
  }

 private:
  const char *at_, *end_;

  char next() {
    while (at_ < end_ && std::isspace(static_cast<unsigned char>(*at_))) ++at_;
    if (at_ == end_) throw std::runtime_error("its JSON ends too early");
    return *at_;
  }

  bool took(char sign) { return next() == sign && ++at_; }

  bool opens(char closing) { return ++at_, !took(closing); }

  bool goes_on(char closing) {
    if (took(',')) return true;
    if (!took(closing)) throw std::runtime_error("its JSON is damaged");
    return false;
  }

  void field(Json& object) {
    next();
    std::string name = text();
    if (!took(':')) throw std::runtime_error("its JSON is damaged");
    object.fields.emplace_back(std::move(name), read());
  }

  double word(const std::string& expected, double value) {
    if (static_cast<size_t>(end_ - at_) < expected.size() || std::string(at_, expected.size()) != expected)
      throw std::runtime_error("its JSON is damaged");
    at_ += expected.size();
    return value;
  }

  double number() {
    char* after = nullptr;
    const double value = std::strtod(at_, &after);
    if (after == at_) throw std::runtime_error("its JSON is damaged");
    at_ = after;
    return value;
  }

  std::string text() {
    std::string found;
    for (++at_; at_ < end_ && *at_ != '"'; ++at_) {
      if (*at_ != '\\') found += *at_;
      else if (++at_ < end_) escape(found);
    }
    if (at_ == end_) throw std::runtime_error("its JSON ends too early");
    ++at_;
    return found;
  }

  // Letters outside ASCII become '?': names and numbers have none.
  void escape(std::string& found) {
    if (*at_ != 'u') {
      const std::string letters = "bfnrt", meant = "\b\f\n\r\t";
      const size_t place = letters.find(*at_);
      found += place == std::string::npos ? *at_ : meant[place];
    } else if (end_ - at_ > 4) {
      const long code = std::strtol(std::string(at_ + 1, 4).c_str(), nullptr, 16);
      found += code < 128 ? static_cast<char>(code) : '?';
      at_ += 4;
    }
  }
};
