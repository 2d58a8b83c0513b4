#include <algorithm>
#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/training/show.h>

namespace troupe::tools {
namespace {

// True if the token at a position is trained. In a decoder, an earlier position predicts it.
bool is_trained(const Job& job, const model::Example& example, std::size_t position) {
  if (!job.config.causal)
    return position < example.targets.size() && example.targets[position] != model::kNoTarget;
  return position > 0 && position <= example.targets.size() &&
         example.targets[position - 1] != model::kNoTarget;
}

Result<std::string> marked_text(const Job& job, const model::Example& example, bool in_colour) {
  const std::string begin = in_colour ? "\033[32m" : "«", end = in_colour ? "\033[0m" : "»";
  std::string text;
  bool inside = false;
  for (std::size_t i = 0; i < example.ids.size(); ++i) {
    const bool trained = is_trained(job, example, i);
    if (trained != inside) text += trained ? begin : end;
    inside = trained;
    TROUPE_ASSIGN_OR_RETURN(const std::string piece,
                            job.tokenizer->piece(example.ids[i], /*with_special=*/true));
    text += piece;
    // A label belongs to one token, the first of a word.
    if (trained && !job.data.labels.empty() && !example.targets.empty()) {
      text += "/" + job.data.labels[static_cast<std::size_t>(example.targets[i])] + end;
      inside = false;
    }
  }
  return inside ? text + end : text;
}

}  // namespace

Status show_examples(const Job& job, std::size_t count, bool json) {
  for (std::size_t i = 0; i < std::min(count, job.data.examples.size()); ++i) {
    const model::Example example =
        job.masking.mask < 0
            ? job.data.examples[i]
            : model::masked(job.data.examples[i], job.masking, model::MaskingUse::kTraining);
    const bool has_label = !job.data.labels.empty() && example.targets.empty();
    if (json) {
      nlohmann::json object = {{"ids", example.ids}};
      if (has_label) {
        if (job.data.labels.size() == 1) {
          object["value"] = example.value;
        } else {
          object["label"] = job.data.labels[example.label];
        }
      } else {
        object["targets"] = example.targets;
        if (!job.data.labels.empty()) object["labels"] = job.data.labels;
      }
      print_json(object);
      continue;
    }
    TROUPE_ASSIGN_OR_RETURN(const std::string text,
                            marked_text(job, example, ::isatty(STDOUT_FILENO) == 1));
    std::string label;
    if (has_label && job.data.labels.size() == 1) {
      label = "\t" + format_number(static_cast<double>(example.value), 4);
    } else if (has_label) {
      label = "\t" + job.data.labels[example.label];
    }
    std::printf("%s%s\n", text.c_str(), label.c_str());
  }
  return Status::ok();
}

}  // namespace troupe::tools
