#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <span>

#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/local/evaluate.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/chat_rows.h>
#include <troupe/model/training/evaluation.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/token_rows.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/training/dropped_rows.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

using nlohmann::ordered_json;

struct EvalOptions {
  CommonOptions common;
  std::string model, data, adapter, task = "lm", truncate = "right";
  std::string text_field = "text", label_field = "label";
  std::size_t length_max = 0;
  int threads = 0;
};

std::string four_digits(double value) { return format_number(value, 4); }

// One evaluation: the model, and what is needed to read the data.
class Evaluation {
 public:
  explicit Evaluation(const EvalOptions& options) : options_(options) {}

  Result<int> run() {
    TROUPE_RETURN_IF_ERROR(open());
    if (options_.task == "classify") return classify();
    if (options_.task == "token") return label_words();
    if (options_.task == "choice") return choose();
    return predict();
  }

 private:
  Status open() {
    LocalModelOptions local;
    local.threads = options_.threads;
    local.adapter = options_.adapter;
    TROUPE_ASSIGN_OR_RETURN(model_, load_local_model(options_.common.home, options_.model, local));
    const model::ModelConfig& config = model_.stage->config();
    const bool labels = options_.task == "classify" || options_.task == "token";
    if (config.causal == labels)
      return Status(Code::kInvalidArgument,
                    config.causal
                        ? "the model is a decoder (" + config.family + "); --task " +
                              options_.task + " is for encoders such as BERT"
                        : "the model is an encoder (" + config.family +
                              "), which predicts no next token; use --task classify or token");
    if (!config.causal && config.labels == 0)
      return Status(Code::kInvalidArgument,
                    "the model has no classification head; train one with troupe finetune --task " +
                        options_.task);
    if (!config.causal && (config.head == model::EncoderHead::kToken) != (options_.task == "token"))
      return Status(Code::kInvalidArgument,
                    config.head == model::EncoderHead::kToken
                        ? "the model labels words; use --task token"
                        : "the model labels whole texts; use --task classify");
    if (config.labels == 1)
      return Status(Code::kInvalidArgument,
                    "the model gives a number, not a label; the loss of such a model is measured "
                    "by troupe finetune --validation");
    const model::GgufHeader& header = model_.source->header();
    if (!model::has_tokenizer(header)) return model::no_tokenizer();
    TROUPE_ASSIGN_OR_RETURN(tokenizer_, model::open_tokenizer(header, config.vocabulary));
    const std::map<std::string, model::Truncation> kTruncations{
        {"right", model::Truncation::kRight},
        {"left", model::Truncation::kLeft},
        {"drop", model::Truncation::kDrop}};
    dataset_.length_max = std::min(options_.length_max, config.context_max);
    dataset_.truncation = kTruncations.at(options_.truncate);
    return Status::ok();
  }

  Result<model::Dataset> texts() {
    if (options_.task == "lm") {
      const model::DataFields fields{options_.text_field, options_.label_field, false};
      TROUPE_ASSIGN_OR_RETURN(const auto rows, model::read_data_rows(options_.data, fields));
      return model::language_dataset(rows, *tokenizer_, dataset_);
    }
    TROUPE_ASSIGN_OR_RETURN(const auto rows, model::read_chat_rows(options_.data));
    TROUPE_ASSIGN_OR_RETURN(const std::string source,
                            model::chat_source(model_.source->header(), /*with_tools=*/false));
    std::shared_ptr<const model::ChatTemplate> chat_template;
    if (!source.empty()) {
      TROUPE_ASSIGN_OR_RETURN(chat_template, model::ChatTemplate::parse(source));
    }
    return model::chat_dataset(rows, *tokenizer_, chat_template.get(), dataset_);
  }

  // Measures the loss of the tokens of texts, or of the assistant's messages.
  Result<int> predict() {
    Result<model::Dataset> data = texts();
    if (!data) return data.status().with_context(options_.data);
    say_dropped(data->dropped);
    model::TokenScore sum;
    for (const model::Example& example : data->examples) {
      TROUPE_ASSIGN_OR_RETURN(const model::TokenScore score,
                              model::score_example(*model_.stage, example, *tokenizer_));
      sum.add(score);
    }
    const double accuracy = static_cast<double>(sum.hits) / static_cast<double>(sum.tokens);
    if (options_.common.json) {
      print_json({{"task", options_.task},
                  {"examples", data->examples.size()},
                  {"left_out", data->dropped.size()},
                  {"tokens", sum.tokens},
                  {"bytes", sum.bytes},
                  {"loss", sum.loss()},
                  {"perplexity", std::exp(sum.loss())},
                  {"bits_per_byte", sum.bits_per_byte()},
                  {"right", sum.hits},
                  {"accuracy", accuracy}});
      return kExitOk;
    }
    std::printf("loss           %s a token, over %zu tokens\n", four_digits(sum.loss()).c_str(),
                sum.tokens);
    std::printf("perplexity     %s\n", four_digits(std::exp(sum.loss())).c_str());
    std::printf("bits per byte  %s, over %zu bytes\n", four_digits(sum.bits_per_byte()).c_str(),
                sum.bytes);
    std::printf("accuracy       %s (%zu of %zu)\n", four_digits(accuracy).c_str(), sum.hits,
                sum.tokens);
    return kExitOk;
  }

