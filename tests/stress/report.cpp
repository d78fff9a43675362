#include "stress/report.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <locale>
#include <numeric>
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
  const std::string after =
      " after " + fixed(in_seconds(result.elapsed), 1) + " s of " + shortest(result.seconds_asked);
  if (result.interrupted && result.passed())
    return text + "INTERRUPTED" + after + ": nothing lost, nobody stranded until then\n";
  if (result.interrupted) text += "INTERRUPTED" + after + "\n";
  if (!result.ended_early.empty()) text += "ended" + after + ": " + result.ended_early + "\n";
  if (result.passed()) return text + "PASSED: nothing lost, nobody stranded, one owner at a time\n";
  text += "FAILED: see above what is not 0\n";
  for (const std::string& sentence : what_was_seen(result)) text += "  " + sentence + "\n";
  return text;
}

// The faults asked for, without kills.
std::string fault_rows(const Result& result) {
  std::string text;
  for (std::size_t kind = 0; kind < fault_kinds; ++kind)
    if (result.asked[kind] && kind != index_of(Fault::kill))
      text += row("fault: " + std::string(fault_names[kind]), grouped(result.faults[kind]),
                  result.faults[kind] < result.planned[kind]
                      ? "(of " + grouped(result.planned[kind]) + " planned)"
                      : "");
  return text;
}

std::string end_of(std::size_t range) {
  if (range + 1 == wait_ranges) return "longer";
  const Nanoseconds end = end_of_range(range);
  if (end < millisecond) return "under " + fixed(in_seconds(end) * 1e6, 0) + " us";
  if (end < second) return "under " + fixed(in_seconds(end) * 1e3, 0) + " ms";
  return "under " + fixed(in_seconds(end), 0) + " s ";
}

// A logarithmic bar: on a linear one, the many short waits would hide the few long ones.
std::string histogram(const Histogram& waits) {
  const auto is_used = [](std::uint64_t count) { return count > 0; };
  const auto first = std::find_if(waits.begin(), waits.end(), is_used);
  const auto last = std::find_if(waits.rbegin(), waits.rend(), is_used).base();
  std::string text;
  for (auto range = first; range < last; ++range) {
    std::string bar;
    for (std::uint64_t rest = *range; rest > 0; rest /= 2) bar += '#';
    text += row("waits " + end_of(static_cast<std::size_t>(range - waits.begin())), grouped(*range), bar);
  }
  return text.empty() ? "" : "\n" + text;
}

// In the unit of the histogram, with at most three digits.
std::string duration(Nanoseconds time) {
  if (time < millisecond) return fixed(in_seconds(time) * 1e6, 0) + " us";
  if (time >= second) return fixed(in_seconds(time), 2) + " s";
  const double milliseconds = in_seconds(time) * 1e3;
  return fixed(milliseconds, milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0) + " ms";
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

// For our own texts, in which JSON has nothing to escape.
std::string in_quotes(const std::string& text) {
  return '"' + text + '"';
}

constexpr const char* stranded_behind[obstacles] = {"for a lock that was free",
                                                    "behind an owner that is dead",
                                                    "behind an owner that does not know that it is the owner",
                                                    "for a lock that was not free but had no owner"};

std::string name_of(LockKind lock) {
  return std::string(lock_names[static_cast<std::size_t>(lock)]);
}

std::string faults_as_json(const std::array<std::uint64_t, fault_kinds>& faults) {
  JsonObject object("  ");
  for (std::size_t kind = 0; kind < fault_kinds; ++kind)
    object.add(std::string(fault_names[kind]), faults[kind]);
  return object.str();
}

std::string histogram_as_json(const Histogram& waits) {
  std::string list;
  for (std::size_t range = 0; range < wait_ranges; ++range) {
    const std::string end = range + 1 < wait_ranges ? shortest(in_seconds(end_of_range(range))) : "null";
    list += (list.empty() ? "\n    " : ",\n    ") + ("{\"below_seconds\": " + end) +
            ", \"count\": " + std::to_string(waits[range]) + "}";
  }
  return "[" + list + "\n  ]";
}

std::string sentences_as_json(const std::vector<std::string>& sentences) {
  std::string list;
  for (const std::string& sentence : sentences) list += (list.empty() ? "" : ", ") + in_quotes(sentence);
  return "[" + list + "]";
}

std::string options_as_json(const Options& options) {
  JsonObject object("  ");
  object.add("processes", std::uint64_t{options.processes});
  object.add("threads", std::uint64_t{options.threads});
  object.add("seconds", options.seconds);
  object.add("kills_per_second", options.kills_per_second);
  object.add("faults", in_quotes(as_list(options.faults)));
  object.add("faults_per_second", options.faults_per_second);
  object.add("locks", std::uint64_t{options.locks});
  object.add("lock", in_quotes(name_of(options.lock)));
  object.add("accounts", std::uint64_t{options.accounts});
  object.add("seed", options.seed.value_or(0));
  return object.str();
}

}  // namespace

std::string headline(const Options& options) {
  const Options usual;
  std::string text = "heirlock-stress";
  const auto add = [&text](const char* name, const std::string& value, const std::string& usual_value) {
    if (value != usual_value) text += std::string(" ") + name + " " + value;
  };
  add("--processes", std::to_string(options.processes), std::to_string(usual.processes));
  add("--threads", std::to_string(options.threads), std::to_string(usual.threads));
  add("--seconds", shortest(options.seconds), shortest(usual.seconds));
  add("--kills-per-second", shortest(options.kills_per_second), shortest(usual.kills_per_second));
  add("--faults", as_list(options.faults), as_list(usual.faults));
  add("--faults-per-second", shortest(options.faults_per_second), shortest(usual.faults_per_second));
  add("--locks", std::to_string(options.locks), std::to_string(usual.locks));
  add("--lock", name_of(options.lock), name_of(usual.lock));
  add("--accounts", std::to_string(options.accounts), std::to_string(usual.accounts));
  return text + " --seed " + std::to_string(options.seed.value_or(0)) + "\n";
}

