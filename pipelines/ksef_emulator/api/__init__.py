"""How KSeF tells it: the routes of API 2.0, and what stands between a request and its answer."""
