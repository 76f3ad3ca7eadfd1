"""Whatever comes in, what goes out stays inside the limits and can still be stopped inside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruckig import ControlInterface, InputParameter, Ruckig, Synchronization, Trajectory

from salus_ros.interfaces import ActionChunk, Instant, JointCommand, JointState, nanoseconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.limits import ArmLimits, RobotLimits, load_limits
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.verification import space_violations, verify, verify_space
from salus_ros.supervision.workspace import Workspace, load_workspace

CONFIG = Path(__file__).parents[2] / "config"
ROBOTS = ("panda", "fr3")
# Lowers the hand onto the table, and stretches the arm.
DOWN = np.array([0.0, 1.0, 0.0, 0.5, 0.0, 0.3, 0.0])
MIDDLE = np.array([0.0, 0.0, 0.0, -1.5, 0.0, 1.8, 0.0])


def robot_limits(robot: str) -> RobotLimits:
    joints = [f"{robot}_joint{j}" for j in range(1, 8)]
    limits = load_limits(CONFIG / f"{robot}_joint_limits.yaml", joints, f"{robot}_gripper")
    return replace(limits, workspace=load_workspace(CONFIG / f"{robot}_workspace.yaml"))


class StopCheck:
    """An independent look at whether a state can be stopped: solved and sampled on its own."""

    def __init__(self, limits: ArmLimits, jerk: list[float], fraction: float) -> None:
        joints = len(limits.names)
        self.limits, self.fraction = limits, fraction
        self.space: Workspace | None = None
        self.tool_speed = 0.25
        self.sampled: list[tuple[Any, Any]] = []
        self.solver, self.request = Ruckig(joints), InputParameter(joints)
        self.request.control_interface = ControlInterface.Velocity
        self.request.synchronization = Synchronization.No
        self.request.target_velocity = [0.0] * joints
        self.request.target_acceleration = [0.0] * joints
        self.request.max_velocity = list(limits.velocity)
        self.request.max_acceleration = list(limits.acceleration)
        self.request.max_jerk = jerk
        self.low, self.high = np.array(limits.lower), np.array(limits.upper)

    def check_space(self) -> None:
        """All stops so far, together: they lie in the workspace and are slow enough."""
        if self.space is None or not self.sampled:
            return
        q, v = (np.concatenate([pair[k] for pair in self.sampled]) for k in (0, 1))
        outside = space_violations(q, v, self.space, self.tool_speed)
        assert not outside, str(outside[0])
        self.sampled.clear()

    def stays_inside(self, command: JointCommand) -> bool:
        request = self.request
        request.current_position = command.positions.tolist()
        request.current_velocity = command.velocities.tolist()
        request.current_acceleration = command.accelerations.tolist()
        trajectory = Trajectory(len(self.low))
        self.solver.calculate(request, trajectory)
        times = np.linspace(0, trajectory.duration, 9)
        sampled = [trajectory.at_time(float(time)) for time in times]
        q, v = (np.array([sample[k] for sample in sampled]) for k in (0, 1))
        inside = (q >= self.low - 1e-9).all() and (q <= self.high + 1e-9).all()
        self.sampled.append((q, v))
        return bool(inside) and self._inside_envelopes(q, v)

    def _inside_envelopes(self, q: Any, v: Any) -> bool:
        for j, envelope in enumerate(self.limits.envelopes):
            if envelope is not None:
                up = [self.fraction * envelope.up(x) for x in q[:, j]]
                down = [-self.fraction * envelope.down(x) for x in q[:, j]]
                if (v[:, j] > np.array(up) + 1e-5).any() or (v[:, j] < np.array(down) - 1e-5).any():
                    return False
        return True


Motion = Callable[[float], Any]


@dataclass
class World:
    """A gate, its clocks, and an arm that follows its commands more or less."""

    robot: str
    rate: float
    seed: int
    fraction: float = 0.5
    space: bool = True
    config: GateConfig = field(init=False)
    random: np.random.Generator = field(init=False)
    slicing: np.random.Generator = field(init=False)
    commands: list[JointCommand] = field(default_factory=list)
    modes: dict[Mode, int] = field(default_factory=dict)
    accepted: int = 0
    # Decides when to work ahead; None: never.
    preparing: np.random.Generator | None = None

    def __post_init__(self) -> None:
        self.random = np.random.default_rng([self.seed, int(self.rate), ROBOTS.index(self.robot)])
        self.slicing = np.random.default_rng(self.seed)
        self.config = GateConfig(
            rate=self.rate,
            operating_fraction=self.fraction,
            heartbeats={"manager": 0.4},
            resume_delay=0.05,
            settle_time=0.02,
        )
        self.limits = robot_limits(self.robot)
        if not self.space:
            self.limits = replace(self.limits, workspace=None)
        self.gate = SafetyGate(self.config, self.limits)
        operating = self.limits.arm.operating(self.config.operating_fraction)
        self.operating = operating
        self.stop_check = StopCheck(
            operating, self.gate._parts.generator.limits.jerk, self.config.operating_fraction
        )
        self.stop_check.space = self.limits.workspace
        self.now = Instant(10**15, 77)
        self.number, self.source = 0, "policy-0"
        self.stuck = 0
        self.measured = self._start()
        self.motion: Motion = lambda time: self.measured
        self.noise, self.step, self.latency = 0.0, 1 / 30, 0.05
        self.gate.activate(self.joints(), self.now)

    def _start(self) -> Any:
        low, high = np.array(self.limits.arm.lower), np.array(self.limits.arm.upper)
        space = self.limits.workspace
        while True:
            start = low + (high - low) * self.random.uniform(0.05, 0.95, len(low))
            if space is None or space.worst_row(start[None])[0] > 0.002:
                return start

    def joints(self) -> JointState:
        noise = self.random.uniform(-1e-3, 1e-3, len(self.measured))
        return JointState(
            self.now.ros, self.measured + noise, np.zeros(len(self.measured)), np.zeros(0), 0.04
        )

    # ---- what the adversary does ----

    def choose_motion(self) -> None:
        """A way to move for a while, within what chunk checks let through, or not."""
        random, here = self.random, self.measured
        low, high = np.array(self.limits.arm.lower), np.array(self.limits.arm.upper)
        kind = random.choice(["sine", "point", "edge", "bang", "walk", "still", "down"])
        frequency, phase = random.uniform(0.05, 4.0), random.uniform(0, 6.28, len(low))
        size = random.uniform(0, 0.4) * min(1.0, 1.5 / frequency)
        goal = here + random.uniform(-0.45, 0.45, len(low))
        edge = np.where(random.random(len(low)) < 0.5, low, high)
        began, speed = self.now.ros * 1e-9, random.uniform(0.2, 3.5)

        def towards(target: Any, time: float) -> Any:
            way = target - here
            return here + np.sign(way) * np.minimum(np.abs(way), speed * max(time - began, 0))

        motions: dict[str, Motion] = {
            "sine": lambda time: here + size * np.sin(frequency * 6.28 * (time - began) + phase),
            "point": lambda time: goal,
            "edge": lambda time: towards(edge, time),
            "bang": lambda time: here + 0.1 * np.sign(np.sin(frequency * 3 * time + phase)),
            "walk": lambda time: here + random.normal(0, 0.02, len(low)),
            "still": lambda time: here,
            "down": lambda time: here + 0.1 * speed * (time - began) * DOWN,
        }
        chosen = motions[str(kind)]
        self.motion = lambda time: np.clip(chosen(time), low, high)
        self.noise = float(random.choice([0, 0, 1e-3, 1e-2, 5e-2]))
        self.step = float(random.choice([1 / 30, 1 / 30, 0.1, 0.02, 0.005, 0.001]))
        self.latency = float(random.uniform(0, 0.2))

    def chunk(self) -> ActionChunk:
        random, arm = self.random, self.limits.arm
        stamp = self.now.ros - nanoseconds(self.latency)
        count = int(random.choice([1, 2, 3, 10, 50]))
        if random.random() < 0.9:
            count = max(count, int(0.7 / self.step))
        times = stamp * 1e-9 + self.step * np.arange(count)
        rows = np.array([self.motion(float(time)) for time in times])
        rows += random.uniform(-self.noise, self.noise, rows.shape)
        rows = np.clip(rows, arm.lower, arm.upper)
        width = np.full((count, 1), float(random.choice([0.0, 0.04, 0.08])))
        self.number += 1
        gripper = self.limits.gripper
        return ActionChunk(
            self.source,
            self.number,
            arm.names,
            "" if gripper is None else gripper.name,
            stamp,
            nanoseconds(self.step),
            np.hstack((rows, width)),
            0,
            count,
            stamp,
        )

    def spoiled(self, chunk: ActionChunk) -> ActionChunk:
        """A chunk with one thing wrong, or merely odd."""
        random, actions = self.random, chunk.actions.copy()
        place = tuple(random.integers(0, size) for size in actions.shape)
        values = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 100.0, 3.0, -0.5]
        actions[place] = random.choice(values)
        shift = int(random.choice([-(10**18), -(10**9), -(10**8), 10**8, 10**9, 10**18]))
        names = chunk.joint_names
        shuffled = [int(k) for k in random.permutation(len(names))]
        odd: list[ActionChunk] = [
            replace(chunk, actions=actions),
            replace(chunk, joint_names=names[:-1]),
            replace(chunk, joint_names=(*names[:-1], names[0])),
            replace(chunk, joint_names=tuple(names[k] for k in shuffled)),
            replace(chunk, gripper_name="other"),
            replace(chunk, actions=chunk.actions[:, :-1]),
            replace(chunk, actions=chunk.actions[:0]),
            replace(chunk, actions=chunk.actions.ravel()),
            replace(chunk, actions=np.repeat(chunk.actions, 100, axis=0)),
            replace(chunk, start_time=chunk.start_time + shift),
            replace(chunk, observation_stamp=chunk.observation_stamp + shift),
            replace(chunk, time_step=int(random.choice([0, -1, 1, 10**5, 10**9, 10**18]))),
            replace(chunk, number=int(random.choice([0, -5, 1, 2**32, 2**70]))),
            replace(chunk, source_id=str(random.choice(["", "other", "policy-0"]))),
            replace(chunk, actions=chunk.actions * random.uniform(0.5, 1.5)),
            replace(chunk, actions=None),  # type: ignore[arg-type]
            replace(chunk, start_time=float("nan")),  # type: ignore[arg-type]
            replace(chunk, actions=chunk.actions.astype("U8")),
        ]
        return odd[int(random.integers(len(odd)))]

    def send(self, chunk: ActionChunk) -> bool:
        """A chunk, checked at once or in slices."""
        in_slices = bool(self.slicing.random() < 0.6)
        return self.gate.on_chunk(chunk, self.now, in_slices=in_slices)

    def act(self) -> None:
        """One tick's worth of mischief."""
        random, gate, period = self.random, self.gate, self.gate.period
        chance = random.random(10) * (self.rate / 100)
        if chance[0] < 0.02:
            self.choose_motion()
        if chance[1] < 0.1:
            chunk = self.chunk()
            self.accepted += self.send(chunk)
            if chance[2] < 0.1:
                self.send(chunk)
        if chance[3] < 0.002:
            self.send(self.spoiled(self.chunk()))
        for _ in range(int(self.slicing.integers(0, 4))):
            gate.check_slice(self.now)
        if chance[4] < 0.003:
            self.source = f"policy-{random.integers(3)}"
        if chance[5] < 0.003:
            self.request()
        if chance[6] < 0.002:
            jump = int(random.choice([-3600, -1, -0.2, -0.03, 0.03, 0.2, 1, 3600]) * 10**9)
            self.advance(jump, 0)
        if chance[7] < 0.001:
            self.stuck = int(random.choice([3, 30]) * self.rate / 100)
        late = int(random.choice([1, 1, 3, 30, 60])) if chance[8] < 0.005 else 1
        jitter = int(random.integers(0, period // 3 + 1))
        self.prepare()
        self.advance(late * period, late * period)
        self.tick(jitter)

    def request(self) -> None:
        gate, now = self.gate, self.now
        requests: list[Callable[[], object]] = [
            lambda: gate.request_hold(True, now),
            lambda: gate.request_hold(False, now),
            lambda: gate.request_stop(now),
            lambda: gate.request_estop(now, lasts=bool(self.random.random() < 0.5)),
            lambda: gate.release_estop(now),
            self.predict,
            self.predict,
            self.reconfigure,
            lambda: gate.on_enable(bool(self.random.random() < 0.5), now),
            lambda: gate.new_episode(now),
        ]
        requests[int(self.random.integers(len(requests)))]()

    def reconfigure(self) -> None:
        """Parameters up and down, below those that the output is checked against."""
        random = self.random
        changes: list[dict[str, Any]] = [
            {"operating_fraction": self.fraction * random.uniform(0.3, 1.0)},
            {"operating_fraction": self.fraction},
            {"operating_fraction": 1.5},
            {"tool_speed": random.uniform(0.02, 0.25)},
            {"tracking_error": random.uniform(0.0005, 0.2), "observation_age": 0.3},
            {"rate": 10.0},
            {"slow_factor": float("nan")},
            {"slow_factor": random.uniform(0.1, 1.0), "deviation_bound": 0.002},
        ]
        self.gate.reconfigure(changes[int(random.integers(len(changes)))], self.now)

    def predict(self) -> None:
        """A prediction: harmless, grave or malformed."""
        table = self.random.random((4, 4)) * self.random.choice([0.5, 0.65, 0.75, 1.0, np.nan])
        table = table[: int(self.random.choice([4, 4, 4, 3]))]
        types, horizons = ("collision", "drop", "miss", "timeout"), (0.2, 0.3, 0.4, 0.5)
        alarm, valid = self.random.random(2) < (0.1, 0.9)
        self.gate.on_prediction(table, types, horizons, bool(alarm), bool(valid), self.now)

    def advance(self, ros: int, steady: int) -> None:
        """Move both clocks on [ns]."""
        self.now = Instant(self.now.ros + ros, self.now.steady + steady)

    def tick(self, jitter: int = 0) -> None:
        gate = self.gate
        now = Instant(self.now.ros + jitter, self.now.steady + jitter)
        if self.stuck > 0:
            self.stuck -= 1
        else:
            if self.commands:
                self.measured = self.commands[-1].positions
            gate.on_joint_state(self.joints(), now)
            gate.on_heartbeat("manager", now)
        self.prepare()
        result = gate.tick(now)
        self.prepare()
        self.commands.append(result.command)
        self.modes[result.mode] = self.modes.get(result.mode, 0) + 1
        if result.mode >= Mode.STOP and self.random.random() < 0.1:
            gate.release_estop(now)
            gate.request_reset(now)
        if result.mode is Mode.HOLD and self.random.random() < 0.05:
            gate.request_hold(False, now)
        if result.mode >= Mode.SLOW and self.random.random() < 0.05:
            gate.new_episode(now)
        assert len(gate.drain_interventions()) < 50

    def prepare(self) -> None:
        """Work ahead, or not."""
        if self.preparing is not None and self.preparing.random() < 0.5:
            self.gate.prepare()

    def stop(self) -> None:
        """Shut down and tick on to rest."""
        self.gate.begin_shutdown(self.now)
        for _ in range(int(3 * self.rate)):
            if self.gate.at_rest:
                break
            self.advance(self.gate.period, self.gate.period)
            self.tick()
        assert self.gate.at_rest

    def check(self, stops: int = 1) -> None:
        """Every command inside every limit; every `stops`-th prefix can be stopped."""
        fraction = self.config.operating_fraction
        violations = verify(self.commands, self.operating, self.gate.period, fraction)
        assert not violations, "\n".join(str(violation) for violation in violations)
        space = self.limits.workspace
        if space is not None:
            outside = verify_space(self.commands, space, self.config.tool_speed)
            assert not outside, "\n".join(str(violation) for violation in outside)
        for k, command in enumerate(self.commands[::stops]):
            assert self.stop_check.stays_inside(command), f"no stop from tick {k * stops}"
        self.stop_check.check_space()
        gripper = self.limits.gripper
        assert gripper is not None
        widths = np.array([command.gripper for command in self.commands])
        assert (widths >= gripper.closed).all() and (widths <= gripper.open).all()
        most = gripper.speed * self.gate.period * 1e-9
        assert (np.abs(np.diff(widths)) <= most * (1 + 1e-9)).all()


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize(("rate", "seed"), [(100.0, 1), (100.0, 6), (1000.0, 6)])
def test_working_ahead_changes_nothing(robot: str, rate: float, seed: int) -> None:
    """To the bit, whenever it is done or left out, whatever comes in between."""
    plain, ahead = (World(robot, rate, seed, space=seed % 2 == 0) for _ in range(2))
    ahead.preparing = np.random.default_rng(seed)
    parts, used = ahead.gate._parts, 0
    for _ in range(1000):
        plain.act()
        ahead.act()
        prepared = parts.follower._ahead
        used += prepared is not None and prepared[1] is parts.generator.sample
        assert_same(plain.commands[-1], ahead.commands[-1])
    assert plain.modes == ahead.modes
    assert used > 20


def assert_same(one: JointCommand, other: JointCommand) -> None:
    assert (one.stamp, one.gripper) == (other.stamp, other.gripper)
    for name in ("positions", "velocities", "accelerations"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def run(robot: str, rate: float, seed: int, ticks: int, stops: int = 1) -> World:
    world = World(robot, rate, seed, space=seed % 2 == 0)
    for _ in range(ticks):
        world.act()
    world.stop()
    assert "internal_error" not in {cause.name for cause in world.gate._parts.machine.latched}
    world.check(stops)
    return world


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize(("rate", "ticks"), [(100.0, 3000), (1000.0, 5000)])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_output_leaves_a_limit(robot: str, rate: float, ticks: int, seed: int) -> None:
    world = run(robot, rate, seed, ticks, stops=5)
    # The adversary must let the arm move, or the test shows nothing.
    moving = world.modes.get(Mode.NOMINAL, 0) + world.modes.get(Mode.LIMITED, 0)
    assert moving > ticks / 20
    assert world.accepted > 0


@pytest.mark.parametrize("fraction", [0.05, 1.0])
@pytest.mark.parametrize(("robot", "rate"), [("panda", 50.0), ("fr3", 333.0)])
def test_other_rates_and_fractions(robot: str, rate: float, fraction: float) -> None:
    world = World(robot, rate, 3, fraction)
    for _ in range(1500):
        world.act()
    world.stop()
    world.check(5)


@pytest.mark.thorough
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 150))
def test_a_million_ticks(seed: int) -> None:
    for robot in ROBOTS:
        for rate in (100.0, 1000.0):
            run(robot, rate, seed, 5000, stops=3)


# Deeds that Hypothesis strings together: each is done to the world, then it ticks on.
DEEDS: dict[str, Callable[[World, int], object]] = {
    "motion": lambda world, _: world.choose_motion(),
    "chunk": lambda world, _: world.send(world.chunk()),
    "slice": lambda world, _: world.gate.check_slice(world.now),
    "spoiled": lambda world, _: world.send(world.spoiled(world.chunk())),
    "source": lambda world, n: setattr(world, "source", f"policy-{n % 3}"),
    "number": lambda world, n: setattr(world, "number", max(0, world.number - n)),
    "request": lambda world, _: world.request(),
    "reset": lambda world, _: world.gate.request_reset(world.now),
    "let go": lambda world, _: (
        world.gate.request_hold(False, world.now),
        world.gate.release_estop(world.now),
    ),
    "late": lambda world, n: world.advance(n * world.gate.period, n * world.gate.period),
    "jump": lambda world, n: world.advance((n - 30) * 40_000_000, 0),
    "frozen stamps": lambda world, n: world.advance(0, n * world.gate.period),
    "silence": lambda world, n: setattr(world, "stuck", n),
    "reconfigure": lambda world, _: world.reconfigure(),
    "prediction": lambda world, _: world.predict(),
    "push": lambda world, n: setattr(world, "measured", world.measured + (n - 30) * 0.005),
}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    robot=st.sampled_from(ROBOTS),
    rate=st.sampled_from([100.0, 1000.0]),
    seed=st.integers(0, 1000),
    deeds=st.lists(
        st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(0, 60), st.integers(0, 12)),
        min_size=5,
        max_size=60,
    ),
)
def test_no_sequence_of_deeds_leaves_a_limit(
    robot: str, rate: float, seed: int, deeds: list[tuple[str, int, int]]
) -> None:
    world = World(robot, rate, seed, space=seed % 2 == 0)
    world.choose_motion()
    # Get it moving: what is done to an arm at rest shows little.
    for _ in range(round(0.3 * rate)):
        if world.random.random() < 20 / rate:
            world.send(world.chunk())
        world.advance(world.gate.period, world.gate.period)
        world.tick()
    for deed, number, ticks in deeds:
        DEEDS[deed](world, number)
        for _ in range(ticks):
            world.advance(world.gate.period, world.gate.period)
            world.tick()
    world.stop()
    world.check(3)
