import threading
from concurrent.futures import ThreadPoolExecutor

from consumers.classify.batcher import Batcher
from consumers.classify.batching import BatchPolicy
from stream.clock import SystemClock

POLICY = BatchPolicy(objective_s=0.25, max_batch=8)


def batcher(policy: BatchPolicy = POLICY) -> Batcher[int]:
    made: Batcher[int] = Batcher(policy, SystemClock())
    made.relearn([(1, 0.004), (4, 0.0041)])
    return made


def test_what_many_threads_put_is_taken_once_and_in_order_of_each():
    queue, threads, each = batcher(), 4, 100
    taken: list[int] = []

    def put(number: int) -> None:
        for step in range(each):
            queue.put(number * each + step, SystemClock().monotonic())

    with ThreadPoolExecutor(threads) as pool:
        putting = [pool.submit(put, number) for number in range(threads)]
        while len(taken) < threads * each:
            batch = queue.take()
            assert 1 <= len(batch) <= POLICY.max_batch
            taken += batch
    for future in putting:
        future.result()
    assert sorted(taken) == list(range(threads * each))
    for number in range(threads):
        assert sorted(own := [item for item in taken if item // each == number]) == own


def test_a_full_batcher_makes_the_decoders_wait(eventually):
    queue = batcher()
    put: list[int] = []

    def fill() -> None:
        for number in range(3 * POLICY.max_batch):
            queue.put(number, 0.0)
            put.append(number)

    filling = threading.Thread(target=fill)
    filling.start()
    eventually(lambda: len(put) == 2 * POLICY.max_batch)
    assert filling.is_alive()
    taken: list[int] = []
    while len(taken) < 3 * POLICY.max_batch:
        taken += queue.take()
    filling.join()
    assert taken == list(range(3 * POLICY.max_batch))


def test_closing_ends_every_wait():
    queue = batcher()
    with ThreadPoolExecutor(2) as pool:
        taking = pool.submit(queue.take)
        queue.close()
        assert taking.result(60) == []
        for number in range(3 * POLICY.max_batch):
            pool.submit(queue.put, number, 0.0).result(60)
    assert queue.take() == []


def test_it_learns_what_batches_cost():
    queue = batcher()
    before = queue.cost
    for n in (1, 8) * 20:
        queue.observe(n, 0.1 + 0.01 * n)
    assert queue.cost.seconds(8) > 5 * before.seconds(8)
