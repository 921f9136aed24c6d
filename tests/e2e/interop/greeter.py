"""The greeter on grpcio, a gRPC implementation that is not ours: server and client.

  greeter.py serve          prints the address it listens on; ends when its standard input closes
  greeter.py call TARGET    reads commands from standard input, one a line, and answers each with a
                            line of JSON
"""

import json
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "interop.Greeter"
# Each message is its bytes: what is tested is the protocol, not an encoding of messages.
UNARY, SERVER, CLIENT, BIDI = "Unary", "ServerStream", "ClientStream", "Bidi"
HEADER = "x-leastload-host"


class Greeter:
    """Answers its own address. A message may say how the call goes on: fail, hang, count=N."""

    def __init__(self):
        self.address = b""
        self.in_flight = 0
        self.saw_header = False
        self.lock = threading.Lock()

    def count(self, context):
        with self.lock:
            self.in_flight += 1
            self.saw_header |= any(name == HEADER for name, _ in context.invocation_metadata())

        def ended():
            with self.lock:
                self.in_flight -= 1

        if not context.add_callback(ended):
            ended()

    def act(self, message, context):
        if message == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "asked to")
        if message == b"hang":
            over = threading.Event()
            if context.add_callback(over.set):
                over.wait(60)

    def unary(self, message, context):
        if message == b"look":
            with self.lock:
                return json.dumps([self.in_flight, self.saw_header]).encode()
        self.count(context)
        self.act(message, context)
        return self.address

    def server_stream(self, message, context):
        self.count(context)
        yield self.address
        self.act(message, context)
        if message.startswith(b"count="):
            for _ in range(int(message[6:]) - 1):
                yield self.address

    def client_stream(self, messages, context):
        self.count(context)
        for message in messages:
            self.act(message, context)
        return self.address

    def bidi(self, messages, context):
        self.count(context)
        for message in messages:
            yield self.address
            self.act(message, context)


def serve():
    greeter = Greeter()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    handlers = {
        UNARY: grpc.unary_unary_rpc_method_handler(greeter.unary),
        SERVER: grpc.unary_stream_rpc_method_handler(greeter.server_stream),
        CLIENT: grpc.stream_unary_rpc_method_handler(greeter.client_stream),
        BIDI: grpc.stream_stream_rpc_method_handler(greeter.bidi),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    greeter.address = b"127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(greeter.address.decode(), flush=True)
    sys.stdin.read()
    server.stop(0).wait()


class Caller:
    """A client with one channel; streams can be held."""

    def __init__(self, target):
        # Subchannels are shared in a process unless they differ in an argument.
        channels = [
            grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(4)
        ]
        self.methods = [
            {
                UNARY: channel.unary_unary(f"/{SERVICE}/{UNARY}"),
                SERVER: channel.unary_stream(f"/{SERVICE}/{SERVER}"),
                CLIENT: channel.stream_unary(f"/{SERVICE}/{CLIENT}"),
                BIDI: channel.stream_stream(f"/{SERVICE}/{BIDI}"),
            }
            for channel in channels
        ]
        self.held = []
        self.turn = 0

    def method(self, name):
        self.turn += 1
        return self.methods[self.turn % len(self.methods)][name]

    def once(self, name, messages, timeout=60, metadata=()):
        """The answers of one call."""
        streams_in = name in (CLIENT, BIDI)
        request = iter(messages) if streams_in else messages[0]
        answer = self.method(name)(request, timeout=timeout, metadata=metadata)
        if name in (UNARY, CLIENT):
            return [answer.decode()]
        return [message.decode() for message in answer]

    def run(self, command):
        what = command["do"]
        if what == "call":
            try:
                answers = self.once(
                    command["method"],
                    [message.encode() for message in command["messages"]],
                    command.get("timeout", 60),
                    [tuple(pair) for pair in command.get("metadata", [])],
                )
                return {"code": "OK", "answers": answers}
            except grpc.RpcError as error:
                return {"code": error.code().name, "answers": []}
        if what == "hold":
            servers = []
            for _ in range(command["calls"]):
                call = self.method(SERVER)(b"hang", timeout=60)
                servers.append(next(call).decode())
                self.held.append(call)
            return {"code": "OK", "answers": servers}
        if what == "cancel":
            for call in self.held:
                call.cancel()
            self.held.clear()
            return {"code": "OK", "answers": []}
        raise ValueError(what)


def call(target):
    caller = Caller(target)
    for line in sys.stdin:
        print(json.dumps(caller.run(json.loads(line))), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        call(sys.argv[2])
