"""A TCP proxy that a test puts before a daemon: delay, throttle, hold, cut, flip, duplicate, replay.

It listens on three ports in a row, as a daemon does, and passes each on to the daemon's. "up" is what
goes to the daemon, "down" what it answers. `proxy.bytes[channel, way]` counts what was passed on,
`proxy.faults[name]` how often each fault was applied, so that a test can prove that it happened.
"""
import asyncio
import collections
import contextlib
import socket
import threading

CHANNELS = ("control", "activations", "bulk")
WAYS = ("up", "down")
CHUNK = 64 << 10


class Pipe:
    """One way of one connection: what was read and is due to be written at its time."""

    def __init__(self, proxy, channel, way):
        self.proxy, self.channel, self.way = proxy, channel, way
        self.free_at = 0.0  # when a throttled link has sent what it was given
        self.record = b""

    def spoil(self, data):
        """The next fault of this way, if one is due. One chunk in, chunks out."""
        proxy = self.proxy
        if len(self.record) < proxy.record_bytes:
            self.record += data
        want = proxy.due.get((self.channel, self.way))
        if not want:
            return [data]
        fault = want.popleft()
        proxy.faults[fault] += 1
        if fault == "flip":
            middle = len(data) // 2
            return [data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1:]]
        if fault == "duplicate":
            return [data, data]
        if fault == "replay":
            return [data, self.record]
        raise ValueError(fault)

    async def run(self, reader, writer):
        loop = asyncio.get_running_loop()
        queue = asyncio.Queue(maxsize=256)

        async def write():
            while (item := await queue.get()) is not None:
                due, data = item
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self.proxy.passable(self.channel, self.way)
                writer.write(data)
                await writer.drain()
                self.proxy.bytes[self.channel, self.way] += len(data)

        writing = asyncio.create_task(write())
        try:
            while not writing.done() and (data := await reader.read(CHUNK)):
                for part in self.spoil(data):
                    await queue.put((self.due(loop.time(), len(part)), part))
        except OSError:
            pass
        await queue.put(None)
        with contextlib.suppress(OSError):
            await writing
        writer.close()

    def due(self, now, size):
        proxy = self.proxy
        at = now
        if proxy.bytes_per_second:
            self.free_at = max(self.free_at, now) + size / proxy.bytes_per_second
            at = self.free_at
            proxy.faults["throttle"] += 1
        if proxy.delay_seconds:
            at += proxy.delay_seconds
            proxy.faults["delay"] += 1
        return at


class Proxy:
    """Runs until close(). Attributes may be set at any time by the test's own thread."""

    def __init__(self, port, target_port, host="127.0.0.1", target_host="127.0.0.1"):
        self.port, self.address = port, f"{host}:{port}"
        self.delay_seconds = 0.0
        self.bytes_per_second = 0
        self.record_bytes = 0
        self.bytes = collections.Counter()
        self.faults = collections.Counter()
        self.connections = 0
        self.due = {(c, w): collections.deque() for c in CHANNELS for w in WAYS}
        self._target = (target_host, target_port)
        self._held, self._cut, self._open = set(), False, set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(host, port, ready), daemon=True)
        self._thread.start()
        ready.wait()
        if self._failed:
            raise self._failed

    def _run(self, host, port, ready):
        asyncio.set_event_loop(self._loop)
        self._failed = None
        try:
            self._servers = [self._loop.run_until_complete(asyncio.start_server(
                lambda r, w, i=i: self._serve(i, r, w), host, port + i)) for i in range(3)]
        except OSError as error:
            self._failed = error
        self._changed = asyncio.Event()
        ready.set()
        if not self._failed:
            self._loop.run_forever()

    async def _serve(self, index, reader, writer):
        if self._cut:
            self.faults["refused"] += 1
            writer.transport.abort()
            return
        self.connections += 1
        channel = CHANNELS[index]
        # A machine behind a link that swallows everything does not answer an attempt to connect.
        await self.passable(channel, "up")
        try:
            near, far = await asyncio.open_connection(self._target[0], self._target[1] + index)
        except OSError:
            writer.transport.abort()
            return
        both = (writer, far)
        self._open.add(both)
        for one in both:
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(Pipe(self, channel, "up").run(reader, far),
                             Pipe(self, channel, "down").run(near, writer), return_exceptions=True)
        self._open.discard(both)

    async def passable(self, channel, way):
        while (channel, way) in self._held:
            self.faults["held"] += 1
            self._changed.clear()
            await self._changed.wait()

    def _call(self, function):
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        done.wait()

    def hold(self, *ways, channels=CHANNELS):
        """From now on nothing goes this way, and nothing is lost: as when a network is away."""
        self._call(lambda: self._held.update((c, w) for c in channels for w in ways or WAYS))

    def release(self):
        self._call(lambda: (self._held.clear(), self._changed.set()))

    def cut(self):
        """Resets every connection; new ones are refused until mend()."""
        def now():
            self._cut = True
            for both in self._open:
                for writer in both:
                    writer.transport.abort()
                    self.faults["cut"] += 1
        self._call(now)

    def mend(self):
        self._call(lambda: setattr(self, "_cut", False))

    def spoil(self, fault, channel, way):
        """Applies "flip", "duplicate" or "replay" to the next chunk of a channel."""
        self._call(lambda: self.due[channel, way].append(fault))

    def passed(self, *channels):
        """Bytes passed on, both ways."""
        return sum(self.bytes[c, w] for c in channels or CHANNELS for w in WAYS)

    def close(self):
        def end():
            for server in self._servers:
                server.close()
            for both in self._open:
                for writer in both:
                    writer.transport.abort()
            self._loop.stop()
        self._loop.call_soon_threadsafe(end)
        self._thread.join(5)
