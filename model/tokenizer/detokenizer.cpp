#include <troupe/model/tokenizer/detokenizer.h>

namespace troupe::model {

Result<std::string> Detokenizer::push(TokenId id) {
  TROUPE_ASSIGN_OR_RETURN(std::string piece, tokenizer_.piece(id, with_special_));
  if (!begun_ && !piece.empty()) {
    begun_ = true;
    if (tokenizer_.drops_first_space() && piece.starts_with(' ')) piece.erase(0, 1);
  }
  return characters_.push(piece);
}

}  // namespace troupe::model
