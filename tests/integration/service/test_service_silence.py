"""A stream that says nothing does not hold its place for ever."""

import asyncio
import re
from typing import Any

import grpc
import grpc.aio

from entrain.config.run import ServerConfig
from entrain.serving.front import Ending
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec_codec import encode_spec
from entrain_envs.wire import trainer_pb2 as pb
from support.native_server import NativeServer


def open_stream(channel: Any) -> Any:
    return channel.stream_stream("/entrain.v1.Trainer/Connect")()


async def test_a_stream_that_says_nothing_is_ended_in_words_and_others_go_on() -> None:
    server = NativeServer(ServerConfig(address="localhost:0"), hello_s=0.2)
    address = await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        talking = open_stream(channel)
        hello = pb.Hello(
            min_version=1,
            max_version=1,
            simulator="talks",
            instance_id="1",
            behaviours=[encode_spec(spec) for spec in BalanceBall(count=1).behaviours],
        )
        await talking.write(pb.ConnectRequest(hello=hello).SerializeToString())
        silent = open_stream(channel)
        async with asyncio.timeout(10.0):
            assert await silent.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert re.search(r"said no Hello within 0\.2 s; send Hello", await silent.details())
        assert server.participants.num_running == 1
        # Once it has said Hello, a simulator may think for as long as it likes.
        assert not talking.done()
    await server.stop(Ending.COMPLETED, "the test is over", goodbye_s=0.1)
