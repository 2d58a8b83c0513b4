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
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/verbs/classify_words.h>
#include <troupe/tools/troupe/verbs/text_rows.h>

namespace troupe::tools {
namespace {

struct ClassifyOptions {
  CommonOptions common;
  std::string model, label_field = "label";
  TextInput input;
  std::size_t length_max = 128;
  int threads = 0;
};

// A text, and the label that it should get if its row had one.
struct Row {
  std::string text, label;
};

Result<std::vector<Row>> read_rows(const ClassifyOptions& options) {
  std::vector<Row> rows;
  if (!has_fields(options.input.file)) {
    TROUPE_ASSIGN_OR_RETURN(std::vector<std::string> texts, read_texts(options.input));
    for (std::string& text : texts) rows.push_back({std::move(text), ""});
    return rows;
  }
  // Labels are read if every row has one: then the accuracy can be computed.
  model::DataFields fields{options.input.text_field, options.label_field, /*with_labels=*/true};
  Result<model::DataRows> read = model::read_data_rows(options.input.file, fields);
  if (!read || !read->dropped.empty()) {
    fields.with_labels = false;
    read = model::read_data_rows(options.input.file, fields);
  }
  if (!read) return read.status();
  if (!read->dropped.empty())
    return Status(Code::kBadData, "line " + std::to_string(read->dropped[0].line) + " of " +
                                      options.input.file +
                                      " cannot be read: " + read->dropped[0].why);
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
                    "classify or --task token");
    const model::GgufHeader& header = made.model_.source->header();
    if (!model::has_tokenizer(header)) return model::no_tokenizer();
    TROUPE_ASSIGN_OR_RETURN(made.tokenizer_, model::open_tokenizer(header, config.vocabulary));
    made.labels_ = model::label_names(header);
    // A file may list more names than its head has outputs.
    made.labels_.resize(std::min(made.labels_.size(), config.labels));
    for (std::size_t i = made.labels_.size(); i < config.labels; ++i)
      made.labels_.push_back("LABEL_" + std::to_string(i));  // the names that transformers uses
    made.dataset_.length_max = std::min(options.length_max, config.context_max);
    return made;
  }

  // Returns {"label", "probability", "probabilities"}, or {"name", "value"} for a regression.
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

  bool labels_words() const { return model_.stage->config().head == model::EncoderHead::kToken; }
  Result<WordLabels> label(const std::vector<model::TextWord>& words) {
    return label_words(*model_.stage, *tokenizer_, words, dataset_.length_max);
  }
  const std::vector<std::string>& labels() const { return labels_; }

 private:
  LocalModel model_;
  std::shared_ptr<const model::Tokenizer> tokenizer_;
  std::vector<std::string> labels_;
  model::DatasetOptions dataset_;
};

// Says how many labels equal those of the rows, if the rows have labels.
void say_right(const ClassifyOptions& options, std::size_t right, std::size_t with_label) {
  if (with_label == 0) return;
  say(std::to_string(right) + " of " + std::to_string(with_label) +
      " labels equal those of the file: accuracy " +
      format_number(100.0 * static_cast<double>(right) / static_cast<double>(with_label), 1) +
      " %");
  if (options.common.json) print_json({{"right", right}, {"of", with_label}});
}

Result<model::TokenRows> read_words(const ClassifyOptions& options) {
  model::TokenRows out;
  if (options.input.file.ends_with(".jsonl") || options.input.file.ends_with(".ndjson")) {
    model::TokenFields fields{options.input.text_field, {}, /*needs_tags=*/false};
    if (options.label_field != ClassifyOptions().label_field) fields.tags = options.label_field;
    TROUPE_ASSIGN_OR_RETURN(out, model::read_token_rows(options.input.file, fields));
    if (out.dropped.empty()) return out;
    return Status(Code::kBadData, "line " + std::to_string(out.dropped[0].line) + " of " +
                                      options.input.file +
                                      " cannot be read: " + out.dropped[0].why);
  }
  TROUPE_ASSIGN_OR_RETURN(const std::vector<Row> rows, read_rows(options));
  for (const Row& row : rows) {
    out.rows.emplace_back();
    out.rows.back().words = model::words_of(row.text);
  }
  return out;
}

// Labels the words of each text, one text after the other.
Result<int> classify_words(const ClassifyOptions& options, Classifier& classifier) {
  TROUPE_ASSIGN_OR_RETURN(const model::TokenRows rows, read_words(options));
  const std::vector<std::string>& names = classifier.labels();
  std::size_t with_label = 0, right = 0;
  bool is_first = true;
  for (const model::TokenRow& row : rows.rows) {
    TROUPE_ASSIGN_OR_RETURN(const WordLabels found, classifier.label(row.words));
    if (!is_first && !options.common.json) std::printf("\n");
    is_first = false;
    print_words(row.words, found, names, options.common.json);
    for (std::size_t i = 0; i < row.tags.size(); ++i) {
      if (row.tags[i].empty() || found.labels[i] == WordLabels::kNoLabel) continue;
      const std::string own = "LABEL_" + std::to_string(found.labels[i]);
      ++with_label;
      right += row.tags[i] == (row.is_numbered ? own : names[found.labels[i]]) ? 1 : 0;
    }
  }
  say_right(options, right, with_label);
  return kExitOk;
}

Result<int> classify_rows(const ClassifyOptions& options) {
  TROUPE_RETURN_IF_ERROR(check_input(options.input));
  TROUPE_ASSIGN_OR_RETURN(Classifier classifier, Classifier::open(options));
  if (classifier.labels_words()) return classify_words(options, classifier);
  TROUPE_ASSIGN_OR_RETURN(const std::vector<Row> rows, read_rows(options));
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
  say_right(options, right, with_label);
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
      app.add_option("TEXT", options->input.text, "A text, or - for the lines of stdin")
          ->type_name("");
  app.add_option("-f,--file", options->input.file, "Texts: .jsonl, .csv, or lines; - for stdin")
      ->type_name("FILE");
  app.add_option("--text-field", options->input.text_field, "Field of a row's text")
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
      "text with the probabilities of all labels. A model that labels words gives, for each text,\n"
      "its entities, or else its words with their labels, and an empty line after the text. If\n"
      "the rows have labels, says how many labels are right.\n"
      "\n"
      "Examples:\n"
      "  troupe classify ./classifier \"A game about trains\"\n"
      "  troupe classify ./classifier -f test.jsonl --json\n"
      "  troupe classify ./tagger \"Ada Lovelace lived in London\"");
  return [options, text] {
    options->input.has_text = text->count() > 0;
    return run_classify(*options);
  };
}

}  // namespace troupe::tools
