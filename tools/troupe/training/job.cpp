#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/adapter_folder.h>
#include <troupe/model/training/chat_rows.h>
#include <troupe/model/training/event_file.h>
#include <troupe/model/training/masking.h>
#include <troupe/model/training/new_model.h>
#include <troupe/model/training/pair_rows.h>
#include <troupe/model/training/same_vocabulary.h>
#include <troupe/model/training/token_rows.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/runtime/sha256.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/training/dropped_rows.h>
#include <troupe/tools/troupe/training/job.h>
#include <troupe/tools/troupe/training/model_file.h>

namespace troupe::tools {
namespace {

// The rows of a file: texts, chats, pairs or words with labels.
struct Rows {
  model::DataRows texts;
  model::ChatRows chats;
  model::PairRows pairs;
  model::TokenRows tokens;
  bool empty() const {
    return texts.rows.empty() && chats.rows.empty() && pairs.rows.empty() && tokens.rows.empty();
  }
};

Result<Rows> read_rows(const FinetuneOptions& options, const std::string& path) {
  Rows rows;
  if (options.task == "chat" || options.task == "dpo") {
    TROUPE_ASSIGN_OR_RETURN(rows.chats, options.task == "dpo" ? model::read_preference_rows(path)
                                                              : model::read_chat_rows(path));
    return rows;
  }
  if (options.task == "embed") {
    TROUPE_ASSIGN_OR_RETURN(rows.pairs, model::read_pair_rows(path));
    return rows;
  }
  if (options.task == "token") {
    model::TokenFields fields{options.text_field, {}, /*needs_tags=*/true};
    if (options.label_field != FinetuneOptions().label_field) fields.tags = options.label_field;
    TROUPE_ASSIGN_OR_RETURN(rows.tokens, model::read_token_rows(path, fields));
    return rows;
  }
  const bool with_labels = options.task == "classify" || options.task == "regress";
  const model::DataFields fields{options.text_field, options.label_field, with_labels};
  TROUPE_ASSIGN_OR_RETURN(rows.texts, model::read_data_rows(path, fields));
  return rows;
}

// Moves the rows that are drawn for validation out of `from`.
template <class Row>
std::vector<Row> take_out(const FinetuneOptions& options, std::vector<Row>* from) {
  const std::vector<bool> drawn =
      model::draw_validation_rows(from->size(), options.validation_split, options.seed);
  std::vector<Row> kept, taken;
  for (std::size_t i = 0; i < from->size(); ++i)
    (drawn[i] ? taken : kept).push_back(std::move((*from)[i]));
  *from = std::move(kept);
  return taken;
}

Result<model::Dataset> make_dataset(const FinetuneOptions& options, const Job& job,
                                    const Rows& rows, const std::vector<std::string>& labels) {
  const std::map<std::string, model::Truncation> kTruncations{{"right", model::Truncation::kRight},
                                                              {"left", model::Truncation::kLeft},
                                                              {"drop", model::Truncation::kDrop}};
  const model::DatasetOptions dataset{std::min(options.length_max, job.config.context_max),
                                      kTruncations.at(options.truncate)};
  if (options.task == "classify")
    return model::classification_dataset(rows.texts, *job.tokenizer, dataset, labels);
  if (options.task == "regress")
    return model::regression_dataset(rows.texts, *job.tokenizer, dataset, options.label_field);
  if (options.task == "token")
    return model::token_dataset(rows.tokens, *job.tokenizer, dataset, labels);
  if (options.task == "mlm")
    return model::masked_dataset(rows.texts, *job.tokenizer, dataset, job.masking);
  if (options.task == "embed") return model::pair_dataset(rows.pairs, *job.tokenizer, dataset);
  if (options.task == "lm") return model::language_dataset(rows.texts, *job.tokenizer, dataset);
  TROUPE_ASSIGN_OR_RETURN(const std::string source,
                          model::chat_source(job.source->header(), /*with_tools=*/false));
  std::shared_ptr<const model::ChatTemplate> chat_template;
  if (!source.empty()) {
    TROUPE_ASSIGN_OR_RETURN(chat_template, model::ChatTemplate::parse(source));
  }
  return model::chat_dataset(rows.chats, *job.tokenizer, chat_template.get(), dataset);
}

void report_dataset(const model::Dataset& data, const std::string& path) {
  std::size_t tokens = 0;
  for (const model::Example& example : data.examples) tokens += example.ids.size();
  std::string text = path + ": " + std::to_string(data.examples.size()) + " examples, " +
                     std::to_string(tokens) + " tokens";
  if (data.truncated != 0) text += ", " + std::to_string(data.truncated) + " of them cut";
  say(text);
  say_dropped(data.dropped);
}

model::LoraOptions lora_options(const FinetuneOptions& options) {
  model::LoraOptions lora;
  lora.rank = options.lora_rank;
  lora.alpha = options.lora_alpha;
  lora.rank_stabilized = options.rank_stabilized;
  lora.seed = options.seed;
  lora.dropout = options.lora_dropout;
  lora.targets.clear();
  for (std::size_t at = 0; at <= options.lora_targets.size();) {
    const std::size_t end =
        std::min(options.lora_targets.find(',', at), options.lora_targets.size());
    lora.targets.push_back(options.lora_targets.substr(at, end - at));
    at = end + 1;
  }
  return lora;
}

Status read_data(const FinetuneOptions& options, Job* job) {
  TROUPE_ASSIGN_OR_RETURN(Rows rows, read_rows(options, options.data));
  // The classifier gets all labels, whichever rows are drawn for validation.
  const std::vector<std::string> labels =
      options.task == "classify" ? model::label_names_of(rows.texts)
      : options.task == "token"  ? model::token_label_names(rows.tokens)
                                 : std::vector<std::string>();
  Rows validation;
  if (options.validation_split > 0.0) {
    validation.texts.rows = take_out(options, &rows.texts.rows);
    validation.chats.rows = take_out(options, &rows.chats.rows);
    validation.pairs.rows = take_out(options, &rows.pairs.rows);
    validation.tokens.rows = take_out(options, &rows.tokens.rows);
    validation.pairs.negatives = rows.pairs.negatives;
  } else if (!options.validation.empty()) {
    TROUPE_ASSIGN_OR_RETURN(validation, read_rows(options, options.validation));
  }
  job->negatives = rows.pairs.negatives;
  auto data = make_dataset(options, *job, rows, labels);
  if (!data) return data.status().with_context(options.data);
  job->data = std::move(*data);
  report_dataset(job->data, options.data);
  if (validation.empty()) return Status::ok();
  const std::string name =
      options.validation.empty() ? options.data + " (validation)" : options.validation;
  if (validation.pairs.negatives != job->negatives)
    return Status(Code::kBadData, name + " has " + std::to_string(validation.pairs.negatives) +
                                      " negatives in a row, but " + options.data + " has " +
                                      std::to_string(job->negatives));
  data = make_dataset(options, *job, validation, job->data.labels);
  if (!data) return data.status().with_context(name);
  job->validation = std::move(*data);
  report_dataset(job->validation, name);
  return Status::ok();
}

model::TrainerOptions trainer_options(const FinetuneOptions& options, const Job& job) {
  model::TrainerOptions trainer;
  trainer.network.micro_batch = options.micro_batch;
  trainer.network.checkpointing = options.checkpointing;
  trainer.optimizer.beta1 = options.beta1;
  trainer.optimizer.beta2 = options.beta2;
  trainer.optimizer.epsilon = options.epsilon;
  trainer.optimizer.weight_decay = options.weight_decay;
  trainer.optimizer.decays_vectors = options.decays_vectors;
  trainer.optimizer.clip_norm = options.clip_norm;
  trainer.network.loss.label_smoothing = static_cast<float>(options.label_smoothing);
  trainer.network.loss.class_weights = job.class_weights;
  if (options.task == "regress") trainer.network.loss.kind = model::LossKind::kSquares;
  if (options.task == "embed") trainer.network.loss.kind = model::LossKind::kPooled;
  if (job.teacher != nullptr) {
    trainer.teacher = {job.teacher.get(), job.teacher_config};
    trainer.network.loss.teacher_temperature = static_cast<float>(options.temperature);
    trainer.network.loss.teacher_ratio = static_cast<float>(options.teacher_ratio);
  }
  trainer.contrastive = {options.temperature, job.negatives};
  trainer.labels = job.data.labels.size();
  if (options.task == "classify" || options.task == "regress")
    trainer.head = model::EncoderHead::kSequence;
  if (options.task == "token") trainer.head = model::EncoderHead::kToken;
  if (options.task == "mlm") trainer.head = model::EncoderHead::kMask;
  trainer.masking = job.masking;
  trainer.lora = lora_options(options);
  trainer.preference_beta = options.task == "dpo" ? options.beta : 0.0;
  return trainer;
}

// Returns the options that must be the same if a run is to be continued. Threads, micro-batches and
// checkpointing are not part of them.
model::RunIdentity identity_of(const FinetuneOptions& options, const Job& job) {
  const auto number = [](double value) { return nlohmann::json(value).dump(); };
  model::RunIdentity identity = {
      {"weights", job.trainer->parameters().sha256()},
      {"data", job.data_sha256},
      {"text-field", options.text_field},
      {"label-field", options.label_field},
      {"task", options.task},
      {"lr", number(options.learning_rate)},
      {"epochs", std::to_string(options.epochs)},
      {"max-steps", std::to_string(options.steps_max)},
      {"batch-size", std::to_string(options.batch_size)},
      {"max-length", std::to_string(options.length_max)},
      {"seed", std::to_string(options.seed)},
      {"order", options.order},
      {"drop-last", options.drops_last ? "yes" : "no"},
      {"truncate", options.truncate},
      {"schedule", options.schedule},
      {"warmup", std::to_string(options.warmup)},
      {"weight-decay", number(options.weight_decay)},
      {"decay-all", options.decays_vectors ? "yes" : "no"},
      {"beta1", number(options.beta1)},
      {"beta2", number(options.beta2)},
      {"epsilon", number(options.epsilon)},
      {"clip-norm", number(options.clip_norm)},
      {"lora-rank", std::to_string(options.lora_rank)},
      {"lora-alpha", number(options.lora_alpha)},
      {"lora-targets", options.lora_targets},
      {"lora-dropout", number(options.lora_dropout)},
      {"validation-split", number(options.validation_split)},
      {"eval-every", std::to_string(options.patience == 0 ? 0 : options.evaluate_every)},
      {"beta", number(options.task == "dpo" ? options.beta : 0.0)},
      {"temperature",
       number(options.task == "embed" || job.teacher != nullptr ? options.temperature : 0.0)},
      {"teacher", job.trainer->teacher_sha256()},
      {"kd-ratio", job.teacher == nullptr ? "none" : number(options.teacher_ratio)},
      {"label-smoothing", number(options.label_smoothing)},
      {"mlm-probability", options.task == "mlm" ? number(options.mask_rate) : "none"},
      {"class-weights", options.class_weights},
      {"patience", std::to_string(options.patience)},
      {"rslora", options.rank_stabilized ? "yes" : "no"}};
  if (!options.model_file.empty()) {
    const auto text = job.source->header().string(model::header_keys::kTokenizerJson);
    if (text) identity.emplace_back("tokenizer", sha256_hex(std::as_bytes(std::span(*text))));
  }
  return identity;
}

// Opens the teacher, and checks that it has the model's vocabulary.
Status open_teacher(const FinetuneOptions& options, model::Store& store, Job* job) {
  TROUPE_ASSIGN_OR_RETURN(const auto path, model_file(store, options.common.home, options.teacher));
  TROUPE_ASSIGN_OR_RETURN(job->teacher, model::open_model(path.string()));
  const model::GgufHeader& header = job->teacher->header();
  TROUPE_ASSIGN_OR_RETURN(job->teacher_config, model::config_from_gguf(header));
  if (!model::has_tokenizer(header)) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer,
                          model::open_tokenizer(header, job->teacher_config.vocabulary));
  return model::check_same_vocabulary(*job->tokenizer, *tokenizer);
}

Result<std::unique_ptr<model::TensorSource>> make_model(const FinetuneOptions& options,
                                                        model::Store& store) {
  if (options.task == "dpo")
    return Status(Code::kInvalidArgument,
                  "a new model has no preferences yet; train it with --task lm or chat, then "
                  "`troupe finetune` its folder with --task dpo");
  TROUPE_ASSIGN_OR_RETURN(model::NewModelOptions made, read_model_file(options.model_file));
  std::error_code error;
  if (!std::filesystem::exists(made.tokenizer, error)) {
    // Without such a file, it is the name of a model.
    const auto found = model_file(store, options.common.home, made.tokenizer.string());
    if (!found) return found.status().with_context(options.model_file + ": tokenizer");
    made.tokenizer = *found;
  }
  auto source = model::new_model(made);
  return source ? std::move(source) : source.status().with_context(options.model_file);
}

}  // namespace