  std::vector<std::string> label_names() const {
    std::vector<std::string> labels = model::label_names(model_.source->header());
    // A file may list more names than its head has outputs.
    labels.resize(std::min(labels.size(), model_.stage->config().labels));
    for (std::size_t i = labels.size(); i < model_.stage->config().labels; ++i)
      labels.push_back("LABEL_" + std::to_string(i));  // the names that transformers uses
    return labels;
  }

  // Evaluates labels of words: each counts by itself, and entities count as wholes.
  Result<int> label_words() {
    const std::vector<std::string> labels = label_names();
    model::TokenFields fields{options_.text_field, {}, /*needs_tags=*/true};
    if (options_.label_field != EvalOptions().label_field) fields.tags = options_.label_field;
    TROUPE_ASSIGN_OR_RETURN(const auto rows, model::read_token_rows(options_.data, fields));
    const Result<model::Dataset> data = model::token_dataset(rows, *tokenizer_, dataset_, labels);
    if (!data) return data.status().with_context(options_.data);
    say_dropped(data->dropped);
    WordScores scores{model::Confusion(labels.size()), {}, 0.0, data->dropped.size()};
    for (const model::Example& example : data->examples) {
      TROUPE_ASSIGN_OR_RETURN(
          const std::vector<float> logits,
          model::sequence_logits(*model_.stage, example.ids, example.types, example.ids.size()));
      std::vector<std::string> wanted, given;
      for (std::size_t i = 0; i < example.ids.size(); ++i) {
        const model::TokenId target = example.targets[i];
        if (target == model::kNoTarget) continue;
        const auto row = std::span(logits).subspan(i * labels.size(), labels.size());
        scores.nll -= static_cast<double>(model::log_probability(row, target));
        const auto best =
            static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
        scores.confusion.add(static_cast<std::size_t>(target), best);
        wanted.push_back(labels[static_cast<std::size_t>(target)]);
        given.push_back(labels[best]);
      }
      scores.entities.add(wanted, given);
    }
    show_words(scores, labels, data->examples.size());
    return kExitOk;
  }

  struct WordScores {
    model::Confusion confusion;
    model::EntityScore entities;
    double nll = 0.0;
    std::size_t left_out = 0;
  };

  void show_words(const WordScores& scores, const std::vector<std::string>& labels,
                  std::size_t examples) const {
    const model::Confusion& confusion = scores.confusion;
    const auto found = std::find(labels.begin(), labels.end(), "O");
    const auto outside = found == labels.end() ? model::Confusion::kNoLabel
                                               : static_cast<std::size_t>(found - labels.begin());
    const bool has_entities = model::are_entity_labels(labels);
    const model::EntityScore& entities = scores.entities;
    const double loss = scores.nll / static_cast<double>(confusion.rows());
    const double accuracy =
        static_cast<double>(confusion.right()) / static_cast<double>(confusion.rows());
    if (options_.common.json) {
      ordered_json out = {{"task", options_.task},
                          {"examples", examples},
                          {"left_out", scores.left_out},
                          {"words", confusion.rows()},
                          {"loss", loss},
                          {"right", confusion.right()},
                          {"accuracy", accuracy},
                          {"micro_f1", confusion.micro_f1(outside)},
                          {"macro_f1", confusion.macro_f1(outside)}};
      if (has_entities)
        out["entities"] = {{"count", entities.entities},  {"found", entities.found},
                           {"right", entities.right},     {"precision", entities.precision()},
                           {"recall", entities.recall()}, {"f1", entities.f1()}};
      out["labels"] = each_label(confusion, labels);
      out["confusion"] = confusion.counts();
      return print_json(nlohmann::json(out));
    }
    std::printf("loss         %s\n", four_digits(loss).c_str());
    std::printf("accuracy     %s (%zu of %zu words)\n", four_digits(accuracy).c_str(),
                confusion.right(), confusion.rows());
    std::printf("micro F1     %s%s\n", four_digits(confusion.micro_f1(outside)).c_str(),
                outside == model::Confusion::kNoLabel ? "" : ", without O");
    std::printf("macro F1     %s%s\n", four_digits(confusion.macro_f1(outside)).c_str(),
                outside == model::Confusion::kNoLabel ? "" : ", without O");
    if (has_entities)
      std::printf("entities F1  %s (%zu of %zu found whole, %zu answers)\n",
                  four_digits(entities.f1()).c_str(), entities.right, entities.entities,
                  entities.found);
    std::printf("\n");
    print_labels(confusion, labels);
  }

