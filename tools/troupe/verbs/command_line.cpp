#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <troupe/runtime/version.h>
#include <troupe/tools/troupe/daemon/join_source.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/verbs/command_line.h>

namespace troupe::tools {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  troupe run smollm2-135m \"Why is the sky blue?\"   an answer, in this process\n"
    "  troupe run smollm2-135m                          a chat\n"
    "  troupe start                                     a head; prints how other machines join\n"
    "  troupe start --join TOKEN@HOST:PORT              a node that shares the layers\n"
    "  troupe status                                    which node holds which layers\n"
    "\n"
    "`troupe VERB --help` explains a verb. Results go to stdout, everything else to stderr. The\n"
    "exit status is 0, 2 for wrong usage, 1 for any other failure, 130 if it was interrupted.";

bool is_verb(const std::string& word) {
  for (const Verb& verb : kVerbs) {
    if (word == verb.name) return true;
  }
  return false;
}

// Returns the name of an option with an empty value, or "". Such a value is what "$UNSET" leaves
// behind; treating it as "not given" could do something that was not meant.
std::string empty_option(const CLI::App& verb) {
  for (const CLI::Option* option : verb.get_options()) {
    const std::string name = option->get_name();
    if (name.rfind("--", 0) != 0 || name == "--system") continue;
    for (const std::string& value : option->results()) {
      if (value.empty()) return name;
    }
  }
  for (const CLI::App* nested : verb.get_subcommands()) {
    if (const std::string name = empty_option(*nested); !name.empty()) return name;
  }
  return "";
}

bool wants_json(int argc, char** argv) {
  return std::any_of(argv, argv + argc,
                     [](const char* word) { return std::strcmp(word, "--json") == 0; });
}

int usage_error(std::string message, const std::string& verb, bool json) {
  // CLI11 ends some messages with a list of lines: one sentence is enough here.
  if (const std::size_t end = message.find('\n'); end != std::string::npos) message.resize(end);
  while (!message.empty() && (message.back() == '.' || message.back() == ' ')) message.pop_back();
  message += "; `troupe " + (verb.empty() ? "" : verb + " ") + "--help` shows what it takes";
  return fail(Status(Code::kInvalidArgument, message), json);
}

}  // namespace

int run_command(int argc, char** argv) {
  CLI::App app{"Troupe runs transformer models across the machines that you have.", "troupe"};
  app.set_version_flag("--version", std::string("troupe ") + program_version());
  app.footer(kFooter);
  app.get_formatter()->column_width(32);
  app.require_subcommand(1);
  std::vector<std::pair<CLI::App*, Action>> actions;
  for (const Verb& verb : kVerbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.about);
    actions.emplace_back(sub, verb.add(*sub));
  }
  const bool json = wants_json(argc, argv);
  if (argc < 2) {
    std::fputs(app.help().c_str(), stderr);
    return kExitUsage;
  }
  if (argv[1][0] != '-' && !is_verb(argv[1])) {
    return usage_error(std::string("there is no verb '") + argv[1] + "'", "", json);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what(), is_verb(argv[1]) ? argv[1] : "", json);
  }
  hide_tokens(argc, argv);
  for (const auto& [sub, action] : actions) {
    if (!sub->parsed()) continue;
    if (const std::string name = empty_option(*sub); !name.empty()) {
      return usage_error(name + " is empty: give it a value or leave it out", sub->get_name(),
                         json);
    }
    if (const Status level = check_log_variable(); !level) return fail(level, json);
    return action();
  }
  return kExitUsage;
}

}  // namespace troupe::tools
