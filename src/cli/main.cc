// berth: argv to a verb, a verb to its effects.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/nearest.h"
#include "cli/options.h"
#include "cli/say.h"

#ifndef BERTH_VERSION
#define BERTH_VERSION "0.1.0"
#endif

namespace berth {
namespace {

struct Verb {
  const char* name;
  int (*run)(const Words&);
};

constexpr std::array<Verb, 12> verbs{{{"run", run_command},
                                      {"hold", hold_command},
                                      {"adopt", adopt_command},
                                      {"doctor", doctor_command},
                                      {"status", status_command},
                                      {"set", set_command},
                                      {"unset", unset_command},
                                      {"release", release_command},
                                      {"resize", resize_command},
                                      {"reclaim", reclaim_command},
                                      {"busy", busy_command},
                                      {"history", history_command}}};

int unknown_verb(const std::string& word) {
  if (word.starts_with("-")) {
    say("there is no verb before " + printable(word) +
        "; a command is run by berth run (berth --help lists the verbs)");
    return exit_status::usage;
  }
  std::vector<std::string> known{"help"};
  for (const VerbHelp& verb : all_verbs()) known.emplace_back(verb.name);
  const std::string near = nearest(word, known);
  say("unknown verb " + printable(word) + (near.empty() ? "" : "; did you mean " + near + "?") +
      " (berth --help lists them)");
  return exit_status::usage;
}

// Where 0, 1 or 2 is closed, what we open next would get that number and be written to as stderr. What
// stands in fails as a closed one does, and is closed for the command again.
void stand_in_for_closed_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

int dispatch(int argc, char** argv) {
  if (argc < 2) {
    say("there is no verb; berth --help lists them");
    return exit_status::usage;
  }
  const std::string word = argv[1];
  const Words rest(argv + 2, argv + argc);
  if (word == "--version" || word == "-V")
    return put("berth " BERTH_VERSION "\n") ? exit_status::ok : exit_status::unavailable;
  if (word == "--help" || word == "-h" || word == "help") {
    // For the build: the man page's share of the same table.
    if (!rest.empty() && rest.front() == "--man") return put(man_parts()) ? exit_status::ok : exit_status::unavailable;
    const std::string text = help_text(rest.empty() ? "" : rest.front());
    if (text.empty()) return unknown_verb(rest.front());
    return put(text) ? exit_status::ok : exit_status::unavailable;
  }
  if (word == "demo") return demo_command(rest, argv[0]);
  for (const Verb& v : verbs)
    if (word == v.name) return v.run(rest);
  return unknown_verb(word);
}

}  // namespace
}  // namespace berth

int main(int argc, char** argv) {
  berth::stand_in_for_closed_descriptors();
  try {
    return berth::dispatch(argc, argv);
  } catch (const std::exception& e) {
    // Only the allocator throws here, and the JSON library where it has a fault.
    berth::say(std::string("out of memory or worse: ") + e.what());
    return berth::exit_status::unavailable;
  }
}
