// Trains a classifier on a file of texts with labels and saves it as a folder, using only the rooms
// below the actors: it links troupe::model, and neither CAF nor ZeroMQ.
//   example_finetune BERT_FOLDER train.jsonl OUTPUT_FOLDER
#include <cstdio>

#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/finetune.h>
#include <troupe/model/training/model_folder.h>

namespace {

using namespace troupe;

Status train(const char* model_path, const char* data_path, const char* output) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, model::open_model(model_path));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer,
                          model::open_tokenizer(source->header(), config.vocabulary));
  TROUPE_ASSIGN_OR_RETURN(const auto rows, model::read_data_rows(data_path, {.with_labels = true}));
  TROUPE_ASSIGN_OR_RETURN(const auto data,
                          model::classification_dataset(rows, *tokenizer, {.length_max = 64}));
  TROUPE_ASSIGN_OR_RETURN(const auto texts,
                          model::folder_texts(source->header(), config, data.labels));
  TROUPE_ASSIGN_OR_RETURN(const auto device, Device::create({}));  // every usable CPU
  model::TrainerOptions options;
  options.labels = data.labels.size();
  TROUPE_ASSIGN_OR_RETURN(const auto trainer,
                          model::Trainer::create(*source, config, *device, options));
  model::FinetuneOptions run;
  run.run.batch_size = 32;
  run.run.schedule.learning_rate = 1e-4;
  run.folder = output;
  run.on_step = [](const model::StepEvent& event) {
    std::printf("step %llu of %llu  loss %.4f\n", static_cast<unsigned long long>(event.step),
                static_cast<unsigned long long>(event.steps), event.report.loss);
  };
  TROUPE_ASSIGN_OR_RETURN(const auto result, model::finetune(*trainer, data.examples, {}, run));
  TROUPE_ASSIGN_OR_RETURN(
      const std::string sha256,
      model::write_model_folder(output, texts, trainer->config(), trainer->parameters()));
  std::printf("%llu steps, weights %s\n", static_cast<unsigned long long>(result.steps),
              sha256.c_str());
  return Status::ok();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s BERT_FOLDER TRAIN.jsonl OUTPUT_FOLDER\n", argv[0]);
    return 2;
  }
  const troupe::Status done = train(argv[1], argv[2], argv[3]);
  if (!done) std::fprintf(stderr, "%s\n", done.message().c_str());
  return done ? 0 : 1;
}
