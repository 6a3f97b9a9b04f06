"""SIP nodes: their numbering, their lists of dialogs, their clocks."""
