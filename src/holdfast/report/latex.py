"""A table as LaTeX, in the booktabs style, that a paper can input."""

from collections.abc import Mapping

import pandas as pd

__all__ = ["to_latex"]

_SPECIAL: Mapping[int, str] = str.maketrans(
    {
        **{letter: rf"\{letter}" for letter in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # Without T1 fonts these are other signs.
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # Behind the end of a line they would say how far the next one is.
        "[": "{[}",
        "*": "{*}",
        "ℓ": r"$\ell$",
        "∞": r"$_\infty$",
        "σ": r"$\sigma$",
        "≤": r"$\leq$",
        "–": "--",
    }
)


def to_latex(table: pd.DataFrame, caption: str) -> str:
    r"""Lines and columns of a table, numbers to the right.

    Args:
        table: of texts and numbers; a missing one is a dash.
        caption: below it.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.latex import to_latex
        >>> print(to_latex(pd.DataFrame({"attack": ["a_b"], "n": [3]}), "100 % of it."))
        % needs \usepackage{booktabs}
        \begin{table}
        \centering
        \begin{tabular}{lr}
        \toprule
        attack & n \\
        \midrule
        a\_b & 3 \\
        \bottomrule
        \end{tabular}
        \caption{100 \% of it.}
        \end{table}
    """
    kinds = "".join("r" if pd.api.types.is_numeric_dtype(table[name]) else "l" for name in table)
    lines = [[_cell(value) for value in line] for line in table.itertuples(index=False)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            " & ".join(_cell(name) for name in table) + r" \\",
            r"\midrule",
            *(" & ".join(line) + r" \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{_cell(caption)}}}",
            r"\end{table}",
        ]
    )


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "--"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.translate(_SPECIAL)
