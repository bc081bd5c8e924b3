"""The report: reads run folders only."""