std::size_t examples_of_row(const FinetuneOptions& options, const Job& job) {
  return options.task == "dpo" ? 2 : options.task == "embed" ? 2 + job.negatives : 1;
}

Result<Job> prepare_job(const FinetuneOptions& options) {
  Job job;
  const std::string& home = options.common.home;
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(home));
  if (options.model_file.empty()) {
    TROUPE_ASSIGN_OR_RETURN(const auto path, model_file(*store, home, options.model));
    TROUPE_ASSIGN_OR_RETURN(job.source, model::open_model(path.string()));
  } else {
    TROUPE_ASSIGN_OR_RETURN(job.source, make_model(options, *store));
  }
  const model::GgufHeader& header = job.source->header();
  TROUPE_ASSIGN_OR_RETURN(job.config, model::config_from_gguf(header));
  if (job.config.causal == trains_encoder(options))
    return Status(Code::kInvalidArgument,
                  job.config.causal
                      ? "the model is a decoder (" + job.config.family + "); --task " +
                            options.task + " is for encoders such as BERT"
                      : "the model is an encoder (" + job.config.family +
                            "); use --task classify, regress, token, mlm or embed");
  if (!model::has_tokenizer(header)) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(job.tokenizer, model::open_tokenizer(header, job.config.vocabulary));
  if (!options.teacher.empty()) {
    const Status opened = open_teacher(options, *store, &job);
    if (!opened) return opened.with_context("--teacher " + options.teacher);
  }
  if (options.task == "mlm") {
    TROUPE_ASSIGN_OR_RETURN(job.masking, model::masking_of(header, *job.tokenizer));
    job.masking.rate = options.mask_rate;
    job.masking.seed = options.seed;
  }
  TROUPE_RETURN_IF_ERROR(read_data(options, &job));
  TROUPE_ASSIGN_OR_RETURN(job.class_weights, model::class_weights(options.class_weights, job.data));
  TROUPE_ASSIGN_OR_RETURN(job.data_sha256, sha256_of_file(options.data));
  job.memory.options = trainer_options(options, job);
  job.memory.config = model::trained_config(job.config, job.memory.options);
  TROUPE_ASSIGN_OR_RETURN(job.texts,
                          model::folder_texts(header, job.memory.config, job.data.labels));
  if (options.task == "embed")
    model::add_embedding_texts(job.config, options.length_max, &job.texts);
  TROUPE_ASSIGN_OR_RETURN(job.device, Device::create({.threads = options.threads}));
  job.memory.batch_size = options.batch_size * examples_of_row(options, job);
  job.memory.threads = job.device->threads();
  job.memory.header = &job.source->header();
  job.memory.may_adapt = options.model_file.empty();
  return job;
}

