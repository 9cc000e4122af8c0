"""MoCE-IR: windows, routing, balance, the filter that starts as a Laplacian."""

import pytest
import torch
from arch_configs import ARCH_CONFIGS

from uir.archs.moce_ir_arch import MoCEIR
from uir.layers.complexity_experts import ExpertAdapter, Router, WindowSpectrumAttention

SMALL = {**ARCH_CONFIGS["MoCEIR"], "topk": 1}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_queries_and_keys_are_convolved_circularly_in_every_window():
    queries, keys = torch.randn(2, 1, 3, 4, 4)
    got = WindowSpectrumAttention(3, 4)._convolved(queries, keys)
    expected = torch.zeros_like(queries)
    for row in range(4):
        for column in range(4):
            expected += queries[:, :, row, column, None, None] * keys.roll((row, column), (2, 3))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_windows_are_independent_of_each_other():
    attention, (queries, keys) = WindowSpectrumAttention(3, 4), torch.randn(2, 1, 3, 8, 12)
    whole = attention._convolved(queries, keys)
    part = attention._convolved(queries[..., 4:, 8:], keys[..., 4:, 8:])
    torch.testing.assert_close(whole[..., 4:, 8:], part, atol=1e-5, rtol=1e-5)


def test_each_image_gets_its_own_expert_times_its_probability():
    adapter = ExpertAdapter(8, 6, experts=4, topk=1, with_complexity=True)
    x, shared, embedding = torch.randn(3, 8, 8, 8), torch.randn(3, 8, 8, 8), torch.randn(3, 6)
    with torch.no_grad():
        adapter.routing.freq_gate.weight.mul_(10)
        mixed, _ = adapter(x, embedding, shared, None)
        logits = adapter.routing.gate(x) + adapter.routing.freq_gate(embedding)
        for index, shares in enumerate(logits.softmax(1)):
            expert = adapter.experts[int(shares.argmax())][0]
            alone = adapter.proj_out(expert(x[index : index + 1], shared[index : index + 1]) * shares.max())
            torch.testing.assert_close(mixed[index : index + 1], alone, atol=1e-5, rtol=1e-4)
    assert len(set(logits.argmax(1).tolist())) > 1


def test_experts_double_in_rank_and_window():
    adapter = ExpertAdapter(48, 6, experts=4, topk=1, with_complexity=True)
    bodies = [expert[0].body for expert in adapter.experts]
    assert [body.q.in_channels for body in bodies] == [6, 12, 24, 48]
    assert [body.window for body in bodies] == [4, 8, 16, 32]
    assert adapter.routing.complexity[-1] == 1
    assert torch.all(adapter.routing.complexity.diff() > 0)


def test_the_balance_with_complexity_prefers_small_experts():
    x, embedding = torch.zeros(4, 3, 2, 2), torch.zeros(4, 2)
    to_small, to_large = (torch.tensor(bias).repeat(4, 1) for bias in ([4.0, 0.0], [0.0, 4.0]))

    def balance(complexity: list[float], logits: torch.Tensor) -> float:
        router = Router(3, 2, 2, 1, complexity)
        router.gate = torch.nn.Module()
        router.gate.forward = lambda _: logits
        return float(router(x, embedding, None)[2].detach())

    even = [1.0, 1.0]
    assert balance(even, to_small) == pytest.approx(balance(even, to_large))
    assert balance([0.1, 1.0], to_small) < balance([0.1, 1.0], to_large)


@torch.no_grad()
def test_noise_changes_the_choice_only_where_it_is_given():
    network, lq = MoCEIR(**SMALL).eval(), torch.rand(1, 3, 16, 16)
    assert torch.equal(network(lq), network(lq))
    noise = 8 * torch.eye(4)[None, [2, 2]]  # one image, two routers, the third expert
    assert not torch.equal(network(lq, noise), network(lq))
    network.train()
    assert not torch.equal(network(lq), network(lq)), "in training it is drawn"


def test_the_balance_reaches_the_routers_alone():
    network = MoCEIR(**SMALL).train()
    _, balance = network(torch.rand(3, 3, 16, 16), with_balance=True)
    balance.mean().backward()
    assert network.dec[0][2].layers[0].adapter.routing.gate[2].weight.grad.any()
    assert network.output.weight.grad is None


@pytest.mark.parametrize("trained", [False, True])
def test_the_high_pass_filter_is_frozen_unless_asked(trained):
    weight = MoCEIR(**SMALL, train_high_pass=trained).freq_embed.high_conv[0].conv.weight
    assert weight.requires_grad is trained
    assert weight[0, 0].tolist() == [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"topk": 5}, r"MoCEIR\.topk: expected 1 to 4"),
        ({"num_dec_blocks": [1]}, r"MoCEIR\.num_dec_blocks: expected 2 numbers"),
        ({"rank_type": "constant"}, r"MoCEIR\.rank_type: only 'spread' is published"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        MoCEIR(**{**SMALL, **arguments})
