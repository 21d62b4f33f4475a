"""A running lab's cables, taken apart: cut, captured, impaired."""
