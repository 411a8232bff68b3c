"""Helpers of the transfer learning course: the lessons think, this package does the chores."""
