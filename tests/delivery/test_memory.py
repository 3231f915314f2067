"""Memory that never exceeds its bounds, and questions that are asked once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.delivery.memory import AGAIN_S, BytesMemory, Flights, Memory, Recent
from shelfsight.errors import DatabaseError
from tests.delivery.shop import Clock


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), max_size=40))
def test_bytes_never_exceed_their_limit(puts: list[tuple[int, int]]) -> None:
    memory: BytesMemory[int] = BytesMemory(20)
    for key, size_bytes in puts:
        memory.put(key, bytes(size_bytes))
        held = [memory.get(one) for one in range(6)]
        assert memory.size_bytes == sum(len(data) for data in held if data is not None) <= 20


def test_bytes_not_used_for_longest_go_first() -> None:
    memory: BytesMemory[str] = BytesMemory(2)
    memory.put("a", b"a")
    memory.put("b", b"b")
    memory.get("a")
    memory.put("c", b"c")
    assert [memory.get(key) for key in "abc"] == [b"a", None, b"c"]


def test_bytes_that_never_fit_push_nothing_out() -> None:
    memory: BytesMemory[str] = BytesMemory(2)
    memory.put("a", b"a")
    memory.put("b", b"bbb")
    assert [memory.get(key) for key in "ab"] == [b"a", None]


def test_values_are_bounded_by_number() -> None:
    memory: Memory[int, int] = Memory(3)
    for number in range(10):
        memory.put(number, number)
    assert [memory.get(number) for number in range(10)] == [None] * 7 + [7, 8, 9]


class Question:
    """A question that is answered when `answered` is set; counts how often it was asked."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer
        self.asked = 0
        self.answered = asyncio.Event()

    async def __call__(self) -> str | None:
        """Return the answer."""
        self.asked += 1
        answer = self.answer
        await self.answered.wait()
        return answer


def test_answer_is_kept_for_its_time_counted_from_the_question() -> None:
    async def ask() -> list[int]:
        clock, question = Clock(), Question("yes")
        question.answered.set()
        recent: Recent[str, str] = Recent(ttl_s=1, limit=10, clock=clock)
        counts = []
        for step_s in (0.0, 0.9, 0.2, 0.9):
            clock.now_s += step_s
            assert await recent.get("key", question) == "yes"
            counts.append(question.asked)
        return counts

    assert asyncio.run(ask()) == [1, 1, 2, 2]


def test_nothing_is_not_kept() -> None:
    async def ask() -> int:
        question = Question(None)
        question.answered.set()
        recent: Recent[str, str] = Recent(ttl_s=1, limit=10, clock=Clock())
        for _ in range(3):
            assert await recent.get("key", question) is None
        return question.asked

    assert asyncio.run(ask()) == 3


def test_who_comes_after_a_publish_is_not_told_what_was_before() -> None:
    async def ask() -> list[str | None]:
        question = Question(None)
        recent: Recent[str, str] = Recent(ttl_s=1, limit=10, clock=Clock())
        early = asyncio.create_task(recent.get("key", question))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        question.answer = "published"
        late = asyncio.create_task(recent.get("key", question))
        await asyncio.sleep(0)
        question.answered.set()
        return [await early, await late]

    assert asyncio.run(ask()) == [None, "published"]


def test_cancelled_caller_does_not_end_the_work_of_others() -> None:
    async def ask() -> str | None:
        question = Question("yes")
        flights: Flights[str, str | None] = Flights()
        callers = [asyncio.create_task(flights.join("key", question)) for _ in range(2)]
        await asyncio.sleep(0)
        callers[0].cancel()
        await asyncio.sleep(0)
        question.answered.set()
        assert question.asked == 1
        return await callers[1]

    assert asyncio.run(ask()) == "yes"


