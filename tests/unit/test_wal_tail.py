"""The end of a WAL by acknowledgements and by its server, and what was lost when the two disagree."""

from __future__ import annotations

from tael.wal.tail import Gone, Tail, lost_between


def test_growing_sequences_mean_no_loss() -> None:
    """Acknowledgements of two queues may arrive in any order."""
    tail = Tail()
    for sequence, before in ((1, 0), (3, 1), (2, 0), (4, 2)):
        tail.appended(sequence, before)
    assert (tail.last, tail.take_gone()) == (4, [])


def test_a_repeated_sequence_shows_the_loss() -> None:
    """The loss is reported once; later appends count from there."""
    tail = Tail()
    tail.appended(20, 0)
    tail.appended(15, 20)
    assert tail.take_gone() == [Gone(15, 20)]
    tail.appended(16, 15)
    assert (tail.last, tail.take_gone()) == (16, [])


def test_a_server_that_ends_earlier_than_it_acknowledged_has_lost_the_rest() -> None:
    """Its answer counts only if the loss was not detected in between; an answer older than the last acknowledgement proves nothing."""
    tail = Tail()
    tail.appended(20, 0)
    tail.ends(15, known=20, turns=0)
    assert (tail.take_gone(), tail.last) == ([Gone(16, 20)], 15)
    tail.ends(15, known=20, turns=0)
    tail.ends(15, known=15, turns=1)
    assert tail.take_gone() == []


def test_entries_that_were_read_are_not_lost() -> None:
    """Of missing entries, only those that were never read count."""
    assert lost_between([Gone(16, 20)], 12) == 5
    assert lost_between([Gone(16, 20)], 18) == 2
    assert lost_between([Gone(16, 20)], 25) == 0
    assert lost_between([Gone(16, 20), Gone(11, 12)], 0) == 7
