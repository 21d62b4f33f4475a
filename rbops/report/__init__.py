"""Results as text, JSON and JUnit XML. Nothing here prints: ``cli/`` writes what this package builds."""
