"""Every registered network belongs to one kind, whose skeleton tests it."""

import pytest
from small_networks import KINDS, kind_of, networks_of, own_networks


@pytest.mark.parametrize("name", own_networks())
def test_every_network_is_tested_as_what_it_is(name):
    kind = kind_of(name)
    if "cannot be built here" in kind:
        pytest.skip(kind)
    assert kind in KINDS, kind


def test_no_kind_is_empty():
    assert all(networks_of(kind) for kind in KINDS)
    assert {"NAFNet", "DASR"} <= set(networks_of("backbone"))
    assert {"ConvBN6Encoder", "IKCPredictor"} <= set(networks_of("encoder"))
    assert {"FeatureClassifier", "PromptIR_DC"} <= set(networks_of("classifier"))
