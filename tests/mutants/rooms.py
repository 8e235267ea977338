"""What is changed, and the tests that may notice it."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("wdstools/formats", "wdstools/reader/order.py", "wdstools/landing", "wdstools/planning", "wdstools/checks")
#: The tests to run, the quickest kinds first. The others are about looks, speed, memory, other programs or other rooms.
_TESTS = {
    "properties": "*",
    "golden": "*",
    "unit": "arrow_arrays bounds cards checks_* column_files extract_names findings first_bytes foreign_splits hash_files "
    "kept_values landing_* options parquet_files parquet_pages planning_* range_tasks select shortage sources_accounting "
    "sources_bulk sources_embedded sources_members sources_shards sources_splits sources_tables sparse_members split_lines "
    "sum_texts sums tar_names tar_shortcuts uniqueness_kinds",
    "hostile": "*",
    "conformance": "executor layouts shards_of_others shared_values",
    "faults": "columns_cut_short_in_a_bucket columns_left_in_a_bucket columns_removed_in_a_bucket "
    "columns_replaced_in_a_bucket damaged_shards destinations flipped_bits interrupted_at_every_write "
    "interrupted_changes interrupted_duplicates killed_pack matrix shards_cut_while_read",
    "integration": "adopt append batch_members buckets change cli_bad_input cli_commands cli_determinism cli_duplicates "
    "cli_verify columns columns_again columns_computed columns_cover columns_of_others compiling duplicates_against "
    "duplicates_page emit epochs executors_alike joined loader looking mirror mirror_emitted mixing named_keys "
    "next_version_in_a_bucket pack_by_ranges pack_heic pack_images pack_into_buckets pack_like pack_plans pull "
    "reading_ahead reading_in_blocks repair signing takedown verify_parts verify_resumes webdataset_pipeline "
    "without_images writers",
    "servers": "adopting_from_afar changing_afar columns_afar commands_from_afar duplicates_from_afar packing_afar "
    "publishing sources_afar verify_from_afar",
}
_ELSEWHERE = (
    *(
        "test_bench",
        "test_report",
        "test_lock",
        "test_mutants",
        "test_images_",
        "test_units",
        "test_mix_laws",
        "test_lane_laws",
    ),
    *("test_fuzz_parsers", "test_stores_limited", "test_secrets", "test_endless_servers"),
)
#: Fixtures that start somebody else's program. Swift is started once, before any change; these are not.
SERVERS = frozenset({"nginx", "localstack", "azurite", "rclone", "browser"})


def modules(only: list[str]) -> list[str]:
    """The modules of the rooms, or the requested ones among them."""
    found = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py") if (ROOT / room).is_dir() else [ROOT / room])
        if path.name != "__init__.py"
    ]
    return [name for name in found if not only or any(name.startswith(one) for one in only)]


def room_of(module: str) -> str:
    """The room that a module is in."""
    return next(room for room in ROOMS if module == room or module.startswith(f"{room}/"))


def files_of_tests(kinds: list[str]) -> list[str]:
    """The files of tests to run: those of some kinds, some files, or all."""
    named = [kind for kind in kinds if kind.endswith(".py")]
    if named == kinds and kinds:
        return named
    return named + [
        path.relative_to(ROOT).as_posix()
        for kind, names in _TESTS.items()
        for path in sorted((ROOT / "tests" / kind).glob("test_*.py"))
        if (kind in kinds or not kinds) and not path.name.startswith(_ELSEWHERE)
        if any(fnmatch(path.stem.removeprefix("test_"), name) for name in names.split())
    ]
