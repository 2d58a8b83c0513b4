#pragma once

// SIGINT, SIGTERM and SIGHUP. No other part of Troupe handles signals, except a daemon's parent,
// which passes them on (daemon/parent.h). There is at most one watch at a time, on the main thread.

namespace troupe::tools {

// While an object lives, SIGINT and SIGTERM are counted and do not end the process. The third one
// since the last clear() ends the process at once (exit status 130), whatever it waits for.
class SignalWatch {
 public:
  // `also` runs inside the handler, so it may only make async-signal-safe calls. It may be null.
  explicit SignalWatch(void (*also)() = nullptr);
  ~SignalWatch();  // restores the default handling
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // Lets SIGHUP call `call` inside the handler from now on; if `call` is null, it counts like a
  // SIGTERM. A process that was started with SIGHUP ignored (nohup) continues to ignore it. Without
  // this call, SIGHUP ends the process.
  void take_hang_up(void (*call)());

  // Returns the number of signals since the last clear(). Any thread.
  int count() const;
  // True if a SIGTERM has come: then even what continues after an interrupt should end. clear()
  // does not forget it.
  bool asked_to_end() const;
  void clear();
  // Returns a descriptor for poll() that is readable if a signal has come since the last clear().
  int descriptor() const;
};

}  // namespace troupe::tools
