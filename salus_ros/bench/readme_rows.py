"""README's table: a row or two of each result file that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from salus_ros.bench.markdown import table as markdown_table
from salus_ros.bench.speed_pages import by_case


class Row(NamedTuple):
    """what, measured: text. command: unless the file tells its own. file: without .json."""

    file: str
    what: str
    measured: Callable[[Any], str]
    command: str


def table(results: Mapping[str, Any]) -> str:
    """All rows whose file is there."""
    rows = [
        [row.what, row.measured(results[row.file]), f"`{_command(results, row)}`",
         f"`{row.file}.json`"]
        for row in ROWS if row.file in results
    ]  # fmt: skip
    return markdown_table(["what", "measured", "command", "file in `results/`"], rows)


def _command(results: Mapping[str, Any], row: Row) -> str:
    return str(results[row.file].get("command") or row.command)


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def _demo(result: Any) -> str:
    control, latency = result["control"], result["latency_ms"]
    good = sum(episode["success"] for episode in result["episodes"])
    return (
        f"{good} of {len(result['episodes'])} picks; {control['rate_hz']:.2f} Hz, period p99 "
        f"{control['period_p99_ms']:.2f} ms, max {control['period_max_ms']:.1f} ms, "
        f"{control['missed_deadline_fraction'] * 100:.3f} % of periods above 1.5 nominal; "
        f"observation to command p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms"
    )


def _policy(result: Any) -> str:
    low, high = result["success_interval"]
    worst = min(row["success_rate"] for row in result["by_instruction"].values())
    return (
        f"success {_percent(result['success_rate'])} ({low * 100:.1f} to {high * 100:.1f}), worst "
        f"instruction {_percent(worst)}; the right block in {_percent(result['right_block_rate'])}"
        f"; {result['episodes_per_instruction']} start states of each of "
        f"{len(result['by_instruction'])} instructions"
    )


def _seams(result: Any) -> str:
    parts = []
    for found in result["settings"]:
        jumps = found["jumps"]
        ratios = ", ".join(f"{jumps[n]['ratio']:.2f}" for n in jumps)
        limited = 1.0 - found["gate_time"].get("NOMINAL", 0.0)
        parts.append(f"{found['setting']['merging']}: {ratios}, not NOMINAL {_percent(limited)}")
    return "; ".join(parts)


def _never_dry(result: Any) -> str:
    (found,) = result["settings"]
    return (
        f"{found['chunks']} chunks in {found['episodes']} episodes, merging "
        f"{found['setting']['merging']}: the plan ran dry {found['dry']} times; age of the "
        f"observation when executed p95 {found['age_p95'] * 1e3:.0f} ms (bound "
        f"{found['age_bound'] * 1e3:.0f}); {found['successes']} of {found['episodes']} episodes "
        f"succeeded, the arm in HOLD {_percent(found['gate_time']['HOLD'])} of the time"
    )


def _sampler(result: Any) -> str:
    parts = []
    for (model, precision), modes in by_case(result).items():
        if model == "shipped, 1 samples" or "eager" not in modes:
            continue
        eager = modes["eager"]["p50"]
        faster = ", ".join(
            f"{name} {row['per_step']:.3f} ms a step ({eager / row['p50']:.1f}x eager)"
            for name, row in modes.items()
            if name in ("captured", "fused")
        )
        parts.append(f"{model}, {precision}: {faster}")
    return "; ".join(parts)


def _chunk_latency(result: Any) -> str:
    chunk = result["chunks"][0]
    return (
        f"p50 {chunk['p50_ms']:.1f} ms, p99 {chunk['p99_ms']:.1f} ms of a chunk, "
        f"{chunk['samples']} samples included"
    )


def _smolvla(result: Any) -> str:
    """Of the largest size, with one sample."""
    size = result["timings"][-1]["size"]
    parts = []
    for timing in result["timings"]:
        if timing["size"] == size and timing["samples"] == 1 and timing["way"] != "lerobot":
            parts.append(
                f"{timing['precision']}, {timing['way']}: {timing['median_ms']:.0f} ms, "
                f"{timing['times_stock']:.2f}x LeRobot's speed, largest difference "
                f"{timing['largest_difference']:.1g}"
            )
    return f"{size} size; " + "; ".join(parts)


def _early_exit(result: Any) -> str:
    error, time = result["errors"]["certified"], result["latency"]["certified"]
    low, high = (bound * 1e3 for bound in time["cpu_saved_interval"])
    return (
        f"{_percent(error['saving'])} of MLP FLOPs saved at {_percent(error['mean_error'])} mean "
        f"error; {time['cpu_saved'] * 1e3:+.2f} ms saved of a chunk's "
        f"{result['latency']['off']['cpu_mean'] * 1e3:.1f} ms ({low:+.2f} to {high:+.2f})"
    )


def _replay(result: Any) -> str:
    parts = ", ".join(
        f"{name} {time:.1f}" for name, time in result["cpu_ms_a_recorded_second"].items()
    )
    times, goal = result["times_real_time"], result["goal"]
    verdict = "met" if times >= goal else "missed"
    return (
        f"{times:.1f} times real time (goal {goal:.0f}: {verdict}); core ms a recorded "
        f"second: {parts}"
    )


def _replayed_alike(result: Any) -> str:
    commands, interventions = result["commands"], result["interventions"]
    same = "the same" if interventions["identical"] else "not the same"
    return (
        f"{commands['identical_ticks']} of {commands['compared']} commands of "
        f"{result['episodes']} live episodes identical to the bit; interventions {same}"
    )


def _replay_batch(result: Any) -> str:
    counts = "exact" if result["counts_exact"] else "not exact"
    return (
        f"{result['replayed']} of {result['bags']} bags replayed, {result['failed']} of "
        f"{result['damaged_on_purpose']} damaged ones listed, a worker killed after "
        f"{result['worker_killed_after']}: counts {counts}; {result['wall_seconds']:.0f} s"
    )


def _gating(result: Any) -> str:
    found = result["groups"]["all"]
    on, off = (found["success"][name] for name in ("on", "off"))
    return (
        f"success {_percent(on['rate'])} with it, {_percent(off['rate'])} without, in the same "
        f"{found['episodes']} episodes"
    )


def _verified(result: Any) -> str:
    inside = sum(check["inside"] for file in result["files"] for check in file["checks"])
    of = sum(len(file["checks"]) for file in result["files"])
    gate = sum(file["parity"] for file in result["files"])
    return (
        f"{inside} of {of} axes of {len(result['files'])} files inside their stated intervals; "
        f"parity gate passed by {gate}"
    )


def _false_holds(result: Any) -> str:
    held = result["episodes_with_false_hold"]
    return (
        f"{held['count']} of {held['of']} normal episodes held "
        f"({held['interval'][0] * 100:.1f} to {held['interval'][1] * 100:.1f} %); success "
        f"{_percent(result['on']['rate'])} with them, {_percent(result['off']['rate'])} without"
    )


def _predictor(result: Any) -> str:
    parts = []
    for name in ("seen", "unseen"):
        found = result["model"][name]
        auc, alarm = found["episode_auc"], found["alarm"]
        parts.append(
            f"{name} disturbances: episode ROC-AUC {auc['value']:.3f} ({auc['low']:.3f} to "
            f"{auc['high']:.3f}), matched in time {found['matched_auc']['value']:.3f}, horizon "
            f"0.2 s {found['horizon_auc']['0.2']['value']:.3f} (matched in time "
            f"{found['horizon_matched_auc']['0.2']['value']:.3f}); "
            f"{_percent(alarm['recall']['value'])} of failures found, median lead "
            f"{alarm['lead_time_p50']['value']:.1f} s, false alarms "
            f"{_percent(alarm['false_alarm_rate']['value'])}"
        )
    return "; ".join(parts)


def _lockstep(result: Any) -> str:
    plain, both = (result[n]["times_real_time"] for n in ("without_rendering", "with_both_cameras"))
    return f"{plain:.1f} times real time, {both:.1f} with both cameras rendered for each inference"


def _sedac(result: Any) -> str:
    sizes = ", ".join(
        f"{size['times_numpy']:.1f}x at batch {size['batch']}" for size in result["evaluate"]
    )
    return f"{sizes}; a streaming step {result['step'][0]['core_us']:.2f} µs"


def _droid(result: Any) -> str:
    auc, alarms = result["auc"], result["false_positives"]
    kinds = result["detection_rate"]
    return (
        f"AUC drift {auc['drift']:.4f}, jerk {auc['jerk']:.4f}; each of {len(kinds)} fault types "
        f"found in {_percent(min(kinds.values()))} or more; false positives {alarms['alarms']} of "
        f"{alarms['of']}"
    )


def _sequences(result: Any) -> str:
    kinds = [
        kind["detection_rate"]
        for kind in result["sequences"].values()
        if isinstance(kind, dict) and "detection_rate" in kind
    ]
    alarms = result["sequence_false_positives"]
    low, high = alarms["interval"]
    return (
        f"{len(kinds)} kinds of fault found in {min(kinds) * 100:.1f} to {_percent(max(kinds))} of "
        f"episodes; false HOLDs in {alarms['episodes_with_alarm']} of {alarms['of']} "
        f"({low * 100:.1f} to {high * 100:.1f} %)"
    )


LARGEST_RATIO = 1.2
"""Of the supervisor's p99 period to the bare node's, as `salus bench gate` bounds it."""


def _gate(scheduler: str) -> Callable[[Any], str]:
    def measured(result: Any) -> str:
        rates = result["schedulers"][scheduler]["rates"]
        ticks = ", ".join(f"{rate['tick_us']['p99']:.0f}" for rate in rates.values())
        ratios = ", ".join(f"{rate['ratios']['p99']:.2f}" for rate in rates.values())
        missed = [name.removesuffix("hz") for name, rate in rates.items()
                  if rate["ratios"]["p99"] > LARGEST_RATIO]  # fmt: skip
        at = f": missed at {', '.join(missed)} Hz" if missed else ""
        return (
            f"tick's own work p99 {ticks} µs; period p99 {ratios} of the bare node's (bound "
            f"{LARGEST_RATIO}{at})"
        )

    return measured


def _journal(result: Any) -> str:
    return (
        f"{result['records']} interventions: {result['written']} written, "
        f"{result['left_out_and_counted']} left out and counted, {result['lost_silently']} lost "
        "silently"
    )


def _signals(result: Any) -> str:
    step = result["step_us"]
    return f"p50 {step['p50']:.1f} µs, p99 {step['p99']:.1f} µs a step"


def _low_bit(result: Any) -> str:
    rows = result["precisions"]
    parts = [
        f"{name} {rows[name]['times_smaller']:.2f}x smaller than bfloat16, action error "
        f"{rows[name]['action_error'] * 100:.2f} %, latency "
        f"{rows[name]['latency_p50'] / rows['float32']['latency_p50']:.2f} of float32's"
        for name in ("int8", "int4")
    ]
    return "; ".join(parts)


def _staleness(result: Any) -> str:
    found = result["limit"]
    return (
        f"no loss of success above {found['margin'] * 100:g} % up to an age of {found['age']} "
        f"control steps; {len(result['cells'])} settings of "
        f"{result['cells'][0]['episodes']} episodes"
    )


def _compile(result: Any) -> str:
    parts = []
    for pick in result["picks"]:
        if pick["best"] is None:
            parts.append(f"{pick['name']}: none")
            continue
        axes = result["configurations"][pick["best"]]["axes"]
        parts.append(
            f"{pick['name']}: p50 {axes['latency_p50']:.1f} ms, {axes['weights_mb']:.1f} MB, error "
            f"{axes['rmse'] * 100:.1f} %"
        )
    return "; ".join(parts)


SUPERVISOR = "salus evaluate supervisor --data FILE --calibration FILE --episodes 400 --seed 2"
BARE = "supervisor beside a bare timer node at 100, 500, 1000 Hz, busy cores"
ROWS = (
    Row("demo", "demo through ROS with the learned policy, SCHED_FIFO", _demo,
        "salus demo --episodes 12 --seed 1"),
    Row("demo_default_scheduler", "the same, default scheduler (`realtime_priority: 0`)", _demo,
        "salus demo … --config FILE"),
    Row("policy_success_graph", "learned policy through the ROS graph in real time, unseen start "
        "states", _policy, "salus evaluate policy --real-time --episodes 100 --seed 8000000"),
    Row("policy_success", "learned policy in lock-step, at full speed, merging `latest`", _policy,
        "salus evaluate policy --episodes 100 --seed 3000000"),
    Row("chunking", "jumps of position, velocity, acceleration at seams over those of the rows "
        "that they replaced (95th percentiles)", _seams, "salus evaluate chunking"),
    Row("chunking_graph", "the graph with up to 200 ms of injected latency", _never_dry,
        "salus evaluate chunking --merging temporal_ensemble --speed 0.9 --horizon 3 "
        "--latency 0.2 --minutes 10"),
    Row("smolvla_cpu", "SmolVLA with random weights, images to actions, against LeRobot's own",
        _smolvla, "salus bench smolvla"),
    Row("bench_sampler", "chunks of the shipped policy on one core", _chunk_latency,
        "salus bench sampler"),
    Row("bench_sampler_h200", "flow steps as a CUDA graph, NVIDIA H200", _sampler,
        "salus bench sampler --device cuda"),
    Row("smolvla_h200", "SmolVLA, NVIDIA H200, images to actions, against LeRobot's own",
        _smolvla, "salus bench smolvla --device cuda"),
    Row("early_exit", "early exit in the shipped policy, `certified`", _early_exit,
        "salus evaluate early-exit --data DIR"),
    Row("predictor_evaluation", "failure predictor on episodes that it never saw", _predictor,
        "salus evaluate predictor --bags rollouts/"),
    Row("predictor_gating", "success with the predictor restricting the arm", _gating,
        "salus evaluate gating"),
    Row("replay_bench", "replay of bags without the model, one core", _replay,
        "salus bench replay"),
    Row("replay_equality", "the live gate's decisions out of the bag alone", _replayed_alike,
        "salus replay BAG"),
    Row("replay_batch", "a batch of bags on a local Dask cluster", _replay_batch,
        "salus bench replay-batch"),
    Row("lockstep", "lock-step", _lockstep, "salus bench lockstep"),
    Row("sedac_bench", "early-exit core against numpy", _sedac, "salus bench sedac"),
    Row("supervisor_droid", "detectors on DROID rows", _droid, SUPERVISOR),
    Row("supervisor_droid", "detectors on sequences of the scripted expert", _sequences,
        SUPERVISOR),
    Row("detectors_success_flow", "detectors on the learned policy", _false_holds,
        "salus evaluate detectors --seed 91 --episodes 150 --latency 0.07"),
    Row("gate_bench", f"{BARE}, SCHED_FIFO", _gate("fifo"),
        "salus bench gate --seconds 12 --detectors FILE"),
    Row("gate_bench", "the same, default scheduler", _gate("default"),
        "salus bench gate --seconds 12 --detectors FILE"),
    Row("journal_full_disk", "journal, disk full in the middle", _journal, "salus bench journal"),
    Row("signals_bench", "12 signals, 960-wide latent", _signals,
        "chrt -f 10 salus bench signals"),
    Row("quantization", "reference expert of 25.5 M in low bits", _low_bit,
        "salus bench quantization"),
    Row("quantization_h200", "the same, NVIDIA H200", _low_bit,
        "salus bench quantization --device cuda"),
    Row("compile_flow", "compiler's picks for the shipped policy", _compile,
        "salus compile --policy flow --preset all"),
    Row("compile_reference", "compiler's picks for the reference expert", _compile,
        "salus compile --policy reference --preset all"),
    Row("compile_reference_h200", "the same, NVIDIA H200", _compile,
        "salus compile --policy reference --device cuda"),
    Row("compile_reference_verify", "files of the reference expert on a CPU measured again in "
        "fresh processes", _verified, "salus compile --verify FILE"),
    Row("compile_verify", "the shipped policy's files measured again in fresh processes", _verified,
        "salus compile --verify deploys/*.yaml"),
    Row("staleness", "success against execution horizon and delay", _staleness,
        "salus evaluate staleness"),
)  # fmt: skip
