# SPDX-License-Identifier: BSD-3-Clause
"""The service as its clients see it: over a socket, by bytes that none of our code has written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import msgpack
import numpy as np
import pytest
import torch
import zmq
from serving_helpers import (
    N1D5,
    STEPS,
    chunk_of,
    env_observations,
    flat_request,
    make_actor,
    nested_request,
    with_settings,
    write_case,
)
from wire_client import WireClient

from gr00t_rl import cli
from gr00t_rl.serving import PolicyClient, PolicyServer, ServedPolicy, ServerError
from gr00t_rl.serving.loading import Choices, load_policy
from gr00t_rl.utils.errors import ConfigurationError


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return write_case("n1.5", tmp_path_factory.mktemp("case") / "checkpoint")


@pytest.fixture(scope="module")
def folder(case, tmp_path_factory):
    return with_settings(case, tmp_path_factory.mktemp("ours") / "checkpoint")


@pytest.fixture(scope="module")
def policy(folder) -> ServedPolicy:
    return load_policy(None, str(folder), Choices(init_noise_scale=0.0))


class Running:
    """A server in a thread."""

    def __init__(self, policy: ServedPolicy, token: str | None = None) -> None:
        self.lines: list[str] = []
        self.server = PolicyServer(policy, port=0, api_token=token, log=self.lines.append)
        self.address = self.server.address
        self.port = int(self.address.rpartition(":")[2])
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def end(self) -> None:
        self.server.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def running(policy) -> Iterator[Running]:
    made = Running(policy)
    yield made
    made.end()


@pytest.fixture
def client(running) -> Iterator[WireClient]:
    made = WireClient(running.address)
    yield made
    made.close()


def test_actions_over_the_wire_are_those_of_evaluation(client, case):
    """Of one robot, of several, and in N1.7's form; the endpoint may be left out."""
    obs = env_observations(N1D5)
    actor = make_actor(case, init_noise_scale=0.0)
    expected = chunk_of(actor, obs, torch.zeros(3, *actor.chunk_shape))
    several = client.ask("get_action", flat_request(N1D5, obs))
    alone = client.ask(None, flat_request(N1D5, obs, 2))
    nested, info = client.ask("get_action", nested_request(N1D5, obs))
    assert info == {} and set(nested) == {"gripper", "delta"} and list(several) == list(alone)
    for key, columns in (("gripper", slice(2, 3)), ("delta", slice(0, 2))):
        found = several[f"action.{key}"]
        assert found.dtype == np.float32 and alone[f"action.{key}"].shape == (STEPS, found.shape[-1])
        np.testing.assert_allclose(found, expected[..., columns], atol=1e-6, rtol=0)
        np.testing.assert_allclose(alone[f"action.{key}"], expected[2, :, columns], atol=1e-6, rtol=0)
        np.testing.assert_array_equal(nested[key], found)


def test_the_other_endpoints(client):
    assert client.ask("ping")["status"] == "ok"
    assert client.ask("reset", {"options": None}) == {}
    config = {part: json.loads(table["as_json"]) for part, table in client.ask("get_modality_config").items()}
    assert config == {
        "video": {"delta_indices": [0], "modality_keys": ["video.wrist", "video.front"]},
        "state": {"delta_indices": [0], "modality_keys": ["state.arm", "state.yaw"]},
        "action": {"delta_indices": [0, 1, 2], "modality_keys": ["action.gripper", "action.delta"]},
        "language": {"delta_indices": [0], "modality_keys": ["annotation.human.action.task_description"]},
    }


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"\xc1", "the message is no msgpack of this protocol"),
        (b"", "the message is no msgpack of this protocol"),
        (msgpack.packb([1]), "the message is a list; send a table"),
        (msgpack.packb(None), "the message is a NoneType; send a table"),
        (msgpack.packb({"endpoint": "__init__"}), "Unknown endpoint: __init__; there are get_action"),
        (msgpack.packb({"endpoint": ["ping"]}), "Unknown endpoint: "),
        (msgpack.packb({"endpoint": "get_action"}), "data is a null; send a table"),
        (msgpack.packb({"data": {"state.arm": 1}}), "video.wrist is missing"),
        (msgpack.packb({"data": {"__ndarray_class__": True, "as_npy": b"x"}}), "an array's as_npy is no npy file"),
    ],
)
def test_a_wrong_message_is_answered_once_and_the_next_is_served(client, running, message, answer):
    found = client.send(message)
    assert list(found) == ["error"] and answer in found["error"] and "\n" not in found["error"]
    assert client.ask("ping")["status"] == "ok" and running.lines[-1] == f"refused: {found['error']}"


def test_a_fault_of_ours_is_told_too_and_logged(client, policy, monkeypatch, capsys):
    monkeypatch.setattr(policy, "act", lambda observation: 1 / 0)
    found = client.ask("get_action", flat_request(N1D5, env_observations(N1D5)))
    assert found == {"error": "the server failed (ZeroDivisionError: division by zero); its log says more"}
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.undo()
    assert "action.delta" in client.ask("get_action", flat_request(N1D5, env_observations(N1D5)))


def test_nothing_is_done_without_the_token(policy):
    """Neither kill; a server that is asked to end answers first, and gives its port back."""
    running = Running(policy, token="secret")
    for token in (None, "", "secre", "secret2", "sécret", 7, ["secret"], b"secret"):
        client = WireClient(running.address, token)  # type: ignore[arg-type]
        for endpoint in ("ping", "kill", "get_action", "nonsense"):
            assert client.ask(endpoint) == {"error": "Unauthorized: Invalid API token"}
        client.close()
    client = WireClient(running.address, "secret")
    assert client.ask("kill")["status"] == "ok"
    client.close()
    running.thread.join(30)
    assert not running.thread.is_alive()
    again = PolicyServer(policy, port=running.port)
    again.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::"])
