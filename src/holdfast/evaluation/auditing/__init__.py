"""The audit of an evaluation: whether its robust accuracies can be believed.

Each check is a small function with its data (`holdfast.auditing`), entered into the table of
`check` and gathered by theme: of what was `written`, of what the attacks came to (`attacked`), of
the `images`, of the model's `answers` and `slopes`, by `others` than the attacks that were run, of
their `effort`, and the `binarization` test. `run` makes them all.
"""
