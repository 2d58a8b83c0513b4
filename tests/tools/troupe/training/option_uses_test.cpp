#include <sstream>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/tools/troupe/training/option_uses.h>
#include <troupe/tools/troupe/training/training_flags.h>

namespace troupe::tools {
namespace {

Status uses_of(const std::string& words) {
  CLI::App app;
  FinetuneOptions options;
  add_data_options(app, options);
  add_step_options(app, options);
  add_lora_options(app, options);
  add_training_run_options(app, options);
  app.parse("--data d -o out " + words);
  return check_option_uses(app, options);
}

TEST_CASE("training: flags that would change nothing are refused, and no others") {
  struct Case {
    const char* flag;
    const char* tasks;  // for which it has a use
  };
  const Case cases[] = {
      {"--text-field t", "lm classify regress token mlm"},
      {"--label-field l", "classify regress token"},
      {"--truncate left", "chat dpo classify regress token embed"},
      {"--beta 0.2", "dpo"},
      {"--teacher m", "lm chat"},
      {"--label-smoothing 0.1", "lm chat classify token mlm"},
      {"--mlm-probability 0.2", "mlm"},
      {"--class-weights balanced", "classify token"},
      {"--temperature 2", "embed"},
      {"--epochs 2", "lm chat dpo classify regress token mlm embed"},
  };
  for (const Case& one : cases) {
    for (const std::string task :
         {"lm", "chat", "dpo", "classify", "regress", "token", "mlm", "embed"}) {
      INFO(one.flag << " with --task " << task);
      const Status status = uses_of("--task " + task + " " + one.flag);
      std::istringstream tasks(one.tasks);
      bool has_use = false;
      for (std::string name; tasks >> name;) has_use |= name == task;
      CHECK(status.is_ok() == has_use);
      const std::string flag = std::string(one.flag).substr(0, std::string(one.flag).find(' '));
      if (!has_use) CHECK(status.message().rfind(flag, 0) == 0);
    }
  }
}

TEST_CASE("training: flags that need another one name it") {
  for (const char* const flag :
       {"--lora-alpha 4", "--lora-dropout 0.1", "--lora-targets q", "--rslora"}) {
    INFO(flag);
    CHECK(uses_of(flag).message().find("give --lora-rank") != std::string::npos);
    CHECK(uses_of(std::string(flag) + " --lora-rank 2").is_ok());
  }
  CHECK(uses_of("--kd-ratio 0.5").message().find("give --teacher") != std::string::npos);
  CHECK(uses_of("--temperature 2").message().find("give --teacher") != std::string::npos);
  CHECK(uses_of("--temperature 2 --kd-ratio 0.5 --teacher m").is_ok());
  for (const std::string task : {"dpo", "embed"}) {
    const std::string words = "--task " + task + " --lora-rank 2 --lora-dropout ";
    CHECK(uses_of(words + "0.1").message().find("two passes") != std::string::npos);
    CHECK(uses_of(words + "0").is_ok());
  }
  CHECK(uses_of("--validation v --validation-split 0.1").message().find("one of the two") !=
        std::string::npos);
  CHECK(uses_of("--patience 2").message().find("it needs --eval-every") != std::string::npos);
  CHECK(uses_of("--patience 2 --eval-every 2").message().rfind("--patience counts", 0) == 0);
  CHECK(uses_of("--patience 2 --eval-every 2 --validation v").is_ok());
  CHECK(uses_of("--eval-every 2").message().find("give --validation") != std::string::npos);
  CHECK(uses_of("--eval-every 2 --validation v").is_ok());
  CHECK(uses_of("--eval-every 2 --validation-split 0.1").is_ok());
}

}  // namespace
}  // namespace troupe::tools
