"""A study: the folder, its phases, and what is asked of it afterwards."""
