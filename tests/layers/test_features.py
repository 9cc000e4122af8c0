"""The feature tap: the same features and output for a bare, a DDP-wrapped and a compiled network."""

import copy
import pickle

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from uir.archs.nafnet_arch import NAFNet
from uir.layers.features import FeaturePoint, FeatureTap


def small_net(seed: int = 0) -> NAFNet:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net = NAFNet(width=4, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return net


def image() -> torch.Tensor:
    return torch.rand(2, 3, 13, 18, generator=torch.Generator().manual_seed(1))


class CountedEnding(NAFNet):
    """Counts how often its last convolution runs."""

    def __init__(self) -> None:
        super().__init__(width=4, enc_blk_nums=[1], dec_blk_nums=[1])
        self.runs = 0
        self.ending.register_forward_hook(lambda *_: setattr(self, "runs", self.runs + 1))


@pytest.fixture(scope="module")
def process_group(tmp_path_factory):
    """A group of one process."""
    store = tmp_path_factory.mktemp("ddp") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def compiled(tap: nn.Module) -> nn.Module:
    torch.compiler.reset()
    return torch.compile(tap, fullgraph=True, backend="aot_eager")


def wrapped(tap: nn.Module) -> nn.Module:
    return DistributedDataParallel(tap, find_unused_parameters=tap.stop_at_last)


def test_returns_the_output_and_the_features_coarse_to_fine():
    net = small_net()
    expected = []
    for decoder in net.decoders:
        decoder.register_forward_hook(lambda _module, _args, output: expected.append(output))
    restored, features = FeatureTap(net)(image())
    assert [tuple(f.shape) for f in features] == [(2, 8, 8, 10), (2, 4, 16, 20)]
    assert all(torch.equal(f, e) for f, e in zip(features, expected, strict=True))
    assert torch.equal(restored, net(image()))


@pytest.mark.thorough
@pytest.mark.parametrize("stop_at_last", [False, True])
@pytest.mark.parametrize("wrap", [wrapped, compiled])
@pytest.mark.usefixtures("process_group")
def test_wrapped_networks_give_the_same(wrap, stop_at_last):
    restored, features = FeatureTap(small_net())(image())
    tap = wrap(FeatureTap(small_net(), stop_at_last))
    for _ in range(2):  # the second call of a compiled module takes the cached graph
        wrapped_restored, wrapped_features = tap(image())
        torch.testing.assert_close(wrapped_features, features)
        if stop_at_last:
            assert wrapped_restored is None
        else:
            torch.testing.assert_close(wrapped_restored, restored)


@pytest.mark.thorough
@pytest.mark.parametrize("wrap", [nn.Identity(), wrapped, compiled])
@pytest.mark.usefixtures("process_group")
def test_gradients_through_the_tap_are_those_of_the_network(wrap):
    bare, net = small_net(), small_net()
    tap = wrap(FeatureTap(net))
    caught = []
    bare.decoders[0].register_forward_hook(lambda _module, _args, output: caught.append(output))
    (bare(image()).square().mean() + caught[0].mean()).backward()
    restored, features = tap(image())
    (restored.square().mean() + features[0].mean()).backward()
    for expected, parameter in zip(bare.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


def test_stopping_leaves_out_what_lies_behind_the_last_point():
    net = CountedEnding()
    tap = FeatureTap(net, stop_at_last=True)
    restored, features = tap(image())
    assert restored is None
    assert net.runs == 0
    features[-1].sum().backward()
    assert net.ending.weight.grad is None
    assert net.intro.weight.grad is not None


def test_one_call_may_stop_and_another_not():
    net = CountedEnding()
    tap = FeatureTap(net)
    assert tap(image(), stop_at_last=True)[0] is None
    assert tap(image())[0] is not None
    assert net.runs == 1


def test_the_network_itself_runs_on_untouched():
    net = small_net()
    expected = net(image())
    FeatureTap(net, stop_at_last=True)(image())
    assert torch.equal(net(image()), expected)


def test_two_taps_of_one_network_do_not_disturb_each_other():
    net = small_net()
    whole, stopped = FeatureTap(net), FeatureTap(net, stop_at_last=True)
    restored, features = whole(image())
    assert restored is not None
    assert stopped(image())[0] is None
    assert torch.equal(whole(image())[1][0], features[0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda tap: pickle.loads(pickle.dumps(tap))])
def test_a_copied_tap_reads_its_own_network(copied):
    tap = FeatureTap(small_net())
    other = copied(tap)
    with torch.no_grad():
        other.net.intro.weight.zero_()
    assert not torch.equal(other(image())[1][0], tap(image())[1][0])


def test_an_error_in_the_network_passes_and_leaves_the_tap_usable():
    tap = FeatureTap(small_net())
    with pytest.raises(RuntimeError):
        tap(torch.rand(1, 5, 8, 8))
    assert len(tap(image())[1]) == 2


def test_the_bare_network_is_what_a_checkpoint_holds():
    net = small_net()
    assert FeatureTap(net).net.state_dict().keys() == small_net().state_dict().keys()


class Declares(nn.Module):
    """A network with the given feature points."""

    def __init__(self, points: list[FeaturePoint] | None) -> None:
        super().__init__()
        self.body = nn.LSTM(4, 4)
        self.unused = nn.Identity()
        if points is not None:
            self.feature_points = lambda: points

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return self.body(lq)[0]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (None, "Declares cannot be tapped"),
        ([], "Declares cannot be tapped"),
        ([FeaturePoint("head", 4, 1)], "no module 'head'"),
    ],
)
def test_refuses_a_network_without_usable_feature_points(points, message):
    with pytest.raises(ValueError, match=message):
        FeatureTap(Declares(points))


def test_names_a_point_that_returns_no_tensor_or_never_runs():
    with pytest.raises(TypeError, match="'body' returned tuple"):
        FeatureTap(Declares([FeaturePoint("body", 4, 1)]))(torch.rand(2, 1, 4))
    with pytest.raises(RuntimeError, match="unused"):
        FeatureTap(Declares([FeaturePoint("unused", 4, 1)]))(torch.rand(2, 1, 4))