Status load_trainer(Job* job) {
  TROUPE_RETURN_IF_ERROR(model::check_memory(job->memory, job->data.examples, offered_memory()));
  TROUPE_ASSIGN_OR_RETURN(job->trainer, model::Trainer::create(*job->source, job->config,
                                                               *job->device, job->memory.options));
  return Status::ok();
}

model::FinetuneOptions run_options(const FinetuneOptions& options, const Job& job) {
  const std::map<std::string, model::ScheduleKind> kSchedules{
      {"constant", model::ScheduleKind::kConstant},
      {"linear", model::ScheduleKind::kLinear},
      {"cosine", model::ScheduleKind::kCosine}};
  model::FinetuneOptions run;
  run.run.batch_size = options.batch_size;
  run.run.epochs = options.epochs;
  run.run.steps_max = options.steps_max;
  run.run.seed = options.seed;
  run.run.shuffled = options.order == "shuffled";
  run.run.drops_last = options.drops_last;
  run.run.schedule = {kSchedules.at(options.schedule), options.learning_rate, options.warmup, 0};
  run.folder = options.output;
  run.events = run.folder / model::kEventFileName;
  run.save_every = options.save_every;
  run.keep = options.keep;
  run.evaluate_every = options.evaluate_every;
  run.patience = options.patience;
  run.resumes = options.resume != "never";
  if (job.trainer != nullptr) run.identity = identity_of(options, job);
  return run;
}

Result<std::string> write_result(const FinetuneOptions& options, const Job& job) {
  model::Trainer& trainer = *job.trainer;
  if (options.lora_rank == 0)
    return model::write_model_folder(options.output, job.texts, trainer.config(),
                                     trainer.parameters());
  const model::AdapterFolder about{options.model, job.data.labels, lora_options(options)};
  return model::write_adapter_folder(options.output, about, trainer.config(), trainer.parameters());
}

}  // namespace troupe::tools
