"""Pieces that every HTTP server of this project is made of: errors in OpenAI's form, request bodies."""
