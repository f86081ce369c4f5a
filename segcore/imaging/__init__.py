"""Pictures: read whatever people upload, masks, drawings."""
