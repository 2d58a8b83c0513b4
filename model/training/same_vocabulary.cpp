#include <string>

#include <troupe/model/training/same_vocabulary.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {

Status check_same_vocabulary(const Tokenizer& model, const Tokenizer& teacher) {
  const auto refused = [](const std::string& what) {
    return Status(Code::kInvalidArgument,
                  "the teacher has another vocabulary than the model: " + what +
                      "; take a teacher of the same family of models, or one that was trained "
                      "from the same tokenizer");
  };
  if (model.vocabulary() != teacher.vocabulary())
    return refused(std::to_string(teacher.vocabulary()) + " tokens instead of " +
                   std::to_string(model.vocabulary()));
  for (std::size_t i = 0; i < model.vocabulary(); ++i) {
    const auto id = static_cast<TokenId>(i);
    TROUPE_ASSIGN_OR_RETURN(const std::string own, model.piece(id, /*with_special=*/true));
    TROUPE_ASSIGN_OR_RETURN(const std::string other, teacher.piece(id, /*with_special=*/true));
    if (own != other)
      return refused("token " + std::to_string(i) + " is " + in_quotes(other, 40) + " there and " +
                     in_quotes(own, 40) + " here");
  }
  return Status::ok();
}

}  // namespace troupe::model
