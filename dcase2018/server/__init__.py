"""Local web servers: a page and a JSON API for trained runs, and a page to review labels."""
