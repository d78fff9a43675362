// One JSON object, written a member at a time.
#ifndef HEIRLOCK_TESTS_BENCH_JSON_HPP
#define HEIRLOCK_TESTS_BENCH_JSON_HPP

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace bench {

/// Names and texts are the program's own, and hold nothing that JSON would want escaped.
class Json {
 public:
  Json& text(const std::string& name, const std::string& value) { return member(name, '"' + value + '"'); }
  Json& whole(const std::string& name, std::int64_t value) { return member(name, std::to_string(value)); }
  Json& object(const std::string& name, const Json& value) { return member(name, value.str()); }
  /// What is not a number is null.
  Json& number(const std::string& name, double value) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.6g", value);
    return member(name, std::isfinite(value) ? digits : "null");
  }

  std::string str() const { return '{' + members_ + '}'; }

 private:
  Json& member(const std::string& name, const std::string& value) {
    if (!members_.empty()) members_ += ", ";
    members_ += '"' + name + "\": " + value;
    return *this;
  }

  std::string members_;
};

}  // namespace bench
#endif
