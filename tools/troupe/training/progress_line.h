#pragma once

#include <troupe/model/training/finetune.h>

// Prints the line about a training run's steps. One thread.

namespace troupe::tools {

// Prints one line about a step; on a terminal it replaces the previous line.
class ProgressLine {
 public:
  // With `json`, each step is an object on stdout.
  explicit ProgressLine(bool json);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void show(const model::StepEvent& event);

 private:
  const bool json_, live_;
  bool shown_ = false;
  double seconds_ = 0.0, steps_ = 0.0;
};

}  // namespace troupe::tools
