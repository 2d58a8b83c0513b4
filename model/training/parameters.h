#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <troupe/model/training/adapter.h>
#include <troupe/model/training/parameter.h>
#include <troupe/runtime/machine/thread_pool.h>

// The tensors of a model and the adapters beside them, and which of them are trained. Owned by one
// trainer.

namespace troupe::model {

// True for tensors that may keep their format, because Team multiplies by any format: the matrices
// of the layers, the token embedding and the output. Everything else is always f32.
bool keeps_format(const TensorSpec& spec);

class Parameters {
 public:
  // Takes the weights of a whole model. Matrices become f32. With `keeps_formats`, those for which
  // keeps_format() is true stay as they are, and cannot be trained unless they are f32 already.
  Parameters(const ModelConfig& config, std::unique_ptr<StageWeights> weights, ThreadPool& pool,
             bool keeps_formats = false);

  const StageWeights& weights() const { return *weights_; }
  std::vector<Parameter>& all() { return parameters_; }
  const std::vector<Parameter>& all() const { return parameters_; }
  // Returns the parameter of a layer's slot or, with kNoLayer, of an end; nullptr if the model has
  // none.
  Parameter* find(std::size_t layer, std::size_t slot);
  // Does the same, but returns nullptr for a frozen one, too.
  Parameter* trained(std::size_t layer, std::size_t slot) {
    Parameter* found = find(layer, slot);
    return found != nullptr && found->trained ? found : nullptr;
  }
  std::size_t count() const;  // number of values of the model, adapters not included
  // Returns the tensors that are trained: those of the model in the order of all(), then those of
  // adapters.
  std::vector<Parameter*> trained();
  // Returns the SHA-256 of all values, in the order of all(), then of adapters(), as 64 hexadecimal
  // digits.
  std::string sha256() const;

  // Freezes every tensor of the model.
  void freeze();
  // Adds an adapter to a matrix that has none yet.
  void add(std::unique_ptr<Adapter> adapter);
  const std::vector<std::unique_ptr<Adapter>>& adapters() const { return adapters_; }
  // Returns the adapter of a layer's matrix; nullptr if it has none, or adapters are switched off.
  Adapter* adapter(std::size_t layer, std::size_t slot);
  // Switches adapters on or off. With adapters switched off, the model computes as if it had none.
  // Not inside a step.
  void switch_adapters(bool on) { adapters_on_ = on; }
  // Returns the number of values of the largest matrix that is not f32, or 0 if all are f32. Of the
  // token embedding and the output, only `block_rows` rows count, because they are used in such
  // blocks.
  std::size_t quantized_floats_max(std::size_t block_rows) const;
  // Returns the largest rank of the adapters; 0: there are none.
  std::size_t rank_max() const;

 private:
  std::unique_ptr<StageWeights> weights_;
  std::vector<Parameter> parameters_;
  // [layer, or the number of layers for the ends][slot]: 1 + the place in parameters_; 0: none
  std::vector<std::vector<std::size_t>> index_;
  std::vector<std::unique_ptr<Adapter>> adapters_;    // in the order of the model's matrices
  std::vector<std::vector<Adapter*>> adapter_index_;  // [layer][slot]
  bool adapters_on_ = true;
};

}  // namespace troupe::model
