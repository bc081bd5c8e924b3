"""How much of its margin an image has left after a part of the suite, if a later part breaks it.

    python benchmarks/near.py --model runs/small-pgd --data mnist --images 1000:2000 \
        --norm linf --eps 0.25

All parts of `worst-case(budget=...)` run on all images that stand, none being spared, and after
each the largest margin that an image has come to is held against that at the image itself. What
those have left at most that fall later is what `holdfast.attacks.budget` calls near, with some
room: an image that has more left may be spared the rest.
"""

import pandas as pd
import torch
from attack_strength import markdown
from ball import ask_for_ball, ask_for_pictures, parser_of, pictures_of, threat_of

from holdfast import goals
from holdfast.attacks.budget import parts_within
from holdfast.types import Images, Labels, Model, Threat


def left_after_each(
    model: Model, x: Images, y: Labels, threat: Threat, budget: int, batch_size: int
) -> pd.DataFrame:
    """A row for each image that is right: by which part it falls, and what each before had left.

    Returns:
        ``falls``, the part's place or one beyond the last; and for each part by name the fraction
        of its margin that the image has left when the part ends.
    """
    parts = parts_within(threat, budget)
    begun = margin(model, x, y, batch_size)
    right = begun < 0
    x, y, begun = x[right], y[right], begun[right]
    best, standing = begun.clone(), torch.arange(len(x))
    falls = torch.full((len(x),), len(parts))
    left = {}
    for place, part in enumerate(parts):
        for at in standing.split(batch_size):
            found = part.attack(model, x[at], y[at], seed=place, index=at)
            best[at] = torch.maximum(best[at], margin(model, found, y[at], batch_size))
        fell = standing[best[standing] > 0]
        falls[fell] = place
        standing = standing[best[standing] <= 0]
        left[part.name] = (best / begun).clamp(min=0).numpy()
    return pd.DataFrame({"falls": falls.numpy(), **left})


def margin(model: Model, x: Images, y: Labels, batch_size: int) -> torch.Tensor:
    """(N,) above 0 where the answer is wrong, as the suite's aim has it."""
    with torch.no_grad():
        return torch.cat(
            [
                goals.margin(model, a, b)(a).value
                for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True)
            ]
        )


def table(rows: pd.DataFrame) -> list[dict[str, object]]:
    """A line for each part: what it breaks, and what those had left that fall after it."""
    lines: list[dict[str, object]] = []
    names = [name for name in rows.columns if name != "falls"]
    for place, name in enumerate(names):
        later = rows[(rows["falls"] > place) & (rows["falls"] < len(names))]
        stand = rows[rows["falls"] > place]
        most = float(later[name].max()) if len(later) else float("nan")
        lines.append(
            {
                "part": name,
                "breaks": int((rows["falls"] == place).sum()),
                "left standing": len(stand),
                "of these fall later": len(later),
                "had left at most": f"{most:.3f}",
                "stand, with more left": int((stand[name] > most).sum()) if len(later) else "-",
            }
        )
    return lines


def main() -> None:
    parser = parser_of(__doc__)
    ask_for_pictures(parser, images=1000)
    ask_for_ball(parser)
    parser.add_argument("--budget", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=500)
    options = parser.parse_args()
    model, x, y = pictures_of(options)
    threat = threat_of(options)
    rows = left_after_each(model, x, y, threat, options.budget, options.batch_size)
    print(markdown(table(rows)))


if __name__ == "__main__":
    main()
