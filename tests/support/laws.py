"""How the property tests search."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: Examples may share fixtures that are only read. (conftest turns deadlines off.)
LAW = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
#: For laws in which every example takes milliseconds.
SHORT_LAW = settings(LAW, max_examples=20)
