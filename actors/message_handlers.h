#pragma once

#include <functional>
#include <map>
#include <type_traits>
#include <utility>

#include <troupe/actors/link.h>

// A table of messages and the functions that take them; each actor that frames go to has one:
//
//   static const MessageHandlers<Self, const Setup&> kHandlers = {
//       on<Hello>(on_hello),   // on_hello(self, setup, frame, hello)
//       on<Leave>(on_leave)};  // on_leave(self, setup, leave)
//   kHandlers.handle(link, frame, self, setup);
//
// A handler gets the context, then the frame if it has a parameter for it, then the message, which
// it may take by value. A frame whose body does not decode reaches no handler: the link counts it.

namespace troupe::actors {

template <class Message, class Function>
struct MessageHandler {
  Function function;
};

// Makes a row: `function` takes messages of this type.
template <class Message, class Function>
MessageHandler<Message, Function> on(Function function) {
  return {std::move(function)};
}

template <class... Context>
class MessageHandlers {
 public:
  template <class... Messages, class... Functions>
  MessageHandlers(MessageHandler<Messages, Functions>... rows) {
    (add<Messages>(std::move(rows.function)), ...);
  }

  // Decodes the body and calls the handler of its type. A type without a row is ignored.
  void handle(Link& link, const net::InFrame& frame, Context... context) const {
    const auto row = rows_.find(static_cast<MessageType>(frame.header.type));
    if (row != rows_.end()) row->second(link, frame, context...);
  }

 private:
  template <class Message, class Function>
  void add(Function function) {
    rows_[Message::kType] = [function](Link& link, const net::InFrame& frame, Context... context) {
      Result<Message> message = decode_body<Message>(link, frame);
      if (!message) return;
      if constexpr (std::is_invocable_v<Function, Context..., const net::InFrame&, Message>) {
        function(context..., frame, std::move(*message));
      } else {
        function(context..., std::move(*message));
      }
    };
  }

  std::map<MessageType, std::function<void(Link&, const net::InFrame&, Context...)>> rows_;
};

}  // namespace troupe::actors
