"""The laws of the house as functions of a parsed file, for test_house_rules."""
