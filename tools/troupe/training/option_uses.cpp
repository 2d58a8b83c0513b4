#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/tools/troupe/training/option_uses.h>

namespace troupe::tools {
namespace {

struct TaskFlag {
  const char* flag;
  std::vector<std::string_view> tasks;
  const char* why;  // it is for no other task
};

const std::vector<TaskFlag>& task_flags() {
  static const std::vector<TaskFlag> kFlags = {
      {"--text-field",
       {"lm", "classify", "regress", "token", "mlm"},
       "the rows of the others have several texts, in fields of fixed names"},
      {"--label-field", {"classify", "regress", "token"}, "the others have no labels"},
      {"--truncate",
       {"chat", "dpo", "classify", "regress", "token", "embed"},
       "the others cut their texts into windows of --max-length, and lose none of them"},
      {"--beta", {"dpo"}, "the others have no original from which to stay away"},
      {"--teacher", {"lm", "chat"}, "the others do not predict next tokens"},
      {"--label-smoothing",
       {"lm", "chat", "classify", "token", "mlm"},
       "the others have no labels to smooth"},
      {"--mlm-probability", {"mlm"}, "the others hide no tokens"},
      {"--class-weights", {"classify", "token"}, "the others have no classes"}};
  return kFlags;
}

struct NeededFlag {
  const char* flag;
  bool (*has_use)(const FinetuneOptions& options);
  const char* otherwise;  // the end of a sentence that begins with the flag
};

bool has_adapters(const FinetuneOptions& options) { return options.lora_rank != 0; }
bool has_teacher(const FinetuneOptions& options) { return !options.teacher.empty(); }
bool has_validation(const FinetuneOptions& options) {
  return !options.validation.empty() || options.validation_split > 0.0;
}

constexpr NeededFlag kNeededFlags[] = {
    {"--lora-alpha", has_adapters, "is for adapters; give --lora-rank"},
    {"--lora-dropout", has_adapters, "is for adapters; give --lora-rank"},
    {"--lora-targets", has_adapters, "is for adapters; give --lora-rank"},
    {"--rslora", has_adapters, "is for adapters; give --lora-rank"},
    {"--lora-dropout",
     [](const FinetuneOptions& options) {
       const bool two_passes = options.task == "dpo" || options.task == "embed";
       return options.lora_dropout == 0.0 || !two_passes;
     },
     "would make the two passes of --task dpo and embed different; leave it out"},
    {"--kd-ratio", has_teacher, "is the part of a teacher in the loss; give --teacher"},
    {"--temperature",
     [](const FinetuneOptions& options) { return options.task == "embed" || has_teacher(options); },
     "is for --task embed, or for a teacher; give --teacher"},
    {"--validation-split",
     [](const FinetuneOptions& options) { return options.validation.empty(); },
     "and --validation each choose the rows for validation; give one of the two"},
    {"--patience",
     [](const FinetuneOptions& options) {
       return options.evaluate_every != 0 && has_validation(options);
     },
     "counts evaluations: it needs --eval-every, and --validation or --validation-split"},
    {"--eval-every", has_validation,
     "needs rows to evaluate; give --validation or --validation-split"}};

std::string in_words(const std::vector<std::string_view>& tasks) {
  std::string text;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (i != 0) text += i + 1 == tasks.size() ? " and " : ", ";
    text += tasks[i];
  }
  return text;
}

bool is_given(const CLI::App& app, const char* flag) {
  const CLI::Option* const option = app.get_option_no_throw(flag);  // `train` has no adapters
  return option != nullptr && option->count() != 0;
}

}  // namespace

Status check_option_uses(const CLI::App& app, const FinetuneOptions& options) {
  for (const TaskFlag& use : task_flags()) {
    if (!is_given(app, use.flag)) continue;
    if (std::find(use.tasks.begin(), use.tasks.end(), options.task) != use.tasks.end()) continue;
    return Status(Code::kInvalidArgument, std::string(use.flag) + " is for --task " +
                                              in_words(use.tasks) + ", not for " + options.task +
                                              ": " + use.why);
  }
  for (const NeededFlag& use : kNeededFlags) {
    if (is_given(app, use.flag) && !use.has_use(options))
      return Status(Code::kInvalidArgument, std::string(use.flag) + " " + use.otherwise);
  }
  return Status::ok();
}

}  // namespace troupe::tools
