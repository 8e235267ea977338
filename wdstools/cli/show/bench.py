"""What bench measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.units import counted, size

if TYPE_CHECKING:
    from wdstools.cli.output import Output
    from wdstools.ops.bench import BenchResult
    from wdstools.ops.bench.result import Speed


def measured(output: Output, result: BenchResult, *, wanted: float | None) -> int:
    """The figures and the advice; returns 1 if the wanted rate was not reached."""
    output.line(
        f"{result.dataset}: split {result.split}, {counted(result.samples, 'sample')} in {counted(result.shards, 'shard')}, "
        f"{size(result.bytes)}; shuffle {result.shuffle}, batches of {result.batch_size}, {result.threads} threads"
    )
    for limit in result.limits:
        output.line(
            f"  limit {limit.name:<18} {limit.samples_per_s:>11,.0f} samples/s  {_rate(limit.bytes_per_s):>12}   {limit.how}"
        )
    for speed in (*result.speeds, *result.peers):
        output.line(
            f"  {speed.name:<24} {speed.samples_per_s:>11,.0f} samples/s  {_rate(speed.bytes_per_s):>12}   {_share(speed)}"
        )
    for threads, rate in result.scaling.items():
        output.line(f"  {'batches, threads: ' + str(threads):<24} {rate:>11,.0f} samples/s")
    output.line(
        f"  first batch after {result.first_batch_ms:,.0f} ms; then p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms; "
        f"peak memory {size(result.peak_memory_bytes)}; mixing {result.mixing:.2f}"
    )
    for sentence in result.advice:
        output.line(f"{sentence}")
    missed = wanted is not None and result.batches.samples_per_s < wanted
    if missed:
        output.line(f"slower than wanted: {result.batches.samples_per_s:,.0f} samples/s, --min {wanted:,.0f}")
    output.summary(result, exit_code=int(missed), ok=not missed)
    return int(missed)


def _rate(bytes_per_s: float) -> str:
    return f"{size(int(bytes_per_s))}/s"


def _share(speed: Speed) -> str:
    share = "" if speed.share is None else f"{speed.share:.2f} of {speed.limit}"
    cores = "" if speed.cpu_cores is None else f"{speed.cpu_cores:.2f} cores"
    return ", ".join(filter(None, (share, cores)))
