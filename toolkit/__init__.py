"""What a tool is, and running one safely."""
