// The command line of the model checks, and what they print.
#include <cstddef>
#include <cstring>
#include <map>
#include <stdexcept>

#include "model/scenario.hpp"
#include "model/scheduler.hpp"

namespace heirlock::verify {
namespace {

using Checks = std::map<std::string, std::vector<Row>>;
Checks& checks() {
  static Checks the_checks;
  return the_checks;
}

using Mutants = std::map<std::string, Algorithm>;
Mutants& mutants() {
  static Mutants the_mutants;
  return the_mutants;
}

struct Options {
  std::string check, mutant;  // empty: the algorithm that ships
  bool list = false, full = false;
  int row = 0;
  std::uint64_t seed = 1;
  double seconds = 0;
  bool repeats = false;
  Choices::Row choices;
};

const char* verdict_of(rl::test_result_e result) {
  switch (result) {
    case rl::test_result_success:
      return "holds";
    case rl::test_result_user_assert_failed:
      return "assertion";
    case rl::test_result_user_invariant_failed:
      return "invariant";
    case rl::test_result_data_race:
      return "data race";
    case rl::test_result_deadlock:
      return "deadlock";
    case rl::test_result_livelock:
      return "livelock";
    case rl::test_result_access_to_freed_memory:
      return "access to freed memory";
    default:
      return rl::test_result_str(result);
  }
}

std::string search_in_words(const Search& search) {
  switch (search.kind) {
    case Search::Kind::every_execution:
      return "every execution";
    case Search::Kind::bounded_switches:
      return "at most " + std::to_string(search.switches) + " switches";
    case Search::Kind::sampled:
      return "random";
  }
  return {};
}

constexpr const char* walk_names[] = {"before_2022", "since_2022", "since_2026"};

ExitWalk walk_named(const std::string& name) {
  for (std::size_t i = 0; i < std::size(walk_names); ++i)
    if (name == walk_names[i]) return static_cast<ExitWalk>(i);
  throw std::invalid_argument("found --walk " + name + ", expected before_2022, since_2022 or since_2026");
}

// A row of choices in one word: z12.1.2 is twelve zeros, 1, 2.
std::string to_word(const Choices::Row& row) {
  std::string word;
  unsigned zeros = 0;
  const auto add = [&](const std::string& part) { word += (word.empty() ? "" : ".") + part; };
  for (const unsigned choice : row) {
    if (choice == 0) {
      ++zeros;
      continue;
    }
    if (zeros > 0) add("z" + std::to_string(zeros));
    zeros = 0;
    add(std::to_string(choice));
  }
  return word.empty() ? "z0" : word;
}

Choices::Row from_word(const std::string& word) {
  Choices::Row row;
  std::istringstream parts(word);
  for (std::string part; std::getline(parts, part, '.');) {
    const bool zeros = part[0] == 'z';
    const std::string digits = zeros ? part.substr(1) : part;
    const bool is_number =
        !digits.empty() && digits.size() < 6 && digits.find_first_not_of("0123456789") == digits.npos;
    if (!is_number)
      throw std::invalid_argument("found '" + part +
                                  "' in --replay, expected numbers and zN with dots between");
    const unsigned long number = std::stoul(digits);
    if (zeros)
      row.resize(row.size() + number);
    else
      row.push_back(static_cast<unsigned>(number));
  }
  return row;
}

// Whose scenario Relacy constructs.
const Row* running_row;

template <int threads>
class Suite : public rl::test_suite<Suite<threads>, threads> {
 public:
  Suite() : scenario_(running_row->construct(memory_)) {}
  ~Suite() { scenario_->~AnyScenario(); }
  void thread(unsigned index) { scenario_->thread(index); }
  void after() { scenario_->after(); }
  void invariant() { scenario_->invariant(); }

