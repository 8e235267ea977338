"""How the property tests search."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: Fixtures that are only read may be shared by the examples. (That there is no deadline is said in conftest.)
LAW = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
#: For laws whose every example costs milliseconds.
SHORT_LAW = settings(LAW, max_examples=20)
