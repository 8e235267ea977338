"""Files that other projects made to test themselves: what we say of each, and what Pillow, GNU tar, webdataset and coreutils say."""
