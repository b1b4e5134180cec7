"""One file for each change of the tables, 0001_what.py, 0002_what.py: its revision is its number, its down_revision the number before.

tests/test_database.py holds them to storage/tables.py. A file that has been released is never changed again.
"""
