"""What the tests of measurements put in the place of processes and of time."""

from concurrent.futures import Future


class InProcess:
    """A pool that works at once, where it is: monkeypatches reach it, and nothing must start."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, *arguments):
        future = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, work, *columns):
        return map(work, *columns)

    def shutdown(self, **_):
        pass


class FakeTime:
    """Stands in for the module `time`: it passes only when told to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def takes(self, seconds: float) -> None:
        self.now += seconds
