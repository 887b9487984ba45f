"""Local web server: upload page and JSON API for trained runs."""