  Result<int> classify() {
    const std::vector<std::string> labels = label_names();
    const std::size_t count = labels.size();
    const model::DataFields fields{options_.text_field, options_.label_field, true};
    TROUPE_ASSIGN_OR_RETURN(const auto rows, model::read_data_rows(options_.data, fields));
    Result<model::Dataset> data =
        model::classification_dataset(rows, *tokenizer_, dataset_, labels);
    if (!data) return data.status().with_context(options_.data);
    say_dropped(data->dropped);
    model::Confusion confusion(count);
    double nll = 0.0;
    for (const model::Example& example : data->examples) {
      TROUPE_ASSIGN_OR_RETURN(
          const std::vector<float> logits,
          model::sequence_logits(*model_.stage, example.ids, example.types, example.ids.size()));
      nll -= static_cast<double>(
          model::log_probability(logits, static_cast<model::TokenId>(example.label)));
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      confusion.add(example.label, static_cast<std::size_t>(best));
    }
    show(confusion, labels, nll / static_cast<double>(data->examples.size()), data->dropped.size());
    return kExitOk;
  }

  static ordered_json each_label(const model::Confusion& confusion,
                                 const std::vector<std::string>& labels) {
    ordered_json each = ordered_json::array();
    for (std::size_t i = 0; i < labels.size(); ++i)
      each.push_back({{"label", labels[i]},
                      {"rows", confusion.rows_of(i)},
                      {"precision", confusion.precision(i)},
                      {"recall", confusion.recall(i)},
                      {"f1", confusion.f1(i)}});
    return each;
  }

  static void print_labels(const model::Confusion& confusion,
                           const std::vector<std::string>& labels) {
    std::size_t width = 5;
    for (const std::string& label : labels) width = std::max(width, label.size());
    const int columns = static_cast<int>(width);
    std::printf("%-*s  precision  recall  F1      rows, by the model's answer\n", columns, "label");
    for (std::size_t i = 0; i < labels.size(); ++i) {
      std::printf("%-*s  %.4f     %.4f  %.4f ", columns, labels[i].c_str(), confusion.precision(i),
                  confusion.recall(i), confusion.f1(i));
      for (const std::size_t answers : confusion.counts()[i]) std::printf(" %zu", answers);
      std::printf("\n");
    }
  }

  void show(const model::Confusion& confusion, const std::vector<std::string>& labels, double loss,
            std::size_t left_out) const {
    const double accuracy =
        static_cast<double>(confusion.right()) / static_cast<double>(confusion.rows());
    if (options_.common.json) {
      print_json({{"task", options_.task},
                  {"examples", confusion.rows()},
                  {"left_out", left_out},
                  {"loss", loss},
                  {"right", confusion.right()},
                  {"accuracy", accuracy},
                  {"macro_f1", confusion.macro_f1()},
                  {"labels", each_label(confusion, labels)},
                  {"confusion", confusion.counts()}});
      return;
    }
    std::printf("loss      %s\n", four_digits(loss).c_str());
    std::printf("accuracy  %s (%zu of %zu)\n", four_digits(accuracy).c_str(), confusion.right(),
                confusion.rows());
    std::printf("macro F1  %s\n\n", four_digits(confusion.macro_f1()).c_str());
    print_labels(confusion, labels);
  }

