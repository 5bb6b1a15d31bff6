"""The explorer's local web server."""
