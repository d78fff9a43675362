#include "stress/report.hpp"

#include <algorithm>
#include <cstdio>

namespace stress {
namespace {

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[200];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

// 1234567 as 1,234,567.
std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

// With three digits.
std::string duration(double nanoseconds) {
  if (nanoseconds < 1e3) return format("%.0f ns", nanoseconds);
  const bool is_short = nanoseconds < 1e6, is_long = nanoseconds >= 1e9;
  const double number = nanoseconds / (is_short ? 1e3 : is_long ? 1e9 : 1e6);
  const int decimals = number < 10 ? 2 : number < 100 ? 1 : 0;
  return format("%.*f %s", decimals, number, is_short ? "us" : is_long ? "s" : "ms");
}

std::string row(const std::string& name, const std::string& value, const std::string& remark = "") {
  std::string text = "  " + name;
  text.resize(26, ' ');
  text.resize(42 - std::min<std::size_t>(value.size(), 16), ' ');
  return text + value + (remark.empty() ? "" : "   " + remark) + "\n";
}

std::string row(const std::string& name, std::uint64_t value, const std::string& remark = "") {
  return row(name, grouped(value), remark);
}

std::string must_be_zero(const std::string& name, std::uint64_t value) {
  return row(name, value, value == 0 ? "must be 0: ok" : "must be 0: FAILED");
}

std::string waits(const SmallHistogram& waits) {
  if (waits.count() == 0) return row("waits", 0);
  return row("waits", waits.count(),
             "(half under " + duration(waits.quantile(0.5)) + ", 99 % under " +
                 duration(waits.quantile(0.99)) + ", 99.99 % under " + duration(waits.quantile(0.9999)) +
                 ")");
}

std::string rate(std::uint64_t count, const Result& result) {
  const double seconds = in_seconds(result.elapsed);
  return grouped(seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(count) / seconds + 0.5) : 0) +
         "/s";
}

// The faults asked for, kills first.
std::string fault_rows(const Result& result) {
  std::string text;
  for (std::size_t kind = 0; kind < fault_kinds; ++kind) {
    const bool is_kill = kind == index_of(Fault::kill);
    if (!is_kill && !result.asked[kind]) continue;
    const std::string planned =
        result.faults[kind] < result.planned[kind] ? ", " + grouped(result.planned[kind]) + " planned" : "";
    text += row(is_kill ? "kills" : "fault: " + std::string(fault_names[kind]), result.faults[kind],
                "(" + rate(result.faults[kind], result) + planned + ")");
  }
  return text;
}

std::string what_was_seen(const Result& result) {
  constexpr const char* behind[obstacles] = {"for a lock that was free", "behind an owner that is dead",
                                             "behind an owner that does not know that it is the owner",
                                             "for a lock that was not free but had no owner"};
  std::string text;
  for (std::size_t obstacle = 0; obstacle < obstacles; ++obstacle)
    if (result.stranded_behind[obstacle] > 0)
      text += "  stranded: " + grouped(result.stranded_behind[obstacle]) + " waited over " +
              format("%.0f s ", in_seconds(result.stranded_after)) + behind[obstacle] + "\n";
  if (result.locks_lost > 0)
    text += "  blocked: locks that nobody could acquire although no thread was left to hold them: " +
            grouped(result.locks_lost) + "\n";
  if (result.money_lost > 0)
    text += "  lost: the sum of the balances was wrong by " +
            grouped(static_cast<std::uint64_t>(result.money_lost)) + "\n";
  if (result.wrong_owners > 0)
    text +=
        "  wrong owner: " + grouped(result.wrong_owners) +
        " times a thread shared a lock, did not own what it had acquired, or owned what it had released\n";
  for (const std::string& failure : result.failures) text += "  failed: " + failure + "\n";
  return text;
}

std::string verdict(const Result& result) {
  const std::string after = format(" after %.1f s of %g", in_seconds(result.elapsed), result.seconds_asked);
  if (result.interrupted && result.passed())
    return "INTERRUPTED" + after + ": nothing lost, nobody stranded until then\n";
  std::string text;
  if (result.interrupted) text = "INTERRUPTED" + after + "\n";
  if (!result.ended_early.empty()) text = "ended" + after + ": " + result.ended_early + "\n";
  if (result.passed()) return text + "PASSED: nothing lost, nobody stranded, one owner at a time\n";
  return text + "FAILED: what must be 0 is not\n" + what_was_seen(result);
}

}  // namespace

std::string report(const Result& result) {
  return "\n" + waits(result.waits) +
         row("longest wait", duration(static_cast<double>(result.longest_wait))) +
         row("  with lock free", duration(static_cast<double>(result.longest_wait_while_free))) +
         row("timed out", result.timed_out) +
         row("operations", result.operations, "(" + rate(result.operations, result) + ")") +
         fault_rows(result) + row("inherited", result.inherited) +
         row("recoveries", result.finished + result.undone + result.none_under_way,
             "(transfers finished: " + grouped(result.finished) + ", undone: " + grouped(result.undone) +
                 ", none under way: " + grouped(result.none_under_way) + ")") +
         must_be_zero("money lost", static_cast<std::uint64_t>(result.money_lost)) +
         must_be_zero("stranded waiters", result.stranded_waiters) +
         must_be_zero("locks never free", result.locks_lost) +
         must_be_zero("wrong owners", result.wrong_owners) +
         must_be_zero("failed workers", result.failures.size()) + "\n" + verdict(result);
}

}  // namespace stress
