"""A suite to its cells: YAML files of systems, protocols and suites, composed and identified."""
