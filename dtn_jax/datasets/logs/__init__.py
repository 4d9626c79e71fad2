"""Your own logs: a schema file says what they hold, and any size is prepared in bounded memory."""
