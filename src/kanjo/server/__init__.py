"""The service: HTTP and WebSocket over one recogniser, and the page that uses them. Needs the extra ``serve``."""
