"""Whether one effective configuration allows more than another, and what a tenant may do until people accepted it.

Pure, over plain JSON documents: `compare` finds what differs, `table` says which way each key is wider, `rules` the
same for `[[rules]]`, `standing` what follows for mode and answers. Whatever is not understood counts as wider.
"""
