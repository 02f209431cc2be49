"""Grading submitted notebooks: answers run in processes of their own, and are judged here."""
