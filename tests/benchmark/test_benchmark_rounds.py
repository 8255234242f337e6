"""What a round counts, in every scenario, on simulated time; and runs as JSON."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from benchmark.simulation import EMPTY, MACHINE, Clock, QueueContestant, instruments, noisy_pair

from detkit import AsyncDetector
from detkit.benchmark import (
    BenchmarkFileError,
    BenchmarkRun,
    LoopContestant,
    MultiStream,
    Offline,
    Scenario,
    Server,
    SingleStream,
    Video,
    benchmark,
    describe_machine,
    scenario,
)
from detkit.benchmark.rounds import Round, play_round
from detkit.benchmark.runner import order_of_round
from detkit.errors import ImageDecodeError, PartialBatchError
from detkit.results import DetectionResult
from detkit.testing import FakeDetector, numbered_image

ARRAYS = [numbered_image(n) for n in range(12)]


def played(given: Scenario, num_images: int = 12, image_s: float = 0.02, servers: int = 1) -> Round:
    clock = Clock()
    contestant = QueueContestant(clock, image_s, servers)
    rng = np.random.default_rng(0)
    return play_round(contestant, ARRAYS[:1] * num_images, given, rng, instruments(clock))


def test_single_stream_waits_for_each_answer() -> None:
    made = played(SingleStream())
    assert made.latencies_s == pytest.approx([0.02] * 12)
    assert made.elapsed_s == pytest.approx(0.24)
    assert made.images_per_s == pytest.approx(50)


def test_multi_stream_asks_for_several_together() -> None:
    made = played(MultiStream(num_streams=5), servers=5)
    assert made.latencies_s == pytest.approx([0.02] * 3)
    assert made.elapsed_s == pytest.approx(0.06)
    assert made.num_ok == 12


def test_offline_asks_for_all_at_once() -> None:
    made = played(Offline(), servers=4)
    assert made.latencies_s == pytest.approx([0.06])
    assert made.cost_s(is_paced=False) == pytest.approx(0.005)


def test_server_latencies_count_from_arrival_as_queueing_theory_says() -> None:
    # M/D/1 at half load waits rho / (2 (1 - rho)) service times on average (Pollaczek-Khinchine).
    made = played(Server(rate_per_s=25, deadline_s=0.1), num_images=20_000)
    assert np.mean(made.latencies_s) == pytest.approx(0.02 * 1.5, rel=0.05)
    assert made.num_late == sum(s > 0.1 for s in made.latencies_s) > 0
    assert made.cost_s(is_paced=True) == pytest.approx(np.median(made.latencies_s), rel=1e-3)


def test_arrivals_are_a_poisson_process_of_the_rate_asked_for() -> None:
    queries = Server(rate_per_s=40).queries(20_000, np.random.default_rng(3))
    gaps = np.diff([0.0, *(q.due_s or 0.0 for q in queries)])
    assert gaps.mean() == pytest.approx(1 / 40, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 40, rel=0.03)  # exponential: as large as the mean


def test_a_video_that_is_too_fast_piles_up() -> None:
    made = played(Video(fps=100), num_images=10)
    # Frame i comes at 10 i ms and is done at 20 (i + 1) ms.
    assert made.latencies_s == pytest.approx([0.02 + 0.01 * i for i in range(10)])
    assert made.num_late == 10
    assert played(Video(fps=40), num_images=10).num_late == 0


def test_a_blocking_contestant_is_charged_for_those_it_kept_waiting() -> None:
    clock = Clock()

    def detect(images: Sequence[Any]) -> list[DetectionResult]:
        clock.sleep(0.02)
        return [EMPTY] * len(images)

    tools = instruments(clock)
    made = play_round(
        LoopContestant(detect, tools), ARRAYS, Video(fps=100), np.random.default_rng(0), tools
    )
    assert made.latencies_s == pytest.approx([0.02 + 0.01 * i for i in range(12)])


def test_stages_are_shared_out() -> None:
    clock = Clock()
    told = {"preprocess_ms": 2.0, "inference_ms": 10.0, "postprocess_ms": 1.0, "queue_ms": 0.5}

    def detect(images: Sequence[Any]) -> list[DetectionResult]:
        clock.sleep(0.020)
        return [DetectionResult.empty(told)]

    def load(sample: Any) -> Any:
        clock.sleep(0.005)
        return ARRAYS[0]

    tools = instruments(clock)
    run = benchmark(
        {"x": LoopContestant(detect, tools)},
        ["a.jpg", "b.jpg"],
        SingleStream(),
        rounds=3,
        load=load,
        instruments=tools,
        machine=MACHINE,
    )
    expected = {"decode": 5, "queue": 0.5, "preprocess": 2, "inference": 10, "postprocess": 1}
    assert run["x"].stages_ms() == pytest.approx({**expected, "other": 6.5})


def test_the_engine_is_measured_through_its_public_face() -> None:
    with AsyncDetector(FakeDetector(), max_workers=2) as detector:
        for given in (SingleStream(), MultiStream(), Offline(), Server(5000), Video(2000)):
            run = benchmark({"engine": detector}, ARRAYS, given, rounds=1)
            entry = run["engine"]
            assert entry.rounds[0] is not None and entry.rounds[0].num_ok == 12, given
            assert {"queue", "inference"} <= set(entry.stages_ms())
            assert entry.facts["max_workers"] == 2


def test_a_detector_that_fails_now_and_then_is_counted_not_hidden() -> None:
    broken = FakeDetector(fail_on={3, 5})
    with AsyncDetector(broken) as detector:
        several = {"engine": detector, "loop": broken, "function": broken.detect}
        for given in (SingleStream(), Offline()):
            run = benchmark(several, ARRAYS, given, rounds=2, warm_up=0)
            for entry in run:
                assert entry.num_failed == 4 and not entry.error
                assert [r.num_ok for r in entry.played] == [10, 10]
                assert "told to fail" in entry.played[0].first_error
    assert played_failures(SingleStream()) == ([True] * 10, 2)


def played_failures(given: Scenario) -> tuple[list[bool], int]:
    """Queries with a failed image have no latency."""
    broken = FakeDetector(fail_on={3, 5})
    run = benchmark({"x": broken}, ARRAYS, given, rounds=1, warm_up=0)
    entry = run["x"].played[0]
    return [s > 0 for s in entry.latencies_s], entry.num_failed


def test_one_that_always_fails_has_an_error_and_no_numbers() -> None:
    bad = FakeDetector(fail_on=set(range(12)))
    run = benchmark({"bad": bad, "good": FakeDetector()}, ARRAYS, rounds=2)
    assert "every image failed" in run["bad"].error and not run["bad"].has_numbers
    assert run["good"].has_numbers and math.isnan(run["bad"].images_per_s().value)


def test_one_that_cannot_load_drops_out_and_the_others_go_on() -> None:
    def missing(sample: Any) -> Any:
        raise ImageDecodeError("gone.jpg: no such file")

    run = benchmark({"x": FakeDetector()}, ["gone.jpg"], rounds=2, load=missing)
    assert "gone.jpg" in run["x"].error
    assert any("dropped out" in note for note in run.notes)


def test_files_are_decoded_on_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    assert cv2.imwrite(str(path), np.full((40, 60, 3), 90, np.uint8))
    run = benchmark({"x": FakeDetector()}, [path], SingleStream(), rounds=1, warm_up=0)
    assert run["x"].stages_ms()["decode"] > 0


def test_no_images_and_no_contestants_are_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        benchmark({"x": FakeDetector()}, [])
    with pytest.raises(ValueError, match="no contestants"):
        benchmark({}, ARRAYS)
    with pytest.raises(TypeError, match="contestant must be"):
        benchmark({"x": 7}, ARRAYS)
    with pytest.raises(ValueError, match="rounds"):
        benchmark({"x": FakeDetector()}, ARRAYS, rounds=0)


def test_one_image_and_one_round_give_a_number_without_an_interval() -> None:
    run = benchmark({"x": FakeDetector()}, ARRAYS[:1], rounds=1)
    assert run["x"].images_per_s().value > 0 and math.isnan(run["x"].images_per_s().low)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_turns_are_fair(number: int) -> None:
    names = list("abcde"[:number])
    orders = [order_of_round(names, k) for k in range(2 * number)]
    places = {n: sorted(order.index(n) for order in orders) for n in names}
    assert all(p == sorted([*range(number)] * 2) for p in places.values())


def test_time_that_runs_out_is_noted() -> None:
    contestants, tools = noisy_pair(0, 1.0)
    run = benchmark(
        contestants, ARRAYS, rounds=100, max_seconds=2.0, instruments=tools, machine=MACHINE
    )
    assert len(run["a"].rounds) < 8
    assert "8 are needed" in run.notes[0]


def test_a_throttling_machine_is_told() -> None:
    def change(seed: int, drift: Any) -> tuple[bool, float]:
        contestants, tools = noisy_pair(seed, 1.1, drift)
        run = benchmark(contestants, ARRAYS, instruments=tools, machine=MACHINE)
        return run.drift.is_significant, run.drift.change

    throttled = [change(seed, lambda n: 1.0 if n < 10 else 1.4) for seed in range(50)]
    assert sum(told for told, _ in throttled) >= 48
    assert np.median([c for _, c in throttled]) > 0.2


def test_a_steady_machine_is_not_said_to_drift() -> None:
    told = 0
    for seed in range(100):
        contestants, tools = noisy_pair(seed, 1.1, weather_step=0.0)
        run = benchmark(contestants, ARRAYS, instruments=tools, machine=MACHINE)
        told += run.drift.is_significant
    assert told <= 2
    assert str(run.drift) == "the machine kept its speed"


def test_a_run_survives_json_and_pickle(tmp_path: Path) -> None:
    with AsyncDetector(FakeDetector(fail_on={4})) as detector:
        run = benchmark({"engine": detector}, ARRAYS, Server(2000), rounds=3)
    run.save(tmp_path / "run.json")
    again = BenchmarkRun.load(tmp_path / "run.json")
    assert again.as_json() == run.as_json()
    assert again.scenario == run.scenario and again.machine == run.machine
    assert again["engine"].costs_s() == run["engine"].costs_s()
    assert pickle.loads(pickle.dumps(run.machine)) == run.machine
    one = run["engine"].played[0]
    assert pickle.loads(pickle.dumps(one)) == one
    assert [f.name for f in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 99}', "no json"])
def test_what_is_no_run_is_refused_in_words(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(BenchmarkFileError):
        BenchmarkRun.load(tmp_path / "x.json")


def test_a_missing_contestant_is_named() -> None:
    run = benchmark({"x": FakeDetector()}, ARRAYS[:1], rounds=1)
    with pytest.raises(KeyError, match="no contestant 'y'"):
        run["y"]
    assert run.only("x").names == ["x"] and len(run) == 1


def test_the_machine_is_described_without_naming_it() -> None:
    import getpass
    import socket

    machine = describe_machine()
    text = json.dumps(machine.as_json())
    assert machine.cores >= 1 and len(machine.fingerprint) == 12
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert getpass.getuser() not in text or getpass.getuser() in ("root", "user")
    assert str(machine.cores) in str(machine)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nonsense", {}),
        ("server", {"rate_per_s": 0}),
        ("server", {"deadline_s": math.nan}),
        ("video", {"fps": -1}),
        ("multi_stream", {"num_streams": 0}),
    ],
)
def test_bad_scenarios_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        scenario(name, **options)


def test_a_loop_reports_a_partial_batch_as_such() -> None:
    def half(images: Sequence[Any]) -> list[DetectionResult]:
        raise PartialBatchError("half", 6, 12, [EMPTY] * 6)

    run = benchmark({"x": LoopContestant(half)}, ARRAYS, rounds=1)
    assert run["x"].num_failed == 6 and run["x"].played[0].num_ok == 6
