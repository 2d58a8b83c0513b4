#include <cstdio>
#include <string>

#include <unistd.h>

#include <troupe/tools/troupe/terminal/line_reader.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs/chat.h>

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

// The conversation so far, as messages, or as one text if the model has no template for them.
class Conversation {
 public:
  Conversation(GenerateRequest request, bool plain)
      : request_(std::move(request)), system_(request_.system), plain_(plain) {
    request_.system.clear();
    request_.raw = plain_;
    begin_anew();
  }
  void begin_anew() {
    request_.messages.clear();
    text_ = plain_ && !system_.empty() ? system_ + "\n" : "";
    if (!plain_ && !system_.empty()) request_.messages.push_back({"system", system_});
    begun_ = false;
  }
  const GenerateRequest& ask(const std::string& message) {
    if (plain_) {
      request_.prompt = text_ + message;
    } else {
      request_.messages.push_back({"user", message});
    }
    return request_;
  }
  void remember(const std::string& answer) {
    if (plain_) {
      text_ = request_.prompt + answer + "\n";
    } else {
      request_.messages.push_back({"assistant", answer});
    }
    begun_ = true;
  }
  void take_back() {
    if (!plain_) request_.messages.pop_back();
  }
  // Says whether a turn has been answered.
  bool begun() const { return begun_; }

 private:
  GenerateRequest request_;
  std::string system_, text_;
  bool plain_, begun_ = false;
};

// Does one turn: the message goes in, and the answer is printed and remembered. A turn that failed
// is forgotten, so that the next message starts from a conversation that works.
void answer(Cluster& cluster, Conversation& talk, const std::string& message, SignalWatch& watch) {
  const GenerateRequest& request = talk.ask(message);
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
    const bool long_talk = failed.code() == Code::kInvalidArgument && talk.begun();
    say(failed.message() + (long_talk ? "; /clear forgets the conversation so far" : ""));
    talk.take_back();
    return;
  }
  talk.remember(result->text);
  if (stopped) say("stopped");
  say_cut_off(request, *result);
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
  const auto rate = [](double tok_s) {
    return tok_s > 0 ? " at " + format_number(tok_s, 1) + " tokens/s" : std::string();
  };
  std::string said = std::to_string(result.prompt_token_ids.size()) + " tokens read" +
                     rate(result.prompt_tok_s) + ", " + std::to_string(result.token_ids.size()) +
                     " written" + rate(result.decode_tok_s);
  if (result.ttft_ms > 0) said += ", the first after " + format_number(result.ttft_ms, 0) + " ms";
  say(said + "; " + stages);
}

void say_cut_off(const GenerateRequest& request, const GenerateResult& result) {
  if (result.finish_reason != "length") return;
  const std::size_t tokens = result.token_ids.size();
  if (tokens >= static_cast<std::size_t>(request.max_tokens)) {
    return say("answer ended at -n " + std::to_string(request.max_tokens) +
               " tokens; a larger -n lets it go on");
  }
  say("answer ended where the context of " +
      std::to_string(result.prompt_token_ids.size() + tokens) + " positions is full; " +
      (request.context > 0 ? "a larger -c or a shorter prompt leaves more room"
                           : "this is the model's limit: a shorter prompt leaves more room"));
}

int chat(Cluster& cluster, GenerateRequest request, bool plain, SignalWatch& watch) {
  if (plain) {
    say(request.model +
        " has no chat template: turns are plain text, and the model continues "
        "from what was written so far");
  }
  Conversation talk(std::move(request), plain);
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
      talk.begin_anew();
      say("the conversation begins anew");
    } else if (message[0] == '/' && message.find_first_of(" \n") == std::string::npos) {
      say("there is no command " + message + "; " + kHelp);
    } else {
      answer(cluster, talk, message, watch);
    }
  }
}

}  // namespace troupe::tools
