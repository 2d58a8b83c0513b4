#include <algorithm>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/dataset.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct ClassifyOptions {
  CommonOptions common;
  std::string model, text, file, text_field = "text", label_field = "label";
  bool has_text = false;
  std::size_t length_max = 128;
  int threads = 0;
};

// A text, and the label that it should get if its row had one.
struct Row {
  std::string text, label;
};

// The lines of a text that are not empty.
std::vector<Row> rows_of_lines(const std::string& text) {
  std::vector<Row> rows;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) rows.push_back({std::move(line), ""});
    at = end + 1;
  }
  return rows;
}

bool has_ending(const std::string& path, std::string_view ending) {
  return std::string_view(path).ends_with(ending);
}

Result<std::vector<Row>> read_rows(const ClassifyOptions& options) {
  if (options.has_text == !options.file.empty())
    return Status(Code::kInvalidArgument,
                  "give a text as an argument or a file with -f, one of the two");
  if (options.has_text && options.text != "-") return std::vector<Row>{{options.text, ""}};
  if (options.has_text || options.file == "-") {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, read_stdin());
    return rows_of_lines(text);
  }
  const bool rows_with_fields = has_ending(options.file, ".jsonl") ||
                                has_ending(options.file, ".ndjson") ||
                                has_ending(options.file, ".csv");
  if (!rows_with_fields) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, read_text(options.file));
    return rows_of_lines(text);
  }
  // Labels are read if every row has one: then the accuracy can be computed.
  model::DataFields fields{options.text_field, options.label_field, /*with_labels=*/true};
  Result<model::DataRows> read = model::read_data_rows(options.file, fields);
  if (!read || !read->dropped.empty()) {
    fields.with_labels = false;
    read = model::read_data_rows(options.file, fields);
  }
  if (!read) return read.status();
  if (!read->dropped.empty())
    return Status(Code::kBadData, "line " + std::to_string(read->dropped[0].line) + " of " +
                                      options.file + " cannot be read: " + read->dropped[0].why);
  std::vector<Row> rows;
  for (model::DataRow& row : read->rows)
    rows.push_back({std::move(row.text), std::move(row.label)});
  return rows;
}

std::vector<double> probabilities(const std::vector<float>& logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> out;
  double sum = 0.0;
  for (const float logit : logits) {
    out.push_back(static_cast<double>(exp_bits(logit - largest)));
    sum += out.back();
  }
  for (double& one : out) one /= sum;
  return out;
}

class Classifier {
 public:
  static Result<Classifier> open(const ClassifyOptions& options) {
    Classifier made;
    TROUPE_ASSIGN_OR_RETURN(
        made.model_, load_local_model(options.common.home, options.model, {options.threads, {}}));
    const model::ModelConfig& config = made.model_.stage->config();
    if (config.causal || config.labels == 0)
      return Status(Code::kInvalidArgument,
                    "the model has no classification head; train one with troupe finetune --task "
                    "classify");
    const model::GgufHeader& header = made.model_.source->header();
    if (!model::has_tokenizer(header)) return model::no_tokenizer();
    TROUPE_ASSIGN_OR_RETURN(made.tokenizer_, model::open_tokenizer(header, config.vocabulary));
    made.labels_ = model::label_names(header);
    for (std::size_t i = made.labels_.size(); i < config.labels; ++i)
      made.labels_.push_back("LABEL_" + std::to_string(i));  // the names that transformers uses
    made.dataset_.length_max = std::min(options.length_max, config.context_max);
    return made;
  }

  // {"label", "probability", "probabilities"}, or of a regression {"name", "value"}
  Result<nlohmann::ordered_json> classify(const Row& row) {
    bool truncated = false;
    TROUPE_ASSIGN_OR_RETURN(const std::vector<model::TokenId> ids,
                            model::encode_text(row.text, *tokenizer_, dataset_, &truncated));
    if (ids.empty()) return Status(Code::kInvalidArgument, "a text has no tokens");
    TROUPE_ASSIGN_OR_RETURN(const std::vector<float> logits,
                            model::sequence_logits(*model_.stage, ids, {}, ids.size()));
    if (logits.size() == 1)  // a regression
      return nlohmann::ordered_json{{"name", labels_[0]}, {"value", logits[0]}};
    const std::vector<double> all = probabilities(logits);
    const auto best =
        static_cast<std::size_t>(std::max_element(all.begin(), all.end()) - all.begin());
    nlohmann::ordered_json named = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < all.size(); ++i) named[labels_[i]] = all[i];
    return nlohmann::ordered_json{
        {"label", labels_[best]}, {"probability", all[best]}, {"probabilities", named}};
  }

 private:
  LocalModel model_;
  std::shared_ptr<const model::Tokenizer> tokenizer_;
  std::vector<std::string> labels_;
  model::DatasetOptions dataset_;
};

Result<int> classify_rows(const ClassifyOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<Row> rows, read_rows(options));
  TROUPE_ASSIGN_OR_RETURN(Classifier classifier, Classifier::open(options));
  std::size_t with_label = 0, right = 0;
  for (const Row& row : rows) {
    TROUPE_ASSIGN_OR_RETURN(const nlohmann::ordered_json answer, classifier.classify(row));
    if (answer.contains("value")) {
      if (options.common.json) {
        print_json(nlohmann::json(answer));
      } else {
        std::printf("%.6g\n", answer["value"].get<double>());
      }
      continue;
    }
    const auto label = answer["label"].get<std::string>();
    with_label += row.label.empty() ? 0 : 1;
    right += !row.label.empty() && row.label == label ? 1 : 0;
    if (options.common.json) {
      print_json(nlohmann::json(answer));
    } else {
      std::printf("%s\t%.4f\n", label.c_str(), answer["probability"].get<double>());
    }
  }
  if (with_label == 0) return kExitOk;
  say(std::to_string(right) + " of " + std::to_string(with_label) +
      " labels are as the file has them: accuracy " +
      format_number(100.0 * static_cast<double>(right) / static_cast<double>(with_label), 1) +
      " %");
  if (options.common.json) print_json({{"right", right}, {"of", with_label}});
  return kExitOk;
}

int run_classify(const ClassifyOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<int> status = classify_rows(options);
  return status ? *status : fail(status.status(), options.common.json);
}

}  // namespace

Action add_classify(CLI::App& app) {
  auto options = std::make_shared<ClassifyOptions>();
  add_model_argument(app, options->model);
  CLI::Option* text =
      app.add_option("TEXT", options->text, "A text, or - for the lines of stdin")->type_name("");
  app.add_option("-f,--file", options->file, "Texts: .jsonl, .csv, or lines; - for stdin")
      ->type_name("FILE");
  app.add_option("--text-field", options->text_field, "Field of a row's text")
      ->capture_default_str();
  app.add_option("--label-field", options->label_field, "Field of a row's label")
      ->capture_default_str();
  app.add_option("--max-length", options->length_max, "Tokens of a text; longer ones are cut")
      ->check(whole_number(3, 1 << 20))
      ->capture_default_str();
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_common_options(app, options->common);
  app.footer(
      "Prints the label of each text and its probability; with --json, prints an object for each\n"
      "text with the probabilities of all labels. If the rows have labels, says how many labels\n"
      "are right.\n"
      "\n"
      "Examples:\n"
      "  troupe classify ./classifier \"A game about trains\"\n"
      "  troupe classify ./classifier -f test.jsonl --json");
  return [options, text] {
    options->has_text = text->count() > 0;
    return run_classify(*options);
  };
}

}  // namespace troupe::tools
