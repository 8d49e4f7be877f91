"""Interleaved timing in short windows."""

import math
import time

import numpy as np

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

# Seconds; a longer call is its own warm-up.
LONG = 0.03


def interleave(runners, n_inputs, rounds, window, clock, pause):
    """Seconds per call of every runner, one figure per round; their order rotates."""
    now = CLOCKS[clock]
    names = list(runners)
    counts = {name: _calls_per_window(runners[name], n_inputs, window) for name in names}
    times = {name: [] for name in names}
    for turn in range(rounds):
        for at in range(len(names)):
            name = names[(at + turn) % len(names)]
            if pause:
                time.sleep(pause)
            times[name].append(_window(runners[name], n_inputs, *counts[name], now))
    return {name: np.array(found) for name, found in times.items()}


def _window(run, n_inputs, warm, count, now):
    for at in range(warm):
        run(at % n_inputs)
    turns = [at % n_inputs for at in range(warm, warm + count)]
    start = now()
    for i in turns:
        run(i)
    return (now() - start) / count


def _calls_per_window(run, n_inputs, window):
    """Calls that bring the weights back to the caches, and calls that are timed."""
    best = math.inf
    for i in range(6):
        start = time.perf_counter()
        run(i % n_inputs)
        best = min(best, time.perf_counter() - start)
        if best > 0.1:
            break
    count = max(1, min(5000, math.ceil(window / best)))
    is_long = best > LONG
    return (0 if is_long else math.ceil(count / 4)), count


def summary(times):
    """Microseconds."""
    return {"median_us": float(np.median(times)) * 1e6,
            "p10_us": float(np.quantile(times, 0.1)) * 1e6,
            "min_us": float(times.min()) * 1e6}