def test_work_that_fails_fails_for_all_and_is_tried_anew() -> None:
    async def fail() -> str:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def succeed() -> str:
        return "yes"

    async def ask() -> str:
        flights: Flights[str, str] = Flights()
        failed = await asyncio.gather(*(flights.join("key", fail) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in failed] == [ZeroDivisionError] * 3
        return await flights.join("key", succeed)

    assert asyncio.run(ask()) == "yes"


def test_limit_of_recent_answers_holds() -> None:
    async def ask() -> int:
        question = Question("yes")
        question.answered.set()
        recent: Recent[int, str] = Recent(ttl_s=1, limit=2, clock=Clock())
        for key in (1, 2, 3, 1):
            await recent.get(key, question)
        return question.asked

    assert asyncio.run(ask()) == 4


@pytest.mark.parametrize("size_bytes", [0, 20])
def test_empty_bytes_are_held_too(size_bytes: int) -> None:
    memory: BytesMemory[str] = BytesMemory(20)
    memory.put("a", bytes(size_bytes))
    assert memory.get("a") == bytes(size_bytes)


class Lines:
    """Asks over a line that may be cut: then it fails, when it is told to."""

    def __init__(self) -> None:
        self.cut = False
        self.answer: str | None = "yes"
        self.asked = 0

    async def __call__(self) -> str | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.cut:
            raise DatabaseError("gone")
        return self.answer


def lasting(clock: Clock, **options: Any) -> Recent[str, str]:
    return Recent(ttl_s=1, limit=10, clock=clock, **({"lasts_s": 3600} | options))


def test_old_answer_will_do_while_nobody_answers() -> None:
    async def ask() -> None:
        clock, line = Clock(), Lines()
        recent = lasting(clock)
        assert await recent.get("key", line) == "yes"
        line.cut = True
        clock.now_s += 1
        for _ in range(5):
            assert await recent.get("key", line) == "yes"
        assert line.asked == 2  # who came first has found out for all
        clock.now_s += AGAIN_S
        for _ in range(5):
            assert await recent.get("key", line) == "yes"
        await asyncio.sleep(0)
        assert line.asked == 3  # on the side

    asyncio.run(ask())


def test_new_answer_counts_once_somebody_answers_again() -> None:
    async def ask() -> None:
        clock, line = Clock(), Lines()
        recent = lasting(clock)
        await recent.get("key", line)
        line.cut = True
        clock.now_s += 1
        await recent.get("key", line)
        line.cut, line.answer = False, "new"
        clock.now_s += AGAIN_S
        assert await recent.get("key", line) == "yes"
        for _ in range(3):
            await asyncio.sleep(0)
        assert await recent.get("key", line) == "new"
        line.answer = None
        clock.now_s += 1
        assert await recent.get("key", line) is None

    asyncio.run(ask())


@pytest.mark.parametrize("options", [{}, {"lasts": lambda answer: answer != "yes"}, {"lasts_s": 0}])
def test_answer_that_does_not_last_is_not_given_for_long(options: dict[str, Any]) -> None:
    async def ask() -> None:
        clock, line = Clock(), Lines()
        recent = lasting(clock, **options)
        await recent.get("key", line)
        line.cut = True
        clock.now_s += 3600 if not options else 1
        for _ in range(2):
            with pytest.raises(DatabaseError):
                await recent.get("key", line)

    asyncio.run(ask())


def test_question_that_was_never_answered_fails() -> None:
    async def ask() -> None:
        clock, line = Clock(), Lines()
        recent = lasting(clock)
        await recent.get("key", line)
        line.cut = True
        for _ in range(2):
            with pytest.raises(DatabaseError):
                await recent.get("other", line)

    asyncio.run(ask())


def test_error_that_has_another_reason_is_not_hidden() -> None:
    async def fail() -> str:
        raise ZeroDivisionError

    async def ask() -> None:
        clock, line = Clock(), Lines()
        recent = lasting(clock)
        await recent.get("key", line)
        clock.now_s += 1
        with pytest.raises(ZeroDivisionError):
            await recent.get("key", fail)

    asyncio.run(ask())
