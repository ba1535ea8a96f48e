"""Mean embeddings of speakers."""

from __future__ import annotations

import pytest
import torch

from kanjo.train.models.speaker_means import RunningSpeakerMeans, leave_one_out_speaker_mean


def test_running_speaker_means_first_update_is_the_mean_and_later_ones_move_it() -> None:
    speaker_means = RunningSpeakerMeans(3, 2)
    assert not speaker_means.lookup(torch.tensor([0, -1]))[1].any()
    speaker_means.update(torch.tensor([[1.0, 1.0], [3.0, 3.0], [9.0, 9.0]]), torch.tensor([0, 0, -1]))
    means, has_mean = speaker_means.lookup(torch.tensor([0, 1, -1]))
    assert means[0].tolist() == [2.0, 2.0]
    assert has_mean.flatten().tolist() == [True, False, False]
    speaker_means.update(torch.tensor([[4.0, 4.0]]), torch.tensor([0]))
    assert speaker_means.means[0].tolist() == pytest.approx([2.1, 2.1])  # 0.95 * 2 + 0.05 * 4


def test_leave_one_out_speaker_mean_is_of_the_other_clips() -> None:
    embeddings = torch.tensor([[1.0], [2.0], [6.0], [5.0]])
    means, has_others = leave_one_out_speaker_mean(embeddings, torch.tensor([0, 0, 0, 1]))
    assert has_others.flatten().tolist() == [True, True, True, False]
    assert means[:3].flatten().tolist() == [4.0, 3.5, 1.5]


def test_leave_one_out_speaker_mean_unknown_speaker_has_no_mean() -> None:
    _, has_others = leave_one_out_speaker_mean(torch.ones(3, 2), torch.tensor([-1, -1, 1]))
    assert not has_others.any()


def test_leave_one_out_speaker_mean_unknown_speakers_do_not_change_the_mean_of_speaker_0() -> None:
    embeddings = torch.tensor([[1.0], [3.0], [100.0], [200.0]])
    means, has_others = leave_one_out_speaker_mean(embeddings, torch.tensor([0, 0, -1, -1]))
    assert means.flatten().tolist() == [3.0, 1.0, 0.0, 0.0]
    assert has_others.flatten().tolist() == [True, True, False, False]


@pytest.mark.parametrize("speakers", [[-1, -1, -1], [0, 1, 2], []])
def test_leave_one_out_speaker_mean_without_other_clips_has_none(speakers: list[int]) -> None:
    index = torch.tensor(speakers, dtype=torch.long)
    means, has_others = leave_one_out_speaker_mean(torch.ones(len(speakers), 2), index)
    assert means.shape == (len(speakers), 2) and not means.any()
    assert has_others.shape == (len(speakers), 1) and not has_others.any()
