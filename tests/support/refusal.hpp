// What an operation was refused with.
#ifndef HEIRLOCK_TESTS_SUPPORT_REFUSAL_HPP
#define HEIRLOCK_TESTS_SUPPORT_REFUSAL_HPP

#include <gtest/gtest.h>

#include <string>
#include <system_error>

namespace support {

/// The code and the message of the std::system_error that the operation throws; fails the test if it throws
/// none.
struct Refusal {
  std::error_code code;
  std::string message;
};

template <class Operation>
Refusal refusal_of(Operation&& operation) {
  try {
    operation();
  } catch (const std::system_error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "the operation was not refused";
  return {};
}

/// Whether the message holds each of these texts.
template <class... Texts>
testing::AssertionResult says(const std::string& message, const Texts&... texts) {
  std::string missing;
  for (const std::string& text : {std::string(texts)...})
    if (message.find(text) == std::string::npos) missing += "\n  does not say: " + text;
  if (missing.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "the message\n  " << message << missing;
}

}  // namespace support
#endif
