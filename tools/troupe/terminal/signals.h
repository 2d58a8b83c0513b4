#pragma once

// SIGINT, SIGTERM and SIGHUP: the only place of Troupe that handles signals. At most one watch at a
// time, on the main thread.

namespace troupe::tools {

// While it lives, SIGINT and SIGTERM are counted instead of ending the process. The third one since
// the last clear() ends it at once (exit status 130), whatever it waits for.
class SignalWatch {
 public:
  // `also` runs inside the handler: async-signal-safe calls only. May be null.
  explicit SignalWatch(void (*also)() = nullptr);
  ~SignalWatch();  // the default handling is back
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // From now on SIGHUP calls `call` inside the handler; null: it counts as a SIGTERM does. A
  // process that was started with SIGHUP ignored (nohup) goes on ignoring it. Without this call, it
  // ends the process.
  void take_hang_up(void (*call)());

  // Signals since the last clear(). Any thread.
  int count() const;
  // A SIGTERM has come: what goes on after an interrupt should end. clear() does not forget it.
  bool asked_to_end() const;
  void clear();
  // Readable while a signal has come since the last clear(), for poll().
  int descriptor() const;
};

}  // namespace troupe::tools
