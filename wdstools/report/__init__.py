"""Pages from results: jinja2 templates and inline SVG. No logic: what a page says, the result says."""
