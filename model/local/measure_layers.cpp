#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>

#include <sys/mman.h>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/local/bench.h>
#include <troupe/model/local/measure_layers.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/numerics/philox.h>

namespace troupe::model {
namespace {

using Clock = std::chrono::steady_clock;

// Weights that are read once a step should come from memory, not from a cache. So the stage has as
// many layers as the model, up to this many bytes.
constexpr std::uint64_t kBytesMax = std::uint64_t{128} << 20;
constexpr double kWindowUs = 80'000, kRestingWindowUs = 40'000, kPromptWindowUs = 150'000;
// The stage of few layers has a fifth as many layers as the stage of many.
constexpr std::size_t kFewOf = 5;
constexpr std::size_t kStepsMin = 12;
// If steps are slow, kSlowSteps of them must be enough once kPatienceUs have passed.
constexpr std::size_t kSlowSteps = 6;
constexpr double kPatienceUs = 400'000;
// After this time, caches that other programs use have lost everything.
constexpr double kRestMaxUs = 20'000;

// A source of every tensor of a header, all zeros; vectors (norms, frequency factors) are all ones.
// The router of a mixture of experts draws them evenly: with zeros, all rows would go through the
// same ones.
class ZeroSource final : public TensorSource {
 public:
  static Result<std::unique_ptr<ZeroSource>> make(const GgufHeader& header) {
    auto source = std::make_unique<ZeroSource>(header);
    for (const TensorInfo& tensor : header.tensors) {
      source->bytes_ = std::max<std::size_t>(source->bytes_, tensor.bytes);
      if (is_router(tensor)) {
        source->drawn_.resize(
            std::max<std::size_t>(source->drawn_.size(), tensor.shape[0] * tensor.shape[1]));
        for (std::size_t i = 0; i < source->drawn_.size(); ++i)
          source->drawn_[i] = static_cast<float>(uniform_draw(1, i)) - 0.5f;
      }
      if (tensor.shape.size() == 1)
        source->ones_.resize(std::max<std::size_t>(source->ones_.size(), tensor.shape[0]), 1.0f);
    }
    // The kernel backs pages that are only read with one page of zeros.
    void* zeros = ::mmap(nullptr, source->bytes_, PROT_READ,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED)
      return Status(Code::kResourceExhausted, "no address space for a measurement");
    source->zeros_ = static_cast<const std::byte*>(zeros);
    return source;
  }
  explicit ZeroSource(const GgufHeader& header) : header_(header) {}
  ~ZeroSource() override {
    if (zeros_ != nullptr) ::munmap(const_cast<std::byte*>(zeros_), bytes_);
  }
  const GgufHeader& header() const override { return header_; }
  Result<std::span<const std::byte>> bytes(std::string_view name) const override {
    const TensorInfo* tensor = header_.tensor(name);
    if (tensor == nullptr)
      return Status(Code::kNotFound, "the model has no tensor " + std::string(name));
    if (is_router(*tensor))
      return std::as_bytes(std::span(drawn_).first(tensor->shape[0] * tensor->shape[1]));
    if (tensor->shape.size() == 1 && tensor->type == quant::Type::kF32)
      return std::as_bytes(std::span(ones_).first(tensor->shape[0]));
    return std::span(zeros_, tensor->bytes);
  }
  std::string where(std::string_view) const override { return header_.what; }
  void drop(std::string_view) const override {}

 private:
  static bool is_router(const TensorInfo& tensor) {
    return tensor.name.ends_with(".ffn_gate_inp.weight") && tensor.type == quant::Type::kF32 &&
           tensor.shape.size() == 2;
  }
  const GgufHeader& header_;
  std::size_t bytes_ = 1;
  std::vector<float> ones_, drawn_;
  const std::byte* zeros_ = nullptr;
};

// Returns the mean without the outliers: in those times something else had the CPU.
double typical_us(const std::vector<double>& times) {
  const double most = 4 * median(times);
  double sum = 0, count = 0;
  for (const double us : times) {
    if (us > most) continue;
    sum += us;
    count += 1;
  }
  return sum / count;
}

// Runs steps of a stage whose input does not matter. `stops` says that a quota stops the threads
// now and then, at moments that have nothing to do with the steps. In that case, the CPU time of
// this thread is measured.
class Steps {
 public:
  Steps(Stage& stage, bool stops) : stage_(stage), stops_(stops) {}