  // Finds the choice that is likeliest for the model, in all and per byte.
  Result<int> choose() {
    TROUPE_ASSIGN_OR_RETURN(const model::ChoiceRows rows, model::read_choice_rows(options_.data));
    say_dropped(rows.dropped);
    std::size_t right = 0, right_by_bytes = 0;
    for (const model::ChoiceRow& row : rows.rows) {
      std::vector<double> likelihoods, by_bytes;
      for (std::size_t choice = 0; choice < row.choices.size(); ++choice) {
        TROUPE_ASSIGN_OR_RETURN(const model::Example example,
                                model::choice_example(row, choice, *tokenizer_));
        if (example.ids.size() > dataset_.length_max)
          return Status(Code::kBadData, options_.data + ": line " + std::to_string(row.line) +
                                            " has " + std::to_string(example.ids.size()) +
                                            " tokens with choice " + std::to_string(choice) +
                                            ", more than " + std::to_string(dataset_.length_max) +
                                            " (--max-length)");
        TROUPE_ASSIGN_OR_RETURN(const model::TokenScore score,
                                model::score_example(*model_.stage, example, *tokenizer_));
        likelihoods.push_back(-score.nll);
        by_bytes.push_back(-score.nll / static_cast<double>(row.choices[choice].size()));
      }
      const auto best = [](const std::vector<double>& of) {
        return static_cast<std::size_t>(std::max_element(of.begin(), of.end()) - of.begin());
      };
      right += best(likelihoods) == row.answer ? 1 : 0;
      right_by_bytes += best(by_bytes) == row.answer ? 1 : 0;
    }
    const auto count = static_cast<double>(rows.rows.size());
    const double accuracy = static_cast<double>(right) / count;
    const double accuracy_by_bytes = static_cast<double>(right_by_bytes) / count;
    if (options_.common.json) {
      print_json({{"task", options_.task},
                  {"examples", rows.rows.size()},
                  {"left_out", rows.dropped.size()},
                  {"right", right},
                  {"accuracy", accuracy},
                  {"right_by_bytes", right_by_bytes},
                  {"accuracy_by_bytes", accuracy_by_bytes}});
      return kExitOk;
    }
    std::printf("accuracy           %s (%zu of %zu)\n", four_digits(accuracy).c_str(), right,
                rows.rows.size());
    std::printf("accuracy by bytes  %s (%zu of %zu)\n", four_digits(accuracy_by_bytes).c_str(),
                right_by_bytes, rows.rows.size());
    return kExitOk;
  }

  const EvalOptions& options_;
  LocalModel model_;
  std::shared_ptr<const model::Tokenizer> tokenizer_;
  model::DatasetOptions dataset_;
};

int run_eval(EvalOptions options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  if (options.length_max == 0)
    options.length_max = options.task == "classify" || options.task == "token" ? 128
                         : options.task == "choice"                            ? 4096
                                                                               : 512;
  const Result<int> status = Evaluation(options).run();
  return status ? *status : fail(status.status(), options.common.json);
}

}  // namespace

Action add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  add_model_argument(app, options->model);
  app.add_option("--data", options->data, "The data: .jsonl, .csv, or plain text")
      ->required()
      ->type_name("FILE");
  app.add_option("--task", options->task,
                 "lm: the loss of texts; chat: of the assistant's messages; classify: labels; "
                 "token: labels of words; choice: the likeliest of several answers")
      ->check(CLI::IsMember({"lm", "chat", "classify", "token", "choice"}))
      ->capture_default_str();
  app.add_option("--text-field", options->text_field, "Field of a row's text")
      ->capture_default_str();
  app.add_option("--label-field", options->label_field, "Field of a row's label")
      ->capture_default_str();
  app.add_option("--max-length", options->length_max,
                 "Tokens of an example [lm, chat: 512, classify, token: 128, choice: 4096]")
      ->check(whole_number(2, 1 << 20));
  app.add_option("--truncate", options->truncate,
                 "Which end of a longer text is cut off, or drop the row")
      ->check(CLI::IsMember({"left", "right", "drop"}))
      ->capture_default_str();
  app.add_option("--adapter", options->adapter,
                 "The folder of a LoRA adapter to compute beside the model's weights")
      ->type_name("DIR");
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_common_options(app, options->common);
  app.footer(
      "Measures the model as `troupe run` uses it, with weights in the formats of its file. The\n"
      "numbers do not depend on threads. Rows of --task choice are JSON lines with \"prompt\",\n"
      "\"choices\" and \"answer\", which is the number of the right choice, counted from 0,\n"
      "or its letter.\n"
      "\n"
      "Examples:\n"
      "  troupe eval smollm2-135m --data notes.txt\n"
      "  troupe eval ./classifier --data test.jsonl --task classify --json\n"
      "  troupe eval ./tagger --data test.jsonl --task token\n"
      "  troupe eval smollm2-135m --data questions.jsonl --task choice");
  return [options] { return run_eval(*options); };
}

}  // namespace troupe::tools
