"""Packet mixes, captures, what-if settings and measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rbops.capture import read_capture
from rbops.errors import UsageError
from rbops.predict.calibrate import read_measurement
from rbops.predict.packets import capture_mix, mix
from rbops.predict.whatif import variants
from rbops.selftest.result import RateResult, SelftestResult
from tests.support.captures import pcap_file
from tests.support.errors import raises

SAMPLE = json.loads((Path(__file__).parent.parent / "data" / "selftest.json").read_text())


@pytest.mark.parametrize("name", ["imix", "abilene"])
def test_named_mixes_add_up(name: str) -> None:
    made = mix(name)
    assert sum(share for _, share in made.shares) == pytest.approx(1)
    assert 64 <= made.mean_bytes <= 1518


def test_a_mix_converts_both_ways() -> None:
    made = mix("imix")
    assert made.bps(made.pps(1e9)) == pytest.approx(1e9)


def test_a_capture_gives_its_sizes_with_fcs(tmp_path: Path) -> None:
    made = capture_mix(read_capture(pcap_file(tmp_path / "x.pcap", [60, 60, 40, 1514])), "x.pcap")
    assert made.shares == ((64, 0.75), (1518, 0.25))


def test_settings_combine() -> None:
    made = variants(["a=1,2", "b=x"])
    assert made == ({"a": "1", "b": "x"}, {"a": "2", "b": "x"})
    assert variants([]) == ({},)


@pytest.mark.parametrize("setting", ["a", "=1", "a=", "a=1,,2"])
def test_malformed_settings_are_refused(setting: str) -> None:
    with raises(UsageError, "predict.setting"):
        variants([setting])


def test_a_key_stands_once_and_combinations_are_bounded() -> None:
    with raises(UsageError, "predict.setting-twice"):
        variants(["a=1", "a=2"])
    many = ",".join(str(number) for number in range(40))
    with raises(UsageError, "predict.too-many-variants"):
        variants([f"a={many}", f"b={many}"])


def test_a_measurement_is_read() -> None:
    made = read_measurement(json.dumps({"rate": {"size": 64, "rate_pps": 1e6, "limit": "testers"}}), "r.json")
    assert (made.size, made.rate_bps, made.limited_by_testers) == (64, 512e6, True)


def test_the_samples_form_is_the_self_tests_own() -> None:
    """tests/data/selftest.json is as ``rbops selftest --format json`` writes it."""
    empty = SelftestResult("x", "y", 0, (), (), RateResult(64, 1.0, "time", ()), (), 0.0).to_dict()
    assert set(SAMPLE) == set(empty)
    assert set(SAMPLE["rate"]) == set(empty["rate"])


def test_the_sample_is_read() -> None:
    made = read_measurement(json.dumps(SAMPLE), "r.json")
    assert (made.size, made.rate_pps, made.limited_by_testers) == (64, 8.4e6, False)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "predict.not-json"),
        ("[]", "predict.no-rate"),
        ('{"rate": null}', "predict.no-rate"),
        ('{"rate": {"size": 64, "rate_pps": 0}}', "predict.rate-zero"),
        ('{"rate": {"size": "x", "rate_pps": 1}}', "predict.size"),
        ('{"rate": {"size": true, "rate_pps": 1}}', "predict.size"),
        ('{"rate": {"size": 10, "rate_pps": 1}}', "predict.size"),
        ('{"rate": {"size": 64, "rate_pps": NaN}}', "predict.rate"),
        ('{"rate": {"size": 64, "rate_pps": Infinity}}', "predict.rate"),
        ('{"rate": {"size": 64, "rate_pps": -5}}', "predict.rate"),
        ('{"rate": {"size": 64}}', "predict.rate"),
    ],
)
def test_other_results_are_refused(text: str, code: str) -> None:
    with raises(UsageError, code):
        read_measurement(text, "r.json")
