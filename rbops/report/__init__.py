"""Results for people and for other tools: text, JUnit XML."""
