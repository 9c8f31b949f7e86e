"""From a YAML file to the points of a plan: load it, expand it, say what is dropped and what cannot run, and why.

`loading.load_matrix` reads the file, `plan.expand` makes the points, `select.select` narrows them for `--only`,
`listing` spells them for a person and as JSON.
"""
