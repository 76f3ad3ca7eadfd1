"""`salus bench sampler`: what it writes, and which choices it refuses."""

import json

import pytest
from command_line import invoke

pytest.importorskip("torch", reason="needs torch")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--modes", "eager,captive"], "'captive' is not of eager, traced"),
        (["--precision", "bfloat16"], "'bfloat16' is not of float32"),
        (["--device", "tpu"], "'tpu' is not of cpu, cuda"),
    ],
)
def test_an_unknown_choice_is_refused_in_one_line(arguments, says):
    code, said = invoke("bench", "sampler", "--device", "cpu", *arguments)
    assert code == 2
    assert says in said


def test_a_gpus_modes_say_that_they_need_one(tmp_path):
    file = tmp_path / "sampler.json"
    code, said = invoke(
        "bench", "sampler", "--device", "cpu", "--modes", "fused,captured", "--repeats", "10",
        "--json", str(file),
    )  # fmt: skip
    assert code == 0, said
    content = json.loads(file.read_text())
    assert {row["problem"] for row in content["timings"]} == {"needs CUDA"}
    (chunk,) = content["chunks"]
    assert chunk["samples"] == 8 and 0 < chunk["p50_ms"] <= chunk["p99_ms"]
