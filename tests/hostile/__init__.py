"""Input made to harm. What is tried, and where:

- names with ``..``, absolute, with a drive letter, NUL, newline, over-long, of thousands of folders, that differ only in case
  or composition, twice the same; a folder with the name of a file; symbolic and hard links, devices, fifos, sparse members
  (old and pax), set-user-id bits; members out of order; huge pax and GNU records; base-256 and negative sizes; members
  that claim to run past the end; a million empty members: ``test_attack_tars`` (scanned, streamed, packed, verified, adopted, extracted)
- the same clashes when extracting to a file system that ignores case or composition: ``tests/unit/test_extract_names``
- JPEG, PNG, GIF, WebP and TIFF bombs; zstd and gzip bombs; zips that lie; files grown to terabytes: ``test_bombs``
- hostile Parquet (schema, types, offsets, overlaps, negative lengths, an index that unpacks to gigabytes); deep and huge
  JSON; manifests that point outside, to URLs; checksum lists: ``test_forged_metadata``
- the same against repair, remove, extract, diff; shards and folders that are links; devices and pipes as shards; staged
  changes of a stranger: ``test_hostile_changes``
- devices, pipes, sockets and loops in a source folder: ``test_odd_files``
- random and mutated bytes into every parser: ``test_fuzz_parsers`` (hypothesis), ``tests/fuzz`` (atheris, with what it found)
"""
