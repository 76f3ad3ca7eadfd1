"""`salus replay`: the same to the bit, as recorded where nothing changed, and bad bags are told."""

import json
import shutil
import sqlite3

import numpy as np
import pytest
import yaml
from command_line import invoke

from salus_ros.nodes import topics
from salus_ros.replay.bag_reader import read_raw
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.storage import Storage
from salus_ros.replay.topic import Message
from salus_ros.resources import config_file
from salus_ros.sim.rollouts import RolloutOptions, collect

PANDA = [f"panda_joint{i}" for i in range(1, 8)]


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Two lock-step episodes, the second one disturbed."""
    folder = tmp_path_factory.mktemp("rollouts")
    options = RolloutOptions("scripted_expert", 3, ("block_moved",), nominal_share=0.5)
    collect(options, 2, folder, 1, lambda *_: None)
    return folder


def replayed(*arguments):
    code, said = invoke("replay", *arguments, "--jobs", "1", "--json", "-")
    return code, json.loads(said[said.index("{\n") :])


def rewritten(source, target, change, storage=Storage.MCAP):
    """A copy of a bag, each message (topic, type, time, bytes) as `change` has it; None: not."""
    with BagWriter(target, storage) as writer:
        numbers, messages = {}, []
        for raw in read_raw(source, set):
            kept = change(raw.topic, raw.kind, raw.time, raw.data)
            if kept is None:
                continue
            topic, kind, time, data = kept
            if topic not in numbers:
                numbers[topic] = writer.add_topic(topic, kind)
            messages.append(Message(numbers[topic], time, data))
        writer.append(messages)
    return target


def test_a_replay_is_what_was_recorded_and_the_same_again(bags, tmp_path):
    """Commands, interventions and signals, all bit by bit."""
    code, first = replayed(bags)
    assert code == 0
    assert first["bags_replayed"] == 2 and not first["failed"]
    apart = first["differences"]
    assert apart["commands_identical"] == apart["commands_compared"] > 500
    assert apart["bags_with_identical_interventions"] == 2
    for bag in first["bags"]:
        signals = bag["differences"]["signals"]
        assert signals["compared"] > 50
        assert signals["only_recorded"] == signals["only_replayed"] == 0
        assert signals["other_validity"] == 0 and max(signals["largest"].values()) == 0.0
    assert replayed(bags)[1] == first
    assert first["scores"]["outcomes"]["episodes"] == 2
    assert first["scores"]["seconds"] > 5


def test_another_configuration_gives_other_commands_and_says_where(bags, tmp_path):
    config = tmp_path / "slow.yaml"
    config.write_text("safety_supervisor: {ros__parameters: {operating_fraction: 0.1}}\n")
    code, content = replayed(bags / "episode_00000", "--config", config)
    assert code == 0
    apart = content["bags"][0]["differences"]["commands"]
    assert not apart["identical"] and apart["first_difference"] > 0
    assert apart["joints"]["panda_joint2"]["max"] > 1e-3
    plain = replayed(bags / "episode_00000")[1]
    assert plain["fingerprint"] != content["fingerprint"]
    assert plain["inputs"]["fingerprint"] != content["inputs"]["fingerprint"]
    # The arm is taken to follow the replayed command: it isn't said to have lost its way.
    assert "tracking_error" not in content["interventions"]["by_reason"]


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """The demo's parameters without what is of its own policy: these bags are the expert's."""
    content = yaml.safe_load(config_file("sim_panda.yaml").read_text())
    content["safety_supervisor"]["ros__parameters"]["detector_calibration"] = ""
    content["failure_predictor"]["ros__parameters"]["checkpoint"] = ""
    file = tmp_path_factory.mktemp("config") / "expert.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_sqlite_and_split_and_compressed_bags_give_the_same(bags, tmp_path, expert):
    source = bags / "episode_00000"
    replayed_so = lambda bag: replayed(bag, "--config", expert)[1]  # noqa: E731
    plain = replayed_so(source)
    same = lambda *message: message  # noqa: E731
    sqlite = rewritten(source, tmp_path / "sqlite", same, Storage.SQLITE3)
    assert replayed_so(sqlite)["fingerprint"] == plain["fingerprint"]
    assert replayed_so(split(source, tmp_path))["fingerprint"] == plain["fingerprint"]
    assert replayed_so(squeezed(sqlite, tmp_path))["fingerprint"] == plain["fingerprint"]


def split(source, folder):
    """The bag in two files, as `ros2 bag record --max-bag-duration` leaves it."""
    times = [raw.time for raw in read_raw(source, set)]
    middle = times[len(times) // 2]
    halves = [
        rewritten(
            source, folder / name, lambda t, k, at, d, w=wanted: (t, k, at, d) if w(at) else None
        )
        for name, wanted in (("a", lambda at: at < middle), ("b", lambda at: at >= middle))
    ]
    target = folder / "split"
    target.mkdir()
    told = [yaml.safe_load((half / "metadata.yaml").read_text()) for half in halves]
    told = [part["rosbag2_bagfile_information"] for part in told]
    whole = told[0] | {
        "relative_file_paths": [name for part in told for name in part["relative_file_paths"]],
        "files": [file for part in told for file in part["files"]],
        "message_count": sum(part["message_count"] for part in told),
    }
    for half in halves:
        shutil.copy(next(half.glob("*.mcap")), target)
    content = yaml.safe_dump({"rosbag2_bagfile_information": whole})
    (target / "metadata.yaml").write_text(content)
    return target


def squeezed(source, folder):
    """The bag with its file compressed, as --compression-mode file leaves it."""
    from salus_ros.replay.compression import compress_zstd

    target = folder / "squeezed"
    shutil.copytree(source, target)
    path = next(target.glob("*.db3"))
    path.with_suffix(".db3.zstd").write_bytes(compress_zstd(path.read_bytes()))
    path.unlink()
    told = yaml.safe_load((target / "metadata.yaml").read_text())
    inner = told["rosbag2_bagfile_information"]
    inner |= {"compression_format": "zstd", "compression_mode": "FILE"}
    inner["relative_file_paths"] = [path.name + ".zstd"]
    (target / "metadata.yaml").write_text(yaml.safe_dump(told))
    return target


def truncated(source, target):
    shutil.copytree(source, target)
    path = next(target.glob("*.mcap"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(source, target):
    BagWriter(target).close()


def without_joints(source, target):
    rewritten(source, target, lambda t, *rest: None if t == topics.JOINT_STATES else (t, *rest))


def two_robots(source, target):
    def change(topic, kind, time, data):
        if topic == topics.JOINT_STATES:
            topic = ("/left/joint_states", "/right/joint_states")[time // 10_000_000 % 2]
        return topic, kind, time, data

    rewritten(source, target, change)


def another_robot(source, target):
    def change(topic, kind, time, data):
        return topic, kind, time, data.replace(b"panda_joint", b"other_joint")

    rewritten(source, target, change)


def restamped(source, target, by):
    """From two seconds on, the stamps of joint states are by so many nanoseconds later."""

    def change(topic, kind, time, data):
        if topic == topics.JOINT_STATES and time >= 2_000_000_000:
            sec, nanosec = divmod(time + by, 1_000_000_000)
            data = data[:4] + np.array([sec, nanosec], "<u4").tobytes() + data[12:]
        return topic, kind, time, data

    rewritten(source, target, change)


def going_back(source, target):
    restamped(source, target, -1_500_000_000)


def jumping(source, target):
    restamped(source, target, 5_000_000_000)


def damaged_database(source, target):
    rewritten(source, target, lambda *message: message, Storage.SQLITE3)
    path = next(target.glob("*.db3"))
    path.write_bytes(b"nothing of the kind" * 100)


def of_another_type(source, target):
    def change(topic, kind, time, data):
        return (topic, "std_msgs/msg/String", time, data) if topic == topics.JOINT_STATES else None

    rewritten(source, target, change)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (truncated, "can't be read"),
        (empty, "it holds no messages"),
        (without_joints, "no /joint_states; /joint_commands has joint states: map it"),
        (two_robots, "those of several: /joint_commands, /left/joint_states, /right/joint_states"),
        (another_robot, "joint state lacks panda_joint1"),
        (going_back, "the stamps of /joint_states go back by"),
        (jumping, "the stamps of /joint_states jump by +5 s against their receipts at"),
        (damaged_database, "can't be read"),
        (of_another_type, "is of type std_msgs/msg/String"),
    ],
)
def test_a_bad_bag_is_told_of_and_the_rest_goes_on(bags, tmp_path, spoil, says):
    spoil(bags / "episode_00000", tmp_path / "bad")
    code, content = replayed(tmp_path / "bad", bags / "episode_00001")
    assert code == 1
    assert content["bags_replayed"] == content["bags_failed"] == 1
    problem = content["failed"][0]["problem"]
    assert str(tmp_path / "bad") in problem and says in problem and "\n" not in problem
    assert content["scores"]["outcomes"]["episodes"] == 1
    assert list(content["inputs"]["bags"]) == [str(bags / "episode_00001")]


def test_a_database_that_was_cut_off_is_not_half_counted(bags, tmp_path):
    bag = tmp_path / "cut"
    rewritten(bags / "episode_00000", bag, lambda *message: message, Storage.SQLITE3)
    path = next(bag.glob("*.db3"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT count(data) FROM messages").fetchall()
    code, content = replayed(bag)
    assert code == 1 and not content["bags"] and "can't be read" in content["failed"][0]["problem"]


def test_files_without_metadata_are_a_bag_each(bags, tmp_path):
    for number in range(2):
        file = next((bags / f"episode_0000{number}").glob("*.mcap"))
        shutil.copy(file, tmp_path / f"{number}.mcap")
    code, content = replayed(tmp_path)
    assert code == 0
    assert [bag["bag"] for bag in content["bags"]] == [f"{tmp_path}/{n}.mcap" for n in range(2)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such bag"),
        (["{bags}", "--through", "magic"], "'magic' is none of signals, predictor, supervisor"),
        (["{bags}", "--config", "nowhere"], "nowhere is neither a file nor one in config/"),
        (["{bags}", "--ticks", "never"], "'never' is none of auto, commands, grid"),
    ],
)
def test_a_wrong_option_is_one_line(bags, arguments, says):
    code, said = invoke("replay", *[a.format(bags=bags) for a in arguments])
    assert code == 2 and says in said


def test_an_unknown_parameter_is_refused(bags, tmp_path):
    config = tmp_path / "wrong.yaml"
    config.write_text("safety_supervisor: {ros__parameters: {operating_fractoin: 0.1}}\n")
    code, said = invoke("replay", bags, "--config", config)
    assert code == 2 and "safety_supervisor has no parameter 'operating_fractoin'" in said


def test_two_configurations_side_by_side_name_the_stops_of_one_alone(bags, tmp_path, expert):
    """Chunks count as stale after 0.2 s: that holds the arm where it went on."""
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        "safety_supervisor: {ros__parameters: {observation_age: 0.2, require_prediction: false}}\n"
    )
    code, content = replayed(bags / "episode_00000", "--compare", strict)
    told = content["comparison"]
    assert code == 0 and not told["stopped_by_first_only"]
    stop = told["stopped_by_second_only"][0]
    assert stop["time"] > 0 and stop["seconds"] > 0.1
    assert stop["mode"] in ("HOLD", "STOP")
    assert {"plan_stale", "no_plan", "repeated_faults", "chunk_fault"} & set(stop["reasons"])
    assert replayed(bags / "episode_00000", "--compare", strict)[1] == content
    same = replayed(bags / "episode_00000", "--compare", expert)[1]["comparison"]
    assert not same["stopped_by_first_only"] and not same["stopped_by_second_only"]