 private:
  alignas(std::max_align_t) unsigned char memory_[largest_scenario];
  AnyScenario* const scenario_;
};

template <int threads>
rl::test_result_e run_in_relacy(rl::test_params& params) {
  rl::ostringstream state;
  return rl::run_test<Suite<threads>, Scheduler<threads>>(params, state, false);
}

rl::test_result_e run(const Row& row) {
  struct NoOutput : std::streambuf {
    int overflow(int character) override { return character; }
  } nowhere_at_all;
  std::ostream no_output(&nowhere_at_all);
  rl::test_params params;
  params.search_type = rl::random_scheduler_type;  // here it only means: older values, as old as Relacy knows
  params.output_stream = params.progress_stream = &no_output;
  running_row = &row;
  row.prepare();
  switch (row.threads) {
    case 2:
      return run_in_relacy<2>(params);
    case 3:
      return run_in_relacy<3>(params);
    default:
      return run_in_relacy<4>(params);
  }
}

rl::test_result_e repeat(const Row& row, const Choices::Row& chosen) {
  choices().repeat(chosen);
  return run(row);
}

// Makes a failing execution duller, choice by choice, as long as it fails in the same way.
Choices::Row shorten(const Row& row, Choices::Row chosen, rl::test_result_e result) {
  for (bool shorter = true; shorter;) {
    shorter = false;
    for (std::size_t i = chosen.size(); i-- > 0;) {
      if (i >= chosen.size() || chosen[i] == 0) continue;
      Choices::Row duller = chosen;
      duller[i] = 0;
      if (repeat(row, duller) != result) continue;
      chosen = choices().row();
      shorter = true;
    }
  }
  return chosen;
}

rl::test_result_e tell(const Options& options, const Row& row, const Choices::Row& chosen) {
  std::printf("what happened, step by step (%s, row %d):\n", row.label, options.row);
  telling = true;
  const rl::test_result_e result = repeat(row, chosen);
  telling = false;
  if (result == rl::test_result_deadlock) Kernel::running().tell_sleepers();
  std::printf("  ==> %s\n", verdict_of(result));
  const std::string& name = options.mutant.empty() ? options.check : options.mutant;
  std::printf("to see it again: ci/verify %s --row %d --replay %s", name.c_str(), options.row,
              to_word(chosen).c_str());
  if (Kernel::only_walk) std::printf(" --walk %s", walk_names[static_cast<std::size_t>(*Kernel::only_walk)]);
  std::printf("\n");
  return result;
}

bool run_row(const Options& options, const Row& row) {
  if (options.repeats) return tell(options, row, options.choices) == rl::test_result_success;
  const Search& search = options.full ? row.full : row.quick;
  choices().start(search, options.seed, options.seconds);
  const rl::test_result_e result = run(row);
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  const bool holds = result == rl::test_result_success;
  const bool exhausted = holds && choices().exhausted() && search.kind != Search::Kind::sampled;
  const unsigned long long executions = number(choices().executions() + (holds ? 0 : 1));
  const unsigned long long redundant = number(choices().redundant_executions());
  const double seconds = choices().seconds();
  const std::string missing = exhausted ? row.missing() : "";
  const Choices::Row failing = holds ? Choices::Row{} : shorten(row, choices().row(), result);
  std::printf(
      "result {\"row\": %d, \"label\": \"%s\", \"threads\": %d, \"deaths\": %d, \"search\": \"%s\", "
      "\"seed\": %llu, "
      "\"executions\": %llu, \"redundant\": %llu, \"exhausted\": %s, \"seconds\": %.3f, \"verdict\": \"%s\", "
      "\"replay\": \"%s\"}\n",
      options.row, row.label, row.threads, row.deaths, search_in_words(search).c_str(), number(options.seed),
      executions, redundant, exhausted ? "true" : "false", seconds,
      missing.empty() ? verdict_of(result) : "missing outcome", to_word(failing).c_str());
  if (!holds) tell(options, row, failing);
  if (!missing.empty()) std::printf("  *** %s\n", missing.c_str());
  return holds && missing.empty();
}

void list(bool full) {
  for (const auto& [name, rows] : checks())
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Search& search = full ? rows[i].full : rows[i].quick;
      std::printf("{\"check\": \"%s\", \"row\": %zu, \"label\": \"%s\", \"sampled\": %llu}\n", name.c_str(),
                  i, rows[i].label, static_cast<unsigned long long>(search.executions));
    }
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) throw std::invalid_argument(name + " needs a value");
      return argv[i];
    };
    if (name == "--list")
      options.list = true;
    else if (name == "--full")
      options.full = true;
    else if (name == "--mutant")
      options.mutant = value();
    else if (name == "--row")
      options.row = std::stoi(value());
    else if (name == "--seed")
      options.seed = std::stoull(value());
    else if (name == "--seconds")
      options.seconds = std::stod(value());
    else if (name == "--walk")
      Kernel::only_walk = walk_named(value());
    else if (name == "--replay")
      options.repeats = true, options.choices = from_word(value());
    else
      options.check = name;
  }
  return options;
}

}  // namespace

Check::Check(const char* file, const std::vector<Row>& rows) {
  const std::string path = file;
  const std::size_t begin = path.rfind('/') + 1;
  checks()[path.substr(begin, path.rfind('.') - begin)] = rows;
}

Mutant::Mutant(const char* name, const Algorithm& of) {
  mutants()[name] = of;
}

}  // namespace heirlock::verify

// CHECK --row N [--mutant NAME] [--full] [--seconds N] [--seed N] [--walk NAME] [--replay CHOICES], or
// --list: what verify.py calls.
int main(int argc, char** argv) {
  using namespace heirlock::verify;
  try {
    const Options options = parse(argc, argv);
    if (options.list) return list(options.full), 0;
    if (!options.mutant.empty()) algorithm = mutants().at(options.mutant);
    return run_row(options, checks().at(options.check).at(static_cast<std::size_t>(options.row))) ? 0 : 1;
  } catch (const std::exception& wrong) {
    std::fprintf(stderr, "%s: %s\n", argv[0], wrong.what());
    return 2;
  }
}
