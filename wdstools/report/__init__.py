"""Pages made from results, with jinja2 templates and inline SVG. No logic: a page only shows what the result says."""
