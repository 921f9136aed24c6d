"""A client on grpcio with its policy weighted_round_robin, which reads ORCA load reports of responses.

  weighted.py TARGET FOLDER POLICY   TARGET as ipv4:127.0.0.1:1,127.0.0.1:2; FOLDER has ca.crt, tls.crt,
                                     tls.key; POLICY is the loadBalancingConfig as JSON
Each line of standard input is {"calls": N, "at_a_time": M}; it answers each with the calls by server.
"""

import json
import re
import sys
from collections import Counter
from concurrent import futures
from pathlib import Path

import grpc

# The reply tells who served, in a text field: its bytes are enough.
SERVED_BY = re.compile(rb"127\.0\.0\.1:[0-9]+")


def main(target, folder, policy):
    files = [Path(folder, name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")]
    channel = grpc.secure_channel(
        target,
        grpc.ssl_channel_credentials(*files),
        options=[
            ("grpc.ssl_target_name_override", "greeter.example.com"),
            ("grpc.service_config", json.dumps({"loadBalancingConfig": [json.loads(policy)]})),
        ],
    )
    greet = channel.unary_unary("/helloworld.Greeter/SayHello")

    def call(_):
        return SERVED_BY.search(greet(b"", timeout=60, wait_for_ready=True)).group().decode()

    for line in sys.stdin:
        command = json.loads(line)
        with futures.ThreadPoolExecutor(command["at_a_time"]) as pool:
            served = Counter(pool.map(call, range(command["calls"])))
        print(json.dumps(served), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
