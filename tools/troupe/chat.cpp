#include <cstdio>
#include <string>

#include <unistd.h>

#include <troupe/tools/troupe/chat.h>
#include <troupe/tools/troupe/line_reader.h>
#include <troupe/tools/troupe/output.h>

namespace troupe::tools {
namespace {

constexpr const char kHelp[] =
    "write a message and press Enter; end a line with \\ or put \"\"\" around several lines to "
    "write more than one; /clear (or /reset) forgets the conversation; Ctrl-C stops an answer; "
    "/bye "
    "(or /exit) or Ctrl-D ends";

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// One turn: the message goes in, the answer is printed and remembered. What failed is forgotten, so
// that the next message starts from a conversation that works.
void answer(Cluster& cluster, GenerateRequest& request, const std::string& message,
            SignalWatch& watch) {
  request.messages.push_back({"user", message});
  watch.clear();
  Result<GenerateResult> result = cluster.generate(
      request, [&watch](const TokenEvent& event) { return show_token(event, watch); });
  std::fputs("\n", stdout);
  std::fflush(stdout);
  const bool stopped = watch.count() > 0;
  watch.clear();
  const Status failed = !result                            ? result.status()
                        : result->finish_reason == "error" ? result->error
                                                           : Status::ok();
  if (!failed) {
    const bool long_talk = failed.code() == Code::kInvalidArgument && request.messages.size() > 2;
    say(failed.message() + (long_talk ? "; /clear forgets the conversation so far" : ""));
    request.messages.pop_back();
    return;
  }
  request.messages.push_back({"assistant", result->text});
  if (stopped) say("stopped");
  say_summary(*result);
}

}  // namespace

bool show_token(const TokenEvent& event, SignalWatch& watch) {
  std::fwrite(event.text.data(), 1, event.text.size(), stdout);
  std::fflush(stdout);
  return watch.count() == 0;
}

void say_summary(const GenerateResult& result) {
  std::string stages;
  for (const StageReport& stage : result.nodes) {
    stages += (stages.empty() ? "" : ", ") + ("layers " + stage.layers + " on " + stage.node);
  }
  say(std::to_string(result.prompt_token_ids.size()) + " tokens read at " +
      format_number(result.prompt_tok_s, 1) + " tokens/s, " +
      std::to_string(result.token_ids.size()) + " written at " +
      format_number(result.decode_tok_s, 1) + " tokens/s, the first after " +
      format_number(result.ttft_ms, 0) + " ms; " + stages);
}

int chat(Cluster& cluster, GenerateRequest request, SignalWatch& watch) {
  const std::string system = request.system;
  request.system.clear();
  const auto begin_anew = [&] {
    request.messages.clear();
    if (!system.empty()) request.messages.push_back({"system", system});
  };
  begin_anew();
  if (::isatty(0)) say(kHelp);
  LineReader reader(watch);
  for (;;) {
    if (watch.asked_to_end()) return kExitTerminated;
    std::string message;
    const LineReader::Outcome outcome = reader.read_message(&message);
    if (watch.asked_to_end()) return kExitTerminated;
    if (outcome == LineReader::Outcome::kInterrupted) {
      std::fputs("\n", stderr);
      say("/bye or Ctrl-D ends the chat");
      continue;
    }
    if (outcome == LineReader::Outcome::kEnd || message == "/bye" || message == "/exit") {
      return kExitOk;
    }
    if (is_blank(message)) continue;
    if (message == "/help") {
      say(kHelp);
    } else if (message == "/clear" || message == "/reset") {
      begin_anew();
      say("the conversation begins anew");
    } else if (message[0] == '/' && message.find_first_of(" \n") == std::string::npos) {
      say("there is no command " + message + "; " + kHelp);
    } else {
      answer(cluster, request, message, watch);
    }
  }
}

}  // namespace troupe::tools
