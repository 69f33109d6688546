"""The bounded cache."""

from __future__ import annotations

import random
import threading

import pytest

from pdp.cedar import cache as cache_module
from pdp.cedar.cache import BoundedCache, shared_text


def test_size_zero_keeps_nothing() -> None:
    """A cache of size 0 forgets at once."""
    cache: BoundedCache[str, int] = BoundedCache(0)
    cache.put("a", 1)
    assert (cache.get("a"), len(cache)) == (None, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_size_bounds_what_is_kept(size: int) -> None:
    """However much is put in, little more than `size` entries are kept."""
    cache: BoundedCache[int, int] = BoundedCache(size)
    for number in range(10 * size):
        cache.put(number, number)
        assert len(cache) <= size + 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_most_recent_half_is_there(size: int) -> None:
    """The last half of `size` entries put in can be got back, each with its own value."""
    cache: BoundedCache[int, str] = BoundedCache(size)
    for number in range(10 * size):
        cache.put(number, str(number))
    recent = range(10 * size - (size + 1) // 2, 10 * size)
    assert [cache.get(number) for number in recent] == [str(number) for number in recent]


def test_what_is_used_stays() -> None:
    """An entry that is read again and again outlives any number of others."""
    cache: BoundedCache[object, str] = BoundedCache(8)
    cache.put("used", "value")
    for number in range(1_000):
        cache.put(number, "other")
        assert cache.get("used") == "value"


def test_a_newer_value_takes_the_place_of_an_older() -> None:
    """A key has the last value that was put under it, also after both generations have changed."""
    cache: BoundedCache[str, int] = BoundedCache(4)
    cache.put("a", 1)
    for name in "bc":
        cache.put(name, 0)  # "a" is in the old generation now
    cache.put("a", 2)
    assert cache.get("a") == 2


def test_weight_counts_instead_of_number() -> None:
    """Entries that weigh more leave earlier, and one that weighs more than the size is kept until the next."""
    cache: BoundedCache[int, str] = BoundedCache(100)
    for number in range(100):
        cache.put(number, "heavy", 25)
        assert len(cache) <= 5
    cache.put(1_000, "huge", 10_000)
    assert cache.get(1_000) == "huge"
    cache.put(1_001, "next", 10_000)
    cache.put(1_002, "next", 10_000)
    assert cache.get(1_000) is None


def test_threads_share_it() -> None:
    """Under many threads a key never gives another key's value, and the bound holds but for one entry a thread."""
    cache: BoundedCache[int, int] = BoundedCache(50)
    wrong: list[tuple[int, int]] = []
    largest = 0

    def work(seed: int) -> None:
        nonlocal largest
        rng = random.Random(seed)
        for _ in range(5_000):
            key = rng.randrange(200)
            value = cache.get(key)
            if value is None:
                cache.put(key, key * 7)
            elif value != key * 7:
                wrong.append((key, value))
            largest = max(largest, len(cache))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert largest <= 50 + 2 * len(threads)


def test_weight_is_kept_with_what_is_read_again() -> None:
    """A heavy entry that comes back from the old generation counts as much as when it was put in."""
    cache: BoundedCache[str, int] = BoundedCache(8)
    cache.put("heavy", 1, 4)
    cache.put("b", 2)  # "heavy" is in the old generation now
    assert cache.get("heavy") == 1
    cache.put("c", 3)  # and here the young one is full because of it
    assert (len(cache), cache.get("b")) == (3, 2)


def test_short_texts_are_shared() -> None:
    """Equal short texts become one object; long ones stay what they are."""
    one, other = ("".join(["na", "me"]) for _ in range(2))
    assert one is not other
    assert shared_text(one) is shared_text(other)
    long_one = "x" * 65
    assert shared_text(long_one) is long_one


def test_shared_texts_are_bounded() -> None:
    """However many different texts come, no more than so many are kept; and each is still itself."""
    for number in range(70_000):
        assert shared_text(f"made up {number}") == f"made up {number}"
    assert len(cache_module._texts) <= 65_536
