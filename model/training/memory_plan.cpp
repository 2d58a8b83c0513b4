#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include <troupe/model/training/memory_plan.h>
#include <troupe/model/training/parameters.h>
#include <troupe/model/training/step_memory.h>
#include <troupe/model/training/team.h>

namespace troupe::model {
namespace {

std::uint64_t padded(std::uint64_t rows) {
  return (rows + kernels::kGroupRows - 1) / kernels::kGroupRows * kernels::kGroupRows;
}

std::uint64_t floats_of(const TensorSpec& spec) {
  return spec.rows == 0 ? spec.columns : padded(spec.rows) * spec.columns;
}

// Returns the bytes of a tensor in memory: in the format of its file, if there is a header and the
// format is kept, else in f32. Raises `copied` to the number of floats of the copy that a matrix of
// another format needs, if it is less.
std::uint64_t weight_bytes(const TensorSpec& spec, const GgufHeader* header,
                           std::uint64_t* copied) {
  const TensorInfo* info =
      header == nullptr || !keeps_format(spec) ? nullptr : header->tensor(spec.name);
  if (info == nullptr || info->type == quant::Type::kF32) return floats_of(spec) * sizeof(float);
  const std::uint64_t rows =
      spec.layer == kNoLayer ? std::min<std::uint64_t>(spec.rows, kVocabularyBlock) : spec.rows;
  *copied = std::max<std::uint64_t>(*copied, padded(rows) * spec.columns);
  return quant::packed_bytes(*quant::find(info->type), info->bytes) * spec.rows /
         (spec.whole != 0 ? spec.whole : spec.rows);
}

// Returns the examples that need the most memory together.
std::vector<Example> longest_batch(const std::vector<Example>& examples, std::size_t count) {
  std::vector<const Example*> sorted;
  for (const Example& example : examples) sorted.push_back(&example);
  const std::size_t taken = std::min(count, sorted.size());
  std::partial_sort(
      sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(taken), sorted.end(),
      [](const Example* a, const Example* b) { return a->ids.size() > b->ids.size(); });
  std::vector<Example> batch;
  for (std::size_t i = 0; i < taken; ++i) batch.push_back(*sorted[i]);
  return batch;
}

// Gives an example as many targets as hiding tokens is likely to give it, with three standard
// deviations added.
void expect_masks(double rate, Example* example) {
  const auto length = static_cast<double>(example->ids.size());
  const double most = rate * length + 3.0 * std::sqrt(length * rate * (1.0 - rate)) + 1.0;
  example->targets.assign(example->ids.size(), kNoTarget);
  std::fill_n(example->targets.begin(),
              std::min(example->ids.size(), static_cast<std::size_t>(most)), TokenId{0});
}

std::string gigabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

Result<MemoryPlan> plan_memory(const MemoryQuestion& question,
                               const std::vector<Example>& examples) {
  const ModelConfig& config = question.config;
  const LoraOptions& lora = question.options.lora;
  std::uint64_t weights = 0, trained = 0, copied = 0;
  for (const TensorSpec& spec : stage_tensors(config, {0, config.layers})) {
    weights += weight_bytes(spec, lora.rank == 0 ? nullptr : question.header, &copied);
    const bool is_head =
        spec.layer == kNoLayer && (spec.slot == kClassifier || spec.slot == kClassifierBias);
    if (lora.rank == 0 || is_head) trained += floats_of(spec);
  }
  if (lora.rank != 0) {
    TROUPE_ASSIGN_OR_RETURN(const std::vector<TensorSpec> targets, lora_targets(config, lora));
    for (const TensorSpec& spec : targets) {
      const std::uint64_t floats = (padded(spec.rows) + padded(spec.columns)) * lora.rank;
      weights += floats * sizeof(float);
      trained += floats;
    }
  }
  std::vector<Example> batch = longest_batch(examples, question.batch_size);
  if (config.head == EncoderHead::kMask)
    for (Example& example : batch) expect_masks(question.options.masking.rate, &example);
  const BatchPlan plan(batch, config);
  const std::size_t micro_batch = question.options.network.micro_batch == 0
                                      ? batch.size()
                                      : question.options.network.micro_batch;
  const TeacherOptions& teacher = question.options.teacher;
  const StepShape shape{true, !question.options.network.checkpointing, lora.rank,
                        lora.dropout > 0.0, lora.rank == 0 || teacher.source != nullptr};
  std::uint64_t taught_copied = 0;
  MemoryPlan out;
  if (teacher.source != nullptr)
    for (const TensorSpec& spec : stage_tensors(teacher.config, {0, teacher.config.layers}))
      out.teacher += weight_bytes(spec, &teacher.source->header(), &taught_copied);
  std::size_t activations = 0, depth = 1, scratch = 0, rows = 0;
  std::size_t taught = 0, taught_scratch = 0;  // the same numbers for the teacher
  for (std::size_t begin = 0; begin < batch.size(); begin += micro_batch) {
    const MicroBatch micro(batch, begin, std::min(batch.size(), begin + micro_batch), config, plan);
    StepMemory memory;
    activations = std::max(activations, lay_out_step(config, micro, shape, nullptr, &memory));
    depth =
        std::max({depth, micro.all.depth_out, micro.first.depth_out, micro.supervised.depth_out});
    scratch = std::max(scratch, team_scratch_floats(config, question.threads, micro.rows,
                                                    micro.longest, lora.rank));
    rows += micro.rows;
    if (teacher.source == nullptr) continue;
    taught = std::max(taught, lay_out_step(teacher.config, micro, {}, nullptr, &memory));
    taught_scratch = std::max(taught_scratch, team_scratch_floats(teacher.config, question.threads,
                                                                  micro.rows, micro.longest, 0));
  }
  if (teacher.source != nullptr)
    out.teacher += (taught + taught_scratch + taught_copied) * sizeof(float);
  const bool is_adam = question.options.optimizer.kind == OptimizerKind::kAdamW;
  const bool has_momentum = is_adam || question.options.optimizer.momentum != 0.0;
  out.weights = weights;
  out.gradients = trained * depth * sizeof(float);
  out.optimizer = trained * ((is_adam ? 1 : 0) + (has_momentum ? 1 : 0)) * sizeof(float);
  out.activations = activations * sizeof(float);
  if (lora.rank == 0) out.activations += rows * config.channels * sizeof(float);  // embeddings'
  if (question.options.network.loss.kind == LossKind::kPooled)
    out.activations +=
        contrastive_bytes(batch.size(), config.channels, question.options.contrastive);
  out.scratch = (scratch + copied) * sizeof(float);
  return out;
}

std::string memory_text(const MemoryPlan& plan) {
  return gigabytes(plan.total()) + " GB: weights " + gigabytes(plan.weights) + ", gradients " +
         gigabytes(plan.gradients) + ", optimizer " + gigabytes(plan.optimizer) + ", activations " +
         gigabytes(plan.activations) + ", scratch " + gigabytes(plan.scratch) +
         (plan.teacher == 0 ? "" : ", teacher " + gigabytes(plan.teacher));
}

Status check_memory(const MemoryQuestion& question, const std::vector<Example>& examples,
                    std::uint64_t available) {
  TROUPE_ASSIGN_OR_RETURN(const MemoryPlan plan, plan_memory(question, examples));
  if (plan.total() <= available) return Status::ok();
  std::string help;
  MemoryQuestion other = question;
  const auto suggest = [&](const std::string& flags) {
    const Result<MemoryPlan> changed = plan_memory(other, examples);
    if (!changed || changed->total() > available || !help.empty()) return;
    help = "; " + flags + " would need " + gigabytes(changed->total()) + " GB";
  };
  other.options.network.micro_batch = 1;
  suggest("--micro-batch 1");
  other.options.network.checkpointing = true;
  suggest("--micro-batch 1 --checkpointing");
  if (question.options.lora.rank == 0 && question.may_adapt) {
    other.options.lora.rank = 8;
    other.options.network = question.options.network;
    suggest("--lora-rank 8");
    other.options.network = {1, true};
    suggest("--lora-rank 8 --micro-batch 1 --checkpointing");
  }
  if (help.empty()) help = "; a smaller model or a shorter --max-length is needed";
  return Status(Code::kResourceExhausted, "training needs " + memory_text(plan) + "; but " +
                                              gigabytes(available) + " GB are free" + help);
}

}  // namespace troupe::model