def test_other_machines_need_a_token(policy, host):
    with pytest.raises(ConfigurationError, match="there is no token; set the environment variable GR00T_API_TOKEN"):
        PolicyServer(policy, host=host, port=0)


def test_addresses_that_cannot_be_bound(policy, running):
    with pytest.raises(ConfigurationError, match=r"cannot be bound .*; set another"):
        PolicyServer(policy, port=running.port)
    with pytest.raises(ConfigurationError, match=r"--host is 'robot\.local'; set the IP address"):
        PolicyServer(policy, host="robot.local", api_token="x")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(policy, number):
    """In the main thread, with the handlers put back."""
    before = signal.getsignal(number)
    server = PolicyServer(policy, port=0)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), number))
    timer.start()
    server.run()
    timer.join()
    assert signal.getsignal(number) is before


# -- our own client ---------------------------------------------------------------------------------------------------


def test_the_client_s_answers_are_those_of_the_wire(client, running):
    request = flat_request(N1D5, env_observations(N1D5), 0)
    with PolicyClient(port=running.port) as ours:
        assert ours.ping()
        expected = client.ask("get_action", request)
        for name, found in ours.get_action(request).items():
            np.testing.assert_array_equal(found, expected[name])
        assert ours.get_modality_config()["action"].modality_keys == ["action.gripper", "action.delta"]
        with pytest.raises(ServerError, match=r"state\.arm is missing"):
            ours.get_action({name: value for name, value in request.items() if name != "state.arm"})


def test_the_client_waits_no_longer_than_it_is_told(policy, running):
    """And can be used again afterwards."""
    server = PolicyServer(policy, port=0)  # bound, and nobody answers
    port = int(server.address.rpartition(":")[2])
    with PolicyClient(port=port, timeout_s=0.1) as silent:
        assert not silent.ping()
        with pytest.raises(TimeoutError, match=rf"no answer from tcp://127.0.0.1:{port} within 0.1 s"):
            silent.get_modality_config()
    server.close()


def test_the_client_ends_a_server_with_its_token(policy):
    running = Running(policy, token="secret")
    with PolicyClient(port=running.port) as stranger, pytest.raises(ServerError, match="Unauthorized"):
        stranger.ping()
    with PolicyClient(port=running.port, api_token="secret") as ours:
        ours.kill()
    running.thread.join(30)
    assert not running.thread.is_alive()


def test_the_client_needs_no_torch():
    code = "import sys, gr00t_rl.serving.client; assert not {'torch', 'transformers', 'rsl_rl'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("token", [None, "secret"])
def test_messages_of_several_parts_or_without_an_envelope_do_not_end_it(policy, token):
    """Whatever a stranger's socket sends: the next client is answered."""
    running = Running(policy, token=token)
    context = zmq.Context()
    try:
        asking = context.socket(zmq.REQ)
        asking.connect(running.address)
        asking.send_multipart([b"a", b"b", b"c"])
        assert asking.poll(10_000) and "the message has 3 parts; send one" in msgpack.unpackb(asking.recv())["error"]
        bare = context.socket(zmq.DEALER)
        bare.connect(running.address)
        bare.send_multipart([b"no empty part before it"])
        bare.send(b"")
        assert not bare.poll(300)
        with PolicyClient(port=running.port, api_token=token, timeout_s=30) as client:
            assert client.ping()
            client.kill()
        running.thread.join(30)
        assert not running.thread.is_alive()
    finally:
        context.destroy(linger=0)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_serves_a_folder_until_it_is_asked_to_end(folder, monkeypatch, capsys):
    """It says what it takes and gives, and where; the token comes from the environment."""
    monkeypatch.setenv("GR00T_API_TOKEN", "secret")
    real = PolicyServer.run

    def run(server: PolicyServer) -> None:
        port = int(server.address.rpartition(":")[2])
        with_token = PolicyClient(port=port, api_token="secret")
        asking = threading.Thread(target=with_token.kill)
        asking.start()
        real(server)
        asking.join()
        with_token.close()

    monkeypatch.setattr(PolicyServer, "run", run)
    assert cli.main(["serve", "--checkpoint", str(folder), "--port", "0"]) == 0
    text = capsys.readouterr().out
    assert "video.wrist [1, 32, 32, 3]" in text and "state.arm [1, 2]" in text and "action.delta [3, 2]" in text
    assert "ready: tcp://127.0.0.1:" in text and "with a token" in text and text.endswith("ended\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "--port is 70000"),
        (["--num_inference_timesteps", "0"], "--num_inference_timesteps is 0"),
        (["--init_noise_scale", "-1"], "init_noise_scale is -1.0; set"),
        (["--host", "0.0.0.0"], "set the environment variable GR00T_API_TOKEN"),
        (["--device", "nonsense"], "--device is 'nonsense': there is no such device"),
        (["--checkpoint", "latest"], "--checkpoint latest is that of a task; set --task"),
        (["--checkpoint", "gone/away/far"], "no such folder"),
    ],
)
def test_mistakes_on_the_command_line_end_in_one_line(folder, options, message):
    with pytest.raises(ConfigurationError) as error:
        cli.main(["serve", "--checkpoint", str(folder), "--port", "0", *options])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_empty_token_is_none(folder, monkeypatch):
    monkeypatch.setenv("GR00T_API_TOKEN", " ")
    with pytest.raises(ConfigurationError, match="GR00T_API_TOKEN is set, but empty"):
        cli.main(["serve", "--checkpoint", str(folder)])
