"""HTTP and WebSocket service for one recognizer, with a web page. Requires the extra ``serve``."""
