"""Admission of lessons: the checks that every trace must pass, whoever made it."""