  // Runs one step of `count` rows for each of `sequences`.
  Status run(std::span<const std::unique_ptr<KvSequence>> sequences, std::size_t count,
             bool logits = false) {
    std::vector<Segment> segments;
    for (const auto& sequence : sequences)
      segments.push_back({sequence.get(), sequence->length(), count,
                          logits ? LogitRows::kLast : LogitRows::kNone});
    const std::size_t rows = sequences.size() * count;
    const ModelConfig& config = stage_.config();
    ids_.assign(rows, 1);
    if (hidden_.size() < rows * config.channels || config.experts > 0) {
      // The rows differ from step to step and from each other, so that they take different experts.
      hidden_.resize(std::max(hidden_.size(), rows * config.channels));
      ++steps_;
      for (std::size_t i = 0; i < hidden_.size(); ++i)
        hidden_[i] =
            static_cast<float>((i * (1 + i / config.channels % 5) + steps_ * i / 3) % 17) * 0.01f -
            0.08f;
    }
    StepInput input;
    input.segments = segments;
    if (stage_.range().begin == 0) {
      input.token_ids = ids_;
    } else {
      input.hidden = std::span(hidden_).first(rows * config.channels);
    }
    return stage_.forward(input, &output_);
  }

  // The times of a step without logits, and with them.
  struct Times {
    double layers_us = 0, all_us = 0;
  };
  // Measures steps of one row for each sequence for some time. Steps without logits and steps with
  // logits take turns, so that neither kind finds its weights in the caches, where its last step
  // left them. A step begins no earlier than `period_us` after the last one, or kRestMaxUs after
  // its end.
  Result<Times> time_us(std::size_t sequences, bool head, double period_us) {
    std::vector<std::unique_ptr<KvSequence>> all;
    for (std::size_t i = 0; i < sequences; ++i) all.push_back(stage_.new_sequence());
    std::vector<double> times[2];
    double sum = 0;
    const double window_us = period_us > 0 ? kRestingWindowUs : kWindowUs;
    const std::size_t positions = std::min<std::size_t>(64, stage_.config().context_max);
    const auto until = Clock::now() + std::chrono::duration<double, std::micro>(kPatienceUs);
    for (std::size_t i = 0; i < kStepsMin || (sum < window_us && i < 10'000); ++i) {
      if (i >= kSlowSteps && Clock::now() > until) break;
      if (all[0]->length() + 1 >= positions)
        for (const auto& sequence : all) sequence->truncate(0);
      const bool logits = head && i % 2 == 1;
      const double begin_us = now_us();
      TROUPE_RETURN_IF_ERROR(run(all, 1, logits));
      const double us = now_us() - begin_us;
      std::this_thread::sleep_for(
          std::chrono::duration<double, std::micro>(std::min(period_us - us, kRestMaxUs)));
      if (i < 2) continue;  // the first steps allocate memory
      times[logits].push_back(us);
      sum += us;
    }
    Times found;
    found.layers_us = typical_us(times[0]);
    found.all_us = head ? std::max(found.layers_us, typical_us(times[1])) : found.layers_us;
    return found;
  }

  // Measures what a layer and the logits cost in steps through the stage. While a stage of few
  // layers waits for the other stages of a model, other work takes the caches. So a step begins no
  // earlier than the time in which this node would run all layers, by their cost `whole`, after the
  // last one.
  Result<StepCost> cost(bool head, const StepCost* whole = nullptr) {
    const auto model_layers = static_cast<double>(stage_.config().layers);
    const double one_us = whole ? model_layers * whole->row_us + whole->head_row_us : 0;
    const double several_us = whole ? model_layers * whole->rows_us + whole->head_rows_us : 0;
    TROUPE_ASSIGN_OR_RETURN(const Times one, time_us(1, head, one_us));
    TROUPE_ASSIGN_OR_RETURN(const Times several, time_us(kCostRows, head, several_us));
    const std::size_t layers = stage_.range().end - stage_.range().begin;
    const auto count = static_cast<double>(layers);
    return StepCost{static_cast<std::uint32_t>(layers), one.layers_us / count,
                    several.layers_us / count, one.all_us - one.layers_us,
                    several.all_us - several.layers_us};
  }

  double now_us() const {
    if (!stops_) {
      return std::chrono::duration<double, std::micro>(Clock::now().time_since_epoch()).count();
    }
    timespec ran{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran);
    return static_cast<double>(ran.tv_sec) * 1e6 + static_cast<double>(ran.tv_nsec) * 1e-3;
  }

 private:
  Stage& stage_;
  const bool stops_;
  std::vector<TokenId> ids_;
  std::vector<float> hidden_;
  std::size_t steps_ = 0;
  StepOutput output_;
};

Result<double> prompt_row_us(Stage& stage, std::size_t chunk, double window_us, bool stops) {
  Steps steps(stage, stops);
  const std::size_t prompt = std::min(kCostPrompt, stage.config().context_max);
  chunk = std::min(chunk, prompt);
  std::vector<std::unique_ptr<KvSequence>> one;
  one.push_back(stage.new_sequence());
  TROUPE_RETURN_IF_ERROR(steps.run(one, chunk));
  std::vector<double> times;
  double sum = 0;
  for (std::size_t rows = 0; rows < prompt && sum < window_us; rows += chunk) {
    if (one[0]->length() + chunk > prompt) one[0]->truncate(0);
    const double begin_us = steps.now_us();
    TROUPE_RETURN_IF_ERROR(steps.run(one, chunk));
    times.push_back(steps.now_us() - begin_us);
    sum += times.back();
  }
  return typical_us(times) / static_cast<double>(chunk);
}

// Returns the number of weights that a row is multiplied by in `range`: of a mixture, those of the
// experts that it goes through.
double matrix_values(const ModelConfig& config, LayerRange range) {
  double values = 0;
  for (const TensorSpec& spec : stage_tensors(config, range)) {
    double count = static_cast<double>(spec.rows) * static_cast<double>(spec.columns);
    if (spec.expert != kNoExpert)
      count *= static_cast<double>(config.experts_used) / static_cast<double>(config.experts);
    values += count;
  }
  return values;
}

}  // namespace

Result<LayerCost> measure_layers(const GgufHeader& header, const ModelConfig& config,
                                 Device& device, const LayerCostOptions& options) {
  const std::uint64_t bytes_max = options.bytes_max != 0 ? options.bytes_max : kBytesMax;
  const std::size_t middle = config.layers / 2;
  // If some layers have experts and others have none, take the mean of all layers.
  const LayerRange typical =
      config.dense_layers.empty() ? LayerRange{middle, middle + 1} : LayerRange{0, config.layers};
  const std::uint64_t layer_bytes = std::max<std::uint64_t>(
      1, tensor_bytes_of(header, config, typical) / (typical.end - typical.begin));
  const std::uint64_t last_bytes =
      tensor_bytes_of(header, config, {config.layers - 1, config.layers});
  const std::uint64_t head_bytes = last_bytes - std::min(last_bytes, layer_bytes);
  // Take as many of the last layers as fit with the output, or layers before the last if the output
  // is too large.
  const bool head = last_bytes <= bytes_max;
  const std::uint64_t room = bytes_max - (head ? head_bytes : 0);
  const std::size_t count =
      std::clamp<std::size_t>(room / layer_bytes, 1, config.layers > 2 ? config.layers - 2 : 1);
  const std::size_t end = head ? config.layers : std::max<std::size_t>(1, config.layers - 1);
  const LayerRange range{end - count, end};
  TROUPE_ASSIGN_OR_RETURN(const auto source, ZeroSource::make(header));
  StageOptions stage_options;
  stage_options.kv_type = options.kv_type;
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<Stage> stage,
                          Stage::load(*source, config, range, device, stage_options));
  const double quota = cgroup_limits().cpus.value_or(0);
  const bool stops = quota > 0 && quota < device.threads();
  LayerCost cost;
  cost.threads = static_cast<std::uint32_t>(device.threads());
  cost.host_cpus = std::max(1u, std::thread::hardware_concurrency());
  if (stops) cost.share = quota / static_cast<double>(device.threads());
  TROUPE_ASSIGN_OR_RETURN(cost.many, Steps(*stage, stops).cost(head));
  cost.weight_bytes_per_s = static_cast<double>(layer_bytes) / cost.many.row_us * 1e6;
  stage_options.siblings = {stage};
  if (const std::size_t few = count / kFewOf; few > 0) {
    TROUPE_ASSIGN_OR_RETURN(const auto short_stage,
                            Stage::load(*source, config, {end - few, end}, device, stage_options));
    TROUPE_ASSIGN_OR_RETURN(cost.few, Steps(*short_stage, stops).cost(head, &cost.many));
  }
  // An output that is too large is taken to cost as much as the same number of bytes of a layer.
  const double ratio = static_cast<double>(head_bytes) / static_cast<double>(layer_bytes);
  for (StepCost* one : {&cost.many, &cost.few}) {
    if (head) break;
    one->head_row_us = ratio * one->row_us;
    one->head_rows_us = ratio * one->rows_us;
  }
  const std::size_t few = std::min<std::size_t>(count, 3);
  TROUPE_ASSIGN_OR_RETURN(
      const auto prompt_stage,
      Stage::load(*source, config, {range.begin, range.begin + few}, device, stage_options));
  TROUPE_ASSIGN_OR_RETURN(cost.prompt_row_us,
                          prompt_row_us(*prompt_stage, options.chunk_rows, kPromptWindowUs, stops));
  cost.prompt_row_us /= static_cast<double>(few);
  cost.products_per_s = matrix_values(config, {middle, middle + 1}) / cost.prompt_row_us * 1e6;
  return cost;
}

}  // namespace troupe::model
