"""The audit of a certification: whether its certified accuracy can be believed.

Each check is a small function with its data (`holdfast.auditing`), entered into the table of
`check`: of what was `written`, which is worked out again from the votes, and of the model, `asked`
anew, by fresh votes and by attacks within the radius, each draw `alone` too. `run` makes them all.
"""
