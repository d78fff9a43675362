#include "stress/report.hpp"

#include <cmath>
#include <iomanip>
#include <limits>
#include <locale>
#include <sstream>

namespace stress {
namespace {

// A stream whose numbers look the same everywhere.
std::ostringstream plain_text() {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  return text;
}

std::string fixed(double number, int decimals) {
  auto text = plain_text();
  text << std::fixed << std::setprecision(decimals) << number;
  return text.str();
}

std::string shortest(double number) {
  auto text = plain_text();
  text << std::setprecision(std::numeric_limits<double>::max_digits10 - 2) << number;
  return text.str();
}

// 1234567 as 1,234,567.
std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

std::string rounded(double number) {
  return grouped(static_cast<std::uint64_t>(std::llround(number)));
}

double per_second(std::uint64_t count, Nanoseconds elapsed) {
  return elapsed > 0 ? static_cast<double>(count) / in_seconds(elapsed) : 0;
}

std::string row(const std::string& name, const std::string& value, const std::string& remark = "") {
  auto text = plain_text();
  text << "  " << std::left << std::setw(24) << name << std::right << std::setw(16) << value;
  if (!remark.empty()) text << "   " << remark;
  return text.str() + "\n";
}

std::string must_be_zero(const std::string& name, std::uint64_t value) {
  return row(name, grouped(value), value == 0 ? "must be 0: ok" : "must be 0: FAILED");
}

std::string verdict(const Result& result) {
  std::string text = "\n";
  if (result.interrupted) text += "interrupted after " + fixed(in_seconds(result.elapsed), 1) + " s\n";
  text += result.passed() ? "PASSED: nothing lost, nobody stranded, one owner at a time"
                          : "FAILED: see above for what is not 0";
  return text + "\n";
}

std::string failures(const Result& result) {
  if (result.failures.empty()) return "";
  std::string text = must_be_zero("failed workers", result.failures.size());
  constexpr std::size_t most_shown = 10;
  for (std::size_t i = 0; i < result.failures.size() && i < most_shown; ++i)
    text += "    " + result.failures[i] + "\n";
  if (result.failures.size() > most_shown) text += "    ...\n";
  return text;
}

// One field of a JSON object a line, in the order added.
class JsonObject {
 public:
  explicit JsonObject(std::string indent) : indent_(std::move(indent)) {}

  void add(const std::string& name, const std::string& value) {
    fields_ += (fields_.empty() ? "\n" : ",\n") + indent_ + "  \"" + name + "\": " + value;
  }
  void add(const std::string& name, std::uint64_t value) { add(name, std::to_string(value)); }
  void add(const std::string& name, double value) { add(name, shortest(value)); }
  void add(const std::string& name, bool value) { add(name, std::string(value ? "true" : "false")); }
  std::string str() const { return "{" + fields_ + "\n" + indent_ + "}"; }

 private:
  const std::string indent_;
  std::string fields_;
};

std::string options_as_json(const Options& options) {
  JsonObject object("  ");
  object.add("processes", std::uint64_t{options.processes});
  object.add("threads", std::uint64_t{options.threads});
  object.add("seconds", options.seconds);
  object.add("kills_per_second", options.kills_per_second);
  object.add("accounts", std::uint64_t{options.accounts});
  object.add("seed", options.seed.value_or(0));
  return object.str();
}

}  // namespace

std::string headline(const Options& options) {
  return "heirlock-stress --processes " + std::to_string(options.processes) + " --threads " +
         std::to_string(options.threads) + " --seconds " + shortest(options.seconds) +
         " --kills-per-second " + shortest(options.kills_per_second) + " --accounts " +
         std::to_string(options.accounts) + " --seed " + std::to_string(options.seed.value_or(0)) + "\n";
}

std::string table(const Result& result) {
  const auto rate = [&](std::uint64_t count) {
    return "(" + rounded(per_second(count, result.elapsed)) + "/s)";
  };
  const auto wait = [](Nanoseconds duration) { return fixed(in_seconds(duration), 3) + " s"; };
  return "\n" + row("operations", grouped(result.operations), rate(result.operations)) +
         row("kills", grouped(result.kills), rate(result.kills)) +
         row("inherited", grouped(result.inherited)) +
         row("recoveries", grouped(result.recoveries),
             "(transfers finished: " + grouped(result.finished) + ", undone: " + grouped(result.undone) +
                 ")") +
         row("timed out", grouped(result.timed_out)) + row("longest wait", wait(result.longest_wait)) +
         row("  with the lock free", wait(result.longest_wait_while_free)) +
         must_be_zero("money lost", static_cast<std::uint64_t>(result.money_lost)) +
         must_be_zero("stranded waiters", result.stranded_waiters) +
         must_be_zero("wrong owners seen", result.wrong_owners) + failures(result) + verdict(result);
}

std::string as_json(const Options& options, const Result& result) {
  JsonObject object("");
  object.add("options", options_as_json(options));
  object.add("interrupted", result.interrupted);
  object.add("elapsed_seconds", in_seconds(result.elapsed));
  object.add("operations", result.operations);
  object.add("operations_per_second", per_second(result.operations, result.elapsed));
  object.add("kills", result.kills);
  object.add("inherited", result.inherited);
  object.add("recoveries", result.recoveries);
  object.add("transfers_finished", result.finished);
  object.add("transfers_undone", result.undone);
  object.add("timed_out", result.timed_out);
  object.add("longest_wait_seconds", in_seconds(result.longest_wait));
  object.add("longest_wait_while_free_seconds", in_seconds(result.longest_wait_while_free));
  object.add("money_lost", static_cast<std::uint64_t>(result.money_lost));
  object.add("stranded_waiters", result.stranded_waiters);
  object.add("wrong_owners_seen", result.wrong_owners);
  object.add("failed_workers", std::uint64_t{result.failures.size()});
  object.add("passed", result.passed());
  return object.str() + "\n";
}

std::string progress_line(const Progress& progress) {
  return fixed(in_seconds(progress.elapsed), 1) + " s  " + rounded(progress.operations_per_second) +
         " operations/s  " + grouped(progress.kills) + " kills  " + grouped(progress.inherited) +
         " inherited  waiting longest " + fixed(in_seconds(progress.longest_waiting), 3) + " s";
}

}  // namespace stress
