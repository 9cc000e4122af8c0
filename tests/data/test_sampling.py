"""Which samples make which batch."""

import pytest

from uir.data.sampling import EpochBatchSampler


def batches(size=20, batch_size=4, seed=0, epoch=0, skip=0, **options):
    sampler = EpochBatchSampler(range(size), batch_size, seed, **options)
    sampler.set_epoch(epoch, skip)
    return list(sampler)


def indices(found):
    return [key.index for batch in found for key in batch]


def test_an_epoch_is_each_sample_once_in_a_random_order():
    assert sorted(indices(batches())) == list(range(20))
    assert indices(batches()) != list(range(20))


def test_the_same_seed_and_epoch_give_the_same_batches():
    assert batches(epoch=3) == batches(epoch=3)


def test_another_epoch_or_run_has_another_order_and_other_seeds():
    keys = {key for found in (batches(), batches(epoch=1), batches(seed=1)) for batch in found for key in batch}
    assert len(keys) == 60
    assert len({tuple(indices(found)) for found in (batches(), batches(epoch=1), batches(seed=1))}) == 3


def test_seeds_differ_between_repeats_of_an_image():
    found = batches(size=2, ratio=10)
    assert len(found) == 5
    assert sorted(indices(found)) == [0] * 10 + [1] * 10
    assert len({key.seed for batch in found for key in batch}) == 20


def test_unshuffled_samples_come_in_order():
    assert indices(batches(shuffle=False, size=10, ratio=2)) == list(range(10)) * 2


def test_skipping_batches_equals_dropping_them():
    assert batches(epoch=2, skip=3) == batches(epoch=2)[3:]


def test_the_length_is_that_of_a_whole_epoch():
    sampler = EpochBatchSampler(range(10), 4, 0)
    sampler.set_epoch(0, skip_batches=1)
    assert (len(sampler), len(list(sampler))) == (2, 1)


def test_two_ranks_see_what_one_process_sees_with_the_doubled_batch():
    whole = batches(batch_size=6)
    first, second = (batches(batch_size=3, rank=rank, world_size=2) for rank in (0, 1))
    for batch, one, two in zip(whole, first, second, strict=True):
        assert batch[0::2] == one
        assert batch[1::2] == two


def test_the_incomplete_batch_is_dropped_or_kept():
    assert [len(batch) for batch in batches(size=10)] == [4, 4]
    assert [len(batch) for batch in batches(size=10, drop_last=False)] == [4, 4, 2]


def test_a_kept_last_batch_is_equally_long_on_all_ranks():
    found = [batches(size=11, batch_size=4, rank=rank, world_size=2, drop_last=False) for rank in (0, 1)]
    assert [[len(batch) for batch in rank] for rank in found] == [[4, 2], [4, 2]]
    assert set(indices(found[0] + found[1])) == set(range(11))


def test_a_dataset_may_decide_the_order():
    class Ordered(list):
        def epoch_order(self, generator, length):
            import torch

            return torch.full((length,), 7)

    assert indices(list(EpochBatchSampler(Ordered(range(9)), 3, 0))) == [7] * 9


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"ratio": 0}, {"rank": 2, "world_size": 2}])
def test_a_number_out_of_range_is_an_error(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        batches(**wrong)
