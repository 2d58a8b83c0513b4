// The program `troupe`: parses the command line, runs one verb, and turns its outcome into an exit
// status (0; 1 for a failure; 2 for wrong usage).

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <troupe/tools/troupe/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  troupe run smollm2-135m \"Why is the sky blue?\"   an answer, in this process\n"
    "  troupe run smollm2-135m                          a chat\n"
    "  troupe start                                     a head; prints how other machines join\n"
    "  troupe start --join TOKEN@HOST:PORT              a node that shares the layers\n"
    "  troupe status                                    who holds which layers\n"
    "\n"
    "`troupe VERB --help` explains a verb. Results go to stdout, all else to stderr.";

bool is_verb(const std::string& word) {
  for (const Verb& verb : kVerbs) {
    if (word == verb.name) return true;
  }
  return false;
}

int usage_error(std::string message, const std::string& verb) {
  // CLI11 ends some messages with a list of lines: one sentence is enough here.
  if (const std::size_t end = message.find('\n'); end != std::string::npos) message.resize(end);
  while (!message.empty() && (message.back() == '.' || message.back() == ' ')) message.pop_back();
  say(message + "; `troupe " + (verb.empty() ? "" : verb + " ") + "--help` shows what it takes");
  return kExitUsage;
}

int run(int argc, char** argv) {
  CLI::App app{"Troupe runs transformer models across the machines that you have.", "troupe"};
  app.set_version_flag("--version", std::string("troupe ") + TROUPE_VERSION);
  app.footer(kFooter);
  app.get_formatter()->column_width(32);
  app.require_subcommand(1);
  std::vector<std::pair<CLI::App*, Action>> actions;
  for (const Verb& verb : kVerbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.about);
    actions.emplace_back(sub, verb.add(*sub));
  }
  if (argc < 2) {
    std::fputs(app.help().c_str(), stderr);
    return kExitUsage;
  }
  if (argv[1][0] != '-' && !is_verb(argv[1])) {
    return usage_error(std::string("there is no verb '") + argv[1] + "'", "");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what(), is_verb(argv[1]) ? argv[1] : "");
  }
  for (const auto& [sub, action] : actions) {
    if (sub->parsed()) return action();
  }
  return kExitUsage;
}

}  // namespace
}  // namespace troupe::tools

int main(int argc, char** argv) {
  try {
    return troupe::tools::run(argc, argv);
  } catch (const std::exception& error) {  // third-party code; the library throws nothing
    troupe::tools::say(std::string("unexpected failure: ") + error.what());
    return troupe::tools::kExitFailure;
  }
}
