"""Which steps may start: memory, threads, disk, pairs under way, and what nobody has thought of yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topsar.schedule.admission import Candidate, Grant, PairWindow, choose, find_lack
from topsar.schedule.jobs import Resources


def candidate(name: str, age: int, memory: int = 0, *, pairs: tuple[int, ...] = (), **needs: int) -> Candidate:
    """One whose needs besides memory are threads, disk and whatever else is named."""
    threads, disk = needs.pop("threads", 1), needs.pop("disk", 0)
    wanted = Resources(memory_bytes=memory, threads=threads, disk_bytes=disk, others=needs)
    return Candidate(id=("job", name), rank=(age,), needs=wanted, pairs=pairs)


def choose_grants(
    ready: Sequence[Candidate],
    running: Sequence[Grant] = (),
    *,
    workers: int | None = None,
    under_way: Sequence[int] = (),
    owed: Mapping[int, int] | None = None,
    **there: int,
) -> tuple[Grant, ...]:
    """Of a machine with 10 bytes of memory, 100 of disk and 4 threads unless told otherwise."""
    window = PairWindow(workers)
    for pairs in [*(each.candidate.pairs for each in running), *((pair,) for pair in under_way)]:
        window.enter(pairs)
    memory, threads, disk = there.pop("memory", 10), there.pop("threads", 4), there.pop("disk", 100)
    capacity = Resources(memory_bytes=memory, threads=threads, disk_bytes=disk, others=there)
    return choose(ready, running, capacity, window, lambda pair: (owed or {}).get(pair, 0))


def chosen(ready: Sequence[Candidate], running: Sequence[Candidate] = (), **how: object) -> dict[str, int]:
    """Names and threads of those that may start beside others of one thread each."""
    grants = choose_grants(ready, [Grant(candidate=each, threads=1) for each in running], **how)  # type: ignore[arg-type]
    return {grant.candidate.id[1]: grant.threads for grant in grants}


# --- memory and threads -----------------------------------------------------------------------------------------


def test_what_does_not_fit_does_not_start_even_alone() -> None:
    assert chosen([candidate("huge", 0, 99, threads=9)]) == {}


def test_while_the_oldest_cannot_fit_even_alone_it_holds_nobody_back() -> None:
    assert chosen([candidate("huge", 0, 99), candidate("small", 1, 4), candidate("other", 2, 7)]) == {"small": 1}


def test_threads_are_dealt_out() -> None:
    steps = [candidate("a", 0, threads=8), candidate("b", 1), candidate("c", 2, threads=2)]
    assert chosen(steps, threads=4) == {"a": 2, "b": 1, "c": 1}
    assert chosen(steps, threads=2) == {"a": 1, "b": 1}
    assert chosen(steps, threads=16) == {"a": 8, "b": 1, "c": 2}


def test_a_single_thread_starts_beside_a_step_that_has_every_core() -> None:
    wide = Grant(candidate=candidate("wide", 0, threads=8), threads=4)
    ready = [candidate("wide too", 1, threads=8), *(candidate(f"light {n}", 2 + n) for n in range(4))]
    light = choose_grants(ready, [wide])
    assert [(grant.candidate.id[1], grant.threads) for grant in light] == [("light 0", 1), ("light 1", 1)]
    assert choose_grants(ready[3:], [wide, *light]) == ()
    # Without a wide step there is nothing to be beside.
    assert chosen([candidate("fifth", 9)], [candidate(f"n{n}", n) for n in range(4)]) == {}


def test_no_core_no_start() -> None:
    assert chosen([candidate("a", 1)], [candidate("r", 0)], threads=1) == {}


def test_backfill_takes_only_what_the_oldest_will_not_need() -> None:
    running = [candidate("old", 0, 6)]
    ready = [candidate("big", 1, 7), candidate("small", 2, 3), candidate("tiny", 3, 2)]
    assert chosen(ready, running) == {"small": 1}
    assert chosen(ready, [*running, candidate("younger", 4, 1)]) == {"tiny": 1}


def test_a_big_step_is_not_starved_by_a_stream_of_small_ones() -> None:
    running = [candidate(f"s{n}", n, 2) for n in (0, 1, 2)]
    stream = [candidate("big", 3, 9), *(candidate(f"s{n}", n, 2) for n in range(4, 20))]
    while running:
        assert not chosen(stream, running)
        running = running[1:]
    assert list(chosen(stream, running)) == ["big"]


# --- pairs under way --------------------------------------------------------------------------------------------


def test_workers_bound_pairs_not_steps() -> None:
    ready = [candidate("a", 0, pairs=(0,)), candidate("b", 0, pairs=(0,)), candidate("c", 1, pairs=(1,))]
    assert set(chosen(ready, workers=1)) == {"a", "b"}
    assert set(chosen(ready, workers=2)) == {"a", "b", "c"}


def test_a_shared_step_serves_the_pair_under_way() -> None:
    running = [candidate("own", 1, pairs=(1,))]
    assert set(chosen([candidate("shared", 0, pairs=(0, 1))], running, workers=1)) == {"shared"}
    assert chosen([candidate("other", 0, pairs=(0,))], running, workers=1) == {}
    assert set(chosen([candidate("free", 0)], running, workers=1)) == {"free"}


# --- disk -------------------------------------------------------------------------------------------------------


def test_disk_is_kept_for_what_older_pairs_have_still_to_write() -> None:
    old, young = candidate("old", 0, disk=40, pairs=(0,)), candidate("young", 1, disk=50, pairs=(1,))
    assert set(chosen([old, young])) == {"old", "young"}
    assert set(chosen([old, young], owed={0: 60})) == {"old"}
    assert set(chosen([young], owed={0: 50, 2: 99})) == {"young"}


def test_backfill_leaves_disk_for_the_step_that_is_held_back() -> None:
    ready = [candidate("big", 1, disk=70), candidate("too much", 2, disk=40), candidate("fits beside", 3, disk=30)]
    assert set(chosen(ready, [candidate("old", 0, disk=60)])) == {"fits beside"}


def test_what_others_keep_from_fitting_holds_nobody_back() -> None:
    assert set(chosen([candidate("never now", 0, disk=120), candidate("small", 1, disk=90)])) == {"small"}
    assert set(chosen([candidate("starved", 0, 6, gpus=1), candidate("small", 1, 5)])) == {"small"}


def test_a_step_of_no_pair_leaves_disk_for_all_pairs_under_way() -> None:
    owed = {"owed": {0: 50, 1: 30}, "under_way": (0, 1)}
    assert chosen([candidate("shared", 9, disk=30)], **owed) == {}
    assert set(chosen([candidate("shared", 9, disk=20)], **owed)) == {"shared"}
    assert set(chosen([candidate("oldest", 9, disk=100, pairs=(0,))], **owed)) == {"oldest"}


# --- other amounts ----------------------------------------------------------------------------------------------


def test_a_resource_that_nobody_knows_is_counted_like_any_other() -> None:
    ready = [candidate("first", 1, gpus=1), candidate("second", 2, gpus=1), candidate("none", 3)]
    one, two = ["first", "none"], ["first", "second", "none"]
    for there, names in (({}, ["none"]), ({"gpus": 0}, ["none"]), ({"gpus": 1}, one), ({"gpus": 2}, two)):
        assert list(chosen(ready, **there)) == names
        lack = "" if there.get("gpus") else "gpus"
        assert [find_lack(each, Resources(threads=8, others=there)) for each in ready] == [lack, lack, ""]
    assert list(chosen(ready, [candidate("runs", 0, gpus=1)], gpus=2)) == ["first", "none"]