std::vector<std::string> what_was_seen(const Result& result) {
  const std::string waited = " waited over " + fixed(in_seconds(result.stranded_after), 0) + " s ";
  const auto threads = [](std::uint64_t count) {
    return grouped(count) + (count == 1 ? " thread" : " threads");
  };
  std::vector<std::string> seen;
  for (std::size_t obstacle = 0; obstacle < obstacles; ++obstacle)
    if (result.stranded_behind[obstacle] > 0)
      seen.push_back("stranded: " + threads(result.stranded_behind[obstacle]) + waited +
                     stranded_behind[obstacle]);
  if (result.locks_lost > 0)
    seen.push_back("blocked: " + grouped(result.locks_lost) + (result.locks_lost == 1 ? " lock" : " locks") +
                   " could not be acquired, although no other thread was left to hold " +
                   (result.locks_lost == 1 ? "it" : "them"));
  if (result.money_lost > 0)
    seen.push_back("lost: the sum of the balances was wrong by " +
                   grouped(static_cast<std::uint64_t>(result.money_lost)));
  if (result.wrong_owners > 0)
    seen.push_back(
        "wrong owner: " + grouped(result.wrong_owners) +
        " times a thread held a lock together with another thread, did not hold a lock that it had "
        "acquired, or held one that it had released");
  for (const std::string& failure : result.failures) seen.push_back("failed: " + failure);
  return seen;
}

std::string table(const Result& result) {
  const auto rate = [&](std::uint64_t count) {
    return "(" + rounded(per_second(count, result.elapsed)) + "/s)";
  };
  const std::uint64_t planned = result.planned[index_of(Fault::kill)];
  const std::string of_kills = "(" + rounded(per_second(result.kills, result.elapsed)) + "/s" +
                               (result.kills < planned ? "; " + grouped(planned) + " planned)" : ")");
  const std::uint64_t waits = std::accumulate(result.waits.begin(), result.waits.end(), std::uint64_t{0});
  return histogram(result.waits) + "\n" + row("waits", grouped(waits)) +
         row("operations", grouped(result.operations), rate(result.operations)) +
         row("kills", grouped(result.kills), of_kills) + fault_rows(result) +
         row("inherited", grouped(result.inherited)) +
         row("recoveries", grouped(result.recoveries()),
             "(transfers finished: " + grouped(result.finished) + ", undone: " + grouped(result.undone) +
                 ", none under way: " + grouped(result.none_under_way) + ")") +
         row("timed out", grouped(result.timed_out)) + row("longest wait", duration(result.longest_wait)) +
         row("  with the lock free", duration(result.longest_wait_while_free)) +
         must_be_zero("money lost", static_cast<std::uint64_t>(result.money_lost)) +
         must_be_zero("stranded waiters", result.stranded_waiters) +
         (result.locks_lost > 0 ? must_be_zero("locks never free again", result.locks_lost) : "") +
         must_be_zero("wrong owners seen", result.wrong_owners) + failures(result) + verdict(result);
}

std::string as_json(const Options& options, const Result& result) {
  JsonObject object("");
  object.add("options", options_as_json(options));
  object.add("interrupted", result.interrupted);
  object.add("ended_early", in_quotes(result.ended_early));
  object.add("elapsed_seconds", in_seconds(result.elapsed));
  object.add("operations", result.operations);
  object.add("operations_per_second", per_second(result.operations, result.elapsed));
  object.add("kills", result.kills);
  object.add("faults", faults_as_json(result.faults));
  object.add("faults_planned", faults_as_json(result.planned));
  object.add("inherited", result.inherited);
  object.add("recoveries", result.recoveries());
  object.add("transfers_finished", result.finished);
  object.add("transfers_undone", result.undone);
  object.add("transfers_none_under_way", result.none_under_way);
  object.add("timed_out", result.timed_out);
  object.add("longest_wait_seconds", in_seconds(result.longest_wait));
  object.add("longest_wait_while_free_seconds", in_seconds(result.longest_wait_while_free));
  object.add("waits", histogram_as_json(result.waits));
  object.add("money_lost", static_cast<std::uint64_t>(result.money_lost));
  object.add("stranded_waiters", result.stranded_waiters);
  object.add("stranded_behind_dead_owners",
             result.stranded_behind[static_cast<std::size_t>(Obstacle::dead_owner)]);
  object.add("locks_never_free_again", result.locks_lost);
  object.add("wrong_owners_seen", result.wrong_owners);
  object.add("failed_workers", std::uint64_t{result.failures.size()});
  object.add("passed", result.passed());
  object.add("seen", sentences_as_json(what_was_seen(result)));
  return object.str() + "\n";
}

std::string progress_line(const Progress& progress) {
  return fixed(in_seconds(progress.elapsed), 1) + " s  " + rounded(progress.operations_per_second) +
         " operations/s  " + grouped(progress.kills) + " kills  " + grouped(progress.inherited) +
         " inherited  waiting longest " + fixed(in_seconds(progress.longest_waiting), 3) + " s";
}

}  // namespace stress
