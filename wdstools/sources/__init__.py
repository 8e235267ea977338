"""Where samples come from: folders, archives of folders, tables, and shards that exist already."""
