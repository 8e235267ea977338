"""Where samples come from: folders, archives of folders, tables, and existing shards."""
