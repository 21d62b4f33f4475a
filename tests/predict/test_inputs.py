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
    with pytest.raises(UsageError, match="expected key=value"):
        variants([setting])


def test_a_key_stands_once_and_combinations_are_bounded() -> None:
    with pytest.raises(UsageError, match="twice"):
        variants(["a=1", "a=2"])
    many = ",".join(str(number) for number in range(40))
    with pytest.raises(UsageError, match="1600 combinations"):
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
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "no measured rate"),
        ('{"rate": null}', "no measured rate"),
        ('{"rate": {"size": 64, "rate_pps": 0}}', "free of loss"),
        ('{"rate": {"size": "x", "rate_pps": 1}}', "rate.size is 'x'"),
        ('{"rate": {"size": true, "rate_pps": 1}}', "rate.size is True"),
        ('{"rate": {"size": 10, "rate_pps": 1}}', "rate.size is 10"),
        ('{"rate": {"size": 64, "rate_pps": NaN}}', "rate.rate_pps is nan"),
        ('{"rate": {"size": 64, "rate_pps": Infinity}}', "rate.rate_pps is inf"),
        ('{"rate": {"size": 64, "rate_pps": -5}}', "rate.rate_pps is -5"),
        ('{"rate": {"size": 64}}', "rate.rate_pps is None"),
    ],
)
def test_other_results_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_measurement(text, "r.json")
