"""The explorer: a page on which a person looks at an atlas, and what brings it there."""
