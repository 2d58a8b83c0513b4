#include <cstdio>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/training/progress_line.h>

namespace troupe::tools {

ProgressLine::ProgressLine(bool json) : json_(json), live_(::isatty(2) == 1) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::fputc('\n', stderr);
}

void ProgressLine::show(const model::StepEvent& event) {
  seconds_ += event.seconds;
  ++steps_;
  const double left = seconds_ / steps_ * static_cast<double>(event.steps - event.step);
  if (json_ && event.is_repeated) return;  // the earlier run has printed the line
  if (json_) {
    // A loss or norm that is not finite is written as null.
    print_json({{"step", event.step},
                {"steps", event.steps},
                {"epoch", event.epoch},
                {"loss", event.report.loss},
                {"gradient_norm", event.report.gradient_norm},
                {"lr", event.learning_rate},
                {"targets", event.report.targets},
                {"tokens", event.tokens},
                {"tokens_per_s", static_cast<double>(event.tokens) / event.seconds},
                {"applied", event.report.applied}});
    return;
  }
  std::fprintf(stderr,
               "%sstep %llu of %llu  loss %.4f  norm %.3f  lr %.2e  %.0f tokens/s  %.0f s left%s",
               live_ ? "\r\033[K" : "", static_cast<unsigned long long>(event.step),
               static_cast<unsigned long long>(event.steps), event.report.loss,
               event.report.gradient_norm, event.learning_rate,
               static_cast<double>(event.tokens) / event.seconds, left, live_ ? "" : "\n");
  shown_ = live_;
}

}  // namespace troupe::tools
